//! Items, conditions and changes, and what they mean.
//!
//! [`Update::run`] is the meaning: the in-memory and the SQLite store call it, and the DynamoDB adapter writes expressions
//! that the suite holds to it.

use crate::Outcome;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The attribute that, with [`WAKE_AT`], places an item in the time index.
pub const SHARD: &str = "shard";

/// The attribute that orders the time index: milliseconds since the epoch.
pub const WAKE_AT: &str = "wake_at";

/// The key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key {
    /// Partition key.
    pub pk: String,
    /// Sort key.
    pub sk: String,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// Text.
    S(String),
    /// A whole number.
    N(i64),
    /// Bytes.
    B(Vec<u8>),
    /// Named values, one level deep.
    M(BTreeMap<String, Value>),
}

impl Value {
    /// Text from anything that can be text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::S(text.into())
    }

    /// Bytes as DynamoDB counts them.
    fn size(&self) -> usize {
        match self {
            Self::S(text) => text.len(),
            Self::N(number) => 2 + number.unsigned_abs().to_string().len().div_ceil(2),
            Self::B(bytes) => bytes.len(),
            Self::M(map) => 3 + map.iter().map(|(k, v)| k.len() + v.size() + 1).sum::<usize>(),
        }
    }
}

/// An item's attributes, its key apart.
pub type Item = BTreeMap<String, Value>;

/// The size of an item in bytes, key included, as DynamoDB counts it.
pub fn size(key: &Key, item: &Item) -> usize {
    4 + key.pk.len() + key.sk.len() + item.iter().map(|(k, v)| k.len() + v.size()).sum::<usize>()
}

/// An attribute, or an entry of a map attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// A top-level attribute.
    Top(&'static str),
    /// An entry of a top-level map.
    Entry(&'static str, String),
}

impl Path {
    fn get<'a>(&self, item: &'a Item) -> Option<&'a Value> {
        match self {
            Self::Top(name) => item.get(*name),
            Self::Entry(name, key) => match item.get(*name) {
                Some(Value::M(map)) => map.get(key),
                _ => None,
            },
        }
    }

    fn set(&self, item: &mut Item, value: Option<Value>) {
        let (map, key) = match self {
            Self::Top(name) => (item, (*name).to_owned()),
            Self::Entry(name, key) => match item.get_mut(*name) {
                Some(Value::M(map)) => (map, key.clone()),
                // DynamoDB refuses the path as a fault of the caller; documents are put with their maps in place.
                _ => return,
            },
        };
        match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
    }
}

/// A condition on an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The value is this.
    Equals(Path, Value),
    /// There is no such value.
    Absent(Path),
    /// The text begins like this.
    BeginsWith(Path, String),
    /// The number is there and at most this.
    AtMost(Path, i64),
    /// The map has fewer entries than this.
    FewerThan(&'static str, usize),
}

impl Condition {
    /// Whether it holds.
    pub fn holds(&self, item: &Item) -> bool {
        let entries = |name: &&'static str| match item.get(*name) {
            Some(Value::M(map)) => Some(map.len()),
            _ => None,
        };
        match self {
            Self::Equals(path, value) => path.get(item) == Some(value),
            Self::Absent(path) => path.get(item).is_none(),
            Self::BeginsWith(path, prefix) => {
                matches!(path.get(item), Some(Value::S(text)) if text.starts_with(prefix.as_str()))
            }
            Self::AtMost(path, most) => matches!(path.get(item), Some(Value::N(n)) if n <= most),
            Self::FewerThan(name, count) => entries(name).is_some_and(|n| n < *count),
        }
    }
}

/// One change of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Writes a value.
    Set(Path, Value),
    /// Removes a value.
    Remove(Path),
    /// Adds to a number; absent counts as 0.
    Add(&'static str, i64),
}

/// A conditional update of one existing item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The item.
    pub key: Key,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// Applied together. No two may name the same path.
    pub changes: Vec<Change>,
}

impl Update {
    /// What the update comes to for the item as it is.
    pub fn run(&self, item: Option<&Item>) -> Outcome<Item> {
        let Some(item) = item else { return Outcome::Refused(None) };
        if !self.conditions.iter().all(|c| c.holds(item)) {
            return Outcome::Refused(Some(item.clone()));
        }
        let mut item = item.clone();
        for change in &self.changes {
            match change {
                Change::Set(path, value) => path.set(&mut item, Some(value.clone())),
                Change::Remove(path) => path.set(&mut item, None),
                Change::Add(name, by) => {
                    let now = match item.get(*name) {
                        Some(Value::N(n)) => *n,
                        _ => 0,
                    };
                    item.insert((*name).to_owned(), Value::N(now.saturating_add(*by)));
                }
            }
        }
        Outcome::Updated(item)
    }
}

/// The item's place in the time index, if it has one.
pub fn wake_of(item: &Item) -> Option<i64> {
    match (item.get(SHARD), item.get(WAKE_AT)) {
        (Some(Value::S(_)), Some(Value::N(at))) => Some(*at),
        _ => None,
    }
}
