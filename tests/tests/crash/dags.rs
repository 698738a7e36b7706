//! The DAGs whose runs are killed.

use jiff::SignedDuration;
use updraft_model::{AttemptOutcome, Dag, Task, TaskId, TaskIndex, Timetable, TriggerRule};

const BASH: &str = "airflow.providers.standard.operators.bash.BashOperator";
const EMPTY: &str = "airflow.providers.standard.operators.empty.EmptyOperator";

/// The instant of the run by schedule.
const START: jiff::Timestamp = jiff::Timestamp::constant(1_750_000_000, 0);

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Retried,
    Once,
    Join,
    Scheduled,
}

impl Case {
    const ALL: [Self; 4] = [Self::Retried, Self::Once, Self::Join, Self::Scheduled];

    pub(crate) fn named(name: &str) -> Self {
        Self::ALL.into_iter().find(|case| case.name() == name).expect("a case of this test")
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Once => "once",
            Self::Join => "join",
            Self::Scheduled => "scheduled",
        }
    }

    /// Whether its run is made by the timetable, not by hand.
    pub(crate) fn is_scheduled(self) -> bool {
        self == Self::Scheduled
    }

    /// How a try of a task ends, if it comes to its end.
    pub(crate) fn outcome(self, task: TaskIndex, try_number: u32) -> AttemptOutcome {
        match (self, task.0, try_number) {
            // Fails once, whatever happens, and then works.
            (Self::Retried, 1, 1) => AttemptOutcome::Failed,
            // One arm of the fork always fails; another does not want to run.
            (Self::Join, 1, _) => AttemptOutcome::FailedForGood,
            (Self::Join, 2, _) => AttemptOutcome::Skipped,
            _ => AttemptOutcome::Success,
        }
    }

    fn tasks(self) -> Vec<Task> {
        let task = |index: u32, upstream: &[u32], retries: u32| Task {
            upstream: upstream.iter().copied().map(TaskIndex).collect(),
            retries,
            retry_delay: SignedDuration::ZERO,
            ..Task::new(TaskId::trusted(format!("t{index}")), BASH)
        };
        let ruled = |rule, task| Task { trigger_rule: rule, ..task };
        match self {
            Self::Retried => vec![task(0, &[], 2), task(1, &[0], 2), task(2, &[1], 2)],
            Self::Once => vec![task(0, &[], 0), task(1, &[0], 0), ruled(TriggerRule::OneFailed, task(2, &[0, 1], 0))],
            Self::Join => vec![
                task(0, &[], 1),
                task(1, &[0], 1),
                task(2, &[0], 1),
                task(3, &[0], 1),
                ruled(TriggerRule::AllDone, task(4, &[1, 2, 3], 1)),
                Task { operator: EMPTY.to_owned(), ..ruled(TriggerRule::NoneFailed, task(5, &[2, 3], 0)) },
                task(6, &[1, 3], 0),
            ],
            Self::Scheduled => vec![task(0, &[], 1), task(1, &[0], 1)],
        }
    }

    pub(crate) fn dag(self) -> Dag {
        let timetable = if self.is_scheduled() { Timetable::Once } else { Timetable::Null };
        let dag = serde_json::json!({
            "dag_id": self.name(),
            "file": "d.yaml",
            "timetable": timetable,
            "timezone": "UTC",
            "start_date": START,
            "catchup": false,
            "tasks": self.tasks(),
        });
        serde_json::from_value(dag).expect("a DAG with all it needs")
    }
}
