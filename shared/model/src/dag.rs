//! A DAG as its file declares it, validated. This is what a compiled version stores.
//!
//! Everything here is data; what follows from it (descendants, priorities, leaves) is in [`crate::plan`].

use crate::dag_parts::{
    AssetCondition, AssetRef, Callbacks, Deadline, Mapping, POOL_DEFAULT, QUEUE_DEFAULT, SensorSettings, TaskGroup,
    TemplateSettings,
};
use crate::ids::{DagId, TaskId, TaskIndex, VersionId};
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
    /// When runs are due. [`Timetable::Null`] where assets alone make them.
    pub timetable: Timetable,
    /// The updates of assets that make runs, beside the timetable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assets: Option<AssetCondition>,
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
    /// Paused after so many failed runs in a row; 0 is never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_consecutive_failed_dag_runs: u32,
    /// Default params; a run's conf overrides them.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, Value>,
    /// The JSON schema of each param that has one.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub param_schemas: serde_json::Map<String, Value>,
    /// How templates are read.
    #[serde(default, skip_serializing_if = "TemplateSettings::is_empty")]
    pub templates: TemplateSettings,
    /// What is called when a run has ended.
    #[serde(default, skip_serializing_if = "Callbacks::is_empty")]
    pub callbacks: Callbacks,
    /// Promises on the time of its runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadlines: Vec<Deadline>,
    /// Links of owners, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owner_links: BTreeMap<String, String>,
    /// What tasks take where they say nothing themselves, as understood. For people: each task holds its own values.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub default_args: serde_json::Map<String, Value>,
    /// Whether a run that is cleared goes over to the latest version; not set: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rerun_with_latest_version: Option<bool>,
    /// The version that this one stands for, where it was made for a run that went over to it ([`crate::rebase`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<VersionId>,
    /// The task groups, outer ones first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<TaskGroup>,
    /// The tasks, in a topological order (upstreams before downstreams), unless it stands for another version.
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
    /// The id of the innermost group around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The decorator that makes it of a function, by its class path. `operator` is then the class that runs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decorator: Option<String>,
    /// What it is expanded over when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
    /// Names its mapped instances; a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index_template: Option<String>,
    /// How it waits, if it is a sensor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensor: Option<SensorSettings>,
    /// No run before this; not set: the DAG's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// No run after this; not set: the DAG's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
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
    /// With `depends_on_past`: its first run does not wait.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub ignore_first_depends_on_past: bool,
    /// With `depends_on_past`: waits for the past before it is skipped, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wait_for_past_depends_before_skipping: bool,
    /// The pool it takes slots of.
    #[serde(default = "pool_default", skip_serializing_if = "is_pool_default")]
    pub pool: String,
    /// How many slots it takes.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pool_slots: u32,
    /// The queue that its messages go to.
    #[serde(default = "queue_default", skip_serializing_if = "is_queue_default")]
    pub queue: String,
    /// Whether the return value is pushed.
    pub do_xcom_push: bool,
    /// Whether each key of a returned mapping is pushed by itself, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multiple_outputs: bool,
    /// Whether that follows from what the function is annotated to return: so it is of decorated functions that do not say themselves.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multiple_outputs_as_annotated: bool,
    /// Templates give native values instead of text; not set: as the DAG says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub render_template_as_native_obj: Option<bool>,
    /// Over the DAG's params.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, Value>,
    /// JSON schemas of its own typed params: the fields of a form, where it asks people.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub param_schemas: serde_json::Map<String, Value>,
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
    /// What is called around its tries.
    #[serde(default, skip_serializing_if = "Callbacks::is_empty")]
    pub callbacks: Callbacks,
    /// What it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inlets: Vec<AssetRef>,
    /// What it writes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<AssetRef>,
    /// The name shown instead of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_display_name: Option<String>,
    /// Documentation in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// Keeps the place of a task that is gone from the DAG ([`crate::rebase`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_removed: bool,
    /// Arguments that every operator of Airflow takes and that change nothing here, such as `executor_config`.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub other: serde_json::Map<String, Value>,
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
    /// A DAG of these tasks that runs when it is asked to, with Airflow's defaults.
    pub fn new(dag_id: DagId, tasks: Vec<Task>) -> Self {
        Self {
            dag_id,
            file: String::new(),
            description: None,
            doc_md: None,
            dag_display_name: None,
            tags: Vec::new(),
            owners: Vec::new(),
            timetable: Timetable::Null,
            assets: None,
            timezone: "UTC".to_owned(),
            start_date: None,
            end_date: None,
            catchup: false,
            max_active_runs: None,
            max_active_tasks: None,
            is_paused_upon_creation: None,
            dagrun_timeout: None,
            fail_fast: false,
            render_template_as_native_obj: false,
            max_consecutive_failed_dag_runs: 0,
            params: serde_json::Map::new(),
            param_schemas: serde_json::Map::new(),
            templates: TemplateSettings::default(),
            callbacks: Callbacks::new(),
            deadlines: Vec::new(),
            owner_links: BTreeMap::new(),
            default_args: serde_json::Map::new(),
            rerun_with_latest_version: None,
            stands_for: None,
            groups: Vec::new(),
            tasks,
        }
    }

    /// The schedule in a few letters, as Airflow's lists show it: `Asset` where assets make the runs.
    pub fn schedule_summary(&self) -> String {
        match (&self.assets, &self.timetable) {
            (None, timetable) => timetable.describe(),
            (Some(_), Timetable::Null) => "Asset".to_owned(),
            (Some(_), timetable) => format!("Asset or {}", timetable.describe()),
        }
    }

    /// The name of Airflow's class for its timetable.
    pub fn timetable_class(&self) -> &'static str {
        match (&self.assets, &self.timetable) {
            (None, timetable) => timetable.airflow_class(),
            (Some(_), Timetable::Null) => "AssetTriggeredTimetable",
            (Some(_), _) => "AssetOrTimeSchedule",
        }
    }

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
            group: None,
            decorator: None,
            mapping: None,
            map_index_template: None,
            sensor: None,
            start_date: None,
            end_date: None,
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
            ignore_first_depends_on_past: true,
            wait_for_past_depends_before_skipping: false,
            pool: pool_default(),
            pool_slots: 1,
            queue: queue_default(),
            do_xcom_push: true,
            multiple_outputs: false,
            multiple_outputs_as_annotated: false,
            render_template_as_native_obj: None,
            params: serde_json::Map::new(),
            max_active_tis_per_dagrun: None,
            max_active_tis_per_dag: None,
            param_schemas: serde_json::Map::new(),
            is_setup: false,
            is_teardown: false,
            on_failure_fail_dagrun: false,
            has_effects: false,
            callbacks: Callbacks::new(),
            inlets: Vec::new(),
            outlets: Vec::new(),
            task_display_name: None,
            doc_md: None,
            is_removed: false,
            other: serde_json::Map::new(),
        }
    }

    /// Whether its templates give native values.
    pub fn renders_native(&self, dag: &Dag) -> bool {
        self.render_template_as_native_obj.unwrap_or(dag.render_template_as_native_obj)
    }
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

