//! `updraft tasks set-state`

use super::OfRun;
use crate::clearing::{Assent, rows, show};
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Printer, count};
use clap::ValueEnum;
use updraft_model::DagId;
use updraft_model::cell::End;
use updraft_service::interventions::{PatchTaskInstances, Picks, TaskPick};

/// The states that a person may give.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum NewState {
    Success,
    Failed,
    Skipped,
}

impl NewState {
    fn end(self) -> End {
        match self {
            Self::Success => End::Success,
            Self::Failed => End::Failed,
            Self::Skipped => End::Skipped,
        }
    }
}

/// Which task instances get which state.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = crate::dags::parse_dag_id)]
    dag_id: DagId,

    /// The task's id, or with `--task-group` that of a group
    task_id: String,

    /// The run's id, or its logical date
    #[arg(value_name = "RUN_ID")]
    run: String,

    /// Their state
    new_state: NewState,

    /// Only this instance of a mapped task
    #[arg(long, value_name = "N", conflicts_with = "task_group")]
    map_index: Option<u32>,

    /// All tasks of the group of this id
    #[arg(long)]
    task_group: bool,

    /// Also everything above
    #[arg(long, short)]
    upstream: bool,

    /// Also everything below, teardowns apart
    #[arg(long, short)]
    downstream: bool,

    /// Also in the runs of earlier logical dates
    #[arg(long)]
    past: bool,

    /// Also in the runs of later logical dates
    #[arg(long)]
    future: bool,

    /// Note this on the task instances
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,

    #[command(flatten)]
    assent: Assent,
}

/// Gives task instances a state, once that is agreed on. What had failed below them runs again.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let Arguments { dag_id, task_id, run, new_state, task_group, .. } = arguments;
    let run = OfRun { dag_id: dag_id.clone(), run }.find(session).await?;
    let picks = if task_group {
        Picks { tasks: None, task_group_ids: vec![task_id] }
    } else {
        let pick = TaskPick { task_id, map_index: arguments.map_index };
        Picks { tasks: Some(vec![pick]), task_group_ids: Vec::new() }
    };
    let request = PatchTaskInstances {
        include_past: arguments.past,
        include_future: arguments.future,
        include_upstream: arguments.upstream,
        include_downstream: arguments.downstream,
        note: arguments.note,
        ..PatchTaskInstances::new(run.facts.run_id, picks, new_state.end())
    };
    let affected = Box::pin(session.engine.patch_task_instances(&dag_id, &request, true)).await?;
    let state = new_state.end().state();
    if affected.is_empty() {
        // The use case's own words.
        Box::pin(session.engine.patch_task_instances(&dag_id, &request, false)).await?;
    }
    let mut shown = rows();
    show(&dag_id, &affected, &mut shown);
    printer.rows(&shown)?;
    let question = format!("set {} to {state}?", count(affected.len(), "task instance"));
    if !arguments.assent.given(&question, printer)? {
        return Ok(());
    }
    let changed = Box::pin(session.engine.patch_task_instances(&dag_id, &request, false)).await?;
    printer.note(format_args!("set {} to {state}", count(changed.len(), "task instance")));
    Ok(())
}
