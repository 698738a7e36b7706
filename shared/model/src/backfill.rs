//! Backfills: runs of a DAG for the dates of its schedule in a span of the past, made one after the other in the background.

use crate::ids::{BackfillId, DagId, Incarnation, OperationId};
use crate::run::RunFacts;
use crate::states::ReprocessBehavior;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use updraft_timetables::DataInterval;

/// Airflow's default for `max_active_runs` of a backfill.
pub const BACKFILL_RUNS_DEFAULT: u32 = 10;

/// A backfill's document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backfill {
    /// Its id.
    pub id: BackfillId,
    /// Whose runs it makes.
    pub dag_id: DagId,
    /// From this logical date on.
    pub from_date: Timestamp,
    /// Up to this logical date.
    pub to_date: Timestamp,
    /// What each run is given.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub dag_run_conf: Value,
    /// What is done about dates that have a run.
    pub reprocess_behavior: ReprocessBehavior,
    /// The latest date first.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_backwards: bool,
    /// How many of its runs may go on at once.
    pub max_active_runs: u32,
    /// Runs that are made to run again go over to the latest version of the DAG.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub run_on_latest_version: bool,
    /// Whether it makes and starts no run for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_paused: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it came to its end, or was cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The interval of the last date that was dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<DataInterval>,
    /// The last logical date that was dealt with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_date: Option<Timestamp>,
    /// Whether no date is left.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_exhausted: bool,
    /// Its runs that go on, or are owed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub active: BTreeMap<Incarnation, BackfillRun>,
    /// How many dates it has dealt with: runs that were made, that run again, and dates that were passed over.
    #[serde(default)]
    pub counts: BackfillCounts,
}

/// A run of a backfill that goes on, or is owed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BackfillRun {
    /// What the run is put from, should the writer die before it put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<RunFacts>,
    /// The intervention by which a run that had ended runs again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<OperationId>,
}

/// How many dates a backfill has dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BackfillCounts {
    /// Runs that were made.
    pub created: u64,
    /// Runs that were made to run again.
    pub cleared: u64,
    /// Dates that were passed over: they had a run already, which goes on or is not to be done again.
    pub passed_over: u64,
}
