//! The routes over an engine in memory.

use super::*;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use tower::ServiceExt;
use updraft_clock::System;
use updraft_metastore::memory::Memory;
use updraft_metastore::{DagSummary, ImportError};
use updraft_model::{DagDoc, DagId};
use updraft_service::Settings;
use updraft_task_queue::LocalQueue;

async fn get_page(engine: &Arc<Engine<Memory, LocalQueue, System>>, path: &str) -> (StatusCode, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(engine.clone()).oneshot(request).await.unwrap();
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
async fn an_empty_deployment_says_what_to_do() {
    let (_, body) = get_page(&engine(), "/").await;
    assert!(body.contains("Put a YAML file into the DAG folder"), "{body}");
}

#[tokio::test]
async fn names_and_errors_are_escaped() {
    let engine = engine();
    let dag_id = DagId::trusted("d");
    engine.store.put_dag(&DagDoc::new(dag_id.clone(), "<b>.yaml".to_owned(), true)).await.unwrap();
    let summary = DagSummary {
        dag_id,
        file: "<script>alert(1)</script>.yaml".to_owned(),
        owners: vec![],
        tags: vec![],
        timetable: "@daily".to_owned(),
        description: None,
        is_stale: false,
        last_parsed: System.now(),
    };
    engine.store.put_dag_summary(&summary).await.unwrap();
    let stack_trace = "x.yaml:1:1: error: <img src=x>".to_owned();
    let error = ImportError { path: "x.yaml".to_owned(), timestamp: System.now(), stack_trace };
    engine.store.put_import_error(&error).await.unwrap();
    let (_, body) = get_page(&engine, "/").await;
    assert!(!body.contains("<script>") && !body.contains("<img"), "{body}");
    assert!(body.contains("&lt;script&gt;") && body.contains("paused"), "{body}");
}
