//! Connections. Passwords, and what stands below telling names of the extra, are never shown.

use super::bulk::{self, Kind, is_meant};
use super::order::{SortKey, sort_by};
use super::query::Query;
use super::secret::{redacted, restored};
use super::{Created, Failure, NoContent};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use updraft_model::Connection;
use updraft_model::secrets::HIDDEN;

type Answer = Result<Json<Value>, Failure>;

/// `ConnectionResponse`.
fn shown(connection: &Connection) -> Value {
    let extra = connection.extra.as_deref().map(|text| match serde_json::from_str::<Value>(text) {
        Ok(value) => redacted(&value, "").to_string(),
        // An extra that is no JSON may be anything.
        Err(_) if text.is_empty() => String::new(),
        Err(_) => HIDDEN.to_owned(),
    });
    json!({
        "connection_id": connection.conn_id,
        "conn_type": connection.conn_type,
        "description": connection.description,
        "host": connection.host,
        "login": connection.login,
        "schema": connection.schema,
        "port": connection.port,
        "password": connection.password.as_ref().map(|_| HIDDEN),
        "extra": extra,
        "team_name": null,
    })
}

fn missing(id: &str) -> Failure {
    Failure::not_found(format!("The Connection with connection_id: `{id}` was not found"))
}

async fn find<P: Parts>(api: &Api<P>, id: &str) -> Result<Connection, Failure> {
    if id.is_empty() {
        return Err(missing(id));
    }
    api.engine.store.connection(id).await?.ok_or_else(|| missing(id))
}

/// Airflow's port is any whole number; no service has one beyond 16 bits.
fn port(body: &Value) -> Result<Option<u16>, Failure> {
    let given = &body["port"];
    let message = "Input should be a port, from 0 to 65535";
    let read =
        |n: i64| u16::try_from(n).map_err(|_| Failure::invalid("less_than_equal", "body", "port", message, given));
    given.as_i64().map(read).transpose()
}

fn changed(mut connection: Connection, body: &Value, mask: Option<&[&str]>) -> Result<Connection, Failure> {
    let text = |field: &str| body[field].as_str().map(str::to_owned);
    let meant = |field: &str| is_meant(body, mask, field);
    if meant("conn_type") {
        connection.conn_type = text("conn_type").unwrap_or_default();
    }
    if meant("description") {
        connection.description = text("description");
    }
    if meant("host") {
        connection.host = text("host");
    }
    if meant("login") {
        connection.login = text("login");
    }
    if meant("schema") {
        connection.schema = text("schema");
    }
    if meant("port") {
        connection.port = port(body)?;
    }
    if meant("password") && body["password"] != HIDDEN {
        connection.password = text("password");
    }
    if meant("extra") {
        let parsed = |text: &Option<String>| text.as_deref().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let given = text("extra");
        connection.extra = match (parsed(&given), parsed(&connection.extra)) {
            (Some(new), Some(old)) => Some(restored(&new, &old, "").to_string()),
            _ => given,
        };
    }
    Ok(connection)
}

fn new(body: &Value) -> Result<Connection, Failure> {
    bulk::refuse_team(body)?;
    let conn_id = body["connection_id"].as_str().unwrap_or_default().to_owned();
    changed(Connection { conn_id, ..Connection::default() }, body, None)
}

/// `GET /connections`.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let known = ["conn_id", "connection_id", "conn_type", "description", "host", "port", "id", "team_name"];
    let order = query.order_by("id", &known)?;
    let mut connections = api.engine.connections().await?;
    connections.retain(|connection| query.matches("connection_id", &connection.conn_id));
    sort_by(&mut connections, &order, |connection, name| match name {
        "conn_type" => connection.conn_type.clone().into(),
        "description" => connection.description.clone().into(),
        "host" => connection.host.clone().into(),
        "port" => connection.port.map(i64::from).into(),
        "team_name" => SortKey::Nothing,
        _ => connection.conn_id.clone().into(),
    });
    let total = connections.len();
    let shown: Vec<Value> = page.of(connections).iter().map(shown).collect();
    Ok(Json(json!({"connections": shown, "total_entries": total})))
}

/// `GET /connections/{connection_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(id): Path<String>) -> Answer {
    Ok(Json(shown(&find(&api, &id).await?)))
}

/// `POST /connections`.
pub(super) async fn create<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Result<Created, Failure> {
    let connection = new(&body)?;
    // Keeping what is there already again is no conflict to the store; to Airflow it is.
    let there = !connection.conn_id.is_empty() && api.engine.store.connection(&connection.conn_id).await?.is_some();
    if there || !api.engine.set_connection(&connection, false).await? {
        let detail = format!("The Connection with connection_id: `{}` already exists", connection.conn_id);
        return Err(Failure::conflict(detail));
    }
    Ok(Created(shown(&connection)))
}

