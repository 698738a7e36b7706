//! The conditional writes in the life of a page of mapped instances. As in [`crate::step`], each function takes images and gives the change
//! to write; a refused write hands back the image that stood in the way.
//!
//! A page is born, closed and reborn by epoch (ARCHITECTURE.md, rules E1 to E5). Between these its instances live as tasks do in a run
//! document: claimed, renewed, finished, swept. What an instance decides of its group is decided on its page; what a page comes to is
//! summed up in the run document.

mod telling;

pub use telling::{may_signal, signal, sum_up};

use crate::attention::{LOOK_EVERY, backoff};
use crate::choices;
use crate::decide::{CHANGES_MAX, by_rule};
use crate::effects;
use crate::mapped;
use crate::pass::{Scene, evaluate};
use crate::settle;
use crate::step::{Continue, Ended, stopped};
use crate::trigger_rules::{Standing, Upstreams, Verdict, evaluate_among};
use jiff::Timestamp;
use std::collections::BTreeSet;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Act, AttemptOutcome, Cell, DagRunState, Generation, Lease, Mapped, PageChange, PageDoc, PageEffect, PageHeld,
    PageKey, Plan, RunChange, RunDoc, Slot, TaskIndex, TaskInstanceState, Unit,
};

/// One conditional write on a page, and what it leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct PageStep {
    /// What to write.
    pub change: PageChange,
    /// The tries it queues: messages for them follow once it is accepted.
    pub queued: Vec<(Slot, u32)>,
    /// The instance it claims to be run in place, with its lease.
    pub claimed: Option<(Slot, u32, Lease)>,
}

impl PageStep {
    /// Whether it decides nothing.
    pub fn is_nothing(&self) -> bool {
        self.change.cells.is_empty() && self.change.choices.is_empty() && self.change.whole.is_none()
    }
}

/// How the tasks around an instance stand: those of its group on its page, others in the run document.
struct Around<'a> {
    plan: &'a Plan,
    run: &'a RunDoc,
    unit: &'a Unit,
    page: &'a PageDoc,
    map_index: u32,
    now: Timestamp,
}

impl Around<'_> {
    /// The cell of a task of the unit; none: of a task outside, or one that had ended before the unit was expanded.
    fn inside(&self, task: TaskIndex) -> Option<&Cell> {
        self.page.cells.get(&Slot { map_index: self.map_index, task })
    }
}

impl Standing for Around<'_> {
    fn state(&self, task: TaskIndex) -> TaskInstanceState {
        match self.inside(task) {
            Some(cell) => cell.state(),
            None if self.unit.members.contains(&task) => self.run.cell(task).state(),
            None => mapped::state(self.plan, &self.run.mapped, self.run.cell(task), task),
        }
    }

    fn count(&self, task: TaskIndex, is_setup: bool, upstreams: &mut Upstreams) {
        if self.unit.members.contains(&task) {
            upstreams.add(self.state(task), is_setup);
        } else {
            mapped::count(self.plan, &self.run.mapped, self.run.cell(task), task, upstreams);
        }
    }

    fn map_index(&self) -> Option<u32> {
        Some(self.map_index)
    }
}

impl Scene for Around<'_> {
    fn is_due(&self, task: TaskIndex) -> bool {
        !matches!(self.inside(task), Some(Cell::Waiting { due, .. }) if *due > self.now)
    }

    fn is_left_out(&self, task: TaskIndex) -> bool {
        self.plan.upstream(task).iter().any(|up| {
            let slot = Slot { map_index: self.map_index, task: *up };
            let chosen = if self.inside(*up).is_some() { self.page.choices.get(&slot) } else { self.run.chosen(*up) };
            let try_number = self.inside(*up).unwrap_or_else(|| self.run.cell(*up)).try_number();
            self.state(*up).is_finished()
                && chosen.is_some_and(|c| c.try_number == try_number && choices::leaves_out(self.plan, *up, c, task))
        })
    }

    fn is_past_met(&self, _: TaskIndex) -> bool {
        // Asked of the task before it was expanded.
        true
    }

    fn is_expanded(&self, task: TaskIndex) -> bool {
        mapped::is_expanded(self.plan, &self.run.mapped, task)
    }
}

