//! Runs that asset events make.

use crate::world::World;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use updraft_model::{
    Asset, DagId, DagRunState, DagRunType, OutboxEntry, OutletEvent, RunChange, RunDoc, Topic, TryEnd,
};
use updraft_service::assets::{EventFilter, EventWish};
use updraft_service::runs::Leases;

const PRODUCER: &str = "
p:
  schedule: null
  tasks:
    a: {operator: BashOperator, bash_command: 'true', outlets: [s3://a]}
    b: {operator: EmptyOperator, outlets: [s3://b], dependencies: [a]}
q:
  schedule: null
  tasks:
    c: {operator: BashOperator, bash_command: 'true', outlets: [{__type__: airflow.sdk.AssetAlias, name: any}]}
";

fn consumer(id: &str, schedule: &str) -> String {
    format!("{id}:\n  schedule: {schedule}\n  tasks:\n    t: {{operator: BashOperator, bash_command: 'true'}}\n")
}

async fn world(consumers: &[(&str, &str)]) -> World {
    let world = World::new();
    world.write("producer.yaml", PRODUCER).await;
    for (id, schedule) in consumers {
        world.write(&format!("{id}.yaml"), &consumer(id, schedule)).await;
    }
    world.engine.ingest_all(&world.folder).await.unwrap();
    world
}

async fn runs(world: &World, dag_id: &str) -> Vec<RunDoc> {
    world.engine.store.list_runs(&DagId::trusted(dag_id), 100, None).await.unwrap().items
}

async fn counts(world: &World, dags: &[&str]) -> Vec<usize> {
    let mut found = Vec::new();
    for dag in dags {
        found.push(runs(world, dag).await.len());
    }
    found
}

fn number(name: &str) -> u64 {
    Topic::Asset(name.to_owned()).id().number()
}

async fn tell(world: &World, name: &str) {
    let wish = EventWish { asset_id: number(name), extra: Map::new(), request: None };
    world.engine.create_asset_event(&wish).await.unwrap();
    world.settle().await;
}

/// Old events go, but for an asset's last one and those that a DAG was told of and has made no run of yet.
#[tokio::test]
async fn old_events_are_removed_unless_somebody_needs_them() {
    let world = world(&[("both", "[s3://a, s3://b]")]).await;
    let store = &world.engine.store;
    let id = Topic::Asset("s3://a".to_owned()).id();
    let event = |number: u64, timestamp: Timestamp| updraft_model::AssetEvent {
        id: format!("outside.{number}"),
        name: "s3://a".to_owned(),
        uri: "s3://a".to_owned(),
        group: String::new(),
        extra: Map::new(),
        source: None,
        aliases: Vec::new(),
        timestamp,
    };
    let take = async |number: u64, timestamp: Timestamp| {
        let take = event(number, timestamp);
        store.put_event(&id, number, &take).await.unwrap();
        let change = updraft_model::TopicChange {
            if_taken: Some(number - 1),
            take: Some(take),
            ..updraft_model::TopicChange::default()
        };
        store.update_topic(&id, &change).await.unwrap();
    };
    let old = Timestamp::from_second(1_000_000_000).unwrap();
    for number in 1..=4 {
        take(number, old).await;
    }
    take(5, Timestamp::now()).await;
    let left = async || {
        let found = store.events(&id, 0, 9, 9).await.unwrap();
        found.into_iter().map(|one| one.number).collect::<Vec<_>>()
    };
    let far = Timestamp::from_second(8_000_000_000).unwrap();
    assert_eq!(world.engine.remove_asset_events(old, false).await.unwrap(), 0, "none came before");
    // A DAG was told of the third and the fourth, and waits for another asset.
    let queued = updraft_model::Queued { told: 4, taken: 2, since: Some(old), until: Some(old) };
    let change =
        updraft_model::DagChange { queue_put: vec![(id.clone(), queued)], ..updraft_model::DagChange::default() };
    store.update_dag(&DagId::trusted("both"), &change).await.unwrap();
    assert_eq!(world.engine.remove_asset_events(far, true).await.unwrap(), 2);
    assert_eq!(left().await, [1, 2, 3, 4, 5]);
    assert_eq!(world.engine.remove_asset_events(far, false).await.unwrap(), 2);
    assert_eq!(left().await, [3, 4, 5]);
    let change = updraft_model::DagChange {
        queue_put: vec![(id.clone(), queued.consume())],
        ..updraft_model::DagChange::default()
    };
    store.update_dag(&DagId::trusted("both"), &change).await.unwrap();
    assert_eq!(world.engine.remove_asset_events(far, false).await.unwrap(), 2);
    assert_eq!(left().await, [5], "the last one stays, and so does what came today");
}

#[tokio::test]
async fn each_condition_makes_its_runs() {
    let dags = ["both", "either", "one", "named", "at"];
    let world = world(&[
        ("both", "[s3://a, s3://b]"),
        (
            "either",
            "{__or__: [{__type__: airflow.sdk.Asset, uri: s3://a}, {__type__: airflow.sdk.Asset, uri: s3://b}]}",
        ),
        ("one", "[s3://b]"),
        ("named", "{__type__: airflow.sdk.AssetNameRef, name: s3://a}"),
        ("at", "{__type__: airflow.sdk.AssetUriRef, uri: s3://b}"),
    ])
    .await;
    assert_eq!(counts(&world, &dags).await, [0, 0, 0, 0, 0]);
    tell(&world, "s3://a").await;
    assert_eq!(counts(&world, &dags).await, [0, 1, 0, 1, 0]);
    // Once more: a queued asset is queued once.
    tell(&world, "s3://a").await;
    assert_eq!(counts(&world, &dags).await, [0, 2, 0, 2, 0]);
    tell(&world, "s3://b").await;
    assert_eq!(counts(&world, &dags).await, [1, 3, 1, 2, 1]);
    let run = &runs(&world, "both").await[0];
    assert_eq!((run.state, run.facts.run_type), (DagRunState::Success, DagRunType::AssetTriggered));
    assert!(run.facts.run_id.starts_with("asset_triggered__2"), "{}", run.facts.run_id);
    assert_eq!((run.facts.logical_date, run.facts.data_interval), (None, None));
    let events = world.engine.events_of_run(&run.facts).await.unwrap();
    let names: Vec<&str> = events.iter().map(|n| n.event.name.as_str()).collect();
    assert_eq!(names, ["s3://a", "s3://a", "s3://b"]);
    assert_eq!(run.facts.run_after, events[2].event.timestamp);
}

/// The finishing write notes the events, a crash right after it loses none, and delivering twice makes one of each.
#[tokio::test]
async fn a_run_tells_what_its_tasks_wrote_once() {
    let world = world(&[("c", "[s3://a, s3://b]"), ("d", "[s3://b]")]).await;
    world.trigger("p").await;
    world.settle().await;
    assert_eq!(counts(&world, &["p", "c", "d"]).await, [1, 1, 1]);
    let run = &runs(&world, "p").await[0];
    assert!(run.outbox.is_empty() && run.wake_at.is_none(), "{run:?}");
    let (events, total) = world.engine.list_asset_events(&EventFilter::default(), 10, 0).await.unwrap();
    assert_eq!(total, 2);
    // The latest first: `b` is an EmptyOperator, which runs since it writes something.
    assert_eq!(events[0].event.name, "s3://b");
    let source = events[0].event.source.clone().unwrap();
    assert_eq!((source.dag_id.as_str(), source.task_id.as_str(), source.map_index), ("p", "b", -1));
    let made: Vec<&str> = events[0].created_dagruns.iter().map(|run| run.consumed.dag_id.as_str()).collect();
    assert_eq!(made, ["c", "d"]);
    let only = EventFilter { source_task_id: Some("a".to_owned()), ..EventFilter::default() };
    let (found, _) = world.engine.list_asset_events(&only, 10, 0).await.unwrap();
    let made: Vec<&str> = found[0].created_dagruns.iter().map(|run| run.consumed.dag_id.as_str()).collect();
    assert_eq!((found.len(), made), (1, vec!["c"]));
    // Told again, as by somebody who was stopped between delivering and striking out.
    for (task, cell) in &run.cells {
        let updraft_model::Cell::Final { try_number, winner: Some(token), .. } = cell else { panic!("{cell:?}") };
        let entry =
            OutboxEntry::Try { task: *task, try_number: *try_number, token: token.clone(), end: TryEnd::Success };
        let again = RunChange { outbox_put: vec![(entry.id(), entry)], ..RunChange::default() };
        world.engine.store.update_run(&run.facts.incarnation, &again).await.unwrap();
    }
    world.engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.unwrap();
    world.settle().await;
    assert!(runs(&world, "p").await[0].outbox.is_empty());
    assert_eq!(world.engine.list_asset_events(&EventFilter::default(), 10, 0).await.unwrap().1, 2);
    assert_eq!(counts(&world, &["p", "c", "d"]).await, [1, 1, 1]);
    let run_id = &runs(&world, "c").await[0].facts.run_id;
    assert_eq!(world.engine.upstream_asset_events(&DagId::trusted("c"), run_id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_alias_tells_of_the_assets_tied_to_it() {
    let world = world(&[("l", "{__type__: airflow.sdk.AssetAlias, name: any}"), ("x", "[s3://x]")]).await;
    let said = OutletEvent {
        asset: Asset::of_uri("s3://x"),
        alias: Some("any".to_owned()),
        extra: json!({"rows": 3}).as_object().cloned().unwrap(),
    };
    world.says(vec![said]);
    world.trigger("q").await;
    world.settle().await;
    assert_eq!(counts(&world, &["q", "l", "x"]).await, [1, 1, 1]);
    for dag in ["l", "x"] {
        let run = &runs(&world, dag).await[0];
        let events = world.engine.events_of_run(&run.facts).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].event.name.as_str(), &events[0].event.extra["rows"]), ("s3://x", &json!(3)));
        assert_eq!(events[0].event.aliases, ["any"]);
    }
    let alias = world.engine.list_asset_aliases().await.unwrap().remove(0);
    assert_eq!((alias.name.as_str(), alias.assets), ("any", vec!["s3://x".to_owned()]));
    assert_eq!(world.engine.asset(number("s3://x")).await.unwrap().aliases, ["any"]);
    // A try that ties nothing to it tells nothing.
    world.says(Vec::new());
    world.trigger("q").await;
    world.settle().await;
    assert_eq!(counts(&world, &["q", "l", "x"]).await, [2, 1, 1]);
}

/// As in Airflow, a paused DAG is not told; what it was told before waits, and the run that comes shows what it missed.
#[tokio::test]
async fn a_paused_dag_is_not_told() {
    let world = world(&[("c", "[s3://a, s3://b]")]).await;
    let dag = DagId::trusted("c");
    tell(&world, "s3://a").await;
    let queued = world.engine.queued_asset_events(Some(&dag), None, None).await.unwrap();
    assert_eq!((queued.len(), queued[0].asset_id), (1, number("s3://a")));
    world.engine.set_paused(&dag, true).await.unwrap();
    tell(&world, "s3://b").await;
    tell(&world, "s3://a").await;
    world.engine.set_paused(&dag, false).await.unwrap();
    world.settle().await;
    assert_eq!(counts(&world, &["c"]).await, [0]);
    tell(&world, "s3://b").await;
    let made = runs(&world, "c").await;
    assert_eq!(made.len(), 1);
    assert_eq!(world.engine.events_of_run(&made[0].facts).await.unwrap().len(), 3);
    assert!(world.engine.queued_asset_events(Some(&dag), None, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn queued_events_can_be_forgotten() {
    let world = world(&[("c", "[s3://a, s3://b]"), ("d", "[s3://a, s3://b]")]).await;
    tell(&world, "s3://a").await;
    let asset = Some(number("s3://a"));
    assert_eq!(world.engine.queued_asset_events(None, asset, None).await.unwrap().len(), 2);
    let long_ago: Timestamp = "2000-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(world.engine.delete_queued_asset_events(None, asset, Some(long_ago)).await.unwrap(), 0);
    assert_eq!(world.engine.delete_queued_asset_events(Some(&DagId::trusted("c")), asset, None).await.unwrap(), 1);
    tell(&world, "s3://b").await;
    assert_eq!(counts(&world, &["c", "d"]).await, [0, 1]);
}

/// Runs of assets obey `max_active_runs`: what comes meanwhile makes one run once there is a place.
#[tokio::test]
async fn events_wait_for_a_place() {
    let world = world(&[("c", "[s3://a]\n  max_active_runs: 1")]).await;
    let wish = EventWish { asset_id: number("s3://a"), extra: Map::new(), request: None };
    world.engine.create_asset_event(&wish).await.unwrap();
    world.engine.look_at_dag(&DagId::trusted("c")).await.unwrap();
    assert_eq!(counts(&world, &["c"]).await, [1]);
    for _ in 0..3 {
        world.engine.create_asset_event(&wish).await.unwrap();
        world.engine.look_at_dag(&DagId::trusted("c")).await.unwrap();
    }
    assert_eq!(counts(&world, &["c"]).await, [1]);
    world.settle().await;
    let made = runs(&world, "c").await;
    let mut events = Vec::new();
    for run in &made {
        assert_eq!(run.state, DagRunState::Success);
        events.push(world.engine.events_of_run(&run.facts).await.unwrap().len());
    }
    events.sort_unstable();
    assert_eq!(events, [1, 3]);
}

/// A schedule that names an asset anew starts from there; one that still does keeps what waits; whose file is gone gets nothing.
#[tokio::test]
async fn a_new_version_keeps_what_it_still_waits_for() {
    let world = world(&[("c", "[s3://a, s3://b]")]).await;
    tell(&world, "s3://a").await;
    world.write("c.yaml", &consumer("c", "[s3://a, s3://n]")).await;
    world
        .write("n.yaml", "n:\n  tasks:\n    t: {operator: EmptyOperator, outlets: [s3://n], inlets: [s3://a]}\n")
        .await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    tell(&world, "s3://b").await;
    assert_eq!(counts(&world, &["c"]).await, [0]);
    tell(&world, "s3://n").await;
    assert_eq!(counts(&world, &["c"]).await, [1]);
    let asset = world.engine.asset(number("s3://b")).await.unwrap();
    assert!(asset.scheduled_dags.is_empty(), "{asset:?}");
    let asset = world.engine.asset(number("s3://a")).await.unwrap();
    assert_eq!(asset.scheduled_dags[0].dag_id.as_str(), "c");
    assert_eq!(asset.producing_tasks[0].task_id.as_deref(), Some("a"));
    assert_eq!(asset.consuming_tasks[0].task_id.as_deref(), Some("t"));
    std::fs::remove_file(world.folder.root().join("c.yaml")).unwrap();
    world.engine.ingest_all(&world.folder).await.unwrap();
    for asset in ["s3://a", "s3://n"] {
        tell(&world, asset).await;
        assert!(world.engine.asset(number(asset)).await.unwrap().scheduled_dags.is_empty());
    }
    assert_eq!(counts(&world, &["c"]).await, [1]);
}

#[tokio::test]
async fn assets_are_found_told_and_made() {
    let world = world(&[]).await;
    let names: Vec<String> = world.engine.list_assets().await.unwrap().into_iter().map(|asset| asset.name).collect();
    assert_eq!(names, ["s3://a", "s3://b"]);
    let found = world.engine.asset_named(None, Some("s3://b")).await.unwrap();
    assert_eq!((found.id, found.group.as_str()), (number("s3://b"), "asset"));
    let missing = world.engine.asset_named(Some("s3://c"), None).await.unwrap_err();
    assert!(matches!(&missing, updraft_service::Error::NotFound { near, .. } if near.len() == 2), "{missing:?}");
    let missing = world.engine.asset_named(None, Some("s3://bb")).await.unwrap_err();
    assert!(matches!(&missing, updraft_service::Error::NotFound { near, .. } if near[0] == "s3://b"), "{missing:?}");
    let both = world.engine.asset_named(Some("s3://a"), Some("s3://b")).await.unwrap_err().to_string();
    assert!(both.contains("`s3://a` has the URI `s3://a`, not `s3://b`"), "{both}");
    let run = world.engine.materialize_asset(number("s3://a"), Value::Null, None).await.unwrap();
    assert_eq!((run.facts.dag_id.as_str(), run.facts.run_type), ("p", DagRunType::AssetMaterialization));
    assert!(run.facts.run_id.starts_with("asset_materialization__"), "{}", run.facts.run_id);
    world.settle().await;
    assert_eq!(runs(&world, "p").await[0].state, DagRunState::Success);
    world.write("r.yaml", "r:\n  tasks:\n    t: {operator: EmptyOperator, outlets: [s3://a]}\n").await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let said = world.engine.materialize_asset(number("s3://a"), Value::Null, None).await.unwrap_err().to_string();
    assert!(said.contains("`p`, `r`"), "{said}");
    let large = json!({"x": "y".repeat(20_000)}).as_object().cloned().unwrap();
    let wish = EventWish { asset_id: number("s3://a"), extra: large, request: None };
    assert!(world.engine.create_asset_event(&wish).await.unwrap_err().to_string().contains("at most 16384"));
    // The same request makes one event.
    let wish = EventWish { asset_id: number("s3://b"), extra: Map::new(), request: Some("r1".to_owned()) };
    let first = world.engine.create_asset_event(&wish).await.unwrap();
    let again = world.engine.create_asset_event(&wish).await.unwrap();
    assert_eq!(first.id, again.id);
    let of = EventFilter { asset_id: Some(number("s3://b")), ..EventFilter::default() };
    assert_eq!(world.engine.list_asset_events(&of, 10, 0).await.unwrap().1, 2);
}

/// Whoever takes an event from outside may die before anybody was told: the time index knows.
#[tokio::test]
async fn an_event_from_outside_is_told_after_a_crash() {
    let world = world(&[("c", "[s3://a]")]).await;
    let topic = Topic::Asset("s3://a".to_owned()).id();
    let wish = EventWish { asset_id: topic.number(), extra: Map::new(), request: Some("1".to_owned()) };
    let event = world.engine.create_asset_event(&wish).await.unwrap().event;
    world.settle().await;
    let event = updraft_model::AssetEvent { id: "outside.2".to_owned(), ..event };
    let now = Timestamp::from_millisecond(event.timestamp.as_millisecond()).unwrap();
    let change = updraft_model::TopicChange {
        if_taken: Some(1),
        take: Some(event),
        wake_at: Some(Some(now)),
        ..Default::default()
    };
    world.engine.store.update_topic(&topic, &change).await.unwrap();
    world.engine.tick().await.unwrap();
    world.settle().await;
    assert_eq!(counts(&world, &["c"]).await, [2]);
    assert_eq!(world.engine.store.topic(&topic).await.unwrap().unwrap().wake_at, None);
}
