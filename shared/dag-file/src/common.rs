//! What every task may say, whatever its operator: the arguments of Airflow's `BaseOperator`.

use crate::reader::Cursor;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use serde_json::{Map as JsonMap, Value as Json};
use updraft_model::{Task, TriggerRule, WeightRule, dag::RETRY_DELAY_DEFAULT};

/// How a key is treated that is no argument of the operator itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Acted on, by [`apply`].
    Common,
    /// Acted on by the loader of tasks.
    Structure,
    /// Accepted; it changes nothing in Airflow 3, or nothing but looks.
    NoEffect,
    /// Accepted with a warning: Airflow would act on it.
    Ignored,
    /// Refused: a task that ignored it would do something else.
    Refused,
}

/// All keys a task may have beside its operator's own.
pub(crate) const KEYS: &[(&str, Kind)] = &[
    ("owner", Kind::Common),
    ("retries", Kind::Common),
    ("retry_delay", Kind::Common),
    ("retry_delay_sec", Kind::Common),
    ("retry_exponential_backoff", Kind::Common),
    ("max_retry_delay", Kind::Common),
    ("execution_timeout", Kind::Common),
    ("execution_timeout_secs", Kind::Common),
    ("trigger_rule", Kind::Common),
    ("priority_weight", Kind::Common),
    ("weight_rule", Kind::Common),
    ("depends_on_past", Kind::Common),
    ("wait_for_downstream", Kind::Common),
    ("do_xcom_push", Kind::Common),
    ("params", Kind::Common),
    ("max_active_tis_per_dag", Kind::Common),
    ("max_active_tis_per_dagrun", Kind::Common),
    ("doc_md", Kind::Common),
    ("operator", Kind::Structure),
    ("task_id", Kind::Structure),
    ("dependencies", Kind::Structure),
    ("task_group_name", Kind::Structure),
    ("start_date", Kind::Structure),
    ("end_date", Kind::Structure),
    ("email", Kind::NoEffect),
    ("email_on_retry", Kind::NoEffect),
    ("email_on_failure", Kind::NoEffect),
    ("sla", Kind::NoEffect),
    ("doc", Kind::NoEffect),
    ("doc_json", Kind::NoEffect),
    ("doc_yaml", Kind::NoEffect),
    ("doc_rst", Kind::NoEffect),
    ("task_display_name", Kind::NoEffect),
    ("map_index_template", Kind::NoEffect),
    ("logger_name", Kind::NoEffect),
    ("allow_nested_operators", Kind::NoEffect),
    ("ui_color", Kind::NoEffect),
    ("ui_fgcolor", Kind::NoEffect),
    ("pool", Kind::Ignored),
    ("pool_slots", Kind::Ignored),
    ("queue", Kind::Ignored),
    ("resources", Kind::Ignored),
    ("run_as_user", Kind::Ignored),
    ("executor", Kind::Ignored),
    ("executor_config", Kind::Ignored),
    ("inlets", Kind::Ignored),
    ("outlets", Kind::Ignored),
    ("multiple_outputs", Kind::Ignored),
    ("retry_policy", Kind::Ignored),
    ("pre_execute", Kind::Ignored),
    ("post_execute", Kind::Ignored),
    ("ignore_first_depends_on_past", Kind::Ignored),
    ("wait_for_past_depends_before_skipping", Kind::Ignored),
    ("render_template_as_native_obj", Kind::Ignored),
    ("on_execute_callback", Kind::Ignored),
    ("on_success_callback", Kind::Ignored),
    ("on_failure_callback", Kind::Ignored),
    ("on_retry_callback", Kind::Ignored),
    ("on_skipped_callback", Kind::Ignored),
    ("decorator", Kind::Refused),
    ("expand", Kind::Refused),
    ("partial", Kind::Refused),
    ("variables_as_arguments", Kind::Refused),
];

/// How a key is treated; none: it is the operator's, or unknown.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    let callback = || {
        let base = name.strip_suffix("_name").or_else(|| name.strip_suffix("_file"))?;
        (base.starts_with("on_") && base.ends_with("_callback")).then_some(Kind::Ignored)
    };
    KEYS.iter().find(|(key, _)| *key == name).map(|(_, kind)| *kind).or_else(callback)
}

/// Warns of a key that Airflow would act on and we do not, unless it says what is so anyway.
pub(crate) fn warn_ignored(cursor: &Cursor<'_>) {
    let harmless = match &cursor.node.value {
        Value::Null | Value::Bool(false) => true,
        Value::Text(text) => matches!(&**text, "" | "None" | "default" | "default_pool"),
        Value::Int(1) => &*cursor.name == "pool_slots",
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.entries().is_empty() || cursor.is_not_given(),
        _ => false,
    };
    if !harmless {
        let message = format!("`{}` is not supported yet and is ignored", cursor.name);
        cursor.warn("ignored-key", message, None);
    }
}

