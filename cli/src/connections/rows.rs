//! Connections as rows, under Airflow's keys.

use crate::printer::{Cell, Rows};
use serde_json::Value;
use updraft_model::Connection;
use updraft_model::secrets::HIDDEN;

/// What is not to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hide {
    /// Everything is to be seen.
    Nothing,
    /// Passwords, extras, and who logs in by the URI.
    Secrets,
}

/// Ids and types.
pub(super) fn names(connections: &[Connection]) -> Rows {
    let mut rows = Rows::new(&["conn_id", "conn_type"]);
    for connection in connections {
        rows.push(vec![Cell::text(&connection.conn_id), Cell::text(&connection.conn_type)]);
    }
    rows
}

/// All fields.
pub(super) fn full<'a>(connections: impl IntoIterator<Item = &'a Connection>, hide: Hide) -> Rows {
    let mut rows = Rows::new(&[
        "conn_id",
        "conn_type",
        "description",
        "host",
        "schema",
        "login",
        "password",
        "port",
        "is_encrypted",
        "is_extra_encrypted",
        "extra_dejson",
        "get_uri",
    ]);
    for connection in connections {
        let extra = Value::Object(connection.extra_dejson());
        let (password, extra) = match hide {
            Hide::Nothing => (Cell::optional(connection.password.as_ref()), Cell::Json(extra)),
            Hide::Secrets => (
                Cell::optional(connection.password.as_ref().map(|_| HIDDEN)),
                if connection.extra.is_some() { Cell::text(HIDDEN) } else { Cell::Json(extra) },
            ),
        };
        rows.push(vec![
            Cell::text(&connection.conn_id),
            Cell::text(&connection.conn_type),
            Cell::optional(connection.description.as_ref()),
            Cell::optional(connection.host.as_ref()),
            Cell::optional(connection.schema.as_ref()),
            Cell::optional(connection.login.as_ref()),
            password,
            connection.port.map_or(Cell::Null, |port| Cell::Json(port.into())),
            // Nothing is encrypted in the metastore yet.
            Cell::Json(false.into()),
            Cell::Json(false.into()),
            extra,
            Cell::Text(uri(connection, hide)),
        ]);
    }
    rows
}

/// The URI; without its secrets where those are hidden.
fn uri(connection: &Connection, hide: Hide) -> String {
    if hide == Hide::Nothing {
        return connection.uri();
    }
    let anyone = connection.login.is_some() || connection.password.is_some();
    let open = Connection { login: None, password: None, extra: None, ..connection.clone() };
    let mut uri = open.uri();
    if anyone {
        // Behind the host's protocol, where there is one.
        let at = uri.rfind("://").map_or(0, |at| at + 3);
        let rest = uri.split_off(at);
        uri = format!("{uri}{HIDDEN}:{HIDDEN}@{}", rest.trim_start_matches('@'));
    }
    if connection.extra.is_some() {
        uri = format!("{uri}?{HIDDEN}");
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_secrets_are_nowhere() {
        for (given, shown) in [
            ("http://https://ann:hunter22@h:80/s?token=hunter22", "http://https://***:***@h:80/s?***"),
            ("http://ann:hunter22@", "http://***:***@"),
            ("http://:hunter22@:80", "http://***:***@:80"),
            ("http://h/s", "http://h/s"),
        ] {
            let connection = Connection::from_uri("c", given).unwrap();
            let rows = full([&connection], Hide::Secrets);
            let text = rows.to_json().to_string();
            assert!(!text.contains("hunter22"), "{text}");
            assert_eq!(rows.to_json()[0]["get_uri"], shown);
            assert_eq!(full([&connection], Hide::Nothing).to_json()[0]["get_uri"], connection.uri());
        }
    }
}
