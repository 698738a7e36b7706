//! Limits: never exceeded, never leaked, whatever crosses; deciding twice gives the same.

use crate::generate::{NOW, at, config, dag_of, lease, plain, run};
use jiff::SignedDuration;
use proptest::prelude::*;
use std::collections::BTreeMap;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    AttemptOutcome, Cell, Claim, DagRunState, Generation, Held, HolderDoc, HolderId, HolderName, Incarnation,
    OperationId, Plan, RunDoc, TaskIndex, Token,
};
use updraft_scheduling::step::{self, Ended};
use updraft_scheduling::{decide, holders};

fn active(run: &RunDoc) -> usize {
    run.cells.values().filter(|cell| cell.takes_a_place()).count()
}

/// A fan-out of tasks with priorities, of which so many may be under way at once.
fn limited(limit: u32, priorities: &[i32]) -> Plan {
    let roots = priorities.iter().enumerate().map(|(i, priority)| {
        let mut task = plain(&format!("r{i}"), &[]);
        task.priority_weight = *priority;
        task.weight_rule = updraft_model::WeightRule::Absolute;
        task
    });
    let mut tasks: Vec<_> = roots.collect();
    let count = tasks.len() as u32;
    tasks.extend((0..count).map(|i| plain(&format!("c{i}"), &[i])));
    let mut dag = dag_of(tasks);
    dag.max_active_tasks = Some(limit);
    Plan::new(dag)
}

