//! The drawing of a DAG: tasks and groups as boxes, dependencies as arrows. A group that is open is a box around its own drawing; one that
//! is folded is a box like a task's. Worked out once for each version and set of folded groups.

mod layered;

use layered::{Layered, layered};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use updraft_model::{Plan, TaskIndex, VersionId};

/// The height of a task's box, and of a folded group's.
const BOX_HEIGHT: f64 = 46.0;
/// The space between an open group's frame and what is in it.
const PADDING: f64 = 16.0;
/// The height of an open group's name.
const HEADER: f64 = 28.0;
/// How many drawings are kept.
const KEPT_MAX: usize = 64;
/// More boxes than this are not drawn: nobody could read it.
const BOXES_MAX: usize = 3000;

type Key = (VersionId, BTreeSet<String>, bool);

static KEPT: Mutex<BTreeMap<Key, Arc<Value>>> = Mutex::new(BTreeMap::new());

/// The drawing of a version, with these groups folded, from left to right or from the top down.
pub(crate) fn drawing(version: &VersionId, plan: &Plan, folded: &BTreeSet<String>, down: bool) -> Arc<Value> {
    let known = plan.dag.groups.iter().map(|group| &group.group_id).filter(|id| folded.contains(*id)).cloned();
    let key = (version.clone(), known.collect::<BTreeSet<String>>(), down);
    let kept = |kept: &BTreeMap<Key, Arc<Value>>| kept.get(&key).cloned();
    if let Some(drawing) = kept(&KEPT.lock().unwrap_or_else(PoisonError::into_inner)) {
        return drawing;
    }
    let drawing = Arc::new(Drawer::new(plan, &key.1, down).draw());
    let mut all = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if all.len() >= KEPT_MAX {
        // Any will do: it is worked out again when needed.
        all.pop_first();
    }
    all.insert(key, drawing.clone());
    drawing
}

/// Groups and tasks as one tree: tasks by their index, then groups.
struct Drawer<'p> {
    plan: &'p Plan,
    down: bool,
    parent: Vec<Option<usize>>,
    folded: Vec<bool>,
    /// The tasks of each group, those of groups inside included.
    members: Vec<BTreeSet<usize>>,
    /// The outermost folded group around a node; itself where there is none.
    shown_as: Vec<usize>,
    sizes: Vec<(f64, f64)>,
    at: Vec<(f64, f64)>,
    arrows: Vec<Value>,
}

impl<'p> Drawer<'p> {
    fn new(plan: &'p Plan, folded: &BTreeSet<String>, down: bool) -> Self {
        let (tasks, groups) = (plan.dag.tasks.len(), &plan.dag.groups);
        let by_id: BTreeMap<&str, usize> =
            groups.iter().enumerate().map(|(i, g)| (g.group_id.as_str(), tasks + i)).collect();
        let find = |id: Option<&str>| id.and_then(|id| by_id.get(id).copied());
        let parents = plan.dag.tasks.iter().map(|task| find(task.group.as_deref()));
        let parent: Vec<Option<usize>> = parents.chain(groups.iter().map(|g| find(g.parent.as_deref()))).collect();
        let mut members = vec![BTreeSet::new(); groups.len()];
        for task in 0..tasks {
            for group in above(&parent, task) {
                members[group - tasks].insert(task);
            }
        }
        let is_folded: Vec<bool> = groups.iter().map(|g| folded.contains(&g.group_id)).collect();
        let shown_as = (0..parent.len())
            .map(|node| {
                let around = above(&parent, node).into_iter().chain([node]).filter(|n| *n >= tasks);
                // The outermost comes last.
                let around: Vec<usize> = around.filter(|n| is_folded[*n - tasks]).collect();
                let outermost = around.iter().copied().min_by_key(|n| above(&parent, *n).len());
                outermost.unwrap_or(node)
            })
            .collect();
        let count = parent.len();
        Self {
            plan,
            down,
            parent,
            folded: is_folded,
            members,
            shown_as,
            sizes: vec![(0.0, 0.0); count],
            at: vec![(0.0, 0.0); count],
            arrows: Vec::new(),
        }
    }

