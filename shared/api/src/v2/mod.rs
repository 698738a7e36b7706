//! Airflow's REST API v2: paths, fields, status codes and error bodies of its stable API, as far as there is something here to answer.
//!
//! `docs/api.md` says of each endpoint how many requests to the metastore it makes.

mod bulk;
mod config;
mod connections;
pub(crate) mod dags;
mod directory;
mod error;
mod pools;
mod query;
mod run_lists;
pub(crate) mod runs;
mod secret;
mod served;
pub(crate) mod shapes;
mod task_instances;
mod values;
mod variables;

pub use config::ConfigOption;
pub(crate) use error::Failure;
pub(crate) use query::Query;

use crate::parts::{Api, Parts};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use serde_json::Value;
use served::Served;

/// What has been made.
pub(crate) struct Created(Value);

impl IntoResponse for Created {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, Json(self.0)).into_response()
    }
}

/// Done, and nothing to say.
pub(crate) struct NoContent;

impl IntoResponse for NoContent {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

/// The routes below `/api/v2`, and what they serve.
pub(crate) fn routes<P: Parts>() -> (Router<Api<P>>, Vec<(&'static str, &'static str)>) {
    let served = of_runs(of_dags(administration(Served::new())));
    let (router, served) = served.finished();
    let router = router
        .fallback(|| async { Failure::not_found("Not Found") })
        .method_not_allowed_fallback(|| async { Failure::method_not_allowed() });
    (router, served)
}

fn administration<P: Parts>(served: Served<P>) -> Served<P> {
    served
        .on("GET", "/pools", pools::list::<P>)
        .on("POST", "/pools", pools::create::<P>)
        .on("PATCH", "/pools", pools::bulk::<P>)
        .on("GET", "/pools/{pool_name}", pools::one::<P>)
        .on("PATCH", "/pools/{pool_name}", pools::patch::<P>)
        .on("DELETE", "/pools/{pool_name}", pools::delete::<P>)
        .on("GET", "/variables", variables::list::<P>)
        .on("POST", "/variables", variables::create::<P>)
        .on("PATCH", "/variables", variables::bulk::<P>)
        .on("GET", "/variables/{variable_key}", variables::one::<P>)
        .on("PATCH", "/variables/{variable_key}", variables::patch::<P>)
        .on("DELETE", "/variables/{variable_key}", variables::delete::<P>)
        .on("GET", "/connections", connections::list::<P>)
        .on("POST", "/connections", connections::create::<P>)
        .on("PATCH", "/connections", connections::bulk::<P>)
        .on("GET", "/connections/{connection_id}", connections::one::<P>)
        .on("PATCH", "/connections/{connection_id}", connections::patch::<P>)
        .on("DELETE", "/connections/{connection_id}", connections::delete::<P>)
        .on("POST", "/connections/test", connections::test)
        .on("POST", "/connections/enqueue-test", connections::test)
        .on("GET", "/connections/enqueue-test", connections::tested)
        .on("POST", "/connections/defaults", connections::defaults)
        .on("GET", "/config", config::all::<P>)
        .on("GET", "/config/section/{section}/option/{option}", config::one::<P>)
        .on("GET", "/jobs", config::jobs)
        .on("GET", "/plugins", config::plugins)
        .on("GET", "/plugins/importErrors", config::plugin_errors)
        .on("GET", "/providers", config::providers)
        .on("GET", "/monitor/health", crate::health::<P>)
        .on("GET", "/version", config::version)
}

fn of_dags<P: Parts>(served: Served<P>) -> Served<P> {
    served
        .on("GET", "/dags", dags::list::<P>)
        .on("PATCH", "/dags", dags::patch_all::<P>)
        .on("GET", "/dags/{dag_id}", dags::one::<P>)
        .on("PATCH", "/dags/{dag_id}", dags::patch::<P>)
        .on("DELETE", "/dags/{dag_id}", dags::delete::<P>)
        .on("GET", "/dags/{dag_id}/details", dags::details::<P>)
        .on("GET", "/dags/{dag_id}/tasks", dags::tasks::<P>)
        .on("GET", "/dags/{dag_id}/tasks/{task_id}", dags::task::<P>)
        .on("GET", "/dagTags", directory::tags::<P>)
        .on("GET", "/dagStats", directory::stats::<P>)
        .on("GET", "/dagWarnings", directory::warnings::<P>)
        .on("GET", "/importErrors", directory::import_errors::<P>)
        .on("GET", "/importErrors/{import_error_id}", directory::import_error::<P>)
}

fn of_runs<P: Parts>(served: Served<P>) -> Served<P> {
    served
        .on("GET", "/dags/{dag_id}/dagRuns", run_lists::list::<P>)
        .on("POST", "/dags/{dag_id}/dagRuns", runs::trigger::<P>)
        .on("POST", "/dags/{dag_id}/dagRuns/list", run_lists::batch::<P>)
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}", runs::one::<P>)
        .on("DELETE", "/dags/{dag_id}/dagRuns/{dag_run_id}", runs::delete::<P>)
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/wait", runs::wait::<P>)
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", task_instances::list::<P>)
        .on("POST", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/list", task_instances::batch::<P>)
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}", task_instances::one::<P>)
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
            task_instances::mapped::<P>,
        )
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/listMapped",
            task_instances::list_mapped::<P>,
        )
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dependencies",
            task_instances::dependencies::<P>,
        )
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dependencies",
            task_instances::dependencies::<P>,
        )
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries", task_instances::tries::<P>)
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries",
            task_instances::tries::<P>,
        )
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/tries/{task_try_number}",
            task_instances::one_try::<P>,
        )
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/tries/{task_try_number}",
            task_instances::one_try::<P>,
        )
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/links", task_instances::links::<P>)
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/logs/{try_number}", values::logs::<P>)
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/externalLogUrl/{try_number}",
            values::external_log,
        )
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries", values::xcoms::<P>)
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            values::xcom::<P>,
        )
}
