//! One look of the scheduler over a run, and what repeated looks come to: `dagrun_state.json`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use updraft_model::cell::{End, Wait};
use updraft_model::{Cell, DagRunState, Lease, Plan, TaskIndex, TaskInstanceState, Token};
use updraft_scheduling::pass::{Pass, pass};

use crate::harness::{Tally, Verdict, judge_cases, load};
use crate::shapes::{parse, plans};

/// When the recorded looks are taken, as far as we are concerned.
const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// No recorded case needs as many looks to settle.
const LOOKS_MAX: usize = 20;

pub(crate) fn judge_file() -> Option<Tally> {
    let recorded = load("dagrun_state")?;
    let plans = plans(&recorded.header);
    Some(judge_cases("dagrun_state", &recorded.cases, |case| {
        let case: Case = parse(case);
        judge(&plans[&case.shape], &case)
    }))
}

type States = BTreeMap<String, TaskInstanceState>;

#[derive(Deserialize)]
struct Case {
    shape: String,
    before: States,
    dag_run_state: DagRunState,
    changed: States,
    schedulable: BTreeSet<String>,
    settled: Option<Settled>,
}

/// What repeated looks converge to while no task runs.
#[derive(Debug, PartialEq, Deserialize)]
struct Settled {
    dag_run_state: DagRunState,
    states: States,
    schedulable: BTreeSet<String>,
    passes: usize,
}

fn judge(plan: &Plan, case: &Case) -> Verdict {
    let id_of = |task: TaskIndex| plan.task(task).task_id.to_string();
    let mut cells: Vec<Cell> = plan.tasks().map(|task| cell(case.before[&id_of(task)])).collect();
    let look = look(plan, &cells);
    let changed: States = look.changed.iter().map(|(task, end)| (id_of(*task), end.state())).collect();
    let ready: BTreeSet<String> = look.ready.iter().map(|task| id_of(*task)).collect();
    let found = (look.state, &changed, &ready);
    let expected = (case.dag_run_state, &case.changed, &case.schedulable);
    if found != expected {
        return Verdict::Failed(format!("expected {expected:?}, found {found:?}"));
    }
    let Some(expected) = &case.settled else { return Verdict::Passed };
    let (last, passes) = settle(plan, &mut cells, look);
    let found = Settled {
        dag_run_state: last.state,
        states: plan.tasks().map(|task| (id_of(task), cells[task.at()].state())).collect(),
        schedulable: last.ready.iter().map(|task| id_of(*task)).collect(),
        passes,
    };
    if found == *expected {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("settled: expected {expected:?}, found {found:?}"))
    }
}

fn look(plan: &Plan, cells: &[Cell]) -> Pass {
    let is_due = |task: TaskIndex| match &cells[task.at()] {
        Cell::Waiting { due, .. } => NOW >= *due,
        _ => true,
    };
    pass(plan, |task| cells[task.at()].state(), is_due)
}

/// Looks again until a look changes nothing. Gives the last look and how many there were, `first` included.
fn settle(plan: &Plan, cells: &mut [Cell], first: Pass) -> (Pass, usize) {
    let mut last = first;
    for passes in 1..LOOKS_MAX {
        for (task, end) in &last.changed {
            cells[task.at()] = Cell::ended(*end, cells[task.at()].try_number());
        }
        if last.changed.is_empty() {
            return (last, passes);
        }
        last = look(plan, cells);
    }
    panic!("a run does not settle: {cells:?}")
}

/// A cell in a state, as the recorded runs had it: a failed try ended a minute ago and waits an hour, a rescheduled task is due.
fn cell(state: TaskInstanceState) -> Cell {
    let lease = || Lease { token: Token::trusted("0a1b2c3d"), until: NOW, since: NOW };
    let waiting = |wait, due| Cell::Waiting { wait, try_number: 1, due };
    match state {
        TaskInstanceState::None => Cell::None,
        TaskInstanceState::Scheduled => Cell::Scheduled { try_number: 1, resume: 0, turn: 0 },
        TaskInstanceState::Queued => Cell::Queued { try_number: 1 },
        TaskInstanceState::Running => Cell::Running { try_number: 1, lease: lease() },
        TaskInstanceState::Restarting => Cell::Restarting { try_number: 1, lease: lease() },
        TaskInstanceState::UpForRetry => waiting(Wait::Retry, NOW + SignedDuration::from_mins(59)),
        TaskInstanceState::UpForReschedule => waiting(Wait::Reschedule, NOW),
        TaskInstanceState::Deferred => waiting(Wait::Deferred, NOW),
        TaskInstanceState::AwaitingInput => waiting(Wait::Input, NOW),
        TaskInstanceState::Success => Cell::ended(End::Success, 1),
        TaskInstanceState::Failed => Cell::ended(End::Failed, 1),
        TaskInstanceState::Skipped => Cell::ended(End::Skipped, 1),
        TaskInstanceState::UpstreamFailed => Cell::ended(End::UpstreamFailed, 0),
        TaskInstanceState::Removed => Cell::ended(End::Removed, 1),
    }
}
