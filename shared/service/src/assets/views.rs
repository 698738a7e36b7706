//! Assets as people and the API see them, and what they may do with them.

use crate::engine::{Engine, Error, ROUNDS_MAX, near};
use crate::trigger::{Origin, Trigger};
use jiff::Timestamp;
use serde_json::{Map, Value};
use updraft_clock::Clock;
use updraft_metastore::{Consumed, Items, Outcome};
use updraft_model::asset::{EXTRA_BYTES_MAX, Numbered, Role};
use updraft_model::{
    AssetEvent, DagChange, DagDoc, DagId, DagRunType, Queued, RunDoc, Topic, TopicDoc, TopicFacts, TopicId,
};
use updraft_task_queue::TaskQueue;

use super::tell::Remembered;

/// How many assets, and runs of one event, are read at most for one list.
const LIST_MAX: usize = 1000;

/// A DAG or a task that has to do with an asset, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The DAG.
    pub dag_id: DagId,
    /// The task; none: the DAG itself.
    pub task_id: Option<String>,
    /// Since when.
    pub created_at: Timestamp,
}

/// An asset.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetView {
    /// Airflow's number for it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub uri: String,
    /// Its group.
    pub group: String,
    /// What else is said about it.
    pub extra: Map<String, Value>,
    /// When it was first heard of.
    pub created_at: Timestamp,
    /// When this last changed.
    pub updated_at: Timestamp,
    /// DAGs whose schedules wait for it.
    pub scheduled_dags: Vec<Related>,
    /// Tasks that write it.
    pub producing_tasks: Vec<Related>,
    /// Tasks that read it.
    pub consuming_tasks: Vec<Related>,
    /// Aliases through which it was updated.
    pub aliases: Vec<String>,
    /// Its last event: number and instant.
    pub last_asset_event: Option<(u64, Timestamp)>,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasView {
    /// Airflow's number for it.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its group.
    pub group: String,
    /// The assets that were updated through it, by name.
    pub assets: Vec<String>,
    /// DAGs whose schedules wait for it.
    pub scheduled_dags: Vec<Related>,
}

/// A run that an event made, or helped to make.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOfEvent {
    /// Its name and DAG.
    pub consumed: Consumed,
    /// The run itself, while it is there.
    pub run: Option<RunDoc>,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub struct AssetEventView {
    /// Airflow's number for it.
    pub id: u64,
    /// Its asset's number.
    pub asset_id: u64,
    /// What happened.
    pub event: AssetEvent,
    /// The runs it made.
    pub created_dagruns: Vec<RunOfEvent>,
}

/// Which events are asked for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventFilter {
    /// Of this asset.
    pub asset_id: Option<u64>,
    /// Made by this DAG.
    pub source_dag_id: Option<String>,
    /// Made by this task.
    pub source_task_id: Option<String>,
    /// Made by this run.
    pub source_run_id: Option<String>,
    /// Made by this instance of a mapped task.
    pub source_map_index: Option<i64>,
    /// Not before this instant.
    pub timestamp_gte: Option<Timestamp>,
    /// Not after it.
    pub timestamp_lte: Option<Timestamp>,
}

impl EventFilter {
    fn fits(&self, event: &AssetEvent) -> bool {
        let source = event.source.as_ref();
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| found == Some(w));
        is(&self.source_dag_id, source.map(|s| s.dag_id.as_str()))
            && is(&self.source_task_id, source.map(|s| s.task_id.as_str()))
            && is(&self.source_run_id, source.map(|s| s.run_id.as_str()))
            && self.source_map_index.is_none_or(|w| source.is_some_and(|s| s.map_index == w))
            && self.timestamp_gte.is_none_or(|at| event.timestamp >= at)
            && self.timestamp_lte.is_none_or(|at| event.timestamp <= at)
    }
}

/// An event from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct EventWish {
    /// Of this asset.
    pub asset_id: u64,
    /// What is said about it.
    pub extra: Map<String, Value>,
    /// Who asks, so that asking twice with the same word makes one event; none: each asking makes one.
    pub request: Option<String>,
}

