//! The versions that DAGs have had.

use super::order::{SortKey, sort_by};
use super::query::Query;
use super::{Failure, dags, shapes};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use updraft_metastore::DagVersion;
use updraft_model::{DagId, RunDoc, VersionId};
use updraft_service::Error;

type Answer = Result<Json<Value>, Failure>;

const ORDERS: [&str; 5] = ["id", "version_number", "bundle_name", "bundle_version", "created_at"];

/// `DagVersionResponse`.
pub(super) fn shown(dag_id: &str, display_name: &str, version: &DagVersion) -> Value {
    json!({
        "id": updraft_service::identity(&[dag_id, &version.version_number.to_string(), version.version.as_str()]),
        "version_number": version.version_number,
        "dag_id": dag_id,
        "bundle_name": shapes::BUNDLE,
        "bundle_version": null,
        "created_at": shapes::time(version.created_at),
        "dag_display_name": display_name,
        "bundle_url": null,
    })
}

/// How many versions of runs are known at once.
const KNOWN_MAX: usize = 10_000;

/// The versions of runs, as answers show them. A version keeps its number as long as its DAG is there.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<BTreeMap<(DagId, VersionId), Value>>);

impl Known {
    fn map(&self) -> MutexGuard<'_, BTreeMap<(DagId, VersionId), Value>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets what is known of a DAG that is removed.
    pub(super) fn forget(&self, dag_id: &DagId) {
        self.map().retain(|(of, _), _| of != dag_id);
    }
}

/// `DagVersionResponse` of what a run runs; null where it was read before versions were counted.
pub(crate) async fn of_run<P: Parts>(api: &Api<P>, run: &RunDoc) -> Result<Value, Failure> {
    let key = (run.facts.dag_id.clone(), run.facts.version.clone());
    if let Some(known) = api.versions.map().get(&key) {
        return Ok(known.clone());
    }
    let version = api.engine.version(&run.facts.version).await?;
    let dag = &version.plan.dag;
    let name = dag.dag_display_name.as_deref().unwrap_or(dag.dag_id.as_str());
    // A cleared run may have a version made for it, which stands for the one that was the latest then.
    let wanted = dag.stands_for.as_ref().unwrap_or(&run.facts.version);
    let all = of(api, &run.facts.dag_id).await?;
    let found = all.iter().find(|entry| entry.version == *wanted);
    let found = found.map_or(Value::Null, |entry| shown(run.facts.dag_id.as_str(), name, entry));
    let mut known = api.versions.map();
    if known.len() >= KNOWN_MAX {
        known.clear();
    }
    known.insert(key, found.clone());
    Ok(found)
}

/// The latest version of a DAG.
pub(super) async fn latest<P: Parts>(api: &Api<P>, dag_id: &DagId, display_name: &str) -> Result<Value, Failure> {
    let all = of(api, dag_id).await?;
    Ok(all.first().map_or(Value::Null, |version| shown(dag_id.as_str(), display_name, version)))
}

/// The versions of a DAG; none where there is no such DAG.
async fn of<P: Parts>(api: &Api<P>, dag_id: &DagId) -> Result<Vec<DagVersion>, Failure> {
    match api.engine.dag_versions(dag_id).await {
        Err(Error::NotFound { .. }) => Ok(Vec::new()),
        found => Ok(found?),
    }
}

/// `GET /dags/{dag_id}/dagVersions`; `~` for those of all DAGs.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &ORDERS)?;
    let number = query.integer::<i64>("version_number")?;
    let views = if dag_id == "~" {
        api.engine.all_dag_summaries().await?.into_iter().map(|summary| summary.dag_id).collect()
    } else {
        vec![dags::find(&api, &dag_id).await?.summary.dag_id]
    };
    let is_ours = query.text("bundle_name").is_none_or(|name| name == shapes::BUNDLE);
    let mut found = Vec::new();
    for dag_id in views.iter().filter(|_| is_ours && query.text("bundle_version").is_none()) {
        let versions = of(&api, dag_id).await?.into_iter();
        let wanted = versions.filter(|version| number.is_none_or(|n| i64::from(version.version_number) == n));
        found.extend(wanted.map(|version| (dag_id.clone(), version)));
    }
    sort_by(&mut found, &order, |(_, version), name| match name {
        "version_number" => i64::from(version.version_number).into(),
        "bundle_name" | "bundle_version" => SortKey::Nothing,
        _ => version.created_at.into(),
    });
    let total = found.len();
    let mut shown_all = Vec::new();
    for (dag_id, version) in page.of(found) {
        let name = dags::display_name(&api, &dags::find(&api, dag_id.as_str()).await?).await?;
        shown_all.push(shown(dag_id.as_str(), &name, &version));
    }
    Ok(Json(json!({"dag_versions": shown_all, "total_entries": total})))
}

/// `GET /dags/{dag_id}/dagVersions/{version_number}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path((dag_id, number)): Path<(String, i64)>) -> Answer {
    let missing = || {
        Failure::not_found(format!(
            "The DagVersion with dag_id: `{dag_id}` and version_number: `{number}` was not found"
        ))
    };
    let view =
        dags::find(&api, &dag_id).await.map_err(|failure| if failure.status() == 404 { missing() } else { failure })?;
    let versions = of(&api, &view.summary.dag_id).await?;
    let version = versions.iter().find(|version| i64::from(version.version_number) == number).ok_or_else(missing)?;
    Ok(Json(shown(&dag_id, &dags::display_name(&api, &view).await?, version)))
}
