//! Conditional writes: each holds on the image it was taken on, keeps the run in the time index early enough, and is refused
//! where what it rests on has changed.

use crate::generate::{Image, NOW, at, config, dag_of, image, lease, outcome, plain, reached_image, run};
use jiff::SignedDuration;
use proptest::prelude::*;
use updraft_model::cell::{End, Wait};
use updraft_model::workers::QUEUE_PYTHON;
use updraft_model::{
    AttemptOutcome, Cell, DagRunState, Held, OperationId, Plan, RunChange, RunDoc, TaskIndex, Token, WorkerKind,
};
use updraft_scheduling::step::{self, Continue, Ended, Expired, Step, TimeoutMost};
use updraft_scheduling::{attention, decide};

const RUNNING: &[DagRunState] = &[DagRunState::Running];
const ANY: &[DagRunState] = DagRunState::ALL;

fn operation() -> OperationId {
    OperationId::trusted("operation")
}

fn ended(outcome: AttemptOutcome) -> Ended {
    Ended::new(outcome, at(-1))
}

fn wish() -> impl Strategy<Value = Continue> {
    let timeout = proptest::option::of(
        (1..100i64, any::<bool>())
            .prop_map(|(seconds, unlimited)| TimeoutMost { most: SignedDuration::from_secs(seconds), unlimited }),
    );
    let worker = proptest::option::of(prop_oneof![Just(WorkerKind::Plain), Just(WorkerKind::Python)]);
    (proptest::option::of(-3..8i64), timeout, worker).prop_map(|(priority_least, timeout_most, worker)| Continue {
        token: Token::trusted("continued"),
        until: at(150),
        priority_least,
        timeout_most,
        worker,
    })
}

/// The attempts that hold their cells, running.
fn running(run: &RunDoc) -> Vec<Held> {
    let held = |(task, cell): (&TaskIndex, &Cell)| match cell {
        Cell::Running { try_number, lease } => {
            Some(Held { task: *task, try_number: *try_number, token: lease.token.clone() })
        }
        _ => None,
    };
    run.cells.iter().filter_map(held).collect()
}

/// Every attempt that still has to let go of its cell.
fn letting_go(run: &RunDoc) -> Vec<Held> {
    let held = |(task, cell): (&TaskIndex, &Cell)| match cell {
        Cell::Restarting { .. } | Cell::Final { leaving: Some(_), .. } => {
            cell.holder().map(|lease| Held { task: *task, try_number: cell.try_number(), token: lease.token.clone() })
        }
        _ => None,
    };
    run.cells.iter().filter_map(held).collect()
}

/// Every step there is to take on this image.
fn steps(plan: &Plan, run: &RunDoc, outcome: AttemptOutcome, wish: &Continue, some: u8) -> Vec<(&'static str, Step)> {
    let tasks: Vec<TaskIndex> = plan.tasks().filter(|task| some >> task.0 & 1 == 1).collect();
    let mut steps = vec![("clear", step::clear(plan, run, &tasks, &operation(), NOW))];
    if run.state == DagRunState::Queued {
        steps.push(("start", step::start(plan, run, NOW)));
    }
    if !run.state.is_finished() {
        steps.push(("fail_run", step::fail_run(plan, run, &operation(), NOW)));
    }
    for held in running(run) {
        let finish = |wish| step::finish(plan, run, &held, &ended(outcome), NOW, wish).expect("it holds its cell");
        steps.push(("finish", finish(None)));
        steps.push(("finish and continue", finish(Some(wish))));
    }
    for held in letting_go(run) {
        steps.push(("acknowledge", step::acknowledge(plan, run, &held, NOW).expect("it has to let go")));
    }
    let left = [None, Some(ended(outcome))];
    let expired = step::expired(run, NOW, some & 1 == 1);
    let expired = expired.into_iter().map(|(task, cell)| Expired { cell, task, left: left[task.at() % 2].clone() });
    steps.push(("sweep", step::sweep(plan, run, &expired.collect::<Vec<_>>(), NOW)));
    steps
}

