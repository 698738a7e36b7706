//! DAG files that somebody named: in files, folders and buckets.

use crate::failure::Failure;
use crate::stores::DagFolder;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use updraft_dag_store::{DagStore, Directory, FileEntry, IgnoreSyntax};
use updraft_service::ingest::{Folder, is_dag_file};

/// How DAG files are read, as the server that is to run them reads them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Reading {
    /// What `$NAME` and `${NAME}` stand for in DAG files; may be repeated. Other variables stay as they are written
    #[arg(long = "dag-env", value_name = "NAME=VALUE", value_parser = parse_variable)]
    dag_env: Vec<(String, String)>,

    /// How `.airflowignore` is read: `glob`, as `.gitignore` is, or `regexp`
    #[arg(long, value_name = "SYNTAX", env = crate::settings::IGNORE_SYNTAX, default_value = "glob")]
    dag_ignore_file_syntax: IgnoreSyntax,
}

impl Reading {
    /// What variables stand for.
    pub(crate) fn environment(&self) -> BTreeMap<String, String> {
        self.dag_env.iter().cloned().collect()
    }

    /// The Variables of this process's environment (`AIRFLOW_VAR_NAME`), by upper-case name.
    pub(crate) fn variables() -> BTreeMap<String, String> {
        let named = |(name, value): (String, String)| {
            Some((name.strip_prefix(updraft_service::lookup::VARIABLE_PREFIX)?.to_uppercase(), value))
        };
        let unicode = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        std::env::vars_os().filter_map(unicode).filter_map(named).collect()
    }

    /// How ignore files are read.
    pub(crate) fn ignore_syntax(&self) -> IgnoreSyntax {
        self.dag_ignore_file_syntax
    }
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    let is_name = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && is_name(name) => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as `NAME=VALUE`".to_owned()),
    }
}

/// A place with DAG files: a DAG folder, or the folders around a file that was named by itself.
#[derive(Debug)]
pub(crate) struct Scope {
    /// Where they are read.
    pub(crate) store: DagFolder,
    /// All files, where the place is a DAG folder as a whole.
    pub(crate) listed: Option<Vec<FileEntry>>,
    /// What stands before a file's path when it is shown: empty, or ending with `/`.
    shown_before: String,
    /// Its files to look at, by path.
    pub(crate) files: Vec<String>,
}

impl Scope {
    /// A file as the person would name it.
    pub(crate) fn shown(&self, path: &str) -> String {
        format!("{}{path}", self.shown_before)
    }

