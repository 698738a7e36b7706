//! One document that cannot be read hides no other, and keeps nobody from what does not need it.

use crate::limits::world;
use crate::world::World;
use std::time::Duration;
use updraft_clock::Clock;
use updraft_metastore::item::{SHARD, WAKE_AT};
use updraft_metastore::{Error as Below, Item, Items, Key, Value, keys};
use updraft_model::cell::Wait;
use updraft_model::{
    AttemptKey, Cell, DagId, HolderId, Incarnation, Lease, RunChange, TaskIndex, TaskInstanceState, Token,
};
use updraft_service::backfill::NewBackfill;
use updraft_service::pools::PoolWish;
use updraft_service::runs::Leases;
use updraft_service::tick::DUE_MAX;
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
                        world.run_one(TaskRef { incarnation, task, try_number, place, queued_at: None }).await;
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

/// Puts an item into the time index, long due.
async fn put_due(world: &World, pk: &str, sk: &str, item: Item) {
    let key = Key { pk: pk.to_owned(), sk: sk.to_owned() };
    let place = [(SHARD.to_owned(), Value::S(keys::shard(&key))), (WAKE_AT.to_owned(), Value::N(1))];
    world.engine.store.items().put(&key, &item.into_iter().chain(place).collect()).await.unwrap();
}

/// A DAG that is due, and has no run yet.
async fn due_dag() -> World {
    let text = "a:\n  schedule: '@daily'\n  start_date: 2025-03-01\n  end_date: 2025-03-01\n  catchup: true\n  tasks:\n    \
                t: {operator: EmptyOperator}\n";
    world(&[("a.yaml", text.to_owned())]).await
}

async fn runs_of(world: &World) -> usize {
    world.engine.list_runs(&dag_id(), 10, None).await.unwrap().items.len()
}

#[tokio::test]
async fn what_nobody_knows_in_the_time_index_hides_nothing() {
    for ahead in [false, true] {
        let world = due_dag().await;
        for n in 0..5 {
            put_due(&world, &format!("Z#{n}"), "Z", Item::new()).await;
        }
        let horizon = world.engine.clock.now() + jiff::SignedDuration::from_mins(1);
        let next = world.engine.next_due(horizon).await.unwrap();
        assert!(next.is_some_and(|at| at.as_second() > 1), "{next:?}");
        let ticked = if ahead { world.engine.tick_ahead().await } else { world.engine.tick().await }.unwrap();
        assert_eq!((ticked.failed, runs_of(&world).await), (5, 1), "{ticked:?}");
    }
}

#[tokio::test]
async fn a_thousand_documents_that_cannot_be_read_hide_nothing() {
    for ahead in [false, true] {
        let world = due_dag().await;
        for n in 0..=DUE_MAX {
            let nonsense = Item::from([("st".to_owned(), Value::text("levitating"))]);
            put_due(&world, &format!("R#{n}"), "R", nonsense).await;
        }
        let ticked = if ahead { world.engine.tick_ahead().await } else { world.engine.tick().await }.unwrap();
        assert_eq!((ticked.failed, runs_of(&world).await), (DUE_MAX + 1, 1), "{ticked:?}");
    }
}

#[tokio::test]
async fn a_run_that_cannot_be_read_keeps_its_slots_and_nobody_else_from_theirs() {
    let text = |dag_id: &str| {
        format!(
            "{dag_id}:\n  schedule: null\n  tasks:\n    t: {{operator: BashOperator, bash_command: 'true', pool: p}}\n"
        )
    };
    let world = world(&[("a.yaml", text("a")), ("b.yaml", text("b"))]).await;
    let wish = |slots| PoolWish { name: "p".to_owned(), slots, description: String::new(), include_deferred: false };
    world.engine.set_pool(&wish(2)).await.unwrap();
    let (broken, dead) = (world.trigger("a").await, world.trigger("b").await);
    let waits = world.trigger("b").await;
    let pool = HolderId::Pool("p".to_owned());
    let doc = world.engine.store.holder(&pool).await.unwrap().unwrap();
    assert_eq!((doc.holders.len(), doc.waiters.len()), (2, 1), "{doc:?}");
    spoil(&world, &broken.facts.incarnation).await;
    // The other holder is gone, without a word to the pool.
    world.engine.store.items().delete(&keys::run(&dead.facts.incarnation), &[]).await.unwrap();
    world.engine.look_at_holder(&pool).await.unwrap();
    let doc = world.engine.store.holder(&pool).await.unwrap().unwrap();
    let holders: Vec<_> = doc.holders.keys().map(|name| name.incarnation.clone()).collect();
    assert!(holders.contains(&broken.facts.incarnation) && holders.contains(&waits.facts.incarnation), "{doc:?}");
    let queued = world.engine.store.run(&waits.facts.incarnation).await.unwrap().unwrap();
    assert_eq!(queued.task_state(TaskIndex(0)), TaskInstanceState::Queued);
    assert_eq!(world.engine.pool("p").await.unwrap().queued_slots, 2);
}

