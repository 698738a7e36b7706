//! `updraft db clean`

use crate::confirm::confirm;
use crate::dags::{existing, parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Progress, Rows, count};
use jiff::Timestamp;
use updraft_model::DagId;
use updraft_service::history::Removable;

/// What to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Remove runs that ended before this
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    clean_before_timestamp: Timestamp,

    /// Only these DAGs, with commas between
    #[arg(long, value_delimiter = ',', value_name = "DAG_IDS", value_parser = parse_dag_id)]
    dag_ids: Vec<DagId>,

    /// All DAGs but these, with commas between
    #[arg(long, value_delimiter = ',', value_name = "DAG_IDS", value_parser = parse_dag_id, conflicts_with = "dag_ids")]
    exclude_dag_ids: Vec<DagId>,

    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// Shows what can be removed, asks, and removes it.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut found: Vec<(DagId, Removable)> = Vec::new();
    for dag_id in dags(arguments, session).await? {
        let removable = session.engine.removable(&dag_id, arguments.clean_before_timestamp).await?;
        found.push((dag_id, removable));
    }
    let mut rows = Rows::new(&["dag_id", "runs", "kept", "earliest", "latest"]);
    for (dag_id, removable) in found.iter().filter(|(_, removable)| *removable != Removable::default()) {
        let ends = removable.runs.iter().filter_map(|run| run.end_date);
        rows.push(vec![
            Cell::text(dag_id),
            Cell::Json((removable.runs.len() + removable.leftovers.len()).into()),
            Cell::Json(removable.kept.into()),
            Cell::Time(ends.clone().min()),
            Cell::Time(ends.max()),
        ]);
    }
    printer.rows(&rows)?;
    let total: usize = found.iter().map(|(_, removable)| removable.runs.len() + removable.leftovers.len()).sum();
    // Events belong to no DAG alone, so they go only where all are meant.
    let of_all = arguments.dag_ids.is_empty() && arguments.exclude_dag_ids.is_empty();
    let before = arguments.clean_before_timestamp;
    let events = if of_all { session.engine.remove_event_logs(before, true).await? } else { 0 };
    let and_events = if events > 0 { format!(" and {} of the log", count(events, "event")) } else { String::new() };
    if arguments.dry_run || total + events == 0 {
        printer.note(format_args!("{}{and_events} would be removed", count(total, "run")));
        return Ok(());
    }
    let runs = count(total, "run");
    let question = format!("remove {runs} for good, with their logs and values{and_events}? There is no archive.");
    confirm(arguments.yes, &question, printer)?;
    let progress = Progress::new(total as u64, "runs");
    let mut removed = 0;
    for (dag_id, removable) in &found {
        for run in &removable.runs {
            removed += usize::from(session.engine.remove_run(&session.blobs, run).await?);
            progress.advance();
        }
        for name in &removable.leftovers {
            session.engine.remove_leftover(&session.blobs, dag_id, name).await?;
            removed += 1;
            progress.advance();
        }
    }
    progress.finish();
    if events > 0 {
        session.engine.remove_event_logs(before, false).await?;
    }
    printer.note(format_args!("removed {}{and_events}", count(removed, "run")));
    if removed < total {
        printer.note(format_args!("{} changed meanwhile and stayed", count(total - removed, "run")));
    }
    Ok(())
}

async fn dags(arguments: &Arguments, session: &Session) -> Result<Vec<DagId>, Failure> {
    let mut named = Vec::new();
    for dag_id in &arguments.dag_ids {
        named.push(existing(session, dag_id).await?.dag_id);
    }
    if !named.is_empty() {
        return Ok(named);
    }
    let all = session.engine.all_dags().await?.into_iter().map(|dag| dag.summary.dag_id);
    Ok(all.filter(|dag_id| !arguments.exclude_dag_ids.contains(dag_id)).collect())
}