/// Every change that is made without deciding anything.
fn plain_changes(plan: &Plan, run: &RunDoc) -> Vec<RunChange> {
    let until = at(150);
    let mut changes = vec![step::rearm(run, step::Waits::ForItself, NOW), step::strike_out(run, step::LEAVE, NOW)];
    for task in plan.tasks() {
        let lease = lease("fresh", until);
        let try_number = run.cell(task).try_number();
        changes.push(step::claim(task, try_number, &lease));
        changes.extend(step::claim_again(run, task, try_number, &lease));
    }
    for held in running(run) {
        let from = run.cell(held.task).holder().expect("it runs");
        changes.push(step::renew(&held, from, &lease(held.token.as_str(), until)));
    }
    changes
}

/// Whether the run is in the time index no later than it needs to be (ARCHITECTURE.md, invariant 5).
fn is_looked_at_in_time(image: &RunDoc) -> bool {
    attention::needed(image, NOW).is_none_or(|need| image.wake_at.is_some_and(|at| at <= need))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_step_holds_on_its_own_image(
        Image(plan, run) in image(ANY), outcome in outcome(), wish in wish(), some in any::<u8>()
    ) {
        for (what, step) in steps(&plan, &run, outcome, &wish, some) {
            prop_assert!(step.change.holds(&run), "{what}: {:?}", step.change);
            prop_assert_eq!(&step.change.apply(&run), &step.image(&run), "{}", what);
            prop_assert_eq!(step.image(&run).revision, run.revision + 1);
        }
    }

    /// Whoever was refused and shown what is there can claim a queued try of it, wherever other claims have put the wake-up meanwhile: a
    /// message that is given up then is a task that waits for the sweep.
    #[test]
    fn what_is_queued_can_be_claimed_again(
        Image(plan, run) in image(RUNNING), wakes in proptest::option::of(-100..400_i64)
    ) {
        let run = RunDoc { wake_at: wakes.map(at), ..run };
        let lease = lease("fresh", at(150));
        for task in plan.tasks() {
            let Cell::Queued { try_number } = *run.cell(task) else {
                prop_assert_eq!(step::claim_again(&run, task, run.cell(task).try_number(), &lease), None);
                continue;
            };
            let claim = step::claim_again(&run, task, try_number, &lease).expect("it is there to be claimed");
            prop_assert!(claim.holds(&run), "{claim:?}");
            prop_assert!(claim.apply(&run).wake_at.is_some_and(|at| at <= lease.until), "{claim:?}");
        }
    }

    /// No write names a cell twice, neither as condition nor as change: a store may refuse that, or take either.
    #[test]
    fn a_step_names_each_cell_once(
        Image(plan, run) in image(ANY), outcome in outcome(), wish in wish(), some in any::<u8>()
    ) {
        for (what, step) in steps(&plan, &run, outcome, &wish, some) {
            for mut tasks in [
                step.change.cells.iter().map(|(task, _)| *task).collect::<Vec<_>>(),
                step.change.if_cells.iter().map(|(task, _)| *task).collect(),
            ] {
                let count = tasks.len();
                tasks.sort();
                tasks.dedup();
                prop_assert_eq!(tasks.len(), count, "{}: {:?}", what, &step.change);
            }
        }
    }

    #[test]
    fn every_write_keeps_the_run_in_the_time_index(
        Image(plan, run) in image(ANY), outcome in outcome(), wish in wish(), some in any::<u8>()
    ) {
        prop_assert!(is_looked_at_in_time(&run), "the image itself");
        for (what, step) in steps(&plan, &run, outcome, &wish, some) {
            prop_assert!(is_looked_at_in_time(&step.image(&run)), "{what}: {:?}", step.image(&run));
        }
        for change in plain_changes(&plan, &run).into_iter().filter(|change| change.holds(&run)) {
            prop_assert!(is_looked_at_in_time(&change.apply(&run)), "{change:?}");
        }
    }

    /// A wait that is over and still does not let its task run (an upstream was cleared) must not keep the run being looked at.
    #[test]
    fn a_look_that_finds_nothing_is_not_repeated_at_once(Image(plan, run) in image(RUNNING)) {
        let expired = step::expired(&run, NOW, false).into_iter();
        let expired: Vec<_> = expired.map(|(task, cell)| Expired { cell, task, left: None }).collect();
        let looked_at = step::sweep(&plan, &run, &expired, NOW).image(&run);
        let later = step::rearm(&looked_at, step::Waits::ForItself, NOW).apply(&looked_at).wake_at;
        let ends_now = looked_at.cells.values().filter_map(Cell::holder).any(|lease| lease.until == NOW);
        prop_assert!(ends_now || later.is_none_or(|at| at > NOW), "{later:?}");
    }

    #[test]
    fn nothing_more_follows_from_a_steps_image(
        Image(plan, run) in image(ANY), outcome in outcome(), some in any::<u8>()
    ) {
        let wish = Continue { token: Token::trusted("t"), until: at(150), priority_least: None, timeout_most: None, worker: None };
        let settled = step::sweep(&plan, &run, &[], NOW).image(&run);
        for run in [run, settled.clone()] {
            for (what, step) in steps(&plan, &run, outcome, &wish, some) {
                // A finish looks only at what depends on its own cell: all else was decided when that changed.
                if run == settled || !what.starts_with("finish") {
                    let image = step.image(&run);
                    prop_assert!(decide(&plan, &image, NOW).is_empty(), "{what}: {image:?}");
                }
            }
        }
    }

    /// Invariant 1: what decides rests on the epoch, and each cell it changes on that cell or on its own token.
    #[test]
    fn a_decision_is_refused_after_an_intervention(
        Image(plan, run) in image(RUNNING), outcome in outcome(), wish in wish(), some in any::<u8>()
    ) {
        let cleared = step::clear(&plan, &run, &[], &operation(), NOW).image(&run);
        for (what, step) in steps(&plan, &run, outcome, &wish, some) {
            // The cells that the attempts' own ends are about need their own conditions only.
            let own = if what == "sweep" { step::expired(&run, NOW, some & 1 == 1).len() } else { 1 };
            let decides = step.change.cells.len() > own || step.change.state.is_some();
            prop_assert!(!decides || !step.change.holds(&cleared), "{what}: {:?}", step.change);
        }
    }

    #[test]
    fn a_cell_is_changed_only_on_condition_of_itself(
        Image(plan, run) in image(ANY), outcome in outcome(), wish in wish(), some in any::<u8>()
    ) {
        for (what, Step { change, .. }) in steps(&plan, &run, outcome, &wish, some) {
            for (task, _) in &change.cells {
                let mut other = run.clone();
                // Another attempt of a later try holds it by now.
                let cell = Cell::Running { try_number: 9, lease: lease("other", at(10)) };
                other.cells.insert(*task, cell);
                prop_assert!(!change.holds(&other), "{what} of task {task}: {change:?}");
            }
        }
    }

    #[test]
    fn an_attempt_without_its_cell_finishes_nothing(Image(plan, run) in image(ANY), outcome in outcome()) {
        for held in running(&run) {
            let wrong_token = Held { token: Token::trusted("another"), ..held.clone() };
            let wrong_try = Held { try_number: held.try_number + 1, ..held.clone() };
            for held in [wrong_token, wrong_try] {
                prop_assert_eq!(step::finish(&plan, &run, &held, &ended(outcome), NOW, None), None);
                prop_assert_eq!(step::acknowledge(&plan, &run, &held, NOW), None);
            }
            prop_assert_eq!(step::acknowledge(&plan, &run, &held, NOW), None, "nothing to let go of");
        }
        for held in letting_go(&run) {
            prop_assert_eq!(step::finish(&plan, &run, &held, &ended(outcome), NOW, None), None);
        }
    }

    #[test]
    fn continuing_in_place_overtakes_nothing(
        Image(plan, run) in image(RUNNING), outcome in outcome(), wish in wish()
    ) {
        for held in running(&run) {
            let finish = |wish| step::finish(&plan, &run, &held, &ended(outcome), NOW, wish).expect("it holds its cell");
            let (alone, step) = (finish(None), finish(Some(&wish)));
            let first = alone.queued.first().copied();
            let fits = |task: TaskIndex| {
                let timeout = plan.task(task).execution_timeout;
                wish.priority_least.is_none_or(|least| plan.priority(task) >= least)
                    && wish.timeout_most.is_none_or(|TimeoutMost { most, unlimited }| match timeout {
                        Some(timeout) => timeout <= most,
                        None => unlimited,
                    })
                    && (wish.worker != Some(WorkerKind::Plain) || plan.task(task).queue != QUEUE_PYTHON)
            };
            prop_assert_eq!(step.claimed.as_ref().map(|(task, ..)| *task), first.filter(|task| fits(*task)));
            for pair in alone.queued.windows(2) {
                prop_assert!(plan.priority(pair[0]) >= plan.priority(pair[1]), "{:?}", alone.queued);
            }
            let image = step.image(&run);
            let Some((task, try_number, lease)) = step.claimed else { continue };
            prop_assert_eq!(image.cell(task), &Cell::Running { try_number, lease });
            prop_assert_eq!(alone.image(&run).cell(task).clone(), Cell::Queued { try_number });
            prop_assert_eq!(&step.queued[..], &alone.queued[1..]);
        }
    }

    #[test]
    fn a_cleared_attempt_finishes_nothing_and_lets_go(Image(plan, run) in image(RUNNING), outcome in outcome()) {
        for held in running(&run) {
            let early = step::finish(&plan, &run, &held, &ended(outcome), NOW, None).expect("it holds its cell");
            let cleared = step::clear(&plan, &run, &[held.task], &operation(), NOW).image(&run);
            prop_assert!(cleared.cell(held.task).holder().is_some_and(|lease| lease.token == held.token));
            prop_assert!(!early.change.holds(&cleared), "a finish decided before the clear");
            let from = run.cell(held.task).holder().expect("it runs");
            prop_assert!(!step::renew(&held, from, &lease(held.token.as_str(), at(150))).holds(&cleared));
            prop_assert_eq!(step::finish(&plan, &cleared, &held, &ended(outcome), NOW, None), None);
            let free = step::acknowledge(&plan, &cleared, &held, NOW).expect("it has to let go").image(&cleared);
            prop_assert_eq!(free.cell(held.task).holder(), None);
            prop_assert_eq!(step::acknowledge(&plan, &free, &held, NOW), None, "it lets go once");
        }
    }

    /// Two attempts finish at once, each knowing only the image before both. If both are accepted, one more look leads to the run
    /// that finishing one after the other leads to.
    #[test]
    fn finishes_that_cross_lose_nothing(Image(plan, run) in reached_image(), one in outcome(), two in outcome()) {
        let attempts = running(&run);
        let finish = |image: &RunDoc, held, outcome| step::finish(&plan, image, held, &ended(outcome), NOW, None);
        for (a, b) in attempts.iter().flat_map(|a| attempts.iter().map(move |b| (a, b))).filter(|(a, b)| a != b) {
            let first = finish(&run, a, one).expect("it holds its cell").image(&run);
            let second = finish(&run, b, two).expect("it holds its cell");
            if !second.change.holds(&first) {
                continue;
            }
            let crossed = second.change.apply(&first);
            prop_assert!(!second.says_all(&crossed));
            let joined = step::sweep(&plan, &crossed, &[], NOW).image(&crossed);
            // Whoever finished second sees from what was written meanwhile what a look over everything would see.
            prop_assert_eq!(&step::catch_up(&plan, &run, &second, &crossed, NOW).image(&crossed), &joined);
            let in_turn = finish(&first, b, two).expect("it holds its cell").image(&first);
            prop_assert_eq!(joined.cells, in_turn.cells);
            prop_assert_eq!(joined.state, in_turn.state);
        }
    }
}

