//! What is noted in a run's outbox, by whom, and when it is struck out.

use crate::generate::{NOW, lease, run};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use updraft_model::{
    AssetRef, AttemptOutcome, Callback, CallbackKind, Callbacks, Cell, Dag, DagId, DagRunState, Deadline,
    DeadlineReference, Held, OutboxEntry, Plan, RunDoc, RunEndReason, Task, TaskId, TaskIndex, TryEnd,
};
use updraft_scheduling::deadlines;
use updraft_scheduling::step::{self, Ended, Expired};

fn callback() -> Callback {
    Callback { callback: "a.b".to_owned(), file: None, arguments: serde_json::Map::new() }
}

fn callbacks(kinds: &[CallbackKind]) -> Callbacks {
    kinds.iter().map(|kind| (*kind, vec![callback()])).collect()
}

/// A DAG of one task that these are told of, and may be tried so often again.
fn plan(kinds: &[CallbackKind], outlets: bool, retries: u32) -> Plan {
    let mut task = Task::new(TaskId::trusted("t"), "airflow.providers.standard.operators.bash.BashOperator");
    task.callbacks = callbacks(kinds);
    task.retries = retries;
    task.outlets = outlets.then(|| AssetRef::Name("a".to_owned())).into_iter().collect();
    let mut dag = Dag::new(DagId::trusted("d"), vec![task]);
    dag.callbacks = callbacks(&[CallbackKind::Failure]);
    Plan::new(dag)
}

/// A run whose task runs.
fn running() -> RunDoc {
    let mut run = run(DagRunState::Running, Vec::new(), 0);
    let lease = lease("token", NOW + SignedDuration::from_secs(10));
    run.cells.insert(TaskIndex(0), Cell::Running { try_number: 1, lease });
    run.outbox.clear();
    run
}

fn noted(run: &RunDoc) -> Vec<OutboxEntry> {
    run.outbox.values().cloned().collect()
}

/// Rule D1: settling by the attempt's item notes what the finish would have noted. An attempt that died notes the end that it came to.
#[test]
fn settling_by_an_item_notes_what_the_finish_notes() {
    let every = &CallbackKind::ALL[..];
    for (outcome, retries, kinds, outlets, expected) in [
        (AttemptOutcome::Success, 0, every, true, Some(TryEnd::Success)),
        (AttemptOutcome::Success, 0, &[][..], true, Some(TryEnd::Success)),
        (AttemptOutcome::Success, 0, &[CallbackKind::Failure][..], false, None),
        (AttemptOutcome::Skipped, 0, every, true, Some(TryEnd::Skipped)),
        (AttemptOutcome::Skipped, 0, &[][..], true, None),
        (AttemptOutcome::Failed, 1, every, false, Some(TryEnd::Retry)),
        (AttemptOutcome::Failed, 0, every, false, Some(TryEnd::Failed)),
        (AttemptOutcome::FailedForGood, 1, every, false, Some(TryEnd::Failed)),
        (AttemptOutcome::FailedForGood, 1, &[CallbackKind::Retry][..], true, None),
        (AttemptOutcome::Rescheduled { until: NOW }, 0, every, true, None),
    ] {
        let plan = plan(kinds, outlets, retries);
        let run = running();
        let lease = run.cell(TaskIndex(0)).holder().unwrap().clone();
        let held = Held { task: TaskIndex(0), try_number: 1, token: lease.token.clone() };
        let ended = Ended::new(outcome, NOW);
        let finished = step::finish(&plan, &run, &held, &ended, NOW, None).unwrap().image(&run);
        let later = lease.until + SignedDuration::from_secs(1);
        let expired = |left| Expired { cell: run.cell(TaskIndex(0)).clone(), task: TaskIndex(0), left };
        let settled = step::sweep(&plan, &run, &[expired(Some(ended))], later).image(&run);
        let of_tries = |run: &RunDoc| {
            let tries = noted(run).into_iter().filter(|entry| matches!(entry, OutboxEntry::Try { .. }));
            tries.collect::<Vec<_>>()
        };
        assert_eq!(of_tries(&finished), of_tries(&settled), "{outcome:?}");
        let end = of_tries(&finished).first().map(|entry| match entry {
            OutboxEntry::Try { end, token, .. } if *token == lease.token => *end,
            other => panic!("{other:?}"),
        });
        assert_eq!(end, expected, "{outcome:?} {kinds:?} {outlets}");
        let died = step::sweep(&plan, &run, &[expired(None)], later).image(&run);
        let end = if retries > 0 { CallbackKind::Retry } else { CallbackKind::Failure };
        assert_eq!(of_tries(&died).len(), usize::from(kinds.contains(&end)), "{outcome:?} {kinds:?}");
    }
}

