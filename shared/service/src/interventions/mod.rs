//! Interventions: clear, mark, end. Each carries a drawn operation id, so that a write whose answer was lost is not done twice. What is more
//! than one write may change is noted in the run first, and what is done to several runs is recorded before the first is touched; whoever
//! looks goes on with it.

pub mod bodies;
mod clear;
mod instances;
mod mark;
mod partitions;
mod runs;
mod selection;

pub use clear::{ClearDagRun, ClearTaskInstances};
pub use instances::{Instance, Instances};
pub use mark::{PatchTaskInstances, RunPatch};
pub(crate) use runs::check_note;
pub use runs::{NOTE_CHARS_MAX, Planned};
pub use selection::{Affected, Picks, TaskPick};

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use std::collections::BTreeSet;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::cell::End;
use updraft_model::{Act, Incarnation, Intent, OperationId, RunDoc, TaskIndex, TaskSet};
use updraft_scheduling::step::{self, Step};
use updraft_scheduling::{mapped, pages};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Clears task instances, so that they run again. A finished run becomes queued.
    pub async fn clear(&self, run: &Incarnation, tasks: &[TaskIndex]) -> Result<RunDoc, Error> {
        let operation = self.new_operation();
        let intent = Intent::new(Act::Clear, tasks.iter().copied());
        self.intervene(run, &operation, None, |version, run| {
            Ok(Some(step::intervene_with(&version.plan, run, &intent, &operation, self.clock.now())))
        })
        .await
    }

    /// Gives task instances an end by hand. What runs has to let go. [`Engine::patch_task_instances`] also clears what has failed below.
    pub async fn mark(&self, run: &Incarnation, tasks: &[TaskIndex], end: End) -> Result<RunDoc, Error> {
        let operation = self.new_operation();
        let intent = Intent::new(Act::Mark(end), tasks.iter().copied());
        self.intervene(run, &operation, None, |version, run| {
            Ok(Some(step::intervene_with(&version.plan, run, &intent, &operation, self.clock.now())))
        })
        .await
    }

    /// Ends a run as failed. A run that has ended stays as it is.
    pub async fn fail_run(&self, run: &Incarnation) -> Result<RunDoc, Error> {
        self.end_run(run, End::Failed).await
    }

    /// Ends a run by hand: what is under way gets this end, what else has not ended is skipped, teardowns are left to run. A run that has
    /// ended stays as it is.
    pub async fn end_run(&self, run: &Incarnation, end: End) -> Result<RunDoc, Error> {
        let operation = self.new_operation();
        let gone = || Error::NotFound { what: "the run", name: run.to_string(), near: Vec::new() };
        let there = self.store.run(run).await?.ok_or_else(gone)?;
        let under_way = Box::pin(self.instances_under_way(&there)).await?;
        self.intervene(run, &operation, None, |version, run| {
            let under_way = under_way.clone();
            let intent = Intent { under_way, ..Intent::new(Act::Cancel(end), version.plan.tasks()) };
            let ends = !run.state.is_finished();
            Ok(ends.then(|| step::intervene_with(&version.plan, run, &intent, &operation, self.clock.now())))
        })
        .await
    }

    /// The mapped tasks of a run of which an instance is under way: found on pages that are not full.
    pub(crate) async fn instances_under_way(&self, run: &RunDoc) -> Result<TaskSet, Error> {
        let version = self.version(&run.facts.version).await?;
        let plan = &version.plan;
        let mut under_way = BTreeSet::new();
        for unit in plan.units().iter().filter(|unit| run.mapped.expansion(unit.unit).is_some()) {
            let open = mapped::open_pages(plan, &run.mapped, unit);
            for page in self.store.pages(&run.facts.incarnation, unit.unit, open).await? {
                under_way.append(&mut pages::under_way(&page));
            }
        }
        Ok(under_way.into_iter().collect())
    }

    pub(crate) fn new_operation(&self) -> OperationId {
        OperationId::trusted(self.clock.draw(8))
    }

    /// Takes a step that is an intervention, on whatever image there is, until it is accepted or there is nothing to do. `latest`: the run
    /// goes over to this version with it.
    pub(crate) async fn intervene(
        &self,
        incarnation: &Incarnation,
        operation: &OperationId,
        latest: Option<&Arc<Version>>,
        take: impl Fn(&Arc<Version>, &RunDoc) -> Result<Option<Step>, Error>,
    ) -> Result<RunDoc, Error> {
        let gone = || Error::NotFound { what: "the run", name: incarnation.to_string(), near: Vec::new() };
        let mut run = self.store.run(incarnation).await?.ok_or_else(gone)?;
        for _ in 0..ROUNDS_MAX {
            let version = self.version(&run.facts.version).await?;
            // What somebody began before is made first. Our own earlier write, whose answer was lost, may be among it (ARCHITECTURE.md, rule F1).
            run = Box::pin(self.carry_on(&version, run)).await?.ok_or_else(gone)?;
            if run.operations.contains(operation) {
                return Ok(run);
            }
            let target = match latest {
                Some(latest) => self.rebased(&version, latest).await?,
                None => version.clone(),
            };
            let Some(mut step) = take(&target, &run)? else { return Ok(run) };
            if target.id != version.id {
                step = step::under_other_limits(&version.plan, &target.plan, &run, step, self.clock.now());
                step.change.version = Some(target.id.clone());
            }
            match self.store.update_run(incarnation, &step.change).await {
                Ok(Outcome::Updated(image)) => {
                    // The step may have taken the run to another version.
                    let version = self.version(&image.facts.version).await?;
                    self.after(&version, &step, &image).await;
                    let (image, _) = Box::pin(self.follow(&version, Some(&run), image)).await?.ok_or_else(gone)?;
                    let image = Box::pin(self.carry_on(&version, image)).await?.ok_or_else(gone)?;
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
