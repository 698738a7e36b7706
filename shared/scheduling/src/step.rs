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
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use updraft_model::attempt::RETURN_VALUE;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Act, Attempt, AttemptOutcome, Cell, Choice, DagRunState, Expansion, Generation, Held, Intent, Lease, MappedEntry,
    MappedKey, OPERATIONS_MAX, OperationId, OutboxEntry, Plan, RunChange, RunDoc, RunEndReason, TaskIndex,
    TaskInstanceState, TaskSet, Token, Unit, WorkerKind,
};

mod interventions;

pub use interventions::{
    act_of, acted, clear, fail_run, intervene, intervene_with, pages_closed, proceed, time_out, under_other_limits,
};
use interventions::{advance, has_pages, next_epoch};

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
        change
    })
}

/// A run as it is first written by the scheduler: running, its roots decided.
pub fn begin(plan: &Plan, mut run: RunDoc, now: Timestamp) -> (RunDoc, Vec<TaskIndex>) {
    run.state = DagRunState::Running;
    run.start_date = Some(now);
    run.timeout_at = timeout_at(plan, now);
    run.deadline_at = deadlines::first(plan, &run.facts);
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

/// What follows in a DAG with `fail_fast` from these tasks having failed for good: an intervention in the run, with everything that
/// the change makes, and named by who failed first. None where it asks for nothing. Where another intervention is under way the step is one
/// that cannot be written: that one is to be made first. Where instances of mapped tasks are to be stopped it is noted by this write, and
/// their pages are closed for it (ARCHITECTURE.md, rule E2). Other instances of a mapped task that failed go on, as in Airflow.
pub(crate) fn stop_others(
    plan: &Plan,
    run: &RunDoc,
    failed: &[TaskIndex],
    who: &str,
    change: &RunChange,
    now: Timestamp,
) -> Option<Step> {
    if !plan.dag.fail_fast || failed.is_empty() {
        return None;
    }
    let mut change = change.clone();
    let is_stopped = |task: &TaskIndex| !plan.task(*task).is_teardown && !failed.contains(task);
    let own: BTreeSet<TaskIndex> = change.cells.iter().map(|(task, _)| *task).collect();
    let mut stops = false;
    // What the same write lets go of or puts off for another try would have been skipped a moment later.
    for (_, cell) in change.cells.iter_mut().filter(|(task, cell)| is_stopped(task) && !cell.is_final()) {
        *cell = Cell::Final {
            end: End::Skipped,
            try_number: cell.try_number(),
            winner: None,
            leaving: cell.holder().cloned(),
        };
        stops = true;
    }
    let others: TaskSet = plan.tasks().filter(|task| is_stopped(task) && !own.contains(task)).collect();
    stops |= others.from(TaskIndex(0)).any(|task| stopped(run.cell(task)).is_some());
    if !stops {
        return None;
    }
    let operation = OperationId::trusted(format!("{FAIL_FAST}{who}"));
    let change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(run.state),
        if_intent_at: Some(None),
        epoch: Some(next_epoch(run, &operation)),
        looks: Some(0),
        ..change
    };
    let intent = Intent::new(Act::Stop, others.from(TaskIndex(0)));
    if has_pages(plan, run, &intent) {
        let intent = Some(Some(Intent { pages: true, ..intent }));
        return Some(complete(run, RunChange { intent, intent_at: Some(TaskIndex(0)), ..change }, now));
    }
    Some(advance(plan, run, &intent, TaskIndex(0), change, now))
}

/// The end that `fail_fast` gives a task instance; none: it keeps what it has.
pub(crate) fn stopped(cell: &Cell) -> Option<End> {
    match cell {
        Cell::Final { end: End::Success | End::Failed | End::Skipped, .. } => None,
        Cell::Running { .. } => Some(End::Failed),
        _ => Some(End::Skipped),
    }
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
    /// For slots or for another run: it is looked at regularly, in case the hint is lost.
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

/// How many places under `max_active_tasks` are free, where the run's document counts them.
pub fn free_places(plan: &Plan, run: &RunDoc) -> usize {
    let Some(limit) = plan.places_most() else { return usize::MAX };
    (limit as usize).saturating_sub(run.cells.values().filter(|cell| cell.takes_a_place()).count())
}

/// Queues tasks that hold all that they take beyond their run; under `max_active_tasks` only as many as there are places. What could not
/// be queued stays scheduled.
pub fn grant(plan: &Plan, run: &RunDoc, tasks: &[TaskIndex], now: Timestamp) -> Step {
    grant_and_put_off(plan, run, tasks, &[], now)
}

/// The same, and puts others off that hold slots and have no place in their run (ARCHITECTURE.md, rule B7).
pub fn grant_and_put_off(plan: &Plan, run: &RunDoc, tasks: &[TaskIndex], others: &[TaskIndex], now: Timestamp) -> Step {
    let free = free_places(plan, run);
    let mut change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(run.state),
        if_paused: Some(run.paused),
        ..RunChange::default()
    };
    let mut queued = Vec::new();
    for task in tasks.iter().take(free.min(CHANGES_MAX)) {
        if let Cell::Scheduled { try_number, .. } = run.cell(*task) {
            change.if_cells.push((*task, run.cell(*task).clone()));
            change.cells.push((*task, Cell::Queued { try_number: *try_number }));
            queued.push(*task);
        }
    }
    for task in others.iter().take(CHANGES_MAX - queued.len()) {
        if let Cell::Scheduled { try_number, resume, turn } = run.cell(*task) {
            let (if_cells, cells) =
                put_off(*task, Generation { try_number: *try_number, resume: *resume, turn: *turn });
            change.if_cells.push(if_cells);
            change.cells.push(cells);
        }
    }
    if !queued.is_empty() {
        change.looks = (run.looks > 0).then_some(0);
        if plan.places_most().is_some() {
            change.if_takes = Some(run.takes);
            change.takes = Some(run.takes + 1);
        }
    }
    let mut step = complete(run, change, now);
    step.queued = queued;
    step
}

/// Queues who waited for slots and holds them now, without having seen an image: refused when the cell is anything but what these slots
/// were taken for, the attempt included. A sensor that ran on them and waits for slots anew is another attempt of the same try.
///
/// `look_at`: when somebody looks at the run, in case the message is lost.
pub fn promote(task: TaskIndex, generation: Generation, look_at: Option<Timestamp>) -> RunChange {
    let Generation { try_number, resume, turn } = generation;
    RunChange {
        if_state: Some(DagRunState::Running),
        if_cells: vec![(task, Cell::Scheduled { try_number, resume, turn })],
        if_wake_at_most: look_at,
        looks: Some(0),
        cells: vec![(task, Cell::Queued { try_number })],
        ..RunChange::default()
    }
}

/// The cell of a task that was promoted while its run has no place for it, and what becomes of that: it asks anew when there is one. Only
/// then are its slots given back: they are a dead generation's, so that this may come as late as it likes (ARCHITECTURE.md, rule B7).
fn put_off(task: TaskIndex, generation: Generation) -> ((TaskIndex, Cell), (TaskIndex, Cell)) {
    let Generation { try_number, resume, turn } = generation;
    let cell = |turn| (task, Cell::Scheduled { try_number, resume, turn });
    (cell(turn), cell(turn + 1))
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
