//! Backfills: created, shown, paused and cancelled by people; made run by run by whoever looks at their document.
//!
//! The document says which dates were dealt with and which runs go on. A run is noted there before it is put, so that a dead creator's run
//! is put by the next look, and the next run is made when one has ended. As in Airflow a DAG has one backfill at a time, its runs are counted
//! apart from the DAG's other active runs, and the dates are those of the schedule.

use crate::dates::{Claimed, name_of};
use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::readable::tell;
use crate::trigger::check_conf;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Job, Outcome, keys};
use updraft_model::backfill::{BACKFILL_RUNS_DEFAULT, BackfillRun};
use updraft_model::cell::End;
use updraft_model::run_id::{self, Ending};
use updraft_model::{
    Act, Backfill, BackfillCounts, BackfillId, DagChange, DagDoc, DagId, DagRunState, DagRunType, Incarnation, Intent,
    OperationId, ReprocessBehavior, RunDoc, RunFacts, RunOrigin, Timetable, TriggeredBy,
};
use updraft_scheduling::{attention, backfill as rules, step};
use updraft_task_queue::{Message, Outgoing, TaskQueue};
use updraft_timetables::DagRunInfo;

/// How many dates one look deals with before it lets others have a turn.
const DATES_PER_LOOK_MAX: usize = 32;

/// How many dates a dry run shows.
pub const DATES_SHOWN_MAX: usize = 1000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBackfill {
    /// Whose runs.
    pub dag_id: DagId,
    /// From this logical date on.
    pub from_date: Timestamp,
    /// Up to this logical date.
    pub to_date: Timestamp,
    /// What each run is given; null or an object.
    pub dag_run_conf: Value,
    /// What is done about dates that have a run.
    pub reprocess_behavior: ReprocessBehavior,
    /// The latest date first.
    pub run_backwards: bool,
    /// How many of its runs may go on at once.
    pub max_active_runs: u32,
    /// Runs that are made to run again go over to the latest version of the DAG; none: as the DAG says.
    pub run_on_latest_version: Option<bool>,
    /// Who asks for it.
    pub user: Option<String>,
}

impl NewBackfill {
    /// A backfill with Airflow's defaults.
    pub fn new(dag_id: DagId, from_date: Timestamp, to_date: Timestamp) -> Self {
        Self {
            dag_id,
            from_date,
            to_date,
            dag_run_conf: Value::Null,
            reprocess_behavior: ReprocessBehavior::None,
            run_backwards: false,
            max_active_runs: BACKFILL_RUNS_DEFAULT,
            run_on_latest_version: None,
            user: None,
        }
    }
}

