//! One run of a DAG for each logical date, as in Airflow (ARCHITECTURE.md, rule G2).
//!
//! A date is claimed by an item of its own, put unless it is there, before its run is put. Who finds a claim whose run is not there takes it
//! over, but first makes sure that this run can never be put any more: it puts a tombstone in its place.

use crate::engine::{Engine, Error, ROUNDS_MAX};
use jiff::{SignedDuration, Timestamp};
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::run_id::Ending;
use updraft_model::{
    Dag, DagChange, DagDoc, DagId, DagRunState, DagRunType, DataInterval, Incarnation, RunDoc, RunFacts, RunName,
    run_id,
};
use updraft_scheduling::attention;
use updraft_task_queue::TaskQueue;
use updraft_timetables::TimeRestriction;

/// How long a logical date that was claimed by hand may be without its run before it counts as given up: whoever claims it puts the run at
/// once.
const CLAIM_PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// What came of a claim on a logical date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// It is the run's own.
    Own,
    /// Another run has it.
    Taken,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Claims a logical date for a run that somebody asks for: where another run has it, or will, that one stays.
    ///
    /// # Errors
    /// [`Error::Conflict`] where another run has the date, or will have it.
    pub(crate) async fn claim_date(
        &self,
        doc: &DagDoc,
        dag: &Dag,
        logical_date: Timestamp,
        facts: &RunFacts,
    ) -> Result<(), Error> {
        let dag_id = &doc.dag_id;
        let refused = |run_id: &str| {
            Error::Conflict(format!(
                "the DAG `{dag_id}` already has a run of the logical date {logical_date}: `{run_id}`; choose another date, or clear that run"
            ))
        };
        let of_schedule = scheduled_ids(dag, logical_date);
        if !of_schedule.is_empty() {
            let doc = self.claims_begin(doc, logical_date).await?;
            if let Some(owed) = owed_by(&doc, logical_date) {
                return Err(refused(&owed.run_id));
            }
        }
        if let Some(run) = self.run_of_schedule(dag_id, &of_schedule, logical_date).await? {
            return Err(refused(&run.facts.run_id));
        }
        let entry = name_of(facts);
        for _ in 0..ROUNDS_MAX {
            let taken = match self.store.put_run_date(dag_id, logical_date, &entry).await? {
                Outcome::Refused(Some(taken)) if taken != entry => taken,
                Outcome::Updated(_) | Outcome::Refused(Some(_)) => return Ok(()),
                Outcome::Refused(None) => continue,
            };
            let fresh = self.clock.now().duration_since(taken.run_after) < CLAIM_PATIENCE;
            let is_there = self.store.run(&taken.incarnation).await?.is_some();
            if fresh || is_there || self.is_owed(dag_id, &taken.incarnation).await? {
                return Err(refused(&taken.run_id));
            }
            // Its run was deleted, or whoever claimed it died before it put one.
            self.take_over(facts, logical_date, &taken).await?;
        }
        Err(Error::Contention(entry.run_id))
    }

    /// Claims the logical date of a run that its DAG or a backfill has noted, so that whoever looks there claims it again. A run that is there
    /// keeps the date; one that is not, noted or not, has to be quicker.
    pub(crate) async fn claim_noted(&self, facts: &RunFacts) -> Result<Claimed, Error> {
        let Some(logical_date) = facts.logical_date else { return Ok(Claimed::Own) };
        let entry = name_of(facts);
        for _ in 0..ROUNDS_MAX {
            let taken = match self.store.put_run_date(&facts.dag_id, logical_date, &entry).await? {
                Outcome::Refused(Some(taken)) if taken != entry => taken,
                Outcome::Updated(_) | Outcome::Refused(Some(_)) => return Ok(Claimed::Own),
                Outcome::Refused(None) => continue,
            };
            if self.store.run(&taken.incarnation).await?.is_some() {
                return Ok(Claimed::Taken);
            }
            // The other may have found this one absent, and taken its claim over: then only the other can be put.
            if self.store.run_or_tombstone(&facts.incarnation).await?.is_some_and(|own| own.deleted_at.is_some()) {
                return Ok(Claimed::Taken);
            }
            self.take_over(facts, logical_date, &taken).await?;
        }
        Err(Error::Contention(entry.run_id))
    }

    /// Takes a claim away from a run that is not there, once it can never be: a tombstone stands where its document would be put. Where it
    /// has been put meanwhile, the claim stays.
    async fn take_over(&self, own: &RunFacts, logical_date: Timestamp, taken: &RunName) -> Result<(), Error> {
        let now = self.clock.now();
        let facts = RunFacts {
            incarnation: taken.incarnation.clone(),
            run_id: taken.run_id.clone(),
            run_after: taken.run_after,
            ..own.clone()
        };
        let mut tombstone = RunDoc::new(facts, DagRunState::Failed, now);
        tombstone.deleted_at = Some(now);
        tombstone.wake_at = now.checked_add(attention::TOMBSTONE_KEPT).ok();
        match self.store.put_run(&tombstone).await? {
            Outcome::Refused(Some(there)) if there.deleted_at.is_none() => Ok(()),
            Outcome::Updated(_) | Outcome::Refused(_) => {
                self.store.delete_run_date(&own.dag_id, logical_date, taken).await?;
                Ok(())
            }
        }
    }

    /// From here on the timetable claims the dates up to this one too. Returns the DAG as it stands then: what the timetable has made without
    /// a claim is among its active runs, or has been put.
    async fn claims_begin(&self, doc: &DagDoc, logical_date: Timestamp) -> Result<DagDoc, Error> {
        let mut doc = doc.clone();
        for _ in 0..ROUNDS_MAX {
            if doc.backfilled_to.is_some_and(|to| logical_date <= to) {
                return Ok(doc);
            }
            let change = DagChange {
                if_backfilled_to: Some(doc.backfilled_to),
                backfilled_to: Some(logical_date),
                ..DagChange::default()
            };
            doc = match self.store.update_dag(&doc.dag_id, &change).await? {
                Outcome::Updated(image) | Outcome::Refused(Some(image)) => image,
                Outcome::Refused(None) => return Err(self.no_such_dag(&doc.dag_id).await),
            };
        }
        Err(Error::Contention(doc.dag_id.to_string()))
    }

    /// Whether a run that is not there will be put: by the timetable, or by a backfill.
    async fn is_owed(&self, dag_id: &DagId, run: &Incarnation) -> Result<bool, Error> {
        let Some(dag) = self.store.dag(dag_id).await? else { return Ok(false) };
        let Some(backfill) = dag.backfill.as_ref().filter(|_| !dag.active.contains_key(run)) else {
            return Ok(dag.active.contains_key(run));
        };
        Ok(self.store.backfill(backfill).await?.is_some_and(|job| job.body.active.contains_key(run)))
    }

    /// The run that the timetable has made for this logical date without a claim, if it has.
    async fn run_of_schedule(
        &self,
        dag_id: &DagId,
        run_ids: &[String],
        logical_date: Timestamp,
    ) -> Result<Option<RunDoc>, Error> {
        for run_id in run_ids {
            let Some(name) = self.store.run_name(dag_id, run_id).await? else { continue };
            let run = self.store.run(&name.incarnation).await?;
            if let Some(run) = run.filter(|run| run.facts.logical_date == Some(logical_date)) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }

    /// The run of a DAG that stands for an instant, if there is one.
    pub async fn run_of_date(&self, dag_id: &DagId, logical_date: Timestamp) -> Result<Option<RunDoc>, Error> {
        Ok(self.find_run_of_date(dag_id, logical_date).await?.and_then(Result::ok))
    }

    /// The same, or what is known of the run that the timetable owes for it.
    pub(crate) async fn find_run_of_date(
        &self,
        dag_id: &DagId,
        logical_date: Timestamp,
    ) -> Result<Option<Result<RunDoc, RunFacts>>, Error> {
        if let Some(name) = self.store.run_date(dag_id, logical_date).await?
            && let Some(run) = self.store.run(&name.incarnation).await?
        {
            return Ok(Some(Ok(run)));
        }
        let Some(dag) = self.store.dag(dag_id).await? else { return Ok(None) };
        let owed = owed_by(&dag, logical_date).cloned();
        let Some(version) = &dag.version else { return Ok(owed.map(Err)) };
        let version = self.version(version).await?;
        let of_schedule = scheduled_ids(&version.plan.dag, logical_date);
        // After the DAG: what leaves its active runs has been put by then.
        let made = self.run_of_schedule(dag_id, &of_schedule, logical_date).await?;
        Ok(made.map(Ok).or(owed.map(Err)))
    }
}

