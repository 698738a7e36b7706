//! The DAG document: what the scheduler decides about a DAG as a whole.

use crate::asset::Queued;
use crate::ids::{BackfillId, DagId, Incarnation, TopicId, VersionId};
use crate::run::RunFacts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use updraft_timetables::DataInterval;

/// A run's place among its DAG's active runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActiveRun {
    /// The epoch at which it took the place; only an end of that epoch gives it back (ARCHITECTURE.md, rule C1).
    pub epoch: u32,
    /// What the run document is put from, should the writer die before it put it. None once the put is known to have
    /// happened, and for runs that were put first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<RunFacts>,
}

/// A DAG document, as one read or one write returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct DagDoc {
    /// The DAG.
    pub dag_id: DagId,
    /// The version new runs get; none once its file is gone.
    pub version: Option<VersionId>,
    /// The number of the current version, or of the last one; 0 where nobody has counted yet.
    pub version_number: u32,
    /// The backfill that goes on; a DAG has one at a time.
    pub backfill: Option<BackfillId>,
    /// Runs of logical dates up to here may have been made by backfills, so that the timetable must look before it makes one.
    pub backfilled_to: Option<Timestamp>,
    /// The file it comes from, relative to the DAG folder or prefix.
    pub file: String,
    /// Whether runs are created and started.
    pub paused: bool,
    /// The data interval of the last run the timetable made.
    pub last: Option<DataInterval>,
    /// When the next run is due by the timetable; none: never.
    pub next_due: Option<Timestamp>,
    /// How many runs may be active at once: the current version's `max_active_runs`.
    pub max_active_runs: u32,
    /// The active runs.
    pub active: BTreeMap<Incarnation, ActiveRun>,
    /// Queued runs that wait for a place, with the instant they became due.
    pub held: BTreeMap<Incarnation, Timestamp>,
    /// What it knows of the topics that its schedule names.
    pub queue: BTreeMap<TopicId, Queued>,
    /// In the time index at this instant; none: out of it. Millisecond precision.
    pub wake_at: Option<Timestamp>,
    /// Grows with every write.
    pub revision: u64,
}

impl DagDoc {
    /// A DAG as it is first written.
    pub fn new(dag_id: DagId, file: String, paused: bool) -> Self {
        Self {
            dag_id,
            version: None,
            version_number: 0,
            backfill: None,
            backfilled_to: None,
            file,
            paused,
            last: None,
            next_due: None,
            max_active_runs: crate::dag::MAX_ACTIVE_RUNS_DEFAULT,
            active: BTreeMap::new(),
            held: BTreeMap::new(),
            queue: BTreeMap::new(),
            wake_at: None,
            revision: 0,
        }
    }

    /// Whether another run may become active.
    pub fn has_room(&self) -> bool {
        self.active.len() < self.max_active_runs as usize
    }
}
