//! `updraft dags test`

use super::trigger::parse_conf;
use crate::failure::Failure;
use crate::matching::parse_regex;
use crate::metastore::MetastoreUrl;
use crate::printer::{Cell, Printer, Rows};
use crate::trial::{Place, Trial};
use jiff::Timestamp;
use regex::Regex;
use serde_json::{Value, json};
use updraft_model::{DagId, DagRunState, RunDoc};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,

    /// The instant the run stands for; now, if not given
    #[arg(value_name = "LOGICAL_DATE", value_parser = super::parse_instant)]
    logical_date: Option<Timestamp>,

    /// What the run is given, as a JSON object
    #[arg(long, short, value_name = "JSON", value_parser = parse_conf)]
    conf: Option<Value>,

    /// Tasks whose ids match this regular expression succeed without being run
    #[arg(long, value_name = "REGEX", value_parser = parse_regex)]
    mark_success_pattern: Option<Regex>,

    #[command(flatten)]
    place: Place,
}

/// Runs the DAG once in this process; exit code 1 if the run fails. Ctrl-C kills its tasks.
pub(crate) async fn run(arguments: Arguments, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let Arguments { dag_id, logical_date, conf, mark_success_pattern, place } = arguments;
    let trial = Trial::new(&place, &dag_id, metastore, mark_success_pattern, printer).await?;
    let run = Box::pin(trial.run_dag(&dag_id, logical_date, conf.unwrap_or_default())).await?;
    let states = states(&trial, &run).await?;
    if printer.is_for_programs() {
        printer.value(&json!({
            "dag_id": run.facts.dag_id,
            "run_id": run.facts.run_id,
            "logical_date": Cell::Time(run.facts.logical_date).to_json(),
            "state": run.state.as_str(),
            "task_instances": states.to_json(),
        }))?;
    } else {
        printer.rows(&states)?;
    }
    printer.note(format_args!("{}: {}", run.facts.run_id, run.state));
    if run.state == DagRunState::Failed { Err(Failure::told()) } else { Ok(()) }
}

async fn states(trial: &Trial, run: &RunDoc) -> Result<Rows, Failure> {
    let mut rows = Rows::new(&["task_id", "state", "try_number", "start_date", "end_date"]);
    for task in trial.task_instances(run).await? {
        rows.push(vec![
            Cell::text(task.task_id),
            Cell::State(Some(task.state.as_str())),
            Cell::Json(task.try_number.into()),
            Cell::Time(task.start_date),
            Cell::Time(task.end_date),
        ]);
    }
    Ok(rows)
}