/// `a >> b`, `a` running.
fn two_tasks(a: Cell) -> (Plan, RunDoc) {
    let plan = Plan::new(dag_of(vec![plain("a", &[]), plain("b", &[0])]));
    (plan, run(DagRunState::Running, vec![a], 0))
}

const A: TaskIndex = TaskIndex(0);
const B: TaskIndex = TaskIndex(1);

#[test]
fn what_was_cleared_does_not_come_back_as_a_result() {
    let (plan, run) = two_tasks(Cell::Restarting { try_number: 1, lease: lease("t", at(-1)) });
    let cell = run.cell(A).clone();
    let left = Some(ended(AttemptOutcome::Success));
    let step = step::sweep(&plan, &run, &[Expired { cell, task: A, left }], NOW);
    assert_eq!(step.image(&run).cell(A), &Cell::Queued { try_number: 2 });
    assert_eq!(step.image(&run).cell(B), &Cell::None);
}

#[test]
fn a_renewed_lease_keeps_the_sweep_away() {
    let (plan, run) = two_tasks(Cell::Running { try_number: 1, lease: lease("t", at(-1)) });
    let expired = step::expired(&run, NOW, false);
    assert_eq!(expired, vec![(A, run.cell(A).clone())]);
    let sweep = step::sweep(&plan, &run, &[Expired { cell: run.cell(A).clone(), task: A, left: None }], NOW);
    assert_eq!(sweep.image(&run).cell(A).state(), updraft_model::TaskInstanceState::Failed);
    let held = Held { task: A, try_number: 1, token: Token::trusted("t") };
    let renewal = step::renew(&held, &lease("t", at(-1)), &lease("t", at(150)));
    let late = step::renew(&held, &lease("t", at(-1)), &lease("t", at(90)));
    let renewed = renewal.apply(&run);
    assert!(!late.holds(&renewed), "an earlier renewal that lands late takes nothing back");
    assert!(!sweep.change.holds(&renewed));
    assert!(step::expired(&renewed, NOW, false).is_empty());
}

