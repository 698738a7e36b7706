//! What people and limits do to a run besides its own course: clears, marks, cancellations, timeouts. Each bumps the epoch.

use super::{CHANGES_MAX, FAIL_FAST, Scope, Step, cleared, complete, end_run, with_decision};
use crate::attention;
use crate::deadlines;
use jiff::Timestamp;
use std::collections::BTreeSet;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Act, Cell, DagRunState, Expansion, Intent, MappedEntry, MappedKey, OPERATIONS_MAX, OperationId, OutboxEntry, Plan,
    RunChange, RunDoc, RunEndReason, TaskIndex, TaskInstanceState, TaskSet, Unit,
};

/// Clears task instances so that they run again (ARCHITECTURE.md, rule A5, C2): running ones become restarting, others lose their state and get
/// their retries anew. A finished run becomes queued.
pub fn clear(plan: &Plan, run: &RunDoc, tasks: &[TaskIndex], operation: &OperationId, now: Timestamp) -> Step {
    intervene(plan, run, Act::Clear, tasks.iter().copied(), operation, now)
}

/// Ends a run by hand: what is under way fails and has to let go, what else has not ended is skipped.
pub fn fail_run(plan: &Plan, run: &RunDoc, operation: &OperationId, now: Timestamp) -> Step {
    intervene(plan, run, Act::Cancel(End::Failed), plan.tasks(), operation, now)
}

/// Ends a run whose `dagrun_timeout` is over: whatever has not ended is skipped. None where it is not.
pub fn time_out(plan: &Plan, run: &RunDoc, now: Timestamp) -> Option<Step> {
    let is_over = run.state == DagRunState::Running && run.timeout_at.is_some_and(|at| at <= now);
    // The same for whoever finds it, and another one for each time that the run runs.
    let operation = OperationId::trusted(format!("timeout.{}.{}", run.facts.incarnation, run.epoch));
    (is_over && run.intent.is_none() && !run.paused)
        .then(|| intervene(plan, run, Act::Cancel(End::Skipped), plan.tasks(), &operation, now))
}

/// Has a run that had ended looked at at once, where an intervention is noted that is not made yet. A lease in it may have ended before.
fn look_at_ended(run: &RunDoc, change: &mut RunChange, now: Timestamp) {
    if run.state.is_finished() {
        let need = attention::needed(&change.apply(run), now).map_or(now, |need| need.min(now));
        change.wake_at = Some(Some(need));
    }
}

/// Intervenes in a run where no intervention is under way: its first write, and its only one unless it changes more than one write may.
/// Otherwise it is noted, the run decides nothing until it is made, and [`proceed`] goes on with it.
pub fn intervene(
    plan: &Plan,
    run: &RunDoc,
    act: Act,
    tasks: impl IntoIterator<Item = TaskIndex>,
    operation: &OperationId,
    now: Timestamp,
) -> Step {
    intervene_with(plan, run, &Intent::new(act, tasks), operation, now)
}

/// The same, where of mapped tasks only some instances may be meant. Where pages of mapped tasks are concerned, the first write only notes
/// it: pages are closed before any cell is changed (ARCHITECTURE.md, rule E2).
pub fn intervene_with(plan: &Plan, run: &RunDoc, intent: &Intent, operation: &OperationId, now: Timestamp) -> Step {
    let mut change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(run.state),
        if_intent_at: Some(None),
        epoch: Some(next_epoch(run, operation)),
        looks: Some(0),
        ..RunChange::default()
    };
    if has_pages(plan, run, intent) {
        change.intent = Some(Some(Intent { pages: true, ..intent.clone() }));
        change.intent_at = Some(TaskIndex(0));
        look_at_ended(run, &mut change, now);
        return complete(run, change, now);
    }
    advance(plan, run, intent, TaskIndex(0), change, now)
}

/// Whether an intervention concerns pages of mapped tasks.
pub(super) fn has_pages(plan: &Plan, run: &RunDoc, intent: &Intent) -> bool {
    let is_concerned = |unit: &Unit| {
        run.mapped.expansion(unit.unit).is_some()
            && unit.members.iter().any(|task| act_of(plan, run, intent, *task).is_some())
    };
    plan.units().iter().any(is_concerned)
}

/// Notes that pages have been closed for the intervention that is under way, with the epochs of those that were closed by themselves; the
/// last such write lets the intervention go on to cells. None: no pages are being closed.
pub fn pages_closed(run: &RunDoc, closed: &[(TaskIndex, u32)], is_last: bool, now: Timestamp) -> Option<Step> {
    let intent = run.intent.as_deref().filter(|intent| intent.pages)?;
    let epoch =
        |(unit, page): &(TaskIndex, u32)| (MappedKey::Epoch(*unit, *page), Some(MappedEntry::Number(run.epoch)));
    let change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(run.state),
        if_intent_at: Some(Some(run.intent_at)),
        mapped: closed.iter().map(epoch).collect(),
        intent: is_last.then(|| Some(Intent { pages: false, ..intent.clone() })),
        intent_at: is_last.then_some(run.intent_at),
        looks: Some(0),
        ..RunChange::default()
    };
    Some(complete(run, change, now))
}