proptest! {
    #![proptest_config(config())]

    /// Workers that claim and finish on images as old as they like, any of whose writes the store refuses where its conditions fail: the
    /// limit is never exceeded, no place is lost, and the run ends.
    #[test]
    fn crossing_finishes_never_exceed_max_active_tasks(
        limit in 1u32..4, priorities in proptest::collection::vec(0i32..3, 1..5),
        picks in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<bool>()), 200)
    ) {
        let plan = limited(limit, &priorities);
        let (first, _) = step::begin(&plan, run(DagRunState::Queued, Vec::new(), 0), NOW);
        let mut images = vec![first];
        for (n, (which, age, retries)) in picks.into_iter().enumerate() {
            let now = images.last().expect("the first image").clone();
            prop_assert!(active(&now) <= limit as usize, "{:?}", now.cells);
            if now.state != DagRunState::Running {
                break;
            }
            let held: Vec<(TaskIndex, Cell)> = now.cells.iter().filter(|(_, c)| matches!(c, Cell::Queued { .. } | Cell::Running { .. })).map(|(t, c)| (*t, c.clone())).collect();
            prop_assert_eq!(held.is_empty(), false, "nothing is under way, and the run has not ended: {:?}", now.cells);
            let (task, cell) = &held[which as usize % held.len()];
            let change = match cell {
                Cell::Queued { try_number } => step::claim(*task, *try_number, &lease(&format!("t{n}"), at(150))),
                cell => {
                    let token = cell.holder().expect("it runs").token.clone();
                    let held = Held { task: *task, try_number: cell.try_number(), token };
                    // The image that the worker knows: any in which it held its cell.
                    let knows: Vec<&RunDoc> = images.iter().filter(|i| i.cell(*task) == cell).collect();
                    let image = knows[age as usize % knows.len()];
                    let outcome = if retries { AttemptOutcome::Rescheduled { until: NOW } } else { AttemptOutcome::Success };
                    step::finish(&plan, image, &held, &Ended::new(outcome, NOW), NOW, None).expect("it holds its cell").change
                }
            };
            if change.holds(&now) {
                let image = change.apply(&now);
                let caught_up = step::sweep(&plan, &image, &[], NOW);
                images.push(caught_up.image(&image));
            } else if let Cell::Running { .. } = cell {
                // Refused: taken anew on the image that stood in the way.
                let held = Held { task: *task, try_number: cell.try_number(), token: cell.holder().expect("it runs").token.clone() };
                let again = step::finish(&plan, &now, &held, &Ended::new(AttemptOutcome::Success, NOW), NOW, None);
                images.push(again.expect("it holds its cell").image(&now));
            }
        }
    }

    /// Highest priority first, and nothing that waits is overtaken.
    #[test]
    fn a_place_goes_to_the_highest_priority(limit in 1u32..3, priorities in proptest::collection::vec(0i32..5, 3..6)) {
        let plan = limited(limit, &priorities);
        let (image, queued) = step::begin(&plan, run(DagRunState::Queued, Vec::new(), 0), NOW);
        prop_assert_eq!(queued.len(), limit as usize);
        let least = queued.iter().map(|t| plan.priority(*t)).min();
        let waiting = image.cells.iter().filter(|(_, c)| matches!(c, Cell::Scheduled { .. })).map(|(t, _)| plan.priority(*t));
        prop_assert!(waiting.max() <= least);
        prop_assert!(decide(&plan, &image, NOW).is_empty());
    }

    /// Any turns by any number of runs, each on the document as it is: no more slots in use than there are unless the pool was made
    /// smaller, the count is the sum, nobody holds and waits at once, whoever fits is not left waiting, and asking twice changes nothing.
    #[test]
    fn turns_keep_a_pool_whole(
        size in -1i64..5, acts in proptest::collection::vec((0u8..4, 0u32..6, 1u32..3, 0i64..3, any::<bool>()), 1..60)
    ) {
        let mut doc = HolderDoc::new(HolderId::Pool("p".to_owned()), Some(size));
        let mut tries: BTreeMap<u32, u32> = BTreeMap::new();
        for (kind, who, slots, priority, is_last) in acts {
            let name = HolderName::of_task(Incarnation::trusted(format!("r{who}")), TaskIndex(who));
            let generation = |n: u32| Generation { try_number: n, resume: 0, turn: 0 };
            let turn = match kind {
                0 | 1 => {
                    let try_number = *tries.entry(who).or_insert(1);
                    let claim = Claim { generation: generation(try_number), slots, priority, since: NOW, is_last };
                    let claim = doc.holders.get(&name).or(doc.waiters.get(&name)).filter(|c| c.generation == claim.generation).cloned().unwrap_or(claim);
                    holders::turn(&doc, &[], &[(name, claim)], NOW)
                }
                2 => {
                    let try_number = tries.insert(who, tries.get(&who).copied().unwrap_or(1) + 1).unwrap_or(1);
                    holders::turn(&doc, &[(name, generation(try_number))], &[], NOW)
                }
                // Somebody late gives back what was replaced long ago.
                _ => holders::turn(&doc, &[(name, generation(0))], &[], NOW),
            };
            prop_assert!(turn.change.holds(&doc));
            let after = turn.change.apply(&doc);
            prop_assert_eq!(after.used, after.holders.values().map(|c| i64::from(c.slots)).sum::<i64>());
            prop_assert!(size < 0 || after.used <= size, "{after:?}");
            prop_assert!(after.holders.keys().all(|n| !after.waiters.contains_key(n)), "{after:?}");
            prop_assert!(after.waiters.values().all(|c| i64::from(c.slots) > after.open()), "{after:?}");
            prop_assert!(after.waiters.is_empty() || after.wake_at.is_some(), "rule B5");
            prop_assert!(turn.promoted.is_empty() || after.wake_at.is_some(), "rule B6");
            prop_assert!(holders::turn(&after, &[], &[], NOW).change.is_nothing());
            doc = after;
        }
    }

    /// Two take on the same image: the store lets both only if both fit.
    #[test]
    fn takes_that_cross_fit_together(size in 0i64..5, used in 0u32..4, a in 1u32..3, b in 1u32..3) {
        let mut doc = HolderDoc::new(HolderId::Pool("p".to_owned()), Some(size));
        let claim = |slots| Claim { generation: Generation { try_number: 1, resume: 0, turn: 0 }, slots, priority: 0, since: NOW, is_last: true };
        let name = |id: &str| HolderName::of_task(Incarnation::trusted(id), TaskIndex(0));
        if i64::from(used) <= size && used > 0 {
            doc = holders::turn(&doc, &[], &[(name("x"), claim(used))], NOW).change.apply(&doc);
        }
        let [one, two] = [("a", a), ("b", b)].map(|(id, slots)| holders::turn(&doc, &[], &[(name(id), claim(slots))], NOW).change);
        let between = one.apply(&doc);
        if two.holds(&between) {
            prop_assert!(two.apply(&between).used <= size);
        } else {
            let again = holders::turn(&between, &[], &[(name("b"), claim(b))], NOW).change;
            prop_assert!(again.is_nothing() || again.apply(&between).used <= size);
        }
    }
}

