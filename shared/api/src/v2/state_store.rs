//! State stores: values that people and programs keep beside task instances and assets.

use super::query::Query;
use super::{Failure, NoContent, assets, shapes, task_instances};
use crate::contract::{Body, instant};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_metastore::{Kept, Scope};
use updraft_service::Error;

type Answer = Result<Json<Value>, Failure>;

/// `[state_store] default_retention_days`.
const RETENTION_DAYS: i64 = 30;

/// `[state_store] max_value_storage_bytes`.
const VALUE_BYTES_MAX: usize = 65_535;

/// The longest name, in bytes: it stands in the item's key.
const KEY_BYTES_MAX: usize = 512;

fn missing(kind: &str, key: &str) -> Failure {
    Failure::not_found(format!("{kind} state store key '{key}' not found"))
}

fn entry(key: &str, kept: &Kept) -> Value {
    json!({"key": key, "value": kept.value, "updated_at": shapes::time(kept.updated_at)})
}

fn of_task(key: &str, kept: &Kept) -> Value {
    let mut shown = entry(key, kept);
    shown["expires_at"] = shapes::time_or_null(kept.expires_at);
    shown
}

fn of_asset(key: &str, kept: &Kept) -> Value {
    let mut shown = entry(key, kept);
    shown["last_updated_by"] =
        json!({"kind": "api", "dag_id": null, "run_id": null, "task_id": null, "map_index": null});
    shown
}

/// The value of a body, if it can be kept.
fn value(body: &Value, key: &str) -> Result<Value, Failure> {
    let value = &body["value"];
    let refuse = |message: String| Err(Failure::invalid("value_error", "body", "value", &message, value));
    let bytes = value.to_string().len();
    if value.is_null() {
        return refuse("Value error, value cannot be null".to_owned());
    }
    if bytes > VALUE_BYTES_MAX {
        return refuse(format!("Value error, value exceeds max_value_storage_bytes ({VALUE_BYTES_MAX})"));
    }
    if key.len() > KEY_BYTES_MAX {
        let message = format!("String should have at most {KEY_BYTES_MAX} bytes");
        return Err(Failure::invalid("string_too_long", "path", "key", &message, &key.into()));
    }
    Ok(value.clone())
}

/// What counts still.
async fn counting<P: Parts>(api: &Api<P>, scope: &Scope, key: &str) -> Result<Option<Kept>, Failure> {
    let now = api.engine.now();
    let found = api.engine.store.kept_value(scope, key).await?;
    Ok(found.filter(|kept| kept.expires_at.is_none_or(|at| at > now)))
}

async fn page<P: Parts>(
    api: &Api<P>,
    scope: &Scope,
    query: &Query,
    shown: fn(&str, &Kept) -> Value,
) -> Result<(Vec<Value>, usize), Failure> {
    let page = query.page()?;
    let now = api.engine.now();
    let mut found = api.engine.store.kept_values(scope).await?;
    found.retain(|(_, kept)| kept.expires_at.is_none_or(|at| at > now));
    let total = found.len();
    Ok((page.of(found).iter().map(|(key, kept)| shown(key, kept)).collect(), total))
}

/// What the path names.
#[derive(Debug, Deserialize)]
pub(super) struct TaskPath {
    dag_id: String,
    dag_run_id: String,
    task_id: String,
    #[serde(default)]
    key: String,
}

/// The scope of a task instance that is there.
async fn scope<P: Parts>(api: &Api<P>, path: &TaskPath, query: &Query) -> Result<Scope, Failure> {
    let TaskPath { dag_id, dag_run_id, task_id, .. } = path;
    let map_index = query.integer::<i64>("map_index")?.unwrap_or(-1);
    let (run, task) = task_instances::find_at(api, dag_id, dag_run_id, task_id, map_index).await.map_err(|failure| {
        if failure.status() != 404 {
            return failure;
        }
        Failure::not_found(format!(
            "Task instance not found for dag_id='{dag_id}', run_id='{dag_run_id}', task_id='{task_id}', map_index={map_index}"
        ))
    })?;
    Ok(Scope::Task(run.facts.incarnation, task, map_index))
}

/// `GET .../taskInstances/{task_id}/state-store`.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, Path(path): Path<TaskPath>, query: Query) -> Answer {
    let (entries, total) = match scope(&api, &path, &query).await {
        Ok(scope) => page(&api, &scope, &query, of_task).await?,
        // As in Airflow, nothing is kept beside what is not there.
        Err(failure) if failure.status() == 404 => (Vec::new(), 0),
        Err(failure) => return Err(failure),
    };
    Ok(Json(json!({"task_state_store": entries, "total_entries": total})))
}

/// `GET .../taskInstances/{task_id}/state-store/{key}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(path): Path<TaskPath>, query: Query) -> Answer {
    let key = &path.key;
    let kept = match scope(&api, &path, &query).await {
        Ok(scope) => counting(&api, &scope, key).await?,
        Err(failure) if failure.status() == 404 => None,
        Err(failure) => return Err(failure),
    };
    Ok(Json(of_task(key, &kept.ok_or_else(|| missing("Task", key))?)))
}

/// When a value is to count no more: `default`, null for never, or an instant.
fn expiry(body: &Value, now: Timestamp) -> Option<Timestamp> {
    match body.get("expires_at").map(Value::as_str) {
        None | Some(Some("default")) => now.checked_add(SignedDuration::from_hours(24 * RETENTION_DAYS)).ok(),
        Some(None) => None,
        Some(Some(text)) => instant(text),
    }
}

