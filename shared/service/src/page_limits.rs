//! Instances of mapped tasks under limits that have documents of their own: as in [`crate::limits`], on their pages.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use crate::limits::{Asker, Asking, Standing};
use crate::readable::{aside, tell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome, keys};
use updraft_model::{
    Cell, Claim, HolderDoc, HolderId, HolderName, Incarnation, PageDoc, PageKey, RunDoc, Slot, TaskIndex,
};
use updraft_scheduling::attention::LOOK_EVERY;
use updraft_scheduling::{holders, pages};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// The runs and the pages of those that hold slots.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    pub(crate) runs: BTreeMap<Incarnation, RunDoc>,
    pages: BTreeMap<HolderName, Arc<PageDoc>>,
    /// Those whose run or page cannot be read: they keep what they hold, and hide nobody else.
    unreadable: BTreeSet<HolderName>,
}

impl Holding {
    /// The cell of a holder.
    pub(crate) fn cell(&self, name: &HolderName) -> Option<&Cell> {
        match name.map_index {
            Some(map_index) => Some(self.pages.get(name)?.cell(Slot { map_index, task: name.task })),
            None => Some(self.runs.get(&name.incarnation)?.cell(name.task)),
        }
    }

    /// Whether a claim still stands for what its run does (rule B3).
    pub(crate) fn is_alive(&self, doc: &HolderDoc, name: &HolderName, claim: &Claim) -> bool {
        if self.unreadable.contains(name) {
            return true;
        }
        let run = self.runs.get(&name.incarnation);
        let keeps = |wait| holders::keeps(doc, wait);
        match name.map_index {
            Some(map_index) => {
                let of = run.zip(self.pages.get(name).map(Arc::as_ref));
                holders::is_instance_alive(claim, of, Slot { map_index, task: name.task }, keeps)
            }
            None => holders::is_alive(claim, run, name.task, keeps),
        }
    }
}