const A: TaskIndex = TaskIndex(0);

#[test]
fn a_pools_members_are_scheduled_before_they_are_queued() {
    let mut task = plain("a", &[]);
    task.pool = "p".to_owned();
    let plan = Plan::new(dag_of(vec![task]));
    let (image, queued) = step::begin(&plan, run(DagRunState::Queued, Vec::new(), 0), NOW);
    assert_eq!((image.cell(A), queued.len()), (&Cell::Scheduled { try_number: 1, resume: 0, turn: 0 }, 0));
    let granted = step::grant(&plan, &image, &[A], NOW);
    assert_eq!(granted.image(&image).cell(A), &Cell::Queued { try_number: 1 });
    assert!(!granted.change.holds(&granted.image(&image)), "it is queued once");
}

/// Whoever promoted it stopped for a while before the write that queues it. Meanwhile it was queued by a look at its run, ran, gave its
/// slots back and waits for some anew.
#[test]
fn slots_that_an_earlier_attempt_was_given_queue_no_later_one() {
    let mut task = plain("a", &[]);
    task.pool = "p".to_owned();
    let plan = Plan::new(dag_of(vec![task]));
    let mut run = run(DagRunState::Running, vec![Cell::Running { try_number: 1, lease: lease("t", at(150)) }], 0);
    run.wake_at = Some(NOW);
    let me = Held { task: A, try_number: 1, token: Token::trusted("t") };
    let ended = Ended::new(AttemptOutcome::Rescheduled { until: NOW }, NOW);
    let again = step::finish(&plan, &run, &me, &ended, NOW, None).expect("it holds its cell").image(&run);
    assert_eq!(again.cell(A), &Cell::Scheduled { try_number: 1, resume: 1, turn: 0 });
    let promote = |resume| step::promote(A, Generation { try_number: 1, resume, turn: 0 }, None);
    assert!(!promote(0).holds(&again), "the slots of the first attempt");
    assert!(promote(1).holds(&again), "its own");
}

#[test]
fn a_claim_is_dead_once_its_attempt_is() {
    let plan = Plan::new(dag_of(vec![plain("a", &[])]));
    let claim = |try_number, resume| Claim {
        generation: Generation { try_number, resume, turn: 0 },
        slots: 1,
        priority: 0,
        since: NOW,
        is_last: true,
    };
    let alive = |cell: Cell, claim: &Claim, keeps| {
        holders::is_alive(claim, Some(&run(DagRunState::Running, vec![cell], 0)), A, |_| keeps)
    };
    let held = || lease("t", at(150));
    for cell in [
        Cell::Scheduled { try_number: 2, resume: 0, turn: 0 },
        Cell::Queued { try_number: 2 },
        Cell::Running { try_number: 2, lease: held() },
        Cell::Restarting { try_number: 2, lease: held() },
    ] {
        assert!(alive(cell.clone(), &claim(2, 0), false), "{cell:?}");
        assert!(!alive(cell.clone(), &claim(1, 0), false), "{cell:?}");
    }
    for cell in [Cell::None, Cell::Cleared { try_number: 2 }, Cell::ended(End::Success, 2)] {
        assert!(!alive(cell.clone(), &claim(2, 0), true), "{cell:?}");
    }
    assert!(!holders::is_alive(&claim(2, 0), None, A, |_| true), "its run is gone");
    // A deferral is noted with the attempt that made it.
    let running = run(DagRunState::Running, vec![Cell::Running { try_number: 1, lease: held() }], 0);
    let me = Held { task: A, try_number: 1, token: Token::trusted("t") };
    let until = NOW + SignedDuration::from_mins(5);
    let ended = Ended::new(AttemptOutcome::Deferred { until }, NOW);
    let deferred = step::finish(&plan, &running, &me, &ended, NOW, None).expect("it holds its cell").image(&running);
    assert!(matches!(deferred.cell(A), Cell::Waiting { wait: Wait::Deferred, .. }));
    assert!(holders::is_alive(&claim(1, 0), Some(&deferred), A, |wait| wait == Wait::Deferred));
    assert!(!holders::is_alive(&claim(1, 0), Some(&deferred), A, |_| false));
    assert!(!holders::is_alive(&claim(1, 1), Some(&deferred), A, |wait| wait == Wait::Deferred));
}

