//! One look over a run, as Airflow's scheduler takes it.
//!
//! (1) Every schedulable task instance is evaluated on the states before the look. (2) If nothing is ready and nothing changed,
//! every unfinished one is evaluated again, waits ignored. (3) The run's state follows.

use crate::trigger_rules::{Verdict, evaluate_task};
use updraft_model::cell::End;
use updraft_model::{DagRunState, Plan, TaskIndex, TaskInstanceState};

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

/// Looks once. `state_of` gives the states before the look; `is_due` whether a waiting one is due (retry delay, reschedule date).
pub fn pass(
    plan: &Plan,
    state_of: impl Fn(TaskIndex) -> TaskInstanceState + Copy,
    is_due: impl Fn(TaskIndex) -> bool,
) -> Pass {
    let mut changed = Vec::new();
    let mut ready = Vec::new();
    let mut unfinished = Vec::new();
    for task in plan.tasks() {
        let state = state_of(task);
        if !state.is_finished() {
            unfinished.push(task);
        }
        if !state.is_schedulable() {
            continue;
        }
        match evaluate_task(plan, task, state_of) {
            // A wait that is not over holds back a run, and does not keep the rule from setting an end.
            Verdict::Run if state != TaskInstanceState::None && !is_due(task) => {}
            Verdict::Run => ready.push(task),
            Verdict::Set(end) => changed.push((task, end)),
            Verdict::Wait => {}
        }
    }
    let blocked = |task: &TaskIndex| {
        let definition = plan.task(*task);
        definition.depends_on_past
            || definition.max_active_tis_per_dag.is_some()
            || definition.max_active_tis_per_dagrun.is_some()
            || matches!(state_of(*task), TaskInstanceState::Deferred | TaskInstanceState::AwaitingInput)
    };
    let should_schedule = !unfinished.is_empty() && !unfinished.iter().any(blocked);
    let mut runnable = !ready.is_empty() || !changed.is_empty();
    if should_schedule && !runnable {
        // Airflow stops at the first that could run, so the order decides which ends it still sets: by task id, as recorded.
        for task in plan.tasks_by_id().filter(|task| !state_of(*task).is_finished()) {
            match evaluate_task(plan, task, state_of) {
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
    let after =
        |task: TaskIndex| changed.iter().find(|(t, _)| *t == task).map_or_else(|| state_of(task), |(_, e)| e.state());
    let (state, deadlocked) = outcome(plan, after, &unfinished, should_schedule && !runnable);
    Pass { changed, ready, state, deadlocked }
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
