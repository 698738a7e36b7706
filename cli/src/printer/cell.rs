//! One value of a row: exact for programs, short for people.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Nothing; null in JSON.
    Null,
    /// Text.
    Text(String),
    /// A state, which has a colour on terminals; none is null in JSON.
    State(Option<&'static str>),
    /// An instant; none is empty text in JSON, as in Airflow's lists.
    Time(Option<Timestamp>),
    /// Anything else.
    Json(Value),
}

/// An instant as JSON has it: ISO 8601 in UTC, always with microseconds.
pub(crate) fn iso(at: Timestamp) -> String {
    let micros = at.subsec_nanosecond().unsigned_abs() / 1000;
    let whole = at.to_zoned(TimeZone::UTC);
    format!("{}.{micros:06}+00:00", whole.strftime("%Y-%m-%dT%H:%M:%S"))
}

impl Cell {
    /// Text from anything that is text.
    pub(crate) fn text(text: impl ToString) -> Self {
        Self::Text(text.to_string())
    }

    /// Text, or null.
    pub(crate) fn optional(text: Option<impl ToString>) -> Self {
        text.map_or(Self::Null, Self::text)
    }

    /// As JSON.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Null | Self::State(None) => Value::Null,
            Self::Text(text) => Value::String(text.clone()),
            Self::State(Some(state)) => Value::String((*state).to_owned()),
            Self::Time(at) => Value::String(at.map(iso).unwrap_or_default()),
            Self::Json(value) => value.clone(),
        }
    }

    /// For people: seconds are enough, and lists are words.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Null | Self::Time(None) => String::new(),
            Self::Text(text) => text.clone(),
            Self::State(state) => state.unwrap_or("none").to_owned(),
            Self::Time(Some(at)) => at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            Self::Json(value) => words(value),
        }
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) if list.iter().all(|v| !v.is_array() && !v.is_object()) => {
            list.iter().map(words).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_carry_six_digits_in_json_and_none_for_people() {
        for (given, exact, short) in [
            ("2026-11-23T02:17:05Z", "2026-11-23T02:17:05.000000+00:00", "2026-11-23 02:17:05Z"),
            ("2026-11-23T02:17:05.0012345Z", "2026-11-23T02:17:05.001234+00:00", "2026-11-23 02:17:05Z"),
        ] {
            let cell = Cell::Time(Some(given.parse().unwrap()));
            assert_eq!(cell.to_json(), Value::String(exact.into()));
            assert_eq!(cell.to_text(), short);
        }
    }

    #[test]
    fn lists_of_words_are_words() {
        assert_eq!(Cell::Json(serde_json::json!(["a", 1])).to_text(), "a,1");
        assert_eq!(Cell::Json(serde_json::json!({"a": [1]})).to_text(), r#"{"a":[1]}"#);
    }
}
