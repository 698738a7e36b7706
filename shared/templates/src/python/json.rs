//! JSON in and out, with the spacing of Python's `json` module.

use std::fmt::Write as _;

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::list::List;
use super::text;
use crate::error::{ErrorKind, raise, type_error};

/// Nesting beyond this is refused; Python gives up as well.
const DEPTH_MAX: usize = 200;

/// Longest text. What is written costs nothing before it is there, and indents may be most of it.
const BYTES_MAX: usize = 32 << 20;

/// How to write.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// Sort object keys.
    pub sort_keys: bool,
    /// Spaces per level; `None` for one line.
    pub indent: Option<usize>,
    /// Escape `<`, `>`, `&` and `'`, as jinja2's `tojson` does.
    pub html_safe: bool,
}

/// Python's `json.dumps(value)`.
pub(crate) fn dumps(value: &Value, style: Style) -> Result<String, Error> {
    let mut out = String::new();
    write(&mut out, value, style, 0)?;
    Ok(out)
}

fn write(out: &mut String, value: &Value, style: Style, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(type_error("the value nests too deeply for JSON"));
    }
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => write_string(out, value.as_str().unwrap_or_default(), style.html_safe),
        ValueKind::Map => return write_object(out, value, style, depth),
        ValueKind::Seq if value.downcast_object_ref::<super::objects::Set>().is_none() => {
            let items: Vec<Value> = value.try_iter()?.collect();
            return write_items(out, ('[', ']'), items.len(), style, depth, |out, index| {
                write(out, &items[index], style, depth + 1)
            });
        }
        // A `str` enumeration is a string to Python's encoder.
        _ => match value.downcast_object_ref::<super::objects::Enumeration>() {
            Some(member) => write_string(out, &member.value, style.html_safe),
            None => {
                return Err(type_error(format!("a {} cannot be written as JSON", super::objects::type_name(value))));
            }
        },
    }
    Ok(())
}

fn write_number(out: &mut String, value: &Value) {
    match f64::try_from(value.clone()) {
        Ok(number) if !value.is_integer() => out.push_str(match number {
            n if n.is_nan() => "NaN",
            n if n == f64::INFINITY => "Infinity",
            n if n == f64::NEG_INFINITY => "-Infinity",
            n => return out.push_str(&text::float(n)),
        }),
        _ => {
            let _ = write!(out, "{value}");
        }
    }
}

fn write_object(out: &mut String, value: &Value, style: Style, depth: usize) -> Result<(), Error> {
    let mut entries = Vec::new();
    for key in value.try_iter()? {
        let name = match key.kind() {
            ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
            ValueKind::None | ValueKind::Bool | ValueKind::Number => dumps(&key, style)?,
            kind => return Err(type_error(format!("a key of type {kind} cannot be written as JSON"))),
        };
        entries.push((name, value.get_item(&key)?));
    }
    if style.sort_keys {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
    }
    write_items(out, ('{', '}'), entries.len(), style, depth, |out, index| {
        let (name, value) = &entries[index];
        write_string(out, name, style.html_safe);
        out.push_str(": ");
        write(out, value, style, depth + 1)
    })
}

fn write_items(
    out: &mut String,
    (open, close): (char, char),
    count: usize,
    style: Style,
    depth: usize,
    mut item: impl FnMut(&mut String, usize) -> Result<(), Error>,
) -> Result<(), Error> {
    out.push(open);
    for index in 0..count {
        if out.len() > BYTES_MAX {
            return Err(raise(ErrorKind::Limit, format!("JSON of more than {BYTES_MAX} bytes")));
        }
        match style.indent {
            Some(width) => {
                out.push_str(if index > 0 { ",\n" } else { "\n" });
                out.extend(std::iter::repeat_n(' ', width * (depth + 1)));
            }
            None if index > 0 => out.push_str(", "),
            None => {}
        }
        item(out, index)?;
    }
    if let (Some(width), true) = (style.indent, count > 0) {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', width * depth));
    }
    out.push(close);
    Ok(())
}

/// A JSON string in ASCII, as Python writes it by default.
fn write_string(out: &mut String, text: &str, html_safe: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\'' if html_safe => escape(out, c),
            ' '..='~' => out.push(c),
            _ => escape(out, c),
        }
    }
    out.push('"');
}

fn escape(out: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        let _ = write!(out, "\\u{unit:04x}");
    }
}

/// Python's `json.loads(text)`.
pub(crate) fn loads(text: &str) -> Result<Value, Error> {
    let parsed: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        type_error(format!("the text is not JSON (line {}, column {})", error.line(), error.column()))
    })?;
    Ok(to_value(&parsed))
}

/// A JSON value as a template value.
pub(crate) fn to_value(json: &serde_json::Value) -> Value {
    match json {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(value) => Value::from(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(value), _) => Value::from(value),
            (None, Some(value)) => Value::from(value),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(value) => Value::from(value.as_str()),
        serde_json::Value::Array(items) => List::value(items.iter().map(to_value).collect()),
        serde_json::Value::Object(entries) => {
            Value::from_pairs(entries.iter().map(|(key, value)| (key.as_str(), to_value(value))))
        }
    }
}
