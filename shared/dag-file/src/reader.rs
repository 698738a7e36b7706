//! Reading typed values out of the tree, and noting what does not fit.
//!
//! A reader returns `None` when it has noted a problem; callers then go on with a default, so that all problems of a
//! file come out together. A DAG with a noted error is not handed out.

use crate::LoadOptions;
use crate::diagnostic::{Diagnostic, Severity};
use crate::suggest;
use crate::yaml::compose::clip;
use crate::yaml::{Entry, Key, Map, Node, Position, Value};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// More problems of a file than this are counted, not shown.
const DIAGNOSTICS_MAX: usize = 1000;

/// So many problems of each DAG are shown even then, so that one DAG's do not hide another's, up to twice as many in all.
const DIAGNOSTICS_OF_DAG_LEAST: usize = 5;

/// Suggestions compare a name with all known ones; after this many the file is past small slips.
const SUGGESTIONS_MAX: u32 = 50;

/// How much the DAGs of a file may copy in all (defaults are copied into every DAG and task), in the weights of
/// [`Node::weight`].
const COPIED_WEIGHT_MAX: u64 = 4_000_000;

/// Where problems go.
pub(crate) struct Sink<'a> {
    /// The names of the files that are read together; the DAG file is the first.
    files: RefCell<Vec<String>>,
    found: RefCell<Vec<Diagnostic>>,
    left_out: Cell<usize>,
    /// How many problems each DAG has.
    counts: RefCell<BTreeMap<String, usize>>,
    failed: RefCell<BTreeSet<String>>,
    file_failed: Cell<bool>,
    copied: Cell<u64>,
    suggestions: Cell<u32>,
    /// Warnings by place: a default that is copied into many DAGs is told about once.
    warned: RefCell<BTreeSet<(Position, String)>>,
    references: RefCell<BTreeSet<String>>,
    wanted: RefCell<BTreeSet<String>>,
    /// Only borrowed: what companions there are.
    options: &'a LoadOptions,
}

