//! Which task instances of which runs are meant.

use crate::engine::{Engine, Error, Version, near};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::{DagId, Plan, RunDoc, TaskIndex, TaskInstanceState};
use updraft_task_queue::TaskQueue;

/// A task, or one instance of a mapped one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPick {
    /// The task.
    pub task_id: String,
    /// Which of its mapped instances; none: all of them.
    pub map_index: Option<u32>,
}

impl TaskPick {
    /// A task with all its instances.
    pub fn task(task_id: impl Into<String>) -> Self {
        Self { task_id: task_id.into(), map_index: None }
    }
}

/// Which tasks are meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Picks {
    /// These tasks. None, and no group: all tasks of the DAG.
    pub tasks: Option<Vec<TaskPick>>,
    /// All tasks in these groups, at any depth.
    pub task_group_ids: Vec<String>,
}

impl Picks {
    /// These tasks, by id.
    pub fn of<T: Into<String>>(task_ids: impl IntoIterator<Item = T>) -> Self {
        Self { tasks: Some(task_ids.into_iter().map(TaskPick::task).collect()), task_group_ids: Vec::new() }
    }

    fn is_all(&self) -> bool {
        self.tasks.is_none() && self.task_group_ids.is_empty()
    }
}

/// A task instance that an intervention is about, as it stood before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Affected {
    /// Its run.
    pub run_id: String,
    /// What the run stands for.
    pub logical_date: Option<Timestamp>,
    /// The task.
    pub task_id: String,
    /// Its place in the run's version.
    pub task: TaskIndex,
    /// Which instance of a mapped task.
    pub map_index: Option<u32>,
    /// How it stood.
    pub state: TaskInstanceState,
    /// Tries used or in use.
    pub try_number: u32,
}

impl Affected {
    pub(super) fn new(plan: &Plan, run: &RunDoc, task: TaskIndex) -> Self {
        Self {
            run_id: run.facts.run_id.clone(),
            logical_date: run.facts.logical_date,
            task_id: plan.task(task).task_id.to_string(),
            task,
            map_index: None,
            state: updraft_scheduling::mapped::state(plan, &run.mapped, run.cell(task), task),
            try_number: run.cell(task).try_number(),
        }
    }
}

/// Which runs of a DAG are meant, seen from one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reach {
    /// And all of earlier logical dates.
    pub(super) past: bool,
    /// And all of later logical dates.
    pub(super) future: bool,
}

/// Runs with their versions.
pub(super) type Runs = Vec<(RunDoc, Arc<Version>)>;

/// Tasks, and of some of them only some mapped instances.
pub(super) type Picked = (BTreeSet<TaskIndex>, BTreeMap<TaskIndex, BTreeSet<u32>>);

/// Collects what the ids of a selection mean in one run after the other, and knows in the end which of them meant nothing anywhere.
#[derive(Debug, Default)]
pub(super) struct Reader {
    tasks: BTreeSet<String>,
    groups: BTreeSet<String>,
}

impl Reader {
    /// The tasks of a plan that are picked, and of those of which only some mapped instances are, these.
    pub(super) fn picked(&mut self, plan: &Plan, picks: &Picks) -> Picked {
        let whole = self.tasks(plan, picks);
        let mut only: BTreeMap<TaskIndex, BTreeSet<u32>> = BTreeMap::new();
        for pick in picks.tasks.iter().flatten() {
            // A task that is not mapped has no such instance.
            let task = plan.index_of(&pick.task_id).filter(|task| plan.unit_of(*task).is_some());
            if let (Some(task), Some(map_index)) = (task, pick.map_index)
                && !whole.contains(&task)
            {
                only.entry(task).or_default().insert(map_index);
            }
        }
        (whole.into_iter().chain(only.keys().copied()).collect(), only)
    }

    /// The tasks of a plan that are picked as a whole.
    pub(super) fn tasks(&mut self, plan: &Plan, picks: &Picks) -> BTreeSet<TaskIndex> {
        self.tasks.extend(plan.dag.tasks.iter().map(|task| task.task_id.to_string()));
        self.groups.extend(plan.dag.groups.iter().map(|group| group.group_id.clone()));
        if picks.is_all() {
            return plan.tasks().collect();
        }
        // An index asks for an instance of a mapped task; a task that is not mapped has none.
        let wanted = |pick: &&TaskPick| pick.map_index.is_none();
        let named = picks.tasks.iter().flatten().filter(wanted).filter_map(|pick| plan.index_of(&pick.task_id));
        let grouped = plan.tasks().filter(|task| picks.task_group_ids.iter().any(|id| is_inside(plan, *task, id)));
        named.chain(grouped).collect()
    }