    fn tasks(&self) -> usize {
        self.plan.dag.tasks.len()
    }

    fn is_open(&self, node: usize) -> bool {
        node >= self.tasks() && !self.folded[node - self.tasks()]
    }

    fn draw(mut self) -> Value {
        let shown = (0..self.parent.len()).filter(|node| self.shown_as[*node] == *node).count();
        if shown > BOXES_MAX {
            return json!({"nodes": [], "edges": [], "width": 0, "height": 0, "too_many": shown});
        }
        let between = self.between();
        let mut routes = Routes::new();
        let (width, height) = self.lay_out(None, &between, &mut routes);
        // From places inside the frame to places in the whole: frames before what they hold.
        let mut nodes: Vec<usize> = (0..self.parent.len()).filter(|n| self.shown_as[*n] == *n).collect();
        nodes.sort_by_key(|node| (above(&self.parent, *node).len(), *node));
        for node in &nodes {
            if let Some(frame) = self.parent[*node] {
                self.at[*node].0 += self.at[frame].0;
                self.at[*node].1 += self.at[frame].1;
            }
        }
        for ((from, to), (frame, bends)) in routes {
            let (dx, dy) = frame.map_or((0.0, 0.0), |frame| self.at[frame]);
            let bends: Vec<(f64, f64)> = bends.into_iter().map(|(x, y)| (x + dx, y + dy)).collect();
            self.arrow(from, to, &between[&frame][&(from, to)], &bends);
        }
        let shown: Vec<Value> = nodes.iter().map(|node| self.node(*node)).collect();
        json!({"nodes": shown, "edges": self.arrows, "width": width.ceil(), "height": height.ceil(), "down": self.down})
    }

    /// By frame, then by pair of boxes in it: the dependencies of tasks between them.
    fn between(&self) -> BTreeMap<Option<usize>, Pairs> {
        let mut between: BTreeMap<Option<usize>, Pairs> = BTreeMap::new();
        for task in self.plan.tasks() {
            let to = task.at();
            for up in self.plan.upstream(task) {
                let from = up.at();
                let (a, b) = (self.shown_as[from], self.shown_as[to]);
                if a == b {
                    continue;
                }
                let (over_a, over_b) = (self.line(a), self.line(b));
                let common = over_a.iter().zip(&over_b).take_while(|(x, y)| x == y).count();
                let frame = common.checked_sub(1).map(|last| over_a[last]);
                between.entry(frame).or_default().entry((over_a[common], over_b[common])).or_default().push((from, to));
            }
        }
        between
    }

    /// A node and all around it, the outermost first.
    fn line(&self, node: usize) -> Vec<usize> {
        let mut line = above(&self.parent, node);
        line.reverse();
        line.push(node);
        line
    }

