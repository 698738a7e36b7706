//! From tasks that name their upstreams to tasks in topological order.

use crate::reader::Cursor;
use crate::task::Draft;
use crate::yaml::compose::clip;
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::{Task, TaskIndex};

/// The most tasks of a cycle that are named in a message.
const CYCLE_SHOWN_MAX: usize = 20;

/// Resolves dependencies and orders the tasks: upstreams first, and otherwise as in the file. None where a dependency is
/// unknown or there is a cycle; all of them are noted. `other_names` are known names that are no tasks (groups).
pub(crate) fn order(dag: &Cursor<'_>, drafts: Vec<Draft<'_>>, other_names: &BTreeSet<&str>) -> Option<Vec<Task>> {
    let ids: Vec<String> = drafts.iter().map(|d| d.task.task_id.as_str().to_owned()).collect();
    let by_id: BTreeMap<&str, usize> = ids.iter().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let mut upstream: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); drafts.len()];
    let mut sound = true;
    for (i, draft) in drafts.iter().enumerate() {
        for (name, cursor) in &draft.dependencies {
            match by_id.get(name) {
                Some(j) => drop(upstream[i].insert(*j)),
                None if other_names.contains(name) => sound = false,
                None => {
                    sound = false;
                    let hint = dag.sink.did_you_mean(name, ids.iter().map(String::as_str).filter(|id| *id != ids[i]));
                    let message = format!("the task `{}` depends on `{}`, which does not exist", ids[i], clip(name));
                    cursor.error("unknown-dependency", message, hint);
                }
            }
        }
    }
    let order = topological(&upstream);
    if order.len() < drafts.len() {
        for cycle in cycles(&upstream, &order) {
            let at = drafts[cycle[0]].cursor.clone();
            at.key_error("cycle", format!("tasks depend on each other in a circle: {}", shown(&cycle, &ids)), None);
        }
        return None;
    }
    if !sound {
        return None;
    }
    let mut place = vec![0; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new;
    }
    let mut tasks: Vec<(usize, Task)> = drafts
        .into_iter()
        .enumerate()
        .map(|(i, draft)| {
            let mut task = draft.task;
            task.upstream = upstream[i].iter().map(|j| TaskIndex(place[*j] as u32)).collect();
            task.upstream.sort_unstable();
            (place[i], task)
        })
        .collect();
    tasks.sort_by_key(|(place, _)| *place);
    Some(tasks.into_iter().map(|(_, task)| task).collect())
}

/// The tasks that can be ordered; those in a cycle and below one are missing.
fn topological(upstream: &[BTreeSet<usize>]) -> Vec<usize> {
    let mut downstream: Vec<Vec<usize>> = vec![Vec::new(); upstream.len()];
    let mut waiting: Vec<usize> = upstream.iter().map(BTreeSet::len).collect();
    for (i, ups) in upstream.iter().enumerate() {
        for up in ups {
            downstream[*up].push(i);
        }
    }
    let mut ready: BTreeSet<usize> = (0..upstream.len()).filter(|i| waiting[*i] == 0).collect();
    let mut order = Vec::with_capacity(upstream.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for down in &downstream[next] {
            waiting[*down] -= 1;
            if waiting[*down] == 0 {
                ready.insert(*down);
            }
        }
    }
    order
}

/// Cycles among the tasks that could not be ordered, each beginning with its first task in the file. Every one of these
/// has an upstream that is left too, so that walking up must come round.
fn cycles(upstream: &[BTreeSet<usize>], ordered: &[usize]) -> Vec<Vec<usize>> {
    let mut left = vec![true; upstream.len()];
    for i in ordered {
        left[*i] = false;
    }
    let mut walk_of: Vec<Option<usize>> = vec![None; upstream.len()];
    let mut found = Vec::new();
    for start in (0..upstream.len()).filter(|i| left[*i]) {
        let mut way = Vec::new();
        let mut at = start;
        while walk_of[at].is_none() {
            walk_of[at] = Some(start);
            way.push(at);
            let Some(up) = upstream[at].iter().copied().find(|j| left[*j]) else { break };
            at = up;
        }
        if walk_of[at] == Some(start)
            && let Some(from) = way.iter().position(|i| *i == at)
        {
            let mut cycle = way.split_off(from);
            // Walked upwards; shown in the direction in which the tasks would run.
            cycle.reverse();
            let first = cycle.iter().enumerate().min_by_key(|(_, task)| **task).map_or(0, |(i, _)| i);
            cycle.rotate_left(first);
            found.push(cycle);
        }
    }
    found
}

fn shown(cycle: &[usize], ids: &[String]) -> String {
    let name = |i: &usize| format!("`{}`", ids[*i]);
    let mut names: Vec<String> = cycle.iter().take(CYCLE_SHOWN_MAX).map(name).collect();
    if cycle.len() > CYCLE_SHOWN_MAX {
        names.push(format!("({} more)", cycle.len() - CYCLE_SHOWN_MAX));
    }
    names.push(name(&cycle[0]));
    names.join(" -> ")
}
