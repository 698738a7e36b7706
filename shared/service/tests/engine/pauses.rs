//! DAGs that are paused while their runs are under way: as in Airflow, what is queued or runs ends, and nothing else happens until they are
//! unpaused.

use crate::limits::world;
use crate::world::{World, chain};
use updraft_model::{DagId, DagRunState, RunDoc, TaskInstanceState};
use updraft_task_queue::{Lane, TaskQueue};

use TaskInstanceState::{None as Nothing, Queued, Success};

const DATE: &str = "2026-01-01T00:00:00Z";

async fn pause(world: &World, paused: bool) {
    world.engine.set_paused(&DagId::trusted("a"), paused).await.unwrap();
}

async fn states(world: &World, run: &RunDoc) -> Vec<TaskInstanceState> {
    let run = world.run(run).await;
    let version = world.engine.version(&run.facts.version).await.unwrap();
    version.plan.tasks().map(|task| run.task_state(task)).collect()
}

#[tokio::test]
async fn a_run_of_a_paused_dag_goes_no_further_until_it_is_unpaused() {
    let world = world(&[("a.yaml", chain("a", 3))]).await;
    let run = world.trigger_at("a", DATE).await;
    assert_eq!(states(&world, &run).await, [Queued, Nothing, Nothing]);
    pause(&world, true).await;
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, [Success, Nothing, Nothing], "what was queued has run, and nothing else");
    world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
    assert_eq!(states(&world, &run).await, [Success, Nothing, Nothing], "a look changes nothing");
    let why = world.engine.why_not_running(&world.run(&run).await, "t1").await.unwrap();
    assert!(why.iter().any(|reason| reason.to_string().contains("the DAG is paused")), "{why:?}");
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, [Success; 3]);
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// Its last task ends while the DAG is paused: the run ends when it is unpaused, as in Airflow.
#[tokio::test]
async fn a_run_does_not_end_while_its_dag_is_paused() {
    let world = world(&[("a.yaml", chain("a", 1))]).await;
    let run = world.trigger_at("a", DATE).await;
    pause(&world, true).await;
    world.drain(true).await;
    assert_eq!((states(&world, &run).await, world.run(&run).await.state), (vec![Success], DagRunState::Running));
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// Who told the run died before it was told of: the DAG's own look makes up for it.
#[tokio::test]
async fn a_run_that_was_not_told_is_told_by_a_look() {
    let world = world(&[("a.yaml", chain("a", 2))]).await;
    let run = world.trigger_at("a", DATE).await;
    let dag = DagId::trusted("a");
    for paused in [true, false] {
        let change = updraft_model::DagChange { paused: Some(paused), ..updraft_model::DagChange::default() };
        world.engine.store.update_dag(&dag, &change).await.unwrap();
        world.engine.look_at_dag(&dag).await.unwrap();
        assert_eq!(world.run(&run).await.paused, paused);
    }
    // The run's own look, too: a word that came late must not hold it for good.
    let change = updraft_model::RunChange { paused: Some(true), ..updraft_model::RunChange::default() };
    world.engine.store.update_run(&run.facts.incarnation, &change).await.unwrap();
    world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
    assert!(!world.run(&run).await.paused);
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// Instances of a mapped task under a limit: those that are queued run, and no other follows.
#[tokio::test]
async fn instances_wait_too() {
    let text = "
a:
  schedule: null
  tasks:
    m: {operator: BashOperator, max_active_tis_per_dagrun: 2, expand: {bash_command: ['true', 'true', 'true', 'true', 'true']}}
";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    let run = world.trigger_at("a", DATE).await;
    pause(&world, true).await;
    world.drain(true).await;
    let done = async || {
        let pages = world.engine.store.pages(&run.facts.incarnation, updraft_model::TaskIndex(0), 0..1).await.unwrap();
        pages.iter().flat_map(|page| page.cells.values()).filter(|cell| cell.is_final()).count()
    };
    assert_eq!(done().await, 2);
    assert!(world.engine.queue.receive(Lane::Tasks, 1, std::time::Duration::ZERO).await.unwrap().is_empty());
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!((done().await, world.run(&run).await.state), (5, DagRunState::Success));
}
