//! All that follows from the image of a run: skips, upstream failures, empty operators, queued tasks, the run's end. A whole cascade
//! is one decision.

use crate::pass::pass;
use jiff::Timestamp;
use std::collections::BTreeMap;
use updraft_model::cell::End;
use updraft_model::{Cell, DagRunState, Plan, RunDoc, TaskIndex};

/// How many cells one write changes at most: a DynamoDB expression has at most 4 KB and 300 operators. What is left over follows from
/// the image that the write returns.
pub const CHANGES_MAX: usize = 100;

/// What follows from an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// New cells, each with the cell it replaces.
    pub cells: BTreeMap<TaskIndex, (Cell, Cell)>,
    /// The run's end, if it ends.
    pub end: Option<DagRunState>,
    /// Cells besides the changed ones that the decision rests on and that could still change within the epoch: all unfinished ones
    /// where a run ends because nothing left could ever run.
    pub rests_on: Vec<(TaskIndex, Cell)>,
}

impl Decision {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.end.is_none()
    }

    /// As much of it as one write may change; the rest follows from the image that the write returns. Tasks are in a topological
    /// order, so what is kept does not rest on what is left.
    pub fn bounded(mut self) -> Self {
        if let Some((left, _)) = self.cells.iter().nth(CHANGES_MAX) {
            let left = *left;
            self.cells.retain(|task, _| *task < left);
            self.end = None;
            self.rests_on.clear();
        }
        self
    }

    /// The tasks it queues.
    pub fn queued(&self) -> impl Iterator<Item = TaskIndex> + '_ {
        self.cells.iter().filter(|(_, (_, to))| matches!(to, Cell::Queued { .. })).map(|(t, _)| *t)
    }
}

/// Decides all that follows from the image of a running run. Of any other run nothing follows.
///
/// Looks again until a look changes nothing, so deciding on the result decides nothing more.
pub fn decide(plan: &Plan, run: &RunDoc, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    if run.state != DagRunState::Running {
        return decision;
    }
    let mut cells: Vec<Cell> = plan.tasks().map(|t| run.cell(t).clone()).collect();
    loop {
        let states: Vec<_> = cells.iter().map(Cell::state).collect();
        let is_due = |task: TaskIndex| match &cells[task.at()] {
            Cell::Waiting { due, .. } => now >= *due,
            _ => true,
        };
        let look = pass(plan, |task| states[task.at()], is_due);
        for (task, end) in &look.changed {
            cells[task.at()] = ended(&cells[task.at()], *end);
        }
        for task in &look.ready {
            cells[task.at()] = started(plan, *task, &cells[task.at()]);
        }
        if look.state.is_finished() {
            decision.end = Some(look.state);
            if look.deadlocked {
                decision.rests_on = plan
                    .tasks()
                    .map(|task| (task, run.cell(task).clone()))
                    .filter(|(_, cell)| !cell.is_final())
                    .collect();
            }
        }
        if decision.end.is_some() || (look.changed.is_empty() && look.ready.is_empty()) {
            break;
        }
    }
    for (task, cell) in plan.tasks().zip(cells) {
        if *run.cell(task) != cell {
            decision.cells.insert(task, (run.cell(task).clone(), cell));
        }
    }
    decision.rests_on.retain(|(task, _)| !decision.cells.contains_key(task));
    decision
}

/// A cell that ends by rule. An attempt that still runs there (possible after marking upstreams by hand) has to let go.
fn ended(cell: &Cell, end: End) -> Cell {
    Cell::Final { end, try_number: cell.try_number(), winner: None, leaving: cell.holder().cloned() }
}

/// A cell that is ready: queued for its next try, or at its end where there is nothing to run.
fn started(plan: &Plan, task: TaskIndex, cell: &Cell) -> Cell {
    let try_number = match cell {
        // A reschedule and a deferral go on with the same try.
        Cell::Waiting { wait: updraft_model::cell::Wait::Reschedule, try_number, .. } => *try_number,
        _ => cell.try_number() + 1,
    };
    if plan.is_empty_operator(task) { Cell::ended(End::Success, try_number) } else { Cell::Queued { try_number } }
}
