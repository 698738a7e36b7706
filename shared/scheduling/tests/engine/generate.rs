//! Random DAGs and images of runs. Instants lie within minutes of [`NOW`], so that leases are over or not, waits due or not.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use std::fmt;
use updraft_model::cell::{End, Wait};
use updraft_model::workers::QUEUE_PYTHON;
use updraft_model::{
    AttemptOutcome, Cell, Dag, DagId, DagRunState, DagRunType, Held, Incarnation, Lease, OutboxEntry, Plan, RunDoc,
    RunFacts, Task, TaskId, TaskIndex, Token, TriggerRule, VersionId, WeightRule,
};
use updraft_scheduling::attention;
use updraft_scheduling::step::{self, Ended};

/// The instant at which everything here is decided.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_750_000_000, 0);

const EMPTY: &str = "airflow.providers.standard.operators.empty.EmptyOperator";
const BASH: &str = "airflow.providers.standard.operators.bash.BashOperator";

/// No more tasks than this, so that shrunk counterexamples stay readable.
const TASKS_MAX: usize = 8;

pub(crate) fn config() -> ProptestConfig {
    ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() }
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

pub(crate) fn lease(token: &str, until: Timestamp) -> Lease {
    Lease { token: Token::trusted(token), until, since: at(-300) }
}

pub(crate) fn rule() -> impl Strategy<Value = TriggerRule> {
    prop_oneof![2 => Just(TriggerRule::AllSuccess), 3 => proptest::sample::select(TriggerRule::ALL)]
}

/// What a task is beside its place in the graph.
fn task() -> impl Strategy<Value = Task> {
    let kind = prop_oneof![6 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true))];
    let weights = (-3..4i32, proptest::sample::select(vec![WeightRule::Downstream, WeightRule::Absolute]));
    let timeout = proptest::option::of((1..100i64).prop_map(SignedDuration::from_secs));
    (rule(), kind, 0..3u32, weights, proptest::bool::weighted(0.2), timeout, any::<bool>()).prop_map(
        |(rule, (is_setup, is_teardown), retries, (priority_weight, weight_rule), is_empty, timeout, fails)| Task {
            trigger_rule: if is_teardown { TriggerRule::AllDoneSetupSuccess } else { rule },
            is_setup,
            is_teardown,
            on_failure_fail_dagrun: is_teardown && fails,
            retries,
            priority_weight,
            weight_rule,
            execution_timeout: timeout,
            // Weights and queues have nothing to do with each other, so one drawn number serves for both.
            queue: if priority_weight % 2 == 0 { "default" } else { QUEUE_PYTHON }.to_owned(),
            ..Task::new(TaskId::trusted("unnamed"), if is_empty { EMPTY } else { BASH })
        },
    )
}

/// A DAG of up to [`TASKS_MAX`] tasks; `t0` before `t1` in a topological order.
pub(crate) fn dag() -> impl Strategy<Value = Dag> {
    proptest::collection::vec((task(), any::<u8>(), any::<u8>()), 1..=TASKS_MAX).prop_map(|tasks| {
        let named = tasks.into_iter().enumerate().map(|(i, (task, some, others))| Task {
            task_id: TaskId::trusted(format!("t{i}")),
            // Each pair is joined with a chance of a quarter.
            upstream: (0..i).filter(|up| (some & others) >> up & 1 == 1).map(|up| TaskIndex(up as u32)).collect(),
            ..task
        });
        dag_of(named.collect())
    })
}

pub(crate) fn dag_of(tasks: Vec<Task>) -> Dag {
    Dag { file: "d.yaml".to_owned(), ..Dag::new(DagId::trusted("d"), tasks) }
}

/// A task as simple as can be, which needs a worker.
pub(crate) fn plain(task_id: &str, upstream: &[u32]) -> Task {
    let upstream = upstream.iter().copied().map(TaskIndex).collect();
    Task { upstream, ..Task::new(TaskId::trusted(task_id), BASH) }
}

/// Any cell. Its attempts are named after the task, since no token is drawn twice.
fn cell(task: usize) -> impl Strategy<Value = Cell> {
    let tries = 1..4u32;
    let lease = (-90..150i64).prop_map(move |until| lease(&format!("token{task}"), at(until)));
    let leaving = proptest::option::weighted(0.3, lease.clone());
    let wait = proptest::sample::select(vec![Wait::Retry, Wait::Reschedule, Wait::Deferred, Wait::Input]);
    let end =
        proptest::sample::select(vec![End::Success, End::Failed, End::Skipped, End::UpstreamFailed, End::Removed]);
    prop_oneof![
        4 => Just(Cell::None),
        1 => tries.clone().prop_map(|try_number| Cell::Cleared { try_number }),
        1 => tries.clone().prop_map(|try_number| Cell::Scheduled { try_number, resume: 0, turn: 0 }),
        1 => tries.clone().prop_map(|try_number| Cell::Queued { try_number }),
        3 => (tries.clone(), lease.clone()).prop_map(|(try_number, lease)| Cell::Running { try_number, lease }),
        1 => (tries.clone(), lease).prop_map(|(try_number, lease)| Cell::Restarting { try_number, lease }),
        1 => (wait, tries.clone(), -60..300i64).prop_map(|(wait, try_number, due)| {
            Cell::Waiting { wait, try_number, due: at(due) }
        }),
        4 => (end, tries, leaving).prop_map(|(end, try_number, leaving)| {
            Cell::Final { end, try_number, winner: None, leaving }
        }),
    ]
}