#[tokio::test]
async fn who_waits_and_cannot_be_read_is_passed_over() {
    let text = "a:\n  schedule: null\n  max_active_runs: 9\n  tasks:\n    t: {operator: BashOperator, bash_command: 'true', pool: p}\n";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    let wish = |slots| PoolWish { name: "p".to_owned(), slots, description: String::new(), include_deferred: false };
    world.engine.set_pool(&wish(0)).await.unwrap();
    let (broken, fine) = (world.trigger("a").await, world.trigger("a").await);
    spoil(&world, &broken.facts.incarnation).await;
    world.engine.set_pool(&wish(5)).await.unwrap();
    let queued = world.engine.store.run(&fine.facts.incarnation).await.unwrap().unwrap();
    assert_eq!(queued.task_state(TaskIndex(0)), TaskInstanceState::Queued);
}

#[tokio::test]
async fn a_dag_that_cannot_be_read_keeps_no_event_from_the_others() {
    let consumer =
        |dag_id: &str| format!("{dag_id}:\n  schedule: [s3://data]\n  tasks:\n    t: {{operator: EmptyOperator}}\n");
    let producer =
        "p:\n  schedule: null\n  tasks:\n    t: {operator: BashOperator, bash_command: 'true', outlets: [s3://data]}\n";
    let files = [("a.yaml", consumer("a")), ("b.yaml", consumer("b")), ("p.yaml", producer.to_owned())];
    let world = world(&files).await;
    let nonsense = Item::from([("v".to_owned(), Value::text("{"))]);
    world.engine.store.items().put(&keys::dag(&dag_id()), &nonsense).await.unwrap();
    let run = world.trigger("p").await;
    world.work(false).await;
    Box::pin(world.engine.look_at_run(&run.facts.incarnation, Leases::Heed)).await.unwrap();
    world.engine.look_at_dag(&DagId::trusted("b")).await.unwrap();
    assert_eq!(world.engine.list_runs(&DagId::trusted("b"), 10, None).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn an_attempt_that_cannot_be_read_is_settled_as_one_that_died() {
    let text = "a:\n  schedule: null\n  tasks:\n    t: {operator: BashOperator, bash_command: 'true', retries: 1, retry_delay: 600}\n";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    let run = world.trigger("a").await;
    let (incarnation, task) = (run.facts.incarnation.clone(), TaskIndex(0));
    // A worker that records what it did in a form of its own, and dies before it finishes.
    let now = world.engine.clock.now();
    let lease = Lease { token: Token::trusted("t0ken"), until: now, since: now };
    let cells = vec![(task, Cell::Running { try_number: 1, lease })];
    let change = RunChange { cells, ..RunChange::default() };
    world.engine.store.update_run(&incarnation, &change).await.unwrap();
    let key = AttemptKey {
        incarnation: incarnation.clone(),
        task,
        map_index: None,
        try_number: 1,
        token: Token::trusted("t0ken"),
    };
    let nonsense = Item::from([("v".to_owned(), Value::text("{"))]);
    world.engine.store.items().put(&keys::attempt(&key), &nonsense).await.unwrap();
    Box::pin(world.engine.look_at_run(&incarnation, Leases::AllDead)).await.unwrap();
    let run = world.engine.store.run(&incarnation).await.unwrap().unwrap();
    assert!(matches!(run.cell(task), Cell::Waiting { wait: Wait::Retry, .. }), "{:?}", run.cell(task));
}

#[tokio::test]
async fn files_are_taken_in_beside_one_that_cannot_be_forgotten_and_a_record_that_cannot_be_read() {
    let text = |dag_id: &str| format!("{dag_id}:\n  schedule: null\n  tasks:\n    t: {{operator: EmptyOperator}}\n");
    let world = world(&[("a.yaml", text("a")), ("b.yaml", text("b"))]).await;
    let nonsense = Item::from([("v".to_owned(), Value::text("{"))]);
    world.engine.store.items().put(&keys::dag(&dag_id()), &nonsense).await.unwrap();
    world.engine.store.items().put(&keys::file("b.yaml"), &nonsense).await.unwrap();
    world.remove("a.yaml").await;
    world.write("c.yaml", &text("c")).await;
    let done = world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!(
        (done.parsed, done.postponed),
        (vec!["b.yaml".to_owned(), "c.yaml".to_owned()], vec!["a.yaml".to_owned()])
    );
    let again = world.engine.ingest_all(&world.folder).await.unwrap();
    assert_eq!((again.unchanged, again.postponed.len()), (2, 1), "{again:?}");
}

#[tokio::test]
async fn a_backfill_goes_on_beside_a_run_that_cannot_be_read() {
    let text = "a:\n  schedule: '@daily'\n  start_date: 2099-01-01\n  tasks:\n    t: {operator: BashOperator, bash_command: 'true'}\n";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let wish = NewBackfill {
        max_active_runs: 2,
        ..NewBackfill::new(dag_id(), at("2025-03-01T00:00:00Z"), at("2025-03-04T00:00:00Z"))
    };
    let backfill = Box::pin(world.engine.create_backfill(&wish)).await.unwrap();
    world.engine.look_at_backfill(&backfill.id).await.unwrap();
    let active = world.engine.backfill(&backfill.id).await.unwrap().active;
    let broken = active.keys().next().expect("it has made runs").clone();
    spoil(&world, &broken).await;
    for _ in 0..6 {
        go_on_without(&world, &broken).await;
        world.engine.look_at_backfill(&backfill.id).await.unwrap();
    }
    let backfill = world.engine.backfill(&backfill.id).await.unwrap();
    assert_eq!(backfill.active.keys().collect::<Vec<_>>(), [&broken], "{backfill:?}");
    assert_eq!(backfill.counts.created, 4, "{backfill:?}");
}
