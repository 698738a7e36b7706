//! From tasks and groups that name their upstreams to tasks in topological order.

use crate::groups::Group;
use crate::reader::Cursor;
use crate::task::Draft;
use crate::yaml::compose::clip;
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::{Task, TaskIndex};

/// The most tasks of a cycle that are named in a message.
const CYCLE_SHOWN_MAX: usize = 20;

/// The most edges that dependencies between groups may amount to: each is one between every last and every first task.
const GROUP_EDGES_MAX: usize = 1_000_000;

/// A task or a group, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Task(usize),
    Group(usize),
}

/// Resolves dependencies and orders the tasks: upstreams first, and otherwise as in the file. None where a dependency is
/// unknown or there is a cycle; all of them are noted. `ids`: of all tasks by name, those among them of which no draft could be made.
pub(crate) fn order(drafts: Vec<Draft<'_>>, groups: &[Group<'_>], ids: &BTreeMap<&str, String>) -> Option<Vec<Task>> {
    let (upstream, sound) = upstreams(&drafts, groups, ids);
    let ids: Vec<String> = drafts.iter().map(|d| d.task.task_id.as_str().to_owned()).collect();
    let order = topological(&upstream);
    if order.len() < drafts.len() {
        for cycle in cycles(&upstream, &order) {
            let at = drafts[cycle[0]].cursor.clone();
            let hint = if cycle.len() == 1 { Some("remove it from its own `dependencies`".to_owned()) } else { None };
            let message = format!("tasks depend on each other in a circle: {}", shown(&cycle, &ids));
            at.key_error("cycle", message, hint);
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

/// The upstreams of each task, and whether every name was known.
fn upstreams(drafts: &[Draft<'_>], groups: &[Group<'_>], ids: &BTreeMap<&str, String>) -> (Vec<BTreeSet<usize>>, bool) {
    let mut net = Net::new(drafts, groups);
    let mut sound = true;
    // A dependency between two units: how deep the innermost group lies that holds both, who waits, for whom, and where it says so.
    let mut pairs: Vec<(usize, Unit, Unit, &Cursor<'_>)> = Vec::new();
    let of_tasks = drafts.iter().enumerate().map(|(i, d)| (Unit::Task(i), d.name, &d.dependencies));
    let of_groups = groups.iter().enumerate().map(|(i, g)| (Unit::Group(i), g.name, &g.dependencies));
    for (unit, name, dependencies) in of_tasks.chain(of_groups) {
        for (wanted, cursor) in dependencies {
            let Some(found) = net.find(wanted) else {
                sound = false;
                // It is there, and what is wrong with it has been told.
                if !ids.iter().any(|(name, id)| name == wanted || id == wanted) {
                    unknown(cursor, unit, name, wanted, &net);
                }
                continue;
            };
            if net.holds(found, unit) || (unit != found && net.holds(unit, found)) {
                sound = false;
                let what = if unit == found {
                    "itself".to_owned()
                } else {
                    format!("`{}`, which holds it or is inside of it", clip(wanted))
                };
                cursor.error("cycle", format!("`{}` depends on {what}", clip(name)), None);
                continue;
            }
            if let Unit::Group(group) = unit {
                net.before[group].push(found);
            }
            match (unit, found) {
                (Unit::Task(i), Unit::Task(j)) => net.join(i, j),
                _ => pairs.push((net.common_depth(unit, found), unit, found, cursor)),
            }
        }
    }
    // First and last tasks of a group follow from the edges inside, which lie deeper.
    pairs.sort_by_key(|(depth, ..)| std::cmp::Reverse(*depth));
    let mut edges = 0usize;
    for (_, unit, found, cursor) in pairs {
        let (firsts, lasts) = (net.ends(unit, true), net.lasts(found));
        edges = edges.saturating_add(firsts.len().saturating_mul(lasts.len()));
        if edges > GROUP_EDGES_MAX {
            let hint = "put an empty task between large groups";
            cursor.error(
                "too-large",
                format!("dependencies between groups amount to more than {GROUP_EDGES_MAX}"),
                Some(hint.into()),
            );
            sound = false;
            break;
        }
        for first in &firsts {
            for last in &lasts {
                net.join(*first, *last);
            }
        }
    }
    (net.upstream, sound)
}

fn unknown(cursor: &Cursor<'_>, unit: Unit, name: &str, wanted: &str, net: &Net<'_>) {
    const NAMES_SHOWN: usize = 5;
    let others = || net.by_name.keys().copied().filter(|n| *n != name);
    // `outer.inner.task` is a task's id; files name tasks and groups by what stands last.
    let last = wanted.rsplit('.').next().filter(|last| *last != wanted && others().any(|n| n == *last));
    let by_id = last.map(|last| format!("did you mean `{last}`? Tasks are named without the groups around them"));
    let near = || cursor.sink.did_you_mean(wanted, others());
    let hint = by_id.or_else(near).or_else(|| {
        let shown: Vec<String> = others().take(NAMES_SHOWN).map(|n| format!("`{}`", clip(n))).collect();
        let more = if others().nth(NAMES_SHOWN).is_some() { " and others" } else { "" };
        (!shown.is_empty()).then(|| format!("the DAG has {}{more}", shown.join(", ")))
    });
    let kind = if matches!(unit, Unit::Task(_)) { "task" } else { "group" };
    let message = format!("the {kind} `{}` depends on `{}`, which does not exist", clip(name), clip(wanted));
    cursor.error("unknown-dependency", message, hint);
}

/// Tasks, the groups around them, and the edges so far.
struct Net<'n> {
    by_name: BTreeMap<&'n str, Unit>,
    by_id: BTreeMap<&'n str, Unit>,
    group_of_task: Vec<Option<usize>>,
    is_setup: Vec<bool>,
    is_teardown: Vec<bool>,
    parent_of_group: Vec<Option<usize>>,
    depth_of_group: Vec<usize>,
    /// The tasks inside of each group, those of inner groups included.
    inside: Vec<Vec<usize>>,
    /// What each group depends on itself.
    before: Vec<Vec<Unit>>,
    upstream: Vec<BTreeSet<usize>>,
    downstream: Vec<BTreeSet<usize>>,
}

impl<'n> Net<'n> {
    fn new(drafts: &'n [Draft<'_>], groups: &'n [Group<'_>]) -> Self {
        let mut net = Self {
            by_name: groups.iter().enumerate().map(|(i, g)| (g.name, Unit::Group(i))).collect(),
            by_id: groups.iter().enumerate().map(|(i, g)| (g.model.group_id.as_str(), Unit::Group(i))).collect(),
            group_of_task: drafts.iter().map(|d| d.group).collect(),
            is_setup: drafts.iter().map(|d| d.task.is_setup).collect(),
            is_teardown: drafts.iter().map(|d| d.task.is_teardown).collect(),
            parent_of_group: groups.iter().map(|g| g.parent).collect(),
            depth_of_group: Vec::with_capacity(groups.len()),
            inside: vec![Vec::new(); groups.len()],
            before: vec![Vec::new(); groups.len()],
            upstream: vec![BTreeSet::new(); drafts.len()],
            downstream: vec![BTreeSet::new(); drafts.len()],
        };
        for group in groups {
            let depth = group.parent.map_or(1, |p| net.depth_of_group[p] + 1);
            net.depth_of_group.push(depth);
        }
        for (i, draft) in drafts.iter().enumerate() {
            net.by_name.insert(draft.name, Unit::Task(i));
            net.by_id.insert(draft.task.task_id.as_str(), Unit::Task(i));
            let around: Vec<usize> = net.around(draft.group).collect();
            for group in around {
                net.inside[group].push(i);
            }
        }
        net
    }

    /// By the name in the file, else by the id.
    fn find(&self, name: &str) -> Option<Unit> {
        self.by_name.get(name).or_else(|| self.by_id.get(name)).copied()
    }

    fn join(&mut self, task: usize, upstream: usize) {
        self.upstream[task].insert(upstream);
        self.downstream[upstream].insert(task);
    }

    /// A group and those around it, from the inside.
    fn around(&self, group: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(group, |g| self.parent_of_group[*g])
    }

    /// The innermost group around a unit.
    fn group_around(&self, unit: Unit) -> Option<usize> {
        match unit {
            Unit::Task(i) => self.group_of_task[i],
            Unit::Group(g) => self.parent_of_group[g],
        }
    }

    /// Whether `outer` is a group with `inner` somewhere inside, or both are the same group.
    fn holds(&self, outer: Unit, inner: Unit) -> bool {
        let Unit::Group(group) = outer else { return false };
        outer == inner || self.around(self.group_around(inner)).any(|g| g == group)
    }

    /// How deep the innermost group lies that holds both; 0 is the DAG.
    fn common_depth(&self, one: Unit, other: Unit) -> usize {
        let of_other: BTreeSet<usize> = self.around(self.group_around(other)).collect();
        let common = self.around(self.group_around(one)).find(|g| of_other.contains(g));
        common.map_or(0, |g| self.depth_of_group[g])
    }

    /// The last tasks of a unit. A group of no tasks passes on what it depends on itself.
    fn lasts(&self, unit: Unit) -> Vec<usize> {
        let mut lasts = BTreeSet::new();
        let mut open = vec![unit];
        let mut seen = BTreeSet::new();
        while let Some(unit) = open.pop() {
            match unit {
                Unit::Group(group) if self.inside[group].is_empty() => {
                    if seen.insert(group) {
                        open.extend(&self.before[group]);
                    }
                }
                unit => lasts.extend(self.ends(unit, false)),
            }
        }
        lasts.into_iter().collect()
    }

    /// A task itself; of a group the tasks without an upstream inside (`first`), or without a downstream inside. A teardown is not
    /// waited for: in its place stand the last tasks before it, as in Airflow.
    fn ends(&self, unit: Unit, first: bool) -> Vec<usize> {
        let group = match unit {
            Unit::Task(i) => return vec![i],
            Unit::Group(g) => g,
        };
        let inside = &self.inside[group];
        let neighbours = if first { &self.upstream } else { &self.downstream };
        let is_end = |task: &usize| !neighbours[*task].iter().any(|n| inside.binary_search(n).is_ok());
        let is_kept = |task: &usize| first || !self.is_teardown[*task];
        let mut ends: BTreeSet<usize> = inside.iter().copied().filter(|t| is_end(t) && is_kept(t)).collect();
        let mut open: Vec<usize> = inside.iter().copied().filter(|t| is_end(t) && !is_kept(t)).collect();
        let mut seen = BTreeSet::new();
        while let Some(teardown) = open.pop() {
            if !seen.insert(teardown) {
                continue;
            }
            for up in self.upstream[teardown].iter().filter(|up| inside.binary_search(up).is_ok()) {
                let goes_on =
                    |down: &usize| *down != teardown && inside.binary_search(down).is_ok() && !self.is_teardown[*down];
                if self.is_teardown[*up] {
                    open.push(*up);
                } else if !self.is_setup[*up] && !self.downstream[*up].iter().any(goes_on) {
                    // A setup right above its teardown is no work to wait for.
                    ends.insert(*up);
                }
            }
        }
        ends.into_iter().collect()
    }
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
