//! What is told of an attempt beside its state: the span its log lines carry, its figures, and how its writes wait.

use crate::engine::METRICS;
use crate::spans;
use crate::work::Work;
use jiff::Timestamp;
use std::time::Duration;
use updraft_model::{Attempt, AttemptOutcome, RunDoc, Token};

/// What every line about an attempt says.
pub(crate) fn span(work: &Work) -> tracing::Span {
    let facts = &work.run.facts;
    tracing::info_span!(
        "attempt",
        dag_id = %facts.dag_id,
        run_id = facts.run_id,
        task_id = %work.definition().task_id,
        try_number = work.try_number,
        attempt = %work.lease.token,
    )
}

/// Tells of a run that has begun: how late it is.
pub(crate) fn started(run: &RunDoc, now: Timestamp) {
    tracing::debug!(
        target: METRICS,
        dag_id = run.facts.dag_id.as_str(),
        run_id = run.facts.run_id,
        scheduling_delay_ms = now.duration_since(run.facts.run_after).as_millis() as i64,
    );
    spans::start(run, now);
}

/// Tells the figures of an attempt.
pub(crate) fn measure(work: &Work, attempt: &Attempt) {
    let is = |outcome: bool| u64::from(outcome);
    let outcome = &attempt.outcome;
    tracing::debug!(
        target: METRICS,
        dag_id = work.run.facts.dag_id.as_str(),
        run_id = work.run.facts.run_id,
        task_id = work.definition().task_id.as_str(),
        duration_ms = attempt.end_date.duration_since(attempt.start_date).as_millis() as i64,
        succeeded = is(*outcome == AttemptOutcome::Success),
        failed = is(matches!(outcome, AttemptOutcome::Failed | AttemptOutcome::FailedForGood)),
        skipped = is(*outcome == AttemptOutcome::Skipped),
        gave_back = is(outcome.goes_on()),
    );
}

/// A wait that differs from attempt to attempt, so that those who were refused together do not come back together: from half of it to all.
pub(crate) fn jittered(wait: Duration, token: &Token, round: u32) -> Duration {
    let drawn = token.as_str().bytes().fold(round, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    wait / 2 + wait * (drawn % 1000) / 2000
}