/// Decides what follows on a page after a change, for some instances; none: for all.
fn decide(plan: &Plan, run: &RunDoc, page: &PageDoc, only: Option<u32>, now: Timestamp) -> PageDoc {
    let mut page = page.clone();
    let Some(unit) = plan.unit_of(page.key.unit) else { return page };
    let is_frozen = run.intent.is_some() || run.paused || run.state != DagRunState::Running;
    let Some(expansion) = run.mapped.expansion(unit.unit).filter(|_| page.is_open && !is_frozen) else { return page };
    // Under a limit, what has ended makes room for any other.
    let only = only.filter(|_| plan.pages_most(unit).is_none());
    let indexes: BTreeSet<u32> = page.cells.keys().map(|slot| slot.map_index).collect();
    for map_index in indexes.into_iter().filter(|index| only.is_none_or(|only| only == *index)) {
        if map_index >= expansion.count {
            remove(&mut page, map_index);
        } else {
            decide_instance(plan, run, unit, &mut page, map_index, now);
        }
    }
    page
}

/// What is beyond the instances that a unit has since it was expanded anew is removed, once no attempt of it lives.
fn remove(page: &mut PageDoc, map_index: u32) {
    for (slot, cell) in &mut page.cells {
        if slot.map_index == map_index && !cell.is_final() && cell.holder().is_none() {
            *cell = Cell::ended(End::Removed, cell.try_number());
        }
    }
}

fn decide_instance(plan: &Plan, run: &RunDoc, unit: &Unit, page: &mut PageDoc, map_index: u32, now: Timestamp) {
    carry_out_choices(plan, unit, page, map_index);
    loop {
        let here = |task: &&TaskIndex| page.cells.contains_key(&Slot { map_index, task: **task });
        let open: Vec<TaskIndex> = unit.members.iter().filter(here).copied().collect();
        let scene = Around { plan, run, unit, page, map_index, now };
        let mut found = evaluate(plan, open.iter().copied(), &scene);
        let is_over = |t: &TaskIndex| scene.state(*t) == TaskInstanceState::Deferred && scene.is_due(*t);
        found.ready.extend(open.iter().copied().filter(is_over));
        found.ready.retain(|task| has_room(plan, run, unit, page, Slot { map_index, task: *task }));
        if found.is_empty() {
            return;
        }
        for (task, end) in found.changed {
            let slot = Slot { map_index, task };
            let cell = by_rule(page.cell(slot), end);
            page.cells.insert(slot, cell);
        }
        for task in found.ready {
            let slot = Slot { map_index, task };
            let cell = started(plan, page, slot);
            page.cells.insert(slot, cell);
        }
    }
}

/// Whether another instance of a task may be queued: its limit is shared out among the first pages that are not full, and a page's part of
/// it is what is under way there. What is deferred or waits for people counts, as in Airflow.
fn has_room(plan: &Plan, run: &RunDoc, unit: &Unit, page: &PageDoc, of: Slot) -> bool {
    let Some(most) = plan.instances_most(of.task).filter(|_| !plan.is_empty_operator(of.task)) else { return true };
    let is_active = |(slot, cell): &(&Slot, &Cell)| {
        let is_under_way = match cell {
            Cell::Scheduled { .. } | Cell::Queued { .. } | Cell::Running { .. } | Cell::Restarting { .. } => true,
            Cell::Waiting { wait, .. } => matches!(wait, Wait::Deferred | Wait::Input),
            _ => false,
        };
        slot.task == of.task && **slot != of && is_under_way
    };
    let active = page.cells.iter().filter(is_active).count();
    page.key.page < mapped::pages_allowed(plan, &run.mapped, unit) && active < most as usize
}

/// A cell that is ready: queued for its next try, scheduled where it takes slots beyond its run, or at its end where there is nothing to run.
fn started(plan: &Plan, page: &PageDoc, slot: Slot) -> Cell {
    let (task, cell) = (slot.task, page.cell(slot));
    let try_number = match cell {
        // A reschedule and a deferral go on with the same try.
        Cell::Waiting { wait: Wait::Reschedule | Wait::Deferred, try_number, .. } => *try_number,
        _ => cell.try_number() + 1,
    };
    if plan.is_empty_operator(task) {
        Cell::ended(End::Success, try_number)
    } else if plan.is_held_elsewhere(task) {
        let resumed = page.resumes.get(&slot).filter(|resumed| resumed.try_number == try_number);
        Cell::Scheduled { try_number, resume: resumed.map_or(0, |resumed| resumed.count), turn: 0 }
    } else {
        Cell::Queued { try_number }
    }
}