#[test]
fn a_sensor_goes_on_with_the_same_try_and_knows_when_it_began() {
    let plan = Plan::new(dag_of(vec![plain("a", &[])]));
    let mut image = run(DagRunState::Running, vec![Cell::Queued { try_number: 1 }], 0);
    for n in 0..3 {
        let lease = lease(&format!("t{n}"), at(1_000));
        let claim = step::claim(A, 1, &lease);
        image = claim.apply(&image);
        let held = Held { task: A, try_number: 1, token: lease.token.clone() };
        let ended = Ended::new(AttemptOutcome::Rescheduled { until: at(60 * (n + 1)) }, NOW);
        image = step::finish(&plan, &image, &held, &ended, at(60 * n), None).expect("it holds its cell").image(&image);
        let resumed = image.resumed(A).expect("an attempt has gone on").clone();
        assert_eq!((resumed.count, resumed.first_start, resumed.last), (n as u32 + 1, lease.since, lease.token));
        assert!(image.wake_at.is_some_and(|wake| wake <= at(60 * (n + 1))));
        assert!(step::sweep(&plan, &image, &[], at(60 * (n + 1) - 1)).queued.is_empty());
        image = step::sweep(&plan, &image, &[], at(60 * (n + 1))).image(&image);
        assert_eq!(image.cell(A), &Cell::Queued { try_number: 1 });
    }
}

#[test]
fn a_run_whose_time_is_over_fails_and_skips_what_has_not_ended() {
    let mut dag = dag_of((0..4).map(|i| plain(&format!("t{i}"), &[])).collect());
    dag.dagrun_timeout = Some(SignedDuration::from_secs(30));
    let plan = Plan::new(dag);
    let (mut image, _) = step::begin(&plan, run(DagRunState::Queued, Vec::new(), 0), NOW);
    assert!(image.wake_at.is_some_and(|wake| wake <= at(31)), "it is looked at when its time is over");
    image = step::claim(A, 1, &lease("t", at(150))).apply(&image);
    assert_eq!(step::time_out(&plan, &image, at(29)), None);
    let over = step::time_out(&plan, &image, at(31)).expect("its time is over").image(&image);
    assert_eq!((over.state, over.epoch), (DagRunState::Failed, image.epoch + 1));
    assert!(over.cells.values().all(|cell| cell.state() == updraft_model::TaskInstanceState::Skipped));
    assert!(over.cell(A).holder().is_some(), "the attempt has to let go");
    assert_eq!(step::time_out(&plan, &over, at(99)), None);
}

/// An intervention of more cells than one write may change is made by several; nothing is decided in between, and a finish that comes in
/// between is not lost.
#[test]
fn a_long_intervention_is_made_in_parts() {
    let mut tasks: Vec<_> = (0..250).map(|i| plain(&format!("t{i}"), &[])).collect();
    tasks.push(plain("last", &(0..250).collect::<Vec<_>>()));
    let plan = Plan::new(dag_of(tasks));
    let cells = (0..251).map(|i| {
        if i == 200 { Cell::Running { try_number: 1, lease: lease("t", at(150)) } } else { Cell::ended(End::Failed, 1) }
    });
    let mut image = run(DagRunState::Running, cells.collect(), 0);
    let operation = OperationId::trusted("op");
    let first = step::clear(&plan, &image, &plan.tasks().collect::<Vec<_>>(), &operation, NOW);
    assert!(first.change.cells.len() <= updraft_scheduling::decide::CHANGES_MAX);
    image = first.image(&image);
    assert!(image.intent.is_some() && decide(&plan, &image, NOW).is_empty(), "nothing is decided before it is made");
    let held = Held { task: TaskIndex(200), try_number: 1, token: Token::trusted("t") };
    image = step::finish(&plan, &image, &held, &Ended::new(AttemptOutcome::Success, NOW), NOW, None)
        .expect("it holds its cell")
        .image(&image);
    let mut writes = 1;
    while let Some(next) = step::proceed(&plan, &image, NOW) {
        assert!(next.change.holds(&image));
        assert!(next.change.cells.len() <= 2 * updraft_scheduling::decide::CHANGES_MAX);
        let after = next.image(&image);
        assert!(!next.change.holds(&after), "a part is made once");
        image = after;
        writes += 1;
    }
    assert_eq!((writes, image.epoch), (3, 4), "one intervention, one epoch");
    while let Some(more) = Some(step::sweep(&plan, &image, &[], NOW)).filter(|more| !more.is_nothing()) {
        image = more.image(&image);
    }
    assert_eq!(image.cells.values().filter(|c| matches!(c, Cell::Queued { try_number: 2 })).count(), 250);
    assert_eq!(image.cell(TaskIndex(250)), &Cell::Cleared { try_number: 1 });
    assert_eq!(image.max_tries.len(), 251);
}

