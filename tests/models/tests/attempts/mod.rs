//! Rules A1 to A5 and F1: one run, two workers, sweeps and users. Claim, start, renew, finish and go on in place, sweep, clear and fail
//! are the product's own functions of `updraft_scheduling::step`; what a write asks and does is `RunChange`'s.

mod rules;
mod state;
mod steps;

use crate::documents::{Image, attempt_of, late_enough, plan};
use crate::explore::{Protocol, Steps, breaks, holds};
use rules::Without;
use state::{Budget, State};
use updraft_model::cell::End;
use updraft_model::{Cell, DagRunState, Plan, RunChange, TaskIndex};

/// A run, and what may befall it.
pub(crate) struct Attempts {
    plan: Plan,
    budget: Budget,
    sweeps: usize,
    users: usize,
    /// What a clear clears.
    clears: Vec<TaskIndex>,
    /// How often a lease is renewed.
    renewals: u8,
    /// Whether workers go on in place.
    continues: bool,
    /// Whether writers see to what others' writes let follow from theirs. Where there is one task, nothing does.
    catches_up: bool,
    /// Whether there is a sweep at all, beside what writers see to themselves.
    is_swept: bool,
    without: Option<Without>,
}

impl Attempts {
    /// A task alone, which may be tried twice.
    fn alone(budget: Budget) -> Self {
        Self {
            plan: plan(&[(&[], 1)]),
            budget,
            sweeps: 1,
            users: 1,
            clears: vec![TaskIndex(0)],
            renewals: 1,
            continues: false,
            catches_up: false,
            is_swept: true,
            without: None,
        }
    }

    /// Two tasks, one after the other, the second run in place where it can be.
    fn chain(budget: Budget) -> Self {
        Self {
            plan: plan(&[(&[], 0), (&[0], 0)]),
            clears: vec![TaskIndex(0), TaskIndex(1)],
            renewals: 0,
            continues: true,
            catches_up: true,
            ..Self::alone(budget)
        }
    }

    /// Two tasks and one that waits for both. The second and what follows it may be cleared.
    fn join(budget: Budget) -> Self {
        Self {
            plan: plan(&[(&[], 0), (&[], 0), (&[0, 1], 0)]),
            clears: vec![TaskIndex(1), TaskIndex(2)],
            catches_up: true,
            renewals: 0,
            ..Self::alone(budget)
        }
    }

    fn without(self, rule: Without) -> Self {
        Self { without: Some(rule), ..self }
    }

    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }

    /// Writes to the run document. True: accepted.
    fn write(&self, state: &mut State, change: &RunChange) -> bool {
        let change = self.without.map_or_else(|| change.clone(), |rule| rule.weaken(change));
        if !change.holds(&state.run) && !self.without.is_some_and(|rule| rule.accepts(&change, &state.run)) {
            return false;
        }
        let mut after = change.apply(&state.run);
        if self.lacks(Without::EarlierIds) {
            after.operations.truncate(1);
        }
        if self.is_swept {
            // Counting would make equal states differ, and tells only that nothing more is to be decided.
            after.revision = 0;
        }
        self.judge(state, &after);
        state.run = Image::new(after);
        true
    }

    /// What an accepted write must not do.
    fn judge(&self, state: &mut State, after: &updraft_model::RunDoc) {
        let before = state.run.clone();
        if after.epoch != before.epoch
            && let Some(operation) = after.operations.first()
        {
            if !state.acted.insert(operation.to_string()) {
                state.is_wrong("one intervention took effect twice");
            }
            for task in self.plan.tasks().filter(|task| before.cell(*task) != after.cell(*task)) {
                let cell = before.cell(task);
                let winner = match cell {
                    Cell::Final { winner, .. } => winner.as_ref().and_then(|token| token.as_str()[1..].parse().ok()),
                    _ => None,
                };
                state.cleared.extend(cell.holder().map(|lease| attempt_of(lease).0).into_iter().chain(winner));
            }
        }
        for task in self.plan.tasks() {
            let (from, to) = (before.cell(task), after.cell(task));
            if from == to {
                continue;
            }
            if let Cell::Final { winner: Some(winner), .. } = to
                && state.cleared.iter().any(|token| format!("t{token}") == winner.as_str())
            {
                state.is_wrong("what was cleared has come back as a result");
            }
            let succeeded = |up: &TaskIndex| matches!(after.cell(*up), Cell::Final { end: End::Success, .. });
            let sets_off = matches!(to, Cell::Queued { .. })
                || matches!((from, to), (Cell::None | Cell::Cleared { .. }, Cell::Running { .. }));
            if sets_off && !self.plan.upstream(task).iter().all(succeeded) {
                state.is_wrong("a task was set off although its upstreams have not succeeded");
            }
        }
        if after.state.is_finished() && self.plan.tasks().any(|task| !after.cell(task).is_final()) {
            state.is_wrong("the run ended with an unfinished task");
        }
    }
}