/// The instances of a page that wait for slots, in the order in which they are to have them.
pub fn wanting(plan: &Plan, run: &RunDoc, page: &PageDoc) -> Vec<Slot> {
    if run.state != DagRunState::Running || run.intent.is_some() || run.paused || !page.is_open {
        return Vec::new();
    }
    let is_scheduled = |(slot, cell): (&Slot, &Cell)| matches!(cell, Cell::Scheduled { .. }).then_some(*slot);
    let mut slots: Vec<Slot> = page.cells.iter().filter_map(is_scheduled).collect();
    slots.sort_by_key(|slot| (std::cmp::Reverse(plan.priority(slot.task)), *slot));
    slots
}

/// Queues instances that hold all that they take, and has others ask anew that hold slots which they cannot use (ARCHITECTURE.md, rule B9).
pub fn grant_and_put_off(page: &PageDoc, slots: &[Slot], others: &[Slot], now: Timestamp) -> PageStep {
    let mut change = PageChange { if_open_at: Some(page.epoch), ..PageChange::default() };
    let mut queued = Vec::new();
    for slot in slots {
        if let cell @ Cell::Scheduled { try_number, .. } = page.cell(*slot) {
            change.if_cells.push((*slot, cell.clone()));
            change.cells.push((*slot, Cell::Queued { try_number: *try_number }));
            queued.push((*slot, *try_number));
        }
    }
    for slot in others.iter().take(CHANGES_MAX.saturating_sub(slots.len())) {
        if let cell @ Cell::Scheduled { try_number, resume, turn } = page.cell(*slot) {
            let to = Cell::Scheduled { try_number: *try_number, resume: *resume, turn: turn + 1 };
            change.if_cells.push((*slot, cell.clone()));
            change.cells.push((*slot, to));
        }
    }
    change.looks = (page.looks > 0).then_some(0);
    complete(page, &mut change, now);
    PageStep { change, queued, claimed: None }
}

/// Queues an instance that waited for slots and holds them now, without having seen an image, as [`crate::step::promote`] does.
pub fn promote(slot: Slot, generation: Generation, look_at: Option<Timestamp>) -> PageChange {
    let Generation { try_number, resume, turn } = generation;
    PageChange {
        if_cells: vec![(slot, Cell::Scheduled { try_number, resume, turn })],
        if_wake_at_most: look_at,
        looks: Some(0),
        cells: vec![(slot, Cell::Queued { try_number })],
        ..PageChange::default()
    }
}

/// Skips what choices of the instance leave out inside of its group.
fn carry_out_choices(plan: &Plan, unit: &Unit, page: &mut PageDoc, map_index: u32) {
    let pending: Vec<Slot> =
        page.choices.iter().filter(|(slot, c)| slot.map_index == map_index && c.pending).map(|(s, _)| *s).collect();
    for slot in pending {
        let Some(chosen) = page.choices.get(&slot).cloned() else { continue };
        if chosen.try_number == page.cell(slot).try_number() {
            for task in choices::left_out(plan, slot.task, &chosen) {
                let below = Slot { map_index, task };
                let is_here = unit.members.contains(&task) && page.cells.contains_key(&below);
                if is_here && choices::is_overwritten(page.cell(below).state()) {
                    let cell = by_rule(page.cell(below), End::Skipped);
                    page.cells.insert(below, cell);
                }
            }
        }
        page.choices.insert(slot, updraft_model::Chosen { pending: false, ..chosen });
    }
}

