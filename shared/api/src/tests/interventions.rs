//! Clearing, marking, noting.

use super::*;

/// An engine with a run of `etl` whose task has been marked.
async fn engine_with_run(state: &str) -> Arc<TestEngine> {
    let engine = engine_with_dags().await;
    let body = r#"{"logical_date": "2026-01-01T00:00:00Z", "dag_run_id": "mine", "note": "why"}"#;
    let (status, run) = ask(&engine, json_to("POST", "/dags/etl/dagRuns", body)).await;
    assert_eq!((status.as_u16(), &run["note"]), (200, &json!("why")), "{run}");
    assert_eq!((&run["triggered_by"], &run["triggering_user_name"]), (&json!("rest_api"), &json!("Anonymous")));
    let patch = json!({"new_state": state}).to_string();
    let (status, said) = ask(&engine, json_to("PATCH", "/dags/etl/dagRuns/mine/taskInstances/extract", &patch)).await;
    assert_eq!((status.as_u16(), &said["total_entries"]), (200, &json!(1)), "{said}");
    assert_eq!(said["task_instances"][0]["state"], state);
    engine
}

async fn state(engine: &Arc<TestEngine>) -> serde_json::Value {
    ask(engine, get_of("/dags/etl/dagRuns/mine/taskInstances/extract")).await.1["state"].clone()
}

