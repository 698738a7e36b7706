//! What a view of the UI needs, in one answer. Ours alone, so it has a prefix of its own: `/api/updraft/v1`.
//!
//! | path | requests to the metastore |
//! |---|---|
//! | `/home` | the directory (one per 1 MB), documents of all DAGs (one per 100), active runs (one per 100), runs of [`home::LOOKED_AT_MAX`] DAGs (2 each) |
//! | `/overview` | the directory, documents of all DAGs, runs of the DAGs of the page (2 each); with `state`, of up to [`list::LOOKED_AT_MAX`] DAGs; favourites (1) |
//! | `/dags/{dag_id}/grid` | 7 at most |
//! | `/dags/{dag_id}/graph` | 3; the drawing is worked out once per version |
//! | `/dags/{dag_id}/history` | one for every 100 runs, at most [`history::RUNS_MAX`] runs |
//! | `/dags/{dag_id}/runs/{run_id}` | 6 |
//! | `/dags/{dag_id}/runs/{run_id}/times` | 2, one for each of up to [`times::STRETCHES_MAX`] stretches of at most [`times::TASKS_MAX`] tasks together, and one for every 500 of at most [`times::INSTANCES_MAX`] instances and 2 more for each mapped task |
//! | `/dags/{dag_id}/runs/{run_id}/used` | 3 |
//! | `/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/instances` | 4 |
//! | `/dags/{dag_id}/runs/{run_id}/tasks/{task_id}` | 9, and one for each of up to [`task::UPSTREAM_MAX`] upstreams |
//!
//! An answer that the browser already has is not sent again: it has a tag (`ETag`) of its content.

mod fresh;
mod graph;
mod grid;
mod history;
mod home;
mod list;
mod run;
mod task;
mod times;

pub(crate) use fresh::Fresh;

use crate::parts::{Api, Parts};
use crate::v2::{Failure, shapes};
use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use updraft_model::{Cell, DagDoc, Plan, RunDoc, TaskInstanceState};

pub(crate) fn routes<P: Parts>() -> Router<Api<P>> {
    Router::new()
        .route("/home", get(home::home::<P>))
        .route("/overview", get(list::overview::<P>))
        .route("/dags/{dag_id}/grid", get(grid::grid::<P>))
        .route("/dags/{dag_id}/graph", get(graph::graph::<P>))
        .route("/dags/{dag_id}/history", get(history::history::<P>))
        .route("/dags/{dag_id}/runs/{run_id}", get(run::one::<P>))
        .route("/dags/{dag_id}/runs/{run_id}/times", get(times::times::<P>))
        .route("/dags/{dag_id}/runs/{run_id}/used", get(times::used::<P>))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}", get(task::one::<P>))
        .route("/dags/{dag_id}/runs/{run_id}/tasks/{task_id}/instances", get(times::instances::<P>))
}

/// A run in few words.
fn brief(run: &RunDoc) -> Value {
    json!({
        "run_id": run.facts.run_id,
        "run_type": run.facts.run_type,
        "state": run.state,
        "run_after": shapes::time(run.facts.run_after),
        "start_date": shapes::time_or_null(run.start_date),
        "end_date": shapes::time_or_null(run.end_date),
    })
}

/// The zone of a DAG's dates, for the schedule in words.
async fn zone<P: Parts>(api: &Api<P>, doc: Option<&DagDoc>) -> Result<Value, Failure> {
    Ok(match doc.and_then(|doc| doc.version.as_ref()) {
        Some(version) => api.engine.version(version).await?.plan.dag.timezone.clone().into(),
        None => Value::Null,
    })
}

/// A letter for each state, those of the run document: a grid of 10,000 is 10 KB.
fn letter(state: TaskInstanceState) -> char {
    match state {
        TaskInstanceState::None => '-',
        TaskInstanceState::Scheduled => 'h',
        TaskInstanceState::Queued => 'q',
        TaskInstanceState::Running => 'r',
        TaskInstanceState::Restarting => 'k',
        TaskInstanceState::UpForRetry => 'w',
        TaskInstanceState::UpForReschedule => 'e',
        TaskInstanceState::Deferred => 'd',
        TaskInstanceState::AwaitingInput => 'i',
        TaskInstanceState::Success => 's',
        TaskInstanceState::Failed => 'f',
        TaskInstanceState::Skipped => 'x',
        TaskInstanceState::UpstreamFailed => 'u',
        TaskInstanceState::Removed => 'v',
    }
}

/// The states of a run in the order of `plan`'s tasks; a blank where the run does not have the task.
fn letters(run: &RunDoc, its: &Plan, plan: &Plan) -> String {
    let of = |task: &updraft_model::Task| its.index_of(task.task_id.as_str()).map(|index| run.cell(index));
    plan.dag.tasks.iter().map(|task| of(task).map_or(' ', |cell| letter(cell.state()))).collect()
}

/// The tasks that are beyond their first try, by index, with the number of the try.
fn tries(run: &RunDoc, its: &Plan, plan: &Plan) -> serde_json::Map<String, Value> {
    let of = |task: &updraft_model::Task| its.index_of(task.task_id.as_str()).map_or(0, |i| run.cell(i).try_number());
    let numbered = plan.dag.tasks.iter().map(of).enumerate().filter(|(_, number)| *number > 1);
    numbered.map(|(index, number)| (index.to_string(), number.into())).collect()
}

/// How many instances mapped tasks have become, by the index in `plan`: all of them, and how many of those are known to have ended.
fn mapped(run: &RunDoc, its: &Plan, plan: &Plan) -> serde_json::Map<String, Value> {
    let mut counts = serde_json::Map::new();
    for (unit, expansion) in run.mapped.expanded() {
        let Some(unit) = its.unit_of(unit) else { continue };
        for member in &unit.members {
            let Some(index) = plan.index_of(its.task(*member).task_id.as_str()) else { continue };
            let full = run.mapped.full(unit.unit, unit.pages(expansion.count));
            let ended: u32 = full.filter_map(|(_, page)| page.tallies.get(member)).map(|tally| tally.total()).sum();
            let gone = run.mapped.fallen_away(unit.unit);
            counts.insert(index.at().to_string(), json!([expansion.count + gone, ended + gone]));
        }
    }
    counts
}

/// When a run began, in milliseconds: what the times of its tasks count from.
fn begun(run: &RunDoc) -> i64 {
    run.start_date.map(jiff::Timestamp::as_millisecond).unwrap_or_default()
}

/// When a running cell was claimed.
fn running_since(cell: &Cell) -> Option<jiff::Timestamp> {
    cell.holder().filter(|_| !cell.is_final()).map(|lease| lease.since)
}
