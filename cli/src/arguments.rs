//! The command line's grammar: Airflow's verbs.

use crate::metastore::MetastoreUrl;
use crate::printer::Format;
use crate::{
    assets, backfill, callbacks, completion, config, connections, dags, db, event_logs, pools, settings, standalone,
    tasks, users, variables, xcom,
};
use clap::{Parser, Subcommand};

/// Schedules and runs the tasks of DAG files, on this machine or on AWS.
#[derive(Debug, Parser)]
#[command(name = "updraft", version, disable_help_subcommand = true, propagate_version = false)]
pub(crate) struct Arguments {
    /// Where the state is: `file:HOME` (a directory), or `dynamodb://TABLE` (with the usual AWS settings)
    #[arg(long, global = true, env = settings::METASTORE, default_value = settings::METASTORE_DEFAULT, value_name = "URL", hide_env_values = true)]
    pub(crate) metastore: MetastoreUrl,

    /// A deployment by name: its variables are taken from the file of profiles that `infra/deploy --save-as NAME` keeps
    #[arg(long, global = true, env = settings::PROFILE, value_name = "NAME")]
    pub(crate) profile: Option<String>,

    /// How data is written; if not given, a table on a terminal and plain columns elsewhere
    #[arg(long, short, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) output: Option<Format>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check, list, show, trigger, pause and upload DAGs
    #[command(subcommand)]
    Dags(dags::Command),
    /// List tasks, and show their states and logs
    #[command(subcommand)]
    Tasks(tasks::Command),
    /// Make runs for dates of the past, in the background
    #[command(subcommand)]
    Backfill(backfill::Command),
    /// Show what people have changed
    #[command(subcommand)]
    EventLogs(event_logs::Command),
    /// Show what tasks returned or pushed
    #[command(subcommand)]
    Xcom(xcom::Command),
    /// Keep, show and exchange variables
    #[command(subcommand)]
    Variables(variables::Command),
    /// Keep, show and exchange connections
    #[command(subcommand)]
    Connections(connections::Command),
    /// Say what DAGs would do on virtual time: what runs when, fails, overlaps, and what it costs
    Simulate(Box<dags::simulate::Arguments>),
    /// Run scheduler, executor, workers and web server in one process
    Standalone(standalone::Arguments),
    /// Show assets and their events, make events, run what makes an asset
    #[command(subcommand)]
    Assets(assets::Command),
    /// Show the callbacks of runs, and how they stand
    #[command(subcommand)]
    Callbacks(callbacks::Command),
    /// Keep, show and exchange pools
    #[command(subcommand)]
    Pools(pools::Command),
    /// Keep and show who may use the web server
    #[command(subcommand)]
    Users(users::Command),
    /// Show what is configured, and where it comes from
    #[command(subcommand)]
    Config(config::Command),
    /// Check the metastore, and remove what is past
    #[command(subcommand)]
    Db(db::Command),
    /// Encrypt all variables and connections anew: by the first of `UPDRAFT_FERNET_KEY`, or by a key drawn for the home
    RotateFernetKey,
    /// Look over a deployment and say what to do: what is stuck, and on AWS permissions, versions, clock, alarms, dead letters
    Doctor,
    /// Print a script that makes a shell complete commands and options: `source <(updraft completion bash)`
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: completion::Kind,
    },
    /// Print what a report of a fault should say
    Info,
    /// Print all commands on a page
    CheatSheet,
    /// Print the version
    Version,
}
