//! Values kept beside task instances.

use super::*;

#[tokio::test]
async fn values_are_kept_beside_task_instances() {
    let engine = engine_with_dags().await;
    ask(&engine, json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    let store = "/dags/etl/dagRuns/mine/taskInstances/extract/state-store";
    let one = format!("{store}/a/b");
    assert_eq!(ask(&engine, get_of(&one)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&engine, json_to("PATCH", &one, r#"{"value": 1}"#)).await.0, StatusCode::NOT_FOUND);
    let (status, _) = ask(&engine, json_to("PUT", &one, r#"{"value": {"n": 1}, "expires_at": null}"#)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, json_to("PATCH", &one, r#"{"value": 2}"#)).await.0, StatusCode::OK);
    let (_, kept) = ask(&engine, get_of(&one)).await;
    assert_eq!((&kept["key"], &kept["value"], &kept["expires_at"]), (&json!("a/b"), &json!(2), &json!(null)));
    ask(&engine, json_to("PUT", &format!("{store}/c"), r#"{"value": "x"}"#)).await;
    let past = r#"{"value": "x", "expires_at": "2020-01-01T00:00:00Z"}"#;
    ask(&engine, json_to("PUT", &format!("{store}/gone"), past)).await;
    let (_, list) = ask(&engine, get_of(&format!("{store}?limit=1&offset=1"))).await;
    assert_eq!((&list["total_entries"], &list["task_state_store"][0]["key"]), (&json!(2), &json!("c")));
    assert!(list["task_state_store"][0]["expires_at"].is_string(), "kept for 30 days unless said otherwise");
    for body in [r#"{"value": null}"#, "{}", r#"{"value": 1, "expires_at": "soon"}"#] {
        assert_eq!(ask(&engine, json_to("PUT", &one, body)).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    }
    let elsewhere = "/dags/etl/dagRuns/mine/taskInstances/nope/state-store/a";
    assert_eq!(ask(&engine, json_to("PUT", elsewhere, r#"{"value": 1}"#)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&engine, json_to("DELETE", &one, "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, json_to("DELETE", store, "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, get_of(store)).await.1["total_entries"], 0);
}

#[tokio::test]
async fn assets_that_are_not_there_are_not_found_and_lists_are_empty() {
    let engine = engine_with_dags().await;
    for path in
        ["/assets", "/assets/aliases", "/assets/events", "/assets/7/queuedEvents", "/dags/etl/assets/queuedEvents"]
    {
        let (status, body) = ask(&engine, get_of(path)).await;
        assert_eq!((status.as_u16(), &body["total_entries"]), (200, &json!(0)), "{path}");
    }
    for path in
        ["/assets/7", "/assets/-1", "/assets/aliases/7", "/assets/7/state-store", "/dags/etl/assets/7/queuedEvents"]
    {
        assert_eq!(ask(&engine, get_of(path)).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    for (path, body) in
        [("/assets/events", r#"{"asset_id": 7}"#), ("/assets/7/materialize", "{}"), ("/assets/7/materialize", "")]
    {
        assert_eq!(ask(&engine, json_to("POST", path, body)).await.0, StatusCode::NOT_FOUND, "{path} {body}");
    }
    assert_eq!(
        ask(&engine, json_to("PUT", "/assets/7/state-store/k", r#"{"value": 1}"#)).await.0,
        StatusCode::NOT_FOUND
    );
}
