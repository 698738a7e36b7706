//! What must agree: ids, edges, groups, schedule, and the settings of every task.

use super::values;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::{AssetCondition, AssetRef, Dag, Task, Timetable};

/// Everything in which a DAG differs. `written`: its file.
pub(crate) fn dag(ours: &Dag, theirs: &Value, written: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let id = ours.dag_id.as_str();
    let mut same = |what: &str, ours: Value, theirs: &Value| {
        if ours != *theirs {
            wrong.push(format!("{id}: {what}: ours {ours}, theirs {theirs}"));
        }
    };
    let name = |i: usize| ours.tasks[i].task_id.as_str();
    let ids: BTreeSet<&str> = (0..ours.tasks.len()).map(name).collect();
    same("task ids", json!(ids), &theirs["task_ids"]);
    let of = |(i, task): (usize, &Task)| task.upstream.iter().map(|u| (name(u.at()), name(i))).collect::<Vec<_>>();
    let edges: BTreeSet<(&str, &str)> = ours.tasks.iter().enumerate().flat_map(of).collect();
    same("edges", json!(edges), &theirs["edges"]);
    same("groups", groups(ours), &sorted_children(&theirs["task_groups"]));
    same("catchup", json!(ours.catchup), &boolean(&theirs["catchup"]));
    same("max_active_runs", json!(ours.max_active_runs_effective()), &theirs["max_active_runs"]);
    same("dagrun_timeout", seconds(ours.dagrun_timeout), &number(&theirs["dagrun_timeout_s"]));
    same("description", json!(ours.description), &theirs["description"]);
    wrong.extend(schedule(ours, &theirs["schedule"]).into_iter().map(|w| format!("{id}: {w}")));
    for task in &ours.tasks {
        let theirs = &theirs["tasks"][task.task_id.as_str()];
        if theirs.is_object() {
            let set = values::set_keys(written, id, task);
            wrong.extend(self::task(task, theirs, &set).into_iter().map(|w| format!("{id}.{}: {w}", task.task_id)));
        }
    }
    wrong
}

/// dag-factory keeps whatever stands there, text too; what is not a boolean counts as false.
fn boolean(value: &Value) -> Value {
    json!(value.as_bool().unwrap_or(false))
}

fn number(value: &Value) -> Value {
    json!(value.as_f64())
}

fn seconds(duration: Option<jiff::SignedDuration>) -> Value {
    json!(duration.map(|d| d.as_secs_f64()))
}

fn groups(ours: &Dag) -> Value {
    let mut groups = BTreeMap::new();
    for group in &ours.groups {
        let of_tasks = ours.tasks.iter().filter(|t| t.group.as_ref() == Some(&group.group_id));
        let of_groups = ours.groups.iter().filter(|g| g.parent.as_ref() == Some(&group.group_id));
        let children: BTreeSet<&str> =
            of_tasks.map(|t| t.task_id.as_str()).chain(of_groups.map(|g| g.group_id.as_str())).collect();
        let group_json = json!({"parent": group.parent, "tooltip": group.tooltip, "children": children});
        groups.insert(group.group_id.as_str(), group_json);
    }
    json!(groups)
}

fn sorted_children(theirs: &Value) -> Value {
    let mut theirs = theirs.clone();
    for (_, group) in theirs.as_object_mut().into_iter().flatten() {
        if let Some(children) = group["children"].as_array_mut() {
            children.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    theirs
}

/// In what a schedule differs.
pub(crate) fn schedule(ours: &Dag, theirs: &Value) -> Vec<String> {
    let mut shown = json!({"timetable": ours.timetable_class(), "summary": ours.schedule_summary()});
    match (&ours.assets, &ours.timetable) {
        (None, Timetable::CronTrigger(cron)) => {
            shown["expression"] = json!(cron.cron.to_string());
            shown["timezone"] = json!(cron.timezone.name());
        }
        (Some(assets), _) => shown["assets"] = condition(assets),
        _ => {}
    }
    let same = |(key, value): (&String, &Value)| {
        (theirs[key] != *value).then(|| format!("schedule: {key}: ours {value}, theirs {}", theirs[key]))
    };
    shown.as_object().into_iter().flatten().filter_map(same).collect()
}

fn condition(ours: &AssetCondition) -> Value {
    match ours {
        AssetCondition::Of(AssetRef::Asset(asset)) => json!({"asset": asset.uri, "name": asset.name}),
        AssetCondition::Of(other) => json!(other),
        AssetCondition::All(parts) => json!({"all": parts.iter().map(condition).collect::<Vec<_>>()}),
        AssetCondition::Any(parts) => json!({"any": parts.iter().map(condition).collect::<Vec<_>>()}),
    }
}

fn task(ours: &Task, theirs: &Value, set: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, ours: Value, theirs: &Value| {
        if ours != *theirs {
            wrong.push(format!("{what}: ours {ours}, theirs {theirs}"));
        }
    };
    same("operator", json!(ours.operator), &theirs["operator"]);
    same("mapped", json!(ours.mapping.is_some()), &theirs["mapped"]);
    same("retries", json!(ours.retries), &theirs["retries"]);
    same("retry_delay", seconds(Some(ours.retry_delay)), &number(&theirs["retry_delay_s"]));
    same("execution_timeout", seconds(ours.execution_timeout), &number(&theirs["execution_timeout_s"]));
    same("trigger_rule", json!(ours.trigger_rule.as_str()), &theirs["trigger_rule"]);
    same("task_group", json!(ours.group), &theirs["task_group"]);
    same("owner", json!(ours.owner), &theirs["owner"]);
    same("depends_on_past", json!(ours.depends_on_past), &theirs["depends_on_past"]);
    if let Some(mapping) = &ours.mapping {
        wrong.extend(self::mapping(ours, mapping, theirs));
    } else {
        wrong.extend(values::template_fields(&ours.arguments, &theirs["template_fields"], set));
    }
    wrong
}

/// Mapped tasks: of a decorated one Airflow shows no keys, its callable's arguments being in one of its own.
fn mapping(ours: &Task, mapping: &updraft_model::Mapping, theirs: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    if ours.decorator.is_none() {
        let expand: BTreeSet<&str> = mapping.expand.iter().map(|(name, _)| name.as_str()).collect();
        if json!(expand) != theirs["expand_keys"] {
            wrong.push(format!("expand keys: ours {expand:?}, theirs {}", theirs["expand_keys"]));
        }
        let partial: BTreeSet<&str> =
            theirs["partial_keys"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for name in ours.arguments.keys().chain(&mapping.partial) {
            if !partial.contains(name.as_str()) {
                wrong.push(format!("partial keys: we have `{name}`, they do not"));
            }
        }
    }
    for (name, value) in theirs["partial_values"].as_object().into_iter().flatten() {
        let empty =
            value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
        let ours = ours.arguments.get(name).map(values::plain);
        if !empty && !value.is_null() && ours.as_ref().is_none_or(|ours| !values::agree(ours, value)) {
            wrong.push(format!("partial `{name}`: ours {ours:?}, theirs {value}"));
        }
    }
    wrong
}
