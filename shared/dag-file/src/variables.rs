//! `variables_as_arguments`: arguments of tasks whose values are those of Variables, where they are set.

use crate::reader::Cursor;
use crate::yaml::compose::clip;
use crate::yaml::{Entry, Key, Map, Node, Value, build};
use std::collections::BTreeMap;
use std::rc::Rc;

const KEY: &str = "variables_as_arguments";

/// The DAG with the values of Variables in its tasks. A Variable that is not set leaves the argument as it is.
pub(crate) fn put_in(cursor: &Cursor<'_>, dag: &Rc<Node>, variables: &BTreeMap<String, String>) -> Rc<Node> {
    let Value::Map(map) = &dag.value else { return dag.clone() };
    let Some(tasks) = map.entry("tasks").filter(|e| any_task(&e.value)) else { return dag.clone() };
    let at = cursor.down(tasks);
    let value = match &tasks.value.value {
        Value::Map(by_id) => {
            let mut changed = Map::default();
            for entry in by_id.entries() {
                changed.put(Entry { value: task(&at.down(entry), &entry.value, variables), ..entry.clone() });
            }
            build::map(tasks.value.at, changed)
        }
        Value::List(items) => {
            let items = items.iter().enumerate().map(|(i, node)| task(&at.item(i, node), node, variables)).collect();
            build::list(tasks.value.at, items)
        }
        _ => return dag.clone(),
    };
    let mut changed = Map::default();
    for entry in map.entries() {
        changed.put(entry.clone());
    }
    changed.put(Entry { value: Rc::new(value), ..tasks.clone() });
    Rc::new(build::map(dag.at, changed))
}

fn any_task(tasks: &Node) -> bool {
    let says = |node: &Node| matches!(&node.value, Value::Map(map) if map.get(KEY).is_some());
    match &tasks.value {
        Value::Map(map) => map.entries().iter().any(|e| says(&e.value)),
        Value::List(items) => items.iter().any(|n| says(n)),
        _ => false,
    }
}

fn task(cursor: &Cursor<'_>, node: &Rc<Node>, variables: &BTreeMap<String, String>) -> Rc<Node> {
    let Value::Map(map) = &node.value else { return node.clone() };
    let Some(wanted) = map.entry(KEY).map(|e| cursor.down(e)).filter(|c| !c.is_none()) else { return node.clone() };
    let Some(pairs) = wanted.list() else { return node.clone() };
    let mut changed = Map::default();
    for entry in map.entries() {
        changed.put(entry.clone());
    }
    for (i, pair) in pairs.iter().enumerate() {
        let at = wanted.item(i, pair);
        let Some(fields) = at.mapping() else { continue };
        let text = |key: &str| {
            let found = fields.entry(key).map(|e| at.down(e));
            if found.is_none() {
                let hint = "write pairs of `variable` and `attribute`";
                at.error("missing-key", format!("`{key}` is missing"), Some(hint.into()));
            }
            found.and_then(|c| c.text())
        };
        let (Some(variable), Some(attribute)) = (text("variable"), text("attribute")) else { continue };
        let Some(value) = variables.get(&variable.to_uppercase()) else {
            let (variable, attribute) = (clip(variable), clip(attribute));
            let message = format!(
                "the Variable `{variable}` is not in the environment where this file is read; `{attribute}` stays as it is"
            );
            let hint = format!(
                "set `AIRFLOW_VAR_{}` there; or write `{{{{ var.value.{variable} }}}}`, which is filled in when the task runs, from the metastore too",
                variable.to_uppercase()
            );
            at.warn("unset-variable", message, Some(hint));
            continue;
        };
        let value = Rc::new(build::leaf(pair.at, Some(Value::Text(value.as_str().into()))));
        changed.put(Entry { key: Key::Text(attribute.into()), name: attribute.into(), at: pair.at, value });
    }
    Rc::new(build::map(node.at, changed))
}