#[test]
fn a_lease_is_over_after_its_instant_only() {
    let (_, run) = two_tasks(Cell::Running { try_number: 1, lease: lease("t", NOW) });
    assert!(step::expired(&run, NOW, false).is_empty());
    assert_eq!(step::expired(&run, at(1), false).len(), 1);
    assert_eq!(step::expired(&run, NOW, true).len(), 1, "a server that has just started takes it for dead");
}

#[test]
fn a_failed_try_waits_for_its_delay_and_then_runs_again() {
    let mut a = plain("a", &[]);
    a.retries = 1;
    a.retry_delay = SignedDuration::from_secs(30);
    let plan = Plan::new(dag_of(vec![a]));
    let first = run(DagRunState::Running, vec![Cell::Running { try_number: 1, lease: lease("t", at(150)) }], 0);
    let held = Held { task: A, try_number: 1, token: Token::trusted("t") };
    let failed = Ended::new(AttemptOutcome::Failed, NOW);
    let waiting = step::finish(&plan, &first, &held, &failed, NOW, None).expect("it holds its cell").image(&first);
    let due = at(30) + SignedDuration::from_millis(1);
    assert!(waiting.wake_at.is_some_and(|at| at <= due));
    assert!(step::sweep(&plan, &waiting, &[], at(30)).queued.is_empty());
    let again = step::sweep(&plan, &waiting, &[], due);
    assert_eq!(again.queued, vec![A]);
    let lease = lease("u", at(190));
    let second = step::claim(A, 2, &lease).apply(&again.image(&waiting));
    let held = Held { task: A, try_number: 2, token: lease.token };
    let over = step::finish(&plan, &second, &held, &failed, at(40), None).expect("it holds its cell").image(&second);
    assert_eq!(over.state, DagRunState::Failed);
    assert_eq!(over.end_date, Some(at(40)));
}

