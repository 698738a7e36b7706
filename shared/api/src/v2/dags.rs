//! DAGs, their tasks and tags, import errors.

use super::query::{Query, sort_by};
use super::{Failure, NoContent, shapes};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use updraft_metastore::{DagSummary, ImportError};
use updraft_model::{DagDoc, DagId, RunDoc};
use updraft_service::engine::Version;
use updraft_service::views::DagView;

type Answer = Result<Json<Value>, Failure>;

/// The id of a DAG that is there, and the DAG as a list shows it.
pub(crate) async fn find<P: Parts>(api: &Api<P>, dag_id: &str) -> Result<DagView, Failure> {
    let missing = || Failure::not_found(format!("The Dag with ID: `{dag_id}` was not found"));
    let dag_id = DagId::parse(dag_id).map_err(|_| missing())?;
    let summary = api.engine.store.dag_summary(&dag_id).await?.ok_or_else(missing)?;
    Ok(DagView { doc: api.engine.store.dag(&dag_id).await?, summary })
}

/// The current version of a DAG; none once its file is gone.
async fn version<P: Parts>(api: &Api<P>, doc: Option<&DagDoc>) -> Result<Option<Arc<Version>>, Failure> {
    match doc.and_then(|d| d.version.as_ref()) {
        Some(id) => Ok(Some(api.engine.version(id).await?)),
        None => Ok(None),
    }
}

/// A DAG with its current version.
pub(super) async fn current<P: Parts>(api: &Api<P>, dag_id: &str) -> Result<(DagView, Arc<Version>), Failure> {
    let view = find(api, dag_id).await?;
    let gone =
        || Failure::not_found(format!("The Dag with ID: `{dag_id}` is no longer declared by `{}`", view.summary.file));
    let version = version(api, view.doc.as_ref()).await?.ok_or_else(gone)?;
    Ok((view, version))
}

pub(super) async fn errors<P: Parts>(api: &Api<P>) -> Result<Vec<ImportError>, Failure> {
    let mut errors = Vec::new();
    let mut page = None;
    loop {
        let found = api.engine.store.list_import_errors(500, page).await?;
        errors.extend(found.items);
        page = found.next;
        if page.is_none() {
            return Ok(errors);
        }
    }
}

pub(crate) async fn shown<P: Parts>(api: &Api<P>, view: &DagView, bad: &BTreeSet<String>) -> Result<Value, Failure> {
    let version = version(api, view.doc.as_ref()).await?;
    let dag = version.as_ref().map(|v| &v.plan.dag);
    Ok(shapes::dag(view, dag, bad.contains(&view.summary.file), api.engine.now()))
}

/// Whether the directory's entry is asked for.
fn wanted(query: &Query, summary: &DagSummary, exclude_stale: bool) -> bool {
    let tags = query.all("tags");
    let has = |tag: &&str| summary.tags.iter().any(|t| t == tag);
    let tagged = match query.text("tags_match_mode") {
        _ if tags.is_empty() => true,
        Some("all") => tags.iter().all(has),
        _ => tags.iter().any(has),
    };
    let owners = query.all("owners");
    let owned = owners.is_empty() || owners.iter().any(|o| summary.owners.iter().any(|own| own == o));
    !(exclude_stale && summary.is_stale) && tagged && owned && query.matches("dag_id", summary.dag_id.as_str())
}

/// `GET /dags`.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let exclude_stale = query.boolean("exclude_stale")?.unwrap_or(true);
    let paused = query.boolean("paused")?;
    let has_import_errors = query.boolean("has_import_errors")?;
    let order = query.order_by("dag_id", &["dag_id", "dag_display_name", "next_dagrun_run_after", "next_dagrun"])?;
    let by_next_run = order.iter().any(|(name, _)| name.starts_with("next_dagrun"));
    let bad: BTreeSet<String> = errors(&api).await?.into_iter().map(|e| e.path).collect();
    let mut summaries = api.engine.all_dag_summaries().await?;
    summaries.retain(|s| wanted(&query, s, exclude_stale));
    summaries.retain(|s| has_import_errors.is_none_or(|wish| wish == bad.contains(&s.file)));
    // Documents are read for the page alone, unless what is asked for stands in them.
    let mut docs = BTreeMap::new();
    if paused.is_some() || by_next_run {
        docs = documents(&api, &summaries).await?;
        let is_paused = |s: &DagSummary| docs.get(&s.dag_id).is_some_and(|d| d.paused);
        summaries.retain(|s| paused.is_none_or(|wish| wish == is_paused(s)));
    }
    sort_by(&mut summaries, &order, |s, name| match name {
        // Without a next run last, as Airflow's databases sort nulls.
        n if n.starts_with("next_dagrun") => {
            let due = docs.get(&s.dag_id).and_then(|d: &DagDoc| d.next_due);
            (due.is_none(), due, String::new())
        }
        _ => (false, None, s.dag_id.to_string()),
    });
    let total = summaries.len();
    let summaries = page.of(summaries);
    if docs.is_empty() {
        docs = documents(&api, &summaries).await?;
    }
    let mut dags = Vec::with_capacity(summaries.len());
    for summary in summaries {
        let view = DagView { doc: docs.remove(&summary.dag_id), summary };
        dags.push(shown(&api, &view, &bad).await?);
    }
    Ok(Json(json!({"dags": dags, "total_entries": total})))
}

