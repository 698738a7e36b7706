//! An intervention in several runs, as it is recorded before the first of them is touched.

use crate::ids::{DagId, Incarnation, OperationId};
use crate::run::Intent;
use serde::{Deserialize, Serialize};

/// What is to be done to one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunIntent {
    /// The run.
    pub incarnation: Incarnation,
    /// What is done to it.
    pub intent: Intent,
    /// Refused where one of the tasks runs by then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prevent_running_task: bool,
    /// Whether the run goes over to the latest version of its DAG.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_on_latest_version: bool,
}

/// An intervention in several runs. Whoever finds it goes on with it: a run that has had it already knows its id
/// (ARCHITECTURE.md, rule F1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// Its drawn identity, and the operation's in each run.
    pub operation: OperationId,
    /// Whose runs.
    pub dag_id: DagId,
    /// What is to be done, run by run.
    pub runs: Vec<RunIntent>,
    /// How many of them are known to be done.
    pub done: usize,
}
