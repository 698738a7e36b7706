//! Values as JSON, for params and operators' arguments.
//!
//! Mappings with `__type__` stand for Python objects. The registry of those that are understood is closed: durations and
//! dates, enumerations of providers, binary data. Others are kept as they are written where Python gets to see them, and are
//! refused everywhere else. Nothing is ever imported by its name.

use crate::reader::Cursor;
use crate::time::isoformat_offset;
use crate::yaml::build::BYTES;
use crate::yaml::compose::clip;
use crate::yaml::{Key, Node, Value};
use serde_json::{Map, Number, Value as Json, json};

/// The class that stands for "this argument is not given".
const ARG_NOT_SET: &str = "ArgNotSet";

/// What becomes of Python objects that are not in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opaque {
    /// Kept as written, for Python to build.
    Kept,
    /// Noted as an error.
    Refused,
}

impl<'a> Cursor<'a> {
    /// The value as JSON; dates become ISO 8601 text, as Airflow stores them.
    pub(crate) fn json(&self) -> Option<Json> {
        self.checked_json(Opaque::Refused)
    }

    /// The value as JSON, with Python objects kept as they are written.
    pub(crate) fn json_keeping(&self) -> Option<Json> {
        self.checked_json(Opaque::Kept)
    }

    fn checked_json(&self, opaque: Opaque) -> Option<Json> {
        if !self.sink.may_copy(self.node.weight) {
            let message = "the defaults of this file, copied into all its DAGs and tasks, take too much space";
            self.error("too-large", message, Some("split the file, or make the defaults smaller".into()));
            return None;
        }
        self.to_json(self.node, opaque)
    }

    fn to_json(&self, node: &'a Node, opaque: Opaque) -> Option<Json> {
        Some(match &node.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(number) => Json::Number(integer(*number)?),
            Value::Huge(_) => {
                let hint = Some("put it in quotes".to_owned());
                self.item_error(node, "out-of-range", "a whole number has more than 64 bits", hint);
                return None;
            }
            Value::Float(number) => {
                let finite = Number::from_f64(*number);
                if finite.is_none() {
                    let message = "infinity and not-a-number cannot be stored as JSON";
                    self.item_error(node, "out-of-range", message, Some("put it in quotes".into()));
                }
                Json::Number(finite?)
            }
            Value::Text(text) => Json::String(text.to_string()),
            Value::Date(date) => Json::String(date.to_string()),
            Value::DateTime(at, None) => Json::String(at.to_string()),
            Value::DateTime(at, Some(offset)) => Json::String(format!("{at}{}", isoformat_offset(*offset))),
            Value::List(items) => Json::Array(items.iter().map(|n| self.to_json(n, opaque)).collect::<Option<_>>()?),
            Value::Map(map) => {
                if map.get("__type__").is_some() {
                    return self.typed_json(node, opaque);
                }
                self.object(node, opaque)?
            }
        })
    }

    /// A mapping as it is.
    fn object(&self, node: &'a Node, opaque: Opaque) -> Option<Json> {
        let Value::Map(map) = &node.value else { return None };
        let mut object = Map::new();
        for entry in map.entries() {
            let key = match &entry.key {
                Key::Text(text) => text.to_string(),
                Key::Null => "null".to_owned(),
                Key::Number(_) | Key::Date(_) => entry.name.to_string(),
            };
            object.insert(key, self.to_json(&entry.value, opaque)?);
        }
        Some(Json::Object(object))
    }

    /// A mapping that stands for a Python object.
    fn typed_json(&self, node: &'a Node, opaque: Opaque) -> Option<Json> {
        let here = Cursor { node, ..self.clone() };
        let Some((class, map)) = here.typed() else {
            self.item_error(node, "wrong-type", "`__type__` must be the dotted path of a class", None);
            return None;
        };
        match class.rsplit('.').next().unwrap_or(class) {
            "timedelta" => {
                let seconds = here.timedelta(map)?.as_secs_f64();
                let whole = (seconds.fract() == 0.0).then_some(seconds as i64);
                let seconds = whole.map_or_else(|| json!(seconds), |whole| json!(whole));
                Some(json!({"__type__": "datetime.timedelta", "seconds": seconds}))
            }
            // Python gets the object; elsewhere its text is what a template would make of it.
            "datetime" | "DateTime" if opaque == Opaque::Refused => Some(Json::String(here.typed_datetime_text(map)?)),
            ARG_NOT_SET => Some(Json::Null),
            _ if class == BYTES => self.object(node, opaque),
            _ if opaque == Opaque::Kept => enumeration(class, map).or_else(|| self.object(node, opaque)),
            _ => enumeration(class, map).or_else(|| {
                let message = format!("the type `{}` is not known here", clip(class));
                let hint = "only tasks that run Python can take Python objects; write a plain value";
                self.item_error(node, "unsupported", &message, Some(hint.into()));
                None
            }),
        }
    }

    fn item_error(&self, node: &'a Node, code: &'static str, message: &str, hint: Option<String>) {
        let message = format!("`{}`: {message}", self.name);
        Cursor { node, ..self.clone() }.error(code, message, hint);
    }

    /// Whether this is the marker by which Amazon's converter says "not given".
    pub(crate) fn is_not_given(&self) -> bool {
        self.typed().is_some_and(|(class, _)| class.rsplit('.').next() == Some(ARG_NOT_SET))
    }
}

/// The value as it is written, without a word about what is odd in it. For people to look at.
pub(crate) fn as_written(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(number) => integer(*number).map_or(Json::Null, Json::Number),
        Value::Huge(text) => Json::String(text.to_string()),
        Value::Float(number) => {
            Number::from_f64(*number).map_or_else(|| Json::String(number.to_string()), Json::Number)
        }
        Value::Text(text) => Json::String(text.to_string()),
        Value::Date(date) => Json::String(date.to_string()),
        Value::DateTime(at, offset) => {
            Json::String(format!("{at}{}", offset.map(isoformat_offset).unwrap_or_default()))
        }
        Value::List(items) => Json::Array(items.iter().map(|n| as_written(n)).collect()),
        Value::Map(map) => {
            Json::Object(map.entries().iter().map(|e| (e.name.to_string(), as_written(&e.value))).collect())
        }
    }
}

/// The value of an enumeration, which Amazon's converter writes as its class and that value: a text in a module that
/// providers keep their enumerations in.
fn enumeration(class: &str, map: &crate::yaml::Map) -> Option<Json> {
    let in_provider =
        class.starts_with("airflow.providers.") && [".hooks.", ".utils."].iter().any(|m| class.contains(m));
    let only_args = map.entries().iter().all(|e| matches!(&*e.name, "__type__" | "__args__"));
    match map.get("__args__").map(|n| &n.value) {
        Some(Value::List(items)) if in_provider && only_args => match items.as_slice() {
            [only] => match &only.value {
                Value::Text(text) => Some(Json::String(text.to_string())),
                Value::Int(number) => Some(Json::Number(integer(*number)?)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn integer(number: i128) -> Option<Number> {
    i64::try_from(number).map(Number::from).or_else(|_| u64::try_from(number).map(Number::from)).ok()
}
