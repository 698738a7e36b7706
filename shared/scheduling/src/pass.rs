//! One look over a run, as Airflow's scheduler takes it.
//!
//! (1) Every schedulable task instance is evaluated on the states before the look. (2) If nothing is ready and nothing changed,
//! every unfinished one is evaluated again, waits ignored. (3) The run's state follows.

use crate::trigger_rules::{Standing, Verdict, evaluate_among};
use updraft_model::cell::End;
use updraft_model::{DagRunState, Plan, TaskIndex, TaskInstanceState};

/// What a look sees of a run.
pub trait Scene: Standing {
    /// Whether a waiting one is due (retry delay, reschedule date).
    fn is_due(&self, task: TaskIndex) -> bool;

    /// Whether a branch above has left it out, for good.
    fn is_left_out(&self, task: TaskIndex) -> bool;

    /// Whether its runs of earlier dates let it go; true where it does not depend on them.
    fn is_past_met(&self, task: TaskIndex) -> bool;

    /// Whether a task is mapped and has been expanded.
    fn is_expanded(&self, task: TaskIndex) -> bool;
}

/// What the first part of a look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Task instances that get an end without running.
    pub changed: Vec<(TaskIndex, End)>,
    /// Task instances that may run now.
    pub ready: Vec<TaskIndex>,
}

impl Found {
    /// Whether there was nothing to be found.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.ready.is_empty()
    }
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// Task instances that get an end without running.
    pub changed: Vec<(TaskIndex, End)>,
    /// Task instances that may run now.
    pub ready: Vec<TaskIndex>,
    /// The run's state.
    pub state: DagRunState,
    /// Whether the run failed because nothing left could ever run.
    pub deadlocked: bool,
}

/// Looks once at a run without branches, whose past is met. `state_of` gives the states before the look; `is_due` whether a waiting
/// one is due (retry delay, reschedule date).
pub fn pass(
    plan: &Plan,
    state_of: impl Fn(TaskIndex) -> TaskInstanceState,
    is_due: impl Fn(TaskIndex) -> bool,
) -> Pass {
    let scene = Plain(state_of, is_due);
    let Found { changed, ready } = evaluate(plan, plan.tasks(), &scene);
    if changed.is_empty() && ready.is_empty() {
        return conclude(plan, &scene);
    }
    Pass { changed, ready, state: DagRunState::Running, deadlocked: false }
}

/// States, and which waits are over.
struct Plain<S, D>(S, D);

impl<S: Fn(TaskIndex) -> TaskInstanceState, D> Standing for Plain<S, D> {
    fn state(&self, task: TaskIndex) -> TaskInstanceState {
        (self.0)(task)
    }
}

impl<S: Fn(TaskIndex) -> TaskInstanceState, D: Fn(TaskIndex) -> bool> Scene for Plain<S, D> {
    fn is_due(&self, task: TaskIndex) -> bool {
        (self.1)(task)
    }

    fn is_left_out(&self, _: TaskIndex) -> bool {
        false
    }

    fn is_past_met(&self, _: TaskIndex) -> bool {
        true
    }

    fn is_expanded(&self, _: TaskIndex) -> bool {
        false
    }
}

/// What becomes of these task instances, as far as they are schedulable.
pub fn evaluate(plan: &Plan, tasks: impl IntoIterator<Item = TaskIndex>, scene: &impl Scene) -> Found {
    let mut found = Found::default();
    for task in tasks {
        let state = scene.state(task);
        if !state.is_schedulable() {
            continue;
        }
        match verdict(plan, task, scene) {
            // A wait that is not over holds back a run, and does not keep the rule from setting an end.
            Verdict::Run if state != TaskInstanceState::None && !scene.is_due(task) => {}
            Verdict::Run if !scene.is_past_met(task) => {}
            Verdict::Run => found.ready.push(task),
            Verdict::Set(end) => found.changed.push((task, end)),
            Verdict::Wait => {}
        }
    }
    found
}

/// What its rule, and the branches above it, say of a task instance.
fn verdict(plan: &Plan, task: TaskIndex, scene: &impl Scene) -> Verdict {
    // Whoever runs already is let be.
    let says = if scene.state(task).is_schedulable() && scene.is_left_out(task) {
        Verdict::Set(End::Skipped)
    } else {
        by_values(plan, task, scene).unwrap_or_else(|| evaluate_among(plan, task, scene))
    };
    let waits = plan.task(task).wait_for_past_depends_before_skipping && !scene.is_past_met(task);
    if says == Verdict::Set(End::Skipped) && waits { Verdict::Wait } else { says }
}

