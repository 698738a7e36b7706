//! Lists of XComs: of a task instance, and with `~` of all tasks, runs or DAGs.

use super::order::sort_by;
use super::query::Query;
use super::run_lists::{self, Filters as RunFilters};
use super::values::entry;
use super::{Failure, runs, shapes, task_instances};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use updraft_model::RunDoc;

/// What sorts a list of XComs; the first five do where nobody says otherwise.
const ORDERS: [&str; 8] = ["dag_id", "task_id", "run_id", "map_index", "key", "run_after", "logical_date", "timestamp"];

/// The XComs of a run's tasks, of all or of one.
async fn of_run<P: Parts>(api: &Api<P>, run: &RunDoc, task_id: &str, query: &Query) -> Result<Vec<Value>, Failure> {
    let version = api.engine.version(&run.facts.version).await?;
    let dag = &version.plan.dag;
    let name = dag.dag_display_name.as_deref().unwrap_or(dag.dag_id.as_str());
    if !query.matches("dag_display_name", name) {
        return Ok(Vec::new());
    }
    let task = match task_id {
        "~" => None,
        task_id => match version.plan.index_of(task_id) {
            Some(index) => Some(index),
            None => return Ok(Vec::new()),
        },
    };
    let shown = api.engine.xcom_keys(run, task, query.integer("map_index")?).await?.into_iter().map(|found| {
        let task = version.plan.task(found.task);
        let task_id = task.task_id.as_str();
        let names = (name, task.task_display_name.as_deref().unwrap_or(task_id));
        let map_index = found.map_index.map_or(-1, i64::from);
        entry(run, names, shapes::time(found.pushed_at), task_id, map_index, &found.key)
    });
    Ok(shown.collect())
}

/// The runs that a path names.
async fn named<P: Parts>(api: &Api<P>, (dag_id, run_id): (&str, &str), query: &Query) -> Result<Vec<RunDoc>, Failure> {
    if dag_id != "~" && run_id != "~" {
        return Ok(vec![runs::find(api, dag_id, run_id).await?]);
    }
    let dag_ids = run_lists::named(api, dag_id, query).await?;
    let of_runs = query.only(&["run_after", "logical_date"], &["run_id"]);
    let mut found = run_lists::filtered(api, &dag_ids, &RunFilters::read(&of_runs)?).await?;
    found.retain(|run| run_id == "~" || run.facts.run_id == run_id);
    Ok(found)
}

/// `GET .../taskInstances/{task_id}/xcomEntries`; `~` for all DAGs, runs and tasks.
pub(super) async fn list<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    query: Query,
) -> Result<Json<Value>, Failure> {
    let page = query.page()?;
    let order = if query.all("order_by").is_empty() {
        ORDERS[..5].iter().map(|name| (*name, false)).collect()
    } else {
        query.order_by("key", &ORDERS)?
    };
    if ![&dag_id, &run_id, &task_id].iter().any(|name| *name == "~") {
        task_instances::find(&api, &dag_id, &run_id, &task_id).await?;
    }
    let mut found = Vec::new();
    for run in named(&api, (&dag_id, &run_id), &query).await? {
        found.extend(of_run(&api, &run, &task_id, &query).await?);
    }
    let indices = [query.integer::<i64>("map_index")?, query.integer::<i64>("map_index_filter")?];
    found.retain(|entry| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        query.matches("xcom_key", text("key"))
            && query.matches("task_id", text("task_id"))
            && query.matches("run_id", text("run_id"))
            && indices.iter().flatten().all(|index| entry["map_index"] == *index)
    });
    sort_by(&mut found, &order, |entry, name| (&entry[name]).into());
    let total = found.len();
    Ok(Json(json!({"xcom_entries": page.of(found), "total_entries": total})))
}