    /// Lays out what is in a frame, what is inside first. Returns the size of the contents.
    fn lay_out(
        &mut self,
        frame: Option<usize>,
        between: &BTreeMap<Option<usize>, Pairs>,
        routes: &mut Routes,
    ) -> (f64, f64) {
        let first = |node: &usize| match node.checked_sub(self.tasks()) {
            Some(group) => self.members[group].first().copied().unwrap_or(usize::MAX),
            None => *node,
        };
        let mut inside: Vec<usize> = (0..self.parent.len()).filter(|node| self.parent[*node] == frame).collect();
        inside.sort_by_key(first);
        for node in &inside {
            self.sizes[*node] = if self.is_open(*node) {
                let (width, height) = self.lay_out(Some(*node), between, routes);
                let name = label_width(self.label(*node)) + 40.0;
                (width.max(name) + 2.0 * PADDING, height + HEADER + 2.0 * PADDING)
            } else {
                ((label_width(self.label(*node)) + 58.0).clamp(124.0, 420.0), BOX_HEIGHT)
            };
        }
        let index: BTreeMap<usize, usize> = inside.iter().enumerate().map(|(i, node)| (*node, i)).collect();
        let sizes: Vec<(f64, f64)> = inside.iter().map(|node| self.sizes[*node]).collect();
        let pairs: Vec<(usize, usize)> = between.get(&frame).into_iter().flat_map(|p| p.keys().copied()).collect();
        let arrows: Vec<(usize, usize)> = pairs.iter().map(|(a, b)| (index[a], index[b])).collect();
        let layout = if self.down { downwards(&sizes, &arrows) } else { layered(&sizes, &arrows) };
        let (left, top) = if frame.is_some() { (PADDING, PADDING + HEADER) } else { (0.0, 0.0) };
        for (node, (x, y)) in inside.iter().zip(&layout.at) {
            self.at[*node] = (x + left, y + top);
        }
        for (pair, bends) in pairs.into_iter().zip(layout.bends) {
            let bends = bends.into_iter().map(|(x, y)| (x + left, y + top)).collect();
            routes.insert(pair, (frame, bends));
        }
        layout.size
    }

    /// The arrows between two boxes. At an open group they end at its frame where all of its first, or last, tasks are meant, else at the
    /// tasks themselves.
    fn arrow(&mut self, from: usize, to: usize, dependencies: &[(usize, usize)], bends: &[(f64, f64)]) {
        let sources: BTreeSet<usize> = dependencies.iter().map(|(from, _)| *from).collect();
        let targets: BTreeSet<usize> = dependencies.iter().map(|(_, to)| *to).collect();
        let whole_from = self.is_open(from) && self.edge_of(from, |t| self.plan.downstream(t)) == sources;
        let whole_to = self.is_open(to) && self.edge_of(to, |t| self.plan.upstream(t)) == targets;
        let ends: BTreeSet<(usize, usize)> = dependencies
            .iter()
            .map(|(a, b)| {
                let a = if whole_from || !self.is_open(from) { from } else { self.shown_as[*a] };
                let b = if whole_to || !self.is_open(to) { to } else { self.shown_as[*b] };
                (a, b)
            })
            .collect();
        for (a, b) in ends {
            let mut points = vec![self.port(a, 1.0)];
            points.extend_from_slice(bends);
            points.push(self.port(b, 0.0));
            let points: Vec<f64> = points.into_iter().flat_map(|(x, y)| [round(x), round(y)]).collect();
            self.arrows.push(json!({"from": self.id(a), "to": self.id(b), "points": points}));
        }
    }

    /// The tasks of a group without such neighbours inside it.
    fn edge_of<'a>(&self, group: usize, near: impl Fn(TaskIndex) -> &'a [TaskIndex]) -> BTreeSet<usize> {
        let members = &self.members[group - self.tasks()];
        let is_at_edge = |task: &&usize| !near(TaskIndex(**task as u32)).iter().any(|n| members.contains(&n.at()));
        members.iter().filter(is_at_edge).copied().collect()
    }

    fn port(&self, node: usize, side: f64) -> (f64, f64) {
        let ((x, y), (width, height)) = (self.at[node], self.sizes[node]);
        if self.down { (x + width / 2.0, y + height * side) } else { (x + width * side, y + height / 2.0) }
    }

    fn id(&self, node: usize) -> &'p str {
        match node.checked_sub(self.tasks()) {
            Some(group) => &self.plan.dag.groups[group].group_id,
            None => self.plan.dag.tasks[node].task_id.as_str(),
        }
    }

    fn label(&self, node: usize) -> &'p str {
        let (name, id) = match node.checked_sub(self.tasks()) {
            Some(group) => (&self.plan.dag.groups[group].group_display_name, self.id(node)),
            None => (&self.plan.dag.tasks[node].task_display_name, self.id(node)),
        };
        name.as_deref().unwrap_or_else(|| within(id, self.parent[node].map(|group| self.id(group))))
    }

    fn node(&self, node: usize) -> Value {
        let ((x, y), (width, height)) = (self.at[node], self.sizes[node]);
        let mut shown = json!({
            "id": self.id(node),
            "label": self.label(node),
            "parent": self.parent[node].map(|group| self.id(group)),
            "x": round(x), "y": round(y), "w": round(width), "h": round(height),
        });
        let more = if let Some(group) = node.checked_sub(self.tasks()) {
            let of = &self.plan.dag.groups[group];
            json!({"kind": "group", "folded": self.folded[group], "tasks": self.members[group], "tooltip": of.tooltip})
        } else {
            let task = &self.plan.dag.tasks[node];
            json!({
                "kind": "task",
                "task": node,
                "operator": task.operator.rsplit('.').next().unwrap_or(&task.operator),
                "mapped": task.mapping.is_some(),
                "setup": task.is_setup,
                "teardown": task.is_teardown,
                "trigger_rule": task.trigger_rule,
            })
        };
        if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
            shown.extend(more);
        }
        shown
    }
}