/// Adds what follows from the image that a change makes of a page.
fn with_decisions(
    plan: &Plan,
    run: &RunDoc,
    page: &PageDoc,
    mut change: PageChange,
    only: Option<u32>,
    now: Timestamp,
    wish: Option<&Continue>,
) -> PageStep {
    let image = change.apply(page);
    let decided = decide(plan, run, &image, only, now);
    let own: BTreeSet<Slot> = change.cells.iter().map(|(slot, _)| *slot).collect();
    let mut queued = Vec::new();
    for (slot, cell) in &decided.cells {
        if image.cell(*slot) == cell {
            continue;
        }
        if let Cell::Queued { try_number } = cell {
            queued.push((*slot, *try_number));
        }
        // A cell the change itself writes has its condition already.
        if own.contains(slot) {
            change.cells.retain(|(s, _)| s != slot);
        } else {
            change.if_cells.push((*slot, page.cell(*slot).clone()));
        }
        change.cells.push((*slot, cell.clone()));
        change.if_open_at = Some(page.epoch);
    }
    for (slot, chosen) in &decided.choices {
        if image.choices.get(slot) != Some(chosen) {
            change.choices.retain(|(s, _)| s != slot);
            change.choices.push((*slot, Some(chosen.clone())));
        }
    }
    queued.sort_by_key(|(slot, _)| (std::cmp::Reverse(plan.priority(slot.task)), *slot));
    let claimed = wish.and_then(|wish| take(plan, wish, now, &mut change, &mut queued));
    // What waits for slots is looked after by who has just ended; if that one dies before, by the next look.
    let waits = decided.cells.values().any(|cell| matches!(cell, Cell::Scheduled { .. }));
    if !queued.is_empty() || claimed.is_some() || (waits && !change.cells.is_empty()) {
        change.looks = (page.looks > 0).then_some(0).or(change.looks);
    }
    complete(page, &mut change, now);
    PageStep { change, queued, claimed }
}

/// Turns the first of the newly queued instances that fits the wish into one that is claimed here.
fn take(
    plan: &Plan,
    wish: &Continue,
    now: Timestamp,
    change: &mut PageChange,
    queued: &mut Vec<(Slot, u32)>,
) -> Option<(Slot, u32, Lease)> {
    let (slot, try_number) = *queued.first()?;
    if !wish.fits(plan, slot.task) {
        return None;
    }
    queued.remove(0);
    let (_, cell) = change.cells.iter_mut().find(|(s, _)| *s == slot)?;
    let lease = Lease { token: wish.token.clone(), until: wish.until, since: now };
    *cell = Cell::Running { try_number, lease: lease.clone() };
    Some((slot, try_number, lease))
}

/// The latest instant at which a page must be looked at; none when it may leave the index (ARCHITECTURE.md, rule E3).
pub fn needed(page: &PageDoc, now: Timestamp) -> Option<Timestamp> {
    let regular = now.saturating_add(backoff(page.looks)).unwrap_or(Timestamp::MAX);
    let own = page.cells.values().filter_map(|cell| match cell {
        Cell::Waiting { due, .. } if *due <= now => now.checked_add(LOOK_EVERY).ok(),
        Cell::Waiting { due, .. } => Some(*due),
        Cell::Running { lease, .. } | Cell::Restarting { lease, .. } => Some(lease.until),
        _ => None,
    });
    let owed = (!page.effects.is_empty()).then(|| now.checked_add(LOOK_EVERY).unwrap_or(Timestamp::MAX));
    let own = own.chain(owed);
    if page.is_open { Some(own.fold(regular, Timestamp::min)) } else { own.min() }
}

/// Keeps the page in the time index early enough.
fn complete(page: &PageDoc, change: &mut PageChange, now: Timestamp) {
    let image = change.apply(page);
    if let (None, Some(need)) = (change.wake_at, needed(&image, now)) {
        if page.wake_at.is_some_and(|at| at <= need) {
            change.if_wake_at_most = Some(need);
        } else {
            // Another writer may have put it earlier than this since.
            change.if_wake_at = Some(page.wake_at);
            change.wake_at = Some(Some(need));
        }
    }
}

/// Claims a queued instance, without having seen an image: refused when the cell is anything else.
pub fn claim(slot: Slot, try_number: u32, lease: &Lease) -> PageChange {
    PageChange {
        if_cells: vec![(slot, Cell::Queued { try_number })],
        if_wake_at_most: Some(lease.until),
        cells: vec![(slot, Cell::Running { try_number, lease: lease.clone() })],
        ..PageChange::default()
    }
}

/// The claim again, where it was refused only because the page's wake-up lies after the lease's end.
pub fn claim_again(page: &PageDoc, slot: Slot, try_number: u32, lease: &Lease) -> Option<PageChange> {
    let late = page.wake_at.is_none_or(|at| at > lease.until);
    let change = claim(slot, try_number, lease);
    (*page.cell(slot) == Cell::Queued { try_number }).then(|| {
        if !late {
            return change;
        }
        PageChange { if_wake_at_most: None, if_wake_at: Some(page.wake_at), wake_at: Some(Some(lease.until)), ..change }
    })
}

