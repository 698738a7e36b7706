//! Files to versions: each file is parsed once per change; what does not parse is an import error, and the last good version keeps
//! running.

mod folder;
mod python;
#[cfg(test)]
mod tests;

pub use folder::{ABSENT, DEFAULTS_FILES, DagFile, DagFiles, Folder, is_dag_file};
pub use python::{is_python_dag, notice_of_python_dag};

use crate::engine::{Engine, Error, ROUNDS_MAX, Settings};
use crate::readable::{aside, tell};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_dag_file::{Diagnostic, LoadOptions, Place, Places, Severity};
use updraft_dag_store::{DagStore, Error as FolderError, File, FileEntry};
use updraft_metastore::{DagSummary, DagVersion, FileRecord, ImportError, Items, Outcome, Version};
use updraft_model::references::{Reference, ReferenceKind};
use updraft_model::{Dag, DagChange, DagDoc, DagId, VersionId};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// What wrote a record: another release may read the same file otherwise, and reads it again.
const READER: &str = env!("CARGO_PKG_VERSION");

/// What came of a look over the DAG folder.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ingested {
    /// Files that were parsed.
    pub parsed: Vec<String>,
    /// Files that had not changed.
    pub unchanged: usize,
    /// Files that are gone.
    pub removed: Vec<String>,
    /// Files with import errors, among the parsed ones.
    pub failed: Vec<String>,
    /// Python files, new or changed, that look like DAG files: they are not loaded, and their import notice says what to do.
    pub python: Vec<String>,
    /// Files that could not be taken in, through no fault of theirs: they are read at the next look.
    pub postponed: Vec<String>,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks over the whole folder: reads what is new or changed, forgets what is gone.
    pub async fn ingest_all<D: DagStore>(&self, store: &D) -> Result<Ingested, Error> {
        let listed = store.list().await?;
        let folder = Folder::listed(store, &listed);
        let paths: Vec<String> = listed.iter().map(|file| file.path.clone()).collect();
        let ignored = folder.ignored(&paths, self.settings.ignore_syntax).await?;
        let tags: BTreeMap<&str, &str> = listed.iter().map(|f| (f.path.as_str(), f.etag.as_str())).collect();
        let (yaml, rest): (Vec<&FileEntry>, Vec<&FileEntry>) =
            listed.iter().filter(|file| !ignored.is_ignored(&file.path)).partition(|file| is_dag_file(&file.path));
        let python: Vec<&FileEntry> = rest.into_iter().filter(|file| python::is_python(&file.path)).collect();
        let looked_at: BTreeSet<&str> = yaml.iter().chain(&python).map(|file| file.path.as_str()).collect();
        let known = self.known_files().await?;
        let reader = self.reader();
        let mut done = Ingested::default();
        // First what is gone: a file that was renamed lets go of its DAGs before the new name asks for them.
        for path in known.keys().filter(|path| !looked_at.contains(path.as_str())) {
            self.remove_into(path, &mut done).await;
        }
        for entry in yaml {
            if known.get(&entry.path).is_some_and(|record| is_current(record, entry, &tags, &reader)) {
                done.unchanged += 1;
                continue;
            }
            self.ingest_into(&folder, &entry.path, &mut done).await;
        }
        self.ingest_python(&folder, &python, &known, &mut done).await?;
        Ok(done)
    }

    /// Reads files that are said to have changed: an upload's notification. A file that DAGs may refer to has all of them looked
    /// at, and those read again that do.
    pub async fn ingest_changed<D: DagStore>(&self, store: &D, paths: &[String]) -> Result<Ingested, Error> {
        if !paths.iter().all(|path| is_dag_file(path)) {
            return self.ingest_all(store).await;
        }
        let folder = Folder::new(store);
        let ignored = folder.ignored(paths, self.settings.ignore_syntax).await?;
        let mut done = Ingested::default();
        for path in paths.iter().filter(|path| !ignored.is_ignored(path)).collect::<BTreeSet<_>>() {
            self.ingest_into(&folder, path, &mut done).await;
        }
        Ok(done)
    }

    /// Reads one file; a failure to do so is logged and costs the other files nothing.
    async fn ingest_into<D: DagStore>(&self, folder: &Folder<'_, D>, path: &str, done: &mut Ingested) {
        match self.ingest_file(folder, path).await {
            Ok(Some(clean)) => {
                done.parsed.push(path.to_owned());
                if !clean {
                    done.failed.push(path.to_owned());
                }
            }
            Ok(None) => done.removed.push(path.to_owned()),
            Err(error) => {
                tracing::error!(path, %error, "a file could not be taken in; it is tried again at the next look");
                done.postponed.push(path.to_owned());
            }
        }
    }

    /// Forgets one file that is gone; a failure to do so is logged and costs the other files nothing.
    async fn remove_into(&self, path: &str, done: &mut Ingested) {
        match self.remove_file(path).await {
            Ok(()) => done.removed.push(path.to_owned()),
            Err(error) => {
                tracing::error!(path, %error, "a file that is gone could not be forgotten; it is tried again at the next look");
                done.postponed.push(path.to_owned());
            }
        }
    }

    async fn known_files(&self) -> Result<BTreeMap<String, FileRecord>, Error> {
        let mut known = BTreeMap::new();
        let mut page = None;
        loop {
            let found = self.store.list_files(500, page).await?;
            tell(&found.unreadable);
            known.extend(found.items.into_iter().map(|f| (f.path.clone(), f)));
            page = found.next;
            if page.is_none() {
                return Ok(known);
            }
        }
    }

    /// Reads one file. Looks again after storing, in case two uploads crossed. True: all of its DAGs loaded; none: it is gone.
    async fn ingest_file<D: DagStore>(&self, folder: &Folder<'_, D>, path: &str) -> Result<Option<bool>, Error> {
        for _ in 0..ROUNDS_MAX {
            let read = match folder.read_anew(path).await {
                Ok(read) => read,
                Err(error @ (FolderError::TooLarge { .. } | FolderError::Path(_) | FolderError::Unreadable { .. })) => {
                    self.put_import_error(path, error.to_string(), false).await?;
                    return Ok(Some(false));
                }
                Err(error) => return Err(error.into()),
            };
            let Some(file) = read else {
                self.remove_file(path).await?;
                return Ok(None);
            };
            let clean = self.take_in(folder, &file).await?;
            let now = folder.read_anew(path).await?;
            if now.is_some_and(|now| now.entry.etag == file.entry.etag) {
                return Ok(Some(clean));
            }
        }
        Err(Error::Contention(path.to_owned()))
    }

    /// Takes in a file as it was read.
    async fn take_in<D: DagStore>(&self, folder: &Folder<'_, D>, file: &File) -> Result<bool, Error> {
        let path = &file.entry.path;
        // A record that cannot be read is written anew.
        let before = aside(self.store.file(path).await.map_err(Error::from))?.flatten();
        let content = content_of(&file.bytes);
        let since = since(before.as_ref(), &content, self.clock.now());
        let DagFile { loaded, companions, tags, unusable } = folder.load(file, self.load_options(since)).await?;
        let mut problems = Problems::new(path);
        for diagnostic in &loaded.diagnostics {
            let bytes = if diagnostic.file == *path { Some(&file.bytes) } else { companions.get(&diagnostic.file) };
            problems.tell(diagnostic, &String::from_utf8_lossy(bytes.map_or(&[], Vec::as_slice)));
        }
        problems.errors.extend(unusable.into_values().map(|why| format!("{path}: error: {why}")));
        let mut record = FileRecord {
            path: path.clone(),
            etag: file.entry.etag.clone(),
            dag_ids: Vec::new(),
            references: tags,
            conflicts: false,
            content,
            since: Some(since),
            reader: self.reader(),
        };
        for dag in loaded.dags {
            let dag_id = dag.dag_id.clone();
            if let Some(other) = self.declared_elsewhere(folder, &dag_id, path).await? {
                record.conflicts = true;
                let double = duplicate_dag(path, &file.bytes, &self.settings.dag_environment, &dag_id, &other);
                problems.tell(&double, &String::from_utf8_lossy(&file.bytes));
                continue;
            }
            record.dag_ids.push(dag_id.clone());
            let found = folder.files_of(&dag).await?;
            record.references.extend(found.tags);
            let errors_before = problems.errors.len();
            if !found.missing.is_empty() {
                let places = Places::read(&file.bytes, &self.settings.dag_environment);
                for (task_id, reference) in found.missing {
                    let diagnostic = missing_file(path, &places, &dag_id, &task_id, &reference);
                    problems.tell(&diagnostic, &String::from_utf8_lossy(&file.bytes));
                }
            }
            found.unusable.values().for_each(|why| problems.error(&format!("DAG `{dag_id}`: {why}")));
            if problems.errors.len() == errors_before
                && let Err(problem) = self.put_dag_version(Version { dag, files: found.files }, &file.bytes).await?
            {
                problems.error(&problem);
            }
        }
        // A DAG that no longer loads keeps its last good version, but only while its file still speaks of it.
        let errors = problems.errors;
        let old = before.map(|record| record.dag_ids).unwrap_or_default();
        for dag_id in old {
            if record.dag_ids.contains(&dag_id) {
                continue;
            }
            if errors.is_empty() {
                self.retire_dag(&dag_id, path).await?;
            } else {
                record.dag_ids.push(dag_id);
            }
        }
        if errors.is_empty() {
            self.store.delete_import_error(path).await?;
        } else {
            self.put_import_error(path, errors.join("\n"), false).await?;
        }
        self.store.put_file(&record).await?;
        Ok(errors.is_empty())
    }

    /// What DAG files are read by: this release, and what is declared for them. Where either is another, they are read again.
    fn reader(&self) -> String {
        let Settings { dag_environment, dag_variables, .. } = &self.settings;
        if dag_environment.is_empty() && dag_variables.is_empty() {
            return READER.to_owned();
        }
        let declared = serde_json::json!([dag_environment, dag_variables]).to_string();
        let digest = Sha256::digest(declared.as_bytes());
        digest[..8].iter().fold(format!("{READER}#"), |text, byte| format!("{text}{byte:02x}"))
    }

    /// What files are read with here, their relative dates counted from this instant.
    fn load_options(&self, since: Timestamp) -> LoadOptions {
        LoadOptions {
            env: self.settings.dag_environment.clone(),
            variables: self.settings.dag_variables.clone(),
            ..LoadOptions::new(since)
        }
    }

    async fn put_import_error(&self, path: &str, stack_trace: String, is_notice: bool) -> Result<(), Error> {
        let error = ImportError { path: path.to_owned(), timestamp: self.clock.now(), stack_trace, is_notice };
        Ok(self.store.put_import_error(&error).await?)
    }

    /// The file that declares the DAG, where it is another one that is still there.
    async fn declared_elsewhere<D: DagStore>(
        &self,
        folder: &Folder<'_, D>,
        dag_id: &DagId,
        path: &str,
    ) -> Result<Option<String>, Error> {
        let Some(dag) = self.store.dag(dag_id).await? else { return Ok(None) };
        if dag.file == path || dag.version.is_none() {
            return Ok(None);
        }
        let Some(other) = self.store.file(&dag.file).await?.filter(|record| record.dag_ids.contains(dag_id)) else {
            return Ok(None);
        };
        // Renames and swaps may be told in any order: a file that has changed since it was read owns nothing until it is read again.
        let as_it_was = folder.read_anew(&other.path).await?.is_some_and(|file| file.entry.etag == other.etag);
        Ok(as_it_was.then_some(other.path))
    }

    /// Stores a version and makes it its DAG's current one.
    async fn put_dag_version(&self, version: Version, source: &[u8]) -> Result<Result<(), String>, Error> {
        if let Err(problem) = updraft_params::check_declared(&version.dag) {
            return Ok(Err(format!("DAG `{}`: {problem}", version.dag.dag_id)));
        }
        let id = match self.store.put_version(&version).await {
            Ok(id) => id,
            Err(updraft_metastore::Error::Unusable(problem)) => return Ok(Err(problem)),
            Err(error) => return Err(error.into()),
        };
        let dag = version.dag;
        let paused = dag.is_paused_upon_creation.unwrap_or(self.settings.dags_are_paused_at_creation);
        let now = self.clock.now();
        let put = self.store.put_dag(&DagDoc::new(dag.dag_id.clone(), dag.file.clone(), paused)).await?;
        let (Outcome::Updated(document) | Outcome::Refused(Some(document))) = put else {
            return Err(Error::Contention(dag.dag_id.to_string()));
        };
        self.make_current(document, &dag, (id, source), now).await?;
        let timetable = dag.schedule_summary();
        self.store
            .put_dag_summary(&DagSummary {
                dag_id: dag.dag_id.clone(),
                file: dag.file,
                owners: dag.owners,
                tags: dag.tags,
                timetable,
                description: dag.description,
                is_stale: false,
                last_parsed: now,
            })
            .await?;
        self.send(vec![Outgoing::now(Message::Dag { dag_id: dag.dag_id })]).await;
        Ok(Ok(()))
    }

    /// Makes a version its DAG's current one, known to the assets that it names, under the next number where it is another one than
    /// before.
    async fn make_current(
        &self,
        mut there: DagDoc,
        dag: &Dag,
        (id, source): (VersionId, &[u8]),
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut others = false;
        for _ in 0..ROUNDS_MAX {
            let queue = self.enter_topics(dag, &there).await?;
            // The queue is written as a whole only where the schedule names other topics than before, and only if nobody was told
            // anything meanwhile.
            let is_new = !queue.keys().eq(there.queue.keys());
            let (version_number, is_counted) = self.number_of(&there, &id).await?;
            let entry = DagVersion { version_number, version: id.clone(), created_at: now, file: dag.file.clone() };
            // In the list before it is current, so that no run has a version that is not there.
            if is_counted {
                self.store.put_dag_version_with_source(&dag.dag_id, &entry, source).await?;
            }
            let change = DagChange {
                if_revision: is_new.then_some(there.revision),
                if_version: Some(there.version.clone()),
                version: Some(Some(id.clone())),
                version_number: Some(version_number),
                file: Some(dag.file.clone()),
                max_active_runs: Some(dag.max_active_runs_effective()),
                queue_all: is_new.then_some(queue),
                wake_at: Some(Some(now)),
                ..DagChange::default()
            };
            match self.store.update_dag(&dag.dag_id, &change).await? {
                Outcome::Updated(_) => {
                    // Whoever came between may have written over our place in the list.
                    if others && is_counted {
                        self.store.put_dag_version_with_source(&dag.dag_id, &entry, source).await?;
                    }
                    return Ok(());
                }
                Outcome::Refused(Some(image)) => (there, others) = (image, true),
                Outcome::Refused(None) => break,
            }
        }
        Err(Error::Contention(dag.dag_id.to_string()))
    }

    /// Forgets a file that is gone: its DAGs get no more runs; those that run go on.
    async fn remove_file(&self, path: &str) -> Result<(), Error> {
        if let Some(record) = self.store.file(path).await? {
            for dag_id in &record.dag_ids {
                self.retire_dag(dag_id, path).await?;
            }
            self.store.delete_file(path).await?;
        }
        self.store.delete_import_error(path).await?;
        Ok(())
    }

    /// Takes a DAG's version away, if it is this file's.
    async fn retire_dag(&self, dag_id: &DagId, path: &str) -> Result<(), Error> {
        let Some(dag) = self.store.dag(dag_id).await? else { return Ok(()) };
        if dag.file != path {
            return Ok(());
        }
        self.leave_topics(&dag).await?;
        let change = DagChange {
            if_version: Some(dag.version),
            version: Some(None),
            next_due: Some(None),
            ..DagChange::default()
        };
        self.store.update_dag(dag_id, &change).await?;
        if let Some(summary) = self.store.dag_summary(dag_id).await? {
            self.store.put_dag_summary(&DagSummary { is_stale: true, ..summary }).await?;
        }
        Ok(())
    }
}