/// The bends of the arrow between two boxes, and the frame that both are in.
type Routes = BTreeMap<(usize, usize), (Option<usize>, Vec<(f64, f64)>)>;

/// Dependencies of tasks by the pair of boxes that they are between.
type Pairs = BTreeMap<(usize, usize), Vec<(usize, usize)>>;

/// The same from the top down: laid out on its side, then turned.
fn downwards(sizes: &[(f64, f64)], arrows: &[(usize, usize)]) -> Layered {
    let turn = |(a, b): (f64, f64)| (b, a);
    let turned: Vec<(f64, f64)> = sizes.iter().copied().map(turn).collect();
    let Layered { at, bends, size } = layered(&turned, arrows);
    let bends = bends.into_iter().map(|way| way.into_iter().map(turn).collect()).collect();
    Layered { at: at.into_iter().map(turn).collect(), bends, size: turn(size) }
}

/// All groups around a node, the innermost first.
fn above(parent: &[Option<usize>], node: usize) -> Vec<usize> {
    let mut around = Vec::new();
    let mut at = parent[node];
    // A chain of parents is no longer than there are nodes.
    while let Some(group) = at.filter(|_| around.len() <= parent.len()) {
        around.push(group);
        at = parent[group];
    }
    around
}

/// An id without its group's prefix.
pub(crate) fn within<'a>(id: &'a str, group: Option<&str>) -> &'a str {
    group.and_then(|g| id.strip_prefix(g)).and_then(|rest| rest.strip_prefix('.')).unwrap_or(id)
}

