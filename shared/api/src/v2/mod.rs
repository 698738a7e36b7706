//! Airflow's REST API v2: paths, fields, status codes and error bodies of its stable API, as far as there is something here to answer.
//!
//! `docs/api.md` says of each endpoint how many requests to the metastore it makes.

mod assets;
mod backfills;
mod bulk;
mod config;
mod connections;
pub(crate) mod dag_versions;
pub(crate) mod dags;
mod directory;
mod error;
mod event_logs;
mod files;
mod hitl;
mod interventions;
mod order;
mod pools;
mod query;
mod rows;
mod run_lists;
pub(crate) mod runs;
mod secret;
mod served;
pub(crate) mod shapes;
mod state_store;
mod task_instances;
mod values;
mod variables;
mod xcom_edits;
mod xcom_lists;

pub use config::ConfigOption;
pub(crate) use dag_versions::Known as KnownVersions;
pub(crate) use error::Failure;
pub(crate) use query::Query;
pub(crate) use secret::redacted;

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

/// What tasks ask people, and the answers.
fn of_people<P: Parts>(served: Served<P>) -> Served<P> {
    const OF_INSTANCE: &str = "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails";
    served
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/hitlDetails", hitl::list::<P>)
        .on("GET", OF_INSTANCE, hitl::one::<P>)
        .on("PATCH", OF_INSTANCE, hitl::respond::<P>)
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/hitlDetails/tries/{try_number}",
            hitl::of_try::<P>,
        )
}

/// The routes below `/api/v2`, and what they serve.
pub(crate) fn routes<P: Parts>() -> (Router<Api<P>>, Vec<(&'static str, &'static str)>) {
    let served = of_people(of_interventions(of_state_stores(of_assets(of_runs(of_dags(of_logs(administration(
        Served::new(),
    ))))))));
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

fn of_logs<P: Parts>(served: Served<P>) -> Served<P> {
    served
        .on("GET", "/eventLogs", event_logs::list::<P>)
        .on("GET", "/eventLogs/{event_log_id}", event_logs::one::<P>)
        .on("GET", "/backfills", backfills::list::<P>)
        .on("POST", "/backfills", backfills::create::<P>)
        .on("POST", "/backfills/dry_run", backfills::dry_run::<P>)
        .on("GET", "/backfills/{backfill_id}", backfills::one::<P>)
        .on("PUT", "/backfills/{backfill_id}/pause", backfills::pause::<P>)
        .on("PUT", "/backfills/{backfill_id}/unpause", backfills::unpause::<P>)
        .on("PUT", "/backfills/{backfill_id}/cancel", backfills::cancel::<P>)
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
        .on("POST", "/dags/{dag_id}/favorite", dags::favorite::<P>)
        .on("POST", "/dags/{dag_id}/unfavorite", dags::unfavorite::<P>)
        .on("GET", "/dags/{dag_id}/dagVersions", dag_versions::list::<P>)
        .on("GET", "/dags/{dag_id}/dagVersions/{version_number}", dag_versions::one::<P>)
        .on("GET", "/dagSources/{dag_id}", files::source::<P>)
        .on("PUT", "/parseDagFile/{file_token}", files::parse::<P>)
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
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries", xcom_lists::list::<P>)
        .on("POST", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries", xcom_edits::create::<P>)
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            values::xcom::<P>,
        )
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            xcom_edits::update::<P>,
        )
        .on(
            "DELETE",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/xcomEntries/{xcom_key}",
            xcom_edits::delete::<P>,
        )
}

fn of_assets<P: Parts>(served: Served<P>) -> Served<P> {
    served
        .on("GET", "/assets", assets::list::<P>)
        .on("GET", "/assets/aliases", assets::aliases::<P>)
        .on("GET", "/assets/aliases/{asset_alias_id}", assets::one_alias::<P>)
        .on("GET", "/assets/events", assets::events::<P>)
        .on("POST", "/assets/events", assets::create_event::<P>)
        .on("GET", "/assets/{asset_id}", assets::one::<P>)
        .on("POST", "/assets/{asset_id}/materialize", assets::materialize::<P>)
        .on("GET", "/assets/{asset_id}/queuedEvents", assets::queued::<P>)
        .on("DELETE", "/assets/{asset_id}/queuedEvents", assets::forget_queued::<P>)
        .on("GET", "/dags/{dag_id}/assets/queuedEvents", assets::queued_of_dag::<P>)
        .on("DELETE", "/dags/{dag_id}/assets/queuedEvents", assets::forget_queued_of_dag::<P>)
        .on("GET", "/dags/{dag_id}/assets/{asset_id}/queuedEvents", assets::one_queued::<P>)
        .on("DELETE", "/dags/{dag_id}/assets/{asset_id}/queuedEvents", assets::forget_one_queued::<P>)
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/upstreamAssetEvents", assets::upstream::<P>)
}

fn of_state_stores<P: Parts>(served: Served<P>) -> Served<P> {
    served
        .on("GET", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store", state_store::list::<P>)
        .on(
            "DELETE",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store",
            state_store::clear::<P>,
        )
        .on(
            "GET",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
            state_store::one::<P>,
        )
        .on(
            "PUT",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
            state_store::set::<P>,
        )
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
            state_store::patch::<P>,
        )
        .on(
            "DELETE",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/state-store/{key}",
            state_store::delete::<P>,
        )
        .on("GET", "/assets/{asset_id}/state-store", state_store::list_of_asset::<P>)
        .on("DELETE", "/assets/{asset_id}/state-store", state_store::clear_of_asset::<P>)
        .on("GET", "/assets/{asset_id}/state-store/{key}", state_store::one_of_asset::<P>)
        .on("PUT", "/assets/{asset_id}/state-store/{key}", state_store::set_of_asset::<P>)
        .on("DELETE", "/assets/{asset_id}/state-store/{key}", state_store::delete_of_asset::<P>)
}

fn of_interventions<P: Parts>(served: Served<P>) -> Served<P> {
    served
        .on("POST", "/dags/{dag_id}/clearTaskInstances", interventions::clear_task_instances::<P>)
        .on("POST", "/dags/{dag_id}/clearDagRuns", interventions::clear_runs::<P>)
        .on("POST", "/dags/{dag_id}/clearPartitions", interventions::clear_partitions::<P>)
        .on("PATCH", "/dags/{dag_id}/dagRuns", interventions::bulk_runs::<P>)
        .on("PATCH", "/dags/{dag_id}/dagRuns/{dag_run_id}", interventions::patch_run::<P>)
        .on("POST", "/dags/{dag_id}/dagRuns/{dag_run_id}/clear", interventions::clear_run::<P>)
        .on("PATCH", "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances", interventions::bulk_task_instances::<P>)
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
            interventions::patch_task_instance::<P>,
        )
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/dry_run",
            interventions::patch_task_instance_dry::<P>,
        )
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}",
            interventions::patch_task_instance::<P>,
        )
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}/{map_index}/dry_run",
            interventions::patch_task_instance_dry::<P>,
        )
        .on(
            "DELETE",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances/{task_id}",
            interventions::delete_task_instance::<P>,
        )
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}",
            interventions::patch_task_group::<P>,
        )
        .on(
            "PATCH",
            "/dags/{dag_id}/dagRuns/{dag_run_id}/taskGroupInstances/{group_id}/dry_run",
            interventions::patch_task_group_dry::<P>,
        )
}
