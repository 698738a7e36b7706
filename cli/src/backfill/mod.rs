//! `updraft backfill ...`

mod create;

use crate::confirm::confirm;
use crate::dags::parse_dag_id;
use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use clap::Subcommand;
use serde_json::{Value, json};
use updraft_model::{Backfill, BackfillId, DagId};

/// What to do with backfills.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the runs of a DAG for the dates of its schedule in a span of the past, in the background
    Create(Box<create::Arguments>),
    /// List the backfills, latest first
    List {
        /// Only those of this DAG
        #[arg(long, value_parser = parse_dag_id)]
        dag_id: Option<DagId>,
    },
    /// Show a backfill: what it was asked for, and how far it has come
    Show(Which),
    /// Pause a backfill: it makes and starts no run, those that run go on
    Pause(Which),
    /// Unpause a backfill
    Unpause(Which),
    /// Cancel a backfill: it makes no run any more, those that are queued fail, those that run go on; asks first
    Cancel {
        #[command(flatten)]
        which: Which,

        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which backfill.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The backfill's id
    #[arg(value_name = "BACKFILL_ID")]
    backfill_id: String,
}

impl Which {
    fn id(&self) -> BackfillId {
        BackfillId::trusted(&self.backfill_id)
    }
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    let engine = &session.engine;
    match command {
        Command::Create(arguments) => Box::pin(create::run(&arguments, &session, printer)).await,
        Command::List { dag_id } => {
            if let Some(dag_id) = &dag_id {
                crate::dags::existing(&session, dag_id).await?;
            }
            let backfills = engine.backfills(dag_id.as_ref()).await?;
            list(&backfills, printer)?;
            say_what_waits(&session, &backfills, printer).await
        }
        Command::Show(which) => {
            let backfill = engine.backfill(&which.id()).await?;
            show(&backfill, printer)?;
            say_what_waits(&session, std::slice::from_ref(&backfill), printer).await
        }
        Command::Pause(which) => {
            let backfill = Box::pin(engine.set_backfill_paused(&which.id(), true)).await?;
            printer.note(format_args!("the backfill `{}` of `{}` is paused", backfill.id, backfill.dag_id));
            Ok(())
        }
        Command::Unpause(which) => {
            let backfill = Box::pin(engine.set_backfill_paused(&which.id(), false)).await?;
            printer.note(format_args!("the backfill `{}` of `{}` goes on", backfill.id, backfill.dag_id));
            Ok(())
        }
        Command::Cancel { which, yes } => {
            let backfill = engine.backfill(&which.id()).await?;
            let question = format!("cancel the backfill `{}` of `{}`?", backfill.id, backfill.dag_id);
            confirm(yes, &question, printer)?;
            let backfill = Box::pin(engine.cancel_backfill(&which.id())).await?;
            printer.note(format_args!("the backfill `{}` of `{}` is cancelled", backfill.id, backfill.dag_id));
            Ok(())
        }
    }
}

/// Says which backfills go on without an end in sight, since their DAGs are in no file any more: as in Airflow they wait for it.
async fn say_what_waits(session: &Session, backfills: &[Backfill], printer: Printer) -> Result<(), Failure> {
    for backfill in backfills.iter().filter(|backfill| backfill.completed_at.is_none()) {
        let dag = session.engine.store.dag(&backfill.dag_id).await?;
        if let Some(dag) = dag.filter(|dag| dag.version.is_none()) {
            printer.note(format_args!(
                "the backfill `{}` makes no more runs: the file `{}` of `{}` is gone or no longer declares it; upload it again, or end the \
                 backfill with `updraft backfill cancel {}`",
                backfill.id, dag.file, dag.dag_id, backfill.id
            ));
        }
    }
    Ok(())
}

/// How a backfill stands, in a word.
fn standing(backfill: &Backfill) -> &'static str {
    match (backfill.completed_at, backfill.is_paused) {
        (Some(_), _) => "completed",
        (None, true) => "paused",
        (None, false) => "running",
    }
}

fn list(backfills: &[Backfill], printer: Printer) -> Result<(), Failure> {
    let mut rows =
        Rows::new(&["id", "dag_id", "from_date", "to_date", "status", "active", "created_at", "completed_at"]);
    for backfill in backfills {
        rows.push(vec![
            Cell::text(&backfill.id),
            Cell::text(&backfill.dag_id),
            Cell::Time(Some(backfill.from_date)),
            Cell::Time(Some(backfill.to_date)),
            Cell::text(standing(backfill)),
            Cell::Json(backfill.active.len().into()),
            Cell::Time(Some(backfill.created_at)),
            Cell::Time(backfill.completed_at),
        ]);
    }
    printer.rows(&rows)
}

/// A backfill with all that is known of it.
pub(crate) fn show(backfill: &Backfill, printer: Printer) -> Result<(), Failure> {
    let facts: Vec<(&'static str, Value)> = vec![
        ("id", json!(backfill.id)),
        ("dag_id", json!(backfill.dag_id)),
        ("from_date", json!(backfill.from_date)),
        ("to_date", json!(backfill.to_date)),
        ("dag_run_conf", backfill.dag_run_conf.clone()),
        ("reprocess_behavior", json!(backfill.reprocess_behavior)),
        ("run_backwards", json!(backfill.run_backwards)),
        ("max_active_runs", json!(backfill.max_active_runs)),
        ("run_on_latest_version", json!(backfill.run_on_latest_version)),
        ("status", json!(standing(backfill))),
        ("active", json!(backfill.active.len())),
        ("created", json!(backfill.counts.created)),
        ("cleared", json!(backfill.counts.cleared)),
        ("passed_over", json!(backfill.counts.passed_over)),
        ("last_date", json!(backfill.last_date)),
        ("created_at", json!(backfill.created_at)),
        ("updated_at", json!(backfill.updated_at)),
        ("completed_at", json!(backfill.completed_at)),
        ("user", json!(backfill.user)),
    ];
    if printer.is_for_programs() {
        return printer
            .value(&Value::Object(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()));
    }
    let mut rows = Rows::new(&["property_name", "property_value"]);
    for (name, value) in facts {
        let text = match value {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        rows.push(vec![Cell::text(name), Cell::Text(text)]);
    }
    printer.rows(&rows)
}
