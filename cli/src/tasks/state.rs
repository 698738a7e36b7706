//! `updraft tasks state`

use super::OfRun;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::Printer;
use serde_json::json;
use updraft_model::TaskInstanceState;

/// Which task instance.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = crate::dags::parse_dag_id)]
    dag_id: updraft_model::DagId,

    /// The task's id
    task_id: String,

    /// The run's id, or its logical date
    #[arg(value_name = "RUN_ID")]
    run: String,

    /// The instance, if the task is mapped
    #[arg(long, value_name = "N")]
    map_index: Option<u32>,
}

/// Prints its state; `None` where it has none yet, as in Airflow.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let Arguments { dag_id, task_id, run, map_index } = arguments;
    let run = OfRun { dag_id, run }.find(session).await?;
    let task = session.engine.task_of_run(&run, &task_id).await?;
    let (state, try_number) = if let Some(map_index) = map_index {
        let instance = session.engine.mapped_instance(&run, task, map_index).await?;
        (instance.state, instance.try_number)
    } else {
        let whole = session.engine.task_instance(&run, task).await?;
        (whole.state, whole.try_number)
    };
    let known = (state != TaskInstanceState::None).then(|| state.as_str());
    if printer.is_for_programs() {
        return printer.value(&json!({
            "dag_id": run.facts.dag_id,
            "run_id": run.facts.run_id,
            "task_id": task_id,
            "state": known,
            "map_index": map_index.map_or(-1, i64::from),
            "try_number": try_number,
        }));
    }
    printer.text(&format!("{}\n", known.unwrap_or("None")))
}
