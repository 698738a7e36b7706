//! When an attempt was queued: told by its message, kept in its item.

use crate::world::{World, chain};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;
use updraft_model::{AttemptOutcome, Incarnation, RunDoc, TaskIndex};
use updraft_service::runs::Leases;
use updraft_service::{Continuation, Finished, Runner, TaskRef, Work};
use updraft_task_queue::{Lane, Message, TaskQueue};

/// Ends like this.
struct Ends(AttemptOutcome);

impl Runner for Ends {
    async fn run<S: Future<Output = String> + Send>(&self, _: &Work, _: S) -> Option<Finished> {
        Some(Finished::new(self.0))
    }
}

/// A world in which a run of such a DAG has begun.
async fn begun(text: &str) -> (World, Incarnation) {
    let world = World::new();
    world.write("d.yaml", text).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let run = world.trigger("d").await;
    (world, run.facts.incarnation)
}

/// The try that is queued next, as if its message had been sent then.
async fn next(world: &World, run: &Incarnation, queued_at: Option<Timestamp>) -> TaskRef {
    for _ in 0..100 {
        let received = world.engine.queue.receive(Lane::Tasks, 1, Duration::ZERO).await.unwrap().pop();
        if let Some(Message::Task { incarnation, task, try_number, place, .. }) = received.and_then(|d| d.message) {
            return TaskRef { incarnation, task, try_number, place, queued_at };
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.engine.look_at_run(run, Leases::Heed).await.unwrap();
        for delivery in world.engine.queue.receive(Lane::Looks, 9, Duration::ZERO).await.unwrap() {
            world.engine.look_where(&delivery.message.unwrap()).await.unwrap();
        }
    }
    panic!("nothing is queued");
}

async fn run(world: &World, incarnation: &Incarnation) -> RunDoc {
    world.engine.store.run(incarnation).await.unwrap().unwrap()
}

fn before(seconds: i64) -> Timestamp {
    let now = Timestamp::from_millisecond(Timestamp::now().as_millisecond()).unwrap();
    now - SignedDuration::from_secs(seconds)
}

const ONE: &str = "
d:
  schedule: null
  tasks:
    t0: {operator: BashSensor, bash_command: 'true', mode: reschedule, poke_interval: 1, retries: 1, retry_delay: 0}
";

#[tokio::test]
async fn an_attempt_keeps_when_its_message_was_sent() {
    // A queue that does not tell; another machine's clock that is ahead.
    for (told, kept) in [(Some(before(5)), Some(before(5))), (None, None), (Some(before(-3600)), Some(before(0)))] {
        let (world, incarnation) = begun(ONE).await;
        let task = next(&world, &incarnation, told).await;
        world.engine.work(&task, &Ends(AttemptOutcome::Success), None, || None).await.unwrap();
        let run = run(&world, &incarnation).await;
        let view = world.engine.task_instance(&run, TaskIndex(0)).await.unwrap();
        let one_try = world.engine.tries(&run, TaskIndex(0)).await.unwrap().remove(0);
        assert_eq!(one_try.queued_at, view.queued_at);
        assert!(view.queued_at.is_none_or(|at| Some(at) <= view.start_date), "{view:?}");
        let apart = |kept: Timestamp, at: Timestamp| at.duration_since(kept).abs() < SignedDuration::from_secs(3);
        assert!(
            kept.is_none() == view.queued_at.is_none() && kept.zip(view.queued_at).is_none_or(|(a, b)| apart(a, b)),
            "{told:?}: {:?}, not {kept:?}",
            view.queued_at
        );
    }
}

#[tokio::test]
async fn each_try_has_its_own_and_one_that_goes_on_the_first() {
    let (world, incarnation) = begun(ONE).await;
    let goes_on = AttemptOutcome::Rescheduled { until: before(1) };
    let told = [before(90), before(60), before(30)];
    for (told, outcome) in told.into_iter().zip([goes_on, AttemptOutcome::Failed, AttemptOutcome::Success]) {
        let task = next(&world, &incarnation, Some(told)).await;
        let queued = world.engine.task_instance(&run(&world, &incarnation).await, TaskIndex(0)).await.unwrap();
        assert_eq!(queued.queued_at, None, "what is queued has the date of no earlier attempt");
        world.engine.work(&task, &Ends(outcome), None, || None).await.unwrap();
    }
    let run = run(&world, &incarnation).await;
    let tries = world.engine.tries(&run, TaskIndex(0)).await.unwrap();
    let queued: Vec<_> = tries.iter().map(|t| (t.try_number, t.queued_at)).collect();
    assert_eq!(queued, [(1, Some(told[0])), (2, Some(told[2]))]);
    let view = world.engine.task_instance(&run, TaskIndex(0)).await.unwrap();
    assert_eq!(view.queued_at, Some(told[2]));
}

#[tokio::test]
async fn what_goes_on_in_place_was_queued_when_it_began() {
    let (world, incarnation) = begun(&chain("d", 2)).await;
    let task = next(&world, &incarnation, None).await;
    let go_on = || Some(Continuation::default());
    world.engine.work(&task, &Ends(AttemptOutcome::Success), None, go_on).await.unwrap();
    let run = run(&world, &incarnation).await;
    let view = world.engine.task_instance(&run, TaskIndex(1)).await.unwrap();
    assert!(view.start_date.is_some());
    assert_eq!(view.queued_at, view.start_date);
}

#[tokio::test]
async fn an_instance_of_a_mapped_task_keeps_it_too() {
    let text =
        "d:\n  schedule: null\n  tasks:\n    t0: {operator: BashOperator, expand: {bash_command: ['true', 'false']}}\n";
    let (world, incarnation) = begun(text).await;
    let told = [before(7), before(3)];
    for told in told {
        let task = next(&world, &incarnation, Some(told)).await;
        world.engine.work(&task, &Ends(AttemptOutcome::Success), None, || None).await.unwrap();
    }
    let run = run(&world, &incarnation).await;
    for (map_index, told) in (0..).zip(told) {
        let view = world.engine.mapped_instance(&run, TaskIndex(0), map_index).await.unwrap();
        assert_eq!(view.queued_at, Some(told), "{map_index}");
    }
}