/// What an intervention makes of a run by itself, without anything that follows from it: what people are told before they agree.
pub fn acted(plan: &Plan, run: &RunDoc, intent: &Intent, now: Timestamp) -> RunDoc {
    let mut change = RunChange::default();
    let mut resumed = false;
    for task in meant(plan, intent, TaskIndex(0)) {
        resumed |= act_on(plan, run, intent, task, &mut change);
    }
    act_on_run(plan, run, intent, resumed, now, &mut change);
    change.apply(run)
}

/// The epoch that an intervention makes, with the last interventions up to it (ARCHITECTURE.md, rule F1).
pub(super) fn next_epoch(run: &RunDoc, operation: &OperationId) -> (u32, Vec<OperationId>) {
    let operations = std::iter::once(operation).chain(&run.operations);
    (run.epoch + 1, operations.take(OPERATIONS_MAX).cloned().collect())
}

/// Goes on with the intervention that is under way; none where there is none.
pub fn proceed(plan: &Plan, run: &RunDoc, now: Timestamp) -> Option<Step> {
    let intent = run.intent.as_deref().filter(|intent| !intent.pages)?;
    let change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(run.state),
        if_intent_at: Some(Some(run.intent_at)),
        looks: Some(0),
        ..RunChange::default()
    };
    Some(advance(plan, run, intent, run.intent_at, change, now))
}

/// As much of an intervention as one write may change, and what follows from it where that is all.
pub(super) fn advance(
    plan: &Plan,
    run: &RunDoc,
    intent: &Intent,
    from: TaskIndex,
    mut change: RunChange,
    now: Timestamp,
) -> Step {
    let mut resumed = false;
    for task in meant(plan, intent, from) {
        if change.cells.len() >= CHANGES_MAX {
            if run.intent.is_none() {
                change.intent = Some(Some(intent.clone()));
                look_at_ended(run, &mut change, now);
            }
            change.intent_at = Some(task);
            return complete(run, change, now);
        }
        resumed |= act_on(plan, run, intent, task, &mut change);
    }
    if run.intent.is_some() {
        change.intent = Some(None);
    }
    act_on_run(plan, run, intent, resumed, now, &mut change);
    if change.state.is_some_and(DagRunState::is_finished) {
        return complete(run, change, now);
    }
    with_decision(plan, run, change, Scope::Everything, now, None)
}

/// The tasks that an intent is about, from one on.
fn meant(plan: &Plan, intent: &Intent, from: TaskIndex) -> BTreeSet<TaskIndex> {
    let tasks = intent.tasks.from(from).chain(intent.resume.from(from));
    let gone = plan.removed().filter(|task| *task >= from);
    tasks.chain(gone).filter(|task| task.at() < plan.dag.tasks.len()).collect()
}

/// What an intervention makes of the run itself. `resumed`: this write has cleared some of what is to be cleared where it has failed.
fn act_on_run(plan: &Plan, run: &RunDoc, intent: &Intent, resumed: bool, now: Timestamp, change: &mut RunChange) {
    let was_cleared = |cell: &Cell| matches!(cell, Cell::Cleared { .. } | Cell::Restarting { .. });
    let resumed =
        resumed || (run.intent.is_some() && intent.resume.from(TaskIndex(0)).any(|t| was_cleared(run.cell(t))));
    let queue = |change: &mut RunChange| {
        change.state = Some(DagRunState::Queued);
        change.end_date = Some(None);
        change.timeout_at = Some(None);
        change.wake_at = Some(Some(now));
    };
    match intent.act {
        Act::Cancel(end) => {
            let left = |task: &TaskIndex| plan.task(*task).is_teardown && is_left(run.cell(*task), end);
            if !plan.tasks().any(|task| left(&task)) {
                let state = if end == End::Success { DagRunState::Success } else { DagRunState::Failed };
                // Only the time that is over is an end that callbacks are told of; of the others somebody knows who made them.
                let reason = (end == End::Skipped).then_some(RunEndReason::TimedOut);
                end_run(plan, run, state, reason, now, change);
            }
        }
        Act::Requeue => {
            if run.state == DagRunState::Running {
                let leave = OutboxEntry::Leave { epoch: run.active_epoch };
                change.outbox_put.push((leave.id(), leave));
            }
            give_slots_back(plan, run, change);
            queue(change);
        }
        Act::ClearTasks | Act::Stop => {}
        Act::Mark(_) if !resumed => {}
        Act::Clear | Act::Mark(_) => {
            change.clear_number = Some(run.clear_number + 1);
            if let Some(at) = deadlines::cleared(plan, run, now) {
                change.requeued_at = Some(now);
                change.deadline_at = Some(Some(at));
            }
            if run.state.is_finished() {
                queue(change);
            }
        }
    }
}

