//! Backfills: runs of a DAG for dates of the past.

use super::Failure;
use super::order::sort_by;
use super::query::Query;
use super::{dags, shapes};
use crate::audit::Made;
use crate::auth::Caller;
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};
use updraft_model::{Backfill, BackfillId, DagId};
use updraft_service::Error;
use updraft_service::interventions::bodies;

type Answer = Result<Json<Value>, Failure>;

/// `BackfillResponse`.
fn shown(backfill: &Backfill, display_name: &str) -> Value {
    let conf = if backfill.dag_run_conf.is_null() { json!({}) } else { backfill.dag_run_conf.clone() };
    json!({
        "id": number(&backfill.id),
        "dag_id": backfill.dag_id,
        "from_date": shapes::time(backfill.from_date),
        "to_date": shapes::time(backfill.to_date),
        "dag_run_conf": conf,
        "is_paused": backfill.is_paused,
        "reprocess_behavior": backfill.reprocess_behavior,
        "max_active_runs": backfill.max_active_runs,
        "created_at": shapes::time(backfill.created_at),
        "completed_at": shapes::time_or_null(backfill.completed_at),
        "updated_at": shapes::time(backfill.updated_at),
        "dag_display_name": display_name,
    })
}

/// Ids are numbers: the microsecond at which a backfill was made.
fn number(id: &BackfillId) -> i64 {
    id.as_str().parse().unwrap_or_default()
}

/// The name that its DAG is shown under; the DAG may be gone.
async fn display_name<P: Parts>(api: &Api<P>, dag_id: &DagId) -> Result<String, Failure> {
    match dags::find(api, dag_id.as_str()).await {
        Ok(view) => dags::display_name(api, &view).await,
        Err(failure) if failure.status() == 404 => Ok(dag_id.to_string()),
        Err(failure) => Err(failure),
    }
}

async fn answered<P: Parts>(api: &Api<P>, backfill: &Backfill) -> Answer {
    Ok(Json(shown(backfill, &display_name(api, &backfill.dag_id).await?)))
}

/// What the use case says of a backfill with this number, with Airflow's words where there is none.
fn told(result: Result<Backfill, Error>, number: i64) -> Result<Backfill, Failure> {
    match result {
        Err(Error::NotFound { .. }) => Err(Failure::not_found(format!("Backfill with id: `{number}` was not found"))),
        other => Ok(other?),
    }
}

fn id_of(number: i64) -> BackfillId {
    BackfillId::trusted(number.to_string())
}

/// `GET /backfills`: those of a DAG.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &["id"])?;
    let none = || Ok(Json(json!({"backfills": [], "total_entries": 0})));
    let Ok(dag_id) = DagId::parse(query.text("dag_id").unwrap_or_default()) else { return none() };
    let mut found = api.engine.backfills(Some(&dag_id)).await?;
    if found.is_empty() {
        return none();
    }
    sort_by(&mut found, &order, |backfill, _| number(&backfill.id).into());
    let name = display_name(&api, &dag_id).await?;
    let total = found.len();
    let shown: Vec<Value> = page.of(found).iter().map(|backfill| shown(backfill, &name)).collect();
    Ok(Json(json!({"backfills": shown, "total_entries": total})))
}

/// `GET /backfills/{backfill_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(number): Path<i64>) -> Answer {
    let backfill = told(api.engine.backfill(&id_of(number)).await, number)?;
    answered(&api, &backfill).await
}

/// `POST /backfills`.
pub(super) async fn create<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Body(body): Body,
) -> Result<(Extension<Made>, Json<Value>), Failure> {
    let mut wish = wish(&body)?;
    wish.user = Some(caller.username);
    let backfill = api.engine.create_backfill(&wish).await?;
    let made = Made { named: vec![("backfill_id", number(&backfill.id).into())], ..Made::default() };
    Ok((Extension(made), answered(&api, &backfill).await?))
}

/// What is asked for. A number of runs that no backfill can have is told as what it is.
fn wish(body: &Value) -> Result<updraft_service::backfill::NewBackfill, Failure> {
    if let Some(most) = body["max_active_runs"].as_i64()
        && !(1..=i64::from(u32::MAX)).contains(&most)
    {
        let message = "Input should be greater than or equal to 1";
        return Err(Failure::invalid("greater_than_equal", "body", "max_active_runs", message, &most.into()));
    }
    Ok(bodies::backfill(body)?)
}

/// `POST /backfills/dry_run`: the dates for which runs would be made, or made again.
pub(super) async fn dry_run<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Answer {
    let dates = api.engine.dry_run_backfill(&wish(&body)?).await?;
    let shown: Vec<Value> = dates
        .iter()
        .filter(|date| date.is_run)
        .map(|date| {
            let logical_date = shapes::time_or_null(date.logical_date);
            json!({"logical_date": logical_date, "partition_key": null, "partition_date": null})
        })
        .collect();
    Ok(Json(json!({"total_entries": shown.len(), "backfills": shown})))
}

async fn set_paused<P: Parts>(api: &Api<P>, number: i64, is_paused: bool) -> Answer {
    let backfill = told(api.engine.set_backfill_paused(&id_of(number), is_paused).await, number)?;
    answered(api, &backfill).await
}

/// `PUT /backfills/{backfill_id}/pause`.
pub(super) async fn pause<P: Parts>(State(api): State<Api<P>>, Path(number): Path<i64>) -> Answer {
    set_paused(&api, number, true).await
}

/// `PUT /backfills/{backfill_id}/unpause`.
pub(super) async fn unpause<P: Parts>(State(api): State<Api<P>>, Path(number): Path<i64>) -> Answer {
    set_paused(&api, number, false).await
}

/// `PUT /backfills/{backfill_id}/cancel`.
pub(super) async fn cancel<P: Parts>(State(api): State<Api<P>>, Path(number): Path<i64>) -> Answer {
    let backfill = told(Box::pin(api.engine.cancel_backfill(&id_of(number))).await, number)?;
    answered(&api, &backfill).await
}
