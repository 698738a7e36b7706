//! The JSON of Airflow's responses, field for field. What does not exist here has Airflow's value for "there is none".

use super::{redacted, rows};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use updraft_metastore::{ImportError, Note, Noted};
use updraft_model::{Dag, DagRunType, Plan, RunDoc, TaskIndex};
use updraft_service::views::{DagView, TaskInstanceView, TryView};

/// The notes of a run and its task instances.
pub(crate) type Notes = BTreeMap<Noted, Note>;

/// Airflow names the places DAG files come from; there is one.
pub(super) const BUNDLE: &str = "dags-folder";

/// An instant as pydantic prints it: `Z` for UTC.
pub(crate) fn time(at: Timestamp) -> Value {
    time_text(at).into()
}

/// The same, as a text.
pub(super) fn time_text(at: Timestamp) -> String {
    // What `isoformat` writes, at a fraction of its cost: pages have hundreds of instants.
    let digits = if at.as_nanosecond().rem_euclid(1_000_000_000) < 1000 { 0 } else { 6 };
    jiff::fmt::temporal::DateTimePrinter::new().precision(Some(digits)).timestamp_to_string(&at)
}

pub(crate) fn time_or_null(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, time)
}

/// Seconds between two instants.
pub(super) fn seconds(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<f64> {
    Some(to?.duration_since(from?).as_secs_f64())
}

/// A duration in ISO 8601, as pydantic prints a timedelta.
fn duration(of: Option<SignedDuration>) -> Value {
    of.map_or(Value::Null, |d| d.to_string().into())
}

/// A duration as Airflow's `TimeDelta`.
fn timedelta(of: Option<SignedDuration>) -> Value {
    let Some(of) = of else { return Value::Null };
    let (seconds, micros) = (of.as_secs(), of.subsec_micros());
    json!({"__type": "TimeDelta", "days": seconds.div_euclid(86_400), "seconds": seconds.rem_euclid(86_400), "microseconds": micros})
}

fn tags(dag_id: &str, display_name: &str, tags: &[String]) -> Value {
    tags.iter().map(|tag| json!({"name": tag, "dag_id": dag_id, "dag_display_name": display_name})).collect()
}

/// The next run by the timetable.
fn next_run(view: &DagView, dag: Option<&Dag>, now: Timestamp) -> [Value; 4] {
    let doc = view.doc.as_ref();
    let due = doc.and_then(|d| d.next_due);
    let info = dag.zip(doc).zip(due).and_then(|((dag, doc), _)| {
        dag.timetable.next_dagrun_info(doc.last.as_ref(), &dag.time_restriction(), now).ok().flatten()
    });
    let interval = info.as_ref().and_then(|i| i.data_interval);
    [
        time_or_null(info.as_ref().and_then(|i| i.logical_date)),
        time_or_null(interval.map(|i| i.start)),
        time_or_null(interval.map(|i| i.end)),
        time_or_null(due),
    ]
}

/// `DAGResponse`.
pub(super) fn dag(view: &DagView, dag: Option<&Dag>, has_import_errors: bool, now: Timestamp) -> Value {
    let summary = &view.summary;
    let dag_id = summary.dag_id.as_str();
    let display_name = dag.and_then(|d| d.dag_display_name.as_deref()).unwrap_or(dag_id);
    let [logical_date, interval_start, interval_end, run_after] = next_run(view, dag, now);
    let limits =
        |d: &Dag| d.tasks.iter().any(|t| t.max_active_tis_per_dag.is_some() || t.max_active_tis_per_dagrun.is_some());
    let timetable = dag.map(|d| &d.timetable);
    let periodic = timetable.is_some_and(|t| !matches!(t.airflow_class(), "NullTimetable" | "OnceTimetable"));
    json!({
        "dag_id": dag_id,
        "dag_display_name": display_name,
        "is_paused": view.doc.as_ref().is_some_and(|d| d.paused),
        "is_stale": summary.is_stale,
        "last_parsed_time": time(summary.last_parsed),
        "last_parse_duration": null,
        "last_expired": null,
        "bundle_name": BUNDLE,
        "bundle_version": null,
        "relative_fileloc": summary.file,
        "fileloc": summary.file,
        "description": summary.description,
        "timetable_summary": summary.timetable,
        "timetable_description": null,
        "timetable_partitioned": timetable.is_some_and(updraft_timetables::Timetable::is_partitioned),
        "timetable_periodic": periodic,
        "tags": tags(dag_id, display_name, &summary.tags),
        "max_active_tasks": dag.and_then(|d| d.max_active_tasks).unwrap_or(16),
        "max_active_runs": dag.map_or(16, Dag::max_active_runs_effective),
        "max_consecutive_failed_dag_runs": dag.map_or(0, |d| d.max_consecutive_failed_dag_runs),
        "has_task_concurrency_limits": dag.is_some_and(limits),
        "has_import_errors": has_import_errors,
        "next_dagrun_logical_date": logical_date,
        "next_dagrun_data_interval_start": interval_start,
        "next_dagrun_data_interval_end": interval_end,
        "next_dagrun_run_after": run_after,
        "allowed_run_types": null,
        "owners": summary.owners,
        "is_backfillable": periodic,
        "file_token": summary.file,
    })
}

/// What `DAGDetailsResponse` says beyond `DAGResponse`.
pub(super) fn details(view: &DagView, dag: &Dag) -> Value {
    let params: serde_json::Map<String, Value> = dag
        .params
        .iter()
        .map(|(name, value)| {
            let schema = dag.param_schemas.get(name).cloned().unwrap_or_else(|| json!({}));
            let description = schema.get("description").cloned().unwrap_or_default();
            (name.clone(), json!({"value": value, "schema": schema, "description": description, "source": "dag"}))
        })
        .collect();
    json!({
        "catchup": dag.catchup,
        "dag_run_timeout": duration(dag.dagrun_timeout),
        "asset_expression": null,
        "doc_md": dag.doc_md,
        "start_date": time_or_null(dag.start_date),
        "end_date": time_or_null(dag.end_date),
        "is_paused_upon_creation": dag.is_paused_upon_creation,
        "params": params,
        "render_template_as_native_obj": dag.render_template_as_native_obj,
        "template_search_path": null,
        "timezone": dag.timezone,
        "last_parsed": time(view.summary.last_parsed),
        "default_args": dag.default_args,
        "rerun_with_latest_version": dag.rerun_with_latest_version,
        "owner_links": dag.owner_links,
        "is_favorite": false,
        "active_runs_count": view.doc.as_ref().map_or(0, |d| d.active.len()),
        "concurrency": dag.max_active_tasks.unwrap_or(16),
        "latest_dag_version": null,
    })
}

/// `TaskResponse`.
pub(super) fn task(plan: &Plan, index: TaskIndex) -> Value {
    let task = plan.task(index);
    let name = task.operator.rsplit('.').next().unwrap_or(&task.operator);
    let module = task.operator.strip_suffix(name).and_then(|m| m.strip_suffix('.'));
    let fields: Vec<&str> =
        updraft_model::operators::find(&task.operator).map_or_else(Vec::new, |o| o.template_fields().collect());
    let mut downstream: Vec<&str> = plan.downstream(index).iter().map(|d| plan.task(*d).task_id.as_str()).collect();
    downstream.sort_unstable();
    json!({
        "task_id": task.task_id,
        "task_display_name": task.task_display_name.as_deref().unwrap_or(task.task_id.as_str()),
        "owner": task.owner,
        "start_date": time_or_null(task.start_date.or(plan.dag.start_date)),
        "end_date": time_or_null(task.end_date.or(plan.dag.end_date)),
        "trigger_rule": task.trigger_rule,
        "depends_on_past": task.depends_on_past,
        "wait_for_downstream": task.wait_for_downstream,
        "retries": task.retries,
        "queue": task.queue,
        "pool": task.pool,
        "pool_slots": task.pool_slots,
        "execution_timeout": timedelta(task.execution_timeout),
        "retry_delay": timedelta(Some(task.retry_delay)),
        "retry_exponential_backoff": task.retry_exponential_backoff,
        "priority_weight": task.priority_weight,
        "weight_rule": task.weight_rule,
        "ui_color": "#fff",
        "ui_fgcolor": "#000",
        "template_fields": fields,
        "downstream_task_ids": downstream,
        "doc_md": task.doc_md,
        "operator_name": name,
        "params": task.params,
        "class_ref": {"module_path": module, "class_name": name},
        "is_mapped": task.mapping.is_some(),
        "extra_links": [],
    })
}

/// `DAGRunResponse`.
pub(super) fn run(run: &RunDoc, dag: &Dag, note: Option<&str>, version: Value) -> Value {
    let facts = &run.facts;
    let triggered_by = match facts.run_type {
        _ if facts.origin.triggered_by.is_some() => json!(facts.origin.triggered_by),
        DagRunType::Scheduled => Value::from("timetable"),
        DagRunType::Backfill => "backfill".into(),
        DagRunType::AssetTriggered => "asset".into(),
        DagRunType::OperatorTriggered => "operator".into(),
        DagRunType::Manual | DagRunType::AssetMaterialization => Value::Null,
    };
    json!({
        "dag_run_id": facts.run_id,
        "dag_id": facts.dag_id,
        "logical_date": time_or_null(facts.logical_date),
        "queued_at": time(facts.queued_at),
        "start_date": time_or_null(run.start_date),
        "end_date": time_or_null(run.end_date),
        "duration": seconds(run.start_date, run.end_date),
        "data_interval_start": time_or_null(facts.data_interval.map(|i| i.start)),
        "data_interval_end": time_or_null(facts.data_interval.map(|i| i.end)),
        "run_after": time(facts.run_after),
        "last_scheduling_decision": null,
        "run_type": facts.run_type,
        "state": run.state,
        "triggered_by": triggered_by,
        "triggering_user_name": facts.origin.triggering_user_name,
        "conf": if facts.conf.is_null() { json!({}) } else { facts.conf.clone() },
        "note": note,
        "dag_versions": if version.is_null() { json!([]) } else { json!([version]) },
        "bundle_version": null,
        "dag_display_name": dag.dag_display_name.as_deref().unwrap_or(dag.dag_id.as_str()),
        "partition_key": facts.partition.as_ref().map(|partition| &partition.key),
        "partition_date": time_or_null(facts.partition.as_ref().map(|partition| partition.date)),
    })
}

/// What a run runs, and `DagVersionResponse` of it.
pub(crate) type Versioned<'v> = (&'v Plan, &'v Value);

/// The template fields as the latest attempt had them; nothing before there was one.
pub(super) fn rendered_fields(plan: &Plan, view: &TaskInstanceView) -> Value {
    let task = plan.task(view.task);
    let (Some(rendered), Some(operator)) = (&view.rendered, updraft_model::operators::find(&task.operator)) else {
        return json!({});
    };
    let field = |name: &str| {
        let value = rendered.get(name).or_else(|| task.arguments.get(name));
        (name.to_owned(), value.map_or(Value::Null, |value| redacted(value, name)))
    };
    operator.template_fields().map(field).collect::<serde_json::Map<_, _>>().into()
}

/// `TaskInstanceResponse`, as a value.
pub(crate) fn task_instance(run: &RunDoc, of: Versioned<'_>, view: &TaskInstanceView, notes: &Notes) -> Value {
    json!(rows::row(run, of, view, notes))
}

/// `TaskInstanceHistoryResponse`, as a value.
pub(crate) fn one_try(
    run: &RunDoc,
    of: Versioned<'_>,
    task: TaskIndex,
    map_index: Option<u32>,
    view: &TryView,
) -> Value {
    json!(rows::one_try(run, of, task, map_index, view))
}

/// `ImportErrorResponse`.
pub(super) fn import_error(error: &ImportError) -> Value {
    json!({
        "import_error_id": import_error_id(error),
        "timestamp": time(error.timestamp),
        "filename": error.path,
        "bundle_name": BUNDLE,
        "stack_trace": error.stack_trace,
    })
}

/// A number for an import error: the same as long as its file is bad. 31 bits, as Airflow's database has.
pub(super) fn import_error_id(error: &ImportError) -> u32 {
    let digest = Sha256::digest(error.path.as_bytes());
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::run_id::isoformat;

    #[test]
    fn instants_are_written_as_python_writes_them() {
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00.5Z",
            "2026-01-31T12:00:00.000001Z",
            "2026-01-31T12:00:00.123456789Z",
            "2026-01-31T12:00:00.000000999Z",
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.25Z",
            "0001-01-01T00:00:00Z",
            "9999-12-30T22:00:00.999999Z",
        ] {
            let at: Timestamp = text.parse().expect("an instant");
            assert_eq!(time(at), Value::from(isoformat(at).replace("+00:00", "Z")), "{text}");
        }
    }
}