/// Renews a lease, as [`crate::step::renew`] does.
pub fn renew(held: &PageHeld, from: &Lease, lease: &Lease) -> PageChange {
    let running = |lease: &Lease| Cell::Running { try_number: held.try_number, lease: lease.clone() };
    PageChange {
        if_cells: vec![(held.slot, running(from))],
        cells: vec![(held.slot, running(lease))],
        ..PageChange::default()
    }
}

/// Finishes an attempt, with everything its end decides on its page. None where the attempt does not hold its cell any more.
pub fn finish(
    plan: &Plan,
    run: &RunDoc,
    page: &PageDoc,
    held: &PageHeld,
    ended: &Ended,
    now: Timestamp,
    wish: Option<&Continue>,
) -> Option<PageStep> {
    let Cell::Running { try_number, lease } = page.cell(held.slot) else { return None };
    if *try_number != held.try_number || lease.token != held.token {
        return None;
    }
    let mut change = PageChange { if_running: Some(held.clone()), ..PageChange::default() };
    settle(plan, run, page, held, lease.since, ended, &mut change);
    Some(with_decisions(plan, run, page, change, Some(held.slot.map_index), now, wish))
}

/// Whether a step whose answer was lost is what made this image.
pub fn landed(step: &PageStep, image: &PageDoc, held: &PageHeld) -> bool {
    let cell = image.cell(held.slot);
    let left = step.change.cells.iter().find(|(slot, _)| *slot == held.slot).map(|(_, cell)| cell);
    matches!(cell, Cell::Final { .. } | Cell::Waiting { .. }) && left == Some(cell)
}

fn settle(
    plan: &Plan,
    run: &RunDoc,
    page: &PageDoc,
    held: &PageHeld,
    since: Timestamp,
    ended: &Ended,
    change: &mut PageChange,
) {
    let slot = held.slot;
    let attempt = settle::Attempt {
        task: slot.task,
        try_number: held.try_number,
        token: &held.token,
        max_tries: page.max_tries.get(&slot).copied().unwrap_or(plan.task(slot.task).retries),
        since,
        before: page.resumed(slot),
    };
    let settled = settle::settle(plan, &run.facts, &attempt, ended);
    if plan.is_mapped_over(slot.task) && settled.outcome == AttemptOutcome::Success {
        let is_silent = !ended.has_value;
        change.silent.extend((is_silent != page.silent.contains(&slot)).then_some((slot, is_silent)));
    }
    change.resumes.extend(settled.resumed.map(|resumed| (slot, resumed)));
    match settled.chosen {
        Some(chosen) => change.choices.push((slot, Some(chosen))),
        None if page.choices.contains_key(&slot) => change.choices.push((slot, None)),
        None => {}
    }
    let told = effects::end_of_try(plan.task(slot.task), settled.outcome, &settled.cell);
    let effect = told.map(|end| PageEffect { token: held.token.clone(), end });
    change.effects.extend(effect.map(|effect| ((slot, held.try_number), Some(effect))));
    change.cells.push((slot, settled.cell));
}

/// What becomes of an attempt that lets go of a cell that was cleared or marked while it ran (ARCHITECTURE.md, rule A2). None where there
/// is nothing to let go of.
pub fn acknowledge(plan: &Plan, run: &RunDoc, page: &PageDoc, held: &PageHeld, now: Timestamp) -> Option<PageStep> {
    let cell = page.cell(held.slot);
    if cell.holder().is_none_or(|lease| lease.token != held.token) {
        return None;
    }
    let to = let_go(cell)?;
    let is_restarting = matches!(cell, Cell::Restarting { .. });
    let change = PageChange {
        if_restarting: is_restarting.then(|| held.clone()),
        if_cells: if is_restarting { Vec::new() } else { vec![(held.slot, cell.clone())] },
        cells: vec![(held.slot, to)],
        ..PageChange::default()
    };
    Some(with_decisions(plan, run, page, change, Some(held.slot.map_index), now, None))
}

/// The cell after its attempt has let go. A page keeps its instances' cells: what has no state yet is cleared of no try.
fn let_go(cell: &Cell) -> Option<Cell> {
    match cell {
        // Never settled by an item: what was cleared must not come back as a result.
        Cell::Restarting { try_number, .. } => Some(Cell::Cleared { try_number: *try_number }),
        Cell::Final { end, try_number, winner, leaving: Some(_) } => {
            Some(Cell::Final { end: *end, try_number: *try_number, winner: winner.clone(), leaving: None })
        }
        _ => None,
    }
}

