//! An operator's arguments, rendered: read by name, with the registry's defaults, and with messages that name them.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::{Map, Value};
use updraft_operators::Operator;

/// The arguments of one attempt. Every message says which argument is wrong, and what would be right.
#[derive(Debug, Clone)]
pub(crate) struct Arguments {
    operator: Option<&'static Operator>,
    values: Map<String, Value>,
}

impl Arguments {
    pub(crate) fn new(operator: &'static Operator, values: Map<String, Value>) -> Self {
        Self { operator: Some(operator), values }
    }

    /// Values that belong to no operator.
    pub(crate) fn plain(values: Map<String, Value>) -> Self {
        Self { operator: None, values }
    }

    /// Whether it was given, as null too.
    pub(crate) fn is_given(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// Gives it a value.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// One whole number or several; none where it is null.
    pub(crate) fn integers(&self, name: &str) -> Result<Vec<i32>, String> {
        let value = self.value(name);
        let one = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok());
        let all: Option<Vec<i32>> = match &value {
            Value::Null => Some(Vec::new()),
            Value::Array(items) => items.iter().map(one).collect(),
            value => one(value).map(|one| vec![one]),
        };
        all.ok_or_else(|| wrong(name, "a whole number or a list of them", &value))
    }

    /// The value: as given, else the registry's default, else null.
    pub(crate) fn value(&self, name: &str) -> Value {
        if let Some(value) = self.values.get(name) {
            return value.clone();
        }
        let default = self.operator.and_then(|operator| operator.argument(name)).and_then(|argument| argument.default);
        default.and_then(|json| serde_json::from_str(json).ok()).unwrap_or(Value::Null)
    }

    /// Text; none where it is null. What a template makes of a number is text too.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.value(name) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            Value::Number(number) => Ok(Some(number.to_string())),
            other => Err(wrong(name, "text", &other)),
        }
    }

    /// Text that must be there.
    pub(crate) fn required_text(&self, name: &str) -> Result<String, String> {
        self.text(name)?.ok_or_else(|| format!("`{name}` is missing; give the task one"))
    }

    /// True or false. A template's result is text: `False`, `0` and nothing mean false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, String> {
        match self.value(name) {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(flag),
            Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(true),
                "false" | "0" | "no" | "off" | "none" | "" => Ok(false),
                _ => Err(wrong(name, "true or false", &Value::String(text))),
            },
            other => Err(wrong(name, "true or false", &other)),
        }
    }

    /// A whole number; none where it is null.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, String> {
        let value = self.value(name);
        match &value {
            Value::Null => Ok(None),
            Value::Number(number) if number.is_i64() => Ok(number.as_i64()),
            Value::String(text) => text.trim().parse().map(Some).map_err(|_| wrong(name, "a whole number", &value)),
            _ => Err(wrong(name, "a whole number", &value)),
        }
    }

    /// A length of time in seconds; none where it is null. Text, which a template leaves, counts `text_unit`.
    pub(crate) fn duration(&self, name: &str, text_unit: Duration) -> Result<Option<Duration>, String> {
        let value = self.value(name);
        let seconds = match &value {
            Value::Null => return Ok(None),
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse::<f64>().ok().map(|n| n * text_unit.as_secs_f64()),
            _ => None,
        };
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.map(Some).ok_or_else(|| wrong(name, "a length of time that is not negative", &value))
    }

    /// One text or several; none where it is null.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let value = self.value(name);
        match &value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(vec![text.clone()])),
            Value::Array(items) => {
                let texts: Option<Vec<String>> = items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
                texts.map(Some).ok_or_else(|| wrong(name, "a list of texts", &value))
            }
            _ => Err(wrong(name, "text or a list of texts", &value)),
        }
    }

    /// A mapping; none where it is null or empty text.
    pub(crate) fn mapping(&self, name: &str) -> Result<Option<Map<String, Value>>, String> {
        match self.value(name) {
            Value::Null => Ok(None),
            Value::Object(map) => Ok(Some(map)),
            other => Err(wrong(name, "a mapping", &other)),
        }
    }

    /// A point in time; none where it is null. Without an offset it is meant in UTC, as Airflow's `timezone.parse` has it.
    pub(crate) fn moment(&self, name: &str) -> Result<Option<Timestamp>, String> {
        match self.value(name) {
            Value::Null => Ok(None),
            Value::String(text) => match moment(&text) {
                Some(at) => Ok(Some(at)),
                None => Err(wrong(name, "a point in time like `2026-01-31T06:00:00+00:00`", &Value::String(text))),
            },
            other => Err(wrong(name, "a point in time like `2026-01-31T06:00:00+00:00`", &other)),
        }
    }
}

