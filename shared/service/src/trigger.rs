//! Triggering a run by hand.

use crate::engine::{Engine, Error, ROUNDS_MAX};
use crate::interventions::check_note;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::run_id::Ending;
use updraft_model::{
    Dag, DagId, DagRunState, DagRunType, DataInterval, Incarnation, RunDoc, RunFacts, RunName, RunOrigin, TriggeredBy,
    run_id,
};
use updraft_scheduling::deadlines;
use updraft_task_queue::{Message, Outgoing, TaskQueue};
use updraft_timetables::TimeRestriction;

/// The largest conf, in bytes of JSON: it lies in the run document, which every decision reads and writes.
pub const CONF_BYTES_MAX: usize = 64 * 1024;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// Which DAG.
    pub dag_id: DagId,
    /// The run's id; none: made from the present instant.
    pub run_id: Option<String>,
    /// The instant the run stands for; none: the present instant, as Airflow's command line has it.
    pub logical_date: Option<Timestamp>,
    /// What the run is given; null or an object.
    pub conf: serde_json::Value,
}

/// Where a run comes from that nobody asked for by hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The run's identity; none: drawn. Asking twice with the same one gives the same run.
    pub incarnation: Option<Incarnation>,
    /// How the run comes to be.
    pub run_type: DagRunType,
    /// Not to be started before this instant; none: at once.
    pub run_after: Option<Timestamp>,
    /// The run stands for no instant, instead of the present one, where none is asked for.
    pub without_logical_date: bool,
    /// A run id that is made has no drawn tail, as those of Airflow's REST API.
    pub without_tail: bool,
    /// The data it covers; none, or where it stands for no instant: as the timetable says.
    pub data_interval: Option<DataInterval>,
    /// The part of the data it makes: only for DAGs whose timetable is partitioned.
    pub partition_key: Option<String>,
    /// By which way it is asked for.
    pub triggered_by: Option<TriggeredBy>,
    /// Who asks for it.
    pub user: Option<String>,
    /// Noted on the run.
    pub note: Option<String>,
}

impl Default for Origin {
    /// By hand.
    fn default() -> Self {
        Self {
            incarnation: None,
            run_type: DagRunType::Manual,
            run_after: None,
            without_logical_date: false,
            without_tail: false,
            data_interval: None,
            partition_key: None,
            triggered_by: None,
            user: None,
            note: None,
        }
    }
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Creates a manual run, queued and due at once: whoever looks at it next starts it, if its DAG is not paused and has a place.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such DAG, [`Error::Refused`] where the run id or the logical date is taken, the run id is
    /// malformed, the conf is no object, too large, or does not fit the params' schemas, or the DAG's file is gone.
    pub async fn trigger(&self, trigger: Trigger) -> Result<RunDoc, Error> {
        self.trigger_from(trigger, &Origin::default()).await
    }

