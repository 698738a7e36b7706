//! The arguments that all sensors share.

use crate::reader::Cursor;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use updraft_model::{SensorMode, SensorSettings};

/// Puts in one argument that all sensors share; false: it is none of them.
pub(crate) fn apply(settings: &mut SensorSettings, name: &str, cursor: &Cursor<'_>) -> bool {
    let none = cursor.is_none() || cursor.is_not_given();
    let default = SensorSettings::default();
    // Where a value was refused the setting keeps what it has; its DAG is not handed out.
    match name {
        "mode" if none => settings.mode = default.mode,
        "mode" => settings.mode = mode(cursor).unwrap_or(settings.mode),
        "poke_interval" if none => settings.poke_interval = default.poke_interval,
        "poke_interval" => settings.poke_interval = cursor.duration().unwrap_or(settings.poke_interval),
        "timeout" if none => settings.timeout = default.timeout,
        "timeout" => settings.timeout = cursor.duration().unwrap_or(settings.timeout),
        "max_wait" => settings.max_wait = if none { None } else { cursor.duration() },
        "soft_fail" => settings.soft_fail = flag(cursor, none),
        "exponential_backoff" => settings.exponential_backoff = flag(cursor, none),
        "silent_fail" => settings.silent_fail = flag(cursor, none),
        "never_fail" => settings.never_fail = flag(cursor, none),
        _ => return false,
    }
    true
}

/// Notes settings that cannot go together.
pub(crate) fn check(settings: &SensorSettings, cursor: &Cursor<'_>) {
    if settings.soft_fail && settings.never_fail {
        let message = "a sensor cannot have both `soft_fail` and `never_fail`";
        cursor.key_error("conflict", message, Some("remove one of the two".into()));
    }
}

fn flag(cursor: &Cursor<'_>, none: bool) -> bool {
    !none && cursor.boolean().unwrap_or(false)
}

fn mode(cursor: &Cursor<'_>) -> Option<SensorMode> {
    match &cursor.node.value {
        Value::Text(text) if &**text == "poke" => Some(SensorMode::Poke),
        Value::Text(text) if &**text == "reschedule" => Some(SensorMode::Reschedule),
        Value::Text(text) => {
            let hint = cursor.sink.did_you_mean(text, ["poke", "reschedule"]);
            let hint = hint.unwrap_or_else(|| "write `poke` or `reschedule`".to_owned());
            cursor.error("unknown-value", format!("`{}` is no mode of a sensor", clip(text)), Some(hint));
            None
        }
        _ => {
            cursor.wrong_type("`poke` or `reschedule`", None);
            None
        }
    }
}
