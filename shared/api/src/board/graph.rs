//! The drawing of a DAG.

use super::Fresh;
use super::grid::tasks;
use crate::layout;
use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query, dags, runs};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::json;
use std::collections::BTreeSet;

/// The drawing of a DAG's current version, or with `run_id` of the version that run runs; `fold` names the groups that are folded,
/// `down` says that it leads from the top down.
pub(super) async fn graph<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let view = dags::find(&api, &dag_id).await?;
    let version = match query.text("run_id") {
        Some(run_id) => Some(runs::find(&api, &dag_id, run_id).await?.facts.version),
        None => view.doc.and_then(|doc| doc.version),
    };
    let gone = || {
        let detail = format!("The Dag with ID: `{dag_id}` is no longer declared by `{}`", view.summary.file);
        Failure::not_found(detail)
    };
    let version = api.engine.version(&version.ok_or_else(gone)?).await?;
    let folded: BTreeSet<String> = query.all("fold").into_iter().map(str::to_owned).collect();
    let drawing = layout::drawing(&version.id, &version.plan, &folded, query.boolean("down")?.unwrap_or(false));
    let groups: Vec<&str> = version.plan.dag.groups.iter().map(|group| group.group_id.as_str()).collect();
    Ok(Fresh::new(&json!({"drawing": *drawing, "tasks": tasks(&version.plan), "groups": groups}), headers))
}
