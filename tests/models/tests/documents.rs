//! The product's documents as parts of a model's state: small, hashed by what decisions can see, and drawn from a few names.

use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use updraft_model::{Cell, Dag, DagRunState, Lease, Plan, RunDoc, RunFacts, Task, TaskId, TaskIndex, Token};

/// When everything happens. What time decides here, the ends of leases, the models let happen as steps of their own.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_750_000_000, 0);

const BASH: &str = "airflow.providers.standard.operators.bash.BashOperator";

/// A run document as somebody read it.
#[derive(Clone, PartialEq)]
pub(crate) struct Image(Arc<RunDoc>);

impl Image {
    pub(crate) fn new(run: RunDoc) -> Self {
        Self(Arc::new(run))
    }
}

impl Deref for Image {
    type Target = RunDoc;

    fn deref(&self) -> &RunDoc {
        &self.0
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cells: Vec<String> = self.cells.iter().map(|(task, cell)| format!("{task}:{}", cell.encode())).collect();
        write!(f, "{} epoch {} {}", self.state, self.epoch, cells.join(" "))
    }
}

impl Hash for Image {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let run = &*self.0;
        run.facts.incarnation.hash(hasher);
        (run.state as u8, run.epoch, &run.operations, run.active_epoch, run.looks, run.revision).hash(hasher);
        (run.wake_at, &run.max_tries, run.outbox.len()).hash(hasher);
        for (task, resumed) in &run.resumes {
            (task, resumed.try_number, resumed.count, &resumed.last).hash(hasher);
        }
        for (task, cell) in &run.cells {
            (task, cell.encode()).hash(hasher);
        }
    }
}

/// A DAG of tasks that need a worker. Each is given its upstreams and its retries.
pub(crate) fn plan(tasks: &[(&[u32], u32)]) -> Plan {
    let task = |(index, (upstream, retries)): (usize, &(&[u32], u32))| Task {
        upstream: upstream.iter().copied().map(TaskIndex).collect(),
        retries: *retries,
        retry_delay: SignedDuration::ZERO,
        ..Task::new(TaskId::trusted(format!("t{index}")), BASH)
    };
    let dag = serde_json::json!({
        "dag_id": "d",
        "file": "d.yaml",
        "timetable": updraft_timetables::Timetable::Null,
        "timezone": "UTC",
        "catchup": false,
        "tasks": tasks.iter().enumerate().map(task).collect::<Vec<_>>(),
    });
    Plan::new(serde_json::from_value::<Dag>(dag).expect("a DAG with all it needs"))
}

/// The facts of a run.
pub(crate) fn facts(incarnation: &str) -> RunFacts {
    let facts = serde_json::json!({
        "incarnation": incarnation,
        "dag_id": "d",
        "run_id": format!("run {incarnation}"),
        "run_type": "manual",
        "run_after": NOW,
        "queued_at": NOW,
        "version": "v",
    });
    serde_json::from_value(facts).expect("facts with all they need")
}

/// A run that waits for its place.
pub(crate) fn queued_run(incarnation: &str) -> RunDoc {
    RunDoc::new(facts(incarnation), DagRunState::Queued, NOW)
}

/// The lease of an attempt after so many renewals. No two are alike.
pub(crate) fn lease(token: u8, level: u8) -> Lease {
    let until = NOW + SignedDuration::from_secs(3_600 + 10 * i64::from(token) + i64::from(level));
    Lease { token: Token::trusted(format!("t{token}")), until, since: NOW }
}

/// The attempt and the renewals of a lease that [`lease`] made.
pub(crate) fn attempt_of(lease: &Lease) -> (u8, u8) {
    let seconds = lease.until.duration_since(NOW).as_secs() - 3_600;
    ((seconds / 10) as u8, (seconds % 10) as u8)
}

/// An instant at which what waits in this run is due.
pub(crate) fn late_enough(run: &RunDoc) -> Timestamp {
    let due = run.cells.values().filter_map(|cell| match cell {
        Cell::Waiting { due, .. } => Some(*due),
        _ => None,
    });
    due.fold(NOW, Timestamp::max)
}
