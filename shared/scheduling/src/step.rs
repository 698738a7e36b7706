//! The conditional writes in a run's life. Each function takes an image and gives one [`Step`]: the change to write, and what it
//! leads to. A refused write hands back the image that stood in the way: take the step anew on that one.
//!
//! Every change names what its decision used (ARCHITECTURE.md, invariants 1 and 10) and keeps the run in the time index early
//! enough (invariant 5, see [`crate::attention`]).

use crate::attention;
use crate::deadlines;
use crate::decide::{CHANGES_MAX, Decision, after as decide_after, decide, decide_with};
use crate::effects;
use crate::settle;
use jiff::Timestamp;
use std::collections::BTreeSet;
use updraft_model::{
    Cell, DagRunState, Lease, MappedEntry, MappedKey, OperationId, OutboxEntry, Plan, RunChange, RunDoc, RunEndReason,
    TaskIndex,
};

mod attempts;
mod interventions;
mod places;

pub use attempts::{
    Continue, Ended, Expired, TimeoutMost, acknowledge, answer, claim, claim_again, expired, finish, landed, renew,
    sweep,
};
use interventions::next_epoch;
pub use interventions::{
    act_of, acted, clear, fail_run, intervene, intervene_with, pages_closed, proceed, time_out, under_other_limits,
};
pub(crate) use interventions::{stop_others, stopped};
pub use places::{free_places, grant, grant_and_put_off, promote, wanting};

/// The outbox key of [`OutboxEntry::Leave`].
pub const LEAVE: &str = "leave";

/// How the operation id of a `fail_fast` begins: the token of the attempt that failed comes after.
pub const FAIL_FAST: &str = "fail_fast.";

/// How many effects a run's outbox holds before whoever would note another one has to deliver first: so it stays within a few kilobytes
/// for each process that ends an attempt.
pub const OUTBOX_MAX: usize = 32;

/// One conditional write, and what it leads to.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to write.
    pub change: RunChange,
    /// The tasks it queues: messages for them follow once it is accepted.
    pub queued: Vec<TaskIndex>,
    /// The task it claims to be run in place, with its lease.
    pub claimed: Option<(TaskIndex, u32, Lease)>,
    /// The units it expands: their first pages are born once it is accepted.
    pub expanded: Vec<TaskIndex>,
    /// Whether more follows than one write may change: it is decided from the image that the write returns.
    pub is_cut: bool,
    /// The revision of the image it was decided on.
    pub decided_on: u64,
}

impl Step {
    /// The image that the write makes of the one it was decided on, if nothing else was written in between.
    pub fn image(&self, run: &RunDoc) -> RunDoc {
        self.change.apply(run)
    }

    /// Whether the image that the write returned is just what it made: nobody else wrote in between, and all that follows is in it.
    pub fn says_all(&self, after: &RunDoc) -> bool {
        after.revision == self.decided_on + 1 && !self.is_cut
    }

    /// Whether it decides nothing: there is no need to write it.
    pub fn is_nothing(&self) -> bool {
        self.change.cells.is_empty()
            && self.change.state.is_none()
            && self.change.choices.is_empty()
            && self.change.mapped.is_empty()
    }

    /// The tries it queues: messages for them follow.
    pub fn tries_queued(&self) -> impl Iterator<Item = (TaskIndex, u32)> + '_ {
        self.queued.iter().filter_map(|task| Some((*task, self.cell(*task)?.try_number())))
    }

    /// The cell that the write leaves, where it changes it.
    pub fn cell(&self, task: TaskIndex) -> Option<&Cell> {
        self.change.cells.iter().find(|(t, _)| *t == task).map(|(_, cell)| cell)
    }
}

/// Starts a queued run that has its place among the active ones.
pub fn start(plan: &Plan, run: &RunDoc, now: Timestamp) -> Step {
    let change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(DagRunState::Queued),
        state: Some(DagRunState::Running),
        active_epoch: Some(run.epoch),
        start_date: Some(now),
        end_date: Some(None),
        // What it knew of its DAG when it last ran.
        paused: run.paused.then_some(false),
        timeout_at: Some(timeout_at(plan, now)),
        looks: Some(0),
        ..RunChange::default()
    };
    with_decision(plan, run, change, Scope::Everything, now, None)
}

