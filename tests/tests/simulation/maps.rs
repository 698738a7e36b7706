//! Mapped tasks and groups in the simulation: DAGs that have some, what must hold of their pages after each write, and how a run with some
//! may end.
//!
//! A map is small here, and its pages are smaller still. For the reference it is so many tasks beside each other, whose number is known: it
//! follows from the seed, as ends do.

use crate::model::{Part, Stand, TASKS_MAX};
use crate::monitor::Instance;
use crate::rng::{Rng, hash, mix};
use crate::scenario;
use crate::world::{World, instant};
use std::collections::BTreeMap;
use updraft_metastore::{Item, codec, keys, pages as stored};
use updraft_model::cell::{End, Wait};
use updraft_model::dag_parts::{ExpandInput, Mapping, TaskGroup};
use updraft_model::{
    Attempt, AttemptKey, AttemptOutcome, Cell, Dag, Incarnation, Lease, PageDoc, PageKey, Plan, RunDoc, Slot, Tally,
    Task, TaskIndex, TriggerRule, Unit,
};
use updraft_scheduling::pages;

/// In four worlds of ten some DAGs have maps. Decided apart from all else, so that worlds without are what they are without.
pub(crate) fn with_maps(seed: u64, number: usize, dag: Dag) -> Dag {
    let mut rng = Rng::new(mix(seed ^ 0x0A_9D5E ^ ((number as u64) << 40)));
    if mix(seed ^ 0x3A95) % 10 >= 4 || !rng.chance(7_000) {
        return dag;
    }
    let (tasks, groups) = tasks(&mut rng);
    Dag { tasks, groups, fail_fast: false, ..dag }
}

/// A few tasks, one of them mapped, or two in a mapped group; over a list, or over what a task above returns. Sometimes within a setup and a
/// teardown, and in groups that are not mapped.
fn tasks(rng: &mut Rng) -> (Vec<Task>, Vec<TaskGroup>) {
    let is_group = rng.chance(4_000);
    let count = if is_group { 4 } else { 2 + rng.index(3) };
    let mut tasks: Vec<Task> = (0..count).map(|index| scenario::task(rng, index, 6_000)).collect();
    let first = 1 + rng.index(count - 1 - usize::from(is_group));
    let members = first..=first + usize::from(is_group);
    let input = if rng.chance(6_000) {
        let source = rng.index(first);
        scenario::BASH.clone_into(&mut tasks[source].operator);
        for member in members.clone() {
            let task = &mut tasks[member];
            task.upstream.push(TaskIndex(source as u32));
            task.upstream.sort();
            task.upstream.dedup();
            task.trigger_rule = TriggerRule::AllSuccess;
            task.max_active_tis_per_dag = None;
        }
        ExpandInput::XCom { task_id: tasks[source].task_id.clone(), key: "return_value".to_owned() }
    } else {
        let length = if is_group { 1 + rng.index(3) } else { rng.index(4) };
        ExpandInput::Literal((0..length).collect::<Vec<usize>>().into())
    };
    let mapping = Some(Mapping { expand: vec![("x".to_owned(), input)], ..Mapping::default() });
    for member in members.clone() {
        let task = &mut tasks[member];
        if rng.chance(3_000) {
            scenario::POOL.clone_into(&mut task.pool);
            task.pool_slots = 1 + rng.index(2) as u32;
        }
        task.max_active_tis_per_dagrun = rng.chance(2_000).then_some(1);
    }
    let outer = TaskGroup { group_id: "outer".to_owned(), ..group() };
    let mut groups = vec![outer];
    if is_group {
        let parent = rng.chance(5_000).then(|| "outer".to_owned());
        groups.push(TaskGroup { group_id: "inner".to_owned(), parent, mapping, ..group() });
        tasks[members].iter_mut().for_each(|task| task.group = Some("inner".to_owned()));
    } else {
        tasks[first].mapping = mapping;
        tasks[first].group = rng.chance(5_000).then(|| "outer".to_owned());
        if first + 1 < count && rng.chance(4_000) {
            frame(&mut tasks, first);
        }
    }
    (tasks, groups)
}

