//! What is known of all DAGs together: tags, states of runs, warnings, import errors.

use super::dags::errors;
use super::order::sort_by;
use super::query::Query;
use super::run_lists::LOOKED_AT_MAX;
use super::{Failure, shapes};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::{DagId, DagRunState};

type Answer = Result<Json<Value>, Failure>;

/// `GET /dagTags`.
pub(super) async fn tags<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let descending = query.order_by("name", &["name"])?.iter().any(|(_, descending)| *descending);
    let summaries = api.engine.all_dag_summaries().await?;
    let mut tags: BTreeSet<String> = summaries.into_iter().filter(|s| !s.is_stale).flat_map(|s| s.tags).collect();
    tags.retain(|tag| query.matches("tag_name", tag));
    let total = tags.len();
    let tags: Vec<String> = if descending { tags.into_iter().rev().collect() } else { tags.into_iter().collect() };
    Ok(Json(json!({"tags": page.of(tags), "total_entries": total})))
}

/// `GET /importErrors`.
pub(super) async fn import_errors<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &["id", "import_error_id", "timestamp", "filename"])?;
    let mut errors = errors(&api).await?;
    errors.retain(|e| query.matches("filename", &e.path) && query.is_one_of("filename", &e.path));
    sort_by(&mut errors, &order, |e, name| match name {
        "timestamp" => e.timestamp.into(),
        "filename" => e.path.clone().into(),
        _ => i64::from(shapes::import_error_id(e)).into(),
    });
    let total = errors.len();
    let shown: Vec<Value> = page.of(errors).iter().map(shapes::import_error).collect();
    Ok(Json(json!({"import_errors": shown, "total_entries": total})))
}

/// `GET /importErrors/{import_error_id}`.
pub(super) async fn import_error<P: Parts>(State(api): State<Api<P>>, Path(id): Path<String>) -> Answer {
    let message = "Input should be a valid integer, unable to parse string as an integer";
    let invalid = || Failure::invalid("int_parsing", "path", "import_error_id", message, &Value::from(id.as_str()));
    let number: i64 = id.parse().map_err(|_| invalid())?;
    let found = errors(&api).await?.into_iter().find(|e| i64::from(shapes::import_error_id(e)) == number);
    let missing = || Failure::not_found(format!("The ImportError with import_error_id: `{number}` was not found"));
    Ok(Json(shapes::import_error(&found.ok_or_else(missing)?)))
}

/// `GET /dagStats`: how many runs of each DAG are in each state, among its latest [`LOOKED_AT_MAX`]. DAGs without runs are left out.
pub(super) async fn stats<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    const STATES: [DagRunState; 4] =
        [DagRunState::Queued, DagRunState::Running, DagRunState::Success, DagRunState::Failed];
    let asked: Vec<DagId> = query.all("dag_ids").into_iter().filter_map(|id| DagId::parse(id).ok()).collect();
    let dag_ids = if query.all("dag_ids").is_empty() {
        api.engine.all_dag_summaries().await?.into_iter().map(|s| s.dag_id).collect()
    } else {
        asked
    };
    let mut dags = Vec::new();
    for dag_id in dag_ids {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut looked_at, mut page) = (0, None);
        let mut latest = None;
        while looked_at < LOOKED_AT_MAX {
            let found = api.engine.list_runs(&dag_id, 100, page).await?;
            looked_at += found.items.len();
            for run in found.items {
                *counts.entry(run.state.as_str()).or_default() += 1;
                latest.get_or_insert(run.facts.version);
            }
            page = found.next;
            if page.is_none() {
                break;
            }
        }
        let Some(latest) = latest else { continue };
        let version = api.engine.version(&latest).await?;
        let stats: Vec<Value> = STATES
            .iter()
            .map(|state| json!({"state": state, "count": counts.get(state.as_str()).copied().unwrap_or(0)}))
            .collect();
        let name = version.plan.dag.dag_display_name.as_deref().unwrap_or(dag_id.as_str());
        dags.push(json!({"dag_id": dag_id, "dag_display_name": name, "stats": stats}));
    }
    Ok(Json(json!({"total_entries": dags.len(), "dags": dags})))
}

/// `GET /dagWarnings`: pools that tasks ask for and that do not exist.
pub(super) async fn warnings<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    const KIND: &str = "non-existent pool";
    let page = query.page()?;
    let order = query.order_by("dag_id", &["dag_id", "warning_type", "message", "timestamp"])?;
    let mut found = Vec::new();
    if query.text("warning_type").is_none_or(|kind| kind == KIND) {
        let wanted = query.text("dag_id");
        let summaries = api.engine.all_dag_summaries().await?;
        for summary in summaries.into_iter().filter(|s| !s.is_stale && wanted.is_none_or(|id| id == s.dag_id.as_str()))
        {
            let mut pools = api.engine.missing_pools(&summary.dag_id).await?;
            if pools.is_empty() {
                continue;
            }
            pools.sort();
            let version = api.engine.store.dag(&summary.dag_id).await?.and_then(|dag| dag.version);
            let display_name = match version {
                Some(version) => api.engine.version(&version).await?.plan.dag.dag_display_name.clone(),
                None => None,
            };
            let message = format!(
                "Dag '{}' references non-existent pools: {}",
                summary.dag_id,
                pools.iter().map(|pool| format!("'{pool}'")).collect::<Vec<_>>().join(", ")
            );
            found.push(json!({
                "dag_id": summary.dag_id,
                "warning_type": KIND,
                "message": message,
                "timestamp": shapes::time(summary.last_parsed),
                "dag_display_name": display_name.unwrap_or_else(|| summary.dag_id.to_string()),
            }));
        }
    }
    sort_by(&mut found, &order, |warning, name| (&warning[name]).into());
    let total = found.len();
    Ok(Json(json!({"dag_warnings": page.of(found), "total_entries": total})))
}