/// Tells a run that its DAG is paused, or no longer is: as in Airflow, what is queued or runs goes on, and nothing else happens until it is
/// unpaused, when the run is looked at at once. None where it knows, or does not run.
pub fn pause(run: &RunDoc, paused: bool, now: Timestamp) -> Option<RunChange> {
    if run.state != DagRunState::Running || run.paused == paused {
        return None;
    }
    let change = RunChange {
        if_state: Some(run.state),
        if_paused: Some(run.paused),
        paused: Some(paused),
        looks: (!paused).then_some(0),
        ..RunChange::default()
    };
    if paused {
        return Some(change);
    }
    // What fell due meanwhile, its own timeout among it, is due since then.
    let due = attention::needed(&change.apply(run), now).map_or(now, |need| need.min(now));
    let is_later = run.wake_at.is_none_or(|at| at > due);
    Some(if is_later {
        RunChange { if_wake_at: Some(run.wake_at), wake_at: Some(Some(due)), ..change }
    } else {
        // A look that still saw the pause may be about to put it later.
        RunChange { if_wake_at_most: Some(due), ..change }
    })
}

/// A run as it is first written by the scheduler: running, its roots decided.
pub fn begin(plan: &Plan, mut run: RunDoc, now: Timestamp) -> (RunDoc, Vec<TaskIndex>) {
    run.state = DagRunState::Running;
    run.start_date = Some(now);
    run.timeout_at = timeout_at(plan, now);
    run.deadline_at = deadlines::first(plan, &run);
    // A put writes the whole document, so nothing bounds what it decides.
    let decision = decide(plan, &run, now);
    let queued: Vec<TaskIndex> = decision.queued().collect();
    let mut change =
        RunChange { cells: decision.cells.into_iter().map(|(t, (_, to))| (t, to)).collect(), ..RunChange::default() };
    for (unit, expansion) in decision.expanded {
        change.mapped.push((MappedKey::Expansion(unit), Some(MappedEntry::Expansion(expansion))));
    }
    if let Some(state) = decision.end {
        let reason = reason_of(state, !decision.rests_on.is_empty());
        end_run(plan, &run, state, Some(reason), now, &mut change);
    }
    let mut image = change.apply(&run);
    image.revision = 0;
    image.wake_at = attention::needed(&image, now).or(run.wake_at);
    (image, queued)
}

/// When a run that starts now is taken for failed: at the first millisecond of `dagrun_timeout` being over.
fn timeout_at(plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    plan.dag.dagrun_timeout.map(|timeout| settle::after(now.saturating_add(timeout).unwrap_or(Timestamp::MAX)))
}

/// Decides what is still undecided in the image that a step's write returned: others wrote between the image it was decided on, `base`,
/// and this one. Empty change: nothing is.
pub fn catch_up(plan: &Plan, base: &RunDoc, step: &Step, after: &RunDoc, now: Timestamp) -> Step {
    let scope = if step.is_cut || step.change.epoch.is_some() || base.epoch != after.epoch || base.paused {
        Scope::Everything
    } else {
        let expected = |task| step.cell(task).unwrap_or_else(|| base.cell(task));
        let both = base.cells.keys().chain(after.cells.keys());
        let mut others: BTreeSet<TaskIndex> =
            both.copied().filter(|task| expected(*task) != after.cell(*task)).collect();
        if base.mapped != after.mapped {
            // Pages have been summed up, or units expanded.
            others.extend(plan.units().iter().flat_map(|unit| unit.members.iter().copied()));
        }
        Scope::Around(others.into_iter().collect())
    };
    with_decision(plan, after, RunChange::default(), scope, now, None)
}

/// Whether a run waits for something that no write of its own will tell it of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// For its own task instances, leases and waits only: looks may grow rare.
    ForItself,
    /// For slots or for another run that goes on: it is looked at regularly, in case the hint is lost.
    ForOthers,
}

/// Puts the next look later, after one that found nothing to do: conditioned on nothing having been written since, as a later
/// wake-up could otherwise overtake a need it does not know of.
pub fn rearm(run: &RunDoc, waits: Waits, now: Timestamp) -> RunChange {
    let mut after = run.clone();
    after.looks = if waits == Waits::ForOthers { 0 } else { run.looks.saturating_add(1) };
    RunChange {
        if_revision: Some(run.revision),
        looks: Some(after.looks),
        wake_at: Some(attention::needed(&after, now)),
        ..RunChange::default()
    }
}

