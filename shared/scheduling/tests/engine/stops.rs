//! `fail_fast`: one failure for good stops everything else but teardowns, in one intervention, however large the run; and answers of people.

use crate::generate::{Image, NOW, at, config, dag_of, image, lease, plain, run};
use proptest::prelude::*;
use updraft_model::cell::{End, Wait};
use updraft_model::{Act, AttemptOutcome, Cell, Dag, DagRunState, Held, Intent, Plan, RunDoc, TaskIndex, Token};
use updraft_scheduling::decide::CHANGES_MAX;
use updraft_scheduling::step::{self, Ended, Expired, FAIL_FAST};

const RUNNING: &[DagRunState] = &[DagRunState::Running];

fn fast(plan: &Plan) -> Plan {
    Plan::new(Dag { fail_fast: true, ..plan.dag.clone() })
}

fn failed() -> Ended {
    Ended::new(AttemptOutcome::FailedForGood, at(-1))
}

/// The first attempt that runs.
fn holder(run: &RunDoc) -> Option<Held> {
    run.cells.iter().find_map(|(task, cell)| match cell {
        Cell::Running { try_number, lease } => {
            Some(Held { task: *task, try_number: *try_number, token: lease.token.clone() })
        }
        _ => None,
    })
}

/// What `fail_fast` makes of a task instance.
fn stopped(cell: &Cell) -> End {
    match cell {
        Cell::Final { end: end @ (End::Success | End::Failed), .. } => *end,
        Cell::Running { .. } => End::Failed,
        _ => End::Skipped,
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_failure_for_good_stops_all_others(Image(plan, run) in image(RUNNING), by_sweep in any::<bool>()) {
        let plan = fast(&plan);
        let Some(held) = holder(&run) else { return Ok(()) };
        let step = if by_sweep {
            let cell = run.cell(held.task).clone();
            step::sweep(&plan, &run, &[Expired { cell, task: held.task, left: Some(failed()) }], NOW)
        } else {
            step::finish(&plan, &run, &held, &failed(), NOW, None).expect("it holds its cell")
        };
        prop_assert!(step.change.holds(&run), "{:?}", step.change);
        let after = step.image(&run);
        prop_assert_eq!(after.cell(held.task).state(), End::Failed.state());
        let others = || plan.tasks().filter(|task| *task != held.task && !plan.task(*task).is_teardown);
        for task in others() {
            prop_assert_eq!(after.task_state(task), stopped(run.cell(task)).state(), "task {}", task);
            prop_assert_eq!(after.cell(task).holder(), run.cell(task).holder(), "task {} has to let go", task);
        }
        let stops = others().any(|task| run.task_state(task) != stopped(run.cell(task)).state());
        prop_assert_eq!(after.epoch, run.epoch + u32::from(stops), "an intervention where it changes something");
        prop_assert_eq!(after.operations.first().is_some_and(|id| id.as_str().starts_with(FAIL_FAST)), stops);
        // Whoever decided on the image before is refused, and so is a second failure decided on it.
        if stops {
            let other = step::finish(&plan, &run, &held, &failed(), NOW, None).expect("the image is old");
            prop_assert!(!other.change.holds(&after));
        }
    }

    /// Without the key nothing of this happens, and a failure that is tried again stops nobody.
    #[test]
    fn only_a_failure_for_good_and_only_with_fail_fast(Image(plan, run) in image(RUNNING)) {
        let Some(held) = holder(&run) else { return Ok(()) };
        for (plan, outcome) in [
            (plan.clone(), AttemptOutcome::FailedForGood),
            (fast(&plan), AttemptOutcome::Success),
            (fast(&plan), AttemptOutcome::Skipped),
        ] {
            let step = step::finish(&plan, &run, &held, &Ended::new(outcome, at(-1)), NOW, None).expect("it holds");
            prop_assert_eq!(step.image(&run).epoch, run.epoch);
        }
        let mut again = run.clone();
        again.max_tries.insert(held.task, held.try_number);
        let ended = Ended::new(AttemptOutcome::Failed, at(-1));
        let step = step::finish(&fast(&plan), &again, &held, &ended, NOW, None).expect("it holds");
        prop_assert_eq!(step.image(&again).epoch, run.epoch);
    }

    /// An answer ends the try that waits for it, and none other.
    #[test]
    fn an_answer_asks_for_the_very_cell_that_waits(Image(plan, run) in image(RUNNING), which in 0..3usize) {
        let outcome = [AttemptOutcome::Success, AttemptOutcome::Failed, AttemptOutcome::FailedForGood][which];
        for task in plan.tasks() {
            let held = Held { task, try_number: run.cell(task).try_number(), token: Token::trusted("answer") };
            let step = step::answer(&plan, &run, &held, &Ended::new(outcome, at(-1)), NOW);
            let waits = matches!(run.cell(task), Cell::Waiting { wait: Wait::Input, .. });
            prop_assert_eq!(step.is_some(), waits);
            let Some(step) = step else { continue };
            prop_assert!(step.change.holds(&run));
            let after = step.image(&run);
            let still_waits = matches!(after.cell(task), Cell::Waiting { wait: Wait::Input, .. });
            prop_assert!(!still_waits);
            // A failure may be tried again, and that try be settled by its rule in the same write: then no answer has won.
            if let Cell::Final { end: End::Success | End::Failed, winner, .. } = after.cell(task) {
                prop_assert_eq!(winner.as_ref(), Some(&held.token));
            }
            let due = run.wake_at.into_iter().chain([NOW]).min();
            prop_assert!(after.wake_at.is_none_or(|at| Some(at) <= due), "looked at at once, and no later than before");
            prop_assert!(after.wake_at.is_some() || after.state.is_finished());
            // The second of two answers is refused, and so is one to another try.
            prop_assert!(!step.change.holds(&after));
            let other = Held { try_number: held.try_number + 1, ..held };
            prop_assert_eq!(step::answer(&plan, &run, &other, &Ended::new(outcome, at(-1)), NOW), None);
        }
    }
}

/// As many as one write changes at a time; nothing is decided before the last, and a run stopped half-way goes on.
#[test]
fn a_large_run_is_stopped_in_parts() {
    let count = 3 * CHANGES_MAX;
    let tasks = (0..count).map(|i| plain(&format!("t{i:04}"), &[])).collect();
    let plan = Plan::new(Dag { fail_fast: true, ..dag_of(tasks) });
    let running = |i| Cell::Running { try_number: 1, lease: lease(&format!("token{i}"), at(150)) };
    let before = run(DagRunState::Running, (0..count).map(running).collect(), 0);
    let held = holder(&before).expect("they run");
    let first = step::finish(&plan, &before, &held, &failed(), NOW, None).expect("it holds its cell");
    assert!(first.change.cells.len() <= CHANGES_MAX);
    let mut image = first.image(&before);
    assert_eq!(image.intent.as_ref().map(|intent| intent.act), Some(Act::Stop));
    assert_eq!(image.state, DagRunState::Running);
    // One that succeeds meanwhile has succeeded.
    let late = TaskIndex(count as u32 - 1);
    let late = Held { task: late, try_number: 1, token: Token::trusted(format!("token{}", count - 1)) };
    let ended = Ended::new(AttemptOutcome::Success, NOW);
    image = step::finish(&plan, &image, &late, &ended, NOW, None).expect("it holds its cell").image(&image);
    // One that fails as well waits for the intervention.
    let other =
        Held { task: TaskIndex(count as u32 - 2), try_number: 1, token: Token::trusted(format!("token{}", count - 2)) };
    let failing = step::finish(&plan, &image, &other, &failed(), NOW, None).expect("it holds its cell");
    assert!(!failing.change.holds(&image), "what would be lost is refused");
    while let Some(next) = step::proceed(&plan, &image, NOW) {
        assert!(next.change.holds(&image) && next.change.cells.len() <= CHANGES_MAX);
        image = next.image(&image);
    }
    assert_eq!((image.state, image.epoch), (DagRunState::Failed, before.epoch + 1));
    let ends = |end: End| image.cells.values().filter(|cell| cell.state() == end.state()).count();
    assert_eq!((ends(End::Failed), ends(End::Success)), (count - 1, 1));
}

/// The sweep leaves what has died to the look after the intervention.
#[test]
fn the_sweep_waits_for_an_intervention() {
    let plan = Plan::new(Dag { fail_fast: true, ..dag_of(vec![plain("a", &[]), plain("b", &[])]) });
    let dead = Cell::Running { try_number: 1, lease: lease("t", at(-10)) };
    let mut image = run(DagRunState::Running, vec![dead.clone(), Cell::Queued { try_number: 1 }], 0);
    image.intent = Some(Box::new(Intent::new(Act::Clear, [TaskIndex(1)])));
    let expired = [Expired { cell: dead, task: TaskIndex(0), left: None }];
    assert!(step::sweep(&plan, &image, &expired, NOW).is_nothing());
    image.intent = None;
    let after = step::sweep(&plan, &image, &expired, NOW).image(&image);
    assert_eq!((after.task_state(TaskIndex(1)), after.state), (End::Skipped.state(), DagRunState::Failed));
}
