//! Carrying out what is to be done to one run or to several. For several it is recorded first: whoever finds the record goes on with it, so
//! that a command that dies half way has either done nothing or will have done all.

use super::instances::{Instances, told};
use super::selection::Affected;
use crate::engine::{Engine, Error, Version};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Job, Note, Noted, Outcome};
use updraft_model::{DagId, Intent, Intervention, OperationId, RunDoc, RunIntent, TaskIndex, TaskInstanceState};
use updraft_scheduling::step;
use updraft_task_queue::TaskQueue;

/// How many runs one record names; more are recorded in several, each before its first run is touched.
const RUNS_PER_RECORD: usize = 500;

/// After how many runs the record says how far it has come.
const NOTED_EVERY: usize = 25;

/// When somebody else looks at an intervention whose maker says nothing.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Airflow's limit for notes, in characters.
pub const NOTE_CHARS_MAX: usize = 1000;

/// What is to be done to a run.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The run, as it was read.
    pub run: RunDoc,
    /// Its version.
    pub version: Arc<Version>,
    /// The task instances that people are told of.
    pub tasks: BTreeSet<TaskIndex>,
    /// Of those that are mapped and expanded, the instances.
    pub instances: Instances,
    /// What is done.
    pub intent: Intent,
    /// Refused where one of the task instances runs.
    pub prevent_running_task: bool,
    /// Whether the run goes over to the latest version of its DAG.
    pub run_on_latest_version: bool,
}

impl Planned {
    /// The task instances that people are told of.
    pub fn affected(&self) -> Vec<Affected> {
        told(&self.version, &self.run, self.tasks.iter().copied(), &self.instances)
    }

    pub(super) fn refuse_running(&self) -> Result<(), Error> {
        if !self.prevent_running_task {
            return Ok(());
        }
        let runs = |task: &TaskIndex| self.instances[task].iter().any(|i| i.state == TaskInstanceState::Running);
        match self.instances.keys().find(|task| runs(task)) {
            Some(task) => Err(is_running(&self.version, &self.run, *task)),
            None => refuse_running(&self.version, &self.run, &self.intent),
        }
    }

    fn recorded(&self) -> RunIntent {
        RunIntent {
            incarnation: self.run.facts.incarnation.clone(),
            intent: self.intent.clone(),
            prevent_running_task: self.prevent_running_task,
            run_on_latest_version: self.run_on_latest_version,
        }
    }
}

fn refuse_running(version: &Version, run: &RunDoc, intent: &Intent) -> Result<(), Error> {
    let runs = |task: &TaskIndex| run.task_state(*task) == TaskInstanceState::Running;
    match intent.tasks.from(TaskIndex(0)).find(runs) {
        Some(task) => Err(is_running(version, run, task)),
        None => Ok(()),
    }
}

