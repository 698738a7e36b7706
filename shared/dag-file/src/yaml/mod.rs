//! YAML text as PyYAML reads it, with a place on every node.
//!
//! DAG files are written for PyYAML, so its YAML 1.1 is what counts: `no` is false, `010` is 8, `12:30:00` is 45000, an
//! unquoted date is a date, the last of two equal keys wins, `<<` merges. The syntax is scanned by `granit-parser`,
//! which forgives the same indentation as PyYAML;
//! what a scalar means is decided in [`scalar`], and [`compose`] builds the tree and guards its size.

pub(crate) mod build;
pub(crate) mod compose;
pub(crate) mod scalar;
mod slips;
mod tag;
#[cfg(test)]
mod tests;

use jiff::{civil, tz::Offset};
use std::collections::BTreeMap;
use std::rc::Rc;

/// A place in the text as people count it: both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Which of the files that were read together: 0 is the DAG file itself.
    pub(crate) file: u16,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Position {
    /// Where problems of a file as a whole are shown.
    pub(crate) const START: Self = Self { file: 0, line: 1, column: 1 };
}

/// A value with its place. Aliases share nodes, so a node's place is where it was written.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) at: Position,
    pub(crate) value: Value,
    /// What writing this out in full costs; aliases count each time. See [`compose::WEIGHT_MAX`].
    pub(crate) weight: u32,
    /// How many levels there are below.
    pub(crate) height: u16,
    /// Something inside was refused; the value must not be used.
    pub(crate) broken: bool,
    /// Something inside stands for another value; see [`crate::special`].
    pub(crate) special: bool,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// Fits 64 bits, signed or unsigned.
    Int(i128),
    /// A whole number of more than 64 bits, as written.
    Huge(Box<str>),
    Float(f64),
    Text(Rc<str>),
    Date(civil::Date),
    DateTime(civil::DateTime, Option<Offset>),
    List(Vec<Rc<Node>>),
    Map(Map),
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Huge(_) => "a whole number",
            Self::Float(_) => "a decimal number",
            Self::Text(_) => "text",
            Self::Date(_) => "a date",
            Self::DateTime(..) => "a date with time",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// A key by what Python compares: `1`, `1.0` and `true` are one key, `"1"` another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Null,
    Text(Rc<str>),
    Number(Box<str>),
    Date(Box<str>),
}

/// One pair of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// The key as written.
    pub(crate) name: Rc<str>,
    pub(crate) at: Position,
    pub(crate) value: Rc<Node>,
}

/// A mapping in the order of its keys' first appearance.
#[derive(Debug, Default)]
pub(crate) struct Map {
    entries: Vec<Entry>,
    index: BTreeMap<Key, usize>,
}

impl Map {
    /// Puts a pair; an equal key keeps its place in the order and gives up its value.
    pub(crate) fn put(&mut self, entry: Entry) {
        if let Some(place) = self.index.get(&entry.key) {
            self.entries[*place] = entry;
            return;
        }
        self.index.insert(entry.key.clone(), self.entries.len());
        self.entries.push(entry);
    }

    /// The pair with an equal key.
    pub(crate) fn find(&self, key: &Key) -> Option<&Entry> {
        self.index.get(key).map(|i| &self.entries[*i])
    }

    /// The pair with this text as key.
    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.find(&Key::Text(name.into()))
    }

    /// The value with this text as key.
    pub(crate) fn get(&self, name: &str) -> Option<&Rc<Node>> {
        self.entry(name).map(|e| &e.value)
    }

    /// The pairs in order.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
