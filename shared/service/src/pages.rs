//! Pages of mapped tasks: bearing them, looking at them, summing them up. The rules are in [`updraft_scheduling::pages`].

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::instances::OnPage;
use crate::readable::tell;
use crate::runs::Leases;
use crate::spans;
use std::time::Duration;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome, keys};
use updraft_model::{
    Attempt, AttemptKey, AttemptOutcome, Cell, Incarnation, PageDoc, PageEffect, PageKey, Place, Plan, RunDoc, Slot,
    TaskIndex, Unit,
};
use updraft_scheduling::mapped;
use updraft_scheduling::pages::{self, Birth, Expired, PageStep};
use updraft_scheduling::step::Ended;
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// How many pages one look bears; a message takes it up from there.
const BIRTHS_MAX: usize = 8;

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks at pages of a mapped task: at one, or at all that are open and those that are to be born. Harmless at any time, any number at
    /// once.
    pub async fn look_at_pages(
        &self,
        incarnation: &Incarnation,
        unit: TaskIndex,
        page: Option<u32>,
    ) -> Result<(), Error> {
        if let Some(page) = page {
            let key = PageKey { incarnation: incarnation.clone(), unit, page };
            return self.look_at_page(&key, Leases::Heed).await;
        }
        let Some(run) = self.store.run(incarnation).await? else { return Ok(()) };
        let version = self.version(&run.facts.version).await?;
        let Some(unit) = version.plan.unit_of(unit) else { return Ok(()) };
        let there = self.bear(&version, &run, unit, true).await?;
        // Instances of a group may wait for tasks outside of it; those of a task alone had nothing to wait for when they were born.
        for page in there.into_iter().filter(|_| unit.members.len() > 1) {
            self.look_at_page(&page.key, Leases::Heed).await?;
        }
        Ok(())
    }

    /// Bears pages that a run owes a unit. Where there are more than one look bears, a message takes it up from there; whoever looks at the
    /// run makes up for that message. Returns the open pages that were there already.
    pub(crate) async fn bear(
        &self,
        version: &Version,
        run: &RunDoc,
        unit: &Unit,
        goes_on: bool,
    ) -> Result<Vec<PageDoc>, Error> {
        let open = mapped::open_pages(&version.plan, &run.mapped, unit);
        let incarnation = &run.facts.incarnation;
        let found = self.store.readable_pages(incarnation, unit.unit, open.iter().copied()).await?;
        tell(&found.unreadable);
        let there = found.items;
        let mut births = 0;
        for page in open {
            let known = there.iter().find(|doc| doc.key.page == page);
            let key = PageKey { incarnation: incarnation.clone(), unit: unit.unit, page };
            if found.unreadable.iter().any(|item| item.key == keys::page(&key)) {
                continue;
            }
            if pages::birth(&version.plan, run, &key, known, self.clock.now()).is_none() {
                continue;
            }
            if births == BIRTHS_MAX {
                let message = Message::Page { incarnation: incarnation.clone(), unit: unit.unit, page: None };
                self.send(if goes_on { vec![Outgoing::now(message)] } else { Vec::new() }).await;
                break;
            }
            births += 1;
            self.bear_page(version, run, &key, known.cloned()).await?;
        }
        Ok(there)
    }

    /// Bears a page if its run owes it.
    async fn bear_page(
        &self,
        version: &Version,
        run: &RunDoc,
        key: &PageKey,
        mut there: Option<PageDoc>,
    ) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let birth = pages::birth(&version.plan, run, key, there.as_ref(), self.clock.now());
            let (outcome, queued) = match &birth {
                None => return Ok(()),
                Some(Birth::New(page, queued)) => (self.store.put_page(page).await?, queued),
                Some(Birth::Again(step)) => {
                    let first = there.as_ref().map_or(0, |page| page.first);
                    (self.store.update_page(key, first, &step.change).await?, &step.queued)
                }
            };
            match outcome {
                Outcome::Updated(page) => {
                    self.send(Self::instance_messages(&version.plan, run, &page, queued)).await;
                    let page = Box::pin(self.hold_page(version, run, there.as_ref(), page)).await?.page;
                    if page.is_full() {
                        // Nothing of it had to run.
                        Box::pin(self.conclude_page(version, page)).await?;
                    }
                    return Ok(());
                }
                Outcome::Refused(image) => there = image,
            }
        }
        Err(Error::Contention(run.facts.run_id.clone()))
    }

    /// The first page of each unit that a step expanded, so that its first instances run at once; and a message for the others.
    pub(crate) async fn bear_first(&self, version: &Version, run: &RunDoc, expanded: &[TaskIndex]) {
        for unit in expanded.iter().filter_map(|unit| version.plan.unit_of(*unit)) {
            let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page: 0 };
            if let Err(error) = Box::pin(self.bear_page(version, run, &key, None)).await {
                tracing::warn!(%error, "the first page of a mapped task was not born; the sweep makes up for it");
            }
            if mapped::pages_allowed(&version.plan, &run.mapped, unit) > 1 {
                let message = Message::Page { incarnation: key.incarnation, unit: unit.unit, page: None };
                self.send(vec![Outgoing::now(message)]).await;
            }
        }
    }

    /// Messages for the pages that a run which starts again owes, or that stand as they were.
    pub(crate) fn open_page_messages(plan: &Plan, run: &RunDoc) -> Vec<Outgoing> {
        let is_open =
            |unit: &&Unit| run.mapped.expansion(unit.unit).is_some() && !mapped::is_complete(&run.mapped, unit);
        let incarnation = &run.facts.incarnation;
        let message = |unit: &Unit| Message::Page { incarnation: incarnation.clone(), unit: unit.unit, page: None };
        plan.units().iter().filter(is_open).map(|unit| Outgoing::now(message(unit))).collect()
    }

    /// Messages for all of that, and for each page that is open: what its instances have waited for is told by nothing of theirs.
    pub(crate) fn all_page_messages(plan: &Plan, run: &RunDoc) -> Vec<Outgoing> {
        let mut messages = Self::open_page_messages(plan, run);
        for unit in plan.units().iter().filter(|unit| run.mapped.expansion(unit.unit).is_some()) {
            let incarnation = &run.facts.incarnation;
            let message = |page| Message::Page { incarnation: incarnation.clone(), unit: unit.unit, page: Some(page) };
            messages.extend(
                mapped::open_pages(plan, &run.mapped, unit).into_iter().map(|page| Outgoing::now(message(page))),
            );
        }
        messages
    }

    /// Messages to pages whose instances may wait for a task that has just ended.
    pub(crate) fn page_messages(plan: &Plan, run: &RunDoc, ended: &[TaskIndex]) -> Vec<Outgoing> {
        let waits = |unit: &&Unit| {
            unit.members.len() > 1
                && run.mapped.expansion(unit.unit).is_some()
                && ended.iter().any(|task| unit.upstream.contains(task))
                && !mapped::is_complete(&run.mapped, unit)
        };
        let message =
            |unit: &Unit| Message::Page { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page: None };
        plan.units().iter().filter(waits).map(|unit| Outgoing::now(message(unit))).collect()
    }

    /// Messages for queued instances.
    pub(crate) fn instance_messages(
        plan: &Plan,
        run: &RunDoc,
        page: &PageDoc,
        queued: &[(Slot, u32)],
    ) -> Vec<Outgoing> {
        let message = |(slot, try_number): &(Slot, u32)| Message::Task {
            dag_id: run.facts.dag_id.clone(),
            incarnation: run.facts.incarnation.clone(),
            task: slot.task,
            try_number: *try_number,
            priority: plan.priority(slot.task),
            place: Some(Place { unit: page.key.unit, page: page.key.page, map_index: slot.map_index }),
            worker: plan.task(slot.task).worker_kind(),
        };
        queued.iter().map(|queued| Outgoing::now(message(queued))).collect()
    }

    /// What follows an accepted write on a page: messages for what it queued, and a look at what waits when it is due.
    pub(crate) async fn after_page(&self, version: &Version, run: &RunDoc, step: &PageStep, page: &PageDoc) {
        let mut messages = Self::instance_messages(&version.plan, run, page, &step.queued);
        let now = self.clock.now();
        for (_, cell) in &step.change.cells {
            if let Cell::Waiting { due, .. } = cell {
                let delay = Duration::try_from(due.duration_since(now)).unwrap_or_default();
                if delay <= updraft_task_queue::DELAY_MAX {
                    let PageKey { incarnation, unit, page } = page.key.clone();
                    messages.push(Outgoing { message: Message::Page { incarnation, unit, page: Some(page) }, delay });
                }
            }
        }
        self.send(messages).await;
    }

    /// Looks at a page: settles what died, decides what is undecided, sums it up if it is full, sends again what may be lost.
    pub async fn look_at_page(&self, key: &PageKey, leases: Leases) -> Result<(), Error> {
        let Some(mut page) = self.store.page(key).await? else { return Ok(()) };
        let Some(run) = self.store.run(&key.incarnation).await? else {
            // Its run is deleted.
            return Ok(self.store.delete_page(key).await?);
        };
        let version = self.version(&run.facts.version).await?;
        if version.plan.unit_of(key.unit).is_none() {
            let page = self.deliver_page(&run, page).await?;
            let change = pages::abandon(&page, self.clock.now());
            self.store.update_page(key, page.first, &change).await?;
            return Ok(());
        }
        let mut all_dead = leases == Leases::AllDead;
        let mut sent = Vec::new();
        let mut refused = 0;
        let base = page.clone();
        loop {
            let expired = self.expired_instances(&page, all_dead).await?;
            let step = pages::sweep(&version.plan, &run, &page, &expired, self.clock.now());
            if step.is_nothing() {
                break;
            }
            match self.store.update_page(key, page.first, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after_page(&version, &run, &step, &image).await;
                    self.bury_instances(&version, &run, &image, &expired).await;
                    sent.extend(step.queued.iter().map(|(slot, _)| *slot));
                    // The dead are settled once; who claims from now on lives.
                    all_dead = false;
                    page = image;
                }
                Outcome::Refused(Some(image)) if refused < ROUNDS_MAX => {
                    refused += 1;
                    page = image;
                }
                Outcome::Refused(_) => return Err(Error::Contention(run.facts.run_id)),
            }
        }
        let held = Box::pin(self.hold_page(&version, &run, Some(&base), page)).await?;
        // What it queued has had its messages.
        let is_granted = |(slot, cell): (&Slot, &Cell)| {
            (matches!(cell, Cell::Queued { .. }) && base.cell(*slot) != cell).then_some(*slot)
        };
        sent.extend(held.page.cells.iter().filter_map(is_granted));
        page = self.deliver_page(&run, held.page).await?;
        if page.is_full() {
            return self.conclude_page(&version, page).await;
        }
        self.signal(&version, &page).await?;
        if let Outcome::Updated(image) =
            self.store.update_page(key, page.first, &pages::rearm(&page, held.asks_again, self.clock.now())).await?
        {
            page = image;
        }
        if page.is_open && run.intent.is_none() {
            let again = page.cells.iter().filter_map(|(slot, cell)| match cell {
                Cell::Queued { try_number } if !sent.contains(slot) => Some((*slot, *try_number)),
                _ => None,
            });
            self.send(Self::instance_messages(&version.plan, &run, &page, &again.collect::<Vec<_>>())).await;
        }
        Ok(())
    }

    /// Tells what ended tries of a page have to tell, idempotently, and strikes it out. Returns the page as it is then.
    pub(crate) async fn deliver_page(&self, run: &RunDoc, mut page: PageDoc) -> Result<PageDoc, Error> {
        let mut told = Vec::new();
        // One that cannot be told keeps no other: it stays, and the next look tries again.
        let mut failed = None;
        for ((slot, try_number), effect) in &page.effects {
            let PageEffect { token, end } = effect;
            match Box::pin(self.deliver_try(run, slot.task, Some(slot.map_index), *try_number, token, *end)).await {
                Ok(()) => told.push((*slot, *try_number)),
                Err(error) => failed = Some(error),
            }
        }
        if !told.is_empty() {
            match self.store.update_page(&page.key, page.first, &pages::strike_out(&told)).await? {
                Outcome::Updated(image) | Outcome::Refused(Some(image)) => page = image,
                Outcome::Refused(None) => {}
            }
        }
        failed.map_or(Ok(page), Err)
    }

    /// The page of an instance of a mapped task, as attempts see it. None: there is none.
    pub(crate) async fn page_of_instance(
        &self,
        version: &Version,
        run: &RunDoc,
        task: TaskIndex,
        map_index: Option<u32>,
    ) -> Result<Option<OnPage>, Error> {
        let (Some(map_index), Some(unit)) = (map_index, version.plan.unit_of(task)) else { return Ok(None) };
        let key = pages::page_of(unit, run, map_index);
        let place = Place { unit: unit.unit, page: key.page, map_index };
        let run_read_at = Some(self.clock.now());
        Ok(self.store.page(&key).await?.map(|page| OnPage { place, page, run_read_at }))
    }

    /// Sums a full page up in its run, and takes it out of the time index once that was accepted, or is no news.
    pub(crate) async fn conclude_page(&self, version: &Version, page: PageDoc) -> Result<(), Error> {
        let incarnation = &page.key.incarnation;
        let Some(mut run) = self.store.run(incarnation).await? else { return Ok(()) };
        for _ in 0..ROUNDS_MAX {
            let Some(step) = pages::sum_up(&version.plan, &run, &page, self.clock.now()) else {
                // Known already, or the run has another epoch for it. A run that is being changed asks again later.
                if run.intent.is_none() {
                    self.store.update_page(&page.key, page.first, &pages::leave(&page)).await?;
                }
                return Ok(());
            };
            match self.store.update_run(incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &step, &image).await;
                    self.store.update_page(&page.key, page.first, &pages::leave(&page)).await?;
                    self.bear_next(version, &image, page.key.unit).await?;
                    return Box::pin(self.settle(version, &run, &step, &image)).await;
                }
                Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => return Ok(()),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// Bears the page that a full one has made room for.
    async fn bear_next(&self, version: &Version, run: &RunDoc, unit: TaskIndex) -> Result<(), Error> {
        let Some(unit) = version.plan.unit_of(unit) else { return Ok(()) };
        let allowed = mapped::pages_allowed(&version.plan, &run.mapped, unit);
        if version.plan.pages_most(unit).is_some() {
            // It may be there already, of before some instances were cleared, and wait for its turn.
            let Some(page) = mapped::open_pages(&version.plan, &run.mapped, unit).pop() else { return Ok(()) };
            let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page };
            Box::pin(self.bear_page(version, run, &key, None)).await?;
            let PageKey { incarnation, unit, page } = key;
            self.send(vec![Outgoing::now(Message::Page { incarnation, unit, page: Some(page) })]).await;
            return Ok(());
        }
        let is_new = allowed > mapped::pages_open_most(&version.plan, unit);
        let Some(page) = allowed.checked_sub(1).filter(|_| is_new) else { return Ok(()) };
        let key = PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page };
        Box::pin(self.bear_page(version, run, &key, None)).await
    }

    /// Tells a run of the first failure, success or skip of a page that is not full, where a task below can act on it.
    pub(crate) async fn signal(&self, version: &Version, page: &PageDoc) -> Result<(), Error> {
        let incarnation = &page.key.incarnation;
        let is_final = |(slot, cell): (&Slot, &Cell)| match cell {
            Cell::Final { end, .. } => pages::may_signal(&version.plan, page.key.unit, slot.task, *end),
            _ => false,
        };
        if !page.is_open || !page.cells.iter().any(is_final) {
            return Ok(());
        }
        let Some(mut run) = self.store.run(incarnation).await? else { return Ok(()) };
        for _ in 0..ROUNDS_MAX {
            let Some(step) = pages::signal(&version.plan, &run, page, self.clock.now()) else { return Ok(()) };
            match self.store.update_run(incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &step, &image).await;
                    return Box::pin(self.settle(version, &run, &step, &image)).await;
                }
                Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => return Ok(()),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// The instances whose leases are over, with what their attempts left.
    async fn expired_instances(&self, page: &PageDoc, all: bool) -> Result<Vec<Expired>, Error> {
        let cells = pages::expired(page, self.clock.now(), all);
        let key = |slot: Slot, cell: &Cell| match cell {
            Cell::Running { try_number, lease } => Some(instance_key(page, slot, *try_number, &lease.token)),
            _ => None,
        };
        let wanted: Vec<AttemptKey> = cells.iter().filter_map(|(slot, cell)| key(*slot, cell)).collect();
        let left = if wanted.is_empty() { Vec::new() } else { self.left_behind(&wanted).await? };
        let found = |slot: Slot, cell: &Cell| {
            let wanted = key(slot, cell)?;
            left.iter().find(|(k, _)| *k == wanted).map(|(_, attempt)| Ended::from(attempt))
        };
        Ok(cells.into_iter().map(|(slot, cell)| Expired { left: found(slot, &cell), slot, cell }).collect())
    }

    /// Leaves an item for each attempt that died without one, once its cell has been settled.
    async fn bury_instances(&self, version: &Version, run: &RunDoc, page: &PageDoc, settled: &[Expired]) {
        for Expired { slot, cell, left } in settled {
            let (Cell::Running { try_number, lease }, None) = (cell, left) else { continue };
            let key = instance_key(page, *slot, *try_number, &lease.token);
            let attempt = Attempt {
                message: Some("its worker died, or did not renew its lease in time".to_owned()),
                ..Attempt::new(AttemptOutcome::Failed, lease.since, self.clock.now())
            };
            spans::attempt(version, run, &key, &attempt);
            if let Err(error) = self.store.put_attempt(&key, &attempt).await {
                tracing::warn!(%error, "an attempt that died is not recorded");
            }
        }
    }
}

/// Where the item of an instance's attempt is.
pub(crate) fn instance_key(page: &PageDoc, slot: Slot, try_number: u32, token: &updraft_model::Token) -> AttemptKey {
    AttemptKey {
        incarnation: page.key.incarnation.clone(),
        task: slot.task,
        map_index: Some(slot.map_index),
        try_number,
        token: token.clone(),
    }
}
