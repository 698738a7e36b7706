//! An operator's argument, read as the registry says.

use jiff::civil::Time;
use serde_json::{Number, Value as Json};
use updraft_model::operators::{Argument, ArgumentType, Operator, Runner};

use crate::reader::Cursor;
use crate::time::isoformat_offset;
use crate::yaml::Value;

const TIME_FORMS: &str = "write it in quotes, e.g. `\"10:30:00\"`";

/// The value as it is kept in the task, if it fits. Of operators that are not run yet types are advice: their services decide.
pub(crate) fn read(value: &Cursor<'_>, argument: &Argument, operator: &Operator, zone: &Zone<'_>) -> Option<Json> {
    let is_template = matches!(&value.node.value, Value::Text(text) if text.contains("{{") || text.contains("{%"));
    if argument.template && is_template {
        return value.json();
    }
    match argument.kind {
        ArgumentType::Duration => return seconds(value, 1),
        ArgumentType::Minutes => return seconds(value, 60),
        ArgumentType::Moment => return moment(value, zone),
        ArgumentType::TimeOfDay => return time_of_day(value),
        _ => {}
    }
    // Python objects are Python's to check; what is not run yet is not ours to.
    let keeps = operator.runner == Runner::Deferred || operator.calls_python();
    let json = if keeps { value.json_keeping() } else { value.json() };
    if value.typed().is_some() {
        return json;
    }
    if !fits(argument.kind, &value.node.value) {
        let (expected, hint) = expectation(argument.kind);
        if operator.runner == Runner::Deferred {
            let message = format!("`{}` should be {expected}, but is {}", argument.name, value.node.value.kind());
            value.warn("wrong-type", message, hint.map(str::to_owned));
        } else {
            value.wrong_type(expected, hint.map(str::to_owned));
            return None;
        }
    }
    json
}

/// What a time without a zone is meant in, and when the file is read.
pub(crate) struct Zone<'s> {
    /// The DAG's zone.
    pub(crate) zone: &'s updraft_timetables::Timezone,
    /// The present, for moments that are relative to it.
    pub(crate) now: jiff::Timestamp,
}

fn fits(kind: ArgumentType, value: &Value) -> bool {
    use ArgumentType as Type;
    let is_integer = |v: &Value| matches!(v, Value::Int(_));
    match (kind, value) {
        (Type::Any, _)
        | (Type::Text | Type::TextOrList | Type::MappingOrText | Type::Callable, Value::Text(_))
        | (Type::Boolean, Value::Bool(_))
        | (Type::Integer | Type::Number | Type::IntegerOrList, Value::Int(_))
        | (Type::Number, Value::Float(_))
        | (Type::List | Type::TextOrList, Value::List(_))
        | (Type::Mapping | Type::MappingOrText, Value::Map(_)) => true,
        (Type::IntegerOrList, Value::List(items)) => items.iter().all(|n| is_integer(&n.value)),
        _ => false,
    }
}

fn expectation(kind: ArgumentType) -> (&'static str, Option<&'static str>) {
    match kind {
        ArgumentType::Text => ("text", Some("put it in quotes")),
        ArgumentType::Boolean => ("`true` or `false`", Some("write `true` or `false` without quotes")),
        ArgumentType::Integer => ("a whole number", Some("write it without quotes")),
        ArgumentType::Number => ("a number", Some("write it without quotes")),
        ArgumentType::List => ("a list", Some("write it as `[a, b]`")),
        ArgumentType::Mapping => ("a mapping", None),
        ArgumentType::IntegerOrList => ("a whole number or a list of them", None),
        ArgumentType::TextOrList => ("text or a list", Some("put it in quotes")),
        ArgumentType::MappingOrText => ("a mapping or text", None),
        ArgumentType::Duration | ArgumentType::Minutes => ("a duration", None),
        ArgumentType::Moment => ("a date", None),
        ArgumentType::TimeOfDay => ("a time of day", Some(TIME_FORMS)),
        ArgumentType::Callable => ("the dotted path of a function", Some("write `module.function`")),
        ArgumentType::Any => ("anything", None),
    }
}

/// A duration in seconds; a plain number counts `unit` seconds each.
fn seconds(value: &Cursor<'_>, unit: i32) -> Option<Json> {
    let duration = value.duration()?;
    let plain = matches!(&value.node.value, Value::Int(_) | Value::Float(_));
    let seconds = duration.as_secs_f64() * f64::from(if plain { unit } else { 1 });
    let whole = (seconds.fract() == 0.0).then_some(seconds as i64);
    Some(Json::Number(whole.map_or_else(|| Number::from_f64(seconds), |s| Some(s.into()))?))
}

fn moment(value: &Cursor<'_>, zone: &Zone<'_>) -> Option<Json> {
    let found = value.moment(zone.zone, zone.now)?;
    let offset = found.zone.zone().to_offset(found.at);
    Some(Json::String(format!("{}{}", offset.to_datetime(found.at), isoformat_offset(offset))))
}

/// A time of day as text. YAML 1.1 reads `10:30` and `10:30:00` as numbers in base 60: the first is below a day's 1,440
/// minutes, the second is 3,600 or more, so they can be told apart.
fn time_of_day(value: &Cursor<'_>) -> Option<Json> {
    let part = |n: i128| i8::try_from(n).ok();
    let time = match &value.node.value {
        Value::Int(n @ 0..1440) => part(n / 60).zip(part(n % 60)).and_then(|(h, m)| Time::new(h, m, 0, 0).ok()),
        Value::Int(n @ 3600..86_400) => {
            part(n / 3600).zip(part(n / 60 % 60)).zip(part(n % 60)).and_then(|((h, m), s)| Time::new(h, m, s, 0).ok())
        }
        Value::Text(text) => text.trim().parse::<Time>().ok(),
        Value::Map(_) => typed_time(value),
        _ => None,
    };
    if time.is_none() {
        value.wrong_type("a time of day", Some(TIME_FORMS.to_owned()));
    }
    Some(Json::String(time?.to_string()))
}

/// `__type__: datetime.time` with its parts by name or in order.
fn typed_time(value: &Cursor<'_>) -> Option<Time> {
    const PARTS: [(&str, i64); 4] = [("hour", 23), ("minute", 59), ("second", 59), ("microsecond", 999_999)];
    let (class, map) = value.typed()?;
    if class.rsplit('.').next() != Some("time") {
        return None;
    }
    let mut parts = [0_i64; 4];
    for (name, cursor) in value.pairs(map) {
        match (name, PARTS.iter().position(|(part, _)| *part == name)) {
            ("__type__", _) => {}
            ("__args__", _) => {
                for (i, node) in cursor.list()?.iter().enumerate() {
                    *parts.get_mut(i)? = cursor.item(i, node).integer(0, PARTS[i].1)?;
                }
            }
            (_, Some(i)) => parts[i] = cursor.integer(0, PARTS[i].1)?,
            (_, None) => return None,
        }
    }
    Time::new(parts[0] as i8, parts[1] as i8, parts[2] as i8, parts[3] as i32 * 1000).ok()
}
