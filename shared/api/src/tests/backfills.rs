//! Backfills, and the versions of DAGs.

use super::*;
use updraft_metastore::DagVersion;
use updraft_model::VersionId;
use updraft_timetables::{CronStyle, Timetable, Timezone};

/// An engine with a DAG of a daily schedule.
async fn engine_with_dates() -> Arc<TestEngine> {
    let engine = engine_with_dags().await;
    let dag_id = DagId::trusted("etl");
    let doc = engine.store.dag(&dag_id).await.unwrap().unwrap();
    let old = engine.version(doc.version.as_ref().unwrap()).await.unwrap();
    let mut dag = old.plan.dag.clone();
    dag.timetable =
        Timetable::from_schedule(Some("@daily"), &Timezone::parse("UTC").unwrap(), CronStyle::Trigger).unwrap();
    dag.dag_display_name = Some("Orders".to_owned());
    let version = engine.store.put_version(&Version { dag, files: BTreeMap::new() }).await.unwrap();
    let change = updraft_model::DagChange { version: Some(Some(version)), ..updraft_model::DagChange::default() };
    engine.store.update_dag(&dag_id, &change).await.unwrap();
    engine
}

const JANUARY: &str = r#"{"dag_id": "etl", "from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-03T00:00:00Z"}"#;

#[tokio::test]
async fn a_backfill_is_tried_made_paused_and_cancelled() {
    let engine = engine_with_dates().await;
    let (status, dry) = ask(&engine, json_to("POST", "/backfills/dry_run", JANUARY)).await;
    assert_eq!((status.as_u16(), &dry["total_entries"]), (200, &json!(3)), "{dry}");
    assert_eq!(dry["backfills"][0]["logical_date"], "2026-01-01T00:00:00Z");
    assert_eq!(ask(&engine, get_of("/backfills?dag_id=etl")).await.1["total_entries"], 0);
    let (status, made) = ask(&engine, json_to("POST", "/backfills", JANUARY)).await;
    assert_eq!((status.as_u16(), &made["dag_display_name"]), (200, &json!("Orders")), "{made}");
    assert_eq!((&made["dag_run_conf"], &made["max_active_runs"]), (&json!({}), &json!(10)));
    let one = format!("/backfills/{}", made["id"]);
    assert_eq!(ask(&engine, get_of(&one)).await.1, made);
    assert_eq!(ask(&engine, json_to("POST", "/backfills", JANUARY)).await.0, StatusCode::CONFLICT);
    for (verb, is_paused) in [("pause", true), ("unpause", false)] {
        assert_eq!(ask(&engine, json_to("PUT", &format!("{one}/{verb}"), "")).await.1["is_paused"], is_paused);
    }
    let (_, list) = ask(&engine, get_of("/backfills?dag_id=etl&order_by=-id")).await;
    assert_eq!((&list["total_entries"], &list["backfills"][0]["id"]), (&json!(1), &made["id"]));
    let (_, cancelled) = ask(&engine, json_to("PUT", &format!("{one}/cancel"), "")).await;
    assert!(cancelled["completed_at"].is_string(), "{cancelled}");
    assert_eq!(ask(&engine, json_to("PUT", &format!("{one}/pause"), "")).await.0, StatusCode::CONFLICT);
    let (_, events) = ask(&engine, get_of("/eventLogs?event=create_backfill")).await;
    let extra: serde_json::Value = serde_json::from_str(events["event_logs"][0]["extra"].as_str().unwrap()).unwrap();
    assert_eq!((&extra["backfill_id"], &events["event_logs"][0]["dag_id"]), (&made["id"], &json!("etl")));
}

