//! Clearing task instances: what would be cleared is shown, then asked about, then done.

use crate::confirm::confirm;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows, count};
use std::collections::BTreeSet;
use std::sync::Arc;
use updraft_model::{RunDoc, TaskIndex, TaskInstanceState};
use updraft_service::engine::Version;

/// Which task instances of those that were named, and whether to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Only failed ones
    #[arg(long, short = 'f', conflicts_with = "only_running")]
    only_failed: bool,

    /// Only running ones
    #[arg(long, short = 'r')]
    only_running: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Which {
    /// Whether one in this state is meant. One without a state has nothing to clear.
    fn means(&self, state: TaskInstanceState) -> bool {
        use TaskInstanceState::{Failed, None, Restarting, Running, UpstreamFailed};
        match state {
            None => false,
            Failed | UpstreamFailed => !self.only_running,
            Running | Restarting => !self.only_failed,
            _ => !self.only_failed && !self.only_running,
        }
    }
}

/// Task instances of one run.
#[derive(Debug)]
pub(crate) struct Picked {
    run: RunDoc,
    version: Arc<Version>,
    tasks: Vec<TaskIndex>,
}

impl Picked {
    /// Those among these tasks of the run that are meant.
    pub(crate) fn new(run: RunDoc, version: Arc<Version>, tasks: &BTreeSet<TaskIndex>, which: &Which) -> Self {
        let tasks = tasks.iter().copied().filter(|task| which.means(run.task_state(*task))).collect();
        Self { run, version, tasks }
    }
}

/// Shows them, asks, and clears them.
pub(crate) async fn clear(
    picked: Vec<Picked>,
    which: &Which,
    session: &Session,
    printer: Printer,
) -> Result<(), Failure> {
    let mut rows = Rows::new(&["dag_id", "run_id", "task_id", "state"]);
    for Picked { run, version, tasks } in &picked {
        for task in tasks {
            rows.push(vec![
                Cell::text(&run.facts.dag_id),
                Cell::text(&run.facts.run_id),
                Cell::text(&version.plan.task(*task).task_id),
                Cell::State(Some(run.task_state(*task).as_str())),
            ]);
        }
    }
    let number = rows.rows.len();
    if number == 0 {
        printer.note("note: there is nothing to clear");
        return if printer.is_for_programs() { printer.rows(&rows) } else { Ok(()) };
    }
    printer.rows(&rows)?;
    confirm(which.yes, &format!("clear {}, so that they run again?", count(number, "task instance")), printer)?;
    for Picked { run, tasks, .. } in picked.iter().filter(|picked| !picked.tasks.is_empty()) {
        session.engine.clear(&run.facts.incarnation, tasks).await?;
    }
    printer.note(format_args!("cleared {}", count(number, "task instance")));
    Ok(())
}
