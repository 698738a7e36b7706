//! What follows from a DAG's shape, computed once per version: downstreams, priorities, scopes, leaves.

use crate::dag::{Dag, WeightRule};
use crate::dag_parts::POOL_DEFAULT;
use crate::holder::HolderId;
use crate::ids::{Incarnation, TaskIndex};
use crate::operators::{self, Runner};
use crate::unit::{self, Unit};
use std::collections::{BTreeMap, BTreeSet};

/// What a deployment says of what a DAG file leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanSettings {
    /// `max_active_tasks` of DAGs that do not say; none: no limit.
    pub max_active_tasks: Option<u32>,
    /// Whether the default pool has a size, so that tasks take slots of it.
    pub default_pool_is_limited: bool,
}

/// A DAG with everything that decisions need to know of its shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The DAG itself.
    pub dag: Dag,
    downstream: Vec<Vec<TaskIndex>>,
    priority: Vec<i64>,
    leaves: Vec<TaskIndex>,
    indirect_setups: BTreeMap<TaskIndex, Vec<TaskIndex>>,
    teardown_scope: BTreeMap<TaskIndex, Vec<TaskIndex>>,
    dependents: Vec<Vec<TaskIndex>>,
    empty: Vec<bool>,
    settings: PlanSettings,
    has_past: bool,
    has_holders: bool,
    /// The tasks in a topological order, where their own is none.
    order: Option<Vec<TaskIndex>>,
    by_id: BTreeMap<String, TaskIndex>,
    units: Vec<Unit>,
    unit_of: BTreeMap<TaskIndex, usize>,
}

impl Plan {
    /// Derives the plan of a validated DAG (acyclic, upstream indexes in range).
    pub fn new(dag: Dag) -> Self {
        Self::with(dag, PlanSettings::default())
    }

    /// The same, where a deployment sets limits of its own.
    pub fn with(dag: Dag, settings: PlanSettings) -> Self {
        let count = dag.tasks.len();
        let mut downstream = vec![Vec::new(); count];
        for (i, task) in dag.tasks.iter().enumerate() {
            for up in &task.upstream {
                downstream[up.at()].push(TaskIndex(i as u32));
            }
        }
        let scopes = Scopes::new(&dag, &downstream);
        let mut dependents = downstream.clone();
        for (target, watched) in scopes.indirect_setups.iter().chain(&scopes.teardown_scope) {
            for task in watched {
                if !dependents[task.at()].contains(target) {
                    dependents[task.at()].push(*target);
                }
            }
        }
        let empty = dag
            .tasks
            .iter()
            .map(|t| !t.has_effects && operators::find(&t.operator).is_some_and(|o| o.runner == Runner::Empty))
            .collect();
        let (units, unit_of) = unit::units(&dag);
        Self {
            priority: priorities(&dag, &downstream),
            leaves: effective_leaves(&dag, &downstream),
            by_id: dag.tasks.iter().enumerate().map(|(i, t)| (t.task_id.to_string(), TaskIndex(i as u32))).collect(),
            indirect_setups: scopes.indirect_setups,
            teardown_scope: scopes.teardown_scope,
            downstream,
            dependents,
            empty,
            settings,
            has_holders: dag.tasks.iter().any(|t| {
                t.max_active_tis_per_dag.is_some() || settings.default_pool_is_limited || t.pool != POOL_DEFAULT
            }) || (!units.is_empty() && dag.max_active_tasks.or(settings.max_active_tasks).is_some()),
            has_past: dag.tasks.iter().any(|t| t.depends_on_past || t.wait_for_downstream),
            units,
            unit_of,
            order: dag
                .stands_for
                .is_some()
                .then(|| topological_order(&dag).into_iter().map(|i| TaskIndex(i as u32)).collect()),
            dag,
        }
    }

    /// Every task's index.
    pub fn tasks(&self) -> impl DoubleEndedIterator<Item = TaskIndex> + use<> {
        (0..self.dag.tasks.len() as u32).map(TaskIndex)
    }

