//! What a DAG and its tasks carry beside their shape: groups, assets, callbacks, and the settings of sensors, mapping and
//! templates.

use crate::ids::TaskId;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The class by which an argument that is the value of another task is told from a mapping: `{__type__, task_id, key}`.
pub const XCOM_ARG: &str = "airflow.sdk.XComArg";

/// The class by which an argument that is one of the mapped group's around the task is told from a mapping: `{__type__, key}`.
pub const MAPPED_ARGUMENT: &str = "airflow.sdk.MappedArgument";

/// The pool of a task that names none.
pub const POOL_DEFAULT: &str = "default_pool";

/// The queue of a task that names none.
pub const QUEUE_DEFAULT: &str = "default";

/// Airflow's default for a sensor's `poke_interval`.
pub const POKE_INTERVAL_DEFAULT: SignedDuration = SignedDuration::from_secs(60);

/// Airflow's default for a sensor's `timeout`: seven days.
pub const SENSOR_TIMEOUT_DEFAULT: SignedDuration = SignedDuration::from_secs(7 * 86_400);

/// A task group: a name around tasks, and perhaps a prefix of their ids. Dependencies of groups are resolved to edges
/// between tasks when the file is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskGroup {
    /// Unique in the DAG, with the prefixes of the groups around it.
    pub group_id: String,
    /// The group around it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether the ids inside begin with the group's.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub prefix_group_id: bool,
    /// Shown when pointed at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tooltip: String,
    /// Shown instead of the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_display_name: Option<String>,
    /// Background in the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_color: Option<String>,
    /// Foreground in the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui_fgcolor: Option<String>,
    /// What its tasks take where they say nothing themselves, as understood.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub default_args: Map<String, Value>,
    /// What it is expanded over when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
}

/// A named piece of data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asset {
    /// Its name; the URI where none was given.
    pub name: String,
    /// Where it is.
    pub uri: String,
    /// A word that sorts assets; Airflow's default is `asset`.
    #[serde(default = "asset", skip_serializing_if = "is_asset")]
    pub group: String,
    /// What else was said about it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
    /// What waits for outside events that touch it: typed values as written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watchers: Vec<Value>,
}

impl Asset {
    /// An asset that is known by its URI alone.
    pub fn of_uri(uri: impl Into<String>) -> Self {
        let uri = uri.into();
        Self { name: uri.clone(), uri, group: asset(), extra: Map::new(), watchers: Vec::new() }
    }
}

/// What a schedule waits for, or a task reads (`inlets`) or writes (`outlets`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetRef {
    /// An asset itself.
    Asset(Asset),
    /// A name to which tasks tie assets when they run.
    Alias {
        /// The alias.
        name: String,
    },
    /// An asset that is defined elsewhere, by its name.
    Name(String),
    /// An asset that is defined elsewhere, by its URI.
    Uri(String),
}

/// Which updates of assets make a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssetCondition {
    /// An update of this one.
    Of(AssetRef),
    /// Updates of all of these.
    All(Vec<AssetCondition>),
    /// An update of any of these.
    Any(Vec<AssetCondition>),
}

/// When a callback is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum CallbackKind {
    /// Before the task runs.
    #[serde(rename = "on_execute_callback")]
    Execute,
    /// The task, or the run, has succeeded.
    #[serde(rename = "on_success_callback")]
    Success,
    /// The task, or the run, has failed for good.
    #[serde(rename = "on_failure_callback")]
    Failure,
    /// The task will be tried again.
    #[serde(rename = "on_retry_callback")]
    Retry,
    /// The task has skipped itself.
    #[serde(rename = "on_skipped_callback")]
    Skipped,
    /// A promise on time was missed; gone in Airflow 3.1.
    #[serde(rename = "sla_miss_callback")]
    SlaMiss,
}

impl CallbackKind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Execute, Self::Success, Self::Failure, Self::Retry, Self::Skipped, Self::SlaMiss];

    /// The key by which a file sets it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Execute => "on_execute_callback",
            Self::Success => "on_success_callback",
            Self::Failure => "on_failure_callback",
            Self::Retry => "on_retry_callback",
            Self::Skipped => "on_skipped_callback",
            Self::SlaMiss => "sla_miss_callback",
        }
    }
}