/// A run's end is told with its reason, where its DAG has callbacks for it, and not where somebody ended it by hand.
#[test]
fn a_runs_end_is_told() {
    let run = running();
    let lease = run.cell(TaskIndex(0)).holder().unwrap().clone();
    let held = Held { task: TaskIndex(0), try_number: 1, token: lease.token };
    let told = |run: &RunDoc| noted(run).into_iter().find(|entry| matches!(entry, OutboxEntry::Ended { .. }));
    let mut plan = plan(&[], false, 0);
    let failed = Ended::new(AttemptOutcome::Failed, NOW);
    let after = step::finish(&plan, &run, &held, &failed, NOW, None).unwrap().image(&run);
    let reason = RunEndReason::TaskFailure;
    assert_eq!(told(&after), Some(OutboxEntry::Ended { epoch: run.epoch, success: false, reason }));
    let good = Ended::new(AttemptOutcome::Success, NOW);
    let after = step::finish(&plan, &run, &held, &good, NOW, None).unwrap().image(&run);
    assert_eq!(told(&after), None);
    let operation = updraft_model::OperationId::trusted("o");
    assert_eq!(told(&step::fail_run(&plan, &run, &operation, NOW).image(&run)), None);
    let mut dag = plan.dag.clone();
    dag.dagrun_timeout = Some(SignedDuration::from_secs(1));
    plan = Plan::new(dag);
    let late = RunDoc { timeout_at: Some(NOW), ..run.clone() };
    let after = step::time_out(&plan, &late, NOW).unwrap().image(&late);
    let reason = RunEndReason::TimedOut;
    assert_eq!(told(&after), Some(OutboxEntry::Ended { epoch: run.epoch + 1, success: false, reason }));
}

/// What a try noted is struck out whatever was written meanwhile; what may come again under its name, and the last of all, is not.
#[test]
fn only_what_cannot_come_again_is_struck_out_blindly() {
    let mut run = running();
    let entry = |token: &str| OutboxEntry::Try {
        task: TaskIndex(0),
        try_number: 1,
        token: updraft_model::Token::trusted(token),
        end: TryEnd::Success,
    };
    let leave = OutboxEntry::Leave { epoch: 0 };
    for entry in [entry("a"), entry("b"), leave.clone()] {
        run.outbox.insert(entry.id(), entry);
    }
    assert_eq!(step::strike_out(&run, &entry("a").id(), NOW).if_revision, None);
    assert_eq!(step::strike_out(&run, &leave.id(), NOW).if_revision, Some(run.revision));
    run.state = DagRunState::Success;
    run.cells.clear();
    run.outbox.retain(|id, _| *id == entry("a").id());
    let last = step::strike_out(&run, &entry("a").id(), NOW);
    assert_eq!((last.if_revision, last.wake_at), (Some(run.revision), Some(None)));
}

#[test]
fn deadlines_are_missed_once_each_and_by_no_run_that_succeeded() {
    let deadline = |seconds: i64| Deadline {
        reference: DeadlineReference::DagrunQueuedAt,
        interval: SignedDuration::from_secs(seconds),
        callback: callback(),
    };
    let mut dag = plan(&[], false, 0).dag.clone();
    dag.deadlines = vec![deadline(60), deadline(600)];
    let plan = Plan::new(dag);
    let mut run = running();
    run.deadline_at = deadlines::first(&plan, &run);
    let at = |seconds: i64| run.facts.queued_at + SignedDuration::from_secs(seconds);
    assert_eq!(run.deadline_at, Some(at(60)));
    assert_eq!(deadlines::missed(&plan, &run, at(59)), None);
    let missed = deadlines::missed(&plan, &run, at(60)).unwrap();
    let after = missed.apply(&run);
    assert_eq!(noted(&after), [OutboxEntry::Deadline { number: 0 }]);
    assert_eq!(after.deadline_at, Some(at(600)));
    let both = deadlines::missed(&plan, &run, at(700)).unwrap().apply(&run);
    assert_eq!((noted(&both).len(), both.deadline_at), (2, None));
    run.state = DagRunState::Success;
    assert_eq!(deadlines::missed(&plan, &run, at(700)), None);
}

