//! Interventions: clear, mark, fail. Each carries a drawn operation id, so that a write whose answer was lost is not done twice. What is more
//! than one write may change is noted in the run first; whoever looks at the run goes on with it.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version, near};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::cell::End;
use updraft_model::{Act, DagId, Incarnation, OperationId, Plan, RunDoc, TaskIndex, TaskInstanceState};
use updraft_scheduling::step::{self, Step};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// Which task instances are meant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Selection {
    /// Only these runs; none: any run of the DAG.
    pub run_ids: Option<Vec<String>>,
    /// Only runs of this logical date or later.
    pub from: Option<Timestamp>,
    /// Only runs of this logical date or earlier.
    pub to: Option<Timestamp>,
    /// Only these tasks; none: all.
    pub task_ids: Option<Vec<String>>,
    /// And everything above them.
    pub upstream: bool,
    /// And everything below them.
    pub downstream: bool,
    /// Only what has failed, by itself or because of an upstream.
    pub only_failed: bool,
    /// Only what is running.
    pub only_running: bool,
}

/// A task instance that was selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected {
    /// Its run.
    pub run_id: String,
    /// What the run stands for.
    pub logical_date: Option<Timestamp>,
    /// The task.
    pub task_id: String,
    /// How it stood.
    pub state: TaskInstanceState,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Clears task instances, so that they run again. A finished run becomes queued.
    pub async fn clear(&self, run: &Incarnation, tasks: &[TaskIndex]) -> Result<RunDoc, Error> {
        let operation = OperationId::trusted(self.clock.draw(8));
        self.intervene(run, &operation, |version, run| {
            Some(step::clear(&version.plan, run, tasks, &operation, self.clock.now()))
        })
        .await
    }

    /// Gives task instances an end by hand. What runs has to let go. Whatever failed below them, itself or because of an upstream, is to be
    /// cleared after: as Airflow does it, in two steps.
    pub async fn mark(&self, run: &Incarnation, tasks: &[TaskIndex], end: End) -> Result<RunDoc, Error> {
        let operation = OperationId::trusted(self.clock.draw(8));
        self.intervene(run, &operation, |version, run| {
            let tasks = tasks.iter().copied();
            Some(step::intervene(&version.plan, run, Act::Mark(end), tasks, &operation, self.clock.now()))
        })
        .await
    }

    /// Ends a run as failed. A run that has ended stays as it is.
    pub async fn fail_run(&self, run: &Incarnation) -> Result<RunDoc, Error> {
        self.end_run(run, End::Failed).await
    }

    /// Ends a run by hand: what is under way gets this end, what else has not ended is skipped. A run that has ended stays as it is.
    pub async fn end_run(&self, run: &Incarnation, end: End) -> Result<RunDoc, Error> {
        let operation = OperationId::trusted(self.clock.draw(8));
        self.intervene(run, &operation, |version, run| {
            let plan = &version.plan;
            (!run.state.is_finished())
                .then(|| step::intervene(plan, run, Act::Cancel(end), plan.tasks(), &operation, self.clock.now()))
        })
        .await
    }

    /// The task instances of a DAG that a selection means, run by run, latest first. Those without a state are left out.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a DAG, run or task that is not there; [`Error::Refused`] for a selection that contradicts itself.
    pub async fn select(&self, dag_id: &DagId, selection: &Selection) -> Result<Vec<Selected>, Error> {
        let mut selected = Vec::new();
        for (run, version, tasks) in self.selected_runs(dag_id, selection).await? {
            selected.extend(tasks.into_iter().map(|task| as_selected(&version.plan, &run, task)));
        }
        Ok(selected)
    }

    /// Clears what a selection means, and says what that was. Ask [`Engine::select`] first what it would be.
    ///
    /// # Errors
    /// As [`Engine::select`]. Runs that were cleared before an error stay cleared.
    pub async fn clear_selected(&self, dag_id: &DagId, selection: &Selection) -> Result<Vec<Selected>, Error> {
        let mut cleared = Vec::new();
        for (run, version, tasks) in self.selected_runs(dag_id, selection).await? {
            self.clear(&run.facts.incarnation, &tasks).await?;
            cleared.extend(tasks.into_iter().map(|task| as_selected(&version.plan, &run, task)));
        }
        Ok(cleared)
    }

    async fn selected_runs(
        &self,
        dag_id: &DagId,
        selection: &Selection,
    ) -> Result<Vec<(RunDoc, Arc<Version>, Vec<TaskIndex>)>, Error> {
        if selection.only_failed && selection.only_running {
            return Err(Error::Refused("only failed and only running exclude each other; give one of them".to_owned()));
        }
        let Some(dag) = self.store.dag(dag_id).await? else { return Err(self.no_such_dag(dag_id).await) };
        let runs = match &selection.run_ids {
            Some(run_ids) => {
                let mut runs = Vec::new();
                for run_id in run_ids {
                    runs.push(self.run_named(dag_id, run_id).await?);
                }
                runs
            }
            None => self.runs_of_dates(dag_id, selection).await?,
        };
        let mut known: BTreeSet<String> = BTreeSet::new();
        let mut found = Vec::new();
        for run in runs {
            let version = self.version(&run.facts.version).await?;
            let tasks = selected_tasks(&version.plan, &run, selection, &mut known);
            if !tasks.is_empty() {
                found.push((run, version, tasks));
            }
        }
        if let Some(version) = &dag.version {
            let version = self.version(version).await?;
            known.extend(version.plan.dag.tasks.iter().map(|task| task.task_id.to_string()));
        }
        let unknown = selection.task_ids.iter().flatten().find(|task_id| !known.contains(*task_id));
        match unknown {
            Some(task_id) => {
                let near = near(task_id, known.into_iter().collect());
                Err(Error::NotFound { what: "the task", name: task_id.clone(), near })
            }
            None => Ok(found),
        }
    }

    async fn runs_of_dates(&self, dag_id: &DagId, selection: &Selection) -> Result<Vec<RunDoc>, Error> {
        let mut runs = Vec::new();
        let mut page = None;
        loop {
            let found = self.store.list_runs(dag_id, 100, page).await?;
            runs.extend(found.items.into_iter().filter(|run| {
                let date = run.facts.logical_date;
                selection.from.is_none_or(|from| date.is_some_and(|date| date >= from))
                    && selection.to.is_none_or(|to| date.is_some_and(|date| date <= to))
            }));
            page = found.next;
            if page.is_none() {
                return Ok(runs);
            }
        }
    }

    /// A run by its name.
    ///
    /// # Errors
    /// [`Error::NotFound`], with names that are close.
    pub async fn run_named(&self, dag_id: &DagId, run_id: &str) -> Result<RunDoc, Error> {
        if let Some(name) = self.store.run_name(dag_id, run_id).await?
            && let Some(run) = self.store.run(&name.incarnation).await?
        {
            return Ok(run);
        }
        if self.store.dag(dag_id).await?.is_none() {
            return Err(self.no_such_dag(dag_id).await);
        }
        let known = self.store.list_runs(dag_id, 100, None).await?.items;
        let near = near(run_id, known.into_iter().map(|run| run.facts.run_id).collect());
        Err(Error::NotFound { what: "the run", name: run_id.to_owned(), near })
    }

    async fn intervene(
        &self,
        incarnation: &Incarnation,
        operation: &OperationId,
        take: impl Fn(&Arc<Version>, &RunDoc) -> Option<Step>,
    ) -> Result<RunDoc, Error> {
        let gone = || Error::NotFound { what: "the run", name: incarnation.to_string(), near: Vec::new() };
        let mut run = self.store.run(incarnation).await?.ok_or_else(gone)?;
        for _ in 0..ROUNDS_MAX {
            let version = self.version(&run.facts.version).await?;
            // What somebody began before is made first. Our own earlier write, whose answer was lost, may be among it (ARCHITECTURE.md, rule F1).
            run = Box::pin(self.carry_on(&version, run)).await?.ok_or_else(gone)?;
            if run.operations.contains(operation) {
                return Ok(run);
            }
            let Some(step) = take(&version, &run) else { return Ok(run) };
            match self.store.update_run(incarnation, &step.change).await {
                Ok(Outcome::Updated(image)) => {
                    self.after(&version, &step, &image).await;
                    let (image, _) = Box::pin(self.follow(&version, Some(&run), image)).await?.ok_or_else(gone)?;
                    let image = Box::pin(self.carry_on(&version, image)).await?.ok_or_else(gone)?;
                    self.send(vec![Outgoing::now(Message::Run { incarnation: incarnation.clone() })]).await;
                    return Ok(image);
                }
                Ok(Outcome::Refused(Some(image))) => run = image,
                Ok(Outcome::Refused(None)) => return Err(gone()),
                Err(updraft_metastore::Error::Unavailable(_)) => {
                    // It may have landed: look before trying again.
                    run = self.store.run(incarnation).await?.ok_or_else(gone)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }
}

fn as_selected(plan: &Plan, run: &RunDoc, task: TaskIndex) -> Selected {
    Selected {
        run_id: run.facts.run_id.clone(),
        logical_date: run.facts.logical_date,
        task_id: plan.task(task).task_id.to_string(),
        state: run.task_state(task),
    }
}

/// The tasks of a run that a selection means. Notes which of its ids are tasks there.
fn selected_tasks(plan: &Plan, run: &RunDoc, selection: &Selection, known: &mut BTreeSet<String>) -> Vec<TaskIndex> {
    let named: BTreeSet<TaskIndex> = match &selection.task_ids {
        None => plan.tasks().collect(),
        Some(task_ids) => task_ids.iter().filter_map(|id| plan.index_of(id)).collect(),
    };
    known.extend(named.iter().map(|task| plan.task(*task).task_id.to_string()));
    let mut tasks = named.clone();
    for task in &named {
        if selection.upstream {
            tasks.append(&mut plan.ancestors(*task));
        }
        if selection.downstream {
            tasks.append(&mut plan.descendants(*task));
        }
    }
    tasks.append(&mut plan.setups_and_teardowns(&tasks));
    let is_meant = |task: &TaskIndex| match run.task_state(*task) {
        TaskInstanceState::None => false,
        TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed => !selection.only_running,
        TaskInstanceState::Running => !selection.only_failed,
        _ => !selection.only_failed && !selection.only_running,
    };
    tasks.into_iter().filter(is_meant).collect()
}
