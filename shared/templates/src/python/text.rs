//! `str()` and `repr()` of template values.
//!
//! A template's output is Python's: `None` and `True`, `[1, 'a']`, `{'k': 1.5}`, `1e+20`.

use std::fmt::{self, Write};

use minijinja::Value;
use minijinja::value::ValueKind;

/// Nesting beyond this prints as `...`; nothing legitimate comes near, and the stack is finite.
const DEPTH_MAX: usize = 100;

/// Python's `str(value)`.
pub(crate) fn to_str(value: &Value) -> String {
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    let _ = write_str(&mut text, value);
    text
}

/// Python's `repr(value)`.
pub(crate) fn to_repr(value: &Value) -> String {
    let mut text = String::new();
    let _ = write_repr(&mut text, value, 0);
    text
}

/// Writes `str(value)`.
pub(crate) fn write_str(out: &mut dyn Write, value: &Value) -> fmt::Result {
    match value.as_str() {
        Some(text) => out.write_str(text),
        None if value.is_undefined() => Ok(()),
        // Our objects give `str()` in `Display` and `repr()` in `Debug`.
        None if value.kind() == ValueKind::Plain || crate::assets::is_events(value) => write!(out, "{value}"),
        None => write_repr(out, value, 0),
    }
}

fn write_repr(out: &mut dyn Write, value: &Value, depth: usize) -> fmt::Result {
    if depth > DEPTH_MAX {
        return out.write_str("...");
    }
    match value.kind() {
        ValueKind::Undefined => out.write_str("Undefined"),
        ValueKind::None => out.write_str("None"),
        ValueKind::Bool => out.write_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => write_number(out, value),
        ValueKind::String => quote(out, value.as_str().unwrap_or_default()),
        ValueKind::Map if crate::assets::is_events(value) => write!(out, "{value}"),
        ValueKind::Map => write_dict(out, value, depth),
        ValueKind::Seq | ValueKind::Iterable => write_sequence(out, value, depth),
        _ => match super::objects::object_repr(value) {
            Some(repr) => out.write_str(&repr),
            None => write!(out, "{value}"),
        },
    }
}

fn write_number(out: &mut dyn Write, value: &Value) -> fmt::Result {
    if value.is_integer() {
        return write!(out, "{value}");
    }
    match f64::try_from(value.clone()) {
        Ok(number) => out.write_str(&float(number)),
        Err(_) => write!(out, "{value}"),
    }
}

/// Python's `repr(float)`: the shortest digits that read back the same, with an exponent below 1e-4 and from 1e16 on.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number == 0.0 || (-4..16).contains(&exponent) {
        return format!("{number:?}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn write_dict(out: &mut dyn Write, value: &Value, depth: usize) -> fmt::Result {
    out.write_char('{')?;
    if let Ok(keys) = value.try_iter() {
        for (index, key) in keys.enumerate() {
            if index > 0 {
                out.write_str(", ")?;
            }
            write_repr(out, &key, depth + 1)?;
            out.write_str(": ")?;
            write_repr(out, &value.get_item(&key).unwrap_or_default(), depth + 1)?;
        }
    }
    out.write_char('}')
}

fn write_sequence(out: &mut dyn Write, value: &Value, depth: usize) -> fmt::Result {
    if let Some(range) = value.downcast_object_ref::<crate::corners::Range>() {
        return write!(out, "{range}");
    }
    // What `groupby` gives are tuples with names.
    let is_group = value.get_attr("grouper").is_ok_and(|grouper| !grouper.is_undefined());
    let (open, close) = if value.is_tuple() || is_group {
        ('(', ')')
    } else if value.downcast_object_ref::<super::objects::Set>().is_some() {
        ('{', '}')
    } else {
        ('[', ']')
    };
    out.write_char(open)?;
    let mut count = 0;
    if let Ok(items) = value.try_iter() {
        for item in items {
            if count > 0 {
                out.write_str(", ")?;
            }
            write_repr(out, &item, depth + 1)?;
            count += 1;
        }
    }
    if value.is_tuple() && count == 1 {
        out.write_char(',')?;
    }
    out.write_char(close)
}

/// Python's `repr(str)`: single quotes unless the text holds one and no double quote.
pub(crate) fn quote(out: &mut dyn Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c == quote => write!(out, "\\{c}")?,
            c if c.is_control() && u32::from(c) < 0x100 => write!(out, "\\x{:02x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char(quote)
}
