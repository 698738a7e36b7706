//! What things cost, counted at the port: requests, and DynamoDB's write units with the index.

use crate::world::{World, chain};
use updraft_metastore::counting::Counts;

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