    /// Every task's index, upstreams before downstreams.
    pub fn in_order(&self) -> Vec<TaskIndex> {
        self.order.clone().unwrap_or_else(|| self.tasks().collect())
    }

    /// The tasks that are gone from the DAG and keep a place in this run's version.
    pub fn removed(&self) -> impl Iterator<Item = TaskIndex> + '_ {
        let may = self.dag.stands_for.is_some();
        self.tasks().filter(move |task| may && self.task(*task).is_removed)
    }

    /// Every task's index, by task id: the order in which Airflow's database hands out task instances, for the few places where
    /// order decides.
    pub fn tasks_by_id(&self) -> impl Iterator<Item = TaskIndex> + '_ {
        self.by_id.values().copied()
    }

    /// A task.
    ///
    /// # Panics
    /// When the index is of another version: callers pair a run with its own version.
    pub fn task(&self, task: TaskIndex) -> &crate::dag::Task {
        &self.dag.tasks[task.at()]
    }

    /// A task's index by its id.
    pub fn index_of(&self, task_id: &str) -> Option<TaskIndex> {
        self.by_id.get(task_id).copied()
    }

    /// The roots of a group: its tasks without an upstream inside it. None where the DAG has no such group.
    pub fn group_roots(&self, group_id: &str) -> Option<Vec<TaskIndex>> {
        let parent = |id: &str| self.dag.groups.iter().find(|g| g.group_id == id).and_then(|g| g.parent.as_deref());
        if !self.dag.groups.iter().any(|g| g.group_id == group_id) {
            return None;
        }
        let inside = |task: TaskIndex| {
            let mut group = self.task(task).group.as_deref();
            // A chain of parents is no longer than there are groups.
            for _ in 0..=self.dag.groups.len() {
                match group {
                    Some(id) if id == group_id => return true,
                    Some(id) => group = parent(id),
                    None => return false,
                }
            }
            false
        };
        let is_root = |task: &TaskIndex| inside(*task) && !self.upstream(*task).iter().any(|up| inside(*up));
        Some(self.tasks().filter(is_root).collect())
    }

    /// The units of the DAG: mapped tasks, and mapped groups.
    pub fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The same plan with pages of another size: for models and simulations, which look at all that can happen to several small pages. A run
    /// keeps the size that it began with, so that a deployment must not change it.
    #[must_use]
    pub fn with_page_cells(mut self, cells: u32) -> Self {
        self.units.iter_mut().for_each(|unit| unit.page_cells = cells);
        self
    }

    /// The unit that a task belongs to, where it is mapped or inside of a mapped group.
    pub fn unit_of(&self, task: TaskIndex) -> Option<&Unit> {
        self.unit_of.get(&task).map(|place| &self.units[*place])
    }

    /// Whether some unit is expanded over what a task returns.
    pub fn is_mapped_over(&self, task: TaskIndex) -> bool {
        self.units.iter().any(|unit| unit.sources.contains(&task))
    }

    /// The tasks to look at again when a task has ended: whole units at their tasks.
    pub fn depends_on_unit(&self, unit: &Unit) -> impl Iterator<Item = TaskIndex> {
        let around: BTreeSet<TaskIndex> = unit.members.iter().flat_map(|m| self.dependents(*m)).copied().collect();
        around.into_iter()
    }

    /// Direct upstreams.
    pub fn upstream(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.dag.tasks[task.at()].upstream
    }

    /// Direct downstreams.
    pub fn downstream(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.downstream[task.at()]
    }

    /// Everything whose decision a task's end can change: direct downstreams, tasks under an indirect setup, teardowns over a
    /// scope.
    pub fn dependents(&self, task: TaskIndex) -> &[TaskIndex] {
        &self.dependents[task.at()]
    }

    /// The effective priority weight. A declared weight has 32 bits; a sum of them may have more.
    pub fn priority(&self, task: TaskIndex) -> i64 {
        self.priority[task.at()]
    }

    /// The tasks whose ends decide the run's outcome.
    pub fn leaves(&self) -> &[TaskIndex] {
        &self.leaves
    }

    /// Setups above a task that are not its direct upstreams, and that have a teardown below it or none anywhere.
    pub fn indirect_setups(&self, task: TaskIndex) -> &[TaskIndex] {
        self.indirect_setups.get(&task).map_or(&[], Vec::as_slice)
    }

    /// The tasks between a teardown and its setups, all of which it waits for.
    pub fn teardown_scope(&self, task: TaskIndex) -> &[TaskIndex] {
        self.teardown_scope.get(&task).map_or(&[], Vec::as_slice)
    }

    /// How many task instances of a run may be under way at once; none: any number.
    pub fn max_active_tasks(&self) -> Option<u32> {
        self.dag.max_active_tasks.or(self.settings.max_active_tasks)
    }

    /// The same where a run's own document shows all that count: it has no mapped tasks.
    pub fn places_most(&self) -> Option<u32> {
        self.max_active_tasks().filter(|_| self.units.is_empty())
    }

    /// The same where it does not: each task instance, mapped or not, takes a slot ([`HolderId::Run`]).
    pub fn slots_of_run(&self) -> Option<u32> {
        self.max_active_tasks().filter(|_| !self.units.is_empty())
    }

    /// How many instances of a mapped task may be under way at once in one run; none: any number. The other limits are held by slots.
    pub fn instances_most(&self, task: TaskIndex) -> Option<u32> {
        self.task(task).max_active_tis_per_dagrun
    }

    /// How many pages of a unit have instances under way at most: as many as its limit fills, and one at least.
    pub fn pages_most(&self, unit: &Unit) -> Option<u32> {
        let limit = unit.members.iter().filter_map(|task| self.instances_most(*task)).min()?;
        Some((limit / unit.per_page()).max(1))
    }

    /// The limits that the task takes slots of in a run, in the order in which they are asked.
    pub fn holders(&self, task: TaskIndex, run: &Incarnation) -> Vec<HolderId> {
        let definition = self.task(task);
        let own = definition
            .max_active_tis_per_dag
            .map(|_| HolderId::Task(self.dag.dag_id.clone(), definition.task_id.clone()));
        let pool = self.takes_slots(task).then(|| HolderId::Pool(definition.pool.clone()));
        let of_run = self.slots_of_run().map(|_| HolderId::Run(run.clone()));
        own.into_iter().chain(pool).chain(of_run).collect()
    }

    /// Whether the task takes slots of a pool.
    fn takes_slots(&self, task: TaskIndex) -> bool {
        self.settings.default_pool_is_limited || self.task(task).pool != POOL_DEFAULT
    }

    /// Whether the task is under a limit that other runs are under, too.
    pub fn is_held_with_others(&self, task: TaskIndex) -> bool {
        self.task(task).max_active_tis_per_dag.is_some() || self.takes_slots(task)
    }

    /// Whether the task is under a limit beyond its run's document, so that it is queued only once it holds what it takes.
    pub fn is_held_elsewhere(&self, task: TaskIndex) -> bool {
        self.is_held_with_others(task) || self.slots_of_run().is_some()
    }

    /// Whether any task takes slots of a limit.
    pub fn has_holders(&self) -> bool {
        self.has_holders
    }

    /// Whether a ready task waits for a place: within the run or beyond it.
    pub fn is_limited(&self, task: TaskIndex) -> bool {
        self.places_most().is_some()
            || self.task(task).max_active_tis_per_dagrun == Some(0)
            || self.is_held_elsewhere(task)
    }

    /// Whether the task depends on runs of earlier dates.
    pub fn looks_back(&self, task: TaskIndex) -> bool {
        self.has_past && (self.task(task).depends_on_past || self.task(task).wait_for_downstream)
    }

    /// Whether any task does.
    pub fn has_past(&self) -> bool {
        self.has_past
    }

    /// Whether the task ends by decision alone.
    pub fn is_empty_operator(&self, task: TaskIndex) -> bool {
        self.empty[task.at()]
    }

    /// All tasks from which `task` can be reached, itself excluded.
    pub fn ancestors(&self, task: TaskIndex) -> BTreeSet<TaskIndex> {
        let mut seen = BTreeSet::new();
        let mut open = self.upstream(task).to_vec();
        while let Some(task) = open.pop() {
            if seen.insert(task) {
                open.extend_from_slice(self.upstream(task));
            }
        }
        seen
    }

    /// The setups that these tasks run within, and the teardowns of all setups concerned: whoever runs them again needs those too. A
    /// teardown alone needs nothing.
    pub fn setups_and_teardowns(&self, tasks: &BTreeSet<TaskIndex>) -> BTreeSet<TaskIndex> {
        let mut found = BTreeSet::new();
        for task in tasks.iter().filter(|task| !self.task(**task).is_teardown) {
            let direct = self.upstream(*task).iter().filter(|up| self.task(**up).is_setup);
            found.extend(direct.chain(self.indirect_setups(*task)).copied());
        }
        let setups: Vec<TaskIndex> = found.iter().chain(tasks).copied().filter(|t| self.task(*t).is_setup).collect();
        for setup in setups {
            found.extend(self.downstream(setup).iter().filter(|below| self.task(**below).is_teardown));
        }
        found
    }

    /// All tasks that can be reached from `task`, itself excluded.
    pub fn descendants(&self, task: TaskIndex) -> BTreeSet<TaskIndex> {
        reach(&self.downstream, task)
    }
}

