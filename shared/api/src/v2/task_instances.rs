//! Task instances of a run, and their tries.

use super::query::{Query, sort_by};
use super::{Failure, runs, shapes};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use updraft_model::{RunDoc, TaskIndex};

type Answer = Result<Json<Value>, Failure>;

/// A run and the index of one of its tasks.
pub(super) async fn find<P: Parts>(
    api: &Api<P>,
    dag_id: &str,
    run_id: &str,
    task_id: &str,
) -> Result<(RunDoc, TaskIndex), Failure> {
    let missing = || {
        Failure::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}` and task_id: `{task_id}` was not found"
        ))
    };
    let run = runs::find(api, dag_id, run_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let index = version.plan.index_of(task_id).ok_or_else(missing)?;
    Ok((run, index))
}

/// `GET .../taskInstances`.
pub(super) async fn list<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Answer {
    let page = query.page()?;
    let known = [
        "id",
        "map_index",
        "task_id",
        "start_date",
        "end_date",
        "duration",
        "state",
        "try_number",
        "operator",
        "priority_weight",
        "pool",
    ];
    let order = query.order_by("map_index", &known)?;
    let [start_date, end_date] = [query.times("start_date")?, query.times("end_date")?];
    let duration = query.numbers("duration")?;
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let mut views = api.engine.task_instances(&run).await?;
    views.retain(|view| {
        let task = version.plan.task(view.task);
        let operator = task.operator.rsplit('.').next().unwrap_or_default();
        start_date.hold(view.start_date)
            && end_date.hold(view.end_date)
            && duration.hold(shapes::seconds(view.start_date, view.end_date))
            && query.is_one_of("state", view.state.as_str())
            && query.is_one_of("pool", &task.pool)
            && query.is_one_of("queue", &task.queue)
            && query.is_one_of("operator", operator)
            && query.is_one_of("try_number", &view.try_number.to_string())
            && query.is_one_of("task_id", &view.task_id)
            && query.matches("task_display_name", task.task_display_name.as_deref().unwrap_or(&view.task_id))
    });
    let mut shown: Vec<Value> = views.iter().map(|view| shapes::task_instance(&run, &version.plan, view)).collect();
    sort_by(&mut shown, &order, |one, name| (one[name].as_f64(), one[name].as_str().unwrap_or_default().to_owned()));
    let total = shown.len();
    Ok(Json(json!({
        "task_instances": page.of(shown),
        "total_entries": total,
        "total_entries_limit": null,
        "next_cursor": null,
        "previous_cursor": null,
    })))
}

/// `GET .../taskInstances/{task_id}`.
pub(super) async fn one<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> Answer {
    let (run, index) = find(&api, &dag_id, &run_id, &task_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let view = api.engine.task_instance(&run, index).await?;
    Ok(Json(shapes::task_instance(&run, &version.plan, &view)))
}

/// `GET .../taskInstances/{task_id}/tries`.
pub(super) async fn tries<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
) -> Answer {
    let (run, index) = find(&api, &dag_id, &run_id, &task_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let tries = api.engine.tries(&run, index).await?;
    let shown: Vec<Value> = tries.iter().map(|t| shapes::one_try(&run, &version.plan, index, t)).collect();
    Ok(Json(json!({"total_entries": shown.len(), "task_instances": shown})))
}

/// `GET .../taskInstances/{task_id}/tries/{task_try_number}`.
pub(super) async fn one_try<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id, number)): Path<(String, String, String, String)>,
) -> Answer {
    let message = "Input should be a valid integer, unable to parse string as an integer";
    let invalid = || Failure::invalid("int_parsing", "path", "task_try_number", message, &Value::from(number.as_str()));
    let wanted: i64 = number.parse().map_err(|_| invalid())?;
    let (run, index) = find(&api, &dag_id, &run_id, &task_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let tries = api.engine.tries(&run, index).await?;
    let missing = || {
        Failure::not_found(format!(
            "The Task Instance with dag_id: `{dag_id}`, run_id: `{run_id}`, task_id: `{task_id}`, try_number: `{wanted}` and map_index: `-1` was not found"
        ))
    };
    let found = tries.iter().find(|t| i64::from(t.try_number) == wanted).ok_or_else(missing)?;
    Ok(Json(shapes::one_try(&run, &version.plan, index, found)))
}