impl Protocol for Attempts {
    type State = State;

    fn begin(&self) -> State {
        State::new(self.budget, self.sweeps, self.users)
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        if state.run.state == DagRunState::Queued {
            let start = updraft_scheduling::step::start(&self.plan, &state.run, late_enough(&state.run));
            let mut next = state.clone();
            if self.write(&mut next, &start.change) {
                steps.push((("scheduler", "starts the run"), next));
            }
        }
        self.worker_steps(state, steps);
        self.sweep_steps(state, steps);
        self.user_steps(state, steps);
        self.fault_steps(state, steps);
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        state.wrong
    }

    fn is_over(&self, state: &State) -> bool {
        state.run.state.is_finished() && self.plan.tasks().all(|task| state.run.cell(task).is_final())
    }
}

/// Everything that befalls a task alone, each with the others.
const ALONE: Budget =
    Budget { crashes: 1, pauses: 1, failures: 1, clears: 1, marks: 0, reschedules: 0, lost: 0, lost_interventions: 0 };

#[test]
fn attempts_hold_through_crash_pause_failure_and_clear() {
    holds("alone: crash, pause, failure, clear", Attempts::alone(ALONE));
}

#[test]
fn attempts_hold_through_marks() {
    holds("alone: crash, clear, mark", Attempts::alone(Budget { failures: 0, pauses: 0, marks: 1, ..ALONE }));
}

#[test]
fn attempts_hold_through_late_writes() {
    holds("alone: pause, clear, late write", Attempts::alone(Budget { crashes: 0, failures: 0, lost: 1, ..ALONE }));
}

#[test]
fn attempts_hold_through_two_sweeps() {
    let budget = Budget { crashes: 0, failures: 0, clears: 0, lost: 1, ..ALONE };
    holds("alone: two sweeps, pause, late write", Attempts { sweeps: 2, renewals: 2, ..Attempts::alone(budget) });
}

#[test]
fn attempts_hold_where_they_go_on_in_place() {
    holds("chain: crash, pause, clear", Attempts::chain(Budget { failures: 0, ..ALONE }));
    holds("chain: late write, clear", Attempts::chain(Budget { lost: 1, clears: 1, ..Budget::default() }));
}

#[test]
fn attempts_hold_where_tries_go_on() {
    holds(
        "alone: reschedule, crash, clear",
        Attempts::alone(Budget { failures: 0, pauses: 0, reschedules: 1, ..ALONE }),
    );
}

/// Without faults nobody has to sweep: who writes last decides what follows.
#[test]
fn writers_see_to_what_follows() {
    let alone = |model| Attempts { is_swept: false, ..model };
    holds("join, nobody sweeps", alone(Attempts::join(Budget::default())));
    holds("chain, nobody sweeps", alone(Attempts::chain(Budget::default())));
    holds("join, nobody sweeps, clear", alone(Attempts::join(Budget { clears: 1, ..Budget::default() })));
    breaks(Without::CatchUp, alone(Attempts::join(Budget::default())).without(Without::CatchUp));
}

#[test]
fn attempts_hold_where_they_join() {
    holds("join: clear", Attempts::join(Budget { clears: 1, ..Budget::default() }));
}

#[test]
fn interventions_act_once() {
    let budget = Budget { clears: 2, lost_interventions: 2, ..Budget::default() };
    holds("two users, lost answers", Attempts { users: 2, ..Attempts::alone(budget) });
}

/// Each rule, and what befalls a run where it is missed.
#[test]
fn each_rule_is_missed() {
    let late = Budget { crashes: 0, failures: 0, lost: 1, ..ALONE };
    let alone = |rule, budget| breaks(rule, Attempts::alone(budget).without(rule));
    alone(Without::FinishToken, ALONE);
    alone(Without::SweepLease, ALONE);
    alone(Without::RestartingNoItem, ALONE);
    alone(Without::KillBeforeLettingGo, ALONE);
    alone(Without::RestartingExpiry, Budget { pauses: 0, failures: 0, ..ALONE });
    alone(Without::Leaving, Budget { marks: 1, failures: 0, pauses: 0, ..ALONE });
    alone(Without::ItemByToken, Budget { crashes: 1, reschedules: 1, ..Budget::default() });
    alone(Without::ExactCells, ALONE);
    alone(Without::LeaseAtStart, ALONE);
    alone(Without::Sweep, ALONE);
    breaks(Without::RenewedLease, Attempts { renewals: 2, ..Attempts::alone(late) }.without(Without::RenewedLease));
    for rule in [Without::FinishRunning, Without::Epoch] {
        breaks(rule, Attempts::join(Budget { clears: 1, ..Budget::default() }).without(rule));
    }
    let lost = Budget { clears: 2, lost_interventions: 2, ..Budget::default() };
    for rule in [Without::OperationId, Without::EarlierIds, Without::InterventionEpoch] {
        breaks(rule, Attempts { users: 2, ..Attempts::alone(lost) }.without(rule));
    }
}