fn reach(next: &[Vec<TaskIndex>], from: TaskIndex) -> BTreeSet<TaskIndex> {
    let mut seen = BTreeSet::new();
    let mut open = next[from.at()].clone();
    while let Some(task) = open.pop() {
        if seen.insert(task) {
            open.extend_from_slice(&next[task.at()]);
        }
    }
    seen
}

/// Effective weights.
///
/// Sums over *distinct* relatives, so a plain sum along edges would count the far side of a diamond twice; a bit set per task
/// over a topological order keeps 10,000 tasks at a few million word operations.
fn priorities(dag: &Dag, downstream: &[Vec<TaskIndex>]) -> Vec<i64> {
    let weight = |i: usize| i64::from(dag.tasks[i].priority_weight);
    let wants = |rule| dag.tasks.iter().any(|t| t.weight_rule == rule);
    let upstream: Vec<Vec<TaskIndex>> = dag.tasks.iter().map(|t| t.upstream.clone()).collect();
    let sums = |next: &[Vec<TaskIndex>], order: &mut dyn Iterator<Item = usize>| {
        let words = dag.tasks.len().div_ceil(64);
        let mut sets: Vec<Vec<u64>> = vec![Vec::new(); dag.tasks.len()];
        let mut sums = vec![0i64; dag.tasks.len()];
        for i in order {
            let mut own = vec![0u64; words];
            own[i / 64] |= 1 << (i % 64);
            for relative in &next[i] {
                for (a, b) in own.iter_mut().zip(&sets[relative.at()]) {
                    *a |= b;
                }
            }
            sums[i] = (0..dag.tasks.len()).filter(|t| own[t / 64] >> (t % 64) & 1 == 1).map(weight).sum();
            sets[i] = own;
        }
        sums
    };
    let order = topological_order(dag);
    let down = if wants(WeightRule::Downstream) && dag.tasks.iter().any(|t| !t.upstream.is_empty()) {
        sums(downstream, &mut order.iter().rev().copied())
    } else {
        (0..dag.tasks.len()).map(weight).collect()
    };
    let up = if wants(WeightRule::Upstream) { sums(&upstream, &mut order.iter().copied()) } else { Vec::new() };
    (0..dag.tasks.len())
        .map(|i| match dag.tasks[i].weight_rule {
            WeightRule::Downstream => down[i],
            WeightRule::Upstream => up[i],
            WeightRule::Absolute => weight(i),
        })
        .collect()
}

