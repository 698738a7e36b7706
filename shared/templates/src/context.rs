//! The facts a template may use, as plain owned data.

use jiff::Timestamp;
use serde_json::Value as Json;

use crate::stored::Stored;

/// One run of one task instance, as its templates see it. Times are instants in UTC, cut to microseconds when shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// The DAG's id.
    pub dag_id: String,
    /// The task's id, with its group prefixes.
    pub task_id: String,
    /// The run's id.
    pub run_id: String,
    /// `scheduled`, `manual`, `backfill` or `asset_triggered`.
    pub run_type: String,
    /// The run's state while the task runs; `running` as a rule.
    pub run_state: String,
    /// Absent for a manual run without one; then `ds`, `ts`, `logical_date` and their kin are not defined at all.
    pub logical_date: Option<Timestamp>,
    /// Start and end of the data interval.
    pub data_interval: Option<(Timestamp, Timestamp)>,
    /// The earliest moment the run could start.
    pub run_after: Timestamp,
    /// When the run started.
    pub run_start_date: Option<Timestamp>,
    /// When this try of the task started.
    pub task_start_date: Option<Timestamp>,
    /// The run's partition, if the DAG is partitioned.
    pub partition_key: Option<String>,
    /// The partition's date.
    pub partition_date: Option<Timestamp>,
    /// Who triggered the run by hand.
    pub triggering_user_name: Option<String>,
    /// The run's note.
    pub note: Option<String>,
    /// Which try this is, from 1.
    pub try_number: u32,
    /// How many retries are allowed.
    pub max_tries: u32,
    /// The index among mapped instances, or -1.
    pub map_index: i32,
    /// How often this try was rescheduled.
    pub reschedule_count: u32,
    /// Where the try runs.
    pub hostname: String,
    /// The parameters as they are in force: the DAG's, overridden by the task's and by `conf`. An object.
    pub params: Json,
    /// The run's conf: an object, or null if the run has none.
    pub conf: Json,
    /// The task's arguments where they are rendered already, as attributes of `task`: for the names of mapped instances.
    pub arguments: serde_json::Map<String, Json>,
    /// What the task's callable put into its context, which goes before all else of the same name: for the names of mapped instances.
    pub added: serde_json::Map<String, Json>,
    /// The arguments of the mapped group around the task, as `expand`.
    pub expand: serde_json::Map<String, Json>,
    /// More about the DAG.
    pub dag: DagFacts,
    /// More about the task.
    pub task: TaskFacts,
    /// The last successful run before this one, if any.
    pub previous_success: Option<PreviousRun>,
    /// Why the try failed that a callback tells of.
    pub exception: Option<String>,
    /// Why the run ended that a callback tells of.
    pub reason: Option<String>,
    /// What the task reads: assets and aliases as `{kind, name, uri, group, extra}`.
    pub inlets: Vec<Json>,
    /// What it writes, likewise.
    pub outlets: Vec<Json>,
    /// The events that made the run: `{asset, extra, timestamp, aliases, source_dag_id, source_task_id, source_run_id, source_map_index,
    /// source_dag_run}`.
    pub triggering_asset_events: Vec<Json>,
    /// The variables and connections that were fetched.
    pub stored: Stored,
    /// The id of this try, a UUID as text.
    pub ti_id: String,
    /// The id of the DAG's version, a UUID as text.
    pub dag_version_id: String,
    /// The present moment, for the macros that ask for it. There is no other clock.
    pub now: Timestamp,
}

/// What a template can read of its DAG besides the id.
#[derive(Debug, Clone, PartialEq)]
pub struct DagFacts {
    /// The description.
    pub description: Option<String>,
    /// The tags, sorted.
    pub tags: Vec<String>,
    /// The first moment of the schedule.
    pub start_date: Option<Timestamp>,
    /// The last moment of the schedule.
    pub end_date: Option<Timestamp>,
    /// Whether missed intervals are run.
    pub catchup: bool,
    /// How many runs may be active at once.
    pub max_active_runs: u32,
}

/// What a template can read of its task besides the id.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskFacts {
    /// The owner.
    pub owner: String,
    /// The pool.
    pub pool: String,
    /// The queue.
    pub queue: String,
    /// How many retries the task was given, whatever a clear has added since.
    pub retries: u32,
    /// The trigger rule, such as `all_success`.
    pub trigger_rule: String,
}

/// The facts about the previous successful run that `prev_*_success` shows.
#[derive(Debug, Clone, PartialEq)]
pub struct PreviousRun {
    /// Its data interval.
    pub data_interval: Option<(Timestamp, Timestamp)>,
    /// When it started.
    pub start_date: Option<Timestamp>,
    /// When it ended.
    pub end_date: Option<Timestamp>,
}

/// The UUID of nothing.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

impl Default for Context {
    /// An empty run at the epoch; callers fill in what they know with `..Context::default()`.
    fn default() -> Self {
        Self {
            dag_id: String::new(),
            task_id: String::new(),
            run_id: String::new(),
            run_type: "manual".to_owned(),
            run_state: "running".to_owned(),
            logical_date: None,
            data_interval: None,
            run_after: Timestamp::UNIX_EPOCH,
            run_start_date: None,
            task_start_date: None,
            partition_key: None,
            partition_date: None,
            triggering_user_name: None,
            note: None,
            try_number: 1,
            max_tries: 0,
            map_index: -1,
            reschedule_count: 0,
            hostname: String::new(),
            params: Json::Object(serde_json::Map::new()),
            conf: Json::Object(serde_json::Map::new()),
            expand: serde_json::Map::new(),
            arguments: serde_json::Map::new(),
            added: serde_json::Map::new(),
            dag: DagFacts::default(),
            task: TaskFacts::default(),
            previous_success: None,
            exception: None,
            reason: None,
            inlets: Vec::new(),
            outlets: Vec::new(),
            triggering_asset_events: Vec::new(),
            stored: Stored::new(),
            ti_id: NO_UUID.to_owned(),
            dag_version_id: NO_UUID.to_owned(),
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Default for DagFacts {
    fn default() -> Self {
        Self {
            description: None,
            tags: Vec::new(),
            start_date: None,
            end_date: None,
            catchup: false,
            max_active_runs: 16,
        }
    }
}

impl Default for TaskFacts {
    fn default() -> Self {
        Self {
            owner: "airflow".to_owned(),
            pool: "default_pool".to_owned(),
            queue: "default".to_owned(),
            retries: 0,
            trigger_rule: "all_success".to_owned(),
        }
    }
}
