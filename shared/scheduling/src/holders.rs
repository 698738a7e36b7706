//! The conditional writes on a holder document (ARCHITECTURE.md, rules B1 to B9): who takes slots, who waits, who gives back, who is dead.
//!
//! A task instance that is under such a limit is *scheduled* first, takes its slots, and is queued once it holds them all. Whoever takes
//! or gives back hands out what is free, in the order of priority; who needs more slots than are free is passed over, as in Airflow.

use crate::attention::LOOK_EVERY;
use jiff::{SignedDuration, Timestamp};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::cell::Wait;
use updraft_model::{
    ANY_TURN, Cell, Claim, Generation, HolderChange, HolderDoc, HolderId, HolderName, PageDoc, Plan, RunDoc, RunFacts,
    Slot, TaskIndex,
};

/// How many may wait in one document, which every write reads and writes: at some 50 bytes each it stays below a tenth of what an item
/// may hold. Who finds it full comes again with its run's next look.
pub const WAITERS_MAX: usize = 500;

/// How many task instances of one run ask for slots at a time; the others ask when these are through.
pub const WISHES_MAX: usize = 32;

/// How many instances of a task on one page wait in one line at a time, beyond those that find slots. Whoever is given slots and ends has the next one ask,
/// so that a page goes on while one of it waits; and a line is written whole by everybody who writes it.
pub const INSTANCES_IN_LINE: usize = 2;

/// A task instance as limits see it: its cell, and how often its try has gone on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stands<'a> {
    /// Its cell, in its run's document or on its page.
    pub cell: &'a Cell,
    /// How many attempts of its try gave their worker back.
    pub resume: u32,
}

impl<'a> Stands<'a> {
    /// A task that is not mapped.
    pub fn in_run(run: &'a RunDoc, task: TaskIndex) -> Self {
        Self { cell: run.cell(task), resume: run.resumed(task).map_or(0, |resumed| resumed.count) }
    }

    /// An instance of a mapped task.
    pub fn on_page(page: &'a PageDoc, slot: Slot) -> Self {
        Self { cell: page.cell(slot), resume: page.resumed(slot).map_or(0, |resumed| resumed.count) }
    }

    /// Which attempt the cell stands for; while it asks for slots, on which turn.
    pub fn generation(self) -> Generation {
        let turn = match self.cell {
            Cell::Scheduled { turn, .. } => *turn,
            _ => ANY_TURN,
        };
        Generation { try_number: self.cell.try_number(), resume: self.resume, turn }
    }

    /// Whether a claim still stands for what the task instance does: rule B3. A generation is never used twice, so nothing but the cell's own
    /// counts. `keeps`: what keeps its slots while it waits ([`keeps`]).
    pub fn keeps_alive(self, claim: &Claim, keeps: impl Fn(Wait) -> bool) -> bool {
        let now = self.generation();
        match self.cell {
            Cell::Scheduled { .. } => now == claim.generation,
            Cell::Queued { .. } | Cell::Running { .. } | Cell::Restarting { .. } => {
                now.is_same_attempt(claim.generation)
            }
            // It has given its worker back, and keeps its slots until the attempt that follows takes them over.
            Cell::Waiting { wait, .. } => {
                let resume = claim.generation.resume + 1;
                keeps(*wait) && now.is_same_attempt(Generation { resume, ..claim.generation })
            }
            Cell::None | Cell::Cleared { .. } | Cell::Final { .. } => false,
        }
    }

    /// What the task instance held of each limit when it stood like `self`, and does not hold standing like `now`: of which attempt, and
    /// whether it has deferred, since some pools let it keep its slots then.
    fn returns(self, now: Self, plan: &Plan, facts: &RunFacts, task: TaskIndex) -> Vec<(HolderId, Generation, bool)> {
        let mut returns = Vec::new();
        // Whoever waited for an answer ends by it, and kept what the attempt took that asked.
        let asked = matches!(self.cell, Cell::Waiting { wait: Wait::Input, .. });
        let held = matches!(
            self.cell,
            Cell::Scheduled { .. } | Cell::Queued { .. } | Cell::Running { .. } | Cell::Restarting { .. }
        );
        if !(held || asked && self.cell != now.cell) || !plan.is_held_elsewhere(task) {
            return returns;
        }
        let holders = plan.holders(task, &facts.incarnation).into_iter();
        for holder in holders.filter(|h| !asked || h.always_includes_deferred()) {
            let has_deferred = match now.cell {
                Cell::Waiting { wait: Wait::Deferred, .. } => true,
                Cell::Waiting { wait: Wait::Input, .. } => holder.always_includes_deferred(),
                _ => false,
            };
            let mut claim = claim_of(plan, facts, task, self.generation(), &holder);
            if asked {
                claim.generation.resume = claim.generation.resume.saturating_sub(1);
            }
            if !now.keeps_alive(&claim, |_| false) {
                returns.push((holder, claim.generation, has_deferred));
            }
        }
        returns
    }
}

