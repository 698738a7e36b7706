//! The routes over an engine in memory. Every answer below `/api/v2` is held to the contract.

mod administration;
mod audit;
mod auth;
mod backfills;
mod changes;
mod contract;
mod dags;
mod interventions;
mod large;
mod partitions;
mod requests;
mod state_store;

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use std::collections::BTreeMap;
use tower::ServiceExt;
use updraft_clock::System;
use updraft_log_store::Directory;
use updraft_metastore::memory::Memory;
use updraft_metastore::{DagSummary, Version};
use updraft_model::{Dag, DagDoc, DagId, Task, TaskId};
use updraft_service::Settings;
use updraft_task_queue::LocalQueue;

type TestEngine = Engine<Memory, LocalQueue, System>;

/// The routes over an engine, without logs and files.
fn served(engine: &Arc<TestEngine>, access: Access) -> Router {
    let nowhere = std::path::Path::new("/nonexistent");
    let logs = Arc::new(Directory::new(nowhere));
    let dags = Arc::new(updraft_dag_store::Directory::new(nowhere));
    router(engine.clone(), logs, dags, Setup { access, ..setup() })
}

async fn get_page(engine: &Arc<TestEngine>, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = served(engine, Access::Open).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn engine() -> Arc<Engine<Memory, LocalQueue, System>> {
    Arc::new(Engine::new(Memory::default(), LocalQueue::default(), System, Settings::default()))
}

#[tokio::test]
async fn health_is_airflows() {
    let (status, body) = get_page(&engine(), "/health").await;
    assert_eq!(status, StatusCode::OK);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["metadatabase"]["status"], "healthy");
    assert_eq!(body["scheduler"]["status"], "healthy");
}

