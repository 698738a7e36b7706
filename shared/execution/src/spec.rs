//! What to run: plain data, rendered and validated by the caller.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// One attempt of one task instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptSpec {
    /// The DAG's id.
    pub dag_id: String,
    /// The task's id, with the ids of its groups before it.
    pub task_id: String,
    /// The DagRun's id.
    pub run_id: String,
    /// The number of this try, from 1.
    pub try_number: u32,
    /// The number of retries that the task instance may have had at most, as `ti.max_tries` shows it.
    #[serde(default)]
    pub max_tries: u32,
    /// Which of a mapped task's instances this is; nothing for a task that is not mapped (Airflow's -1).
    #[serde(default)]
    pub map_index: Option<u32>,
    /// The id of the try, the same for all its attempts: Airflow's `ti.id`, and the idempotency key for services.
    #[serde(default)]
    pub task_instance_id: Option<String>,
    /// What the process may learn about its run.
    #[serde(default)]
    pub context: RunContext,
    /// What to run.
    pub operator: OperatorCall,
    /// How long the process may run; nothing for ever.
    #[serde(default)]
    pub execution_timeout: Option<Duration>,
    /// The task's timeout, where part of it was over before the process began: what is said when it has passed.
    #[serde(default)]
    pub whole_timeout: Option<Duration>,
    /// Whether the operator judges how the process ended, as a sensor does: an exit code is then no failure by itself.
    #[serde(default)]
    pub is_judged: bool,
    /// Whether the operator's result is reported as the XCom `return_value`.
    #[serde(default = "yes")]
    pub do_xcom_push: bool,
    /// Whether each entry of a returned map is an XCom of its own besides.
    #[serde(default)]
    pub multiple_outputs: bool,
    /// Whether it is so too where a Python callable is annotated to return a mapping.
    #[serde(default)]
    pub multiple_outputs_as_annotated: bool,
    /// Whether what a Python callable puts into its context is reported: names of mapped instances are made of it.
    #[serde(default)]
    pub wants_context: bool,
    /// How long processes that are asked to end (SIGTERM) may take before they are killed (SIGKILL).
    #[serde(default = "default_kill_grace")]
    pub kill_grace: Duration,
    /// Values that are written as `***` wherever they come up in the log or in the outcome's message. Those of less than 5 characters are
    /// left alone, as in Airflow: they would hit ordinary words. Never written to a store with the spec.
    #[serde(skip)]
    pub secrets: Vec<String>,
}

/// The run that an attempt belongs to, as its process sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunContext {
    /// Airflow's logical date; a run triggered without one has none, and then `ds` and its like are absent.
    pub logical_date: Option<Timestamp>,
    /// The start of the data interval.
    pub data_interval_start: Option<Timestamp>,
    /// The end of the data interval.
    pub data_interval_end: Option<Timestamp>,
    /// The earliest instant at which the run may start.
    pub run_after: Option<Timestamp>,
    /// When the run started.
    pub run_start_date: Option<Timestamp>,
    /// When this attempt started.
    pub start_date: Option<Timestamp>,
    /// `scheduled`, `manual`, `backfill` or `asset_triggered`.
    pub run_type: String,
    /// What the run was triggered with.
    pub conf: Map<String, Value>,
    /// The task's params, the run's conf already merged in.
    pub params: Map<String, Value>,
    /// The task's owner.
    pub owner: String,
    /// The task's inlets and outlets, and the asset events that made the run.
    pub assets: AssetContext,
    /// Further names for a Python callable's context, `var` for instance; these win over the ones computed here.
    pub extra: Map<String, Value>,
}

/// What a process may learn about assets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AssetContext {
    /// What the task reads: `{kind, name, uri, group, extra}`.
    pub inlets: Vec<Value>,
    /// What it writes, likewise.
    pub outlets: Vec<Value>,
    /// The events that made the run: `{asset, extra, timestamp, aliases, source_dag_id, source_task_id, source_run_id, source_map_index,
    /// source_dag_run}`.
    pub triggering: Vec<Value>,
}

/// What an operator runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "operator", rename_all = "snake_case")]
pub enum OperatorCall {
    /// Nothing: succeeds without a process.
    Empty,
    /// A command line, as Airflow's BashOperator runs it.
    Bash(BashCall),
    /// A Python callable, as Airflow's PythonOperator runs it, in a process of its own.
    Python(PythonCall),
}

/// The arguments of Airflow's BashOperator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BashCall {
    /// The text given to `bash -c`.
    pub bash_command: String,
    /// The command's environment; without one it is the server's, less what starts with `UPDRAFT_`.
    #[serde(default)]
    pub env: Option<BTreeMap<String, String>>,
    /// Whether `env` is added to the server's environment instead of replacing it.
    #[serde(default)]
    pub append_env: bool,
    /// The working directory, which must exist; without one a temporary directory that is removed afterwards.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Exit codes that mean `skipped`.
    #[serde(default = "default_skip_codes")]
    pub skip_on_exit_code: Vec<i32>,
}

impl BashCall {
    /// A call of `bash_command` with Airflow's defaults for everything else.
    pub fn new(bash_command: impl Into<String>) -> Self {
        Self {
            bash_command: bash_command.into(),
            env: None,
            append_env: false,
            cwd: None,
            skip_on_exit_code: default_skip_codes(),
        }
    }
}

