//! Files to versions: each file is parsed once per change; what does not parse is an import error, and the last good version keeps
//! running.

use crate::engine::{Engine, Error, ROUNDS_MAX};
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_dag_file::LoadOptions;
use updraft_dag_store::{DagStore, Error as FolderError, File, FileEntry};
use updraft_metastore::{DagSummary, FileRecord, ImportError, Items, Outcome, Version};
use updraft_model::operators::{self, Runner};
use updraft_model::{Dag, DagChange, DagDoc, DagId};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

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
    /// Files that could not be taken in, through no fault of theirs: they are read at the next look.
    pub postponed: Vec<String>,
}

/// Whether a file declares DAGs, by its name.
pub fn is_dag_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let declares = name.rsplit_once('.').is_some_and(|(_, suffix)| matches!(suffix, "yaml" | "yml"));
    declares && !matches!(name, "defaults.yml" | "defaults.yaml")
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks over the whole folder: reads what is new or changed, forgets what is gone.
    pub async fn ingest_all<D: DagStore>(&self, folder: &D) -> Result<Ingested, Error> {
        let listed = folder.list().await?;
        let tags: BTreeMap<&str, &str> = listed.iter().map(|f| (f.path.as_str(), f.etag.as_str())).collect();
        let known = self.known_files().await?;
        let mut done = Ingested::default();
        // First what is gone: a file that was renamed lets go of its DAGs before the new name asks for them.
        for path in known.keys().filter(|path| !tags.contains_key(path.as_str())) {
            self.remove_file(path).await?;
            done.removed.push(path.clone());
        }
        for entry in listed.iter().filter(|f| is_dag_file(&f.path)) {
            if known.get(&entry.path).is_some_and(|record| is_current(record, entry, &tags)) {
                done.unchanged += 1;
                continue;
            }
            self.ingest_into(folder, &entry.path, &mut done).await;
        }
        Ok(done)
    }

    /// Reads files that are said to have changed: an upload's notification. A file that DAGs refer to has them read again.
    pub async fn ingest_changed<D: DagStore>(&self, folder: &D, paths: &[String]) -> Result<Ingested, Error> {
        if !paths.iter().all(|path| is_dag_file(path)) {
            return self.ingest_all(folder).await;
        }
        let mut done = Ingested::default();
        for path in paths.iter().collect::<BTreeSet<_>>() {
            self.ingest_into(folder, path, &mut done).await;
        }
        Ok(done)
    }

    /// Reads one file; a failure to do so is logged and costs the other files nothing.
    async fn ingest_into<D: DagStore>(&self, folder: &D, path: &str, done: &mut Ingested) {
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

    async fn known_files(&self) -> Result<BTreeMap<String, FileRecord>, Error> {
        let mut known = BTreeMap::new();
        let mut page = None;
        loop {
            let found = self.store.list_files(500, page).await?;
            known.extend(found.items.into_iter().map(|f| (f.path.clone(), f)));
            page = found.next;
            if page.is_none() {
                return Ok(known);
            }
        }
    }

    /// Reads one file. Looks again after storing, in case two uploads crossed. True: all of its DAGs loaded; none: it is gone.
    async fn ingest_file<D: DagStore>(&self, folder: &D, path: &str) -> Result<Option<bool>, Error> {
        for _ in 0..ROUNDS_MAX {
            let read = match folder.read(path).await {
                Ok(read) => read,
                Err(error @ (FolderError::TooLarge { .. } | FolderError::Path(_))) => {
                    self.put_import_error(path, error.to_string()).await?;
                    return Ok(Some(false));
                }
                Err(error) => return Err(error.into()),
            };
            let Some(file) = read else {
                self.remove_file(path).await?;
                return Ok(None);
            };
            let clean = self.take_in(folder, &file).await?;
            let now = folder.read(path).await?;
            if now.is_some_and(|now| now.entry.etag == file.entry.etag) {
                return Ok(Some(clean));
            }
        }
        Err(Error::Contention(path.to_owned()))
    }

    /// Takes in a file as it was read.
    async fn take_in<D: DagStore>(&self, folder: &D, file: &File) -> Result<bool, Error> {
        let path = &file.entry.path;
        let before = self.store.file(path).await?;
        let options = LoadOptions {
            dags_folder: Some(folder.location()).filter(|l| l.starts_with('/')),
            ..LoadOptions::new(self.clock.now())
        };
        let loaded = updraft_dag_file::load(path, &file.bytes, &options);
        let source = String::from_utf8_lossy(&file.bytes);
        let mut errors: Vec<String> = Vec::new();
        for diagnostic in &loaded.diagnostics {
            if diagnostic.is_error() {
                errors.push(diagnostic.render(&source, false));
            } else {
                tracing::warn!("{diagnostic}");
            }
        }
        let mut record = FileRecord {
            path: path.clone(),
            etag: file.entry.etag.clone(),
            dag_ids: Vec::new(),
            references: BTreeMap::new(),
            conflicts: false,
        };
        for dag in loaded.dags {
            let dag_id = dag.dag_id.clone();
            if let Some(other) = self.declared_elsewhere(folder, &dag_id, path).await? {
                record.conflicts = true;
                errors.push(format!(
                    "{path}: error: the DAG `{dag_id}` is already declared by `{other}`; give one of them another id"
                ));
                continue;
            }
            record.dag_ids.push(dag_id.clone());
            match self.files_of(folder, &dag, &mut record).await? {
                Ok(files) => {
                    if let Err(problem) = self.put_dag_version(Version { dag, files }).await? {
                        errors.push(format!("{path}: error: {problem}"));
                    }
                }
                Err(problem) => errors.push(format!("{path}: error: DAG `{dag_id}`: {problem}")),
            }
        }
        // A DAG that no longer loads keeps its last good version, but only while its file still speaks of it.
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
            self.put_import_error(path, errors.join("\n")).await?;
        }
        self.store.put_file(&record).await?;
        Ok(errors.is_empty())
    }

    async fn put_import_error(&self, path: &str, stack_trace: String) -> Result<(), Error> {
        let error = ImportError { path: path.to_owned(), timestamp: self.clock.now(), stack_trace };
        Ok(self.store.put_import_error(&error).await?)
    }

    /// The file that declares the DAG, where it is another one that is still there.
    async fn declared_elsewhere<D: DagStore>(
        &self,
        folder: &D,
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
        let as_it_was = folder.read(&other.path).await?.is_some_and(|file| file.entry.etag == other.etag);
        Ok(as_it_was.then_some(other.path))
    }

    /// The files that a DAG's tasks need, read from the folder and noted in the record with their tags.
    async fn files_of<D: DagStore>(
        &self,
        folder: &D,
        dag: &Dag,
        record: &mut FileRecord,
    ) -> Result<Result<BTreeMap<String, String>, String>, Error> {
        let mut files = BTreeMap::new();
        for task in &dag.tasks {
            if operators::find(&task.operator).is_none_or(|o| o.runner != Runner::Python) {
                continue;
            }
            let text = |name: &str| task.arguments.get(name).and_then(|v| v.as_str());
            let (candidates, required) = match (text("python_callable"), text("python_callable_file")) {
                (Some(dotted), _) => (module_files(dotted), false),
                (None, Some(file)) => (vec![file.to_owned()], true),
                (None, None) => continue,
            };
            let mut found = false;
            for candidate in candidates {
                let Some(file) = folder.read(&candidate).await? else { continue };
                let Ok(text) = String::from_utf8(file.bytes) else {
                    return Ok(Err(format!("`{candidate}` is not UTF-8 text")));
                };
                record.references.insert(candidate.clone(), file.entry.etag);
                files.insert(candidate, text);
                found = true;
            }
            if required && !found {
                let name = text("python_callable_file").unwrap_or_default();
                return Ok(Err(format!(
                    "task `{}`: there is no file `{name}` in the DAG folder {}; put it there, or mend `python_callable_file`",
                    task.task_id,
                    folder.location()
                )));
            }
        }
        Ok(Ok(files))
    }

    /// Stores a version and makes it its DAG's current one.
    async fn put_dag_version(&self, version: Version) -> Result<Result<(), String>, Error> {
        let id = match self.store.put_version(&version).await {
            Ok(id) => id,
            Err(updraft_metastore::Error::Unusable(problem)) => return Ok(Err(problem)),
            Err(error) => return Err(error.into()),
        };
        let dag = version.dag;
        let paused = dag.is_paused_upon_creation.unwrap_or(self.settings.dags_are_paused_at_creation);
        let now = self.clock.now();
        self.store.put_dag(&DagDoc::new(dag.dag_id.clone(), dag.file.clone(), paused)).await?;
        let change = DagChange {
            version: Some(Some(id)),
            file: Some(dag.file.clone()),
            max_active_runs: Some(dag.max_active_runs_effective()),
            wake_at: Some(Some(now)),
            ..DagChange::default()
        };
        if let Outcome::Refused(_) = self.store.update_dag(&dag.dag_id, &change).await? {
            return Err(Error::Contention(dag.dag_id.to_string()));
        }
        self.store
            .put_dag_summary(&DagSummary {
                dag_id: dag.dag_id.clone(),
                file: dag.file,
                owners: dag.owners,
                tags: dag.tags,
                timetable: dag.timetable.describe(),
                description: dag.description,
                is_stale: false,
                last_parsed: now,
            })
            .await?;
        self.send(vec![Outgoing::now(Message::Dag { dag_id: dag.dag_id })]).await;
        Ok(Ok(()))
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

/// Whether a file and all it refers to are as they were when it was read.
fn is_current(record: &FileRecord, entry: &FileEntry, tags: &BTreeMap<&str, &str>) -> bool {
    !record.conflicts
        && record.etag == entry.etag
        && record.references.iter().all(|(path, etag)| tags.get(path.as_str()) == Some(&etag.as_str()))
}

/// Where `package.module.function` may lie in the DAG folder: the module, and the packages around it.
fn module_files(dotted: &str) -> Vec<String> {
    let parts: Vec<&str> = dotted.split('.').collect();
    let Some((_, module)) = parts.split_last() else { return Vec::new() };
    if module.is_empty() {
        return Vec::new();
    }
    let mut files = vec![format!("{}.py", module.join("/")), format!("{}/__init__.py", module.join("/"))];
    files.extend((1..module.len()).map(|n| format!("{}/__init__.py", module[..n].join("/"))));
    files
}
