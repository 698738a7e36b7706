//! Places among a DAG's active runs (ARCHITECTURE.md, rules C1 to C3): who takes one, who waits for one, when one is given back.
//!
//! Each function takes the DAG document as it was read and gives the conditional write; a refused one hands back the document that
//! stood in the way, to be asked again.

use crate::attention::LOOK_EVERY;
use jiff::Timestamp;
use updraft_model::{ActiveRun, DagChange, DagDoc, DagRunState, Incarnation, Queued, RunDoc, RunFacts, TopicId};
use updraft_timetables::DataInterval;

/// What a queued run that asks for a place is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Take {
    /// It has one: start the run. Where a later epoch of the run holds it, that start will be refused.
    Has,
    /// There is none, and the DAG knows that the run waits.
    Waits,
    /// This write takes one.
    Write(DagChange),
    /// This write notes that the run waits. A place may have come free since: look at the image it returns.
    Wait(DagChange),
}

/// Asks for a place for a run at its epoch.
pub fn take(dag: &DagDoc, run: &RunDoc, now: Timestamp) -> Take {
    let incarnation = &run.facts.incarnation;
    let wake = now.saturating_add(LOOK_EVERY).ok();
    let take = DagChange {
        active_put: vec![(incarnation.clone(), ActiveRun { epoch: run.epoch, facts: None })],
        held_remove: vec![incarnation.clone()],
        ..DagChange::default()
    };
    match dag.active.get(incarnation) {
        // A later epoch's: the image of the run is old. Starting it will be refused, and give the new one.
        Some(there) if there.epoch >= run.epoch => Take::Has,
        // The place of an earlier epoch, not yet given back: it becomes this epoch's.
        Some(there) => Take::Write(DagChange { if_active: Some((incarnation.clone(), there.epoch)), ..take }),
        None if !dag.paused && dag.has_room() => Take::Write(DagChange {
            if_paused: Some(false),
            if_not_active: Some(incarnation.clone()),
            if_active_fewer_than: Some(dag.max_active_runs),
            if_wake_at: Some(dag.wake_at),
            wake_at: Some(dag.wake_at.into_iter().chain(wake).min()),
            ..take
        }),
        None if dag.held.contains_key(incarnation) => Take::Waits,
        None => Take::Wait(DagChange {
            held_put: vec![(incarnation.clone(), run.facts.run_after)],
            if_wake_at: Some(dag.wake_at),
            wake_at: Some(dag.wake_at.into_iter().chain(wake).min()),
            ..DagChange::default()
        }),
    }
}

/// Makes the run that is due an active one, with all that is needed to put it, and moves the due date on. Whether the run has to claim its
/// date rests on how far backfills have come (ARCHITECTURE.md, rule G2), so it asks for that.
pub fn create(
    dag: &DagDoc,
    facts: &RunFacts,
    interval: DataInterval,
    next_due: Option<Timestamp>,
    now: Timestamp,
) -> DagChange {
    DagChange {
        if_version: Some(dag.version.clone()),
        if_paused: Some(false),
        if_last: Some(dag.last),
        if_backfilled_to: Some(dag.backfilled_to),
        if_active_fewer_than: Some(dag.max_active_runs),
        last: Some(interval),
        next_due: Some(next_due),
        active_put: vec![(facts.incarnation.clone(), ActiveRun { epoch: 0, facts: Some(facts.clone()) })],
        wake_at: Some(next_due.into_iter().chain(now.saturating_add(LOOK_EVERY).ok()).min()),
        ..DagChange::default()
    }
}

/// Makes a run of the asset events that wait an active one, with all that is needed to put it, and takes what it was told of as consumed: in
/// one write, so that no event makes two runs and none is lost (ARCHITECTURE.md, rule D2).
pub fn create_triggered(dag: &DagDoc, facts: &RunFacts, taken: &[(TopicId, Queued)], now: Timestamp) -> DagChange {
    DagChange {
        if_version: Some(dag.version.clone()),
        if_paused: Some(false),
        if_active_fewer_than: Some(dag.max_active_runs),
        if_queue: taken.to_vec(),
        if_wake_at: Some(dag.wake_at),
        queue_put: taken.iter().map(|(topic, queued)| (topic.clone(), queued.consume())).collect(),
        active_put: vec![(facts.incarnation.clone(), ActiveRun { epoch: 0, facts: Some(facts.clone()) })],
        wake_at: Some(dag.wake_at.into_iter().chain(now.saturating_add(LOOK_EVERY).ok()).min()),
        ..DagChange::default()
    }
}

/// Gives back the place that a run took at this epoch, and forgets that it waits. Refused: it does not hold it (any more).
pub fn leave(incarnation: &Incarnation, epoch: u32) -> DagChange {
    DagChange { held_remove: vec![incarnation.clone()], ..forget(incarnation, epoch) }
}

/// Gives back the place that a run took at this epoch. Refused: it does not hold it (any more).
pub fn forget(incarnation: &Incarnation, epoch: u32) -> DagChange {
    DagChange {
        if_active: Some((incarnation.clone(), epoch)),
        active_remove: vec![incarnation.clone()],
        ..DagChange::default()
    }
}

/// What a look at a DAG has to do about a place, given the document of the run that holds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place<'a> {
    /// The run uses it, or will.
    Stands,
    /// Its creator died before it put the run: put it.
    Owed(&'a RunFacts),
    /// Nobody will use it: [`forget`] it.
    Over,
}

/// Looks at a place.
pub fn place<'a>(held: &'a ActiveRun, run: Option<&RunDoc>) -> Place<'a> {
    match (run, &held.facts) {
        // The run's own epoch, not the one it last ran in: it may have taken the place and been failed before it began.
        (Some(run), _) if run.state.is_finished() && run.epoch >= held.epoch && run.outbox.is_empty() => Place::Over,
        (Some(_), _) => Place::Stands,
        (None, Some(facts)) => Place::Owed(facts),
        // Put before it took its place, and gone: discarded.
        (None, None) => Place::Over,
    }
}

/// Whether a run that waits for a place still does.
pub fn waits(run: Option<&RunDoc>) -> bool {
    run.is_some_and(|run| run.state == DagRunState::Queued)
}
