//! What a worker may make of a task instance, by the state it finds it in: `ti_transitions.json`.
//!
//! Airflow's workers send HTTP requests; ours write conditionally on the run's document. Compared are the state afterwards, and whether
//! the request was granted, on the real store in memory.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::collections::BTreeMap;
use updraft_metastore::{Metastore, Outcome, memory::Memory};
use updraft_model::cell::{End, Wait};
use updraft_model::{
    AttemptOutcome, Cell, Choice, DagId, DagRunState, DagRunType, Held, Incarnation, Lease, Plan, RunChange, RunDoc,
    RunFacts, Task, TaskId, TaskIndex, TaskInstanceState, Token, VersionId,
};
use updraft_scheduling::step::{self, Ended};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::{dag, parse};

const A: TaskIndex = TaskIndex(0);
const B: TaskIndex = TaskIndex(1);
const C: TaskIndex = TaskIndex(2);
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(crate) fn judge_file() -> Option<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    judge("ti_transitions", |case| match case["op"].as_str() {
        Some("fail_fast") => runtime.block_on(judge_fail_fast(&parse(case))),
        _ => runtime.block_on(judge_request(&parse(case))),
    })
}

#[derive(Deserialize)]
struct Case {
    op: String,
    state_before: TaskInstanceState,
    state_after: TaskInstanceState,
    status: u16,
}

fn token(name: &str) -> Token {
    Token::trusted(format!("{name:0>8}"))
}

fn lease(name: &str) -> Lease {
    Lease { token: token(name), until: NOW + SignedDuration::from_mins(5), since: NOW }
}

/// Our attempt on task `a`, in its first try.
fn held(name: &str) -> Held {
    Held { task: A, try_number: 1, token: token(name) }
}

fn cell(state: TaskInstanceState) -> Cell {
    let waiting = |wait| Cell::Waiting { wait, try_number: 1, due: NOW + SignedDuration::from_hours(1) };
    let ended = |end| Cell::Final { end, try_number: 1, winner: Some(token("owner")), leaving: None };
    match state {
        TaskInstanceState::None => Cell::Cleared { try_number: 1 },
        TaskInstanceState::Scheduled => Cell::Scheduled { try_number: 1, resume: 0, turn: 0 },
        TaskInstanceState::Queued => Cell::Queued { try_number: 1 },
        TaskInstanceState::Running => Cell::Running { try_number: 1, lease: lease("owner") },
        TaskInstanceState::Restarting => Cell::Restarting { try_number: 1, lease: lease("owner") },
        TaskInstanceState::UpForRetry => waiting(Wait::Retry),
        TaskInstanceState::UpForReschedule => waiting(Wait::Reschedule),
        TaskInstanceState::Deferred => waiting(Wait::Deferred),
        TaskInstanceState::AwaitingInput => waiting(Wait::Input),
        TaskInstanceState::Success => ended(End::Success),
        TaskInstanceState::Failed => ended(End::Failed),
        TaskInstanceState::Skipped => ended(End::Skipped),
        TaskInstanceState::UpstreamFailed => ended(End::UpstreamFailed),
        TaskInstanceState::Removed => ended(End::Removed),
    }
}

/// A run of `a >> b` with two retries each, on a store of its own. A third task, first by its id, is queued, so that a request is compared
/// with what it does itself, not with what the scheduler makes of a run in which nothing can go on.
struct World {
    store: Metastore<Memory>,
    plan: Plan,
    run: RunDoc,
}

