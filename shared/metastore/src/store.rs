//! The metastore in domain terms, written once over [`Items`].

use crate::codec::{self, from_json_item, json_item};
use crate::item::{Change, Condition, Item, Key, Path, Update, Value};
use crate::keys::Document;
use crate::seal::Seal;
use crate::unreadable::{Readable, Unreadable};
use crate::{Due, Error, Items, Outcome, Range, attempts, keys};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;
use updraft_model::{
    Attempt, AttemptKey, Dag, DagChange, DagDoc, DagId, Incarnation, RunChange, RunDate, RunDoc, RunName, TaskIndex,
    VersionId,
};

/// The largest compiled version an item may hold, compressed; DynamoDB's limit is 400 KB with names and key.
pub const VERSION_BYTES_MAX: usize = 390 * 1024;

/// Where a page of a listing goes on; opaque to callers.
pub type PageToken = String;

/// One page of a listing.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end.
    pub next: Option<PageToken>,
    /// What belongs to the page and cannot be read.
    pub unreadable: Vec<Unreadable>,
}

impl<T> Page<T> {
    /// A page of nothing but what can be read.
    pub(crate) fn of(items: Vec<T>, next: Option<PageToken>) -> Self {
        Self { items, next, unreadable: Vec::new() }
    }

    /// The same, for whoever may leave nothing out.
    ///
    /// # Errors
    /// [`Error::Corrupt`], naming the first of what cannot be read.
    pub fn whole(self) -> Result<Self, Error> {
        match self.unreadable.first() {
            Some(unreadable) => Err(Error::Corrupt(unreadable.to_string())),
            None => Ok(self),
        }
    }
}

/// What a time index entry stands for.
pub type DueWhat = Document;

/// A document that wants attention.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueEntry {
    /// Which.
    pub what: DueWhat,
    /// When.
    pub wake_at: Timestamp,
}

/// A compiled DAG version: the DAG and the files it refers to. Content-addressed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// The DAG.
    pub dag: Dag,
    /// Files its tasks need, by path relative to the DAG folder.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

impl Version {
    /// The content address: SHA-256 of the JSON, the first 16 bytes in hex.
    pub fn id(&self) -> VersionId {
        let digest = Sha256::digest(codec::to_json(self).as_bytes());
        let mut first = [0; 16];
        first.copy_from_slice(&digest[..16]);
        VersionId::trusted(format!("{:032x}", u128::from_be_bytes(first)))
    }
}

/// An entry of the DAG directory: what lists show without reading versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DagSummary {
    /// The DAG.
    pub dag_id: DagId,
    /// Its file.
    pub file: String,
    /// Its owners.
    pub owners: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Its schedule, as Airflow's timetable summary shows it.
    pub timetable: String,
    /// One line for people.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether its file is gone.
    #[serde(default)]
    pub is_stale: bool,
    /// When this version was read.
    pub last_parsed: Timestamp,
}

/// What is known of a file of the DAG folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its path relative to the DAG folder or prefix.
    pub path: String,
    /// What it held when it was read: the store's ETag, or a hash.
    pub etag: String,
    /// The DAGs it declares, of the last version of each that loaded.
    pub dag_ids: Vec<DagId>,
    /// The tags of the files it depends on, empty for those that are looked for and not there.
    #[serde(default)]
    pub references: BTreeMap<String, String>,
    /// Whether it declares a DAG that another file has: it is read again at each look, until one of the two lets go.
    #[serde(default)]
    pub conflicts: bool,
    /// A hash of its content.
    #[serde(default)]
    pub content: String,
    /// When it was first read with this content: what its relative dates count from.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// The release that read it.
    #[serde(default)]
    pub reader: String,
}

/// What is wrong with a file of the DAG folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImportError {
    /// Its path relative to the DAG folder or prefix.
    pub path: String,
    /// When it was read.
    pub timestamp: Timestamp,
    /// All errors, each with its place, one per line or more.
    pub stack_trace: String,
    /// Whether it only says that the file is not one of ours, as of Python DAG files.
    #[serde(default)]
    pub is_notice: bool,
}