/// `PUT .../taskInstances/{task_id}/state-store/{key}`.
pub(super) async fn set<P: Parts>(
    State(api): State<Api<P>>,
    Path(path): Path<TaskPath>,
    query: Query,
    Body(body): Body,
) -> Result<NoContent, Failure> {
    let scope = scope(&api, &path, &query).await?;
    let now = api.engine.now();
    let kept = Kept { value: value(&body, &path.key)?, updated_at: now, expires_at: expiry(&body, now) };
    api.engine.store.keep_value(&scope, &path.key, &kept).await?;
    Ok(NoContent)
}

/// `PATCH .../taskInstances/{task_id}/state-store/{key}`: the value alone.
pub(super) async fn patch<P: Parts>(
    State(api): State<Api<P>>,
    Path(path): Path<TaskPath>,
    query: Query,
    Body(body): Body,
) -> Answer {
    let scope = scope(&api, &path, &query).await?;
    let there = counting(&api, &scope, &path.key).await?.ok_or_else(|| missing("Task", &path.key))?;
    let kept = Kept { value: value(&body, &path.key)?, updated_at: api.engine.now(), ..there };
    api.engine.store.keep_value(&scope, &path.key, &kept).await?;
    Ok(Json(Value::Null))
}

/// `DELETE .../taskInstances/{task_id}/state-store/{key}`.
pub(super) async fn delete<P: Parts>(
    State(api): State<Api<P>>,
    Path(path): Path<TaskPath>,
    query: Query,
) -> Result<NoContent, Failure> {
    let scope = scope(&api, &path, &query).await?;
    api.engine.store.forget_value(&scope, &path.key).await?;
    Ok(NoContent)
}

/// `DELETE .../taskInstances/{task_id}/state-store`.
pub(super) async fn clear<P: Parts>(
    State(api): State<Api<P>>,
    Path(path): Path<TaskPath>,
    query: Query,
) -> Result<NoContent, Failure> {
    if query.boolean("all_map_indices")?.unwrap_or(false) {
        let (run, task) = task_instances::find(&api, &path.dag_id, &path.dag_run_id, &path.task_id).await?;
        api.engine.store.forget_values_of_run(&run.facts.incarnation, Some(task)).await?;
        return Ok(NoContent);
    }
    let scope = scope(&api, &path, &query).await?;
    for (key, _) in api.engine.store.kept_values(&scope).await? {
        api.engine.store.forget_value(&scope, &key).await?;
    }
    Ok(NoContent)
}

/// The scope of an asset that is there.
async fn asset_scope<P: Parts>(api: &Api<P>, id: i64) -> Result<Scope, Failure> {
    let missing = || Failure::not_found(format!("Asset with ID: `{id}` was not found"));
    match api.engine.asset(assets::number(id).ok_or_else(missing)?).await {
        Err(Error::NotFound { .. }) => Err(missing()),
        found => Ok(Scope::Asset(found?.id)),
    }
}

/// `GET /assets/{asset_id}/state-store`.
pub(super) async fn list_of_asset<P: Parts>(State(api): State<Api<P>>, Path(id): Path<i64>, query: Query) -> Answer {
    let scope = asset_scope(&api, id).await?;
    let (entries, total) = page(&api, &scope, &query, of_asset).await?;
    Ok(Json(json!({"asset_state_store": entries, "total_entries": total})))
}

/// `GET /assets/{asset_id}/state-store/{key}`.
pub(super) async fn one_of_asset<P: Parts>(State(api): State<Api<P>>, Path((id, key)): Path<(i64, String)>) -> Answer {
    let scope = asset_scope(&api, id).await?;
    let kept = counting(&api, &scope, &key).await?.ok_or_else(|| missing("Asset", &key))?;
    Ok(Json(of_asset(&key, &kept)))
}

/// `PUT /assets/{asset_id}/state-store/{key}`.
pub(super) async fn set_of_asset<P: Parts>(
    State(api): State<Api<P>>,
    Path((id, key)): Path<(i64, String)>,
    Body(body): Body,
) -> Result<NoContent, Failure> {
    let scope = asset_scope(&api, id).await?;
    let kept = Kept { value: value(&body, &key)?, updated_at: api.engine.now(), expires_at: None };
    api.engine.store.keep_value(&scope, &key, &kept).await?;
    Ok(NoContent)
}

/// `DELETE /assets/{asset_id}/state-store/{key}`.
pub(super) async fn delete_of_asset<P: Parts>(
    State(api): State<Api<P>>,
    Path((id, key)): Path<(i64, String)>,
) -> Result<NoContent, Failure> {
    let scope = asset_scope(&api, id).await?;
    api.engine.store.forget_value(&scope, &key).await?;
    Ok(NoContent)
}

/// `DELETE /assets/{asset_id}/state-store`.
pub(super) async fn clear_of_asset<P: Parts>(
    State(api): State<Api<P>>,
    Path(id): Path<i64>,
) -> Result<NoContent, Failure> {
    let scope = asset_scope(&api, id).await?;
    for (key, _) in api.engine.store.kept_values(&scope).await? {
        api.engine.store.forget_value(&scope, &key).await?;
    }
    Ok(NoContent)
}