/// `PATCH /connections/{connection_id}`.
pub(super) async fn patch<P: Parts>(
    State(api): State<Api<P>>,
    Path(id): Path<String>,
    query: Query,
    Body(body): Body,
) -> Answer {
    bulk::refuse_team(&body)?;
    if body["connection_id"] != id.as_str() {
        return Err(Failure::bad_request("The connection_id in the request body does not match the URL parameter"));
    }
    let mask = query.all("update_mask");
    let mask = (!mask.is_empty()).then_some(mask);
    let connection = changed(find(&api, &id).await?, &body, mask.as_deref())?;
    api.engine.set_connection(&connection, true).await?;
    Ok(Json(shown(&connection)))
}

/// `DELETE /connections/{connection_id}`.
pub(super) async fn delete<P: Parts>(State(api): State<Api<P>>, Path(id): Path<String>) -> Result<NoContent, Failure> {
    find(&api, &id).await?;
    api.engine.store.delete_connection(&id).await?;
    Ok(NoContent)
}

struct Connections;

impl<P: Parts> Kind<P> for Connections {
    const NAME: &'static str = "connection_id";
    const PLURAL: &'static str = "connections";
    const NAMES: &'static str = "connection_ids";

    async fn existing(api: &Api<P>, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        let mut found = BTreeSet::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            if api.engine.store.connection(name).await?.is_some() {
                found.insert(name.clone());
            }
        }
        Ok(found)
    }

    async fn create(api: &Api<P>, entity: &Value) -> Result<(), Failure> {
        let there = api.engine.store.connection(entity["connection_id"].as_str().unwrap_or_default()).await?;
        let connection = match there {
            Some(there) => changed(there, entity, None)?,
            None => new(entity)?,
        };
        api.engine.set_connection(&connection, true).await?;
        Ok(())
    }

    async fn update(api: &Api<P>, entity: &Value, mask: Option<&[&str]>) -> Result<(), Failure> {
        let there = find(api, entity["connection_id"].as_str().unwrap_or_default()).await?;
        api.engine.set_connection(&changed(there, entity, mask)?, true).await?;
        Ok(())
    }

    async fn delete(api: &Api<P>, name: &str) -> Result<(), Failure> {
        Ok(api.engine.store.delete_connection(name).await?)
    }
}

/// `PATCH /connections`.
pub(super) async fn bulk<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Answer {
    Ok(Json(bulk::answer::<P, Connections>(&api, &body).await))
}

/// `POST /connections/test` and `/connections/enqueue-test`: as Airflow answers where it is not switched on. A server that connects to wherever
/// it is told is a way into the network behind it.
pub(super) async fn test() -> Failure {
    let detail =
        "Testing connections is disabled in Airflow configuration. Contact your deployment admin to enable it.";
    Failure::forbidden(detail)
}

/// `GET /connections/enqueue-test`: no test was ever begun.
pub(super) async fn tested(headers: axum::http::HeaderMap) -> Failure {
    let token = headers.get("airflow-connection-test-token").and_then(|token| token.to_str().ok());
    match token {
        Some(token) => Failure::not_found(format!("No connection test found for token: `{token}`")),
        None => Failure::invalid("missing", "header", "Airflow-Connection-Test-Token", "Field required", &Value::Null),
    }
}

/// `POST /connections/defaults`: Airflow's examples of connections belong to services that are not here, so there are none.
pub(super) async fn defaults() -> NoContent {
    NoContent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_in_and_never_come_out() {
        let body = json!({
            "connection_id": "db", "conn_type": "postgres", "password": "hunter22", "port": 5432,
            "extra": r#"{"token": "hunter22", "sslmode": "require"}"#,
        });
        let made = new(&body).unwrap();
        let answer = shown(&made);
        assert!(!answer.to_string().contains("hunter22"), "{answer}");
        assert_eq!(answer["extra"], r#"{"token":"***","sslmode":"require"}"#);
        // What was shown, sent back with another mode.
        let sent = json!({"connection_id": "db", "password": "***", "extra": r#"{"token":"***","sslmode":"off"}"#});
        let kept = changed(made, &sent, None).unwrap();
        assert_eq!(kept.password.as_deref(), Some("hunter22"));
        assert_eq!(kept.extra.as_deref(), Some(r#"{"token":"hunter22","sslmode":"off"}"#));
        assert!(new(&json!({"connection_id": "db", "conn_type": "x", "port": 70_000})).is_err());
    }
}