/// Runs, attempts, DAGs, versions, files and the time index.
#[derive(Debug, Clone)]
pub struct Metastore<I> {
    items: I,
    seal: Option<Arc<dyn Seal>>,
}

impl<I: Items> Metastore<I> {
    /// On top of these items.
    pub fn new(items: I) -> Self {
        Self { items, seal: None }
    }

    /// The same, with variables and connections encrypted.
    #[must_use]
    pub fn sealed_by(self, seal: Option<Arc<dyn Seal>>) -> Self {
        Self { seal, ..self }
    }

    pub(crate) fn seal(&self) -> Option<&dyn Seal> {
        self.seal.as_deref()
    }

    /// The items below.
    pub fn items(&self) -> &I {
        &self.items
    }

    /// Puts a run document unless its incarnation exists. A refusal by our own earlier write is the caller's to recognise: the
    /// incarnation is drawn, so the existing document is that run.
    pub async fn put_run(&self, run: &RunDoc) -> Result<Outcome<RunDoc>, Error> {
        let outcome = self.items.put_new(&keys::run(&run.facts.incarnation), &codec::run_item(run)).await?;
        outcome.try_map(|item| codec::run_doc(&item))
    }

    /// Reads a run document. A deleted run is not there.
    pub async fn run(&self, incarnation: &Incarnation) -> Result<Option<RunDoc>, Error> {
        Ok(self.run_or_tombstone(incarnation).await?.filter(|run| run.deleted_at.is_none()))
    }

    /// Reads a run document, or what is left of a deleted one.
    pub async fn run_or_tombstone(&self, incarnation: &Incarnation) -> Result<Option<RunDoc>, Error> {
        self.items.get(&keys::run(incarnation)).await?.map(|item| codec::run_doc(&item)).transpose()
    }

    /// Reads many run documents, tombstones too; absent ones are left out; in no order.
    pub async fn runs(&self, incarnations: &[Incarnation]) -> Result<Vec<RunDoc>, Error> {
        let keys: Vec<_> = incarnations.iter().map(keys::run).collect();
        self.items.get_many(&keys).await?.iter().map(|(_, item)| codec::run_doc(item)).collect()
    }

    /// Changes a run document.
    pub async fn update_run(&self, incarnation: &Incarnation, change: &RunChange) -> Result<Outcome<RunDoc>, Error> {
        let outcome = self.items.update(&codec::run_update(incarnation, change)).await?;
        Ok(match outcome.try_map(|item| codec::run_doc(&item))? {
            Outcome::Refused(Some(run)) if run.deleted_at.is_some() => Outcome::Refused(None),
            outcome => outcome,
        })
    }

    /// Removes what is left of a deleted run: its attempts, then its tombstone.
    pub async fn forget_run(&self, tombstone: &RunDoc) -> Result<(), Error> {
        let key = keys::run(&tombstone.facts.incarnation);
        self.delete_beside_run(&tombstone.facts.incarnation).await?;
        let deleted = tombstone.deleted_at.map(|at| Value::N(at.as_microsecond()));
        let condition = deleted.map(|at| crate::Condition::Equals(crate::Path::Top("dl"), at));
        self.items.delete(&key, condition.as_slice()).await.map(|_| ())
    }

    /// Removes all attempts of a run, and all notes.
    pub async fn delete_attempts(&self, incarnation: &Incarnation) -> Result<(), Error> {
        self.delete_of_run(incarnation, keys::ATTEMPTS).await?;
        self.delete_of_run(incarnation, keys::NOTES).await
    }

    async fn delete_of_run(&self, incarnation: &Incarnation, prefix: &str) -> Result<(), Error> {
        let pk = keys::run(incarnation).pk;
        let range = Range { pk: pk.clone(), prefix: prefix.to_owned(), after: None, descending: false, limit: 200 };
        loop {
            let page = self.items.query(&range).await?;
            for (sk, _) in &page {
                self.items.delete(&crate::Key { pk: pk.clone(), sk: sk.clone() }, &[]).await?;
            }
            if page.len() < range.limit {
                return Ok(());
            }
        }
    }