impl World {
    async fn new(a: Cell, b: Cell) -> Self {
        let task = |id: &str, upstream: &[TaskIndex]| Task {
            retries: 2,
            upstream: upstream.to_vec(),
            ..Task::new(TaskId::trusted(id), "airflow.providers.standard.operators.python.PythonOperator")
        };
        let facts = RunFacts {
            incarnation: Incarnation::trusted("i"),
            dag_id: DagId::trusted("d"),
            run_id: "manual__1".to_owned(),
            run_type: DagRunType::Manual,
            logical_date: Some(NOW),
            data_interval: None,
            partition: None,
            run_after: NOW,
            queued_at: NOW,
            version: VersionId::trusted("v"),
            conf: serde_json::Value::Null,
            asset_events: std::collections::BTreeMap::new(),
            origin: updraft_model::RunOrigin::default(),
        };
        let mut run = RunDoc::new(facts, DagRunState::Running, NOW);
        run.cells.extend([(A, a), (B, b), (C, cell(TaskInstanceState::Queued))].into_iter().filter(|(_, cell)| *cell != Cell::None));
        let store = Metastore::new(Memory::default());
        let Outcome::Updated(run) = store.put_run(&run).await.expect("memory answers") else { panic!("a second run") };
        Self { store, plan: Plan::new(dag(vec![task("a", &[]), task("b", &[A]), task("0", &[])])), run }
    }

    /// Writes, and tells whether the write was accepted.
    async fn write(&mut self, change: &RunChange) -> bool {
        let written = self.store.update_run(&self.run.facts.incarnation, change).await.expect("memory answers");
        let accepted = matches!(written, Outcome::Updated(_));
        if let Outcome::Updated(run) | Outcome::Refused(Some(run)) = written {
            self.run = run;
        }
        accepted
    }

    /// Claims `a` as a worker does; a claim of its own that has landed before is one that it has.
    async fn claim(&mut self, name: &str) -> bool {
        let try_number = self.run.cell(A).try_number();
        self.write(&step::claim(A, try_number, &lease(name))).await
            || matches!(self.run.cell(A), Cell::Running { lease, .. } if lease.token == token(name))
    }

    async fn finish(&mut self, ended: &Ended) -> bool {
        match step::finish(&self.plan, &self.run, &held("owner"), ended, NOW, None) {
            Some(step) => self.write(&step.change).await,
            None => false,
        }
    }
}

/// Task `a` fails for good in a DAG with `fail_fast`, whose others stand as recorded.
#[derive(Deserialize)]
struct FailFast {
    others_before: TaskInstanceState,
    states_after: BTreeMap<String, TaskInstanceState>,
}

async fn judge_fail_fast(case: &FailFast) -> Verdict {
    let task = |id: &str| Task {
        is_teardown: id == "t",
        ..Task::new(TaskId::trusted(id), "airflow.providers.standard.operators.python.PythonOperator")
    };
    // The recording is of the request alone: a task that waits for its turn keeps the scheduler, which comes after, from ending the run.
    let waits = Task { is_teardown: true, ..task("0") };
    let ids: Vec<&str> = case.states_after.keys().map(String::as_str).collect();
    let tasks = ids.iter().map(|id| task(id)).chain([waits]).collect();
    let dag = updraft_model::Dag { fail_fast: true, ..dag(tasks) };
    let mut world = World::new(cell(TaskInstanceState::Running), Cell::None).await;
    world.plan = Plan::new(dag);
    for (place, id) in ids.iter().enumerate() {
        let state = if *id == "a" { TaskInstanceState::Running } else { case.others_before };
        world.run.cells.insert(TaskIndex(place as u32), cell(state));
    }
    world.run.cells.insert(TaskIndex(ids.len() as u32), cell(TaskInstanceState::Queued));
    let Some(step) = step::finish(&world.plan, &world.run, &held("owner"), &Ended::new(AttemptOutcome::FailedForGood, NOW), NOW, None)
    else {
        return Verdict::Failed("the failure is refused".to_owned());
    };
    let after = step.image(&world.run);
    let state = |(place, id): (usize, &&str)| ((*id).to_owned(), after.task_state(TaskIndex(place as u32)));
    let found: BTreeMap<String, TaskInstanceState> = ids.iter().enumerate().map(state).collect();
    // What waits for its next look there is looked at by the same write here.
    let is_decided = |state: TaskInstanceState| state.is_schedulable();
    let agrees = case.states_after.iter().all(|(id, state)| {
        found[id] == *state || (id == "t" && is_decided(*state) && found[id] == TaskInstanceState::Queued)
    });
    if agrees { Verdict::Passed } else { Verdict::Failed(format!("expected {:?}, found {found:?}", case.states_after)) }
}