/// Which attempt of a task instance its cell stands for; while it asks for slots, on which turn.
pub fn generation(run: &RunDoc, task: TaskIndex) -> Generation {
    Stands::in_run(run, task).generation()
}

/// What a scheduled task instance asks of a limit.
pub fn claim(plan: &Plan, run: &RunDoc, task: TaskIndex, holder: &HolderId) -> Claim {
    let claim = claim_of(plan, &run.facts, task, generation(run, task), holder);
    Claim { is_last: claim.is_last && plan.places_most().is_none(), ..claim }
}

/// What a scheduled instance of a mapped task asks of a limit.
pub fn instance_claim(plan: &Plan, run: &RunDoc, page: &PageDoc, slot: Slot, holder: &HolderId) -> Claim {
    claim_of(plan, &run.facts, slot.task, Stands::on_page(page, slot).generation(), holder)
}

fn claim_of(plan: &Plan, facts: &RunFacts, task: TaskIndex, generation: Generation, holder: &HolderId) -> Claim {
    let definition = plan.task(task);
    let slots = match holder {
        HolderId::Pool(_) => definition.pool_slots,
        HolderId::Task(..) | HolderId::Run(_) => 1,
    };
    let holders = plan.holders(task, &facts.incarnation);
    // Of several with the run's own among them any may be the last.
    let is_alone = holders.len() == 1 || plan.slots_of_run().is_none();
    let since = facts.logical_date.unwrap_or(facts.run_after);
    Claim {
        generation,
        slots,
        priority: plan.priority(task),
        since: Timestamp::from_millisecond(since.as_millisecond()).unwrap_or(since),
        is_last: is_alone && holders.last() == Some(holder),
    }
}

/// The size that a limit has by a DAG's file; none for pools, which have theirs from people.
pub fn size_of(plan: &Plan, task: TaskIndex, holder: &HolderId) -> Option<i64> {
    match holder {
        HolderId::Pool(_) => None,
        HolderId::Task(..) => plan.task(task).max_active_tis_per_dag.map(i64::from),
        HolderId::Run(_) => plan.slots_of_run().map(i64::from),
    }
}

/// Whether a task instance that has given its worker back keeps what it took of a limit: under `max_active_tis_per_dag` always, of a pool
/// while it is deferred and the pool says so. Who waits for people never keeps slots of a pool: people take their time.
pub fn keeps(doc: &HolderDoc, wait: Wait) -> bool {
    match wait {
        Wait::Deferred => doc.include_deferred,
        Wait::Input => matches!(doc.id, HolderId::Task(..)),
        Wait::Retry | Wait::Reschedule => false,
    }
}

/// Whether a claim still stands for what its run does: rule B3.
pub fn is_alive(claim: &Claim, run: Option<&RunDoc>, task: TaskIndex, keeps: impl Fn(Wait) -> bool) -> bool {
    let run = run.filter(|run| run.deleted_at.is_none());
    run.is_some_and(|run| Stands::in_run(run, task).keeps_alive(claim, keeps))
}

/// The same of a mapped instance: its page and its run.
pub fn is_instance_alive(
    claim: &Claim,
    of: Option<(&RunDoc, &PageDoc)>,
    slot: Slot,
    keeps: impl Fn(Wait) -> bool,
) -> bool {
    let of = of.filter(|(run, _)| run.deleted_at.is_none());
    of.is_some_and(|(_, page)| Stands::on_page(page, slot).keeps_alive(claim, keeps))
}

/// What is given back of a limit: by whom, of which attempt, and whether it has deferred.
pub type Return = (HolderId, (HolderName, Generation, bool));

