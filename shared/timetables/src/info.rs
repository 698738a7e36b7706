//! What goes into a timetable's question and what comes out.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Partition;

/// The span of time whose data a run processes, in UTC: from `start` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct DataInterval {
    /// First instant of the interval.
    pub start: Timestamp,
    /// First instant after the interval.
    pub end: Timestamp,
}

impl DataInterval {
    /// The interval from `start` to `end`.
    pub fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// The interval of no length at `instant`.
    pub fn exact(instant: Timestamp) -> Self {
        Self::new(instant, instant)
    }
}

/// The bounds a DAG sets on its scheduled runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRestriction {
    /// The least start date of the DAG and its tasks; no run lies before it.
    pub earliest: Option<Timestamp>,
    /// The DAG's end date, or the last end date of its tasks if all have one; a run exactly there is allowed.
    pub latest: Option<Timestamp>,
    /// Whether runs missed in the past are made up one by one, or skipped.
    pub catchup: bool,
}

/// One scheduled run, as a timetable proposes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DagRunInfo {
    /// The instant from which the run may start.
    pub run_after: Timestamp,
    /// The interval whose data the run processes, if the timetable has intervals.
    pub data_interval: Option<DataInterval>,
    /// The instant that names the run within its DAG, if the timetable has such instants.
    pub logical_date: Option<Timestamp>,
    /// The part of the data the run makes, if the timetable is partitioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
}

impl DagRunInfo {
    /// The run for `interval`: due when the interval ends, named after its start.
    pub fn interval(interval: DataInterval) -> Self {
        Self {
            run_after: interval.end,
            data_interval: Some(interval),
            logical_date: Some(interval.start),
            partition: None,
        }
    }

    /// The run at `instant` whose interval has no length.
    pub fn exact(instant: Timestamp) -> Self {
        Self::interval(DataInterval::exact(instant))
    }
}