async fn judge_request(case: &Case) -> Verdict {
    let skips = case.op == "skip_downstream";
    let (a, b) = if skips {
        (cell(TaskInstanceState::Running), cell(case.state_before))
    } else {
        (cell(case.state_before), Cell::None)
    };
    let mut world = World::new(a, b).await;
    let in_an_hour = NOW + SignedDuration::from_hours(1);
    let outcome = match case.op.as_str() {
        "success" => Some(AttemptOutcome::Success),
        "failed" => Some(AttemptOutcome::FailedForGood),
        "skipped" => Some(AttemptOutcome::Skipped),
        // The delay that `retry_with_delay` asks for is a retry_policy's; see `retries.json`.
        "retry" | "retry_with_delay" => Some(AttemptOutcome::Failed),
        "reschedule" => Some(AttemptOutcome::Rescheduled { until: in_an_hour }),
        "defer" => Some(AttemptOutcome::Deferred { until: in_an_hour }),
        "await_input" => Some(AttemptOutcome::AwaitingInput { until: in_an_hour }),
        _ => None,
    };
    let granted = match (case.op.as_str(), outcome) {
        (_, Some(outcome)) => world.finish(&Ended::new(outcome, NOW)).await,
        ("run" | "run_other_host", None) => {
            // What was cleared while it ran runs again only after its first attempt has let go.
            if let Some(let_go) = step::acknowledge(&world.plan, &world.run, &held("owner"), NOW) {
                world.write(&let_go.change).await;
            }
            world.claim(if case.op == "run" { "owner" } else { "other" }).await
        }
        ("heartbeat_same" | "heartbeat_other_pid" | "heartbeat_other_host", None) => {
            let from = lease(if case.op == "heartbeat_same" { "owner" } else { "other" });
            let to = Lease { until: in_an_hour, ..from.clone() };
            world.write(&step::renew(&Held { token: from.token.clone(), ..held("owner") }, &from, &to)).await
        }
        ("skip_downstream", None) => {
            let choice = Choice::ShortCircuit { ignore_downstream_trigger_rules: false };
            world.finish(&Ended { choice: Some(choice), ..Ended::new(AttemptOutcome::Success, NOW) }).await
        }
        ("removed" | "upstream_failed" | "to_queued" | "to_scheduled" | "to_restarting" | "to_bogus" | "to_running", None) => {
            let state = case.op.strip_prefix("to_").unwrap_or(&case.op);
            let outcome = AttemptOutcome::deserialize(serde_json::json!(state));
            if outcome.is_ok() {
                return Verdict::Failed(format!("`{state}` is an outcome of ours"));
            }
            false
        }
        (op, None) => return Verdict::Unbound(format!("op={op}")),
    };
    let found = world.run.task_state(if skips { B } else { A });
    let is_change = case.state_after != case.state_before;
    let expected = (case.state_after, case.status < 300);
    match (found, granted) {
        // A request for what is so already changes nothing, whatever it is answered.
        answer if answer == expected || (!is_change && answer.0 == expected.0) => Verdict::Passed,
        (_, false) if matches!(case.op.as_str(), "removed" | "upstream_failed") => {
            Verdict::Unbound(format!("op={} of a running task: no worker of ours has such a request", case.op))
        }
        (_, false) if case.op.starts_with("to_") => {
            Verdict::Divergent("a worker that asks for a state no attempt ends in is refused, and its task not failed for it")
        }
        found => Verdict::Failed(format!("expected {expected:?}, found {found:?}")),
    }
}
