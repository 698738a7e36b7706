//! `updraft dags pause` and `updraft dags unpause`

use crate::confirm::confirm;
use crate::failure::Failure;
use crate::matching::parse_regex;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows, count};
use updraft_model::DagId;

/// Which DAG, or which DAGs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id, or with `--treat-dag-id-as-regex` a regular expression for ids
    dag_id: String,

    /// All DAGs whose ids match
    #[arg(long)]
    treat_dag_id_as_regex: bool,

    /// Do not ask before more than one DAG changes
    #[arg(long, short)]
    yes: bool,
}

/// Pauses or unpauses it. Doing so twice is no failure.
pub(crate) async fn run(
    arguments: &Arguments,
    paused: bool,
    session: &Session,
    printer: Printer,
) -> Result<(), Failure> {
    let dags = if arguments.treat_dag_id_as_regex {
        matching(arguments, paused, session, printer).await?
    } else {
        let wrong = |why: String| Failure::user(format!("`{}` is no DAG id", arguments.dag_id)).cause(why);
        vec![super::parse_dag_id(&arguments.dag_id).map_err(wrong)?]
    };
    let mut rows = Rows::new(&["dag_id", "is_paused"]);
    for dag_id in dags {
        let dag = session.engine.set_paused(&dag_id, paused).await?;
        rows.push(vec![Cell::text(&dag.dag_id), Cell::Json(dag.paused.into())]);
    }
    printer.rows(&rows)
}

/// The DAGs that match and are not yet as they should be, once that is agreed on.
async fn matching(
    arguments: &Arguments,
    paused: bool,
    session: &Session,
    printer: Printer,
) -> Result<Vec<DagId>, Failure> {
    let regex = parse_regex(&arguments.dag_id).map_err(Failure::user)?;
    let differs = |dag: &updraft_service::views::DagView| dag.doc.as_ref().is_some_and(|doc| doc.paused != paused);
    let dags: Vec<DagId> = session
        .engine
        .all_dags()
        .await?
        .into_iter()
        .filter(|dag| regex.is_match(dag.summary.dag_id.as_str()) && differs(dag))
        .map(|dag| dag.summary.dag_id)
        .collect();
    let verb = if paused { "pause" } else { "unpause" };
    if !dags.is_empty() {
        for dag_id in &dags {
            printer.note(format_args!("  {dag_id}"));
        }
        confirm(arguments.yes, &format!("{verb} {}?", count(dags.len(), "DAG")), printer)?;
    }
    Ok(dags)
}
