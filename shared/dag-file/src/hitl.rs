//! What tasks that ask people must be like: Airflow refuses the others when it reads the file.

use crate::reader::Cursor;
use crate::task::Fields;
use serde_json::Value as Json;
use std::collections::BTreeSet;
use updraft_model::Task;
use updraft_model::hitl::{APPROVE, REJECT};
use updraft_model::operators::{Operator, Runner};

/// Checks the arguments of a task that asks people; `fields` are its own.
pub(crate) fn check(task: &Task, operator: &Operator, fields: &Fields<'_>, at: &Cursor<'_>) {
    let is_approval = match operator.runner {
        Runner::Approval => true,
        Runner::Hitl | Runner::HitlBranch | Runner::HitlEntry => false,
        _ => return,
    };
    let place = |name: &str| fields.get(name).unwrap_or(at);
    let texts = |name: &str| texts(task.arguments.get(name));
    let given = texts("options");
    let options = match (is_approval, operator.runner, given) {
        (true, ..) => vec![APPROVE.to_owned(), REJECT.to_owned()],
        (_, Runner::HitlEntry, None) => vec!["OK".to_owned()],
        (_, _, given) => given.unwrap_or_default(),
    };
    if options.is_empty() && task.arguments.contains_key("options") {
        place("options").error("bad-options", "`options` cannot be empty", Some("list what may be chosen".into()));
        return;
    }
    let known: BTreeSet<&String> = options.iter().collect();
    let listed = || options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ");
    let defaults = texts("defaults").unwrap_or_default();
    if let Some(unknown) = defaults.iter().find(|default| !known.contains(default)) {
        let message = format!("`defaults` names `{unknown}`, which is not among the options");
        place("defaults").error("bad-options", message, Some(format!("the options are {}", listed())));
    }
    if defaults.len() > 1 && task.arguments.get("multiple") != Some(&Json::Bool(true)) {
        let message = "`defaults` names several options, and the task takes one only";
        let hint = if is_approval { "name one" } else { "name one, or set `multiple: true`" };
        place("defaults").error("bad-options", message, Some(hint.into()));
    }
    if let Some(Json::Object(mapping)) = task.arguments.get("options_mapping") {
        for (option, below) in mapping {
            if !known.contains(option) {
                let message = format!("`options_mapping` names `{option}`, which is not among the options");
                place("options_mapping").error("bad-options", message, Some(format!("the options are {}", listed())));
            }
            if !below.is_string() {
                let message = format!("`options_mapping` must give a task id for `{option}`");
                place("options_mapping").error("wrong-type", message, None);
            }
        }
    }
    if task.params.contains_key("_options") || task.param_schemas.contains_key("_options") {
        place("params").error("bad-params", "a task that asks people cannot have a param `_options`", None);
    }
    if task.arguments.get("notifiers").is_some_and(|notifiers| !notifiers.is_null()) {
        let message = "`notifiers` is read and kept, but nobody is notified when somebody is asked";
        place("notifiers").warn("ignored-key", message, None);
    }
}

/// One text or several; none where it is no such thing.
fn texts(value: Option<&Json>) -> Option<Vec<String>> {
    match value? {
        Json::String(text) => Some(vec![text.clone()]),
        Json::Array(items) => Some(items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()),
        _ => None,
    }
}
