//! What every task may say, whatever its operator: the arguments of Airflow's `BaseOperator`.

use crate::json::as_written;
use crate::keys::{self, Key, Standing};
use crate::params::params;
use crate::reader::Cursor;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use serde_json::{Map as JsonMap, Value as Json};
use std::collections::BTreeMap;
use updraft_model::dag::RETRY_DELAY_DEFAULT;
use updraft_model::dag_parts::{POOL_DEFAULT, QUEUE_DEFAULT};
use updraft_model::workers::QUEUE_PYTHON;
use updraft_model::{Task, TriggerRule, WeightRule};

/// Keys of a task that say where it stands and what it is; they are read by the loader of tasks.
pub(crate) const STRUCTURE: &[&str] = &[
    "operator",
    "decorator",
    "task_id",
    "dependencies",
    "task_group_name",
    "expand",
    "expand_kwargs",
    "partial",
    "variables_as_arguments",
    "start_date",
    "end_date",
    "inlets",
    "outlets",
    "is_setup",
    "is_teardown",
    "on_failure_fail_dagrun",
];

/// Warns of a key that nothing acts on yet, unless it says what is so anyway.
pub(crate) fn warn_kept(cursor: &Cursor<'_>) {
    let harmless = match &cursor.node.value {
        Value::Null => true,
        Value::Bool(value) => *value == (&*cursor.name == "ignore_first_depends_on_past"),
        Value::Text(text) => matches!(&**text, "" | "None" | POOL_DEFAULT),
        Value::Int(number) => (&*cursor.name == "pool_slots" && *number == 1) || *number == 0,
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.entries().is_empty() || cursor.is_not_given(),
        _ => false,
    };
    if !harmless {
        let message = format!("`{}` is read and kept, but nothing acts on it yet", cursor.name);
        cursor.warn("ignored-key", message, None);
    }
}

/// Says what is to be said about a key by its standing alone.
pub(crate) fn warn_by_standing(key: &Key, cursor: &Cursor<'_>) {
    match key.standing {
        Standing::Kept if !crate::callbacks::is_key(key.name) => warn_kept(cursor),
        Standing::Kept | Standing::Effective | Standing::NoEffect => {}
        Standing::Old(new) => {
            let message = format!("`{}` is an old name, which Airflow 3 or dag-factory no longer accepts", cursor.name);
            cursor.warn("old-key", message, Some(format!("write `{new}`")));
        }
    }
}

/// Of an older and a newer name for one thing, both given, leaves the one that counts: the newer, but for `concurrency`, which wins in dag-factory.
pub(crate) fn settle_old(fields: &mut BTreeMap<&str, Cursor<'_>>, table: &'static [Key]) {
    for key in table {
        let Standing::Old(new) = key.standing else { continue };
        let is_given = |name: &str| fields.get(name).is_some_and(|c| !c.is_none() && !c.is_not_given());
        if !is_given(key.name) || !is_given(new) {
            continue;
        }
        let (winner, loser) = if key.name == "concurrency" { (key.name, new) } else { (new, key.name) };
        if let Some(cursor) = fields.remove(loser) {
            let message = format!("`{loser}` has no effect: `{winner}` says the same, and wins");
            cursor.warn("ignored-key", message, Some(format!("keep `{new}`, and remove `{}`", key.name)));
        }
    }
}

/// Default arguments as they were understood, for people to look at.
pub(crate) fn understood(defaults: &BTreeMap<&str, Cursor<'_>>) -> JsonMap<String, Json> {
    let values = defaults.iter().filter(|(_, c)| c.sink.may_copy(c.node.weight));
    values.map(|(name, cursor)| ((*name).to_owned(), as_written(cursor.node))).collect()
}

