//! `updraft dags details`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use jiff::Timestamp;
use serde_json::json;
use updraft_model::DagId;

/// Which DAG.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,
}

/// How many active tasks Airflow allows a run where nothing is said: shown as there, though not set is no limit here.
const MAX_ACTIVE_TASKS_SHOWN: u32 = 16;

/// Prints what is known of a DAG, under the keys of Airflow's API.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let doc = super::existing(session, &arguments.dag_id).await?;
    let summary = session.engine.store.dag_summary(&arguments.dag_id).await?;
    let version = match &doc.version {
        Some(version) => Some(session.engine.version(version).await?),
        None => None,
    };
    let dag = version.as_ref().map(|version| &version.plan.dag);
    let instant = |at: Option<Timestamp>| if at.is_some() { Cell::Time(at) } else { Cell::Null };
    let text = |text: Option<String>| Cell::optional(text);
    let mut rows = Rows::new(&[]);
    let mut cells = Vec::new();
    let mut put = |name: &'static str, cell: Cell| {
        rows.columns.push(name);
        cells.push(cell);
    };
    put("dag_id", Cell::text(&doc.dag_id));
    put("dag_display_name", text(dag.and_then(|dag| dag.dag_display_name.clone()).or(Some(doc.dag_id.to_string()))));
    put("is_paused", Cell::Json(doc.paused.into()));
    put("is_stale", Cell::Json(doc.version.is_none().into()));
    put("bundle_name", Cell::text("dags-folder"));
    put("fileloc", Cell::text(&doc.file));
    put("last_parsed_time", instant(summary.as_ref().map(|summary| summary.last_parsed)));
    put("version", text(doc.version.as_ref().map(ToString::to_string)));
    put("description", text(dag.and_then(|dag| dag.description.clone())));
    put("owners", Cell::Json(json!(summary.as_ref().map(|summary| &summary.owners))));
    put("tags", Cell::Json(json!(dag.map(|dag| &dag.tags))));
    put("timetable_summary", text(dag.map(updraft_model::Dag::schedule_summary)));
    put("timezone", text(dag.map(|dag| dag.timezone.clone())));
    put("start_date", instant(dag.and_then(|dag| dag.start_date)));
    put("end_date", instant(dag.and_then(|dag| dag.end_date)));
    put("catchup", Cell::Json(json!(dag.map(|dag| dag.catchup))));
    put("max_active_runs", Cell::Json(doc.max_active_runs.into()));
    let tasks_max = dag.map(|dag| dag.max_active_tasks.unwrap_or(MAX_ACTIVE_TASKS_SHOWN));
    put("max_active_tasks", Cell::Json(json!(tasks_max)));
    put("max_consecutive_failed_dag_runs", Cell::Json(json!(dag.map(|dag| dag.max_consecutive_failed_dag_runs))));
    let limited = |dag: &updraft_model::Dag| {
        dag.tasks.iter().any(|t| t.max_active_tis_per_dag.is_some() || t.max_active_tis_per_dagrun.is_some())
    };
    put("has_task_concurrency_limits", Cell::Json(json!(dag.map(limited))));
    put("dagrun_timeout", Cell::Json(json!(dag.and_then(|dag| dag.dagrun_timeout).map(|t| t.as_secs_f64()))));
    put("fail_fast", Cell::Json(json!(dag.map(|dag| dag.fail_fast))));
    put("params", Cell::Json(json!(dag.map(|dag| &dag.params))));
    put("task_count", Cell::Json(json!(dag.map(|dag| dag.tasks.len()))));
    put("active_runs", Cell::Json(doc.active.len().into()));
    put("next_dagrun_run_after", instant(doc.next_due));
    put("last_data_interval_start", instant(doc.last.map(|interval| interval.start)));
    put("last_data_interval_end", instant(doc.last.map(|interval| interval.end)));
    rows.push(cells);
    printer.records(&rows)
}
