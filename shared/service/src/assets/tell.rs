//! An event on its way: taken by its topic, told to whoever waits for it. Each part may be done again by anybody, any number of times at once,
//! and is done once (ARCHITECTURE.md, rules D1 to D3).

use crate::engine::{Engine, Error, ROUNDS_MAX};
use jiff::SignedDuration;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::asset::{Role, outlet_events};
use updraft_model::{
    AssetEvent, AssetRef, AttemptKey, DagChange, EventSource, RunDoc, TaskIndex, Token, Topic, TopicChange, TopicDoc,
    TopicFacts, TopicId,
};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// How long an event that came from outside may be on its way before a look takes it up.
const TELL_PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// Who sees to it that an event is told, should the process die that takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remembered {
    /// The outbox of the run whose task made it.
    ByItsRun,
    /// Its topic, by the time index.
    ByItsTopic,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Tells the events of a try that succeeded.
    pub(crate) async fn tell_outlets(
        &self,
        run: &RunDoc,
        task: TaskIndex,
        map_index: Option<u32>,
        try_number: u32,
        token: &Token,
    ) -> Result<(), Error> {
        let version = self.version(&run.facts.version).await?;
        let definition = version.plan.task(task);
        if definition.outlets.is_empty() {
            return Ok(());
        }
        let incarnation = &run.facts.incarnation;
        let key = AttemptKey { incarnation: incarnation.clone(), task, map_index, try_number, token: token.clone() };
        // A task that is not mapped has the index -1, as in Airflow.
        let map_index = map_index.map_or(-1, i64::from);
        // Its end was written after its item, so it is there, unless the run has been deleted since.
        let Some(attempt) = self.store.attempt(&key).await? else { return Ok(()) };
        let events = outlet_events(&definition.outlets, &attempt.outlet_events);
        for (number, (reference, aliases, extra)) in events.into_iter().enumerate() {
            let facts = self.asset_of(&reference).await?;
            let event = AssetEvent {
                id: format!("{incarnation}.{task}.{map_index}.{try_number}.{token}.{number}"),
                name: facts.topic.name().to_owned(),
                uri: facts.uri,
                group: facts.group,
                extra,
                source: Some(EventSource {
                    dag_id: run.facts.dag_id.clone(),
                    run_id: run.facts.run_id.clone(),
                    incarnation: incarnation.clone(),
                    task_id: definition.task_id.to_string(),
                    map_index,
                }),
                aliases,
                timestamp: attempt.end_date,
            };
            self.tell(&event, Remembered::ByItsRun).await?;
        }
        Ok(())
    }

    /// The asset that a task's outlet is, where it is known; else what the outlet says of it.
    async fn asset_of(&self, reference: &AssetRef) -> Result<TopicFacts, Error> {
        let facts = match reference {
            AssetRef::Uri(uri) => TopicFacts::of(&AssetRef::Asset(updraft_model::Asset::of_uri(uri)), self.clock.now()),
            other => TopicFacts::of(other, self.clock.now()),
        };
        match self.store.topic(&facts.topic.id()).await? {
            // As the outlet of this run's version has it, whatever other files say by now.
            Some(known) if facts.uri.is_empty() => Ok(known.facts),
            Some(_) => Ok(facts),
            None => Ok(self.known_topic(&facts).await?.facts),
        }
    }

    /// Takes an event into its topics and tells those who wait for it. Again is fine.
    pub(crate) async fn tell(&self, event: &AssetEvent, remembered: Remembered) -> Result<TopicDoc, Error> {
        let own = Topic::Asset(event.name.clone());
        let Some(topic) = self.store.topic(&own.id()).await? else {
            return Err(Error::NotFound { what: "the asset", name: event.name.clone(), near: Vec::new() });
        };
        for alias in &event.aliases {
            self.tie(&topic, alias).await?;
        }
        // Whoever took the last one may have died before all were told, and nobody will find that event here once this one is the last.
        if let (Some(_), Some(last)) = (topic.wake_at, topic.last.clone())
            && last.id != event.id
        {
            self.tell_of(&topic, &last, topic.taken).await?;
        }
        let (topic, number) = self.take_event(topic, event, remembered).await?;
        self.tell_of(&topic, event, number).await?;
        if remembered == Remembered::ByItsTopic || topic.wake_at.is_some() {
            // Refused: it has taken another one since, whose teller sees to that.
            let rest = TopicChange { if_taken: Some(topic.taken), wake_at: Some(None), ..TopicChange::default() };
            self.store.update_topic(&topic.id, &rest).await?;
        }
        Ok(topic)
    }

    /// Tells those who wait for a topic of an event it has taken, and those who wait for its alias or its URI.
    async fn tell_of(&self, topic: &TopicDoc, event: &AssetEvent, number: u64) -> Result<(), Error> {
        self.tell_consumers(topic, event, number).await?;
        let others: Vec<TopicId> = event.other_topics().map(|topic| topic.id()).collect();
        for other in self.store.topics(&others).await? {
            let (other, number) = self.take_event(other, event, Remembered::ByItsRun).await?;
            self.tell_consumers(&other, event, number).await?;
        }
        Ok(())
    }

    /// Notes that an asset was updated through an alias.
    async fn tie(&self, asset: &TopicDoc, alias: &str) -> Result<(), Error> {
        if asset.roles.contains_key(&(Role::Alias, alias.to_owned())) {
            return Ok(());
        }
        let now = self.clock.now();
        let facts = TopicFacts::of(&AssetRef::Alias { name: alias.to_owned() }, now);
        let other = self.known_topic(&facts).await?;
        for (id, name) in [(&other.id, asset.facts.topic.name()), (&asset.id, alias)] {
            let join = vec![(Role::Alias, name.to_owned(), now)];
            self.store.update_topic(id, &TopicChange { join, ..TopicChange::default() }).await?;
        }
        Ok(())
    }

    /// Takes an event into a topic, as its next one unless the topic has it. Returns the topic as it was then or after, and the event's number.
    ///
    /// The topic's document is read before it is asked whether the event is known by its id, and names its last event: whoever takes the next
    /// one puts that one's items first. So where the write is accepted, the event was neither taken before (it would be known by its id, or be
    /// the last) nor meanwhile (the count would be another).
    async fn take_event(
        &self,
        mut topic: TopicDoc,
        event: &AssetEvent,
        remembered: Remembered,
    ) -> Result<(TopicDoc, u64), Error> {
        for _ in 0..ROUNDS_MAX {
            if topic.last.as_ref().is_some_and(|last| last.id == event.id) {
                self.store.put_event(&topic.id, topic.taken, event).await?;
                let number = topic.taken;
                return Ok((topic, number));
            }
            let asked: Vec<&str> = topic.last.iter().map(|last| last.id.as_str()).chain([event.id.as_str()]).collect();
            let known = self.store.event_numbers(&topic.id, &asked).await?;
            if let Some(number) = known.get(&event.id) {
                return Ok((topic, *number));
            }
            if let Some(last) = topic.last.as_ref().filter(|last| !known.contains_key(&last.id)) {
                self.store.put_event(&topic.id, topic.taken, last).await?;
            }
            let wake =
                self.clock.now().saturating_add(TELL_PATIENCE).ok().filter(|_| remembered == Remembered::ByItsTopic);
            let change = TopicChange {
                if_taken: Some(topic.taken),
                take: Some(event.clone()),
                wake_at: wake.map(|at| Some(topic.wake_at.map_or(at, |had| had.min(at)))),
                ..TopicChange::default()
            };
            topic = match self.store.update_topic(&topic.id, &change).await? {
                Outcome::Updated(image) | Outcome::Refused(Some(image)) => image,
                Outcome::Refused(None) => return Err(Error::Contention(event.name.clone())),
            };
        }
        Err(Error::Contention(event.name.clone()))
    }

    /// Tells the DAGs that wait for a topic of an event. As in Airflow, those that are paused are not told, nor those whose file is gone.
    async fn tell_consumers(&self, topic: &TopicDoc, event: &AssetEvent, number: u64) -> Result<(), Error> {
        let consumers = topic.consumers();
        if consumers.is_empty() {
            return Ok(());
        }
        for dag in self.readable_dags(&consumers).await? {
            let mut dag = dag;
            for round in 0..=ROUNDS_MAX {
                if round == ROUNDS_MAX {
                    return Err(Error::Contention(dag.dag_id.to_string()));
                }
                let Some(known) = dag.queue.get(&topic.id).copied().filter(|_| !dag.paused && dag.version.is_some())
                else {
                    break;
                };
                let Some(told) = known.tell(number, event.timestamp) else { break };
                let now = self.clock.now();
                let change = DagChange {
                    if_paused: Some(false),
                    if_queue: vec![(topic.id.clone(), known)],
                    if_wake_at: Some(dag.wake_at),
                    queue_put: vec![(topic.id.clone(), told)],
                    wake_at: Some(Some(dag.wake_at.map_or(now, |at| at.min(now)))),
                    ..DagChange::default()
                };
                match self.store.update_dag(&dag.dag_id, &change).await? {
                    Outcome::Updated(image) => {
                        self.send(vec![Outgoing::now(Message::Dag { dag_id: image.dag_id })]).await;
                        break;
                    }
                    Outcome::Refused(Some(image)) => dag = image,
                    Outcome::Refused(None) => break,
                }
            }
        }
        Ok(())
    }

    /// Looks at a topic whose last event, from outside, may not have been told: tells it again.
    pub(crate) async fn look_at_topic(&self, id: &TopicId) -> Result<(), Error> {
        let Some(topic) = self.store.topic(id).await? else { return Ok(()) };
        if let Some(event) = &topic.last {
            self.tell(event, Remembered::ByItsTopic).await?;
            return Ok(());
        }
        let rest = TopicChange { if_taken: Some(0), wake_at: Some(None), ..TopicChange::default() };
        self.store.update_topic(id, &rest).await?;
        Ok(())
    }
}
