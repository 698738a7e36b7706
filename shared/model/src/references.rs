//! Which files of the DAG folder a DAG's tasks refer to, and where each may lie.
//!
//! One place, so that what is read with a DAG, what belongs to its version, what a linter misses and what a worker opens are the
//! same files.

use crate::dag::{Dag, Task};
use crate::dag_parts::{Callback, ExpandInput, Mapping};
use crate::operators::{self, ArgumentType};
use serde_json::Value;

/// What a referenced file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReferenceKind {
    /// A Python file named by its path: without it the DAG cannot run.
    PythonFile,
    /// The module of a dotted path. It need not lie in the DAG folder: Python may have it installed.
    Module,
    /// A template that an argument names instead of holding its text. Without it the task fails when it runs, as in Airflow.
    Template,
}

/// A file that a task refers to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// The way of keys from the task, e.g. `bash_command` or `env.SCRIPT`.
    pub key_path: String,
    /// The file as the task names it.
    pub name: String,
    /// What it is.
    pub kind: ReferenceKind,
    /// Where it may lie, relative to the DAG folder. A template is the first that is there; a module is all that are there.
    pub candidates: Vec<String>,
}

/// The files that a task refers to, in the order of its arguments.
pub fn of_task(dag: &Dag, task: &Task) -> Vec<Reference> {
    let mut found = Vec::new();
    let groups = dag.groups.iter().filter(|group| task.group.as_ref() == Some(&group.group_id));
    let mappings = task.mapping.iter().chain(groups.filter_map(|group| group.mapping.as_ref()));
    for input in mappings.flat_map(Mapping::inputs) {
        functions(input, &mut found);
    }
    let operator = operators::find(&task.operator);
    let is_callable = |key: &str| match operator.and_then(|o| o.argument(key)) {
        Some(argument) => argument.kind == ArgumentType::Callable,
        None => key == "python_callable",
    };
    for (key, value) in &task.arguments {
        let Value::String(text) = value else { continue };
        if let Some(stem) = key.strip_suffix("_file")
            && task.arguments.get(&format!("{stem}_name")).is_some_and(Value::is_string)
        {
            // A path outside of the DAG folder is the worker's business: nothing here can say whether it is there.
            if text.starts_with(['/', '$', '~']) {
                continue;
            }
            found.push(reference(key, text, ReferenceKind::PythonFile, vec![text.clone()]));
        } else if is_callable(key) {
            found.push(reference(key, text, ReferenceKind::Module, module_files(text)));
        }
    }
    if let Some(operator) = operator.filter(|o| !o.template_ext.is_empty()) {
        let extensions = &operator.template_ext;
        for field in operator.template_fields() {
            if let Some(value) = task.arguments.get(field) {
                templates(dag, extensions, field, value, &mut found);
            }
        }
    }
    found
}

/// The files that a DAG refers to: those of its tasks, each with the task's id, then those of callbacks. Of a callback no file need be there:
/// Python may have the module installed, and what cannot be called says so when it is called.
pub fn of_dag(dag: &Dag) -> Vec<(String, Reference)> {
    let mut found: Vec<(String, Reference)> = Vec::new();
    for task in &dag.tasks {
        found.extend(of_task(dag, task).into_iter().map(|reference| (task.task_id.to_string(), reference)));
    }
    let mut add = |key: &str, task_id: &str, callback: &Callback| {
        let candidates = match &callback.file {
            Some(file) if file.starts_with(['/', '$', '~']) => return,
            Some(file) => vec![file.clone()],
            None => module_files(&callback.callback),
        };
        found.push((task_id.to_owned(), reference(key, &callback.callback, ReferenceKind::Module, candidates)));
    };
    for task in &dag.tasks {
        for (kind, callbacks) in &task.callbacks {
            for callback in callbacks {
                add(kind.key(), task.task_id.as_str(), callback);
            }
        }
    }
    for (kind, callbacks) in &dag.callbacks {
        for callback in callbacks {
            add(kind.key(), "", callback);
        }
    }
    for deadline in &dag.deadlines {
        add("deadline", "", &deadline.callback);
    }
    found
}

/// The functions of `map`, wherever they stand in what a task is expanded over.
fn functions(input: &ExpandInput, found: &mut Vec<Reference>) {
    match input {
        ExpandInput::Literal(_) | ExpandInput::XCom { .. } => {}
        ExpandInput::Zip { of, .. } | ExpandInput::Concat(of) => of.iter().for_each(|input| functions(input, found)),
        ExpandInput::Map { of, function } => {
            functions(of, found);
            let text = |name: &str| function.get(name).and_then(Value::as_str);
            if let Some(path) = text("python_callable") {
                found.push(reference("expand", path, ReferenceKind::Module, module_files(path)));
            } else if let Some(file) = text("python_callable_file").filter(|file| !file.starts_with(['/', '$', '~'])) {
                found.push(reference("expand", file, ReferenceKind::PythonFile, vec![file.to_owned()]));
            }
        }
    }
}

fn reference(key_path: &str, name: &str, kind: ReferenceKind, candidates: Vec<String>) -> Reference {
    Reference { key_path: key_path.to_owned(), name: name.to_owned(), kind, candidates }
}

/// Every text inside a template field that ends like a file of templates, as Airflow takes it for one.
fn templates(dag: &Dag, extensions: &[&str], key_path: &str, value: &Value, found: &mut Vec<Reference>) {
    match value {
        Value::String(text) if is_template_file(extensions, text) => {
            found.push(reference(key_path, text, ReferenceKind::Template, template_files(dag, text)));
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                templates(dag, extensions, &format!("{key_path}.{at}"), item, found);
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                templates(dag, extensions, &format!("{key_path}.{key}"), item, found);
            }
        }
        _ => {}
    }
}

/// Whether the text of a template field is the name of a template rather than one itself.
pub fn is_template_file(extensions: &[&str], text: &str) -> bool {
    extensions.iter().any(|extension| text.ends_with(extension))
}

/// Where a template of this name may lie, the first that is there counts: in the folder of the DAG's file, then in those of
/// `template_searchpath`. Nothing where the name leads upwards: Jinja finds none either.
pub fn template_files(dag: &Dag, name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.is_empty() || parts.contains(&"..") {
        return Vec::new();
    }
    let name = parts.join("/");
    let own = dag.file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let folders = std::iter::once(own).chain(dag.templates.searchpath.iter().map(String::as_str));
    let mut files: Vec<String> = Vec::new();
    for folder in folders {
        let folder = folder.trim_matches('/');
        let file = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if !files.contains(&file) {
            files.push(file);
        }
    }
    files
}

/// Where `package.module.function` may lie in the DAG folder: the module, and the packages around it.
pub fn module_files(dotted: &str) -> Vec<String> {
    let parts: Vec<&str> = dotted.split('.').collect();
    let Some((_, module)) = parts.split_last() else { return Vec::new() };
    if module.is_empty() || module.iter().any(|part| part.is_empty() || part.contains('/')) {
        return Vec::new();
    }
    let mut files = vec![format!("{}.py", module.join("/")), format!("{}/__init__.py", module.join("/"))];
    files.extend((1..module.len()).map(|n| format!("{}/__init__.py", module[..n].join("/"))));
    files
}