/// About how wide a text is, at 13 px.
fn label_width(text: &str) -> f64 {
    text.chars().map(|c| if c.is_ascii() { 7.3 } else { 12.0 }).sum()
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::dag_parts::TaskGroup;
    use updraft_model::{Dag, DagId, Task, TaskId};

    fn group(id: &str, parent: Option<&str>) -> TaskGroup {
        serde_json::from_value(json!({"group_id": id, "parent": parent})).unwrap()
    }

    /// `a` -> (`g.b` -> `g.in.c`, `g.d`) -> `e`, and `a` -> `g.in.c` by itself.
    fn plan() -> Plan {
        let task = |id: &str, group: Option<&str>, upstream: &[u32]| Task {
            group: group.map(str::to_owned),
            upstream: upstream.iter().map(|i| TaskIndex(*i)).collect(),
            ..Task::new(TaskId::trusted(id), "EmptyOperator")
        };
        let tasks = vec![
            task("a", None, &[]),
            task("g.b", Some("g"), &[0]),
            task("g.d", Some("g"), &[0]),
            task("g.in.c", Some("g.in"), &[0, 1]),
            task("e", None, &[2, 3]),
        ];
        let mut dag = Dag::new(DagId::trusted("x"), tasks);
        dag.groups = vec![group("g", None), group("g.in", Some("g"))];
        Plan::new(dag)
    }

    fn drawn(folded: &[&str]) -> Value {
        Drawer::new(&plan(), &folded.iter().map(|id| (*id).to_owned()).collect(), false).draw()
    }

    fn ids<'v>(drawing: &'v Value, of: &str, name: &str) -> Vec<&'v str> {
        drawing[of].as_array().unwrap().iter().map(|one| one[name].as_str().unwrap()).collect()
    }

    fn edges(drawing: &Value) -> BTreeSet<String> {
        let edges = drawing["edges"].as_array().unwrap();
        edges.iter().map(|e| format!("{}>{}", e["from"].as_str().unwrap(), e["to"].as_str().unwrap())).collect()
    }

    #[test]
    fn groups_are_frames_or_boxes() {
        let open = drawn(&[]);
        assert_eq!(ids(&open, "nodes", "id"), ["a", "e", "g", "g.b", "g.d", "g.in", "g.in.c"]);
        assert_eq!(ids(&open, "nodes", "label"), ["a", "e", "g", "b", "d", "in", "c"]);
        // All last tasks of `g` lead to `e`: one arrow from the frame. `a` leads to a task that is not among its first.
        let of_open = ["a>g.b", "a>g.d", "a>g.in.c", "g.b>g.in", "g>e"];
        assert_eq!(edges(&open), of_open.map(str::to_owned).into());
        let folded = drawn(&["g"]);
        assert_eq!(ids(&folded, "nodes", "id"), ["a", "e", "g"]);
        assert_eq!(edges(&folded), ["a>g", "g>e"].map(str::to_owned).into());
        assert_eq!(folded["nodes"][2]["tasks"], json!([1, 2, 3]));
        assert_eq!(drawn(&["g", "g.in"]), folded);
    }

    #[test]
    fn what_is_in_a_group_lies_within_its_frame() {
        let open = drawn(&[]);
        let find = |id: &str| open["nodes"].as_array().unwrap().iter().find(|n| n["id"] == id).unwrap().clone();
        let side = |node: &Value, name: &str| node[name].as_f64().unwrap();
        for (inner, outer) in [("g.b", "g"), ("g.d", "g"), ("g.in", "g"), ("g.in.c", "g.in")] {
            let (inner, outer) = (find(inner), find(outer));
            for (at, size) in [("x", "w"), ("y", "h")] {
                assert!(side(&inner, at) > side(&outer, at), "{inner} {outer}");
                let (end, limit) = (side(&inner, at) + side(&inner, size), side(&outer, at) + side(&outer, size));
                assert!(end < limit, "{inner} {outer}");
            }
        }
    }

    #[test]
    fn turned_down_it_is_the_same_drawing() {
        let down = Drawer::new(&plan(), &BTreeSet::new(), true).draw();
        assert_eq!(edges(&down), edges(&drawn(&[])));
        let y = |id: &str| {
            let node = down["nodes"].as_array().unwrap().iter().find(|n| n["id"] == id).unwrap().clone();
            (node["y"].as_f64().unwrap(), node["h"].as_f64().unwrap())
        };
        let chain = ["a", "g", "e"].map(y);
        assert!(chain.windows(2).all(|pair| pair[0].0 + pair[0].1 < pair[1].0), "{chain:?}");
    }

    #[test]
    fn a_drawing_is_kept_by_version_and_folded_groups() {
        let (plan, id) = (plan(), VersionId::trusted("kept"));
        let first = drawing(&id, &plan, &BTreeSet::new(), false);
        assert!(Arc::ptr_eq(&first, &drawing(&id, &plan, &BTreeSet::from(["nothing".to_owned()]), false)));
        assert!(!Arc::ptr_eq(&first, &drawing(&id, &plan, &BTreeSet::from(["g".to_owned()]), false)));
    }
}
