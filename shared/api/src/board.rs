//! What a view of the UI needs, in one answer. Ours alone, so it has a prefix of its own: `/api/updraft/v1`.
//!
//! | path | requests to the metastore |
//! |---|---|
//! | `/overview` | the directory (one per 1 MB), documents of all DAGs for the counts (one per 100), runs of the DAGs of the page (2 each) |
//! | `/dags/{dag_id}/grid` | 6 at most |

use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query, dags, runs, shapes};
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::{DagDoc, DagId, Plan, RunDoc};
use updraft_service::views::DagView;

/// How many of a DAG's latest runs the overview shows.
const LATEST_RUNS: usize = 14;

pub(crate) fn routes<P: Parts>() -> Router<Api<P>> {
    Router::new().route("/overview", get(overview::<P>)).route("/dags/{dag_id}/grid", get(grid::<P>))
}

fn run(run: &RunDoc) -> Value {
    json!({
        "run_id": run.facts.run_id,
        "run_type": run.facts.run_type,
        "state": run.state,
        "run_after": shapes::time(run.facts.run_after),
        "start_date": shapes::time_or_null(run.start_date),
        "end_date": shapes::time_or_null(run.end_date),
    })
}

/// A page of DAGs with their latest runs, and how things stand on the whole.
async fn overview<P: Parts>(State(api): State<Api<P>>, query: Query) -> Result<Json<Value>, Failure> {
    let page = query.page()?;
    let paused = query.boolean("paused")?;
    let search = query.text("search").unwrap_or_default().to_owned();
    let bad = dags::bad_files(&api).await?;
    let mut summaries = api.engine.all_dag_summaries().await?;
    summaries.retain(|s| !s.is_stale);
    let ids: Vec<DagId> = summaries.iter().map(|s| s.dag_id.clone()).collect();
    let mut docs: BTreeMap<DagId, DagDoc> =
        api.engine.store.dags(&ids).await?.into_iter().map(|d| (d.dag_id.clone(), d)).collect();
    let counts = json!({
        "dags": summaries.len(),
        "paused": docs.values().filter(|d| d.paused).count(),
        "active_runs": docs.values().map(|d| d.active.len()).sum::<usize>(),
        "import_errors": bad.len(),
    });
    let is_paused = |id: &DagId| docs.get(id).is_some_and(|d| d.paused);
    summaries.retain(|s| Query::like(&search, s.dag_id.as_str()) && paused.is_none_or(|p| p == is_paused(&s.dag_id)));
    let total = summaries.len();
    let mut shown = Vec::new();
    for summary in page.of(summaries) {
        let latest = api.engine.store.list_runs(&summary.dag_id, LATEST_RUNS, None).await?.items;
        let view = DagView { doc: docs.remove(&summary.dag_id), summary };
        let mut dag = dags::shown(&api, &view, &bad).await?;
        dag["latest_runs"] = latest.iter().map(run).collect();
        shown.push(dag);
    }
    Ok(Json(json!({"dags": shown, "total_entries": total, "counts": counts})))
}

/// The tasks of a DAG's current version against its latest runs; with `run_id`, that run too, however old.
async fn grid<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    query: Query,
) -> Result<Json<Value>, Failure> {
    let page = query.page()?;
    let view = dags::find(&api, &dag_id).await?;
    let dag = dags::shown(&api, &view, &dags::bad_files(&api).await?).await?;
    let mut latest = api.engine.store.list_runs(&view.summary.dag_id, page.limit, None).await?.items;
    if let Some(wanted) = query.text("run_id").filter(|id| latest.iter().all(|run| run.facts.run_id != *id)) {
        latest.push(runs::find(&api, &dag_id, wanted).await?);
    }
    // Without a current version (the file is gone), what the latest run ran is the next best.
    let current =
        view.doc.as_ref().and_then(|d| d.version.clone()).or_else(|| latest.first().map(|r| r.facts.version.clone()));
    let Some(current) = current else {
        return Ok(Json(json!({"dag": dag, "tasks": [], "runs": []})));
    };
    let version = api.engine.version(&current).await?;
    let mut shown = Vec::with_capacity(latest.len());
    for one in &latest {
        let its = api.engine.version(&one.facts.version).await?;
        let cells =
            version.plan.dag.tasks.iter().map(|task| its.plan.index_of(task.task_id.as_str()).map(|i| one.cell(i)));
        let (states, tries): (Vec<_>, Vec<_>) =
            cells.map(|cell| (cell.map(updraft_model::Cell::state), cell.map(updraft_model::Cell::try_number))).unzip();
        let mut entry = run(one);
        entry["states"] = json!(states);
        entry["tries"] = json!(tries);
        shown.push(entry);
    }
    Ok(Json(json!({"dag": dag, "tasks": tasks(&version.plan), "runs": shown})))
}

/// The rows of the grid, in an order that can be run.
fn tasks(plan: &Plan) -> Vec<Value> {
    let groups: BTreeSet<&str> = plan.dag.groups.iter().map(|g| g.group_id.as_str()).collect();
    let row = |index| {
        let task = plan.task(index);
        let id = task.task_id.as_str();
        // `group.task` is shown indented below its group's name.
        let group = task.group.as_deref().filter(|g| groups.contains(g));
        let label = group.and_then(|g| id.strip_prefix(g)).and_then(|rest| rest.strip_prefix('.')).unwrap_or(id);
        json!({
            "task_id": id,
            "label": label,
            "group": group,
            "depth": group.map_or(0, |g| 1 + g.matches('.').count()),
            "operator": task.operator.rsplit('.').next().unwrap_or(&task.operator),
            "upstream": task.upstream.iter().map(|up| plan.task(*up).task_id.as_str()).collect::<Vec<_>>(),
        })
    };
    plan.tasks().map(row).collect()
}