/// Strikes out a delivered effect, and leaves the time index where it was the last. That, and striking out that a run left, is refused when
/// anything was written since: the run may have been cleared, started and ended again, and note an effect of the same name anew. Any
/// other effect is noted once under its name (ARCHITECTURE.md, rule D1), so others may write meanwhile.
pub fn strike_out(run: &RunDoc, id: &str, now: Timestamp) -> RunChange {
    let mut after = run.clone();
    after.outbox.remove(id);
    let leaves = attention::needed(&after, now).is_none();
    let may_come_again = matches!(run.outbox.get(id), None | Some(OutboxEntry::Leave { .. }));
    RunChange {
        if_revision: (leaves || may_come_again).then_some(run.revision),
        outbox_remove: vec![id.to_owned()],
        wake_at: leaves.then_some(None),
        ..RunChange::default()
    }
}

/// Notes that the runs of earlier dates let these tasks go (`all`: every task, since there is no earlier run), and decides what follows.
pub fn past_met(plan: &Plan, run: &RunDoc, tasks: Vec<TaskIndex>, all: bool, now: Timestamp) -> Step {
    let change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(run.state),
        past_met: if all { Vec::new() } else { tasks },
        past_met_by_all: all.then_some(true),
        ..RunChange::default()
    };
    with_decision(plan, run, change, Scope::Everything, now, None)
}

/// Deletes a run: what is left is a tombstone under its identity, so that nobody who still knows the run can bring it back. It is in the
/// time index for the day when that is over.
pub fn delete(run: &RunDoc, operation: &OperationId, now: Timestamp) -> RunChange {
    RunChange {
        epoch: Some(next_epoch(run, operation)),
        state: Some(DagRunState::Failed),
        deleted_at: Some(now),
        wake_at: Some(now.saturating_add(attention::TOMBSTONE_KEPT).ok()),
        if_revision: Some(run.revision),
        ..RunChange::default()
    }
}

pub(crate) fn cleared(try_number: u32) -> Cell {
    if try_number == 0 { Cell::None } else { Cell::Cleared { try_number } }
}

/// How much of the run a decision looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All of it.
    Everything,
    /// What depends on the cells that the change writes, and on these. Whatever else is undecided follows from the image that the write
    /// returns, if anybody else wrote, or is found by the next look.
    Around(Vec<TaskIndex>),
}

/// Adds everything that follows from the image the change makes.
pub(crate) fn with_decision(
    plan: &Plan,
    run: &RunDoc,
    mut change: RunChange,
    scope: Scope,
    now: Timestamp,
    continue_with: Option<&Continue>,
) -> Step {
    let decision = match scope {
        Scope::Everything => decide_with(plan, run, &change, CHANGES_MAX, now),
        Scope::Around(also) => decide_after(plan, run, &change, &also, CHANGES_MAX, now),
    };
    if !decision.is_empty() {
        change.if_epoch = Some(run.epoch);
        change.if_state = Some(run.state);
        change.if_paused = Some(run.paused);
    }
    let mut queued: Vec<TaskIndex> = decision.queued().collect();
    queued.sort_by_key(|task| (std::cmp::Reverse(plan.priority(*task)), *task));
    let is_deadlocked = !decision.rests_on.is_empty();
    let own: BTreeSet<TaskIndex> = change.cells.iter().map(|(task, _)| *task).collect();
    let Decision { cells, end, rests_on, carried_out, expanded, takes_places, is_cut } = decision;
    let is_scheduled = cells.values().any(|(_, to)| matches!(to, Cell::Scheduled { .. }));
    if takes_places {
        change.if_takes = Some(run.takes);
        change.takes = Some(run.takes + 1);
    }
    // A cell the change itself writes has its condition already; the decision only moves it on.
    change.cells.retain(|(task, _)| !cells.contains_key(task));
    for (task, (from, to)) in cells {
        if !own.contains(&task) {
            change.if_cells.push((task, from));
        }
        change.cells.push((task, to));
    }
    // What is decided of a mapped task as a whole rests on its having been expanded, or not.
    let decided: BTreeSet<TaskIndex> =
        change.if_cells.iter().filter_map(|(task, _)| plan.unit_of(*task)).map(|unit| unit.unit).collect();
    for unit in decided.into_iter().filter(|unit| !expanded.contains_key(unit)) {
        let key = MappedKey::Expansion(unit);
        if !change.if_mapped.iter().any(|(k, _)| *k == key) {
            change.if_mapped.push((key, run.mapped.0.get(&key).cloned()));
        }
    }
    for (unit, expansion) in &expanded {
        let key = MappedKey::Expansion(*unit);
        change.mapped.retain(|(k, _)| *k != key);
        change.if_mapped.push((key, run.mapped.0.get(&key).cloned()));
        change.mapped.push((key, Some(MappedEntry::Expansion(*expansion))));
    }
    for (task, chosen) in carried_out {
        change.choices.retain(|(t, _)| *t != task);
        change.choices.push((task, Some(chosen)));
    }
    if rests_on.len() > CHANGES_MAX {
        // Too many to name. Rare (a deadlock of a large run), so the whole document may stand for them.
        change.if_revision = Some(run.revision);
    } else {
        change.if_cells.extend(rests_on.into_iter().filter(|(task, _)| !own.contains(task)));
    }
    let claimed = continue_with.and_then(|wish| take(plan, wish, now, &mut change, &mut queued));
    if !queued.is_empty() || claimed.is_some() || is_scheduled || !expanded.is_empty() {
        change.looks = (run.looks > 0).then_some(0).or(change.looks);
    }
    if let Some(state) = end {
        end_run(plan, run, state, Some(reason_of(state, is_deadlocked)), now, &mut change);
    }
    let mut step = complete(run, change, now);
    step.queued = queued;
    step.claimed = claimed;
    step.expanded = expanded.into_keys().collect();
    step.is_cut = is_cut;
    step
}