/// Puts one common argument into a task. Null means Airflow's default, as it does there.
pub(crate) fn apply(task: &mut Task, cursor: &Cursor<'_>) {
    let Some(key) = keys::find(keys::TASK, &cursor.name) else { return };
    if cursor.is_not_given() {
        return;
    }
    warn_by_standing(key, cursor);
    let none = cursor.is_none();
    let text = || cursor.text().map(str::to_owned);
    let name = match key.standing {
        Standing::Old(new) => new,
        _ => key.name,
    };
    // Where a value was refused the task keeps what it has; its DAG is not handed out.
    match name {
        "owner" if cursor.is_null() => "airflow".clone_into(&mut task.owner),
        "owner" => set(&mut task.owner, text()),
        "retries" if none => task.retries = 0,
        "retries" => set(&mut task.retries, retries(cursor)),
        "retry_delay" if none => task.retry_delay = RETRY_DELAY_DEFAULT,
        "retry_delay" => set(&mut task.retry_delay, cursor.duration()),
        "retry_exponential_backoff" if none => task.retry_exponential_backoff = 0.0,
        "retry_exponential_backoff" => set(&mut task.retry_exponential_backoff, backoff(cursor)),
        "max_retry_delay" => optional(&mut task.max_retry_delay, none, || cursor.duration()),
        "execution_timeout" => optional(&mut task.execution_timeout, none, || cursor.duration_above_zero()),
        "trigger_rule" if none => task.trigger_rule = TriggerRule::AllSuccess,
        "trigger_rule" => set(&mut task.trigger_rule, trigger_rule(cursor)),
        "priority_weight" if none => task.priority_weight = 1,
        "priority_weight" => {
            let weight = cursor.integer(i64::MIN, i64::MAX);
            // Airflow clamps as well.
            set(&mut task.priority_weight, weight.map(|w| w.clamp(i32::MIN.into(), i32::MAX.into()) as i32));
        }
        "weight_rule" if none => task.weight_rule = WeightRule::default(),
        "weight_rule" => set(&mut task.weight_rule, weight_rule(cursor)),
        "depends_on_past" => flag(&mut task.depends_on_past, cursor, none, false),
        "wait_for_downstream" => flag(&mut task.wait_for_downstream, cursor, none, false),
        "ignore_first_depends_on_past" => flag(&mut task.ignore_first_depends_on_past, cursor, none, true),
        "wait_for_past_depends_before_skipping" => {
            flag(&mut task.wait_for_past_depends_before_skipping, cursor, none, false);
        }
        "do_xcom_push" => flag(&mut task.do_xcom_push, cursor, none, true),
        "multiple_outputs" => flag(&mut task.multiple_outputs, cursor, none, false),
        "render_template_as_native_obj" => {
            optional(&mut task.render_template_as_native_obj, none, || cursor.boolean());
        }
        "pool" if none => POOL_DEFAULT.clone_into(&mut task.pool),
        "pool" => set(&mut task.pool, text()),
        "pool_slots" if none => task.pool_slots = 1,
        "pool_slots" => set(&mut task.pool_slots, cursor.count(1)),
        "queue" if none => QUEUE_DEFAULT.clone_into(&mut task.queue),
        "queue" => {
            set(&mut task.queue, text());
            if !matches!(&*task.queue, QUEUE_DEFAULT | QUEUE_PYTHON | "") {
                let message =
                    format!("there is no queue `{}`: the task goes where it would go without", clip(&task.queue));
                cursor.warn(
                    "ignored-key",
                    message,
                    Some(format!("`{QUEUE_PYTHON}` is the one there is; remove any other")),
                );
            }
        }
        "params" => {
            if let Some(params) = params(cursor) {
                (task.params, task.param_schemas) = (params.values, params.schemas);
            }
        }
        "max_active_tis_per_dag" => optional(&mut task.max_active_tis_per_dag, none, || cursor.count(1)),
        "max_active_tis_per_dagrun" => optional(&mut task.max_active_tis_per_dagrun, none, || cursor.count(1)),
        "doc_md" => optional(&mut task.doc_md, cursor.is_null(), text),
        "task_display_name" => optional(&mut task.task_display_name, none, text),
        "map_index_template" => optional(&mut task.map_index_template, none, text),
        _ if none => drop(task.other.remove(name)),
        _ => {
            if let Some(json) = cursor.json_keeping() {
                task.other.insert(name.to_owned(), json);
            }
        }
    }
}

fn flag(target: &mut bool, cursor: &Cursor<'_>, none: bool, default: bool) {
    set(target, if none { Some(default) } else { cursor.boolean() });
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn optional<T>(target: &mut Option<T>, none: bool, read: impl FnOnce() -> Option<T>) {
    *target = if none { None } else { read() };
}

/// Airflow reads a number in quotes here, and here only, and complains.
fn retries(cursor: &Cursor<'_>) -> Option<u32> {
    if let Value::Text(text) = &cursor.node.value
        && let Ok(number) = text.trim().parse()
    {
        let hint = Some(format!("write `{number}` without quotes"));
        cursor.warn("not-a-number", "`retries` is text and is read as a number", hint);
        return Some(number);
    }
    cursor.count(0)
}

/// The multiplier: `true` is 2 and `false` off, as in Airflow.
fn backoff(cursor: &Cursor<'_>) -> Option<f64> {
    match cursor.node.value {
        Value::Bool(on) => Some(if on { 2.0 } else { 0.0 }),
        Value::Int(number) => Some(number as f64),
        Value::Float(number) if number.is_finite() => Some(number),
        _ => {
            cursor.wrong_type("`true`, `false` or a number", None);
            None
        }
    }
}

fn trigger_rule(cursor: &Cursor<'_>) -> Option<TriggerRule> {
    let text = cursor.text()?;
    let old = match text {
        "none_failed_or_skipped" => Some(TriggerRule::NoneFailedMinOneSuccess),
        "dummy" => Some(TriggerRule::Always),
        _ => None,
    };
    if let Some(rule) = old {
        let message = format!("`{text}` is an old name of the trigger rule `{rule}`");
        cursor.warn("old-value", message, Some(format!("write `{rule}`")));
        return Some(rule);
    }
    let rule = text.parse::<TriggerRule>();
    if rule.is_err() {
        let known = || TriggerRule::ALL.iter().map(|r| r.as_str());
        let hint = cursor.sink.did_you_mean(text, known());
        let hint = hint.unwrap_or_else(|| format!("known are {}", known().collect::<Vec<_>>().join(", ")));
        cursor.error("unknown-value", format!("`{}` is no trigger rule", clip(text)), Some(hint));
    }
    rule.ok()
}

/// A name, or the class of one of Airflow's own rules.
fn weight_rule(cursor: &Cursor<'_>) -> Option<WeightRule> {
    if let Some((class, _)) = cursor.typed() {
        match class.rsplit('.').next() {
            Some("_DownstreamPriorityWeightStrategy") => return Some(WeightRule::Downstream),
            Some("_UpstreamPriorityWeightStrategy") => return Some(WeightRule::Upstream),
            Some("_AbsolutePriorityWeightStrategy") => return Some(WeightRule::Absolute),
            _ => {}
        }
    }
    Some(match cursor.text()? {
        "downstream" => WeightRule::Downstream,
        "upstream" => WeightRule::Upstream,
        "absolute" => WeightRule::Absolute,
        other => {
            let message = format!("`{}` is no weight rule that is supported", clip(other));
            cursor.error("unknown-value", message, Some("known are downstream, upstream, absolute".into()));
            return None;
        }
    })
}
