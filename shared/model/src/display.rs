//! The order in which people see a DAG's tasks.

use crate::dag::Dag;
use crate::ids::TaskIndex;
use std::collections::{BTreeMap, BTreeSet};

/// The tasks as Airflow's grid lists them: of the tasks and groups on one level, whatever has nothing before it that is not listed yet, in
/// order of ids, again and again; a group is followed by what is inside it.
///
/// Airflow orders a group by the dependencies it was itself given; here those are edges between tasks, so a group comes after every
/// task that one of its own depends on. Where groups depend on each other both ways, the one with the lesser id comes first.
pub fn display_order(dag: &Dag) -> Vec<TaskIndex> {
    let parents: BTreeMap<&str, Option<&str>> =
        dag.groups.iter().map(|group| (group.group_id.as_str(), group.parent.as_deref())).collect();
    // From the outermost group to the task itself: its place in the tree.
    let path = |task: usize| {
        let mut path = vec![dag.tasks[task].task_id.as_str()];
        let mut group = dag.tasks[task].group.as_deref();
        while let Some(id) = group {
            path.push(id);
            group = parents.get(id).copied().flatten();
        }
        path.reverse();
        path
    };
    let paths: Vec<Vec<&str>> = (0..dag.tasks.len()).map(path).collect();
    let mut order = Vec::with_capacity(dag.tasks.len());
    let all: Vec<usize> = (0..dag.tasks.len()).collect();
    list_level(dag, &paths, 0, &all, &mut order);
    order
}

/// Lists the tasks inside one group, whose paths are alike up to `depth`.
fn list_level(dag: &Dag, paths: &[Vec<&str>], depth: usize, inside: &[usize], order: &mut Vec<TaskIndex>) {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for task in inside {
        members.entry(paths[*task][depth]).or_default().push(*task);
    }
    for child in sorted_children(dag, paths, depth, inside) {
        let tasks = &members[child];
        match tasks[..] {
            [task] if paths[task].len() == depth + 1 => order.push(TaskIndex(task as u32)),
            _ => list_level(dag, paths, depth + 1, tasks, order),
        }
    }
}

/// The ids on one level in their order: passes over those that are left, by id, each taking what is free by then.
fn sorted_children<'a>(dag: &Dag, paths: &[Vec<&'a str>], depth: usize, inside: &[usize]) -> Vec<&'a str> {
    let here: BTreeSet<usize> = inside.iter().copied().collect();
    let mut after: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut missing: BTreeMap<&str, usize> = inside.iter().map(|task| (paths[*task][depth], 0)).collect();
    for task in inside {
        let child = paths[*task][depth];
        for up in dag.tasks[*task].upstream.iter().filter(|up| here.contains(&up.at())) {
            let before = paths[up.at()][depth];
            if before != child && after.entry(before).or_default().insert(child) {
                *missing.entry(child).or_default() += 1;
            }
        }
    }
    let mut left: BTreeSet<&str> = missing.keys().copied().collect();
    let mut this_pass: BTreeSet<&str> = left.iter().copied().filter(|child| missing[child] == 0).collect();
    let mut next_pass = BTreeSet::new();
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        if this_pass.is_empty() {
            this_pass = std::mem::take(&mut next_pass);
        }
        // Groups that wait for each other: one must come first.
        let Some(child) = this_pass.pop_first().or_else(|| left.first().copied()) else { break };
        left.remove(child);
        sorted.push(child);
        for below in after.remove(child).unwrap_or_default() {
            let Some(count) = missing.get_mut(below) else { continue };
            *count = count.saturating_sub(1);
            if *count == 0 && left.contains(below) {
                if below > child {
                    this_pass.insert(below)
                } else {
                    next_pass.insert(below)
                };
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dag::Task;
    use crate::dag_parts::TaskGroup;
    use crate::ids::TaskId;

    fn group(group_id: &str, parent: Option<&str>) -> TaskGroup {
        TaskGroup {
            group_id: group_id.to_owned(),
            parent: parent.map(str::to_owned),
            prefix_group_id: true,
            tooltip: String::new(),
            group_display_name: None,
            ui_color: None,
            ui_fgcolor: None,
            mapping: None,
            default_args: serde_json::Map::new(),
        }
    }

    fn order(tasks: &[(&str, Option<&str>, &[u32])], groups: Vec<TaskGroup>) -> Vec<String> {
        let task = |(id, group, upstream): &(&str, Option<&str>, &[u32])| Task {
            group: group.map(str::to_owned),
            upstream: upstream.iter().map(|up| TaskIndex(*up)).collect(),
            ..Task::new(TaskId::trusted(*id), "Op")
        };
        let mut dag = Dag::new(crate::ids::DagId::trusted("d"), Vec::new());
        dag.groups = groups;
        dag.tasks = tasks.iter().map(task).collect();
        display_order(&dag).into_iter().map(|task| dag.tasks[task.at()].task_id.to_string()).collect()
    }

    #[test]
    fn a_group_stands_where_its_first_dependency_allows_and_holds_its_tasks_together() {
        let groups = || vec![group("g", None), group("g.h", Some("g"))];
        let tasks: &[(&str, Option<&str>, &[u32])] = &[
            ("z", None, &[]),
            ("g.a", Some("g"), &[0]),
            ("g.h.b", Some("g.h"), &[1]),
            ("c", None, &[2]),
            ("b", None, &[]),
        ];
        assert_eq!(order(tasks, groups()), ["b", "z", "g.a", "g.h.b", "c"]);
    }

    #[test]
    fn groups_that_wait_for_each_other_are_listed_all_the_same() {
        let tasks: &[(&str, Option<&str>, &[u32])] =
            &[("g.a", Some("g"), &[]), ("h.a", Some("h"), &[0]), ("h.b", Some("h"), &[]), ("g.b", Some("g"), &[2])];
        assert_eq!(order(tasks, vec![group("g", None), group("h", None)]), ["g.a", "g.b", "h.a", "h.b"]);
    }

    #[test]
    fn ten_thousand_tasks_against_the_order_of_their_ids_take_no_time() {
        let ids: Vec<String> = (0..10_000).map(|n| format!("t{:05}", 10_000 - n)).collect();
        let upstream: Vec<[u32; 1]> = (0..10_000u32).map(|n| [n.saturating_sub(1)]).collect();
        let tasks: Vec<(&str, Option<&str>, &[u32])> = ids
            .iter()
            .enumerate()
            .map(|(n, id)| (id.as_str(), None, if n == 0 { &[][..] } else { &upstream[n][..] }))
            .collect();
        assert_eq!(order(&tasks, Vec::new()), ids);
    }
}
