//! What is asked of DAGs beside lists and runs.

use super::*;

#[tokio::test]
async fn favourites_are_marked_and_found() {
    let engine = engine_with_dags().await;
    assert_eq!(ask(&engine, json_to("POST", "/dags/etl/favorite", "")).await.0, StatusCode::NO_CONTENT);
    let (_, found) = ask(&engine, get_of("/dags?is_favorite=true")).await;
    assert_eq!((&found["total_entries"], &found["dags"][0]["dag_id"]), (&json!(1), &json!("etl")));
    assert_eq!(ask(&engine, get_of("/dags/etl/details")).await.1["is_favorite"], true);
    assert_eq!(ask(&engine, json_to("POST", "/dags/etl/unfavorite", "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, json_to("POST", "/dags/etl/unfavorite", "")).await.0, StatusCode::CONFLICT);
    assert_eq!(ask(&engine, json_to("POST", "/dags/nope/favorite", "")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn dags_are_found_by_their_latest_run_and_counted_by_state() {
    let engine = engine_with_dags().await;
    let (_, run) =
        ask(&engine, json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    assert_eq!(run["dag_run_id"], "mine");
    for (query, total) in [
        ("last_dag_run_state=queued", 1),
        ("last_dag_run_state=failed", 0),
        ("dag_run_state=queued&dag_run_state=failed", 1),
        ("dag_run_start_date_gte=2026-01-01T00:00:00Z", 0),
        ("order_by=-last_run_state", 2),
        ("timetable_type=NullTimetable", 2),
        ("has_asset_schedule=true", 0),
        ("bundle_name=nope", 0),
    ] {
        assert_eq!(ask(&engine, get_of(&format!("/dags?{query}"))).await.1["total_entries"], total, "{query}");
    }
    let (_, stats) = ask(&engine, get_of("/dagStats?dag_ids=etl&dag_ids=report")).await;
    assert_eq!(stats["total_entries"], 1);
    assert_eq!(stats["dags"][0]["stats"][0], json!({"state": "queued", "count": 1}));
}

#[tokio::test]
async fn all_dags_of_a_pattern_are_paused_and_none_without_one() {
    let engine = engine_with_dags().await;
    let body = r#"{"is_paused": true}"#;
    assert_eq!(ask(&engine, json_to("PATCH", "/dags", body)).await.1["total_entries"], 0);
    let (_, paused) = ask(&engine, json_to("PATCH", "/dags?dag_id_pattern=~", body)).await;
    assert_eq!((&paused["total_entries"], &paused["dags"][0]["is_paused"]), (&json!(2), &json!(true)));
    assert_eq!(ask(&engine, get_of("/dags?paused=false")).await.1["total_entries"], 0);
}

#[tokio::test]
async fn runs_and_dags_are_deleted() {
    let engine = engine_with_dags().await;
    ask(&engine, json_to("POST", "/dags/etl/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    assert_eq!(ask(&engine, json_to("DELETE", "/dags/etl/dagRuns/mine", "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, get_of("/dags/etl/dagRuns/mine")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&engine, json_to("DELETE", "/dags/etl", "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, json_to("DELETE", "/dags/etl", "")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_batch_is_a_list_and_a_cursor_goes_through_all() {
    let engine = engine_with_dags().await;
    for n in 0..5 {
        let body = json!({"logical_date": format!("2026-01-0{}T00:00:00Z", n + 1), "dag_run_id": format!("r{n}")});
        ask(&engine, json_to("POST", "/dags/etl/dagRuns", &body.to_string())).await;
    }
    let body = r#"{"dag_ids": ["etl"], "states": ["queued"], "page_limit": 2, "order_by": "-run_id"}"#;
    let (_, page) = ask(&engine, json_to("POST", "/dags/~/dagRuns/list", body)).await;
    assert_eq!((&page["total_entries"], &page["dag_runs"][0]["dag_run_id"]), (&json!(5), &json!("r4")));
    let mut seen = Vec::new();
    let mut cursor = Some(String::new());
    while let Some(at) = cursor {
        let (_, page) = ask(&engine, get_of(&format!("/dags/etl/dagRuns?limit=2&order_by=run_id&cursor={at}"))).await;
        seen.extend(
            page["dag_runs"].as_array().unwrap().iter().map(|run| run["dag_run_id"].as_str().unwrap().to_owned()),
        );
        cursor = page["next_cursor"].as_str().map(str::to_owned);
    }
    assert_eq!(seen, ["r0", "r1", "r2", "r3", "r4"]);
    let (_, latest) = ask(&engine, get_of("/dags/etl/dagRuns?limit=2&offset=1&order_by=-run_after")).await;
    let (_, looked) = ask(&engine, get_of("/dags/etl/dagRuns?limit=2&offset=1&order_by=-run_after&state=queued")).await;
    assert_eq!(latest, looked, "what the index tells and what looking at the runs tells");
    let body = r#"{"task_ids": ["extract"], "state": [null], "page_limit": 3}"#;
    let (_, instances) = ask(&engine, json_to("POST", "/dags/~/dagRuns/~/taskInstances/list", body)).await;
    assert_eq!((&instances["total_entries"], instances["task_instances"].as_array().unwrap().len()), (&json!(5), 3));
    let (_, instances) = ask(&engine, get_of("/dags/etl/dagRuns/~/taskInstances?run_id_pattern=r1")).await;
    assert_eq!((&instances["total_entries"], &instances["task_instances"][0]["dag_run_id"]), (&json!(1), &json!("r1")));
}

#[tokio::test]
async fn paths_with_a_map_index_and_what_is_below_a_task_instance() {
    let engine = engine_with_dags().await;
    ask(&engine, json_to("POST", "/dags/report/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    let below = "/dags/report/dagRuns/mine/taskInstances/extract";
    for (path, status) in [
        ("", 200),
        ("/-1", 200),
        ("/0", 404),
        ("/listMapped", 404),
        ("/tries", 200),
        ("/-1/tries", 200),
        ("/tries/1", 404),
        ("/links", 200),
        ("/logs/1", 404),
        ("/logs/x", 422),
        ("/externalLogUrl/1", 400),
        ("/xcomEntries", 200),
        ("/xcomEntries/nope", 404),
        ("/dependencies?map_index=7", 404),
    ] {
        assert_eq!(ask(&engine, get_of(&format!("{below}{path}"))).await.0.as_u16(), status, "{path}");
    }
    let (_, said) = ask(&engine, get_of(&format!("{below}/dependencies"))).await;
    assert_eq!(said["dependencies"][0]["name"], "Dag Not Paused");
    let (_, same) = ask(&engine, get_of(&format!("{below}/-1/dependencies"))).await;
    assert_eq!(said, same);
}

#[tokio::test]
async fn waiting_gives_a_line_for_each_look_until_the_end() {
    let engine = engine_with_dags().await;
    ask(&engine, json_to("POST", "/dags/report/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#)).await;
    let waited =
        served(&engine, Access::Open).oneshot(get_of("/dags/report/dagRuns/mine/wait?interval=0.05")).await.unwrap();
    let name = engine.store.run_name(&DagId::trusted("report"), "mine").await.unwrap().unwrap();
    let (lines, _) = tokio::join!(to_bytes(waited.into_body(), 1 << 20), async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        engine.fail_run(&name.incarnation).await.unwrap()
    });
    let text = String::from_utf8(lines.unwrap().to_vec()).unwrap();
    let states: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&states[0], states.last()), (&json!({"state": "queued"}), Some(&json!({"state": "failed"}))));
    assert_eq!(ask(&engine, get_of("/dags/report/dagRuns/mine/wait")).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ask(&engine, get_of("/dags/report/dagRuns/nope/wait?interval=1")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_has_nothing_to_be_ordered_by_comes_last_and_in_descending_order_first() {
    let engine = engine_with_dags().await;
    ask(&engine, json_to("POST", "/dags/report/dagRuns", r#"{"logical_date": null}"#)).await;
    for body in [
        r#"{"connection_id": "a", "conn_type": "http"}"#,
        r#"{"connection_id": "b", "conn_type": "http", "host": "h", "port": 1}"#,
    ] {
        assert_eq!(ask(&engine, json_to("POST", "/connections", body)).await.0, StatusCode::CREATED);
    }
    for (list, name, of, ids) in [
        ("/dags", "last_run_state", "dags", ["report", "etl"]),
        ("/connections", "host", "connections", ["b", "a"]),
        ("/connections", "port", "connections", ["b", "a"]),
    ] {
        let id = if of == "dags" { "dag_id" } else { "connection_id" };
        for (sign, ids) in [("", ids), ("-", [ids[1], ids[0]])] {
            let (_, found) = ask(&engine, get_of(&format!("{list}?order_by={sign}{name}"))).await;
            let found: Vec<_> = found[of].as_array().unwrap().iter().map(|one| one[id].clone()).collect();
            assert_eq!(found, ids, "{sign}{name}");
        }
    }
    let too_many = "order_by=dag_id&".repeat(11);
    assert_eq!(ask(&engine, get_of(&format!("/dags?{too_many}"))).await.0, StatusCode::BAD_REQUEST);
}