    /// Takes a run out of its DAG's indexes.
    pub async fn delete_run_names(&self, facts: &updraft_model::RunFacts) -> Result<(), Error> {
        // Another run may have the name, and with it these entries.
        let named = self.run_name(&facts.dag_id, &facts.run_id).await?;
        if named.is_some_and(|named| named.incarnation == facts.incarnation) {
            let dates = facts.logical_date.map(|at| keys::run_in_sequence(&facts.dag_id, at, &facts.run_id));
            let of_time = keys::run_order(&facts.dag_id, facts.run_after, &facts.run_id);
            for key in dates.into_iter().chain([of_time]) {
                self.items.delete(&key, &[]).await?;
            }
        }
        // The name last, and only if it is still this run's: it keeps another run from being taken for this one.
        let name = RunName {
            run_id: facts.run_id.clone(),
            incarnation: facts.incarnation.clone(),
            run_after: facts.run_after,
        };
        if let Some(at) = facts.logical_date {
            self.delete_run_date(&facts.dag_id, at, &name).await?;
        }
        let json = Value::S(codec::to_json(&name));
        let condition = crate::Condition::Equals(crate::Path::Top(codec::JSON), json);
        self.items.delete(&keys::run_name(&facts.dag_id, &facts.run_id), &[condition]).await.map(|_| ())
    }

    /// Places a run in its DAG's order of logical dates. Idempotent.
    pub async fn put_run_in_sequence(&self, dag_id: &DagId, date: &RunDate) -> Result<(), Error> {
        self.items.put(&keys::run_in_sequence(dag_id, date.logical_date, &date.run_id), &json_item(date)).await
    }

    /// Runs of a DAG before (`later`: after) a logical date, the closest first.
    pub async fn runs_around(
        &self,
        dag_id: &DagId,
        logical_date: Timestamp,
        later: bool,
        limit: usize,
    ) -> Result<Vec<RunDate>, Error> {
        // `~` comes after every character of a key, so that runs of the date itself are passed over.
        let edge = keys::runs_of_date(logical_date);
        let range = Range {
            pk: keys::dag(dag_id).pk,
            prefix: keys::RUNS_BY_DATE.to_owned(),
            after: Some(if later { format!("{edge}#~~") } else { edge }),
            descending: !later,
            limit,
        };
        self.items.query(&range).await?.iter().map(|(_, item)| from_json_item(item)).collect()
    }

    /// Removes a DAG document if nothing was written since, and the DAG's place in the directory.
    pub async fn delete_dag(&self, dag: &DagDoc) -> Result<bool, Error> {
        let change = DagChange { if_revision: Some(dag.revision), ..DagChange::default() };
        let update = codec::dag_update(&dag.dag_id, &change);
        let gone = matches!(self.items.delete(&update.key, &update.conditions).await?, Outcome::Updated(()));
        if gone {
            self.items.delete(&keys::dag_entry(&dag.dag_id), &[]).await?;
        }
        Ok(gone)
    }

    /// Removes a run document that never got its name, still queued and of epoch 0.
    pub async fn discard_run(&self, run: &RunDoc) -> Result<(), Error> {
        let change = RunChange { if_epoch: Some(0), if_state: Some(run.state), ..RunChange::default() };
        let update = codec::run_update(&run.facts.incarnation, &change);
        self.items.delete(&update.key, &update.conditions).await?;
        Ok(())
    }

    /// Puts an attempt's item; refused where it exists already: the first stands, items are immutable.
    pub async fn put_attempt(&self, key: &AttemptKey, attempt: &Attempt) -> Result<Outcome<Attempt>, Error> {
        let outcome = self.items.put_new(&keys::attempt(key), &json_item(attempt)).await?;
        outcome.try_map(|item| from_json_item(&item))
    }

