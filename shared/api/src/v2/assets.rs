//! Assets, their aliases and events, and what waits for them.

use super::order::sort_by;
use super::query::Query;
use super::{Failure, NoContent, dags, runs, shapes};
use crate::audit::Made;
use crate::auth::Caller;
use crate::contract::{Body, instant};
use crate::parts::{Api, Parts};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use updraft_model::DagId;
use updraft_service::Error;
use updraft_service::assets::{
    AliasView, AssetEventView, AssetView, EventFilter, EventWish, QueuedEvent, Related, RunOfEvent,
};
use updraft_service::interventions::bodies;

type Answer = Result<Json<Value>, Failure>;

/// How many events one request brings, to be filtered by what only their names tell.
const EVENTS_MAX: usize = 1000;

fn related(all: &[Related]) -> Vec<Value> {
    let one = |one: &Related| {
        let mut shown = json!({
            "dag_id": one.dag_id,
            "created_at": shapes::time(one.created_at),
            "updated_at": shapes::time(one.created_at),
        });
        if let Some(task_id) = &one.task_id {
            shown["task_id"] = task_id.as_str().into();
        }
        shown
    };
    all.iter().map(one).collect()
}

fn object_or_null(extra: &Map<String, Value>) -> Value {
    Value::Object(extra.clone())
}

/// `AssetResponse`.
fn asset(view: &AssetView, aliases: &[AliasView]) -> Value {
    let named = aliases.iter().filter(|alias| view.aliases.contains(&alias.name)).map(alias);
    let last = view.last_asset_event;
    json!({
        "id": view.id,
        "name": view.name,
        "uri": view.uri,
        "group": view.group,
        "extra": object_or_null(&view.extra),
        "created_at": shapes::time(view.created_at),
        "updated_at": shapes::time(view.updated_at),
        "scheduled_dags": related(&view.scheduled_dags),
        "producing_tasks": related(&view.producing_tasks),
        "consuming_tasks": related(&view.consuming_tasks),
        "aliases": named.collect::<Vec<_>>(),
        "watchers": [],
        "last_asset_event": last.map(|(id, at)| json!({"id": id, "timestamp": shapes::time(at)})),
    })
}

/// `AssetAliasResponse`.
fn alias(view: &AliasView) -> Value {
    json!({"id": view.id, "name": view.name, "group": view.group})
}

/// `DagRunAssetReference`.
fn run_of_event(of: &RunOfEvent) -> Option<Value> {
    let run = of.run.as_ref()?;
    let facts = &run.facts;
    Some(json!({
        "run_id": facts.run_id,
        "dag_id": facts.dag_id,
        "logical_date": shapes::time_or_null(facts.logical_date),
        // A run that waits has not begun; Airflow's form wants an instant.
        "start_date": shapes::time(run.start_date.unwrap_or(facts.queued_at)),
        "end_date": shapes::time_or_null(run.end_date),
        "state": run.state,
        "data_interval_start": shapes::time_or_null(facts.data_interval.map(|interval| interval.start)),
        "data_interval_end": shapes::time_or_null(facts.data_interval.map(|interval| interval.end)),
        "partition_key": facts.partition.as_ref().map(|partition| &partition.key),
        "triggering": true,
    }))
}

/// `AssetEventResponse`.
fn event(view: &AssetEventView) -> Value {
    let source = view.event.source.as_ref();
    json!({
        "id": view.id,
        "asset_id": view.asset_id,
        "uri": view.event.uri,
        "name": view.event.name,
        "group": view.event.group,
        "extra": object_or_null(&view.event.extra),
        "source_task_id": source.map(|source| source.task_id.clone()),
        "source_dag_id": source.map(|source| source.dag_id.to_string()),
        "source_run_id": source.map(|source| source.run_id.clone()),
        "source_map_index": source.map_or(-1, |source| source.map_index),
        "created_dagruns": view.created_dagruns.iter().filter_map(run_of_event).collect::<Vec<_>>(),
        "timestamp": shapes::time(view.event.timestamp),
        "partition_key": null,
    })
}

/// Numbers of assets that no asset can have are those of none.
pub(super) fn number(id: i64) -> Option<u64> {
    u64::try_from(id).ok()
}

