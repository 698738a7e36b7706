//! What one task's end costs to decide, in runs of different sizes: it should cost what changed, not what exists.
//!
//! `cargo run --release -p updraft-bench --bin decide` finishes one task in the middle of layered DAGs of ten tasks a layer, each waiting
//! for the ten of the layer before, and compares that with a look over the whole run.

use jiff::{SignedDuration, Timestamp};
use std::time::Instant;
use updraft_bench::{Figures, machine, table};
use updraft_model::cell::End;
use updraft_model::{
    AttemptOutcome, Cell, Dag, DagRunState, Held, Lease, Plan, RunDoc, RunFacts, Task, TaskId, TaskIndex, Token,
};
use updraft_scheduling::step::{self, Ended};

const NOW: Timestamp = Timestamp::constant(1_750_000_000, 0);

/// Tasks of a layer.
const WIDE: usize = 10;

/// How often each is measured.
const TIMES: usize = 300;

fn plan(tasks: usize) -> Plan {
    let task = |index: usize| {
        let layer = index / WIDE;
        let upstream = (layer.saturating_sub(1) * WIDE..layer * WIDE).map(|up| TaskIndex(up as u32)).collect();
        let operator = "airflow.providers.standard.operators.bash.BashOperator";
        Task { upstream, ..Task::new(TaskId::trusted(format!("t{index}")), operator) }
    };
    let dag = serde_json::json!({
        "dag_id": "d",
        "file": "d.yaml",
        "timetable": updraft_model::Timetable::Null,
        "timezone": "UTC",
        "catchup": false,
        "tasks": (0..tasks).map(task).collect::<Vec<_>>(),
    });
    Plan::new(serde_json::from_value::<Dag>(dag).expect("a DAG with all it needs"))
}

/// A run whose middle layer has one task left, which runs.
fn run(tasks: usize) -> (RunDoc, Held) {
    let facts = serde_json::json!({
        "incarnation": "r", "dag_id": "d", "run_id": "r", "run_type": "manual", "run_after": NOW, "queued_at": NOW, "version": "v",
    });
    let facts: RunFacts = serde_json::from_value(facts).expect("facts with all they need");
    let mut run = RunDoc::new(facts, DagRunState::Running, NOW);
    let last = TaskIndex((tasks / 2 / WIDE * WIDE + WIDE - 1) as u32);
    let winner = Some(Token::trusted("0a1b2c3d"));
    for task in (0..last.0).map(TaskIndex) {
        run.cells.insert(task, Cell::Final { end: End::Success, try_number: 1, winner: winner.clone(), leaving: None });
    }
    let lease = Lease { token: Token::trusted("4e5f6a7b"), until: NOW + SignedDuration::from_secs(150), since: NOW };
    let held = Held { task: last, try_number: 1, token: lease.token.clone() };
    run.cells.insert(last, Cell::Running { try_number: 1, lease });
    (run, held)
}

fn main() {
    let machine = machine();
    for tasks in [100, 1_000, 10_000] {
        let plan = plan(tasks);
        let (run, held) = run(tasks);
        let ended = Ended::new(AttemptOutcome::Success, NOW);
        let mut queued = 0;
        let mut measure = |decide: &dyn Fn() -> usize| {
            let taken = (0..TIMES).map(|_| {
                let begun = Instant::now();
                queued += decide();
                begun.elapsed().as_secs_f64() * 1000.0
            });
            Figures::new(taken.collect())
        };
        let one = measure(&|| step::finish(&plan, &run, &held, &ended, NOW, None).map_or(0, |step| step.queued.len()));
        let all = measure(&|| step::sweep(&plan, &run, &[], NOW).queued.len());
        let rows = [
            ("one task's end", one.line()),
            ("a look over the whole run", all.line()),
            ("tasks queued by each end", (queued / TIMES).to_string()),
        ];
        table(&format!("A run of {tasks} tasks on {machine}"), &rows);
    }
}