/// A run that waits for its place runs nothing, so its tasks must not keep slots that runs with a place wait for.
fn give_slots_back(plan: &Plan, run: &RunDoc, change: &mut RunChange) {
    ask_anew(plan, run, |task| plan.is_held_with_others(task), change);
}

/// The same step, by which a run also goes over to another version of its DAG. What was queued by the limits of the version it leaves, and is
/// under others now, asks these: it would run without their slots.
#[must_use]
pub fn under_other_limits(from: &Plan, to: &Plan, run: &RunDoc, step: Step, now: Timestamp) -> Step {
    let known = from.dag.tasks.len();
    let incarnation = &run.facts.incarnation;
    let differs =
        |task: TaskIndex| task.at() < known && from.holders(task, incarnation) != to.holders(task, incarnation);
    let mut change = step.change;
    let before = change.cells.len();
    ask_anew(to, run, differs, &mut change);
    if change.cells.len() == before {
        return Step { change, ..step };
    }
    if change.if_wake_at.is_some() || change.if_wake_at_most.is_some() {
        (change.wake_at, change.if_wake_at, change.if_wake_at_most) = (None, None, None);
    }
    Step { change: complete(run, change, now).change, ..step }
}

/// What is scheduled or queued under limits beyond the run is cleared, and asks anew as another try, which is one more that it may use.
fn ask_anew(plan: &Plan, run: &RunDoc, is_meant: impl Fn(TaskIndex) -> bool, change: &mut RunChange) {
    let asks = |cell: &Cell| matches!(cell, Cell::Scheduled { .. } | Cell::Queued { .. });
    let changed: BTreeSet<TaskIndex> = change.cells.iter().map(|(task, _)| *task).collect();
    let mut asking: Vec<(TaskIndex, &Cell)> = run
        .cells
        .iter()
        .filter(|(task, cell)| asks(cell) && !changed.contains(task) && is_meant(**task))
        .map(|(t, c)| (*t, c))
        .collect();
    asking.sort_by_key(|(task, _)| (std::cmp::Reverse(plan.priority(*task)), *task));
    for (task, cell) in asking.into_iter().take(CHANGES_MAX.saturating_sub(change.cells.len())) {
        let most = run.max_tries.get(&task).copied().unwrap_or(plan.task(task).retries);
        change.if_cells.push((task, cell.clone()));
        change.cells.push((task, cleared(cell.try_number())));
        change.max_tries.push((task, most + 1));
    }
}

/// What an intervention does to a task, if anything. What is to be cleared only where it has failed is as it stands: nothing is decided
/// before an intervention is made.
pub fn act_of(plan: &Plan, run: &RunDoc, intent: &Intent, task: TaskIndex) -> Option<Act> {
    let cell = run.cell(task);
    // What is marked as failed, and is below something else that is, runs again: as in Airflow.
    let state = match intent.act {
        Act::Mark(end) if intent.tasks.contains(task) && intent.means_whole(task) => end.state(),
        _ => cell.state(),
    };
    let has_failed = matches!(state, TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed);
    if intent.resume.contains(task) && (has_failed || resumes_instances(plan, run, intent, task)) {
        return Some(Act::Clear);
    }
    match intent.act {
        _ if !intent.tasks.contains(task) => None,
        Act::Requeue => None,
        Act::Cancel(end) if plan.task(task).is_teardown && is_left(cell, end) => None,
        Act::Cancel(end) if intent.under_way.contains(task) => Some(Act::Mark(end)),
        Act::Stop if stopped(cell).is_none() => None,
        act => Some(act),
    }
}

/// Whether some instances of a task run again by name: those that had failed when it was asked for.
fn resumes_instances(plan: &Plan, run: &RunDoc, intent: &Intent, task: TaskIndex) -> bool {
    let unit = plan.unit_of(task).filter(|_| !intent.tasks.contains(task) && !intent.means_whole(task));
    unit.is_some_and(|unit| run.mapped.expansion(unit.unit).is_some())
}

/// Whether a teardown is left to run where its run is ended by hand: only a run whose time is over ends without them.
fn is_left(cell: &Cell, end: End) -> bool {
    end != End::Skipped && !cell.is_final()
}

/// Takes note that a task is gone from the DAG. What still runs has to let go.
fn remove(run: &RunDoc, task: TaskIndex, change: &mut RunChange) {
    let cell = run.cell(task);
    if cell.state() == TaskInstanceState::Removed {
        return;
    }
    let winner = match cell {
        Cell::Final { winner, .. } => winner.clone(),
        _ => None,
    };
    let gone =
        Cell::Final { end: End::Removed, try_number: cell.try_number(), winner, leaving: cell.holder().cloned() };
    change.if_cells.push((task, cell.clone()));
    change.cells.push((task, gone));
}

