//! What people are shown of mapped tasks: instances, their tries, their XComs.

use crate::engine::{Engine, Error, Version};
use crate::views::{Latest, TaskInstanceView, instance_view, latest};
use crate::xcoms;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use updraft_clock::Clock;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::cell::End;
use updraft_model::{Attempt, AttemptKey, Cell, PageDoc, PageKey, RunDoc, Slot, TaskIndex, Unit};
use updraft_scheduling::{mapped, pages};
use updraft_task_queue::TaskQueue;

/// An XCom of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct MappedXCom {
    /// The task.
    pub task_id: String,
    /// The instance.
    pub map_index: u32,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
}

/// An XCom, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XComKey {
    /// The task.
    pub task: TaskIndex,
    /// The instance; none: the task is not mapped.
    pub map_index: Option<u32>,
    /// The key.
    pub key: String,
    /// When the attempt that pushed it ended.
    pub pushed_at: Timestamp,
}

/// How many instances a task is known to have become, with those that it has no more since it was expanded anew; of one that is mapped over
/// values of the file, from the beginning.
pub(crate) fn known(version: &Version, run: &RunDoc, task: TaskIndex) -> u32 {
    let plan = &version.plan;
    let Some(unit) = plan.unit_of(task) else { return 0 };
    let before = run.mapped.before(unit.unit);
    if let Some(expansion) = run.mapped.expansion(unit.unit) {
        return expansion.count.max(before);
    }
    let is_of_file = unit.mapping.inputs().all(|input| input.sources().is_empty());
    before.max(if is_of_file { mapped::count_of(plan, &run.mapped, unit).unwrap_or(0) } else { 0 })
}

/// How an instance stands of which its page says this; none: nothing.
fn stands(run: &RunDoc, unit: &Unit, task: TaskIndex, map_index: u32, there: Option<&Cell>) -> Cell {
    let there = there.unwrap_or(&Cell::None);
    match (run.mapped.expansion(unit.unit), run.cell(task)) {
        // Cleared while its attempt ran, which has to let go first.
        _ if there.holder().is_some() => there.clone(),
        (Some(expansion), _) if map_index >= expansion.count => Cell::ended(End::Removed, there.try_number()),
        // Not expanded anew, and it will not be.
        (None, Cell::Final { end, .. }) => Cell::ended(*end, there.try_number()),
        _ => there.clone(),
    }
}

