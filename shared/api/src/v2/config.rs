//! What the deployment is: its configuration and version; and what a deployment of Airflow has that there is none of here.

use super::Failure;
use super::query::Query;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use updraft_model::secrets::is_sensitive_name;

/// An option of the configuration, under Airflow's section and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOption {
    /// Its section.
    pub section: String,
    /// Its name.
    pub option: String,
    /// The value that holds.
    pub value: String,
}

/// What Airflow shows instead of a secret option.
const HIDDEN: &str = "< hidden >";

fn value(option: &ConfigOption) -> &str {
    if is_sensitive_name(&option.option) { HIDDEN } else { &option.value }
}

/// Sections in their order, as JSON or as an `airflow.cfg`, as the client accepts.
fn answer(headers: &HeaderMap, options: &[&ConfigOption]) -> Result<Response, Failure> {
    let mut sections: Vec<(&str, Vec<&ConfigOption>)> = Vec::new();
    for option in options {
        match sections.last_mut() {
            Some((name, of_section)) if *name == option.section => of_section.push(option),
            _ => sections.push((&option.section, vec![option])),
        }
    }
    match accepted(headers)? {
        Kind::Text => {
            let mut text = String::new();
            for (name, options) in sections {
                text.extend(["[", name, "]\n"]);
                text.extend(options.iter().map(|option| format!("{} = {}\n", option.option, value(option))));
                text.push('\n');
            }
            Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
        }
        Kind::Json => {
            let section = |(name, options): (&str, Vec<&ConfigOption>)| {
                let options: Vec<Value> = options.iter().map(|o| json!({"key": o.option, "value": value(o)})).collect();
                json!({"name": name, "options": options})
            };
            let sections: Vec<Value> = sections.into_iter().map(section).collect();
            Ok(Json(json!({"sections": sections})).into_response())
        }
    }
}

/// In which form an answer is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Json,
    Text,
}

/// What `Accept` asks for: JSON where it does not say.
pub(super) fn accepted(headers: &HeaderMap) -> Result<Kind, Failure> {
    let accept =
        headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*").to_ascii_lowercase();
    let names = |kind: &str| accept.split(',').any(|one| one.split(';').next().is_some_and(|one| one.trim() == kind));
    if names("application/json") || names("*/*") || names("application/*") {
        Ok(Kind::Json)
    } else if names("text/plain") || names("text/*") {
        Ok(Kind::Text)
    } else {
        Err(Failure::not_acceptable("Only application/json or text/plain is supported"))
    }
}

/// `GET /config`.
pub(super) async fn all<P: Parts>(
    State(api): State<Api<P>>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let section = query.text("section").filter(|section| !section.is_empty());
    let options: Vec<&ConfigOption> = api.config.iter().filter(|o| section.is_none_or(|s| s == o.section)).collect();
    match section {
        Some(section) if options.is_empty() => Err(Failure::not_found(format!("Section {section} not found."))),
        _ => answer(&headers, &options),
    }
}

/// `GET /config/section/{section}/option/{option}`.
pub(super) async fn one<P: Parts>(
    State(api): State<Api<P>>,
    Path((section, option)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let found = api.config.iter().find(|o| o.section == section && o.option == option);
    let missing = || Failure::not_found(format!("Option [{section}/{option}] not found."));
    answer(&headers, &[found.ok_or_else(missing)?])
}

/// `GET /version`.
pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION"), "git_version": null}))
}

/// `GET /jobs`: nothing runs on, so there are no jobs.
pub(super) async fn jobs(query: Query) -> Result<Json<Value>, Failure> {
    query.page()?;
    let known = [
        "id",
        "dag_id",
        "state",
        "job_type",
        "start_date",
        "end_date",
        "latest_heartbeat",
        "executor_class",
        "hostname",
        "unixname",
    ];
    query.order_by("id", &known)?;
    Ok(Json(json!({"jobs": [], "total_entries": 0})))
}

/// `GET /plugins`: there is no Python to plug anything into.
pub(super) async fn plugins() -> Json<Value> {
    Json(json!({"plugins": [], "total_entries": 0}))
}

/// `GET /plugins/importErrors`.
pub(super) async fn plugin_errors() -> Json<Value> {
    Json(json!({"import_errors": [], "total_entries": 0}))
}

/// `GET /providers`: operators are built in, not installed.
pub(super) async fn providers() -> Json<Value> {
    Json(json!({"providers": [], "total_entries": 0}))
}
