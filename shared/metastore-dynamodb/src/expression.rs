//! Conditions and changes in DynamoDB's expression language.
//!
//! Names and values go by placeholders throughout: `shard` is a reserved word, and map keys may hold any character. Expressions
//! are written without a space too many, since their length is limited.

use crate::{PK, attribute_value};
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::{BTreeMap, HashMap};
use updraft_metastore::Error;
use updraft_metastore::item::{Change, Condition, Key, Path, Value};

/// The longest expression that DynamoDB takes, in bytes.
const EXPRESSION_BYTES_MAX: usize = 4096;

/// Collects the placeholders of one request.
#[derive(Debug, Default)]
pub(crate) struct Expression {
    /// Placeholders by name.
    names: BTreeMap<String, String>,
    values: Vec<AttributeValue>,
}

impl Expression {
    /// The placeholder of a name.
    pub(crate) fn name(&mut self, name: &str) -> String {
        let next = self.names.len();
        self.names.entry(name.to_owned()).or_insert_with(|| format!("#{next}")).clone()
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let known = self.values.iter().position(|v| *v == value);
        let place = known.unwrap_or_else(|| {
            self.values.push(value);
            self.values.len() - 1
        });
        format!(":{place}")
    }

    /// The placeholder of a text.
    pub(crate) fn text(&mut self, text: impl Into<String>) -> String {
        self.value(AttributeValue::S(text.into()))
    }

    /// The placeholder of a number.
    pub(crate) fn number(&mut self, number: impl ToString) -> String {
        self.value(AttributeValue::N(number.to_string()))
    }

    fn path(&mut self, path: &Path) -> String {
        match path {
            Path::Top(name) => self.name(name),
            Path::Entry(name, key) => format!("{}.{}", self.name(name), self.name(key)),
        }
    }

    /// The map's type is asked for as well, because `size` is also the length of a text.
    fn fewer_than(&mut self, name: &str, count: usize) -> String {
        let (name, map, count) = (self.name(name), self.text("M"), self.number(count));
        format!("attribute_type({name},{map}) AND size({name})<{count}")
    }

    fn condition(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::Equals(path, value) => format!("{}={}", self.path(path), self.value(attribute_value(value))),
            Condition::Absent(path) => format!("attribute_not_exists({})", self.path(path)),
            // Every text begins with nothing; an empty value is better not sent.
            Condition::BeginsWith(path, prefix) if prefix.is_empty() => {
                format!("attribute_type({},{})", self.path(path), self.text("S"))
            }
            // The texts between the prefix and the prefix with the last of all characters. DynamoDB has `begins_with` as
            // well, with the same meaning, but the emulator refuses it where the stored value is no text.
            Condition::BeginsWith(path, prefix) => {
                let (path, first, last) =
                    (self.path(path), self.text(prefix), self.text(format!("{prefix}{}", char::MAX)));
                format!("{path} BETWEEN {first} AND {last}")
            }
            Condition::AtMost(path, most) => format!("{}<={}", self.path(path), self.number(most)),
            Condition::FewerThan(name, count) => self.fewer_than(name, *count),
        }
    }

    fn all(&mut self, conditions: &[Condition]) -> Vec<String> {
        conditions.iter().map(|condition| self.condition(condition)).collect()
    }

    /// The item exists, and all conditions hold.
    pub(crate) fn existing(&mut self, conditions: &[Condition]) -> String {
        let mut all = vec![format!("attribute_exists({})", self.name(PK))];
        all.extend(self.all(conditions));
        all.join(" AND ")
    }

    /// The item does not exist, or all conditions hold; none where there is nothing to ask.
    pub(crate) fn absent_or(&mut self, conditions: &[Condition]) -> Option<String> {
        if conditions.is_empty() {
            return None;
        }
        let absent = format!("attribute_not_exists({})", self.name(PK));
        Some(format!("{absent} OR ({})", self.all(conditions).join(" AND ")))
    }

    /// The update expression; none where nothing changes.
    pub(crate) fn changes(&mut self, changes: &[Change]) -> Option<String> {
        let (mut set, mut remove, mut add) = (Vec::new(), Vec::new(), Vec::new());
        for change in changes {
            match change {
                Change::Set(path, value) => set.push(self.assignment(path, value)),
                Change::Remove(path) => remove.push(self.path(path)),
                Change::Add(name, by) => add.push(format!("{} {}", self.name(name), self.number(by))),
            }
        }
        let clauses = [("SET", set), ("REMOVE", remove), ("ADD", add)];
        let clauses = clauses.iter().filter(|(_, parts)| !parts.is_empty());
        let clauses: Vec<String> = clauses.map(|(word, parts)| format!("{word} {}", parts.join(","))).collect();
        (!clauses.is_empty()).then(|| clauses.join(" "))
    }

    fn assignment(&mut self, path: &Path, value: &Value) -> String {
        format!("{}={}", self.path(path), self.value(attribute_value(value)))
    }

    /// Names by placeholder, as requests have them.
    pub(crate) fn names(&self) -> Option<HashMap<String, String>> {
        let names = self.names.iter().map(|(name, placeholder)| (placeholder.clone(), name.clone()));
        (!self.names.is_empty()).then(|| names.collect())
    }

    /// Values by placeholder, as requests have them.
    pub(crate) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        let values = self.values.iter().enumerate().map(|(place, value)| (format!(":{place}"), value.clone()));
        (!self.values.is_empty()).then(|| values.collect())
    }
}