    /// Changes what an attempt left behind, as a person asked: its XComs, and nothing that was decided by. None: it is not there, or
    /// `edit` found nothing to do. Whoever writes meanwhile makes it be edited anew.
    pub async fn edit_attempt(
        &self,
        key: &AttemptKey,
        edit: impl Fn(&mut Attempt) -> bool + Send + Sync,
    ) -> Result<Option<Attempt>, Error> {
        let key = keys::attempt(key);
        let mut there = self.items.get(&key).await?;
        while let Some(item) = there {
            let mut attempt: Attempt = from_json_item(&item)?;
            if !edit(&mut attempt) {
                return Ok(None);
            }
            let path = || Path::Top(codec::JSON);
            let was = Condition::Equals(path(), Value::text(codec::text(&item, codec::JSON)?));
            let now = Change::Set(path(), Value::text(codec::to_json(&attempt)));
            let update = Update { key: key.clone(), conditions: vec![was], changes: vec![now] };
            match self.items.update(&update).await? {
                Outcome::Updated(_) => return Ok(Some(attempt)),
                Outcome::Refused(other) => there = other,
            }
        }
        Ok(None)
    }

    /// Reads an attempt's item.
    pub async fn attempt(&self, key: &AttemptKey) -> Result<Option<Attempt>, Error> {
        self.items.get(&keys::attempt(key)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// Reads many attempts' items; absent ones are left out; in no order.
    pub async fn attempts(&self, wanted: &[AttemptKey]) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        self.readable_attempts(wanted).await?.whole()
    }

    /// All attempts of a run, or of one of its tasks, by task, then try, then token.
    pub async fn attempts_of(
        &self,
        incarnation: &Incarnation,
        task: Option<TaskIndex>,
    ) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        self.readable_attempts_of(incarnation, task).await?.whole()
    }

    /// The same, of those that can be read.
    pub async fn readable_attempts_of(
        &self,
        incarnation: &Incarnation,
        task: Option<TaskIndex>,
    ) -> Result<Readable<(AttemptKey, Attempt)>, Error> {
        let prefix = task.map_or_else(|| keys::ATTEMPTS.to_owned(), keys::attempts_of_task);
        self.attempts_under(incarnation, prefix, None, 500, |_, _| true).await
    }

    /// The attempts of the tasks of these indices, and of their mapped instances, those that can be read.
    pub async fn readable_attempts_of_tasks(
        &self,
        incarnation: &Incarnation,
        tasks: std::ops::Range<u32>,
    ) -> Result<Readable<(AttemptKey, Attempt)>, Error> {
        let before = keys::before_task(TaskIndex(tasks.start));
        let at_once = attempts::at_once(&tasks);
        let is_meant = |task: TaskIndex, _| task.0 < tasks.end;
        self.attempts_under(incarnation, keys::ATTEMPTS.to_owned(), Some(before), at_once, is_meant).await
    }

