//! Counts what a queue costs: the requests that SQS would bill, whatever queue is below.

use crate::{Delivery, Error, Lane, Message, Outgoing, TaskQueue};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use updraft_model::WorkerKind;

/// Messages in one request; SQS takes and gives no more.
const BATCH_MAX: usize = 10;

/// What has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Requests that sent messages: one for every ten to the same queue that are sent at once.
    pub sends: u64,
    /// Messages to workers.
    pub tasks: u64,
    /// Messages to the scheduler.
    pub looks: u64,
}

impl Counts {
    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self { sends: self.sends - earlier.sends, tasks: self.tasks - earlier.tasks, looks: self.looks - earlier.looks }
    }

    /// All requests, where workers receive so many messages at once, and the scheduler so many: each batch is received by one request
    /// and deleted by another.
    pub fn requests(self, tasks_at_once: f64, looks_at_once: f64) -> f64 {
        self.sends as f64 + 2.0 * self.tasks as f64 / tasks_at_once + 2.0 * self.looks as f64 / looks_at_once
    }
}

/// A queue whose messages are counted.
#[derive(Debug, Default)]
pub struct Counting<Q> {
    inner: Q,
    sends: AtomicU64,
    tasks: AtomicU64,
    looks: AtomicU64,
}

impl<Q> Counting<Q> {
    /// Counts what goes through to `inner`.
    pub fn new(inner: Q) -> Self {
        Self { inner, sends: AtomicU64::new(0), tasks: AtomicU64::new(0), looks: AtomicU64::new(0) }
    }

    /// The queue below.
    pub fn inner(&self) -> &Q {
        &self.inner
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts { sends: read(&self.sends), tasks: read(&self.tasks), looks: read(&self.looks) }
    }
}

impl<Q: TaskQueue> TaskQueue for Counting<Q> {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Error> {
        let to = |message: &Message| match (message.lane(), message.worker()) {
            (Lane::Tasks, WorkerKind::Plain) => 0,
            (Lane::Tasks, WorkerKind::Python) => 1,
            (Lane::Looks, _) => 2,
        };
        for queue in 0..3 {
            let count = messages.iter().filter(|outgoing| to(&outgoing.message) == queue).count();
            self.sends.fetch_add(count.div_ceil(BATCH_MAX) as u64, Ordering::Relaxed);
            let counter = if queue == 2 { &self.looks } else { &self.tasks };
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
        self.inner.send(messages).await
    }

    async fn receive(&self, lane: Lane, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        self.inner.receive(lane, max, wait).await
    }

    async fn acknowledge(&self, lane: Lane, receipt: &str) -> Result<(), Error> {
        self.inner.acknowledge(lane, receipt).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalQueue;
    use updraft_model::{DagId, Incarnation, TaskIndex};

    crate::queue_suite!(Counting::new(LocalQueue::default()));

    fn tasks(count: u32, worker: WorkerKind) -> impl Iterator<Item = Outgoing> {
        (0..count).map(move |n| {
            Outgoing::now(Message::Task {
                dag_id: DagId::trusted("d"),
                incarnation: Incarnation::trusted("i"),
                task: TaskIndex(n),
                try_number: 1,
                priority: 1,
                place: None,
                worker,
            })
        })
    }

    #[tokio::test]
    async fn ten_to_one_queue_are_one_request() {
        let queue = Counting::new(LocalQueue::default());
        let look = || Outgoing::now(Message::Run { incarnation: Incarnation::trusted("i") });
        let mixed: Vec<Outgoing> =
            tasks(11, WorkerKind::Plain).chain(tasks(1, WorkerKind::Python)).chain([look()]).collect();
        queue.send(&mixed).await.unwrap();
        assert_eq!(queue.counts(), Counts { sends: 4, tasks: 12, looks: 1 });
        queue.send(&[look()]).await.unwrap();
        let counts = queue.counts().since(Counts { sends: 4, tasks: 12, looks: 1 });
        assert_eq!(counts, Counts { sends: 1, tasks: 0, looks: 1 });
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} {b}");
        close(queue.counts().requests(1.0, 1.0), 5.0 + 24.0 + 4.0);
        close(queue.counts().requests(10.0, 10.0), 5.0 + 2.4 + 0.4);
    }
}
