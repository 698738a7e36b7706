//! Deadlines: promises on the time of a run. The next one is in the run's document, so that the time index finds it when it is missed.

use jiff::Timestamp;
use updraft_model::{DagRunState, DeadlineReference, OutboxEntry, Plan, RunChange, RunDoc, RunFacts};

/// When the first of a new run's deadlines is missed.
pub fn first(plan: &Plan, facts: &RunFacts) -> Option<Timestamp> {
    all(plan, facts, facts.queued_at).map(|(_, at)| at).min()
}

fn all<'a>(plan: &'a Plan, facts: &'a RunFacts, queued_at: Timestamp) -> impl Iterator<Item = (usize, Timestamp)> + 'a {
    let deadlines = plan.dag.deadlines.iter().enumerate();
    deadlines.filter_map(move |(number, deadline)| Some((number, deadline.of(facts.logical_date, queued_at)?)))
}

fn of_run<'a>(plan: &'a Plan, run: &'a RunDoc) -> impl Iterator<Item = (usize, Timestamp)> + 'a {
    all(plan, &run.facts, run.requeued_at.unwrap_or(run.facts.queued_at))
}

/// What a clear makes of a run's deadlines: as in Airflow those that count from when the run was queued, and are not missed yet, count from
/// now on. Which of them is missed next then; none: nothing changes.
pub fn cleared(plan: &Plan, run: &RunDoc, now: Timestamp) -> Option<Timestamp> {
    let next = run.deadline_at?;
    let counts = |number: usize| plan.dag.deadlines[number].reference == DeadlineReference::DagrunQueuedAt;
    // Those before the next one are missed.
    let left: Vec<(usize, Timestamp)> = of_run(plan, run).filter(|(_, at)| *at >= next).collect();
    let again: Vec<(usize, Timestamp)> = all(plan, &run.facts, now).collect();
    let moved = |(number, at): &(usize, Timestamp)| {
        if counts(*number) { again.iter().find(|(n, _)| n == number).map_or(*at, |(_, at)| *at) } else { *at }
    };
    left.iter().any(|(number, _)| counts(*number)).then(|| left.iter().map(moved).min())?
}

/// Notes the deadlines that a run has missed by now. None: it has missed none that was not noted.
///
/// Asks that nothing was written since, so that a run which succeeds at that moment has kept them. One that was missed before the run was cleared
/// may be noted once more: by the same name, under which its callback is there already.
pub fn missed(plan: &Plan, run: &RunDoc, now: Timestamp) -> Option<RunChange> {
    let next = run.deadline_at.filter(|at| *at <= now && run.state != DagRunState::Success)?;
    let missed = of_run(plan, run).filter(|(_, at)| (next..=now).contains(at));
    let entries = missed.map(|(number, _)| OutboxEntry::Deadline { number });
    Some(RunChange {
        if_revision: Some(run.revision),
        deadline_at: Some(of_run(plan, run).map(|(_, at)| at).filter(|at| *at > now).min()),
        outbox_put: entries.map(|entry| (entry.id(), entry)).collect(),
        wake_at: Some(Some(run.wake_at.map_or(now, |at| at.min(now)))),
        ..RunChange::default()
    })
}
