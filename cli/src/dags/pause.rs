//! `updraft dags pause` and `updraft dags unpause`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use updraft_model::DagId;

/// Which DAG.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,
}

/// Pauses or unpauses it. Doing so twice is no failure.
pub(crate) async fn run(
    arguments: &Arguments,
    paused: bool,
    session: &Session,
    printer: Printer,
) -> Result<(), Failure> {
    let dag = session.engine.set_paused(&arguments.dag_id, paused).await?;
    let mut rows = Rows::new(&["dag_id", "is_paused"]);
    rows.push(vec![Cell::text(&dag.dag_id), Cell::Json(dag.paused.into())]);
    printer.rows(&rows)
}
