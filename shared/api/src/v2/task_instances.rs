//! Task instances of runs, and their tries.

use super::order::{SortKey, sort_by};
use super::query::{Bounds, Query, total_alone};
use super::rows::{self, Row};
use super::run_lists::{self, Filters as RunFilters};
use super::shapes::Notes;
use super::values::entries;
use super::{Failure, dag_versions, dags, runs, shapes};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use updraft_model::{Plan, RunDoc, TaskIndex, TaskInstanceState};
use updraft_service::Error;
use updraft_service::engine::Version;
use updraft_service::views::TaskInstanceView;

type Answer = Result<Json<Value>, Failure>;

/// A page, written as it is answered.
type Page = Result<Response, Failure>;

/// What the path of a task instance names.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Named {
    pub(super) dag_id: String,
    pub(super) dag_run_id: String,
    pub(super) task_id: String,
    map_index: Option<i64>,
    task_try_number: Option<i64>,
}

impl Named {
    /// An instance by what names it.
    pub(super) fn new(dag_id: String, dag_run_id: String, task_id: String, map_index: i64) -> Self {
        Self { dag_id, dag_run_id, task_id, map_index: Some(map_index), task_try_number: None }
    }

    /// The map index of the path or the query; -1 for an instance of a task that is not mapped.
    pub(super) fn map_index(&self, query: &Query) -> Result<i64, Failure> {
        match self.map_index {
            Some(index) => Ok(index),
            None => Ok(query.integer("map_index")?.unwrap_or(-1)),
        }
    }
}

