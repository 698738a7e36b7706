//! XComs that people add, change and remove.

use crate::world::{World, chain};
use serde_json::{Value, json};
use updraft_log_store::Directory;
use updraft_model::{RunDoc, ValueRef};
use updraft_service::Error;
use updraft_service::xcom_edits::{Existing, VALUE_BYTES_MAX};

async fn ran() -> (World, Directory, RunDoc) {
    let world = World::new();
    world.write("chain.yaml", &chain("chain", 2)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let run = world.trigger("chain").await;
    world.settle().await;
    let run = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    (world, Directory::new(tempfile::tempdir().unwrap().keep()), run)
}

async fn values(world: &World, logs: &Directory, run: &RunDoc) -> Vec<(String, Value)> {
    let found = world.engine.xcoms(logs, run, Some("t0"), None).await.unwrap();
    found.into_iter().map(|(_, key, value)| (key, value)).collect()
}

#[tokio::test]
async fn an_xcom_is_added_changed_and_removed() {
    let (world, logs, run) = Box::pin(ran()).await;
    let set = async |key: &str, value: Value, existing| {
        world.engine.set_xcom(&logs, &run, ("t0", None), key, value, existing).await
    };
    set("k", json!([1]), Existing::Absent).await.unwrap();
    assert!(matches!(set("k", json!(2), Existing::Absent).await, Err(Error::Refused(why)) if why.contains("already")));
    set("k", json!({"n": 2}), Existing::Present).await.unwrap();
    assert_eq!(values(&world, &logs, &run).await, [("k".to_owned(), json!({"n": 2}))]);
    let absent = set("kk", json!(1), Existing::Present).await;
    assert!(matches!(absent, Err(Error::NotFound { near, .. }) if near == ["k"]));
    world.engine.delete_xcom(&run, ("t0", None), "k").await.unwrap();
    assert_eq!(values(&world, &logs, &run).await, []);
    assert!(matches!(world.engine.delete_xcom(&run, ("t0", None), "k").await, Err(Error::NotFound { .. })));
    assert!(matches!(set("", json!(1), Existing::Absent).await, Err(Error::Refused(_))));
}

#[tokio::test]
async fn a_large_value_goes_to_the_blob_store_and_one_that_is_too_large_nowhere() {
    let (world, logs, run) = Box::pin(ran()).await;
    let large = json!("x".repeat(10_000));
    world.engine.set_xcom(&logs, &run, ("t0", None), "large", large.clone(), Existing::Absent).await.unwrap();
    assert_eq!(values(&world, &logs, &run).await, [("large".to_owned(), large)]);
    // Eight values of 8 KB fit into the item, and the ninth does not.
    for n in 0..9 {
        let value = json!("y".repeat(8000));
        world.engine.set_xcom(&logs, &run, ("t0", None), &format!("k{n}"), value, Existing::Absent).await.unwrap();
    }
    let attempts = world.engine.store.attempts_of(&run.facts.incarnation, None).await.unwrap();
    let kept =
        |at: fn(&ValueRef) -> bool| attempts.iter().flat_map(|(_, a)| a.xcoms.values()).filter(|v| at(v)).count();
    assert_eq!((kept(|v| matches!(v, ValueRef::At(_))), kept(|v| matches!(v, ValueRef::Inline(_)))), (2, 8));
    assert_eq!(values(&world, &logs, &run).await.len(), 10);
    let too_large = json!("z".repeat(VALUE_BYTES_MAX));
    let refused = world.engine.set_xcom(&logs, &run, ("t0", None), "z", too_large, Existing::Absent).await;
    assert!(matches!(refused, Err(Error::Refused(why)) if why.contains("bucket")));
}

#[tokio::test]
async fn a_task_that_has_not_run_has_none_to_change() {
    let world = World::new();
    world.write("chain.yaml", &chain("chain", 2)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let run = world.trigger("chain").await;
    let logs = Directory::new(tempfile::tempdir().unwrap().keep());
    let refused = world.engine.set_xcom(&logs, &run, ("t1", None), "k", json!(1), Existing::Absent).await;
    assert!(matches!(refused, Err(Error::Refused(why)) if why.contains("`t1`")));
    assert!(matches!(world.engine.delete_xcom(&run, ("nobody", None), "k").await, Err(Error::NotFound { .. })));
}
