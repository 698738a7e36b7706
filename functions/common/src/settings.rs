//! Every environment variable that functions read, once. `infra/template.yaml` sets them.

use crate::{metrics, traces};
use std::path::PathBuf;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// Name of the DynamoDB table.
pub const TABLE: &str = "UPDRAFT_TABLE";
/// Name of the bucket with DAG files, logs and large values.
pub const BUCKET: &str = "UPDRAFT_BUCKET";
/// URL of the queue that workers are fed from.
pub const TASK_QUEUE_URL: &str = "UPDRAFT_TASK_QUEUE_URL";
/// URL of the queue that workers with Python are fed from; not set: they are fed from the other one.
pub const PYTHON_QUEUE_URL: &str = "UPDRAFT_PYTHON_QUEUE_URL";
/// What kind of worker a function is: `python`, or `plain`, which need not be said.
pub const WORKER: &str = "UPDRAFT_WORKER";
/// For how many days history is kept.
pub const HISTORY_DAYS: &str = "UPDRAFT_HISTORY_DAYS";
/// URL of the queue that the scheduler is fed from.
pub const SCHEDULER_QUEUE_URL: &str = "UPDRAFT_SCHEDULER_QUEUE_URL";
/// What is logged, as `tracing` filters are written; `info` if not set.
pub const LOG: &str = "RUST_LOG";
/// Whether figures are logged for CloudWatch's metrics: `true`, or not.
pub const METRICS: &str = "UPDRAFT_METRICS";
/// The log stream of this function instance, set by Lambda: where people find what an attempt's worker said.
pub const LOG_STREAM: &str = "AWS_LAMBDA_LOG_STREAM_NAME";

/// A variable is missing or unusable; the function cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not set, or empty.
    #[error(
        "the environment variable `{0}` is not set; deploy the function with `infra/deploy`, whose template sets it"
    )]
    Missing(&'static str),
    /// Set to no kind of worker.
    #[error("the environment variable `{WORKER}` is `{0}`; write `plain` or `python`")]
    Worker(String),
    /// Traces cannot be as the environment asks for them.
    #[error("{0}")]
    Traces(String),
    /// Set to what cannot be used.
    #[error(
        "the environment variable `{name}` is no filter for logs: {why}; use `info`, or `warn,updraft_service=debug`"
    )]
    Filter {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// Where a function finds what it works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The metastore's table.
    pub table: String,
    /// The bucket.
    pub bucket: String,
    /// The workers' queue.
    pub task_queue_url: String,
    /// The queue of workers with Python, where they have one.
    pub python_queue_url: Option<String>,
    /// Whether this function is a worker with Python.
    pub has_python: bool,
    /// The scheduler's queue.
    pub scheduler_queue_url: String,
    /// For how many days history is kept, as it was written; empty: for ever.
    pub history_days: String,
    /// Where this function runs, for people.
    pub hostname: String,
    /// The one directory that a function may write to: what it can do without after its end.
    pub scratch: PathBuf,
}

impl Environment {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// If a variable is missing.
    pub fn read() -> Result<Self, Error> {
        Self::from(|name| std::env::var(name).ok())
    }

    fn from(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let needed = |name: &'static str| set(name).ok_or(Error::Missing(name));
        Ok(Self {
            table: needed(TABLE)?,
            bucket: needed(BUCKET)?,
            task_queue_url: needed(TASK_QUEUE_URL)?,
            python_queue_url: set(PYTHON_QUEUE_URL),
            has_python: match set(WORKER).as_deref() {
                None | Some("plain") => false,
                Some("python") => true,
                Some(other) => return Err(Error::Worker(other.to_owned())),
            },
            scheduler_queue_url: needed(SCHEDULER_QUEUE_URL)?,
            history_days: set(HISTORY_DAYS).unwrap_or_default(),
            hostname: set(LOG_STREAM).unwrap_or_else(|| "lambda".to_owned()),
            scratch: std::env::temp_dir().join("updraft"),
        })
    }
}

/// Logs as JSON on standard output, one object for each line, as CloudWatch's queries want them. CloudWatch notes the time.
///
/// # Errors
/// If `RUST_LOG` is no filter.
pub fn log_as_json() -> Result<(), Error> {
    let wanted = std::env::var(LOG).unwrap_or_else(|_| "info".to_owned());
    let filter = EnvFilter::try_new(&wanted).map_err(|e| Error::Filter { name: LOG, why: e.to_string() })?;
    let ours = tracing_subscriber::fmt::layer().json().flatten_event(true).with_span_list(false).without_time();
    // Figures and spans go their own ways: no filter for logs keeps them back, and none of them is logged twice.
    let is_figure = |metadata: &tracing::Metadata<'_>| metadata.target() == metrics::TARGET;
    let is_told = move |metadata: &tracing::Metadata<'_>| is_figure(metadata) || metadata.target() == traces::TARGET;
    let lines = ours.with_filter(filter).with_filter(filter_fn(move |metadata| !is_told(metadata)));
    let wanted = std::env::var(METRICS).is_ok_and(|value| value == "true");
    let table = std::env::var(TABLE).unwrap_or_default();
    let figures = wanted.then(|| metrics::Embedded::new(table).with_filter(filter_fn(is_figure)));
    let spans = traces::layer().map_err(Error::Traces)?;
    tracing_subscriber::registry().with(lines).with(figures).with(spans).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: [&str; 4] = [TABLE, BUCKET, TASK_QUEUE_URL, SCHEDULER_QUEUE_URL];

    #[test]
    fn every_variable_is_needed_and_named_when_it_is_missing() {
        let value = |name: &str| Some(if name == WORKER { "python".to_owned() } else { format!("value of {name}") });
        let whole = Environment::from(value).unwrap();
        assert_eq!(whole.table, "value of UPDRAFT_TABLE");
        assert_eq!(whole.python_queue_url.as_deref(), Some("value of UPDRAFT_PYTHON_QUEUE_URL"));
        assert!(whole.has_python);
        assert_eq!(whole.scheduler_queue_url, "value of UPDRAFT_SCHEDULER_QUEUE_URL");
        assert_eq!(whole.hostname, "value of AWS_LAMBDA_LOG_STREAM_NAME");
        for missing in NEEDED {
            let without = |name: &str| (name != WORKER).then(|| if name == missing { "" } else { "x" }.to_owned());
            assert_eq!(Environment::from(without), Err(Error::Missing(missing)));
        }
    }

    #[test]
    fn a_function_needs_no_log_stream() {
        let some = |name: &str| NEEDED.contains(&name).then(|| "x".to_owned());
        let least = Environment::from(some).unwrap();
        assert_eq!((least.hostname.as_str(), least.python_queue_url, least.has_python), ("lambda", None, false));
    }

    #[test]
    fn an_unknown_kind_of_worker_is_no_worker() {
        let odd = |name: &str| Some(if name == WORKER { "ruby" } else { "x" }.to_owned());
        assert_eq!(Environment::from(odd), Err(Error::Worker("ruby".to_owned())));
    }
}
