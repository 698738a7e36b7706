//! `updraft standalone`: scheduler, executor, workers and web server in one process, on a store that survives it.
//!
//! Wiring only: every decision is taken by the functions that the cloud's functions call.

mod loops;
mod startup;
mod watch;

use crate::failure::Failure;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Scheduler, executor, workers and web server in one process.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The DAG folder.
    #[arg(long, value_name = "DIR", default_value = "./dags")]
    pub(crate) dags: PathBuf,
    /// Where the metastore and logs are kept; made if it is not there. Other commands find it by `--metastore file:DIR`.
    #[arg(long, value_name = "DIR", default_value = "./.updraft")]
    pub(crate) home: PathBuf,
    /// The port of the web UI, the REST API and health, on 127.0.0.1; 0 chooses a free one.
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// Nobody has to log in: whoever reaches the port on this machine is an admin.
    #[arg(long)]
    pub(crate) no_auth: bool,
    /// One task at a time, or many.
    #[arg(long, value_enum, default_value_t = Executor::Local)]
    pub(crate) executor: Executor,
    /// How many tasks run at once with the local executor.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) parallelism: u16,
    /// New DAGs start paused unless their file says otherwise.
    #[arg(long)]
    pub(crate) pause_new_dags: bool,
    /// How many tasks of a run may be under way at once, for DAGs that do not say `max_active_tasks` [default: any number; Airflow: 16].
    #[arg(long, value_name = "N", env = updraft_service::engine::MAX_ACTIVE_TASKS_PER_DAG)]
    pub(crate) max_active_tasks_per_dag: Option<u32>,
    /// How many instances a mapped task may have over one value of another task
    #[arg(long, value_name = "N", env = updraft_service::engine::MAX_MAP_LENGTH, default_value_t = updraft_service::engine::MAX_MAP_LENGTH_DEFAULT)]
    pub(crate) max_map_length: u32,
    /// Slots of the default pool when it is first asked for [default: any number; Airflow: 128].
    #[arg(long, value_name = "N", env = updraft_service::engine::DEFAULT_POOL_TASK_SLOT_COUNT)]
    pub(crate) default_pool_task_slot_count: Option<u32>,
    #[command(flatten)]
    pub(crate) reading: crate::dags::Reading,
}

/// How attempts are spread over workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Executor {
    /// One task at a time.
    Sequential,
    /// `--parallelism` tasks at once.
    Local,
}

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no DAG folder.
    #[error("there is no DAG folder `{0}`")]
    NoDags(PathBuf),
    /// The home could not be made.
    #[error("the home `{home}` could not be made: {cause}")]
    Home {
        /// Which.
        home: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The home was removed or replaced while the server ran.
    #[error(
        "the home `{0}` was removed or replaced while the server ran, so it was stopped; running tasks were killed"
    )]
    HomeGone(PathBuf),
    /// Another server has the home, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] updraft_metastore_embedded::LockError),
    /// The metastore could not be used.
    #[error(transparent)]
    Store(#[from] updraft_metastore::Error),
    /// The first look at everything failed.
    #[error(transparent)]
    Engine(#[from] updraft_service::Error),
    /// Secrets are set up in a way that cannot be.
    #[error("secrets cannot be used as they are set up")]
    Secrets(Box<Failure>),
    /// The port is not to be had.
    #[error("could not listen on 127.0.0.1:{port}: {cause}")]
    Port {
        /// Which.
        port: u16,
        /// Why.
        cause: std::io::Error,
    },
    /// Something of the operating system failed.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
}

impl Error {
    /// How to mend it, where that can be said.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoDags(path) => Some(format!(
                "make it with `mkdir {}` and put a YAML file into it, or name another folder with `--dags DIR`",
                path.display()
            )),
            Self::HomeGone(_) => {
                Some("put it back, or start anew: `updraft standalone` makes a home where there is none".to_owned())
            }
            Self::Home { .. } => Some("name a folder you may write to with `--home DIR`".to_owned()),
            Self::Port { .. } => {
                Some("stop what listens there, or choose another port with `--port N` (0: any free one)".to_owned())
            }
            Self::Lock(_) | Self::Store(_) | Self::Engine(_) | Self::Secrets(_) | Self::System { .. } => None,
        }
    }
}

pub(crate) use startup::run;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let hint = error.hint();
        let failure = match error {
            Error::Store(error) => error.into(),
            Error::Engine(error) => error.into(),
            Error::System { .. } => Self::fault(error.to_string()),
            Error::Secrets(failure) => *failure,
            Error::NoDags(_) | Error::Home { .. } | Error::HomeGone(_) | Error::Lock(_) | Error::Port { .. } => {
                Self::user(error.to_string())
            }
        };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