/// A problem before it has a file and a DAG.
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) at: Position,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl<'a> Sink<'a> {
    pub(crate) fn new(file: &str, options: &'a LoadOptions) -> Self {
        Self {
            files: RefCell::new(vec![file.to_owned()]),
            warned: RefCell::default(),
            references: RefCell::default(),
            wanted: RefCell::default(),
            options,
            found: RefCell::default(),
            left_out: Cell::new(0),
            counts: RefCell::default(),
            failed: RefCell::default(),
            file_failed: Cell::new(false),
            copied: Cell::new(0),
            suggestions: Cell::new(0),
        }
    }

    pub(crate) fn note(&self, dag_id: Option<&str>, key_path: &str, problem: Problem) {
        if problem.severity == Severity::Error {
            match dag_id {
                Some(dag_id) => drop(self.failed.borrow_mut().insert(dag_id.to_owned())),
                None => self.file_failed.set(true),
            }
        }
        if problem.severity == Severity::Warning
            && !self.warned.borrow_mut().insert((problem.at, problem.message.clone()))
        {
            return;
        }
        let mut found = self.found.borrow_mut();
        let of_dag = dag_id.map_or(0, |dag_id| {
            let mut counts = self.counts.borrow_mut();
            let count = counts.entry(dag_id.to_owned()).or_insert(0);
            *count += 1;
            *count
        });
        let has_share = (1..=DIAGNOSTICS_OF_DAG_LEAST).contains(&of_dag) && found.len() < 2 * DIAGNOSTICS_MAX;
        if found.len() >= DIAGNOSTICS_MAX && !has_share {
            self.left_out.set(self.left_out.get() + 1);
            return;
        }
        let file = self.files.borrow()[usize::from(problem.at.file)].clone();
        found.push(Diagnostic {
            severity: problem.severity,
            file,
            line: problem.at.line,
            column: problem.at.column,
            key_path: key_path.to_owned(),
            dag_id: dag_id.map(str::to_owned),
            message: problem.message,
            hint: problem.hint.or_else(|| Some(crate::hints::usual(problem.code).to_owned())),
            code: problem.code,
        });
    }

    /// Takes another file in, and gives its number for places.
    pub(crate) fn add_file(&self, name: &str) -> u16 {
        let mut files = self.files.borrow_mut();
        if let Some(known) = files.iter().position(|f| f == name) {
            return known as u16;
        }
        files.push(name.to_owned());
        (files.len() - 1) as u16
    }

    /// A file beside the DAG file, if it is at hand. It is noted as wanted where it is not, and as a reference where it is.
    pub(crate) fn companion(&self, path: &str) -> Option<&'a [u8]> {
        let found = self.options.files.get(path);
        let notes = if found.is_some() { &self.references } else { &self.wanted };
        notes.borrow_mut().insert(path.to_owned());
        found.map(Vec::as_slice)
    }

    /// Notes a file that belongs to the DAGs.
    pub(crate) fn refer(&self, path: &str) {
        self.references.borrow_mut().insert(path.to_owned());
    }

    /// The files that were read or named, and those that were missing.
    pub(crate) fn take_files(&self) -> (Vec<String>, Vec<String>) {
        let sorted = |set: &RefCell<BTreeSet<String>>| set.take().into_iter().collect();
        (sorted(&self.references), sorted(&self.wanted))
    }

    /// Whether this DAG cannot be handed out.
    pub(crate) fn has_failed(&self, dag_id: &str) -> bool {
        self.file_failed.get() || self.failed.borrow().contains(dag_id)
    }

    /// Counts what is about to be copied; false once it is too much.
    pub(crate) fn may_copy(&self, weight: u32) -> bool {
        self.copied.set(self.copied.get().saturating_add(weight.into()));
        self.copied.get() <= COPIED_WEIGHT_MAX
    }

    /// The nearest known name, as a hint.
    pub(crate) fn did_you_mean<'n>(&self, name: &str, known: impl IntoIterator<Item = &'n str>) -> Option<String> {
        if self.suggestions.get() >= SUGGESTIONS_MAX {
            return None;
        }
        self.suggestions.set(self.suggestions.get() + 1);
        suggest::nearest(name, known).map(|near| format!("did you mean `{near}`?"))
    }

    /// Everything noted, in the order of the file.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut found = self.found.into_inner();
        let files = self.files.into_inner();
        let rank = |d: &Diagnostic| files.iter().position(|f| *f == d.file);
        found.sort_by_key(|d| (rank(d), d.line, d.column));
        if self.left_out.get() > 0 {
            found.push(Diagnostic {
                severity: if self.file_failed.get() || !self.failed.borrow().is_empty() {
                    Severity::Error
                } else {
                    Severity::Warning
                },
                file: files[0].clone(),
                line: 1,
                column: 1,
                key_path: String::new(),
                dag_id: None,
                message: format!("{} more problems are not shown", self.left_out.get()),
                hint: Some("mend the ones shown first".into()),
                code: "more-problems",
            });
        }
        found
    }
}

/// A node with the way to it, ready to be read.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    pub(crate) sink: &'a Sink<'a>,
    pub(crate) dag_id: Option<&'a str>,
    /// Keys from the root, joined by dots.
    pub(crate) path: Rc<str>,
    /// The last key.
    pub(crate) name: Rc<str>,
    /// Where the key stands.
    pub(crate) key_at: Position,
    pub(crate) node: &'a Node,
}

impl<'a> Cursor<'a> {
    /// The value of a pair below this one.
    pub(crate) fn down(&self, entry: &'a Entry) -> Self {
        let name = clip(&entry.name);
        Self {
            sink: self.sink,
            dag_id: self.dag_id,
            path: if self.path.is_empty() { name.clone().into() } else { format!("{}.{name}", self.path).into() },
            name: name.into(),
            key_at: entry.at,
            node: &entry.value,
        }
    }

    /// An item of a list below this one; problems carry the list's name.
    pub(crate) fn item(&self, index: usize, node: &'a Node) -> Self {
        let path = format!("{}.{index}", self.path).into();
        Self { path, node, key_at: node.at, name: self.name.clone(), ..*self }
    }

    fn note(&self, severity: Severity, at: Position, code: &'static str, message: String, hint: Option<String>) {
        self.sink.note(self.dag_id, &self.path, Problem { severity, at, code, message, hint });
    }

    /// Notes an error at the value.
    pub(crate) fn error(&self, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        self.note(Severity::Error, self.node.at, code, message.into(), hint);
    }

    /// Notes an error at the key.
    pub(crate) fn key_error(&self, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        self.note(Severity::Error, self.key_at, code, message.into(), hint);
    }

    /// Notes a warning at the key.
    pub(crate) fn warn(&self, code: &'static str, message: impl Into<String>, hint: Option<String>) {
        self.note(Severity::Warning, self.key_at, code, message.into(), hint);
    }

