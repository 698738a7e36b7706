//! Explicit tags. Only YAML's own for plain values are known; PyYAML's `!!python/...` would run code.

use super::Value;
use super::scalar::{self, Plain};
use granit_parser::Tag;

/// What a tag makes of a text.
pub(crate) enum Tagged {
    Value(Value),
    /// The tag is known and does not fit the text.
    Unfit,
    UnknownTag,
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
pub(crate) fn value(text: &str, tag: &str) -> Tagged {
    let plain = |fits: fn(&Value) -> bool| match scalar::resolve(text) {
        Plain::Value(value) if fits(&value) => Some(value),
        _ => None,
    };
    let value = match tag {
        "!" => plain(|_| true),
        "!!str" => Some(Value::Text(text.into())),
        "!!null" => Some(Value::Null),
        "!!int" => scalar::int(text),
        "!!float" => scalar::float(text).or_else(|| text.replace('_', "").parse().ok()).map(Value::Float),
        "!!bool" => plain(|v| matches!(v, Value::Bool(_))),
        "!!timestamp" => plain(|v| matches!(v, Value::Date(_) | Value::DateTime(..))),
        _ => return Tagged::UnknownTag,
    };
    value.map_or(Tagged::Unfit, Tagged::Value)
}

/// What to write instead of a tag that is not known.
pub(crate) fn hint(tag: &str) -> String {
    match tag {
        "!join" | "!and" | "!or" => "joining values in the file is not supported yet; write the result out".into(),
        "!!binary" => "binary values are not supported yet; write text".into(),
        _ if tag.starts_with("!!python") => {
            "Python objects are not built from YAML; write plain values or a mapping with `__type__`".into()
        }
        _ => "remove the tag; a typed value is a mapping with the key `__type__`".into(),
    }
}