/// Turns the first of the newly queued tasks that fits the wish into one that is claimed here.
fn take(
    plan: &Plan,
    wish: &Continue,
    now: Timestamp,
    change: &mut RunChange,
    queued: &mut Vec<TaskIndex>,
) -> Option<(TaskIndex, u32, Lease)> {
    // Queued in order of priority: if the first does not fit, a lesser one must not overtake it.
    let task = *queued.first().filter(|task| wish.fits(plan, **task))?;
    queued.remove(0);
    let (_, cell) = change.cells.iter_mut().find(|(t, _)| *t == task)?;
    let lease = Lease { token: wish.token.clone(), until: wish.until, since: now };
    let try_number = cell.try_number();
    *cell = Cell::Running { try_number, lease: lease.clone() };
    Some((task, try_number, lease))
}

/// Why a run ended by what its tasks came to.
fn reason_of(state: DagRunState, is_deadlocked: bool) -> RunEndReason {
    match state {
        DagRunState::Success => RunEndReason::Success,
        _ if is_deadlocked => RunEndReason::AllTasksDeadlocked,
        _ => RunEndReason::TaskFailure,
    }
}

/// Adds the run's end: its state, its date, and the effects of that: it gives back its place, and its callbacks are told the reason.
fn end_run(
    plan: &Plan,
    run: &RunDoc,
    state: DagRunState,
    reason: Option<RunEndReason>,
    now: Timestamp,
    change: &mut RunChange,
) {
    change.state = Some(state);
    change.end_date = Some(Some(now));
    if state == DagRunState::Success && run.deadline_at.is_some() {
        change.deadline_at = Some(None);
    }
    let epoch = change.epoch.as_ref().map_or(run.epoch, |(epoch, _)| *epoch);
    let told = reason.and_then(|reason| effects::of_end(plan, epoch, state, reason));
    let leave = OutboxEntry::Leave { epoch: run.active_epoch };
    change.outbox_put.extend(told.into_iter().chain([leave]).map(|entry| (entry.id(), entry)));
}

/// Keeps the run in the time index early enough, and works out the image.
pub(crate) fn complete(run: &RunDoc, mut change: RunChange, now: Timestamp) -> Step {
    if run.paused {
        // What is not decided, and not looked for, holds as long as the pause.
        change.if_paused = Some(true);
    }
    let image = change.apply(run);
    if let (None, Some(need)) = (change.wake_at, attention::needed(&image, now)) {
        if run.wake_at.is_some_and(|at| at <= need) {
            change.if_wake_at_most = Some(need);
        } else {
            // Another writer may have put it earlier than this since.
            change.if_wake_at = Some(run.wake_at);
            change.wake_at = Some(Some(need));
        }
    }
    Step { change, queued: Vec::new(), claimed: None, expanded: Vec::new(), is_cut: false, decided_on: run.revision }
}