/// Upstreams before downstreams; ties by index. Tasks on a cycle are left out (the loader refuses cycles).
pub fn topological_order(dag: &Dag) -> Vec<usize> {
    let mut missing: Vec<usize> = dag.tasks.iter().map(|t| t.upstream.len()).collect();
    let mut downstream = vec![Vec::new(); dag.tasks.len()];
    for (i, task) in dag.tasks.iter().enumerate() {
        for up in &task.upstream {
            downstream[up.at()].push(i);
        }
    }
    let mut open: BTreeSet<usize> = (0..dag.tasks.len()).filter(|i| missing[*i] == 0).collect();
    let mut order = Vec::with_capacity(dag.tasks.len());
    while let Some(i) = open.pop_first() {
        order.push(i);
        for d in &downstream[i] {
            missing[*d] -= 1;
            if missing[*d] == 0 {
                open.insert(*d);
            }
        }
    }
    order
}

/// The tasks whose ends decide the run's outcome: those without a direct downstream that counts, where a
/// teardown counts only with `on_failure_fail_dagrun`; where nothing counts, the plain leaves.
fn effective_leaves(dag: &Dag, downstream: &[Vec<TaskIndex>]) -> Vec<TaskIndex> {
    let is_there = |i: usize| !dag.tasks[i].is_removed;
    let counts = |i: usize| is_there(i) && (!dag.tasks[i].is_teardown || dag.tasks[i].on_failure_fail_dagrun);
    let all = || (0..dag.tasks.len()).map(|i| TaskIndex(i as u32));
    let effective: Vec<TaskIndex> =
        all().filter(|t| counts(t.at()) && !downstream[t.at()].iter().any(|d| counts(d.at()))).collect();
    if effective.is_empty() {
        all().filter(|t| is_there(t.at()) && downstream[t.at()].is_empty()).collect()
    } else {
        effective
    }
}

