//! What a run's trace is made of: a span for the run, and below it one for its wait to start and one for each attempt.
//!
//! They are told as events of a target of their own ([`TRACES`]) at the moment they end, by whichever process saw that; nobody has to hold one open,
//! and where nobody listens nothing is done. What makes spans of them draws no ids: `trace` (the run's incarnation), `root` (the epoch
//! at which the run took its place, so that a run that is cleared and runs again has a span of its own) and `id` name them, so the spans of all
//! processes join, and one that is told twice is the same one.

use crate::engine::Version;
use jiff::Timestamp;
use updraft_model::{Attempt, AttemptKey, AttemptOutcome, DagRunState, RunDoc};

/// The target of events that tell spans, for whoever exports them.
pub const TRACES: &str = "updraft_traces";

/// Tells of an attempt that has ended.
pub(crate) fn attempt(version: &Version, run: &RunDoc, key: &AttemptKey, attempt: &Attempt) {
    let task_id = version.plan.task(key.task).task_id.as_str();
    let (state, failed) = match attempt.outcome {
        AttemptOutcome::Success => ("success", false),
        AttemptOutcome::Skipped => ("skipped", false),
        AttemptOutcome::Failed | AttemptOutcome::FailedForGood => ("failed", true),
        AttemptOutcome::Rescheduled { .. } => ("up_for_reschedule", false),
        _ => ("deferred", false),
    };
    tracing::debug!(
        target: TRACES,
        trace = run.facts.incarnation.as_str(),
        root = run.active_epoch,
        id = key.token.as_str(),
        name = task_id,
        begin_us = attempt.start_date.as_microsecond(),
        end_us = attempt.end_date.as_microsecond(),
        error = failed.then(|| attempt.message.as_deref().unwrap_or("the task failed")),
        airflow.dag_id = run.facts.dag_id.as_str(),
        airflow.run_id = run.facts.run_id,
        airflow.task_id = task_id,
        airflow.map_index = key.map_index.map_or(-1, i64::from),
        airflow.try_number = key.try_number,
        airflow.state = state,
        updraft.attempt = key.token.as_str(),
        host.name = attempt.hostname.as_deref(),
    );
}

/// Tells of a run that has begun: how long it waited.
pub(crate) fn start(run: &RunDoc, now: Timestamp) {
    tracing::debug!(
        target: TRACES,
        trace = run.facts.incarnation.as_str(),
        root = run.active_epoch,
        id = "schedule",
        name = "schedule",
        begin_us = run.facts.run_after.max(run.facts.queued_at).min(now).as_microsecond(),
        end_us = now.as_microsecond(),
        airflow.dag_id = run.facts.dag_id.as_str(),
        airflow.run_id = run.facts.run_id,
    );
}

/// Tells of a run that has ended.
pub(crate) fn run(run: &RunDoc) {
    let Some((begin, end)) = run.start_date.zip(run.end_date) else { return };
    if !run.state.is_finished() {
        return;
    }
    tracing::debug!(
        target: TRACES,
        trace = run.facts.incarnation.as_str(),
        root = run.active_epoch,
        id = "",
        name = run.facts.dag_id.as_str(),
        begin_us = begin.as_microsecond(),
        end_us = end.as_microsecond(),
        error = (run.state == DagRunState::Failed).then_some("the run failed"),
        airflow.dag_id = run.facts.dag_id.as_str(),
        airflow.run_id = run.facts.run_id,
        airflow.run_type = run.facts.run_type.as_str(),
        airflow.state = run.state.as_str(),
        airflow.clear_number = run.clear_number,
    );
}