    /// That each id is one of a task, or of a group, somewhere.
    pub(super) fn check(&self, picks: &Picks) -> Result<(), Error> {
        let known = |names: &BTreeSet<String>| names.iter().cloned().collect();
        if let Some(pick) = picks.tasks.iter().flatten().find(|pick| !self.tasks.contains(&pick.task_id)) {
            let near = near(&pick.task_id, known(&self.tasks));
            return Err(Error::NotFound { what: "the task", name: pick.task_id.clone(), near });
        }
        match picks.task_group_ids.iter().find(|id| !self.groups.contains(*id)) {
            Some(id) => {
                Err(Error::NotFound { what: "the task group", name: id.clone(), near: near(id, known(&self.groups)) })
            }
            None => Ok(()),
        }
    }
}

/// Whether a task is in a group, at any depth.
fn is_inside(plan: &Plan, task: TaskIndex, group_id: &str) -> bool {
    let mut group = plan.task(task).group.as_deref();
    // A chain of parents is no longer than there are groups.
    for _ in 0..=plan.dag.groups.len() {
        match group {
            Some(id) if id == group_id => return true,
            Some(id) => group = plan.dag.groups.iter().find(|g| g.group_id == id).and_then(|g| g.parent.as_deref()),
            None => return false,
        }
    }
    false
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// A run by its name.
    ///
    /// # Errors
    /// [`Error::NotFound`], with names that are close.
    pub async fn run_named(&self, dag_id: &DagId, run_id: &str) -> Result<RunDoc, Error> {
        self.run_by_id(dag_id, run_id).await
    }

    /// The ids of all tasks that a DAG has, or had in the version of one of its runs.
    pub async fn task_ids_ever(&self, dag_id: &DagId) -> Result<BTreeSet<String>, Error> {
        let mut reader = Reader::default();
        for (_, version) in self.runs_between(dag_id, None, None).await? {
            reader.tasks(&version.plan, &Picks::default());
        }
        self.read_present(dag_id, &mut reader).await?;
        Ok(reader.tasks)
    }

    /// A run, and those that it reaches.
    pub(super) async fn runs_from(&self, dag_id: &DagId, run_id: &str, reach: Reach) -> Result<Runs, Error> {
        let run = self.run_named(dag_id, run_id).await?;
        if reach == Reach::default() {
            return self.with_versions(vec![run]).await;
        }
        let Some(date) = run.facts.logical_date else {
            return Err(Error::Refused(format!(
                "the run `{run_id}` has no logical date, so there is no past and no future to it; leave those out"
            )));
        };
        let (from, to) = ((!reach.past).then_some(date), (!reach.future).then_some(date));
        self.runs_between(dag_id, from, to).await
    }

    /// The runs of a DAG whose logical dates lie between two, both included; without bounds all runs, those without a date too.
    pub(super) async fn runs_between(
        &self,
        dag_id: &DagId,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Runs, Error> {
        if self.store.dag(dag_id).await?.is_none() {
            return Err(self.no_such_dag(dag_id).await);
        }
        let mut runs = Vec::new();
        let mut page = None;
        loop {
            // None of them may be left out unasked.
            let found = self.store.list_runs(dag_id, 100, page).await?.whole()?;
            runs.extend(found.items.into_iter().filter(|run| {
                let date = run.facts.logical_date;
                from.is_none_or(|from| date.is_some_and(|date| date >= from))
                    && to.is_none_or(|to| date.is_some_and(|date| date <= to))
            }));
            page = found.next;
            if page.is_none() {
                return self.with_versions(runs).await;
            }
        }
    }

    async fn with_versions(&self, runs: Vec<RunDoc>) -> Result<Runs, Error> {
        let mut all = Vec::new();
        for run in runs {
            let version = self.version(&run.facts.version).await?;
            all.push((run, version));
        }
        Ok(all)
    }

    /// Adds the DAG's present tasks to those that are known, so that an id that no run has yet is told from a wrong one.
    pub(super) async fn read_present(&self, dag_id: &DagId, reader: &mut Reader) -> Result<(), Error> {
        if let Some(version) = self.store.dag(dag_id).await?.and_then(|dag| dag.version) {
            let version = self.version(&version).await?;
            reader.tasks(&version.plan, &Picks::default());
        }
        Ok(())
    }
}
