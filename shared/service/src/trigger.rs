//! Triggering a run by hand.

use crate::engine::{Engine, Error};
use jiff::Timestamp;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::run_id::Ending;
use updraft_model::{DagId, DagRunState, DagRunType, Incarnation, RunDoc, RunFacts, RunName, run_id};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

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

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Creates a manual run, queued and due at once: whoever looks at it next starts it, if its DAG is not paused and has a place.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such DAG, [`Error::Refused`] where the run id is taken or malformed, the conf is no object or
    /// too large, or the DAG's file is gone.
    pub async fn trigger(&self, trigger: Trigger) -> Result<RunDoc, Error> {
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
        // Airflow's command line draws a tail only where no logical date is given.
        let name = if let Some(name) = trigger.run_id {
            name
        } else {
            let tail = trigger.logical_date.is_none().then(|| self.clock.draw(run_id::TAIL_LENGTH));
            run_id::generate(DagRunType::Manual, now, tail.as_deref().map_or(Ending::None, Ending::Tail))
        };
        run_id::check(DagRunType::Manual, &name).map_err(|e| Error::Refused(e.to_string()))?;
        let version = self.version(&version_id).await?;
        let logical_date = trigger.logical_date.unwrap_or(now);
        let interval = version.plan.dag.timetable.infer_manual_data_interval(logical_date);
        let facts = RunFacts {
            incarnation: Incarnation::trusted(self.clock.draw(12)),
            dag_id: trigger.dag_id.clone(),
            run_id: name.clone(),
            run_type: DagRunType::Manual,
            logical_date: Some(logical_date),
            data_interval: Some(interval.map_err(|e| Error::Refused(e.to_string()))?),
            partition: None,
            run_after: now,
            queued_at: now,
            version: version_id,
            conf: trigger.conf,
        };
        let run = RunDoc::new(facts, DagRunState::Queued, now);
        let run = match self.store.put_run(&run).await? {
            Outcome::Updated(run) | Outcome::Refused(Some(run)) => run,
            Outcome::Refused(None) => return Err(Error::Contention(name)),
        };
        let incarnation = run.facts.incarnation.clone();
        let entry = RunName { run_id: name.clone(), incarnation: incarnation.clone(), run_after: now };
        // The run's document comes first: whoever starts it claims the name too, so a crash in between loses nothing.
        if let Outcome::Refused(Some(taken)) = self.store.put_run_name(&trigger.dag_id, &entry).await?
            && taken.incarnation != incarnation
        {
            self.store.discard_run(&run).await?;
            return Err(Error::Refused(format!(
                "the DAG `{}` already has a run `{name}`; choose another run id",
                trigger.dag_id
            )));
        }
        self.store.put_run_order(&trigger.dag_id, &entry).await?;
        self.send(vec![Outgoing::now(Message::Run { incarnation })]).await;
        Ok(run)
    }
}

fn check_conf(conf: &serde_json::Value) -> Result<(), Error> {
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
