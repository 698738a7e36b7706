//! What an operator may ask for besides its arguments.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use updraft_execution::{AttemptSpec, Cancel, Report};
use updraft_model::{Connection, DagDoc, DagId, Incarnation, RunDoc, VersionId};
use updraft_service::engine::Version;
use updraft_service::{Error, Origin, Trigger, Work};

use crate::attempt::Ended;
use crate::log::Log;

/// The world as operators see it. The runner is one; tests have others.
pub(crate) trait Services: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;

    /// Waits.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;

    /// Runs a process and returns what came of it.
    fn process(
        &self,
        work: &Work,
        spec: &AttemptSpec,
        log: &mut Log,
        cancel: Cancel,
    ) -> impl Future<Output = Report> + Send;

    /// Renders one more template of the attempt's operator; what must not appear in logs is added to `secrets`.
    fn rendered_text(
        &self,
        work: &Work,
        params: &Value,
        text: String,
        secrets: &mut Vec<String>,
    ) -> impl Future<Output = Result<Value, Ended>> + Send;

    /// The Python interpreter of callables: a path, or a name to look up.
    fn python(&self) -> String;

    /// A folder of the attempt's own, removed when it is dropped.
    fn scratch(&self) -> std::io::Result<tempfile::TempDir>;

    /// The folders in which Python looks for the task's modules, the version's own files first.
    fn search_path(&self, work: &Work) -> impl Future<Output = Result<Vec<PathBuf>, Error>> + Send;

    /// A connection; none where there is none of this id.
    fn connection(&self, conn_id: &str) -> impl Future<Output = Result<Option<Connection>, Error>> + Send;

    /// What the attempt before this one of the same try left for it.
    fn handover(&self, work: &Work) -> impl Future<Output = Result<Option<Value>, Error>> + Send;

    /// A DAG's document.
    fn dag(&self, dag_id: &DagId) -> impl Future<Output = Result<Option<DagDoc>, Error>> + Send;

    /// A version of a DAG.
    fn version(&self, id: &VersionId) -> impl Future<Output = Result<Arc<Version>, Error>> + Send;

    /// A run by its identity.
    fn run(&self, incarnation: &Incarnation) -> impl Future<Output = Result<Option<RunDoc>, Error>> + Send;

    /// A run of a DAG by its id.
    fn run_of_id(&self, dag_id: &DagId, run_id: &str) -> impl Future<Output = Result<Option<RunDoc>, Error>> + Send;

    /// The run of a DAG that stands for an instant.
    fn run_of_date(&self, dag_id: &DagId, at: Timestamp) -> impl Future<Output = Result<Option<RunDoc>, Error>> + Send;

    /// Creates a run.
    fn trigger(&self, trigger: Trigger, origin: &Origin) -> impl Future<Output = Result<RunDoc, Error>> + Send;

    /// Clears every task of a run, so that it runs again.
    fn clear_run(&self, run: &RunDoc) -> impl Future<Output = Result<RunDoc, Error>> + Send;

    /// Draws an id of so many characters.
    fn draw(&self, length: usize) -> String;
}
