//! What tasks that look at other DAGs must be like: Airflow refuses the rest when it reads the file.

use crate::task::Fields;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use std::collections::BTreeMap;
use updraft_model::operators::{Operator, Runner};
use updraft_model::{DagRunState, TaskInstanceState};

/// Checks what a sensor waits for and what a triggered run may end as; `fields` are the task's own.
pub(crate) fn check(operator: &Operator, fields: &Fields<'_>) {
    let given = |name: &str| fields.get(name).filter(|c| !c.is_none());
    match operator.runner {
        Runner::ExternalTaskSensor => {
            only_one(&["external_task_id", "external_task_ids", "external_task_group_id"], fields);
            only_one(&["execution_delta", "execution_date_fn"], fields);
            let is_of_tasks = ["external_task_id", "external_task_ids", "external_task_group_id"]
                .iter()
                .any(|name| given(name).is_some());
            let known = if is_of_tasks { names(TaskInstanceState::ALL) } else { names(DagRunState::ALL) };
            let of = if is_of_tasks { "a task instance" } else { "a run" };
            states(&["allowed_states", "skipped_states", "failed_states"], fields, &known, of, true);
        }
        Runner::TriggerDagRun => {
            states(&["allowed_states", "failed_states"], fields, &names(DagRunState::ALL), "a run", false);
        }
        _ => {}
    }
}

fn names<S: std::fmt::Display>(states: &[S]) -> Vec<String> {
    states.iter().map(ToString::to_string).collect()
}

/// Arguments of which one at most may say something.
fn only_one(arguments: &[&str], fields: &Fields<'_>) {
    let mut given = arguments.iter().filter_map(|name| fields.get(name).filter(|c| !c.is_none()));
    let Some(first) = given.next() else { return };
    for other in given {
        let message = format!("`{}` and `{}` exclude each other", first.name, other.name);
        other.key_error("not-possible", message, Some("remove one of the two".into()));
    }
}

/// Lists of states: known ones, and where they must differ, each once.
fn states(arguments: &[&str], fields: &Fields<'_>, known: &[String], of: &str, are_apart: bool) {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    for name in arguments {
        let Some(list) = fields.get(name) else { continue };
        let Value::List(items) = &list.node.value else { continue };
        for (i, node) in items.iter().enumerate() {
            let Value::Text(state) = &node.value else { continue };
            let item = list.item(i, node);
            if !known.iter().any(|k| *k == **state) {
                let hint = item.sink.did_you_mean(state, known.iter().map(String::as_str));
                let hint = hint.unwrap_or_else(|| format!("known are {}", known.join(", ")));
                item.error("unknown-value", format!("`{}` is no state of {of}", clip(state)), Some(hint));
            } else if let Some(other) = seen.insert(state, (*name).to_owned()).filter(|_| are_apart) {
                let message = format!("the state `{state}` stands in `{name}` and in `{other}`");
                item.error("not-possible", message, Some("a state can mean one thing only: remove one of them".into()));
            }
        }
    }
}