/// A Python function, or a notifier class, that is called when something has happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Callback {
    /// A dotted path, or with `file` the function's name alone.
    pub callback: String,
    /// The Python file that holds the function, relative to the DAG folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its arguments beside the context.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}

/// Callbacks by their occasion, in the order in which they are called.
pub type Callbacks = BTreeMap<CallbackKind, Vec<Callback>>;

/// A promise on the time of a run: a callback is called where the run has not succeeded when it is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deadline {
    /// What it counts from.
    pub reference: DeadlineReference,
    /// How long; before it where negative.
    pub interval: SignedDuration,
    /// What is called.
    pub callback: Callback,
}

/// What a deadline counts from, after Airflow's `DeadlineReference`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeadlineReference {
    /// The run's logical date; a run without one has no such deadline.
    DagrunLogicalDate,
    /// When the run was created.
    DagrunQueuedAt,
    /// This instant.
    FixedDatetime(Timestamp),
    /// When the run was created, and how long runs before it have taken on average.
    AverageRuntime {
        /// So many of the latest runs that have ended count.
        max_runs: u32,
        /// Of fewer there is no average, and the run has no such deadline.
        min_runs: u32,
    },
}

impl Deadline {
    /// When a run misses it, in whole milliseconds. `average`: what runs before it took, where it counts from that.
    pub fn of(
        &self,
        logical_date: Option<Timestamp>,
        queued_at: Timestamp,
        average: Option<SignedDuration>,
    ) -> Option<Timestamp> {
        let from = match self.reference {
            DeadlineReference::DagrunLogicalDate => logical_date?,
            DeadlineReference::DagrunQueuedAt => queued_at,
            DeadlineReference::FixedDatetime(at) => at,
            DeadlineReference::AverageRuntime { .. } => queued_at.saturating_add(average?).ok()?,
        };
        let at = from.saturating_add(self.interval).ok()?;
        Timestamp::from_millisecond(at.as_millisecond()).ok()
    }
}

/// How a sensor waits between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SensorMode {
    /// In its process.
    #[default]
    Poke,
    /// Without one: it ends and is started again.
    Reschedule,
}

/// The arguments that all sensors share, after Airflow's `BaseSensorOperator`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SensorSettings {
    /// How it waits.
    #[serde(default)]
    pub mode: SensorMode,
    /// The time between two looks, before backoff.
    pub poke_interval: SignedDuration,
    /// From the first look on; then it fails without a retry, or is skipped.
    pub timeout: SignedDuration,
    /// Skipped instead of failed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub soft_fail: bool,
    /// Whether the time between looks doubles.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exponential_backoff: bool,
    /// The longest time between two looks with backoff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_wait: Option<SignedDuration>,
    /// An error in a look counts as "not yet", except a failure that says it is final.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent_fail: bool,
    /// An error in a look skips the task.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_fail: bool,
}

impl Default for SensorSettings {
    fn default() -> Self {
        Self {
            mode: SensorMode::Poke,
            poke_interval: POKE_INTERVAL_DEFAULT,
            timeout: SENSOR_TIMEOUT_DEFAULT,
            soft_fail: false,
            exponential_backoff: false,
            max_wait: None,
            silent_fail: false,
            never_fail: false,
        }
    }
}

/// What one argument of a mapped task goes through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpandInput {
    /// A list or mapping of the file.
    Literal(Value),
    /// What an upstream task returns, or stored under `key`.
    XCom {
        /// The upstream task.
        task_id: TaskId,
        /// `return_value`, or a key of its own.
        key: String,
    },
    /// The items of several side by side, as Python's `zip` or, with `fillvalue`, as `itertools.zip_longest`.
    Zip {
        /// The several.
        of: Vec<ExpandInput>,
        /// What stands for the items of those that are shorter; none: the shortest says how many there are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fillvalue: Option<Value>,
    },
    /// The items of several, one after the other.
    Concat(Vec<ExpandInput>),
    /// Each item after a Python function.
    Map {
        /// The items.
        of: Box<ExpandInput>,
        /// The function: `python_callable`, or `python_callable_name` and `python_callable_file`.
        function: Map<String, Value>,
    },
}

