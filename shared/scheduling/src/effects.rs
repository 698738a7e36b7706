//! Which ends have effects beyond the run: asset events and callbacks. They are noted by the write that makes the end.

use updraft_model::cell::{Cell, End, Wait};
use updraft_model::{AttemptOutcome, CallbackKind, DagRunState, Held, OutboxEntry, Plan, RunEndReason, Task, TryEnd};

/// What the end of an attempt has to tell, if the task has anything that is told. A try that goes on has not ended; a success that came to
/// nothing (its choice names what is not there) is the failure that its cell says.
pub(crate) fn of_try(task: &Task, held: &Held, outcome: AttemptOutcome, cell: &Cell) -> Option<OutboxEntry> {
    let end = end_of_try(task, outcome, cell)?;
    Some(OutboxEntry::Try { task: held.task, try_number: held.try_number, token: held.token.clone(), end })
}

/// The end of a try that has something to tell.
pub(crate) fn end_of_try(task: &Task, outcome: AttemptOutcome, cell: &Cell) -> Option<TryEnd> {
    if task.callbacks.is_empty() && task.outlets.is_empty() {
        return None;
    }
    let end = match (outcome, cell) {
        (_, Cell::Final { end: End::Success, .. }) => TryEnd::Success,
        (_, Cell::Final { end: End::Skipped, .. }) => TryEnd::Skipped,
        (_, Cell::Final { .. }) => TryEnd::Failed,
        (AttemptOutcome::Failed, Cell::Waiting { wait: Wait::Retry, .. }) => TryEnd::Retry,
        _ => return None,
    };
    let has_events = end == TryEnd::Success && !task.outlets.is_empty();
    (has_events || task.callbacks.contains_key(&end.callbacks())).then_some(end)
}

/// What the end of a run has to tell, if its DAG has callbacks for it.
pub(crate) fn of_end(plan: &Plan, epoch: u32, state: DagRunState, reason: RunEndReason) -> Option<OutboxEntry> {
    let success = state == DagRunState::Success;
    let kind = if success { CallbackKind::Success } else { CallbackKind::Failure };
    plan.dag.callbacks.contains_key(&kind).then_some(OutboxEntry::Ended { epoch, success, reason })
}
