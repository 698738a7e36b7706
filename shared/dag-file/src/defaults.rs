//! Defaults: the `default` block of a file, and `defaults.yml` or `defaults.yaml` in its folder and those above.
//!
//! The nearest wins: what a DAG says itself, then the `default` block, then the file in the same folder, and so on up.
//! Mappings are merged key by key; everything else is taken whole. Tasks and groups are merged by their ids, whether they
//! are written as a mapping or as a list.

use crate::reader::{Problem, Sink};
use crate::yaml::compose::{Fatal, clip};
use crate::yaml::{Entry, Key, Map, Node, Position, Value, build};
use crate::{LoadOptions, Severity, compose_file, keys};
use std::collections::BTreeSet;
use std::rc::Rc;

/// The root key whose values every DAG of the file takes as defaults.
pub(crate) const DEFAULT: &str = "default";

/// The names of files that hold defaults for the DAG files beside and below them; the first one found in a folder counts.
pub const DEFAULTS_FILES: [&str; 2] = ["defaults.yml", "defaults.yaml"];

/// Whether a path is one of a file with defaults.
pub(crate) fn is_defaults_file(path: &str) -> bool {
    DEFAULTS_FILES.contains(&path.rsplit('/').next().unwrap_or(path))
}

/// What the DAGs of a file take where they say nothing.
pub(crate) struct Defaults {
    /// The `default` block.
    block: Option<Rc<Node>>,
    /// What the files of the folders say, merged.
    files: Option<Rc<Node>>,
}

impl Defaults {
    /// Reads the block, and all files of defaults that are at hand.
    pub(crate) fn read(root: &Map, file: &str, options: &LoadOptions, sink: &Sink<'_>) -> Result<Self, Fatal> {
        let entry = root.entry(DEFAULT);
        if let Some(entry) = entry.filter(|e| !matches!(e.value.value, Value::Map(_) | Value::Null)) {
            let message = format!("`default` must be a mapping, but is {}", entry.value.value.kind());
            let hint = Some("`default` holds what all DAGs of the file have in common".into());
            let problem = Problem { severity: Severity::Error, at: entry.value.at, code: "wrong-type", message, hint };
            sink.note(None, DEFAULT, problem);
        }
        let block = entry.map(|e| e.value.clone()).filter(|n| matches!(n.value, Value::Map(_)));
        let mut files: Option<Rc<Node>> = None;
        for folder in folders_above(file) {
            let candidates = DEFAULTS_FILES.iter().map(|name| format!("{folder}{name}"));
            let at_hand = |path: String| options.files.get(&path).map(|bytes| (path, bytes));
            let Some((path, bytes)) = candidates.into_iter().find_map(at_hand) else { continue };
            sink.refer(&path);
            let number = sink.add_file(&path);
            let Some(node) = compose_file(number, bytes, options, sink)? else { continue };
            let Value::Map(map) = &node.value else {
                return Err(Fatal {
                    at: node.at,
                    code: "not-a-mapping",
                    message: format!("a file of defaults is a mapping, but this is {}", node.value.kind()),
                    hint: Some("write the keys of a DAG, such as `default_args`".into()),
                });
            };
            check_keys(map, sink);
            files = Some(match files {
                Some(above) => nearer_wins(&above, &node),
                None => node,
            });
        }
        Ok(Self { block, files })
    }

    /// What a DAG comes to with its defaults; none where copying them takes too much space.
    pub(crate) fn apply(&self, dag: &Rc<Node>, sink: &Sink<'_>) -> Option<Rc<Node>> {
        let Value::Map(own) = &dag.value else { return Some(dag.clone()) };
        let files = self.files.as_ref().map(|files| without(files, own));
        let below = match (files, &self.block) {
            (Some(files), Some(block)) => merge_dag(&files, block),
            (Some(files), None) => files,
            (None, Some(block)) => block.clone(),
            (None, None) => return Some(dag.clone()),
        };
        sink.may_copy(below.weight).then(|| merge_dag(&below, dag))
    }
}

/// The folders around a file, the outermost first, each with a `/` at its end.
fn folders_above(file: &str) -> Vec<String> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut folders = vec![String::new()];
    for part in folder.split('/').filter(|p| !p.is_empty()) {
        let above = folders.last().cloned().unwrap_or_default();
        folders.push(format!("{above}{part}/"));
    }
    folders
}

fn check_keys(map: &Map, sink: &Sink<'_>) {
    for entry in map.entries().iter().filter(|e| keys::find(keys::DAG, &e.name).is_none()) {
        let hint = sink.did_you_mean(&entry.name, keys::DAG.iter().map(|k| k.name));
        let hint =
            hint.or_else(|| Some("a file of defaults has the keys of a DAG, without a DAG's id above them".into()));
        let message = format!("a DAG has no key `{}`; it is ignored", clip(&entry.name));
        let problem = Problem { severity: Severity::Warning, at: entry.at, code: "unknown-key", message, hint };
        sink.note(None, &clip(&entry.name), problem);
    }
}

