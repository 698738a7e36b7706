//! Whether and when a failed try is tried again: `retries.json`.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use updraft_model::dag::RETRY_DELAY_DEFAULT;
use updraft_model::{
    AttemptOutcome, Cell, DagId, DagRunState, DagRunType, Held, Incarnation, Lease, Plan, RunDoc, RunFacts, Task,
    TaskId, TaskIndex, Token, VersionId,
};
use updraft_scheduling::retries::{RetryDelay, is_eligible, next_retry};
use updraft_scheduling::step;

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::{dag, declare, parse};

pub(crate) fn judge_file() -> Option<Tally> {
    judge("retries", |case| match case["op"].as_str() {
        Some("next_retry") => judge_next_retry(case),
        Some("eligible") => judge_eligible(&parse(case)),
        Some("ready") => judge_ready(&parse(case)),
        Some("parse_retries") => judge_declaration(&parse(case)),
        op => Verdict::Unbound(format!("op={op:?}")),
    })
}

/// A task that failed.
#[derive(Deserialize)]
struct FailedTry {
    retry_delay_s: Option<f64>,
    max_retry_delay_s: Option<f64>,
    try_number: u32,
    dag_id: String,
    task_id: String,
    logical_date: Option<String>,
    retry_delay_override_s: Option<f64>,
    end_date: Timestamp,
    next_retry: Timestamp,
}

#[derive(Deserialize)]
struct Eligible {
    previous_state: String,
    max_tries: u32,
    try_number: u32,
    should_retry: bool,
}

#[derive(Deserialize)]
struct Look {
    seconds_after_next_retry: f64,
    retry_exponential_backoff: f64,
    ready: bool,
}

#[derive(Deserialize)]
struct Declaration {
    retries: Value,
    effective: Option<i64>,
}

/// The backoff as a task keeps it: off is 0, on without a number is 2.
fn backoff(recorded: &Value) -> f64 {
    match recorded {
        Value::Null | Value::Bool(false) => 0.0,
        Value::Bool(true) => 2.0,
        number => number.as_f64().unwrap_or_else(|| panic!("{number} is no backoff")),
    }
}

fn judge_next_retry(value: &Value) -> Verdict {
    let case: FailedTry = parse(value);
    if case.retry_delay_override_s.is_some() {
        return Verdict::Divergent("retry_delay_override_s: a retry_policy is a Python object, which a DAG file cannot hold");
    }
    let logical_date = case.logical_date.as_deref().filter(|text| *text != "None");
    let of = RetryDelay {
        delay: case.retry_delay_s.map_or(RETRY_DELAY_DEFAULT, SignedDuration::from_secs_f64),
        exponential_backoff: backoff(&value["retry_exponential_backoff"]),
        max_delay: case.max_retry_delay_s.map(SignedDuration::from_secs_f64),
        dag_id: &case.dag_id,
        task_id: &case.task_id,
        logical_date: logical_date.map(|text| text.parse().expect("a logical date is an instant")),
    };
    let found = next_retry(&of, case.try_number, case.end_date);
    if found == case.next_retry {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("expected {}, found {found} by {of:?}", case.next_retry))
    }
}

fn judge_eligible(case: &Eligible) -> Verdict {
    let found = if case.previous_state == "restarting" {
        runs_again_after_clear(case)
    } else {
        is_eligible(case.try_number, case.max_tries)
    };
    if found == case.should_retry { Verdict::Passed } else { Verdict::Failed(format!("found {found}")) }
}

const T: TaskIndex = TaskIndex(0);

/// A run of one task with this cell.
fn run(task: Task, cell: Cell) -> (Plan, RunDoc) {
    let facts = RunFacts {
        incarnation: Incarnation::trusted("i"),
        dag_id: DagId::trusted("d"),
        run_id: "manual__1".to_owned(),
        run_type: DagRunType::Manual,
        logical_date: Some(Timestamp::UNIX_EPOCH),
        data_interval: None,
        partition: None,
        run_after: Timestamp::UNIX_EPOCH,
        queued_at: Timestamp::UNIX_EPOCH,
        version: VersionId::trusted("v"),
        conf: Value::Null,
        asset_events: std::collections::BTreeMap::new(),
        origin: updraft_model::RunOrigin::default(),
    };
    let mut run = RunDoc::new(facts, DagRunState::Running, Timestamp::UNIX_EPOCH);
    run.cells.insert(T, cell);
    (Plan::new(dag(vec![task])), run)
}

fn task(retries: u32) -> Task {
    Task { retries, ..Task::new(TaskId::trusted("t"), "airflow.providers.standard.operators.bash.BashOperator") }
}

fn lease() -> Lease {
    Lease { token: Token::trusted("0a1b2c3d"), until: Timestamp::UNIX_EPOCH, since: Timestamp::UNIX_EPOCH }
}

/// Whether an attempt that was cleared while it ran is followed by another, once it has let go.
fn runs_again_after_clear(case: &Eligible) -> bool {
    let try_number = case.try_number;
    let (plan, run) = run(task(case.max_tries), Cell::Restarting { try_number, lease: lease() });
    let held = Held { task: T, try_number, token: lease().token };
    let step = step::acknowledge(&plan, &run, &held, Timestamp::UNIX_EPOCH).expect("the attempt holds the cell");
    *step.image(&run).cell(T) == Cell::Queued { try_number: try_number + 1 }
}

/// Finishes a failing try and sweeps at an instant after the time of the next one.
fn judge_ready(case: &Look) -> Verdict {
    let end_date: Timestamp = "2025-01-01T12:00:00Z".parse().expect("an instant");
    let task = Task { retry_exponential_backoff: case.retry_exponential_backoff, ..task(1) };
    let (plan, run) = run(task, Cell::Running { try_number: 1, lease: lease() });
    let held = Held { task: T, try_number: 1, token: lease().token };
    let ended = step::Ended::new(AttemptOutcome::Failed, end_date);
    let waiting = step::finish(&plan, &run, &held, &ended, end_date, None).expect("the attempt holds the cell").image(&run);
    let of = RetryDelay {
        delay: RETRY_DELAY_DEFAULT,
        exponential_backoff: case.retry_exponential_backoff,
        max_delay: None,
        dag_id: "d",
        task_id: "t",
        logical_date: Some(Timestamp::UNIX_EPOCH),
    };
    let now = next_retry(&of, 1, end_date) + SignedDuration::from_secs_f64(case.seconds_after_next_retry);
    let ready = *step::sweep(&plan, &waiting, &[], now).image(&waiting).cell(T) == Cell::Queued { try_number: 2 };
    if ready == case.ready {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("expected {}, found {ready}; {:?} at {now}", case.ready, waiting.cell(T)))
    }
}

fn judge_declaration(case: &Declaration) -> Verdict {
    match (case.effective, declare("retries", &case.retries)) {
        (Some(effective), Ok(task)) if effective == i64::from(task.retries) => Verdict::Passed,
        (None, Err(_)) => Verdict::Passed,
        (Some(_), Err(_)) if !case.retries.is_u64() => {
            Verdict::Divergent("a DAG file gives `retries` as a whole number from 0 on")
        }
        (effective, found) => Verdict::Failed(format!("expected {effective:?}, found {found:?}")),
    }
}
