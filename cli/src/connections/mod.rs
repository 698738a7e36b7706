//! `updraft connections ...`

mod add;
mod exchange;
mod rows;

use crate::exchange::FileFormat;
use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::Printer;
use clap::Subcommand;
use std::path::PathBuf;
use updraft_service::lookup::CONNECTION_PREFIX;
use updraft_service::{Environment, Lookup};

/// What to do with connections.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the connections of the metastore; more than their ids and types only when asked for
    List {
        /// Show all their fields
        #[arg(long)]
        show_values: bool,

        /// With `--show-values`: put `***` for passwords, extras, and the user in the URI
        #[arg(long, requires = "show_values")]
        hide_sensitive: bool,
    },
    /// Show all fields of a connection, of the environment (`AIRFLOW_CONN_ID`) or the metastore, with its password
    Get {
        /// The connection's id
        conn_id: String,
    },
    /// Keep a new connection
    Add(Box<add::Arguments>),
    /// Remove a connection
    Delete {
        /// The connection's id
        conn_id: String,
    },
    /// Keep all connections of a file: `.json`, `.yaml` or `.env`; `-` reads JSON from standard input
    Import {
        /// The file
        file: PathBuf,

        /// Write over connections that are there already
        #[arg(long)]
        overwrite: bool,
    },
    /// Write all connections with their passwords to a file: `.json`, `.yaml` or `.env`; `-` is standard output
    Export {
        /// The file
        file: PathBuf,

        /// How it is written; if not given, by the file's name, or JSON
        #[arg(long, visible_alias = "format", value_enum)]
        file_format: Option<FileFormat>,

        /// How `.env` files write each connection
        #[arg(long, value_enum)]
        serialization_format: Option<exchange::Serialization>,
    },
    /// Say whether a connection can be read; nothing is connected to
    Test {
        /// The connection's id
        conn_id: String,
    },
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    match command {
        Command::List { show_values, hide_sensitive } => list(&session, show_values, hide_sensitive, printer).await,
        Command::Get { conn_id } => {
            let connection = find(&session, &conn_id).await?;
            printer.records(&rows::full([&connection], rows::Hide::Nothing))
        }
        Command::Add(arguments) => add::run(&arguments, &session, printer).await,
        Command::Delete { conn_id } => {
            session.engine.delete_connection(&conn_id).await?;
            printer.note(format_args!("the connection `{conn_id}` was removed"));
            Ok(())
        }
        Command::Import { file, overwrite } => exchange::import(&session, &file, overwrite, printer).await,
        Command::Export { file, file_format, serialization_format } => {
            exchange::export(&session, &file, file_format, serialization_format, printer).await
        }
        Command::Test { conn_id } => test(&session, &conn_id).await,
    }
}

async fn list(session: &Session, values: bool, hide_sensitive: bool, printer: Printer) -> Result<(), Failure> {
    let connections = session.engine.connections().await?;
    let environment = Environment::of_process();
    let elsewhere = environment.names(CONNECTION_PREFIX).count();
    if elsewhere > 0 {
        printer.note(format_args!(
            "note: {elsewhere} more in the environment of this command (`{CONNECTION_PREFIX}...`) are not listed"
        ));
    }
    printer.rows(&match (values, hide_sensitive) {
        (false, _) => rows::names(&connections),
        (true, false) => rows::full(&connections, rows::Hide::Nothing),
        (true, true) => rows::full(&connections, rows::Hide::Secrets),
    })
}

/// A connection where tasks would find it.
async fn find(session: &Session, conn_id: &str) -> Result<updraft_model::Connection, Failure> {
    let environment = crate::secrets::environment().await?;
    match (Lookup { store: &session.engine.store, environment: &environment }).connection(conn_id).await? {
        Some(connection) => Ok(connection),
        None => Err(session.engine.no_such_connection(conn_id).await.into()),
    }
}

/// Airflow asks the hook of the type, by Python code of its providers. There is none here.
async fn test(session: &Session, conn_id: &str) -> Result<(), Failure> {
    let connection = find(session, conn_id).await?;
    Err(Failure::user(format!("the connection `{conn_id}` was found, but not tested"))
        .cause(format!(
            "testing a connection of type `{}` needs a hook of Airflow's providers, and Updraft has none",
            connection.conn_type
        ))
        .hint(format!(
            "`updraft connections get {conn_id}` shows its fields; a task that uses it will tell whether they are right"
        )))
}