/// Keys that are read and kept, but that the engine does not act on yet.
const NOT_ENFORCED: &[&str] = &[
    "concurrency",
    "dagrun_timeout",
    "dagrun_timeout_sec",
    "depends_on_past",
    "fail_fast",
    "max_active_tasks",
    "max_active_tis_per_dag",
    "max_active_tis_per_dagrun",
    "render_template_as_native_obj",
    "wait_for_downstream",
];

/// Warns of a key that is kept for later, unless it says what is so anyway.
pub(crate) fn warn_not_enforced(cursor: &Cursor<'_>) {
    if NOT_ENFORCED.contains(&&*cursor.name) {
        warn_ignored(cursor);
    }
}

/// Puts one common argument into a task. Null means Airflow's default, as it does there.
pub(crate) fn apply(task: &mut Task, cursor: &Cursor<'_>) {
    if cursor.is_not_given() {
        return;
    }
    warn_not_enforced(cursor);
    let none = cursor.is_none();
    // Where a value was refused the task keeps what it has; its DAG is not handed out.
    match &*cursor.name {
        "owner" if cursor.is_null() => "airflow".clone_into(&mut task.owner),
        "owner" => set(&mut task.owner, cursor.text().map(str::to_owned)),
        "retries" if none => task.retries = 0,
        "retries" => set(&mut task.retries, retries(cursor)),
        "retry_delay" | "retry_delay_sec" if none => task.retry_delay = RETRY_DELAY_DEFAULT,
        "retry_delay" | "retry_delay_sec" => {
            old_name(cursor, "_sec");
            set(&mut task.retry_delay, cursor.duration());
        }
        "retry_exponential_backoff" if none => task.retry_exponential_backoff = 0.0,
        "retry_exponential_backoff" => set(&mut task.retry_exponential_backoff, backoff(cursor)),
        "max_retry_delay" => optional(&mut task.max_retry_delay, none, || cursor.duration()),
        "execution_timeout" | "execution_timeout_secs" => {
            old_name(cursor, "_secs");
            optional(&mut task.execution_timeout, none, || cursor.duration_above_zero());
        }
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
        "depends_on_past" if none => task.depends_on_past = false,
        "depends_on_past" => set(&mut task.depends_on_past, cursor.boolean()),
        "wait_for_downstream" if none => task.wait_for_downstream = false,
        "wait_for_downstream" => set(&mut task.wait_for_downstream, cursor.boolean()),
        "do_xcom_push" if none => task.do_xcom_push = true,
        "do_xcom_push" => set(&mut task.do_xcom_push, cursor.boolean()),
        "params" => set(&mut task.params, params(cursor)),
        "max_active_tis_per_dag" => optional(&mut task.max_active_tis_per_dag, none, || cursor.count(1)),
        "max_active_tis_per_dagrun" => optional(&mut task.max_active_tis_per_dagrun, none, || cursor.count(1)),
        "doc_md" => optional(&mut task.doc_md, cursor.is_null(), || cursor.text().map(str::to_owned)),
        _ => {}
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn optional<T>(target: &mut Option<T>, none: bool, read: impl FnOnce() -> Option<T>) {
    *target = if none { None } else { read() };
}

/// Keys that dag-factory had before its release 1.0.
pub(crate) fn old_name(cursor: &Cursor<'_>, suffix: &str) {
    if let Some(new) = cursor.name.strip_suffix(suffix) {
        let message = format!("`{}` is an old name, which dag-factory no longer accepts", cursor.name);
        cursor.warn("old-key", message, Some(format!("write `{new}`")));
    }
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

fn weight_rule(cursor: &Cursor<'_>) -> Option<WeightRule> {
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

/// Params by name; of a typed `Param` the default.
pub(crate) fn params(cursor: &Cursor<'_>) -> Option<JsonMap<String, Json>> {
    let mut params = JsonMap::new();
    if cursor.is_none() {
        return Some(params);
    }
    for (name, value) in cursor.pairs(cursor.mapping()?) {
        params.insert(name.to_owned(), param(&value)?);
    }
    Some(params)
}

fn param(cursor: &Cursor<'_>) -> Option<Json> {
    let Some((class, map)) = cursor.typed() else {
        cursor.refuse_typed();
        return cursor.json();
    };
    if class.rsplit('.').next() != Some("Param") {
        let message = format!("a param of the type `{}` is not supported", clip(class));
        cursor.error("unsupported", message, Some("use a plain value, or `airflow.sdk.Param`".into()));
        return None;
    }
    let default = map.entry("default").map(|entry| cursor.down(entry)).or_else(|| {
        let args = map.entry("__args__").map(|entry| cursor.down(entry))?;
        let first = args.list()?.first()?;
        Some(args.item(0, first))
    });
    match default {
        Some(default) => default.json(),
        None => Some(Json::Null),
    }
}
