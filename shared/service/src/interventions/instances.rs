//! Instances of mapped tasks among what is cleared and marked.

use super::selection::Affected;
use crate::engine::{Engine, Error, Version};
use crate::xcoms;
use std::collections::{BTreeMap, BTreeSet};
use updraft_clock::Clock;
use updraft_metastore::Items;
use updraft_model::{Cell, Intent, RunDoc, Slot, TaskIndex, TaskInstanceState};
use updraft_scheduling::mapped;
use updraft_task_queue::TaskQueue;

/// The instances of mapped tasks that are meant, as they stood.
pub type Instances = BTreeMap<TaskIndex, Vec<Instance>>;

/// An instance of a mapped task, as it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    /// Which.
    pub map_index: u32,
    /// How it stood.
    pub state: TaskInstanceState,
    /// Tries used or in use.
    pub try_number: u32,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// All instances of a mapped task that has been expanded; none of any other task, and none of one that had ended when the group around it
    /// was expanded: it stands by itself, as a task does that is not mapped.
    pub(super) async fn instances_there(
        &self,
        version: &Version,
        run: &RunDoc,
        task: TaskIndex,
    ) -> Result<Option<Vec<Instance>>, Error> {
        let plan = &version.plan;
        let expanded = plan.unit_of(task).and_then(|unit| Some((unit, run.mapped.expansion(unit.unit)?)));
        let Some((unit, expansion)) = expanded else { return Ok(None) };
        let pages = xcoms::pages_of(&self.store, plan, run, task).await?;
        let is_of_task = |slot: &Slot| slot.task == task;
        let has_none = !pages.is_empty() && !pages.iter().any(|page| page.cells.keys().any(is_of_task));
        if has_none && run.cell(task).is_final() {
            return Ok(None);
        }
        let by_number: BTreeMap<u32, _> = pages.iter().map(|page| (page.key.page, page)).collect();
        let per_page = unit.per_page();
        let instance = |map_index: u32| {
            let page = by_number.get(&(map_index / per_page));
            let cell = page.and_then(|page| page.cells.get(&Slot { map_index, task })).unwrap_or(&Cell::None);
            Instance { map_index, state: cell.state(), try_number: cell.try_number() }
        };
        Ok(Some((0..expansion.count).map(instance).collect()))
    }

    /// Keeps of some tasks, and of the instances of mapped ones, what is picked and wanted. `among`: of these tasks only these instances.
    pub(super) async fn narrow(
        &self,
        version: &Version,
        run: &RunDoc,
        tasks: &mut BTreeSet<TaskIndex>,
        among: &BTreeMap<TaskIndex, BTreeSet<u32>>,
        is_wanted: impl Fn(TaskInstanceState) -> bool,
    ) -> Result<Narrowed, Error> {
        let mut narrowed = Narrowed::default();
        for task in tasks.clone() {
            let Some(all) = self.instances_there(version, run, task).await? else {
                let state = mapped::state(&version.plan, &run.mapped, run.cell(task), task);
                if among.contains_key(&task) || !is_wanted(state) {
                    tasks.remove(&task);
                }
                continue;
            };
            let count = all.len();
            let is_picked = |instance: &Instance| {
                among.get(&task).is_none_or(|only| only.contains(&instance.map_index)) && is_wanted(instance.state)
            };
            let kept: Vec<Instance> = all.into_iter().filter(is_picked).collect();
            if kept.is_empty() {
                tasks.remove(&task);
                continue;
            }
            if kept.len() < count || among.contains_key(&task) {
                narrowed.only.insert(task, kept.iter().map(|instance| instance.map_index).collect());
            }
            narrowed.instances.insert(task, kept);
        }
        Ok(narrowed)
    }
}

/// What is left of mapped tasks.
#[derive(Debug, Default)]
pub(super) struct Narrowed {
    /// Of these tasks only these instances are meant.
    only: BTreeMap<TaskIndex, BTreeSet<u32>>,
    /// All that are meant.
    pub(super) instances: Instances,
}

impl Narrowed {
    /// The intent, with what of mapped tasks is not meant left out.
    pub(super) fn limit(&self, intent: Intent) -> Intent {
        let only = self.only.iter().map(|(task, only)| (*task, only.iter().copied().collect()));
        let instances = intent.instances.into_iter().chain(only).collect();
        Intent { instances, ..intent }
    }
}

/// What people are told of: tasks, and of mapped ones their instances.
pub(super) fn told(
    version: &Version,
    run: &RunDoc,
    tasks: impl IntoIterator<Item = TaskIndex>,
    instances: &Instances,
) -> Vec<Affected> {
    let of = |task: TaskIndex| {
        let whole = Affected::new(&version.plan, run, task);
        match instances.get(&task) {
            None => vec![whole],
            Some(instances) => instances
                .iter()
                .map(|instance| Affected {
                    map_index: Some(instance.map_index),
                    state: instance.state,
                    try_number: instance.try_number,
                    ..whole.clone()
                })
                .collect(),
        }
    };
    tasks.into_iter().flat_map(of).collect()
}