fn missing(id: i64) -> Failure {
    Failure::not_found(format!("The Asset with ID: `{id}` was not found"))
}

async fn find<P: Parts>(api: &Api<P>, id: i64) -> Result<AssetView, Failure> {
    match api.engine.asset(number(id).ok_or_else(|| missing(id))?).await {
        Err(Error::NotFound { .. }) => Err(missing(id)),
        found => Ok(found?),
    }
}

/// `GET /assets`.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &["id", "name", "uri", "created_at", "updated_at"])?;
    let only_active = query.boolean("only_active")?.unwrap_or(true);
    let dag_ids: Vec<&str> = query.all("dag_ids").into_iter().flat_map(|ids| ids.split(',')).collect();
    let is_of = |related: &[Related]| related.iter().any(|one| dag_ids.contains(&one.dag_id.as_str()));
    let mut assets = api.engine.list_assets().await?;
    assets.retain(|asset| {
        let used =
            !(asset.scheduled_dags.is_empty() && asset.producing_tasks.is_empty() && asset.consuming_tasks.is_empty());
        query.matches("name", &asset.name)
            && query.matches("uri", &asset.uri)
            && (used || !only_active)
            && (dag_ids.is_empty()
                || is_of(&asset.scheduled_dags)
                || is_of(&asset.producing_tasks)
                || is_of(&asset.consuming_tasks))
    });
    sort_by(&mut assets, &order, |asset, name| match name {
        "uri" => asset.uri.clone().into(),
        "updated_at" => asset.updated_at.into(),
        "name" => asset.name.clone().into(),
        _ => asset.created_at.into(),
    });
    let total = assets.len();
    let aliases = if assets.iter().any(|asset| !asset.aliases.is_empty()) {
        api.engine.list_asset_aliases().await?
    } else {
        Vec::new()
    };
    let shown: Vec<Value> = page.of(assets).iter().map(|view| asset(view, &aliases)).collect();
    Ok(Json(json!({"assets": shown, "total_entries": total})))
}

/// `GET /assets/{asset_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(id): Path<i64>) -> Answer {
    let view = find(&api, id).await?;
    let aliases = if view.aliases.is_empty() { Vec::new() } else { api.engine.list_asset_aliases().await? };
    Ok(Json(asset(&view, &aliases)))
}

/// `GET /assets/aliases`.
pub(super) async fn aliases<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &["id", "name"])?;
    let mut aliases = api.engine.list_asset_aliases().await?;
    aliases.retain(|alias| query.matches("name", &alias.name));
    sort_by(&mut aliases, &order, |alias, name| {
        if name == "id" { i64::try_from(alias.id).ok().into() } else { alias.name.clone().into() }
    });
    let total = aliases.len();
    let shown: Vec<Value> = page.of(aliases).iter().map(alias).collect();
    Ok(Json(json!({"asset_aliases": shown, "total_entries": total})))
}

/// `GET /assets/aliases/{asset_alias_id}`.
pub(super) async fn one_alias<P: Parts>(State(api): State<Api<P>>, Path(id): Path<i64>) -> Answer {
    let missing = || Failure::not_found(format!("The Asset Alias with ID: `{id}` was not found"));
    match api.engine.asset_alias(number(id).ok_or_else(missing)?).await {
        Err(Error::NotFound { .. }) => Err(missing()),
        found => Ok(Json(alias(&found?))),
    }
}