/// What a run held at an earlier image and holds no more.
pub fn given_back(plan: &Plan, base: &RunDoc, run: &RunDoc) -> Vec<Return> {
    let returns = |task: TaskIndex| {
        let found = Stands::in_run(base, task).returns(Stands::in_run(run, task), plan, &run.facts, task);
        let name = HolderName::of_task(run.facts.incarnation.clone(), task);
        found.into_iter().map(move |(holder, generation, deferred)| (holder, (name.clone(), generation, deferred)))
    };
    base.cells.keys().flat_map(|task| returns(*task)).collect()
}

/// What the instances of a page held at an earlier image and hold no more.
pub fn given_back_by_page(plan: &Plan, run: &RunDoc, base: &PageDoc, page: &PageDoc) -> Vec<Return> {
    let returns = |slot: Slot| {
        let found = Stands::on_page(base, slot).returns(Stands::on_page(page, slot), plan, &run.facts, slot.task);
        let name = instance_name(page, slot);
        found.into_iter().map(move |(holder, generation, deferred)| (holder, (name.clone(), generation, deferred)))
    };
    base.cells.keys().flat_map(|slot| returns(*slot)).collect()
}

/// The limits of which a run may hold slots, or wait for some, for what is scheduled: instances of mapped tasks among them.
pub fn of_scheduled(plan: &Plan, run: &RunDoc) -> BTreeSet<HolderId> {
    let is_scheduled = |task: &TaskIndex| {
        matches!(run.cell(*task), Cell::Scheduled { .. })
            || (plan.unit_of(*task).is_some() && !run.cell(*task).is_final())
    };
    let of = |task| plan.holders(task, &run.facts.incarnation);
    plan.tasks().filter(is_scheduled).flat_map(of).collect()
}

/// The name by which an instance holds slots.
pub fn instance_name(page: &PageDoc, slot: Slot) -> HolderName {
    let incarnation = page.key.incarnation.clone();
    HolderName { incarnation, task: slot.task, map_index: Some(slot.map_index) }
}

/// The limits that a task instance asks on a turn, in order. Under the run's own and others it asks the others first on even turns, and the
/// run's own first on odd ones (ARCHITECTURE.md, rule B9).
pub fn in_turn(mut holders: Vec<HolderId>, turn: u32) -> Vec<HolderId> {
    if !turn.is_multiple_of(2) && matches!(holders.last(), Some(HolderId::Run(_))) {
        holders.rotate_right(1);
    }
    holders
}

/// Whether a task instance that asked these limits, in this order, keeps slots that others could use while it waits for slots of the run's own
/// limit, or of another with the run's own in hand: it gives them back, and asks in the other order (ARCHITECTURE.md, rule B9).
pub fn is_in_the_way<'a>(asked: impl IntoIterator<Item = (&'a HolderId, bool)>) -> bool {
    let asked: Vec<(bool, bool)> =
        asked.into_iter().map(|(holder, has)| (matches!(holder, HolderId::Run(_)), has)).collect();
    match asked.as_slice() {
        [] | [_] => false,
        [(true, has), others @ ..] => *has && !others.iter().all(|(_, has)| *has),
        [others @ .., (true, has)] => !has && others.iter().all(|(_, has)| *has),
        _ => false,
    }
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Turn {
    /// The write that makes it so; nothing to write where it is so already.
    pub change: HolderChange,
    /// Who of those that asked holds its slots.
    pub has: Vec<HolderName>,
    /// Who of those that asked waits, and is known to.
    pub waits: Vec<HolderName>,
    /// Who waited and holds its slots by this write: each is to be queued.
    pub promoted: Vec<(HolderName, Claim)>,
    /// Whether somebody could not even wait, since too many do.
    pub is_crowded: bool,
    /// Who waited and has to make room in a full line for one that goes before it: its run is to ask again.
    pub displaced: Vec<HolderName>,
}

/// Who asks for one limit's slots among those of a run that would: the first [`WISHES_MAX`], whose order is theirs. The last of them makes
/// room for who needs the fewest slots, if that is fewer than all others need: what is free may be enough for that one alone.
pub fn asking(mut wishes: Vec<(HolderName, Claim)>) -> Vec<(HolderName, Claim)> {
    if wishes.len() > WISHES_MAX {
        let rest = wishes.split_off(WISHES_MAX - 1);
        let least = wishes.iter().map(|(_, claim)| claim.slots).min().unwrap_or(0);
        let smallest = rest.iter().filter(|(_, claim)| claim.slots < least).min_by_key(|(_, claim)| claim.slots);
        wishes.extend(smallest.or(rest.first()).cloned());
    }
    wishes
}

/// Who asks among the instances of one page: as many as may find slots, and a few of each task that wait for some. Who waits already stays in
/// line.
pub fn asking_on_page(doc: &HolderDoc, wishes: Vec<(HolderName, Claim)>) -> Vec<(HolderName, Claim)> {
    let is_of = |there: Option<&Claim>, claim: &Claim| there.is_some_and(|c| c.generation == claim.generation);
    let holds = |(name, claim): &(HolderName, Claim)| is_of(doc.holders.get(name), claim);
    let waits = |(name, claim): &(HolderName, Claim)| is_of(doc.waiters.get(name), claim);
    let (mut asking, new): (Vec<_>, Vec<_>) = wishes.into_iter().partition(|wish| holds(wish) || waits(wish));
    let mut in_line: BTreeMap<TaskIndex, usize> = BTreeMap::new();
    asking.iter().filter(|wish| waits(wish)).for_each(|(name, _)| *in_line.entry(name.task).or_default() += 1);
    let mut open = doc.open();
    for (name, claim) in new {
        if i64::from(claim.slots) <= open {
            open -= i64::from(claim.slots);
        } else {
            let of_task = in_line.entry(name.task).or_default();
            if *of_task >= INSTANCES_IN_LINE {
                continue;
            }
            *of_task += 1;
        }
        asking.push((name, claim));
    }
    asking
}

/// Who goes first where several want slots: the higher priority, then the older date, then any order that all keep to.
pub fn place_in_line<'a>(name: &'a HolderName, claim: &Claim) -> (Reverse<i64>, Timestamp, &'a HolderName) {
    (Reverse(claim.priority), claim.since, name)
}

