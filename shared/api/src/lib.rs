//! The HTTP routes: UI, REST API, health. One router, served by standalone today and by a function later.
//!
//! | path | what |
//! |---|---|
//! | `/`, `/assets/...` | the UI |
//! | `/api/updraft/v1/...` | what the UI's views need, in one answer each; see `board` |
//! | `/health`, `/api/v2/monitor/health` | health as Airflow gives it |
//! | `/openapi.json` | the part of Airflow's interface that is served |
//! | `/api/v2/...` | Airflow's REST API; see `v2` |

mod assets;
mod board;
mod contract;
mod layout;
mod parts;
mod v2;

pub use v2::ConfigOption;

use parts::{Api, Parts};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use updraft_clock::Clock;
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
}

/// The routes over an engine and its logs.
pub fn router<I: Items, Q: TaskQueue, C: Clock, L: LogStore>(
    engine: Arc<Engine<I, Q, C>>,
    logs: Arc<L>,
    setup: Setup,
) -> Router {
    routes(Api::<parts::Of<I, Q, C, L>> { engine, logs, setup: Arc::new(setup) })
}

fn routes<P: Parts>(api: Api<P>) -> Router {
    let (v2, served) = v2::routes::<P>();
    let document = Arc::new(contract::document(&served));
    let openapi = move || async move { Json(document.as_ref().clone()) };
    Router::new()
        .route("/", get(assets::page))
        .route("/health", get(health::<P>))
        .route("/favicon.svg", get(assets::icon))
        .route("/assets/{name}", get(assets::asset))
        .route("/openapi.json", get(openapi))
        .nest("/api/updraft/v1", board::routes::<P>())
        .nest("/api/v2", v2)
        .layer(axum::middleware::from_fn(only_for_this_machine))
        .with_state(api)
}

/// Nobody has to log in yet, so only this machine is served: a page of another site that has its own name resolve to this address
/// (DNS rebinding) names that host, and is refused. Such a page's plain requests cannot change anything either: changes ask for a JSON
/// body, which a browser sends to another site only where that site allows it.
async fn only_for_this_machine(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let name = host.map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    });
    match name {
        None | Some("localhost" | "127.0.0.1" | "[::1]") => next.run(request).await,
        Some(_) => {
            let detail = "this server answers as `localhost`, `127.0.0.1` and `[::1]` only; reach it from afar through an SSH tunnel";
            (StatusCode::MISDIRECTED_REQUEST, Json(json!({"detail": detail}))).into_response()
        }
    }
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
