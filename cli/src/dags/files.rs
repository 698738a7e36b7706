//! DAG files that are not (yet) in a metastore: finding them, loading them, and checking what the loader cannot see.

use crate::failure::Failure;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use updraft_dag_file::{Diagnostic, LoadOptions, Severity};
use updraft_dag_store::{DagStore, Directory};
use updraft_model::{Dag, DagId};
use updraft_service::ingest::is_dag_file;

/// The key of a task that names a file beside the DAG file.
const FILE_KEY: &str = "python_callable_file";

/// A file that was named, or lies in a folder that was.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Where it is, as the person named it.
    pub(crate) path: PathBuf,
    /// Its path in the DAG folder, with `/`.
    pub(crate) name: String,
    /// Folders that may be the DAG folder, the likeliest first.
    roots: Vec<PathBuf>,
}

impl Source {
    /// Whether it declares DAGs.
    pub(crate) fn is_dag_file(&self) -> bool {
        is_dag_file(&self.name)
    }

    /// Where a file that a DAG names lies.
    pub(crate) fn find(&self, reference: &str) -> Option<PathBuf> {
        self.roots.iter().map(|root| root.join(reference)).find(|path| path.is_file())
    }
}

/// A DAG file, loaded and checked.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Which.
    pub(crate) source: Source,
    /// Its text.
    pub(crate) text: String,
    /// Its sound DAGs.
    pub(crate) dags: Vec<Dag>,
    /// What is wrong with it.
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Files its DAGs name, as far as they exist: the path in the DAG folder, and where it is.
    pub(crate) references: Vec<(String, PathBuf)>,
}

impl Checked {
    /// Whether something would not be loaded.
    pub(crate) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }

    /// All problems with their source lines.
    pub(crate) fn render(&self, color: bool) -> String {
        self.diagnostics.iter().map(|d| d.render(&self.text, color) + "\n").collect()
    }
}

/// The files that paths stand for: a file is itself, a folder is all visible files below it.
pub(crate) async fn collect(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        if path.is_dir() {
            let listed = Directory::new(path).list().await.map_err(Failure::from)?;
            let inside = listed.into_iter().map(|entry| Source {
                path: path.join(&entry.path),
                name: entry.path,
                roots: vec![path.clone()],
            });
            sources.extend(inside);
        } else if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            sources.push(Source { path: path.clone(), name, roots: folders_above(path) });
        } else {
            return Err(Failure::user(format!("there is no file or folder `{}`", path.display())));
        }
    }
    Ok(sources)
}

/// The folders around a file, from its own to the one we work in: any of them may be the DAG folder.
fn folders_above(path: &Path) -> Vec<PathBuf> {
    let own = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    match (own.canonicalize(), here) {
        (Ok(full), Ok(here)) if full.starts_with(&here) => {
            full.ancestors().take_while(|folder| folder.starts_with(&here)).map(Path::to_owned).collect()
        }
        _ => vec![own.to_owned()],
    }
}

/// Loads and checks DAG files, each alone and all together.
pub(crate) fn check(sources: Vec<Source>, now: Timestamp) -> Result<Vec<Checked>, Failure> {
    let mut checked = sources.into_iter().map(|source| check_one(source, now)).collect::<Result<Vec<_>, _>>()?;
    refuse_doubles(&mut checked);
    for file in &mut checked {
        file.diagnostics.sort_by_key(|d| (d.line, d.column));
    }
    Ok(checked)
}

/// Loads and checks one DAG file.
pub(crate) fn check_one(source: Source, now: Timestamp) -> Result<Checked, Failure> {
    let shown = source.path.display().to_string();
    let bytes = std::fs::read(&source.path)
        .map_err(|e| Failure::user(format!("`{shown}` could not be read")).cause(e.to_string()))?;
    let folder = source.roots.first().and_then(|root| root.canonicalize().ok());
    let options =
        LoadOptions { dags_folder: folder.map(|f| f.to_string_lossy().into_owned()), ..LoadOptions::new(now) };
    let loaded = updraft_dag_file::load(&source.name, &bytes, &options);
    let mut diagnostics = loaded.diagnostics;
    for diagnostic in &mut diagnostics {
        diagnostic.file.clone_from(&shown);
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut file = Checked { source, text, dags: loaded.dags, diagnostics, references: Vec::new() };
    for reference in loaded.references {
        match file.source.find(&reference) {
            Some(path) => file.references.push((reference, path)),
            None => file.diagnostics.extend(missing(&file, &reference)),
        }
    }
    Ok(file)
}

/// The tasks that name a file which is not there.
fn missing(file: &Checked, reference: &str) -> Vec<Diagnostic> {
    let named = |task: &updraft_model::Task| task.arguments.get(FILE_KEY).and_then(|v| v.as_str()) == Some(reference);
    let tasks = file.dags.iter().flat_map(|dag| dag.tasks.iter().filter(|t| named(t)).map(move |t| (dag, t)));
    tasks
        .map(|(dag, task)| Diagnostic {
            key_path: format!("{}.tasks.{}.{FILE_KEY}", dag.dag_id, task.task_id),
            dag_id: Some(dag.dag_id.to_string()),
            message: format!("`{FILE_KEY}` names `{reference}`, and there is no such file in the DAG folder"),
            hint: Some(
                "paths count from the DAG folder; check that folder as a whole: `updraft dags lint FOLDER`".into(),
            ),
            code: "missing-file",
            ..problem_at(file, |line| line.contains(FILE_KEY) && line.contains(reference))
        })
        .collect()
}

/// Notes DAG ids that an earlier file of the same folder declares too.
fn refuse_doubles(checked: &mut [Checked]) {
    let mut declared: BTreeMap<(PathBuf, DagId), String> = BTreeMap::new();
    for file in checked {
        let root = file.source.roots.first().cloned().unwrap_or_default();
        let shown = file.source.path.display().to_string();
        let mut doubles = Vec::new();
        for dag in &file.dags {
            let key = (root.clone(), dag.dag_id.clone());
            let Some(other) = declared.get(&key).filter(|other| **other != shown) else {
                declared.insert(key, shown.clone());
                continue;
            };
            let id = dag.dag_id.as_str();
            doubles.push(Diagnostic {
                key_path: id.to_owned(),
                dag_id: Some(id.to_owned()),
                message: format!("the DAG `{id}` is already declared by `{other}`"),
                hint: Some("give one of them another id".into()),
                code: "duplicate-dag",
                ..problem_at(file, |line| line.trim_matches(['"', '\'']).starts_with(id))
            });
        }
        file.diagnostics.extend(doubles);
    }
}

/// An error at the first line that fits; the loader has told us no place for what it does not check.
fn problem_at(file: &Checked, fits: impl Fn(&str) -> bool) -> Diagnostic {
    let found = file.text.lines().enumerate().find(|(_, line)| fits(line));
    let (line, column) = found.map_or((0, 0), |(at, line)| (at, line.chars().take_while(|c| *c == ' ').count()));
    Diagnostic {
        severity: Severity::Error,
        file: file.source.path.display().to_string(),
        line: line as u32 + 1,
        column: column as u32 + 1,
        key_path: String::new(),
        dag_id: None,
        message: String::new(),
        hint: None,
        code: "",
    }
}