/// A run and the index of one of its tasks.
pub(super) async fn find<P: Parts>(
    api: &Api<P>,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
) -> Result<(RunDoc, TaskIndex), Failure> {
    let missing = || {
        Failure::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}` and task_id: `{task_id}` was not found"
        ))
    };
    let run = runs::find(api, dag_id, run_id).await.map_err(|f| if f.status() == 404 { missing() } else { f })?;
    let version = api.engine.version(&run.facts.version).await?;
    let index = version.plan.index_of(task_id).ok_or_else(missing)?;
    Ok((run, index))
}

/// A run and the index of one of its tasks, which has an instance of this map index.
pub(super) async fn find_at<P: Parts>(
    api: &Api<P>,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
    map_index: i64,
) -> Result<(RunDoc, TaskIndex), Failure> {
    let (run, task) = find(api, dag_id, run_id, task_id).await?;
    instance(api, &run, task, map_index).await?;
    Ok((run, task))
}

/// An instance of a task: of a mapped one with its index from 0, of another with -1.
async fn instance<P: Parts>(
    api: &Api<P>,
    run: &RunDoc,
    task: TaskIndex,
    map_index: i64,
) -> Result<TaskInstanceView, Failure> {
    let missing = |task_id: &str| {
        Failure::not_found(format!(
            "The Mapped Task Instance with dag_id: `{}`, run_id: `{}`, task_id: `{task_id}`, and map_index: `{map_index}` was not found",
            run.facts.dag_id, run.facts.run_id
        ))
    };
    let found = match u32::try_from(map_index) {
        Ok(map_index) => api.engine.mapped_instance(run, task, map_index).await,
        Err(_) => api.engine.task_instance(run, task).await,
    };
    match found {
        Ok(view) if map_index >= -1 => Ok(view),
        Ok(view) => Err(missing(&view.task_id)),
        Err(Error::NotFound { .. }) => {
            let version = api.engine.version(&run.facts.version).await?;
            Err(missing(version.plan.task(task).task_id.as_str()))
        }
        Err(error) => Err(error.into()),
    }
}

/// The same, by what a path and its query name.
async fn find_mapped<P: Parts>(
    api: &Api<P>,
    named: &Named,
    map_index: i64,
) -> Result<(RunDoc, TaskIndex, TaskInstanceView), Failure> {
    let (run, task) = find(api, &named.dag_id, &named.dag_run_id, &named.task_id).await?;
    let view = instance(api, &run, task, map_index).await?;
    Ok((run, task, view))
}

const ORDERS: [&str; 14] = [
    "id",
    "state",
    "duration",
    "start_date",
    "end_date",
    "map_index",
    "try_number",
    "logical_date",
    "run_after",
    "data_interval_start",
    "data_interval_end",
    "rendered_map_index",
    "operator",
    "task_id",
];

/// The filters of a list of task instances.
struct Filters<'q> {
    query: &'q Query,
    start_date: Bounds<Timestamp>,
    end_date: Bounds<Timestamp>,
    updated_at: Bounds<Timestamp>,
    duration: Bounds<f64>,
}

impl<'q> Filters<'q> {
    fn read(query: &'q Query) -> Result<Self, Failure> {
        Ok(Self {
            query,
            start_date: query.times("start_date")?,
            end_date: query.times("end_date")?,
            updated_at: query.times("updated_at")?,
            duration: query.numbers("duration")?,
        })
    }

    fn hold(&self, plan: &Plan, view: &TaskInstanceView) -> bool {
        let query = self.query;
        let task = plan.task(view.task);
        let operator = task.operator.rsplit('.').next().unwrap_or_default();
        let state = if view.state == TaskInstanceState::None { "none" } else { view.state.as_str() };
        let in_group = |group: &str| {
            task.group.as_deref().is_some_and(|of| of == group || of.starts_with(&format!("{group}.")))
                || view.task_id == group
        };
        self.start_date.hold(view.start_date)
            && self.end_date.hold(view.end_date)
            && self.updated_at.hold(view.end_date.max(view.start_date))
            && self.duration.hold(shapes::seconds(view.start_date, view.end_date))
            && (query.is_one_of("state", state) || (state == "none" && query.is_one_of("state", "null")))
            && query.is_one_of("pool", &task.pool)
            && query.matches("pool_name", &task.pool)
            && query.is_one_of("queue", &task.queue)
            && query.matches("queue_name", &task.queue)
            && query.is_one_of("operator", operator)
            && query.matches("operator_name", operator)
            && query.is_number("try_number", view.try_number.into())
            && query.is_number("map_index", view.map_index.map_or(-1, i64::from))
            && query.is_one_of("task_id", &view.task_id)
            && query.all("executor").is_empty()
            && query.text("task_group_id").is_none_or(in_group)
            && query.matches_optional("rendered_map_index", view.rendered_map_index.as_deref())
            && query.matches("task_display_name", task.task_display_name.as_deref().unwrap_or(&view.task_id))
    }
}

/// The task instances of these runs that the query lets through, in its order, and its page of them.
async fn listed<P: Parts>(api: &Api<P>, found: &[RunDoc], query: &Query) -> Page {
    let filters = Filters::read(query)?;
    let order = indices_last(query.order_by("id", &ORDERS)?);
    // In their order and unfiltered, a page costs what is on it.
    if let [run] = found
        && order == [("id", false)]
        && query.names().all(|name| ["limit", "offset", "order_by"].contains(&name))
        && let page = query.page()?
    {
        let (views, total) = api.engine.task_instances_page(run, page.offset, page.limit).await?;
        let rows: Vec<_> = views.into_iter().map(|view| (0, view)).collect();
        return written(api, found, &rows, &total_alone(total)).await;
    }
    let mut rows: Vec<(usize, TaskInstanceView)> = Vec::new();
    for (number, run) in found.iter().enumerate() {
        let version = api.engine.version(&run.facts.version).await?;
        let views = api.engine.task_instances(run).await?;
        rows.extend(views.into_iter().filter(|view| filters.hold(&version.plan, view)).map(|view| (number, view)));
    }
    if order.iter().any(|(name, _)| !["id", "map_index"].contains(name))
        || order.iter().any(|(_, descending)| *descending)
    {
        sort_by(&mut rows, &order, |(number, view), name| key(&found[*number], *number, view, name));
    }
    let page = query.window(&mut rows, |(number, view)| {
        format!("{}/{}/{}", found[*number].facts.incarnation, view.task_id, view.map_index.map_or(-1, i64::from))
    })?;
    written(api, found, &rows, &page).await
}

/// What all rows of a run are shown with.
struct Shared {
    notes: Notes,
    version: Arc<Version>,
    number: Value,
}

/// A page of task instances.
#[derive(Serialize)]
struct Listed<'r> {
    task_instances: Vec<Row<'r>>,
    #[serde(flatten)]
    page: &'r Value,
}

/// A page of `TaskInstanceResponse`, with what is noted on each.
async fn written<P: Parts>(api: &Api<P>, found: &[RunDoc], rows: &[(usize, TaskInstanceView)], page: &Value) -> Page {
    let mut shared: BTreeMap<usize, Shared> = BTreeMap::new();
    for (number, _) in rows {
        if !shared.contains_key(number) {
            let run = &found[*number];
            let notes = api.engine.store.notes(&run.facts.incarnation).await?;
            let version = api.engine.version(&run.facts.version).await?;
            shared.insert(*number, Shared { notes, version, number: dag_versions::of_run(api, run).await? });
        }
    }
    let mut whole = Vec::with_capacity(rows.len());
    for (_, view) in rows {
        whole.push(view.whole(&*api.logs).await?);
    }
    let shown = rows.iter().zip(&whole).filter_map(|((number, _), view)| {
        let of = shared.get(number)?;
        Some(rows::row(&found[*number], (&of.version.plan, &of.number), view, &of.notes))
    });
    Ok(Json(Listed { task_instances: shown.collect(), page }).into_response())
}

/// Instances that are alike by `rendered_map_index`, since they have none, go by their map index.
fn indices_last(order: Vec<(&str, bool)>) -> Vec<(&str, bool)> {
    let with_index = |(name, descending)| {
        let index = (name == "rendered_map_index").then_some(("map_index", descending));
        std::iter::once((name, descending)).chain(index)
    };
    order.into_iter().flat_map(with_index).collect()
}

/// The sort key of a task instance under a name of `order_by`.
fn key(run: &RunDoc, number: usize, view: &TaskInstanceView, name: &str) -> SortKey {
    let interval = run.facts.data_interval;
    match name {
        "state" => (view.state != TaskInstanceState::None).then(|| view.state.to_string()).into(),
        "duration" => shapes::seconds(view.start_date, view.end_date).into(),
        "start_date" => view.start_date.into(),
        "end_date" => view.end_date.into(),
        "try_number" => i64::from(view.try_number).into(),
        "logical_date" => run.facts.logical_date.into(),
        "run_after" => run.facts.run_after.into(),
        "data_interval_start" => interval.map(|interval| interval.start).into(),
        "data_interval_end" => interval.map(|interval| interval.end).into(),
        "operator" => view.operator.rsplit('.').next().into(),
        "task_id" => view.task_id.clone().into(),
        "map_index" => view.map_index.map_or(-1, i64::from).into(),
        "rendered_map_index" => view.rendered_map_index.clone().into(),
        _ => ((number * 100_000) as f64 + f64::from(view.task.0)).into(),
    }
}

/// `GET .../taskInstances`; `~` for all DAGs, and for all runs.
pub(super) async fn list<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Page {
    if run_id != "~" {
        if dag_id == "~" {
            return Err(Failure::bad_request("dag_id is required when dag_run_id is specified"));
        }
        let run = runs::find(&api, &dag_id, &run_id).await?;
        return listed(&api, &[run], &query).await;
    }
    let dag_ids = run_lists::named(&api, &dag_id, &query).await?;
    // Of the query, what is about runs; the rest is about task instances.
    let of_runs = query.only(&["run_after", "logical_date"], &["run_id"]);
    let found = run_lists::filtered(&api, &dag_ids, &RunFilters::read(&of_runs)?).await?;
    listed(&api, &found, &query).await
}

/// `POST .../taskInstances/list`: the same filters, in a body.
pub(super) async fn batch<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    Body(body): Body,
) -> Page {
    const NAMES: [(&str, &str); 3] = [("task_ids", "task_id"), ("page_limit", "limit"), ("page_offset", "offset")];
    for (name, given) in [("dag_id", &dag_id), ("dag_run_id", &run_id)] {
        if given != "~" {
            return Err(Failure::invalid("literal_error", "path", name, "Input should be '~'", &given.as_str().into()));
        }
    }
    let query = Query::of_body(&body, &NAMES);
    let dag_ids = run_lists::named(&api, "~", &query).await?;
    let of_runs = query.only(&["run_after", "logical_date"], &[]);
    let mut found = run_lists::filtered(&api, &dag_ids, &RunFilters::read(&of_runs)?).await?;
    found.retain(|run| query.is_one_of("dag_run_ids", &run.facts.run_id));
    listed(&api, &found, &query).await
}

async fn shown<P: Parts>(api: &Api<P>, run: &RunDoc, view: TaskInstanceView) -> Answer {
    let notes = api.engine.store.notes(&run.facts.incarnation).await?;
    let (version, number) = (api.engine.version(&run.facts.version).await?, dag_versions::of_run(api, run).await?);
    let view = view.whole(&*api.logs).await?;
    Ok(Json(shapes::task_instance(run, (&version.plan, &number), &view, &notes)))
}

/// `GET .../taskInstances/{task_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(named): Path<Named>) -> Answer {
    let (run, index) = find(&api, &named.dag_id, &named.dag_run_id, &named.task_id).await?;
    // Before it is expanded, a mapped task has one instance without an index.
    if api.engine.list_mapped(&run, index, 0, 1).await?.1 > 0 {
        return Err(Failure::not_found("Task instance is mapped, add the map_index value to the URL"));
    }
    let view = api.engine.task_instance(&run, index).await?;
    shown(&api, &run, view).await
}

/// `GET .../taskInstances/{task_id}/{map_index}`.
pub(super) async fn mapped<P: Parts>(State(api): State<Api<P>>, Path(named): Path<Named>, query: Query) -> Answer {
    let (run, _, view) = find_mapped(&api, &named, named.map_index(&query)?).await?;
    shown(&api, &run, view).await
}

/// `GET .../taskInstances/{task_id}/listMapped`.
pub(super) async fn list_mapped<P: Parts>(State(api): State<Api<P>>, Path(named): Path<Named>, query: Query) -> Page {
    let Named { dag_id, dag_run_id, task_id, .. } = &named;
    let order = indices_last(query.order_by("map_index", &ORDERS)?);
    let filters = Filters::read(&query)?;
    let (run, index) = find(&api, dag_id, dag_run_id, task_id).await.map_err(|failure| {
        if failure.status() == 404 { Failure::not_found(format!("Task id {task_id} not found")) } else { failure }
    })?;
    let version = api.engine.version(&run.facts.version).await?;
    if version.plan.unit_of(index).is_none() {
        return Err(Failure::not_found(format!("Task id {task_id} is not mapped")));
    }
    // In their order and unfiltered, a page of ten thousand costs what a page of a hundred does.
    if order == [("map_index", false)] && query.names().all(|name| ["limit", "offset", "order_by"].contains(&name)) {
        let (views, total) = api.engine.list_mapped(&run, index, query.page()?.offset, query.page()?.limit).await?;
        let rows: Vec<_> = views.into_iter().map(|view| (0, view)).collect();
        return written(&api, std::slice::from_ref(&run), &rows, &total_alone(total)).await;
    }
    let mut rows: Vec<(usize, TaskInstanceView)> =
        api.engine.mapped_instances(&run, index).await?.into_iter().map(|view| (0, view)).collect();
    rows.retain(|(_, view)| filters.hold(&version.plan, view));
    sort_by(&mut rows, &order, |(number, view), name| key(&run, *number, view, name));
    let page = query.window(&mut rows, |(_, view)| view.map_index.unwrap_or_default().to_string())?;
    written(&api, std::slice::from_ref(&run), &rows, &page).await
}

/// `GET .../taskInstances/{task_id}/dependencies`: why a task instance without a state waits.
pub(super) async fn dependencies<P: Parts>(
    State(api): State<Api<P>>,
    Path(named): Path<Named>,
    query: Query,
) -> Answer {
    let (run, _, view) = find_mapped(&api, &named, named.map_index(&query)?).await?;
    let waits = matches!(view.state, TaskInstanceState::None | TaskInstanceState::Scheduled);
    let reasons = if waits { api.engine.why_not_running(&run, &named.task_id).await? } else { Vec::new() };
    let shown: Vec<Value> =
        reasons.iter().map(|reason| json!({"name": reason.name(), "reason": reason.to_string()})).collect();
    Ok(Json(json!({"dependencies": shown})))
}

/// `GET .../taskInstances/{task_id}/tries`.
pub(super) async fn tries<P: Parts>(State(api): State<Api<P>>, Path(named): Path<Named>, query: Query) -> Answer {
    let (run, index, view) = find_mapped(&api, &named, named.map_index(&query)?).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let tries = api.engine.tries_of(&run, index, view.map_index).await?;
    let of = (&version.plan, &dag_versions::of_run(&api, &run).await?);
    let shown: Vec<Value> = tries.iter().map(|t| shapes::one_try(&run, of, index, view.map_index, t)).collect();
    Ok(Json(json!({"total_entries": shown.len(), "task_instances": shown})))
}

/// `GET .../taskInstances/{task_id}/tries/{task_try_number}`.
pub(super) async fn one_try<P: Parts>(State(api): State<Api<P>>, Path(named): Path<Named>, query: Query) -> Answer {
    let map_index = named.map_index(&query)?;
    let wanted = named.task_try_number.unwrap_or_default();
    let Named { dag_id, dag_run_id, task_id, .. } = &named;
    let missing = || {
        Failure::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{dag_run_id}`, task_id: `{task_id}`, try_number: `{wanted}` and map_index: `{map_index}` was not found"
        ))
    };
    let found = find_mapped(&api, &named, map_index).await;
    let (run, index, view) = found.map_err(|f| if f.status() == 404 { missing() } else { f })?;
    let version = api.engine.version(&run.facts.version).await?;
    let tries = api.engine.tries_of(&run, index, view.map_index).await?;
    let found = tries.iter().find(|t| i64::from(t.try_number) == wanted).ok_or_else(missing)?;
    let of = (&version.plan, &dag_versions::of_run(&api, &run).await?);
    Ok(Json(shapes::one_try(&run, of, index, view.map_index, found)))
}

/// `GET .../taskInstances/{task_id}/links`: of a task that triggers another DAG, the run it has made; of one that waits for another DAG, that.
pub(super) async fn links<P: Parts>(State(api): State<Api<P>>, Path(named): Path<Named>, query: Query) -> Answer {
    let Named { dag_id, task_id, .. } = &named;
    let (_, version) = dags::current(&api, dag_id).await?;
    let missing = || Failure::not_found(format!("Task with ID = {task_id} not found"));
    version.plan.index_of(task_id).ok_or_else(missing)?;
    let (run, index, view) = find_mapped(&api, &named, named.map_index(&query)?).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let operator = version.plan.task(index).operator.rsplit('.').next().unwrap_or_default();
    let fields = shapes::rendered_fields(&version.plan, &view);
    let links = match operator {
        "TriggerDagRunOperator" => {
            let map_index = Some(named.map_index(&query)?);
            let pushed = entries(&api, &run, index, map_index, Some("trigger_run_id")).await?.pop();
            let to = pushed.as_ref().and_then(|(_, _, value)| value.as_str()).zip(fields["trigger_dag_id"].as_str());
            json!({"Triggered DAG": to.map(|(run_id, dag_id)| place(dag_id, Some(run_id)))})
        }
        "ExternalTaskSensor" => {
            json!({"External DAG": fields["external_dag_id"].as_str().map(|dag_id| place(dag_id, None))})
        }
        _ => json!({}),
    };
    let total = links.as_object().map_or(0, serde_json::Map::len);
    Ok(Json(json!({"extra_links": links, "total_entries": total})))
}

/// Where the UI shows a DAG, or a run of it.
fn place(dag_id: &str, run_id: Option<&str>) -> String {
    let within = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let run = run_id.map(|run_id| format!("?run={}", within(run_id)));
    format!("/#/dags/{}/grid{}", within(dag_id), run.unwrap_or_default())
}
