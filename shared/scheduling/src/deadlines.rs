//! Deadlines: promises on the time of a run. The next one is in the run's document, so that the time index finds it when it is missed.

use jiff::Timestamp;
use updraft_model::{DagRunState, OutboxEntry, Plan, RunChange, RunDoc, RunFacts};

/// When the first of a new run's deadlines is missed.
pub fn first(plan: &Plan, facts: &RunFacts) -> Option<Timestamp> {
    all(plan, facts).map(|(_, at)| at).min()
}

fn all<'a>(plan: &'a Plan, facts: &'a RunFacts) -> impl Iterator<Item = (usize, Timestamp)> + 'a {
    let deadlines = plan.dag.deadlines.iter().enumerate();
    deadlines.filter_map(|(number, deadline)| Some((number, deadline.of(facts.logical_date, facts.queued_at)?)))
}

/// Notes the deadlines that a run has missed by now. None: it has missed none that was not noted.
///
/// Asks that nothing was written since, so that a run which succeeds at that moment has kept them.
pub fn missed(plan: &Plan, run: &RunDoc, now: Timestamp) -> Option<RunChange> {
    let next = run.deadline_at.filter(|at| *at <= now && run.state != DagRunState::Success)?;
    let missed = all(plan, &run.facts).filter(|(_, at)| (next..=now).contains(at));
    let entries = missed.map(|(number, _)| OutboxEntry::Deadline { number });
    Some(RunChange {
        if_revision: Some(run.revision),
        deadline_at: Some(all(plan, &run.facts).map(|(_, at)| at).filter(|at| *at > now).min()),
        outbox_put: entries.map(|entry| (entry.id(), entry)).collect(),
        wake_at: Some(Some(run.wake_at.map_or(now, |at| at.min(now)))),
        ..RunChange::default()
    })
}