/// What an intervention makes of one task instance. True: it had failed, and is cleared with what failed above it.
fn act_on(plan: &Plan, run: &RunDoc, intent: &Intent, task: TaskIndex, change: &mut RunChange) -> bool {
    let cell = run.cell(task);
    if plan.task(task).is_removed {
        remove(run, task, change);
        return false;
    }
    let is_named = intent.tasks.contains(task);
    let state = match intent.act {
        Act::Mark(end) if is_named => end.state(),
        _ => cell.state(),
    };
    let has_failed = matches!(state, TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed);
    let resumes = (has_failed || resumes_instances(plan, run, intent, task)) && intent.resume.contains(task);
    if !resumes && !is_named {
        return false;
    }
    if let Some(unit) = plan.unit_of(task)
        && let Some(expansion) = run.mapped.expansion(unit.unit)
    {
        act_on_mapped(plan, run, intent, (unit, expansion), task, change);
        return resumes;
    }
    let try_number = cell.try_number();
    let marked = |end, winner| Cell::Final { end, try_number, winner, leaving: cell.holder().cloned() };
    let to = match if resumes { Act::Clear } else { intent.act } {
        Act::Clear | Act::ClearTasks => {
            change.past_unmet.extend(run.past_met.contains(&task).then_some(task));
            change.past_met_by_all = run.past_met_by_all.then_some(false).or(change.past_met_by_all);
            let length = MappedKey::Length(task);
            change.mapped.extend(run.mapped.0.contains_key(&length).then_some((length, None)));
            if *cell != Cell::None {
                change.max_tries.push((task, try_number + plan.task(task).retries));
            }
            match cell.holder() {
                Some(lease) => Cell::Restarting { try_number, lease: lease.clone() },
                None => cleared(try_number),
            }
        }
        Act::Mark(end) => match cell {
            // What it left behind stays: its XComs, its log.
            Cell::Final { end: before, winner, .. } if *before != end => marked(end, winner.clone()),
            Cell::Final { .. } => return false,
            _ => marked(end, None),
        },
        Act::Requeue => return false,
        Act::Stop => match stopped(cell) {
            Some(end) => marked(end, None),
            None => return false,
        },
        Act::Cancel(_) if cell.is_final() => return false,
        Act::Cancel(end) if plan.task(task).is_teardown && is_left(cell, end) => return false,
        Act::Cancel(end) => {
            let is_under_way = match cell {
                Cell::Running { .. } => true,
                Cell::Waiting { wait, .. } => *wait != Wait::Retry,
                _ => false,
            };
            marked(if is_under_way { end } else { End::Skipped }, None)
        }
    };
    if to != *cell {
        change.if_cells.push((task, cell.clone()));
        change.cells.push((task, to));
    }
    resumes
}

/// What an intervention makes of a mapped task whose pages have been closed for it, at the run's epoch.
fn act_on_mapped(
    plan: &Plan,
    run: &RunDoc,
    intent: &Intent,
    (unit, expansion): (&Unit, Expansion),
    task: TaskIndex,
    change: &mut RunChange,
) {
    let cell = run.cell(task);
    let clears = |task| matches!(act_of(plan, run, intent, task), Some(Act::Clear | Act::ClearTasks));
    let Some(act) = act_of(plan, run, intent, task) else { return };
    if intent.means_whole(task) {
        // Cleared as a whole it is expanded anew: what it is expanded over may be another.
        let is_cleared = unit.members.iter().all(|member| clears(*member) && intent.means_whole(*member));
        let anew = Expansion { epoch: run.epoch, ..expansion };
        let key = MappedKey::Expansion(unit.unit);
        change.mapped.retain(|(k, _)| *k != key);
        change.mapped.push((key, (!is_cleared).then_some(MappedEntry::Expansion(anew))));
        if is_cleared && expansion.count > run.mapped.before(unit.unit) {
            let before = MappedKey::Before(unit.unit);
            change.mapped.retain(|(k, _)| *k != before);
            change.mapped.push((before, Some(MappedEntry::Number(expansion.count))));
        }
    }
    let to = match act {
        Act::Mark(end) if intent.means_whole(task) => Cell::ended(end, cell.try_number()),
        Act::Cancel(_) if cell.is_final() => return,
        Act::Cancel(end) => Cell::ended(end, cell.try_number()),
        // Its instances say anew what it comes to.
        Act::Stop | Act::Clear | Act::ClearTasks | Act::Requeue | Act::Mark(_) => Cell::None,
    };
    if to != *cell {
        change.if_cells.push((task, cell.clone()));
        change.cells.push((task, to));
    }
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
