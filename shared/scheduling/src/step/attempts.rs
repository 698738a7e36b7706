//! What happens to an attempt: it is claimed, renewed, ended by its own word, or found dead.

use super::{Scope, Step, cleared, stop_others, with_decision};
use crate::effects;
use crate::settle;
use jiff::{SignedDuration, Timestamp};
use updraft_model::attempt::RETURN_VALUE;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Attempt, AttemptOutcome, Cell, Choice, DagRunState, Held, Lease, MappedEntry, MappedKey, Plan, RunChange, RunDoc,
    TaskIndex, Token, WorkerKind,
};

/// What a finished attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// When it ended; the retry delay counts from here.
    pub end_date: Timestamp,
    /// What it lets go on.
    pub choice: Option<Choice>,
    /// How many instances can be made of what it returned, where a task is mapped over that.
    pub map_length: Option<u32>,
    /// Whether it left a return value.
    pub has_value: bool,
}

impl Ended {
    /// An attempt that chose nothing.
    pub fn new(outcome: AttemptOutcome, end_date: Timestamp) -> Self {
        Self { outcome, end_date, choice: None, map_length: None, has_value: false }
    }
}

impl From<&Attempt> for Ended {
    fn from(attempt: &Attempt) -> Self {
        Self {
            outcome: attempt.outcome,
            end_date: attempt.end_date,
            choice: attempt.choice.clone(),
            map_length: attempt.map_length,
            has_value: attempt.xcoms.contains_key(RETURN_VALUE),
        }
    }
}

/// A wish to run one of the newly ready tasks here at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continue {
    /// The token of the attempt to be.
    pub token: Token,
    /// Until when its lease is to last.
    pub until: Timestamp,
    /// Only a task of at least this priority: nothing that waits elsewhere is overtaken.
    pub priority_least: Option<i64>,
    /// Only a task whose execution_timeout fits; none: any.
    pub timeout_most: Option<TimeoutMost>,
    /// Only a task that this kind of worker serves; none: any.
    pub worker: Option<WorkerKind>,
}

impl Continue {
    /// Whether a task is one of those that are wished for.
    pub(crate) fn fits(&self, plan: &Plan, task: TaskIndex) -> bool {
        let (definition, priority) = (plan.task(task), plan.priority(task));
        self.priority_least.is_none_or(|least| priority >= least)
            && self.timeout_most.is_none_or(|most| most.fits(definition.execution_timeout))
            && self.worker.is_none_or(|kind| kind.serves(definition.worker_kind()))
    }
}

/// Which execution_timeouts fit into the time that is left here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeoutMost {
    /// At most this long.
    pub most: SignedDuration,
    /// Whether a task without one fits: nobody knows how long it takes.
    pub unlimited: bool,
}

impl TimeoutMost {
    /// Whether a task with this execution_timeout fits.
    pub fn fits(self, timeout: Option<SignedDuration>) -> bool {
        timeout.map_or(self.unlimited, |timeout| timeout <= self.most)
    }
}

/// Claims a queued try, without having seen an image: refused when the cell is anything else.
pub fn claim(task: TaskIndex, try_number: u32, lease: &Lease) -> RunChange {
    RunChange {
        if_state: Some(DagRunState::Running),
        if_cells: vec![(task, Cell::Queued { try_number })],
        if_wake_at_most: Some(lease.until),
        cells: vec![(task, Cell::Running { try_number, lease: lease.clone() })],
        ..RunChange::default()
    }
}

/// The claim again, where it was refused only because of the run's wake-up: it lies after the lease's end, or another claim has put it
/// before that since. None where the try is not there to be claimed.
pub fn claim_again(run: &RunDoc, task: TaskIndex, try_number: u32, lease: &Lease) -> Option<RunChange> {
    let claimable = run.state == DagRunState::Running && *run.cell(task) == Cell::Queued { try_number };
    let late = run.wake_at.is_none_or(|at| at > lease.until);
    let change = claim(task, try_number, lease);
    claimable.then(|| {
        if !late {
            return change;
        }
        RunChange { if_wake_at_most: None, if_wake_at: Some(run.wake_at), wake_at: Some(Some(lease.until)), ..change }
    })
}

