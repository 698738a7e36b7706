//! Interventions in mapped tasks: pages are closed before any cell changes (ARCHITECTURE.md, rules E2 and E5).

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::{Act, IndexSet, Intent, PageDoc, PageKey, Plan, RunDoc, TaskIndex, Unit};
use updraft_scheduling::pages::{self, Closing};
use updraft_scheduling::step;
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// How many epochs of pages one write of a run notes.
const EPOCHS_MAX: usize = 50;

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Clears instances of mapped tasks, and whole tasks with them. A finished run becomes queued.
    pub async fn clear_instances(
        &self,
        run: &updraft_model::Incarnation,
        instances: BTreeMap<TaskIndex, IndexSet>,
        tasks: &[TaskIndex],
    ) -> Result<RunDoc, Error> {
        self.act_on_instances(run, Act::Clear, instances, tasks).await
    }

    /// Gives instances of mapped tasks an end by hand.
    pub async fn mark_instances(
        &self,
        run: &updraft_model::Incarnation,
        instances: BTreeMap<TaskIndex, IndexSet>,
        end: updraft_model::cell::End,
    ) -> Result<RunDoc, Error> {
        self.act_on_instances(run, Act::Mark(end), instances, &[]).await
    }

    async fn act_on_instances(
        &self,
        run: &updraft_model::Incarnation,
        act: Act,
        instances: BTreeMap<TaskIndex, IndexSet>,
        tasks: &[TaskIndex],
    ) -> Result<RunDoc, Error> {
        let operation = self.new_operation();
        let all = tasks.iter().copied().chain(instances.keys().copied());
        let intent = Intent { instances: instances.clone(), ..Intent::new(act, all) };
        self.intervene(run, &operation, None, |version, run| {
            Ok(Some(step::intervene_with(&version.plan, run, &intent, &operation, self.clock.now())))
        })
        .await
    }

    /// Closes the pages that the intervention under way concerns, and notes it. None: the run is gone.
    pub(crate) async fn close_pages(&self, version: &Version, mut run: RunDoc) -> Result<Option<RunDoc>, Error> {
        let Some(intent) = run.intent.clone().filter(|intent| intent.pages) else { return Ok(Some(run)) };
        let epoch = run.epoch;
        let (mut closed, mut told) = (Vec::new(), Vec::new());
        for unit in version.plan.units() {
            let Some((pages, is_whole)) = concerned(&version.plan, &run, unit, &intent) else { continue };
            for page in pages {
                let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page };
                self.close_page(version, &run, &key, &intent).await?;
                if !is_whole || intent.act == Act::Stop {
                    told.push((unit.unit, page));
                }
                if !is_whole {
                    closed.push((unit.unit, page));
                }
                if closed.len() == EPOCHS_MAX {
                    match self.note_closed(&run, &std::mem::take(&mut closed), false).await? {
                        Some(image) if image.epoch == epoch && image.intent == run.intent => run = image,
                        other => return Ok(other),
                    }
                }
            }
        }
        let noted = self.note_closed(&run, &closed, true).await?;
        // Marked pages have something to tell the run, and cleared ones to let go of.
        if let Some(run) = &noted {
            let message = |(unit, page): (TaskIndex, u32)| Message::Page {
                incarnation: run.facts.incarnation.clone(),
                unit,
                page: Some(page),
            };
            self.send(told.into_iter().map(|page| Outgoing::now(message(page))).collect()).await;
        }
        Ok(noted)
    }

    async fn note_closed(
        &self,
        run: &RunDoc,
        closed: &[(TaskIndex, u32)],
        is_last: bool,
    ) -> Result<Option<RunDoc>, Error> {
        let mut run = run.clone();
        let epoch = run.epoch;
        for _ in 0..ROUNDS_MAX {
            let step = step::pages_closed(&run, closed, is_last, self.clock.now());
            // Somebody else has closed them, and gone on.
            let Some(step) = step.filter(|_| run.epoch == epoch) else { return Ok(Some(run)) };
            match self.store.update_run(&run.facts.incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    self.attended.tell(&image.facts.incarnation, Some(&image));
                    return Ok(Some(image));
                }
                Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    async fn close_page(&self, version: &Version, run: &RunDoc, key: &PageKey, intent: &Intent) -> Result<(), Error> {
        let mut there: Option<PageDoc> = self.store.page(key).await?;
        for _ in 0..ROUNDS_MAX {
            let act_of = |slot: updraft_model::Slot| {
                let act = step::act_of(&version.plan, run, intent, slot.task);
                act.filter(|_| intent.means_instance(slot.task, slot.map_index))
            };
            let closing = pages::close(&version.plan, run, key, there.as_ref(), act_of, self.clock.now());
            let outcome = match closing {
                None => return Ok(()),
                Some(Closing::New(page)) => self.store.put_page(&page).await?,
                Some(Closing::Again(change)) => {
                    let first = there.as_ref().map_or(0, |page| page.first);
                    self.store.update_page(key, first, &change).await?
                }
            };
            match outcome {
                Outcome::Updated(image) => {
                    // What was queued or waited for slots gives them back. Nothing asks for any while the intervention is under way.
                    Box::pin(self.hold_page(version, run, there.as_ref(), image)).await?;
                    return Ok(());
                }
                Outcome::Refused(image) => there = image,
            }
        }
        Err(Error::Contention(run.facts.run_id.clone()))
    }
}

/// The pages of a unit that an intervention concerns, and whether those are all of them.
fn concerned(plan: &Plan, run: &RunDoc, unit: &Unit, intent: &Intent) -> Option<(BTreeSet<u32>, bool)> {
    let expansion = run.mapped.expansion(unit.unit)?;
    let meant: Vec<TaskIndex> =
        unit.members.iter().copied().filter(|task| step::act_of(plan, run, intent, *task).is_some()).collect();
    if meant.iter().any(|task| intent.means_whole(*task)) {
        return Some(((0..unit.pages(expansion.count)).collect(), true));
    }
    let indexes = meant.iter().filter_map(|task| intent.instances.get(task)).flat_map(IndexSet::iter);
    let pages: BTreeSet<u32> =
        indexes.filter(|index| *index < expansion.count).map(|index| index / unit.per_page()).collect();
    (!pages.is_empty()).then_some((pages, false))
}