/// Reads a point in time as people and Python write one.
pub(crate) fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    // `2026-01-31 06:00:00.5+00:00`, as Python's `str` writes it, and dates alone.
    let at: DateTime = text.parse().ok().or_else(|| text.parse::<jiff::civil::Date>().ok().map(Into::into))?;
    at.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The most of a wrong value that a message shows, in characters.
const SHOWN_CHARS_MAX: usize = 60;

fn wrong(name: &str, expected: &str, value: &Value) -> String {
    let shown = value.to_string();
    let cut = shown.chars().count() > SHOWN_CHARS_MAX;
    let shown: String = shown.chars().take(SHOWN_CHARS_MAX).collect();
    format!("`{name}` must be {expected}, but is `{shown}{}`", if cut { "..." } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn arguments(operator: &str, values: Value) -> Arguments {
        let operator = updraft_operators::find(operator).expect("it is listed");
        Arguments::new(operator, values.as_object().cloned().expect("an object"))
    }

    #[test]
    fn defaults_are_the_registrys() {
        let arguments = arguments("TriggerDagRunOperator", json!({"trigger_dag_id": "d", "failed_states": null}));
        assert_eq!(arguments.required_text("trigger_dag_id").as_deref(), Ok("d"));
        assert_eq!(arguments.duration("poke_interval", Duration::from_secs(1)), Ok(Some(Duration::from_mins(1))));
        assert_eq!(arguments.flag("wait_for_completion"), Ok(false));
        assert_eq!(arguments.texts("failed_states"), Ok(None));
        assert_eq!(arguments.text("trigger_run_id"), Ok(None));
    }

    #[test]
    fn what_templates_leave_is_text_and_is_understood() {
        let values =
            json!({"wait_for_completion": "True", "reset_dag_run": "False", "poke_interval": " 5 ", "conf": 1});
        let arguments = arguments("TriggerDagRunOperator", values);
        assert_eq!((arguments.flag("wait_for_completion"), arguments.flag("reset_dag_run")), (Ok(true), Ok(false)));
        assert_eq!(arguments.duration("poke_interval", Duration::from_mins(1)), Ok(Some(Duration::from_mins(5))));
        assert_eq!(arguments.integer("conf"), Ok(Some(1)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = "x".repeat(500);
        let values = json!({"wait_for_completion": "perhaps", "poke_interval": -1, "trigger_run_id": [1],
            "logical_date": "soon", "conf": long, "allowed_states": [1]});
        let arguments = arguments("TriggerDagRunOperator", values);
        for said in [
            arguments.flag("wait_for_completion").unwrap_err(),
            arguments.duration("poke_interval", Duration::from_secs(1)).unwrap_err(),
            arguments.text("trigger_run_id").unwrap_err(),
            arguments.moment("logical_date").unwrap_err(),
            arguments.mapping("conf").unwrap_err(),
            arguments.texts("allowed_states").unwrap_err(),
            arguments.required_text("trigger_dag_id").unwrap_err(),
        ] {
            assert!(said.starts_with('`') && said.len() < 200, "{said}");
        }
    }

    #[test]
    fn moments_are_read_as_python_writes_them() {
        let noon = "2026-01-31T12:00:00Z".parse().ok();
        for text in [
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00:00+00:00",
            "2026-01-31 14:00:00+02:00",
            "2026-01-31T12:00:00",
            " 2026-01-31 12:00 ",
        ] {
            assert_eq!(moment(text), noon, "{text}");
        }
        assert_eq!(moment("2026-01-31"), "2026-01-31T00:00:00Z".parse().ok());
        assert_eq!(moment("noon"), None);
    }
}
