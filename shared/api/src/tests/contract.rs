//! What is served against what Airflow's clients expect.

use super::*;
use crate::contract::{Operation, document, problems};
use std::collections::BTreeSet;

/// Operations that are not served yet.
const MISSING: &[&str] = &[
    "GET /assets",
    "GET /assets/aliases",
    "GET /assets/aliases/{asset_alias_id}",
    "GET /assets/events",
    "POST /assets/events",
    "POST /assets/{asset_id}/materialize",
    "GET /assets/{asset_id}/queuedEvents",
    "DELETE /assets/{asset_id}/queuedEvents",
    "GET /assets/{asset_id}",
    "GET /dags/{dag_id}/assets/queuedEvents",
    "DELETE /dags/{dag_id}/assets/queuedEvents",
    "GET /dags/{dag_id}/assets/{asset_id}/queuedEvents",
    "DELETE /dags/{dag_id}/assets/{asset_id}/queuedEvents",
    "GET /backfills",
    "POST /backfills",
    "GET /backfills/{backfill_id}",
    "PUT /backfills/{backfill_id}/pause",
    "PUT /backfills/{backfill_id}/unpause",
    "PUT /backfills/{backfill_id}/cancel",
    "POST /backfills/dry_run",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}",
    "PATCH /dags/{dag_id}/dagRuns",
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents",
    "POST /dags/{dag_id}/dagRuns/{dag_run_id}/clear",
    "POST /dags/{dag_id}/clearDagRuns",
    "POST /dags/{dag_id}/clearPartitions",
    "GET /dagSources/{dag_id}",
    "POST /dags/{dag_id}/favorite",
    "POST /dags/{dag_id}/unfavorite",
    "GET /eventLogs/{event_log_id}",
    "GET /eventLogs",
    "GET /assets/{asset_id}/state-store",
    "DELETE /assets/{asset_id}/state-store",
    "GET /assets/{asset_id}/state-store/{key}",
    "PUT /assets/{asset_id}/state-store/{key}",
    "DELETE /assets/{asset_id}/state-store/{key}",
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store",
    "DELETE /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store",
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
    "PUT /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
    "DELETE /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
    "DELETE /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
    "POST /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    "DELETE /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances",
    "POST /dags/{dag_id}/clearTaskInstances",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
    "PUT /parseDagFile/{file_token}",
    "GET /dags/{dag_id}/dagVersions/{version_number}",
    "GET /dags/{dag_id}/dagVersions",
    "PATCH /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails",
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}",
    "GET /dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails",
    "GET /auth/login",
    "GET /auth/logout",
];

/// The operation that a request is for.
fn operation(method: &str, path: &str) -> Option<(&'static str, Operation)> {
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
    let (_, served) = v2::routes::<parts::Of<Memory, LocalQueue, System, Directory>>();
    let served: BTreeSet<String> = served.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let missing: Vec<&str> = Operation::names().filter(|name| !served.contains(*name)).collect();
    assert_eq!(missing, MISSING);
}

#[test]
fn the_document_is_of_what_is_served() {
    let document = document(&[("GET", "/pools"), ("POST", "/pools")]);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/api/v2/pools"]);
    assert_eq!(document["paths"]["/api/v2/pools"]["post"]["operationId"], "post_pool");
    assert!(document["components"]["schemas"]["PoolBody"].is_object());
}
