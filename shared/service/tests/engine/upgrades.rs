//! Releases side by side on one table: what an earlier one has left in mid-run goes on, and what a later one has added is left alone.

use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::time::Duration;
use updraft_metastore::item::{Item, Key, Value};
use updraft_model::{DagId, DagRunState, RunDoc};
use updraft_task_queue::{Lane, TaskQueue};

/// An attribute that no release knows.
const LATER: &str = "of_a_later_release";

/// A value as DynamoDB writes it.
fn value(of: &Json) -> Value {
    let (kind, value) = of.as_object().and_then(|of| of.iter().next()).expect("a value has a type");
    let text = || value.as_str().expect("it is written as a text").to_owned();
    match kind.as_str() {
        "S" => Value::S(text()),
        "N" => Value::N(text().parse().expect("numbers are whole")),
        "B" => Value::B(STANDARD.decode(text()).expect("bytes are written in base64")),
        "M" => {
            Value::M(value.as_object().into_iter().flatten().map(|(key, of)| (key.clone(), self::value(of))).collect())
        }
        other => panic!("nothing of type `{other}` is written"),
    }
}

/// A table as `aws dynamodb scan` shows it.
fn scanned(text: &str) -> BTreeMap<Key, Item> {
    let shown: Json = serde_json::from_str(text).expect("a scan is JSON");
    let read = |of: &Json| {
        let mut item: Item = of.as_object().into_iter().flatten().map(|(key, of)| (key.clone(), value(of))).collect();
        let mut key = |name: &str| match item.remove(name) {
            Some(Value::S(text)) => text,
            other => panic!("a key is a text, not {other:?}"),
        };
        (Key { pk: key("pk"), sk: key("sk") }, item)
    };
    shown["Items"].as_array().into_iter().flatten().map(read).collect()
}

async fn run_of(world: &World, dag_id: &str) -> RunDoc {
    let dag_id = DagId::parse(dag_id).unwrap();
    world.engine.store.list_runs(&dag_id, 1, None).await.unwrap().items.remove(0)
}

/// Ticks, looks and works until the runs of these DAGs have ended, for ten seconds at most.
async fn to_the_end(world: &World, dags: &[&str]) -> BTreeMap<String, DagRunState> {
    for _ in 0..100 {
        world.engine.tick().await.unwrap();
        loop {
            world.work(false).await;
            let looks = world.engine.queue.receive(Lane::Looks, 100, Duration::ZERO).await.unwrap();
            if looks.is_empty() {
                break;
            }
            for message in looks.into_iter().filter_map(|delivery| delivery.message) {
                world.engine.look_where(&message).await.unwrap();
            }
        }
        let mut states = BTreeMap::new();
        for dag_id in dags {
            states.insert((*dag_id).to_owned(), run_of(world, dag_id).await.state);
        }
        if states.values().all(|state| state.is_finished()) {
            return states;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("they do not end");
}

/// Runs of a release of 28 November 2026, as `aws dynamodb scan` shows them, as it left them when its functions were replaced: a task queued, one running whose worker is gone, one
/// waiting for its next try, half of a mapped one done.
#[tokio::test]
async fn runs_that_an_earlier_release_has_begun_go_on() {
    let world = World::new();
    let items = scanned(include_str!("releases/2026-11-28.json"));
    assert!(items.len() > 20, "{}", items.len());
    *world.engine.store.items().inner().lock() = items;
    let dags = ["queued", "running", "waiting", "mapped"];
    for dag_id in dags {
        assert_eq!(run_of(&world, dag_id).await.state, DagRunState::Running, "{dag_id}");
    }
    let ended = to_the_end(&world, &dags).await;
    assert!(ended.values().all(|state| *state == DagRunState::Success), "{ended:?}");
}

/// Whatever a later release adds to an item stays when this one writes it: it may be deployed again.
#[tokio::test]
async fn what_a_later_release_has_added_stays() {
    let world = World::new();
    let text = "later:\n  schedule: null\n  tasks:\n    first: {operator: BashOperator, bash_command: 'true'}\n    each: {operator: BashOperator, \
                expand: {bash_command: ['true', 'true']}, dependencies: [first]}\n    last: {operator: BashOperator, bash_command: 'true', \
                dependencies: [each]}\n";
    world.write("later.yaml", text).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world.trigger("later").await;
    let before: Vec<Key> = {
        let mut items = world.engine.store.items().inner().lock();
        for item in items.values_mut() {
            item.insert(LATER.to_owned(), Value::S("it is new".to_owned()));
        }
        items.keys().cloned().collect()
    };
    assert_eq!(to_the_end(&world, &["later"]).await["later"], DagRunState::Success);
    let items = world.engine.store.items().inner().lock();
    assert!(items.len() > before.len(), "attempts and a page were written");
    let kept = before.iter().filter(|key| items.get(key).is_some_and(|item| item.contains_key(LATER)));
    assert_eq!(kept.count(), before.len());
}
