//! Which task instances go on under limits, which runs are started, what earlier runs let go: `scheduling.json`.
//!
//! Airflow's scheduler selects from all task instances in a loop that reads a bounded number of them; ours has no such loop: whoever is
//! ready asks its run, its pool and its task's limit for room, in order of priority. So every case is put to those, candidate by
//! candidate. Where a loop was bounded, what it queued must be the beginning of what we queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Cell, Dag, DagDoc, DagId, DagRunState, DagRunType, Expansion, HolderDoc, HolderId, HolderName, Incarnation, Lease,
    MappedEntry, MappedKey, PageDoc, PageKey, Plan, Resumed, RunDate, RunDoc, RunFacts, Slot, Task, TaskId, TaskIndex,
    TaskInstanceState, Token, VersionId, WeightRule, plan::PlanSettings,
};
use updraft_scheduling::past::{self, Before};
use updraft_scheduling::places::{self, Take};
use updraft_scheduling::{holders, pages, step};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::{dag, load_text, parse};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(crate) fn judge_file() -> Option<Tally> {
    judge("scheduling", |case| match case["op"].as_str() {
        Some("queue") => judge_queue(&parse(case)),
        Some("start_queued_runs") => judge_start(&parse(case)),
        Some("depends_on_past") => judge_past(&parse(case)),
        op => Verdict::Unbound(format!("op={op:?}")),
    })
}

fn run_doc(incarnation: &str, run_type: DagRunType, logical_date: Timestamp, state: DagRunState) -> RunDoc {
    let facts = RunFacts {
        incarnation: Incarnation::trusted(incarnation),
        dag_id: DagId::trusted("d"),
        run_id: incarnation.to_owned(),
        run_type,
        logical_date: Some(logical_date),
        data_interval: None,
        partition: None,
        run_after: logical_date,
        queued_at: NOW,
        version: VersionId::trusted("v"),
        conf: Value::Null,
        asset_events: std::collections::BTreeMap::new(),
        origin: updraft_model::RunOrigin::default(),
    };
    RunDoc::new(facts, state, NOW)
}

fn cell(state: TaskInstanceState) -> Cell {
    let lease = || Lease { token: Token::trusted("0a1b2c3d"), until: NOW, since: NOW };
    let waiting = |wait| Cell::Waiting { wait, try_number: 1, due: NOW + SignedDuration::from_hours(1) };
    match state {
        TaskInstanceState::None => Cell::None,
        TaskInstanceState::Scheduled => Cell::Scheduled { try_number: 1, resume: 0, turn: 0 },
        TaskInstanceState::Queued => Cell::Queued { try_number: 1 },
        TaskInstanceState::Running => Cell::Running { try_number: 1, lease: lease() },
        TaskInstanceState::Restarting => Cell::Restarting { try_number: 1, lease: lease() },
        TaskInstanceState::UpForRetry => waiting(Wait::Retry),
        TaskInstanceState::UpForReschedule => waiting(Wait::Reschedule),
        TaskInstanceState::Deferred => waiting(Wait::Deferred),
        TaskInstanceState::AwaitingInput => waiting(Wait::Input),
        TaskInstanceState::Success => Cell::ended(End::Success, 1),
        TaskInstanceState::Failed => Cell::ended(End::Failed, 1),
        TaskInstanceState::Skipped => Cell::ended(End::Skipped, 1),
        TaskInstanceState::UpstreamFailed => Cell::ended(End::UpstreamFailed, 1),
        TaskInstanceState::Removed => Cell::ended(End::Removed, 1),
    }
}

/// As [`cell`], but what was cleared while it ran has let go: nothing runs in the recorded executor. While its attempt lives it keeps its
/// place and its slots here (Airflow gives both away at once), since nothing else says that a worker is still busy with it.
fn selectable(state: TaskInstanceState) -> Cell {
    match state {
        TaskInstanceState::Restarting => Cell::Cleared { try_number: 1 },
        state => cell(state),
    }
}

#[derive(Deserialize)]
struct Queue {
    pools: BTreeMap<String, Pool>,
    dags: BTreeMap<String, Limits>,
    task_instances: Vec<Instance>,
    executor_open_slots: usize,
    max_tis: usize,
    queued: Vec<(String, String, String, i64)>,
}

#[derive(Deserialize)]
struct Pool {
    slots: i64,
    include_deferred: bool,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "these are the names in the records")]
struct Limits {
    max_active_tasks: u32,
    is_paused: bool,
    task_limits: BTreeMap<String, TaskLimits>,
}

