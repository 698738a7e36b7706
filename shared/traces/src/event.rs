//! An event's fields as a span, in the form that OTLP has for JSON.

use crate::ids;
use serde_json::{Map, Value, json};
use std::fmt;
use tracing::Event;
use tracing::field::{Field, Visit};

/// What OTLP calls a span that is no end of a call.
const INTERNAL: u8 = 1;
/// What OTLP calls a status that is an error.
const ERROR: u8 = 2;

/// What an event says.
#[derive(Debug, Default)]
struct Told(Map<String, Value>);

/// The span that an event tells; none where it names no trace, no name or no times.
pub(crate) fn span(event: &Event<'_>) -> Option<Value> {
    let mut told = Told::default();
    event.record(&mut told);
    let Told(mut fields) = told;
    let mut text = |name: &str| match fields.remove(name) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let (trace, id, name, error) = (text("trace")?, text("id").unwrap_or_default(), text("name")?, text("error"));
    let mut number = |name: &str| fields.remove(name).and_then(|value| value.as_i64());
    let root = number("root").unwrap_or_default().unsigned_abs();
    let (begin, end) = (number("begin_us")?, number("end_us")?);
    // Numbers of 64 bits are texts in OTLP.
    let nanoseconds = |microseconds: i64| format!("{}000", microseconds.max(0));
    let mut span = json!({
        "traceId": ids::trace(&trace),
        "spanId": ids::span(&trace, root, &id),
        "name": name,
        "kind": INTERNAL,
        "startTimeUnixNano": nanoseconds(begin),
        "endTimeUnixNano": nanoseconds(end),
        "attributes": fields.into_iter().map(|(key, value)| attribute(&key, value)).collect::<Value>(),
    });
    if !id.is_empty() {
        span["parentSpanId"] = ids::span(&trace, root, "").into();
    }
    if let Some(message) = error {
        span["status"] = json!({"code": ERROR, "message": message});
    }
    Some(span)
}

/// An attribute of a span or of a resource.
pub(crate) fn attribute(key: &str, value: Value) -> Value {
    let value = match value {
        Value::String(text) => json!({"stringValue": text}),
        Value::Bool(is) => json!({"boolValue": is}),
        Value::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        other => json!({"intValue": other.to_string()}),
    };
    json!({"key": key, "value": value})
}

impl Visit for Told {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
