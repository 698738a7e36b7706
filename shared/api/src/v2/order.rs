//! The order of lists: what `order_by` names of a row, and rows sorted by it.

use jiff::Timestamp;
use serde_json::Value;
use std::cmp::Ordering;

/// What a row has under a name of `order_by`. Nothing comes after everything, and in descending order before it: Airflow leaves that to its
/// database, and this is the way of the one it is run on, `PostgreSQL`.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(crate) enum SortKey {
    /// An instant.
    At(Timestamp),
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// It has none.
    Nothing,
}

impl From<Timestamp> for SortKey {
    fn from(at: Timestamp) -> Self {
        Self::At(at)
    }
}

impl From<i64> for SortKey {
    fn from(number: i64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for SortKey {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<String> for SortKey {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for SortKey {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl<T: Into<Self>> From<Option<T>> for SortKey {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

impl From<&Value> for SortKey {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(text) => text.as_str().into(),
            Value::Number(number) => number.as_f64().into(),
            _ => Self::Nothing,
        }
    }
}

/// The name under which a list that can be ordered has its primary key, if it has one.
const PRIMARY: &str = "id";

/// Sorts by several keys, each with its direction. What is alike by all of them goes by its primary key, in the direction of the first, as in
/// Airflow, so that pages neither repeat nor lose anything; without one it stays as it stands.
pub(crate) fn sort_by<T>(items: &mut [T], order: &[(&str, bool)], key: impl Fn(&T, &str) -> SortKey) {
    let last = order.first().map(|(_, descending)| (PRIMARY, *descending));
    items.sort_by(|a, b| {
        order.iter().copied().chain(last).fold(Ordering::Equal, |decided, (name, descending)| {
            decided.then_with(|| {
                let by = key(a, name).partial_cmp(&key(b, name)).unwrap_or(Ordering::Equal);
                if descending { by.reverse() } else { by }
            })
        })
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_comes_last_and_in_descending_order_first() {
        let rows = [Some("b"), None, Some(""), Some("a")];
        let sorted = |descending| {
            let mut rows = rows;
            sort_by(&mut rows, &[("it", descending)], |row, _| (*row).into());
            rows
        };
        assert_eq!(sorted(false), [Some(""), Some("a"), Some("b"), None]);
        assert_eq!(sorted(true), [None, Some("b"), Some("a"), Some("")]);
    }

    #[test]
    fn later_keys_order_what_is_alike_by_the_first() {
        let mut rows = [(1_i64, Some(2.5)), (0, None), (1, None), (0, Some(1.0))];
        sort_by(&mut rows, &[("whole", true), ("number", false)], |row, name| match name {
            "whole" => row.0.into(),
            _ => row.1.into(),
        });
        assert_eq!(rows, [(1, Some(2.5)), (1, None), (0, Some(1.0)), (0, None)]);
    }

    #[test]
    fn what_is_alike_goes_by_its_primary_key_in_the_direction_of_the_first() {
        let sorted = |descending| {
            let mut rows = [("a", 2_i64), ("b", 1), ("a", 3), ("a", 1)];
            sort_by(&mut rows, &[("name", descending)], |row, name| match name {
                "name" => row.0.into(),
                _ => row.1.into(),
            });
            rows
        };
        assert_eq!(sorted(false), [("a", 1), ("a", 2), ("a", 3), ("b", 1)]);
        assert_eq!(sorted(true), [("b", 1), ("a", 3), ("a", 2), ("a", 1)]);
    }
}