/// Renews a lease. Conditioned on the lease it replaces: a renewal whose answer was lost may land late, and must not take back a later
/// one. A refusal that shows the attempt with another lease is such a renewal that has landed: go on from that one.
pub fn renew(held: &Held, from: &Lease, lease: &Lease) -> RunChange {
    RunChange {
        if_cells: vec![(held.task, Cell::Running { try_number: held.try_number, lease: from.clone() })],
        cells: vec![(held.task, Cell::Running { try_number: held.try_number, lease: lease.clone() })],
        ..RunChange::default()
    }
}

/// Finishes an attempt, with everything its end decides. None where the attempt does not hold its cell any more.
pub fn finish(
    plan: &Plan,
    run: &RunDoc,
    held: &Held,
    ended: &Ended,
    now: Timestamp,
    continue_with: Option<&Continue>,
) -> Option<Step> {
    let Cell::Running { try_number, lease } = run.cell(held.task) else { return None };
    if *try_number != held.try_number || lease.token != held.token {
        return None;
    }
    let mut change = RunChange { if_running: Some(held.clone()), ..RunChange::default() };
    let has_failed = settle(plan, run, held, lease.since, ended, &mut change);
    if has_failed && let Some(step) = stop_others(plan, run, &[held.task], held.token.as_str(), &change, now) {
        return Some(step);
    }
    Some(with_decision(plan, run, change, Scope::Around(Vec::new()), now, continue_with))
}

/// Ends a try that waits for people by what they answered, or by nobody having answered in time: `held` is the answer, whose token names
/// its item. None where the try does not wait for an answer (any more).
pub fn answer(plan: &Plan, run: &RunDoc, held: &Held, ended: &Ended, now: Timestamp) -> Option<Step> {
    let cell = run.cell(held.task);
    let Cell::Waiting { wait: Wait::Input, try_number, .. } = cell else { return None };
    if *try_number != held.try_number {
        return None;
    }
    let mut change = RunChange { if_cells: vec![(held.task, cell.clone())], ..RunChange::default() };
    let has_failed = settle(plan, run, held, now, ended, &mut change);
    let stopped =
        if has_failed { stop_others(plan, run, &[held.task], held.token.as_str(), &change, now) } else { None };
    let step = stopped.unwrap_or_else(|| with_decision(plan, run, change, Scope::Around(Vec::new()), now, None));
    // Whoever answers may have no queue to send messages by: what follows is looked at at once.
    Some(at_once(run, step, now))
}

/// The step, with the run's next look no later than now. One that is due already stays where it is: only a look may put it later.
fn at_once(run: &RunDoc, mut step: Step, now: Timestamp) -> Step {
    let planned = step.change.wake_at.unwrap_or(run.wake_at);
    if planned.is_none_or(|at| at > now) {
        step.change.if_wake_at_most = None;
        step.change.if_wake_at = Some(run.wake_at);
        step.change.wake_at = Some(Some(now));
    }
    step
}

/// Whether a step whose answer was lost is what made this image: the cell is exactly as the step left it. The token alone does not
/// say so: the sweep that took this attempt for dead names it too, and decided something else from it.
pub fn landed(step: &Step, image: &RunDoc, held: &Held) -> bool {
    let cell = image.cell(held.task);
    matches!(cell, Cell::Final { .. } | Cell::Waiting { .. }) && step.cell(held.task) == Some(cell)
}

/// Lets go of an attempt that was cleared while it ran; call after it has been killed (ARCHITECTURE.md, rule A2). None where there is nothing to
/// let go of.
pub fn acknowledge(plan: &Plan, run: &RunDoc, held: &Held, now: Timestamp) -> Option<Step> {
    let ours = |lease: &Lease| lease.token == held.token;
    match run.cell(held.task) {
        Cell::Restarting { try_number, lease } if *try_number == held.try_number && ours(lease) => {
            let change = RunChange {
                if_restarting: Some(held.clone()),
                cells: vec![(held.task, cleared(*try_number))],
                ..RunChange::default()
            };
            Some(with_decision(plan, run, change, Scope::Everything, now, None))
        }
        // Marked while it ran: the mark stays, the attempt is gone.
        cell @ Cell::Final { leaving: Some(lease), .. } if ours(lease) => {
            let mut let_go = cell.clone();
            if let Cell::Final { leaving, .. } = &mut let_go {
                *leaving = None;
            }
            let change = RunChange {
                if_cells: vec![(held.task, cell.clone())],
                cells: vec![(held.task, let_go)],
                ..RunChange::default()
            };
            Some(with_decision(plan, run, change, Scope::Everything, now, None))
        }
        _ => None,
    }
}

