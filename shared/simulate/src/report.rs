//! What a simulation found.

use crate::cost::Costs;
use jiff::Timestamp;
use serde::Serialize;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// When it began.
    pub from: Timestamp,
    /// When it ended.
    pub to: Timestamp,
    /// What was drawn from.
    pub seed: u64,
    /// How many tasks could run at once.
    pub parallelism: u64,
    /// How many did at most.
    pub tasks_at_once: u64,
    /// How many had to wait for a worker at most.
    pub waiting_at_once: u64,
    /// How many DAGs had a run at one time, at most.
    pub runs_at_once: u64,
    /// Every DAG, by its id.
    pub dags: Vec<DagReport>,
    /// Every run, by when it was due.
    pub runs: Vec<RunReport>,
    /// What it would have cost on AWS.
    pub costs: Costs,
}

/// What came of one DAG.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DagReport {
    /// Its id.
    pub dag_id: String,
    /// How many runs there were.
    pub runs: u64,
    /// How many succeeded.
    pub success: u64,
    /// How many failed.
    pub failed: u64,
    /// How many had not ended.
    pub unfinished: u64,
    /// The mean time from a run's start to its end, in seconds.
    pub mean_seconds: f64,
    /// The longest.
    pub longest_seconds: f64,
    /// The longest time from when a run was due to its start, in seconds.
    pub latest_start_seconds: f64,
    /// How many of its runs went on at once, at most.
    pub runs_at_once: u64,
    /// Runs that began before the one before them had ended.
    pub overlaps: u64,
    /// Its tasks.
    pub tasks: Vec<TaskReport>,
}

/// What came of one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskReport {
    /// Its id.
    pub task_id: String,
    /// How often it was tried.
    pub tries: u64,
    /// How many tries failed.
    pub failures: u64,
    /// How long its tries took together, in seconds.
    pub seconds: f64,
}

/// What came of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// Its DAG.
    pub dag_id: String,
    /// Its id.
    pub run_id: String,
    /// When it was due.
    pub run_after: Timestamp,
    /// When it began to run; none: not yet.
    pub start_date: Option<Timestamp>,
    /// When it ended; none: not yet.
    pub end_date: Option<Timestamp>,
    /// Where it stood at the end.
    pub state: String,
}

/// The most of these spans that hold one instant, and how many begin before the one before them ends. Ordered by their start.
pub(crate) fn overlaps(spans: &[(Timestamp, Timestamp)]) -> (u64, u64) {
    let mut edges: Vec<(Timestamp, i64)> = spans.iter().flat_map(|(from, to)| [(*from, 1), (*to, -1)]).collect();
    // What ends at an instant is over when something begins at it.
    edges.sort_unstable();
    let (mut now, mut most) = (0_i64, 0_i64);
    for (_, change) in edges {
        now += change;
        most = most.max(now);
    }
    let early = spans.windows(2).filter(|pair| pair[1].0 < pair[0].1).count();
    (most.unsigned_abs(), early as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_at_once_is_counted() {
        let at = |second: i64| Timestamp::from_second(second).expect("in range");
        let spans = |pairs: &[(i64, i64)]| pairs.iter().map(|(from, to)| (at(*from), at(*to))).collect::<Vec<_>>();
        assert_eq!(overlaps(&[]), (0, 0));
        assert_eq!(overlaps(&spans(&[(0, 10), (10, 20)])), (1, 0));
        assert_eq!(overlaps(&spans(&[(0, 10), (5, 20), (6, 7), (30, 31)])), (3, 2));
    }
}
