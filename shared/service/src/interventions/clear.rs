//! Clearing task instances and runs, as Airflow's `clearTaskInstances` and `dagRuns/{id}/clear` do.

use super::runs::{Planned, check_note};
use super::selection::{Affected, Picked, Picks, Reach, Reader, Runs};
use crate::engine::{Engine, Error};
use jiff::Timestamp;
use std::collections::BTreeSet;
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::{Act, DagId, Intent, Plan, TaskIndex, TaskInstanceState};
use updraft_task_queue::TaskQueue;

/// Which task instances are to run again.
#[derive(Debug, Clone, PartialEq)]
pub struct ClearTaskInstances {
    /// Of this run; none: of all runs between the dates.
    pub run_id: Option<String>,
    /// And of the runs of earlier logical dates.
    pub include_past: bool,
    /// And of the runs of later logical dates.
    pub include_future: bool,
    /// Only of runs of this logical date or later; not with a run.
    pub start_date: Option<Timestamp>,
    /// Only of runs of this logical date or earlier; not with a run.
    pub end_date: Option<Timestamp>,
    /// Which tasks.
    pub picks: Picks,
    /// And everything above them.
    pub include_upstream: bool,
    /// And everything below them.
    pub include_downstream: bool,
    /// Only what has failed, by itself or because of an upstream.
    pub only_failed: bool,
    /// Only what runs.
    pub only_running: bool,
    /// Runs that have ended are queued.
    pub reset_dag_runs: bool,
    /// Refused where one of the task instances runs.
    pub prevent_running_task: bool,
    /// The runs go over to the latest version of the DAG; none: as the DAG says (`rerun_with_latest_version`).
    pub run_on_latest_version: Option<bool>,
    /// Noted on each.
    pub note: Option<String>,
}

impl Default for ClearTaskInstances {
    fn default() -> Self {
        Self {
            run_id: None,
            include_past: false,
            include_future: false,
            start_date: None,
            end_date: None,
            picks: Picks::default(),
            include_upstream: false,
            include_downstream: false,
            only_failed: false,
            only_running: false,
            reset_dag_runs: true,
            prevent_running_task: false,
            run_on_latest_version: None,
            note: None,
        }
    }
}

/// How a run is to run again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClearDagRun {
    /// Only what has failed, by itself or because of an upstream.
    pub only_failed: bool,
    /// Only what runs.
    pub only_running: bool,
    /// Nothing is cleared: the run is queued, to run what the latest version of the DAG has and it has not.
    pub only_new: bool,
    /// The run goes over to the latest version of the DAG; none: as the DAG says (`rerun_with_latest_version`).
    pub run_on_latest_version: Option<bool>,
    /// Noted on the run.
    pub note: Option<String>,
}

impl ClearTaskInstances {
    /// The tasks of a run that are meant, given those that are picked; of mapped ones that are meant by themselves only, the instances.
    fn meant(&self, plan: &Plan, (picked, mut only): Picked) -> Picked {
        let mut related = BTreeSet::new();
        if self.include_downstream {
            related.extend(picked.iter().flat_map(|task| plan.descendants(*task)));
        }
        // With both, as in Airflow: also whatever else is above what is below.
        if self.include_upstream {
            let all = picked.union(&related);
            let above: Vec<TaskIndex> = all.flat_map(|task| plan.ancestors(*task)).collect();
            related.extend(above);
        }
        let mut tasks: BTreeSet<TaskIndex> = picked.union(&related).copied().collect();
        tasks.append(&mut plan.setups_and_teardowns(&tasks));
        only.retain(|task, _| !related.contains(task));
        (tasks, only)
    }

    /// Whether task instances in this state are meant.
    fn wants(&self, state: TaskInstanceState) -> bool {
        match state {
            TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed => !self.only_running,
            TaskInstanceState::Running => !self.only_failed,
            _ => !self.only_failed && !self.only_running,
        }
    }

    fn intent(&self, tasks: BTreeSet<TaskIndex>) -> Intent {
        Intent::new(if self.reset_dag_runs { Act::Clear } else { Act::ClearTasks }, tasks)
    }
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Clears the task instances that are meant and says which those are, latest run first; `dry_run`: only says which.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a DAG, run, task or group that is not there; [`Error::Invalid`] for a request that contradicts itself;
    /// [`Error::Refused`] for the past or future of a run without a logical date; [`Error::Conflict`] where a task instance runs that must
    /// not. Nothing is cleared then.
    pub async fn clear_task_instances(
        &self,
        dag_id: &DagId,
        request: &ClearTaskInstances,
        dry_run: bool,
    ) -> Result<Vec<Affected>, Error> {
        let planned = self.plan_clear(dag_id, request).await?;
        let affected = planned.iter().flat_map(Planned::affected).collect();
        if !dry_run {
            self.carry_out_noted(dag_id, &planned, request.note.as_deref()).await?;
        }
        Ok(affected)
    }

