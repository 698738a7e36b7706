//! The task queue: messages that say where to look.
//!
//! A message is a hint. It names a run, a task instance or a DAG, is never the only copy of a fact, and may be lost, doubled, late
//! or out of order; the sweep of the time index makes up for it. The promises of [`TaskQueue`] are the functions of [`suite`].

pub mod counting;
pub mod local;
pub mod suite;

pub use local::LocalQueue;

use serde::{Deserialize, Serialize};
use std::future::Future;
use std::time::Duration;
use updraft_model::{BackfillId, CallbackKey, DagId, HolderId, Incarnation, OperationId, Place, TaskIndex, WorkerKind};

/// The longest delay a message may have; SQS allows no more. What is due later is left to the time index.
pub const DELAY_MAX: Duration = Duration::from_mins(15);

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "look_at", rename_all = "snake_case")]
pub enum Message {
    /// A queued task instance: claim it and run it.
    Task {
        /// Its DAG: the group for fairness.
        dag_id: DagId,
        /// Its run.
        incarnation: Incarnation,
        /// The task.
        task: TaskIndex,
        /// The try that was queued.
        try_number: u32,
        /// Its effective priority weight; only an in-process queue orders by it.
        priority: i64,
        /// Which of its instances, where it is mapped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Place>,
        /// The kind of worker that can run it. Messages of releases that knew one kind have none.
        #[serde(default, skip_serializing_if = "WorkerKind::is_plain")]
        worker: WorkerKind,
    },
    /// Pages of a mapped task or group.
    Page {
        /// Its run.
        incarnation: Incarnation,
        /// The unit, by its first task.
        unit: TaskIndex,
        /// One page that may have something to decide; none: all that are open, and those that are to be born.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page: Option<u32>,
    },
    /// A run that may have something to decide.
    Run {
        /// Which.
        incarnation: Incarnation,
    },
    /// A DAG that may have a run due.
    Dag {
        /// Which.
        dag_id: DagId,
    },
    /// A pool, or another limit that has a document of its own, that may have slots for who waits.
    Holder {
        /// Which.
        holder: HolderId,
    },
    /// An intervention in several runs that may have to be gone on with.
    Intervention {
        /// Which.
        operation: OperationId,
    },
    /// A callback that is to be called.
    Callback {
        /// Which.
        key: CallbackKey,
        /// The kind of worker that can call it. Messages of releases that sent all of them to plain workers have none.
        #[serde(default, skip_serializing_if = "WorkerKind::is_plain")]
        worker: WorkerKind,
    },
    /// A backfill that may have a run to make.
    Backfill {
        /// Which.
        id: BackfillId,
    },
}

/// A message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// What.
    pub message: Message,
    /// Not before this has passed; at most [`DELAY_MAX`], more is cut.
    pub delay: Duration,
}

impl Outgoing {
    /// To be delivered at once.
    pub fn now(message: Message) -> Self {
        Self { message, delay: Duration::ZERO }
    }
}

/// Which of the two streams of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Task instances and callbacks, for workers.
    Tasks,
    /// Runs and DAGs, for the scheduler.
    Looks,
}

impl Message {
    /// The kind of worker that it wants, where it is for workers.
    pub fn worker(&self) -> WorkerKind {
        match self {
            Self::Task { worker, .. } | Self::Callback { worker, .. } => *worker,
            _ => WorkerKind::Plain,
        }
    }

    /// The lane it travels in.
    pub fn lane(&self) -> Lane {
        match self {
            Self::Task { .. } | Self::Callback { .. } => Lane::Tasks,
            _ => Lane::Looks,
        }
    }
}

/// A message that was received and is not yet done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What; none where the body is no message of ours (it is then only to be acknowledged).
    pub message: Option<Message>,
    /// For [`TaskQueue::acknowledge`].
    pub receipt: String,
    /// How long it lay in the queue; none where the queue does not tell.
    pub waited: Option<Duration>,
}

/// Why messages could not be sent or received.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task queue is unavailable: {0}")]
pub struct Error(pub String);

/// A queue of hints, in two lanes.
pub trait TaskQueue: Send + Sync + 'static {
    /// Sends messages, in batches where the queue has them. On an error any of them may have been sent.
    fn send(&self, messages: &[Outgoing]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Receives at most `max` messages of a lane, waiting at most `wait` for the first. What is not acknowledged may come again.
    fn receive(
        &self,
        lane: Lane,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivery>, Error>> + Send;

    /// Done with a message: it does not come again, save by doubling.
    fn acknowledge(&self, lane: Lane, receipt: &str) -> impl Future<Output = Result<(), Error>> + Send;
}

impl<T: TaskQueue> TaskQueue for std::sync::Arc<T> {
    fn send(&self, messages: &[Outgoing]) -> impl Future<Output = Result<(), Error>> + Send {
        (**self).send(messages)
    }

    fn receive(
        &self,
        lane: Lane,
        max: usize,
        wait: Duration,
    ) -> impl Future<Output = Result<Vec<Delivery>, Error>> + Send {
        (**self).receive(lane, max, wait)
    }

    fn acknowledge(&self, lane: Lane, receipt: &str) -> impl Future<Output = Result<(), Error>> + Send {
        (**self).acknowledge(lane, receipt)
    }
}
