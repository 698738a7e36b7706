//! The HTTP routes: UI, REST API, health. One router, served by standalone today and by a function later.
//!
//! | path | what |
//! |---|---|
//! | `/`, `/assets/...` | the UI |
//! | `/api/updraft/v1/...` | what the UI's views need, in one answer each; see `board` |
//! | `/health`, `/api/v2/monitor/health` | health as Airflow gives it |
//! | `/auth/...` | logging in and out; see `auth` |
//! | `/openapi.json` | the part of Airflow's interface that is served |
//! | `/api/v2/...` | Airflow's REST API; see `v2` |

mod assets;
mod audit;
mod auth;
mod board;
mod contract;
mod layout;
mod parts;
mod v2;

pub use audit::Peer;
pub use auth::{Access, Caller, Issuer};
pub use v2::ConfigOption;

use parts::{Api, Parts};

use axum::extract::State;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::sync::{Arc, LazyLock};
use updraft_clock::Clock;
use updraft_dag_store::DagStore;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::run_id::isoformat;
use updraft_service::Engine;
use updraft_task_queue::TaskQueue;

/// What differs between deployments, and is not in the engine.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The configuration, as it is shown.
    pub config: Vec<ConfigOption>,
    /// Whether people have to log in.
    pub access: Access,
    /// Where browsers get their tokens from, if whatever stands before this server wants an issuer's.
    pub issuer: Option<Issuer>,
}

/// The routes over an engine, its logs and its DAG files.
pub fn router<I: Items, Q: TaskQueue, C: Clock, L: LogStore, D: DagStore>(
    engine: Arc<Engine<I, Q, C>>,
    logs: Arc<L>,
    dags: Arc<D>,
    setup: Setup,
) -> Router {
    let auth = Arc::new(auth::Auth::new(setup.access, setup.issuer));
    let (config, versions) = (setup.config.into(), Arc::default());
    routes(Api::<parts::Of<I, Q, C, L, D>> { engine, logs, dags, auth, config, versions })
}

fn routes<P: Parts>(api: Api<P>) -> Router {
    let (v2, served) = v2::routes::<P>();
    // Made when it is first asked for: a function that starts has no time for what most requests do not want.
    let document = Arc::new(LazyLock::new(move || contract::document(&served)));
    let openapi = move || async move { Json((**document).clone()) };
    Router::new()
        .route("/", get(assets::page::<P>))
        .route("/health", get(health::<P>))
        .route("/favicon.svg", get(assets::icon))
        .route("/assets/{name}", get(assets::asset))
        .route("/openapi.json", get(openapi))
        .merge(auth::routes::<P>())
        .nest("/api/updraft/v1", board::routes::<P>().merge(auth::user_routes::<P>()))
        .nest("/api/v2", v2.layer(from_fn_with_state(api.clone(), audit::recorded::<P>)))
        .layer(from_fn_with_state(api.clone(), auth::guard::<P>))
        .with_state(api)
}

/// Healthy where the metastore answers; the scheduler lives in the process that answers.
async fn health<P: Parts>(State(Api { engine, .. }): State<Api<P>>) -> Response {
    let now = isoformat(engine.clock.now());
    let probe = engine.store.due(engine.clock.now(), 1).await;
    let word = |healthy: bool| if healthy { "healthy" } else { "unhealthy" };
    let code = if probe.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if let Err(error) = &probe {
        tracing::error!(%error, "the metastore does not answer");
    }
    let body = json!({
        "metadatabase": {"status": word(probe.is_ok())},
        "scheduler": {"status": word(probe.is_ok()), "latest_scheduler_heartbeat": now},
        "triggerer": {"status": null, "latest_triggerer_heartbeat": null},
        "dag_processor": {"status": word(probe.is_ok()), "latest_dag_processor_heartbeat": now},
    });
    (code, Json(body)).into_response()
}

#[cfg(test)]
mod tests;