/// The arguments of Airflow's PythonOperator; make one by [`PythonCall::new`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PythonCall {
    /// What to call.
    pub callable: Callable,
    /// Positional arguments that JSON lacks words for, before `op_args`: tagged as XComs are (`{"__type": "datetime", "__var": ..}`), and
    /// besides `http_response` with what [`http_response`] takes, an object that looks like the one of Python's `requests`.
    #[serde(default)]
    pub native_args: Vec<Value>,
    /// Positional arguments.
    #[serde(default)]
    pub op_args: Vec<Value>,
    /// Keyword arguments; these win over the context's names.
    #[serde(default)]
    pub op_kwargs: Map<String, Value>,
    /// Handed to the callable as `templates_dict`, if given.
    #[serde(default)]
    pub templates_dict: Option<Map<String, Value>>,
    /// Directories added to the end of `sys.path`, where Airflow adds its DAG folder: a file there hides no module of Python's own.
    #[serde(default)]
    pub search_path: Vec<PathBuf>,
    /// The working directory, which must exist; without one a temporary directory that is removed afterwards.
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    /// Whether the callable gets a Python interpreter that was started for it alone, instead of one that was forked.
    #[serde(default)]
    pub fresh: bool,
    /// Whether [`Report::returned`](crate::Report) is asked for.
    #[serde(default)]
    pub wants_value: bool,
    /// Whether a keyword argument that the callable does not have fails it, as one of a decorated function does. Else it is left out.
    #[serde(default)]
    pub strict: bool,
    /// How it is called.
    #[serde(default)]
    pub style: CallStyle,
    /// What is different where it is called in an interpreter of its own.
    #[serde(default)]
    pub own: Option<Box<OwnPython>>,
}

/// An interpreter of a callable's own, which gets a process of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnPython {
    /// The interpreter, a path or a name to look up in `PATH`.
    pub interpreter: String,
    /// Environment variables of the process, beside the server's.
    pub env: Option<BTreeMap<String, String>>,
    /// Whether `env` replaces the server's environment instead of being added to it.
    pub only_env: bool,
    /// Exit codes of the process that mean `skipped`.
    pub skip_on_exit_code: Vec<i32>,
    /// What the callable's module has under the name `virtualenv_string_args`, if given.
    pub string_args: Option<Vec<String>>,
}

impl PythonCall {
    /// A call without arguments.
    pub fn new(callable: Callable) -> Self {
        Self {
            callable,
            native_args: Vec::new(),
            op_args: Vec::new(),
            op_kwargs: Map::new(),
            templates_dict: None,
            search_path: Vec::new(),
            cwd: None,
            fresh: false,
            wants_value: false,
            strict: false,
            style: CallStyle::Task,
            own: None,
        }
    }
}

/// The answer of a web server as one of a [`PythonCall`]'s `native_args`: `status_code`, `reason`, `url`, `headers`, `text`, `content`, `ok`,
/// `json()`, `raise_for_status()` and `elapsed` are there, as Python's `requests` has them.
pub fn http_response(
    status_code: u16,
    reason: &str,
    url: &str,
    headers: &BTreeMap<String, String>,
    text: &str,
    elapsed: Duration,
) -> Value {
    json!({
        "__type": "http_response",
        "__var": {
            "status_code": status_code,
            "reason": reason,
            "url": url,
            "headers": headers,
            "text": text,
            "elapsed": elapsed.as_secs_f64(),
        },
    })
}

/// How a Python callable is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStyle {
    /// As a task's: with what it names of its arguments and the context.
    #[default]
    Task,
    /// As Airflow calls callbacks: with the context, and its keyword arguments. Of a notifier class an instance is made of these, which is
    /// called with the context.
    Callback,
    /// As Airflow calls a deadline's: with its keyword arguments, and the context as one of them where it names it.
    Deadline,
}

/// Where a Python callable is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Callable {
    /// `package.module.function`, found through `sys.path`.
    Import(String),
    /// A function by its name in a file of its own; the file's directory is put into `sys.path`.
    File {
        /// The file; relative paths are resolved against the server's working directory.
        path: PathBuf,
        /// The function's name in it.
        name: String,
    },
}

fn yes() -> bool {
    true
}

/// Airflow's default, 60 s, would hold a worker that is being drained for too long.
pub(crate) fn default_kill_grace() -> Duration {
    Duration::from_secs(5)
}

fn default_skip_codes() -> Vec<i32> {
    vec![99]
}

impl AttemptSpec {
    /// An attempt with the defaults: first try, no timeout, nothing known about the run.
    pub fn new(
        dag_id: impl Into<String>,
        task_id: impl Into<String>,
        run_id: impl Into<String>,
        operator: OperatorCall,
    ) -> Self {
        Self {
            dag_id: dag_id.into(),
            task_id: task_id.into(),
            run_id: run_id.into(),
            try_number: 1,
            max_tries: 0,
            map_index: None,
            task_instance_id: None,
            context: RunContext::default(),
            operator,
            execution_timeout: None,
            whole_timeout: None,
            is_judged: false,
            do_xcom_push: true,
            multiple_outputs: false,
            multiple_outputs_as_annotated: false,
            wants_context: false,
            kill_grace: default_kill_grace(),
            secrets: Vec::new(),
        }
    }
}