fn pool_default() -> String {
    POOL_DEFAULT.to_owned()
}

fn queue_default() -> String {
    QUEUE_DEFAULT.to_owned()
}

fn is_pool_default(pool: &String) -> bool {
    pool == POOL_DEFAULT
}

fn is_queue_default(queue: &String) -> bool {
    queue == QUEUE_DEFAULT
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_version_that_was_stored_with_fewer_fields_is_read_with_airflows_defaults() {
        let stored = json!({"dag_id": "d", "file": "d.yaml", "timetable": "null", "timezone": "UTC", "catchup": false, "tasks": [
            {"task_id": "t", "operator": "x", "owner": "airflow", "retry_delay": "PT5M", "trigger_rule": "all_success",
             "priority_weight": 1, "do_xcom_push": true}]});
        let dag: Dag = serde_json::from_value(stored).unwrap();
        let expected = Dag {
            file: "d.yaml".to_owned(),
            ..Dag::new(DagId::trusted("d"), vec![Task::new(TaskId::trusted("t"), "x")])
        };
        assert_eq!(dag, expected);
        assert_eq!(
            (dag.tasks[0].pool.as_str(), dag.tasks[0].pool_slots, dag.tasks[0].queue.as_str()),
            ("default_pool", 1, "default")
        );
    }

    #[test]
    fn what_is_as_airflow_has_it_takes_no_space() {
        let task = serde_json::to_value(Task::new(TaskId::trusted("t"), "x")).unwrap();
        assert!(
            ["pool", "queue", "sensor", "callbacks", "inlets", "other"].iter().all(|key| task.get(key).is_none()),
            "{task}"
        );
    }
}