/// What waits for the rest of a schedule's condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuedEvent {
    /// The DAG that waits.
    pub dag_id: DagId,
    /// The asset's number; of an alias or a URI, that of the asset whose event came last.
    pub asset_id: u64,
    /// When the first of the events came.
    pub created_at: Timestamp,
}

fn related(topic: &TopicDoc, role: Role) -> Vec<Related> {
    let one = |(name, created_at): (&str, Timestamp)| match name.split_once(' ') {
        Some((dag_id, task_id)) => {
            Related { dag_id: DagId::trusted(dag_id), task_id: Some(task_id.to_owned()), created_at }
        }
        None => Related { dag_id: DagId::trusted(name), task_id: None, created_at },
    };
    topic.those(role).map(one).collect()
}

fn names(topic: &TopicDoc) -> Vec<String> {
    topic.those(Role::Alias).map(|(name, _)| name.to_owned()).collect()
}

fn asset_view(topic: &TopicDoc) -> AssetView {
    let TopicFacts { topic: named, uri, group, extra, created_at, updated_at } = topic.facts.clone();
    AssetView {
        id: topic.id.number(),
        name: named.name().to_owned(),
        uri,
        group: if group.is_empty() { "asset".to_owned() } else { group },
        extra,
        created_at,
        updated_at,
        scheduled_dags: related(topic, Role::Consumer),
        producing_tasks: related(topic, Role::Producer),
        consuming_tasks: related(topic, Role::Reader),
        aliases: names(topic),
        last_asset_event: topic.last.as_ref().map(|event| (event.number(), event.timestamp)),
    }
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    async fn topics_listed(&self, aliases: bool) -> Result<Vec<TopicDoc>, Error> {
        let (mut ids, mut page) = (Vec::new(), None);
        loop {
            let found = self.store.list_topics(aliases, 200, page).await?;
            ids.extend(found.items.iter().map(Topic::id));
            page = found.next;
            if page.is_none() {
                break;
            }
        }
        let mut topics = self.store.topics(&ids).await?;
        topics.sort_by(|a, b| a.facts.topic.cmp(&b.facts.topic));
        Ok(topics)
    }

    /// All assets that a DAG names, or that have had events, by name.
    pub async fn list_assets(&self) -> Result<Vec<AssetView>, Error> {
        let topics = self.topics_listed(false).await?;
        let is_active = |topic: &&TopicDoc| topic.taken > 0 || !topic.roles.is_empty();
        Ok(topics.iter().filter(is_active).map(asset_view).collect())
    }

    /// All aliases, by name.
    pub async fn list_asset_aliases(&self) -> Result<Vec<AliasView>, Error> {
        let view = |topic: &TopicDoc| AliasView {
            id: topic.id.number(),
            name: topic.facts.topic.name().to_owned(),
            group: "asset".to_owned(),
            assets: names(topic),
            scheduled_dags: related(topic, Role::Consumer),
        };
        Ok(self.topics_listed(true).await?.iter().map(view).collect())
    }

    /// An asset by its number.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn asset(&self, id: u64) -> Result<AssetView, Error> {
        self.asset_topic(id).await.map(|topic| asset_view(&topic))
    }

    async fn asset_topic(&self, id: u64) -> Result<TopicDoc, Error> {
        let found = self.store.topic(&TopicId::of_asset(id)).await?;
        found.ok_or_else(|| Error::NotFound { what: "the asset", name: id.to_string(), near: Vec::new() })
    }

    /// An alias by its number.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none.
    pub async fn asset_alias(&self, id: u64) -> Result<AliasView, Error> {
        let found = self.list_asset_aliases().await?.into_iter().find(|alias| alias.id == id);
        found.ok_or_else(|| Error::NotFound { what: "the asset alias", name: id.to_string(), near: Vec::new() })
    }

    /// An asset by its name, or by its URI.
    ///
    /// # Errors
    /// [`Error::NotFound`], with names that are close, where there is none; [`Error::Refused`] where nothing is asked for.
    pub async fn asset_named(&self, name: Option<&str>, uri: Option<&str>) -> Result<AssetView, Error> {
        if let Some(name) = name
            && let Some(topic) = self.store.topic(&Topic::Asset(name.to_owned()).id()).await?
        {
            return match uri {
                Some(uri) if uri != topic.facts.uri => Err(Error::Refused(format!(
                    "the asset `{name}` has the URI `{}`, not `{uri}`; one of the two says which asset is meant",
                    topic.facts.uri
                ))),
                _ => Ok(asset_view(&topic)),
            };
        }
        let Some(asked) = name.or(uri) else {
            return Err(Error::Refused("say which asset, by its name or its URI".to_owned()));
        };
        let assets = self.list_assets().await?;
        if let (None, Some(uri)) = (name, uri)
            && let Some(found) = assets.iter().find(|asset| asset.uri == uri)
        {
            return Ok(found.clone());
        }
        // A URI given for a name, or a name for a URI, is nearer than anything that is spelt like it.
        let meant = assets.iter().find(|asset| if name.is_some() { asset.uri == asked } else { asset.name == asked });
        let shown = |asset: &AssetView| if name.is_some() { asset.name.clone() } else { asset.uri.clone() };
        let near = match meant {
            Some(asset) => vec![shown(asset)],
            None => near(asked, assets.iter().map(shown).collect()),
        };
        Err(Error::NotFound { what: "the asset", name: asked.to_owned(), near })
    }

    /// Events, the latest first, at most `limit` after leaving out `offset`; and how many there are.
    pub async fn list_asset_events(
        &self,
        filter: &EventFilter,
        limit: usize,
        offset: usize,
    ) -> Result<(Vec<AssetEventView>, usize), Error> {
        let topics = match filter.asset_id {
            Some(id) => self.store.topic(&TopicId::of_asset(id)).await?.into_iter().collect(),
            None => self.topics_listed(false).await?,
        };
        let mut found: Vec<(TopicId, Numbered)> = Vec::new();
        for topic in &topics {
            let events = self.store.events(&topic.id, 0, topic.taken, LIST_MAX).await?;
            found.extend(events.into_iter().filter(|n| filter.fits(&n.event)).map(|n| (topic.id.clone(), n)));
        }
        found.sort_by(|(_, a), (_, b)| (b.event.timestamp, &b.event.id).cmp(&(a.event.timestamp, &a.event.id)));
        let total = found.len();
        let mut events = Vec::new();
        for (topic, numbered) in found.into_iter().skip(offset).take(limit) {
            events.push(self.event_view(&topic, numbered).await?);
        }
        Ok((events, total))
    }

    /// The events that made a run, in order (Airflow's `upstreamAssetEvents`).
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such run.
    pub async fn upstream_asset_events(&self, dag_id: &DagId, run_id: &str) -> Result<Vec<AssetEventView>, Error> {
        let run = self.run_named(dag_id, run_id).await?;
        let mut events = Vec::new();
        for numbered in self.events_of_run(&run.facts).await? {
            let topic = Topic::Asset(numbered.event.name.clone()).id();
            let own = self.store.event_numbers(&topic, &[&numbered.event.id]).await?;
            let number = own.get(&numbered.event.id).copied().unwrap_or(numbered.number);
            events.push(self.event_view(&topic, Numbered { number, ..numbered }).await?);
        }
        Ok(events)
    }

    async fn event_view(&self, topic: &TopicId, numbered: Numbered) -> Result<AssetEventView, Error> {
        let Numbered { number, event } = numbered;
        let mut consumed = self.store.consumed(topic, number, LIST_MAX).await?;
        for other in event.other_topics() {
            let id = other.id();
            if let Some(number) = self.store.event_numbers(&id, &[&event.id]).await?.get(&event.id) {
                consumed.extend(self.store.consumed(&id, *number, LIST_MAX).await?);
            }
        }
        consumed.sort_by(|a, b| (&a.dag_id, &a.run_id).cmp(&(&b.dag_id, &b.run_id)));
        consumed.dedup_by(|a, b| a.incarnation == b.incarnation);
        let ids: Vec<_> = consumed.iter().map(|run| run.incarnation.clone()).collect();
        let runs = self.store.runs(&ids).await?;
        let of = |consumed: Consumed| RunOfEvent {
            run: runs.iter().find(|r| r.facts.incarnation == consumed.incarnation && r.deleted_at.is_none()).cloned(),
            consumed,
        };
        Ok(AssetEventView {
            id: event.number(),
            asset_id: topic.number(),
            event,
            created_dagruns: consumed.into_iter().map(of).collect(),
        })
    }

    /// Makes an event from outside.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such asset, [`Error::Refused`] where too much is said about it.
    pub async fn create_asset_event(&self, wish: &EventWish) -> Result<AssetEventView, Error> {
        let topic = self.asset_topic(wish.asset_id).await?;
        check_extra(&wish.extra)?;
        let mut extra = wish.extra.clone();
        // As in Airflow.
        extra.insert("from_rest_api".to_owned(), Value::Bool(true));
        let request = wish.request.clone().unwrap_or_else(|| self.clock.draw(16));
        let event = AssetEvent {
            id: format!("outside.{request}"),
            name: topic.facts.topic.name().to_owned(),
            uri: topic.facts.uri.clone(),
            group: topic.facts.group.clone(),
            extra,
            source: None,
            aliases: Vec::new(),
            timestamp: Timestamp::from_microsecond(self.clock.now().as_microsecond()).unwrap_or(Timestamp::MAX),
        };
        let topic = self.tell(&event, Remembered::ByItsTopic).await?;
        let number = self.store.event_numbers(&topic.id, &[&event.id]).await?.get(&event.id).copied();
        self.event_view(&topic.id, Numbered { number: number.unwrap_or(topic.taken), event }).await
    }

    /// Runs the DAG that makes an asset.
    ///
    /// # Errors
    /// [`Error::NotFound`] where no DAG does, [`Error::Conflict`] where more than one does, [`Error::Refused`] where it cannot be triggered.
    pub async fn materialize_asset(&self, asset_id: u64, conf: Value, run_id: Option<String>) -> Result<RunDoc, Error> {
        let dag_id = self.maker_of_asset(asset_id).await?;
        let origin =
            Origin { run_type: DagRunType::AssetMaterialization, without_logical_date: true, ..Origin::default() };
        self.trigger_from(Trigger { dag_id, run_id, logical_date: None, conf }, &origin).await
    }

    /// The one DAG that makes an asset.
    ///
    /// # Errors
    /// [`Error::NotFound`] where no DAG does, [`Error::Conflict`] where more than one does.
    pub async fn maker_of_asset(&self, asset_id: u64) -> Result<DagId, Error> {
        let topic = self.asset_topic(asset_id).await?;
        let mut makers: Vec<DagId> = related(&topic, Role::Producer).into_iter().map(|maker| maker.dag_id).collect();
        makers.dedup();
        match makers.as_slice() {
            [] => {
                let name = topic.facts.topic.name().to_owned();
                Err(Error::NotFound { what: "a DAG that makes the asset", name, near: Vec::new() })
            }
            [dag_id] => Ok(dag_id.clone()),
            several => {
                let several: Vec<&str> = several.iter().map(DagId::as_str).collect();
                Err(Error::Conflict(format!(
                    "more than one DAG makes the asset `{}`: trigger one of `{}` instead",
                    topic.facts.topic.name(),
                    several.join("`, `")
                )))
            }
        }
    }

    /// The events that wait for the rest of a schedule's condition: of a DAG, of an asset, or of both.
    pub async fn queued_asset_events(
        &self,
        dag_id: Option<&DagId>,
        asset_id: Option<u64>,
        before: Option<Timestamp>,
    ) -> Result<Vec<QueuedEvent>, Error> {
        let mut found = Vec::new();
        for dag in self.waiting_dags(dag_id, asset_id).await? {
            for (topic, queued) in &dag.queue {
                if let Some(event) = self.queued(&dag, topic, *queued).await?
                    && asset_id.is_none_or(|id| id == event.asset_id)
                    && before.is_none_or(|before| event.created_at < before)
                {
                    found.push(event);
                }
            }
        }
        Ok(found)
    }

    /// Forgets events that wait for the rest of a schedule's condition; how many. They make no run any more, and stay in the history.
    pub async fn delete_queued_asset_events(
        &self,
        dag_id: Option<&DagId>,
        asset_id: Option<u64>,
        before: Option<Timestamp>,
    ) -> Result<usize, Error> {
        let mut deleted = 0;
        for mut dag in self.waiting_dags(dag_id, asset_id).await? {
            for _ in 0..ROUNDS_MAX {
                let mut gone = Vec::new();
                for (topic, queued) in &dag.queue {
                    let event = self.queued(&dag, topic, *queued).await?;
                    let is_meant = event.is_some_and(|event| {
                        asset_id.is_none_or(|id| id == event.asset_id)
                            && before.is_none_or(|before| event.created_at < before)
                    });
                    gone.extend(is_meant.then(|| (topic.clone(), *queued)));
                }
                if gone.is_empty() {
                    break;
                }
                let change = DagChange {
                    queue_put: gone.iter().map(|(topic, queued)| (topic.clone(), queued.consume())).collect(),
                    if_queue: gone.clone(),
                    ..DagChange::default()
                };
                match self.store.update_dag(&dag.dag_id, &change).await? {
                    Outcome::Updated(_) => {
                        deleted += gone.len();
                        break;
                    }
                    Outcome::Refused(Some(image)) => dag = image,
                    Outcome::Refused(None) => break,
                }
            }
        }
        Ok(deleted)
    }

    /// The DAGs in question where queued events are asked for.
    async fn waiting_dags(&self, dag_id: Option<&DagId>, asset_id: Option<u64>) -> Result<Vec<DagDoc>, Error> {
        if let Some(dag_id) = dag_id {
            return match self.store.dag(dag_id).await? {
                Some(dag) => Ok(vec![dag]),
                None => Err(self.no_such_dag(dag_id).await),
            };
        }
        let Some(asset_id) = asset_id else { return Ok(Vec::new()) };
        let topic = self.asset_topic(asset_id).await?;
        let aliases = names(&topic).into_iter().map(|alias| Topic::Alias(alias).id());
        let others: Vec<TopicId> = aliases.chain([Topic::Uri(topic.facts.uri.clone()).id()]).collect();
        let mut ids = topic.consumers();
        ids.extend(self.store.topics(&others).await?.iter().flat_map(TopicDoc::consumers));
        ids.sort();
        ids.dedup();
        let mut dags = self.store.dags(&ids).await?;
        dags.sort_by(|a, b| a.dag_id.cmp(&b.dag_id));
        Ok(dags)
    }

    async fn queued(&self, dag: &DagDoc, topic: &TopicId, queued: Queued) -> Result<Option<QueuedEvent>, Error> {
        let Some(created_at) = queued.since.filter(|_| queued.is_waiting()) else { return Ok(None) };
        let own = if *topic == TopicId::of_asset(topic.number()) {
            topic.clone()
        } else {
            let last = self.store.events(topic, queued.taken, queued.told, 1).await?;
            let Some(last) = last.first() else { return Ok(None) };
            Topic::Asset(last.event.name.clone()).id()
        };
        Ok(Some(QueuedEvent { dag_id: dag.dag_id.clone(), asset_id: own.number(), created_at }))
    }
}

/// Refuses what is too large for an event.
fn check_extra(extra: &Map<String, Value>) -> Result<(), Error> {
    let bytes = Value::Object(extra.clone()).to_string().len();
    if bytes > EXTRA_BYTES_MAX {
        return Err(Error::Refused(format!(
            "the event's extra has {bytes} bytes; at most {EXTRA_BYTES_MAX} fit: put the data into a file and say where it is"
        )));
    }
    Ok(())
}
