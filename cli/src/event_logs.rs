//! `updraft event-logs ...`: what people have changed, and how each command comes to be among it.

use crate::dags::{parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session, user_name};
use crate::printer::{Cell, Printer, Rows};
use clap::{ArgMatches, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use std::sync::{Mutex, PoisonError};
use updraft_model::DagId;
use updraft_service::events::{EventFilter, NewEvent};

/// What to do with the event log.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what people have changed, latest first
    List(List),
}

/// Which events.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only of this DAG
    #[arg(long, value_parser = parse_dag_id)]
    dag_id: Option<DagId>,

    /// Only of this run
    #[arg(long)]
    run_id: Option<String>,

    /// Only of this task
    #[arg(long)]
    task_id: Option<String>,

    /// Only of this kind, such as `cli_dag_trigger`
    #[arg(long)]
    event: Option<String>,

    /// Only by this person
    #[arg(long)]
    owner: Option<String>,

    /// Only before this
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    before: Option<Timestamp>,

    /// Only after this
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    after: Option<Timestamp>,

    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let Command::List(List { dag_id, run_id, task_id, event, owner, before, after, limit }) = command;
    let session = Session::open(metastore).await?;
    let filter = EventFilter { dag_id, run_id, task_id, event, owner, before, after, ..EventFilter::default() };
    let mut rows = Rows::new(&["event_log_id", "when", "event", "dag_id", "run_id", "task_id", "owner", "extra"]);
    for event in session.engine.event_logs(&filter, limit).await? {
        rows.push(vec![
            Cell::Json(event.event_log_id.into()),
            Cell::Time(Some(event.when)),
            Cell::Text(event.event),
            Cell::Text(event.dag_id.map(|id| id.to_string()).unwrap_or_default()),
            Cell::Text(event.run_id.unwrap_or_default()),
            Cell::Text(event.task_id.unwrap_or_default()),
            Cell::Text(event.owner.unwrap_or_default()),
            Cell::Text(event.extra.unwrap_or_default()),
        ]);
    }
    printer.rows(&rows)
}

/// The commands that change something, by Airflow's names for their events.
const CHANGES: &[(&[&str], &str)] = &[
    (&["backfill", "cancel"], "cli_cancel_backfill"),
    (&["backfill", "create"], "cli_create_backfill"),
    (&["backfill", "pause"], "cli_pause_backfill"),
    (&["backfill", "unpause"], "cli_unpause_backfill"),
    (&["connections", "add"], "cli_connections_add"),
    (&["connections", "delete"], "cli_connections_delete"),
    (&["connections", "import"], "cli_connections_import"),
    (&["dags", "clear"], "cli_dag_clear"),
    (&["dags", "delete"], "cli_dag_delete"),
    (&["dags", "pause"], "cli_dag_pause"),
    (&["dags", "set-state"], "cli_dag_set_state"),
    (&["dags", "trigger"], "cli_dag_trigger"),
    (&["dags", "unpause"], "cli_dag_unpause"),
    (&["db", "clean"], "cli_cleanup_tables"),
    (&["pools", "delete"], "cli_pool_delete"),
    (&["pools", "import"], "cli_pool_import"),
    (&["pools", "set"], "cli_pool_set"),
    (&["tasks", "clear"], "cli_task_clear"),
    (&["tasks", "set-state"], "cli_task_set_state"),
    (&["variables", "delete"], "cli_variables_delete"),
    (&["variables", "import"], "cli_variables_import"),
    (&["variables", "set"], "cli_variables_set"),
];

/// What the log is to say of a command, once it has succeeded. None: it changes nothing.
pub(crate) fn of(matches: &ArgMatches, typed: &[String]) -> Option<NewEvent> {
    let mut path = Vec::new();
    let mut last = matches;
    while let Some((name, below)) = last.subcommand() {
        path.push(name);
        last = below;
    }
    let (_, event) = CHANGES.iter().find(|(of, _)| *of == path.as_slice())?;
    let is_dry = last.try_get_one::<bool>("dry_run").ok().flatten().copied().unwrap_or(false);
    if is_dry {
        return None;
    }
    let raw = |name: &str| {
        let mut values = last.try_get_raw(name).ok().flatten()?;
        Some(values.next()?.to_string_lossy().into_owned())
    };
    // What follows a variable's or a connection's name may be a secret.
    let is_secret = matches!(path[0], "variables" | "connections");
    let first = ["key", "conn_id", "file"].into_iter().find_map(&raw);
    let command = if is_secret {
        let words = std::iter::once("updraft").chain(path.iter().copied()).chain(first.as_deref());
        words.collect::<Vec<_>>().join(" ")
    } else {
        typed.join(" ")
    };
    Some(NewEvent {
        event: (*event).to_owned(),
        dag_id: raw("dag_id").filter(|id| DagId::parse(id).is_ok()).map(DagId::trusted),
        run_id: raw("run_id").or_else(|| raw("run")),
        task_id: raw("task_id"),
        owner: user_name(),
        extra: Some(json!({ "full_command": command }).to_string()),
        ..NewEvent::default()
    })
}

/// What is to be recorded of this command, until it is.
static PENDING: Mutex<Option<NewEvent>> = Mutex::new(None);

/// Notes what is to be recorded once the command has succeeded.
pub(crate) fn pend(event: Option<NewEvent>) {
    *PENDING.lock().unwrap_or_else(PoisonError::into_inner) = event;
}

/// Takes what is still to be recorded.
pub(crate) fn take() -> Option<NewEvent> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Records what has not been recorded yet.
pub(crate) async fn record(metastore: &MetastoreUrl) {
    let Some(event) = take() else { return };
    if let Ok(session) = Session::open(metastore).await {
        session.engine.record_event(event).await;
    } else {
        tracing::warn!("what was done is not in the event log: the metastore does not open again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use clap::CommandFactory;

    fn event(typed: &str) -> Option<NewEvent> {
        let typed: Vec<String> = typed.split(' ').map(str::to_owned).collect();
        of(&Arguments::command().try_get_matches_from(&typed).unwrap(), &typed)
    }

    #[test]
    fn a_change_says_who_what_and_where() {
        let triggered = event("updraft dags trigger etl --run-id r1").unwrap();
        assert_eq!(triggered.event, "cli_dag_trigger");
        assert_eq!(triggered.dag_id, Some(DagId::trusted("etl")));
        assert_eq!(triggered.run_id.as_deref(), Some("r1"));
        assert_eq!(triggered.extra.as_deref(), Some(r#"{"full_command":"updraft dags trigger etl --run-id r1"}"#));
        let set = event("updraft tasks set-state etl load r1 success --yes").unwrap();
        assert_eq!((set.task_id.as_deref(), set.run_id.as_deref()), (Some("load"), Some("r1")));
        assert_eq!(event("updraft dags list"), None);
        assert_eq!(event("updraft tasks clear etl --dry-run"), None);
    }

    #[test]
    fn no_secret_is_told() {
        for typed in ["updraft variables set token hunter2", "updraft connections add db --conn-uri http://u:hunter2@h"]
        {
            let said = event(typed).unwrap().extra.unwrap();
            assert!(!said.contains("hunter2") && (said.contains("token") || said.contains("db")), "{said}");
        }
    }

    #[test]
    fn every_change_is_a_command() {
        for (path, event) in CHANGES {
            let mut command = &Arguments::command();
            for name in *path {
                command = command.find_subcommand(name).unwrap_or_else(|| panic!("{event}: there is no {path:?}"));
            }
        }
    }
}
