//! `updraft assets ...`

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use updraft_model::DagId;
use updraft_service::assets::{AliasView, AssetEventView, AssetView, EventFilter, EventWish, Related};

/// What to do with assets.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the assets, with who makes and who waits for them
    List {
        /// The aliases instead
        #[arg(long)]
        alias: bool,
    },
    /// Show an asset
    Details {
        #[command(flatten)]
        which: Which,

        /// The name or URI is that of an alias
        #[arg(long)]
        alias: bool,
    },
    /// Run the DAG that makes an asset
    Materialize {
        #[command(flatten)]
        which: Which,
    },
    /// Say that an asset has changed: DAGs that wait for it run
    CreateEvent {
        #[command(flatten)]
        which: Which,

        /// What to say about the change: a JSON object
        #[arg(long)]
        extra: Option<String>,
    },
    /// List the last events, the latest first
    Events {
        #[command(flatten)]
        which: Which,

        /// How many
        #[arg(long, default_value_t = 25)]
        limit: usize,
    },
    /// List the events that wait for the rest of a DAG's condition
    QueuedEvents {
        /// The DAG that waits
        dag_id: String,

        /// Forget them: they make no run any more
        #[arg(long)]
        delete: bool,
    },
}

/// Which asset.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The asset's name
    #[arg(long)]
    name: Option<String>,

    /// The asset's URI
    #[arg(long)]
    uri: Option<String>,
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    let engine = &session.engine;
    let found = async |which: &Which| engine.asset_named(which.name.as_deref(), which.uri.as_deref()).await;
    match command {
        Command::List { alias: false } => printer.rows(&rows(&engine.list_assets().await?)),
        Command::List { alias: true } => printer.rows(&aliases(&engine.list_asset_aliases().await?)),
        Command::Details { which, alias: false } => printer.rows(&rows(&[found(&which).await?])),
        Command::Details { which, alias: true } => {
            let name = which.name.or(which.uri).unwrap_or_default();
            let all = engine.list_asset_aliases().await?;
            let Some(one) = all.into_iter().find(|alias| alias.name == name) else {
                return Err(Failure::user(format!("there is no alias `{name}`"))
                    .hint("`updraft assets list --alias` shows all"));
            };
            printer.rows(&aliases(&[one]))
        }
        Command::Materialize { which } => {
            let asset = found(&which).await?;
            let run = engine.materialize_asset(asset.id, Value::Null, None).await?;
            printer
                .note(format_args!("the run `{}` of `{}` makes `{}`", run.facts.run_id, run.facts.dag_id, asset.name));
            Ok(())
        }
        Command::CreateEvent { which, extra } => {
            let asset = found(&which).await?;
            let extra = extra.as_deref().map_or(Ok(Map::new()), object)?;
            let event = engine.create_asset_event(&EventWish { asset_id: asset.id, extra, request: None }).await?;
            printer.rows(&events(&[event]))
        }
        Command::Events { which, limit } => {
            let asset_id = match (&which.name, &which.uri) {
                (None, None) => None,
                _ => Some(found(&which).await?.id),
            };
            let filter = EventFilter { asset_id, ..EventFilter::default() };
            printer.rows(&events(&engine.list_asset_events(&filter, limit, 0).await?.0))
        }
        Command::QueuedEvents { dag_id, delete } => {
            let dag_id = DagId::parse(&dag_id).map_err(|e| Failure::user(e.to_string()))?;
            if delete {
                let gone = engine.delete_queued_asset_events(Some(&dag_id), None, None).await?;
                printer.note(format_args!("{gone} queued events of `{dag_id}` were forgotten"));
                return Ok(());
            }
            let mut rows = Rows::new(&["dag_id", "asset_id", "created_at"]);
            for event in engine.queued_asset_events(Some(&dag_id), None, None).await? {
                rows.push(vec![
                    Cell::text(event.dag_id.as_str()),
                    Cell::Json(event.asset_id.into()),
                    Cell::text(event.created_at.to_string()),
                ]);
            }
            printer.rows(&rows)
        }
    }
}

fn object(text: &str) -> Result<Map<String, Value>, Failure> {
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(Failure::user(format!("`--extra` is no JSON object: {text}")).hint("write `{\"key\": \"value\"}`")),
    }
}

fn related(those: &[Related]) -> Value {
    let name = |one: &Related| match &one.task_id {
        Some(task_id) => format!("{}.{task_id}", one.dag_id),
        None => one.dag_id.to_string(),
    };
    those.iter().map(name).collect()
}

/// Assets under Airflow's keys.
fn rows(assets: &[AssetView]) -> Rows {
    let mut rows = Rows::new(&[
        "name",
        "uri",
        "group",
        "extra",
        "id",
        "scheduled_dags",
        "producing_tasks",
        "consuming_tasks",
        "aliases",
        "last_asset_event",
    ]);
    for asset in assets {
        rows.push(vec![
            Cell::text(&asset.name),
            Cell::text(&asset.uri),
            Cell::text(&asset.group),
            Cell::Json(Value::Object(asset.extra.clone())),
            Cell::Json(asset.id.into()),
            Cell::Json(related(&asset.scheduled_dags)),
            Cell::Json(related(&asset.producing_tasks)),
            Cell::Json(related(&asset.consuming_tasks)),
            Cell::Json(json!(asset.aliases)),
            Cell::Json(json!(asset.last_asset_event.map(|(_, at)| at.to_string()))),
        ]);
    }
    rows
}

fn aliases(aliases: &[AliasView]) -> Rows {
    let mut rows = Rows::new(&["name", "group", "id", "assets", "scheduled_dags"]);
    for alias in aliases {
        rows.push(vec![
            Cell::text(&alias.name),
            Cell::text(&alias.group),
            Cell::Json(alias.id.into()),
            Cell::Json(json!(alias.assets)),
            Cell::Json(related(&alias.scheduled_dags)),
        ]);
    }
    rows
}

fn events(events: &[AssetEventView]) -> Rows {
    let mut rows = Rows::new(&[
        "name",
        "timestamp",
        "extra",
        "source_dag_id",
        "source_run_id",
        "source_task_id",
        "created_dagruns",
        "id",
    ]);
    for view in events {
        let source = view.event.source.as_ref();
        let made: Vec<String> = view
            .created_dagruns
            .iter()
            .map(|run| format!("{}: {}", run.consumed.dag_id, run.consumed.run_id))
            .collect();
        rows.push(vec![
            Cell::text(&view.event.name),
            Cell::text(view.event.timestamp.to_string()),
            Cell::Json(Value::Object(view.event.extra.clone())),
            Cell::Json(json!(source.map(|s| s.dag_id.as_str()))),
            Cell::Json(json!(source.map(|s| s.run_id.as_str()))),
            Cell::Json(json!(source.map(|s| s.task_id.as_str()))),
            Cell::Json(json!(made)),
            Cell::Json(view.id.into()),
        ]);
    }
    rows
}
