//! Runs that asset events make, and the events that made a run.

use crate::engine::{Engine, Error, Version};
use jiff::Timestamp;
use std::collections::BTreeMap;
use updraft_clock::Clock;
use updraft_metastore::{Consumed, Items, Outcome};
use updraft_model::asset::Numbered;
use updraft_model::run_id::{self, Ending};
use updraft_model::{DagDoc, DagRunType, Incarnation, Queued, RunFacts, TopicId};
use updraft_scheduling::places;
use updraft_task_queue::TaskQueue;

/// How many events of one topic a run is shown, the last ones.
pub const EVENTS_SHOWN_MAX: usize = 1000;

/// Whether the events that a DAG was told of are all that its schedule asks for.
pub(crate) fn is_due(version: &Version, dag: &DagDoc) -> bool {
    let waiting = |topic: &TopicId| dag.queue.get(topic).is_some_and(|queued| queued.is_waiting());
    version.plan.dag.assets.as_ref().is_some_and(|condition| condition.holds(&waiting))
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Creates the run that asset events ask for, if they do. True: one was created.
    pub(crate) async fn create_triggered(&self, dag: DagDoc) -> Result<(DagDoc, bool), Error> {
        if dag.queue.values().all(|queued| !queued.is_waiting()) || dag.paused || !dag.has_room() {
            return Ok((dag, false));
        }
        let Some(version_id) = dag.version.clone() else { return Ok((dag, false)) };
        let version = self.version(&version_id).await?;
        if !is_due(&version, &dag) {
            return Ok((dag, false));
        }
        let now = self.clock.now();
        let topics = version.plan.dag.assets.as_ref().map(updraft_model::AssetCondition::topics).unwrap_or_default();
        let taken: Vec<(TopicId, Queued)> = dag
            .queue
            .iter()
            .filter(|(topic, queued)| topics.contains(*topic) && queued.is_waiting())
            .map(|(topic, queued)| (topic.clone(), *queued))
            .collect();
        let facts = self.facts_of_triggered(&dag, &version, &taken, now);
        match self.store.update_dag(&dag.dag_id, &places::create_triggered(&dag, &facts, &taken, now)).await? {
            Outcome::Updated(image) => {
                if !self.put_scheduled(&facts).await? {
                    self.forget(&image.dag_id, &facts.incarnation).await?;
                }
                Ok((image, true))
            }
            Outcome::Refused(Some(image)) => {
                if image.active.contains_key(&facts.incarnation) {
                    self.put_scheduled(&facts).await?;
                }
                Ok((image, true))
            }
            Outcome::Refused(None) => Ok((dag, false)),
        }
    }

    /// The facts of a run that stands for no instant: it may start when the last of its events came.
    fn facts_of_triggered(
        &self,
        dag: &DagDoc,
        version: &Version,
        taken: &[(TopicId, Queued)],
        now: Timestamp,
    ) -> RunFacts {
        let last = taken.iter().filter_map(|(_, queued)| queued.until).max().unwrap_or(now);
        let run_after = Timestamp::from_microsecond(last.as_microsecond()).unwrap_or(last);
        let tail = self.clock.draw(run_id::TAIL_LENGTH);
        RunFacts {
            incarnation: Incarnation::trusted(self.clock.draw(12)),
            dag_id: dag.dag_id.clone(),
            run_id: run_id::generate(DagRunType::AssetTriggered, run_after, Ending::Tail(&tail)),
            run_type: DagRunType::AssetTriggered,
            logical_date: None,
            data_interval: None,
            partition: None,
            run_after,
            queued_at: now,
            version: version.id.clone(),
            conf: serde_json::Value::Null,
            origin: updraft_model::RunOrigin {
                triggered_by: Some(updraft_model::TriggeredBy::Asset),
                ..updraft_model::RunOrigin::default()
            },
            asset_events: taken.iter().map(|(topic, queued)| (topic.clone(), (queued.taken, queued.told))).collect(),
        }
    }

    /// Notes with each topic that a run was made of its events. Again is fine.
    pub(crate) async fn note_consumed(&self, facts: &RunFacts) -> Result<(), Error> {
        for (topic, (after, up_to)) in &facts.asset_events {
            let consumed = Consumed {
                after: *after,
                up_to: *up_to,
                dag_id: facts.dag_id.clone(),
                run_id: facts.run_id.clone(),
                incarnation: facts.incarnation.clone(),
            };
            self.store.put_consumed(topic, &consumed).await?;
        }
        Ok(())
    }

    /// The events that made a run, by topic, in order: of each the last [`EVENTS_SHOWN_MAX`]. An event that came under several topics is there
    /// once.
    pub async fn events_of_run(&self, facts: &RunFacts) -> Result<Vec<Numbered>, Error> {
        let mut found: BTreeMap<(Timestamp, String), Numbered> = BTreeMap::new();
        for (topic, (after, up_to)) in &facts.asset_events {
            for numbered in self.store.events(topic, *after, *up_to, EVENTS_SHOWN_MAX).await? {
                found.entry((numbered.event.timestamp, numbered.event.id.clone())).or_insert(numbered);
            }
        }
        Ok(found.into_values().collect())
    }
}
