//! DAGs, their tasks and tags, import errors.

use super::order::sort_by;
use super::query::{Bounds, Query};
use super::{Failure, NoContent, dag_versions, shapes};
use crate::auth::Caller;
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use updraft_metastore::{DagSummary, ImportError};
use updraft_model::{AssetCondition, AssetRef, Dag, DagDoc, DagId, RunDoc};
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

/// The name that a DAG is shown under.
pub(super) async fn display_name<P: Parts>(api: &Api<P>, view: &DagView) -> Result<String, Failure> {
    let version = version(api, view.doc.as_ref()).await?;
    let given = version.as_ref().and_then(|version| version.plan.dag.dag_display_name.clone());
    Ok(given.unwrap_or_else(|| view.summary.dag_id.to_string()))
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

const ORDERS: [&str; 8] = [
    "dag_id",
    "dag_display_name",
    "next_dagrun_run_after",
    "next_dagrun",
    "state",
    "start_date",
    "last_run_state",
    "last_run_start_date",
];

/// Names and URIs of the assets whose updates make runs of a DAG.
fn asset_names(dag: &Dag) -> Vec<String> {
    fn note(condition: &AssetCondition, names: &mut Vec<String>) {
        match condition {
            AssetCondition::Of(AssetRef::Asset(asset)) => names.extend([asset.name.clone(), asset.uri.clone()]),
            AssetCondition::Of(AssetRef::Alias { name } | AssetRef::Name(name) | AssetRef::Uri(name)) => {
                names.push(name.clone());
            }
            AssetCondition::All(all) | AssetCondition::Any(all) => all.iter().for_each(|one| note(one, names)),
        }
    }
    let mut names = Vec::new();
    dag.assets.iter().for_each(|condition| note(condition, &mut names));
    names
}

/// Filters by a DAG's latest run.
struct ByRuns<'q> {
    state: Option<&'q str>,
    states: Vec<&'q str>,
    start_date: Bounds<Timestamp>,
    end_date: Bounds<Timestamp>,
}

impl<'q> ByRuns<'q> {
    fn read(query: &'q Query) -> Result<Self, Failure> {
        Ok(Self {
            state: query.text("last_dag_run_state"),
            states: query.all("dag_run_state"),
            start_date: query.times("dag_run_start_date")?,
            end_date: query.times("dag_run_end_date")?,
        })
    }

    fn is_asked(&self) -> bool {
        self.state.is_some() || !self.states.is_empty() || !self.start_date.hold(None) || !self.end_date.hold(None)
    }

    fn hold(&self, run: &RunDoc) -> bool {
        self.state.is_none_or(|state| state == run.state.as_str())
            && (self.states.is_empty() || self.states.contains(&run.state.as_str()))
            && self.start_date.hold(run.start_date)
            && self.end_date.hold(run.end_date)
    }
}

/// Keeps those whose definition has what is asked for: a display name, a kind of timetable, a schedule of assets.
async fn retain_by_definition<P: Parts>(
    api: &Api<P>,
    query: &Query,
    summaries: &mut Vec<DagSummary>,
) -> Result<(), Failure> {
    const ASKS: [&str; 5] = [
        "dag_display_name_pattern",
        "dag_display_name_prefix_pattern",
        "timetable_type",
        "has_asset_schedule",
        "asset_dependency",
    ];
    if !ASKS.iter().any(|name| query.text(name).is_some()) {
        return Ok(());
    }
    let by_assets = query.boolean("has_asset_schedule")?;
    let docs = documents(api, summaries).await?;
    let mut kept = BTreeSet::new();
    for summary in summaries.iter() {
        let Some(version) = version(api, docs.get(&summary.dag_id)).await? else { continue };
        let dag = &version.plan.dag;
        let class = dag.timetable.airflow_class();
        let names = asset_names(dag);
        let asked = query.text("asset_dependency");
        let fits = query.matches("dag_display_name", dag.dag_display_name.as_deref().unwrap_or(dag.dag_id.as_str()))
            && (query.all("timetable_type").is_empty()
                || query.all("timetable_type").iter().any(|kind| kind.rsplit('.').next() == Some(class)))
            && by_assets.is_none_or(|wish| wish == dag.assets.is_some())
            && asked.is_none_or(|asked| names.iter().any(|name| Query::like(asked, name)));
        if fits {
            kept.insert(summary.dag_id.clone());
        }
    }
    summaries.retain(|s| kept.contains(&s.dag_id));
    Ok(())
}

