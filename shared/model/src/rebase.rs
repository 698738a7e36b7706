//! A run that goes over to another version of its DAG. Its cells and attempts are known by their tasks' places, so the version it gets is
//! made for it: what both versions have stays where it was, what is gone keeps an empty place, and what is new comes at the end.

use crate::dag::{Dag, Task};
use crate::ids::{TaskIndex, VersionId};
use std::collections::BTreeMap;

/// The latest version of a DAG as a run of another one takes it up. `version`: the latest one's own id, which it stands for. Equal to
/// the latest one where every task lies where it did.
pub fn rebase(before: &Dag, latest: &Dag, version: &VersionId) -> Dag {
    let known: BTreeMap<&str, usize> = latest.tasks.iter().enumerate().map(|(i, t)| (t.task_id.as_str(), i)).collect();
    let had = |task: &Task| before.tasks.iter().any(|t| t.task_id == task.task_id);
    // Where each place comes from: the latest version, or nowhere.
    let kept = before.tasks.iter().map(|task| (known.get(task.task_id.as_str()).copied(), Some(task)));
    let new = latest.tasks.iter().enumerate().filter(|(_, task)| !had(task)).map(|(i, _)| (Some(i), None));
    let places: Vec<(Option<usize>, Option<&Task>)> = kept.chain(new).collect();
    let mut place_of = vec![TaskIndex(0); latest.tasks.len()];
    for (place, (from, _)) in places.iter().enumerate() {
        if let Some(from) = from {
            place_of[*from] = TaskIndex(place as u32);
        }
    }
    let tasks: Vec<Task> = places
        .into_iter()
        .filter_map(|(from, old)| match (from, old) {
            (Some(from), _) => {
                let task = &latest.tasks[from];
                let mut upstream: Vec<TaskIndex> = task.upstream.iter().map(|up| place_of[up.at()]).collect();
                upstream.sort();
                Some(Task { upstream, ..task.clone() })
            }
            (None, Some(old)) => Some(removed(old)),
            (None, None) => None,
        })
        .collect();
    if tasks == latest.tasks {
        return latest.clone();
    }
    Dag { tasks, stands_for: Some(version.clone()), ..latest.clone() }
}

/// What keeps the place of a task that is gone. Its limits stay, so that what it holds of them is given back; and its outlets and callbacks, so
/// that what its tries have done is told.
fn removed(task: &Task) -> Task {
    Task {
        is_removed: true,
        pool: task.pool.clone(),
        pool_slots: task.pool_slots,
        max_active_tis_per_dag: task.max_active_tis_per_dag,
        outlets: task.outlets.clone(),
        callbacks: task.callbacks.clone(),
        ..Task::new(task.task_id.clone(), task.operator.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DagId, TaskId};
    use crate::plan::Plan;
    use proptest::prelude::*;

    /// A DAG of some of six tasks, in an order, each below those before it as the bits say.
    fn dag() -> impl Strategy<Value = Dag> {
        let names = Just((0..6).collect::<Vec<u32>>()).prop_shuffle();
        (names, 0usize..7, any::<u64>()).prop_map(|(names, count, bits)| {
            let tasks = names[..count].iter().enumerate().map(|(place, name)| {
                let above = (0..place).filter(|up| bits >> (place * 6 + up) & 1 == 1);
                let upstream = above.map(|up| TaskIndex(up as u32)).collect();
                Task { upstream, ..Task::new(TaskId::trusted(format!("t{name}")), "x.BashOperator") }
            });
            Dag::new(DagId::trusted("d"), tasks.collect())
        })
    }

    /// The edges of what is not removed, by name.
    fn edges(dag: &Dag) -> Vec<(String, String)> {
        let name = |task: TaskIndex| dag.tasks[task.at()].task_id.to_string();
        let of = |task: &Task| task.upstream.iter().map(|up| (name(*up), task.task_id.to_string())).collect::<Vec<_>>();
        let mut edges: Vec<_> = dag.tasks.iter().flat_map(of).collect();
        edges.sort();
        edges
    }

    proptest! {
        #[test]
        fn what_was_stays_in_its_place_and_what_is_new_follows(dags in proptest::collection::vec(dag(), 2..4)) {
            let mut run = dags[0].clone();
            for latest in &dags[1..] {
                let rebased = rebase(&run, latest, &VersionId::trusted("v"));
                for (place, task) in run.tasks.iter().enumerate() {
                    prop_assert_eq!(&rebased.tasks[place].task_id, &task.task_id);
                    let is_there = latest.tasks.iter().any(|t| t.task_id == task.task_id);
                    prop_assert_eq!(rebased.tasks[place].is_removed, !is_there);
                }
                prop_assert_eq!(edges(&rebased), edges(latest));
                let there = rebased.tasks.iter().filter(|task| !task.is_removed).count();
                prop_assert_eq!(there, latest.tasks.len());
                let plan = Plan::new(rebased.clone());
                prop_assert!(plan.leaves().iter().all(|leaf| there == 0 || !plan.task(*leaf).is_removed));
                let mut seen = Vec::new();
                for task in plan.in_order() {
                    prop_assert!(plan.upstream(task).iter().all(|up| seen.contains(up)));
                    seen.push(task);
                }
                prop_assert_eq!(seen.len(), rebased.tasks.len());
                prop_assert_eq!(&rebase(&rebased, latest, &VersionId::trusted("v")).tasks, &rebased.tasks);
                run = rebased;
            }
        }
    }

    #[test]
    fn the_same_places_need_no_version_of_their_own() {
        let task = |id: &str| Task::new(TaskId::trusted(id), "x.BashOperator");
        let before = Dag::new(DagId::trusted("d"), vec![task("a")]);
        let changed = Task { retries: 3, ..task("a") };
        let latest = Dag::new(DagId::trusted("d"), vec![changed, task("b")]);
        assert_eq!(rebase(&before, &latest, &VersionId::trusted("v")), latest);
    }
}