/// Setup and teardown scopes.
struct Scopes {
    indirect_setups: BTreeMap<TaskIndex, Vec<TaskIndex>>,
    teardown_scope: BTreeMap<TaskIndex, Vec<TaskIndex>>,
}

impl Scopes {
    fn new(dag: &Dag, downstream: &[Vec<TaskIndex>]) -> Self {
        let mut scopes = Self { indirect_setups: BTreeMap::new(), teardown_scope: BTreeMap::new() };
        let setups: Vec<TaskIndex> =
            (0..dag.tasks.len()).filter(|i| dag.tasks[*i].is_setup).map(|i| TaskIndex(i as u32)).collect();
        if setups.is_empty() {
            return scopes;
        }
        let below: BTreeMap<TaskIndex, BTreeSet<TaskIndex>> =
            dag.tasks.iter().enumerate().map(|(i, _)| TaskIndex(i as u32)).map(|t| (t, reach(downstream, t))).collect();
        for setup in &setups {
            let teardowns: Vec<TaskIndex> =
                downstream[setup.at()].iter().copied().filter(|d| dag.tasks[d.at()].is_teardown).collect();
            for task in &below[setup] {
                let direct = dag.tasks[task.at()].upstream.contains(setup);
                let inside = teardowns.is_empty() || teardowns.iter().any(|t| below[task].contains(t));
                if !direct && inside {
                    scopes.indirect_setups.entry(*task).or_default().push(*setup);
                }
                for teardown in teardowns.iter().filter(|t| below[task].contains(t)) {
                    let scope = scopes.teardown_scope.entry(*teardown).or_default();
                    if !scope.contains(task) {
                        scope.push(*task);
                    }
                }
            }
        }
        scopes
    }
}
