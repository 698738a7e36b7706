//! The parts of the server that wait: the scheduler's timer, the looks, the workers, and the eye on other processes' writes.

use super::startup::Stopping;
use crate::messages::Messages;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as signal;
use tokio::task::JoinSet;
use updraft_clock::{Clock, System};
use updraft_dag_store::Directory;
use updraft_metastore_embedded::Embedded;
use updraft_runner::ProcessRunner;
use updraft_service::{Continuation, Engine, Settings, TaskRef};
use updraft_task_queue::{Delivery, Lane, LocalQueue, Message, TaskQueue};

/// How long the timer sleeps at most: whatever falls due is found at most this much late, and what is known to fall due within it is
/// slept for to the millisecond.
const TIMER_MAX: Duration = Duration::from_secs(1);

/// How long the timer leaves something that is still due after a tick.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// How often the server asks whether another process has written. The question costs microseconds.
const POKE_EVERY: Duration = Duration::from_millis(50);

/// How many looks go on at once: each waits for the disk, and their commits are made together.
const LOOKERS: usize = 4;

/// The engine of one machine.
pub(super) type LocalEngine = Engine<Arc<Embedded>, Arc<LocalQueue>, System>;

/// Everything the loops share.
#[derive(Debug)]
pub(super) struct Server {
    /// The engine.
    pub(super) engine: Arc<LocalEngine>,
    /// The store, for what only this machine's has.
    pub(super) items: Arc<Embedded>,
    /// The queue inside the process.
    pub(super) queue: Arc<LocalQueue>,
    /// Runs attempts.
    pub(super) runner: ProcessRunner<Arc<Embedded>, Arc<LocalQueue>, updraft_log_store::Directory, System>,
    /// The DAG folder.
    pub(super) dags: Directory,
}

impl Server {
    /// An engine over the same ports, for readers.
    pub(super) fn reader(&self) -> LocalEngine {
        Engine::new(self.items.clone(), self.queue.clone(), System, Settings { ..self.engine.settings.clone() })
    }
}

/// Starts every loop. They end when draining has come to its end.
pub(super) fn start(server: &Arc<Server>, workers: u16, stopping: &signal::Receiver<Stopping>) -> JoinSet<()> {
    let mut running = JoinSet::new();
    running.spawn(until_draining(timer(server.clone()), stopping.clone()));
    running.spawn(until_draining(poke(server.clone()), stopping.clone()));
    for _ in 0..LOOKERS {
        running.spawn(until_draining(looks(server.clone()), stopping.clone()));
    }
    for _ in 0..workers {
        running.spawn(worker(server.clone(), stopping.clone()));
    }
    running
}

/// Runs a loop until the server drains. Dropping it at any await loses nothing: each write is whole, and what was not sent is sent by
/// the sweep.
pub(super) async fn until_draining(work: impl Future<Output = ()>, mut stopping: signal::Receiver<Stopping>) {
    tokio::select! {
        () = work => {}
        _ = stopping.wait_for(|s| *s >= Stopping::Draining) => {}
    }
}

/// The tick: looks at what is due, then sleeps until the next falls due.
async fn timer(server: Arc<Server>) {
    loop {
        if let Err(error) = server.engine.tick().await {
            tracing::error!(%error, "a tick failed; the next one makes up for it");
            tokio::time::sleep(TIMER_MAX).await;
            continue;
        }
        let now = server.engine.clock.now();
        let horizon = now.saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX);
        let wait = match server.engine.next_due(horizon).await.ok().flatten() {
            Some(at) if at > now => {
                Duration::try_from(at.duration_since(server.engine.clock.now())).unwrap_or_default()
            }
            // Still due after a tick: its look failed, or was overtaken. Not at once again.
            Some(_) => RETRY_AFTER,
            None => TIMER_MAX,
        };
        tokio::time::sleep(wait.min(TIMER_MAX)).await;
    }
}

/// Notices what other processes write (the command line triggers and pauses beside the server), looks at once, and goes where they say.
async fn poke(server: Arc<Server>) {
    let messages = Messages::new(server.items.clone());
    // What commands left while no server ran.
    forward(&server, &messages).await;
    loop {
        tokio::time::sleep(POKE_EVERY).await;
        match server.items.changed_elsewhere() {
            Ok(false) => {}
            Ok(true) => {
                forward(&server, &messages).await;
                let looked = server.engine.tick().await.map(|_| ());
                let asked = server.engine.ask_about_attempts().await;
                if let Err(error) = looked.and(asked) {
                    tracing::error!(%error, "a look after another process's write failed");
                }
            }
            Err(error) => {
                tracing::error!(%error, "cannot tell whether another process has written");
                tokio::time::sleep(TIMER_MAX).await;
            }
        }
    }
}

/// Takes the messages that commands left into the queue.
async fn forward(server: &Server, messages: &Messages) {
    let taken = match messages.take().await {
        Ok(taken) => taken,
        Err(error) => return tracing::error!(%error, "what commands say could not be read; the sweep makes up for it"),
    };
    if let Err(error) = server.queue.send(&taken).await {
        tracing::error!(%error, "what commands say could not be queued; the sweep makes up for it");
    }
}

/// Looks at the runs and DAGs that messages name.
async fn looks(server: Arc<Server>) {
    loop {
        let Ok(deliveries) = server.queue.receive(Lane::Looks, 1, Duration::from_mins(1)).await else { continue };
        for message in deliveries.into_iter().filter_map(|d| d.message) {
            if let Err(error) = Box::pin(server.engine.look_where(&message)).await {
                tracing::error!(%error, ?message, "a look failed; the sweep makes up for it");
            }
        }
    }
}

/// One worker: takes the next task of the highest priority and runs it, and goes on in place where nothing waits that should go first.
async fn worker(server: Arc<Server>, mut stopping: signal::Receiver<Stopping>) {
    loop {
        let received = tokio::select! {
            biased;
            _ = stopping.wait_for(|s| *s >= Stopping::Draining) => return,
            received = server.queue.receive(Lane::Tasks, 1, Duration::from_mins(1)) => received,
        };
        let Ok(deliveries) = received else { continue };
        for Delivery { message, waited, .. } in deliveries {
            let Some(message) = message else { continue };
            if let Message::Callback { key, .. } = &message {
                if let Err(error) = Box::pin(server.engine.call(key, &server.runner, None)).await {
                    tracing::error!(%error, ?key, "a callback was not called, or its end not written; it is looked at again");
                }
                continue;
            }
            let Message::Task { incarnation, task, try_number, place, .. } = message else { continue };
            let task = TaskRef {
                incarnation,
                task,
                try_number,
                place,
                queued_at: waited.and_then(|waited| server.engine.now().checked_sub(waited).ok()),
            };
            let drains = stopping.clone();
            let may_continue = || {
                let draining = *drains.borrow() >= Stopping::Draining;
                // First in first out among equals: what waits already goes before what has just become ready.
                let least = server.queue.next_priority().map(|waiting| waiting.saturating_add(1));
                (!draining).then_some(Continuation { priority_least: least, timeout_most: None, worker: None })
            };
            if let Err(error) = server.engine.work(&task, &server.runner, None, may_continue).await {
                tracing::error!(%error, ?task, "an attempt's end was not written; the sweep settles it when its lease is over");
            }
        }
    }
}
