//! A DAG as a drawing of lines: a task a row, in an order in which it can run, and to its left the edges as lanes from above to below.
//!
//! A lane leads to one task, whatever tasks it comes from: `○` is a task, and lines join the lane of the task they lead to.

use super::show::short_name;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use updraft_model::{Plan, Task, TaskIndex, TriggerRule};

/// From how many lanes on a drawing is none any more.
const LANES_MAX: usize = 24;

/// The widest task id that others are lined up with.
const ID_WIDTH_MAX: usize = 48;

/// The rows of a DAG's tasks; none where there would be too many lanes.
pub(super) fn draw(plan: &Plan) -> Option<String> {
    let rows = Lanes::default().rows(plan)?;
    let lanes = rows.iter().map(|row| row.lanes.chars().count()).max().unwrap_or(0);
    let ids = rows.iter().filter_map(|row| row.task).map(|task| plan.task(task).task_id.as_str().chars().count());
    let width = ids.filter(|width| *width <= ID_WIDTH_MAX).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        let line = match row.task {
            Some(task) => {
                let task = plan.task(task);
                format!("{:lanes$} {:width$}  {}", row.lanes, task.task_id.as_str(), about(task))
            }
            None => row.lanes,
        };
        let _ = writeln!(out, "{}", line.trim_end());
    }
    Some(out)
}

/// What is worth knowing of a task at one look.
pub(super) fn about(task: &Task) -> String {
    let mut out = short_name(&task.operator).to_owned();
    if task.mapping.is_some() {
        out.push_str(" [mapped]");
    }
    if task.trigger_rule != TriggerRule::AllSuccess {
        let _ = write!(out, ", {}", task.trigger_rule);
    }
    if task.is_setup {
        out.push_str(", setup");
    }
    if task.is_teardown {
        out.push_str(", teardown");
    }
    if let Some(group) = &task.group {
        let _ = write!(out, ", in {group}");
    }
    out
}

/// A line of the drawing.
struct Row {
    lanes: String,
    task: Option<TaskIndex>,
}

/// The lanes that are open: each leads to a task below.
#[derive(Default)]
struct Lanes(Vec<Option<TaskIndex>>);

impl Lanes {
    fn rows(mut self, plan: &Plan) -> Option<Vec<Row>> {
        let mut rows = Vec::new();
        let mut waits: Vec<usize> = plan.tasks().map(|task| plan.upstream(task).len()).collect();
        let mut ready: BTreeSet<TaskIndex> = plan.tasks().filter(|task| plan.upstream(*task).is_empty()).collect();
        while let Some(task) = self.next(&ready) {
            ready.remove(&task);
            let column = self.column(task);
            rows.push(Row { lanes: self.picture(|at| (at == column).then_some('○')), task: Some(task) });
            self.0[column] = None;
            rows.extend(self.branch(column, plan.downstream(task)));
            while self.0.last() == Some(&None) {
                self.0.pop();
            }
            if self.0.len() > LANES_MAX {
                return None;
            }
            for downstream in plan.downstream(task) {
                let left = &mut waits[downstream.0 as usize];
                *left -= 1;
                if *left == 0 {
                    ready.insert(*downstream);
                }
            }
        }
        Some(rows)
    }

    /// The task to draw next: where a lane leads, the leftmost; else the first in the file.
    fn next(&self, ready: &BTreeSet<TaskIndex>) -> Option<TaskIndex> {
        let by_lane = self.0.iter().flatten().find(|task| ready.contains(task));
        by_lane.or_else(|| ready.first()).copied()
    }

    /// The lane of a task, a new one if none leads to it.
    fn column(&mut self, task: TaskIndex) -> usize {
        self.0.iter().position(|lane| *lane == Some(task)).unwrap_or_else(|| self.open(task, None))
    }

    /// Opens a lane: at this place if it is free, else at the first that is.
    fn open(&mut self, task: TaskIndex, at: Option<usize>) -> usize {
        let free = at.filter(|at| self.0[*at].is_none()).or_else(|| self.0.iter().position(Option::is_none));
        if let Some(free) = free {
            self.0[free] = Some(task);
            return free;
        }
        self.0.push(Some(task));
        self.0.len() - 1
    }

