//! The queue inside the process: by priority, first in first out among equals. Nothing in it survives the process; what was queued
//! stands in the run documents, and the sweep sends it again.

use crate::{Delivery, Error, Lane, Message, Outgoing, TaskQueue};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One lane: what may be received, in order, and what has still to wait.
#[derive(Debug, Default)]
struct Waiting {
    ready: BTreeMap<(Reverse<i64>, u64), (Message, Instant)>,
    delayed: BTreeMap<(Instant, u64), Message>,
    /// Messages in `ready`, so that a hint resent by the sweep does not pile up behind itself.
    known: BTreeSet<Message>,
    sequence: u64,
}

impl Waiting {
    fn push(&mut self, message: Message) {
        if !self.known.insert(message.clone()) {
            return;
        }
        let priority = match &message {
            Message::Task { priority, .. } => *priority,
            _ => 0,
        };
        self.sequence += 1;
        self.ready.insert((Reverse(priority), self.sequence), (message, Instant::now()));
    }

    /// Moves what is due to the ready ones; returns when the next will be.
    fn promote(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            let message = entry.remove();
            self.push(message);
        }
        None
    }
}

/// A queue in memory.
#[derive(Debug, Default)]
pub struct LocalQueue {
    tasks: Mutex<Waiting>,
    looks: Mutex<Waiting>,
    tasks_arrived: Notify,
    looks_arrived: Notify,
}

impl LocalQueue {
    fn lane(&self, lane: Lane) -> (MutexGuard<'_, Waiting>, &Notify) {
        let (waiting, arrived) = match lane {
            Lane::Tasks => (&self.tasks, &self.tasks_arrived),
            Lane::Looks => (&self.looks, &self.looks_arrived),
        };
        (waiting.lock().unwrap_or_else(PoisonError::into_inner), arrived)
    }

    /// The priority of the task that would be received next, if any is ready.
    pub fn next_priority(&self) -> Option<i64> {
        let (mut waiting, _) = self.lane(Lane::Tasks);
        waiting.promote(Instant::now());
        waiting.ready.first_key_value().map(|((Reverse(priority), _), _)| *priority)
    }
}

impl TaskQueue for LocalQueue {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Error> {
        for outgoing in messages {
            let (mut waiting, arrived) = self.lane(outgoing.message.lane());
            if outgoing.delay.is_zero() {
                waiting.push(outgoing.message.clone());
            } else {
                waiting.sequence += 1;
                let key = (Instant::now() + outgoing.delay.min(crate::DELAY_MAX), waiting.sequence);
                waiting.delayed.insert(key, outgoing.message.clone());
            }
            drop(waiting);
            arrived.notify_one();
        }
        Ok(())
    }

    async fn receive(&self, lane: Lane, max: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let deadline = Instant::now() + wait;
        loop {
            let next = {
                let (mut waiting, arrived) = self.lane(lane);
                let next = waiting.promote(Instant::now());
                let mut found = Vec::new();
                while found.len() < max {
                    let Some((_, (message, since))) = waiting.ready.pop_first() else { break };
                    waiting.known.remove(&message);
                    found.push(Delivery {
                        message: Some(message),
                        receipt: String::new(),
                        waited: Some(since.elapsed()),
                    });
                }
                if !found.is_empty() {
                    if !waiting.ready.is_empty() {
                        // Another receiver may be waiting for what is left.
                        arrived.notify_one();
                    }
                    return Ok(found);
                }
                next
            };
            let until = next.map_or(deadline, |n| n.min(deadline));
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            let arrived = match lane {
                Lane::Tasks => &self.tasks_arrived,
                Lane::Looks => &self.looks_arrived,
            };
            let _ = tokio::time::timeout_at(until, arrived.notified()).await;
        }
    }

    async fn acknowledge(&self, _: Lane, _: &str) -> Result<(), Error> {
        // Received is gone: a receiver and this queue die together.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::{DagId, Incarnation, TaskIndex, WorkerKind};

    crate::queue_suite!(LocalQueue::default());

    fn task(n: u32, priority: i64) -> Message {
        Message::Task {
            dag_id: DagId::trusted("d"),
            incarnation: Incarnation::trusted("i"),
            task: TaskIndex(n),
            try_number: 1,
            priority,
            place: None,
            worker: WorkerKind::Plain,
        }
    }

    #[tokio::test]
    async fn by_priority_and_first_in_first_out_among_equals() {
        let queue = LocalQueue::default();
        let sent = [task(1, 1), task(2, 5), task(3, 1), task(4, 5), task(5, -2)];
        queue.send(&sent.map(Outgoing::now)).await.unwrap();
        assert_eq!(queue.next_priority(), Some(5));
        let got = queue.receive(Lane::Tasks, 9, Duration::ZERO).await.unwrap();
        let order: Vec<_> = got.into_iter().filter_map(|d| d.message).collect();
        assert_eq!(order, [task(2, 5), task(4, 5), task(1, 1), task(3, 1), task(5, -2)]);
        assert_eq!(queue.next_priority(), None);
    }

    #[tokio::test]
    async fn it_tells_how_long_a_message_waited_since_it_was_first_sent() {
        let queue = LocalQueue::default();
        let a_while = Duration::from_millis(30);
        queue.send(&[Outgoing::now(task(1, 1))]).await.unwrap();
        tokio::time::sleep(a_while).await;
        queue.send(&[Outgoing::now(task(1, 1)), Outgoing::now(task(2, 1))]).await.unwrap();
        tokio::time::sleep(a_while).await;
        let got = queue.receive(Lane::Tasks, 9, Duration::ZERO).await.unwrap();
        let waited: Vec<_> = got.into_iter().map(|d| d.waited.unwrap()).collect();
        assert!(waited[1] >= a_while && waited[0] >= waited[1] + a_while, "{waited:?}");
    }

    #[tokio::test]
    async fn a_hint_sent_twice_waits_once() {
        let queue = LocalQueue::default();
        queue.send(&[Outgoing::now(task(1, 1)), Outgoing::now(task(1, 1))]).await.unwrap();
        assert_eq!(queue.receive(Lane::Tasks, 9, Duration::ZERO).await.unwrap().len(), 1);
        queue.send(&[Outgoing::now(task(1, 1))]).await.unwrap();
        assert_eq!(
            queue.receive(Lane::Tasks, 9, Duration::ZERO).await.unwrap().len(),
            1,
            "once received, it may come again"
        );
    }
}
