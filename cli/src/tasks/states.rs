//! `updraft tasks states-for-dag-run`

use super::OfRun;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use updraft_model::TaskInstanceState;

/// Which run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    run: OfRun,
}

/// Lists the task instances, in the order of their DAG.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let run = arguments.run.find(session).await?;
    let mut rows = Rows::new(&["dag_id", "logical_date", "task_id", "state", "start_date", "end_date"]);
    for task in session.engine.task_instances(&run).await? {
        let state = (task.state != TaskInstanceState::None).then(|| task.state.as_str());
        rows.push(vec![
            Cell::text(&run.facts.dag_id),
            Cell::Time(run.facts.logical_date),
            Cell::text(task.task_id),
            Cell::State(state),
            Cell::Time(task.start_date),
            Cell::Time(task.end_date),
        ]);
    }
    printer.rows(&rows)
}
