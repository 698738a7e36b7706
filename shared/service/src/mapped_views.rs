//! What people are shown of mapped tasks: instances, their tries, their XComs.

use crate::engine::{Engine, Error, Version};
use crate::views::{Latest, TaskInstanceView, instance_view, latest};
use crate::xcoms;
use serde_json::Value;
use updraft_clock::Clock;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::{Attempt, AttemptKey, Cell, PageKey, RunDoc, Slot, TaskIndex};
use updraft_scheduling::mapped;
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

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// The instances of a mapped task, by map index; none where it is not mapped, or not known to be expanded. A task that is mapped over
    /// values of the file has its instances from the beginning, in the state of the whole.
    pub async fn mapped_instances(&self, run: &RunDoc, task: TaskIndex) -> Result<Vec<TaskInstanceView>, Error> {
        let version = self.version(&run.facts.version).await?;
        let latest = latest(self.store.attempts_of(&run.facts.incarnation, Some(task)).await?);
        self.instances_of(&version, run, task, &latest).await
    }

    /// A page of a mapped task's instances, and how many there are: `listMapped` of Airflow's API.
    pub async fn list_mapped(
        &self,
        run: &RunDoc,
        task: TaskIndex,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<TaskInstanceView>, usize), Error> {
        let instances = self.mapped_instances(run, task).await?;
        let total = instances.len();
        Ok((instances.into_iter().skip(offset).take(limit).collect(), total))
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
        let instances = self.mapped_instances(run, task).await?;
        let known = instances.len();
        instances.into_iter().find(|view| view.map_index == Some(map_index)).ok_or_else(|| Error::NotFound {
            what: "the task instance of map index",
            name: map_index.to_string(),
            near: if known > 0 { vec![format!("0 to {}", known - 1)] } else { Vec::new() },
        })
    }

    pub(crate) async fn instances_of(
        &self,
        version: &Version,
        run: &RunDoc,
        task: TaskIndex,
        latest: &Latest,
    ) -> Result<Vec<TaskInstanceView>, Error> {
        let plan = &version.plan;
        let Some(unit) = plan.unit_of(task) else { return Ok(Vec::new()) };
        let whole = run.cell(task);
        let view = |map_index: u32, cell: &Cell| {
            instance_view(task, plan.task(task), Some(map_index), cell, latest.get(&(task, Some(map_index))))
        };
        let Some(expansion) = run.mapped.expansion(unit.unit) else {
            let is_of_file = unit.mapping.inputs().all(|input| input.sources().is_empty());
            let count = if is_of_file { mapped::count_of(plan, &run.mapped, unit).unwrap_or(0) } else { 0 };
            return Ok((0..count).map(|map_index| view(map_index, whole)).collect());
        };
        let pages = xcoms::pages_of(&self.store, plan, run, task).await?;
        let mut views = Vec::with_capacity(expansion.count as usize);
        let per_page = unit.per_page();
        for map_index in 0..expansion.count {
            let page = pages.iter().find(|page| page.key.page == map_index / per_page);
            let cell = page.and_then(|page| page.cells.get(&Slot { map_index, task })).unwrap_or(&Cell::None);
            views.push(view(map_index, cell));
        }
        Ok(views)
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

    pub(crate) async fn attempts_of_instance(
        &self,
        run: &RunDoc,
        task: TaskIndex,
        map_index: Option<u32>,
    ) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        Ok(if let Some(map_index) = map_index {
            self.store.attempts_of_instance(&run.facts.incarnation, task, map_index).await?
        } else {
            let mut all = self.store.attempts_of(&run.facts.incarnation, Some(task)).await?;
            all.retain(|(key, _)| key.map_index.is_none());
            all
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
            for page in xcoms::pages_of(&self.store, &version.plan, run, task).await? {
                let mut wanted = xcoms::winners_on(&page, task);
                wanted.retain(|key| map_index.is_none() || key.map_index == map_index);
                let mut attempts = self.store.attempts(&wanted).await?;
                attempts.sort_by_key(|(key, _)| key.map_index);
                for (at, attempt) in attempts {
                    for (name, value) in attempt.xcoms.iter().filter(|(name, _)| key.is_none_or(|k| k == name.as_str()))
                    {
                        found.push(MappedXCom {
                            task_id: version.plan.task(task).task_id.to_string(),
                            map_index: at.map_index.unwrap_or_default(),
                            key: name.clone(),
                            value: xcoms::resolve(logs, value).await?,
                        });
                    }
                }
            }
        }
        Ok(found)
    }
}
