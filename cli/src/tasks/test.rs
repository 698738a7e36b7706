//! `updraft tasks test`

use crate::dags::{parse_conf, parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::metastore::MetastoreUrl;
use crate::printer::Printer;
use crate::trial::{Place, Trial};
use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_model::{DagId, TaskInstanceState};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = parse_dag_id)]
    dag_id: DagId,

    /// The task's id
    task_id: String,

    /// The instant the run stands for; now, if not given
    #[arg(value_name = "LOGICAL_DATE", value_parser = parse_instant)]
    logical_date: Option<Timestamp>,

    /// Params of the task, over those of its DAG, as a JSON object
    #[arg(long, short = 't', value_name = "JSON", value_parser = parse_conf)]
    task_params: Option<Value>,

    /// The instance, if the task is mapped
    #[arg(long, value_name = "N")]
    map_index: Option<u32>,

    #[command(flatten)]
    place: Place,
}

/// Runs one try of the task in this process, whatever the tasks above it are like, and keeps nothing; exit code 1 if it fails.
pub(crate) async fn run(arguments: Arguments, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let Arguments { dag_id, task_id, logical_date, task_params, map_index, place } = arguments;
    let trial = Trial::new(&place, &dag_id, metastore, None, printer).await?;
    let conf = task_params.unwrap_or_default();
    let (run, task) = Box::pin(trial.run_task(&dag_id, &task_id, map_index, logical_date, conf)).await?;
    let state = match run.task_state(task) {
        // A try that failed: whether there would be another does not matter here.
        TaskInstanceState::UpForRetry => TaskInstanceState::Failed,
        state => state,
    };
    if printer.is_for_programs() {
        printer.value(&json!({ "dag_id": dag_id, "task_id": task_id, "state": state.as_str() }))?;
    }
    if state == TaskInstanceState::Failed { Err(Failure::told()) } else { Ok(()) }
}