/// An attempt whose lease is over, as the look found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Expired {
    /// The instance.
    pub slot: Slot,
    /// The exact cell that was read, lease included (ARCHITECTURE.md, rule A1).
    pub cell: Cell,
    /// What its own attempt item says.
    pub left: Option<Ended>,
}

/// The cells whose attempts must be settled: leases over at `now`; `all` takes every attempt for dead.
pub fn expired(page: &PageDoc, now: Timestamp, all: bool) -> Vec<(Slot, Cell)> {
    let over = |cell: &Cell| cell.holder().is_some_and(|lease| all || lease.until < now);
    page.cells.iter().filter(|(_, cell)| over(cell)).map(|(slot, cell)| (*slot, cell.clone())).collect()
}

/// Settles expired attempts and decides what follows on the page. Empty change: nothing to do.
pub fn sweep(plan: &Plan, run: &RunDoc, page: &PageDoc, expired: &[Expired], now: Timestamp) -> PageStep {
    let mut change = PageChange::default();
    for Expired { slot, cell, left } in expired {
        if let Cell::Running { try_number, lease } = cell {
            let held = PageHeld { slot: *slot, try_number: *try_number, token: lease.token.clone() };
            let ended = left.clone().unwrap_or(Ended::new(AttemptOutcome::Failed, now));
            settle(plan, run, page, &held, lease.since, &ended, &mut change);
        } else if let Some(to) = let_go(cell) {
            change.cells.push((*slot, to));
        } else {
            continue;
        }
        change.if_cells.push((*slot, cell.clone()));
    }
    with_decisions(plan, run, page, change, None, now, None)
}

/// Puts the next look at a page later, after one that found nothing to do. `asks_again`: some of it wants slots and is in no line, so that
/// nobody but the next look will ask for them.
pub fn rearm(page: &PageDoc, asks_again: bool, now: Timestamp) -> PageChange {
    let after = PageDoc { looks: if asks_again { 0 } else { page.looks.saturating_add(1) }, ..page.clone() };
    PageChange {
        if_revision: Some(page.revision),
        looks: Some(after.looks),
        wake_at: Some(needed(&after, now)),
        ..PageChange::default()
    }
}

/// Strikes out what has been told.
pub fn strike_out(told: &[(Slot, u32)]) -> PageChange {
    PageChange { effects: told.iter().map(|of| (*of, None)).collect(), ..PageChange::default() }
}

/// Takes a page out of the time index, once its summary has been accepted or refused (ARCHITECTURE.md, rule E3), and all has been told (D3).
pub fn leave(page: &PageDoc) -> PageChange {
    if !page.effects.is_empty() {
        return PageChange::default();
    }
    PageChange { if_revision: Some(page.revision), wake_at: Some(None), ..PageChange::default() }
}

/// Takes a page out of the time index whose task is mapped no more in its run's version: nobody bears it or decides on it. While an attempt on
/// it may live it is looked at again.
pub fn abandon(page: &PageDoc, now: Timestamp) -> PageChange {
    let leases = page.cells.values().filter_map(|cell| cell.holder().map(|lease| lease.until));
    let until = leases.filter(|until| *until > now).max();
    PageChange { if_revision: Some(page.revision), wake_at: Some(until), ..PageChange::default() }
}

/// How a page comes to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Birth {
    /// It was never there: to be put.
    New(Box<PageDoc>, Vec<(Slot, u32)>),
    /// It is there, closed or of an older epoch.
    Again(Box<PageStep>),
}