/// A page after its dealings with limits.
#[derive(Debug)]
pub(crate) struct HeldPage {
    pub(crate) page: PageDoc,
    /// Whether some of it wants slots and nobody of it is in a line: only the page's own looks will ask again.
    pub(crate) asks_again: bool,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Gives back what instances of a page held at `base` and hold no more, asks for what they need now, and queues who has it.
    pub(crate) async fn hold_page(
        &self,
        version: &Version,
        run: &RunDoc,
        base: Option<&PageDoc>,
        mut page: PageDoc,
    ) -> Result<HeldPage, Error> {
        let plan = &version.plan;
        let is_under = plan
            .unit_of(page.key.unit)
            .is_some_and(|unit| unit.members.iter().any(|task| plan.is_held_elsewhere(*task)));
        if !is_under {
            return Ok(HeldPage { page, asks_again: false });
        }
        let mut before = base.cloned();
        for _ in 0..ROUNDS_MAX {
            let wanting = pages::wanting(plan, run, &page);
            let returns = before.as_ref().map_or_else(Vec::new, |b| holders::given_back_by_page(plan, run, b, &page));
            let askers: Vec<Asker> = wanting.iter().map(|slot| asker(version, run, &page, *slot)).collect();
            let standing = Box::pin(self.deal(returns, &askers, Asking::OnPage)).await?;
            let granted = standing.which(&wanting, &askers, Standing::has_all);
            let put_off = standing.put_off(&wanting, &askers);
            if granted.is_empty() && put_off.is_empty() {
                let is_known = !standing.waits.is_empty() || !standing.has.is_empty();
                let asks_again = standing.is_crowded || (!wanting.is_empty() && !is_known);
                return Ok(HeldPage { page, asks_again });
            }
            let step = pages::grant_and_put_off(&page, &granted, &put_off, self.clock.now());
            match self.store.update_page(&page.key, page.first, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after_page(version, run, &step, &image).await;
                    before = Some(std::mem::replace(&mut page, image));
                }
                // What was taken for a cell that is no more is given back in the next round.
                Outcome::Refused(Some(image)) => before = Some(std::mem::replace(&mut page, image)),
                Outcome::Refused(None) => return Ok(HeldPage { page, asks_again: false }),
            }
        }
        Err(Error::Contention(run.facts.run_id.clone()))
    }

    /// Queues an instance that waited and holds its slots now. Returns whom to tell.
    pub(crate) async fn queue_promoted_instance(
        &self,
        holder: &HolderId,
        name: &HolderName,
        claim: &Claim,
    ) -> Result<Vec<Outgoing>, Error> {
        let to_holder = || vec![Outgoing::now(Message::Holder { holder: holder.clone() })];
        let Some((run, key, slot)) = self.place_of(name).await? else { return Ok(to_holder()) };
        if run.paused {
            self.put_off_instance(&key, slot, claim).await?;
            return Ok(to_holder());
        }
        let PageKey { incarnation, unit, page: number } = key.clone();
        let to_page = || {
            let (incarnation, page) = (incarnation.clone(), Some(number));
            vec![Outgoing::now(Message::Page { incarnation, unit, page })]
        };
        if !claim.is_last {
            return Ok(to_page());
        }
        let version = self.version(&run.facts.version).await?;
        let first = version.plan.unit_of(unit).map_or(0, |unit| number.saturating_mul(unit.per_page()));
        let look_at = self.clock.now().saturating_add(LOOK_EVERY).ok();
        let change = pages::promote(slot, claim.generation, look_at);
        Ok(match self.store.update_page(&key, first, &change).await? {
            Outcome::Updated(page) => {
                let queued = [(slot, claim.generation.try_number)];
                Self::instance_messages(&version.plan, &run, &page, &queued)
            }
            // A page that is no more, or an instance that has gone on: the slots go to the next (rule B2).
            Outcome::Refused(image) => {
                let of = image.as_ref().map(|page| (&run, page));
                if holders::is_instance_alive(claim, of, slot, |_| false) { to_page() } else { to_holder() }
            }
        })
    }

    /// Puts an instance off that was given slots while its DAG is paused (rule P1): it holds them no more.
    async fn put_off_instance(&self, key: &PageKey, slot: Slot, claim: &Claim) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            let Some(page) = self.store.page(key).await? else { return Ok(()) };
            if holders::Stands::on_page(&page, slot).generation() != claim.generation {
                return Ok(());
            }
            let step = pages::grant_and_put_off(&page, &[], &[slot], self.clock.now());
            if step.change.cells.is_empty() {
                return Ok(());
            }
            if let Outcome::Updated(_) | Outcome::Refused(None) =
                self.store.update_page(key, page.first, &step.change).await?
            {
                return Ok(());
            }
        }
        Err(Error::Contention(key.incarnation.to_string()))
    }

    /// Where an instance lies. None: its run is gone, or of a version in which it is not mapped.
    async fn place_of(&self, name: &HolderName) -> Result<Option<(RunDoc, PageKey, Slot)>, Error> {
        let Some(map_index) = name.map_index else { return Ok(None) };
        let Some(run) = self.store.run(&name.incarnation).await? else { return Ok(None) };
        let version = self.version(&run.facts.version).await?;
        let Some(unit) = version.plan.unit_of(name.task) else { return Ok(None) };
        let key = pages::page_of(unit, &run, map_index);
        Ok(Some((run, key, Slot { map_index, task: name.task })))
    }

    /// How those stand that hold slots.
    pub(crate) async fn holding<'a>(&self, names: impl Iterator<Item = &'a HolderName>) -> Result<Holding, Error> {
        let names: Vec<&HolderName> = names.collect();
        let mut incarnations: Vec<Incarnation> = names.iter().map(|name| name.incarnation.clone()).collect();
        incarnations.sort();
        incarnations.dedup();
        let mut holding = Holding::default();
        let found = self.readable_runs(&incarnations).await?;
        let is_unreadable =
            |name: &HolderName| found.unreadable.iter().any(|item| item.key == keys::run(&name.incarnation));
        holding.unreadable.extend(names.iter().filter(|name| is_unreadable(name)).map(|name| (*name).clone()));
        for run in found.items {
            holding.runs.insert(run.facts.incarnation.clone(), run);
        }
        // By page, so that each is read once.
        let mut by_unit: BTreeMap<(Incarnation, TaskIndex), BTreeMap<u32, Vec<&HolderName>>> = BTreeMap::new();
        for name in names {
            let (Some(map_index), Some(run)) = (name.map_index, holding.runs.get(&name.incarnation)) else { continue };
            let Some(version) = aside(self.version(&run.facts.version).await)? else {
                holding.unreadable.insert(name.clone());
                continue;
            };
            let Some(unit) = version.plan.unit_of(name.task) else { continue };
            let pages = by_unit.entry((name.incarnation.clone(), unit.unit)).or_default();
            pages.entry(map_index / unit.per_page()).or_default().push(name);
        }
        for ((incarnation, unit), of_page) in by_unit {
            let found = self.store.readable_pages(&incarnation, unit, of_page.keys().copied()).await?;
            tell(&found.unreadable);
            for page in found.items {
                let page = Arc::new(page);
                for name in &of_page[&page.key.page] {
                    holding.pages.insert((*name).clone(), Arc::clone(&page));
                }
            }
            for (page, names) in of_page {
                let key = keys::page(&PageKey { incarnation: incarnation.clone(), unit, page });
                if found.unreadable.iter().any(|item| item.key == key) {
                    holding.unreadable.extend(names.into_iter().cloned());
                }
            }
        }
        Ok(holding)
    }
}

/// What a scheduled instance asks for.
fn asker(version: &Version, run: &RunDoc, page: &PageDoc, slot: Slot) -> Asker {
    let plan = &version.plan;
    let need = |holder: HolderId| {
        let claim = holders::instance_claim(plan, run, page, slot, &holder);
        let size = holders::size_of(plan, slot.task, &holder);
        (holder, claim, size)
    };
    let turn = holders::Stands::on_page(page, slot).generation().turn;
    let holders = holders::in_turn(plan.holders(slot.task, &run.facts.incarnation), turn);
    Asker { name: holders::instance_name(page, slot), needs: holders.into_iter().map(need).collect() }
}