#[tokio::test]
async fn a_dry_clear_says_what_a_clear_does() {
    let engine = engine_with_run("failed").await;
    let clear = |dry: bool| json!({"dag_run_id": "mine", "dry_run": dry}).to_string();
    let (_, said) = ask(&engine, json_to("POST", "/dags/etl/clearTaskInstances", &clear(true))).await;
    assert_eq!((&said["total_entries"], &said["task_instances"][0]["state"]), (&json!(1), &json!("failed")));
    assert_eq!(state(&engine).await, "failed");
    let (_, did) = ask(&engine, json_to("POST", "/dags/etl/clearTaskInstances", &clear(false))).await;
    assert_eq!((&did["total_entries"], &did["task_instances"][0]["task_id"]), (&json!(1), &json!("extract")));
    assert_ne!(state(&engine).await, "failed");
    for (body, status) in [
        (r#"{"task_ids": ["nope"]}"#, 404),
        (r#"{"task_ids": []}"#, 422),
        (r#"{"only_failed": true, "only_running": true}"#, 422),
        (r#"{"colour": 1}"#, 422),
    ] {
        let (answered, said) = ask(&engine, json_to("POST", "/dags/etl/clearTaskInstances", body)).await;
        assert_eq!(answered.as_u16(), status, "{body}: {said}");
    }
}

#[tokio::test]
async fn a_mark_twice_is_a_conflict_and_a_dry_one_is_none() {
    let engine = engine_with_run("success").await;
    let task = "/dags/etl/dagRuns/mine/taskInstances/extract";
    let body = r#"{"new_state": "success"}"#;
    assert_eq!(ask(&engine, json_to("PATCH", task, body)).await.0, StatusCode::CONFLICT);
    let (_, none) = ask(&engine, json_to("PATCH", &format!("{task}/dry_run"), body)).await;
    assert_eq!(none["total_entries"], 0);
    let (_, would) = ask(&engine, json_to("PATCH", &format!("{task}/-1/dry_run"), r#"{"new_state": "failed"}"#)).await;
    assert_eq!((&would["total_entries"], &would["task_instances"][0]["state"]), (&json!(1), &json!("success")));
    let (status, _) = ask(&engine, json_to("PATCH", task, r#"{"new_state": "running"}"#)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, noted) = ask(&engine, json_to("PATCH", task, r#"{"note": "looked at"}"#)).await;
    assert_eq!(noted["task_instances"][0]["note"], "looked at");
    let group = "/dags/etl/dagRuns/mine/taskGroupInstances/nope";
    assert_eq!(ask(&engine, json_to("PATCH", group, body)).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&engine, json_to("DELETE", task, "")).await.0, StatusCode::OK);
    assert_ne!(state(&engine).await, "success");
}

#[tokio::test]
async fn a_run_is_patched_cleared_and_noted() {
    let engine = engine_with_run("success").await;
    let run = "/dags/etl/dagRuns/mine";
    let body = r#"{"state": "failed", "note": "by hand"}"#;
    let (_, noted) = ask(&engine, json_to("PATCH", &format!("{run}?update_mask=note"), body)).await;
    assert_eq!(noted["note"], "by hand");
    let (status, failed) = ask(&engine, json_to("PATCH", run, r#"{"state": "failed"}"#)).await;
    assert_eq!((status.as_u16(), &failed["note"]), (200, &json!("by hand")));
    // Null alone says nothing of the note; named by the mask, it takes it away.
    let (_, kept) = ask(&engine, json_to("PATCH", run, r#"{"note": null}"#)).await;
    assert_eq!(kept["note"], "by hand");
    for path in [run.to_owned(), format!("{run}/taskInstances/extract")] {
        ask(&engine, json_to("PATCH", &path, r#"{"note": "again"}"#)).await;
        let (status, said) =
            ask(&engine, json_to("PATCH", &format!("{path}?update_mask=note"), r#"{"note": null}"#)).await;
        assert_eq!(status.as_u16(), 200, "{said}");
        let (_, now) = ask(&engine, get_of(&path)).await;
        assert_eq!(now["note"], json!(null), "{path}");
    }
    let (_, would) = ask(&engine, json_to("POST", &format!("{run}/clear"), "{}")).await;
    assert_eq!(would["total_entries"], 1);
    let (_, cleared) = ask(&engine, json_to("POST", &format!("{run}/clear"), r#"{"dry_run": false}"#)).await;
    assert_eq!(cleared["state"], "queued");
    let all = r#"{"dag_runs": [{"dag_run_id": "mine", "dag_id": "etl"}], "dry_run": false}"#;
    let (_, cleared) = ask(&engine, json_to("POST", "/dags/~/clearDagRuns", all)).await;
    assert_eq!((&cleared["total_entries"], &cleared["dag_runs"][0]["dag_run_id"]), (&json!(1), &json!("mine")));
    let (_, none) = ask(&engine, json_to("POST", "/dags/etl/clearPartitions", r#"{"partition_key": "k"}"#)).await;
    assert_eq!(none, json!({"dag_runs_cleared": 0, "task_instances_cleared": 0, "dry_run": true}));
    let (status, _) = ask(&engine, json_to("POST", "/dags/etl/clearPartitions", "{}")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn bulk_patches_and_deletions_say_what_came_of_each() {
    let engine = engine_with_run("failed").await;
    let body = json!({"actions": [
        {"action": "update", "entities": [{"task_id": "extract", "new_state": "success"}, {"task_id": "nope", "new_state": "success"}]},
        {"action": "delete", "action_on_non_existence": "skip", "entities": ["nope"]},
    ]});
    let (_, said) = ask(&engine, json_to("PATCH", "/dags/etl/dagRuns/mine/taskInstances", &body.to_string())).await;
    assert_eq!(said["update"]["success"], json!(["etl.mine.extract[-1]"]));
    assert_eq!((&said["update"]["errors"][0]["status_code"], &said["delete"]), (&json!(404), &json!(null)));
    let body = json!({"actions": [
        {"action": "update", "entities": [{"dag_run_id": "mine", "note": "bulk"}]},
        {"action": "delete", "entities": ["nope"]},
        {"action": "create", "entities": [{"dag_run_id": "new"}]},
    ]});
    let (_, said) = ask(&engine, json_to("PATCH", "/dags/etl/dagRuns", &body.to_string())).await;
    assert_eq!(said["update"]["success"], json!(["etl.mine"]));
    assert_eq!(
        (&said["delete"]["errors"][0]["status_code"], &said["create"]["errors"][0]["status_code"]),
        (&json!(404), &json!(405))
    );
    assert_eq!(ask(&engine, get_of("/dags/etl/dagRuns/mine")).await.1["note"], "bulk");
}

#[tokio::test]
async fn pages_of_task_instances_are_parts_of_the_whole() {
    let engine = engine_with_dags().await;
    let dag_id = DagId::trusted("many");
    let tasks = ["e", "a", "d", "b", "c"].map(|id| Task::new(TaskId::trusted(id), "EmptyOperator"));
    let version = Version { dag: Dag::new(dag_id.clone(), tasks.to_vec()), files: BTreeMap::new() };
    let version = engine.store.put_version(&version).await.unwrap();
    let mut doc = DagDoc::new(dag_id.clone(), "many.yaml".to_owned(), false);
    doc.version = Some(version);
    engine.store.put_dag(&doc).await.unwrap();
    let summary = engine.store.dag_summary(&DagId::trusted("etl")).await.unwrap().unwrap();
    engine.store.put_dag_summary(&DagSummary { dag_id, file: "many.yaml".to_owned(), ..summary }).await.unwrap();
    let body = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    ask(&engine, json_to("POST", "/dags/many/dagRuns", body)).await;
    let list = "/dags/many/dagRuns/mine/taskInstances";
    ask(&engine, json_to("PATCH", &format!("{list}/b"), r#"{"new_state": "success"}"#)).await;
    // A filter that all fit: the list is made whole, and cut.
    let (_, whole) = ask(&engine, get_of(&format!("{list}?map_index=-1"))).await;
    assert_eq!(whole["total_entries"], 5, "{whole}");
    for (offset, limit) in [(0, 2), (1, 3), (4, 2), (5, 2), (9, 1), (0, 100)] {
        let (_, page) = ask(&engine, get_of(&format!("{list}?limit={limit}&offset={offset}"))).await;
        let expected: Vec<_> = whole["task_instances"].as_array().unwrap().iter().skip(offset).take(limit).collect();
        assert_eq!(page["task_instances"].as_array().unwrap().iter().collect::<Vec<_>>(), expected, "{offset}");
        assert_eq!(page["total_entries"], 5);
    }
}
