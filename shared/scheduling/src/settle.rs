//! What an attempt's end makes of its cell: in a run document, and on a page.

use crate::choices;
use crate::retries::{self, RetryDelay};
use crate::step::Ended;
use jiff::Timestamp;
use updraft_model::cell::{End, Wait};
use updraft_model::{AttemptOutcome, Cell, Chosen, Plan, Resumed, RunFacts, TaskIndex, Token};

/// An attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) task: TaskIndex,
    pub(crate) try_number: u32,
    pub(crate) token: &'a Token,
    /// The tries it may use, less one.
    pub(crate) max_tries: u32,
    /// When it was claimed.
    pub(crate) since: Timestamp,
    /// What is known of the earlier attempts of its try.
    pub(crate) before: Option<&'a Resumed>,
}

/// What becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) cell: Cell,
    /// What it counts as: without a choice that can be, or a value that can be mapped over, it has failed.
    pub(crate) outcome: AttemptOutcome,
    pub(crate) resumed: Option<Resumed>,
    pub(crate) chosen: Option<Chosen>,
}

pub(crate) fn settle(plan: &Plan, facts: &RunFacts, attempt: &Attempt<'_>, ended: &Ended) -> Settled {
    let task = plan.task(attempt.task);
    let waits = |wait, due| Cell::Waiting { wait, try_number: attempt.try_number, due };
    let retry = || {
        let delay = RetryDelay {
            delay: task.retry_delay,
            exponential_backoff: task.retry_exponential_backoff,
            max_delay: task.max_retry_delay,
            dag_id: plan.dag.dag_id.as_str(),
            task_id: task.task_id.as_str(),
            logical_date: facts.logical_date,
        };
        waits(Wait::Retry, after(retries::next_retry(&delay, attempt.try_number, ended.end_date)))
    };
    let winner = || Some(attempt.token.clone());
    let ends = |end| Cell::Final { end, try_number: attempt.try_number, winner: winner(), leaving: None };
    // A choice that names what is not there is a failure of the attempt; its runner has said so, unless the DAG is not the one it knew.
    let chosen = ended.choice.as_ref().map(|c| choices::chosen(plan, attempt.task, attempt.try_number, c));
    // Without a length there is nothing to expand over; its runner has said so. Of a mapped task only the values are counted.
    let lacks_length =
        plan.unit_of(attempt.task).is_none() && plan.is_mapped_over(attempt.task) && ended.map_length.is_none();
    let outcome = match ended.outcome {
        AttemptOutcome::Success if lacks_length => AttemptOutcome::Failed,
        _ if matches!(chosen, Some(Err(_))) => AttemptOutcome::Failed,
        outcome => outcome,
    };
    let cell = match outcome {
        AttemptOutcome::Success => ends(End::Success),
        AttemptOutcome::Skipped => ends(End::Skipped),
        AttemptOutcome::Failed if retries::is_eligible(attempt.try_number, attempt.max_tries) => retry(),
        AttemptOutcome::Failed | AttemptOutcome::FailedForGood => ends(End::Failed),
        AttemptOutcome::Rescheduled { until } => waits(Wait::Reschedule, whole(until)),
        AttemptOutcome::Deferred { until } => waits(Wait::Deferred, whole(until)),
        AttemptOutcome::AwaitingInput { until } => waits(Wait::Input, whole(until)),
    };
    let resumed = outcome.goes_on().then(|| Resumed {
        try_number: attempt.try_number,
        count: attempt.before.map_or(0, |r| r.count).saturating_add(1),
        first_start: attempt.before.map_or(attempt.since, |r| r.first_start),
        last: attempt.token.clone(),
    });
    let chosen = chosen.and_then(Result::ok).filter(|_| outcome == AttemptOutcome::Success);
    Settled { cell, outcome, resumed, chosen }
}

/// The first millisecond that is not before an instant: cells keep milliseconds.
fn whole(at: Timestamp) -> Timestamp {
    let milli = at.as_millisecond() + i64::from(at.as_nanosecond().rem_euclid(1_000_000) > 0 && at.as_nanosecond() > 0);
    Timestamp::from_millisecond(milli).unwrap_or(Timestamp::MAX)
}

/// The first millisecond after an instant: cells keep milliseconds, and a retry is ready strictly after its time.
pub(crate) fn after(at: Timestamp) -> Timestamp {
    let milli = at.as_millisecond() + i64::from(at.as_nanosecond() >= 0);
    Timestamp::from_millisecond(milli).unwrap_or(Timestamp::MAX)
}
