//! DAGs of many tasks: what is decided at once is more than one write holds, and is written by whoever decided it.

use crate::world::World;
use updraft_model::DagRunState;

/// What one write holds of changed cells, times more rounds than a refused write is tried.
const TASKS: usize = 70 * 100;

/// Nobody looks: what follows from the first task's end is left to no sweep.
#[tokio::test]
async fn whoever_ends_a_task_writes_all_that_follows() {
    let world = World::new();
    let below: serde_json::Map<String, serde_json::Value> = (0..TASKS)
        .map(|number| {
            (format!("t{number}"), serde_json::json!({"operator": "EmptyOperator", "dependencies": ["root"]}))
        })
        .collect();
    let mut tasks = below;
    tasks.insert("root".to_owned(), serde_json::json!({"operator": "BashOperator", "bash_command": "true"}));
    world.write("wide.yaml", &serde_json::json!({"wide": {"schedule": null, "tasks": tasks}}).to_string()).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let run = world.trigger("wide").await;
    world.work(false).await;
    let run = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    assert_eq!(run.state, DagRunState::Success);
}
