//! DAG text to validated DAGs, with located errors.
//!
//! [`load`] reads one YAML file in dag-factory's form and hands out every DAG in it that is sound, beside all problems it
//! found, each with file, line, column, the way of keys to it, and a hint. A DAG with an error is not handed out, and
//! hides no other. Whatever the bytes are, the answer comes in time linear in their number: size, depth, aliases and
//! copies of defaults are bounded.
//!
//! What is deliberately absent: the folder (whoever calls reads files), templates (whoever renders checks them), and any
//! knowledge of what operators do beyond the arguments in [`updraft_model::operators`].

mod argument;
mod common;
mod dag;
mod diagnostic;
mod document;
mod graph;
mod json;
mod places;
mod reader;
mod schedule;
mod suggest;
mod task;
mod text;
mod time;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use document::read_document;
pub use places::{Place, Places};
pub use text::FILE_BYTES_MAX;

use jiff::Timestamp;
use reader::{Cursor, Problem, Sink};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use updraft_model::Dag;
use updraft_timetables::{CronStyle, Timezone};
use yaml::compose::{self, Fatal, clip};
use yaml::{Entry, Map, Node, Position, Value};

/// The root key whose values every DAG of the file takes as defaults.
const DEFAULT: &str = "default";

/// What a file's meaning depends on beside its text.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// What relative dates (`start_date: 2 days`) count from.
    pub now: Timestamp,
    /// Variables that `$NAME` and `${NAME}` stand for. Names that are not here stay as written.
    pub env: BTreeMap<String, String>,
    /// The zone of dates and schedules that name none.
    pub default_timezone: Timezone,
    /// Whether DAGs that do not say so catch up.
    pub catchup_by_default: bool,
    /// What a cron expression as schedule means.
    pub cron_style: CronStyle,
    /// The DAG folder in the file system, where it has one: absolute paths inside of it are accepted.
    pub dags_folder: Option<String>,
    /// Files beside this one that are already at hand, by their paths relative to the DAG folder: `defaults.yml` up the
    /// folders, side YAML, documents.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Airflow Variables, for tasks that take arguments from them when they are read (`variables_as_arguments`).
    pub variables: BTreeMap<String, String>,
}

impl LoadOptions {
    /// Airflow's defaults at this instant.
    pub fn new(now: Timestamp) -> Self {
        Self {
            now,
            env: BTreeMap::new(),
            default_timezone: Timezone::utc(),
            catchup_by_default: false,
            cron_style: CronStyle::default(),
            dags_folder: None,
            files: BTreeMap::new(),
            variables: BTreeMap::new(),
        }
    }
}

/// What a file came to.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// The DAGs without an error, in the order of the file.
    pub dags: Vec<Dag>,
    /// All problems, in the order of the file.
    pub diagnostics: Vec<Diagnostic>,
    /// Files the DAGs name (`python_callable_file`), relative to the DAG folder, each once, sorted.
    pub references: Vec<String>,
    /// Files whose contents would have changed the outcome and were not among [`LoadOptions::files`], relative to the DAG
    /// folder, each once, sorted. Whoever has them loads again with them; what does not exist may be left out.
    pub wanted: Vec<String>,
}

