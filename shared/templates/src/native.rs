//! Native objects (`render_template_as_native_obj`): what a template gives as a value instead of a text.
//!
//! The rules are jinja2's `NativeEnvironment`: a template of one expression gives that expression's value; a text, or the texts of
//! several pieces joined, is read as a Python literal, and stays a text where it is none; a template of nothing gives None.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::value::{Object, ObjectRepr, ValueKind, from_args};
use minijinja::{Error, State, UndefinedBehavior, Value};
use serde_json::{Map, Number, Value as Json, json};

use crate::error::{ErrorKind, raise};
use crate::fuel::charge;
use crate::literal;
use crate::operators::defined;
use crate::python::json::to_value;
use crate::python::objects::{Set, Undefined, class_name};
use crate::python::text;

/// Deepest value that is given out; nothing legitimate comes near.
const DEPTH_MAX: usize = 100;

/// A Python value, as a native template gives it.
#[derive(Debug, Clone, PartialEq)]
pub enum Native {
    /// `None`.
    None,
    /// `True` and `False`.
    Bool(bool),
    /// A whole number. One with more than 127 bits stays a text.
    Int(i128),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Native>),
    /// A tuple.
    Tuple(Vec<Native>),
    /// A set, in the order its items were met.
    Set(Vec<Native>),
    /// A dict; keys need not be texts.
    Dict(Vec<(Native, Native)>),
    /// Anything else: a date, a connection, something undefined.
    Object {
        /// The name of its Python class.
        class: String,
        /// What `str()` of it gives.
        text: String,
    },
}

impl Native {
    /// The value as JSON, for those who pass it on to a process. What JSON cannot hold becomes what is nearest: tuples and sets become
    /// lists, keys and all other objects their text, and something undefined null.
    pub fn into_json(self) -> Json {
        self.into_json_with(false)
    }

    /// The same for a Python callable, which is given dates, spans of time, tuples and sets as they are: in the form in which XComs keep them
    /// where these have one.
    pub fn into_tagged_json(self) -> Json {
        self.into_json_with(true)
    }

    fn into_json_with(self, tagged: bool) -> Json {
        match self {
            Self::Object { class, text } if tagged && kind_of_moment(&class).is_some() => {
                json!({"__type": kind_of_moment(&class), "__var": text})
            }
            Self::Tuple(items) if tagged => json!({"__type": "tuple", "__var": Self::List(items).into_tagged_json()}),
            Self::Set(items) if tagged => json!({"__type": "set", "__var": Self::List(items).into_tagged_json()}),
            Self::None => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Int(number) => match (i64::try_from(number), u64::try_from(number)) {
                (Ok(number), _) => number.into(),
                (_, Ok(number)) => number.into(),
                _ if tagged => json!({"__type": "int", "__var": number.to_string()}),
                _ => Json::String(number.to_string()),
            },
            Self::Float(number) => match Number::from_f64(number) {
                Some(number) => Json::Number(number),
                None if tagged => json!({"__type": "float", "__var": text::float(number)}),
                None => text::float(number).into(),
            },
            Self::Bytes(bytes) => Json::String(String::from_utf8_lossy(&bytes).into_owned()),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => {
                items.into_iter().map(|item| item.into_json_with(tagged)).collect()
            }
            Self::Dict(entries) => {
                let entries = entries.into_iter().map(|(key, value)| (key.into_key(), value.into_json_with(tagged)));
                let entries: Map<_, _> = entries.collect();
                // One that looks like a tag.
                let is_like_a_tag = tagged && entries.contains_key("__type");
                if is_like_a_tag { json!({"__type": "dict", "__var": entries}) } else { entries.into() }
            }
            Self::Object { class, .. } if class.ends_with("Undefined") => Json::Null,
            Self::Text(text) | Self::Object { text, .. } => Json::String(text),
        }
    }