/// An item of a list; of a mapping, a key with its value. Null where there is none.
pub fn item_of(value: &Value, item: u64) -> Value {
    let item = usize::try_from(item).unwrap_or(usize::MAX);
    match value {
        Value::Array(items) => items.get(item).cloned().unwrap_or_default(),
        Value::Object(entries) => {
            let pair = |(key, value): (&String, &Value)| Value::Array(vec![key.as_str().into(), value.clone()]);
            entries.iter().nth(item).map_or(Value::Null, pair)
        }
        _ => Value::Null,
    }
}

impl ExpandInput {
    /// The tasks whose values it takes.
    pub fn sources(&self) -> Vec<&TaskId> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::XCom { task_id, .. } => vec![task_id],
            Self::Zip { of, .. } | Self::Concat(of) => of.iter().flat_map(Self::sources).collect(),
            Self::Map { of, .. } => of.sources(),
        }
    }

    /// How many items it has, given how many each task's value has; none while that is not known.
    pub fn length(&self, of_task: &impl Fn(&TaskId) -> Option<u32>) -> Option<u64> {
        match self {
            Self::Literal(Value::Array(items)) => Some(items.len() as u64),
            Self::Literal(Value::Object(entries)) => Some(entries.len() as u64),
            Self::Literal(_) => Some(0),
            Self::XCom { task_id, .. } => of_task(task_id).map(u64::from),
            Self::Zip { of, fillvalue } => {
                let lengths: Vec<u64> = of.iter().map(|input| input.length(of_task)).collect::<Option<_>>()?;
                let length = if fillvalue.is_some() { lengths.iter().max() } else { lengths.iter().min() };
                Some(length.copied().unwrap_or(0))
            }
            Self::Concat(of) => of.iter().map(|input| input.length(of_task)).sum(),
            Self::Map { of, .. } => of.length(of_task),
        }
    }

    /// Whether it is a literal of the file: its items may hold templates, as those of other arguments.
    pub fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }
}

/// A task or a group that becomes several when it runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Mapping {
    /// The arguments it is expanded over, in their order: the last one varies fastest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expand: Vec<(String, ExpandInput)>,
    /// Instead of `expand`: each item is a mapping of arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand_kwargs: Option<ExpandInput>,
    /// The names of the arguments given under `partial`; their values are among the task's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<String>,
}

impl Mapping {
    /// What it is expanded over.
    pub fn inputs(&self) -> impl Iterator<Item = &ExpandInput> {
        self.expand.iter().map(|(_, input)| input).chain(&self.expand_kwargs)
    }

    /// How many instances there are: the product over all inputs. None while that is not known. At most [`u32::MAX`].
    pub fn count(&self, of_task: &impl Fn(&TaskId) -> Option<u32>) -> Option<u32> {
        let lengths: Option<Vec<u64>> = self.inputs().map(|input| input.length(of_task)).collect();
        let product = lengths?.into_iter().fold(1u64, u64::saturating_mul);
        Some(u32::try_from(product).unwrap_or(u32::MAX))
    }

    /// Which item of each input makes an instance: the last input varies fastest. None where the lengths are not known, or there is no
    /// such instance.
    pub fn items(&self, map_index: u32, of_task: &impl Fn(&TaskId) -> Option<u32>) -> Option<Vec<u64>> {
        let mut left = u64::from(map_index);
        let mut items = Vec::new();
        for input in self.inputs().collect::<Vec<_>>().into_iter().rev() {
            let length = input.length(of_task)?;
            items.push(left.checked_rem(length)?);
            left /= length;
        }
        items.reverse();
        (left == 0).then_some(items)
    }
}

/// How the templates of a DAG are read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TemplateSettings {
    /// The class that stands for a name nobody set, as written: `jinja2.StrictUndefined` or another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// Folders in which template files are looked for, relative to the DAG folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub searchpath: Vec<String>,
    /// Names that templates may use: dotted paths of Python functions, or plain values; mappings nest.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub macros: Map<String, Value>,
    /// Filters that templates may use, in the same form.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub filters: Map<String, Value>,
    /// Other arguments of Jinja's environment.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub environment: Map<String, Value>,
}

impl TemplateSettings {
    /// Whether nothing was set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_true(value: &bool) -> bool {
    *value
}

fn asset() -> String {
    "asset".to_owned()
}

fn is_asset(group: &String) -> bool {
    group == "asset"
}
