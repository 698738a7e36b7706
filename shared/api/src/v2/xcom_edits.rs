//! XComs that people write and remove.

use super::query::Query;
use super::values::entries;
use super::{Created, Failure, NoContent, task_instances};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;
use updraft_model::{RunDoc, TaskIndex};
use updraft_service::Error;
use updraft_service::xcom_edits::Existing;

/// Which task instance is meant, and which of its XComs.
struct Place {
    run: RunDoc,
    task: TaskIndex,
    task_id: String,
    map_index: i64,
    key: String,
}

impl Place {
    async fn find<P: Parts>(
        api: &Api<P>,
        (dag_id, run_id, task_id): (String, String, String),
        map_index: i64,
        key: &str,
    ) -> Result<Self, Failure> {
        let (run, task) = task_instances::find_at(api, &dag_id, &run_id, &task_id, map_index).await?;
        Ok(Self { run, task, task_id, map_index, key: key.to_owned() })
    }

    fn instance(&self) -> (&str, Option<u32>) {
        (&self.task_id, u32::try_from(self.map_index).ok())
    }

    /// `XComResponseNative`, as it is read back; none where there is no such XCom.
    async fn shown<P: Parts>(&self, api: &Api<P>) -> Result<Option<Value>, Failure> {
        let found = entries(api, &self.run, self.task, Some(self.map_index), Some(&self.key)).await?;
        Ok(found.into_iter().next_back().map(|(_, mut entry, value)| {
            entry["value"] = value;
            entry
        }))
    }

    async fn set<P: Parts>(&self, api: &Api<P>, value: &Value, existing: Existing) -> Result<Value, Failure> {
        let put = api.engine.set_xcom(&*api.logs, &self.run, self.instance(), &self.key, value.clone(), existing).await;
        if matches!(put, Err(Error::NotFound { .. })) {
            return Err(self.missing());
        }
        put?;
        self.shown(api).await?.ok_or_else(|| self.missing())
    }

    fn missing(&self) -> Failure {
        let key = &self.key;
        Failure::not_found(format!("The XCom with key: `{key}` with mentioned task instance doesn't exist."))
    }
}

/// `POST .../taskInstances/{task_id}/xcomEntries`.
pub(super) async fn create<P: Parts>(
    State(api): State<Api<P>>,
    Path(place): Path<(String, String, String)>,
    Body(body): Body,
) -> Result<Created, Failure> {
    let key = body["key"].as_str().unwrap_or_default();
    if key.is_empty() {
        return Err(Failure::bad_request(format!("XCom key must be a non-empty string. Received: '{key}'")));
    }
    let place = Place::find(&api, place, body["map_index"].as_i64().unwrap_or(-1), key).await?;
    if place.shown(&api).await?.is_some() {
        return Err(Failure::conflict(format!(
            "The XCom with key: `{key}` with mentioned task instance already exists."
        )));
    }
    Ok(Created(place.set(&api, &body["value"], Existing::Absent).await?))
}

/// `PATCH .../taskInstances/{task_id}/xcomEntries/{xcom_key}`.
pub(super) async fn update<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
    Body(body): Body,
) -> Result<Json<Value>, Failure> {
    let map_index = body["map_index"].as_i64().unwrap_or(-1);
    let place = Place::find(&api, (dag_id, run_id, task_id), map_index, &key).await?;
    if place.shown(&api).await?.is_none() {
        return Err(place.missing());
    }
    Ok(Json(place.set(&api, &body["value"], Existing::Present).await?))
}

/// `DELETE .../taskInstances/{task_id}/xcomEntries/{xcom_key}`.
pub(super) async fn delete<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id, key)): Path<(String, String, String, String)>,
    query: Query,
) -> Result<NoContent, Failure> {
    let map_index = query.integer("map_index")?.unwrap_or(-1);
    let place = Place::find(&api, (dag_id, run_id, task_id), map_index, &key).await?;
    if place.shown(&api).await?.is_none() {
        return Err(Failure::not_found(format!("XCom entry with key: `{key}` not found")));
    }
    api.engine.delete_xcom(&place.run, place.instance(), &key).await?;
    Ok(NoContent)
}
