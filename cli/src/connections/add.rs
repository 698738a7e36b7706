//! `updraft connections add`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use updraft_model::Connection;
use updraft_model::secrets::HIDDEN;

/// The connection: as a URI, as JSON, or field by field.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_field_names, reason = "the fields are the names of Airflow's options")]
pub(crate) struct Arguments {
    /// The connection's id
    conn_id: String,

    /// All of it as a URI, e.g. `https://login:password@host:443/schema?name=value`
    #[arg(long, value_name = "URI", conflicts_with_all = ["conn_json", "conn_type", "conn_host", "conn_login", "conn_password", "conn_schema", "conn_port"])]
    conn_uri: Option<String>,

    /// All of it as JSON, e.g. `{"conn_type": "http", "host": "example.com"}`
    #[arg(long, value_name = "JSON", conflicts_with_all = ["conn_type", "conn_host", "conn_login", "conn_password", "conn_schema", "conn_port", "conn_extra"])]
    conn_json: Option<String>,

    /// The kind of service, e.g. `http`
    #[arg(long, value_name = "TYPE", required_unless_present_any = ["conn_uri", "conn_json"])]
    conn_type: Option<String>,

    /// One line about it
    #[arg(long, value_name = "TEXT")]
    conn_description: Option<String>,

    /// The host
    #[arg(long, value_name = "HOST")]
    conn_host: Option<String>,

    /// The user
    #[arg(long, value_name = "LOGIN")]
    conn_login: Option<String>,

    /// The password
    #[arg(long, value_name = "PASSWORD")]
    conn_password: Option<String>,

    /// The database, or whatever the service calls it
    #[arg(long, value_name = "SCHEMA")]
    conn_schema: Option<String>,

    /// The port
    #[arg(long, value_name = "PORT")]
    conn_port: Option<u16>,

    /// More settings, as a JSON object
    #[arg(long, value_name = "JSON")]
    conn_extra: Option<String>,
}

/// Keeps it, unless there is one of this id.
pub(super) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let wrong = |problem: updraft_model::connection::Problem| {
        Failure::user(format!("the connection `{}` was not kept", arguments.conn_id)).cause(problem.to_string())
    };
    let connection = read(arguments).map_err(wrong)?;
    connection.check().map_err(wrong)?;
    if !session.engine.set_connection(&connection, false).await? {
        return Err(Failure::user(format!("there is a connection `{}` already", arguments.conn_id))
            .hint(format!("remove it first: `updraft connections delete {}`", arguments.conn_id)));
    }
    printer.note(format_args!("the connection `{}` was kept", connection.conn_id));
    let mut rows = Rows::new(&["conn_id", "conn_type", "host", "login", "port", "extra"]);
    rows.push(vec![
        Cell::text(&connection.conn_id),
        Cell::text(&connection.conn_type),
        Cell::optional(connection.host.as_ref()),
        Cell::optional(connection.login.as_ref()),
        connection.port.map_or(Cell::Null, |port| Cell::Json(port.into())),
        Cell::optional(connection.extra.as_ref().map(|_| HIDDEN)),
    ]);
    printer.rows(&rows)
}

fn read(arguments: &Arguments) -> Result<Connection, updraft_model::connection::Problem> {
    let mut connection = if let Some(uri) = &arguments.conn_uri {
        Connection::from_uri(&arguments.conn_id, uri)?
    } else if let Some(json) = &arguments.conn_json {
        Connection::from_json(&arguments.conn_id, json)?
    } else {
        Connection {
            conn_id: arguments.conn_id.clone(),
            conn_type: arguments.conn_type.clone().unwrap_or_default(),
            description: None,
            host: arguments.conn_host.clone(),
            login: arguments.conn_login.clone(),
            password: arguments.conn_password.clone(),
            schema: arguments.conn_schema.clone(),
            port: arguments.conn_port,
            extra: None,
        }
    };
    if let Some(extra) = &arguments.conn_extra {
        connection.extra = Some(extra.clone()).filter(|extra| !extra.is_empty());
    }
    if arguments.conn_description.is_some() {
        connection.description.clone_from(&arguments.conn_description);
    }
    Ok(connection)
}
