//! Callbacks: put when a run's outbox is delivered, called by workers, tried again with growing pauses, given up visibly.
//!
//! A callback never holds its run: it is a document of its own, and the run's note is struck out once that is there. It is called at least once
//! where it can be called at all, and at most [`TRIES_MAX`] times.

use crate::engine::{Engine, Error, Version};
use crate::work::Work;
use jiff::{SignedDuration, Timestamp};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::callback::{CallbackState, Occasion};
use updraft_model::{
    Attempt, AttemptKey, Callback, CallbackDoc, CallbackKey, Cell, DagId, Lease, RunDoc, TaskIndex, TaskInstanceState,
    Token,
};
use updraft_scheduling::attention::TOMBSTONE_KEPT;
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// How often a callback is called at most.
pub const TRIES_MAX: u32 = 5;

/// How long one call may take.
pub const CALL_TIMEOUT: Duration = Duration::from_mins(2);

/// How long a caller holds a callback: longer than a call may take.
const CALL_LEASE: SignedDuration = SignedDuration::from_secs(180);

/// How long nobody may have taken up a callback before its message is sent again.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// The pause after so many calls that failed: 10 s, then three times the last.
fn pause(tries: u32) -> SignedDuration {
    SignedDuration::from_secs(10 * 3_i64.pow(tries.saturating_sub(1).min(5)))
}

/// A callback to call: everything a caller needs to know.
#[derive(Debug, Clone)]
pub struct Called {
    /// The run, and the task that the callback tells of; of a run's callback the task that says most about its end.
    pub work: Work,
    /// What it tells of.
    pub occasion: Occasion,
    /// What is called.
    pub callback: Callback,
    /// What the attempt left behind that it tells of.
    pub attempt: Option<Attempt>,
    /// Where its document is.
    pub key: CallbackKey,
    /// Which call of it this is, from 1.
    pub try_number: u32,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallEnded {
    /// Why it failed; none: it did not.
    pub error: Option<String>,
    /// The end of what it wrote.
    pub log: Option<String>,
}

/// Calls callbacks: for real, or as a test pleases.
pub trait Caller: Send + Sync {
    /// Calls one, within [`CALL_TIMEOUT`].
    fn call(&self, called: &Called) -> impl Future<Output = CallEnded> + Send;
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Puts the callbacks of an occasion and asks for them to be called. Again is fine.
    pub(crate) async fn put_callbacks(&self, run: &RunDoc, occasion: &Occasion) -> Result<(), Error> {
        let version = self.version(&run.facts.version).await?;
        let now = whole_millis(self.clock.now());
        let mut messages = Vec::new();
        for number in 0..occasion.callbacks(&version.plan.dag).len() {
            let key = occasion.key(&run.facts.incarnation, number);
            let callback = CallbackDoc {
                key: key.clone(),
                occasion: occasion.clone(),
                number,
                version: version.id.clone(),
                state: CallbackState::Queued,
                tries: 0,
                token: None,
                created_at: now,
                updated_at: now,
                message: None,
                log: None,
                wake_at: now.saturating_add(PATIENCE).unwrap_or(now),
                revision: 0,
            };
            if let Outcome::Updated(_) = self.store.put_callback(&callback).await? {
                messages.push(Outgoing::now(message(&callback, &version)));
            }
        }
        self.send(messages).await;
        Ok(())
    }

    /// Looks at a callback: asks again for one that nobody has called, and removes one that is done with.
    pub async fn look_at_callback(&self, key: &CallbackKey) -> Result<(), Error> {
        let Some(mut callback) = self.store.callback(key).await? else { return Ok(()) };
        let now = whole_millis(self.clock.now());
        if callback.wake_at > now {
            return Ok(());
        }
        if callback.state.is_final() {
            // Kept so long because whoever noted it may note it again until then.
            return Ok(self.store.delete_callback(key).await?);
        }
        callback.wake_at = now.saturating_add(PATIENCE).unwrap_or(now);
        if let Outcome::Updated(_) = self.store.update_callback(&callback).await? {
            let version = self.version(&callback.version).await?;
            self.send(vec![Outgoing::now(message(&callback, &version))]).await;
        }
        Ok(())
    }

    /// Calls a callback, unless somebody else does or has. `deadline`: when this process will be gone, if that is known.
    ///
    /// # Errors
    /// When the metastore is unavailable. The look makes up for it.
    pub async fn call<R: Caller>(
        &self,
        key: &CallbackKey,
        caller: &R,
        deadline: Option<Timestamp>,
    ) -> Result<(), Error> {
        let Some(mut callback) = self.store.callback(key).await? else { return Ok(()) };
        let now = whole_millis(self.clock.now());
        let is_held = callback.state == CallbackState::Running && callback.wake_at > now;
        // Between two calls it waits for its instant; a message that is early is doubled or old.
        let is_early = callback.state == CallbackState::Queued && callback.tries > 0 && is_early(&callback, now);
        if callback.state.is_final() || is_held || is_early {
            return Ok(());
        }
        let Some(run) = self.store.run(&key.incarnation).await? else {
            return Ok(self.store.delete_callback(key).await?);
        };
        if callback.tries >= TRIES_MAX {
            return self.end_call(callback, Some("its callers died".to_owned()), None, &run.facts.dag_id).await;
        }
        callback.state = CallbackState::Running;
        callback.tries += 1;
        callback.token = Some(Token::trusted(self.clock.draw(8)));
        callback.updated_at = now;
        callback.wake_at = now.saturating_add(CALL_LEASE).unwrap_or(now);
        let Outcome::Updated(claimed) = self.store.update_callback(&callback).await? else { return Ok(()) };
        let version = self.version(&claimed.version).await?;
        let dag_id = run.facts.dag_id.clone();
        let ended = match self.called(&version, run, &claimed, deadline).await? {
            Some(called) => caller.call(&called).await,
            None => CallEnded { error: Some("its DAG has no task that it could tell of".to_owned()), log: None },
        };
        self.end_call(claimed, ended.error, ended.log, &dag_id).await
    }

