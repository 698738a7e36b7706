//! `updraft backfill create`

use crate::dags::{parse_conf, parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::metastore::{Session, user_name};
use crate::printer::{Cell, Printer, Rows};
use jiff::Timestamp;
use updraft_model::backfill::BACKFILL_RUNS_DEFAULT;
use updraft_model::{DagId, ReprocessBehavior};
use updraft_service::backfill::NewBackfill;
use updraft_task_queue::Message;

/// Which dates of which DAG.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(long, value_parser = parse_dag_id)]
    dag_id: DagId,

    /// The earliest logical date
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    from_date: Timestamp,

    /// The latest logical date
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    to_date: Timestamp,

    /// What each run is given, as a JSON object
    #[arg(long, value_name = "JSON", value_parser = parse_conf)]
    dag_run_conf: Option<serde_json::Value>,

    /// The latest date first
    #[arg(long)]
    run_backwards: bool,

    /// How many of its runs may go on at once
    #[arg(long, default_value_t = BACKFILL_RUNS_DEFAULT)]
    max_active_runs: u32,

    /// What is done about dates that have a run: `none`, `failed` (it runs again if it has failed) or `completed` (if it has ended)
    #[arg(long, default_value = "none", value_name = "BEHAVIOR")]
    reprocess_behavior: ReprocessBehavior,

    /// Runs that run again go over to the latest version of the DAG; without a word, as the DAG's `rerun_with_latest_version` says
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    run_on_latest_version: Option<bool>,

    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Creates a backfill, or shows what it would do.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let wish = NewBackfill {
        dag_run_conf: arguments.dag_run_conf.clone().unwrap_or_default(),
        reprocess_behavior: arguments.reprocess_behavior,
        run_backwards: arguments.run_backwards,
        max_active_runs: arguments.max_active_runs,
        run_on_latest_version: arguments.run_on_latest_version,
        user: user_name(),
        ..NewBackfill::new(arguments.dag_id.clone(), arguments.from_date, arguments.to_date)
    };
    if arguments.dry_run {
        let mut rows = Rows::new(&["logical_date", "run_after", "action", "run_id", "state"]);
        for date in session.engine.dry_run_backfill(&wish).await? {
            let action = match (&date.existing, date.is_run) {
                (None, _) => "create",
                (Some(_), true) => "run again",
                (Some(_), false) => "pass over",
            };
            let (run_id, state) = date.existing.unzip();
            rows.push(vec![
                Cell::Time(date.logical_date),
                Cell::Time(Some(date.run_after)),
                Cell::text(action),
                Cell::Text(run_id.unwrap_or_default()),
                Cell::State(state.map(updraft_model::DagRunState::as_str)),
            ]);
        }
        printer.rows(&rows)?;
        printer.note("note: this is a dry run; nothing was done");
        return Ok(());
    }
    let backfill = Box::pin(session.engine.create_backfill(&wish)).await?;
    // Its first look: the message that asks for it went to a queue that ends with this process.
    let first = Message::Backfill { id: backfill.id.clone() };
    if let Err(error) = Box::pin(session.engine.look_where(&first)).await {
        printer.note(format_args!("note: its first runs are made within a minute, not yet: {error}"));
    }
    super::show(&backfill, printer)?;
    if session.engine.store.dag(&backfill.dag_id).await?.is_some_and(|dag| dag.paused) {
        printer.note(format_args!(
            "note: the DAG `{0}` is paused; its runs stay queued until `updraft dags unpause {0}`",
            backfill.dag_id
        ));
    }
    if let Some(note) = session.delay_note {
        printer.note(note);
    }
    Ok(())
}