/// An attempt whose lease is over, as the sweep found it.
#[derive(Debug, Clone, PartialEq)]
pub struct Expired {
    /// The exact cell that was read, lease included (ARCHITECTURE.md, rule A1).
    pub cell: Cell,
    /// The task.
    pub task: TaskIndex,
    /// What its own attempt item says; none: it left none and is taken for dead.
    pub left: Option<Ended>,
}

/// The cells whose attempts must be settled: leases over at `now`. `all` takes every attempt for dead, for a server that knows
/// itself to be the only one and has just started.
pub fn expired(run: &RunDoc, now: Timestamp, all: bool) -> Vec<(TaskIndex, Cell)> {
    let over = |cell: &Cell| cell.holder().is_some_and(|lease| all || lease.until < now);
    run.cells.iter().filter(|(_, cell)| over(cell)).map(|(task, cell)| (*task, cell.clone())).collect()
}

/// Settles expired attempts and decides what follows. Empty change: nothing to do.
pub fn sweep(plan: &Plan, run: &RunDoc, expired: &[Expired], now: Timestamp) -> Step {
    let mut change = RunChange::default();
    let (mut failed, mut who) = (Vec::new(), None);
    // Whoever fails for good may stop all others, which is for after the intervention that is under way.
    let waits = plan.dag.fail_fast && run.intent.is_some();
    for Expired { cell, task, left } in expired.iter().filter(|_| !waits) {
        let to = match cell {
            Cell::Running { try_number, lease } => {
                let held = Held { task: *task, try_number: *try_number, token: lease.token.clone() };
                // Without an item the attempt died: its lease's end, not now, is when; but a retry counts from when it was noticed.
                let ended = left.clone().unwrap_or(Ended::new(AttemptOutcome::Failed, now));
                if settle(plan, run, &held, lease.since, &ended, &mut change) {
                    who.get_or_insert_with(|| held.token.to_string());
                    failed.push(held.task);
                }
                change.if_cells.push((*task, cell.clone()));
                continue;
            }
            // Never settled by an item: what was cleared must not come back as a result.
            Cell::Restarting { try_number, .. } => cleared(*try_number),
            Cell::Final { end, try_number, winner, .. } => {
                Cell::Final { end: *end, try_number: *try_number, winner: winner.clone(), leaving: None }
            }
            Cell::None | Cell::Cleared { .. } | Cell::Scheduled { .. } | Cell::Queued { .. } | Cell::Waiting { .. } => {
                continue;
            }
        };
        change.if_cells.push((*task, cell.clone()));
        change.cells.push((*task, to));
    }
    if let Some(step) = stop_others(plan, run, &failed, &who.unwrap_or_default(), &change, now) {
        return step;
    }
    with_decision(plan, run, change, Scope::Everything, now, None)
}

/// Adds what an attempt's end makes of its cell. Says whether the task instance has failed for good.
fn settle(plan: &Plan, run: &RunDoc, held: &Held, since: Timestamp, ended: &Ended, change: &mut RunChange) -> bool {
    let attempt = settle::Attempt {
        task: held.task,
        try_number: held.try_number,
        token: &held.token,
        max_tries: run.max_tries.get(&held.task).copied().unwrap_or(plan.task(held.task).retries),
        since,
        before: run.resumed(held.task),
    };
    let settled = settle::settle(plan, &run.facts, &attempt, ended);
    if plan.is_mapped_over(held.task) && settled.outcome == AttemptOutcome::Success {
        change.mapped.push((MappedKey::Length(held.task), ended.map_length.map(MappedEntry::Number)));
    }
    let task = plan.task(held.task);
    let effect = effects::of_try(task, held, settled.outcome, &settled.cell);
    change.outbox_put.extend(effect.map(|entry| (entry.id(), entry)));
    change.resumes.extend(settled.resumed.map(|resumed| (held.task, resumed)));
    match settled.chosen {
        Some(chosen) => change.choices.push((held.task, Some(chosen))),
        None if run.choices.contains_key(&held.task) => change.choices.push((held.task, None)),
        None => {}
    }
    let has_failed = matches!(settled.cell, Cell::Final { end: End::Failed, .. });
    change.cells.push((held.task, settled.cell));
    has_failed
}
