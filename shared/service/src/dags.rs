//! Looking at a DAG: put what a dead creator did not put, forget what has ended, create what is due.

use crate::assets::is_due;
use crate::dates::{Claimed, name_of};
use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::figures;
use crate::tick::LOOK_AHEAD;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome, keys};
use updraft_model::run_id::Ending;
use updraft_model::{
    DagChange, DagDoc, DagId, DagRunState, DagRunType, DataInterval, Incarnation, RunDoc, RunFacts, run_id,
};
use updraft_scheduling::{attention, holders, places, step};
use updraft_task_queue::{Message, Outgoing, TaskQueue};
use updraft_timetables::DagRunInfo;

/// How many runs one look creates before it lets others have a turn; the DAG stays due.
const CREATED_PER_LOOK_MAX: usize = 32;

/// How many of a DAG's latest runs are told of a pause, whether they are known to be under way or not.
const RECENT: usize = 100;

/// When a DAG must be looked at next. `confirmed`: every active run is known to have its document. `triggered`: asset events ask for a run.
fn needed(dag: &DagDoc, confirmed: bool, triggered: bool, now: Timestamp) -> Option<Timestamp> {
    let soon = now.saturating_add(attention::LOOK_EVERY).unwrap_or(Timestamp::MAX);
    let later = now.saturating_add(SignedDuration::from_mins(15)).unwrap_or(Timestamp::MAX);
    let due = dag.next_due.filter(|_| !dag.paused && dag.version.is_some());
    // A run that falls due later keeps its instant even while there is no place for it: the write that frees one does not move the
    // wake-up. One that is due already waits for the place, which whoever leaves it announces.
    let due = due.map(|at| if dag.has_room() || at > now { at } else { soon });
    let runs = (!dag.active.is_empty()).then_some(if confirmed { later } else { soon });
    let held = (!dag.held.is_empty() && !dag.paused).then_some(soon);
    // What asset events ask for waits for a place, which whoever leaves it announces, or for the next look.
    let triggered = (triggered && !dag.paused).then_some(soon);
    due.into_iter().chain(runs).chain(held).chain(triggered).min()
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks at a DAG. Harmless at any time, any number at once.
    pub async fn look_at_dag(&self, dag_id: &DagId) -> Result<(), Error> {
        let Some(dag) = self.store.dag(dag_id).await? else { return Ok(()) };
        let found_at = dag.wake_at;
        let (mut dag, confirmed) = self.confirm(dag).await?;
        if dag.backfill.is_some() {
            Box::pin(self.tell_runs_under_way(&dag)).await?;
        }
        let mut created = 0;
        for _ in 0..ROUNDS_MAX {
            let (image, due) = self.create_due(dag).await?;
            let (image, triggered) = self.create_triggered(image).await?;
            dag = image;
            let progress = due || triggered;
            created += usize::from(progress);
            if !progress || created == CREATED_PER_LOOK_MAX {
                break;
            }
        }
        self.send(Self::room_messages(&dag, self.clock.now())).await;
        // A run that others, or this look, made active since may yet have to be put.
        let all_are_there = dag.active.keys().all(|run| confirmed.contains(run));
        self.rearm_dag(&dag, all_are_there).await?;
        self.send(Self::ahead_messages(&dag, found_at, self.clock.now())).await;
        Ok(())
    }

    /// A delayed look at a DAG whose next run falls due before every tick is sure to have seen that it does. Without it, whatever is
    /// due every minute would be found by each tick only once it is late: it becomes due again after the tick has asked. None where
    /// the DAG was found waiting for that very instant: whoever made it wait has sent the look, or a tick has.
    fn ahead_messages(dag: &DagDoc, found_at: Option<Timestamp>, now: Timestamp) -> Vec<Outgoing> {
        let until = now.saturating_add(LOOK_AHEAD).unwrap_or(Timestamp::MAX);
        let due = dag.next_due.filter(|due| !dag.paused && *due > now && *due <= until && found_at != Some(*due));
        let message = |due: Timestamp| Outgoing {
            message: Message::Dag { dag_id: dag.dag_id.clone() },
            delay: Duration::try_from(due.duration_since(now)).unwrap_or_default(),
        };
        due.map(message).into_iter().collect()
    }

    /// Puts the next look where it is needed, if nobody wrote meanwhile; else the DAG stays due and is looked at again.
    async fn rearm_dag(&self, dag: &DagDoc, confirmed: bool) -> Result<(), Error> {
        let now = self.clock.now();
        let triggered = match &dag.version {
            Some(version) if dag.queue.values().any(|queued| queued.is_waiting()) => {
                is_due(&*self.version(version).await?, dag)
            }
            _ => false,
        };
        let need = needed(dag, confirmed, triggered, now);
        // A need that is already past (more runs are due than one look makes) keeps the DAG due.
        let earlier = matches!((dag.wake_at, need), (Some(have), Some(need)) if have <= need && have > now);
        if dag.wake_at == need || earlier {
            return Ok(());
        }
        let change = DagChange { if_revision: Some(dag.revision), wake_at: Some(need), ..DagChange::default() };
        self.store.update_dag(&dag.dag_id, &change).await?;
        Ok(())
    }

    /// Puts again the runs whose creator died, and forgets places whose runs have ended (ARCHITECTURE.md, rule C3). Returns the runs it looked at,
    /// which now have their documents.
    async fn confirm(&self, mut dag: DagDoc) -> Result<(DagDoc, BTreeSet<Incarnation>), Error> {
        if dag.active.is_empty() && dag.held.is_empty() {
            return Ok((dag, BTreeSet::new()));
        }
        let listed: Vec<Incarnation> = dag.active.keys().chain(dag.held.keys()).cloned().collect();
        // A run that cannot be read keeps its place, and nothing but its own look from being made.
        let found = self.readable_runs(&listed).await?;
        let is_unreadable = |run: &Incarnation| found.unreadable.iter().any(|item| item.key == keys::run(run));
        let runs: BTreeMap<Incarnation, RunDoc> =
            found.items.into_iter().map(|run| (run.facts.incarnation.clone(), run)).collect();
        for (incarnation, place) in dag.active.clone() {
            if is_unreadable(&incarnation) {
                continue;
            }
            let gone = match places::place(&place, runs.get(&incarnation)) {
                places::Place::Stands => false,
                places::Place::Owed(facts) => !self.put_scheduled(facts).await?,
                places::Place::Over => true,
            };
            if gone {
                let change = places::forget(&incarnation, place.epoch);
                if let Outcome::Updated(image) | Outcome::Refused(Some(image)) =
                    self.store.update_dag(&dag.dag_id, &change).await?
                {
                    dag = image;
                }
            }
        }
        let waits = |run: &Incarnation| places::waits(runs.get(run));
        let stale: Vec<Incarnation> =
            dag.held.keys().filter(|run| listed.contains(run) && !waits(run) && !is_unreadable(run)).cloned().collect();
        if !stale.is_empty() {
            let change = DagChange { held_remove: stale, ..DagChange::default() };
            if let Outcome::Updated(image) = self.store.update_dag(&dag.dag_id, &change).await? {
                dag = image;
            }
        }
        let active = runs.into_values().filter(|run| dag.active.contains_key(&run.facts.incarnation));
        Box::pin(self.tell_paused(&dag, active)).await?;
        Ok((dag, listed.into_iter().collect()))
    }

    /// Creates the run that is due by the timetable, if one is. True: one was created.
    async fn create_due(&self, dag: DagDoc) -> Result<(DagDoc, bool), Error> {
        let Some(version_id) = dag.version.clone().filter(|_| !dag.paused) else { return Ok((dag, false)) };
        let version = self.version(&version_id).await?;
        let now = self.clock.now();
        let next = next_run(&version, dag.last.as_ref(), now);
        let due = next.as_ref().filter(|info| info.run_after <= now);
        let Some(info) = due.filter(|_| dag.has_room()) else {
            // Nothing to create: only the date shown to people, and the next look, may have to change.
            let next_due = next.as_ref().map(|info| info.run_after);
            if dag.next_due == next_due {
                return Ok((dag, false));
            }
            let change = DagChange {
                if_version: Some(dag.version.clone()),
                if_last: Some(dag.last),
                next_due: Some(next_due),
                if_wake_at: Some(dag.wake_at),
                wake_at: Some(dag.wake_at.into_iter().chain(next_due).min()),
                ..DagChange::default()
            };
            return Ok(match self.store.update_dag(&dag.dag_id, &change).await? {
                Outcome::Updated(image) | Outcome::Refused(Some(image)) => (image, false),
                Outcome::Refused(None) => (dag, false),
            });
        };
        let facts = self.facts(&dag.dag_id, &version, info, now);
        let interval = info.data_interval.unwrap_or_else(|| DataInterval::exact(info.run_after));
        let following = next_run(&version, Some(&interval), now).map(|info| info.run_after);
        let mut facts = facts;
        let claimed = facts.logical_date.filter(|date| dag.backfilled_to.is_some_and(|to| *date <= to));
        facts.origin.has_claim = claimed.is_some();
        let mut change = places::create(&dag, &facts, interval, following, now);
        if let Some(date) = claimed
            && let Some(name) = self.store.run_date(&dag.dag_id, date).await?
            && self.store.run(&name.incarnation).await?.is_some()
        {
            // The date has its run: the timetable goes on to the next.
            change.active_put.clear();
            return Ok(match self.store.update_dag(&dag.dag_id, &change).await? {
                Outcome::Updated(image) | Outcome::Refused(Some(image)) => (image, true),
                Outcome::Refused(None) => (dag, false),
            });
        }
        match self.store.update_dag(&dag.dag_id, &change).await? {
            Outcome::Updated(image) => {
                if self.put_scheduled(&facts).await? {
                    return Ok((image, true));
                }
                self.forget(&image.dag_id, &facts.incarnation).await?;
                Ok((image, true))
            }
            Outcome::Refused(Some(image)) => {
                // Our own earlier write, whose answer was lost, holds the run we drew; anybody else's is theirs to put.
                if image.active.contains_key(&facts.incarnation) {
                    self.put_scheduled(&facts).await?;
                }
                Ok((image, true))
            }
            Outcome::Refused(None) => Ok((dag, false)),
        }
    }

    fn facts(&self, dag_id: &DagId, version: &Arc<Version>, info: &DagRunInfo, now: Timestamp) -> RunFacts {
        let tail = version.plan.dag.timetable.is_partitioned().then(|| self.clock.draw(run_id::TAIL_LENGTH));
        let key = info.partition.as_ref().map(|partition| partition.key.as_str());
        let ending = tail.as_deref().map_or(Ending::None, |tail| Ending::Partition(key, tail));
        RunFacts {
            incarnation: Incarnation::trusted(self.clock.draw(12)),
            dag_id: dag_id.clone(),
            run_id: run_id::generate(DagRunType::Scheduled, info.run_after, ending),
            run_type: DagRunType::Scheduled,
            logical_date: info.logical_date,
            data_interval: info.data_interval,
            partition: info.partition.clone(),
            run_after: info.run_after,
            queued_at: now,
            version: version.id.clone(),
            conf: serde_json::Value::Null,
            asset_events: BTreeMap::new(),
            origin: updraft_model::RunOrigin::default(),
        }
    }

    /// Puts a run that has its place: name, order, document with its roots queued; then messages. False: its name belongs to another
    /// run, so this one is not to be.
    pub(crate) async fn put_scheduled(&self, facts: &RunFacts) -> Result<bool, Error> {
        if facts.origin.has_claim && self.claim_noted(facts).await? == Claimed::Taken {
            self.store.delete_run_names(facts).await?;
            return Ok(false);
        }
        let name = name_of(facts);
        if let Outcome::Refused(Some(taken)) = self.store.put_run_name(&facts.dag_id, &name).await?
            && taken.incarnation != facts.incarnation
        {
            tracing::warn!(dag_id = %facts.dag_id, run_id = facts.run_id, "a run of this name exists; the scheduled one is left out");
            return Ok(false);
        }
        self.store.put_run_order(&facts.dag_id, &name).await?;
        self.note_consumed(facts).await?;
        let version = self.version(&facts.version).await?;
        self.date_run(&version, facts).await?;
        let now = self.clock.now();
        let mut run = RunDoc::new(facts.clone(), DagRunState::Running, now);
        run.average_runtimes = self.average_runtimes(&version.plan).await?;
        let (run, queued) = step::begin(&version.plan, run, now);
        match self.store.put_run(&run).await? {
            Outcome::Updated(image) => {
                figures::started(&image, now);
                let tries: Vec<_> = queued.into_iter().map(|task| (task, image.cell(task).try_number())).collect();
                self.send(Self::task_messages(&version.plan, &image, tries)).await;
                let Some((image, _)) = Box::pin(self.follow(&version, None, image)).await? else { return Ok(true) };
                if !image.outbox.is_empty() {
                    self.deliver(image).await?;
                }
            }
            // Put by another, and deleted since: so are its names.
            Outcome::Refused(Some(there)) if there.deleted_at.is_some() => {
                self.store.delete_run_names(facts).await?;
                return Ok(false);
            }
            Outcome::Refused(_) => {}
        }
        Ok(true)
    }

    pub(crate) async fn forget(&self, dag_id: &DagId, incarnation: &Incarnation) -> Result<(), Error> {
        self.store.update_dag(dag_id, &places::forget(incarnation, 0)).await?;
        Ok(())
    }

    /// Tells those of a DAG's runs that run whether it is paused. Whoever dies half way leaves the rest to the DAG's next look, and to their own.
    pub(crate) async fn tell_paused(&self, dag: &DagDoc, runs: impl IntoIterator<Item = RunDoc>) -> Result<(), Error> {
        for mut run in runs {
            for _ in 0..ROUNDS_MAX {
                let Some(change) = step::pause(&run, dag.paused, self.clock.now()) else { break };
                match self.store.update_run(&run.facts.incarnation, &change).await? {
                    Outcome::Updated(image) => {
                        let version = self.version(&image.facts.version).await?;
                        if dag.paused {
                            // What it holds without using it is for others to have.
                            let limits = holders::of_scheduled(&version.plan, &image);
                            let message = |holder| Outgoing::now(Message::Holder { holder });
                            self.send(limits.into_iter().map(message).collect()).await;
                        } else {
                            let mut messages = Self::all_page_messages(&version.plan, &image);
                            messages.push(Outgoing::now(Message::Run { incarnation: image.facts.incarnation }));
                            self.send(messages).await;
                        }
                        break;
                    }
                    Outcome::Refused(Some(image)) => run = image,
                    Outcome::Refused(None) => break,
                }
            }
        }
        Ok(())
    }

    async fn tell_runs_under_way(&self, dag: &DagDoc) -> Result<(), Error> {
        let runs = self.runs_under_way(dag).await?;
        self.tell_paused(dag, runs).await
    }

    /// The runs that are under way: those that hold a place, and those of the backfill that goes on.
    async fn runs_under_way(&self, dag: &DagDoc) -> Result<Vec<RunDoc>, Error> {
        let mut listed: Vec<Incarnation> = dag.active.keys().cloned().collect();
        if let Some(id) = &dag.backfill
            && let Some(job) = self.store.backfill(id).await?
        {
            listed.extend(job.body.active.keys().cloned());
        }
        Ok(if listed.is_empty() { Vec::new() } else { self.readable_runs(&listed).await?.items })
    }

    /// Pauses or unpauses a DAG. Paused: no run is created or started, and those that run do no more than end what is queued or runs.
    pub async fn set_paused(&self, dag_id: &DagId, paused: bool) -> Result<DagDoc, Error> {
        let now = self.clock.now();
        let change = DagChange { paused: Some(paused), wake_at: Some(Some(now)), ..DagChange::default() };
        match self.store.update_dag(dag_id, &change).await? {
            Outcome::Updated(dag) => {
                let mut runs = Box::pin(self.runs_under_way(&dag)).await?;
                // Those of a backfill that was cancelled hold no place anywhere. The few that are beyond these, and those that are being put or
                // started just now, find out by their own looks.
                runs.extend(self.list_runs(dag_id, RECENT, None).await?.items);
                Box::pin(self.tell_paused(&dag, runs)).await?;
                if !paused {
                    self.send(vec![Outgoing::now(Message::Dag { dag_id: dag_id.clone() })]).await;
                    self.send(Self::room_messages(&dag, now)).await;
                }
                Ok(dag)
            }
            Outcome::Refused(_) => Err(self.no_such_dag(dag_id).await),
        }
    }
}

/// The next run by the timetable. A timetable that cannot say (an impossible date) makes none, as in Airflow.
pub(crate) fn next_run(version: &Version, last: Option<&DataInterval>, now: Timestamp) -> Option<DagRunInfo> {
    let dag = &version.plan.dag;
    match dag.timetable.next_dagrun_info(last, &dag.time_restriction(), now) {
        Ok(next) => next,
        Err(error) => {
            tracing::warn!(dag_id = %dag.dag_id, %error, "the timetable gives no next run");
            None
        }
    }
}
