//! Tasks that waited for slots or for a place in their run, and have them.

use super::{CHANGES_MAX, Step, complete};
use jiff::Timestamp;
use std::cmp::Reverse;
use updraft_model::{Cell, DagRunState, Generation, Plan, RunChange, RunDoc, TaskIndex};

/// How many places under `max_active_tasks` are free, where the run's document counts them.
pub fn free_places(plan: &Plan, run: &RunDoc) -> usize {
    let Some(limit) = plan.places_most() else { return usize::MAX };
    (limit as usize).saturating_sub(run.cells.values().filter(|cell| cell.takes_a_place()).count())
}

/// Queues tasks that hold all that they take beyond their run; under `max_active_tasks` only as many as there are places. What could not
/// be queued stays scheduled.
pub fn grant(plan: &Plan, run: &RunDoc, tasks: &[TaskIndex], now: Timestamp) -> Step {
    grant_and_put_off(plan, run, tasks, &[], now)
}

/// The same, and puts others off that hold slots and have no place in their run (ARCHITECTURE.md, rule B7).
pub fn grant_and_put_off(plan: &Plan, run: &RunDoc, tasks: &[TaskIndex], others: &[TaskIndex], now: Timestamp) -> Step {
    let free = free_places(plan, run);
    let mut change = RunChange {
        if_epoch: Some(run.epoch),
        if_state: Some(run.state),
        if_paused: Some(run.paused),
        ..RunChange::default()
    };
    let mut queued = Vec::new();
    for task in tasks.iter().take(free.min(CHANGES_MAX)) {
        if let Cell::Scheduled { try_number, .. } = run.cell(*task) {
            change.if_cells.push((*task, run.cell(*task).clone()));
            change.cells.push((*task, Cell::Queued { try_number: *try_number }));
            queued.push(*task);
        }
    }
    for task in others.iter().take(CHANGES_MAX - queued.len()) {
        if let Cell::Scheduled { try_number, resume, turn } = run.cell(*task) {
            let (if_cells, cells) =
                put_off(*task, Generation { try_number: *try_number, resume: *resume, turn: *turn });
            change.if_cells.push(if_cells);
            change.cells.push(cells);
        }
    }
    if !queued.is_empty() {
        change.looks = (run.looks > 0).then_some(0);
        if plan.places_most().is_some() {
            change.if_takes = Some(run.takes);
            change.takes = Some(run.takes + 1);
        }
    }
    let mut step = complete(run, change, now);
    step.queued = queued;
    step
}

/// Queues who waited for slots and holds them now, without having seen an image: refused when the cell is anything but what these slots
/// were taken for, the attempt included, and while its DAG is paused. A sensor that ran on them and waits for slots anew is another attempt of the same try.
///
/// `look_at`: when somebody looks at the run, in case the message is lost.
pub fn promote(task: TaskIndex, generation: Generation, look_at: Option<Timestamp>) -> RunChange {
    let Generation { try_number, resume, turn } = generation;
    RunChange {
        if_state: Some(DagRunState::Running),
        if_paused: Some(false),
        if_cells: vec![(task, Cell::Scheduled { try_number, resume, turn })],
        if_wake_at_most: look_at,
        looks: Some(0),
        cells: vec![(task, Cell::Queued { try_number })],
        ..RunChange::default()
    }
}

/// The cell of a task that was promoted while its run has no place for it, and what becomes of that: it asks anew when there is one. Only
/// then are its slots given back: they are a dead generation's, so that this may come as late as it likes (ARCHITECTURE.md, rule B7).
fn put_off(task: TaskIndex, generation: Generation) -> ((TaskIndex, Cell), (TaskIndex, Cell)) {
    let Generation { try_number, resume, turn } = generation;
    let cell = |turn| (task, Cell::Scheduled { try_number, resume, turn });
    (cell(turn), cell(turn + 1))
}

/// The scheduled tasks of a run, by priority: what waits for slots, and what only waits for a place. None where an intervention is under
/// way, or where its DAG is paused.
pub fn wanting(plan: &Plan, run: &RunDoc) -> Vec<TaskIndex> {
    if run.state != DagRunState::Running || run.intent.is_some() || run.paused {
        return Vec::new();
    }
    let is_wanting = |(task, cell): &(&TaskIndex, &Cell)| {
        matches!(cell, Cell::Scheduled { .. }) && plan.task(**task).max_active_tis_per_dagrun != Some(0)
    };
    let mut tasks: Vec<TaskIndex> = run.cells.iter().filter(is_wanting).map(|(task, _)| *task).collect();
    tasks.sort_by_key(|task| (Reverse(plan.priority(*task)), *task));
    tasks
}