#[test]
fn an_average_is_of_the_latest_runs_and_of_enough_of_them() {
    let average = |max_runs, min_runs| Deadline {
        reference: DeadlineReference::AverageRuntime { max_runs, min_runs },
        interval: SignedDuration::from_secs(5),
        callback: callback(),
    };
    let mut dag = plan(&[], false, 0).dag.clone();
    dag.deadlines = vec![average(2, 1), average(10, 3), average(10, 4)];
    let plan = Plan::new(dag);
    assert_eq!(deadlines::runs_averaged(&plan), Some(10));
    let took = [10, 20, 90].map(SignedDuration::from_secs);
    let expected = [(0, 15), (1, 40)].map(|(number, seconds)| (number, SignedDuration::from_secs(seconds)));
    assert_eq!(deadlines::averages(&plan, &took), BTreeMap::from(expected));
    assert_eq!(deadlines::averages(&plan, &[]), BTreeMap::new());
    let mut run = running();
    assert_eq!(deadlines::first(&plan, &run), None);
    run.average_runtimes = deadlines::averages(&plan, &took);
    let due = run.facts.queued_at + SignedDuration::from_secs(20);
    assert_eq!(deadlines::first(&plan, &run).map(jiff::Timestamp::as_millisecond), Some(due.as_millisecond()));
    // A clear moves what counts from when the run was queued, also where another version's deadline of that number took an average.
    let queued = Deadline { reference: DeadlineReference::DagrunQueuedAt, ..plan.dag.deadlines[0].clone() };
    let mut dag = plan.dag.clone();
    dag.deadlines = vec![queued];
    let latest = Plan::new(dag);
    run.deadline_at = deadlines::first(&latest, &run);
    run.requeued_at = Some(run.facts.queued_at + SignedDuration::from_secs(100));
    let due = run.facts.queued_at + SignedDuration::from_secs(105);
    let missed = deadlines::missed(&latest, &run, run.deadline_at.unwrap()).unwrap();
    assert_eq!(missed.deadline_at.flatten().map(jiff::Timestamp::as_millisecond), Some(due.as_millisecond()));
}

/// As in Airflow a clear moves those that count from when the run was queued, unless they were missed by then; others stay where they are.
#[test]
fn a_clear_moves_deadlines_that_are_not_missed() {
    let deadline = |reference, seconds: i64| Deadline {
        reference,
        interval: SignedDuration::from_secs(seconds),
        callback: callback(),
    };
    let mut dag = plan(&[], false, 0).dag.clone();
    let mut run = running();
    let from = jiff::Timestamp::from_millisecond(run.facts.queued_at.as_millisecond()).unwrap();
    let at = |seconds: i64| from + SignedDuration::from_secs(seconds);
    let queued = DeadlineReference::DagrunQueuedAt;
    let fixed = DeadlineReference::FixedDatetime(at(0));
    dag.deadlines = vec![deadline(queued, 60), deadline(queued, 600), deadline(fixed, 900)];
    let plan = Plan::new(dag);
    let cleared = |run: &RunDoc, now| {
        let operation = updraft_model::OperationId::trusted("op");
        step::clear(&plan, run, &plan.tasks().collect::<Vec<_>>(), &operation, now).image(run)
    };
    run.facts.queued_at = at(0);
    run.deadline_at = deadlines::first(&plan, &run);
    run.state = DagRunState::Failed;
    assert_eq!(cleared(&run, at(30)).deadline_at, Some(at(90)));
    let late = deadlines::missed(&plan, &run, at(100)).unwrap().apply(&run);
    assert_eq!(late.deadline_at, Some(at(600)));
    let again = cleared(&late, at(200));
    assert_eq!(again.deadline_at, Some(at(800)), "the second counts anew");
    let once_more = cleared(&again, at(700));
    assert_eq!(once_more.deadline_at, Some(at(900)), "the third does not");
    let over = deadlines::missed(&plan, &once_more, at(900)).unwrap().apply(&once_more);
    assert!(noted(&over).contains(&OutboxEntry::Deadline { number: 2 }));
    assert_eq!(over.deadline_at, Some(at(1300)));
    let none = RunDoc { deadline_at: None, ..run.clone() };
    assert_eq!(cleared(&none, at(200)).deadline_at, None, "what was kept or missed altogether does not come back");
}
