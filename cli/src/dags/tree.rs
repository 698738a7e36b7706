//! A DAG as people look at it: its head, then its tasks as a drawing of lanes or, where that would be too wide, as a tree.

use super::drawing::{self, about};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use updraft_model::{Plan, TaskIndex};

/// The DAG's head and its tasks.
pub(super) fn draw(plan: &Plan) -> String {
    let mut out = head(plan);
    match drawing::draw(plan) {
        Some(drawing) => out.push_str(&drawing),
        None => tree(&mut out, plan),
    }
    out
}

/// What the DAG is, and when it runs.
fn head(plan: &Plan) -> String {
    let dag = &plan.dag;
    let mut out = format!(
        "{}  (schedule: {}, timezone: {}, file: {})\n",
        dag.dag_id,
        dag.schedule_summary(),
        dag.timezone,
        dag.file
    );
    if let Some(description) = &dag.description {
        let _ = writeln!(out, "{}", description.lines().next().unwrap_or_default());
    }
    for group in &dag.groups {
        let _ = write!(out, "group {}", group.group_id);
        if let Some(parent) = &group.parent {
            let _ = write!(out, ", in {parent}");
        }
        let tooltip = group.tooltip.lines().next().unwrap_or_default();
        let _ = if tooltip.is_empty() { writeln!(out) } else { writeln!(out, ": {tooltip}") };
    }
    out
}

/// The tasks as a tree. A task with several upstreams stands once, below the one that is farthest from the roots; the others are
/// named behind it.
fn tree(out: &mut String, plan: &Plan) {
    let children = children(plan);
    let roots = children.get(&None).map(Vec::as_slice).unwrap_or_default();
    for root in roots {
        let _ = writeln!(out, "{}", label(plan, *root, None));
        below(out, plan, &children, *root);
    }
}

type Children = BTreeMap<Option<TaskIndex>, Vec<TaskIndex>>;

/// Below which task each task stands; tasks are in a topological order, so an upstream's depth is known before it is needed.
fn children(plan: &Plan) -> Children {
    let mut depths: BTreeMap<TaskIndex, usize> = BTreeMap::new();
    let mut children = Children::new();
    for task in plan.tasks() {
        let depth_of = |upstream: &TaskIndex| depths.get(upstream).copied().unwrap_or(0);
        let parent = plan
            .upstream(task)
            .iter()
            .copied()
            .max_by_key(|upstream| (depth_of(upstream), std::cmp::Reverse(*upstream)));
        let depth = parent.map_or(0, |parent| depth_of(&parent) + 1);
        depths.insert(task, depth);
        children.entry(parent).or_default().push(task);
    }
    children
}

/// Draws what stands below a task. Without recursion: a DAG may be one long chain.
fn below(out: &mut String, plan: &Plan, children: &Children, root: TaskIndex) {
    let of = |task: TaskIndex| children.get(&Some(task)).map(Vec::as_slice).unwrap_or_default();
    // What is still to be drawn, the next last: the task, its parent, the lines to its left, whether it is the last of its siblings.
    let mut left: Vec<(TaskIndex, TaskIndex, String, bool)> = Vec::new();
    let push = |left: &mut Vec<_>, parent: TaskIndex, margin: &str| {
        for (at, child) in of(parent).iter().enumerate().rev() {
            left.push((*child, parent, margin.to_owned(), at + 1 == of(parent).len()));
        }
    };
    push(&mut left, root, "");
    while let Some((task, parent, margin, last)) = left.pop() {
        let branch = if last { "└── " } else { "├── " };
        let _ = writeln!(out, "{margin}{branch}{}", label(plan, task, Some(parent)));
        push(&mut left, task, &format!("{margin}{}", if last { "    " } else { "│   " }));
    }
}

fn label(plan: &Plan, index: TaskIndex, parent: Option<TaskIndex>) -> String {
    let task = plan.task(index);
    let mut out = format!("{} ({})", task.task_id, about(task));
    let others: Vec<&str> = plan
        .upstream(index)
        .iter()
        .filter(|upstream| Some(**upstream) != parent)
        .map(|upstream| plan.task(*upstream).task_id.as_str())
        .collect();
    if !others.is_empty() {
        let _ = write!(out, ", also after {}", others.join(", "));
    }
    out
}