/// The run of this date that the timetable has noted on its DAG; whether it is there yet is not said.
fn owed_by(dag: &DagDoc, logical_date: Timestamp) -> Option<&RunFacts> {
    dag.active
        .values()
        .filter_map(|active| active.facts.as_ref())
        .find(|facts| facts.logical_date == Some(logical_date))
}

/// The ids that the timetable's run of this date may have; none where it is no date of the timetable.
fn scheduled_ids(dag: &Dag, logical_date: Timestamp) -> Vec<String> {
    let any_time = TimeRestriction { earliest: None, latest: None, catchup: true };
    let before = logical_date.saturating_sub(SignedDuration::from_micros(1)).unwrap_or(logical_date);
    // Timetables of intervals go on at the last one's end; those of instants go on after it.
    let info = |end| {
        let last = DataInterval { start: before, end };
        let next = dag.timetable.next_dagrun_info(Some(&last), &any_time, logical_date).ok().flatten();
        next.filter(|info| info.logical_date == Some(logical_date))
    };
    let infos = [before, logical_date].into_iter().filter_map(info);
    infos.map(|info| run_id::generate(DagRunType::Scheduled, info.run_after, Ending::None)).collect()
}

/// How a run enters its DAG's index.
pub(crate) fn name_of(facts: &RunFacts) -> RunName {
    RunName { run_id: facts.run_id.clone(), incarnation: facts.incarnation.clone(), run_after: facts.run_after }
}
