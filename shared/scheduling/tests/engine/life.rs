//! Whole lives of runs: whatever the attempts come to, a run ends, and then leaves the time index.

use crate::generate::{NOW, config, dag, lease, run};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use updraft_model::{AttemptOutcome, Cell, DagRunState, Held, OutboxEntry, Plan, RunDoc, TaskIndex};
use updraft_scheduling::step::{self, Continue, Ended, Expired};

/// More writes than any run of the random DAGs takes: eight tasks, three tries each, a claim and an end each, and the waits.
const WRITES_MAX: usize = 200;

/// What becomes of one attempt.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It ends so.
    Ends(AttemptOutcome),
    /// Its worker dies; its lease runs out.
    Dies,
    /// It ends so, and its worker goes on with what that makes ready.
    GoesOn(AttemptOutcome),
}

fn fate() -> impl Strategy<Value = Fate> {
    let outcome = || {
        proptest::sample::select(vec![
            AttemptOutcome::Success,
            AttemptOutcome::Success,
            AttemptOutcome::Skipped,
            AttemptOutcome::Failed,
            AttemptOutcome::FailedForGood,
        ])
    };
    prop_oneof![3 => outcome().prop_map(Fate::Ends), 1 => Just(Fate::Dies), 2 => outcome().prop_map(Fate::GoesOn)]
}

fn first<T>(run: &RunDoc, wanted: impl Fn(&Cell) -> Option<T>) -> Option<(TaskIndex, T)> {
    run.cells.iter().find_map(|(task, cell)| wanted(cell).map(|found| (*task, found)))
}

/// Writes what a worker or the sweep would write next. Every attempt's token is the number of the write.
fn next(plan: &Plan, run: &RunDoc, fate: Fate, write: usize, now: &mut Timestamp) -> RunDoc {
    *now += SignedDuration::from_secs(1);
    let until = *now + SignedDuration::from_secs(150);
    let token = lease(&format!("t{write}"), until);
    let queued = |cell: &Cell| matches!(cell, Cell::Queued { .. }).then(|| cell.try_number());
    let running = |cell: &Cell| match cell {
        Cell::Running { try_number, lease } => Some((*try_number, lease.token.clone())),
        _ => None,
    };
    if let Some((task, (try_number, token_held))) = first(run, running) {
        let held = Held { task, try_number, token: token_held };
        let wish = Continue { token: token.token, until, priority_least: None, timeout_most: None, worker: None };
        let (outcome, wish) = match fate {
            Fate::Ends(outcome) => (outcome, None),
            Fate::GoesOn(outcome) => (outcome, Some(&wish)),
            Fate::Dies => {
                *now += SignedDuration::from_mins(10);
                let expired = step::expired(run, *now, false);
                assert!(expired.iter().any(|(t, _)| *t == task), "the lease of a dead attempt runs out");
                let expired = expired.into_iter().map(|(task, cell)| Expired { cell, task, left: None });
                return step::sweep(plan, run, &expired.collect::<Vec<_>>(), *now).image(run);
            }
        };
        let ended = Ended::new(outcome, *now);
        return step::finish(plan, run, &held, &ended, *now, wish).expect("it holds its cell").image(run);
    }
    if let Some((task, try_number)) = first(run, queued) {
        let claim = step::claim(task, try_number, &token);
        let claim = if claim.holds(run) { Some(claim) } else { step::claim_again(run, task, try_number, &token) };
        return claim.expect("what is queued can be claimed").apply(run);
    }
    *now = (*now).max(run.wake_at.expect("an unfinished run is in the time index"));
    let look = step::sweep(plan, run, &[], *now);
    if look.is_nothing() { step::rearm(run, step::Waits::ForItself, *now).apply(run) } else { look.image(run) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_run_ends(dag in dag(), fates in proptest::collection::vec(fate(), 1..40)) {
        let plan = Plan::new(dag);
        let mut now = NOW;
        let (mut image, queued) = step::begin(&plan, run(DagRunState::Queued, Vec::new(), 0), now);
        for task in queued {
            prop_assert_eq!(image.cell(task), &Cell::Queued { try_number: 1 });
        }
        let mut writes = 0;
        while image.state == DagRunState::Running {
            prop_assert!(writes < WRITES_MAX, "the run does not end: {image:?}");
            image = next(&plan, &image, fates[writes % fates.len()], writes, &mut now);
            writes += 1;
        }
        prop_assert!(image.cells.values().all(Cell::is_final), "nothing here can deadlock: {image:?}");
        prop_assert!(image.end_date.is_some());
        let leave = OutboxEntry::Leave { epoch: image.active_epoch };
        prop_assert_eq!(image.outbox.iter().collect::<Vec<_>>(), [(&step::LEAVE.to_owned(), &leave)]);
        prop_assert!(image.wake_at.is_some(), "its end is not delivered yet");
        let delivered = step::strike_out(&image, step::LEAVE, now);
        prop_assert!(delivered.holds(&image));
        prop_assert_eq!(delivered.apply(&image).wake_at, None);
    }
}
