//! What is expanded together: a mapped task alone, or a mapped group with all tasks inside.

use crate::dag::Dag;
use crate::dag_parts::Mapping;
use crate::ids::TaskIndex;
use crate::mapped::PAGE_CELLS;
use std::collections::{BTreeMap, BTreeSet};

/// A mapped task, or the tasks of a mapped group.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Its first task, by which it is known.
    pub unit: TaskIndex,
    /// Its tasks, in a topological order.
    pub members: Vec<TaskIndex>,
    /// The group, if it is one.
    pub group: Option<String>,
    /// What it is expanded over.
    pub mapping: Mapping,
    /// The tasks whose values it is expanded over.
    pub sources: Vec<TaskIndex>,
    /// Tasks outside of it that are upstreams of tasks inside.
    pub upstream: BTreeSet<TaskIndex>,
    /// How many cells a page holds at most, unless one instance alone has more.
    pub page_cells: u32,
}

impl Unit {
    /// How many instances lie on a page.
    pub fn per_page(&self) -> u32 {
        (self.page_cells / self.members.len().max(1) as u32).max(1)
    }

    /// How many pages so many instances take.
    pub fn pages(&self, count: u32) -> u32 {
        count.div_ceil(self.per_page())
    }

    /// The instances of a page, of so many in all.
    pub fn instances(&self, page: u32, count: u32) -> std::ops::Range<u32> {
        let first = page.saturating_mul(self.per_page());
        first.min(count)..first.saturating_add(self.per_page()).min(count)
    }
}

/// The units of a DAG, and for each task the place of the unit it belongs to.
pub(crate) fn units(dag: &Dag) -> (Vec<Unit>, BTreeMap<TaskIndex, usize>) {
    let mut units: Vec<Unit> = Vec::new();
    let mut of_task = BTreeMap::new();
    let mut of_group: BTreeMap<&str, usize> = BTreeMap::new();
    let by_id: BTreeMap<&str, TaskIndex> =
        dag.tasks.iter().enumerate().map(|(i, t)| (t.task_id.as_str(), TaskIndex(i as u32))).collect();
    for (i, task) in dag.tasks.iter().enumerate() {
        let index = TaskIndex(i as u32);
        let group = mapped_group(dag, task.group.as_deref());
        let Some(mapping) = group.map(|(_, mapping)| mapping).or(task.mapping.as_ref()) else { continue };
        if let Some(place) = group.and_then(|(id, _)| of_group.get(id)) {
            units[*place].members.push(index);
            of_task.insert(index, *place);
            continue;
        }
        if let Some((id, _)) = group {
            of_group.insert(id, units.len());
        }
        of_task.insert(index, units.len());
        let sources: BTreeSet<TaskIndex> = mapping
            .inputs()
            .flat_map(|input| input.sources())
            .filter_map(|id| by_id.get(id.as_str()).copied())
            .collect();
        units.push(Unit {
            unit: index,
            members: vec![index],
            group: group.map(|(id, _)| id.to_owned()),
            mapping: mapping.clone(),
            sources: sources.into_iter().collect(),
            upstream: BTreeSet::new(),
            page_cells: PAGE_CELLS,
        });
    }
    for unit in &mut units {
        let above = unit.members.iter().flat_map(|member| &dag.tasks[member.at()].upstream);
        unit.upstream = above.copied().filter(|up| !unit.members.contains(up)).collect();
    }
    (units, of_task)
}

/// The mapped group around a task, if there is one: the innermost.
fn mapped_group<'a>(dag: &'a Dag, group: Option<&str>) -> Option<(&'a str, &'a Mapping)> {
    let mut group = group?.to_owned();
    // A chain of parents is no longer than there are groups.
    for _ in 0..=dag.groups.len() {
        let found = dag.groups.iter().find(|g| g.group_id == group)?;
        if let Some(mapping) = &found.mapping {
            return Some((&found.group_id, mapping));
        }
        group = found.parent.clone()?;
    }
    None
}
