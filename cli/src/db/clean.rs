//! `updraft db clean`

use crate::confirm::confirm;
use crate::dags::{existing, parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Progress, Rows, count};
use jiff::Timestamp;
use updraft_model::{BackfillId, DagId};
use updraft_service::history::Removable;

/// What to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Remove what ended or came before this
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    clean_before_timestamp: Timestamp,

    /// Only these DAGs, with commas between
    #[arg(long, value_delimiter = ',', value_name = "DAG_IDS", value_parser = parse_dag_id)]
    dag_ids: Vec<DagId>,

    /// All DAGs but these, with commas between
    #[arg(long, value_delimiter = ',', value_name = "DAG_IDS", value_parser = parse_dag_id, conflicts_with = "dag_ids")]
    exclude_dag_ids: Vec<DagId>,

    /// Only these, with commas between, by Airflow's names of its tables
    #[arg(long, short, value_delimiter = ',', value_enum, value_name = "TABLES")]
    tables: Vec<Table>,

    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

/// What there is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Table {
    /// Runs, with their task instances, values and logs
    DagRun,
    /// Backfills that have ended; their runs stay
    Backfill,
    /// Asset events that no run waits for, from before the last day
    AssetEvent,
    /// The log of what people have done
    Log,
}

impl Arguments {
    /// Whether what is asked for can be done.
    fn check(&self) -> Result<(), Failure> {
        let of_all = self.dag_ids.is_empty() && self.exclude_dag_ids.is_empty();
        let named = self.tables.iter().find(|table| matches!(table, Table::AssetEvent | Table::Log));
        match named.and_then(clap::ValueEnum::to_possible_value) {
            Some(table) if !of_all => {
                Err(Failure::user(format!("`{}` cannot be narrowed to some DAGs", table.get_name()))
                    .cause("asset events and the log belong to no DAG alone")
                    .hint("leave out `--dag-ids` and `--exclude-dag-ids`, or that table"))
            }
            _ => Ok(()),
        }
    }

    /// Whether something is meant. Asset events and the log belong to no DAG alone, so they are meant only where all DAGs are.
    fn means(&self, table: Table) -> bool {
        let of_all = self.dag_ids.is_empty() && self.exclude_dag_ids.is_empty();
        (self.tables.is_empty() || self.tables.contains(&table))
            && (of_all || matches!(table, Table::DagRun | Table::Backfill))
    }
}

/// Shows what can be removed, asks, and removes it.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    arguments.check()?;
    let mut found: Vec<(DagId, Removable)> = Vec::new();
    let dags_meant = if arguments.means(Table::DagRun) { dags(arguments, session).await? } else { Vec::new() };
    for dag_id in dags_meant {
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
    let others = Others::find(arguments, session).await?;
    if arguments.dry_run || total + others.total() == 0 {
        printer.note(format_args!("{} would be removed", others.with(total)));
        return Ok(());
    }
    let question =
        format!("remove {} for good, runs with their logs and values? There is no archive.", others.with(total));
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
    others.remove(arguments, session).await?;
    printer.note(format_args!("removed {}", others.with(removed)));
    if removed < total {
        printer.note(format_args!("{} changed meanwhile and stayed", count(total - removed, "run")));
    }
    Ok(())
}

/// What is removed beside runs.
struct Others {
    backfills: Vec<BackfillId>,
    asset_events: usize,
    log: usize,
}

impl Others {
    async fn find(arguments: &Arguments, session: &Session) -> Result<Self, Failure> {
        let (engine, before) = (&session.engine, arguments.clean_before_timestamp);
        let backfills = if arguments.means(Table::Backfill) {
            engine.removable_backfills(&dags(arguments, session).await?, before).await?
        } else {
            Vec::new()
        };
        let asset_events =
            if arguments.means(Table::AssetEvent) { engine.remove_asset_events(before, true).await? } else { 0 };
        let log = if arguments.means(Table::Log) { engine.remove_event_logs(before, true).await? } else { 0 };
        Ok(Self { backfills, asset_events, log })
    }

    fn total(&self) -> usize {
        self.backfills.len() + self.asset_events + self.log
    }

    /// In words, with so many runs.
    fn with(&self, runs: usize) -> String {
        let mut all = vec![count(runs, "run")];
        all.extend((!self.backfills.is_empty()).then(|| count(self.backfills.len(), "backfill")));
        all.extend((self.asset_events > 0).then(|| count(self.asset_events, "asset event")));
        all.extend((self.log > 0).then(|| format!("{} of the log", count(self.log, "event"))));
        match all.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
            _ => all.concat(),
        }
    }

    async fn remove(&self, arguments: &Arguments, session: &Session) -> Result<(), Failure> {
        for id in &self.backfills {
            session.engine.remove_backfill(id).await?;
        }
        let before = arguments.clean_before_timestamp;
        if self.asset_events > 0 {
            session.engine.remove_asset_events(before, false).await?;
        }
        if self.log > 0 {
            session.engine.remove_event_logs(before, false).await?;
        }
        Ok(())
    }
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
