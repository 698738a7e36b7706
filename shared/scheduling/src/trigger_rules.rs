//! May this task run, given how its upstreams ended.
//!
//! Only *finished* upstreams are counted. A rule first says whether a state is to be set instead of running; setting does not wait:
//! one failed upstream makes an `all_success` task `upstream_failed` while others still run. Then it says whether the task may run.

use updraft_model::cell::End;
use updraft_model::{Plan, TaskIndex, TaskInstanceState, TriggerRule};

/// How the upstream task instances stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Upstreams {
    /// All of them.
    pub total: usize,
    /// Ended in success.
    pub success: usize,
    /// Ended in skipped.
    pub skipped: usize,
    /// Ended in failed.
    pub failed: usize,
    /// Ended in upstream_failed.
    pub upstream_failed: usize,
    /// Ended in removed.
    pub removed: usize,
    /// Setups among them.
    pub setups: usize,
    /// Setups among them that ended in success.
    pub setups_success: usize,
    /// Setups among them that ended in skipped.
    pub setups_skipped: usize,
}

impl Upstreams {
    /// Counts one upstream.
    pub fn add(&mut self, state: TaskInstanceState, is_setup: bool) {
        self.total += 1;
        match state {
            TaskInstanceState::Success => self.success += 1,
            TaskInstanceState::Skipped => self.skipped += 1,
            TaskInstanceState::Failed => self.failed += 1,
            TaskInstanceState::UpstreamFailed => self.upstream_failed += 1,
            TaskInstanceState::Removed => self.removed += 1,
            TaskInstanceState::None
            | TaskInstanceState::Scheduled
            | TaskInstanceState::Queued
            | TaskInstanceState::Running
            | TaskInstanceState::Restarting
            | TaskInstanceState::UpForRetry
            | TaskInstanceState::UpForReschedule
            | TaskInstanceState::Deferred
            | TaskInstanceState::AwaitingInput => {}
        }
        if is_setup {
            self.setups += 1;
            self.setups_success += usize::from(state == TaskInstanceState::Success);
            self.setups_skipped += usize::from(state == TaskInstanceState::Skipped);
        }
    }

    fn done(self) -> usize {
        self.success + self.skipped + self.failed + self.upstream_failed + self.removed
    }
}

/// What a rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may run.
    Run,
    /// Not yet.
    Wait,
    /// It does not run; it gets this end instead.
    Set(End),
}

/// The end a rule sets instead of running, if any.
fn end_instead(rule: TriggerRule, up: Upstreams) -> Option<End> {
    let all_done = up.done() >= up.total;
    let bad = up.failed + up.upstream_failed > 0;
    let skip_when = |condition: bool| condition.then_some(End::Skipped);
    let fail_when = |condition: bool| condition.then_some(End::UpstreamFailed);
    match rule {
        TriggerRule::AllSuccess => fail_when(bad).or(skip_when(up.skipped > 0)),
        TriggerRule::AllFailed => skip_when(up.success + up.skipped > 0),
        TriggerRule::AllDoneMinOneSuccess => skip_when(up.skipped > 0).or(fail_when(all_done && up.success == 0)),
        TriggerRule::AllDoneSetupSuccess => {
            let decided = all_done && up.setups > 0;
            skip_when(decided && up.setups_skipped >= up.setups).or(fail_when(decided && up.setups_success == 0))
        }
        TriggerRule::OneSuccess => {
            skip_when(all_done && up.skipped == up.total).or(fail_when(all_done && up.success == 0))
        }
        TriggerRule::OneFailed => skip_when(all_done && !bad),
        TriggerRule::OneDone => skip_when(all_done && up.success + up.failed == 0),
        TriggerRule::NoneFailed => fail_when(bad),
        TriggerRule::NoneFailedMinOneSuccess => {
            fail_when(bad).or(skip_when(up.skipped == up.total)).or(fail_when(all_done && up.success == 0))
        }
        TriggerRule::NoneSkipped => skip_when(up.skipped > 0),
        TriggerRule::AllSkipped => skip_when(up.success + up.failed + up.upstream_failed > 0),
        TriggerRule::AllDone | TriggerRule::Always => None,
    }
}

/// Whether the rule lets the task run.
fn may_run(rule: TriggerRule, up: Upstreams) -> bool {
    match rule {
        TriggerRule::AllSuccess => up.success + up.removed >= up.total,
        TriggerRule::AllFailed => up.failed + up.upstream_failed + up.removed >= up.total,
        TriggerRule::AllDone => up.done() >= up.total,
        TriggerRule::AllDoneMinOneSuccess => up.done() >= up.total && up.skipped == 0 && up.success > 0,
        TriggerRule::AllDoneSetupSuccess => up.done() >= up.total && (up.setups == 0 || up.setups_success > 0),
        TriggerRule::OneSuccess => up.success > 0,
        TriggerRule::OneFailed => up.failed + up.upstream_failed > 0,
        TriggerRule::OneDone => up.success + up.failed > 0,
        TriggerRule::NoneFailed => up.success + up.skipped + up.removed >= up.total,
        TriggerRule::NoneFailedMinOneSuccess => up.success + up.skipped + up.removed >= up.total && up.success > 0,
        TriggerRule::NoneSkipped => up.done() >= up.total && up.skipped == 0,
        TriggerRule::AllSkipped => up.skipped == up.total,
        TriggerRule::Always => true,
    }
}

/// What the rule says of these upstreams. Without `flag_upstream_failed` it only says whether the task may run.
pub fn evaluate(rule: TriggerRule, upstreams: Upstreams, flag_upstream_failed: bool) -> Verdict {
    if upstreams.total == 0 || rule == TriggerRule::Always {
        return Verdict::Run;
    }
    match end_instead(rule, upstreams).filter(|_| flag_upstream_failed) {
        Some(end) => Verdict::Set(end),
        None if may_run(rule, upstreams) => Verdict::Run,
        None => Verdict::Wait,
    }
}

/// What the rule of a task of a DAG says, its setups and its scope included.
pub fn evaluate_task(plan: &Plan, task: TaskIndex, state_of: impl Fn(TaskIndex) -> TaskInstanceState) -> Verdict {
    let rule = plan.task(task).trigger_rule;
    if plan.upstream(task).is_empty() || rule == TriggerRule::Always {
        // `always` returns before indirect setups are looked at, as in Airflow.
        return Verdict::Run;
    }
    let mut setups = Upstreams::default();
    for setup in plan.indirect_setups(task) {
        setups.add(state_of(*setup), true);
    }
    if setups.failed + setups.upstream_failed > 0 {
        return Verdict::Set(End::UpstreamFailed);
    }
    if setups.skipped > 0 {
        return Verdict::Set(End::Skipped);
    }
    let mut upstreams = Upstreams::default();
    for up in plan.upstream(task) {
        upstreams.add(state_of(*up), plan.task(*up).is_setup);
    }
    let verdict = evaluate(rule, upstreams, true);
    // Both hold back a run only: an end that the rule sets does not wait for them.
    let setups_open = setups.success < setups.total;
    let scope_open = plan.teardown_scope(task).iter().any(|t| !state_of(*t).is_finished());
    if verdict == Verdict::Run && (setups_open || scope_open) { Verdict::Wait } else { verdict }
}