/// The birth that a run owes one of its pages; none: it owes none (ARCHITECTURE.md, rule E1).
pub fn birth(plan: &Plan, run: &RunDoc, key: &PageKey, there: Option<&PageDoc>, now: Timestamp) -> Option<Birth> {
    if run.intent.is_some() || run.state != DagRunState::Running {
        return None;
    }
    let unit = plan.unit_of(key.unit)?;
    let expansion = run.mapped.expansion(unit.unit)?;
    let epoch = run.mapped.epoch(unit.unit, key.page)?;
    let instances = unit.instances(key.page, expansion.count);
    if instances.is_empty() || there.is_some_and(|page| page.epoch > epoch || (page.epoch == epoch && page.is_open)) {
        return None;
    }
    let first = key.page.saturating_mul(unit.per_page());
    let mut page = there.cloned().unwrap_or_else(|| PageDoc::new(key.clone(), epoch, first));
    if page.is_open && there.is_some() {
        // Nobody has closed it, so its instances are of a run that is no more.
        clear(plan, &mut page, |_| true);
    }
    (page.epoch, page.is_open, page.looks) = (epoch, true, 0);
    for map_index in instances {
        // What had ended when the group was expanded has no instances.
        for task in unit.members.iter().copied().filter(|task| !run.cell(*task).is_final()) {
            let cell = page.cells.entry(Slot { map_index, task }).or_insert(Cell::Cleared { try_number: 0 });
            if matches!(cell, Cell::Final { end: End::Removed, .. }) {
                *cell = Cell::Cleared { try_number: cell.try_number() };
            }
        }
    }
    let mut page = decide(plan, run, &page, None, now);
    let queued = |page: &PageDoc| {
        let queued = page.cells.iter().filter_map(|(slot, cell)| match cell {
            Cell::Queued { try_number } => Some((*slot, *try_number)),
            _ => None,
        });
        queued.collect::<Vec<_>>()
    };
    page.wake_at = needed(&page, now);
    let queued = queued(&page);
    let Some(there) = there else { return Some(Birth::New(Box::new(page), queued)) };
    let change = PageChange {
        if_revision: Some(there.revision),
        epoch: Some((epoch, true)),
        wake_at: Some(page.wake_at),
        looks: Some(0),
        whole: Some(Box::new(page)),
        ..PageChange::default()
    };
    Some(Birth::Again(Box::new(PageStep { change, queued, claimed: None })))
}

/// Clears instances of a page: those whose attempt lives become restarting, they are never forgotten.
fn clear(plan: &Plan, page: &mut PageDoc, is_meant: impl Fn(Slot) -> bool) {
    let slots: Vec<Slot> = page.cells.keys().copied().filter(|slot| is_meant(*slot)).collect();
    for slot in slots {
        let cell = page.cell(slot).clone();
        let try_number = cell.try_number();
        if try_number > 0 {
            page.max_tries.insert(slot, try_number + plan.task(slot.task).retries);
        }
        page.silent.remove(&slot);
        let to = match cell.holder() {
            Some(lease) => Cell::Restarting { try_number, lease: lease.clone() },
            None => Cell::Cleared { try_number },
        };
        page.cells.insert(slot, to);
    }
}

/// How an intervention of a new epoch leaves a page (ARCHITECTURE.md, rules E2 and E5).
#[derive(Debug, Clone, PartialEq)]
pub enum Closing {
    /// It was never there: to be put, so that no late birth of an older epoch comes.
    New(PageDoc),
    /// It is there.
    Again(PageChange),
}

/// What an intervention makes of a page; none: it has been made. `act_of` says what is done to an instance, if anything; the others stay as
/// they are.
pub fn close(
    plan: &Plan,
    run: &RunDoc,
    key: &PageKey,
    there: Option<&PageDoc>,
    act_of: impl Fn(Slot) -> Option<Act>,
    now: Timestamp,
) -> Option<Closing> {
    let epoch = run.epoch;
    if there.is_some_and(|page| page.epoch >= epoch) {
        return None;
    }
    let unit = plan.unit_of(key.unit)?;
    let first = key.page.saturating_mul(unit.per_page());
    let mut page = there.cloned().unwrap_or_else(|| PageDoc::new(key.clone(), epoch, first));
    let clears = |slot| matches!(act_of(slot), Some(Act::Clear | Act::ClearTasks));
    clear(plan, &mut page, clears);
    let count = run.mapped.expansion(unit.unit).map_or(0, |expansion| expansion.count);
    let open = unit.members.iter().copied().filter(|task| !run.cell(*task).is_final());
    // What had ended when its group was expanded has no instances yet: cleared, it is to have some, by another birth.
    let all = unit.instances(key.page, count).flat_map(|map_index| {
        let of_instance = move |task: &TaskIndex| Slot { map_index, task: *task };
        unit.members.iter().map(of_instance)
    });
    let slots: Vec<Slot> =
        all.filter(|slot| !run.cell(slot.task).is_final() || clears(*slot)).chain(page.cells.keys().copied()).collect();
    let has_clears = slots.iter().any(|slot| clears(*slot));
    for slot in slots {
        let end = match act_of(slot) {
            Some(Act::Mark(end) | Act::Cancel(end)) => Some(end),
            Some(Act::Stop) => stopped(page.cell(slot)),
            _ => None,
        };
        if let (Some(act), Some(end)) = (act_of(slot), end) {
            let cell = page.cells.entry(slot).or_insert(Cell::Cleared { try_number: 0 });
            *cell = marked(cell, act, end);
        }
    }
    if !has_clears && there.is_none() {
        // What is not marked of a page that was never born goes on from here.
        for map_index in unit.instances(key.page, count) {
            for task in open.clone() {
                page.cells.entry(Slot { map_index, task }).or_insert(Cell::Cleared { try_number: 0 });
            }
        }
    }
    // A cleared page is owed its birth; one whose instances are marked stays as open as it was.
    let is_open = !has_clears && there.is_none_or(|page| page.is_open);
    (page.epoch, page.is_open, page.looks) = (epoch, is_open, 0);
    page.wake_at = needed(&page, now);
    let Some(there) = there else { return Some(Closing::New(page)) };
    Some(Closing::Again(PageChange {
        if_revision: Some(there.revision),
        epoch: Some((epoch, is_open)),
        wake_at: Some(page.wake_at),
        looks: Some(0),
        whole: Some(Box::new(page)),
        ..PageChange::default()
    }))
}

