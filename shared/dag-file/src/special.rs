//! Mappings that stand for another value whatever key they are found under: `__join__`, `__and__` and `__or__` of texts,
//! and lists spelled as `__type__: builtins.list`. They are replaced before anything else is read.

use crate::reader::Cursor;
use crate::time::isoformat_offset;
use crate::yaml::{Entry, Map, Node, Value, build};
use std::rc::Rc;

/// The node with everything inside replaced that stands for another value.
pub(crate) fn resolved(cursor: &Cursor<'_>, node: &Rc<Node>) -> Rc<Node> {
    if !node.special {
        return node.clone();
    }
    match &node.value {
        Value::List(items) => {
            let items = items.iter().enumerate().map(|(i, n)| resolved(&cursor.item(i, n), n)).collect();
            Rc::new(Node { broken: node.broken, ..build::list(node.at, items) })
        }
        Value::Map(map) => mapping(cursor, node, map),
        _ => node.clone(),
    }
}

fn mapping(cursor: &Cursor<'_>, node: &Node, map: &Map) -> Rc<Node> {
    let mut inside = Map::default();
    for entry in map.entries() {
        let value = resolved(&cursor.down(entry), &entry.value);
        inside.put(Entry { value, ..entry.clone() });
    }
    let items = |key: &str| match inside.get(key).map(|n| &n.value) {
        Some(Value::List(items)) => Some(items.as_slice()),
        _ => None,
    };
    for (key, begin, between, end) in
        [("__join__", "", "", ""), ("__and__", "(", " & ", ")"), ("__or__", "(", " | ", ")")]
    {
        let Some(entry) = inside.entry(key) else { continue };
        let Some(items) = items(key) else {
            let hint = Some(format!("write `{key}: [a, b]`"));
            cursor.down(entry).error("wrong-type", format!("`{key}` must be a list"), hint);
            return Rc::new(build::broken(node.at));
        };
        let texts: Option<Vec<String>> = items.iter().map(|n| python_text(n)).collect();
        match texts {
            Some(texts) => {
                let text = format!("{begin}{}{end}", texts.join(between));
                return Rc::new(build::leaf(node.at, Some(Value::Text(text.into()))));
            }
            // Assets are joined where a schedule is read.
            None if key != "__join__" => {}
            None => {
                let message = "`__join__` joins texts and numbers only";
                cursor.down(entry).error("wrong-type", message, Some("write the result out".into()));
                return Rc::new(build::broken(node.at));
            }
        }
    }
    if matches!(inside.get("__type__").map(|n| &n.value), Some(Value::Text(t)) if &**t == "builtins.list") {
        let argument = || {
            items("__args__").and_then(|args| match args {
                [] => Some(&[][..]),
                [only] => match &only.value {
                    Value::List(items) => Some(items.as_slice()),
                    _ => None,
                },
                _ => None,
            })
        };
        let Some(items) = items("items").or_else(argument) else {
            cursor.error("wrong-type", "a typed list needs its `items`, as a list", None);
            return Rc::new(build::broken(node.at));
        };
        return Rc::new(Node { broken: node.broken, ..build::list(node.at, items.to_vec()) });
    }
    Rc::new(Node { broken: node.broken, ..build::map(node.at, inside) })
}

/// A scalar as Python's `str` shows it.
fn python_text(node: &Node) -> Option<String> {
    Some(match &node.value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Huge(text) => text.to_string(),
        // Python keeps the point of a whole number.
        Value::Float(number) => format!("{number:?}"),
        Value::Text(text) => text.to_string(),
        Value::Date(date) => date.to_string(),
        Value::DateTime(at, offset) => {
            let zone = offset.map(isoformat_offset).unwrap_or_default();
            format!("{}{zone}", at.to_string().replace('T', " "))
        }
        Value::List(_) | Value::Map(_) => return None,
    })
}
