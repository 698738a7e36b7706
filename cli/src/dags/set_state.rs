//! `updraft dags set-state`

use crate::clearing::Assent;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use crate::tasks::OfRun;
use clap::ValueEnum;
use updraft_model::DagRunState;
use updraft_service::interventions::RunPatch;

/// The states that a person may give.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NewState {
    Success,
    Failed,
    Queued,
}

impl NewState {
    fn state(self) -> DagRunState {
        match self {
            Self::Success => DagRunState::Success,
            Self::Failed => DagRunState::Failed,
            Self::Queued => DagRunState::Queued,
        }
    }
}

/// Which run gets which state.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    run: OfRun,

    /// Its state: `success` and `failed` end what runs, and skip the rest; `queued` starts the run anew, its task instances as they are
    new_state: NewState,

    /// Note this on the run
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    #[command(flatten)]
    assent: Assent,
}

/// Gives a run a state, once that is agreed on.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let dag_id = arguments.run.dag_id.clone();
    let run = arguments.run.find(session).await?;
    let version = session.engine.version(&run.facts.version).await?;
    let mut rows = Rows::new(&["dag_id", "run_id", "task_id", "state"]);
    for task in version.plan.tasks().filter(|task| !run.task_state(*task).is_finished()) {
        rows.push(vec![
            Cell::text(&dag_id),
            Cell::text(&run.facts.run_id),
            Cell::text(&version.plan.task(task).task_id),
            Cell::State(Some(run.task_state(task).as_str())),
        ]);
    }
    let state = arguments.new_state.state();
    if state.is_finished() {
        printer.rows(&rows)?;
    }
    let (run_id, before) = (run.facts.run_id, run.state);
    if !arguments.assent.given(&format!("set the run `{run_id}`, now {before}, to {state}?"), printer)? {
        return Ok(());
    }
    let patch = RunPatch { state: Some(state), note: arguments.note };
    let run = Box::pin(session.engine.patch_dag_run(&dag_id, &run_id, &patch)).await?;
    if run.state == state {
        printer.note(format_args!("set the run `{run_id}` to {state}"));
    } else {
        printer.note(format_args!("the run `{run_id}` is {}: its teardowns are left to run", run.state));
    }
    Ok(())
}
