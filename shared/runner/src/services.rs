//! What an operator may ask for besides its arguments.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use updraft_execution::{AttemptSpec, Cancel, Report};
use updraft_model::Connection;
use updraft_service::{Error, Work};

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

    /// The folders in which Python looks for the task's modules, the version's own files first.
    fn search_path(&self, work: &Work) -> impl Future<Output = Result<Vec<PathBuf>, Error>> + Send;

    /// A connection; none where there is none of this id.
    fn connection(&self, conn_id: &str) -> impl Future<Output = Result<Option<Connection>, Error>> + Send;
}