/// Another version of a DAG with maps: what is mapped stays so. Its lists get longer or shorter, tasks get other tries, and there may be one
/// more.
pub(crate) fn change(rng: &mut Rng, dag: &mut Dag) {
    let mut is_group = false;
    let of_groups = dag.groups.iter_mut().filter_map(|group| group.mapping.as_mut().map(|mapping| (mapping, true)));
    let of_tasks = dag.tasks.iter_mut().filter_map(|task| task.mapping.as_mut().map(|mapping| (mapping, false)));
    for (mapping, of_group) in of_groups.chain(of_tasks) {
        is_group |= of_group;
        for (_, input) in &mut mapping.expand {
            if let ExpandInput::Literal(list) = input {
                *list = (0..=rng.index(3)).collect::<Vec<usize>>().into();
            }
        }
    }
    dag.tasks.iter_mut().for_each(|task| task.retries = rng.index(4) as u32);
    if !is_group && dag.tasks.len() < 5 && rng.chance(5_000) {
        let index = dag.tasks.len();
        dag.tasks.push(scenario::task(rng, index, 6_000));
    }
}

fn group() -> TaskGroup {
    serde_json::from_value(serde_json::json!({ "group_id": "g" })).expect("a group has a name, and no more")
}

/// Makes the root a setup, and the last task its teardown, with the map between.
fn frame(tasks: &mut [Task], mapped: usize) {
    let last = tasks.len() - 1;
    tasks[0].is_setup = true;
    tasks[last].is_teardown = true;
    tasks[last].trigger_rule = TriggerRule::AllDoneSetupSuccess;
    for (task, up) in [(mapped, 0), (last, mapped), (last, 0)] {
        tasks[task].upstream.push(TaskIndex(up as u32));
        tasks[task].upstream.sort();
        tasks[task].upstream.dedup();
    }
    for task in &mut tasks[1..last] {
        if task.upstream.contains(&TaskIndex(0)) {
            task.trigger_rule = TriggerRule::AllSuccess;
        }
    }
    for task in tasks.iter_mut().filter(|task| !task.upstream.is_empty()) {
        task.max_active_tis_per_dag = None;
    }
}

/// How many items a try of a task returns. A group has instances always: what becomes of its tasks where it has none is for examples.
pub(crate) fn length(seed: u64, run: &Incarnation, plan: &Plan, task: TaskIndex, try_number: u32) -> u32 {
    let drawn = mix(seed ^ hash(run.as_str()) ^ (u64::from(task.0) << 44) ^ u64::from(try_number));
    let of_group = plan.units().iter().any(|unit| unit.group.is_some() && unit.sources.contains(&task));
    if of_group { 1 + drawn as u32 % 3 } else { drawn as u32 % 4 }
}

/// The task instances of a run in which nobody intervened, in a topological order. `end`: how a task that is not mapped ends, and in which
/// try.
pub(crate) fn parts(seed: u64, run: &RunDoc, plan: &Plan, end: impl Fn(TaskIndex) -> (Stand, u32)) -> Vec<Part> {
    let of_task = |id: &updraft_model::TaskId| {
        let task = plan.index_of(id.as_str())?;
        let (stand, tries) = end(task);
        (stand == Stand::Success).then(|| length(seed, &run.facts.incarnation, plan, task, tries))
    };
    let of_unit = |unit: &Unit, task: TaskIndex| match unit.mapping.count(&of_task) {
        Some(0) => vec![Part { task, map_index: None, is_empty: true }],
        // Without a value there is nothing to expand over: whatever the number, its rule speaks first.
        count => (0..count.unwrap_or(1)).map(|index| Part { task, map_index: Some(index), is_empty: false }).collect(),
    };
    let of_task = |task: TaskIndex| match plan.unit_of(task) {
        Some(unit) => of_unit(unit, task),
        None => vec![Part { task, map_index: None, is_empty: false }],
    };
    let parts: Vec<Part> = plan.tasks().flat_map(of_task).collect();
    assert!(parts.len() <= TASKS_MAX, "a scenario of {} task instances", parts.len());
    parts
}

