//! Assets: who has to do with them, their events, and the runs that these make.
//!
//! An event is taken by its topic, which numbers it, and then told to the DAGs whose schedules name the topic (`tell`). A look at such a DAG
//! makes the runs (`runs`). What people see and do is in `views`.

mod runs;
mod tell;
mod views;

pub use runs::EVENTS_SHOWN_MAX;
pub(crate) use runs::is_due;
pub use views::{AliasView, AssetEventView, AssetView, EventFilter, EventWish, QueuedEvent, Related, RunOfEvent};

use crate::engine::{Engine, Error};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::asset::Role;
use updraft_model::{AssetRef, Dag, DagDoc, Queued, Topic, TopicChange, TopicDoc, TopicFacts, TopicId};
use updraft_task_queue::TaskQueue;

/// How a DAG has to do with topics: what it is to each of them, and what it says about it.
type Roles = BTreeMap<TopicId, (TopicFacts, BTreeSet<(Role, String)>)>;

/// How a DAG has to do with topics.
fn roles(dag: &Dag, now: Timestamp) -> Roles {
    let mut found = Roles::new();
    let mut add = |reference: &AssetRef, role: Role, name: String| {
        let facts = TopicFacts::of(reference, now);
        let (known, roles) = found.entry(facts.topic.id()).or_insert_with(|| (facts.clone(), BTreeSet::new()));
        // Whoever says where it is knows more than whoever only names it.
        if known.uri.is_empty() {
            *known = facts;
        }
        roles.insert((role, name));
    };
    for reference in dag.assets.iter().flat_map(updraft_model::AssetCondition::references) {
        add(reference, Role::Consumer, dag.dag_id.to_string());
    }
    for task in &dag.tasks {
        let name = || format!("{} {}", dag.dag_id, task.task_id);
        task.outlets.iter().for_each(|outlet| add(outlet, Role::Producer, name()));
        task.inlets.iter().for_each(|inlet| add(inlet, Role::Reader, name()));
    }
    found
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Enters a DAG with the topics that it names, and takes it out of those that it named before and names no more. Returns what it is to
    /// know of those that its schedule names: events from before it asked make no run.
    ///
    /// Before the version becomes the DAG's current one, so that whoever dies in between does it again.
    pub(crate) async fn enter_topics(&self, dag: &Dag, before: &DagDoc) -> Result<BTreeMap<TopicId, Queued>, Error> {
        let now = self.clock.now();
        let old = match &before.version {
            Some(version) => roles(&self.version(version).await?.plan.dag, now),
            None => Roles::new(),
        };
        let new = roles(dag, now);
        let mut queue = BTreeMap::new();
        for (id, (facts, those)) in &new {
            let gone = old.get(id).map(|(_, old)| old.difference(those).cloned().collect()).unwrap_or_default();
            let topic = self.join_topic(id, facts, those, gone).await?;
            if those.iter().any(|(role, _)| *role == Role::Consumer) {
                let known = before.queue.get(id).copied();
                queue.insert(id.clone(), known.unwrap_or(Queued::from_here(topic.taken)));
            }
        }
        for (id, (_, those)) in old.iter().filter(|(id, _)| !new.contains_key(*id)) {
            let leave = those.iter().cloned().collect();
            self.store.update_topic(id, &TopicChange { leave, ..TopicChange::default() }).await?;
        }
        Ok(queue)
    }

    /// Takes a DAG out of all topics: its file is gone.
    pub(crate) async fn leave_topics(&self, dag: &DagDoc) -> Result<(), Error> {
        let Some(version) = &dag.version else { return Ok(()) };
        for (id, (_, those)) in roles(&self.version(version).await?.plan.dag, self.clock.now()) {
            let change = TopicChange { leave: those.into_iter().collect(), ..TopicChange::default() };
            self.store.update_topic(&id, &change).await?;
        }
        Ok(())
    }

    /// Makes a topic if there is none, and enters somebody with it.
    async fn join_topic(
        &self,
        id: &TopicId,
        facts: &TopicFacts,
        those: &BTreeSet<(Role, String)>,
        leave: Vec<(Role, String)>,
    ) -> Result<TopicDoc, Error> {
        let there = self.known_topic(facts).await?;
        let news = news(&there.facts, facts);
        if let Some(news) = &news
            && !there.facts.uri.is_empty()
            && news.uri != there.facts.uri
        {
            tracing::warn!(
                asset = facts.topic.name(),
                uri = news.uri,
                before = there.facts.uri,
                "an asset of this name has another URI in another place; the last one read counts: give one of them another name"
            );
        }
        let missing = those.iter().filter(|role| !there.roles.contains_key(role));
        let join: Vec<_> = missing.map(|(role, name)| (*role, name.clone(), self.clock.now())).collect();
        if join.is_empty() && leave.is_empty() && news.is_none() {
            return Ok(there);
        }
        let change = TopicChange { facts: news, join, leave, ..TopicChange::default() };
        match self.store.update_topic(id, &change).await? {
            Outcome::Updated(topic) | Outcome::Refused(Some(topic)) => Ok(topic),
            Outcome::Refused(None) => Err(Error::Contention(facts.topic.name().to_owned())),
        }
    }

    /// A topic's document, made of these facts where there is none.
    async fn known_topic(&self, facts: &TopicFacts) -> Result<TopicDoc, Error> {
        let id = facts.topic.id();
        if let Some(there) = self.store.topic(&id).await? {
            return Ok(there);
        }
        let mut facts = facts.clone();
        if matches!(facts.topic, Topic::Asset(_)) && facts.uri.is_empty() {
            // Known by its name alone, as an asset of a URI alone is by that.
            facts.uri = facts.topic.name().to_owned();
        }
        self.store.put_topic(&TopicDoc::new(facts.clone())).await?;
        self.store.topic(&id).await?.ok_or_else(|| Error::Contention(facts.topic.name().to_owned()))
    }
}

/// What is known of a topic after somebody said this about it; none: nothing new.
fn news(known: &TopicFacts, said: &TopicFacts) -> Option<TopicFacts> {
    let says_something = !said.uri.is_empty();
    let same = known.uri == said.uri && known.group == said.group && known.extra == said.extra;
    (says_something && !same).then(|| TopicFacts { created_at: known.created_at, ..said.clone() })
}
