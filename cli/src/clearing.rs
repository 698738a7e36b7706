//! Clearing and marking task instances: what would change is shown, then asked about, then done.

use crate::confirm::confirm;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows, count};
use updraft_model::DagId;
use updraft_service::interventions::{Affected, Planned};

/// Which task instances of those that were named, and whether to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// Only failed ones
    #[arg(long, short = 'f', conflicts_with = "only_running")]
    pub(crate) only_failed: bool,

    /// Only running ones
    #[arg(long, short = 'r')]
    pub(crate) only_running: bool,

    #[command(flatten)]
    pub(crate) assent: Assent,
}

/// Whether to do it, and whether to ask before.
#[derive(Debug, clap::Args)]
pub(crate) struct Assent {
    /// Only show what would change
    #[arg(long, conflicts_with = "yes")]
    pub(crate) dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

impl Assent {
    /// Whether to go on with what was shown. Where it is only to be shown, no.
    pub(crate) fn given(&self, question: &str, printer: Printer) -> Result<bool, Failure> {
        if self.dry_run {
            printer.note("note: this is a dry run; nothing was done");
            return Ok(false);
        }
        confirm(self.yes, question, printer)?;
        Ok(true)
    }
}

/// Shows task instances. False: there are none.
pub(crate) fn show(dag_id: &DagId, affected: &[Affected], rows: &mut Rows) {
    for one in affected {
        rows.push(vec![
            Cell::text(dag_id),
            Cell::text(&one.run_id),
            Cell::Text(match one.map_index {
                Some(map_index) => format!("{} [{map_index}]", one.task_id),
                None => one.task_id.clone(),
            }),
            Cell::State(Some(one.state.as_str())),
        ]);
    }
}

/// The columns of [`show`].
pub(crate) fn rows() -> Rows {
    Rows::new(&["dag_id", "run_id", "task_id", "state"])
}

/// Shows what is planned of some DAGs, asks, and does it; where it is done, notes are left.
pub(crate) async fn clear(
    planned: Vec<(DagId, Vec<Planned>)>,
    assent: &Assent,
    note: Option<&str>,
    session: &Session,
    printer: Printer,
) -> Result<(), Failure> {
    let mut rows = rows();
    for (dag_id, planned) in &planned {
        let affected: Vec<Affected> = planned.iter().flat_map(Planned::affected).collect();
        show(dag_id, &affected, &mut rows);
    }
    let number = rows.rows.len();
    if number == 0 {
        printer.note("note: there is nothing to clear");
        return if printer.is_for_programs() { printer.rows(&rows) } else { Ok(()) };
    }
    printer.rows(&rows)?;
    if !assent.given(&format!("clear {}, so that they run again?", count(number, "task instance")), printer)? {
        return Ok(());
    }
    for (dag_id, planned) in &planned {
        Box::pin(session.engine.carry_out_noted(dag_id, planned, note)).await?;
    }
    printer.note(format_args!("cleared {}", count(number, "task instance")));
    Ok(())
}