impl World {
    /// How many instances lie on a page of this world.
    pub(crate) fn page_cells(&self) -> u32 {
        [1, 2, 64][(mix(self.seed ^ 0x9A6E) % 3) as usize]
    }

    /// A plan as the processes of this world have it.
    pub(crate) fn plan(&self, dag: Dag) -> Plan {
        Plan::new(dag).with_page_cells(self.page_cells())
    }

    pub(crate) fn has_maps(&self) -> bool {
        self.monitor.plans.values().any(|plan| !plan.units().is_empty())
    }

    /// Where an instance of a run lies, by the run's own version.
    fn page_of(&self, run: &RunDoc, task: TaskIndex, map_index: u32) -> Option<&PageDoc> {
        let unit = self.monitor.plans.get(&run.facts.version)?.unit_of(task)?;
        self.monitor.pages.get(&pages::page_of(unit, run, map_index))
    }

    /// The cell of a task instance as it was last written.
    pub(crate) fn cell_of(&self, (incarnation, task, map_index): &Instance) -> Option<&Cell> {
        let run = self.monitor.runs.get(incarnation)?;
        match map_index {
            Some(index) => self.page_of(run, *task, *index)?.cells.get(&Slot { map_index: *index, task: *task }),
            None => Some(run.cell(*task)),
        }
    }

    /// The cell of a part: of an instance that was never born, its task's.
    pub(crate) fn cell_of_part(&self, run: &RunDoc, part: &Part) -> Cell {
        let instance = (run.facts.incarnation.clone(), part.task, part.map_index);
        self.cell_of(&instance).unwrap_or_else(|| run.cell(part.task)).clone()
    }

    /// When all is quiet, nothing of a run's pages is under way.
    pub(crate) fn pages_are_still(&self, run: &RunDoc) -> Result<(), String> {
        let of_run = self.monitor.pages.values().filter(|page| page.key.incarnation == run.facts.incarnation);
        for page in of_run {
            // What was marked while it ran lets go of nothing that anybody needs.
            let is_under_way = |cell: &&Cell| {
                matches!(
                    cell,
                    Cell::Queued { .. } | Cell::Scheduled { .. } | Cell::Running { .. } | Cell::Restarting { .. }
                )
            };
            if let Some(cell) = page.cells.values().find(is_under_way) {
                return Err(format!("`{}` is under way on a page: {page:?}", cell.encode()));
            }
        }
        Ok(())
    }

    /// A mapped task has no cell while its instances run; then it ends as they have ended.
    pub(crate) fn check_mapped(
        &self,
        (before, run): (&RunDoc, &RunDoc),
        plan: &Plan,
        task: TaskIndex,
        from: &Cell,
        to: &Cell,
    ) -> Result<(), String> {
        let Cell::Final { end, winner: None, .. } = to else { return Err("a mapped task has no attempts".to_owned()) };
        if from.is_final() {
            return Err("what has ended stays".to_owned());
        }
        let was_expanded = |unit: &&Unit| before.mapped.expansion(unit.unit).is_some();
        let Some(unit) = plan.unit_of(task).filter(was_expanded) else {
            let is_by_rule = matches!(end, End::Skipped | End::UpstreamFailed);
            return if is_by_rule { Ok(()) } else { Err("it was not expanded".to_owned()) };
        };
        let mut tally = Tally::default();
        let count = run.mapped.expansion(unit.unit).map_or(0, |expansion| expansion.count);
        for map_index in 0..count {
            let slot = Slot { map_index, task };
            let cell = self.monitor.pages.get(&pages::page_of(unit, run, map_index)).map(|page| page.cell(slot));
            let Some(Cell::Final { end, .. }) = cell else {
                return Err(format!("instance {map_index} is {:?}", cell.map(Cell::encode)));
            };
            tally.add(*end, false);
        }
        if tally.end() == *end { Ok(()) } else { Err(format!("its instances ended as {tally:?}")) }
    }

