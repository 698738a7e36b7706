//! The DAG folder during one look over it, and DAG files read together with what they depend on.
//!
//! The server, the scheduler function and the linter read files by this, so that they agree on what a file means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use updraft_dag_file::{LoadOptions, Loaded};
use updraft_dag_store::{
    DagStore, Error as FolderError, File, FileEntry, IGNORE_FILE, IgnoreSyntax, Ignored, folders_of,
};
use updraft_model::Dag;
use updraft_model::references::{self, Reference, ReferenceKind};

/// The names of files that hold defaults for the DAG files in their folder and below it; of two in one folder, the first counts.
pub const DEFAULTS_FILES: [&str; 2] = ["defaults.yml", "defaults.yaml"];

/// The tag of a file that is not there.
pub const ABSENT: &str = "";

/// How many bytes of files are kept for other DAG files of the same look.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// How often a file is loaded anew with files it turned out to need.
const ROUNDS_MAX: usize = 4;

/// How many files one DAG file may depend on, and how large they may be together; a DAG file that needs more is refused.
const COMPANIONS_MAX: usize = 200;
const COMPANION_BYTES_MAX: usize = 8 << 20;

/// Whether a file declares DAGs, by its name.
pub fn is_dag_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let declares = name.rsplit_once('.').is_some_and(|(_, suffix)| matches!(suffix, "yaml" | "yml"));
    declares && !DEFAULTS_FILES.contains(&name)
}

/// The DAG folder during one look: a file that many DAG files depend on is read once.
#[derive(Debug)]
pub struct Folder<'a, D> {
    store: &'a D,
    /// What the folder listed, where it was listed: nothing else is asked for.
    listed: Option<BTreeSet<String>>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<String, Option<Arc<File>>>,
    bytes: usize,
}

impl<'a, D: DagStore> Folder<'a, D> {
    /// A folder that was not listed: files are asked for by name.
    pub fn new(store: &'a D) -> Self {
        Self { store, listed: None, kept: Mutex::default() }
    }

    /// A folder with what it listed.
    pub fn listed(store: &'a D, listed: &[FileEntry]) -> Self {
        Self { listed: Some(listed.iter().map(|file| file.path.clone()).collect()), ..Self::new(store) }
    }

    /// Reads a file as it is now.
    pub async fn read_anew(&self, path: &str) -> Result<Option<File>, FolderError> {
        self.store.read(path).await
    }

    /// Reads a file, unless it was read during this look.
    pub async fn read(&self, path: &str) -> Result<Option<Arc<File>>, FolderError> {
        if self.listed.as_ref().is_some_and(|listed| !listed.contains(path)) {
            return Ok(None);
        }
        if let Some(kept) = self.kept.lock().unwrap_or_else(PoisonError::into_inner).files.get(path) {
            return Ok(kept.clone());
        }
        let file = self.store.read(path).await?.map(Arc::new);
        let size = file.as_ref().map_or(0, |file| file.bytes.len());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + size <= KEPT_BYTES_MAX {
            kept.bytes += size;
            kept.files.insert(path.to_owned(), file.clone());
        }
        Ok(file)
    }

    /// Where the folder is, if it has a place in the file system.
    fn place(&self) -> Option<String> {
        Some(self.store.location()).filter(|location| location.starts_with('/'))
    }

    /// The ignore files that speak of these paths. Lines that are no pattern are told and left out.
    pub async fn ignored(&self, paths: &[String], syntax: IgnoreSyntax) -> Result<Ignored, FolderError> {
        let mut ignored = Ignored::new(syntax);
        let folders: BTreeSet<&str> = paths.iter().flat_map(|path| folders_of(path)).collect();
        for folder in folders {
            let path = inside(folder, IGNORE_FILE);
            let Some(file) = self.read(&path).await? else { continue };
            for wrong in ignored.add(folder, &String::from_utf8_lossy(&file.bytes)) {
                tracing::warn!("{path}: {wrong}; the line is left out");
            }
        }
        Ok(ignored)
    }

    /// Loads a DAG file with the defaults above it and whatever else it names.
    pub async fn load(&self, file: &File, options: LoadOptions) -> Result<DagFile, FolderError> {
        let path = &file.entry.path;
        let mut options = LoadOptions { dags_folder: self.place(), ..options };
        let mut companions = Companions::default();
        for folder in folders_of(path) {
            for name in DEFAULTS_FILES {
                companions.fetch(self, &inside(folder, name), &mut options).await?;
            }
        }
        let mut loaded = updraft_dag_file::load(path, &file.bytes, &options);
        for _ in 0..ROUNDS_MAX {
            let mut news = false;
            for wanted in std::mem::take(&mut loaded.wanted) {
                news |= companions.fetch(self, &wanted, &mut options).await?;
            }
            if !news {
                break;
            }
            loaded = updraft_dag_file::load(path, &file.bytes, &options);
        }
        let Companions { tags, unusable, .. } = companions;
        Ok(DagFile { loaded, companions: options.files, tags, unusable })
    }

