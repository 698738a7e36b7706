//! The command line, and the standalone server.
//!
//! Every command works on the metastore itself, with no server needed; beside a running server a write is noticed at once.
//! Exit codes: 0; 1 for what the person who typed the command can mend, for runs and tasks that failed where their end was waited for,
//! and for lists of errors that are not empty; 2 for wrong usage and for faults.

mod arguments;
mod assets;
#[cfg(feature = "aws")]
mod aws;
mod backfill;
mod callbacks;
mod cheat_sheet;
mod clearing;
mod completion;
mod config;
mod confirm;
mod connections;
mod dags;
mod db;
mod doctor;
mod event_logs;
mod exchange;
mod failure;
mod home;
mod info;
mod matching;
mod messages;
mod metastore;
mod pools;
mod printer;
mod profiles;
mod secrets;
mod settings;
mod standalone;
mod stores;
mod tasks;
mod trial;
mod users;
mod variables;
mod xcom;

use arguments::{Arguments, Command};
use clap::{CommandFactory, FromArgMatches};
use failure::Failure;
use printer::Printer;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // The supervisor of a task's processes is this executable again; it must not have threads or another grammar.
    if std::env::args_os().nth(1).is_some_and(|first| first == updraft_execution::SUPERVISE) {
        return updraft_execution::supervisor_main();
    }
    let typed: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let parsed = Arguments::command().try_get_matches().and_then(|matches| {
        event_logs::pend(event_logs::of(&matches, &typed));
        Arguments::from_arg_matches(&matches)
    });
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output, wrong usage to standard error. Nobody is left to be told when that fails.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    // Before there are threads: what it goes on as takes this process over.
    match profiles::enter(arguments.profile.as_deref()).and_then(|()| run(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report();
            failure.exit_code()
        }
    }
}

/// The stack of a thread, as that of a process's first one: templates recurse, and two MiB are too few for them in an unoptimised build.
const STACK_BYTES: usize = 8 << 20;

fn run(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build()
        .map_err(|e| Failure::fault("the program could not start its threads").cause(e.to_string()))?;
    let metastore = arguments.metastore.clone();
    runtime.block_on(async {
        Box::pin(dispatch(arguments)).await?;
        event_logs::record(&metastore).await;
        Ok(())
    })
}

async fn dispatch(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { metastore, output, command, profile: _ } = arguments;
    let printer = Printer::new(output);
    // A server says what it does; a command only what goes wrong.
    let server = matches!(command, Command::Standalone(_));
    log_to_stderr(if server { "info" } else { "warn" }, server)?;
    match command {
        Command::Backfill(command) => Box::pin(backfill::run(command, &metastore, printer)).await,
        Command::EventLogs(command) => Box::pin(event_logs::run(command, &metastore, printer)).await,
        Command::Dags(command) => Box::pin(dags::run(command, &metastore, printer)).await,
        Command::Tasks(command) => Box::pin(tasks::run(command, &metastore, printer)).await,
        Command::Xcom(command) => Box::pin(xcom::run(command, &metastore, printer)).await,
        Command::Variables(command) => Box::pin(variables::run(command, &metastore, printer)).await,
        Command::Connections(command) => Box::pin(connections::run(command, &metastore, printer)).await,
        Command::Simulate(arguments) => Box::pin(dags::simulate::run(&arguments, &metastore, printer)).await,
        Command::Standalone(arguments) => Ok(Box::pin(standalone::run(arguments)).await?),
        Command::Assets(command) => Box::pin(assets::run(command, &metastore, printer)).await,
        Command::Callbacks(command) => Box::pin(callbacks::run(command, &metastore, printer)).await,
        Command::Pools(command) => Box::pin(pools::run(command, &metastore, printer)).await,
        Command::Users(command) => Box::pin(users::run(command, &metastore, printer)).await,
        Command::Config(command) => config::run(command, &metastore, printer),
        Command::Db(command) => Box::pin(db::run(command, &metastore, printer)).await,
        Command::RotateFernetKey => Box::pin(secrets::rotate(&metastore, printer)).await,
        Command::Doctor => Box::pin(doctor::run(&metastore, printer)).await,
        Command::Completion { shell } => completion::run(shell, printer),
        Command::Info => info::run(&metastore, printer),
        Command::CheatSheet => cheat_sheet::run(printer),
        Command::Version => version(printer),
    }
}

fn version(printer: Printer) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if printer.is_for_programs() {
        printer.value(&serde_json::json!({ "version": version }))
    } else {
        printer.text(&format!("{version}\n"))
    }
}

/// What the engine has to say of itself, at the usual level unless another is asked for.
fn log_to_stderr(usual: &str, with_time: bool) -> Result<(), Failure> {
    let wanted = std::env::var(settings::LOG).unwrap_or_else(|_| usual.to_owned());
    let filter = EnvFilter::try_new(&wanted).map_err(|e| {
        Failure::user(format!("`{}` is no filter for logs: `{wanted}`", settings::LOG))
            .cause(e.to_string())
            .hint("use `debug`, or `warn,updraft_service=debug`")
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(printer::colors_on_stderr())
        .with_target(false);
    if with_time {
        subscriber.init();
    } else {
        subscriber.without_time().init();
    }
    Ok(())
}
