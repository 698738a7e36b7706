//! What the caller provides: where output goes, and where XComs, variables and connections come from.

use std::future::Future;
use std::io;

use serde_json::Value;
use updraft_model::{Connection, Topic};

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

/// Something could not be looked up; raised in the Python callable as a `RuntimeError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LookupError(
    /// What, and why.
    pub String,
);

/// What a Python callable asks for while it runs: the XComs of its run, variables and connections.
pub trait Lookups: Send + Sync {
    /// One answer for each task id, in order: the value that this task (unmapped; a list for a mapped one) pushed under `key` in this run.
    fn pull(
        &self,
        task_ids: Vec<String>,
        key: String,
    ) -> impl Future<Output = Result<Vec<Option<Value>>, LookupError>> + Send;

    /// For each task id, in order: what instances of it pushed under `key`, by map index, of those named; -1 is a task that is not mapped.
    fn pull_instances(
        &self,
        task_ids: Vec<String>,
        map_indexes: Vec<i64>,
        key: String,
    ) -> impl Future<Output = Result<Vec<Vec<(i64, Value)>>, LookupError>> + Send {
        async move {
            if map_indexes.iter().any(|map_index| *map_index != -1) {
                return Err(LookupError(format!("the XCom `{key}`: tasks that run here have no mapped instances")));
            }
            let found = self.pull(task_ids, key).await?;
            Ok(found.into_iter().map(|value| value.map(|value| (-1, value)).into_iter().collect()).collect())
        }
    }

    /// The text of a variable, if there is one of this name. If the name is one that Airflow takes for a secret's, the text is masked in the log.
    fn variable(&self, key: String) -> impl Future<Output = Result<Option<String>, LookupError>> + Send {
        async move { Err(LookupError(format!("variable `{key}`: tasks that run here have no variables"))) }
    }

    /// A connection, if there is one of this id. Its password is masked in the log, and what Airflow takes for secrets in its `extra`.
    fn connection(&self, conn_id: String) -> impl Future<Output = Result<Option<Connection>, LookupError>> + Send {
        async move { Err(LookupError(format!("connection `{conn_id}`: tasks that run here have no connections"))) }
    }

    /// The last events of an asset or an alias, in order, as a callable's `inlet_events` shows them.
    fn asset_events(&self, topic: Topic) -> impl Future<Output = Result<Vec<Value>, LookupError>> + Send {
        async move { Err(LookupError(format!("`{}`: tasks that run here have no asset events", topic.name()))) }
    }
}

/// Lookups that find nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLookups;

impl Lookups for NoLookups {
    async fn pull(&self, task_ids: Vec<String>, _key: String) -> Result<Vec<Option<Value>>, LookupError> {
        Ok(vec![None; task_ids.len()])
    }
}
