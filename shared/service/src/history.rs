//! Removing the history of DAGs: runs that ended before an instant, with their attempts, logs and values; backfills that ended before; asset
//! events that came before.
//!
//! Nothing that a run to come may look back at is removed: of each DAG the latest run and the latest one of the schedule stay, and so do
//! those before each run that has not ended.

use crate::engine::{Engine, Error};
use crate::readable::tell;
use jiff::{SignedDuration, Timestamp};
use updraft_clock::Clock;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::asset::Numbered;
use updraft_model::{BackfillId, DagId, DagRunType, RunDoc, RunName, Topic, TopicDoc, ValueRef};
use updraft_task_queue::TaskQueue;

/// How long an asset event is kept in any case: somebody who took it long ago may yet ask whether it was taken, by its id (ARCHITECTURE.md,
/// rule D2).
const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// How many names one request brings.
const PAGE: usize = 200;

/// What can be removed of a DAG's history.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Removable {
    /// Runs that ended before the instant.
    pub runs: Vec<RunDoc>,
    /// Names whose runs are gone: what a removal that was interrupted left.
    pub leftovers: Vec<RunName>,
    /// Runs that ended before the instant, and stay since others may look back at them.
    pub kept: usize,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// What can be removed of a DAG's runs that ended before an instant.
    pub async fn removable(&self, dag_id: &DagId, before: Timestamp) -> Result<Removable, Error> {
        let mut found = Removable::default();
        // Whether the next older run that has ended is one that somebody may look back at: of any kind, and of the schedule.
        let (mut keep_any, mut keep_scheduled) = (true, true);
        let mut page = None;
        loop {
            let names = self.store.list_run_names(dag_id, PAGE, page).await?;
            for name in names.items {
                let Some(run) = self.store.run(&name.incarnation).await? else {
                    if name.run_after < before && self.is_gone(dag_id, &name).await? {
                        found.leftovers.push(name);
                    }
                    continue;
                };
                if !run.state.is_finished() || !run.outbox.is_empty() {
                    (keep_any, keep_scheduled) = (true, true);
                    continue;
                }
                let scheduled = run.facts.run_type != DagRunType::Manual;
                let keep = keep_any || (keep_scheduled && scheduled);
                keep_any = false;
                keep_scheduled &= !scheduled;
                if run.end_date.is_none_or(|end| end >= before) {
                    continue;
                }
                if keep {
                    found.kept += 1;
                } else {
                    found.runs.push(run);
                }
            }
            page = names.next;
            if page.is_none() {
                return Ok(found);
            }
        }
    }

    /// Whether a name's run is gone for good, rather than not yet put by whoever makes it: a run of the schedule is among the active ones
    /// until its document is known to be there.
    async fn is_gone(&self, dag_id: &DagId, name: &RunName) -> Result<bool, Error> {
        let dag = self.store.dag(dag_id).await?;
        let listed = |run| dag.as_ref().is_some_and(|dag| dag.active.contains_key(run) || dag.held.contains_key(run));
        Ok(!listed(&name.incarnation) && self.store.run(&name.incarnation).await?.is_none())
    }

    /// Removes a run that has ended, and all it left behind. False: it was written to since it was read (cleared, for one), and stays.
    ///
    /// # Errors
    /// When a store is unavailable. What was not removed by then is found again by [`Engine::removable`], as a leftover.
    pub async fn remove_run<L: LogStore>(&self, logs: &L, run: &RunDoc) -> Result<bool, Error> {
        if !run.state.is_finished() || !run.outbox.is_empty() || !self.store.delete_run(run).await? {
            return Ok(false);
        }
        let facts = &run.facts;
        let (run_id, incarnation) = (facts.run_id.clone(), facts.incarnation.clone());
        let name = RunName { run_id, incarnation, run_after: facts.run_after };
        self.remove_rest(logs, &facts.dag_id, &name, facts.logical_date).await?;
        Ok(true)
    }

    /// Removes what is left of a run whose document is gone.
    pub async fn remove_leftover<L: LogStore>(&self, logs: &L, dag_id: &DagId, name: &RunName) -> Result<(), Error> {
        // A logical date whose run is gone counts as free, so the claim on it may stay.
        self.remove_rest(logs, dag_id, name, None).await
    }

    /// The backfills of some DAGs that ended before an instant.
    pub async fn removable_backfills(&self, dags: &[DagId], before: Timestamp) -> Result<Vec<BackfillId>, Error> {
        let all = self.store.list_backfills().await?;
        tell(&all.unreadable);
        let is_over = |at: Timestamp| at < before;
        Ok(all
            .items
            .into_iter()
            .filter(|backfill| backfill.completed_at.is_some_and(is_over) && backfill.active.is_empty())
            .filter(|backfill| dags.contains(&backfill.dag_id))
            .map(|backfill| backfill.id)
            .collect())
    }

    /// Removes a backfill that has ended. Its runs stay.
    pub async fn remove_backfill(&self, id: &BackfillId) -> Result<(), Error> {
        Ok(self.store.delete_backfill(id).await?)
    }

    /// Removes asset events that came before an instant, and says how many there are; `dry_run`: only says it. The last event of an asset stays, and
    /// so do those of the last day, and those that wait to make a run.
    pub async fn remove_asset_events(&self, before: Timestamp, dry_run: bool) -> Result<usize, Error> {
        let before = before.min(self.clock.now().saturating_sub(EVENTS_KEPT).unwrap_or(before));
        let mut removed = 0;
        for aliases in [false, true] {
            let mut page = None;
            loop {
                let found = self.store.list_topics(aliases, PAGE, page).await?;
                for topic in &found.items {
                    let Some(doc) = self.store.topic(&topic.id()).await? else { continue };
                    let of_topic = self.remove_events_of(&doc, before, dry_run).await?;
                    // Under an alias or a URI an event is known once more.
                    removed += if aliases { 0 } else { of_topic };
                    if let Some(by_uri) = self.store.topic(&Topic::Uri(doc.facts.uri.clone()).id()).await? {
                        self.remove_events_of(&by_uri, before, dry_run).await?;
                    }
                }
                page = found.next;
                if page.is_none() {
                    break;
                }
            }
        }
        Ok(removed)
    }

    async fn remove_events_of(&self, topic: &TopicDoc, before: Timestamp, dry_run: bool) -> Result<usize, Error> {
        let consumers = self.store.dags(&topic.consumers()).await?;
        let waiting = consumers.iter().filter_map(|dag| dag.queue.get(&topic.id)).filter(|queued| queued.is_waiting());
        let most = waiting.map(|queued| queued.taken).min().unwrap_or(u64::MAX).min(topic.taken.saturating_sub(1));
        let is_old = |one: &&Numbered| one.event.timestamp < before && one.number <= most;
        let (mut last, mut found) = (0, 0);
        loop {
            let page = self.store.first_events(&topic.id, last, PAGE).await?;
            // What comes after one that stays, stays too.
            let old: Vec<&Numbered> = page.iter().take_while(is_old).collect();
            let Some(until) = old.last() else { return Ok(found) };
            if !dry_run {
                for one in &old {
                    self.store.delete_event(&topic.id, one.number, &one.event.id).await?;
                }
                self.store.forget_consumed(&topic.id, until.number).await?;
            }
            (last, found) = (until.number, found + old.len());
            if old.len() < PAGE {
                return Ok(found);
            }
        }
    }

    async fn remove_rest<L: LogStore>(
        &self,
        logs: &L,
        dag_id: &DagId,
        name: &RunName,
        logical_date: Option<Timestamp>,
    ) -> Result<(), Error> {
        for (key, attempt) in self.store.attempts_of(&name.incarnation, None).await? {
            let values = attempt.xcoms.values().filter_map(|value| match value {
                ValueRef::At(uri) => Some(uri),
                ValueRef::Inline(_) => None,
            });
            for uri in values.chain(&attempt.log_uri).chain(&attempt.rendered_uri) {
                logs.remove(uri).await?;
            }
            self.store.delete_attempt(&key).await?;
        }
        for callback in self.store.callbacks_of(&name.incarnation).await? {
            self.store.delete_callback(&callback.key).await?;
        }
        self.store.delete_beside_run(&name.incarnation).await?;
        self.store.forget_values_of_run(&name.incarnation, None).await?;
        Ok(self.store.delete_run_entries(dag_id, name, logical_date).await?)
    }
}
