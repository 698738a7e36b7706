//! Which kind of worker an attempt wants.

use crate::dag::Task;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use updraft_operators::{Runner, find};

/// The `queue` that asks for a worker with Python.
pub const QUEUE_PYTHON: &str = "python";

/// How long a function of AWS Lambda lives at most, and so the longest that an attempt's process can last there.
pub const FUNCTION_LIFE_MOST: SignedDuration = SignedDuration::from_mins(15);

/// A kind of worker. On one machine every worker is of every kind; on AWS each kind is a function behind a queue of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerKind {
    /// Has a shell, and no more.
    #[default]
    Plain,
    /// Has Python, too.
    Python,
}

impl WorkerKind {
    /// Whether this kind of worker can run what wants the other kind.
    pub fn serves(self, wanted: Self) -> bool {
        self == Self::Python || wanted == Self::Plain
    }

    /// Whether it is the kind that goes without saying; messages then leave it out.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

impl Task {
    /// The kind of worker that runs it: one with Python for `queue: python` and for every operator that calls Python, else a plain one.
    /// Queues of other names are those of somebody else's deployment, and say nothing here.
    pub fn worker_kind(&self) -> WorkerKind {
        let calls_python = || find(&self.operator).is_some_and(|operator| wants_python(operator.runner));
        if self.queue == QUEUE_PYTHON || calls_python() { WorkerKind::Python } else { WorkerKind::Plain }
    }

    /// Whether an attempt of it lasts as long as a process that it starts: a command or a callable that is run once. Sensors give their
    /// worker back between two looks.
    pub fn holds_its_worker(&self) -> bool {
        find(&self.operator).is_some_and(|operator| operator.runner == Runner::Bash || wants_python(operator.runner))
            && self.sensor.is_none()
    }
}

fn wants_python(runner: Runner) -> bool {
    matches!(
        runner,
        Runner::Python | Runner::PythonEnvironment | Runner::BranchPython | Runner::ShortCircuit | Runner::PythonSensor
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TaskId;
    use WorkerKind::{Plain, Python};

    fn task(operator: &str, queue: &str) -> Task {
        Task { queue: queue.to_owned(), ..Task::new(TaskId::trusted("t"), operator) }
    }

    #[test]
    fn python_goes_where_python_is() {
        for (operator, queue, kind) in [
            ("BashOperator", "default", Plain),
            ("BashOperator", "python", Python),
            ("BashOperator", "somebody-elses", Plain),
            ("BashSensor", "default", Plain),
            ("HttpOperator", "default", Plain),
            ("PythonOperator", "default", Python),
            ("PythonOperator", "somebody-elses", Python),
            ("airflow.operators.python.BranchPythonOperator", "default", Python),
            ("ShortCircuitOperator", "default", Python),
            ("PythonSensor", "default", Python),
            ("PythonVirtualenvOperator", "default", Python),
            ("nobody.knows.This", "default", Plain),
        ] {
            assert_eq!(task(operator, queue).worker_kind(), kind, "{operator} on `{queue}`");
        }
    }

    #[test]
    fn a_worker_with_python_serves_all_and_a_plain_one_its_own() {
        let serves: Vec<bool> =
            [(Plain, Plain), (Plain, Python), (Python, Plain), (Python, Python)].map(|(a, b)| a.serves(b)).into();
        assert_eq!(serves, [true, false, true, true]);
    }

    #[test]
    fn only_what_runs_once_holds_its_worker() {
        let sensor = Task { sensor: Some(crate::SensorSettings::default()), ..task("PythonSensor", "default") };
        assert!(!sensor.holds_its_worker());
        assert!(task("BashOperator", "default").holds_its_worker() && task("PythonOperator", "x").holds_its_worker());
        assert!(!task("EmptyOperator", "default").holds_its_worker() && !task("HttpOperator", "x").holds_its_worker());
    }
}
