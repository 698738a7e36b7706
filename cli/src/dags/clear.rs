//! `updraft dags clear`

use crate::clearing::{Which, clear};
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::Printer;
use crate::tasks::OfRun;
use updraft_model::DagId;
use updraft_service::interventions::ClearTaskInstances;

/// Which run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,

    /// The run's id, or its logical date
    #[arg(long, value_name = "RUN_ID")]
    run_id: String,

    #[command(flatten)]
    which: Which,
}

/// Clears the task instances of a run, so that it runs again.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let Arguments { dag_id, run_id, which } = arguments;
    let run = OfRun { dag_id: dag_id.clone(), run: run_id }.find(session).await?;
    let request = ClearTaskInstances {
        run_id: Some(run.facts.run_id),
        only_failed: which.only_failed,
        only_running: which.only_running,
        ..ClearTaskInstances::default()
    };
    let planned = Box::pin(session.engine.plan_clear(&dag_id, &request)).await?;
    clear(vec![(dag_id, planned)], &which.assent, None, session, printer).await
}