/// What is wrong with a file, as its import error tells it. Warnings go to the log.
struct Problems<'p> {
    path: &'p str,
    errors: Vec<String>,
}

impl<'p> Problems<'p> {
    fn new(path: &'p str) -> Self {
        Self { path, errors: Vec::new() }
    }

    /// Takes a problem; the source is that of the file in which it stands.
    fn tell(&mut self, diagnostic: &Diagnostic, source: &str) {
        if diagnostic.is_error() {
            self.errors.push(diagnostic.render(source, false));
        } else {
            tracing::warn!("{diagnostic}");
        }
    }

    fn error(&mut self, message: &str) {
        self.errors.push(format!("{}: error: {message}", self.path));
    }
}

/// What is to be said of a DAG that an earlier file declares too. `bytes` are those of the later one, `path` its name for people.
pub fn duplicate_dag(
    path: &str,
    bytes: &[u8],
    environment: &BTreeMap<String, String>,
    dag_id: &DagId,
    other: &str,
) -> Diagnostic {
    let at = Places::read(bytes, environment).dag(dag_id.as_str()).unwrap_or(Place { line: 1, column: 1 });
    Diagnostic {
        severity: Severity::Error,
        file: path.to_owned(),
        line: at.line,
        column: at.column,
        key_path: dag_id.to_string(),
        dag_id: Some(dag_id.to_string()),
        message: format!("the DAG `{dag_id}` is already declared by `{other}`"),
        hint: Some("give one of them another id".to_owned()),
        code: "duplicate-dag",
    }
}

