//! What the caller provides: where output goes, and where XComs come from.

use std::future::Future;
use std::io;

use serde_json::Value;

/// Where an attempt's output goes.
pub trait LogSink: Send {
    /// Takes the next piece of output: valid UTF-8 (other bytes were replaced), up to 64 KiB, as soon as it was read; it need not end at
    /// the end of a line. Taking time here slows the task down, as a full pipe does. After an error the attempt goes on.
    fn write(&mut self, chunk: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

impl LogSink for Vec<u8> {
    async fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.extend_from_slice(chunk);
        Ok(())
    }
}

/// XComs could not be read; raised in the Python callable as a `RuntimeError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("XComs could not be read: {0}")]
pub struct XComError(
    /// Why.
    pub String,
);

/// Where the XComs of the attempt's run are read, when a Python callable pulls them.
pub trait XComSource: Send + Sync {
    /// One answer for each task id, in order: the value that this task (unmapped; a list for a mapped one) pushed under `key` in this run.
    fn pull(
        &self,
        task_ids: Vec<String>,
        key: String,
    ) -> impl Future<Output = Result<Vec<Option<Value>>, XComError>> + Send;
}

/// A source without any XCom.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoXComs;

impl XComSource for NoXComs {
    async fn pull(&self, task_ids: Vec<String>, _key: String) -> Result<Vec<Option<Value>>, XComError> {
        Ok(vec![None; task_ids.len()])
    }
}
