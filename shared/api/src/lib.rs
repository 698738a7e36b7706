//! The HTTP routes: health, version, and a plain status page. One router, served by standalone today and by a function later.
//!
//! | path | what |
//! |---|---|
//! | `/` | status page: DAGs, their latest runs, import errors |
//! | `/health`, `/api/v2/monitor/health` | health as Airflow gives it |
//! | `/api/v2/version` | version |

mod page;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::run_id::isoformat;
use updraft_service::Engine;
use updraft_task_queue::TaskQueue;

/// The routes over an engine.
pub fn router<I: Items, Q: TaskQueue, C: Clock>(engine: Arc<Engine<I, Q, C>>) -> Router {
    Router::new()
        .route("/", get(status::<I, Q, C>))
        .route("/health", get(health::<I, Q, C>))
        .route("/api/v2/monitor/health", get(health::<I, Q, C>))
        .route(
            "/api/v2/version",
            get(|| async { Json(json!({"version": env!("CARGO_PKG_VERSION"), "git_version": null})) }),
        )
        .with_state(engine)
}

/// Healthy where the metastore answers; the scheduler lives in the process that answers.
async fn health<I: Items, Q: TaskQueue, C: Clock>(State(engine): State<Arc<Engine<I, Q, C>>>) -> Response {
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

async fn status<I: Items, Q: TaskQueue, C: Clock>(State(engine): State<Arc<Engine<I, Q, C>>>) -> Response {
    let mut response = match page::render(&engine).await {
        Ok(html) => Html(html).into_response(),
        Err(error) => {
            tracing::error!(%error, "the status page could not be made");
            (StatusCode::SERVICE_UNAVAILABLE, "The metastore does not answer; see the server's log.\n").into_response()
        }
    };
    let headers = response.headers_mut();
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
