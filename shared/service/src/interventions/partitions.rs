//! Taking runs their partitions: such a run makes no part of the data in particular any more.

use crate::engine::{Engine, Error, ROUNDS_MAX};
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::{RunChange, RunDoc, RunFacts};
use updraft_task_queue::TaskQueue;

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Takes a run its partition; whether it had one. Attempts that have begun keep what they were told.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the run has been deleted meanwhile.
    pub async fn clear_partition(&self, run: &RunDoc) -> Result<bool, Error> {
        let mut run = run.clone();
        for _ in 0..ROUNDS_MAX {
            if run.facts.partition.is_none() {
                return Ok(false);
            }
            // The facts are written whole, so the write asks for the very image they come from.
            let facts = RunFacts { partition: None, ..run.facts.clone() };
            let change =
                RunChange { if_revision: Some(run.revision), facts: Some(Box::new(facts)), ..RunChange::default() };
            match self.store.update_run(&run.facts.incarnation, &change).await? {
                Outcome::Updated(_) => return Ok(true),
                Outcome::Refused(Some(there)) if there.deleted_at.is_none() => run = there,
                Outcome::Refused(_) => {
                    return Err(Error::NotFound { what: "the run", name: run.facts.run_id, near: Vec::new() });
                }
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }
}