#[tokio::test]
async fn the_ui_is_served_whole_compressed_and_strict() {
    let engine = engine();
    let get = |path: &str, encoding: &'static str| {
        let request = Request::get(path).header(header::ACCEPT_ENCODING, encoding).body(Body::empty()).unwrap();
        served(&engine, Access::Open).oneshot(request)
    };
    let page = get("/", "identity").await.unwrap();
    assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let html = String::from_utf8(to_bytes(page.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
    let named: Vec<&str> = html.split('"').filter(|part| part.starts_with("/assets/")).collect();
    assert!(named.len() >= 2, "{html}");
    for path in named {
        let asset = get(path, "br, gzip;q=0.9").await.unwrap();
        assert_eq!(asset.status(), StatusCode::OK, "{path}");
        assert_eq!(asset.headers()[header::CONTENT_ENCODING], "gzip", "{path}");
        assert!(asset.headers()[header::CACHE_CONTROL].to_str().unwrap().contains("immutable"), "{path}");
        assert!(get(path, "identity").await.unwrap().headers().get(header::CONTENT_ENCODING).is_none(), "{path}");
    }
    assert_eq!(get("/assets/..%2F..%2FCargo.toml", "").await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_view_is_answered_at_once() {
    let engine = engine_with_dags().await;
    let body = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    ask(&engine, json_to("POST", "/dags/etl/dagRuns", body)).await;
    let get = |path: &str| Request::get(format!("/api/updraft/v1{path}")).body(Body::empty()).unwrap();
    let (_, overview) = ask(&engine, get("/overview?search=E&limit=1")).await;
    assert_eq!(overview["counts"], json!({"dags": 2, "paused": 1, "active_runs": 0, "import_errors": 0}));
    assert_eq!((&overview["total_entries"], &overview["dags"][0]["dag_id"]), (&json!(2), &json!("etl")));
    assert_eq!(overview["dags"][0]["latest_runs"][0]["state"], "queued");
    let (_, paused) = ask(&engine, get("/overview?paused=true")).await;
    assert_eq!(paused["total_entries"], 1);
    let (_, grid) = ask(&engine, get("/dags/etl/grid?run_id=mine")).await;
    assert_eq!(grid["tasks"]["ids"][0], "extract");
    assert_eq!((&grid["runs"][0]["states"], grid["runs"].as_array().map(Vec::len)), (&json!("-"), Some(1)));
    assert_eq!(ask(&engine, get("/dags/etl/grid?run_id=nope")).await.0, StatusCode::NOT_FOUND);
}

async fn ask(engine: &Arc<TestEngine>, request: Request<Body>) -> (StatusCode, serde_json::Value) {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let response = served(engine, Access::Open).oneshot(request).await.unwrap();
    let status = response.status();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    contract::hold(&method, &path, status.as_u16(), &body);
    (status, body)
}

/// What the tests' server is set up with.
fn setup() -> Setup {
    let option = |section: &str, option: &str, value: &str| ConfigOption {
        section: section.to_owned(),
        option: option.to_owned(),
        value: value.to_owned(),
    };
    Setup {
        access: Access::Open,
        issuer: None,
        config: vec![option("core", "executor", "local"), option("api", "secret_key", "hunter22")],
    }
}

/// An engine with two DAGs of one task each, `etl` and the paused `report`.
async fn engine_with_dags() -> Arc<Engine<Memory, LocalQueue, System>> {
    let engine = engine();
    for (id, paused, tags) in [("etl", false, vec!["daily".to_owned()]), ("report", true, vec![])] {
        let dag_id = DagId::trusted(id);
        let task = Task::new(TaskId::trusted("extract"), "airflow.providers.standard.operators.bash.BashOperator");
        let mut dag = Dag::new(dag_id.clone(), vec![task]);
        dag.file = format!("{id}.yaml");
        let version = Version { dag, files: BTreeMap::new() };
        let version = engine.store.put_version(&version).await.unwrap();
        let mut doc = DagDoc::new(dag_id.clone(), format!("{id}.yaml"), paused);
        doc.version = Some(version);
        engine.store.put_dag(&doc).await.unwrap();
        let summary = DagSummary {
            dag_id,
            file: format!("{id}.yaml"),
            owners: vec!["airflow".to_owned()],
            tags,
            timetable: "None".to_owned(),
            description: None,
            is_stale: false,
            last_parsed: System.now(),
        };
        engine.store.put_dag_summary(&summary).await.unwrap();
    }
    engine
}

fn get_of(path: &str) -> Request<Body> {
    Request::get(format!("/api/v2{path}")).body(Body::empty()).unwrap()
}

fn json_to(method: &str, path: &str, body: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(format!("/api/v2{path}"));
    request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn dags_are_filtered_as_airflow_filters() {
    let engine = engine_with_dags().await;
    for (path, ids) in [
        ("/dags", vec!["etl", "report"]),
        ("/dags?order_by=-dag_id", vec!["report", "etl"]),
        ("/dags?limit=1&offset=1", vec!["report"]),
        ("/dags?paused=true", vec!["report"]),
        ("/dags?tags=daily&tags=weekly", vec!["etl"]),
        ("/dags?tags=daily&tags=weekly&tags_match_mode=all", vec![]),
        ("/dags?dag_id_pattern=EPO", vec!["report"]),
        ("/dags?owners=somebody", vec![]),
    ] {
        let (status, body) = ask(&engine, get_of(path)).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let found: Vec<&str> = body["dags"].as_array().unwrap().iter().map(|d| d["dag_id"].as_str().unwrap()).collect();
        assert_eq!(found, ids, "{path}");
    }
}

#[tokio::test]
async fn a_run_is_triggered_listed_and_shown() {
    let engine = engine_with_dags().await;
    let body = r#"{"logical_date": "2026-01-01T00:00:00Z", "dag_run_id": "mine", "conf": {"a": 1}}"#;
    let (status, run) = ask(&engine, json_to("POST", "/dags/etl/dagRuns", body)).await;
    assert_eq!(status, StatusCode::OK, "{run}");
    assert_eq!((run["state"].as_str(), run["logical_date"].as_str()), (Some("queued"), Some("2026-01-01T00:00:00Z")));
    let (_, runs) = ask(&engine, get_of("/dags/~/dagRuns?state=queued")).await;
    assert_eq!((&runs["total_entries"], &runs["dag_runs"][0]["dag_run_id"]), (&json!(1), &json!("mine")));
    let (_, none) = ask(&engine, get_of("/dags/etl/dagRuns?state=failed")).await;
    assert_eq!(none["total_entries"], 0);
    let (_, instances) = ask(&engine, get_of("/dags/etl/dagRuns/mine/taskInstances")).await;
    let instance = &instances["task_instances"][0];
    assert_eq!((&instance["task_id"], &instance["state"]), (&json!("extract"), &json!(null)));
    let (_, one) = ask(&engine, get_of("/dags/etl/dagRuns/mine/taskInstances/extract")).await;
    assert_eq!(&one, instance);
}

#[tokio::test]
async fn refusals_have_airflows_status_and_form() {
    let engine = engine_with_dags().await;
    for (request, status, said) in [
        (get_of("/dags/nope"), 404, "was not found"),
        (get_of("/dags/etl/dagRuns/nope"), 404, "run_id: `nope` was not found"),
        (get_of("/dags/etl/tasks/nope"), 404, "Task with id nope was not found"),
        (get_of("/nope"), 404, "Not Found"),
        (get_of("/dags?limit=many"), 422, "valid integer"),
        (get_of("/dags?order_by=colour"), 400, "Ordering with 'colour'"),
        (get_of("/dags/etl/dagRuns?start_date_gte=today"), 422, "valid datetime"),
        (json_to("POST", "/dags/etl/dagRuns", "{}"), 422, "Field required"),
        (json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "colour": 1}"#), 422, "Extra inputs"),
        (json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": "2026-01-01"}"#), 422, "timezone info"),
        (json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "conf": [1]}"#), 422, "valid dictionary"),
        (json_to("PATCH", "/dags/etl", r#"{"is_paused": "yes"}"#), 422, "valid boolean"),
        (json_to("PUT", "/dags/etl", "{}"), 405, "Method Not Allowed"),
    ] {
        let shown = format!("{request:?}");
        let (answered, body) = ask(&engine, request).await;
        assert_eq!(answered.as_u16(), status, "{shown}: {body}");
        assert!(body["detail"].to_string().contains(said), "{shown}: {body}");
    }
}

#[tokio::test]
async fn a_dag_is_paused_and_unpaused() {
    let engine = engine_with_dags().await;
    for paused in [true, false] {
        let body = json!({"is_paused": paused}).to_string();
        let (_, dag) = ask(&engine, json_to("PATCH", "/dags/etl", &body)).await;
        assert_eq!(dag["is_paused"], paused);
        assert_eq!(engine.store.dag(&DagId::trusted("etl")).await.unwrap().unwrap().paused, paused);
    }
}

#[tokio::test]
async fn other_names_than_this_machines_are_refused() {
    let engine = engine_with_dags().await;
    for (host, status) in [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("evil.example:8080", 421),
        ("localhost.evil.example", 421),
    ] {
        let request = Request::get("/api/v2/dags").header(header::HOST, host).body(Body::empty()).unwrap();
        assert_eq!(ask(&engine, request).await.0.as_u16(), status, "{host}");
    }
}
