//! Runs against tasks.

use super::{Fresh, brief, letters, mapped, tries};
use crate::auth::Caller;
use crate::layout::within;
use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query, dags, runs};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use updraft_model::{Plan, TaskIndex};

/// The tasks of a DAG's current version against its latest runs; with `run_id`, that run too, however old. `limit` may be 0: the DAG alone.
pub(super) async fn grid<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    Path(dag_id): Path<String>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let page = query.page()?;
    let view = dags::find(&api, &dag_id).await?;
    let mut dag = dags::shown(&api, &view, &dags::bad_files(&api).await?).await?;
    dag["is_favorite"] = api.engine.store.favorites(&caller.username).await?.contains(&view.summary.dag_id).into();
    dag["timezone"] = super::zone(&api, view.doc.as_ref()).await?;
    let found = api.engine.list_runs(&view.summary.dag_id, page.limit, None).await?;
    let (mut latest, more) = (found.items, found.next.is_some());
    if let Some(wanted) = query.text("run_id").filter(|id| latest.iter().all(|run| run.facts.run_id != *id)) {
        latest.push(runs::find(&api, &dag_id, wanted).await?);
    }
    // Without a current version (the file is gone), what the latest run ran is the next best.
    let current =
        view.doc.as_ref().and_then(|d| d.version.clone()).or_else(|| latest.first().map(|r| r.facts.version.clone()));
    let Some(current) = current else {
        return Ok(Fresh::new(&json!({"dag": dag, "tasks": null, "rows": [], "runs": [], "more": false}), headers));
    };
    let version = api.engine.version(&current).await?;
    let mut shown = Vec::with_capacity(latest.len());
    for one in &latest {
        let its = api.engine.version(&one.facts.version).await?;
        let mut entry = brief(one);
        entry["states"] = letters(one, &its.plan, &version.plan).into();
        entry["tries"] = tries(one, &its.plan, &version.plan).into();
        entry["mapped"] = mapped(one, &its.plan, &version.plan).into();
        entry["is_other_version"] = (one.facts.version != current).into();
        shown.push(entry);
    }
    let plan = &version.plan;
    let body = json!({"dag": dag, "tasks": tasks(plan), "rows": rows(plan), "runs": shown, "more": more});
    Ok(Fresh::new(&body, headers))
}

/// The tasks, in an order that can be run: columns, of which those that say the same of most tasks say only what differs, by index.
pub(super) fn tasks(plan: &Plan) -> Value {
    let all = &plan.dag.tasks;
    let mut operators: Vec<&str> = Vec::new();
    let mut operator = Vec::with_capacity(all.len());
    for task in all {
        let name = task.operator.rsplit('.').next().unwrap_or(&task.operator);
        operator.push(operators.iter().position(|known| *known == name).unwrap_or_else(|| {
            operators.push(name);
            operators.len() - 1
        }));
    }
    // Names that somebody gave; the others are the id, without that of the group where it begins with it.
    let label = |task: &updraft_model::Task| {
        let name = task.task_display_name.as_deref()?;
        (name != within(task.task_id.as_str(), task.group.as_deref())).then(|| name.into())
    };
    let labels: Map<String, Value> =
        all.iter().enumerate().filter_map(|(index, task)| Some((index.to_string(), label(task)?))).collect();
    let groups: Vec<&str> = plan.dag.groups.iter().map(|group| group.group_id.as_str()).collect();
    let place: BTreeMap<&str, usize> = groups.iter().enumerate().map(|(index, id)| (*id, index)).collect();
    let group = |task: &updraft_model::Task| task.group.as_deref().and_then(|id| place.get(id)).copied();
    let mapped = plan.tasks().filter(|task| plan.unit_of(*task).is_some()).map(TaskIndex::at).collect::<Vec<_>>();
    json!({
        "ids": all.iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>(),
        "labels": labels,
        "groups": groups,
        "group": if groups.is_empty() { Vec::new() } else { all.iter().map(group).collect() },
        "operators": operators,
        "operator": operator,
        "mapped": mapped,
    })
}

/// The rows: groups, and below each what is in it, by the first task of each. A task is its index, a group
/// `[id, label, depth, tasks]`. None where there are no groups: then all tasks, in their order.
pub(super) fn rows(plan: &Plan) -> Option<Vec<Value>> {
    let groups = &plan.dag.groups;
    if groups.is_empty() {
        return None;
    }
    // What is directly in a group, or in none, by the first task in it.
    let mut inside: BTreeMap<Option<&str>, BTreeMap<(usize, usize), Item<'_>>> = BTreeMap::new();
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, task) in plan.dag.tasks.iter().enumerate() {
        inside.entry(task.group.as_deref()).or_default().insert((index, usize::MAX), Item::Task(index));
        let mut around = task.group.as_deref();
        for _ in 0..=groups.len() {
            let Some(id) = around else { break };
            members.entry(id).or_default().push(index);
            around = groups.iter().find(|g| g.group_id == id).and_then(|g| g.parent.as_deref());
        }
    }
    for (order, group) in groups.iter().enumerate() {
        let Some(first) = members.get(group.group_id.as_str()).and_then(|tasks| tasks.first()) else { continue };
        let item = Item::Group(&group.group_id, group.group_display_name.as_deref());
        inside.entry(group.parent.as_deref()).or_default().insert((*first, order), item);
    }
    let mut rows = Vec::with_capacity(plan.dag.tasks.len() + groups.len());
    add(None, 0, &inside, &members, &mut rows);
    Some(rows)
}

enum Item<'p> {
    Task(usize),
    Group(&'p str, Option<&'p str>),
}

fn add<'p>(
    of: Option<&'p str>,
    depth: usize,
    inside: &BTreeMap<Option<&'p str>, BTreeMap<(usize, usize), Item<'p>>>,
    members: &BTreeMap<&str, Vec<usize>>,
    rows: &mut Vec<Value>,
) {
    for item in inside.get(&of).into_iter().flat_map(BTreeMap::values) {
        match item {
            Item::Task(index) => rows.push((*index).into()),
            Item::Group(id, name) => {
                rows.push(json!([id, name.unwrap_or_else(|| within(id, of)), depth, members.get(id)]));
                add(Some(id), depth + 1, inside, members, rows);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::{Dag, DagId, Task, TaskId};

    #[test]
    fn groups_stand_above_what_is_in_them() {
        let task = |id: &str, group: Option<&str>| Task {
            group: group.map(str::to_owned),
            ..Task::new(TaskId::trusted(id), "EmptyOperator")
        };
        let tasks = vec![task("a", None), task("g.b", Some("g")), task("c", None), task("g.in.d", Some("g.in"))];
        let mut dag = Dag::new(DagId::trusted("x"), tasks);
        let group = |value: Value| serde_json::from_value(value).unwrap();
        dag.groups = vec![
            group(json!({"group_id": "g"})),
            group(json!({"group_id": "g.in", "parent": "g"})),
            group(json!({"group_id": "empty"})),
        ];
        let expected = json!([0, ["g", "g", 0, [1, 3]], 1, ["g.in", "in", 1, [3]], 3, 2]);
        assert_eq!(json!(rows(&Plan::new(dag))), expected);
    }
}
