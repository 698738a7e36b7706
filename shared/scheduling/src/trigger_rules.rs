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
        self.add_many(state, 1, is_setup);
    }

    /// Counts so many upstreams that stand alike.
    pub fn add_many(&mut self, state: TaskInstanceState, number: usize, is_setup: bool) {
        self.total += number;
        match state {
            TaskInstanceState::Success => self.success += number,
            TaskInstanceState::Skipped => self.skipped += number,
            TaskInstanceState::Failed => self.failed += number,
            TaskInstanceState::UpstreamFailed => self.upstream_failed += number,
            TaskInstanceState::Removed => self.removed += number,
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
            self.setups += number;
            self.setups_success += if state == TaskInstanceState::Success { number } else { 0 };
            self.setups_skipped += if state == TaskInstanceState::Skipped { number } else { 0 };
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

/// The end a rule sets instead of running, if any. `map_index`: of an instance of a mapped task; where instances above were removed, so is
/// one that is beyond those that are left.
fn end_instead(rule: TriggerRule, up: Upstreams, map_index: Option<u32>) -> Option<End> {
    let all_done = up.done() >= up.total;
    let bad = up.failed + up.upstream_failed > 0;
    let skip_when = |condition: bool| condition.then_some(End::Skipped);
    let fail_when = |condition: bool| condition.then_some(End::UpstreamFailed);
    match rule {
        TriggerRule::AllSuccess => {
            let is_beyond =
                map_index.is_some_and(|index| up.removed > 0 && up.success > 0 && index as usize >= up.success);
            fail_when(bad).or(skip_when(up.skipped > 0)).or(is_beyond.then_some(End::Removed))
        }
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
    evaluate_instance(rule, upstreams, flag_upstream_failed, None)
}

/// The same of an instance of a mapped task.
pub fn evaluate_instance(
    rule: TriggerRule,
    upstreams: Upstreams,
    flag_upstream_failed: bool,
    map_index: Option<u32>,
) -> Verdict {
    if upstreams.total == 0 || rule == TriggerRule::Always {
        return Verdict::Run;
    }
    match end_instead(rule, upstreams, map_index).filter(|_| flag_upstream_failed) {
        Some(end) => Verdict::Set(end),
        None if may_run(rule, upstreams) => Verdict::Run,
        None => Verdict::Wait,
    }
}

/// How the tasks around another stand.
pub trait Standing {
    /// The state of a task.
    fn state(&self, task: TaskIndex) -> TaskInstanceState;

    /// Counts a task among the upstreams of the one that is asked about: each instance of a mapped one.
    fn count(&self, task: TaskIndex, is_setup: bool, upstreams: &mut Upstreams) {
        upstreams.add(self.state(task), is_setup);
    }

    /// The instance that is asked about, where it is one of a mapped task.
    fn map_index(&self) -> Option<u32> {
        None
    }
}

/// Tasks of which none is mapped.
struct Plain<F>(F);

impl<F: Fn(TaskIndex) -> TaskInstanceState> Standing for Plain<F> {
    fn state(&self, task: TaskIndex) -> TaskInstanceState {
        (self.0)(task)
    }
}

/// What the rule of a task of a DAG says, its setups and its scope included.
pub fn evaluate_task(plan: &Plan, task: TaskIndex, state_of: impl Fn(TaskIndex) -> TaskInstanceState) -> Verdict {
    evaluate_among(plan, task, &Plain(state_of))
}

/// The same, where upstreams may be mapped.
pub fn evaluate_among(plan: &Plan, task: TaskIndex, around: &impl Standing) -> Verdict {
    let rule = plan.task(task).trigger_rule;
    if plan.upstream(task).is_empty() || rule == TriggerRule::Always {
        // `always` returns before indirect setups are looked at, as in Airflow.
        return Verdict::Run;
    }
    let mut setups = Upstreams::default();
    for setup in plan.indirect_setups(task) {
        around.count(*setup, true, &mut setups);
    }
    if setups.failed + setups.upstream_failed > 0 {
        return Verdict::Set(End::UpstreamFailed);
    }
    if setups.skipped > 0 {
        return Verdict::Set(End::Skipped);
    }
    let mut upstreams = Upstreams::default();
    for up in plan.upstream(task) {
        around.count(*up, plan.task(*up).is_setup, &mut upstreams);
    }
    let verdict = evaluate_instance(rule, upstreams, true, around.map_index());
    // Both hold back a run only: an end that the rule sets does not wait for them.
    let setups_open = setups.success < setups.total;
    let scope_open = plan.teardown_scope(task).iter().any(|t| !around.state(*t).is_finished());
    if verdict == Verdict::Run && (setups_open || scope_open) { Verdict::Wait } else { verdict }
}