/// What the values that a mapped task is expanded over say of it before it is expanded: without them there is nothing to expand, whatever
/// its rule. None: they say nothing.
fn by_values(plan: &Plan, task: TaskIndex, scene: &impl Scene) -> Option<Verdict> {
    let unit = plan.unit_of(task).filter(|_| scene.map_index().is_none())?;
    if scene.is_expanded(task) {
        // Its instances are under way, each by its own rule.
        return Some(Verdict::Run);
    }
    let sources = || unit.sources.iter().copied();
    if sources().any(|source| !scene.state(source).is_finished()) {
        // An end that its rule sets does not wait for the values.
        return match evaluate_among(plan, task, scene) {
            Verdict::Run => Some(Verdict::Wait),
            verdict => Some(verdict),
        };
    }
    // Of a source that was expanded itself, those instances count that left values.
    let whole = || sources().filter(|source| !scene.is_expanded(*source)).map(|source| scene.state(source));
    if whole().any(|state| matches!(state, TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed)) {
        Some(Verdict::Set(End::UpstreamFailed))
    } else if whole().any(|state| state == TaskInstanceState::Skipped) {
        // Airflow asks both in no certain order: a failure above is not to be hidden by a skip.
        let has_failed = evaluate_among(plan, task, scene) == Verdict::Set(End::UpstreamFailed);
        Some(Verdict::Set(if has_failed { End::UpstreamFailed } else { End::Skipped }))
    } else {
        None
    }
}

/// The second and third part of a look whose first part found nothing: whether the run has ended, or is stuck.
pub fn conclude(plan: &Plan, scene: &impl Scene) -> Pass {
    let mut changed = Vec::new();
    let mut unfinished: Vec<TaskIndex> = plan.tasks().filter(|task| !scene.state(*task).is_finished()).collect();
    let blocked = |task: &TaskIndex| {
        let definition = plan.task(*task);
        definition.depends_on_past
            || definition.max_active_tis_per_dag.is_some()
            || definition.max_active_tis_per_dagrun.is_some()
            || matches!(scene.state(*task), TaskInstanceState::Deferred | TaskInstanceState::AwaitingInput)
    };
    let should_schedule = !unfinished.is_empty() && !unfinished.iter().any(blocked);
    let mut runnable = false;
    if should_schedule {
        // Airflow stops at the first that could run, so the order decides which ends it still sets: by task id, as recorded.
        for task in plan.tasks_by_id().filter(|task| !scene.state(*task).is_finished()) {
            match verdict(plan, task, scene) {
                Verdict::Run => {
                    runnable = true;
                    break;
                }
                Verdict::Set(end) => changed.push((task, end)),
                Verdict::Wait => {}
            }
        }
        unfinished.retain(|task| !changed.iter().any(|(t, _)| t == task));
    }
    let after = |task: TaskIndex| {
        changed.iter().find(|(t, _)| *t == task).map_or_else(|| scene.state(task), |(_, e)| e.state())
    };
    let (state, deadlocked) = outcome(plan, after, &unfinished, should_schedule && !runnable);
    Pass { changed, ready: Vec::new(), state, deadlocked }
}

/// The run's state, from its leaves.
fn outcome(
    plan: &Plan,
    state_of: impl Fn(TaskIndex) -> TaskInstanceState,
    unfinished: &[TaskIndex],
    stuck: bool,
) -> (DagRunState, bool) {
    let leaves = || plan.leaves().iter().map(|t| state_of(*t)).filter(|s| *s != TaskInstanceState::Removed);
    let failed = |s| matches!(s, TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed);
    let fine = |s| matches!(s, TaskInstanceState::Success | TaskInstanceState::Skipped);
    if unfinished.is_empty() && leaves().any(failed) {
        (DagRunState::Failed, false)
    } else if unfinished.is_empty() && leaves().all(fine) {
        (DagRunState::Success, false)
    } else if stuck {
        (DagRunState::Failed, true)
    } else {
        (DagRunState::Running, false)
    }
}
