//! `updraft dags delete`

use crate::confirm::confirm;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Printer, count};
use updraft_model::DagId;

/// Which DAG.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Removes a DAG with all its runs, once that is agreed on.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let dag = super::existing(session, &arguments.dag_id).await?;
    let question = format!("remove the DAG `{}` with all its runs, for good?", dag.dag_id);
    confirm(arguments.yes, &question, printer)?;
    let runs = Box::pin(session.engine.delete_dag(&dag.dag_id)).await?;
    printer.note(format_args!("removed the DAG `{}` and {}", dag.dag_id, count(runs, "run")));
    if dag.version.is_some() {
        printer.note(format_args!(
            "note: its file `{}` declared it; while it does, the DAG comes back without its history when the file is read again",
            dag.file
        ));
    }
    Ok(())
}
