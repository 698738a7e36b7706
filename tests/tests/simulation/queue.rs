//! The simulated queue: messages lost, doubled, late, in any order; at least once for what is not acknowledged.

use crate::faults::{Faults, Mutation};
use crate::store::{Request, Response, call};
use crate::world::{Event, MINUTE, Micros, SECOND, Shared, World};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use updraft_task_queue::{Delivery, Error, Lane, Message, Outgoing, TaskQueue};

/// A message and the receipt to acknowledge it with.
pub(crate) type Received = (Message, u64);

/// The two lanes.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    tasks: BTreeMap<u64, (Micros, Message)>,
    looks: BTreeMap<u64, (Micros, Message)>,
    /// Operations that wait for a message to become visible.
    waiting: BTreeSet<(u8, u64)>,
    ever_sent: BTreeSet<Message>,
}

fn number(lane: Lane) -> u8 {
    match lane {
        Lane::Tasks => 0,
        Lane::Looks => 1,
    }
}

impl Lanes {
    fn lane(&mut self, lane: Lane) -> &mut BTreeMap<u64, (Micros, Message)> {
        match lane {
            Lane::Tasks => &mut self.tasks,
            Lane::Looks => &mut self.looks,
        }
    }

    pub(crate) fn acknowledge(&mut self, lane: Lane, receipt: u64) {
        self.lane(lane).remove(&receipt);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.looks.is_empty()
    }
}

impl World {
    pub(crate) fn deliver_messages(&mut self, process: usize, messages: &[Outgoing]) {
        let faults = if self.is_calm() { Faults::default() } else { self.faults };
        for outgoing in messages {
            self.stats.messages += 1;
            self.message_is_not_ahead(process, &outgoing.message);
            let again = !self.lanes.ever_sent.insert(outgoing.message.clone());
            if again && self.mutation == Some(Mutation::QueueOnly) {
                continue;
            }
            if self.rng.chance(faults.lost) {
                self.stats.messages_lost += 1;
                continue;
            }
            let copies = if self.rng.chance(faults.doubled) { 2 } else { 1 };
            self.stats.messages_doubled += copies - 1;
            for _ in 0..copies {
                let late = if self.rng.chance(faults.late) {
                    self.stats.messages_late += 1;
                    self.rng.range(SECOND, 4 * MINUTE)
                } else {
                    self.rng.range(0, 50_000)
                };
                let at = self.now + outgoing.delay.min(updraft_task_queue::DELAY_MAX).as_micros() as Micros + late;
                let id = self.next_id();
                let lane = outgoing.message.lane();
                self.lanes.lane(lane).insert(id, (at, outgoing.message.clone()));
                self.at(at, Event::Visible(lane));
            }
        }
    }

    /// Takes any of the visible messages: a standard queue keeps no order.
    pub(crate) fn take_message(&mut self, lane: Lane) -> Option<Received> {
        let now = self.now;
        let visible: Vec<u64> =
            self.lanes.lane(lane).iter().filter(|(_, (at, _))| *at <= now).map(|(id, _)| *id).collect();
        if visible.is_empty() {
            return None;
        }
        let id = *self.rng.pick(&visible);
        // Comes again unless it is acknowledged within the visibility timeout.
        let again = now + self.rng.range(2 * MINUTE, 20 * MINUTE);
        let (at, message) = self.lanes.lane(lane).get_mut(&id)?;
        *at = again;
        let message = message.clone();
        self.at(again, Event::Visible(lane));
        Some((message, id))
    }

    /// Wakes those who wait for a message.
    pub(crate) fn visible(&mut self, lane: Lane) {
        let waiting: Vec<u64> =
            self.lanes.waiting.iter().filter(|(l, _)| *l == number(lane)).map(|(_, op)| *op).collect();
        for op in waiting {
            self.lanes.waiting.remove(&(number(lane), op));
            self.fire(op);
        }
    }
}

/// The queue's port, in the hands of one process.
#[derive(Debug, Clone)]
pub(crate) struct SimQueue {
    pub(crate) world: Shared,
    pub(crate) process: usize,
}

impl SimQueue {
    /// Waits until some message of the lane becomes visible, or a while.
    async fn wait(&self, lane: Lane, most: Duration) {
        let mut wait = std::pin::pin!(self.world.sleep(most.as_micros() as Micros));
        let mut registered = false;
        std::future::poll_fn(|cx| {
            let polled = wait.as_mut().poll(cx);
            if !registered && let Some(op) = wait.op() {
                self.world.lock().lanes.waiting.insert((number(lane), op));
                registered = true;
            }
            polled
        })
        .await;
    }
}

impl TaskQueue for SimQueue {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Error> {
        match call(&self.world, self.process, Request::Send(messages.to_vec())).await {
            Response::Unavailable => Err(Error("simulated".to_owned())),
            _ => Ok(()),
        }
    }

    async fn receive(&self, lane: Lane, _: usize, wait: Duration) -> Result<Vec<Delivery>, Error> {
        let received = call(&self.world, self.process, Request::Receive(lane)).await;
        match received {
            Response::Unavailable => return Err(Error("simulated".to_owned())),
            Response::Received(Some((message, receipt))) => {
                return Ok(vec![Delivery { message: Some(message), receipt: receipt.to_string(), waited: None }]);
            }
            _ => self.wait(lane, wait).await,
        }
        Ok(Vec::new())
    }

    async fn acknowledge(&self, lane: Lane, receipt: &str) -> Result<(), Error> {
        let receipt = receipt.parse().map_err(|_| Error("no receipt of this queue".to_owned()))?;
        match call(&self.world, self.process, Request::Acknowledge(lane, receipt)).await {
            Response::Unavailable => Err(Error("simulated".to_owned())),
            _ => Ok(()),
        }
    }
}
