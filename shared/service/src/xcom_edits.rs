//! XComs that people write and remove: in the item of the attempt that won, so that they go when the task runs again.

use crate::engine::{Engine, Error};
use crate::xcoms::{INLINE_TOTAL_MAX, blob_name, pages_of, winner, winners_on};
use serde_json::Value;
use updraft_clock::Clock;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::attempt::INLINE_BYTES_MAX;
use updraft_model::{Attempt, AttemptKey, RunDoc, ValueRef};
use updraft_task_queue::TaskQueue;

/// How long one value may be as JSON: as much as tasks themselves may push.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What may be there when an XCom is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// None of this key: it is added.
    Absent,
    /// One of this key: it is changed.
    Present,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Writes an XCom as a person wishes, of a task or of the instance of a mapped one at a map index: into what the attempt that won left behind, so that it goes when the task runs again.
    ///
    /// # Errors
    /// [`Error::Refused`] where the task has no attempt that won, where there is or is not one of this key, or the value is too large.
    pub async fn set_xcom<L: LogStore>(
        &self,
        logs: &L,
        run: &RunDoc,
        (task_id, map_index): (&str, Option<u32>),
        key: &str,
        value: Value,
        existing: Existing,
    ) -> Result<(), Error> {
        if key.is_empty() {
            return Err(Error::Refused("the key of an XCom is empty; give it a name".to_owned()));
        }
        let at = self.winner_to_edit(run, task_id, map_index).await?;
        let bytes = serde_json::to_vec(&value).expect("a JSON value always serializes");
        if bytes.len() > VALUE_BYTES_MAX {
            let length = bytes.len();
            return Err(Error::Refused(format!(
                "the value of the XCom `{key}` has {length} bytes as JSON, and {VALUE_BYTES_MAX} is the most; keep it in a bucket and push its address"
            )));
        }
        let there = self.store.attempt(&at).await?.ok_or_else(|| nothing_left(task_id))?;
        let others =
            there.xcoms.iter().filter(|(name, _)| *name != key).map(|(_, value)| inline_bytes(value)).sum::<usize>();
        let kept = if bytes.len() > INLINE_BYTES_MAX || others + bytes.len() > INLINE_TOTAL_MAX {
            // A name of its own: what stands under the old one may still be read by whoever has its address.
            let name = format!("xcoms/{}-{}.json", blob_name(&at), self.clock.draw(12));
            ValueRef::At(logs.put(&name, bytes).await?)
        } else {
            ValueRef::Inline(value)
        };
        let edit = |attempt: &mut Attempt| {
            if attempt.xcoms.contains_key(key) != (existing == Existing::Present) {
                return false;
            }
            attempt.xcoms.insert(key.to_owned(), kept.clone());
            true
        };
        match (self.store.edit_attempt(&at, edit).await?, existing) {
            (Some(_), _) => Ok(()),
            (None, Existing::Absent) => {
                Err(Error::Refused(format!("the task `{task_id}` has an XCom `{key}` already; change it instead")))
            }
            (None, Existing::Present) => Err(no_such_xcom(key, &there)),
        }
    }

    /// Removes an XCom of the attempt that won.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none of this key.
    pub async fn delete_xcom(
        &self,
        run: &RunDoc,
        (task_id, map_index): (&str, Option<u32>),
        key: &str,
    ) -> Result<(), Error> {
        let at = self.winner_to_edit(run, task_id, map_index).await?;
        if self.store.edit_attempt(&at, |attempt| attempt.xcoms.remove(key).is_some()).await?.is_some() {
            return Ok(());
        }
        let there = self.store.attempt(&at).await?.ok_or_else(|| nothing_left(task_id))?;
        Err(no_such_xcom(key, &there))
    }

    /// The attempt that won, of a task or of one instance of a mapped task.
    async fn winner_to_edit(&self, run: &RunDoc, task_id: &str, map_index: Option<u32>) -> Result<AttemptKey, Error> {
        let task = self.task_of_run(run, task_id).await?;
        let won = if map_index.is_none() {
            winner(run, task)
        } else {
            let version = self.version(&run.facts.version).await?;
            let pages = pages_of(&self.store, &version.plan, run, task).await?;
            pages.iter().flat_map(|page| winners_on(page, task)).find(|key| key.map_index == map_index)
        };
        won.ok_or_else(|| nothing_left(task_id))
    }
}

fn inline_bytes(value: &ValueRef) -> usize {
    match value {
        ValueRef::Inline(value) => value.to_string().len(),
        ValueRef::At(_) => 0,
    }
}

fn no_such_xcom(key: &str, there: &Attempt) -> Error {
    let near = crate::engine::near(key, there.xcoms.keys().cloned().collect());
    Error::NotFound { what: "the XCom", name: key.to_owned(), near }
}

fn nothing_left(task_id: &str) -> Error {
    Error::Refused(format!(
        "the task `{task_id}` has not ended by an attempt of its own in this run, so there is nothing that its XComs could belong to"
    ))
}
