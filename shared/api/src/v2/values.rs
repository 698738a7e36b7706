//! Logs and XComs.

use super::query::Query;
use super::{Failure, shapes, task_instances};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use updraft_model::{RunDoc, TaskIndex};

/// `GET .../taskInstances/{task_id}/logs/{try_number}`: JSON, or one JSON object a line for `Accept: application/x-ndjson`.
///
/// While the try runs there is a continuation token: how much of the log is known already.
pub(super) async fn logs<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id, number)): Path<(String, String, String, i64)>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let known = match query.text("token") {
        None | Some("") => 0,
        Some(token) => token
            .parse::<usize>()
            .map_err(|_| Failure::bad_request("Bad Signature. Please use only the tokens provided by the API."))?,
    };
    let absent = || Failure::not_found("TaskInstance not found");
    let found = task_instances::find(&api, &dag_id, &run_id, &task_id).await;
    let (run, _) = found.map_err(|failure| if failure.status() == 404 { absent() } else { failure })?;
    let map_index = query.integer::<i64>("map_index")?.unwrap_or(-1);
    let number = u32::try_from(number).map_err(|_| absent())?;
    let views = api.engine.logs_of(&*api.logs, &run, &task_id, u32::try_from(map_index).ok(), Some(number)).await?;
    if views.is_empty() {
        return Err(absent());
    }
    let running = views.iter().any(|view| view.attempt.is_none());
    let text: String = views.into_iter().map(|view| view.text).collect();
    // A line that is still being written is left for the next request.
    let end = if running { text.rfind('\n').map_or(0, |i| i + 1) } else { text.len() };
    let from = known.min(end);
    let lines = text.get(from..end).unwrap_or_default().lines().map(event);
    let ndjson =
        headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("application/x-ndjson"));
    if ndjson {
        let body = lines.fold(String::new(), |body, line| body + &line.to_string() + "\n");
        let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response();
        if running {
            response.headers_mut().insert("airflow-continuation-token", HeaderValue::from(end));
        }
        return Ok(response);
    }
    let token = running.then(|| end.to_string());
    Ok(Json(json!({"content": lines.collect::<Vec<_>>(), "continuation_token": token})).into_response())
}

/// `GET .../taskInstances/{task_id}/externalLogUrl/{try_number}`: logs lie nowhere that a browser is let in.
pub(super) async fn external_log() -> Failure {
    Failure::bad_request("Task log handler does not support external logs.")
}

/// A line as Airflow's structured message. Lines begin with `[<instant>]` where the attempt's process wrote them so.
fn event(line: &str) -> Value {
    let stamped = line.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match stamped.filter(|(at, _)| at.parse::<jiff::Timestamp>().is_ok()) {
        Some((at, rest)) => json!({"timestamp": at, "event": rest}),
        None => json!({"event": line}),
    }
}

/// An XCom in a list: without its value.
pub(super) fn entry(
    run: &RunDoc,
    display_names: (&str, &str),
    at: Value,
    task_id: &str,
    map_index: i64,
    key: &str,
) -> Value {
    json!({
        "key": key,
        "timestamp": at,
        "logical_date": shapes::time_or_null(run.facts.logical_date),
        "map_index": map_index,
        "task_id": task_id,
        "dag_id": run.facts.dag_id,
        "run_id": run.facts.run_id,
        "dag_display_name": display_names.0,
        "task_display_name": display_names.1,
        "run_after": shapes::time(run.facts.run_after),
    })
}

/// The XComs of a task instance: key, entry, value.
pub(super) async fn entries<P: Parts>(
    api: &Api<P>,
    run: &RunDoc,
    index: TaskIndex,
    map_index: Option<i64>,
    key: Option<&str>,
) -> Result<Vec<(String, Value, Value)>, Failure> {
    let version = api.engine.version(&run.facts.version).await?;
    let task = version.plan.task(index);
    let task_id = task.task_id.as_str();
    let dag = &version.plan.dag;
    let names = (
        dag.dag_display_name.as_deref().unwrap_or(dag.dag_id.as_str()),
        task.task_display_name.as_deref().unwrap_or(task_id),
    );
    let pushed = api.engine.task_instance(run, index).await?.end_date.unwrap_or(run.facts.run_after);
    let mut found: Vec<(i64, String, Value)> = Vec::new();
    if map_index.is_none_or(|index| index == -1) {
        let whole = api.engine.xcoms(&*api.logs, run, Some(task_id), key).await?;
        found.extend(whole.into_iter().map(|(_, key, value)| (-1, key, value)));
    }
    if map_index.is_none_or(|index| index >= 0) && version.plan.unit_of(index).is_some() {
        let wanted = map_index.and_then(|index| u32::try_from(index).ok());
        let mapped = api.engine.mapped_xcoms(&*api.logs, run, Some(task_id), wanted, key).await?;
        found.extend(mapped.into_iter().map(|xcom| (i64::from(xcom.map_index), xcom.key, xcom.value)));
    }
    Ok(found
        .into_iter()
        .map(|(map_index, key, value)| {
            (key.clone(), entry(run, names, shapes::time(pushed), task_id, map_index, &key), value)
        })
        .collect())
}

/// `GET .../taskInstances/{task_id}/xcomEntries/{xcom_key}`.
pub(super) async fn xcom<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
    query: Query,
) -> Result<Json<Value>, Failure> {
    let stringify = query.boolean("stringify")?.unwrap_or(false);
    let (run, index) = task_instances::find(&api, &dag_id, &run_id, &task_id).await?;
    let missing = || Failure::not_found(format!("XCom entry with key: `{key}` not found"));
    let (_, mut entry, value) = entries(&api, &run, index, Some(query.integer("map_index")?.unwrap_or(-1)), Some(&key))
        .await?
        .pop()
        .ok_or_else(missing)?;
    entry["value"] =
        if stringify { value.as_str().map_or_else(|| value.to_string(), str::to_owned).into() } else { value };
    Ok(Json(entry))
}
