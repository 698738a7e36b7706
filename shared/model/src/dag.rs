//! A DAG as its file declares it, validated. This is what a compiled version stores.
//!
//! Everything here is data; what follows from it (descendants, priorities, leaves) is in [`crate::plan`].

use crate::ids::{DagId, TaskId, TaskIndex};
use crate::states::TriggerRule;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use updraft_timetables::{TimeRestriction, Timetable};

/// Airflow's default for `max_active_runs`.
pub const MAX_ACTIVE_RUNS_DEFAULT: u32 = 16;

/// Airflow's default for `retry_delay`.
pub const RETRY_DELAY_DEFAULT: SignedDuration = SignedDuration::from_secs(300);

/// A validated DAG.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dag {
    /// Unique in a deployment.
    pub dag_id: DagId,
    /// The file it came from, relative to the DAG folder or prefix.
    pub file: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Documentation in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// The name shown instead of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_display_name: Option<String>,
    /// For searching.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Owners named by its tasks, in order of appearance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// When runs are due.
    pub timetable: Timetable,
    /// The zone of the DAG's dates and cron expressions, as an IANA name or an offset.
    pub timezone: String,
    /// No run before this: the earliest `start_date` of DAG and tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// No run after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// Whether runs missed between `start_date` and now are made up for.
    pub catchup: bool,
    /// "Not set" is kept apart from a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_runs: Option<u32>,
    /// "Not set" is unlimited here, 16 in Airflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tasks: Option<u32>,
    /// Whether the DAG starts paused when it is first seen; not set: as the deployment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_paused_upon_creation: Option<bool>,
    /// The run fails when it takes longer than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dagrun_timeout: Option<SignedDuration>,
    /// One failed task ends the run.
    #[serde(default)]
    pub fail_fast: bool,
    /// Templates give native values instead of text.
    #[serde(default)]
    pub render_template_as_native_obj: bool,
    /// Default params; a run's conf overrides them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, Value>,
    /// The tasks, in a topological order (upstreams before downstreams).
    pub tasks: Vec<Task>,
}

/// A validated task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Unique in the DAG, group prefix included.
    pub task_id: TaskId,
    /// The operator's canonical class path, or the path as written where no operator of that name is known.
    pub operator: String,
    /// The operator's own arguments as written; templates unrendered.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub arguments: serde_json::Map<String, Value>,
    /// Direct upstreams, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<TaskIndex>,
    /// Who answers for it.
    pub owner: String,
    /// Tries after the first.
    #[serde(default)]
    pub retries: u32,
    /// Wait before a retry, before backoff.
    pub retry_delay: SignedDuration,
    /// Backoff multiplier; 0 is off (`true` is stored as 2).
    #[serde(default)]
    pub retry_exponential_backoff: f64,
    /// Upper bound of the delay with backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retry_delay: Option<SignedDuration>,
    /// A try is killed after this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_timeout: Option<SignedDuration>,
    /// When it may run.
    pub trigger_rule: TriggerRule,
    /// Its own weight; see [`WeightRule`].
    pub priority_weight: i32,
    /// How weights add up.
    #[serde(default)]
    pub weight_rule: WeightRule,
    /// Waits for its own success in the previous run.
    #[serde(default)]
    pub depends_on_past: bool,
    /// Waits for its direct downstreams in the previous run too.
    #[serde(default)]
    pub wait_for_downstream: bool,
    /// Whether the return value is pushed.
    pub do_xcom_push: bool,
    /// Over the DAG's params.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, Value>,
    /// A limit on how many instances run in one run; not set: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dagrun: Option<u32>,
    /// A limit on how many instances run in all runs; not set: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dag: Option<u32>,
    /// Makes something that a teardown removes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_setup: bool,
    /// Removes what setups made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_teardown: bool,
    /// Whether a failing teardown fails the run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_failure_fail_dagrun: bool,
    /// Whether an empty operator has something to do beyond succeeding (callbacks, outlets).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_effects: bool,
    /// Documentation in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
}

/// How a task's effective priority follows from the weights around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightRule {
    /// Own weight and that of all distinct descendants.
    #[default]
    Downstream,
    /// Own weight and that of all distinct ancestors.
    Upstream,
    /// Own weight.
    Absolute,
}

impl Dag {
    /// The bounds between which the timetable may place runs.
    pub fn time_restriction(&self) -> TimeRestriction {
        TimeRestriction { earliest: self.start_date, latest: self.end_date, catchup: self.catchup }
    }

    /// How many runs may be active at once.
    pub fn max_active_runs_effective(&self) -> u32 {
        self.max_active_runs.unwrap_or(MAX_ACTIVE_RUNS_DEFAULT)
    }

    /// The params of a run with this conf: declared defaults, overridden and extended by conf
    /// (`dag_run_conf_overrides_params=True`), then the task's own.
    pub fn params_for(&self, task: &Task, conf: &Value) -> Value {
        let mut params = self.params.clone();
        params.extend(task.params.clone());
        if let Value::Object(conf) = conf {
            params.extend(conf.clone());
        }
        Value::Object(params)
    }

    /// The index of a task by its id.
    pub fn index_of(&self, task_id: &str) -> Option<TaskIndex> {
        self.tasks.iter().position(|t| t.task_id.as_str() == task_id).map(|i| TaskIndex(i as u32))
    }

    /// Task ids by index, for messages to people.
    pub fn task_ids(&self) -> BTreeMap<TaskIndex, &str> {
        self.tasks.iter().enumerate().map(|(i, t)| (TaskIndex(i as u32), t.task_id.as_str())).collect()
    }
}

impl Task {
    /// A task with Airflow's defaults.
    pub fn new(task_id: TaskId, operator: impl Into<String>) -> Self {
        Self {
            task_id,
            operator: operator.into(),
            arguments: serde_json::Map::new(),
            upstream: Vec::new(),
            owner: "airflow".to_owned(),
            retries: 0,
            retry_delay: RETRY_DELAY_DEFAULT,
            retry_exponential_backoff: 0.0,
            max_retry_delay: None,
            execution_timeout: None,
            trigger_rule: TriggerRule::AllSuccess,
            priority_weight: 1,
            weight_rule: WeightRule::Downstream,
            depends_on_past: false,
            wait_for_downstream: false,
            do_xcom_push: true,
            params: serde_json::Map::new(),
            max_active_tis_per_dagrun: None,
            max_active_tis_per_dag: None,
            is_setup: false,
            is_teardown: false,
            on_failure_fail_dagrun: false,
            has_effects: false,
            doc_md: None,
        }
    }
}