/// `GET /assets/events`.
pub(super) async fn events<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let known = ["id", "source_task_id", "source_dag_id", "source_run_id", "source_map_index", "timestamp"];
    let order = query.order_by("timestamp", &known)?;
    let text = |name: &str| query.text(name).map(str::to_owned);
    let asset_id = query.integer::<i64>("asset_id")?;
    let none = || Ok(Json(json!({"asset_events": [], "total_entries": 0})));
    let asset_id = match asset_id {
        Some(id) => match number(id) {
            Some(id) => Some(id),
            None => return none(),
        },
        None => None,
    };
    let filter = EventFilter {
        asset_id,
        source_dag_id: text("source_dag_id"),
        source_task_id: text("source_task_id"),
        source_run_id: text("source_run_id"),
        source_map_index: query.integer("source_map_index")?,
        ..EventFilter::default()
    };
    let at = query.times("timestamp")?;
    let by_time_alone = matches!(order.as_slice(), [("timestamp", true)]);
    let by_name = query.names().any(|name| name.starts_with("name_") || name.starts_with("timestamp_"));
    if by_time_alone && !by_name {
        let (found, total) = api.engine.list_asset_events(&filter, page.limit, page.offset).await?;
        let shown: Vec<Value> = found.iter().map(event).collect();
        return Ok(Json(json!({"asset_events": shown, "total_entries": total})));
    }
    let (mut found, _) = api.engine.list_asset_events(&filter, EVENTS_MAX, 0).await?;
    found.retain(|view| at.hold(Some(view.event.timestamp)) && query.matches("name", &view.event.name));
    // From the oldest, as numbers grow.
    found.reverse();
    sort_by(&mut found, &order, |view, name| {
        let source = view.event.source.as_ref();
        match name {
            "source_task_id" => source.map(|source| source.task_id.clone()).into(),
            "source_dag_id" => source.map(|source| source.dag_id.to_string()).into(),
            "source_run_id" => source.map(|source| source.run_id.clone()).into(),
            "source_map_index" => source.map_or(-1, |source| source.map_index).into(),
            _ => view.event.timestamp.into(),
        }
    });
    let total = found.len();
    let shown: Vec<Value> = page.of(found).iter().map(event).collect();
    Ok(Json(json!({"asset_events": shown, "total_entries": total})))
}

/// `POST /assets/events`.
pub(super) async fn create_event<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Answer {
    let id = body["asset_id"].as_i64().unwrap_or_default();
    let missing = || Failure::not_found(format!("Asset with ID: `{id}` was not found"));
    if !body["partition_key"].is_null() {
        return Err(Failure::bad_request(
            "no schedule here waits for a partition of an asset, so an event of one would make no run; leave `partition_key` out",
        ));
    }
    let extra = body["extra"].as_object().cloned().unwrap_or_default();
    let wish = EventWish { asset_id: number(id).ok_or_else(missing)?, extra, request: None };
    match api.engine.create_asset_event(&wish).await {
        Err(Error::NotFound { .. }) => Err(missing()),
        made => Ok(Json(event(&made?))),
    }
}

/// `POST /assets/{asset_id}/materialize`.
pub(super) async fn materialize<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<i64>,
    Body(body): Body,
) -> Result<(Extension<Made>, Json<Value>), Failure> {
    let view = find(&api, id).await?;
    let maker = match api.engine.maker_of_asset(view.id).await {
        Err(Error::NotFound { .. }) => {
            return Err(Failure::not_found(format!("No Dag materializes asset with ID: {id}")));
        }
        Err(Error::Conflict(_)) => {
            return Err(Failure::conflict(format!("More than one Dag materializes asset with ID: {id}")));
        }
        found => found?,
    };
    let (trigger, mut origin) = bodies::materialize(&maker, &body)?;
    origin.user = Some(caller.username);
    let run = api.engine.trigger_from(trigger, &origin).await?;
    Ok((Extension(runs::made(&run)), Json(runs::shown(&api, &run).await?)))
}

/// `GET /dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents`.
pub(super) async fn upstream<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> Answer {
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let found = api.engine.upstream_asset_events(&run.facts.dag_id, &run_id).await?;
    let shown: Vec<Value> = found.iter().map(event).collect();
    Ok(Json(json!({"total_entries": shown.len(), "asset_events": shown})))
}

/// Airflow reads this instant more freely than others.
fn before(query: &Query) -> Result<Option<Timestamp>, Failure> {
    let Some(text) = query.text("before") else { return Ok(None) };
    let naive =
        || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp());
    let unreadable = || {
        Failure::bad_request(format!("Invalid datetime: '{text}'. Please check the date parameter have this value."))
    };
    instant(text).or_else(naive).map(Some).ok_or_else(unreadable)
}

async fn queued_event<P: Parts>(api: &Api<P>, queued: &QueuedEvent) -> Result<Value, Failure> {
    let view = dags::find(api, queued.dag_id.as_str()).await?;
    Ok(json!({
        "dag_id": queued.dag_id,
        "asset_id": queued.asset_id,
        "created_at": shapes::time(queued.created_at),
        "dag_display_name": dags::display_name(api, &view).await?,
    }))
}