async fn documents<P: Parts>(api: &Api<P>, of: &[DagSummary]) -> Result<BTreeMap<DagId, DagDoc>, Failure> {
    let ids: Vec<DagId> = of.iter().map(|s| s.dag_id.clone()).collect();
    Ok(api.engine.store.dags(&ids).await?.into_iter().map(|d| (d.dag_id.clone(), d)).collect())
}

pub(crate) async fn bad_files<P: Parts>(api: &Api<P>) -> Result<BTreeSet<String>, Failure> {
    Ok(errors(api).await?.into_iter().map(|e| e.path).collect())
}

/// `GET /dags/{dag_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>) -> Answer {
    let view = find(&api, &dag_id).await?;
    Ok(Json(shown(&api, &view, &bad_files(&api).await?).await?))
}

/// `GET /dags/{dag_id}/details`.
pub(super) async fn details<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>) -> Answer {
    let (view, version) = current(&api, &dag_id).await?;
    let mut answer = shown(&api, &view, &bad_files(&api).await?).await?;
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, shapes::details(&view, &version.plan.dag)) {
        answer.extend(more);
    }
    Ok(Json(answer))
}

/// Nothing but the pause can be changed.
fn check_mask(query: &Query) -> Result<(), Failure> {
    if query.all("update_mask").iter().any(|name| *name != "is_paused") {
        return Err(Failure::bad_request("Only `is_paused` field can be updated through the REST API"));
    }
    Ok(())
}

/// `PATCH /dags/{dag_id}`: pauses and unpauses.
pub(super) async fn patch<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    query: Query,
    Body(body): Body,
) -> Answer {
    check_mask(&query)?;
    let view = find(&api, &dag_id).await?;
    api.engine.set_paused(&view.summary.dag_id, body["is_paused"] == true).await?;
    let view = find(&api, &dag_id).await?;
    Ok(Json(shown(&api, &view, &bad_files(&api).await?).await?))
}

/// `PATCH /dags`: pauses and unpauses all that the filters let through; none where no pattern of ids is given, as in Airflow.
pub(super) async fn patch_all<P: Parts>(State(api): State<Api<P>>, query: Query, Body(body): Body) -> Answer {
    check_mask(&query)?;
    let page = query.page()?;
    let exclude_stale = query.boolean("exclude_stale")?.unwrap_or(true);
    let paused = query.boolean("paused")?;
    let mut meant = Vec::new();
    if query.text("dag_id_pattern").is_some() || query.text("dag_id_prefix_pattern").is_some() {
        let mut summaries = api.engine.all_dag_summaries().await?;
        summaries.retain(|s| wanted(&query, s, exclude_stale));
        let docs = documents(&api, &summaries).await?;
        let is_paused = |s: &DagSummary| docs.get(&s.dag_id).is_some_and(|d| d.paused);
        summaries.retain(|s| paused.is_none_or(|wish| wish == is_paused(s)));
        meant = summaries;
    }
    for summary in &meant {
        api.engine.set_paused(&summary.dag_id, body["is_paused"] == true).await?;
    }
    let total = meant.len();
    let meant = page.of(meant);
    let mut docs = documents(&api, &meant).await?;
    let bad = bad_files(&api).await?;
    let mut dags = Vec::with_capacity(meant.len());
    for summary in meant {
        let view = DagView { doc: docs.remove(&summary.dag_id), summary };
        dags.push(shown(&api, &view, &bad).await?);
    }
    Ok(Json(json!({"dags": dags, "total_entries": total})))
}

/// `DELETE /dags/{dag_id}`: not while tasks of it run.
pub(super) async fn delete<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
) -> Result<NoContent, Failure> {
    let missing = || Failure::not_found(format!("Dag with id: {dag_id} was not found"));
    let view =
        find(&api, &dag_id).await.map_err(|failure| if failure.status() == 404 { missing() } else { failure })?;
    let active: Vec<_> = view.doc.iter().flat_map(|doc| doc.active.keys().cloned()).collect();
    let is_running = |run: &RunDoc| run.cells.values().any(|cell| cell.holder().is_some() && !cell.is_final());
    if api.engine.store.runs(&active).await?.iter().any(is_running) {
        return Err(Failure::conflict(format!("Task instances of dag with id: '{dag_id}' are still running")));
    }
    api.engine.delete_dag(&view.summary.dag_id).await?;
    Ok(NoContent)
}

/// `GET /dags/{dag_id}/tasks`.
pub(super) async fn tasks<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>, query: Query) -> Answer {
    let order = query.order_by("task_id", &["task_id", "owner", "trigger_rule", "retries"])?;
    let (_, version) = current(&api, &dag_id).await?;
    let mut tasks: Vec<Value> = version.plan.tasks().map(|t| shapes::task(&version.plan, t)).collect();
    sort_by(&mut tasks, &order, |t, name| (t[name].as_f64(), t[name].as_str().unwrap_or_default().to_owned()));
    Ok(Json(json!({"total_entries": tasks.len(), "tasks": tasks})))
}

/// `GET /dags/{dag_id}/tasks/{task_id}`.
pub(super) async fn task<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, task_id)): Path<(String, String)>,
) -> Answer {
    let (_, version) = current(&api, &dag_id).await?;
    let missing = || Failure::not_found(format!("Task with id {task_id} was not found"));
    let index = version.plan.index_of(&task_id).ok_or_else(missing)?;
    Ok(Json(shapes::task(&version.plan, index)))
}
