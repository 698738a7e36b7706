//! Requests against the contract, before a handler sees them.

use super::{Operation, check};
use crate::audit::{Change, Given};
use crate::auth::{self, Caller};
use crate::v2::Failure;
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts as Head;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The largest body that is read: more than any variable, connection or conf may have, many times over.
const BODY_BYTES_MAX: usize = 16 << 20;

/// The body of a request, which has the form that the contract asks for; null where there is none.
#[derive(Debug, Clone)]
pub(crate) struct Body(pub(crate) Value);

impl<S: Sync> FromRequest<S> for Body {
    type Rejection = std::convert::Infallible;

    async fn from_request(mut request: Request, _: &S) -> Result<Self, Self::Rejection> {
        Ok(request.extensions_mut().remove::<Self>().unwrap_or(Self(Value::Null)))
    }
}

/// Lets a request through to its handler if whoever asks may, and its path, query and body have the form that the operation asks for.
pub(crate) async fn checked(operation: Operation, request: Request, next: Next) -> Response {
    let least = auth::least(operation.tag(), operation.id(), request.method() == Method::GET);
    // Whom nobody knows has come this far only where everybody may.
    if request.extensions().get::<Caller>().is_some_and(|caller| caller.role < least) {
        return Failure::forbidden("Forbidden").into_response();
    }
    let method = request.method().clone();
    let (request, given) = match held(operation, request).await {
        Ok(held) => held,
        Err(failure) => return failure.into_response(),
    };
    let change = Change::of(operation, &method, given);
    let mut response = next.run(request).await;
    if let Some(change) = change.filter(|_| response.status().is_success()) {
        response.extensions_mut().insert(change);
    }
    response
}

async fn held(operation: Operation, request: Request) -> Result<(Request, Given), Failure> {
    let (mut head, body) = request.into_parts();
    let mut found = Vec::new();
    let path = paths(operation, &mut head, &mut found).await?;
    queries(operation, &head, &mut found);
    let query = head.uri.query().unwrap_or_default().to_owned();
    let Some((schema, required)) = operation.body() else {
        let given = Given { path, query, body: Value::Null };
        let request = Request::from_parts(head, body);
        return if found.is_empty() { Ok((request, given)) } else { Err(Failure::unprocessable(found)) };
    };
    let mut given = Given { path, query, body: Value::Null };
    let bytes = to_bytes(body, BODY_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| Failure::too_large(format!("the body has more than {BODY_BYTES_MAX} bytes")))?;
    match read(&head.headers, &bytes) {
        Ok(None) if required => {
            found.push(json!({"type": "missing", "loc": ["body"], "msg": "Field required", "input": null}));
        }
        Ok(value) => {
            let value = value.unwrap_or(Value::Null);
            if required || !value.is_null() {
                check::value(schema, &value, &mut vec!["body".into()], &mut found);
            }
            if !head.method.is_safe() && !operation.only_looks() {
                given.body = value.clone();
            }
            head.extensions.insert(Body(value));
        }
        Err(problem) => found.push(problem),
    }
    if found.is_empty() {
        Ok((Request::from_parts(head, axum::body::Body::empty()), given))
    } else {
        Err(Failure::unprocessable(found))
    }
}

/// The JSON of a body; none where it is empty.
fn read(headers: &HeaderMap, bytes: &Bytes) -> Result<Option<Value>, Value> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
        let message = "Input should be a valid dictionary or object to extract fields from; send it with `Content-Type: application/json`";
        let input = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        return Err(json!({"type": "model_attributes_type", "loc": ["body"], "msg": message, "input": input}));
    }
    serde_json::from_slice(bytes).map(Some).map_err(|error| {
        json!({"type": "json_invalid", "loc": ["body", error.column()], "msg": "JSON decode error", "input": {}, "ctx": {"error": error.to_string()}})
    })
}

/// Holds the parameters of the path, and hands them back.
async fn paths(
    operation: Operation,
    head: &mut Head,
    found: &mut Vec<Value>,
) -> Result<Vec<(String, String)>, Failure> {
    let given = RawPathParams::from_request_parts(head, &()).await;
    let given = given.map_err(|error| Failure::bad_request(format!("the path cannot be read: {error}")))?;
    for parameter in operation.parameters().iter().filter(|p| p["in"] == "path") {
        let name = parameter["name"].as_str().unwrap_or_default();
        if let Some((_, text)) = given.iter().find(|(given, _)| *given == name) {
            one(&parameter["schema"], text, &mut vec!["path".into(), name.into()], found);
        }
    }
    Ok(given.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
}

fn queries(operation: Operation, head: &Head, found: &mut Vec<Value>) {
    let text = head.uri.query().unwrap_or_default();
    let given: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
    for parameter in operation.parameters().iter().filter(|p| p["in"] == "query") {
        let (name, schema) = (parameter["name"].as_str().unwrap_or_default(), &parameter["schema"]);
        let mut all = given.iter().filter(|(given, _)| given == name).map(|(_, text)| text);
        let mut place = vec!["query".into(), name.into()];
        if let Some(items) = items_of(schema) {
            for (number, text) in all.enumerate() {
                place.push(number.into());
                one(items, text, &mut place, found);
                place.pop();
            }
        } else if let Some(text) = all.next_back() {
            one(schema, text, &mut place, found);
        } else if parameter["required"] == true {
            found.push(json!({"type": "missing", "loc": place, "msg": "Field required", "input": null}));
        }
    }
}

/// The form of each of several values of one name.
fn items_of(schema: &'static Value) -> Option<&'static Value> {
    let branches = schema["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
    branches.iter().chain([schema]).find(|s| s["type"] == "array").map(|s| &s["items"])
}

/// A text against a form: read as what the form asks for, then held to it.
fn one(schema: &'static Value, text: &str, place: &mut Vec<Value>, found: &mut Vec<Value>) {
    let branches = schema["anyOf"].as_array().map_or(&[][..], Vec::as_slice);
    let form = branches.iter().find(|branch| branch["type"] != "null").unwrap_or(schema);
    let mut unread = |kind: &str, what: &str| {
        let message = format!(
            "Input should be a valid {what}, unable to parse string as a{} {what}",
            if what == "integer" { "n" } else { "" }
        );
        found.push(json!({"type": kind, "loc": place, "msg": message, "input": text}));
    };
    let value = match form["type"].as_str() {
        Some("integer") => match text.trim().parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => return unread("int_parsing", "integer"),
        },
        Some("number") => match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => number.into(),
            _ => return unread("float_parsing", "number"),
        },
        Some("boolean") => {
            let Some(is) = boolean(text) else {
                let message = "Input should be a valid boolean, unable to interpret input";
                return found.push(json!({"type": "bool_parsing", "loc": place, "msg": message, "input": text}));
            };
            is.into()
        }
        _ => text.into(),
    };
    check::value(form, &value, place, found);
}

/// A text that pydantic takes for yes or no.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" | "t" | "y" => Some(true),
        "false" | "0" | "no" | "off" | "f" | "n" => Some(false),
        _ => None,
    }
}