impl Limits {
    /// How many instances of a mapped task may be under way in a run.
    fn of_run(&self, instance: &Instance) -> Option<u32> {
        let own = self.task_limits.get(&instance.task).copied().unwrap_or_default();
        own.max_active_tis_per_dagrun.filter(|_| instance.map_index >= 0)
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
struct TaskLimits {
    max_active_tis_per_dag: Option<u32>,
    max_active_tis_per_dagrun: Option<u32>,
}

#[derive(Deserialize)]
struct Instance {
    dag: String,
    run: String,
    run_state: DagRunState,
    logical_date: Timestamp,
    task: String,
    map_index: i64,
    state: TaskInstanceState,
    pool: String,
    pool_slots: u32,
    priority_weight: i32,
}

impl Instance {
    fn page_key(&self) -> (String, String, String) {
        (self.dag.clone(), self.run.clone(), self.task.clone())
    }
}

/// The runs of a case, and who holds what.
struct World {
    runs: BTreeMap<(String, String), (Plan, RunDoc)>,
    /// Where each recorded instance is: its run's key, and its place in it.
    places: Vec<((String, String), TaskIndex)>,
    docs: BTreeMap<HolderId, HolderDoc>,
    /// The pages of mapped tasks of which only so many instances of a run may be under way: each says which of its instances has room.
    pages: BTreeMap<(String, String, String), MappedPage>,
}

/// The instances of a mapped task in one run, under its limit.
struct MappedPage {
    plan: Plan,
    run: RunDoc,
    page: PageDoc,
}

const MAPPED: TaskIndex = TaskIndex(0);

impl MappedPage {
    fn new(first: &Instance, limit: u32) -> Self {
        let text = format!(
            "d:\n  schedule: null\n  tasks:\n    m: {{operator: BashOperator, expand: {{bash_command: [x, y, z]}}, max_active_tis_per_dagrun: {limit}}}\n"
        );
        let plan = Plan::new(load_text(&text).expect("the mapped task loads"));
        let mut run = run_doc("mapped", DagRunType::Scheduled, first.logical_date, first.run_state);
        let expansion = MappedEntry::Expansion(Expansion { count: 3, epoch: 0 });
        run.mapped.0.insert(MappedKey::Expansion(MAPPED), expansion);
        let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: MAPPED, page: 0 };
        Self { plan, run, page: PageDoc { is_open: true, ..PageDoc::new(key, 0, 0) } }
    }

    fn slot(map_index: i64) -> Slot {
        Slot { map_index: map_index.try_into().expect("an instance"), task: MAPPED }
    }

    /// Whether an instance that is ready goes on: it is put on its page, and the page is looked at.
    fn has_room(&mut self, map_index: i64) -> bool {
        let slot = Self::slot(map_index);
        self.page.cells.insert(slot, Cell::Cleared { try_number: 0 });
        let step = pages::sweep(&self.plan, &self.run, &self.page, &[], NOW);
        self.page = step.change.apply(&self.page);
        matches!(self.page.cell(slot), Cell::Queued { .. })
    }
}

impl World {
    fn new(case: &Queue) -> Self {
        let mut world = Self { runs: BTreeMap::new(), places: Vec::new(), docs: BTreeMap::new(), pages: BTreeMap::new() };
        let mut members: BTreeMap<(String, String), Vec<&Instance>> = BTreeMap::new();
        for instance in &case.task_instances {
            world.put_on_page(instance, &case.dags[&instance.dag]);
            let key = (instance.dag.clone(), instance.run.clone());
            let of_run = members.entry(key.clone()).or_default();
            world.places.push((key, TaskIndex(of_run.len() as u32)));
            of_run.push(instance);
        }
        for (key, instances) in members {
            let limits = &case.dags[&key.0];
            // Instances of a mapped task are tasks of one name: they share its limit.
            let tasks = instances.iter().map(|instance| task(instance, limits)).collect();
            let dag = Dag {
                dag_id: DagId::trusted(&key.0),
                max_active_tasks: Some(limits.max_active_tasks),
                ..dag(tasks)
            };
            let settings = PlanSettings { default_pool_is_limited: true, ..PlanSettings::default() };
            let first = instances[0];
            let incarnation = format!("{}.{}", key.0, key.1);
            let mut run = run_doc(&incarnation, DagRunType::Scheduled, first.logical_date, first.run_state);
            run.paused = limits.is_paused && run.state == DagRunState::Running;
            for (place, instance) in instances.iter().enumerate() {
                let task = TaskIndex(place as u32);
                run.cells.insert(task, selectable(instance.state));
                if matches!(instance.state, TaskInstanceState::Deferred | TaskInstanceState::AwaitingInput) {
                    let last = Token::trusted("0a1b2c3d");
                    run.resumes.insert(task, Resumed { try_number: 1, count: 1, first_start: NOW, last });
                }
            }
            world.runs.insert(key, (Plan::with(dag, settings), run));
        }
        world.fill(case);
        world
    }

