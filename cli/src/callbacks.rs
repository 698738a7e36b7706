//! `updraft callbacks ...`

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use clap::Subcommand;
use serde_json::json;
use updraft_model::{DagId, Occasion};

/// What to do with callbacks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the callbacks of a run, and how each stands; they are kept for a day
    List {
        /// The DAG's id
        dag_id: String,

        /// The run's id
        run_id: String,
    },
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    let Command::List { dag_id, run_id } = command;
    let dag_id = DagId::parse(&dag_id).map_err(|e| Failure::user(e.to_string()))?;
    let run = session.engine.run_named(&dag_id, &run_id).await?;
    let version = session.engine.version(&run.facts.version).await?;
    let task_ids = version.plan.dag.task_ids();
    let mut rows = Rows::new(&["occasion", "task_id", "callback", "state", "tries", "updated_at", "message", "log"]);
    for (callback, name) in session.engine.callbacks_of_run(&dag_id, &run_id).await? {
        let task = match &callback.occasion {
            Occasion::Execute { task, .. } | Occasion::Try { task, .. } => task_ids.get(task).copied(),
            Occasion::Ended { .. } | Occasion::Deadline { .. } => None,
        };
        rows.push(vec![
            Cell::text(callback.occasion.kind().map_or("deadline", updraft_model::CallbackKind::key)),
            Cell::Json(json!(task)),
            Cell::text(&name),
            Cell::Json(json!(callback.state)),
            Cell::Json(callback.tries.into()),
            Cell::text(callback.updated_at.to_string()),
            Cell::Json(json!(callback.message)),
            Cell::Json(json!(callback.log)),
        ]);
    }
    printer.rows(&rows)
}
