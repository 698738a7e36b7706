//! What runs, what failed, what is next.

use super::{Fresh, brief};
use crate::parts::{Api, Parts};
use crate::v2::{Failure, dags, shapes};
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::{Value, json};
use std::cmp::Reverse;
use updraft_metastore::DagSummary;
use updraft_model::{Cell, DagDoc, DagId, DagRunState, Incarnation, RunDoc, TaskInstanceState};

/// The latest runs of how many DAGs are looked at for failures: those that ran last by their timetable.
pub(super) const LOOKED_AT_MAX: usize = 50;

/// How many runs of a DAG are looked at.
const RUNS_OF_EACH: usize = 12;

/// How many entries each list has.
const SHOWN_MAX: usize = 8;

/// How many active runs are read.
const ACTIVE_MAX: usize = 100;

/// The state of things, in one answer.
pub(super) async fn home<P: Parts>(State(api): State<Api<P>>, headers: HeaderMap) -> Result<Fresh, Failure> {
    let bad = dags::bad_files(&api).await?;
    let mut summaries: Vec<DagSummary> = api.engine.all_dag_summaries().await?;
    summaries.retain(|summary| !summary.is_stale);
    let ids: Vec<DagId> = summaries.iter().map(|summary| summary.dag_id.clone()).collect();
    let docs = api.engine.readable_dags(&ids).await?;
    let schedule = |id: &DagId| summaries.iter().find(|s| s.dag_id == *id).map(|s| s.timetable.as_str());
    let mut next: Vec<&DagDoc> = docs.iter().filter(|doc| !doc.paused && doc.next_due.is_some()).collect();
    next.sort_by_key(|doc| doc.next_due);
    let mut coming = Vec::new();
    for doc in next.into_iter().take(SHOWN_MAX) {
        coming.push(json!({
            "dag_id": doc.dag_id,
            "run_after": shapes::time_or_null(doc.next_due),
            "timetable_summary": schedule(&doc.dag_id),
            "timezone": super::zone(&api, Some(doc)).await?,
        }));
    }
    let active: Vec<Incarnation> =
        docs.iter().flat_map(|doc| doc.active.keys().chain(doc.held.keys())).take(ACTIVE_MAX).cloned().collect();
    let mut running = api.engine.readable_runs(&active).await?.items;
    running.retain(|run| !run.state.is_finished());
    running.sort_by_key(|run| Reverse(run.start_date.unwrap_or(run.facts.run_after)));
    let latest = latest(&api, &docs).await?;
    let failed = latest.iter().filter(|run| run.state == DagRunState::Failed).take(SHOWN_MAX).map(of_dag);
    let ended = |state: DagRunState| latest.iter().filter(|run| run.state == state).count();
    let body = json!({
        "counts": {
            "dags": summaries.len(),
            "paused": docs.iter().filter(|doc| doc.paused).count(),
            "running": docs.iter().map(|doc| doc.active.len()).sum::<usize>(),
            "queued": docs.iter().map(|doc| doc.held.len()).sum::<usize>(),
            "import_errors": bad.len(),
        },
        "recent": {"success": ended(DagRunState::Success), "failed": ended(DagRunState::Failed)},
        "running": running.iter().take(SHOWN_MAX).map(under_way).collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
        "next": coming,
    });
    Ok(Fresh::new(&body, headers))
}

/// Runs that have ended, the latest first.
async fn latest<P: Parts>(api: &Api<P>, docs: &[DagDoc]) -> Result<Vec<RunDoc>, Failure> {
    let mut by_last: Vec<&DagDoc> = docs.iter().collect();
    by_last.sort_by_key(|doc| (doc.active.is_empty(), Reverse(doc.last.map(|interval| interval.end))));
    let mut runs = Vec::new();
    for doc in by_last.into_iter().take(LOOKED_AT_MAX) {
        runs.extend(api.engine.list_runs(&doc.dag_id, RUNS_OF_EACH, None).await?.items);
    }
    runs.retain(|run: &RunDoc| run.state.is_finished());
    runs.sort_by_key(|run| Reverse(run.end_date));
    Ok(runs)
}

/// With how many of its tasks wait for an answer of people.
fn under_way(run: &RunDoc) -> Value {
    let asks = |cell: &&Cell| cell.state() == TaskInstanceState::AwaitingInput;
    let mut shown = of_dag(run);
    shown["asks"] = run.cells.values().filter(asks).count().into();
    shown
}

fn of_dag(run: &RunDoc) -> Value {
    let mut shown = brief(run);
    shown["dag_id"] = run.facts.dag_id.to_string().into();
    shown
}