    /// What a caller needs to know. None: there is no task to tell of.
    async fn called(
        &self,
        version: &Arc<Version>,
        run: RunDoc,
        callback: &CallbackDoc,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Called>, Error> {
        let what = callback.occasion.callbacks(&version.plan.dag).get(callback.number).cloned();
        let Some(what) = what else { return Ok(None) };
        let (task, try_number, token) = match &callback.occasion {
            Occasion::Execute { task, try_number, token, .. } | Occasion::Try { task, try_number, token, .. } => {
                (*task, *try_number, token.clone())
            }
            Occasion::Ended { .. } | Occasion::Deadline { .. } => {
                let Some(task) = telling(&run, version) else { return Ok(None) };
                let cell = run.cell(task);
                let winner = match cell {
                    Cell::Final { winner, .. } => winner.clone(),
                    _ => None,
                };
                (task, cell.try_number().max(1), winner.unwrap_or(Token::trusted("none")))
            }
        };
        let key = AttemptKey {
            incarnation: run.facts.incarnation.clone(),
            task,
            map_index: callback.occasion.map_index(),
            try_number,
            token: token.clone(),
        };
        let on_page = self.page_of_instance(version, &run, task, callback.occasion.map_index()).await?;
        let attempt = self.store.attempt(&key).await?;
        let since = attempt.as_ref().map_or(callback.created_at, |attempt| attempt.start_date);
        let lease = Lease { token, until: callback.wake_at, since };
        let work = Work { run, version: version.clone(), task, try_number, queued_at: None, lease, deadline, on_page };
        let (occasion, try_number) = (callback.occasion.clone(), callback.tries);
        Ok(Some(Called { work, occasion, callback: what, attempt, key: callback.key.clone(), try_number }))
    }

    /// Writes what came of a call.
    async fn end_call(
        &self,
        mut callback: CallbackDoc,
        error: Option<String>,
        log: Option<String>,
        dag_id: &DagId,
    ) -> Result<(), Error> {
        let now = whole_millis(self.clock.now());
        callback.updated_at = now;
        callback.token = None;
        callback.log = log;
        let kept_until = now.saturating_add(TOMBSTONE_KEPT).unwrap_or(now);
        let mut again = None;
        (callback.state, callback.wake_at) = match &error {
            None => (CallbackState::Success, kept_until),
            Some(why) if callback.tries >= TRIES_MAX => {
                tracing::error!(%dag_id, callback = callback.key.id, tries = callback.tries, why, "a callback failed for good");
                (CallbackState::Failed, kept_until)
            }
            Some(why) => {
                let wait = pause(callback.tries);
                tracing::warn!(%dag_id, callback = callback.key.id, tries = callback.tries, why, "a callback failed; it is called again");
                again = Duration::try_from(wait).ok();
                (CallbackState::Queued, now.saturating_add(wait).unwrap_or(now))
            }
        };
        callback.message = error;
        if let Outcome::Updated(written) = self.store.update_callback(&callback).await?
            && let Some(delay) = again
        {
            let version = self.version(&written.version).await?;
            self.send(vec![Outgoing { message: message(&written, &version), delay }]).await;
        }
        Ok(())
    }

    /// The callbacks of a run, as they stand.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such run.
    pub async fn callbacks_of_run(&self, dag_id: &DagId, run_id: &str) -> Result<Vec<(CallbackDoc, String)>, Error> {
        let run = self.run_named(dag_id, run_id).await?;
        let mut found = Vec::new();
        for callback in self.store.callbacks_of(&run.facts.incarnation).await? {
            let version = self.version(&callback.version).await?;
            let what = callback.occasion.callbacks(&version.plan.dag).get(callback.number);
            let name = what.map(|what| what.callback.clone()).unwrap_or_default();
            found.push((callback, name));
        }
        Ok(found)
    }
}

/// The message that asks for a callback to be called, by a worker that can.
fn message(callback: &CallbackDoc, version: &Version) -> Message {
    let what = callback.occasion.callbacks(&version.plan.dag).get(callback.number);
    let worker = what.map(Callback::worker_kind).unwrap_or_default();
    Message::Callback { key: callback.key.clone(), worker }
}

/// Whether the pause after its last call is not over.
fn is_early(callback: &CallbackDoc, now: Timestamp) -> bool {
    callback.updated_at.saturating_add(pause(callback.tries)).is_ok_and(|due| due > now)
}

/// The task that says most about a run's end: one that failed, else the last one.
fn telling(run: &RunDoc, version: &Version) -> Option<TaskIndex> {
    let failed = version.plan.tasks().find(|task| run.task_state(*task) == TaskInstanceState::Failed);
    failed.or_else(|| version.plan.tasks().last())
}

fn whole_millis(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at)
}