    /// Leads lanes from a task to those after it; the line that shows it, where the lanes do not just go on.
    fn branch(&mut self, from: usize, downstream: &[TaskIndex]) -> Option<Row> {
        let before = self.0.clone();
        let mut targets = BTreeSet::new();
        for task in downstream {
            let there = self.0.iter().position(|lane| *lane == Some(*task));
            targets.insert(there.unwrap_or_else(|| self.open(*task, Some(from))));
        }
        if targets.iter().all(|target| *target == from) {
            return None;
        }
        let (first, last) = (targets.first().copied()?.min(from), targets.last().copied()?.max(from));
        let goes_on = targets.contains(&from);
        let picture = self.picture(|at| {
            if at < first || at > last {
                return None;
            }
            // A line comes from above where the task stands or a lane was open, and goes on below where a lane is open.
            let up = at == from || before.get(at).is_some_and(Option::is_some);
            let down = if at == from { goes_on } else { self.0[at].is_some() };
            let is_end = at == from || targets.contains(&at);
            Some(match (up, down, at > first, at < last, is_end) {
                (true, true, true, true, true) => '┼',
                (true, true, true, true, false) => '│',
                (true, true, true, false, _) => '┤',
                (true, true, false, _, _) => '├',
                (true, false, true, true, _) => '┴',
                (true, false, true, false, _) => '┘',
                (true, false, false, _, _) => '└',
                (false, true, true, true, _) => '┬',
                (false, true, true, false, _) => '┐',
                (false, true, false, _, _) => '┌',
                (false, false, ..) => '─',
            })
        });
        Some(Row { lanes: joined(&picture, first, last), task: None })
    }

    /// The lanes as they are, a sign and a blank each, with other signs at some places.
    fn picture(&self, sign: impl Fn(usize) -> Option<char>) -> String {
        let mut out = String::new();
        for (at, lane) in self.0.iter().enumerate() {
            out.push(sign(at).unwrap_or(if lane.is_some() { '│' } else { ' ' }));
            out.push(' ');
        }
        out.trim_end().to_owned()
    }
}

/// A picture with the blanks between two lanes drawn as a line.
fn joined(picture: &str, first: usize, last: usize) -> String {
    let between = |at: usize| at % 2 == 1 && at > 2 * first && at < 2 * last;
    picture.chars().enumerate().map(|(at, c)| if c == ' ' && between(at) { '─' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::{Dag, DagId, TaskId};

    /// A DAG of tasks `a`, `b`, ... with the upstreams of each.
    fn plan(upstreams: &[&[u32]]) -> Plan {
        let task = |(at, upstream): (usize, &&[u32])| {
            let id = char::from(b'a' + at as u8).to_string();
            let mut task = Task::new(TaskId::parse(&id).unwrap(), "x.EmptyOperator");
            task.upstream = upstream.iter().map(|at| TaskIndex(*at)).collect();
            task
        };
        Plan::new(Dag::new(DagId::parse("d").unwrap(), upstreams.iter().enumerate().map(task).collect()))
    }

    fn drawn(upstreams: &[&[u32]]) -> String {
        draw(&plan(upstreams)).unwrap().replace("  EmptyOperator", "")
    }

    #[test]
    fn a_chain_is_one_lane() {
        assert_eq!(drawn(&[&[], &[0], &[1]]), "○ a\n○ b\n○ c\n");
    }

    #[test]
    fn branches_part_and_join() {
        let diamond = "\
○   a
├─┐
○ │ b
│ ○ c
├─┘
○   d
";
        assert_eq!(drawn(&[&[], &[0], &[0], &[1, 2]]), diamond);
        let skip = "\
○   a
├─┐
○ │ b
└─┤
  ○ c
";
        assert_eq!(drawn(&[&[], &[0], &[0, 1]]), skip);
    }

    #[test]
    fn parts_that_have_nothing_to_do_with_each_other_stand_below_each_other() {
        assert_eq!(drawn(&[&[], &[], &[0], &[1]]), "○ a\n○ c\n○ b\n○ d\n");
    }

    #[test]
    fn a_line_passes_a_lane_without_joining_it() {
        // The last upstream of `e` stands to the right of the lane of `d`.
        let passed = "\
○     a
├─┬─┐
○ │ │ b
│ ○ │ c
│ │ ○ d
├─│─┘
○ │   e
└─┤
  ○   f
";
        assert_eq!(drawn(&[&[], &[0], &[0], &[0], &[1, 3], &[2, 4]]), passed);
    }

    #[test]
    fn every_task_stands_once_and_below_its_upstreams() {
        let upstreams: &[&[u32]] = &[&[], &[0], &[0], &[1, 2], &[0, 3], &[2], &[4, 5], &[]];
        let text = drawn(upstreams);
        let row = |id: u32| {
            let id = char::from(b'a' + id as u8);
            let rows: Vec<usize> =
                text.lines().enumerate().filter(|(_, l)| l.ends_with(&format!(" {id}"))).map(|(at, _)| at).collect();
            assert_eq!(rows.len(), 1, "{id}\n{text}");
            rows[0]
        };
        for (task, upstream) in upstreams.iter().enumerate() {
            for up in *upstream {
                assert!(row(*up) < row(task as u32), "{text}");
            }
        }
    }

    #[test]
    fn too_many_lanes_are_no_drawing() {
        let wide: Vec<&[u32]> = std::iter::once(&[][..]).chain(std::iter::repeat_n(&[0][..], 25)).collect();
        assert!(draw(&plan(&wide)).is_none());
        assert!(draw(&plan(&wide[..20])).is_some());
    }
}
