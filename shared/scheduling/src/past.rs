//! Whether the runs of earlier dates let a task go: `depends_on_past` and `wait_for_downstream`.
//!
//! Asked of the run before, whenever a task would go on but for this. What was found is noted in the run, so that deciding stays a matter
//! of the run's own document; a clear takes the note back.

use updraft_model::{Cell, DagRunState, DagRunType, Plan, RunDate, RunDoc, TaskIndex, TaskInstanceState};

/// The run before, with the plan of its version.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// Its document.
    pub run: &'a RunDoc,
    /// What it runs.
    pub plan: &'a Plan,
}

/// Whether a run counts as the one before: with catchup only runs that were not made by hand.
pub fn counts(plan: &Plan, date: &RunDate) -> bool {
    !plan.dag.catchup || date.run_type != DagRunType::Manual
}

/// Which of these tasks the run before lets go.
pub fn met(plan: &Plan, before: Before<'_>, tasks: &[TaskIndex]) -> Vec<TaskIndex> {
    tasks.iter().copied().filter(|task| is_met(plan, before, *task).is_ok()).collect()
}

/// Whether the run before lets a task go, or why not.
pub fn is_met(plan: &Plan, before: Before<'_>, task: TaskIndex) -> Result<(), String> {
    let definition = plan.task(task);
    let run_id = &before.run.facts.run_id;
    let Some(then) = before.plan.index_of(definition.task_id.as_str()) else {
        return if definition.ignore_first_depends_on_past {
            Ok(())
        } else {
            Err(format!("the run before, `{run_id}`, has no task `{}`", definition.task_id))
        };
    };
    let succeeded = |task: TaskIndex| match before.run.task_state(task) {
        TaskInstanceState::Success | TaskInstanceState::Skipped => Ok(()),
        state => Err(format!("`{}` is {state} in the run before, `{run_id}`", before.plan.task(task).task_id)),
    };
    succeeded(then)?;
    if definition.wait_for_downstream {
        before.plan.downstream(then).iter().try_for_each(|below| succeeded(*below))?;
    }
    Ok(())
}

/// Whether a run that has not ended will not go on by itself: nothing is under way in it, and a look has found nothing to do. So it is with one
/// that waits for a run before it that failed: what lets it go on lets its own followers go on too, and not before.
///
/// Whoever lets it go on first sees to it that those who took it for stuck look again soon.
pub fn is_stuck(plan: &Plan, run: &RunDoc) -> bool {
    let is_idle = |cell: &Cell| matches!(cell, Cell::None | Cell::Cleared { .. } | Cell::Final { .. });
    let is_open = |unit: TaskIndex| {
        let members = plan.unit_of(unit).map_or(&[][..], |unit| &unit.members);
        members.iter().any(|task| !run.cell(*task).is_final())
    };
    // Whatever queues something sets the looks back by the same write.
    run.looks > 0
        && run.state == DagRunState::Running
        && run.intent.is_none()
        && !run.paused
        && run.cells.values().all(is_idle)
        && !run.mapped.expanded().any(|(unit, _)| is_open(unit))
}

/// Whether a later run may have waited for what became of this task.
pub fn is_looked_back_at(plan: &Plan, task: TaskIndex) -> bool {
    plan.looks_back(task) || plan.upstream(task).iter().any(|up| plan.task(*up).wait_for_downstream)
}