    /// Puts an instance that is under a limit of its run where the others are, unless it is to be asked for.
    fn put_on_page(&mut self, instance: &Instance, limits: &Limits) {
        let Some(limit) = limits.of_run(instance) else { return };
        let mapped = self.pages.entry(instance.page_key()).or_insert_with(|| MappedPage::new(instance, limit));
        // What is neither asked for nor under way would be decided anew with the others.
        let is_idle = matches!(instance.state, TaskInstanceState::None | TaskInstanceState::Scheduled | TaskInstanceState::Restarting);
        if !is_idle {
            mapped.page.cells.insert(MappedPage::slot(instance.map_index), cell(instance.state));
        }
    }

    /// Notes what those that are under way hold.
    fn fill(&mut self, case: &Queue) {
        for (plan, run) in self.runs.values() {
            for task in plan.tasks() {
                for holder in plan.holders(task, &run.facts.incarnation) {
                    let doc = self.docs.entry(holder.clone()).or_insert_with(|| {
                        let pool = |name: &String| case.pools.get(name);
                        let (size, include_deferred) = match &holder {
                            HolderId::Pool(name) => (pool(name).map(|p| p.slots), pool(name).is_some_and(|p| p.include_deferred)),
                            HolderId::Task(..) | HolderId::Run(_) => (holders::size_of(plan, task, &holder), false),
                        };
                        let fresh = HolderDoc::new(holder.clone(), size);
                        HolderDoc { include_deferred: fresh.include_deferred || include_deferred, ..fresh }
                    });
                    let mut claim = holders::claim(plan, run, task, &holder);
                    // What gave its worker back took its slots one attempt ago.
                    if matches!(run.cell(task), Cell::Waiting { wait: Wait::Deferred | Wait::Input, .. }) {
                        claim.generation.resume -= 1;
                    }
                    let holds = !matches!(run.cell(task), Cell::Scheduled { .. })
                        && holders::is_alive(&claim, Some(run), task, |wait| holders::keeps(doc, wait));
                    if holds {
                        doc.used += i64::from(claim.slots);
                        let name = HolderName::of_task(run.facts.incarnation.clone(), task);
                        doc.holders.insert(name, claim);
                    }
                }
            }
        }
    }

    /// The slots that are free in all pools: one loop of Airflow's reads no more task instances.
    fn open_slots(&self, case: &Queue) -> usize {
        let open = |(name, pool): (&String, &Pool)| match self.docs.get(&HolderId::Pool(name.clone())) {
            _ if pool.slots < 0 => i64::MAX,
            Some(doc) => doc.open().max(0),
            None => pool.slots,
        };
        let all = case.pools.iter().map(open).fold(0i64, i64::saturating_add);
        usize::try_from(all).unwrap_or(usize::MAX)
    }

    /// Whether a run has more candidates than places: Airflow reads only as many.
    fn has_more_than_places(&self, candidates: &[usize]) -> bool {
        let of_run = |key: &(String, String)| candidates.iter().filter(|place| self.places[**place].0 == *key).count();
        self.runs.iter().any(|(key, (plan, run))| of_run(key) > step::free_places(plan, run))
    }

    /// Whether somebody waits for one limit while it holds another.
    fn keeps_while_waiting(&self) -> bool {
        let waits = |name: &HolderName| self.docs.values().any(|doc| doc.waiters.contains_key(name));
        self.docs.values().any(|doc| doc.holders.keys().any(waits))
    }

    fn has_room(&mut self, instance: &Instance) -> bool {
        self.pages.get_mut(&instance.page_key()).expect("the page has been made").has_room(instance.map_index)
    }

