//! What is served against what Airflow's clients expect.

use super::*;
use crate::contract::{Operation, document, problems};
use std::collections::BTreeSet;

/// Operations that are not served yet, and those of logging in, which are served beside the contract.
const MISSING: &[&str] = &["GET /auth/login", "GET /auth/logout"];

/// The operation that a request is for.
pub(super) fn operation(method: &str, path: &str) -> Option<(&'static str, Operation)> {
    let given: Vec<&str> = path.strip_prefix("/api/v2/")?.split('/').collect();
    let fits = |template: &str| {
        let parts: Vec<&str> = template[1..].split('/').collect();
        // A last parameter may have slashes in it.
        let open =
            parts.last().is_some_and(|last| ["{pool_name}", "{variable_key}", "{xcom_key}", "{key}"].contains(last));
        (parts.len() == given.len() || (open && given.len() > parts.len()))
            && parts.iter().zip(&given).all(|(part, given)| part.starts_with('{') || part == given)
    };
    let literal = |template: &&&str| template.matches('{').count();
    let found: Vec<&str> =
        Operation::names().filter(|name| name.split_once(' ').is_some_and(|(m, t)| m == method && fits(t))).collect();
    let name = *found.iter().min_by_key(literal)?;
    let (method, path) = name.split_once(' ')?;
    Some((name, Operation::find(method, path)?))
}

/// Holds an answer to what the contract says of it.
pub(super) fn hold(method: &str, path: &str, status: u16, body: &serde_json::Value) {
    let Some((name, operation)) = operation(method, path) else { return };
    let answers = operation.answers();
    let Some(answer) = answers.get(&status.to_string()) else { panic!("{name} does not answer {status}: {body}") };
    if let Some(schema) = answer["content"]["application/json"].get("schema") {
        let wrong = problems(schema, body);
        assert!(wrong.is_empty(), "{name} {status}: {wrong:#?}\nin {body:#}");
    }
}

#[test]
fn what_is_served_is_airflows_and_what_is_missing_is_known() {
    let (_, served) = v2::routes::<parts::Of<Memory, LocalQueue, System, Directory, updraft_dag_store::Directory>>();
    let served: BTreeSet<String> = served.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let missing: Vec<&str> = Operation::names().filter(|name| !served.contains(*name)).collect();
    assert_eq!(missing, MISSING);
    let declared: BTreeSet<&str> = Operation::names().collect();
    let foreign: Vec<&String> = served.iter().filter(|name| !declared.contains(name.as_str())).collect();
    assert!(foreign.is_empty(), "served, and not in the contract: {foreign:?}");
}

#[test]
fn the_document_is_of_what_is_served() {
    let document = document(&[("GET", "/pools"), ("POST", "/pools")]);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/api/v2/pools"]);
    assert_eq!(document["paths"]["/api/v2/pools"]["post"]["operationId"], "post_pool");
    assert!(document["components"]["schemas"]["PoolBody"].is_object());
}

#[test]
fn the_document_says_what_airflow_answers_where_airflows_own_does_not() {
    let document = document(&[("POST", "/connections/enqueue-test")]);
    let form =
        &document["components"]["schemas"]["ClearTaskInstanceCollectionResponse"]["properties"]["task_instances"];
    assert!(form["items"]["oneOf"].is_null() && form["items"]["anyOf"].is_array(), "{form}");
    let answers = &document["paths"]["/api/v2/connections/enqueue-test"]["post"]["responses"];
    let forms = &answers["422"]["content"]["application/json"]["schema"]["anyOf"];
    assert_eq!(forms.as_array().map(Vec::len), Some(2), "{answers}");
}

#[tokio::test]
async fn paths_that_cannot_be_read_are_answered_as_json() {
    let engine = engine_with_dags().await;
    let trigger = r#"{"logical_date": null, "dag_run_id": "mine"}"#;
    ask(&engine, json_to("POST", "/dags/etl/dagRuns", trigger)).await;
    let log = "/dags/etl/dagRuns/mine/taskInstances/extract/logs";
    for (path, status) in [("/dags/%FF".to_owned(), 400), (format!("{log}/53677646392003648"), 404)] {
        let (answered, body) = ask(&engine, get_of(&path)).await;
        assert_eq!((answered.as_u16(), body["detail"].is_string()), (status, true), "{path}: {body}");
    }
}