impl Loaded {
    /// Whether something was not loaded.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// Loads a file. `file` is its path relative to the DAG folder, with `/`, as messages show it.
pub fn load(file: &str, text: &[u8], options: &LoadOptions) -> Loaded {
    let sink = Sink::new(file);
    let mut dags = Vec::new();
    let mut references = BTreeSet::new();
    if let Err(fatal) = load_into(file, text, options, &sink, &mut dags, &mut references) {
        let Fatal { at, code, message, hint } = fatal;
        sink.note(None, "", Problem { severity: Severity::Error, at, code, message, hint });
    }
    Loaded {
        dags,
        diagnostics: sink.into_diagnostics(),
        references: references.into_iter().collect(),
        wanted: Vec::new(),
    }
}

fn load_into(
    file: &str,
    text: &[u8],
    options: &LoadOptions,
    sink: &Sink<'_>,
    dags: &mut Vec<Dag>,
    references: &mut BTreeSet<String>,
) -> Result<(), Fatal> {
    let source = text::read(text, &options.env)?;
    let composed = compose::compose(&source.text, &|marker| source.place(marker))?;
    for note in composed.notes {
        let dag_id = note.path.first().filter(|id| &***id != DEFAULT).map(|id| &**id);
        let key_path = note.path.iter().map(|key| clip(key)).collect::<Vec<_>>().join(".");
        let severity = if note.error { Severity::Error } else { Severity::Warning };
        let problem = Problem { severity, at: note.at, code: note.code, message: note.message, hint: note.hint };
        sink.note(dag_id, &key_path, problem);
    }
    let Some(root) = composed.root.filter(|root| !matches!(root.value, Value::Null)) else { return Ok(()) };
    let Value::Map(map) = &root.value else {
        return Err(Fatal {
            at: root.at,
            code: "not-a-mapping",
            message: format!("a DAG file is a mapping of DAGs by their ids, but this is {}", root.value.kind()),
            hint: Some("begin with the DAG's id: `my_dag:`, and indent everything else below it".into()),
        });
    };
    refuse_misplaced_keys(map, sink);
    let blocks = with_defaults(map, sink);
    for (entry, block) in &blocks {
        let cursor =
            Cursor { sink, dag_id: None, path: "".into(), name: "".into(), key_at: Position::START, node: &root };
        let cursor = Cursor { node: block, ..cursor.down(entry) };
        dags.extend(block_to_dag(entry, cursor, options, file, references));
    }
    Ok(())
}

/// Whether this is a key of a DAG with no DAG below it: one has tasks.
fn is_misplaced(entry: &Entry) -> bool {
    let has_tasks = matches!(&entry.value.value, Value::Map(block) if block.get("tasks").is_some());
    dag::is_dag_key(&entry.name) && &*entry.name != "task_groups" && !has_tasks
}

/// A key of a DAG at the root, with no DAG below it, means that the levels of the whole file are not what we take them
/// for. Then nothing is loaded: half of another tool's file is worse than none.
fn refuse_misplaced_keys(map: &Map, sink: &Sink<'_>) {
    for entry in map.entries().iter().filter(|e| is_misplaced(e)) {
        let message = format!("`{}` is a key of a DAG, but stands where DAG ids are expected", entry.name);
        let hint = Some("begin with the DAG's id: `my_dag:`, and indent everything else below it".into());
        let problem = Problem { severity: Severity::Error, at: entry.at, code: "misplaced-key", message, hint };
        sink.note(None, &entry.name, problem);
    }
}

/// The DAG blocks of a file, `default` merged into each.
fn with_defaults<'m>(map: &'m Map, sink: &Sink<'_>) -> Vec<(&'m Entry, Rc<Node>)> {
    let default = map.entry(DEFAULT);
    if let Some(entry) = default.filter(|e| !matches!(e.value.value, Value::Map(_) | Value::Null)) {
        let message = format!("`default` must be a mapping, but is {}", entry.value.value.kind());
        let problem = Problem {
            severity: Severity::Error,
            at: entry.value.at,
            code: "wrong-type",
            message,
            hint: Some("`default` holds what all DAGs of the file have in common".into()),
        };
        sink.note(None, DEFAULT, problem);
    }
    let default = default.map(|e| &e.value).filter(|n| matches!(n.value, Value::Map(_)));
    let is_block = |e: &&'m Entry| !matches!(&*e.name, DEFAULT | "task_groups") && !is_misplaced(e);
    let blocks = map.entries().iter().filter(is_block);
    blocks
        .map(|entry| {
            let block = match default {
                Some(default) if matches!(entry.value.value, Value::Map(_)) => {
                    if sink.may_copy(default.weight) {
                        merge(default, &entry.value)
                    } else {
                        too_large(entry, sink)
                    }
                }
                _ => entry.value.clone(),
            };
            (entry, block)
        })
        .collect()
}

/// A stand-in for a block that with its defaults would make the file too large.
fn too_large(entry: &Entry, sink: &Sink<'_>) -> Rc<Node> {
    let problem = Problem {
        severity: Severity::Error,
        at: entry.at,
        code: "too-large",
        message: "`default`, copied into all DAGs of this file, takes too much space".into(),
        hint: Some("split the file, or make the defaults smaller".into()),
    };
    sink.note(Some(&entry.name), &clip(&entry.name), problem);
    Rc::new(Node { at: entry.value.at, value: Value::Null, weight: 1, height: 0, broken: true })
}

/// `own` over `default`: mappings key by key, everything else whole.
fn merge(default: &Rc<Node>, own: &Rc<Node>) -> Rc<Node> {
    let (Value::Map(below), Value::Map(above)) = (&default.value, &own.value) else { return own.clone() };
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
    let weight = default.weight.saturating_add(own.weight);
    let height = default.height.max(own.height);
    Rc::new(Node { at: own.at, value: Value::Map(map), weight, height, broken: default.broken || own.broken })
}

fn block_to_dag<'a>(
    entry: &'a Entry,
    cursor: Cursor<'a>,
    options: &LoadOptions,
    file: &str,
    references: &mut BTreeSet<String>,
) -> Option<Dag> {
    let id = &*entry.name;
    let cursor = Cursor { dag_id: Some(id), ..cursor };
    if !matches!(entry.key, yaml::Key::Text(_)) {
        let message = format!("the key `{}` is not read as text, but a DAG's id must be text", clip(id));
        cursor.key_error("key-type", message, Some(format!("put it in quotes: \"{}\"", clip(id))));
        return None;
    }
    if cursor.node.broken {
        if !cursor.sink.has_failed(id) {
            let message = format!("the DAG `{}` uses a value that has an error elsewhere in this file", clip(id));
            cursor.key_error("broken-value", message, None);
        }
        return None;
    }
    let Value::Map(map) = &cursor.node.value else {
        let hint = "the keys of the file are DAG ids, each with a mapping below it";
        let message = format!("the DAG `{}` must be a mapping, but is {}", clip(id), cursor.node.value.kind());
        cursor.key_error("wrong-type", message, Some(hint.into()));
        return None;
    };
    let has_dag_key = map.entries().iter().any(|e| dag::is_dag_key(&e.name));
    if !map.entries().is_empty() && !has_dag_key {
        let message = format!("`{}` has none of a DAG's keys, such as `tasks` or `schedule`", clip(id));
        cursor.key_error("not-a-dag", message, Some("the keys of the file are DAG ids".into()));
        return None;
    }
    dag::dag(id, &cursor, options, file, references)
}

#[cfg(test)]
mod tests;
