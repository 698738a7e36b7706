//! A worker's part for one instance of a mapped task: as in [`crate::work`], on its page instead of its run's document.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::work::{Continuation, TaskRef, Work, whole_millis};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Error as StoreError, Items, Outcome};
use updraft_model::{Lease, PageChange, PageDoc, PageHeld, PageKey, Place, RunDoc, Slot, Token};
use updraft_scheduling::pages::{self, PageStep};
use updraft_scheduling::step::{Continue, Ended};
use updraft_task_queue::TaskQueue;

/// How long an attempt on a page may have taken to let it still decide on the image of its run that it was claimed by.
const RUN_FRESH: SignedDuration = SignedDuration::from_secs(1);

/// The page of an attempt of a mapped instance, as it was last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct OnPage {
    /// Which instance.
    pub place: Place,
    /// Its page.
    pub page: PageDoc,
    /// When its run was read; none: it is the image that the attempt before it in this place went by.
    pub run_read_at: Option<Timestamp>,
}

impl OnPage {
    /// The instance of this task.
    pub fn slot(&self, task: updraft_model::TaskIndex) -> Slot {
        Slot { map_index: self.place.map_index, task }
    }
}

impl Work {
    pub(crate) fn held_on_page(&self, on: &OnPage) -> PageHeld {
        PageHeld { slot: on.slot(self.task), try_number: self.try_number, token: self.lease.token.clone() }
    }
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Claims a queued instance. The run is read first: what is claimed must be of the epoch it has for the page, so that nothing of an older
    /// expansion runs with the values of a newer one, or the other way round.
    pub(crate) async fn claim_instance(
        &self,
        task: &TaskRef,
        place: Place,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Work>, Error> {
        let run_read_at = Some(self.clock.now());
        let Some(run) = self.store.run(&task.incarnation).await? else { return Ok(None) };
        let version = self.version(&run.facts.version).await?;
        let Some(unit) = version.plan.unit_of(place.unit) else { return Ok(None) };
        let Some(epoch) = run.mapped.epoch(place.unit, place.page) else { return Ok(None) };
        let first = place.page.saturating_mul(unit.per_page());
        let key = PageKey { incarnation: task.incarnation.clone(), unit: place.unit, page: place.page };
        let slot = Slot { map_index: place.map_index, task: task.task };
        let now = whole_millis(self.clock.now());
        let lease =
            Lease { token: Token::trusted(self.clock.draw(8)), until: self.lease_until(now, deadline), since: now };
        let of_epoch = |change: PageChange| PageChange { if_open_at: Some(epoch), ..change };
        let mut change = of_epoch(pages::claim(slot, task.try_number, &lease));
        for _ in 0..ROUNDS_MAX {
            let page = match self.store.update_page(&key, first, &change).await? {
                Outcome::Updated(page) => page,
                Outcome::Refused(None) => return Ok(None),
                Outcome::Refused(Some(page)) => {
                    if page.cell(slot).holder().is_some_and(|held| held.token == lease.token) {
                        page
                    } else if let Some(again) = pages::claim_again(&page, slot, task.try_number, &lease)
                        && page.is_open
                        && page.epoch == epoch
                    {
                        change = of_epoch(again);
                        continue;
                    } else {
                        return Ok(None);
                    }
                }
            };
            let queued_at = task.queued_before(now);
            let (task, try_number) = (task.task, task.try_number);
            return Ok(Some(Work {
                run,
                version,
                task,
                try_number,
                queued_at,
                lease,
                deadline,
                on_page: Some(OnPage { place, page, run_read_at }),
            }));
        }
        Err(Error::Contention(task.incarnation.to_string()))
    }

    /// Finishes an attempt on its page, and tells the run what it has to know. Returns the instance claimed in the same write.
    pub(crate) async fn finish_instance(
        &self,
        work: Work,
        on: OnPage,
        ended: Ended,
        deadline: Option<Timestamp>,
        may_continue: &(impl Fn() -> Option<Continuation> + Send),
    ) -> Result<Option<Work>, Error> {
        let (version, held) = (work.version.clone(), work.held_on_page(&on));
        let run = self.run_by_now(&work, on.run_read_at).await?;
        let OnPage { place, mut page, .. } = on;
        let token = Token::trusted(self.clock.draw(8));
        let mut tried: Option<(PageStep, PageDoc)> = None;
        for _ in 0..ROUNDS_MAX {
            let now = whole_millis(self.clock.now());
            let wish = may_continue().map(|c| Continue {
                token: token.clone(),
                until: self.lease_until(now, deadline),
                priority_least: c.priority_least,
                timeout_most: c.timeout_most,
                worker: c.worker,
            });
            let step = pages::finish(&version.plan, &run, &page, &held, &ended, now, wish.as_ref());
            let Some(step) = step else {
                return match tried.filter(|(step, _)| pages::landed(step, &page, &held)) {
                    Some((step, base)) => {
                        self.finished_instance(&version, run, place, (&step, &base), page, deadline).await
                    }
                    None => self.let_go_instance(&work).await.map(|_| None),
                };
            };
            let write = || self.store.update_page(&page.key, page.first, &step.change);
            match self.insist(&work, write).await? {
                Outcome::Updated(after) => {
                    return self.finished_instance(&version, run, place, (&step, &page), after, deadline).await;
                }
                Outcome::Refused(Some(there)) => tried = Some((step, std::mem::replace(&mut page, there))),
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(work.run.facts.run_id))
    }

    /// The run of an attempt on a page, read anew where the image it has is old: nothing of a page says that the run has been paused since.
    async fn run_by_now(&self, work: &Work, read_at: Option<Timestamp>) -> Result<RunDoc, Error> {
        if read_at.is_some_and(|at| self.clock.now().duration_since(at) < RUN_FRESH) {
            return Ok(work.run.clone());
        }
        // Taken to another version since, its pages are closed, and it is for their looks to go on by that one.
        let there = self.store.run(&work.run.facts.incarnation).await?;
        Ok(there.filter(|run| run.facts.version == work.version.id).unwrap_or_else(|| work.run.clone()))
    }

    async fn finished_instance(
        &self,
        version: &Arc<Version>,
        run: RunDoc,
        place: Place,
        (step, base): (&PageStep, &PageDoc),
        page: PageDoc,
        deadline: Option<Timestamp>,
    ) -> Result<Option<Work>, Error> {
        self.after_page(version, &run, step, &page).await;
        let page = match Box::pin(self.hold_page(version, &run, Some(base), page.clone())).await {
            Ok(held) => held.page,
            Err(error) => {
                tracing::warn!(%error, "slots are given back and taken by the next look");
                page
            }
        };
        let page = match self.deliver_page(&run, page.clone()).await {
            Ok(page) => page,
            Err(error) => {
                tracing::warn!(%error, "what a try has to tell was left to the sweep");
                page
            }
        };
        let told = if page.is_full() {
            Box::pin(self.conclude_page(version, page.clone())).await
        } else {
            Box::pin(self.signal(version, &page)).await
        };
        if let Err(error) = told {
            tracing::warn!(%error, "what follows a finish was left to the sweep");
        }
        let Some((slot, try_number, lease)) = step.claimed.clone() else { return Ok(None) };
        let ours = page.cell(slot).holder().is_some_and(|held| held.token == lease.token);
        let place = Place { map_index: slot.map_index, ..place };
        let (version, on_page) = (version.clone(), Some(OnPage { place, page, run_read_at: None }));
        let (task, queued_at) = (slot.task, Some(lease.since));
        Ok(ours.then_some(Work { run, version, task, try_number, queued_at, lease, deadline, on_page }))
    }

    /// Renews the lease of an instance.
    pub(crate) async fn renew_instance(
        &self,
        work: &Work,
        on: &OnPage,
        from: &Lease,
        lease: &Lease,
    ) -> Result<Outcome<PageDoc>, StoreError> {
        let change = pages::renew(&work.held_on_page(on), from, lease);
        self.store.update_page(&on.page.key, on.page.first, &change).await
    }

    /// Lets go of an instance that was cleared or marked while the attempt ran; call after the attempt was killed. False:
    /// there was nothing to let go.
    pub(crate) async fn let_go_instance(&self, work: &Work) -> Result<bool, Error> {
        let Some(on) = &work.on_page else { return Ok(false) };
        let held = work.held_on_page(on);
        for _ in 0..ROUNDS_MAX {
            let Some(run) = self.store.run(&work.run.facts.incarnation).await? else { return Ok(false) };
            let Some(page) = self.store.page(&on.page.key).await? else { return Ok(false) };
            let now = self.clock.now();
            let Some(step) = pages::acknowledge(&work.version.plan, &run, &page, &held, now) else { return Ok(false) };
            if let Outcome::Updated(image) = self.store.update_page(&page.key, page.first, &step.change).await? {
                self.after_page(&work.version, &run, &step, &image).await;
                let image = Box::pin(self.hold_page(&work.version, &run, Some(&page), image)).await?.page;
                if image.is_full() {
                    Box::pin(self.conclude_page(&work.version, image)).await?;
                }
                return Ok(true);
            }
        }
        Err(Error::Contention(work.run.facts.run_id.clone()))
    }
}