/// A date of a backfill, and what it would do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct BackfillDate {
    /// What its run stands for.
    pub logical_date: Option<Timestamp>,
    /// Not started before this.
    pub run_after: Timestamp,
    /// The run that there is, and how it stands.
    pub existing: Option<(String, DagRunState)>,
    /// Whether a run is made, or made to run again.
    pub is_run: bool,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Creates a backfill. Its runs are made by whoever looks at it.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such DAG; [`Error::Refused`] where its file is gone, or no date lies in the span;
    /// [`Error::Conflict`] where another backfill goes on, or the DAG has no schedule; [`Error::Invalid`] for what contradicts itself or
    /// the DAG.
    pub async fn create_backfill(&self, wish: &NewBackfill) -> Result<Backfill, Error> {
        let (dag, version) = self.check_backfill(wish).await?;
        if let Some(other) = &dag.backfill
            && !self.is_backfill_over(other).await?
        {
            return Err(another(&dag.dag_id, other));
        }
        let default = version.plan.dag.rerun_with_latest_version.unwrap_or(false);
        let now = whole_micros(self.clock.now());
        let mut backfill = Backfill {
            id: BackfillId::trusted(now.as_microsecond().to_string()),
            dag_id: wish.dag_id.clone(),
            from_date: wish.from_date,
            to_date: wish.to_date,
            dag_run_conf: wish.dag_run_conf.clone(),
            reprocess_behavior: wish.reprocess_behavior,
            run_backwards: wish.run_backwards,
            max_active_runs: wish.max_active_runs,
            run_on_latest_version: wish.run_on_latest_version.unwrap_or(default),
            is_paused: false,
            created_at: now,
            updated_at: now,
            completed_at: None,
            user: wish.user.clone(),
            last: None,
            last_date: None,
            is_exhausted: false,
            active: BTreeMap::new(),
            counts: BackfillCounts::default(),
        };
        let mut number = now.as_microsecond();
        let soon = Some(self.later(attention::LOOK_EVERY));
        while !self.store.put_backfill(&backfill, soon).await? {
            // Two at one microsecond.
            number += 1;
            backfill.id = BackfillId::trusted(number.to_string());
        }
        if !self.take_dag(&backfill).await? {
            self.store.delete_backfill(&backfill.id).await?;
            let other = self.store.dag(&dag.dag_id).await?.and_then(|dag| dag.backfill);
            return Err(another(&dag.dag_id, other.as_ref().unwrap_or(&backfill.id)));
        }
        self.send(vec![Outgoing::now(Message::Backfill { id: backfill.id.clone() })]).await;
        Ok(backfill)
    }

    /// What a backfill would do, date by date, in the order in which it would do it, at most [`DATES_SHOWN_MAX`] of them.
    ///
    /// # Errors
    /// As [`Engine::create_backfill`], but for another backfill that goes on.
    pub async fn dry_run_backfill(&self, wish: &NewBackfill) -> Result<Vec<BackfillDate>, Error> {
        let (dag, version) = self.check_backfill(wish).await?;
        let now = self.clock.now();
        let mut infos: Vec<DagRunInfo> =
            rules::dates(&version.plan.dag, wish.from_date, wish.to_date, now).take(rules::DATES_MAX).collect();
        if wish.run_backwards {
            infos.reverse();
        }
        let mut dates = Vec::new();
        for info in infos.into_iter().take(DATES_SHOWN_MAX) {
            let existing = match info.logical_date {
                Some(date) => self.existing(&dag.dag_id, date).await?,
                None => None,
            };
            let again = |run: &RunDoc| wish.reprocess_behavior.applies_to(run.state);
            let is_run = existing.as_ref().is_none_or(again);
            dates.push(BackfillDate {
                logical_date: info.logical_date,
                run_after: info.run_after,
                existing: existing.map(|run| (run.facts.run_id, run.state)),
                is_run,
            });
        }
        Ok(dates)
    }

    async fn check_backfill(&self, wish: &NewBackfill) -> Result<(DagDoc, Arc<Version>), Error> {
        let invalid = |text: String| Err(Error::Invalid(text));
        let dag_id = &wish.dag_id;
        let Some(dag) = self.store.dag(dag_id).await? else { return Err(self.no_such_dag(dag_id).await) };
        let Some(version) = &dag.version else {
            return Err(Error::Refused(format!(
                "the DAG `{dag_id}` cannot be backfilled: its file `{}` is gone or no longer declares it; upload it again",
                dag.file
            )));
        };
        let version = self.version(version).await?;
        let definition = &version.plan.dag;
        if matches!(definition.timetable, Timetable::Null | Timetable::Continuous) {
            return Err(Error::Conflict(format!(
                "{dag_id} has no schedule that has dates (it is `{}`), so there is nothing to backfill; trigger single runs instead",
                definition.schedule_summary()
            )));
        }
        if wish.from_date > wish.to_date {
            return invalid(format!(
                "the backfill ends before it begins: from_date is {}, to_date is {}",
                wish.from_date, wish.to_date
            ));
        }
        let now = self.clock.now();
        if wish.from_date >= now {
            return invalid("Backfill cannot be executed for future dates.".to_owned());
        }
        if wish.max_active_runs == 0 {
            return invalid("max_active_runs is 0, so no run would ever start; give 1 or more".to_owned());
        }
        check_conf(&wish.dag_run_conf)?;
        updraft_params::check_run(definition, &wish.dag_run_conf)
            .map_err(|problem| Error::Refused(format!("the DAG `{dag_id}` cannot be backfilled: {problem}")))?;
        if let Some(task) = definition.tasks.iter().find(|task| task.depends_on_past || task.wait_for_downstream) {
            if wish.run_backwards {
                return invalid(format!(
                    "Backfill cannot be run in reverse when the DAG has tasks where depends_on_past=True: `{}` is one",
                    task.task_id
                ));
            }
            if wish.reprocess_behavior == ReprocessBehavior::None {
                return invalid(format!(
                    "DAG has tasks for which depends_on_past=True (`{}` is one). You must set reprocess behavior to reprocess completed or \
                     reprocess failed",
                    task.task_id
                ));
            }
        }
        let count = rules::dates(definition, wish.from_date, wish.to_date, now).take(rules::DATES_MAX + 1).count();
        if count == 0 {
            return Err(Error::Refused(format!(
                "No runs to create for dag {dag_id}: its schedule has no date from {} to {}",
                wish.from_date, wish.to_date
            )));
        }
        if count > rules::DATES_MAX {
            return invalid(format!(
                "the schedule has more than {} dates from {} to {}; backfill them in parts",
                rules::DATES_MAX,
                wish.from_date,
                wish.to_date
            ));
        }
        Ok((dag, version))
    }

    /// Whether a backfill that is noted on its DAG has come to its end: a look that was overtaken by the end may note it once more, and
    /// that keeps no other from going on.
    async fn is_backfill_over(&self, id: &BackfillId) -> Result<bool, Error> {
        Ok(self.store.backfill(id).await?.is_none_or(|job| job.body.completed_at.is_some()))
    }

    /// Notes a backfill on its DAG. False: another one goes on, or the DAG is gone.
    async fn take_dag(&self, backfill: &Backfill) -> Result<bool, Error> {
        let Some(dag) = self.store.dag(&backfill.dag_id).await? else { return Ok(false) };
        if dag.backfill.as_ref() == Some(&backfill.id) {
            return Ok(true);
        }
        if let Some(other) = &dag.backfill
            && !self.is_backfill_over(other).await?
        {
            return Ok(false);
        }
        let change = DagChange {
            if_backfill: Some(dag.backfill.clone()),
            if_backfilled_to: Some(dag.backfilled_to),
            backfill: Some(Some(backfill.id.clone())),
            backfilled_to: Some(backfill.to_date.max(dag.backfilled_to.unwrap_or(backfill.to_date))),
            ..DagChange::default()
        };
        Ok(match self.store.update_dag(&backfill.dag_id, &change).await? {
            Outcome::Updated(_) => true,
            Outcome::Refused(dag) => dag.is_some_and(|dag| dag.backfill.as_ref() == Some(&backfill.id)),
        })
    }

    /// A backfill by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn backfill(&self, id: &BackfillId) -> Result<Backfill, Error> {
        Ok(self.backfill_job(id).await?.body)
    }

    async fn backfill_job(&self, id: &BackfillId) -> Result<Job<Backfill>, Error> {
        let found = self.store.backfill(id).await?;
        found.ok_or_else(|| Error::NotFound { what: "the backfill", name: id.to_string(), near: Vec::new() })
    }

    /// All backfills, the latest first, or those of a DAG.
    pub async fn backfills(&self, dag_id: Option<&DagId>) -> Result<Vec<Backfill>, Error> {
        let all = self.store.list_backfills().await?;
        tell(&all.unreadable);
        Ok(all.items.into_iter().filter(|backfill| dag_id.is_none_or(|dag_id| backfill.dag_id == *dag_id)).collect())
    }

    /// Pauses or unpauses a backfill. Paused: it makes and starts no run; those that run go on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] where it has come to its end.
    pub async fn set_backfill_paused(&self, id: &BackfillId, is_paused: bool) -> Result<Backfill, Error> {
        let now = whole_micros(self.clock.now());
        let backfill = self
            .change_backfill(id, |before| {
                completed(before)?;
                Ok((before.is_paused != is_paused).then(|| Backfill { is_paused, updated_at: now, ..before.clone() }))
            })
            .await?;
        if !is_paused {
            let queued = backfill.active.keys().cloned().map(|incarnation| Message::Run { incarnation });
            let all = std::iter::once(Message::Backfill { id: id.clone() }).chain(queued);
            self.send(all.map(Outgoing::now).collect()).await;
        }
        Ok(backfill)
    }

    /// Cancels a backfill: it makes no run any more, those that are queued fail, those that run go on.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] where it has come to its end.
    pub async fn cancel_backfill(&self, id: &BackfillId) -> Result<Backfill, Error> {
        let now = whole_micros(self.clock.now());
        self.change_backfill(id, |before| {
            completed(before)?;
            Ok(Some(Backfill { is_exhausted: true, completed_at: Some(now), updated_at: now, ..before.clone() }))
        })
        .await?;
        Box::pin(self.look_at_backfill(id)).await?;
        self.backfill(id).await
    }

    async fn change_backfill(
        &self,
        id: &BackfillId,
        change: impl Fn(&Backfill) -> Result<Option<Backfill>, Error>,
    ) -> Result<Backfill, Error> {
        let mut job = self.backfill_job(id).await?;
        for _ in 0..ROUNDS_MAX {
            let Some(body) = change(&job.body)? else { return Ok(job.body) };
            match self.store.update_backfill(&job, &body, Some(self.later(SignedDuration::ZERO))).await? {
                Outcome::Updated(job) => return Ok(job.body),
                Outcome::Refused(Some(there)) => job = there,
                Outcome::Refused(None) => break,
            }
        }
        Err(Error::Contention(id.to_string()))
    }

    /// Looks at a backfill: puts the runs that are owed, forgets those that have ended, makes the next ones. Harmless at any time, any
    /// number at once.
    pub async fn look_at_backfill(&self, id: &BackfillId) -> Result<(), Error> {
        let Some(job) = self.store.backfill(id).await? else { return Ok(()) };
        if job.body.completed_at.is_some() {
            return self.close_backfill(job).await;
        }
        let now = whole_micros(self.clock.now());
        if !self.take_dag(&job.body).await? {
            let is_there = self.store.dag(&job.body.dag_id).await?.is_some();
            if is_there && job.body.active.is_empty() && job.body.last_date.is_none() {
                // Its creator died before it saw that another one goes on.
                return Ok(self.store.delete_backfill(id).await?);
            }
            // The DAG was deleted: there is nothing to make runs of.
            let body = Backfill { completed_at: Some(now), updated_at: now, ..job.body.clone() };
            self.store.update_backfill(&job, &body, None).await?;
            return Ok(());
        }
        let mut body = self.settled(&job.body).await?;
        let mut wake_at = self.advance(&mut body).await?;
        if body != job.body {
            body.updated_at = now;
        }
        if body.is_exhausted && body.active.is_empty() {
            body.completed_at = Some(now);
            wake_at = self.later(SignedDuration::ZERO);
        }
        let Outcome::Updated(job) = self.store.update_backfill(&job, &body, Some(wake_at)).await? else {
            // Somebody else has written: their look goes on, and so does the next one.
            return Ok(());
        };
        if job.body.completed_at.is_some() {
            return self.close_backfill(job).await;
        }
        // Only now, when whoever comes after knows of them.
        self.settled(&job.body).await.map(|_| ())
    }

    /// Puts and clears what is owed. What has ended is not among the active runs any more.
    async fn settled(&self, backfill: &Backfill) -> Result<Backfill, Error> {
        let ids: Vec<Incarnation> = backfill.active.keys().cloned().collect();
        let found = self.readable_runs(&ids).await?;
        let runs: BTreeMap<_, _> = found.items.into_iter().map(|run| (run.facts.incarnation.clone(), run)).collect();
        let mut active = BTreeMap::new();
        for (incarnation, entry) in &backfill.active {
            // A run that cannot be read keeps its place, and no other from being made.
            if found.unreadable.iter().any(|item| item.key == keys::run(incarnation)) {
                active.insert(incarnation.clone(), entry.clone());
                continue;
            }
            let goes_on = match (runs.get(incarnation), entry) {
                (Some(run), _) if run.deleted_at.is_some() => false,
                (Some(run), BackfillRun { clear: Some(operation), .. }) if !run.operations.contains(operation) => {
                    self.run_again(backfill, run, operation).await?
                }
                (Some(run), _) => !run.state.is_finished(),
                (None, BackfillRun { facts: Some(facts), .. }) => self.put_backfill_run(facts).await?,
                (None, _) => false,
            };
            if goes_on {
                active.insert(incarnation.clone(), BackfillRun::default());
            }
        }
        Ok(Backfill { active, ..backfill.clone() })
    }

    /// Notes the next runs, as many as may go on at once. Returns when the backfill is to be looked at again.
    async fn advance(&self, backfill: &mut Backfill) -> Result<Timestamp, Error> {
        let seldom = self.later(attention::LOOK_EVERY_MAX);
        if backfill.is_paused {
            return Ok(seldom);
        }
        let dag = self.store.dag(&backfill.dag_id).await?;
        // Its file is gone: it may come back.
        let Some(version) = dag.and_then(|dag| dag.version) else { return Ok(seldom) };
        let version = self.version(&version).await?;
        let now = whole_micros(self.clock.now());
        for _ in 0..DATES_PER_LOOK_MAX {
            if backfill.active.len() >= backfill.max_active_runs as usize {
                return Ok(self.later(attention::LOOK_EVERY));
            }
            let Some(info) = rules::next(&version.plan.dag, backfill, now) else {
                backfill.is_exhausted = true;
                return Ok(self.later(attention::LOOK_EVERY));
            };
            if info.run_after > now {
                return Ok(info.run_after.min(self.later(attention::LOOK_EVERY)));
            }
            self.note_date(backfill, &version, &info, now).await?;
        }
        Ok(self.later(SignedDuration::ZERO))
    }

    /// Notes what is done about a date.
    async fn note_date(
        &self,
        backfill: &mut Backfill,
        version: &Version,
        info: &DagRunInfo,
        now: Timestamp,
    ) -> Result<(), Error> {
        let existing = match info.logical_date {
            Some(date) => self.existing(&backfill.dag_id, date).await?,
            None => None,
        };
        match existing {
            Some(run) if backfill.reprocess_behavior.applies_to(run.state) => {
                let clear = Some(self.new_operation());
                backfill.active.insert(run.facts.incarnation, BackfillRun { facts: None, clear });
                backfill.counts.cleared += 1;
            }
            Some(_) => backfill.counts.passed_over += 1,
            None => {
                let facts = self.backfill_facts(backfill, version, info, now);
                let entry = BackfillRun { facts: Some(facts.clone()), clear: None };
                backfill.active.insert(facts.incarnation, entry);
                backfill.counts.created += 1;
            }
        }
        backfill.last_date = info.logical_date.or(backfill.last_date);
        backfill.last = info.data_interval.or(backfill.last);
        Ok(())
    }

    /// The run of a date. One that the timetable has yet to put goes on, as far as a backfill is concerned.
    async fn existing(&self, dag_id: &DagId, date: Timestamp) -> Result<Option<RunDoc>, Error> {
        let found = self.find_run_of_date(dag_id, date).await?;
        let owed = |facts| RunDoc::new(facts, DagRunState::Queued, self.clock.now());
        Ok(found.map(|found| found.unwrap_or_else(owed)))
    }

    fn backfill_facts(&self, backfill: &Backfill, version: &Version, info: &DagRunInfo, now: Timestamp) -> RunFacts {
        let tail = version.plan.dag.timetable.is_partitioned().then(|| self.clock.draw(run_id::TAIL_LENGTH));
        let key = info.partition.as_ref().map(|partition| partition.key.as_str());
        let ending = tail.as_deref().map_or(Ending::None, |tail| Ending::Partition(key, tail));
        RunFacts {
            incarnation: Incarnation::trusted(self.clock.draw(12)),
            dag_id: backfill.dag_id.clone(),
            run_id: run_id::generate(DagRunType::Backfill, info.run_after, ending),
            run_type: DagRunType::Backfill,
            logical_date: info.logical_date,
            data_interval: info.data_interval,
            partition: info.partition.clone(),
            run_after: info.run_after,
            queued_at: now,
            version: version.id.clone(),
            conf: backfill.dag_run_conf.clone(),
            asset_events: BTreeMap::new(),
            origin: origin(backfill),
        }
    }

    /// Puts a run that a backfill has noted, with its names. False: its date or its name has come to belong to another run, or it was
    /// deleted.
    async fn put_backfill_run(&self, facts: &RunFacts) -> Result<bool, Error> {
        let version = self.version(&facts.version).await?;
        let name = name_of(facts);
        if self.claim_noted(facts).await? == Claimed::Taken {
            return Ok(false);
        }
        self.date_run(&version, facts).await?;
        let run = RunDoc::new(facts.clone(), DagRunState::Queued, self.clock.now());
        let run = match self.store.put_run(&run).await? {
            Outcome::Refused(Some(there)) if there.deleted_at.is_some() => {
                self.store.delete_run_names(facts).await?;
                return Ok(false);
            }
            Outcome::Updated(run) | Outcome::Refused(Some(run)) => run,
            Outcome::Refused(None) => return Ok(false),
        };
        if let Outcome::Refused(Some(taken)) = self.store.put_run_name(&facts.dag_id, &name).await?
            && taken.incarnation != facts.incarnation
        {
            self.store.discard_run(&run).await?;
            if let Some(date) = facts.logical_date {
                self.store.delete_run_date(&facts.dag_id, date, &name).await?;
            }
            return Ok(false);
        }
        self.store.put_run_order(&facts.dag_id, &name).await?;
        self.send(vec![Outgoing::now(Message::Run { incarnation: facts.incarnation.clone() })]).await;
        Ok(true)
    }

    /// Makes a run that has ended one of the backfill's, and clears it. False: it was deleted meanwhile.
    async fn run_again(&self, backfill: &Backfill, run: &RunDoc, operation: &OperationId) -> Result<bool, Error> {
        let latest = self.latest_for(&backfill.dag_id, backfill.run_on_latest_version).await?;
        let again = self
            .intervene(&run.facts.incarnation, operation, latest.as_ref(), |version, run| {
                let intent = Intent::new(Act::Clear, version.plan.tasks());
                let mut step = step::intervene_with(&version.plan, run, &intent, operation, self.clock.now());
                let conf = if backfill.dag_run_conf.is_null() { &run.facts.conf } else { &backfill.dag_run_conf };
                step.change.facts = Some(Box::new(RunFacts {
                    run_type: DagRunType::Backfill,
                    conf: conf.clone(),
                    origin: origin(backfill),
                    ..run.facts.clone()
                }));
                Ok(Some(step))
            })
            .await;
        match again {
            Ok(run) => {
                let version = self.version(&run.facts.version).await?;
                self.date_run(&version, &run.facts).await?;
                Ok(true)
            }
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends a backfill that has come to its end or was cancelled: what is queued fails, and the DAG is free for another one. What was noted and
    /// is not there yet is put first: nobody else may have made a run of its date, since it was known to be made.
    async fn close_backfill(&self, job: Job<Backfill>) -> Result<(), Error> {
        let ids: Vec<Incarnation> = job.body.active.keys().cloned().collect();
        let there = self.readable_runs(&ids).await?;
        let is_there = |incarnation: &Incarnation| {
            there.items.iter().any(|run| run.facts.incarnation == *incarnation)
                || there.unreadable.iter().any(|item| item.key == keys::run(incarnation))
        };
        for (_, entry) in job.body.active.iter().filter(|(incarnation, _)| !is_there(incarnation)) {
            if let Some(facts) = &entry.facts {
                self.put_backfill_run(facts).await?;
            }
        }
        for run in self.readable_runs(&ids).await?.items {
            if run.state == DagRunState::Queued && run.deleted_at.is_none() {
                Box::pin(self.end_run(&run.facts.incarnation, End::Failed)).await?;
            }
        }
        let id = job.body.id.clone();
        let free = DagChange { if_backfill: Some(Some(id)), backfill: Some(None), ..DagChange::default() };
        self.store.update_dag(&job.body.dag_id, &free).await?;
        let body = Backfill { active: BTreeMap::new(), ..job.body.clone() };
        self.store.update_backfill(&job, &body, None).await?;
        Ok(())
    }

    /// Whether a queued run of a backfill may start: its DAG and its backfill are not paused. Its place is the backfill's, not the DAG's.
    /// Where the DAG is paused, it is noted there, to be told when it no longer is.
    pub(crate) async fn may_start(&self, run: &RunDoc, backfill: &BackfillId) -> Result<bool, Error> {
        let dag_id = &run.facts.dag_id;
        let incarnation = &run.facts.incarnation;
        let Some(mut dag) = self.store.dag(dag_id).await? else { return Err(self.no_such_dag(dag_id).await) };
        for _ in 0..ROUNDS_MAX {
            if !dag.paused {
                break;
            }
            if dag.held.contains_key(incarnation) {
                return Ok(false);
            }
            let held_put = vec![(incarnation.clone(), run.facts.run_after)];
            // Unpaused meanwhile, nobody would tell it.
            let change = DagChange { if_paused: Some(true), held_put, ..DagChange::default() };
            dag = match self.store.update_dag(dag_id, &change).await? {
                Outcome::Updated(_) => return Ok(false),
                Outcome::Refused(Some(image)) => image,
                Outcome::Refused(None) => return Err(self.no_such_dag(dag_id).await),
            };
        }
        if self.store.backfill(backfill).await?.is_some_and(|job| job.body.is_paused && job.body.completed_at.is_none())
        {
            return Ok(false);
        }
        if dag.held.contains_key(incarnation) {
            let held_remove = vec![incarnation.clone()];
            self.store.update_dag(dag_id, &DagChange { held_remove, ..DagChange::default() }).await?;
        }
        Ok(true)
    }

    fn later(&self, by: SignedDuration) -> Timestamp {
        let at = self.clock.now().saturating_add(by).unwrap_or(Timestamp::MAX);
        Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
    }
}

/// What a run that a backfill makes says of where it comes from.
fn origin(backfill: &Backfill) -> RunOrigin {
    RunOrigin {
        triggered_by: Some(TriggeredBy::Backfill),
        triggering_user_name: backfill.user.clone(),
        backfill: Some(backfill.id.clone()),
        ..RunOrigin::default()
    }
}

fn completed(backfill: &Backfill) -> Result<(), Error> {
    match backfill.completed_at {
        Some(at) => Err(Error::Conflict(format!("Backfill is already completed: `{}` was at {at}", backfill.id))),
        None => Ok(()),
    }
}

fn another(dag_id: &DagId, other: &BackfillId) -> Error {
    Error::Conflict(format!(
        "Another backfill is running for Dag {dag_id}. There can be only one running backfill per Dag; it is `{other}`: wait for its end, \
         or cancel it"
    ))
}

/// Airflow's instants have microseconds.
fn whole_micros(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}