    /// The attempts of a task itself, by try, then token: those of its mapped instances are left out, and come after them.
    pub async fn attempts_of_whole(
        &self,
        incarnation: &Incarnation,
        task: TaskIndex,
    ) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        // Few have more, and what follows may be ten thousand instances.
        let at_once = 20;
        self.attempts_under(incarnation, keys::attempts_of_task(task), None, at_once, |_, of| of.is_none())
            .await?
            .whole()
    }

    /// The attempts of the mapped instances of these numbers, by number, then try, then token.
    pub async fn attempts_of_instances(
        &self,
        incarnation: &Incarnation,
        task: TaskIndex,
        instances: std::ops::Range<u32>,
    ) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        let before = keys::before_instance(task, instances.start);
        let at_once = attempts::at_once(&instances);
        let is_meant = |_, of: Option<u32>| of.is_some_and(|map_index| map_index < instances.end);
        self.attempts_under(incarnation, keys::attempts_of_task(task), Some(before), at_once, is_meant).await?.whole()
    }

    /// All attempts of a mapped instance, by try, then token.
    pub async fn attempts_of_instance(
        &self,
        incarnation: &Incarnation,
        task: TaskIndex,
        map_index: u32,
    ) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        self.attempts_under(incarnation, keys::attempts_of_instance(task, map_index), None, 500, |_, _| true)
            .await?
            .whole()
    }

    /// The attempts below a prefix, from behind a key, up to the first one that is not meant.
    async fn attempts_under(
        &self,
        incarnation: &Incarnation,
        prefix: String,
        after: Option<String>,
        limit: usize,
        is_meant: impl Fn(TaskIndex, Option<u32>) -> bool,
    ) -> Result<Readable<(AttemptKey, Attempt)>, Error> {
        let mut range = Range { pk: keys::run(incarnation).pk, prefix, after, descending: false, limit };
        let mut found = Readable { items: Vec::new(), unreadable: Vec::new() };
        loop {
            let page = self.items.query(&range).await?;
            let full = page.len() == range.limit;
            range.after = page.last().map(|(sk, _)| sk.clone());
            for (sk, item) in page {
                let key = match attempts::key(incarnation, &sk) {
                    Ok(key) => key,
                    Err(error) => {
                        found.unreadable.push(Unreadable::of(Key { pk: range.pk.clone(), sk }, error)?);
                        continue;
                    }
                };
                if !is_meant(key.task, key.map_index) {
                    return Ok(found);
                }
                match from_json_item(&item) {
                    Ok(attempt) => found.items.push((key, attempt)),
                    Err(error) => found.unreadable.push(Unreadable::of(Key { pk: range.pk.clone(), sk }, error)?),
                }
            }
            if !full {
                return Ok(found);
            }
        }
    }

    /// Claims a run's name in its DAG. Refused gives whoever has it.
    pub async fn put_run_name(&self, dag_id: &DagId, name: &RunName) -> Result<Outcome<RunName>, Error> {
        let outcome = self.items.put_new(&keys::run_name(dag_id, &name.run_id), &json_item(name)).await?;
        outcome.try_map(|item| from_json_item(&item))
    }

    /// Places a named run in its DAG's order of runs. Idempotent.
    pub async fn put_run_order(&self, dag_id: &DagId, name: &RunName) -> Result<(), Error> {
        self.items.put(&keys::run_order(dag_id, name.run_after, &name.run_id), &json_item(name)).await
    }

    /// Looks a run up by its name.
    pub async fn run_name(&self, dag_id: &DagId, run_id: &str) -> Result<Option<RunName>, Error> {
        self.items.get(&keys::run_name(dag_id, run_id)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// Claims a logical date for a manual run. Refused gives whoever has it.
    pub async fn put_run_date(
        &self,
        dag_id: &DagId,
        logical_date: Timestamp,
        name: &RunName,
    ) -> Result<Outcome<RunName>, Error> {
        let outcome = self.items.put_new(&keys::run_date(dag_id, logical_date), &json_item(name)).await?;
        outcome.try_map(|item| from_json_item(&item))
    }

    /// Who has claimed a logical date.
    pub async fn run_date(&self, dag_id: &DagId, logical_date: Timestamp) -> Result<Option<RunName>, Error> {
        self.items.get(&keys::run_date(dag_id, logical_date)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// Gives a logical date back, if it is still this run's.
    pub async fn delete_run_date(&self, dag_id: &DagId, logical_date: Timestamp, name: &RunName) -> Result<(), Error> {
        let still = Condition::Equals(Path::Top(codec::JSON), Value::S(codec::to_json(name)));
        self.items.delete(&keys::run_date(dag_id, logical_date), &[still]).await.map(|_| ())
    }

    /// A DAG's runs, latest `run_after` first, those that can be read.
    pub async fn list_runs(
        &self,
        dag_id: &DagId,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<RunDoc>, Error> {
        let range = Range {
            pk: keys::dag(dag_id).pk,
            prefix: keys::RUNS_BY_TIME.to_owned(),
            after: page,
            descending: true,
            limit,
        };
        let found = self.items.query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let key = |sk: &String| Key { pk: range.pk.clone(), sk: sk.clone() };
        let names = Readable::of(found.iter().map(|(sk, item)| (key(sk), item)), |_, item| from_json_item(item))?;
        let Readable { items: names, mut unreadable }: Readable<RunName> = names;
        let ids: Vec<_> = names.iter().map(|n| n.incarnation.clone()).collect();
        let mut found = self.readable_runs(&ids).await?;
        for document in &mut found.unreadable {
            // Their ids are all that people know them by.
            let named = names.iter().find(|name| keys::run(&name.incarnation) == document.key);
            if let Some(name) = named {
                document.why = format!("it is the run `{}` of `{dag_id}`: {}", name.run_id, document.why);
            }
        }
        unreadable.append(&mut found.unreadable);
        let there = found.items.into_iter().filter(|run| run.deleted_at.is_none());
        let mut runs: BTreeMap<_, _> = there.map(|run| (run.facts.incarnation.clone(), run)).collect();
        Ok(Page { items: ids.iter().filter_map(|id| runs.remove(id)).collect(), next, unreadable })
    }

    /// Puts a DAG document unless it exists.
    pub async fn put_dag(&self, dag: &DagDoc) -> Result<Outcome<DagDoc>, Error> {
        let outcome = self.items.put_new(&keys::dag(&dag.dag_id), &codec::dag_item(dag)).await?;
        outcome.try_map(|item| codec::dag_doc(&dag.dag_id, &item))
    }

    /// Reads a DAG document.
    pub async fn dag(&self, dag_id: &DagId) -> Result<Option<DagDoc>, Error> {
        self.items.get(&keys::dag(dag_id)).await?.map(|item| codec::dag_doc(dag_id, &item)).transpose()
    }

    /// Reads many DAG documents; absent ones are left out; in no order.
    pub async fn dags(&self, dag_ids: &[DagId]) -> Result<Vec<DagDoc>, Error> {
        let by_key: BTreeMap<_, _> = dag_ids.iter().map(|id| (keys::dag(id), id)).collect();
        let keys: Vec<_> = by_key.keys().cloned().collect();
        self.items.get_many(&keys).await?.iter().map(|(key, item)| codec::dag_doc(by_key[key], item)).collect()
    }

    /// Changes a DAG document.
    pub async fn update_dag(&self, dag_id: &DagId, change: &DagChange) -> Result<Outcome<DagDoc>, Error> {
        let outcome = self.items.update(&codec::dag_update(dag_id, change)).await?;
        outcome.try_map(|item| codec::dag_doc(dag_id, &item))
    }

    /// Writes an entry of the DAG directory.
    pub async fn put_dag_summary(&self, summary: &DagSummary) -> Result<(), Error> {
        self.items.put(&keys::dag_entry(&summary.dag_id), &json_item(summary)).await
    }

    /// Reads an entry of the DAG directory.
    pub async fn dag_summary(&self, dag_id: &DagId) -> Result<Option<DagSummary>, Error> {
        self.items.get(&keys::dag_entry(dag_id)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// The DAG directory, by dag id.
    pub async fn list_dags(&self, limit: usize, page: Option<PageToken>) -> Result<Page<DagSummary>, Error> {
        self.list(keys::DAGS, limit, page).await
    }

    /// Puts a version; putting it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Unusable`] when it is too large for one item.
    pub async fn put_version(&self, version: &Version) -> Result<VersionId, Error> {
        let id = version.id();
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let written = encoder.write_all(codec::to_json(version).as_bytes()).and_then(|()| encoder.finish());
        let bytes = written.map_err(|e| Error::Unusable(format!("could not compress a version: {e}")))?;
        if bytes.len() > VERSION_BYTES_MAX {
            return Err(Error::Unusable(format!(
                "the compiled DAG `{}` with the files it refers to takes {} bytes compressed; at most {VERSION_BYTES_MAX} \
                 fit: split the DAG, or move data out of it",
                version.dag.dag_id,
                bytes.len()
            )));
        }
        let item = Item::from([(codec::JSON.to_owned(), Value::B(bytes))]);
        self.items.put_new(&keys::version(&id), &item).await?;
        Ok(id)
    }

    /// Reads a version.
    pub async fn version(&self, id: &VersionId) -> Result<Option<Version>, Error> {
        let Some(item) = self.items.get(&keys::version(id)).await? else { return Ok(None) };
        let Some(Value::B(bytes)) = item.get(codec::JSON) else {
            return Err(Error::Corrupt(format!("version `{id}` without content")));
        };
        let mut text = String::new();
        ZlibDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .map_err(|e| Error::Corrupt(format!("version `{id}`: {e}")))?;
        codec::from_json(&text).map(Some)
    }

    /// Writes what is known of a file.
    pub async fn put_file(&self, file: &FileRecord) -> Result<(), Error> {
        self.items.put(&keys::file(&file.path), &json_item(file)).await
    }

    /// Reads what is known of a file.
    pub async fn file(&self, path: &str) -> Result<Option<FileRecord>, Error> {
        self.items.get(&keys::file(path)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// Forgets a file.
    pub async fn delete_file(&self, path: &str) -> Result<(), Error> {
        self.items.delete(&keys::file(path), &[]).await.map(|_| ())
    }

    /// All known files, by path.
    pub async fn list_files(&self, limit: usize, page: Option<PageToken>) -> Result<Page<FileRecord>, Error> {
        self.list(keys::FILES, limit, page).await
    }

    /// Writes a file's import error.
    pub async fn put_import_error(&self, error: &ImportError) -> Result<(), Error> {
        self.items.put(&keys::import_error(&error.path), &json_item(error)).await
    }

    /// Forgets a file's import error.
    pub async fn delete_import_error(&self, path: &str) -> Result<(), Error> {
        self.items.delete(&keys::import_error(path), &[]).await.map(|_| ())
    }

    /// All import errors, by path.
    pub async fn list_import_errors(&self, limit: usize, page: Option<PageToken>) -> Result<Page<ImportError>, Error> {
        self.list(keys::ERRORS, limit, page).await
    }

    async fn list<T: serde::de::DeserializeOwned>(
        &self,
        pk: &str,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<T>, Error> {
        let range = Range { pk: pk.to_owned(), prefix: String::new(), after: page, descending: false, limit };
        let found = self.items.query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let key = |sk: &String| Key { pk: pk.to_owned(), sk: sk.clone() };
        let read = Readable::of(found.iter().map(|(sk, item)| (key(sk), item)), |_, item| from_json_item(item))?;
        Ok(Page { items: read.items, next, unreadable: read.unreadable })
    }

    /// What wants attention until then, earliest first, at most `limit`. May lag behind writes by seconds. What stands in the index under a key
    /// that this version does not know is left out, told of, and takes nobody's place.
    pub async fn due(&self, until: Timestamp, limit: usize) -> Result<Readable<DueEntry>, Error> {
        let mut asked = limit;
        loop {
            let found = self.items.due(until.as_millisecond(), asked).await?;
            let is_all = found.len() < asked;
            let mut due = Readable { items: Vec::with_capacity(found.len()), unreadable: Vec::new() };
            for Due { wake_at, key } in found {
                match keys::document(&key) {
                    Some(what) => due.items.push(DueEntry { what, wake_at: instant(wake_at) }),
                    None => due.unreadable.push(Unreadable { key, why: UNKNOWN_IN_INDEX.to_owned() }),
                }
            }
            if is_all || due.items.len() >= limit {
                due.items.truncate(limit);
                return Ok(due);
            }
            asked = asked.saturating_mul(2);
        }
    }
}

/// What is said of a key in the time index that stands for no document.
const UNKNOWN_IN_INDEX: &str = "it is in the time index, and this version knows no document of such a key; a later version may have written it, or a \
                                hand: run that version, or remove the item";

/// An instant of the time index. What lies beyond all instants is the first or the last of them.
fn instant(wake_at: i64) -> Timestamp {
    let beyond = if wake_at < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(wake_at).unwrap_or(beyond)
}