/// An instance that was marked, or cancelled with its run.
fn marked(cell: &Cell, act: Act, end: End) -> Cell {
    let to = |end, winner| Cell::Final { end, try_number: cell.try_number(), winner, leaving: cell.holder().cloned() };
    match (act, cell) {
        (Act::Mark(_), Cell::Final { end: before, winner, .. }) if *before != end => to(end, winner.clone()),
        (Act::Stop, _) => to(end, None),
        (_, Cell::Final { .. }) => cell.clone(),
        (Act::Mark(_), _) => to(end, None),
        _ if is_under_way(cell) => to(end, None),
        _ => to(End::Skipped, None),
    }
}

/// Whether an instance is under way, and gets the end that its run is given by hand; what else has not ended is skipped.
fn is_under_way(cell: &Cell) -> bool {
    match cell {
        Cell::Running { .. } => true,
        Cell::Waiting { wait, .. } => *wait != Wait::Retry,
        _ => false,
    }
}

/// The mapped tasks of which an instance on this page is under way.
pub fn under_way(page: &PageDoc) -> BTreeSet<TaskIndex> {
    page.cells.iter().filter(|(_, cell)| is_under_way(cell)).map(|(slot, _)| slot.task).collect()
}

/// Whether a run with `fail_fast` can be told of no failure now: an intervention is under way, and is to be made first.
fn waits(plan: &Plan, run: &RunDoc) -> bool {
    plan.dag.fail_fast && run.intent.is_some()
}

/// The mapped tasks whose first failure a change tells their run of.
fn newly_failed(plan: &Plan, run: &RunDoc, change: &RunChange) -> Vec<TaskIndex> {
    if !plan.dag.fail_fast {
        return Vec::new();
    }
    let after = change.apply(run).mapped;
    let has_failed = |mapped: &Mapped, unit: &Unit, task: TaskIndex| {
        mapped::tally(mapped, unit, task).failed > 0 || mapped.signs(unit.unit, task).any(|end| end == End::Failed)
    };
    let tasks = plan.units().iter().flat_map(|unit| unit.members.iter().map(move |task| (unit, *task)));
    let news = tasks.filter(|(unit, task)| has_failed(&after, unit, *task) && !has_failed(&run.mapped, unit, *task));
    news.map(|(_, task)| task).collect()
}

/// What the rule of an instance says, as its page and its run stand.
pub fn rule_says(plan: &Plan, run: &RunDoc, page: &PageDoc, slot: Slot) -> Verdict {
    match plan.unit_of(slot.task) {
        Some(unit) => {
            let now = Timestamp::UNIX_EPOCH;
            evaluate_among(plan, slot.task, &Around { plan, run, unit, page, map_index: slot.map_index, now })
        }
        None => Verdict::Wait,
    }
}

/// A page that a mapped instance of this run would lie on.
pub fn page_of(unit: &Unit, run: &RunDoc, map_index: u32) -> PageKey {
    PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page: map_index / unit.per_page() }
}