/// Gives back, takes, waits, and hands out what is free, in one write. Only what has the generation that is given back is given back, and
/// only what is older than a wish is replaced by it (rule B1).
pub fn turn(
    doc: &HolderDoc,
    give_back: &[(HolderName, Generation)],
    wishes: &[(HolderName, Claim)],
    now: Timestamp,
) -> Turn {
    turn_within(doc, give_back, wishes, usize::MAX, now)
}

/// The same, where no more than `places` of those that ask may have their slots: their run has no place for others. These do not wait
/// either, as slots that they are given while they wait would lie idle.
pub fn turn_within(
    doc: &HolderDoc,
    give_back: &[(HolderName, Generation)],
    wishes: &[(HolderName, Claim)],
    places: usize,
    now: Timestamp,
) -> Turn {
    let mut turn = Turn::default();
    let mut open = doc.open();
    let mut seen: BTreeMap<HolderName, Option<Claim>> = BTreeMap::new();
    let mut freed: BTreeSet<HolderName> = BTreeSet::new();
    let mut leave: BTreeSet<HolderName> = BTreeSet::new();
    let mut free = |name: &HolderName, claim: &Claim, open: &mut i64, change: &mut HolderChange| {
        if freed.insert(name.clone()) {
            *open = open.saturating_add(i64::from(claim.slots));
            change.used -= i64::from(claim.slots);
            change.release.push(name.clone());
        }
    };
    for (name, generation) in give_back {
        if let Some(claim) = doc.holders.get(name).filter(|claim| generation.gives_back(claim.generation)) {
            seen.insert(name.clone(), Some(claim.clone()));
            free(name, claim, &mut open, &mut turn.change);
        }
        if doc.waiters.get(name).is_some_and(|claim| generation.gives_back(claim.generation)) {
            leave.insert(name.clone());
        }
    }
    let mut open_wishes: Vec<(HolderName, Claim)> = Vec::new();
    for (name, wish) in wishes {
        let held = doc.holders.get(name);
        let waiting = doc.waiters.get(name);
        if held.is_some_and(|claim| claim.generation == wish.generation) {
            turn.has.push(name.clone());
            continue;
        }
        if held.into_iter().chain(waiting).any(|claim| claim.generation > wish.generation) {
            continue;
        }
        seen.insert(name.clone(), held.cloned());
        if let Some(older) = held {
            free(name, older, &mut open, &mut turn.change);
        }
        open_wishes.push((name.clone(), wish.clone()));
    }
    let asks = |name: &HolderName| open_wishes.iter().any(|(n, _)| n == name);
    let others = doc.waiters.iter().filter(|(name, _)| !asks(name) && !leave.contains(name));
    let mut line: Vec<(&HolderName, &Claim, bool)> = open_wishes.iter().map(|(n, c)| (n, c, true)).collect();
    line.extend(others.map(|(n, c)| (n, c, false)));
    line.sort_by(|(a, x, _), (b, y, _)| place_in_line(a, x).cmp(&place_in_line(b, y)));
    let mut behind: Vec<(&HolderName, &Claim)> =
        line.iter().filter(|(.., is_wish)| !is_wish).map(|(name, claim, _)| (*name, *claim)).collect();
    let mut room = WAITERS_MAX.saturating_sub(doc.waiters.len());
    let mut places = places.saturating_sub(turn.has.len());
    for (name, claim, is_wish) in line {
        if is_wish && places == 0 {
            if doc.waiters.contains_key(name) {
                leave.insert(name.clone());
            }
            continue;
        }
        if i64::from(claim.slots) <= open {
            open -= i64::from(claim.slots);
            turn.change.used += i64::from(claim.slots);
            turn.change.release.retain(|released| released != name);
            turn.change.hold.push((name.clone(), claim.clone()));
            if doc.waiters.contains_key(name) {
                leave.insert(name.clone());
            }
            if is_wish {
                places -= 1;
                turn.has.push(name.clone());
            } else {
                turn.promoted.push((name.clone(), claim.clone()));
            }
        } else if is_wish {
            let waiting = doc.waiters.get(name);
            if waiting.is_none() && room == 0 {
                let Some((last, _)) =
                    behind.pop_if(|(last, least)| place_in_line(last, least) > place_in_line(name, claim))
                else {
                    turn.is_crowded = true;
                    continue;
                };
                leave.insert(last.clone());
                turn.displaced.push(last.clone());
                room += 1;
            }
            turn.waits.push(name.clone());
            if waiting != Some(claim) {
                room -= usize::from(waiting.is_none());
                turn.change.wait.push((name.clone(), claim.clone()));
            }
        }
    }
    turn.change.leave = leave.into_iter().collect();
    guard(doc, seen, &mut turn, now);
    turn
}

