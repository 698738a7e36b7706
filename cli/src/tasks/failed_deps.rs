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
            rows.push(vec![Cell::text(name(reason)), Cell::text(reason)]);
        }
        return printer.rows(&rows);
    }
    if failed.is_empty() {
        return printer.text("Task instance dependencies are all met.\n");
    }
    let mut lines = vec!["Task instance dependencies not met:".to_owned()];
    lines.extend(failed.into_iter().map(|reason| format!("{}: {reason}", name(reason))));
    printer.text(&(lines.join("\n") + "\n"))
}

/// What Airflow calls the dependency.
fn name(reason: &Reason) -> &'static str {
    match reason {
        Reason::Stands(_) | Reason::Nothing => "Task Instance State",
        Reason::RunEnded(_) | Reason::NotStarted | Reason::Intervention => "Dagrun Running",
        Reason::Paused | Reason::PausedRun => "Dag Not Paused",
        Reason::NoRoom => "Max Active Runs",
        Reason::Rule { .. } | Reason::Unmet(_) => "Trigger Rule",
        Reason::LeftOut(_) => "Previously Skipped",
        Reason::Retry(_) => "Not In Retry Period",
        Reason::Reschedule(_) => "Ready To Reschedule",
        Reason::Deferred(_) => "Deferred",
        Reason::Input => "Awaiting Input",
        Reason::Past(_) => "Previous Dagrun State",
        Reason::RunLimit(_) => "Max Active Tasks",
        Reason::NeverInRun => "Task Concurrency",
        Reason::NoPool(_) | Reason::TooLarge { .. } | Reason::Full { .. } => "Pool Slots Available",
    }
}
