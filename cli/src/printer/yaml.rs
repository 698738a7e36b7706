//! JSON values as YAML that readers of 1.1 (PyYAML) and of 1.2 take alike.
//!
//! A text is written without quotes only where no reader could take it for anything else; all other texts are in double quotes,
//! escaped. That is little enough to keep here, and safer than a general emitter's guesses.

use serde_json::Value;
use std::fmt::Write as _;

/// The value as a YAML document.
pub(super) fn render(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Array(list) if !list.is_empty() => sequence(&mut out, list, 0),
        Value::Object(map) if !map.is_empty() => mapping(&mut out, map, 0),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

fn sequence(out: &mut String, list: &[Value], indent: usize) {
    for (at, value) in list.iter().enumerate() {
        // The first item stands where the caller's dash or key has left the line.
        if at > 0 || !out.ends_with("- ") {
            pad(out, indent);
        }
        out.push_str("- ");
        match value {
            Value::Array(inner) if !inner.is_empty() => sequence(out, inner, indent + 2),
            Value::Object(inner) if !inner.is_empty() => mapping(out, inner, indent + 2),
            other => line(out, &scalar(other)),
        }
    }
}

fn mapping(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize) {
    for (at, (key, value)) in map.iter().enumerate() {
        if at > 0 || !out.ends_with("- ") {
            pad(out, indent);
        }
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                sequence(out, inner, indent);
            }
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                mapping(out, inner, indent + 2);
            }
            other => {
                out.push(' ');
                line(out, &scalar(other));
            }
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(content) => text(content),
        Value::Array(_) => "[]".to_owned(),
        Value::Object(_) => "{}".to_owned(),
        // YAML 1.1 takes `1e5` for text: a float needs its point.
        Value::Number(number) => match number.to_string() {
            float if float.contains('e') && !float.contains('.') => float.replacen('e', ".0e", 1),
            plain => plain,
        },
        other => other.to_string(),
    }
}

fn text(content: &str) -> String {
    if is_plain(content) {
        return content.to_owned();
    }
    let mut out = String::from("\"");
    for c in content.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Whether no reader takes the text for anything but text: a letter, then letters, digits and signs without meaning, and no word
/// that some version of YAML reserves.
fn is_plain(text: &str) -> bool {
    const RESERVED: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"];
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic())
        && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'))
        && !RESERVED.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_values_are_blocks() {
        let value =
            json!([{"dag_id": "etl", "owners": ["a", "b"], "conf": {"k": [1, 2.5], "e": {}}, "l": []}, [["x"]], null]);
        let expected = "- dag_id: etl\n  owners:\n  - a\n  - b\n  conf:\n    k:\n    - 1\n    - 2.5\n    e: {}\n  l: []\n\
                        - - - x\n- null\n";
        assert_eq!(render(&value), expected);
        assert_eq!(render(&json!([])), "[]\n");
        assert_eq!(render(&json!("a b")), "\"a b\"\n");
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_quoted() {
        for word in
            ["", "yes", "No", "NULL", "1:30", "0x1f", "~", "a: b", "- a", "#a", "2026-01-01", "a ", "é", "@daily"]
        {
            assert!(text(word).starts_with('"'), "{word}");
        }
        assert_eq!(text("a\"b\\c\nd\u{1}\u{85}"), "\"a\\\"b\\\\c\\nd\\u0001\\u0085\"");
        assert_eq!(text("retry-1.x/y"), "retry-1.x/y");
        assert_eq!(scalar(&json!(1e300)), "1.0e+300");
    }
}
