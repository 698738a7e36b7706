//! Values as JSON, for params and operators' arguments.

use crate::reader::Cursor;
use crate::time::isoformat_offset;
use crate::yaml::{Key, Node, Value};
use serde_json::{Map, Number, Value as Json};

/// The class that stands for "this argument is not given".
const ARG_NOT_SET: &str = "ArgNotSet";

impl<'a> Cursor<'a> {
    /// The value as JSON; dates become ISO 8601 text, as Airflow stores them.
    pub(crate) fn json(&self) -> Option<Json> {
        if !self.sink.may_copy(self.node.weight) {
            let message = "the defaults of this file, copied into all its DAGs and tasks, take too much space";
            self.error("too-large", message, Some("split the file, or make the defaults smaller".into()));
            return None;
        }
        self.to_json(self.node)
    }

    fn to_json(&self, node: &'a Node) -> Option<Json> {
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
            Value::List(items) => Json::Array(items.iter().map(|n| self.to_json(n)).collect::<Option<_>>()?),
            Value::Map(map) => {
                let mut object = Map::new();
                for entry in map.entries() {
                    let key = match &entry.key {
                        Key::Text(text) => text.to_string(),
                        Key::Null => "null".to_owned(),
                        Key::Number(_) | Key::Date(_) => entry.name.to_string(),
                    };
                    object.insert(key, self.to_json(&entry.value)?);
                }
                Json::Object(object)
            }
        })
    }

    fn item_error(&self, node: &'a Node, code: &'static str, message: &str, hint: Option<String>) {
        let message = format!("`{}`: {message}", self.name);
        Cursor { node, ..self.clone() }.error(code, message, hint);
    }

    /// Whether this is the marker by which Amazon's converter says "not given".
    pub(crate) fn is_not_given(&self) -> bool {
        self.typed().is_some_and(|(class, _)| class.rsplit('.').next() == Some(ARG_NOT_SET))
    }

    /// Notes mappings that dag-factory would turn into Python objects, anywhere inside: only some keys understand them.
    pub(crate) fn refuse_typed(&self) {
        if let Some(key) = find_typed(self.node) {
            let message = format!("`{}` contains a mapping with `{key}`, which is not supported there yet", self.name);
            self.error("unsupported", message, Some("write a plain value".into()));
        }
    }
}

/// The first key, here or below, that makes its mapping stand for something else.
fn find_typed(node: &Node) -> Option<&'static str> {
    match &node.value {
        Value::List(items) => items.iter().find_map(|n| find_typed(n)),
        Value::Map(map) => {
            let special = ["__type__", "__join__", "__and__", "__or__"].into_iter().find(|key| map.get(key).is_some());
            special.or_else(|| map.entries().iter().find_map(|e| find_typed(&e.value)))
        }
        _ => None,
    }
}

fn integer(number: i128) -> Option<Number> {
    i64::try_from(number).map(Number::from).or_else(|_| u64::try_from(number).map(Number::from)).ok()
}
