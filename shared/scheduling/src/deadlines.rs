//! Deadlines: promises on the time of a run. The next one is in the run's document, so that the time index finds it when it is missed.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use updraft_model::{DagRunState, Deadline, DeadlineReference, OutboxEntry, Plan, RunChange, RunDoc};

/// When the first of a new run's deadlines is missed.
pub fn first(plan: &Plan, run: &RunDoc) -> Option<Timestamp> {
    all(plan, run, run.facts.queued_at).map(|(_, at)| at).min()
}

/// The deadlines of a run that was queued then, at last.
fn all<'a>(plan: &'a Plan, run: &'a RunDoc, queued_at: Timestamp) -> impl Iterator<Item = (usize, Timestamp)> + 'a {
    let of = move |(number, deadline): (usize, &'a Deadline)| {
        // An average is of when the run was created: a clear takes none anew.
        let average = run.average_runtimes.get(&number).copied();
        let is_average = matches!(deadline.reference, DeadlineReference::AverageRuntime { .. });
        let from = if is_average { run.facts.queued_at } else { queued_at };
        Some((number, deadline.of(run.facts.logical_date, from, average)?))
    };
    plan.dag.deadlines.iter().enumerate().filter_map(of)
}

fn of_run<'a>(plan: &'a Plan, run: &'a RunDoc) -> impl Iterator<Item = (usize, Timestamp)> + 'a {
    all(plan, run, run.requeued_at.unwrap_or(run.facts.queued_at))
}

/// How long runs took on average, for each of the DAG's deadlines that counts from that; `took`: of the latest runs that have ended, the latest
/// first. Too few of them are no average.
pub fn averages(plan: &Plan, took: &[SignedDuration]) -> BTreeMap<usize, SignedDuration> {
    let of = |(number, deadline): (usize, &Deadline)| {
        let DeadlineReference::AverageRuntime { max_runs, min_runs } = deadline.reference else { return None };
        let counted = &took[..took.len().min(max_runs as usize)];
        let millis: i128 = counted.iter().map(SignedDuration::as_millis).sum();
        let is_enough = !counted.is_empty() && counted.len() >= min_runs as usize;
        let average = i64::try_from(millis / counted.len().max(1) as i128).ok()?;
        is_enough.then(|| (number, SignedDuration::from_millis(average)))
    };
    plan.dag.deadlines.iter().enumerate().filter_map(of).collect()
}

/// The most runs that any of the DAG's deadlines takes an average of; none: none of them does.
pub fn runs_averaged(plan: &Plan) -> Option<u32> {
    let of = |deadline: &Deadline| match deadline.reference {
        DeadlineReference::AverageRuntime { max_runs, .. } => Some(max_runs),
        _ => None,
    };
    plan.dag.deadlines.iter().filter_map(of).max()
}

/// What a clear makes of a run's deadlines: as in Airflow those that count from when the run was queued, and are not missed yet, count from
/// now on. Which of them is missed next then; none: nothing changes.
pub fn cleared(plan: &Plan, run: &RunDoc, now: Timestamp) -> Option<Timestamp> {
    let next = run.deadline_at?;
    let counts = |number: usize| plan.dag.deadlines[number].reference == DeadlineReference::DagrunQueuedAt;
    // Those before the next one are missed.
    let left: Vec<(usize, Timestamp)> = of_run(plan, run).filter(|(_, at)| *at >= next).collect();
    let again: Vec<(usize, Timestamp)> = all(plan, run, now).collect();
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