#[tokio::test]
async fn backfills_that_make_no_sense_are_refused() {
    let engine = engine_with_dates().await;
    let with = |name: &str, value: serde_json::Value| {
        let mut body: serde_json::Value = serde_json::from_str(JANUARY).unwrap();
        body[name] = value;
        body.to_string()
    };
    for (body, status) in [
        (with("dag_id", json!("nope")), 404),
        (with("dag_id", json!("report")), 409),
        (with("dag_id", json!("no such/id")), 422),
        (with("from_date", json!("2026-02-01T00:00:00Z")), 422),
        (with("from_date", json!("2026-01-01")), 422),
        (with("max_active_runs", json!(0)), 422),
        (with("max_active_runs", json!(-1)), 422),
        (with("max_active_runs", json!(5_000_000_000_i64)), 422),
        (with("reprocess_behavior", json!("all")), 422),
        (with("colour", json!(1)), 422),
        ("{}".to_owned(), 422),
    ] {
        for path in ["/backfills", "/backfills/dry_run"] {
            let (answered, said) = ask(&engine, json_to("POST", path, &body)).await;
            assert_eq!(answered.as_u16(), status, "{path} {body}: {said}");
        }
    }
    assert_eq!(ask(&engine, get_of("/backfills")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    for (method, path, status) in [
        ("GET", "/backfills/7", 404),
        ("GET", "/backfills/-7", 422),
        ("GET", "/backfills/x", 422),
        ("PUT", "/backfills/7/pause", 404),
        ("PUT", "/backfills/7/unpause", 404),
        ("PUT", "/backfills/7/cancel", 404),
    ] {
        assert_eq!(ask(&engine, json_to(method, path, "")).await.0.as_u16(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn versions_have_numbers_and_sources() {
    let engine = engine_with_dags().await;
    let dag_id = DagId::trusted("etl");
    for (number, source) in [(1, "first"), (2, "second")] {
        let version = DagVersion {
            version_number: number,
            version: VersionId::trusted(format!("v{number}")),
            created_at: System.now(),
            file: "etl.yaml".to_owned(),
        };
        engine.store.put_dag_version_with_source(&dag_id, &version, source.as_bytes()).await.unwrap();
    }
    let numbers = |list: &serde_json::Value| -> Vec<i64> {
        let all = list["dag_versions"].as_array().unwrap();
        all.iter().map(|version| version["version_number"].as_i64().unwrap()).collect()
    };
    let (_, list) = ask(&engine, get_of("/dags/etl/dagVersions?order_by=-version_number")).await;
    assert_eq!(numbers(&list), [2, 1]);
    for (query, wanted) in [
        ("", vec![1, 2]),
        ("?version_number=2", vec![2]),
        ("?bundle_name=dags-folder&limit=1", vec![1]),
        ("?bundle_name=elsewhere", vec![]),
        ("?bundle_version=abc", vec![]),
    ] {
        let (status, list) = ask(&engine, get_of(&format!("/dags/etl/dagVersions{query}"))).await;
        assert_eq!((status.as_u16(), numbers(&list)), (200, wanted), "{query}");
    }
    // Of the other DAG only what it is now is known: its first version.
    assert_eq!(ask(&engine, get_of("/dags/~/dagVersions")).await.1["total_entries"], 3);
    let (_, one) = ask(&engine, get_of("/dags/etl/dagVersions/2")).await;
    assert_eq!((&one["version_number"], &one["id"]), (&json!(2), &list["dag_versions"][0]["id"]));
    for path in
        ["/dags/etl/dagVersions/3", "/dags/etl/dagVersions/-1", "/dags/nope/dagVersions", "/dags/nope/dagVersions/1"]
    {
        assert_eq!(ask(&engine, get_of(path)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    // A run says which version it runs, and so do its task instances.
    let trigger = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    let (_, run) = ask(&engine, json_to("POST", "/dags/report/dagRuns", trigger)).await;
    assert_eq!(
        (&run["dag_versions"][0]["version_number"], run["dag_versions"].as_array().map(Vec::len)),
        (&json!(1), Some(1))
    );
    let (_, instance) = ask(&engine, get_of("/dags/report/dagRuns/mine/taskInstances/extract")).await;
    assert_eq!(instance["dag_version"], run["dag_versions"][0]);
    let (_, details) = ask(&engine, get_of("/dags/report/details")).await;
    assert_eq!(details["latest_dag_version"]["version_number"], 1);
    for (number, source) in [(1, "first"), (2, "second")] {
        let (_, found) = ask(&engine, get_of(&format!("/dagSources/etl?version_number={number}"))).await;
        assert_eq!((&found["content"], &found["version_number"]), (&json!(source), &json!(number)));
    }
    assert_eq!(ask(&engine, get_of("/dagSources/etl?version_number=3")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn xcoms_are_written_beside_an_attempt_that_won() {
    let engine = engine_with_dags().await;
    ask(&engine, json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    let xcoms = "/dags/etl/dagRuns/mine/taskInstances/extract/xcomEntries";
    let create = |body: &str| json_to("POST", xcoms, body);
    let (status, said) = ask(&engine, create(r#"{"key": "a", "value": 1}"#)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    assert!(said["detail"].as_str().unwrap().contains("has not ended"), "{said}");
    for (request, status) in [
        (create(r#"{"key": "", "value": 1}"#), 400),
        (create(r#"{"key": "a", "value": 1, "map_index": 3}"#), 404),
        (create(r#"{"key": "a"}"#), 422),
        (json_to("POST", &xcoms.replace("extract", "nope"), r#"{"key": "a", "value": 1}"#), 404),
        (json_to("PATCH", &format!("{xcoms}/a"), r#"{"value": 1}"#), 404),
        (json_to("DELETE", &format!("{xcoms}/a"), ""), 404),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(ask(&engine, request).await.0.as_u16(), status, "{shown}");
    }
}