    /// The files that the tasks of a DAG refer to.
    pub async fn files_of(&self, dag: &Dag) -> Result<DagFiles, FolderError> {
        let mut found = DagFiles::default();
        let mut bytes = 0;
        for (task_id, reference) in references::of_dag(dag) {
            let mut is_there = false;
            for candidate in &reference.candidates {
                is_there |= found.files.contains_key(candidate);
                let known = found.tags.contains_key(candidate);
                let file = if known { None } else { self.candidate(candidate, &mut found).await? };
                if let Some((file, text)) = file {
                    is_there = true;
                    bytes += text.len();
                    found.tags.insert(candidate.clone(), file.entry.etag.clone());
                    found.files.insert(candidate.clone(), text);
                }
                // Of templates the first counts; of a module all parts do.
                if is_there && reference.kind == ReferenceKind::Template {
                    break;
                }
            }
            if !is_there && reference.kind != ReferenceKind::Module {
                found.missing.push((task_id, reference));
            }
            if bytes > COMPANION_BYTES_MAX || found.tags.len() > COMPANIONS_MAX {
                found.unusable.insert(
                        dag.file.clone(),
                        format!(
                            "the files that the tasks of `{}` refer to are too many or too large: at most {COMPANIONS_MAX} files of \
                             {} MB together belong to a DAG",
                            dag.dag_id,
                            COMPANION_BYTES_MAX >> 20
                        ),
                    );
                return Ok(found);
            }
        }
        Ok(found)
    }

    /// A file that may be there, as text.
    async fn candidate(&self, path: &str, found: &mut DagFiles) -> Result<Option<(Arc<File>, String)>, FolderError> {
        match self.read(path).await {
            Ok(Some(file)) => {
                if let Ok(text) = std::str::from_utf8(&file.bytes) {
                    let text = text.to_owned();
                    return Ok(Some((file, text)));
                }
                found.tags.insert(path.to_owned(), file.entry.etag.clone());
                found.unusable.insert(path.to_owned(), format!("`{path}` is not UTF-8 text"));
                Ok(None)
            }
            Ok(None) => {
                found.tags.insert(path.to_owned(), ABSENT.to_owned());
                Ok(None)
            }
            Err(error) => {
                found.unusable.insert(path.to_owned(), its_own_fault(error)?);
                Ok(None)
            }
        }
    }
}

/// The message of an error that trying again does not mend; the others go on upwards.
fn its_own_fault(error: FolderError) -> Result<String, FolderError> {
    match error {
        FolderError::Unavailable(_) => Err(error),
        FolderError::TooLarge { .. } | FolderError::Path(_) | FolderError::Unreadable { .. } => Ok(error.to_string()),
    }
}

/// The path of a file in a folder, which is empty for the DAG folder itself.
fn inside(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// A DAG file with what its meaning depends on.
#[derive(Debug)]
pub struct DagFile {
    /// What it came to.
    pub loaded: Loaded,
    /// The files that were read with it, by path: problems may stand in them (`defaults.yml`).
    pub companions: BTreeMap<String, Vec<u8>>,
    /// The tags of all files that were looked at for it, [`ABSENT`] for those that are not there: when one of them changes, the
    /// file means something else.
    pub tags: BTreeMap<String, String>,
    /// Files that could not be used, each with why.
    pub unusable: BTreeMap<String, String>,
}

/// The files that a DAG's tasks refer to.
#[derive(Debug, Default)]
pub struct DagFiles {
    /// Those that are there, by path: they belong to the DAG's version.
    pub files: BTreeMap<String, String>,
    /// The tags of all that were looked for, [`ABSENT`] for those that are not there.
    pub tags: BTreeMap<String, String>,
    /// Those that are nowhere, with the task that names them. Modules are not among them.
    pub missing: Vec<(String, Reference)>,
    /// Files that could not be used, each with why.
    pub unusable: BTreeMap<String, String>,
}

/// The files gathered for one DAG file.
#[derive(Debug, Default)]
struct Companions {
    tags: BTreeMap<String, String>,
    unusable: BTreeMap<String, String>,
    bytes: usize,
}

impl Companions {
    /// Looks for a file and adds it to the options. True: it is there, and was not before.
    async fn fetch<D: DagStore>(
        &mut self,
        folder: &Folder<'_, D>,
        path: &str,
        options: &mut LoadOptions,
    ) -> Result<bool, FolderError> {
        if self.tags.contains_key(path) || self.unusable.contains_key(path) {
            return Ok(false);
        }
        let read = match folder.read(path).await {
            Ok(read) => read,
            Err(error) => {
                self.unusable.insert(path.to_owned(), its_own_fault(error)?);
                return Ok(false);
            }
        };
        let tag = read.as_ref().map_or(ABSENT, |file| &file.entry.etag);
        self.tags.insert(path.to_owned(), tag.to_owned());
        let Some(file) = read else { return Ok(false) };
        self.bytes += file.bytes.len();
        if self.bytes > COMPANION_BYTES_MAX || self.tags.len() > COMPANIONS_MAX {
            let message = format!(
                "`{path}` is one too many: at most {COMPANIONS_MAX} files of {} MB together are read for a DAG file",
                COMPANION_BYTES_MAX >> 20
            );
            self.unusable.insert(path.to_owned(), message);
            return Ok(false);
        }
        options.files.insert(path.to_owned(), file.bytes.clone());
        Ok(true)
    }
}