    /// Invariants 1, 2 and 5 for a page.
    pub(crate) fn observe_page(&mut self, process: usize, key: &PageKey, item: Option<&Item>) {
        let Some(item) = item else {
            self.monitor.pages.remove(key);
            return;
        };
        let after = stored::page_doc(key, item).expect("the engine writes what it reads");
        let before = self.monitor.pages.get(key).cloned();
        self.say(process, &describe(before.as_ref(), &after));
        self.stats.pages_born += u64::from(after.is_open && before.as_ref().is_none_or(|b| b.epoch < after.epoch));
        self.stats.instances_waiting_for_slots +=
            after.cells.values().filter(|cell| matches!(cell, Cell::Scheduled { .. })).count() as u64;
        if let Some(before) = &before {
            if after.epoch < before.epoch {
                self.violate(format!("E1: page {key:?} went back from epoch {} to {}", before.epoch, after.epoch));
            }
            let is_other = (before.epoch, before.is_open) != (after.epoch, after.is_open);
            for (slot, from) in &before.cells {
                let to = after.cell(*slot).clone();
                if let Some(run) = self.monitor.runs.get(&key.incarnation).cloned() {
                    self.observe_success(&run, (slot.task, Some(slot.map_index)), (from, &to));
                }
                if *from != to
                    && let Err(why) = self.check_instance(process, &after, *slot, (from, &to), is_other)
                {
                    let what = format!("`{}` became `{}`: {why}", from.encode(), to.encode());
                    self.violate(format!("1: {slot:?} of {key:?}: {what}"));
                }
            }
        }
        let need = pages::needed(&after, instant(self.latest())).map(|need| need + self.grace());
        let is_over = after.is_full() && after.effects.is_empty();
        if need.is_some_and(|need| after.wake_at.is_none_or(|at| at > need)) && !is_over {
            self.violate(format!("5: a page needs attention at {need:?}: {after:?}"));
        }
        let active = self.under_way(&key.incarnation);
        self.monitor.pages.insert(key.clone(), after);
        self.check_under_way(&key.incarnation, active);
    }

    /// Which cell of an instance may become which. `is_other`: by a birth or an intervention.
    fn check_instance(
        &mut self,
        process: usize,
        page: &PageDoc,
        slot: Slot,
        (from, to): (&Cell, &Cell),
        is_other: bool,
    ) -> Result<(), String> {
        // Who decides that a wait is over may have read a clock that was put back since.
        let (now, latest) = (instant(self.clock()), instant(self.latest()));
        if to.try_number() < from.try_number() {
            return Err("tries were taken back".to_owned());
        }
        let may_live = |lease: &Lease| self.monitor.lives(&lease.token) && lease.until >= now;
        if is_other {
            let is_kept = from.holder().is_none_or(|lease| to.holder() == Some(lease) || !may_live(lease));
            return if is_kept { Ok(()) } else { Err("an attempt that lives was forgotten".to_owned()) };
        }
        let fresh = |lease: &Lease| {
            let monitor = &self.monitor;
            monitor.drawer(&lease.token) == Some(process) && !monitor.started.contains_key(&lease.token)
        };
        let begins = |tries: u32| match to {
            Cell::Queued { try_number } | Cell::Scheduled { try_number, .. } => *try_number == tries,
            Cell::Running { try_number, lease } => *try_number == tries && fresh(lease),
            _ => false,
        };
        let is_right = match (from, to) {
            (Cell::None | Cell::Cleared { .. } | Cell::Waiting { .. }, Cell::Final { winner: None, .. })
            | (Cell::Scheduled { .. } | Cell::Queued { .. }, Cell::Final { end: End::Removed, .. }) => true,
            (Cell::None | Cell::Cleared { .. }, _) => begins(from.try_number() + 1),
            (Cell::Waiting { wait: Wait::Reschedule, due, try_number }, _) if !to.is_final() => {
                *due <= latest && begins(*try_number)
            }
            (Cell::Waiting { due, try_number, .. }, _) if !to.is_final() => *due <= latest && begins(*try_number + 1),
            (Cell::Scheduled { try_number, .. }, Cell::Queued { try_number: n }) => n == try_number,
            // Rule B9.
            (
                Cell::Scheduled { try_number, resume, turn },
                Cell::Scheduled { try_number: n, resume: r, turn: later },
            ) => (n, r, *later) == (try_number, resume, turn + 1),
            (Cell::Queued { try_number }, Cell::Running { try_number: n, lease }) => n == try_number && fresh(lease),
            (Cell::Running { lease, .. }, Cell::Running { lease: renewed, .. }) if lease.token == renewed.token => {
                lease.since == renewed.since
            }
            (Cell::Running { try_number, lease }, _) => {
                return self.check_settled(process, page, slot, (*try_number, lease), to);
            }
            (Cell::Restarting { lease, .. }, _) => !may_live(lease),
            (Cell::Final { end, leaving: Some(lease), .. }, Cell::Final { end: still, leaving: None, .. }) => {
                end == still && !may_live(lease)
            }
            _ => false,
        };
        if is_right { Ok(()) } else { Err("it may not".to_owned()) }
    }