    /// As Python's `json` writes keys.
    fn into_key(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Int(number) => number.to_string(),
            other => match other.into_json() {
                Json::String(text) => text,
                json => json.to_string(),
            },
        }
    }

    /// A value that was in a DAG file as it stands.
    pub(crate) fn from_json(json: &Json) -> Self {
        match json {
            Json::Null => Self::None,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number.into()),
                (None, Some(number)) => Self::Int(number.into()),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            Json::Object(entries) => Self::Dict(
                entries.iter().map(|(key, value)| (Self::Text(key.clone()), Self::from_json(value))).collect(),
            ),
        }
    }

    /// A template's value.
    fn from_value(value: &Value, depth: usize) -> Result<Self, Error> {
        if depth > DEPTH_MAX {
            return Err(raise(ErrorKind::Limit, format!("the value nests more than {DEPTH_MAX} deep")));
        }
        let items = |value: &Value| {
            value.try_iter()?.map(|item| Self::from_value(&item, depth + 1)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match value.kind() {
            ValueKind::None => Self::None,
            ValueKind::Bool => Self::Bool(value.is_true()),
            ValueKind::Number if value.is_integer() => match i128::try_from(value.clone()) {
                Ok(number) => Self::Int(number),
                Err(_) => Self::Text(text::to_str(value)),
            },
            ValueKind::Number => Self::Float(f64::try_from(value.clone()).unwrap_or(f64::NAN)),
            ValueKind::String => Self::Text(value.as_str().unwrap_or_default().to_owned()),
            ValueKind::Bytes => Self::Bytes(value.as_bytes().unwrap_or_default().to_vec()),
            ValueKind::Seq if value.is_tuple() => Self::Tuple(items(value)?),
            ValueKind::Seq if value.downcast_object_ref::<Set>().is_some() => Self::Set(items(value)?),
            ValueKind::Seq | ValueKind::Iterable => Self::List(items(value)?),
            ValueKind::Map => Self::Dict(
                value
                    .try_iter()?
                    .map(|key| {
                        let item = value.get_item(&key)?;
                        Ok((Self::from_value(&key, depth + 1)?, Self::from_value(&item, depth + 1)?))
                    })
                    .collect::<Result<_, Error>>()?,
            ),
            _ => Self::Object { class: class_name(value).to_owned(), text: text::to_str(value) },
        })
    }

    /// With another name for the class of what is undefined.
    pub(crate) fn with_undefined(self, name: &str) -> Self {
        let all = |items: Vec<Self>| items.into_iter().map(|item| item.with_undefined(name)).collect();
        match self {
            Self::Object { class, text } if class == "Undefined" => Self::Object { class: name.to_owned(), text },
            Self::List(items) => Self::List(all(items)),
            Self::Tuple(items) => Self::Tuple(all(items)),
            Self::Dict(entries) => {
                Self::Dict(entries.into_iter().map(|(key, value)| (key, value.with_undefined(name))).collect())
            }
            other => other,
        }
    }

    /// The value inside a template. Sets become lists, and objects their text: only literals come here.
    fn to_value(&self) -> Value {
        match self {
            Self::Tuple(items) => {
                Value::from(minijinja::value::Tuple::from(items.iter().map(Self::to_value).collect::<Vec<_>>()))
            }
            Self::List(items) | Self::Set(items) => Value::from(items.iter().map(Self::to_value).collect::<Vec<_>>()),
            Self::Dict(entries) => {
                Value::from_pairs(entries.iter().map(|(key, value)| (key.to_value(), value.to_value())))
            }
            Self::Int(number) => i64::try_from(*number).map_or_else(|_| Value::from(*number), Value::from),
            Self::Float(number) => Value::from(*number),
            Self::Bytes(bytes) => Value::from_bytes(bytes.clone()),
            other => to_value(&other.clone().into_json()),
        }
    }
}

/// What an XCom calls an instant, a date, a time or a span of this class. The first three are written as Python's `fromisoformat` reads them,
/// spans as `str` writes them.
fn kind_of_moment(class: &str) -> Option<&'static str> {
    match class {
        "DateTime" | "datetime" => Some("datetime"),
        "date" | "Date" => Some("date"),
        "time" | "Time" => Some("time"),
        "timedelta" => Some("timedelta"),
        _ => None,
    }
}

/// Where a native template's pieces go, one by one.
#[derive(Default)]
pub(crate) struct Emitted(Mutex<Vec<Value>>);

impl fmt::Debug for Emitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the pieces of a native template")
    }
}

impl Object for Emitted {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (piece,): (Value,) = from_args(args)?;
        if state.undefined_behavior() == UndefinedBehavior::Strict {
            defined(&piece)?;
        }
        charge(state, &piece)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
        Ok(Value::from(()))
    }
}

impl Emitted {
    /// Forgets what a template before left.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What the pieces come to. `mode` names the class of what is undefined.
    pub(crate) fn joined(&self) -> Result<Native, Error> {
        let pieces = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let joined = match &pieces[..] {
            [] => return Ok(Native::None),
            [one] => match one.as_str() {
                Some(text) => text.to_owned(),
                None => return Native::from_value(one, 0),
            },
            several => several.iter().map(text::to_str).collect(),
        };
        parsed(joined)
    }
}

/// A text as the literal it is, or as itself.
fn parsed(text: String) -> Result<Native, Error> {
    Ok(literal::parse(&text)?.unwrap_or(Native::Text(text)))
}

/// The filter behind `{% set x %}...{% endset %}`: its captured text is read as a literal, too.
pub(crate) fn read_literal(state: &State<'_, '_>, value: &Value) -> Result<Value, Error> {
    charge(state, value)?;
    match value.as_str() {
        Some(text) => parsed(text.to_owned()).map(|native| native.to_value()),
        None => Ok(value.clone()),
    }
}

/// Something undefined that shows itself, as jinja2's `DebugUndefined` does.
pub(crate) fn shown_undefined(text: String) -> Value {
    Value::from_object(Undefined { class: "DebugUndefined", text })
}