/// A task that was marked while it ran has given its place away; cleared, it asks for one when it has let go.
#[test]
fn what_was_marked_and_is_cleared_takes_no_place_that_is_given_away() {
    let plan = limited(1, &[2, 1]);
    let cells = vec![
        Cell::Running { try_number: 1, lease: lease("t", at(150)) },
        Cell::Scheduled { try_number: 1, resume: 0, turn: 0 },
    ];
    let running = run(DagRunState::Running, cells, 0);
    let operation = |id: &str| OperationId::trusted(id);
    let mark = updraft_model::Act::Mark(End::Success);
    let marked = step::intervene(&plan, &running, mark, [A], &operation("a"), NOW).image(&running);
    assert_eq!(marked.cell(TaskIndex(1)), &Cell::Queued { try_number: 1 });
    let cleared = step::clear(&plan, &marked, &[A], &operation("b"), NOW).image(&marked);
    assert!(matches!(cleared.cell(A), Cell::Restarting { .. }));
    assert_eq!(active(&cleared), 1);
    let me = Held { task: A, try_number: 1, token: Token::trusted("t") };
    let left = step::acknowledge(&plan, &cleared, &me, NOW).expect("it has to let go").image(&cleared);
    assert!(matches!(left.cell(A), Cell::Scheduled { try_number: 2, .. }), "{:?}", left.cells);
}

fn waiter(n: usize, priority: i64) -> (HolderName, Claim) {
    let generation = Generation { try_number: 1, resume: 0, turn: 0 };
    let name = HolderName::of_task(Incarnation::trusted(format!("r{n:03}")), A);
    (name, Claim { generation, slots: 1, priority, since: NOW, is_last: true })
}

/// Rule B7: what a turn gives is never more than there are places, and who has none is not in the line either.
#[test]
fn no_more_take_slots_than_have_a_place() {
    let mut doc = HolderDoc::new(HolderId::Pool("p".to_owned()), Some(2));
    let all = [waiter(0, 3), waiter(1, 2), waiter(2, 1)];
    doc.waiters.extend([all[2].clone()]);
    let turn = holders::turn_within(&doc, &[], &all, 1, NOW);
    assert_eq!(turn.has, [all[0].0.clone()]);
    let after = turn.change.apply(&doc);
    assert_eq!((after.used, after.waiters.len()), (1, 0), "{after:?}");
    // What is held counts against the places.
    let again = holders::turn_within(&after, &[], &all, 1, NOW);
    assert!(again.change.is_nothing() && again.has == [all[0].0.clone()], "{again:?}");
    // A full pool has a line, of all that have a chance.
    doc.size = Some(0);
    assert_eq!(holders::turn_within(&doc, &[], &all, 1, NOW).waits.len(), 3);
}