/// `GET /dags`.
pub(super) async fn list<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    query: Query,
) -> Answer {
    let page = query.page()?;
    let by_runs = ByRuns::read(&query)?;
    let exclude_stale = query.boolean("exclude_stale")?.unwrap_or(true);
    let paused = query.boolean("paused")?;
    let has_import_errors = query.boolean("has_import_errors")?;
    let order = query.order_by("dag_id", &ORDERS)?;
    let by_next_run = order.iter().any(|(name, _)| name.starts_with("next_dagrun"));
    let by_last_run = order.iter().any(|(name, _)| name.starts_with("last_run"));
    let bad: BTreeSet<String> = errors(&api).await?.into_iter().map(|e| e.path).collect();
    let mut summaries = api.engine.all_dag_summaries().await?;
    summaries.retain(|s| wanted(&query, s, exclude_stale));
    summaries.retain(|s| has_import_errors.is_none_or(|wish| wish == bad.contains(&s.file)));
    if let Some(wish) = query.boolean("is_favorite")? {
        let favorites = api.engine.store.favorites(&caller.username).await?;
        summaries.retain(|s| wish == favorites.contains(&s.dag_id));
    }
    if query.text("bundle_name").is_some_and(|name| name != shapes::BUNDLE) || query.text("bundle_version").is_some() {
        summaries.clear();
    }
    retain_by_definition(&api, &query, &mut summaries).await?;
    let mut last_runs = BTreeMap::new();
    if by_runs.is_asked() || by_last_run {
        for summary in &summaries {
            if let Some(run) = api.engine.list_runs(&summary.dag_id, 1, None).await?.items.pop() {
                last_runs.insert(summary.dag_id.clone(), run);
            }
        }
        summaries.retain(|s| !by_runs.is_asked() || last_runs.get(&s.dag_id).is_some_and(|run| by_runs.hold(run)));
    }
    // Documents are read for the page alone, unless what is asked for stands in them.
    let mut docs = BTreeMap::new();
    if paused.is_some() || by_next_run {
        docs = documents(&api, &summaries).await?;
        let is_paused = |s: &DagSummary| docs.get(&s.dag_id).is_some_and(|d| d.paused);
        summaries.retain(|s| paused.is_none_or(|wish| wish == is_paused(s)));
    }
    sort_by(&mut summaries, &order, |s, name| match name {
        n if n.starts_with("next_dagrun") => docs.get(&s.dag_id).and_then(|d: &DagDoc| d.next_due).into(),
        "last_run_state" | "state" => last_runs.get(&s.dag_id).map(|run: &RunDoc| run.state.to_string()).into(),
        "last_run_start_date" | "start_date" => last_runs.get(&s.dag_id).and_then(|run| run.start_date).into(),
        _ => s.dag_id.to_string().into(),
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
    // Put in afterwards: the macro would copy them all.
    let mut answer = json!({"dags": null, "total_entries": total});
    answer["dags"] = dags.into();
    Ok(Json(answer))
}

async fn documents<P: Parts>(api: &Api<P>, of: &[DagSummary]) -> Result<BTreeMap<DagId, DagDoc>, Failure> {
    let ids: Vec<DagId> = of.iter().map(|s| s.dag_id.clone()).collect();
    Ok(api.engine.readable_dags(&ids).await?.into_iter().map(|d| (d.dag_id.clone(), d)).collect())
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
pub(super) async fn details<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(dag_id): Path<String>,
) -> Answer {
    let (view, version) = current(&api, &dag_id).await?;
    let mut answer = shown(&api, &view, &bad_files(&api).await?).await?;
    if let (Value::Object(answer), Value::Object(more)) = (&mut answer, shapes::details(&view, &version.plan.dag)) {
        answer.extend(more);
    }
    let favorites = api.engine.store.favorites(&caller.username).await?;
    let name = answer["dag_display_name"].as_str().unwrap_or_default().to_owned();
    answer["latest_dag_version"] = dag_versions::latest(&api, &view.summary.dag_id, &name).await?;
    answer["is_favorite"] = favorites.contains(&view.summary.dag_id).into();
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
    api.versions.forget(&view.summary.dag_id);
    Ok(NoContent)
}

/// `POST /dags/{dag_id}/favorite`.
pub(super) async fn favorite<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(dag_id): Path<String>,
) -> Result<NoContent, Failure> {
    let dag_id = find(&api, &dag_id).await?.summary.dag_id;
    api.engine.store.set_favorite(&caller.username, &dag_id, true).await?;
    Ok(NoContent)
}

/// `POST /dags/{dag_id}/unfavorite`.
pub(super) async fn unfavorite<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(dag_id): Path<String>,
) -> Result<NoContent, Failure> {
    let dag_id = find(&api, &dag_id).await?.summary.dag_id;
    if !api.engine.store.favorites(&caller.username).await?.contains(&dag_id) {
        return Err(Failure::conflict("Dag is not marked as favorite"));
    }
    api.engine.store.set_favorite(&caller.username, &dag_id, false).await?;
    Ok(NoContent)
}

/// `GET /dags/{dag_id}/tasks`.
pub(super) async fn tasks<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>, query: Query) -> Answer {
    let order = query.order_by("task_id", &["task_id", "owner", "trigger_rule", "retries"])?;
    let (_, version) = current(&api, &dag_id).await?;
    let mut tasks: Vec<Value> = version.plan.tasks().map(|t| shapes::task(&version.plan, t)).collect();
    sort_by(&mut tasks, &order, |t, name| (&t[name]).into());
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