/// Refuses what DynamoDB would refuse, and emulators would not.
///
/// # Errors
/// [`Error::Unusable`] for more conditions or changes than go into one update.
pub(crate) fn check_size(key: &Key, condition: &str, changes: &str) -> Result<(), Error> {
    let longest = condition.len().max(changes.len());
    if longest <= EXPRESSION_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Unusable(format!(
        "an update of `{}` / `{}` takes an expression of {longest} bytes, and DynamoDB allows {EXPRESSION_BYTES_MAX}; \
         hint: change fewer entries at once",
        key.pk, key.sk
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(key: &str) -> Path {
        Path::Entry("cells", key.to_owned())
    }

    #[test]
    fn reserved_words_and_odd_keys_go_by_placeholders() {
        let mut e = Expression::default();
        let odd = Path::Entry("shard", "a.b-c d".to_owned());
        let condition =
            e.existing(&[Condition::Absent(Path::Top("shard")), Condition::Equals(odd.clone(), Value::N(1))]);
        let changes = e.changes(&[
            Change::Set(odd, Value::text("x")),
            Change::Remove(Path::Top("wake_at")),
            Change::Add("size", 1),
            Change::Remove(cell("7")),
        ]);
        assert_eq!(condition, "attribute_exists(#0) AND attribute_not_exists(#1) AND #1.#2=:0");
        assert_eq!(changes.as_deref(), Some("SET #1.#2=:1 REMOVE #3,#5.#6 ADD #4 :0"));
        let names = e.names().unwrap();
        let expected = [
            ("#0", "pk"),
            ("#1", "shard"),
            ("#2", "a.b-c d"),
            ("#3", "wake_at"),
            ("#4", "size"),
            ("#5", "cells"),
            ("#6", "7"),
        ];
        assert_eq!(names, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let values = e.values().unwrap();
        assert_eq!(values.len(), 2, "one value used twice has one placeholder: {values:?}");
        assert_eq!(values[":1"], AttributeValue::S("x".to_owned()));
    }

    #[test]
    fn each_condition_has_its_words() {
        let path = || Path::Top("p");
        for (condition, expected) in [
            (Condition::BeginsWith(path(), "q".to_owned()), "attribute_exists(#0) AND #1 BETWEEN :0 AND :1"),
            (Condition::BeginsWith(path(), String::new()), "attribute_exists(#0) AND attribute_type(#1,:0)"),
            (Condition::AtMost(path(), -3), "attribute_exists(#0) AND #1<=:0"),
            (Condition::FewerThan("p", 3), "attribute_exists(#0) AND attribute_type(#1,:0) AND size(#1)<:1"),
        ] {
            assert_eq!(Expression::default().existing(&[condition]), expected);
        }
    }

    #[test]
    fn a_delete_may_find_nothing_and_asks_for_nothing_without_conditions() {
        let mut e = Expression::default();
        assert_eq!(e.absent_or(&[]), None);
        assert_eq!((e.names(), e.values()), (None, None), "a placeholder that is not used is refused");
        let conditions = [Condition::Absent(cell("1")), Condition::AtMost(Path::Top("n"), 2)];
        assert_eq!(
            e.absent_or(&conditions).as_deref(),
            Some("attribute_not_exists(#0) OR (attribute_not_exists(#1.#2) AND #3<=:0)")
        );
    }

    #[test]
    fn no_change_has_no_expression() {
        assert_eq!(Expression::default().changes(&[]), None);
    }

    #[test]
    fn an_update_has_room_for_250_cells_and_says_so_when_it_has_not() {
        let size = |cells: usize| {
            let mut e = Expression::default();
            let key = |n: usize| cell(&n.to_string());
            let conditions: Vec<_> =
                (0..cells).map(|n| Condition::Equals(key(n), Value::text(n.to_string()))).collect();
            let changes: Vec<_> = (0..cells).map(|n| Change::Set(key(n), Value::text(format!("r{n}")))).collect();
            let condition = e.existing(&conditions);
            let changes = e.changes(&changes).unwrap();
            check_size(&Key { pk: "R#x".to_owned(), sk: "R".to_owned() }, &condition, &changes)
        };
        assert_eq!(size(250), Ok(()));
        let Err(Error::Unusable(message)) = size(400) else { panic!("400 cells were taken") };
        assert!(message.contains("`R#x` / `R`") && message.contains("4096"), "{message}");
    }
}
