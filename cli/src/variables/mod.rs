//! `updraft variables ...`

mod exchange;

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use clap::Subcommand;
use serde_json::Value;
use std::path::PathBuf;
use updraft_model::{Variable, secrets};
use updraft_service::lookup::VARIABLE_PREFIX;
use updraft_service::{Environment, Lookup};

/// What to do with variables.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the variables of the metastore; their values only when asked for
    List {
        /// Show the values too
        #[arg(long)]
        show_values: bool,

        /// With `--show-values`: put `***` for every value, since any may be a secret
        #[arg(long, requires = "show_values")]
        hide_sensitive: bool,
    },
    /// Print a variable's value, of the secrets backend, the environment (`AIRFLOW_VAR_KEY`) or the metastore
    Get {
        /// The variable's key
        key: String,

        /// Read the value as JSON, and print it as such
        #[arg(long, short)]
        json: bool,

        /// What to print where there is no such variable
        #[arg(long, short, value_name = "VALUE")]
        default: Option<String>,
    },
    /// Keep a variable, over one of the same key
    Set {
        /// The variable's key
        key: String,

        /// Its value
        value: String,

        /// One line about it
        #[arg(long)]
        description: Option<String>,

        /// The value is meant as JSON text: it is written as a JSON string
        #[arg(long, short)]
        json: bool,
    },
    /// Remove a variable
    Delete {
        /// The variable's key
        key: String,
    },
    /// Keep all variables of a file: `.json`, `.yaml` or `.env`; `-` reads JSON from standard input
    Import {
        /// The file
        file: PathBuf,

        /// What to do with keys that are there already
        #[arg(long, short, value_enum, default_value_t = exchange::OnExisting::Overwrite)]
        action_on_existing_key: exchange::OnExisting,
    },
    /// Write all variables with their values to a JSON file; `-` is standard output
    Export {
        /// The file
        file: PathBuf,
    },
}

/// Does it.
pub(crate) async fn run(command: Command, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let session = Session::open(metastore).await?;
    match command {
        Command::List { show_values, hide_sensitive } => list(&session, show_values, hide_sensitive, printer).await,
        Command::Get { key, json, default } => get(&session, &key, json, default, printer).await,
        Command::Set { key, value, description, json } => {
            let val = if json { Value::String(value).to_string() } else { value };
            session.engine.set_variable(&Variable { key: key.clone(), val, description }, true).await?;
            if Environment::of_process().variable(&key).is_some() {
                printer.note(format_args!(
                    "note: the environment has `{VARIABLE_PREFIX}{}`, which goes before what was kept",
                    key.to_uppercase()
                ));
            }
            printer.note(format_args!("the variable `{key}` was kept"));
            Ok(())
        }
        Command::Delete { key } => {
            session.engine.delete_variable(&key).await?;
            printer.note(format_args!("the variable `{key}` was removed"));
            Ok(())
        }
        Command::Import { file, action_on_existing_key } => {
            exchange::import(&session, &file, action_on_existing_key, printer).await
        }
        Command::Export { file } => exchange::export(&session, &file, printer).await,
    }
}

async fn list(session: &Session, values: bool, hide_sensitive: bool, printer: Printer) -> Result<(), Failure> {
    let mut rows = Rows::new(if values { &["key", "val", "description"] } else { &["key"] });
    for variable in session.engine.variables().await? {
        let key = Cell::Text(variable.key);
        if values {
            let val = if hide_sensitive { secrets::HIDDEN.to_owned() } else { variable.val };
            rows.push(vec![key, Cell::Text(val), Cell::optional(variable.description)]);
        } else {
            rows.push(vec![key]);
        }
    }
    let environment = Environment::of_process();
    let elsewhere = environment.names(VARIABLE_PREFIX).count();
    if elsewhere > 0 {
        printer.note(format_args!(
            "note: {elsewhere} more in the environment of this command (`{VARIABLE_PREFIX}...`) are not listed"
        ));
    }
    printer.rows(&rows)
}

async fn get(
    session: &Session,
    key: &str,
    json: bool,
    default: Option<String>,
    printer: Printer,
) -> Result<(), Failure> {
    let environment = crate::secrets::environment().await?;
    let found = Lookup { store: &session.engine.store, environment: &environment }.variable(key).await?;
    let text = match (found, default) {
        (Some(text), _) if json => {
            let value: Value = serde_json::from_str(&text).map_err(|e| {
                Failure::user(format!("the value of the variable `{key}` is no JSON"))
                    .cause(format!("line {}, column {}", e.line(), e.column()))
                    .hint("leave `--json` away to print it as it is")
            })?;
            return printer.value(&value);
        }
        (Some(text), _) | (None, Some(text)) => text,
        (None, None) => return Err(session.engine.no_such_variable(key).await.into()),
    };
    if printer.is_for_programs() { printer.value(&Value::String(text)) } else { printer.text(&format!("{text}\n")) }
}
