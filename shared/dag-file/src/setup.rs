//! Setups and teardowns: what a task says of itself, and what a DAG must be like around them.

use crate::reader::Cursor;
use crate::task::Fields;
use crate::yaml::Value;
use std::collections::BTreeMap;
use updraft_model::{Dag, Task, TriggerRule};

/// The keys that make a task what it is. Each is a task's own: lent to many tasks by default arguments they would say that
/// everything sets up, or tears down.
const OWN: &[&str] = &["is_setup", "is_teardown", "on_failure_fail_dagrun"];

/// What the flag says; null is Airflow's default.
pub(crate) fn flag(cursor: &Cursor<'_>) -> bool {
    !cursor.is_none() && cursor.boolean().unwrap_or(false)
}

/// Warns of a flag among default arguments, where it has no effect.
pub(crate) fn warn_lent(name: &str, cursor: &Cursor<'_>) {
    if OWN.contains(&name) {
        let message = format!("`{name}` has no effect in `default_args`");
        cursor.warn("ignored-key", message, Some("write it in the task itself".into()));
    }
}

/// Checks a task's own flags, and gives a teardown its trigger rule: as in Airflow, whatever rule it was given.
pub(crate) fn settle(task: &mut Task, fields: &Fields<'_>) {
    let given = |name: &str| fields.get(name);
    if task.is_setup
        && task.is_teardown
        && let Some(at) = given("is_teardown")
    {
        let message = format!("the task `{}` is both a setup and a teardown", task.task_id);
        at.key_error(
            "setup-teardown",
            message,
            Some("remove `is_setup` or `is_teardown`, or make two tasks of it".into()),
        );
    }
    if task.on_failure_fail_dagrun
        && !task.is_teardown
        && let Some(at) = given("on_failure_fail_dagrun")
    {
        let message = format!("`on_failure_fail_dagrun` is for teardowns, and the task `{}` is none", task.task_id);
        at.key_error("setup-teardown", message, Some("add `is_teardown: true`, or remove the key".into()));
    }
    if task.is_teardown {
        let own = given("trigger_rule").filter(|c| !c.is_none() && !c.is_not_given());
        if let Some(at) = own.filter(|_| task.trigger_rule != TriggerRule::AllDoneSetupSuccess) {
            let message = format!(
                "`trigger_rule` has no effect: a teardown always runs by `{}`, so `{}` is not heeded",
                TriggerRule::AllDoneSetupSuccess,
                task.trigger_rule
            );
            at.warn("ignored-key", message, Some("remove `trigger_rule`".into()));
        }
        task.trigger_rule = TriggerRule::AllDoneSetupSuccess;
    }
}

/// Checks the trigger rules that setups and `fail_fast` allow. `places`: where each task stands in the file.
pub(crate) fn check(dag: &Dag, places: &BTreeMap<String, Cursor<'_>>) {
    for task in &dag.tasks {
        if let Some(at) = places.get(task.task_id.as_str()) {
            check_below_setups(dag, task, at);
            check_fail_fast(dag, task, at);
        }
    }
}

/// What stands right below a setup must wait for it to succeed: if it ran by another rule, it would run without what it needs, and a
/// clear that takes the setup along could leave it as it is.
fn check_below_setups(dag: &Dag, task: &Task, at: &Cursor<'_>) {
    let setup = task.upstream.iter().map(|up| &dag.tasks[up.at()]).find(|up| up.is_setup);
    let Some(setup) = setup.filter(|_| !task.is_teardown && task.trigger_rule != TriggerRule::AllSuccess) else {
        return;
    };
    let message = format!(
        "the task `{}` is right below the setup `{}`, so its trigger rule must be `{}`, and is `{}`",
        task.task_id,
        setup.task_id,
        TriggerRule::AllSuccess,
        task.trigger_rule
    );
    let hint = "remove `trigger_rule`, or put a task between the two: rules other than `all_success` are allowed from there on";
    refuse(at, &message, hint);
}

fn check_fail_fast(dag: &Dag, task: &Task, at: &Cursor<'_>) {
    let is_allowed = matches!(task.trigger_rule, TriggerRule::AllSuccess | TriggerRule::AllDoneSetupSuccess);
    if dag.fail_fast && !is_allowed {
        let message = format!(
            "the DAG has `fail_fast`, where every task runs by `{}`; the task `{}` has the trigger rule `{}`",
            TriggerRule::AllSuccess,
            task.task_id,
            task.trigger_rule
        );
        refuse(at, &message, "remove the task's `trigger_rule`, or the DAG's `fail_fast`");
    }
}

/// Says it of the trigger rule, where the task has one of its own, else of the task.
fn refuse(task: &Cursor<'_>, message: &str, hint: &str) {
    let rule = match &task.node.value {
        Value::Map(map) => map.entry("trigger_rule").map(|entry| task.down(entry)),
        _ => None,
    };
    match rule {
        Some(rule) => rule.error("trigger-rule", message, Some(hint.into())),
        None => task.key_error("trigger-rule", message, Some(hint.into())),
    }
}
