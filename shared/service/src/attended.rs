//! Runs whose attempts go on in this process. Whoever looks at a run here tells what it saw, so that an attempt which was cleared, marked or
//! timed out ends now, and not at its next renewal. A hint like any message: what decides is the renewal, which is refused.

use crate::engine::{Engine, Error};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::{Incarnation, RunDoc};
use updraft_task_queue::TaskQueue;

/// What of a run tells an attempt that it may have lost its hold: the epoch, and whether pages are being closed. None: the run is gone.
type Sight = Option<(u32, bool)>;

fn sight(run: &RunDoc) -> Sight {
    run.deleted_at.is_none().then_some((run.epoch, run.intent.is_some()))
}

#[derive(Debug)]
struct Entry {
    attempts: usize,
    seen: watch::Sender<Sight>,
}

/// The runs whose attempts go on here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Attended(Arc<Mutex<BTreeMap<Incarnation, Entry>>>);

/// An attempt that goes on.
#[derive(Debug)]
pub(crate) struct Attending {
    of: Attended,
    run: Incarnation,
    seen: watch::Receiver<Sight>,
}

impl Attended {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Incarnation, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An attempt begins, or goes on, on this image of its run.
    pub(crate) fn attend(&self, run: &RunDoc) -> Attending {
        let incarnation = run.facts.incarnation.clone();
        let mut entries = self.entries();
        let new = || Entry { attempts: 0, seen: watch::channel(sight(run)).0 };
        let entry = entries.entry(incarnation.clone()).or_insert_with(new);
        entry.attempts += 1;
        let mut seen = entry.seen.subscribe();
        if *seen.borrow_and_update() != sight(run) {
            seen.mark_changed();
        }
        drop(entries);
        Attending { of: self.clone(), run: incarnation, seen }
    }

    /// Somebody read a run.
    pub(crate) fn tell(&self, incarnation: &Incarnation, run: Option<&RunDoc>) {
        if let Some(entry) = self.entries().get(incarnation) {
            let now = run.and_then(sight);
            entry.seen.send_if_modified(|seen| std::mem::replace(seen, now) != now);
        }
    }
}

impl Attending {
    /// Waits until something was seen that may concern the attempt.
    pub(crate) async fn changed(&mut self) {
        if self.seen.changed().await.is_err() {
            // Its sender stays as long as this does.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        let mut entries = self.of.entries();
        if let Some(entry) = entries.get_mut(&self.run) {
            entry.attempts -= 1;
            if entry.attempts == 0 {
                entries.remove(&self.run);
            }
        }
    }
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks whether attempts that go on in this process may do so, after another process has written.
    ///
    /// # Errors
    /// When the metastore is unavailable.
    pub async fn ask_about_attempts(&self) -> Result<(), Error> {
        let runs: Vec<Incarnation> = self.attended.entries().keys().cloned().collect();
        for incarnation in runs {
            let run = self.store.run_or_tombstone(&incarnation).await?;
            self.attended.tell(&incarnation, run.as_ref());
        }
        Ok(())
    }
}