    /// What [`Engine::clear_task_instances`] would do, run by run, the latest first. [`Engine::carry_out`] does it.
    ///
    /// # Errors
    /// As [`Engine::clear_task_instances`].
    pub async fn plan_clear(&self, dag_id: &DagId, request: &ClearTaskInstances) -> Result<Vec<Planned>, Error> {
        if request.only_failed && request.only_running {
            return Err(Error::Invalid(
                "only_failed and only_running are both set, and exclude each other; give one of them".to_owned(),
            ));
        }
        check_note(request.note.as_deref().unwrap_or_default())?;
        let runs = self.runs_meant(dag_id, request).await?;
        let run_on_latest_version = self.reruns_with_latest(dag_id, request.run_on_latest_version).await?;
        let mut reader = Reader::default();
        let mut planned = Vec::new();
        for (run, version) in runs {
            let picked = reader.picked(&version.plan, &request.picks);
            let (mut tasks, only) = request.meant(&version.plan, picked);
            let narrowed = self.narrow(&version, &run, &mut tasks, &only, |state| request.wants(state)).await?;
            if !tasks.is_empty() {
                planned.push(Planned {
                    intent: narrowed.limit(request.intent(tasks.clone())),
                    instances: narrowed.instances,
                    tasks,
                    run,
                    version,
                    prevent_running_task: request.prevent_running_task,
                    run_on_latest_version,
                });
            }
        }
        self.read_present(dag_id, &mut reader).await?;
        reader.check(&request.picks)?;
        Ok(planned)
    }

    async fn runs_meant(&self, dag_id: &DagId, request: &ClearTaskInstances) -> Result<Runs, Error> {
        match &request.run_id {
            Some(run_id) => {
                let reach = Reach { past: request.include_past, future: request.include_future };
                self.runs_from(dag_id, run_id, reach).await
            }
            None => self.runs_between(dag_id, request.start_date, request.end_date).await,
        }
    }

    /// Clears the task instances of a run and says which those are; `dry_run`: only says which.
    ///
    /// # Errors
    /// As [`Engine::clear_task_instances`].
    pub async fn clear_dag_run(
        &self,
        dag_id: &DagId,
        run_id: &str,
        request: &ClearDagRun,
        dry_run: bool,
    ) -> Result<Vec<Affected>, Error> {
        check_note(request.note.as_deref().unwrap_or_default())?;
        if request.only_new {
            return self.run_only_new(dag_id, run_id, request, dry_run).await;
        }
        let tasks = ClearTaskInstances {
            run_on_latest_version: request.run_on_latest_version,
            run_id: Some(run_id.to_owned()),
            only_failed: request.only_failed,
            only_running: request.only_running,
            ..ClearTaskInstances::default()
        };
        let affected = self.clear_task_instances(dag_id, &tasks, dry_run).await?;
        if let (false, Some(note)) = (dry_run, &request.note) {
            let run = self.run_named(dag_id, run_id).await?;
            self.note_run(&run, note).await?;
        }
        Ok(affected)
    }

    /// Takes a run to the latest version of its DAG and queues it, its task instances as they are; says which tasks are new to it.
    async fn run_only_new(
        &self,
        dag_id: &DagId,
        run_id: &str,
        request: &ClearDagRun,
        dry_run: bool,
    ) -> Result<Vec<Affected>, Error> {
        if request.only_failed || request.only_running {
            return Err(Error::Invalid(
                "only_new clears nothing, so only_failed and only_running say nothing beside it; give one of them"
                    .to_owned(),
            ));
        }
        if request.run_on_latest_version == Some(false) {
            return Err(Error::Invalid(
                "only_new runs what the latest version has and the run has not, and run_on_latest_version is false; leave one out"
                    .to_owned(),
            ));
        }
        let run = self.run_named(dag_id, run_id).await?;
        let version = self.version(&run.facts.version).await?;
        let Some(latest) = self.latest_for(dag_id, true).await? else { return Ok(Vec::new()) };
        let target = self.rebased(&version, &latest).await?;
        let is_new = |task: &TaskIndex| version.plan.index_of(target.plan.task(*task).task_id.as_str()).is_none();
        let new: BTreeSet<TaskIndex> = target.plan.tasks().filter(is_new).collect();
        let planned = Planned {
            run: run.clone(),
            version: target,
            tasks: new,
            instances: super::Instances::new(),
            intent: Intent::new(Act::Clear, []),
            prevent_running_task: false,
            run_on_latest_version: true,
        };
        let affected = planned.affected();
        if !dry_run {
            self.carry_out(dag_id, &[planned]).await?;
            if let Some(note) = &request.note {
                self.note_run(&run, note).await?;
            }
        }
        Ok(affected)
    }
}
