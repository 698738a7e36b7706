//! Python DAG files: they are not loaded, and nobody is left to wonder why.

use super::{Folder, Ingested, READER};
use crate::engine::{Engine, Error};
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_dag_store::{DagStore, Error as FolderError, FileEntry};
use updraft_metastore::{FileRecord, Items};
use updraft_task_queue::TaskQueue;

/// Whether a file is Python, by its name.
pub(super) fn is_python(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "py")
}

/// Whether a Python file looks like a DAG file: it speaks of DAGs and of Airflow, in any case of letters, as Airflow's own safe mode
/// asks. dag-factory's loader script does too, but only loads the YAML beside it, which is read here anyway.
pub fn is_python_dag(bytes: &[u8]) -> bool {
    let text = bytes.to_ascii_lowercase();
    let has = |word: &[u8]| text.windows(word.len()).any(|part| part == word);
    has(b"airflow") && has(b"dag") && !has(b"dagfactory") && !has(b"dag_factory")
}

/// What is said of a Python DAG file.
pub fn notice_of_python_dag(path: &str) -> String {
    format!(
        "{path}: notice: this Python DAG file is not loaded: DAGs are declared in YAML here\n  \
         hint: `updraft dags convert {path}` makes YAML of it where it can; if it is no DAG file, name it in `.airflowignore`"
    )
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Looks at the folder's Python files, after its DAG files: what those refer to is no DAG file.
    pub(super) async fn ingest_python<D: DagStore>(
        &self,
        folder: &Folder<'_, D>,
        listed: &[&FileEntry],
        known: &BTreeMap<String, FileRecord>,
        done: &mut Ingested,
    ) -> Result<(), Error> {
        let read_now = if listed.is_empty() || done.parsed.is_empty() { None } else { Some(self.known_files().await?) };
        let records = read_now.as_ref().unwrap_or(known);
        let referred: BTreeSet<&str> =
            records.values().flat_map(|record| record.references.keys()).map(String::as_str).collect();
        for entry in listed {
            let path = entry.path.as_str();
            if referred.contains(path) {
                if known.contains_key(path)
                    && let Err(error) = self.remove_file(path).await
                {
                    tracing::error!(path, %error, "a file that is none any more could not be forgotten; it is tried again at the next look");
                    done.postponed.push(path.to_owned());
                }
            } else if known.get(path).is_some_and(|record| record.etag == entry.etag && record.reader == READER) {
                done.unchanged += 1;
            } else {
                match folder.read_anew(path).await {
                    Ok(Some(file)) => self.take_in_python(path, &file.entry.etag, &file.bytes, done).await?,
                    // A large or unreadable file that nobody refers to is nobody's business.
                    Ok(None)
                    | Err(FolderError::TooLarge { .. } | FolderError::Unreadable { .. } | FolderError::Path(_)) => {}
                    Err(error) => {
                        tracing::error!(path, %error, "a file could not be looked at; it is tried again at the next look");
                        done.postponed.push(path.to_owned());
                    }
                }
            }
        }
        Ok(())
    }

    async fn take_in_python(&self, path: &str, etag: &str, bytes: &[u8], done: &mut Ingested) -> Result<(), Error> {
        if is_python_dag(bytes) {
            self.put_import_error(path, notice_of_python_dag(path), true).await?;
            done.python.push(path.to_owned());
        } else {
            self.store.delete_import_error(path).await?;
        }
        let record = FileRecord {
            path: path.to_owned(),
            etag: etag.to_owned(),
            dag_ids: Vec::new(),
            references: BTreeMap::new(),
            conflicts: false,
            content: String::new(),
            since: None,
            reader: READER.to_owned(),
        };
        Ok(self.store.put_file(&record).await?)
    }
}