    /// Notes that the value is of another type.
    pub(crate) fn wrong_type(&self, expected: &str, hint: Option<String>) {
        let message = format!("`{}` must be {expected}, but is {}", self.name, self.shown());
        self.error("wrong-type", message, hint);
    }

    /// The value for messages: its kind, and the text itself where it is short.
    pub(crate) fn shown(&self) -> String {
        match &self.node.value {
            Value::Text(text) => format!("the text `{}`", clip(text)),
            Value::Int(number) => format!("the number `{number}`"),
            Value::Float(number) => format!("the number `{number}`"),
            Value::Bool(value) => format!("the boolean `{value}`"),
            other => other.kind().to_owned(),
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// Null, or the word `None` as Amazon's converter writes it.
    pub(crate) fn is_none(&self) -> bool {
        self.is_null() || matches!(&self.node.value, Value::Text(text) if &**text == "None")
    }

    /// A mapping that stands for a Python object: its class and its arguments.
    pub(crate) fn typed(&self) -> Option<(&'a str, &'a Map)> {
        let Value::Map(map) = &self.node.value else { return None };
        match map.get("__type__").map(|n| &n.value) {
            Some(Value::Text(class)) => Some((class, map)),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        if let Value::Text(text) = &self.node.value {
            return Some(text);
        }
        let hint = match &self.node.value {
            Value::Map(_) | Value::List(_) | Value::Null => None,
            _ => Some("put it in quotes".to_owned()),
        };
        self.wrong_type("text", hint);
        None
    }

    pub(crate) fn boolean(&self) -> Option<bool> {
        if let Value::Bool(value) = self.node.value {
            return Some(value);
        }
        self.wrong_type("`true` or `false`", Some("write `true` or `false` without quotes".to_owned()));
        None
    }

    /// A whole number between two bounds.
    pub(crate) fn integer(&self, least: i64, most: i64) -> Option<i64> {
        let number = match self.node.value {
            Value::Int(number) => number,
            Value::Huge(_) => {
                self.error("out-of-range", format!("`{}` has more than 64 bits", self.name), None);
                return None;
            }
            _ => {
                self.wrong_type("a whole number", Some("write digits without quotes, such as `3`".to_owned()));
                return None;
            }
        };
        let fits = i64::try_from(number).ok().filter(|n| (least..=most).contains(n));
        if fits.is_none() {
            let bound = if number < least.into() { format!("at least {least}") } else { format!("at most {most}") };
            self.error("out-of-range", format!("`{}` is {number}, but must be {bound}", self.name), None);
        }
        fits
    }

    /// A whole number that is no less than `least` and fits a `u32`.
    pub(crate) fn count(&self, least: u32) -> Option<u32> {
        self.integer(least.into(), u32::MAX.into()).map(|n| n as u32)
    }

    pub(crate) fn mapping(&self) -> Option<&'a Map> {
        if let Value::Map(map) = &self.node.value {
            return Some(map);
        }
        self.wrong_type("a mapping", Some("write `key: value` pairs below it, indented".to_owned()));
        None
    }

    pub(crate) fn list(&self) -> Option<&'a [Rc<Node>]> {
        if let Value::List(items) = &self.node.value {
            return Some(items);
        }
        self.wrong_type("a list", Some("write it as `[a, b]`".to_owned()));
        None
    }

    /// A list of texts; what is no text is noted and left out.
    pub(crate) fn texts(&self) -> Vec<(&'a str, Self)> {
        let Some(items) = self.list() else { return Vec::new() };
        items
            .iter()
            .enumerate()
            .filter_map(|(i, node)| {
                let item = self.item(i, node);
                item.text().map(|text| (text, item))
            })
            .collect()
    }

    /// The pairs of a mapping whose keys are text; other keys are noted.
    pub(crate) fn pairs(&self, map: &'a Map) -> Vec<(&'a str, Self)> {
        map.entries()
            .iter()
            .filter_map(|entry| {
                let cursor = self.down(entry);
                if let Key::Text(name) = &entry.key {
                    return Some((&**name, cursor));
                }
                let kind = match entry.key {
                    Key::Null => "null",
                    Key::Date(_) => "a date",
                    Key::Number(_) | Key::Text(_) => "a number or boolean",
                };
                let message = format!("the key `{}` is read as {kind}, but keys must be text here", cursor.name);
                cursor.key_error("key-type", message, Some(format!("put it in quotes: \"{}\"", cursor.name)));
                None
            })
            .collect()
    }
}