/// Two files of defaults: arguments of tasks key by key, tags united, tasks and groups by their ids, everything else whole.
fn nearer_wins(above: &Rc<Node>, near: &Rc<Node>) -> Rc<Node> {
    let (Value::Map(outer), Value::Map(inner)) = (&above.value, &near.value) else { return near.clone() };
    let mut map = Map::default();
    for entry in outer.entries().iter().chain(inner.entries()) {
        let value = match (outer.find(&entry.key), inner.find(&entry.key)) {
            (Some(below), Some(own)) if &*entry.name == "default_args" => merge(&below.value, &own.value),
            (Some(below), Some(own)) if &*entry.name == "tags" => united(&below.value, &own.value),
            (Some(below), Some(own)) => match id_key(&entry.name) {
                Some(id) => merge_by_id(&below.value, &own.value, id),
                None => own.value.clone(),
            },
            (None, Some(own)) => own.value.clone(),
            (_, None) => entry.value.clone(),
        };
        map.put(Entry { value, ..entry.clone() });
    }
    Rc::new(build::map(near.at, map))
}

/// Texts of both lists, sorted, each once.
fn united(below: &Rc<Node>, own: &Rc<Node>) -> Rc<Node> {
    let (Value::List(below), Value::List(above)) = (&below.value, &own.value) else { return own.clone() };
    let text = |node: &Rc<Node>| match &node.value {
        Value::Text(text) => text.to_string(),
        _ => String::new(),
    };
    let mut seen = BTreeSet::new();
    let mut items: Vec<Rc<Node>> = below
        .iter()
        .chain(above)
        .filter(|n| !matches!(n.value, Value::Text(_)) || seen.insert(text(n)))
        .cloned()
        .collect();
    items.sort_by_key(text);
    Rc::new(build::list(own.at, items))
}

/// Defaults of files without what the DAG says itself: other than a `default` block they do not reach into its values, but for arguments,
/// tasks and groups.
fn without(files: &Rc<Node>, own: &Map) -> Rc<Node> {
    let Value::Map(below) = &files.value else { return files.clone() };
    let mut map = Map::default();
    let reaches_in = |e: &Entry| &*e.name == "default_args" || id_key(&e.name).is_some();
    for entry in below.entries().iter().filter(|e| reaches_in(e) || own.find(&e.key).is_none()) {
        map.put(entry.clone());
    }
    Rc::new(build::map(files.at, map))
}

/// A DAG over its defaults.
fn merge_dag(below: &Rc<Node>, own: &Rc<Node>) -> Rc<Node> {
    let (Value::Map(default), Value::Map(dag)) = (&below.value, &own.value) else { return own.clone() };
    let mut map = Map::default();
    for entry in dag.entries() {
        map.put(entry.clone());
    }
    for entry in default.entries() {
        let merged = match (dag.find(&entry.key), id_key(&entry.name)) {
            (Some(own), Some(id)) => Entry { value: merge_by_id(&entry.value, &own.value, id), ..own.clone() },
            (Some(own), None) => Entry { value: merge(&entry.value, &own.value), ..own.clone() },
            (None, _) => entry.clone(),
        };
        map.put(merged);
    }
    Rc::new(Node { broken: below.broken || own.broken, ..build::map(own.at, map) })
}

/// The key by which the things under this key of a DAG are told apart, where they may be a list.
fn id_key(name: &str) -> Option<&'static str> {
    match name {
        "tasks" => Some("task_id"),
        "task_groups" => Some("group_name"),
        _ => None,
    }
}

fn merge_by_id(below: &Rc<Node>, own: &Rc<Node>, id: &str) -> Rc<Node> {
    match (by_id(below, id), by_id(own, id)) {
        (Some(below), Some(own)) => merge(&below, &own),
        // What cannot be told apart is told as an error where it is read.
        _ => own.clone(),
    }
}

/// A list of mappings as a mapping by their ids.
fn by_id(node: &Rc<Node>, id: &str) -> Option<Rc<Node>> {
    let Value::List(items) = &node.value else {
        return matches!(node.value, Value::Map(_)).then(|| node.clone());
    };
    let mut map = Map::default();
    for item in items {
        let Value::Map(fields) = &item.value else { return None };
        let entry = fields.entry(id)?;
        let Value::Text(name) = &entry.value.value else { return None };
        let key = Key::Text(name.clone());
        if map.find(&key).is_some() {
            return None;
        }
        map.put(Entry { key, name: name.clone(), at: entry.value.at, value: item.clone() });
    }
    Some(Rc::new(build::map(node.at, map)))
}

/// `own` over `default`: mappings key by key, everything else whole.
fn merge(default: &Rc<Node>, own: &Rc<Node>) -> Rc<Node> {
    let (Value::Map(below), Value::Map(above)) = (&default.value, &own.value) else { return own.clone() };
    // A typed value is one thing.
    if [below, above].iter().any(|m| m.get("__type__").is_some()) {
        return own.clone();
    }
    let mut map = Map::default();
    for entry in above.entries() {
        map.put(entry.clone());
    }
    for entry in below.entries() {
        let merged = match above.find(&entry.key) {
            Some(own) => Entry { value: merge(&entry.value, &own.value), ..own.clone() },
            None => entry.clone(),
        };
        map.put(merged);
    }
    Rc::new(Node { broken: default.broken || own.broken, ..build::map(own.at, map) })
}

/// Notes that a block with its defaults would make the file too large, and gives a stand-in.
pub(crate) fn too_large(entry: &Entry, at: Position, sink: &Sink<'_>) -> Rc<Node> {
    let problem = Problem {
        severity: Severity::Error,
        at: entry.at,
        code: "too-large",
        message: "the defaults, copied into all DAGs of this file, take too much space".into(),
        hint: Some("split the file, or make the defaults smaller".into()),
    };
    sink.note(Some(&entry.name), &clip(&entry.name), problem);
    Rc::new(build::broken(at))
}