    /// As [`Engine::trigger`], for a run that comes from elsewhere.
    ///
    /// # Errors
    /// As [`Engine::trigger`].
    pub async fn trigger_from(&self, trigger: Trigger, origin: &Origin) -> Result<RunDoc, Error> {
        if let Some(incarnation) = &origin.incarnation
            && let Some(run) = self.store.run(incarnation).await?
        {
            return Ok(run);
        }
        // Airflow's instants have microseconds.
        let now = Timestamp::from_microsecond(self.clock.now().as_microsecond()).unwrap_or(Timestamp::MAX);
        let Some(dag) = self.store.dag(&trigger.dag_id).await? else {
            return Err(self.no_such_dag(&trigger.dag_id).await);
        };
        let Some(version_id) = dag.version else {
            return Err(Error::Refused(format!(
                "the DAG `{}` cannot be triggered: its file `{}` is gone or no longer declares it; upload it again",
                dag.dag_id, dag.file
            )));
        };
        check_conf(&trigger.conf)?;
        check_note(origin.note.as_deref().unwrap_or_default())?;
        let version = self.version(&version_id).await?;
        if origin.partition_key.is_some() {
            return Err(Error::Refused(if version.plan.dag.timetable.is_partitioned() {
                format!(
                    "the DAG `{}` makes the runs of its partitions by its schedule only; leave partition_key out",
                    dag.dag_id
                )
            } else {
                format!("the DAG `{}` is not partitioned and takes no partition_key; leave it out", dag.dag_id)
            }));
        }
        updraft_params::check_run(&version.plan.dag, &trigger.conf)
            .map_err(|problem| Error::Refused(format!("the DAG `{}` cannot be triggered: {problem}", dag.dag_id)))?;
        // Airflow's command line draws a tail only where no logical date is given.
        let name = if let Some(name) = trigger.run_id {
            name
        } else {
            let has_tail = trigger.logical_date.is_none() && !origin.without_tail;
            let tail = has_tail.then(|| self.clock.draw(run_id::TAIL_LENGTH));
            let at = origin.run_after.unwrap_or(now);
            run_id::generate(origin.run_type, at, tail.as_deref().map_or(Ending::None, Ending::Tail))
        };
        run_id::check(origin.run_type, &name).map_err(|e| Error::Refused(e.to_string()))?;
        let logical_date = trigger.logical_date.or((!origin.without_logical_date).then_some(now));
        let interval = match (logical_date, origin.data_interval) {
            (None, _) => Ok(None),
            (Some(_), Some(given)) => Ok(Some(given)),
            (Some(at), None) => version.plan.dag.timetable.infer_manual_data_interval(at).map(Some),
        };
        let run_after = origin.run_after.unwrap_or(now);
        let facts = RunFacts {
            incarnation: origin.incarnation.clone().unwrap_or_else(|| Incarnation::trusted(self.clock.draw(12))),
            dag_id: trigger.dag_id.clone(),
            run_id: name.clone(),
            run_type: origin.run_type,
            logical_date,
            data_interval: interval.map_err(|e| Error::Refused(e.to_string()))?,
            partition: None,
            run_after,
            queued_at: now,
            version: version_id,
            conf: trigger.conf,
            asset_events: BTreeMap::new(),
            origin: RunOrigin {
                triggered_by: origin.triggered_by,
                triggering_user_name: origin.user.clone(),
                ..RunOrigin::default()
            },
        };
        let incarnation = facts.incarnation.clone();
        let entry = RunName { run_id: name.clone(), incarnation: incarnation.clone(), run_after };
        if let Some(logical_date) = logical_date {
            self.claim_date(&version.plan.dag, logical_date, &entry).await?;
        }
        self.date_run(&version, &facts).await?;
        let mut run = RunDoc::new(facts, DagRunState::Queued, now);
        run.deadline_at = deadlines::first(&version.plan, &run.facts);
        let run = match self.store.put_run(&run).await? {
            Outcome::Updated(run) | Outcome::Refused(Some(run)) => run,
            Outcome::Refused(None) => return Err(Error::Contention(name)),
        };
        // The run's document comes first: whoever starts it claims the name too, so a crash in between loses nothing.
        if let Outcome::Refused(Some(taken)) = self.store.put_run_name(&trigger.dag_id, &entry).await?
            && taken.incarnation != incarnation
        {
            self.store.discard_run(&run).await?;
            if let Some(logical_date) = logical_date {
                self.store.delete_run_date(&trigger.dag_id, logical_date, &entry).await?;
            }
            return Err(Error::Conflict(format!(
                "the DAG `{}` already has a run `{name}`; choose another run id",
                trigger.dag_id
            )));
        }
        self.store.put_run_order(&trigger.dag_id, &entry).await?;
        if let Some(note) = &origin.note {
            self.note_run(&run, note).await?;
        }
        self.send(vec![Outgoing::now(Message::Run { incarnation })]).await;
        Ok(run)
    }
}

