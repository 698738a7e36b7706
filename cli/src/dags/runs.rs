//! `updraft dags list-runs`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use jiff::Timestamp;
use updraft_metastore::Unreadable;
use updraft_model::{DagId, DagRunState, DagRunType, RunDoc};

/// Which runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,

    /// Only runs in this state: queued, running, success or failed
    #[arg(long)]
    state: Option<DagRunState>,

    /// Only runs whose logical date is this or later
    #[arg(long, short, value_name = "DATE", value_parser = super::parse_instant)]
    start_date: Option<Timestamp>,

    /// Only runs whose logical date is this or earlier
    #[arg(long, short, value_name = "DATE", value_parser = super::parse_instant)]
    end_date: Option<Timestamp>,

    /// No runs of backfills
    #[arg(long)]
    no_backfill: bool,

    /// At most so many, the latest
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl Arguments {
    /// Whether a run was asked for. One without a logical date has none to be compared.
    fn wants(&self, run: &RunDoc) -> bool {
        let date = run.facts.logical_date;
        self.state.is_none_or(|state| run.state == state)
            && !(self.no_backfill && run.facts.run_type == DagRunType::Backfill)
            && self.start_date.is_none_or(|start| date.is_some_and(|date| date >= start))
            && self.end_date.is_none_or(|end| date.is_some_and(|date| date <= end))
    }
}

/// How many runs one request brings where most of them may be left out.
const PAGE: usize = 100;

/// Lists the runs, latest `run_after` first.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    super::existing(session, &arguments.dag_id).await?;
    let limit = arguments.limit as usize;
    let Found { runs: found, more, unreadable } = find(arguments, session, limit).await?;
    let mut rows = Rows::new(&["dag_id", "run_id", "state", "run_after", "logical_date", "start_date", "end_date"]);
    for run in &found {
        rows.push(vec![
            Cell::text(&run.facts.dag_id),
            Cell::text(&run.facts.run_id),
            Cell::State(Some(run.state.as_str())),
            Cell::Time(Some(run.facts.run_after)),
            Cell::Time(run.facts.logical_date),
            Cell::Time(run.start_date),
            Cell::Time(run.end_date),
        ]);
    }
    if more {
        printer.note(format_args!("note: these are the latest {limit}; `--limit N` shows more"));
    }
    printer.rows(&rows)?;
    if unreadable.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = unreadable.iter().map(ToString::to_string).collect();
    let dag_id = &arguments.dag_id;
    Err(Failure::fault(format!("{} of the runs of `{dag_id}` cannot be read; the others are listed", named.len()))
        .cause(named.join("\n"))
        .hint("a newer version may have written it; else restore the metastore from a backup, or remove the item"))
}

/// What was found.
#[derive(Default)]
struct Found {
    /// The runs that were asked for.
    runs: Vec<RunDoc>,
    /// Whether there are more of them.
    more: bool,
    /// Runs of which nobody can tell whether they were asked for.
    unreadable: Vec<Unreadable>,
}

async fn find(arguments: &Arguments, session: &Session, limit: usize) -> Result<Found, Failure> {
    let mut found = Found::default();
    let mut page = None;
    loop {
        // One more than is shown tells whether there are more.
        let size = (limit + 1 - found.runs.len()).clamp(1, PAGE);
        let next = session.engine.store.list_runs(&arguments.dag_id, size, page).await?;
        found.runs.extend(next.items.into_iter().filter(|run| arguments.wants(run)));
        found.unreadable.extend(next.unreadable);
        page = next.next;
        if found.runs.len() > limit || page.is_none() {
            found.more = found.runs.len() > limit;
            found.runs.truncate(limit);
            return Ok(found);
        }
    }
}
