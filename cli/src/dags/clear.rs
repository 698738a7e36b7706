//! `updraft dags clear`

use crate::clearing::{Which, rows, show};
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Printer, count};
use crate::tasks::OfRun;
use updraft_model::DagId;
use updraft_service::interventions::ClearDagRun;

/// Which run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,

    /// The run's id, or its logical date
    #[arg(long, value_name = "RUN_ID")]
    run_id: String,

    /// Clear nothing: queue the run, to run what the latest version of the DAG has and it has not
    #[arg(long, conflicts_with_all = ["only_failed", "only_running"])]
    only_new: bool,

    /// The run goes over to the latest version of the DAG; without a word, as the DAG's `rerun_with_latest_version` says
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    run_on_latest_version: Option<bool>,

    /// Note this on the run
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    #[command(flatten)]
    which: Which,
}

/// Clears the task instances of a run, so that it runs again.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let Arguments { dag_id, run_id, only_new, run_on_latest_version, note, which } = arguments;
    let run = OfRun { dag_id: dag_id.clone(), run: run_id }.find(session).await?;
    let request = ClearDagRun {
        only_failed: which.only_failed,
        only_running: which.only_running,
        only_new,
        run_on_latest_version,
        note,
    };
    let run_id = run.facts.run_id;
    let clear = |dry_run| Box::pin(session.engine.clear_dag_run(&dag_id, &run_id, &request, dry_run));
    let affected = clear(true).await?;
    let mut rows = rows();
    show(&dag_id, &affected, &mut rows);
    if affected.is_empty() {
        printer.note("note: there is nothing to clear");
        return if printer.is_for_programs() { printer.rows(&rows) } else { Ok(()) };
    }
    printer.rows(&rows)?;
    let number = count(affected.len(), "task instance");
    let question = if only_new {
        format!("queue the run, to run {number} that it has not?")
    } else {
        format!("clear {number}, so that they run again?")
    };
    if !which.assent.given(&question, printer)? {
        return Ok(());
    }
    clear(false).await?;
    printer.note(if only_new { format!("queued the run `{run_id}`") } else { format!("cleared {number}") });
    Ok(())
}
