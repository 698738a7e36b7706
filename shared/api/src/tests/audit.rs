//! What the event log is told of changes, and how it is asked.

use super::*;
use crate::{Caller, Peer};
use updraft_model::user::Role;

async fn by(engine: &Arc<TestEngine>, name: &str, request: Request<Body>) -> StatusCode {
    let mut request = request;
    request.extensions_mut().insert(Caller { username: name.to_owned(), role: Role::Admin });
    request.extensions_mut().insert(Peer("203.0.113.9".to_owned()));
    served(engine, Access::Open).oneshot(request).await.unwrap().status()
}

async fn logs(engine: &Arc<TestEngine>, query: &str) -> Vec<serde_json::Value> {
    let (status, body) = ask(engine, get_of(&format!("/eventLogs{query}"))).await;
    assert_eq!(status, StatusCode::OK, "{query}: {body}");
    body["event_logs"].as_array().unwrap().clone()
}

fn extra(event: &serde_json::Value) -> serde_json::Value {
    serde_json::from_str(event["extra"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn every_change_says_who_what_when_and_from_where() {
    let engine = engine_with_dags().await;
    let trigger = r#"{"logical_date": "2026-01-01T00:00:00Z", "conf": {"n": 1, "api_token": "hunter22"}}"#;
    by(&engine, "ann", json_to("POST", "/dags/etl/dagRuns", trigger)).await;
    let run = engine.store.list_runs(&DagId::trusted("etl"), 1, None).await.unwrap().items.remove(0);
    let [event] = &logs(&engine, "").await[..] else { panic!("one event") };
    assert_eq!(
        (&event["event"], &event["owner"], &event["dag_id"]),
        (&json!("trigger_dag_run"), &json!("ann"), &json!("etl"))
    );
    assert_eq!((&event["run_id"], &event["logical_date"]), (&json!(run.facts.run_id), &json!("2026-01-01T00:00:00Z")));
    let told = extra(event);
    assert_eq!(
        (&told["from"], &told["method"], &told["conf"]["n"]),
        (&json!("203.0.113.9"), &json!("POST"), &json!(1))
    );
    assert!(!event["extra"].as_str().unwrap().contains("hunter22"), "{event}");
    let (_, same) = ask(&engine, get_of(&format!("/eventLogs/{}", event["event_log_id"]))).await;
    assert_eq!(&same, event);
    for id in ["7", "-1"] {
        assert_eq!(ask(&engine, get_of(&format!("/eventLogs/{id}"))).await.0, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn secrets_are_not_in_the_log() {
    let engine = engine_with_dags().await;
    for (method, path, body) in [
        ("POST", "/variables", r#"{"key": "region", "value": "hunter22"}"#),
        ("PATCH", "/variables/region", r#"{"key": "region", "value": "hunter22", "description": "where"}"#),
        (
            "PATCH",
            "/variables",
            r#"{"actions": [{"action": "create", "entities": [{"key": "b", "value": {"deep": "hunter22"}}]}]}"#,
        ),
        (
            "POST",
            "/connections",
            r#"{"connection_id": "c", "conn_type": "http", "password": "hunter22", "extra": "{\"a\": \"hunter22\"}"}"#,
        ),
    ] {
        assert!(by(&engine, "ann", json_to(method, path, body)).await.is_success(), "{method} {path}");
    }
    let events = logs(&engine, "").await;
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["post_variable", "patch_variable", "bulk_variables", "post_connection"]);
    assert!(!json!(events).to_string().contains("hunter22"), "{events:#?}");
    assert_eq!(extra(&events[0])["key"], "region");
}

#[tokio::test]
async fn what_changes_nothing_leaves_nothing() {
    let engine = engine_with_dags().await;
    by(&engine, "ann", json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    for (method, path, body) in [
        ("GET", "/dags", ""),
        ("POST", "/dags/~/dagRuns/list", "{}"),
        ("POST", "/dags/etl/clearTaskInstances", r#"{"dag_run_id": "mine", "only_failed": false}"#),
        ("PATCH", "/dags/etl/dagRuns/mine/taskInstances/extract/dry_run", r#"{"new_state": "failed"}"#),
        ("PATCH", "/dags/etl", r#"{"is_paused": "perhaps"}"#),
        ("DELETE", "/dags/nope", ""),
    ] {
        by(&engine, "ann", json_to(method, path, body)).await;
    }
    assert_eq!(logs(&engine, "?excluded_events=trigger_dag_run").await, [] as [serde_json::Value; 0]);
    let done = r#"{"dag_run_id": "mine", "only_failed": false, "dry_run": false}"#;
    by(&engine, "ann", json_to("POST", "/dags/etl/clearTaskInstances", done)).await;
    let cleared = logs(&engine, "?event=post_clear_task_instances").await;
    assert_eq!((&cleared[0]["run_id"], cleared.len()), (&json!("mine"), 1));
}

#[tokio::test]
async fn events_are_filtered_and_sorted() {
    let engine = engine_with_dags().await;
    for (name, dag_id, paused) in [("ann", "etl", true), ("bob", "etl", false), ("ann", "report", false)] {
        let body = json!({"is_paused": paused}).to_string();
        by(&engine, name, json_to("PATCH", &format!("/dags/{dag_id}"), &body)).await;
    }
    let all = logs(&engine, "?order_by=-when").await;
    let second = all[1]["when"].as_str().unwrap();
    for (query, count) in [
        ("?owner=ann".to_owned(), 2),
        ("?owner=an".to_owned(), 0),
        ("?owner_pattern=AN".to_owned(), 2),
        ("?dag_id=etl&owner=ann".to_owned(), 1),
        ("?dag_id_pattern=e".to_owned(), 3),
        ("?event=trigger_dag_run".to_owned(), 0),
        ("?included_events=patch_dag&limit=1".to_owned(), 1),
        ("?excluded_events=patch_dag".to_owned(), 0),
        ("?task_id=extract".to_owned(), 0),
        (format!("?before={second}"), 2),
        (format!("?after={second}"), 2),
        (format!("?after={second}&before={second}"), 1),
    ] {
        assert_eq!(logs(&engine, &query).await.len(), count, "{query}");
    }
    let owners: Vec<_> = logs(&engine, "?order_by=owner&order_by=-dag_id").await;
    let owners: Vec<_> = owners.iter().map(|event| (event["owner"].as_str(), event["dag_id"].as_str())).collect();
    assert_eq!(owners, [(Some("ann"), Some("report")), (Some("ann"), Some("etl")), (Some("bob"), Some("etl"))]);
    assert_eq!(ask(&engine, get_of("/eventLogs?order_by=colour")).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn users_are_in_the_log_without_their_passwords() {
    let engine = engine_with_dags().await;
    let ours = |method: &str, path: &str, body: &str| {
        let request = Request::builder().method(method).uri(format!("/api/updraft/v1{path}"));
        request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_owned())).unwrap()
    };
    for (method, path, body) in [
        ("POST", "/users", r#"{"username": "eve", "role": "viewer", "password": "hunter22hunter22"}"#),
        ("PATCH", "/users/eve", r#"{"password": "hunter22hunter23"}"#),
        ("DELETE", "/users/eve", ""),
    ] {
        assert!(by(&engine, "ann", ours(method, path, body)).await.is_success(), "{method}");
    }
    let events = logs(&engine, "").await;
    let told: Vec<_> = events.iter().map(|e| (e["event"].as_str().unwrap(), extra(e)["username"].clone())).collect();
    assert_eq!(told, [("create_user", json!("eve")), ("set_password", json!("eve")), ("delete_user", json!("eve"))]);
    assert!(!json!(events).to_string().contains("hunter22"), "{events:#?}");
}
