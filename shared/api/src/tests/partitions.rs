//! Runs of partitioned DAGs: made for a partition by hand, and the partition taken from them.

use super::*;
use updraft_timetables::{CronExpression, CronPartition, RunImmediately, Timetable, Timezone};

/// A partition a day, and a run for one of them whose task has been marked.
async fn engine_with_partition() -> Arc<TestEngine> {
    let engine = engine_with_dags().await;
    let dag_id = DagId::trusted("parts");
    let mut dag = Dag::new(dag_id.clone(), vec![Task::new(TaskId::trusted("make"), "EmptyOperator")]);
    let (cron, zone) = (CronExpression::parse("0 0 * * *").unwrap(), Timezone::parse("UTC").unwrap());
    let timetable = CronPartition::new(cron, zone, 0, "%Y-%m-%d", RunImmediately::default()).unwrap();
    dag.timetable = Timetable::CronPartition(timetable);
    let version = engine.store.put_version(&Version { dag, files: BTreeMap::new() }).await.unwrap();
    let mut doc = DagDoc::new(dag_id.clone(), "parts.yaml".to_owned(), false);
    doc.version = Some(version);
    engine.store.put_dag(&doc).await.unwrap();
    let summary = engine.store.dag_summary(&DagId::trusted("etl")).await.unwrap().unwrap();
    let summary = DagSummary { dag_id, file: "parts.yaml".to_owned(), ..summary };
    engine.store.put_dag_summary(&summary).await.unwrap();
    let body = r#"{"logical_date": null, "dag_run_id": "fifth", "partition_key": "2026-01-05"}"#;
    let (status, run) = ask(&engine, json_to("POST", "/dags/parts/dagRuns", body)).await;
    assert_eq!(status, StatusCode::OK, "{run}");
    assert_eq!((&run["partition_key"], &run["partition_date"]), (&json!("2026-01-05"), &json!("2026-01-05T00:00:00Z")));
    let done = r#"{"new_state": "success"}"#;
    let task = "/dags/parts/dagRuns/fifth/taskInstances/make";
    assert_eq!(ask(&engine, json_to("PATCH", task, done)).await.0, StatusCode::OK);
    engine
}

#[tokio::test]
async fn a_run_is_made_for_a_partition_that_there_is() {
    let engine = engine_with_partition().await;
    for (dag, key, said) in [
        ("parts", "yesterday", "key_format"),
        ("parts", "2026-02-30", "key_format"),
        ("etl", "2026-01-05", "leave it out"),
    ] {
        let body = json!({"logical_date": null, "partition_key": key}).to_string();
        let (status, refused) = ask(&engine, json_to("POST", &format!("/dags/{dag}/dagRuns"), &body)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
        assert!(refused["detail"].as_str().unwrap().contains(said), "{refused}");
    }
}

#[tokio::test]
async fn partitions_are_taken_from_runs() {
    let engine = engine_with_partition().await;
    let clear = async |body: serde_json::Value| {
        let (status, said) = ask(&engine, json_to("POST", "/dags/parts/clearPartitions", &body.to_string())).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        (said["dag_runs_cleared"].as_u64().unwrap(), said["task_instances_cleared"].as_u64().unwrap())
    };
    let run = async || ask(&engine, get_of("/dags/parts/dagRuns/fifth")).await.1;
    assert_eq!(clear(json!({"partition_key": "2026-01-06", "dry_run": false})).await, (0, 0));
    let window = json!({"partition_date_start": "2026-01-04T00:00:00Z", "partition_date_end": "2026-01-05T00:00:00Z"});
    assert_eq!(clear(window.clone()).await, (1, 0));
    let both = json!({"run_id": "fifth", "clear_task_instances": true});
    assert_eq!(clear(both.clone()).await, (1, 1));
    assert_eq!(run().await["partition_key"], "2026-01-05", "a look changes nothing");
    let mut done = both;
    done["dry_run"] = false.into();
    assert_eq!(clear(done.clone()).await, (1, 1));
    let cleared = run().await;
    assert_eq!((&cleared["partition_key"], &cleared["partition_date"]), (&json!(null), &json!(null)));
    let (_, task) = ask(&engine, get_of("/dags/parts/dagRuns/fifth/taskInstances/make")).await;
    assert_ne!(task["state"], "success");
    assert_eq!(clear(done).await, (0, 0), "it has none any more");
}

#[tokio::test]
async fn an_event_of_a_partition_is_refused_before_anything_is_written() {
    let engine = engine_with_partition().await;
    let body = r#"{"asset_id": 1, "partition_key": "2026-01-05"}"#;
    let (status, refused) = ask(&engine, json_to("POST", "/assets/events", body)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let said = refused["detail"].as_str().unwrap();
    assert!(said.contains("waits for a partition") && said.contains("leave `partition_key` out"), "{said}");
    assert_eq!(ask(&engine, get_of("/assets/events")).await.1["total_entries"], 0);
}
