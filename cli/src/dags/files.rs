//! DAG files that are not (yet) in a metastore: loading them, and checking what the loader cannot see.

use super::sources::{Reading, Scope};
use super::templates;
use crate::failure::Failure;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use updraft_dag_file::{Diagnostic, LoadOptions, Places, Severity};
use updraft_dag_store::{DagStore, Error as FolderError};
use updraft_model::{Dag, DagId};
use updraft_service::ingest::{ABSENT, DEFAULTS_FILES, Folder, duplicate_dag, is_python_dag, missing_file};

/// A file, loaded and checked.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Its path in its DAG folder.
    pub(crate) path: String,
    /// The file as the person would name it.
    pub(crate) shown: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
    /// The files beside it in which there are problems, as the person would name them.
    pub(crate) companions: BTreeMap<String, Vec<u8>>,
    /// Its sound DAGs.
    pub(crate) dags: Vec<Dag>,
    /// What is wrong with it.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Files that it names and that are there, by their paths in the DAG folder.
    pub(crate) references: BTreeSet<String>,
    /// Files with defaults that hold for it.
    pub(crate) defaults: Vec<String>,
}

impl Checked {
    /// Whether something would not be loaded.
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// Whether it declares DAGs, rather than being a Python file.
    pub(crate) fn is_dag_file(&self) -> bool {
        Scope::is_dag_file(&self.path)
    }

    fn error(&mut self, code: &'static str, message: String, hint: &str) {
        let hint = Some(hint.to_owned());
        self.diagnostics.push(Diagnostic { hint, ..problem(&self.shown, Severity::Error, code, message) });
    }
}

/// What to do about a file that cannot be read as it is.
const READABLE: &str =
    "see that it can be read and is no larger than that, or name it in `.airflowignore` if it is no DAG file";

/// What to do about a file that a DAG names and that cannot be used.
const USABLE: &str = "see that it can be read, or name another";

/// A problem of a file as a whole.
pub(crate) fn problem(file: &str, severity: Severity, code: &'static str, message: String) -> Diagnostic {
    let (key_path, dag_id, hint) = (String::new(), None, None);
    Diagnostic { severity, file: file.to_owned(), line: 1, column: 1, key_path, dag_id, message, hint, code }
}

/// Loads and checks the DAG files of these places, each alone and all together. Python files are among the answers where they look
/// like DAG files.
pub(crate) async fn check(scopes: &[Scope], reading: &Reading, now: Timestamp) -> Result<Vec<Checked>, Failure> {
    let options = LoadOptions { env: reading.environment(), variables: Reading::variables(), ..LoadOptions::new(now) };
    let renderer = updraft_templates::Renderer::new();
    let mut checked = Vec::new();
    for scope in scopes {
        let folder = match &scope.listed {
            Some(listed) => Folder::listed(&scope.store, listed),
            None => Folder::new(&scope.store),
        };
        let mut found = Vec::new();
        for path in scope.files.iter().filter(|path| Scope::is_dag_file(path)) {
            found.push(check_one(scope, &folder, path, &options, &renderer).await?);
        }
        refuse_doubles(&mut found, &options.env);
        let referred: BTreeSet<&str> = found.iter().flat_map(|file| &file.references).map(String::as_str).collect();
        let python = scope.files.iter().filter(|path| is_python(path) && !referred.contains(path.as_str()));
        let mut noticed = Vec::new();
        for path in python {
            noticed.extend(notice(scope, &folder, path).await?);
        }
        noticed.extend(scope.files.iter().filter(|path| is_nearly_yaml(path)).map(|path| misnamed(scope, path)));
        found.extend(noticed);
        found.sort_by(|a, b| a.path.cmp(&b.path));
        checked.extend(found);
    }
    for file in &mut checked {
        // What is wrong with the files it names comes after what is wrong with itself.
        let shown = &file.shown;
        file.diagnostics.sort_by(|a, b| {
            let key = |d: &Diagnostic| (d.file != *shown, d.line, d.column);
            key(a).cmp(&key(b)).then_with(|| a.file.cmp(&b.file))
        });
    }
    Ok(checked)
}

/// Whether a file is Python, by its name.
pub(crate) fn is_python(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "py")
}