    /// What becomes of a running instance: what its own item says, or death.
    fn check_settled(
        &mut self,
        process: usize,
        page: &PageDoc,
        slot: Slot,
        (try_number, lease): (u32, &Lease),
        to: &Cell,
    ) -> Result<(), String> {
        let is_own = self.monitor.drawer(&lease.token) == Some(process);
        if !is_own && lease.until >= instant(self.latest()) {
            return Err("settled by another while its lease lasts".to_owned());
        }
        let incarnation = page.key.incarnation.clone();
        let key = keys::attempt(&AttemptKey {
            incarnation: incarnation.clone(),
            task: slot.task,
            map_index: Some(slot.map_index),
            try_number,
            token: lease.token.clone(),
        });
        let item: Option<Attempt> =
            self.ground.memory.lock().get(&key).map(|item| codec::from_json_item(item).expect("an attempt's item"));
        let is_final = |wanted: End| matches!(to, Cell::Final { end, winner: Some(_), .. } if *end == wanted);
        // What would go on is ended by its rule, where somebody has given what is above it another end.
        let is_by_rule = matches!(to, Cell::Final { end: End::Skipped | End::UpstreamFailed, winner: None, .. });
        let has_failed = is_final(End::Failed)
            || is_by_rule
            || matches!(to, Cell::Waiting { wait: Wait::Retry, .. })
            || (!to.is_final() && to.try_number() == try_number + 1);
        let is_so = |outcome: AttemptOutcome| match outcome {
            AttemptOutcome::Success => is_final(End::Success),
            AttemptOutcome::Skipped => is_final(End::Skipped),
            AttemptOutcome::Failed => has_failed,
            AttemptOutcome::FailedForGood => is_final(End::Failed),
            AttemptOutcome::Rescheduled { .. } => is_by_rule || (!to.is_final() && to.try_number() == try_number),
            AttemptOutcome::Deferred { .. } | AttemptOutcome::AwaitingInput { .. } => false,
        };
        let is_by_item = item.is_some_and(|item| is_so(item.outcome));
        match (is_own, is_by_item, has_failed) {
            (_, true, _) => Ok(()),
            (false, false, true) => {
                self.stats.instances_died += 1;
                self.monitor.died.insert(((incarnation, slot.task, Some(slot.map_index)), try_number));
                Ok(())
            }
            _ => Err("its attempt did not end like this".to_owned()),
        }
    }
}