fn facts() -> RunFacts {
    RunFacts {
        incarnation: Incarnation::trusted("i"),
        dag_id: DagId::trusted("d"),
        run_id: "manual__1".to_owned(),
        run_type: DagRunType::Manual,
        logical_date: None,
        data_interval: None,
        run_after: NOW,
        partition: None,
        queued_at: NOW,
        version: VersionId::trusted("v"),
        conf: serde_json::Value::Null,
        asset_events: std::collections::BTreeMap::new(),
        origin: updraft_model::RunOrigin::default(),
    }
}

/// A run in a state, with these cells, in the time index as late as its last write allowed: a minute ago.
pub(crate) fn run(state: DagRunState, cells: Vec<Cell>, looks: u32) -> RunDoc {
    let mut run = RunDoc::new(facts(), state, NOW);
    run.epoch = 3;
    run.looks = looks;
    let present = cells.into_iter().enumerate().filter(|(_, cell)| *cell != Cell::None);
    run.cells = present.map(|(i, cell)| (TaskIndex(i as u32), cell)).collect();
    if state.is_finished() {
        run.outbox.insert(step::LEAVE.to_owned(), OutboxEntry::Leave { epoch: 0 });
    }
    run.wake_at = attention::needed(&run, at(-60));
    run
}

/// A DAG and an image of a run of it.
#[derive(Clone)]
pub(crate) struct Image(pub(crate) Plan, pub(crate) RunDoc);

/// A counterexample on a few lines.
impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(plan, run) = self;
        writeln!(f, "run {}, looks {}, wake_at {:?}, now {NOW}", run.state, run.looks, run.wake_at)?;
        for index in plan.tasks() {
            let task = plan.task(index);
            let kind = if task.is_setup { "setup " } else { "" };
            let cell = run.cell(index);
            writeln!(f, "  {} {kind}{} after {:?}: {cell:?}", task.task_id, task.trigger_rule, plan.upstream(index))?;
        }
        Ok(())
    }
}

/// A DAG and an image that a run of it has come to by itself: half of the attempts so far have ended, the others are running.
pub(crate) fn reached_image() -> impl Strategy<Value = Image> {
    let fates = proptest::collection::vec(proptest::option::of(outcome()), TASKS_MAX);
    (dag(), fates).prop_map(|(dag, fates)| {
        let plan = Plan::new(dag);
        let (mut run, _) = step::begin(&plan, run(DagRunState::Queued, Vec::new(), 0), NOW);
        let queued = |run: &RunDoc, plan: &Plan| plan.tasks().find(|t| matches!(run.cell(*t), Cell::Queued { .. }));
        while let Some(task) = queued(&run, &plan).filter(|_| run.state == DagRunState::Running) {
            let lease = lease(&format!("token{task}"), at(150));
            run = step::claim(task, 1, &lease).apply(&run);
            let held = Held { task, try_number: 1, token: lease.token };
            if let Some(outcome) = fates[task.at()] {
                let ended = Ended::new(outcome, NOW);
                run = step::finish(&plan, &run, &held, &ended, NOW, None).expect("it holds its cell").image(&run);
            }
        }
        Image(plan, run)
    })
}

pub(crate) fn outcome() -> impl Strategy<Value = AttemptOutcome> {
    proptest::sample::select(vec![
        AttemptOutcome::Success,
        AttemptOutcome::Skipped,
        AttemptOutcome::Failed,
        AttemptOutcome::FailedForGood,
    ])
}

/// A DAG and an image of a run of it in one of these states.
pub(crate) fn image(states: &'static [DagRunState]) -> impl Strategy<Value = Image> {
    (dag(), proptest::sample::select(states), 0..3u32).prop_flat_map(|(dag, state, looks)| {
        let cells: Vec<_> = (0..dag.tasks.len()).map(cell).collect();
        let plan = Plan::new(dag);
        cells.prop_map(move |cells| Image(plan.clone(), run(state, cells, looks)))
    })
}
