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
mod assets;
mod callbacks;
mod common;
mod dag;
mod deadlines;
mod defaults;
mod diagnostic;
mod document;
mod eventbridge;
mod graph;
mod groups;
mod hints;
mod hitl;
mod json;
pub mod keys;
mod mapping;
mod others;
mod params;
mod paths;
mod places;
mod reader;
mod schedule;
mod schema;
mod sensor;
mod settings;
mod setup;
mod special;
mod suggest;
mod task;
mod text;
mod time;
mod variables;
mod yaml;

pub use defaults::DEFAULTS_FILES;
pub use diagnostic::{Diagnostic, Severity};
pub use document::read_document;
pub use places::{Place, Places};
pub use schema::json_schema;
pub use text::FILE_BYTES_MAX;

use defaults::{DEFAULT, Defaults};
use jiff::Timestamp;
use reader::{Cursor, Problem, Sink};
use std::collections::BTreeMap;
use std::rc::Rc;
use updraft_model::Dag;
use updraft_timetables::{CronStyle, Timezone};
use yaml::compose::{self, Fatal, clip};
use yaml::{Entry, Map, Node, Position, Value};

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
    /// Airflow Variables by upper-case name, for tasks that take arguments from them when they are read (`variables_as_arguments`).
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
    let sink = Sink::new(file, options);
    let mut dags = Vec::new();
    if let Err(fatal) = load_into(file, text, options, &sink, &mut dags) {
        let Fatal { at, code, message, hint } = fatal;
        sink.note(None, "", Problem { severity: Severity::Error, at, code, message, hint });
    }
    // A problem found late, in a file that all DAGs share, concerns those that were sound before.
    dags.retain(|dag: &Dag| !sink.has_failed(dag.dag_id.as_str()));
    let (references, wanted) = sink.take_files();
    Loaded { dags, diagnostics: sink.into_diagnostics(), references, wanted }
}

/// Reads one of the files that are read together, its number being for places. None: it is empty.
pub(crate) fn compose_file(
    number: u16,
    bytes: &[u8],
    options: &LoadOptions,
    sink: &Sink<'_>,
) -> Result<Option<Rc<Node>>, Fatal> {
    let source = text::read(number, bytes, &options.env)?;
    let composed = compose::compose(&source.text, &|marker| source.place(marker))?;
    for note in composed.notes {
        let dag_id = note.path.first().filter(|id| number == 0 && &***id != DEFAULT).map(|id| &**id);
        let key_path = note.path.iter().map(|key| clip(key)).collect::<Vec<_>>().join(".");
        let severity = if note.error { Severity::Error } else { Severity::Warning };
        let problem = Problem { severity, at: note.at, code: note.code, message: note.message, hint: note.hint };
        sink.note(dag_id, &key_path, problem);
    }
    Ok(composed.root.filter(|root| !matches!(root.value, Value::Null)))
}

fn load_into(
    file: &str,
    text: &[u8],
    options: &LoadOptions,
    sink: &Sink<'_>,
    dags: &mut Vec<Dag>,
) -> Result<(), Fatal> {
    let Some(root) = compose_file(0, text, options, sink)? else { return Ok(()) };
    let Value::Map(map) = &root.value else {
        return Err(Fatal {
            at: root.at,
            code: "not-a-mapping",
            message: format!("a DAG file is a mapping of DAGs by their ids, but this is {}", root.value.kind()),
            hint: Some("begin with the DAG's id: `my_dag:`, and indent everything else below it".into()),
        });
    };
    if defaults::is_defaults_file(file) {
        return Ok(());
    }
    refuse_misplaced_keys(map, sink);
    let defaults = Defaults::read(map, file, options, sink)?;
    let is_block = |e: &&Entry| !matches!(&*e.name, DEFAULT | "task_groups") && !is_misplaced(e);
    for entry in map.entries().iter().filter(is_block) {
        let cursor = Cursor {
            sink,
            dag_id: Some(&*entry.name),
            path: "".into(),
            name: "".into(),
            key_at: Position::START,
            node: &root,
        };
        let cursor = cursor.down(entry);
        let block =
            defaults.apply(&entry.value, sink).unwrap_or_else(|| defaults::too_large(entry, entry.value.at, sink));
        let block = special::resolved(&cursor, &block);
        let block = variables::put_in(&cursor, &block, &options.variables);
        dags.extend(block_to_dag(entry, Cursor { node: &block, ..cursor }, options, file));
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

fn block_to_dag<'a>(entry: &'a Entry, cursor: Cursor<'a>, options: &'a LoadOptions, file: &'a str) -> Option<Dag> {
    let id = &*entry.name;
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
    dag::dag(id, &cursor, options, file)
}

#[cfg(test)]
mod tests;