#[test]
fn a_failure_for_good_is_not_tried_again() {
    let mut a = plain("a", &[]);
    a.retries = 3;
    let plan = Plan::new(dag_of(vec![a]));
    let run = run(DagRunState::Running, vec![Cell::Running { try_number: 1, lease: lease("t", at(150)) }], 0);
    let held = Held { task: A, try_number: 1, token: Token::trusted("t") };
    let step = step::finish(&plan, &run, &held, &ended(AttemptOutcome::FailedForGood), NOW, None);
    let image = step.expect("it holds its cell").image(&run);
    let winner = Some(Token::trusted("t"));
    assert_eq!(image.cell(A), &Cell::Final { end: End::Failed, try_number: 1, winner, leaving: None });
    assert_eq!(image.state, DagRunState::Failed);
}

#[test]
fn clearing_a_finished_run_queues_it_with_retries_anew() {
    let mut a = plain("a", &[]);
    a.retries = 2;
    let plan = Plan::new(dag_of(vec![a, plain("b", &[0])]));
    let over = run(DagRunState::Failed, vec![Cell::ended(End::Failed, 3), Cell::ended(End::UpstreamFailed, 0)], 0);
    let cleared = step::clear(&plan, &over, &[A, B], &operation(), NOW).image(&over);
    assert_eq!(cleared.state, DagRunState::Queued);
    assert_eq!(cleared.cell(A), &Cell::Cleared { try_number: 3 });
    assert_eq!(cleared.cell(B), &Cell::None);
    assert_eq!(cleared.max_tries[&A], 5);
    assert_eq!((cleared.epoch, cleared.operations.clone()), (over.epoch + 1, vec![operation()]));
    let started = step::start(&plan, &cleared, NOW);
    let started = started.image(&cleared);
    assert_eq!(started.state, DagRunState::Running);
    assert_eq!(started.active_epoch, cleared.epoch);
    assert_eq!(started.cell(A), &Cell::Queued { try_number: 4 });
}

