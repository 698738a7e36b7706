//! One document that cannot be read hides no other, and keeps nobody from what does not need it.

use crate::limits::world;
use crate::world::World;
use std::time::Duration;
use updraft_metastore::{Error as Below, Item, Items, Value, keys};
use updraft_model::{AttemptKey, DagId, Incarnation};
use updraft_service::{Error, TaskRef};
use updraft_task_queue::{Lane, Message, TaskQueue};

fn dag_id() -> DagId {
    DagId::trusted("a")
}

/// Two days that ran, and a third that is due.
async fn daily() -> (World, Vec<Incarnation>) {
    let text = "a:\n  schedule: '@daily'\n  start_date: 2025-03-01\n  end_date: 2025-03-03\n  catchup: true\n  tasks:\n    \
                t: {operator: BashOperator, bash_command: 'true'}\n";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    world.drain(true).await;
    let runs = world.engine.store.list_runs(&dag_id(), 10, None).await.unwrap().items;
    assert_eq!(runs.len(), 3);
    (world, runs.into_iter().map(|run| run.facts.incarnation).collect())
}

/// As a later version may write it, or a hand.
async fn spoil(world: &World, run: &Incarnation) {
    let key = keys::run(run);
    let mut item = world.engine.store.items().get(&key).await.unwrap().unwrap();
    item.insert("st".to_owned(), Value::text("levitating"));
    world.engine.store.items().put(&key, &item).await.unwrap();
}

/// Follows all messages but those for a run, and looks at the DAG until nothing new comes of it.
async fn go_on_without(world: &World, run: &Incarnation) {
    for _ in 0..4 {
        world.engine.look_at_dag(&dag_id()).await.unwrap();
        for lane in [Lane::Looks, Lane::Tasks, Lane::Looks] {
            for delivery in world.engine.queue.receive(lane, 100, Duration::ZERO).await.unwrap() {
                match delivery.message.expect("a message of ours") {
                    Message::Task { incarnation, task, try_number, place, .. } if incarnation != *run => {
                        world.run_one(TaskRef { incarnation, task, try_number, place }).await;
                    }
                    message @ Message::Run { .. } => {
                        let looked = Box::pin(world.engine.look_where(&message)).await;
                        assert!(looked.is_ok() || message == Message::Run { incarnation: run.clone() }, "{looked:?}");
                    }
                    message => Box::pin(world.engine.look_where(&message)).await.unwrap(),
                }
                world.engine.queue.acknowledge(lane, &delivery.receipt).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_read_is_named_and_the_others_are_listed() {
    let (world, runs) = daily().await;
    spoil(&world, &runs[1]).await;
    let page = world.engine.list_runs(&dag_id(), 10, None).await.unwrap();
    let listed: Vec<_> = page.items.iter().map(|run| run.facts.incarnation.clone()).collect();
    assert_eq!(listed, [runs[0].clone(), runs[2].clone()]);
    let [left_out] = page.unreadable.as_slice() else { panic!("{:?}", page.unreadable) };
    let said = left_out.to_string();
    for part in [keys::run(&runs[1]).pk.as_str(), "scheduled__2025-03-02", "of `a`", "levitating"] {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
    // Who may leave none out is told which one it is.
    let refused = world.engine.store.runs(&runs).await.unwrap_err();
    assert!(matches!(&refused, Below::Corrupt(_)), "{refused:?}");
    let whole = page.whole().unwrap_err();
    assert!(matches!(&whole, Below::Corrupt(why) if why.contains("scheduled__2025-03-02")), "{whole:?}");
}

#[tokio::test]
async fn a_dag_goes_on_beside_an_active_run_that_cannot_be_read() {
    let text = "a:\n  schedule: '@daily'\n  start_date: 2025-03-01\n  end_date: 2025-03-03\n  catchup: true\n  max_active_runs: 2\n  \
                tasks:\n    t: {operator: BashOperator, bash_command: 'true'}\n";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    world.engine.look_at_dag(&dag_id()).await.unwrap();
    let runs = world.engine.list_runs(&dag_id(), 10, None).await.unwrap().items;
    assert_eq!(runs.len(), 2);
    spoil(&world, &runs[1].facts.incarnation).await;
    go_on_without(&world, &runs[1].facts.incarnation).await;
    // Its place stays taken; by the other one the third day was made.
    let dag = world.engine.store.dag(&dag_id()).await.unwrap().unwrap();
    assert!(dag.active.contains_key(&runs[1].facts.incarnation), "{dag:?}");
    let ended = world.engine.list_runs(&dag_id(), 10, None).await.unwrap().items;
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(ended.iter().all(|run| run.state.is_finished()), "{ended:?}");
    // Pausing tells those that can be told.
    assert!(Box::pin(world.engine.set_paused(&dag_id(), true)).await.unwrap().paused);
    // It is not deleted with a run that may have an attempt that lives.
    let refused = Box::pin(world.engine.delete_dag(&dag_id())).await.unwrap_err();
    assert!(matches!(&refused, Error::Metastore(Below::Corrupt(why)) if why.contains("levitating")), "{refused:?}");
}

#[tokio::test]
async fn an_attempt_or_a_dag_that_cannot_be_read_hides_no_other() {
    let (world, runs) = daily().await;
    let run = world.engine.store.run(&runs[0]).await.unwrap().unwrap();
    let (key, _) = world.engine.store.attempts_of(&runs[0], None).await.unwrap().remove(0);
    let other = AttemptKey { try_number: 2, ..key.clone() };
    let nonsense = Item::from([("v".to_owned(), Value::text("{"))]);
    world.engine.store.items().put(&keys::attempt(&other), &nonsense).await.unwrap();
    let views = world.engine.task_instances(&run).await.unwrap();
    assert!(views.len() == 1 && views[0].start_date.is_some(), "{views:?}");
    let (page, total) = world.engine.task_instances_page(&run, 0, 10).await.unwrap();
    assert_eq!((page, total), (views, 1));
    // What is decided by attempts leaves none out.
    assert!(world.engine.store.attempts_of(&runs[0], None).await.is_err());

    world.write("b.yaml", "b:\n  tasks:\n    t: {operator: EmptyOperator}\n").await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world.engine.store.items().put(&keys::dag(&dag_id()), &nonsense).await.unwrap();
    let dags = world.engine.all_dags().await.unwrap();
    let shown: Vec<_> = dags.iter().map(|dag| (dag.summary.dag_id.as_str(), dag.doc.is_some())).collect();
    assert_eq!(shown, [("a", false), ("b", true)]);
    world.engine.store.items().put(&keys::dag_entry(&dag_id()), &nonsense).await.unwrap();
    assert_eq!(world.engine.all_dags().await.unwrap().len(), 1);
}