    /// Whether a task instance is queued, in our order of asking: its run, its own limit, its pool.
    fn ask(&mut self, key: &(String, String), task: TaskIndex) -> bool {
        let (plan, run) = &self.runs[key];
        // Who has no place in its run takes none beyond it, and who is held back asks for none.
        if step::free_places(plan, run) == 0 || !step::wanting(plan, run).contains(&task) {
            return false;
        }
        for holder in plan.holders(task, &run.facts.incarnation) {
            let name = HolderName::of_task(run.facts.incarnation.clone(), task);
            let claim = holders::claim(plan, run, task, &holder);
            let doc = self.docs.get_mut(&holder).expect("every limit has been noted");
            let turn = holders::turn(doc, &[], &[(name.clone(), claim)], NOW);
            *doc = turn.change.apply(doc);
            if !turn.has.contains(&name) {
                return false;
            }
        }
        let step = step::grant(plan, run, &[task], NOW);
        let after = step.image(run);
        let is_queued = matches!(after.cell(task), Cell::Queued { .. });
        self.runs.get_mut(key).expect("the run is there").1 = after;
        is_queued
    }
}

fn task(instance: &Instance, limits: &Limits) -> Task {
    let own = limits.task_limits.get(&instance.task).copied().unwrap_or_default();
    Task {
        pool: instance.pool.clone(),
        pool_slots: instance.pool_slots,
        priority_weight: instance.priority_weight,
        weight_rule: WeightRule::Absolute,
        max_active_tis_per_dag: own.max_active_tis_per_dag,
        max_active_tis_per_dagrun: own.max_active_tis_per_dagrun,
        ..Task::new(TaskId::trusted(&instance.task), "airflow.providers.standard.operators.python.PythonOperator")
    }
}

fn judge_queue(case: &Queue) -> Verdict {
    let is_ready = |instance: &Instance| {
        instance.state == TaskInstanceState::Scheduled && instance.run_state == DagRunState::Running
    };
    let mut candidates: Vec<usize> =
        (0..case.task_instances.len()).filter(|place| is_ready(&case.task_instances[*place])).collect();
    candidates.sort_by_key(|place| {
        let instance = &case.task_instances[*place];
        (Reverse(instance.priority_weight), instance.logical_date, instance.map_index)
    });
    let mut world = World::new(case);
    let most = case.executor_open_slots.min(case.max_tis).min(world.open_slots(case));
    let is_all_read = candidates.len() <= most && !world.has_more_than_places(&candidates);
    let (mut found, mut waiting) = (Vec::new(), BTreeSet::new());
    for place in candidates {
        let instance = &case.task_instances[place];
        let (key, task) = world.places[place].clone();
        // The page says first which of its instances goes on; that one keeps its place there while it waits for slots.
        let is_limited = case.dags[&instance.dag].of_run(instance).is_some();
        if is_limited && !world.has_room(instance) {
            continue;
        }
        if world.ask(&key, task) {
            found.push((instance.dag.clone(), instance.run.clone(), instance.task.clone(), instance.map_index));
        } else {
            waiting.extend(is_limited.then(|| instance.page_key()));
        }
    }
    // A loop that reads fewer than there are may have read only such as do not fit.
    let agrees = if is_all_read {
        found == case.queued
    } else {
        found.starts_with(&case.queued) && (case.queued.is_empty() == found.is_empty())
    };
    if agrees {
        return Verdict::Passed;
    }
    // Instances of one task have one pool, but for those of the records.
    let has_pools = |task: &(String, String, String)| {
        let pools = case.task_instances.iter().filter(|instance| instance.page_key() == *task).map(|instance| &instance.pool);
        pools.collect::<BTreeSet<_>>().len() > 1
    };
    if found.iter().all(|queued| case.queued.contains(queued)) && waiting.iter().any(has_pools) {
        return Verdict::Divergent("an instance that waits for its pool keeps its place under max_active_tis_per_dagrun from one of another pool");
    }
    let is_lost = |instance: &Instance| is_ready(instance) && !case.pools.contains_key(&instance.pool);
    if case.queued.is_empty() && case.task_instances.iter().any(is_lost) {
        return Verdict::Divergent("who waits for a pool that does not exist holds up nobody else of its run");
    }
    let is_extra = |queued: &&(String, String, String, i64)| !case.queued.contains(*queued);
    let is_full = |dag: &String| world.runs.iter().any(|(key, (plan, run))| key.0 == *dag && step::free_places(plan, run) == 0);
    if case.queued.iter().all(|queued| found.contains(queued)) && found.iter().filter(is_extra).all(|(dag, ..)| is_full(dag)) {
        return Verdict::Divergent("a run at its max_active_tasks does not hold back the other runs of its DAG");
    }
    if world.keeps_while_waiting() {
        return Verdict::Divergent("a task instance that waits for its pool keeps its place under max_active_tis_per_dag");
    }
    Verdict::Failed(format!("of at most {most}: expected {:?}, found {found:?}", case.queued))
}

#[derive(Deserialize)]
struct Start {
    dags: BTreeMap<String, RunLimits>,
    dag_runs: Vec<QueuedRun>,
    started: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct RunLimits {
    max_active_runs: u32,
    is_paused: bool,
}

#[derive(Deserialize)]
struct QueuedRun {
    dag: String,
    run: String,
    run_type: DagRunType,
    state: DagRunState,
    run_after: String,
}

impl QueuedRun {
    /// None: in the future.
    fn due(&self) -> Option<Timestamp> {
        self.run_after.parse().ok()
    }
}

fn judge_start(case: &Start) -> Verdict {
    let mut found = Vec::new();
    for (dag_id, limits) in &case.dags {
        let mut doc = DagDoc::new(DagId::trusted(dag_id), "d.yaml".to_owned(), limits.is_paused);
        doc.version = Some(VersionId::trusted("v"));
        doc.max_active_runs = limits.max_active_runs;
        let of_dag = || case.dag_runs.iter().filter(|run| run.dag == *dag_id);
        for run in of_dag().filter(|run| run.state == DagRunState::Running) {
            let active = updraft_model::ActiveRun { epoch: 0, facts: None };
            doc.active.insert(Incarnation::trusted(&run.run), active);
        }
        // Whoever looks asks for each run that is due; those that wait are asked for again in the order in which they became due.
        let mut queued: Vec<(Timestamp, &QueuedRun)> =
            of_dag().filter(|run| run.state == DagRunState::Queued).filter_map(|run| Some((run.due()?, run))).collect();
        queued.sort_by_key(|(due, run)| (*due, run.run.clone()));
        for (due, run) in queued {
            let image = run_doc(&run.run, run.run_type, due, DagRunState::Queued);
            if let Take::Write(change) = places::take(&doc, &image, due) {
                doc = change.apply(&doc);
                found.push((run.dag.clone(), run.run.clone()));
            }
        }
    }
    let mut expected = case.started.clone();
    expected.sort();
    found.sort();
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}

#[derive(Deserialize)]
struct PastRuns {
    catchup: bool,
    wait_for_downstream: bool,
    ignore_first_depends_on_past: bool,
    previous_runs: Vec<PreviousRun>,
    a_schedulable: bool,
    dag_run_state: DagRunState,
}

#[derive(Deserialize)]
struct PreviousRun {
    run_type: DagRunType,
    logical_day: i64,
    a: TaskInstanceState,
    b: TaskInstanceState,
}

/// `a >> b`; task `a` looks back.
fn judge_past(case: &PastRuns) -> Verdict {
    const A: TaskIndex = TaskIndex(0);
    const B: TaskIndex = TaskIndex(1);
    let task = |id: &str, upstream: &[TaskIndex]| Task {
        upstream: upstream.to_vec(),
        ..Task::new(TaskId::trusted(id), "airflow.providers.standard.operators.python.PythonOperator")
    };
    let a = Task {
        depends_on_past: true,
        wait_for_downstream: case.wait_for_downstream,
        ignore_first_depends_on_past: case.ignore_first_depends_on_past,
        ..task("a", &[])
    };
    let plan = Plan::new(Dag { catchup: case.catchup, ..dag(vec![a, task("b", &[A])]) });
    let day = |number: i64| NOW + SignedDuration::from_hours(24 * number);
    let date = |run: &PreviousRun| RunDate {
        incarnation: Incarnation::trusted(format!("r{}", run.logical_day)),
        run_id: format!("r{}", run.logical_day),
        run_type: run.run_type,
        logical_date: day(run.logical_day),
    };
    let before = case.previous_runs.iter().rev().find(|run| past::counts(&plan, &date(run)));
    let met = before.is_none_or(|previous| {
        let mut run = run_doc("before", previous.run_type, day(previous.logical_day), DagRunState::Running);
        run.cells.extend([(A, cell(previous.a)), (B, cell(previous.b))].into_iter().filter(|(_, cell)| *cell != Cell::None));
        past::is_met(&plan, Before { run: &run, plan: &plan }, A).is_ok()
    });
    // The run goes on either way: what waits for another run is no deadlock.
    let mut run = run_doc("now", DagRunType::Scheduled, day(9), DagRunState::Running);
    run.past_met_by_all = met;
    let after = step::sweep(&plan, &run, &[], NOW).image(&run);
    let found = (matches!(after.cell(A), Cell::Queued { .. }), after.state);
    let expected = (case.a_schedulable, case.dag_run_state);
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected:?}, found {found:?}")) }
}