/// How long a logical date that was claimed may be without its run before it counts as given up: whoever claims it puts the run at once.
const CLAIM_PATIENCE: SignedDuration = SignedDuration::from_mins(1);

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Claims a logical date: as in Airflow, a DAG has one run of it.
    pub(crate) async fn claim_date(&self, dag: &Dag, logical_date: Timestamp, entry: &RunName) -> Result<(), Error> {
        let refused = |run_id: &str| {
            Error::Conflict(format!(
                "the DAG `{}` already has a run of the logical date {logical_date}: `{run_id}`; choose another date, or clear that run",
                dag.dag_id
            ))
        };
        if let Some(run_id) = self.scheduled_run_of(dag, logical_date).await? {
            return Err(refused(&run_id));
        }
        for _ in 0..ROUNDS_MAX {
            let taken = match self.store.put_run_date(&dag.dag_id, logical_date, entry).await? {
                Outcome::Refused(Some(taken)) if taken != *entry => taken,
                Outcome::Updated(_) | Outcome::Refused(Some(_)) => return Ok(()),
                Outcome::Refused(None) => continue,
            };
            let fresh = self.clock.now().duration_since(taken.run_after) < CLAIM_PATIENCE;
            let is_there = self.store.run(&taken.incarnation).await?.is_some();
            if fresh || is_there || self.is_owed(&dag.dag_id, &taken.incarnation).await? {
                return Err(refused(&taken.run_id));
            }
            // Its run was deleted, or whoever claimed it died before it put one.
            self.store.delete_run_date(&dag.dag_id, logical_date, &taken).await?;
        }
        Err(Error::Contention(entry.run_id.clone()))
    }

    /// Whether a run that is not there will be put: by the timetable, or by a backfill.
    pub(crate) async fn is_owed(&self, dag_id: &DagId, run: &Incarnation) -> Result<bool, Error> {
        let Some(dag) = self.store.dag(dag_id).await? else { return Ok(false) };
        let Some(backfill) = dag.backfill.as_ref().filter(|_| !dag.active.contains_key(run)) else {
            return Ok(dag.active.contains_key(run));
        };
        Ok(self.store.backfill(backfill).await?.is_some_and(|job| job.body.active.contains_key(run)))
    }

    /// The run that the timetable has made for this logical date, if it has.
    async fn scheduled_run_of(&self, dag: &Dag, logical_date: Timestamp) -> Result<Option<String>, Error> {
        let any_time = TimeRestriction { earliest: None, latest: None, catchup: true };
        let before = logical_date.saturating_sub(SignedDuration::from_micros(1)).unwrap_or(logical_date);
        // Timetables of intervals go on at the last one's end; those of instants go on after it.
        for end in [before, logical_date] {
            let last = DataInterval { start: before, end };
            let next = dag.timetable.next_dagrun_info(Some(&last), &any_time, logical_date).ok().flatten();
            let Some(info) = next.filter(|info| info.logical_date == Some(logical_date)) else { continue };
            let run_id = run_id::generate(DagRunType::Scheduled, info.run_after, Ending::None);
            if let Some(name) = self.store.run_name(&dag.dag_id, &run_id).await?
                && let Some(run) = self.store.run(&name.incarnation).await?
                && run.facts.logical_date == Some(logical_date)
            {
                return Ok(Some(run_id));
            }
        }
        Ok(None)
    }

    /// The run of a DAG that stands for an instant, if there is one.
    pub async fn run_of_date(&self, dag_id: &DagId, logical_date: Timestamp) -> Result<Option<RunDoc>, Error> {
        let claimed = match self.store.run_date(dag_id, logical_date).await? {
            Some(name) => self.store.run(&name.incarnation).await?,
            None => None,
        };
        if let Some(run) = claimed {
            return Ok(Some(run));
        }
        let Some(version) = self.store.dag(dag_id).await?.and_then(|dag| dag.version) else { return Ok(None) };
        let version = self.version(&version).await?;
        let Some(run_id) = self.scheduled_run_of(&version.plan.dag, logical_date).await? else { return Ok(None) };
        match self.store.run_name(dag_id, &run_id).await? {
            Some(name) => Ok(self.store.run(&name.incarnation).await?),
            None => Ok(None),
        }
    }
}

pub(crate) fn check_conf(conf: &serde_json::Value) -> Result<(), Error> {
    if !conf.is_null() && !conf.is_object() {
        return Err(Error::Refused("the conf must be a JSON object, like {\"key\": \"value\"}".to_owned()));
    }
    let bytes = conf.to_string().len();
    if bytes > CONF_BYTES_MAX {
        return Err(Error::Refused(format!(
            "the conf has {bytes} bytes; at most {CONF_BYTES_MAX} fit: put the data into a file and pass its address"
        )));
    }
    Ok(())
}