/// What an instance is called that is not there; the closest names are then the first and the last that are.
pub const MAP_INDEX: &str = "the task instance of map index";

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// The instances of a mapped task, by map index; none where it is not mapped, or not known to be expanded. A task that is mapped over
    /// values of the file has its instances from the beginning, in the state of the whole.
    pub async fn mapped_instances(&self, run: &RunDoc, task: TaskIndex) -> Result<Vec<TaskInstanceView>, Error> {
        let version = self.version(&run.facts.version).await?;
        let latest = latest(self.store.attempts_of(&run.facts.incarnation, Some(task)).await?);
        self.instances_of(&version, run, task, &latest).await
    }

    /// The instances of a mapped task of these numbers, and how many there are in all. Reads what belongs to them alone.
    pub async fn list_mapped(
        &self,
        run: &RunDoc,
        task: TaskIndex,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<TaskInstanceView>, usize), Error> {
        let version = self.version(&run.facts.version).await?;
        let total = known(&version, run, task);
        let within = |at: usize| u32::try_from(at).unwrap_or(u32::MAX).min(total);
        let wanted = within(offset)..within(offset.saturating_add(limit));
        if wanted.is_empty() {
            return Ok((Vec::new(), total as usize));
        }
        let attempts = self.store.attempts_of_instances(&run.facts.incarnation, task, wanted.clone()).await?;
        let latest = latest(attempts);
        Ok((self.these_of(&version, run, task, &latest, wanted).await?, total as usize))
    }

    /// One instance of a mapped task.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is none of this number.
    pub async fn mapped_instance(
        &self,
        run: &RunDoc,
        task: TaskIndex,
        map_index: u32,
    ) -> Result<TaskInstanceView, Error> {
        let (mut found, known) = self.list_mapped(run, task, map_index as usize, 1).await?;
        found.pop().ok_or_else(|| no_such_instance(map_index, known))
    }

    pub(crate) async fn instances_of(
        &self,
        version: &Version,
        run: &RunDoc,
        task: TaskIndex,
        latest: &Latest,
    ) -> Result<Vec<TaskInstanceView>, Error> {
        self.these_of(version, run, task, latest, 0..known(version, run, task)).await
    }

    /// The instances of these numbers, which are known to be there.
    async fn these_of(
        &self,
        version: &Version,
        run: &RunDoc,
        task: TaskIndex,
        latest: &Latest,
        wanted: std::ops::Range<u32>,
    ) -> Result<Vec<TaskInstanceView>, Error> {
        let plan = &version.plan;
        let Some(unit) = plan.unit_of(task) else { return Ok(Vec::new()) };
        let view = |map_index: u32, cell: &Cell| {
            instance_view(task, plan.task(task), Some(map_index), cell, latest.get(&(task, Some(map_index))))
        };
        if run.mapped.expansion(unit.unit).is_none() && run.mapped.before(unit.unit) == 0 {
            return Ok(wanted.map(|map_index| view(map_index, run.cell(task))).collect());
        }
        let per_page = unit.per_page();
        let pages = wanted.start / per_page..wanted.end.div_ceil(per_page);
        let found = self.store.pages(&run.facts.incarnation, unit.unit, pages).await?;
        let pages: BTreeMap<u32, &PageDoc> = found.iter().map(|page| (page.key.page, page)).collect();
        let cell = |map_index: u32| {
            pages.get(&(map_index / per_page)).and_then(|page| page.cells.get(&Slot { map_index, task }))
        };
        let stands = |map_index: u32| stands(run, unit, task, map_index, cell(map_index));
        Ok(wanted.map(|map_index| view(map_index, &stands(map_index))).collect())
    }

    /// The cell of a task, or of an instance of a mapped one.
    pub(crate) async fn cell_of(&self, run: &RunDoc, task: TaskIndex, map_index: Option<u32>) -> Result<Cell, Error> {
        let Some(map_index) = map_index else { return Ok(run.cell(task).clone()) };
        let version = self.version(&run.facts.version).await?;
        let Some(unit) = version.plan.unit_of(task) else { return Ok(Cell::None) };
        let key =
            PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page: map_index / unit.per_page() };
        let page = self.store.page(&key).await?;
        Ok(page.map_or(Cell::None, |page| page.cell(Slot { map_index, task }).clone()))
    }

    /// The attempts of a task itself, or with a map index of that instance of it.
    pub async fn attempts_of_instance(
        &self,
        run: &RunDoc,
        task: TaskIndex,
        map_index: Option<u32>,
    ) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        Ok(if let Some(map_index) = map_index {
            self.store.attempts_of_instance(&run.facts.incarnation, task, map_index).await?
        } else {
            self.store.attempts_of_whole(&run.facts.incarnation, task).await?
        })
    }

    /// The XComs of mapped tasks: of all of a run or of one, under all keys or one, of all instances or one.
    pub async fn mapped_xcoms<L: LogStore>(
        &self,
        logs: &L,
        run: &RunDoc,
        task_id: Option<&str>,
        map_index: Option<u32>,
        key: Option<&str>,
    ) -> Result<Vec<MappedXCom>, Error> {
        let version = self.version(&run.facts.version).await?;
        let tasks: Vec<TaskIndex> = match task_id {
            Some(task_id) => vec![self.task_of_run(run, task_id).await?],
            None => version.plan.tasks().collect(),
        };
        let mut found = Vec::new();
        for task in tasks {
            for (at, attempt) in self.winners_of_instances(&version, run, task, map_index).await? {
                for (name, value) in attempt.xcoms.iter().filter(|(name, _)| key.is_none_or(|k| k == name.as_str())) {
                    found.push(MappedXCom {
                        task_id: version.plan.task(task).task_id.to_string(),
                        map_index: at.map_index.unwrap_or_default(),
                        key: name.clone(),
                        value: xcoms::resolve(logs, value).await?,
                    });
                }
            }
        }
        Ok(found)
    }

    /// The XComs of a run without their values, by task: of all tasks or of one; of all of it, or with a map index of that instance, and with
    /// -1 of what is not mapped.
    pub async fn xcom_keys(
        &self,
        run: &RunDoc,
        task: Option<TaskIndex>,
        map_index: Option<i64>,
    ) -> Result<Vec<XComKey>, Error> {
        let version = self.version(&run.facts.version).await?;
        let tasks: Vec<TaskIndex> = task.map_or_else(|| version.plan.tasks().collect(), |task| vec![task]);
        let mut found = Vec::new();
        let mut add = |task: TaskIndex, map_index: Option<u32>, attempt: &Attempt| {
            let of = |key: &String| XComKey { task, map_index, key: key.clone(), pushed_at: attempt.end_date };
            found.extend(attempt.xcoms.keys().map(of));
        };
        if map_index.is_none_or(|index| index == -1) {
            let whole = xcoms::winners(&self.store, run, tasks.iter().copied()).await?;
            for (task, attempt) in &whole {
                add(*task, None, attempt);
            }
        }
        let instance = map_index.and_then(|index| u32::try_from(index).ok());
        if map_index.is_none() || instance.is_some() {
            for task in tasks {
                for (at, attempt) in self.winners_of_instances(&version, run, task, instance).await? {
                    add(task, at.map_index, &attempt);
                }
            }
        }
        Ok(found)
    }

    /// The attempts by which instances of a mapped task ended, by map index: of all, or of one. Of one only its page is read.
    async fn winners_of_instances(
        &self,
        version: &Version,
        run: &RunDoc,
        task: TaskIndex,
        map_index: Option<u32>,
    ) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        let Some(unit) = version.plan.unit_of(task) else { return Ok(Vec::new()) };
        let pages: Vec<PageDoc> = match map_index {
            Some(map_index) if run.mapped.expansion(unit.unit).is_none_or(|there| map_index >= there.count) => {
                Vec::new()
            }
            Some(map_index) => self.store.page(&pages::page_of(unit, run, map_index)).await?.into_iter().collect(),
            None => xcoms::pages_of(&self.store, &version.plan, run, task).await?,
        };
        let mut found = Vec::new();
        for page in pages {
            let mut wanted = xcoms::winners_on(&page, task);
            wanted.retain(|key| map_index.is_none() || key.map_index == map_index);
            let mut attempts = self.store.attempts(&wanted).await?;
            attempts.sort_by_key(|(key, _)| key.map_index);
            found.append(&mut attempts);
        }
        Ok(found)
    }
}

/// The error for an instance that a task does not have; it has `known` of them.
pub(crate) fn no_such_instance(map_index: u32, known: usize) -> Error {
    let near = match known {
        0 => Vec::new(),
        1 => vec!["0".to_owned()],
        _ => vec!["0".to_owned(), (known - 1).to_string()],
    };
    Error::NotFound { what: MAP_INDEX, name: map_index.to_string(), near }
}
