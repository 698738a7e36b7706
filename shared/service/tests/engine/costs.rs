//! What things cost, counted at the port: requests, and DynamoDB's write units with the index.

use crate::world::{World, chain};
use jiff::{SignedDuration, Timestamp};
use updraft_metastore::counting::Counts;
use updraft_model::{DagDoc, DagId, DagRunState};
use updraft_task_queue::counting::Counts as Messages;

/// What running a triggered chain of so many tasks costs, its creation apart.
async fn cost_of_tasks(tasks: usize, in_place: bool) -> Counts {
    let world = World::new();
    world.write("d.yaml", &chain("d", tasks)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world.trigger("d").await;
    let before = world.engine.store.items().counts();
    world.work(in_place).await;
    let run = world.engine.store.list_runs(&updraft_model::DagId::trusted("d"), 1, None).await.unwrap().items.remove(0);
    assert_eq!(run.state, updraft_model::DagRunState::Success);
    world.engine.store.items().counts().since(before)
}

/// A task sent through the queue costs three write units (claim, record, finish), one in place two (record, finish with the claim of the
/// next), and neither reads anything.
#[tokio::test]
async fn a_task_costs_three_write_units_or_two_in_place() {
    for (in_place, units) in [(false, 3), (true, 2)] {
        let (short, long) = (cost_of_tasks(2, in_place).await, cost_of_tasks(12, in_place).await);
        let ten = long.since(short);
        assert_eq!(ten.write_units, 10 * units, "{ten:?}");
        assert_eq!(ten.index_write_units, 0, "{ten:?}");
        assert_eq!(ten.refused, 0, "{ten:?}");
        assert_eq!((ten.gets, ten.batch_gets, ten.queries, ten.dues), (0, 0, 0, 0), "{ten:?}");
    }
}

/// A tick over DAGs that are not due makes the requests of a tick over none.
#[tokio::test]
async fn idle_dags_cost_a_tick_nothing() {
    let world = World::new();
    for n in 0..30 {
        world.write(&format!("d{n}.yaml"), &chain(&format!("d{n}"), 1)).await;
    }
    world.engine.ingest_all(&world.folder).await.unwrap();
    // The first tick looks at what was just read.
    world.engine.tick().await.unwrap();
    let before = world.engine.store.items().counts();
    let ticked = world.engine.tick().await.unwrap();
    let cost = world.engine.store.items().counts().since(before);
    assert_eq!(ticked.looked_at, 0);
    assert_eq!(cost, Counts { dues: 1, ..Counts::default() });
}

/// DAGs that wait for a time far ahead are in the time index, and cost a tick nothing all the same: what is read does not grow with them.
#[tokio::test]
async fn a_tick_over_a_hundred_thousand_idle_dags_is_a_tick_over_one() {
    let mut costs = Vec::new();
    for count in [1, 100_000] {
        let world = World::new();
        let ahead = Timestamp::now() + SignedDuration::from_hours(24);
        for n in 0..count {
            let mut dag = DagDoc::new(DagId::trusted(format!("d{n}")), "d.yaml".to_owned(), false);
            (dag.next_due, dag.wake_at) = (Some(ahead), Some(ahead));
            world.engine.store.put_dag(&dag).await.unwrap();
        }
        let before = (world.engine.store.items().counts(), world.engine.queue.counts());
        let ticked = world.engine.tick_ahead().await.unwrap();
        assert_eq!((ticked.looked_at, ticked.sent_ahead, ticked.failed), (0, 0, 0));
        let after = (world.engine.store.items().counts(), world.engine.queue.counts());
        costs.push((after.0.since(before.0), after.1.since(before.1)));
    }
    assert_eq!(costs[1], costs[0]);
    assert_eq!(costs[0], (Counts { dues: 1, ..Counts::default() }, Messages::default()));
}

/// What a run of so many tasks costs from the look that makes it to its end, each task sent through the queue.
async fn cost_of_run(tasks: usize, scheduled: bool) -> (Counts, Messages) {
    let world = World::new();
    let text = chain("d", tasks);
    // A run a day, today's, and none that was missed.
    let schedule = "schedule: '@daily'\n  catchup: false\n  start_date: 2026-01-01";
    let text = if scheduled { text.replace("schedule: null", schedule) } else { text };
    world.write("d.yaml", &text).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let dag_id = DagId::trusted("d");
    // The version is read once by each process, not once by each run.
    let version = world.engine.store.dag(&dag_id).await.unwrap().unwrap().version.unwrap();
    world.engine.version(&version).await.unwrap();
    let before = (world.engine.store.items().counts(), world.engine.queue.counts());
    if scheduled {
        world.engine.look_at_dag(&dag_id).await.unwrap();
    } else {
        world.trigger("d").await;
    }
    world.work(false).await;
    let runs = world.engine.store.list_runs(&dag_id, 2, None).await.unwrap().items;
    assert_eq!(runs.iter().map(|run| run.state).collect::<Vec<_>>(), [DagRunState::Success]);
    let after = (world.engine.store.items().counts(), world.engine.queue.counts());
    (after.0.since(before.0), after.1.since(before.1))
}

/// What a run costs beside its tasks, at three write units each: by schedule six of the table and four of the time index, by hand more, since
/// nobody has prepared it. The plan's budget is eight; entering and leaving the time index is what goes beyond.
#[tokio::test]
async fn a_run_costs_ten_write_units_beside_its_tasks() {
    let (items, messages) = cost_of_run(5, true).await;
    assert_eq!((items.write_units, items.index_write_units, items.refused), (15 + 6, 4, 0), "{items:?}");
    assert_eq!((messages.tasks, messages.looks), (5, 0), "{messages:?}");
    let (items, messages) = cost_of_run(5, false).await;
    assert!(items.write_units <= 15 + 11 && items.index_write_units <= 6, "{items:?}");
    assert_eq!((messages.tasks, messages.looks), (5, 1), "{messages:?}");
}

/// A task that is sent alone costs three requests of SQS: it is sent, received, deleted. One that goes on in place costs none.
#[tokio::test]
async fn a_task_alone_costs_three_requests_and_none_in_place() {
    for (in_place, requests) in [(false, 30.0), (true, 0.0)] {
        let mut costs = Vec::new();
        for tasks in [2, 12] {
            let world = World::new();
            world.write("d.yaml", &chain("d", tasks)).await;
            world.engine.ingest_all(&world.folder).await.unwrap();
            let before = world.engine.queue.counts();
            world.trigger("d").await;
            world.work(in_place).await;
            costs.push(world.engine.queue.counts().since(before));
        }
        let ten = costs[1].since(costs[0]);
        assert!((ten.requests(1.0, 1.0) - requests).abs() < 1e-9, "{ten:?}");
        assert_eq!(ten.looks, 0, "{ten:?}");
    }
}

/// Tasks that become ready together are sent by the ten: a tenth of a request each, and two more where a worker takes one at a time, or
/// two tenths where it takes ten.
#[tokio::test]
async fn a_fan_out_is_sent_in_batches_of_ten() {
    let wide = |width: usize| {
        let task =
            |n: usize| format!("    w{n}: {{operator: BashOperator, bash_command: 'true', dependencies: [first]}}\n");
        let tasks: String = (0..width).map(task).collect();
        format!("d:\n  schedule: null\n  tasks:\n    first: {{operator: BashOperator, bash_command: 'true'}}\n{tasks}")
    };
    let world = World::new();
    world.write("d.yaml", &wide(100)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world.trigger("d").await;
    let before = world.engine.queue.counts();
    world.work(false).await;
    let sent = world.engine.queue.counts().since(before);
    assert_eq!(sent, Messages { sends: 10, tasks: 100, looks: 0 });
    let each = |at_once| sent.requests(at_once, 1.0) / 100.0;
    assert!((each(1.0) - 2.1).abs() < 1e-9 && each(10.0) <= 0.4, "{} {}", each(1.0), each(10.0));
}
