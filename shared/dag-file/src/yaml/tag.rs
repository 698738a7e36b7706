//! Explicit tags: YAML's own, those of PyYAML that make plain values, and three that dag-factory once had. PyYAML's
//! `!!python/object` and its like would run code; `!!python/name` is read as the dotted path it holds.

use super::scalar::{self, Plain};
use super::{Position, Value, build};
use granit_parser::Tag;

/// What a tag makes of a text.
pub(crate) enum Tagged {
    Value(Value),
    /// The tag is known and does not fit the text.
    Unfit,
    UnknownTag,
}

/// What a tag makes of a list or mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfCollection {
    /// Itself.
    Plain,
    /// The value of this key in a mapping of its own.
    Wrapped(&'static str),
    /// The list of its keys.
    Set,
}

/// What this tag makes of a collection, if it is known.
pub(crate) fn of_collection(tag: &str, is_list: bool) -> Option<OfCollection> {
    Some(match (tag, is_list) {
        ("!" | "!!seq" | "!!python/list" | "!!python/tuple", true) | ("!" | "!!map" | "!!python/dict", false) => {
            OfCollection::Plain
        }
        ("!join", true) => OfCollection::Wrapped("__join__"),
        ("!and", true) => OfCollection::Wrapped("__and__"),
        ("!or", true) => OfCollection::Wrapped("__or__"),
        ("!!set", false) => OfCollection::Set,
        _ => return None,
    })
}

/// `!!str` for YAML's own tags however they are written, `!join` for local ones, `!` for "not specific".
pub(crate) fn name(tag: &Tag) -> String {
    let name = format!("{}{}", tag.handle(), tag.suffix());
    match name.strip_prefix("tag:yaml.org,2002:") {
        Some(own) => format!("!!{own}"),
        None => name,
    }
}

/// The value of a scalar with this tag.
pub(crate) fn value(text: &str, tag: &str, at: Position) -> Tagged {
    if let Some(path) = tag.strip_prefix("!!python/name:") {
        return if text.is_empty() { Tagged::Value(Value::Text(path.into())) } else { Tagged::Unfit };
    }
    let plain = |fits: fn(&Value) -> bool| match scalar::resolve(text) {
        Plain::Value(value) if fits(&value) => Some(value),
        _ => None,
    };
    let value = match tag {
        "!" => plain(|_| true),
        "!!str" | "!!python/str" | "!!python/unicode" => Some(Value::Text(text.into())),
        "!!null" | "!!python/none" => Some(Value::Null),
        "!!int" | "!!python/int" | "!!python/long" => scalar::int(text),
        "!!float" | "!!python/float" => {
            scalar::float(text).or_else(|| text.replace('_', "").parse().ok()).map(Value::Float)
        }
        "!!bool" | "!!python/bool" => plain(|v| matches!(v, Value::Bool(_))),
        "!!timestamp" => plain(|v| matches!(v, Value::Date(_) | Value::DateTime(..))),
        "!!binary" | "!!python/bytes" => build::binary(text, at),
        _ => return Tagged::UnknownTag,
    };
    value.map_or(Tagged::Unfit, Tagged::Value)
}

/// What to write instead of a tag that is not known.
pub(crate) fn hint(tag: &str) -> String {
    match tag {
        "!join" | "!and" | "!or" => "these tags stand before a list".into(),
        _ if tag.starts_with("!!python") => {
            "Python objects are not built from YAML; write plain values or a mapping with `__type__`".into()
        }
        _ => "remove the tag; a typed value is a mapping with the key `__type__`".into(),
    }
}