#[test]
fn a_run_is_needed_by_its_leases_and_waits_and_looked_at_regularly() {
    let waiting = |due| Cell::Waiting { wait: Wait::Retry, try_number: 1, due };
    let held = |until| Cell::Running { try_number: 1, lease: lease("t", until) };
    let leaving =
        |until| Cell::Final { end: End::Failed, try_number: 1, winner: None, leaving: Some(lease("t", until)) };
    for (cell, looks, expected) in [
        (Cell::Queued { try_number: 1 }, 0, 60),
        (Cell::Queued { try_number: 1 }, 1, 120),
        (Cell::Queued { try_number: 1 }, 40, 900),
        (waiting(at(20)), 0, 20),
        (waiting(at(400)), 3, 400),
        (waiting(at(-20)), 3, 60),
        (held(at(30)), 3, 30),
        (held(at(-30)), 3, -30),
        (leaving(at(30)), 3, 30),
    ] {
        let image = run(DagRunState::Running, vec![cell], looks);
        assert_eq!(attention::needed(&image, NOW), Some(at(expected)), "{:?}", image.cell(A));
    }
}

#[test]
fn a_run_that_is_failed_by_hand_has_no_unfinished_cell() {
    let plan = Plan::new(dag_of(["a", "b", "c", "d"].map(|id| plain(id, &[])).into()));
    let held = lease("t", at(30));
    let cells = vec![
        Cell::Running { try_number: 1, lease: held.clone() },
        Cell::Queued { try_number: 2 },
        Cell::ended(End::Success, 1),
        Cell::None,
    ];
    let run = run(DagRunState::Running, cells, 0);
    let image = step::fail_run(&plan, &run, &operation(), NOW).image(&run);
    let cells: Vec<Cell> = plan.tasks().map(|task| image.cell(task).clone()).collect();
    assert_eq!(
        cells,
        [
            Cell::Final { end: End::Failed, try_number: 1, winner: None, leaving: Some(held) },
            Cell::ended(End::Skipped, 2),
            Cell::ended(End::Success, 1),
            Cell::ended(End::Skipped, 0),
        ]
    );
    assert_eq!(image.state, DagRunState::Failed);
    assert!(image.outbox.contains_key(step::LEAVE));
}