/// Slots given back for want of a place are those of a turn that is over: a late write of that frees nothing of the next.
#[test]
fn slots_of_an_earlier_turn_are_dead() {
    let mut task = plain("a", &[]);
    task.pool = "p".to_owned();
    let mut dag = dag_of(vec![task, plain("b", &[])]);
    dag.max_active_tasks = Some(1);
    let plan = Plan::new(dag);
    let pool = HolderId::Pool("p".to_owned());
    let cells = vec![Cell::Scheduled { try_number: 1, resume: 0, turn: 0 }, Cell::Queued { try_number: 1 }];
    let before = run(DagRunState::Running, cells, 0);
    let first = holders::claim(&plan, &before, A, &pool);
    let step = step::grant_and_put_off(&plan, &before, &[], &[A], NOW);
    assert_eq!(step.change.if_cells, [(A, before.cell(A).clone())]);
    let after = step.image(&before);
    assert_eq!(after.cell(A), &Cell::Scheduled { try_number: 1, resume: 0, turn: 1 });
    assert!(!holders::is_alive(&first, Some(&after), A, |_| false));
    let back = holders::given_back(&plan, &before, &after);
    assert_eq!(back.iter().map(|(_, (_, generation, _))| *generation).collect::<Vec<_>>(), [first.generation]);
    // It takes them anew, and the giving back comes late.
    let second = holders::claim(&plan, &after, A, &pool);
    let (name, _) = waiter(0, 0);
    let doc = HolderDoc::new(pool, Some(1));
    let taken = holders::turn(&doc, &[], &[(name.clone(), second.clone())], NOW).change.apply(&doc);
    assert!(holders::turn(&taken, &[(name.clone(), first.generation)], &[], NOW).change.is_nothing());
    // Queued on whichever turn, it gives back all once it has ended.
    let queued = step::promote(A, second.generation, None).apply(&after);
    assert!(holders::is_alive(&second, Some(&queued), A, |_| false));
    assert!(second.generation.turn == 1 && holders::generation(&queued, A).gives_back(second.generation));
}

#[test]
fn a_full_line_makes_room_for_who_goes_first() {
    let mut doc = HolderDoc::new(HolderId::Pool("p".to_owned()), Some(0));
    doc.waiters.extend((0..holders::WAITERS_MAX).map(|n| waiter(n, 1)));
    let high = waiter(900, 2);
    let turn = holders::turn(&doc, &[], std::slice::from_ref(&high), NOW);
    let last = waiter(holders::WAITERS_MAX - 1, 1).0;
    assert_eq!((&turn.waits, &turn.displaced, turn.is_crowded), (&vec![high.0.clone()], &vec![last.clone()], false));
    let after = turn.change.apply(&doc);
    assert!(after.waiters.len() == holders::WAITERS_MAX && !after.waiters.contains_key(&last));
    let low = holders::turn(&doc, &[], &[waiter(900, 1)], NOW);
    assert!(low.is_crowded && low.change.is_nothing() && low.displaced.is_empty());
}

#[test]
fn who_needs_the_fewest_slots_always_asks() {
    let of = |n: usize, slots: u32| {
        let (name, claim) = waiter(n, 0);
        (name, Claim { slots, ..claim })
    };
    let many: Vec<_> = (0..40).map(|n| of(n, if n == 37 { 1 } else { 4 })).collect();
    let asking = holders::asking(many.clone());
    assert_eq!((asking.len(), &asking[..31], &asking[31]), (holders::WISHES_MAX, &many[..31], &many[37]));
    let alike: Vec<_> = (0..40).map(|n| of(n, 4)).collect();
    assert_eq!(holders::asking(alike.clone()), alike[..holders::WISHES_MAX]);
}

/// In its order, a task that takes slots beyond the run keeps what comes after it from having the last place before it is known whether
/// there are slots for it.
#[test]
fn a_place_is_not_given_past_a_task_that_may_have_its_slots() {
    let weighty = |id: &str, weight| {
        let mut task = plain(id, &[]);
        task.priority_weight = weight;
        task.weight_rule = updraft_model::WeightRule::Absolute;
        task
    };
    let mut pooled = weighty("pooled", 2);
    pooled.pool = "p".to_owned();
    let mut dag = dag_of(vec![weighty("first", 3), pooled, weighty("last", 1)]);
    dag.max_active_tasks = Some(2);
    let plan = Plan::new(dag);
    let (image, queued) = step::begin(&plan, run(DagRunState::Queued, Vec::new(), 0), NOW);
    assert_eq!(queued, [A], "{:?}", image.cells);
    // There are none: the last has it.
    let step = step::grant(&plan, &image, &[TaskIndex(2)], NOW);
    assert_eq!(step.queued, [TaskIndex(2)]);
}