/// A write in a line.
fn describe(before: Option<&PageDoc>, after: &PageDoc) -> String {
    let mut line = format!("page {}.{} of {}", after.key.unit, after.key.page, after.key.incarnation);
    line.extend([" epoch ", &after.epoch.to_string(), if after.is_open { " open" } else { " closed" }]);
    for (slot, cell) in &after.cells {
        let was = before.map(|b| b.cell(*slot).encode()).unwrap_or_default();
        if was != cell.encode() {
            line.extend([
                " ",
                &slot.task.to_string(),
                "[",
                &slot.map_index.to_string(),
                "]:",
                &was,
                ">",
                &cell.encode(),
            ]);
        }
    }
    let wake = after.wake_at.map_or_else(|| "none".to_owned(), |at| format!("{}ms", crate::world::micros(at) / 1000));
    format!("{line} looks {} wake {wake}", after.looks)
}

impl crate::actors::Hand {
    /// Clears instances of a run, or gives them an end.
    pub(crate) async fn act_on_instances(&self) -> Result<(), updraft_service::Error> {
        let (run, instances, end) = {
            let mut world = self.world.lock();
            let is_mapped = |run: &&RunDoc| run.mapped.expanded().next().is_some();
            let runs: Vec<RunDoc> = world.monitor.runs.values().filter(is_mapped).cloned().collect();
            if runs.is_empty() {
                return Ok(());
            }
            let run = world.rng.pick(&runs).clone();
            // Whoever asks by a request is told where there is no such instance.
            let is_shown = |page: &&PageDoc| page.key.incarnation == run.facts.incarnation;
            let slots: Vec<Slot> =
                world.monitor.pages.values().filter(is_shown).flat_map(|page| page.cells.keys().copied()).collect();
            if slots.is_empty() {
                return Ok(());
            }
            let Slot { map_index, task } = *world.rng.pick(&slots);
            let end = match world.rng.index(4) {
                0 => Some(End::Success),
                1 => Some(End::Failed),
                _ => None,
            };
            world.stats.instances_by_hand += 1;
            (run.facts.incarnation, BTreeMap::from([(task, std::iter::once(map_index).collect())]), end)
        };
        match end {
            Some(end) => self.engine.mark_instances(&run, instances, end).await.map(|_| ()),
            None => self.engine.clear_instances(&run, instances, &[]).await.map(|_| ()),
        }
    }
}

/// What is not mapped stands as its cell says.
#[test]
fn a_map_is_so_many_tasks_beside_each_other() {
    use Stand::{Failed, Success, UpstreamFailed};
    use updraft_model::{DagId, TaskId};
    let task = |id: &str, upstream: &[u32]| {
        let upstream = upstream.iter().copied().map(TaskIndex).collect();
        Task { upstream, ..Task::new(TaskId::trusted(id), scenario::BASH) }
    };
    let list = ExpandInput::Literal(vec![1, 2].into());
    let mapping = Some(Mapping { expand: vec![("x".to_owned(), list)], ..Mapping::default() });
    let inner = TaskGroup { group_id: "g".to_owned(), mapping, ..group() };
    let in_group = |id: &str, upstream: &[u32]| Task { group: Some("g".to_owned()), ..task(id, upstream) };
    let tasks = vec![task("a", &[]), in_group("b", &[0]), in_group("c", &[1]), task("d", &[2])];
    let plan = Plan::new(Dag { groups: vec![inner], ..Dag::new(DagId::trusted("d"), tasks) });
    let part = |task: u32, map_index: Option<u32>| Part { task: TaskIndex(task), map_index, is_empty: false };
    let all = [part(0, None), part(1, Some(0)), part(1, Some(1)), part(2, Some(0)), part(2, Some(1)), part(3, None)];
    // The first of the second task is failed: its own kind alone does not run.
    let ends = crate::model::Reference::new(&plan, &all, &[Success, Failed, Success, Success, Success, Success]).ends();
    assert_eq!(ends.len(), 1, "{ends:?}");
    let (stands, failed) = ends.into_iter().next().expect("one end");
    assert_eq!(stands[..6], [Success, Failed, Success, UpstreamFailed, Success, UpstreamFailed]);
    assert!(failed);
}
