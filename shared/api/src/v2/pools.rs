//! Pools.

use super::bulk::{self, Kind, is_meant};
use super::order::sort_by;
use super::query::Query;
use super::{Created, Failure, NoContent};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use updraft_model::dag_parts::POOL_DEFAULT;
use updraft_service::Error;
use updraft_service::pools::{PoolView, PoolWish};

type Answer = Result<Json<Value>, Failure>;

/// What Airflow says of a pool's slots without end: its `open_slots` would be infinity, which JSON does not have.
const OPEN_WITHOUT_END: i64 = i32::MAX as i64;

/// `PoolResponse`.
fn shown(pool: &PoolView) -> Value {
    json!({
        "name": pool.name,
        "slots": pool.slots,
        "description": pool.description,
        "include_deferred": pool.include_deferred,
        "occupied_slots": pool.running_slots + pool.queued_slots + if pool.include_deferred { pool.deferred_slots } else { 0 },
        "running_slots": pool.running_slots,
        "queued_slots": pool.queued_slots,
        "scheduled_slots": pool.scheduled_slots,
        "open_slots": pool.open_slots.unwrap_or(OPEN_WITHOUT_END),
        "deferred_slots": pool.deferred_slots,
        "team_name": null,
    })
}

fn missing(name: &str) -> Failure {
    Failure::not_found(format!("The Pool with name: `{name}` was not found"))
}

async fn find<P: Parts>(api: &Api<P>, name: &str) -> Result<PoolView, Failure> {
    match api.engine.pool(name).await {
        Err(Error::NotFound { .. }) => Err(missing(name)),
        found => Ok(found?),
    }
}

/// `GET /pools`.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &["id", "pool", "name"])?;
    let mut pools = api.engine.list_pools().await?;
    pools.retain(|pool| query.matches("pool_name", &pool.name));
    sort_by(&mut pools, &order, |pool, _| pool.name.clone().into());
    let total = pools.len();
    let shown: Vec<Value> = page.of(pools).iter().map(shown).collect();
    Ok(Json(json!({"pools": shown, "total_entries": total})))
}

/// `GET /pools/{pool_name}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(name): Path<String>) -> Answer {
    Ok(Json(shown(&find(&api, &name).await?)))
}

/// `POST /pools`.
pub(super) async fn create<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Result<Created, Failure> {
    bulk::refuse_team(&body)?;
    let name = body["name"].as_str().unwrap_or_default();
    match api.engine.pool(name).await {
        Ok(_) => return Err(Failure::conflict(format!("The Pool with name: `{name}` already exists"))),
        Err(Error::NotFound { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(Created(shown(&changed(&api, None, &body, None).await?)))
}

/// `PATCH /pools/{pool_name}`.
pub(super) async fn patch<P: Parts>(
    State(api): State<Api<P>>,
    Path(name): Path<String>,
    query: Query,
    Body(body): Body,
) -> Answer {
    bulk::refuse_team(&body)?;
    if body["pool"].as_str().is_some_and(|given| given != name) {
        return Err(Failure::bad_request("Invalid body, pool name from request body doesn't match uri parameter"));
    }
    let mask = query.all("update_mask");
    let mask = (!mask.is_empty()).then_some(mask);
    let there = find(&api, &name).await?;
    Ok(Json(shown(&changed(&api, Some(there), &body, mask.as_deref()).await?)))
}

/// Makes a pool, or changes of the one that is there what is meant.
async fn changed<P: Parts>(
    api: &Api<P>,
    there: Option<PoolView>,
    body: &Value,
    mask: Option<&[&str]>,
) -> Result<PoolView, Failure> {
    if there.as_ref().is_some_and(|pool| pool.name == POOL_DEFAULT) {
        let allowed = |name: &&str| ["slots", "include_deferred"].contains(&name.trim());
        if !mask.is_some_and(|mask| mask.iter().all(allowed)) {
            return Err(Failure::bad_request("Only slots and included_deferred can be modified on Default Pool"));
        }
    }
    let mut wish = match there {
        Some(pool) => PoolWish {
            name: pool.name,
            slots: pool.slots,
            description: pool.description,
            include_deferred: pool.include_deferred,
        },
        None => PoolWish {
            name: body["name"].as_str().unwrap_or_default().to_owned(),
            slots: 0,
            description: String::new(),
            include_deferred: false,
        },
    };
    let meant = |field: &str| is_meant(body, mask, field) && (field == "description" || !body[field].is_null());
    if meant("slots") {
        wish.slots = body["slots"].as_i64().unwrap_or_default();
    }
    if meant("description") {
        body["description"].as_str().unwrap_or_default().clone_into(&mut wish.description);
    }
    if meant("include_deferred") {
        wish.include_deferred = body["include_deferred"].as_bool().unwrap_or_default();
    }
    Ok(api.engine.set_pool(&wish).await?)
}

/// `DELETE /pools/{pool_name}`.
pub(super) async fn delete<P: Parts>(
    State(api): State<Api<P>>,
    Path(name): Path<String>,
) -> Result<NoContent, Failure> {
    if name == POOL_DEFAULT {
        return Err(Failure::bad_request("Default Pool can't be deleted"));
    }
    match api.engine.delete_pool(&name).await {
        Err(Error::NotFound { .. }) => Err(missing(&name)),
        done => Ok(done.map(|()| NoContent)?),
    }
}

struct Pools;

impl<P: Parts> Kind<P> for Pools {
    const NAME: &'static str = "name";
    const PLURAL: &'static str = "pools";
    const NAMES: &'static str = "pool names";

    async fn existing(api: &Api<P>, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        let all = api.engine.list_pools().await?;
        Ok(all.into_iter().map(|pool| pool.name).filter(|name| names.contains(name)).collect())
    }

    async fn create(api: &Api<P>, entity: &Value) -> Result<(), Failure> {
        bulk::refuse_team(entity)?;
        let there = find(api, entity["name"].as_str().unwrap_or_default()).await.ok();
        changed(api, there, entity, None).await.map(|_| ())
    }

    async fn update(api: &Api<P>, entity: &Value, mask: Option<&[&str]>) -> Result<(), Failure> {
        bulk::refuse_team(entity)?;
        let there = find(api, entity["name"].as_str().unwrap_or_default()).await?;
        changed(api, Some(there), entity, mask).await.map(|_| ())
    }

    async fn delete(api: &Api<P>, name: &str) -> Result<(), Failure> {
        Ok(api.engine.delete_pool(name).await?)
    }
}

/// `PATCH /pools`.
pub(super) async fn bulk<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Answer {
    Ok(Json(bulk::answer::<P, Pools>(&api, &body).await))
}
