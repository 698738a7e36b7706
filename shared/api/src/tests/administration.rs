//! Pools, variables, connections, configuration.

use super::*;

#[tokio::test]
async fn a_pool_is_made_changed_listed_and_deleted() {
    let engine = engine_with_dags().await;
    let (status, made) = ask(&engine, json_to("POST", "/pools", r#"{"name": "a/b", "slots": 3}"#)).await;
    assert_eq!((status.as_u16(), &made["open_slots"], &made["include_deferred"]), (201, &json!(3), &json!(false)));
    let (status, _) = ask(&engine, json_to("POST", "/pools", r#"{"name": "a/b", "slots": 3}"#)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, list) = ask(&engine, get_of("/pools?order_by=-name")).await;
    let names: Vec<&str> = list["pools"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default_pool", "a/b"]);
    let (_, changed) = ask(&engine, json_to("PATCH", "/pools/a/b", r#"{"slots": 5, "description": "d"}"#)).await;
    assert_eq!((&changed["slots"], &changed["description"]), (&json!(5), &json!("d")));
    // A mask lets through what it names, and nothing else.
    let masked = json_to("PATCH", "/pools/a/b?update_mask=slots", r#"{"slots": 7, "description": "e"}"#);
    let (_, changed) = ask(&engine, masked).await;
    assert_eq!((&changed["slots"], &changed["description"]), (&json!(7), &json!("d")));
    assert_eq!(ask(&engine, json_to("DELETE", "/pools/a/b", "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, get_of("/pools/a/b")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(ask(&engine, json_to("DELETE", "/pools/default_pool", "")).await.0, StatusCode::BAD_REQUEST);
    let (status, _) =
        ask(&engine, json_to("PATCH", "/pools/default_pool", r#"{"slots": 7, "description": "e"}"#)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_variable_is_made_changed_listed_and_deleted() {
    let engine = engine_with_dags().await;
    let body = r#"{"key": "x/y", "value": {"password": "hunter22", "n": 1}, "description": "d"}"#;
    let (status, made) = ask(&engine, json_to("POST", "/variables", body)).await;
    assert_eq!((status.as_u16(), &made["value"]), (201, &json!(r#"{"password":"***","n":1}"#)));
    assert_eq!(ask(&engine, json_to("POST", "/variables", body)).await.0, StatusCode::CONFLICT);
    let (_, changed) = ask(&engine, json_to("PATCH", "/variables/x/y", r#"{"key": "x/y", "value": "v"}"#)).await;
    assert_eq!((&changed["value"], &changed["description"]), (&json!("v"), &json!("d")));
    let (status, _) = ask(&engine, json_to("PATCH", "/variables/x/y", r#"{"key": "z", "value": "v"}"#)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (_, list) = ask(&engine, get_of("/variables?variable_key_pattern=X/&limit=1")).await;
    assert_eq!((&list["total_entries"], &list["variables"][0]["key"]), (&json!(1), &json!("x/y")));
    assert_eq!(ask(&engine, json_to("DELETE", "/variables/x/y", "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, json_to("DELETE", "/variables/x/y", "")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_connection_is_made_changed_listed_and_deleted() {
    let engine = engine_with_dags().await;
    let body = r#"{"connection_id": "db", "conn_type": "postgres", "password": "hunter22", "port": 5432}"#;
    let (status, made) = ask(&engine, json_to("POST", "/connections", body)).await;
    assert_eq!((status.as_u16(), &made["password"], &made["port"]), (201, &json!("***"), &json!(5432)));
    assert_eq!(ask(&engine, json_to("POST", "/connections", body)).await.0, StatusCode::CONFLICT);
    let body = r#"{"connection_id": "db", "conn_type": "mysql", "password": "***"}"#;
    let (_, changed) = ask(&engine, json_to("PATCH", "/connections/db", body)).await;
    assert_eq!((&changed["conn_type"], &changed["port"]), (&json!("mysql"), &json!(5432)));
    let kept = engine.store.connection("db").await.unwrap().unwrap();
    assert_eq!(kept.password.as_deref(), Some("hunter22"));
    let (_, list) = ask(&engine, get_of("/connections?order_by=-connection_id")).await;
    assert_eq!(list["total_entries"], 1);
    for tested in ["/connections/test", "/connections/enqueue-test"] {
        assert_eq!(ask(&engine, json_to("POST", tested, body)).await.0, StatusCode::FORBIDDEN);
    }
    assert_eq!(ask(&engine, json_to("POST", "/connections/defaults", "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, json_to("DELETE", "/connections/db", "")).await.0, StatusCode::NO_CONTENT);
    assert_eq!(ask(&engine, get_of("/connections/db")).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bulk_requests_say_what_came_of_each_action() {
    let engine = engine_with_dags().await;
    let body = json!({"actions": [
        {"action": "create", "entities": [{"name": "a", "slots": 1}, {"name": "b", "slots": 2}]},
        {"action": "create", "entities": [{"name": "b", "slots": 9}, {"name": "c", "slots": 3}]},
        {"action": "create", "action_on_existence": "skip", "entities": [{"name": "b", "slots": 9}, {"name": "c", "slots": 3}]},
        {"action": "create", "action_on_existence": "overwrite", "entities": [{"name": "a", "slots": 8, "description": "d"}]},
        {"action": "update", "entities": [{"name": "c", "slots": 4}], "update_mask": ["slots"]},
        {"action": "delete", "entities": ["nope", "b"]},
        {"action": "delete", "action_on_non_existence": "skip", "entities": ["nope", {"name": "b", "slots": 0}]},
    ]});
    let (status, said) = ask(&engine, json_to("PATCH", "/pools", &body.to_string())).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(said["create"]["success"], json!(["a", "b", "c", "a"]));
    assert_eq!(
        said["create"]["errors"],
        json!([{"error": "The pools with these pool names: {'b'} already exist.", "status_code": 409}])
    );
    assert_eq!((&said["update"]["success"], &said["delete"]["success"]), (&json!(["c"]), &json!(["b"])));
    assert_eq!(said["delete"]["errors"][0]["status_code"], 404);
    let (_, list) = ask(&engine, get_of("/pools")).await;
    let slots: Vec<_> =
        list["pools"].as_array().unwrap().iter().map(|p| (p["name"].clone(), p["slots"].clone())).collect();
    assert_eq!(slots, [(json!("a"), json!(8)), (json!("c"), json!(4)), (json!("default_pool"), json!(-1))]);
    let variables = json!({"actions": [
        {"action": "create", "entities": [{"key": "k", "value": 1}]},
        {"action": "update", "entities": [{"key": "k", "value": "2"}]},
        {"action": "delete", "entities": ["k"]},
    ]});
    let (_, said) = ask(&engine, json_to("PATCH", "/variables", &variables.to_string())).await;
    for verb in ["create", "update", "delete"] {
        assert_eq!((&said[verb]["success"], &said[verb]["errors"]), (&json!(["k"]), &json!([])), "{verb}");
    }
    let connections = json!({"actions": [
        {"action": "create", "entities": [{"connection_id": "c", "conn_type": "http"}]},
        {"action": "delete", "entities": ["c"]},
    ]});
    let (_, said) = ask(&engine, json_to("PATCH", "/connections", &connections.to_string())).await;
    assert_eq!((&said["delete"]["success"], &said["update"]), (&json!(["c"]), &json!(null)));
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let engine = engine_with_dags().await;
    let (_, all) = ask(&engine, get_of("/config")).await;
    assert_eq!(all["sections"][0], json!({"name": "core", "options": [{"key": "executor", "value": "local"}]}));
    assert!(!all.to_string().contains("hunter22"), "{all}");
    let (_, one) = ask(&engine, get_of("/config/section/core/option/executor")).await;
    assert_eq!(one["sections"][0]["options"][0]["value"], "local");
    assert_eq!(ask(&engine, get_of("/config?section=nope")).await.0, StatusCode::NOT_FOUND);
    let text =
        Request::get("/api/v2/config?section=core").header(header::ACCEPT, "text/plain").body(Body::empty()).unwrap();
    let response = served(&engine, Access::Open).oneshot(text).await.unwrap();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    assert_eq!(&body[..], b"[core]\nexecutor = local\n\n");
    let image = Request::get("/api/v2/config").header(header::ACCEPT, "image/png").body(Body::empty()).unwrap();
    assert_eq!(ask(&engine, image).await.0, StatusCode::NOT_ACCEPTABLE);
}

#[tokio::test]
async fn what_there_is_none_of_is_an_empty_list() {
    let engine = engine_with_dags().await;
    for (path, name) in [
        ("/jobs", "jobs"),
        ("/plugins", "plugins"),
        ("/plugins/importErrors", "import_errors"),
        ("/providers", "providers"),
    ] {
        let (status, body) = ask(&engine, get_of(path)).await;
        assert_eq!((status.as_u16(), &body[name], &body["total_entries"]), (200, &json!([]), &json!(0)), "{path}");
    }
    for path in ["/version", "/monitor/health"] {
        assert_eq!(ask(&engine, get_of(path)).await.0, StatusCode::OK, "{path}");
    }
}
