//! `updraft tasks failed-deps`

use super::OfRun;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use updraft_model::DagId;
use updraft_scheduling::explain::Reason;

/// Which task instance.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = crate::dags::parse_dag_id)]
    dag_id: DagId,

    /// The task's id
    task_id: String,

    /// The run's id, or its logical date
    #[arg(value_name = "RUN_ID")]
    run: String,
}

/// Prints why a task instance is not running, in Airflow's form.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let Arguments { dag_id, task_id, run } = arguments;
    let run = OfRun { dag_id, run }.find(session).await?;
    let reasons = session.engine.why_not_running(&run, &task_id).await?;
    let failed: Vec<&Reason> = reasons.iter().filter(|reason| **reason != Reason::Nothing).collect();
    if printer.is_for_programs() {
        let mut rows = Rows::new(&["dep_name", "reason"]);
        for reason in failed {
            rows.push(vec![Cell::text(reason.name()), Cell::text(reason)]);
        }
        return printer.rows(&rows);
    }
    if failed.is_empty() {
        return printer.text("Task instance dependencies are all met.\n");
    }
    let mut lines = vec!["Task instance dependencies not met:".to_owned()];
    lines.extend(failed.into_iter().map(|reason| format!("{}: {reason}", reason.name())));
    printer.text(&(lines.join("\n") + "\n"))
}
