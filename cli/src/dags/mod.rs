//! `updraft dags ...`

mod clear;
mod convert;
mod delete;
mod details;
mod drawing;
mod files;
mod import_errors;
mod lint;
mod list;
mod next_execution;
mod parse_report;
mod pause;
mod report;
mod runs;
mod schema;
mod set_state;
mod show;
pub(crate) mod simulate;
mod sources;
mod state;
mod templates;
mod test;
mod tree;
mod trigger;
mod upload;
mod versions;
mod wait;

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::Printer;
use clap::Subcommand;
use updraft_model::{DagDoc, DagId};

pub(crate) use show::short_name;
pub(crate) use sources::Reading;
pub(crate) use trigger::{parse_conf, parse_instant};

/// What to do with DAGs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check DAG files, and show what is wrong with them and where; needs no metastore
    Lint(lint::Arguments),
    /// Make YAML of a Python DAG file by AWS's converter, and say what it lacks
    Convert(convert::Arguments),
    /// Print a JSON schema of DAG files, for editors
    Schema,
    /// List the DAGs
    List(list::Arguments),
    /// Show a DAG: its schedule, its tasks and how they depend on each other
    Show(show::Arguments),
    /// Start a run of a DAG
    Trigger(trigger::Arguments),
    /// Pause a DAG: no new run starts, and those that run do no more than end the tasks that are queued or run
    Pause(pause::Arguments),
    /// Unpause a DAG
    Unpause(pause::Arguments),
    /// List the runs of a DAG, latest first
    ListRuns(runs::Arguments),
    /// List the versions that a DAG has had, latest first
    ListVersions(versions::Arguments),
    /// Run a DAG once in this process, with no server and nothing kept; Ctrl-C kills its tasks
    Test(Box<test::Arguments>),
    /// Print the state of a run, with its conf
    State(state::Arguments),
    /// Print when the next runs are due
    NextExecution(next_execution::Arguments),
    /// Print what is known of a DAG
    Details(details::Arguments),
    /// Clear the task instances of a run, so that it runs again; shows them and asks first
    Clear(clear::Arguments),
    /// Set a run to success, failed or queued; shows what that ends and asks first
    SetState(set_state::Arguments),
    /// Remove a DAG with all its runs; asks first
    Delete(delete::Arguments),
    /// List the DAG files, with the DAGs and tasks they gave
    Report,
    /// List the files that were not loaded, and why; exit code 1 if there are any
    ListImportErrors,
    /// Check DAG files and copy them to the DAG folder or bucket
    Upload(upload::Arguments),
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    match command {
        Command::Lint(arguments) => lint::run(&arguments, printer).await,
        Command::Convert(arguments) => Box::pin(convert::run(&arguments, printer)).await,
        Command::Schema => schema::run(printer),
        Command::List(arguments) => list::run(&arguments, &Session::open(metastore).await?, printer).await,
        Command::Show(arguments) => show::run(&arguments, metastore, printer).await,
        Command::Trigger(arguments) => {
            Box::pin(trigger::run(arguments, &Session::open(metastore).await?, printer)).await
        }
        Command::Pause(arguments) => pause::run(&arguments, true, &Session::open(metastore).await?, printer).await,
        Command::Unpause(arguments) => pause::run(&arguments, false, &Session::open(metastore).await?, printer).await,
        Command::ListRuns(arguments) => runs::run(&arguments, &Session::open(metastore).await?, printer).await,
        Command::ListVersions(arguments) => versions::run(&arguments, &Session::open(metastore).await?, printer).await,
        Command::ListImportErrors => import_errors::run(&Session::open(metastore).await?, printer).await,
        Command::Test(arguments) => Box::pin(test::run(*arguments, metastore, printer)).await,
        Command::State(arguments) => state::run(&arguments, &Session::open(metastore).await?, printer).await,
        Command::NextExecution(arguments) => {
            next_execution::run(&arguments, &Session::open(metastore).await?, printer).await
        }
        Command::Details(arguments) => details::run(&arguments, &Session::open(metastore).await?, printer).await,
        Command::Clear(arguments) => Box::pin(clear::run(arguments, &Session::open(metastore).await?, printer)).await,
        Command::SetState(arguments) => {
            Box::pin(set_state::run(arguments, &Session::open(metastore).await?, printer)).await
        }
        Command::Delete(arguments) => delete::run(&arguments, &Session::open(metastore).await?, printer).await,
        Command::Report => parse_report::run(&Session::open(metastore).await?, printer).await,
        Command::Upload(arguments) => Box::pin(upload::run(&arguments, printer)).await,
    }
}

/// A DAG id as somebody typed it.
pub(crate) fn parse_dag_id(text: &str) -> Result<DagId, String> {
    DagId::parse(text).map_err(|e| e.to_string())
}

/// A DAG that exists.
pub(crate) async fn existing(session: &Session, dag_id: &DagId) -> Result<DagDoc, Failure> {
    match session.engine.store.dag(dag_id).await? {
        Some(dag) => Ok(dag),
        None => Err(session.engine.no_such_dag(dag_id).await.into()),
    }
}
