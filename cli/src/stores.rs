//! The adapters behind one type each, so that commands are written once for both roads.

use crate::messages::Messages;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use updraft_dag_store::{DagStore, File, FileEntry};
use updraft_log_store::LogStore;
use updraft_metastore::{Condition, Due, Item, Items, Key, Outcome, Range, Update};
use updraft_metastore_embedded::Embedded;
use updraft_task_queue::{Delivery, Lane, Outgoing, TaskQueue};

/// Calls a method on whichever adapter it is.
macro_rules! either {
    ($self:ident, $this:ident => $call:expr) => {
        match $self {
            Self::Embedded($this) => $call,
            #[cfg(feature = "aws")]
            Self::DynamoDb($this) => $call,
        }
    };
}

/// Where items are.
#[derive(Debug)]
pub(crate) enum Store {
    /// In a file.
    Embedded(Arc<Embedded>),
    /// In a table.
    #[cfg(feature = "aws")]
    DynamoDb(updraft_metastore_dynamodb::DynamoDb),
}

type Result<T> = std::result::Result<T, updraft_metastore::Error>;

impl Items for Store {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>> {
        either!(self, store => store.update(update).await)
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>> {
        either!(self, store => store.put_new(key, item).await)
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<()> {
        either!(self, store => store.put(key, item).await)
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>> {
        either!(self, store => store.delete(key, conditions).await)
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>> {
        either!(self, store => store.get(key).await)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>> {
        either!(self, store => store.get_many(keys).await)
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>> {
        either!(self, store => store.query(range).await)
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>> {
        either!(self, store => store.due(until, limit).await)
    }
}

/// Who is told where to look.
#[derive(Debug)]
pub(crate) enum Queue {
    /// Nobody: a deployment notices by itself, at the latest at its next sweep.
    Silent,
    /// The server of this home, if one runs.
    Left(Messages),
    /// The queues of a deployment.
    #[cfg(feature = "aws")]
    Sqs(updraft_task_queue_sqs::Sqs),
}

impl TaskQueue for Queue {
    async fn send(&self, messages: &[Outgoing]) -> std::result::Result<(), updraft_task_queue::Error> {
        match self {
            Self::Silent => {
                tracing::debug!(count = messages.len(), "nobody is told; the sweep finds it");
                Ok(())
            }
            Self::Left(left) => {
                left.leave(messages).await.map_err(|error| updraft_task_queue::Error(error.to_string()))
            }
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.send(messages).await,
        }
    }

    async fn receive(
        &self,
        lane: Lane,
        max: usize,
        wait: Duration,
    ) -> std::result::Result<Vec<Delivery>, updraft_task_queue::Error> {
        match self {
            Self::Silent | Self::Left(_) => {
                tracing::debug!(?lane, max, ?wait, "nothing is ever received here");
                Ok(Vec::new())
            }
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.receive(lane, max, wait).await,
        }
    }

    async fn acknowledge(&self, lane: Lane, receipt: &str) -> std::result::Result<(), updraft_task_queue::Error> {
        match self {
            Self::Silent | Self::Left(_) => {
                tracing::debug!(?lane, receipt, "nothing was received here");
                Ok(())
            }
            #[cfg(feature = "aws")]
            Self::Sqs(queue) => queue.acknowledge(lane, receipt).await,
        }
    }
}

/// Where long logs and large values are.
#[derive(Debug)]
pub(crate) enum Blobs {
    /// In a folder.
    Directory(updraft_log_store::Directory),
    /// In buckets.
    #[cfg(feature = "aws")]
    S3(crate::aws::Buckets),
}

impl LogStore for Blobs {
    fn spool(&self, name: &str) -> std::result::Result<PathBuf, updraft_log_store::Error> {
        match self {
            Self::Directory(store) => store.spool(name),
            #[cfg(feature = "aws")]
            Self::S3(store) => store.spool(name),
        }
    }

    async fn keep(&self, name: &str, spool: &Path) -> std::result::Result<String, updraft_log_store::Error> {
        match self {
            Self::Directory(store) => store.keep(name, spool).await,
            #[cfg(feature = "aws")]
            Self::S3(store) => store.keep(name, spool).await,
        }
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> std::result::Result<String, updraft_log_store::Error> {
        match self {
            Self::Directory(store) => store.put(name, bytes).await,
            #[cfg(feature = "aws")]
            Self::S3(store) => store.put(name, bytes).await,
        }
    }

    async fn get(&self, uri: &str) -> std::result::Result<Option<Vec<u8>>, updraft_log_store::Error> {
        match self {
            Self::Directory(store) => store.get(uri).await,
            #[cfg(feature = "aws")]
            Self::S3(store) => store.get(uri).await,
        }
    }

    async fn remove(&self, uri: &str) -> std::result::Result<(), updraft_log_store::Error> {
        match self {
            Self::Directory(store) => store.remove(uri).await,
            #[cfg(feature = "aws")]
            Self::S3(store) => store.remove(uri).await,
        }
    }
}

/// Where DAG files are put.
#[derive(Debug)]
pub(crate) enum DagFolder {
    /// In a folder.
    Directory(updraft_dag_store::Directory),
    /// In a bucket.
    #[cfg(feature = "aws")]
    S3(updraft_dag_store_s3::S3DagStore),
}

impl DagStore for DagFolder {
    async fn list(&self) -> std::result::Result<Vec<FileEntry>, updraft_dag_store::Error> {
        match self {
            Self::Directory(store) => store.list().await,
            #[cfg(feature = "aws")]
            Self::S3(store) => store.list().await,
        }
    }

    async fn read(&self, path: &str) -> std::result::Result<Option<File>, updraft_dag_store::Error> {
        match self {
            Self::Directory(store) => store.read(path).await,
            #[cfg(feature = "aws")]
            Self::S3(store) => store.read(path).await,
        }
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> std::result::Result<(), updraft_dag_store::Error> {
        match self {
            Self::Directory(store) => store.write(path, bytes).await,
            #[cfg(feature = "aws")]
            Self::S3(store) => store.write(path, bytes).await,
        }
    }

    fn location(&self) -> String {
        match self {
            Self::Directory(store) => store.location(),
            #[cfg(feature = "aws")]
            Self::S3(store) => store.location(),
        }
    }
}

/// How messages leave for SNS: with this process's AWS credentials, which are looked for when the first one leaves.
#[cfg(feature = "aws")]
#[expect(clippy::unnecessary_wraps, reason = "builds without AWS have none")]
pub(crate) fn sns() -> Option<std::sync::Arc<dyn updraft_notify::SnsSigner>> {
    Some(std::sync::Arc::new(updraft_notify_sns::Signer::of_process()))
}

/// How messages leave for SNS: not at all in a build without AWS.
#[cfg(not(feature = "aws"))]
pub(crate) fn sns() -> Option<std::sync::Arc<dyn updraft_notify::SnsSigner>> {
    None
}