fn is_running(version: &Version, run: &RunDoc, task: TaskIndex) -> Error {
    Error::Conflict(format!(
        "the task `{}` of the run `{}` is running, and prevent_running_task is set: wait until it has ended, or clear without it",
        version.plan.task(task).task_id,
        run.facts.run_id
    ))
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Does what is planned.
    pub async fn carry_out(&self, dag_id: &DagId, planned: &[Planned]) -> Result<(), Error> {
        let runs: Vec<RunIntent> = planned.iter().map(Planned::recorded).collect();
        if let [only] = runs.as_slice() {
            return self.carry_out_one(&self.new_operation(), dag_id, only).await;
        }
        let mut operations = Vec::new();
        for runs in runs.chunks(RUNS_PER_RECORD) {
            let operation = self.new_operation();
            let record =
                Intervention { operation: operation.clone(), dag_id: dag_id.clone(), runs: runs.to_vec(), done: 0 };
            self.store.put_intervention(record, self.patience()).await?;
            operations.push(operation);
        }
        for operation in operations {
            self.look_at_intervention(&operation).await?;
        }
        Ok(())
    }

    /// Does what is planned, unless one of its task instances runs that must not, and leaves a note on each.
    ///
    /// # Errors
    /// [`Error::Conflict`] where one runs that must not; nothing is done then. [`Error::Invalid`] for a note that is too long.
    pub async fn carry_out_noted(&self, dag_id: &DagId, planned: &[Planned], note: Option<&str>) -> Result<(), Error> {
        check_note(note.unwrap_or_default())?;
        planned.iter().try_for_each(Planned::refuse_running)?;
        self.carry_out(dag_id, planned).await?;
        self.note_tasks(planned, note).await
    }

    fn patience(&self) -> Timestamp {
        let at = self.clock.now().saturating_add(PATIENCE).unwrap_or(Timestamp::MAX);
        Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
    }

    /// Goes on with an intervention in several runs. Harmless at any time, any number at once: each run knows what it has had.
    ///
    /// # Errors
    /// When a store is unavailable. The record stays, and the next look goes on.
    pub async fn look_at_intervention(&self, operation: &OperationId) -> Result<(), Error> {
        let Some(mut job) = self.store.intervention(operation).await? else { return Ok(()) };
        let mut refused = None;
        while job.body.done < job.body.runs.len() {
            let to = (job.body.done + NOTED_EVERY).min(job.body.runs.len());
            for run in &job.body.runs[job.body.done..to] {
                match Box::pin(self.carry_out_one(operation, &job.body.dag_id, run)).await {
                    // Deleted meanwhile: nothing is to be done to it any more.
                    Ok(()) | Err(Error::NotFound { .. }) => {}
                    // It has begun to run since it was asked about. The others are done all the same.
                    Err(error @ Error::Conflict(_)) => refused = Some(error),
                    Err(error) => return Err(error),
                }
            }
            let body = Intervention { done: to, ..job.body.clone() };
            job = match self.store.update_intervention(&job, &body, self.patience()).await? {
                Outcome::Updated(job) => job,
                // Somebody else goes on with it; what both do is done once.
                Outcome::Refused(Some(theirs)) => {
                    Job { body: Intervention { done: to.max(theirs.body.done), ..body }, ..theirs }
                }
                Outcome::Refused(None) => break,
            };
        }
        self.store.delete_intervention(operation).await?;
        refused.map_or(Ok(()), Err)
    }

    async fn carry_out_one(&self, operation: &OperationId, dag_id: &DagId, planned: &RunIntent) -> Result<(), Error> {
        let latest = self.latest_for(dag_id, planned.run_on_latest_version).await?;
        self.intervene(&planned.incarnation, operation, latest.as_ref(), |version, run| {
            if planned.prevent_running_task {
                refuse_running(version, run, &planned.intent)?;
            }
            Ok(Some(step::intervene_with(&version.plan, run, &planned.intent, operation, self.clock.now())))
        })
        .await
        .map(|_| ())
    }

    /// Writes a note on task instances.
    pub(super) async fn note_tasks(&self, planned: &[Planned], note: Option<&str>) -> Result<(), Error> {
        let Some(note) = note else { return Ok(()) };
        let note = self.note(note)?;
        for planned in planned {
            for affected in planned.affected() {
                let noted = Noted::Task(affected.task, affected.map_index);
                self.store.put_note(&planned.run.facts.incarnation, noted, note.as_ref()).await?;
            }
        }
        Ok(())
    }

    /// Writes a note on a run; an empty one takes it back.
    pub(crate) async fn note_run(&self, run: &RunDoc, note: &str) -> Result<(), Error> {
        Ok(self.store.put_note(&run.facts.incarnation, Noted::Run, self.note(note)?.as_ref()).await?)
    }

    fn note(&self, content: &str) -> Result<Option<Note>, Error> {
        check_note(content)?;
        let note = Note { content: content.to_owned(), updated_at: self.clock.now(), user: None };
        Ok((!content.is_empty()).then_some(note))
    }
}

/// That a note is not longer than Airflow's may be.
pub(crate) fn check_note(content: &str) -> Result<(), Error> {
    let characters = content.chars().count();
    if characters > NOTE_CHARS_MAX {
        return Err(Error::Invalid(format!("the note has {characters} characters; at most {NOTE_CHARS_MAX} are kept")));
    }
    Ok(())
}
