//! Arguments as the oracle shows them.

use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use updraft_model::Task;

/// The arguments that a file sets for a task: by itself, under `partial`, by default arguments, or in a `default` block.
pub(crate) fn set_keys(written: &Value, dag_id: &str, task: &Task) -> BTreeSet<String> {
    let name = match &task.group {
        Some(group) => task.task_id.as_str().strip_prefix(&format!("{group}.")).unwrap_or(task.task_id.as_str()),
        None => task.task_id.as_str(),
    };
    let mut keys = BTreeSet::new();
    let mut add = |map: &Value| keys.extend(map.as_object().into_iter().flatten().map(|(key, _)| key.clone()));
    for block in [&written["default"], &written[dag_id]] {
        add(&block["default_args"]);
        let own = match &block["tasks"] {
            Value::Array(items) => items.iter().find(|t| t["task_id"] == name).unwrap_or(&Value::Null),
            tasks => &tasks[name],
        };
        add(own);
        add(&own["partial"]);
        let groups = match &block["task_groups"] {
            Value::Array(items) => items.clone(),
            groups => groups.as_object().into_iter().flatten().map(|(_, g)| g.clone()).collect(),
        };
        for group in &groups {
            add(&group["default_args"]);
        }
    }
    keys
}

/// In which template fields a task differs. A field that the file does not set has the operator's default in the oracle,
/// which is not the loader's to know.
pub(crate) fn template_fields(ours: &Map<String, Value>, theirs: &Value, set: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, value) in theirs.as_object().into_iter().flatten() {
        match ours.get(name).map(plain) {
            Some(ours) if agree(&ours, value) => {}
            Some(ours) => wrong.push(format!("`{name}`: ours {ours}, theirs {value}")),
            None if is_empty(value) || !set.contains(name) => {}
            None => wrong.push(format!("`{name}`: ours is missing, theirs {value}")),
        }
    }
    wrong
}

/// Nothing, or the marker of an argument that is not given.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) if text.ends_with(".ArgNotSet>") => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Our typed values in the oracle's spelling.
pub(crate) fn plain(ours: &Value) -> Value {
    match ours {
        Value::Array(items) => Value::Array(items.iter().map(plain).collect()),
        Value::Object(map) => match map.get("__type__").and_then(Value::as_str) {
            Some("airflow.sdk.XComArg") => json!({"xcom_of": map["task_id"], "key": map["key"]}),
            Some("datetime.timedelta") => json!({"timedelta_s": map["seconds"]}),
            Some(class) => json!(format!("<{class}>")),
            None => Value::Object(map.iter().map(|(k, v)| (k.clone(), plain(v))).collect()),
        },
        other => other.clone(),
    }
}

/// Whether two values mean the same. What the oracle cannot show agrees with anything: a callable, which shows as
/// `callable:...`, an object, which shows as its class, and a path below its own folder.
pub(crate) fn agree(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (_, Value::String(text)) if text.starts_with("callable:") => true,
        // The oracle names the module in which a class is defined, files the one it is handed out by.
        (Value::String(ours), Value::String(text)) if is_object(text) => class_name(ours) == class_name(text),
        (_, Value::String(text)) if is_object(text) => true,
        (Value::String(_), Value::String(text)) if text.contains("$SUPPORT") => true,
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agree(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| agree(a, b)))
        }
        _ => ours == theirs,
    }
}

fn is_object(text: &str) -> bool {
    text.starts_with('<') && text.ends_with('>')
}

fn class_name(text: &str) -> &str {
    text.rsplit('.').next().unwrap_or(text)
}
