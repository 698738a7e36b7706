//! `updraft tasks ...`

mod clear;
mod failed_deps;
mod hitl;
mod list;
mod logs;
mod render;
mod set_state;
mod state;
mod states;
mod test;

use crate::dags::parse_dag_id;
use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::Printer;
use clap::Subcommand;
use updraft_model::{DagId, RunDoc};
use updraft_service::Error;

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the tasks of a DAG, upstreams first
    List(list::Arguments),
    /// List the task instances of a run, with their states
    StatesForDagRun(states::Arguments),
    /// Print the logs of a task instance
    Logs(logs::Arguments),
    /// Print the state of a task instance
    State(state::Arguments),
    /// Print the template fields of a task as an attempt would have them
    Render(Box<render::Arguments>),
    /// Run one try of one task in this process, with nothing kept
    Test(Box<test::Arguments>),
    /// Print why a task instance is not running
    FailedDeps(failed_deps::Arguments),
    /// Clear task instances, so that they run again; shows them and asks first
    Clear(Box<clear::Arguments>),
    /// Set task instances to success, failed or skipped; shows them and asks first
    SetState(Box<set_state::Arguments>),
    /// Questions to people (human in the loop): what is asked, and answers
    #[command(subcommand)]
    Hitl(hitl::Command),
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let open = || Session::open(metastore);
    match command {
        Command::List(arguments) => list::run(&arguments, &open().await?, printer).await,
        Command::StatesForDagRun(arguments) => states::run(&arguments, &open().await?, printer).await,
        Command::Logs(arguments) => logs::run(&arguments, &open().await?, printer).await,
        Command::State(arguments) => state::run(arguments, &open().await?, printer).await,
        Command::Render(arguments) => Box::pin(render::run(*arguments, metastore, printer)).await,
        Command::Test(arguments) => Box::pin(test::run(*arguments, metastore, printer)).await,
        Command::FailedDeps(arguments) => failed_deps::run(arguments, &open().await?, printer).await,
        Command::Clear(arguments) => Box::pin(clear::run(*arguments, &open().await?, printer)).await,
        Command::SetState(arguments) => Box::pin(set_state::run(*arguments, &open().await?, printer)).await,
        Command::Hitl(command) => Box::pin(hitl::run(command, &open().await?, printer)).await,
    }
}

/// Which run.
#[derive(Debug, clap::Args)]
pub(crate) struct OfRun {
    /// The DAG's id
    #[arg(value_parser = parse_dag_id)]
    pub(crate) dag_id: DagId,

    /// The run's id, or its logical date
    #[arg(value_name = "RUN_ID")]
    pub(crate) run: String,
}

impl OfRun {
    /// The run: by its id, else, as in Airflow, by its logical date.
    pub(crate) async fn find(&self, session: &Session) -> Result<RunDoc, Failure> {
        Ok(self.look_for(session).await?)
    }

    /// The same, with the use case's own error.
    pub(crate) async fn look_for(&self, session: &Session) -> Result<RunDoc, Error> {
        let error = match session.engine.run_by_id(&self.dag_id, &self.run).await {
            Err(error @ Error::NotFound { what: "the run", .. }) => error,
            answer => return answer,
        };
        let Ok(date) = crate::dags::parse_instant(&self.run) else { return Err(error) };
        // Runs keep nanoseconds, and show microseconds.
        let is_meant =
            |run: &RunDoc| run.facts.logical_date.is_some_and(|at| at.as_microsecond() == date.as_microsecond());
        let mut page = None;
        loop {
            let found = session.engine.list_runs(&self.dag_id, 100, page).await?;
            if let Some(run) = found.items.into_iter().find(is_meant) {
                return Ok(run);
            }
            page = found.next;
            if page.is_none() {
                return Err(error);
            }
        }
    }
}
