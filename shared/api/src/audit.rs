//! The audit log: every change that is made through the API leaves an event that says who, what, when and from where.
//!
//! Whoever holds a request to the contract leaves on its answer what it has changed ([`Change`]); [`recorded`] writes that down before the
//! answer goes out. Handlers that know more (the id of what they made) say so by [`Made`].

use crate::auth::Caller;
use crate::contract::Operation;
use crate::parts::{Api, Parts};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts as Head;
use axum::http::{Extensions, HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use updraft_model::DagId;
use updraft_model::secrets::HIDDEN;
use updraft_service::events::NewEvent;

/// Where a request comes from, where whoever took it in was told: the address of the client as a gateway names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer(pub String);

/// How much of `X-Forwarded-For` is kept: anybody can write into it.
const FORWARDED_CHARS_MAX: usize = 200;

/// Names below which values are kept out of the log, whatever they are called.
const UNTOLD: [&str; 4] = ["value", "password", "extra", "uri"];

/// Where a request comes from, for handlers that record by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Origin {
    peer: Option<String>,
    forwarded_for: Option<String>,
}

impl Origin {
    fn of(extensions: &Extensions, headers: &HeaderMap) -> Self {
        let told = extensions.get::<Peer>().map(|peer| peer.0.clone());
        let seen = || extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
        let forwarded = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        Self {
            peer: told.or_else(seen),
            forwarded_for: forwarded.map(|text| text.chars().take(FORWARDED_CHARS_MAX).collect()),
        }
    }

    /// As the log has it.
    fn tell(&self, extra: &mut Map<String, Value>) {
        extra.insert("from".to_owned(), json!(self.peer));
        // By itself, since only a proxy that is trusted makes it more than a claim.
        if let Some(forwarded) = &self.forwarded_for {
            extra.insert("forwarded_for".to_owned(), json!(forwarded));
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(head: &mut Head, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&head.extensions, &head.headers))
    }
}

/// What a request was about.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// The parameters of its path.
    pub(crate) path: Vec<(String, String)>,
    /// Its query, as it was written.
    pub(crate) query: String,
    /// Its body; null where there is none.
    pub(crate) body: Value,
}

/// What a request has changed.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    operation: Operation,
    given: Given,
}

impl Change {
    /// None: the operation looks, or says what it would do.
    pub(crate) fn of(operation: Operation, method: &Method, given: Given) -> Option<Self> {
        let is_dry = operation.may_be_dry() && given.body["dry_run"] != false;
        (!method.is_safe() && !operation.only_looks() && !is_dry).then_some(Self { operation, given })
    }
}

/// What a handler knows of what it has made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Made {
    /// The run.
    pub(crate) run_id: Option<String>,
    /// What the run stands for.
    pub(crate) logical_date: Option<Timestamp>,
    /// What else it has an id for.
    pub(crate) named: Vec<(&'static str, Value)>,
}

/// A body without the values that stand below [`UNTOLD`].
fn without_values(body: &Value) -> Value {
    match body {
        Value::Object(fields) => {
            let told = |(name, value): (&String, &Value)| {
                let is_untold = UNTOLD.contains(&name.as_str()) && !value.is_null();
                (name.clone(), if is_untold { HIDDEN.into() } else { without_values(value) })
            };
            fields.iter().map(told).collect()
        }
        Value::Array(items) => items.iter().map(without_values).collect(),
        other => other.clone(),
    }
}

/// An instance of a mapped task.
fn map_index(value: &Value) -> Option<u32> {
    let number = value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))?;
    u32::try_from(number).ok()
}

fn event(change: &Change, made: Made, caller: Option<&Caller>, origin: &Origin, method: &str) -> NewEvent {
    let tag = change.operation.tag();
    let untold = matches!(tag, "Connection" | "Variable" | "XCom" | "Task State Store" | "Asset State Store");
    let body = if untold { without_values(&change.given.body) } else { change.given.body.clone() };
    let body = crate::v2::redacted(&body, "");
    let mut extra = Map::from_iter([("method".to_owned(), json!(method))]);
    origin.tell(&mut extra);
    if !change.given.query.is_empty() {
        extra.insert("query".to_owned(), json!(change.given.query));
    }
    for (name, value) in &change.given.path {
        extra.insert(name.clone(), json!(value));
    }
    if let Value::Object(fields) = body {
        extra.extend(fields);
    }
    extra.extend(made.named.into_iter().map(|(name, value)| (name.to_owned(), value)));
    let text = |name: &str| extra.get(name).and_then(Value::as_str).filter(|text| *text != "~").map(str::to_owned);
    NewEvent {
        event: change.operation.id().to_owned(),
        dag_id: text("dag_id").and_then(|id| DagId::parse(&id).ok()),
        task_id: text("task_id"),
        map_index: extra.get("map_index").and_then(map_index),
        run_id: made.run_id.or_else(|| text("dag_run_id")).or_else(|| text("run_id")),
        logical_date: made.logical_date.or_else(|| text("logical_date").and_then(|at| crate::contract::instant(&at))),
        owner: caller.map(|caller| caller.username.clone()),
        extra: Some(Value::Object(extra).to_string()),
    }
}

/// Writes down what a request has changed.
pub(crate) async fn recorded<P: Parts>(State(api): State<Api<P>>, request: Request, next: Next) -> Response {
    let caller = request.extensions().get::<Caller>().cloned();
    let origin = Origin::of(request.extensions(), request.headers());
    let method = request.method().clone();
    let mut response = next.run(request).await;
    let made = response.extensions_mut().remove::<Made>().unwrap_or_default();
    if let Some(change) = response.extensions_mut().remove::<Change>() {
        api.engine.record_event(event(&change, made, caller.as_ref(), &origin, method.as_str())).await;
    }
    response
}

/// Writes down a change of something that Airflow's API does not have.
pub(crate) async fn record<P: Parts>(
    api: &Api<P>,
    name: &str,
    caller: &Caller,
    origin: &Origin,
    more: &[(&str, Value)],
) {
    let mut extra: Map<String, Value> = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    origin.tell(&mut extra);
    let event = NewEvent {
        event: name.to_owned(),
        owner: Some(caller.username.clone()),
        extra: Some(Value::Object(extra).to_string()),
        ..NewEvent::default()
    };
    api.engine.record_event(event).await;
}
