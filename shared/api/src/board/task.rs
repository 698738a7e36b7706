//! What there is to say of one task instance beyond Airflow's answer: how its task is defined, each attempt, and why it does not run.

use super::Fresh;
use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query, dag_versions, runs, shapes};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_model::{Attempt, AttemptOutcome, Plan, RunDoc, RunFacts, TaskIndex};

/// How many upstreams are asked for when they ended.
pub(super) const UPSTREAM_MAX: usize = 12;

/// A task instance: its definition, its attempts, what holds it back.
pub(super) async fn one<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let index = index(&api, &run, &task_id).await?;
    let map_index = query.integer::<u32>("map_index")?;
    let mut attempts = api.engine.attempts_of_instance(&run, index, map_index).await?;
    attempts.sort_by_key(|(key, attempt)| (key.try_number, attempt.start_date));
    let view = match map_index {
        Some(map_index) => api.engine.mapped_instance(&run, index, map_index).await?,
        None => api.engine.task_instance(&run, index).await?,
    };
    let view = view.whole(&*api.logs).await?;
    let tries = api.engine.tries_of(&run, index, map_index).await?;
    let waits = !view.state.is_finished() && map_index.is_none() && super::running_since(run.cell(index)).is_none();
    let reasons = if waits { api.engine.why_not_running(&run, &task_id).await? } else { Vec::new() };
    let of = (&version.plan, &dag_versions::of_run(&api, &run).await?);
    let body = json!({
        "instance": shapes::task_instance(&run, of, &view, &api.engine.store.notes(&run.facts.incarnation).await?),
        "tries": tries.iter().map(|t| shapes::one_try(&run, of, index, view.map_index, t)).collect::<Vec<_>>(),
        "message": view.message,
        "run": {
            "run_after": shapes::time(run.facts.run_after),
            "queued_at": shapes::time(run.facts.queued_at),
            "start_date": shapes::time_or_null(run.start_date),
        },
        "ready": shapes::time_or_null(ready(&api, &version.plan, &run, index).await?),
        "definition": definition(&version.plan, index),
        "upstream": neighbours(&version.plan, &run, version.plan.upstream(index)),
        "downstream": neighbours(&version.plan, &run, version.plan.downstream(index)),
        "attempts": attempts.iter().map(|(key, attempt)| shown(key.try_number, attempt)).collect::<Vec<_>>(),
        "reasons": reasons.iter().map(ToString::to_string).collect::<Vec<_>>(),
    });
    Ok(Fresh::new(&body, headers))
}

/// The index of a task that a run has.
pub(super) async fn index<P: Parts>(api: &Api<P>, run: &RunDoc, task_id: &str) -> Result<TaskIndex, Failure> {
    let RunFacts { run_id, dag_id, version, .. } = &run.facts;
    let missing = || Failure::not_found(format!("Run `{run_id}` of `{dag_id}` has no task `{task_id}`"));
    api.engine.version(version).await?.plan.index_of(task_id).ok_or_else(missing)
}

/// When the last of the upstreams had ended; none where there are none, or one has not.
async fn ready<P: Parts>(
    api: &Api<P>,
    plan: &Plan,
    run: &RunDoc,
    task: TaskIndex,
) -> Result<Option<Timestamp>, Failure> {
    let upstream = plan.upstream(task);
    // Looking at each costs a request; with very many it is not worth it.
    if upstream.is_empty() || upstream.len() > UPSTREAM_MAX {
        return Ok(None);
    }
    let mut last = None;
    for up in upstream {
        if !run.task_state(*up).is_finished() {
            return Ok(None);
        }
        last = last.max(api.engine.task_instance(run, *up).await?.end_date);
    }
    Ok(last)
}

/// The task as its file says it: templates unrendered.
fn definition(plan: &Plan, index: TaskIndex) -> Value {
    let task = plan.task(index);
    let fields: Vec<&str> =
        updraft_model::operators::find(&task.operator).map_or_else(Vec::new, |o| o.template_fields().collect());
    json!({
        "operator": task.operator,
        "arguments": task.arguments,
        "template_fields": fields,
        "trigger_rule": task.trigger_rule,
        "retries": task.retries,
        "retry_delay": task.retry_delay.as_secs_f64(),
        "execution_timeout": task.execution_timeout.map(|timeout| timeout.as_secs_f64()),
        "pool": task.pool,
        "pool_slots": task.pool_slots,
        "queue": task.queue,
        "owner": task.owner,
        "depends_on_past": task.depends_on_past,
        "doc_md": task.doc_md,
        "is_mapped": plan.unit_of(index).is_some(),
    })
}

fn neighbours(plan: &Plan, run: &RunDoc, of: &[TaskIndex]) -> Vec<Value> {
    of.iter().map(|task| json!({"task_id": plan.task(*task).task_id, "state": run.task_state(*task)})).collect()
}

fn shown(try_number: u32, attempt: &Attempt) -> Value {
    let outcome = match attempt.outcome {
        AttemptOutcome::Success => "success",
        AttemptOutcome::Skipped => "skipped",
        AttemptOutcome::Failed | AttemptOutcome::FailedForGood => "failed",
        AttemptOutcome::Rescheduled { .. } => "up_for_reschedule",
        AttemptOutcome::Deferred { .. } => "deferred",
        AttemptOutcome::AwaitingInput { .. } => "awaiting_input",
    };
    json!({
        "try_number": try_number,
        "state": outcome,
        "start_date": shapes::time(attempt.start_date),
        "end_date": shapes::time(attempt.end_date),
        "hostname": attempt.hostname,
        "message": attempt.message,
    })
}
