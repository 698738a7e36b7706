//! When a run must be looked at next.
//!
//! A run document is in the time index, at an instant not later than [`needed`] says, from its first write until its end has been
//! delivered (ARCHITECTURE.md, invariant 5). The need and the index change in one write: a change either finds the wake-up early
//! enough (a condition, which costs nothing) or moves it.

use jiff::{SignedDuration, Timestamp};
use updraft_model::{Cell, DagRunState, RunDoc};

/// The longest a run goes unlooked at while something could have been missed.
pub const LOOK_EVERY: SignedDuration = SignedDuration::from_secs(60);

/// The longest it goes after looks that found nothing to do.
pub const LOOK_EVERY_MAX: SignedDuration = SignedDuration::from_mins(15);

/// How long a tombstone of a deleted run is kept: longer than any process, message or late write can know the run.
pub const TOMBSTONE_KEPT: SignedDuration = SignedDuration::from_hours(24);

/// The wait until the next look, after so many in a row that found nothing.
pub fn backoff(looks: u32) -> SignedDuration {
    (LOOK_EVERY * 2i32.pow(looks.min(8))).min(LOOK_EVERY_MAX)
}

/// The latest instant at which the run must be looked at; none when it may leave the index.
///
/// Asked by whoever has just decided. A wait that was over by then and goes on (an upstream was cleared, and the rule holds it
/// back) is ended by another write, not by time, so it does not ask for a look at once, again and again. But a wait that ended
/// between that decision and `now` looks the same, so it does not let the looks grow rare either.
pub fn needed(run: &RunDoc, now: Timestamp) -> Option<Timestamp> {
    let regular = now.saturating_add(backoff(run.looks)).unwrap_or(Timestamp::MAX);
    let own = run.cells.values().filter_map(|cell| match cell {
        // Nothing ends a wait while the DAG is paused: its end is looked for when it no longer is.
        Cell::Waiting { .. } if run.paused => None,
        Cell::Waiting { due, .. } if *due <= now => now.checked_add(LOOK_EVERY).ok(),
        Cell::Waiting { due, .. } => Some(*due),
        Cell::None
        | Cell::Cleared { .. }
        | Cell::Scheduled { .. }
        | Cell::Queued { .. }
        | Cell::Running { .. }
        | Cell::Restarting { .. }
        | Cell::Final { .. } => cell.holder().map(|lease| lease.until),
    });
    if let Some(deleted_at) = run.deleted_at {
        return deleted_at.checked_add(TOMBSTONE_KEPT).ok();
    }
    // What is to be delivered does not wait for looks that have grown rare.
    let owed = (!run.outbox.is_empty()).then(|| now.saturating_add(LOOK_EVERY).unwrap_or(Timestamp::MAX));
    let deadline = run.deadline_at.filter(|_| run.state != DagRunState::Success);
    let own = own
        .chain(run.timeout_at.filter(|_| run.state == DagRunState::Running && !run.paused))
        .chain(owed)
        .chain(deadline);
    match run.state {
        _ if run.intent.is_some() => Some(own.fold(regular, Timestamp::min)),
        DagRunState::Queued => Some(deadline.into_iter().chain(owed).fold(regular, Timestamp::min)),
        DagRunState::Running => Some(own.fold(regular, Timestamp::min)),
        DagRunState::Success | DagRunState::Failed if !run.outbox.is_empty() => Some(own.fold(regular, Timestamp::min)),
        // Nothing to deliver. Attempts that were marked and have not let go need no look: their cells are final. Those that were cleared
        // without their run have to be seen gone.
        DagRunState::Success | DagRunState::Failed => {
            let restarting = run.cells.values().filter(|cell| matches!(cell, Cell::Restarting { .. }));
            restarting.filter_map(|cell| cell.holder().map(|lease| lease.until)).chain(deadline).min()
        }
    }
}