    /// A file of defaults in a folder above, which is not read: the folder that is looked at counts as the DAG folder. A repository's
    /// root is the highest place that is looked into.
    #[cfg_attr(not(feature = "aws"), expect(irrefutable_let_patterns, reason = "only AWS has buckets"))]
    pub(crate) fn defaults_above(&self) -> Option<PathBuf> {
        let DagFolder::Directory(store) = &self.store else { return None };
        let mut folder = store.root();
        while !folder.join(".git").exists() {
            folder = folder.parent()?;
            let found =
                updraft_dag_file::DEFAULTS_FILES.iter().map(|name| folder.join(name)).find(|path| path.is_file());
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Whether a file is looked at for DAGs.
    pub(crate) fn is_dag_file(path: &str) -> bool {
        is_dag_file(path)
    }
}

/// What a file that is named by itself is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alone {
    /// Where it is: everything up to the folder we work in may be its DAG folder.
    InPlace,
    /// As it will be in a DAG folder by itself, its own folder being that.
    ByItself,
}

/// The places and files that paths stand for. In a folder that is all but what `.airflowignore` names.
pub(crate) async fn collect(paths: &[PathBuf], alone: Alone, syntax: IgnoreSyntax) -> Result<Vec<Scope>, Failure> {
    let (scopes, missing) = collect_there(paths, alone, syntax).await?;
    missing.map_or(Ok(scopes), Err)
}

/// The same of those paths at which there is something, and what is to be said of the first of the others.
pub(crate) async fn collect_there(
    paths: &[PathBuf],
    alone: Alone,
    syntax: IgnoreSyntax,
) -> Result<(Vec<Scope>, Option<Failure>), Failure> {
    let mut scopes: Vec<Scope> = Vec::new();
    let mut missing = None;
    let mut seen = BTreeSet::new();
    for path in paths {
        if let Some(uri) = path.to_str().filter(|text| text.starts_with("s3://")) {
            if let Some((store, path)) = DagFolder::open_object(uri).await? {
                if store.read(path).await?.is_none() {
                    missing.get_or_insert(Failure::wrong_use(format!("there is no file `{uri}`")));
                    continue;
                }
                let shown_before = store.location();
                scopes.push(Scope { store, listed: None, shown_before, files: vec![path.to_owned()] });
                continue;
            }
            let store = DagFolder::open_bucket(uri).await?;
            let shown_before = store.location();
            let found = folder(store, shown_before, syntax).await?;
            if found.listed.as_ref().is_some_and(Vec::is_empty) {
                missing.get_or_insert(Failure::wrong_use(format!("there is nothing below `{uri}`")));
            } else {
                scopes.push(found);
            }
        } else if path.is_dir() {
            let root = path.canonicalize().map_err(|e| unreadable(path, &e))?;
            let shown = path.display().to_string();
            let shown_before = match shown.trim_end_matches('/') {
                "." => String::new(),
                shown => format!("{shown}/"),
            };
            scopes.push(folder(DagFolder::Directory(Directory::new(root)), shown_before, syntax).await?);
        } else if path.is_file() {
            let full = path.canonicalize().map_err(|e| unreadable(path, &e))?;
            if seen.insert(full) {
                file(path, alone, &mut scopes)?;
            }
        } else {
            let failure = Failure::wrong_use(format!("there is no file or folder `{}`", path.display()));
            missing.get_or_insert(failure);
        }
    }
    Ok((scopes, missing))
}

/// A DAG folder as a whole.
async fn folder(store: DagFolder, shown_before: String, syntax: IgnoreSyntax) -> Result<Scope, Failure> {
    let listed = store.list().await?;
    let paths: Vec<String> = listed.iter().map(|entry| entry.path.clone()).collect();
    let ignored = Folder::listed(&store, &listed).ignored(&paths, syntax).await?;
    let files = paths.into_iter().filter(|path| !ignored.is_ignored(path)).collect();
    Ok(Scope { store, listed: Some(listed), shown_before, files })
}

/// A file that was named by itself; files of one folder to work in are looked at together.
fn file(path: &Path, alone: Alone, scopes: &mut Vec<Scope>) -> Result<(), Failure> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let own = folder.canonicalize().map_err(|e| unreadable(path, &e))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let here = std::env::current_dir().and_then(|here| here.canonicalize()).ok();
    let (root, inside) = match here.filter(|here| alone == Alone::InPlace && own.starts_with(here)) {
        Some(here) => {
            let inside = own.strip_prefix(&here).unwrap_or(Path::new("")).join(&name);
            (here, inside.to_string_lossy().into_owned())
        }
        None => (own, name),
    };
    let shown = path.display().to_string();
    let shown_before = shown.strip_suffix(&inside).unwrap_or_default().to_owned();
    let same = |scope: &&mut Scope| {
        scope.listed.is_none()
            && scope.shown_before == shown_before
            && matches!(&scope.store, DagFolder::Directory(store) if store.root() == root)
    };
    match scopes.iter_mut().find(same) {
        Some(scope) => scope.files.push(inside),
        None => scopes.push(Scope {
            store: DagFolder::Directory(Directory::new(root)),
            listed: None,
            shown_before,
            files: vec![inside],
        }),
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::wrong_use(format!("`{}` could not be read", path.display())).cause(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_name_and_a_value() {
        assert_eq!(parse_variable("A_1=x=y"), Ok(("A_1".to_owned(), "x=y".to_owned())));
        assert_eq!(parse_variable("A="), Ok(("A".to_owned(), String::new())));
        for wrong in ["A", "=x", "1A=x", "a-b=x", ""] {
            assert!(parse_variable(wrong).is_err(), "{wrong}");
        }
    }
}
