//! `updraft tasks render`

use super::OfRun;
use crate::dags::{parse_dag_id, parse_instant};
use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::Printer;
use crate::trial::{Place, Trial, first_try, rendered};
use serde_json::Value;
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_execution::Launcher;
use updraft_model::DagId;
use updraft_runner::ProcessRunner;
use updraft_service::Error;
use updraft_templates::Renderer;

/// Which task, of which run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = parse_dag_id)]
    dag_id: DagId,

    /// The task's id
    task_id: String,

    /// The id or logical date of a run, whose conf and XComs are then used; or any date, for a run that nobody keeps; now, if not given
    #[arg(value_name = "RUN_ID_OR_DATE")]
    run: Option<String>,

    /// The instance, if the task is mapped
    #[arg(long, value_name = "N")]
    map_index: Option<u32>,

    #[command(flatten)]
    place: Place,
}

/// Prints the task's template fields as an attempt would have them.
pub(crate) async fn run(arguments: Arguments, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let fields = match of_run(&arguments, metastore).await? {
        Some(fields) => fields,
        None => of_file(&arguments, metastore, printer).await?,
    };
    if printer.is_for_programs() {
        return printer.value(&Value::Object(fields.into_iter().collect()));
    }
    let line = "# ----------------------------------------------------------";
    let block = |(name, value): (String, Value)| {
        let value = value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned);
        format!("{line}\n# property: {name}\n{line}\n{value}\n")
    };
    printer.text(&fields.into_iter().map(block).collect::<String>())
}

/// By a run that there is, with the version it runs. None: no such run was named.
async fn of_run(arguments: &Arguments, metastore: &MetastoreUrl) -> Result<Option<Vec<(String, Value)>>, Failure> {
    let Some(run) = arguments.run.clone().filter(|_| metastore.may_exist()) else { return Ok(None) };
    let session = Session::open(metastore).await?;
    let is_date = parse_instant(&run).is_ok();
    let run = match (OfRun { dag_id: arguments.dag_id.clone(), run }).look_for(&session).await {
        Ok(run) => run,
        Err(Error::NotFound { .. }) if is_date => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let task = session.engine.task_of_run(&run, &arguments.task_id).await?;
    let version = session.engine.version(&run.facts.version).await?;
    let launcher = Launcher::current_exe()
        .map_err(|e| Failure::fault("this program's own path is not known").cause(e.to_string()))?;
    let Session { engine, blobs, .. } = session;
    let work = first_try(run, version, task, arguments.map_index, engine.clock.now())?;
    let runner = ProcessRunner {
        engine: Arc::new(engine),
        logs: blobs,
        launcher,
        versions: std::path::PathBuf::new(),
        search_path: Vec::new(),
        renderer: Arc::new(Renderer::new()),
        environment: crate::secrets::environment().await?,
        sns: crate::stores::sns(),
    };
    rendered(&runner, &work).await.map(Some)
}

/// By the DAG's file as it is now.
async fn of_file(
    arguments: &Arguments,
    metastore: &MetastoreUrl,
    printer: Printer,
) -> Result<Vec<(String, Value)>, Failure> {
    let date = match &arguments.run {
        None => None,
        Some(text) => Some(parse_instant(text).map_err(|why| {
            Failure::user(format!("there is no run `{text}`, and as a date it cannot be read")).cause(why)
        })?),
    };
    let trial = Trial::new(&arguments.place, &arguments.dag_id, metastore, None, printer).await?;
    trial.rendered(&arguments.dag_id, &arguments.task_id, arguments.map_index, date).await
}