/// What waits: of an asset, of a DAG, or of both. Nothing waits for what is not there.
async fn waiting<P: Parts>(
    api: &Api<P>,
    dag_id: Option<&DagId>,
    asset_id: Option<i64>,
    query: &Query,
) -> Result<Vec<QueuedEvent>, Failure> {
    let asset_id = match asset_id {
        Some(id) => match number(id) {
            Some(id) => Some(id),
            None => return Ok(Vec::new()),
        },
        None => None,
    };
    match api.engine.queued_asset_events(dag_id, asset_id, before(query)?).await {
        Err(Error::NotFound { .. }) => Ok(Vec::new()),
        found => Ok(found?),
    }
}

async fn queued_list<P: Parts>(api: &Api<P>, found: &[QueuedEvent]) -> Answer {
    let mut shown = Vec::with_capacity(found.len());
    for queued in found {
        shown.push(queued_event(api, queued).await?);
    }
    Ok(Json(json!({"total_entries": shown.len(), "queued_events": shown})))
}

/// `GET /assets/{asset_id}/queuedEvents`.
pub(super) async fn queued<P: Parts>(State(api): State<Api<P>>, Path(id): Path<i64>, query: Query) -> Answer {
    let found = waiting(&api, None, Some(id), &query).await?;
    queued_list(&api, &found).await
}

/// `GET /dags/{dag_id}/assets/queuedEvents`.
pub(super) async fn queued_of_dag<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Answer {
    let found = match DagId::parse(&dag_id) {
        Ok(dag_id) => waiting(&api, Some(&dag_id), None, &query).await?,
        Err(_) => Vec::new(),
    };
    queued_list(&api, &found).await
}

fn no_such_queued(dag_id: &str, asset_id: i64) -> Failure {
    Failure::not_found(format!("Queued event with dag_id: `{dag_id}` and asset_id: `{asset_id}` was not found"))
}

/// `GET /dags/{dag_id}/assets/{asset_id}/queuedEvents`.
pub(super) async fn one_queued<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, asset_id)): Path<(String, i64)>,
    query: Query,
) -> Answer {
    let missing = || no_such_queued(&dag_id, asset_id);
    let id = DagId::parse(&dag_id).map_err(|_| missing())?;
    let found = waiting(&api, Some(&id), Some(asset_id), &query).await?;
    Ok(Json(queued_event(&api, found.first().ok_or_else(missing)?).await?))
}

async fn forget<P: Parts>(
    api: &Api<P>,
    dag_id: Option<&DagId>,
    asset_id: Option<i64>,
    query: &Query,
    missing: Failure,
) -> Result<NoContent, Failure> {
    if waiting(api, dag_id, asset_id, query).await?.is_empty() {
        return Err(missing);
    }
    api.engine.delete_queued_asset_events(dag_id, asset_id.and_then(number), before(query)?).await?;
    Ok(NoContent)
}

/// `DELETE /assets/{asset_id}/queuedEvents`.
pub(super) async fn forget_queued<P: Parts>(
    State(api): State<Api<P>>,
    Path(id): Path<i64>,
    query: Query,
) -> Result<NoContent, Failure> {
    let missing = Failure::not_found(format!("Queue event with asset_id: `{id}` was not found"));
    forget(&api, None, Some(id), &query, missing).await
}

/// `DELETE /dags/{dag_id}/assets/queuedEvents`.
pub(super) async fn forget_queued_of_dag<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<NoContent, Failure> {
    let missing = || Failure::not_found(format!("Queue event with dag_id: `{dag_id}` was not found"));
    let id = DagId::parse(&dag_id).map_err(|_| missing())?;
    forget(&api, Some(&id), None, &query, missing()).await
}

/// `DELETE /dags/{dag_id}/assets/{asset_id}/queuedEvents`.
pub(super) async fn forget_one_queued<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, asset_id)): Path<(String, i64)>,
    query: Query,
) -> Result<NoContent, Failure> {
    let id = DagId::parse(&dag_id).map_err(|_| no_such_queued(&dag_id, asset_id))?;
    forget(&api, Some(&id), Some(asset_id), &query, no_such_queued(&dag_id, asset_id)).await
}
