//! Interventions: clear and fail. Each carries a drawn operation id, so that a write whose answer was lost is not done twice.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::{Incarnation, OperationId, RunDoc, TaskIndex};
use updraft_scheduling::step::{self, Step};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Clears task instances, so that they run again. A finished run becomes queued.
    pub async fn clear(&self, run: &Incarnation, tasks: &[TaskIndex]) -> Result<RunDoc, Error> {
        let operation = OperationId::trusted(self.clock.draw(8));
        self.intervene(run, &operation, |version, run| {
            Some(step::clear(&version.plan, run, tasks, &operation, self.clock.now()))
        })
        .await
    }

    /// Ends a run as failed. A run that has ended stays as it is.
    pub async fn fail_run(&self, run: &Incarnation) -> Result<RunDoc, Error> {
        let operation = OperationId::trusted(self.clock.draw(8));
        self.intervene(run, &operation, |version, run| {
            (!run.state.is_finished()).then(|| step::fail_run(&version.plan, run, &operation, self.clock.now()))
        })
        .await
    }

    async fn intervene(
        &self,
        incarnation: &Incarnation,
        operation: &OperationId,
        take: impl Fn(&Arc<Version>, &RunDoc) -> Option<Step>,
    ) -> Result<RunDoc, Error> {
        let gone = || Error::NotFound { what: "the run", name: incarnation.to_string(), near: Vec::new() };
        let mut run = self.store.run(incarnation).await?.ok_or_else(gone)?;
        for _ in 0..ROUNDS_MAX {
            if run.operations.contains(operation) {
                // Our own earlier write, whose answer was lost (ARCHITECTURE.md, rule F1).
                return Ok(run);
            }
            let version = self.version(&run.facts.version).await?;
            let Some(step) = take(&version, &run) else { return Ok(run) };
            match self.store.update_run(incarnation, &step.change).await {
                Ok(Outcome::Updated(image)) => {
                    self.after(&version, &step, &image).await;
                    self.send(vec![Outgoing::now(Message::Run { incarnation: incarnation.clone() })]).await;
                    return Ok(image);
                }
                Ok(Outcome::Refused(Some(image))) => run = image,
                Ok(Outcome::Refused(None)) => return Err(gone()),
                Err(updraft_metastore::Error::Unavailable(_)) => {
                    // It may have landed: look before trying again.
                    run = self.store.run(incarnation).await?.ok_or_else(gone)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }
}
