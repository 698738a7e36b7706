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
    let tasks = session.engine.task_instances(&run).await?;
    // As in Airflow, the column is there where it says something.
    let is_mapped = tasks.iter().any(|task| task.map_index.is_some());
    let mut columns = vec!["dag_id", "logical_date", "task_id", "state", "start_date", "end_date"];
    columns.extend(is_mapped.then_some("map_index"));
    let mut rows = Rows::new(&columns);
    for task in tasks {
        let state = (task.state != TaskInstanceState::None).then(|| task.state.as_str());
        let map_index = is_mapped.then(|| Cell::text(task.map_index.map_or(-1, i64::from)));
        let mut row = vec![
            Cell::text(&run.facts.dag_id),
            Cell::Time(run.facts.logical_date),
            Cell::text(task.task_id),
            Cell::State(state),
            Cell::Time(task.start_date),
            Cell::Time(task.end_date),
        ];
        row.extend(map_index);
        rows.push(row);
    }
    printer.rows(&rows)
}