/// Loads and checks one DAG file.
async fn check_one<D: DagStore>(
    scope: &Scope,
    folder: &Folder<'_, D>,
    path: &str,
    options: &LoadOptions,
    renderer: &updraft_templates::Renderer,
) -> Result<Checked, Failure> {
    let shown = scope.shown(path);
    let mut checked = Checked {
        path: path.to_owned(),
        shown,
        bytes: Vec::new(),
        companions: BTreeMap::new(),
        dags: Vec::new(),
        diagnostics: Vec::new(),
        references: BTreeSet::new(),
        defaults: Vec::new(),
    };
    let file = match folder.read_anew(path).await {
        Ok(Some(file)) => file,
        Ok(None) => {
            checked.error("gone", "the file is gone".to_owned(), "lint again: it was removed meanwhile");
            return Ok(checked);
        }
        Err(error @ FolderError::Unavailable(_)) => return Err(error.into()),
        Err(error) => {
            checked.error("unreadable", error.to_string(), READABLE);
            return Ok(checked);
        }
    };
    let read = folder.load(&file, options.clone()).await?;
    checked.diagnostics = read.loaded.diagnostics;
    for diagnostic in &mut checked.diagnostics {
        // A problem of the defaults above it is shown where it stands, with its line.
        if let Some(bytes) = read.companions.get(&diagnostic.file) {
            let shown = scope.shown(&diagnostic.file);
            checked.companions.entry(shown).or_insert_with(|| bytes.clone());
        }
        diagnostic.file = scope.shown(&diagnostic.file);
    }
    for why in read.unusable.into_values() {
        checked.error("unusable-file", why, USABLE);
    }
    let there = read.tags.into_iter().filter(|(_, tag)| tag != ABSENT).map(|(path, _)| path);
    let is_defaults = |path: &String| DEFAULTS_FILES.iter().any(|name| path.rsplit('/').next() == Some(name));
    (checked.defaults, checked.references) = {
        let (defaults, others): (Vec<String>, Vec<String>) = there.partition(is_defaults);
        (defaults, others.into_iter().collect())
    };
    checked.dags = read.loaded.dags;
    let places = Places::read(&file.bytes, &options.env);
    checked.bytes = file.bytes;
    for dag in &checked.dags {
        if let Err(wrong) = updraft_params::check_declared(dag) {
            checked.diagnostics.push(Diagnostic {
                dag_id: Some(dag.dag_id.to_string()),
                hint: Some(
                    "runs made by a schedule have no conf: give the param a default that fits, or set `schedule: null`"
                        .into(),
                ),
                ..problem(&checked.shown, Severity::Error, "params", format!("DAG `{}`: {wrong}", dag.dag_id))
            });
        }
        let found = folder.files_of(dag).await?;
        for (task_id, reference) in &found.missing {
            checked.diagnostics.push(missing_file(&checked.shown, &places, &dag.dag_id, task_id, reference));
        }
        for why in found.unusable.into_values() {
            checked.diagnostics.push(Diagnostic {
                dag_id: Some(dag.dag_id.to_string()),
                hint: Some(USABLE.to_owned()),
                ..problem(&checked.shown, Severity::Error, "unusable-file", why)
            });
        }
        let source = std::str::from_utf8(&checked.bytes).unwrap_or_default();
        checked.diagnostics.extend(templates::check(renderer, dag, &places, source, &checked.shown));
        checked.diagnostics.extend(templates::check_files(renderer, dag, &found.files, |path| scope.shown(path)));
        checked.references.extend(found.files.into_keys());
    }
    Ok(checked)
}

/// A Python file that looks like a DAG file, with what to do about it.
async fn notice<D: DagStore>(scope: &Scope, folder: &Folder<'_, D>, path: &str) -> Result<Option<Checked>, Failure> {
    let Some(file) = folder.read(path).await.or_else(unreadable_is_none)? else { return Ok(None) };
    if !is_python_dag(&file.bytes) {
        return Ok(None);
    }
    let shown = scope.shown(path);
    let message = "this Python DAG file is not loaded: DAGs are declared in YAML here".to_owned();
    let hint = format!(
        "`updraft dags convert {shown}` makes YAML of it where it can; if it is no DAG file, name it in `.airflowignore`"
    );
    let warning = Diagnostic { hint: Some(hint), ..problem(&shown, Severity::Warning, "python-dag", message) };
    Ok(Some(told_only(path, shown, warning)))
}

/// Whether a file would be a DAG file if its suffix were in small letters.
fn is_nearly_yaml(path: &str) -> bool {
    let suffix = path.rsplit_once('.').map(|(_, suffix)| suffix);
    !Scope::is_dag_file(path)
        && suffix.is_some_and(|s| s != s.to_ascii_lowercase() && matches!(&*s.to_ascii_lowercase(), "yaml" | "yml"))
}

/// A file that nobody looks at because of its name.
fn misnamed(scope: &Scope, path: &str) -> Checked {
    let shown = scope.shown(path);
    let message = "this file is not read: DAG files end in `.yaml` or `.yml`, in small letters".to_owned();
    let hint = Some("give it such a name, or name it in `.airflowignore`".to_owned());
    let warning = Diagnostic { hint, ..problem(&shown, Severity::Warning, "misnamed-file", message) };
    told_only(path, shown, warning)
}

/// A file of which there is nothing but this to tell.
fn told_only(path: &str, shown: String, warning: Diagnostic) -> Checked {
    Checked {
        path: path.to_owned(),
        shown,
        bytes: Vec::new(),
        companions: BTreeMap::new(),
        dags: Vec::new(),
        diagnostics: vec![warning],
        references: BTreeSet::new(),
        defaults: Vec::new(),
    }
}

/// A file that may not be read is nobody's business as long as nobody refers to it.
fn unreadable_is_none<T>(error: FolderError) -> Result<Option<T>, Failure> {
    match error {
        FolderError::Unavailable(_) => Err(error.into()),
        _ => Ok(None),
    }
}

/// Notes DAG ids that an earlier file of the same place declares too.
fn refuse_doubles(checked: &mut [Checked], environment: &BTreeMap<String, String>) {
    let mut declared: BTreeMap<DagId, String> = BTreeMap::new();
    for file in checked {
        let mut doubles = Vec::new();
        for dag in &file.dags {
            let Some(other) = declared.get(&dag.dag_id).filter(|other| **other != file.shown) else {
                declared.insert(dag.dag_id.clone(), file.shown.clone());
                continue;
            };
            doubles.push(duplicate_dag(&file.shown, &file.bytes, environment, &dag.dag_id, other));
        }
        file.diagnostics.extend(doubles);
    }
}
