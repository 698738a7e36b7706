//! `updraft connections import` and `export`, in Airflow's forms.

use crate::exchange::{self, FileFormat};
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Printer, count, to_yaml};
use serde_json::{Map, Value, json};
use std::path::Path;
use updraft_model::Connection;

/// How a line of a `.env` file writes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Serialization {
    /// As a URI.
    Uri,
    /// As JSON.
    Json,
}

/// Keeps the connections of a file. All are looked at before any is kept.
pub(super) async fn import(session: &Session, file: &Path, overwrite: bool, printer: Printer) -> Result<(), Failure> {
    let mut connections = Vec::new();
    for (conn_id, value) in exchange::read(file)? {
        let read = match &value {
            Value::String(text) => Connection::from_text(&conn_id, text),
            other => Connection::from_value(&conn_id, other),
        };
        let checked = read.and_then(|connection| connection.check().map(|()| connection));
        connections.push(checked.map_err(|problem| Failure::user("nothing was imported").cause(problem.to_string()))?);
    }
    let mut kept = 0;
    for connection in &connections {
        if session.engine.set_connection(connection, overwrite).await? {
            kept += 1;
        } else {
            printer.note(format_args!(
                "skipped `{}`: it is there already; `--overwrite` writes over it",
                connection.conn_id
            ));
        }
    }
    printer.note(format_args!("kept {kept} of {}", count(connections.len(), "connection")));
    Ok(())
}

/// Writes all connections.
pub(super) async fn export(
    session: &Session,
    file: &Path,
    format: Option<FileFormat>,
    serialization: Option<Serialization>,
    printer: Printer,
) -> Result<(), Failure> {
    let by_name = if exchange::is_standard(file) { Some(FileFormat::Json) } else { FileFormat::of(file) };
    let Some(format) = format.or(by_name) else {
        return Err(Failure::user(format!("the name `{}` does not tell how to write it", file.display()))
            .hint("name it `.json`, `.yaml` or `.env`, or say `--file-format`"));
    };
    if serialization.is_some() && format != FileFormat::Env {
        return Err(Failure::user("`--serialization-format` is for `.env` files only")
            .hint("leave it away, or say `--file-format env`"));
    }
    let all = session.engine.connections().await?;
    let text = match format {
        FileFormat::Json => format!("{:#}\n", Value::Object(objects(&all))),
        FileFormat::Yaml => to_yaml(&Value::Object(objects(&all))),
        FileFormat::Env => all
            .iter()
            .map(|connection| match serialization {
                Some(Serialization::Json) => format!("{}={}\n", connection.conn_id, object(connection)),
                Some(Serialization::Uri) | None => format!("{}={}\n", connection.conn_id, connection.uri()),
            })
            .collect(),
    };
    exchange::write(file, &text, printer)?;
    printer.note(format_args!("wrote {}; the file holds their passwords as they are", count(all.len(), "connection")));
    Ok(())
}

fn objects(connections: &[Connection]) -> Map<String, Value> {
    connections.iter().map(|connection| (connection.conn_id.clone(), object(connection))).collect()
}

fn object(connection: &Connection) -> Value {
    json!({
        "conn_type": connection.conn_type,
        "description": connection.description,
        "login": connection.login,
        "password": connection.password,
        "host": connection.host,
        "port": connection.port,
        "schema": connection.schema,
        "extra": connection.extra,
    })
}