/// What is to be said of a file that a task refers to and that is nowhere.
pub fn missing_file(path: &str, places: &Places, dag_id: &DagId, task_id: &str, reference: &Reference) -> Diagnostic {
    let Reference { key_path, name, kind, candidates } = reference;
    let keys: Vec<&str> = key_path.split('.').collect();
    let at = places.argument(dag_id.as_str(), task_id, &keys).unwrap_or(Place { line: 1, column: 1 });
    let is_template = *kind == ReferenceKind::Template;
    let (severity, message, hint) = if is_template {
        let looked_in = match candidates.as_slice() {
            [] => "a name that leads out of the DAG's folder finds none".to_owned(),
            files => {
                format!("there is no {}", files.iter().map(|f| format!("`{f}`")).collect::<Vec<_>>().join(" and no "))
            }
        };
        let message =
            format!("`{name}` names a template file by its ending, and {looked_in}: task `{task_id}` will fail");
        let hint = "put the file there; if this is no file name but the text itself, add a blank at its end";
        (Severity::Warning, message, hint)
    } else {
        let message = format!("there is no file `{name}` in the DAG folder, which task `{task_id}` names");
        (Severity::Error, message, "put it there, or mend the path: it counts from the folder of the DAG file")
    };
    Diagnostic {
        severity,
        file: path.to_owned(),
        line: at.line,
        column: at.column,
        key_path: format!("{dag_id}.tasks.{task_id}.{key_path}"),
        dag_id: Some(dag_id.to_string()),
        message,
        hint: Some(hint.to_owned()),
        code: if is_template { "missing-template" } else { "missing-file" },
    }
}

/// A name for a content: SHA-256, the first 16 bytes in hex.
fn content_of(bytes: &[u8]) -> String {
    let mut first = [0; 16];
    first.copy_from_slice(&Sha256::digest(bytes)[..16]);
    format!("{:032x}", u128::from_be_bytes(first))
}

/// What relative dates count from: when the file was first read with the content it has. Airflow counts from each parse, every
/// half minute; here the same text always means the same DAG, so reading it again makes no new version.
fn since(before: Option<&FileRecord>, content: &str, now: Timestamp) -> Timestamp {
    before.filter(|record| record.content == content).and_then(|record| record.since).unwrap_or(now)
}

/// Whether a file and all it refers to are as they were when it was read.
fn is_current(record: &FileRecord, entry: &FileEntry, tags: &BTreeMap<&str, &str>, reader: &str) -> bool {
    let is_same = |path: &String, etag: &String| tags.get(path.as_str()).copied().unwrap_or(ABSENT) == etag.as_str();
    !record.conflicts
        && record.reader == reader
        && record.etag == entry.etag
        && record.references.iter().all(|(path, etag)| is_same(path, etag))
}