/// What a turn's write asks for, and when the document is looked at next.
fn guard(doc: &HolderDoc, seen: BTreeMap<HolderName, Option<Claim>>, turn: &mut Turn, now: Timestamp) {
    let change = &mut turn.change;
    if change.is_nothing() {
        return;
    }
    let in_order = !doc.waiters.is_empty() || !change.wait.is_empty();
    if in_order {
        // Who goes first rests on everybody who waits.
        change.if_revision = Some(doc.revision);
    } else {
        change.if_holders = seen.into_iter().collect();
        if !change.hold.is_empty() {
            change.if_nobody_waits = true;
            change.if_size = Some(doc.size);
            // However much others take meanwhile: what is in use stays within the size.
            change.if_used_at_most = doc.size.filter(|size| *size >= 0).map(|size| size - change.used);
        }
    }
    // Rule B5: whoever waits has it looked at, by the write that makes it wait. Rule B6: so has whoever is promoted, until it is known to be queued.
    if !change.wait.is_empty() || !turn.promoted.is_empty() {
        let soon = now.saturating_add(LOOK_EVERY).ok();
        change.wake_at = Some(doc.wake_at.into_iter().chain(soon).min());
        change.looks = (doc.looks > 0).then_some(0);
    }
}

/// After a look: leaves the time index where nobody waits, else is looked at again, ever more rarely where looks find nothing to do.
pub fn rearm(doc: &HolderDoc, found_something: bool, now: Timestamp) -> HolderChange {
    let looks = if found_something { 0 } else { doc.looks.saturating_add(1) };
    let next = now.saturating_add(crate::attention::backoff(looks)).ok();
    let is_needed = !doc.waiters.is_empty() || found_something;
    HolderChange {
        if_revision: Some(doc.revision),
        wake_at: Some(next.filter(|_| is_needed)),
        looks: Some(looks),
        ..HolderChange::default()
    }
}

/// Whether a holder document must be in the time index.
pub fn is_needed(doc: &HolderDoc) -> bool {
    !doc.waiters.is_empty()
}

/// The longest that a holder document with waiters goes unlooked at.
pub const LOOK_MOST: SignedDuration = crate::attention::LOOK_EVERY_MAX;
