//! Triggering a run by hand.

use crate::engine::{Engine, Error};
use crate::interventions::check_note;
use jiff::Timestamp;
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
use updraft_timetables::Partition;

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
        let Some(version_id) = dag.version.clone() else {
            return Err(Error::Refused(format!(
                "the DAG `{}` cannot be triggered: its file `{}` is gone or no longer declares it; upload it again",
                dag.dag_id, dag.file
            )));
        };
        check_conf(&trigger.conf)?;
        check_note(origin.note.as_deref().unwrap_or_default())?;
        let version = self.version(&version_id).await?;
        let partition = partition(&version.plan.dag, origin.partition_key.as_deref())?;
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
            partition,
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
            self.claim_date(&dag, &version.plan.dag, logical_date, &facts).await?;
        }
        self.date_run(&version, &facts).await?;
        let mut run = RunDoc::new(facts, DagRunState::Queued, now);
        run.average_runtimes = self.average_runtimes(&version.plan).await?;
        run.deadline_at = deadlines::first(&version.plan, &run);
        let run = match self.store.put_run(&run).await? {
            Outcome::Refused(Some(there)) if there.deleted_at.is_some() => {
                self.store.delete_run_names(&run.facts).await?;
                return Err(Error::Conflict(format!(
                    "the DAG `{}` has no run `{name}`: while it was being made, it was deleted, or its logical date was given to another run",
                    trigger.dag_id
                )));
            }
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

/// The part of the data that a key names.
fn partition(dag: &Dag, key: Option<&str>) -> Result<Option<Partition>, Error> {
    let Some(key) = key else { return Ok(None) };
    if let Some(partition) = dag.timetable.partition_named(key) {
        return Ok(Some(partition));
    }
    Err(Error::Refused(if dag.timetable.is_partitioned() {
        format!(
            "`{key}` is no partition of the DAG `{}`: give partition_key as its timetable's key_format writes it",
            dag.dag_id
        )
    } else {
        format!("the DAG `{}` is not partitioned and takes no partition_key; leave it out", dag.dag_id)
    }))
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
