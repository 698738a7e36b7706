//! What a manual run may be, and what is refused.

use crate::world::{World, chain};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use updraft_clock::Clock;
use updraft_metastore::Outcome;
use updraft_model::{DagChange, DagId, Incarnation, RunDoc, RunName};
use updraft_service::{Error, Trigger};

fn trigger(run_id: Option<&str>, logical_date: &str, conf: Value) -> Trigger {
    Trigger {
        dag_id: DagId::trusted("d"),
        run_id: run_id.map(str::to_owned),
        logical_date: (!logical_date.is_empty()).then(|| logical_date.parse().unwrap()),
        conf,
    }
}

async fn asked(world: &World, run_id: Option<&str>, logical_date: &str) -> Result<RunDoc, String> {
    world.engine.trigger(trigger(run_id, logical_date, Value::Null)).await.map_err(|error| match error {
        Error::Refused(why) | Error::Conflict(why) => why,
        other => panic!("{other}"),
    })
}

async fn world(schedule: &str) -> World {
    let world = World::new();
    world.write("d.yaml", &chain("d", 1).replace("null", schedule)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world
}

#[tokio::test]
async fn a_logical_date_has_one_run() {
    let world = world("null").await;
    let first = asked(&world, Some("q1"), "2025-03-04T05:06:07Z").await.unwrap();
    let said = asked(&world, Some("q2"), "2025-03-04T05:06:07Z").await.unwrap_err();
    assert!(said.contains("already has a run of the logical date 2025-03-04T05:06:07Z: `q1`"), "{said}");
    let said = asked(&world, None, "2025-03-04T05:06:07Z").await.unwrap_err();
    assert!(said.contains("`q1`"), "{said}");
    asked(&world, Some("q3"), "2025-03-04T05:06:08Z").await.unwrap();
    let runs = world.engine.store.list_runs(&first.facts.dag_id, 10, None).await.unwrap().items;
    assert_eq!(runs.len(), 2, "a refused run leaves nothing");
    let due = world.engine.store.due(Timestamp::MAX, 100).await.unwrap().items;
    assert_eq!(due.len(), 3, "two runs and the DAG: {due:?}");
}

#[tokio::test]
async fn a_taken_run_id_gives_its_logical_date_back() {
    let world = world("null").await;
    asked(&world, Some("q"), "2025-03-04T05:06:07Z").await.unwrap();
    let said = asked(&world, Some("q"), "2025-03-05T05:06:07Z").await.unwrap_err();
    assert!(said.contains("already has a run `q`"), "{said}");
    asked(&world, Some("r"), "2025-03-05T05:06:07Z").await.unwrap();
}

/// Whoever claimed a date and died before it put its run does not keep it.
#[tokio::test]
async fn a_date_whose_run_is_gone_is_free_after_a_while() {
    let world = world("null").await;
    let date: Timestamp = "2025-03-04T05:06:07Z".parse().unwrap();
    for (age_s, free) in [(5, false), (61, true)] {
        let made = world.engine.clock.now() - SignedDuration::from_secs(age_s);
        let dead = RunName { run_id: "dead".into(), incarnation: Incarnation::trusted("gone"), run_after: made };
        let claimed = world.engine.store.put_run_date(&DagId::trusted("d"), date, &dead).await.unwrap();
        assert!(matches!(claimed, Outcome::Updated(_)));
        assert_eq!(asked(&world, None, "2025-03-04T05:06:07Z").await.is_ok(), free, "{age_s} s");
        world.engine.store.delete_run_date(&DagId::trusted("d"), date, &dead).await.unwrap();
    }
}

/// A date that the timetable has made a run for is taken too, whether its runs stand for instants or for intervals.
#[tokio::test]
async fn a_scheduled_runs_date_is_taken() {
    let yesterday = "\"@daily\"\n  catchup: true\n  start_date: 2025-03-01\n  end_date: 2025-03-02";
    let world = world(yesterday).await;
    world.engine.look_at_dag(&DagId::trusted("d")).await.unwrap();
    let said = asked(&world, None, "2025-03-02T00:00:00Z").await.unwrap_err();
    assert!(said.contains("`scheduled__2025-03-02T00:00:00+00:00`"), "{said}");
    asked(&world, None, "2025-03-02T00:00:01Z").await.unwrap();
    asked(&world, None, "2025-03-03T00:00:00Z").await.unwrap();
}

#[tokio::test]
async fn a_conf_must_fit_the_schemas() {
    let world = world("null").await;
    let dag = world.engine.store.dag(&DagId::trusted("d")).await.unwrap().unwrap();
    let mut version = world.engine.store.version(&dag.version.clone().unwrap()).await.unwrap().unwrap();
    version.dag.param_schemas = json!({"n": {"type": "integer", "maximum": 10}}).as_object().cloned().unwrap();
    let id = world.engine.store.put_version(&version).await.unwrap();
    let change = DagChange { version: Some(Some(id)), ..Default::default() };
    world.engine.store.update_dag(&dag.dag_id, &change).await.unwrap();
    for (conf, said) in [
        (Value::Null, Some("invalid input for param `n`: no value passed, and the param has no default")),
        (json!({"n": "x"}), Some("invalid input for param `n`: \"x\" is not of type \"integer\"")),
        (json!({"n": 11}), Some("11 is greater than the maximum of 10")),
        (json!({"n": 7, "more": [1]}), None),
        (json!({"n": 7, "more": "x".repeat(70_000)}), Some("at most 65536 fit")),
        (json!([1]), Some("must be a JSON object")),
    ] {
        match (world.engine.trigger(trigger(None, "", conf.clone())).await, said) {
            (Ok(_), None) => {}
            (Err(error), Some(said)) => assert!(error.to_string().contains(said), "{error}"),
            (answer, _) => panic!("{conf}: {answer:?}"),
        }
    }
}
