//! Decisions: complete, repeatable, and no run ends too early.

use crate::generate::{Image, NOW, at, config, dag, dag_of, image, plain, run};
use proptest::prelude::*;
use std::collections::BTreeMap;
use updraft_model::RunChange;
use updraft_model::cell::End;
use updraft_model::{Cell, DagRunState, Plan, RunDoc, Task, TaskIndex, TaskInstanceState};
use updraft_scheduling::decide::{after, decide_with};
use updraft_scheduling::trigger_rules::{Verdict, evaluate_task};
use updraft_scheduling::{Decision, decide};

const RUNNING: &[DagRunState] = &[DagRunState::Running];
const ANY: &[DagRunState] = DagRunState::ALL;

/// The image after a decision, the run still running.
fn decided(run: &RunDoc, decision: &Decision) -> RunDoc {
    let mut image = run.clone();
    for (task, (from, to)) in &decision.cells {
        assert_eq!(run.cell(*task), from, "a change names the cell it replaces");
        image.cells.insert(*task, to.clone());
    }
    image
}

/// The same DAG and image with the tasks listed in reverse.
fn reversed(plan: &Plan, run: &RunDoc) -> (Plan, RunDoc) {
    let count = plan.dag.tasks.len() as u32;
    let mirror = |task: TaskIndex| TaskIndex(count - 1 - task.0);
    let tasks = plan.dag.tasks.iter().rev().map(|task| {
        let mut upstream: Vec<TaskIndex> = task.upstream.iter().copied().map(mirror).collect();
        upstream.sort();
        Task { upstream, ..task.clone() }
    });
    let mut image = run.clone();
    image.cells = run.cells.iter().map(|(task, cell)| (mirror(*task), cell.clone())).collect();
    (Plan::new(dag_of(tasks.collect())), image)
}

fn by_task_id(plan: &Plan, decision: &Decision) -> BTreeMap<String, (Cell, Cell)> {
    decision.cells.iter().map(|(task, change)| (plan.task(*task).task_id.to_string(), change.clone())).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn deciding_on_the_result_decides_nothing_more(Image(plan, run) in image(RUNNING)) {
        let decision = decide(&plan, &run, NOW);
        let again = decide(&plan, &decided(&run, &decision), NOW);
        // A deadlock ends the run at once, also where the last look has set ends: so does Airflow.
        prop_assert!(again.is_empty() || decision.end.is_some(), "{decision:?} then {again:?}");
    }

    /// Looking only at what depends on a change finds what looking at everything finds.
    #[test]
    fn what_a_change_brings_about_is_found_around_it(
        Image(plan, run) in image(RUNNING), ends in any::<u64>(), which in any::<u8>()
    ) {
        let settled = updraft_scheduling::step::sweep(&plan, &run, &[], NOW).image(&run);
        let ended = plan.tasks().filter(|t| !settled.cell(*t).is_final() && which >> t.0 & 1 == 1);
        let end = |task: TaskIndex| [End::Success, End::Failed, End::Skipped, End::Success][(ends >> (2 * task.0) & 3) as usize];
        let cells = ended.map(|task| (task, Cell::ended(end(task), settled.cell(task).try_number()))).collect();
        let change = RunChange { cells, ..RunChange::default() };
        prop_assert_eq!(after(&plan, &settled, &change, &[], usize::MAX, NOW), decide_with(&plan, &settled, &change, usize::MAX, NOW));
    }

    #[test]
    fn the_order_of_the_tasks_does_not_matter(Image(plan, run) in image(RUNNING)) {
        let decision = decide(&plan, &run, NOW);
        let (mirrored, image) = reversed(&plan, &run);
        let other = decide(&mirrored, &image, NOW);
        prop_assert_eq!(by_task_id(&plan, &decision), by_task_id(&mirrored, &other));
        prop_assert_eq!(decision.end, other.end);
    }

    #[test]
    fn nothing_follows_unless_the_run_is_running(Image(plan, run) in image(ANY)) {
        prop_assume!(run.state != DagRunState::Running);
        prop_assert!(decide(&plan, &run, NOW).is_empty());
    }

    #[test]
    fn an_ended_cell_keeps_its_end(Image(plan, run) in image(RUNNING)) {
        for (task, (from, to)) in decide(&plan, &run, NOW).cells {
            prop_assert!(!from.is_final(), "{task}: {from:?} became {to:?}");
            let resumes = from.state().is_schedulable() || from.state() == TaskInstanceState::Deferred;
            prop_assert!(to.is_final() || resumes, "{task}: {from:?} became {to:?}");
        }
    }

    #[test]
    fn an_attempt_whose_cell_ends_by_rule_still_has_to_let_go(Image(plan, run) in image(RUNNING)) {
        for (_, (from, to)) in decide(&plan, &run, NOW).cells {
            prop_assert_eq!(from.holder(), to.holder());
        }
    }

    /// A run ends with unfinished cells only where none of them may run or is under way (a task may have been let go by what was marked or
    /// cleared since), and then the decision rests on each of them: on those it changes as well, since a change asks for the cell it replaces.
    #[test]
    fn a_run_ends_with_unfinished_cells_only_when_deadlocked(Image(plan, run) in image(RUNNING)) {
        let decision = decide(&plan, &run, NOW);
        let image = decided(&run, &decision);
        let unfinished: Vec<TaskIndex> = plan.tasks().filter(|task| !image.cell(*task).is_final()).collect();
        if decision.end.is_some() && !unfinished.is_empty() {
            prop_assert_eq!(decision.end, Some(DagRunState::Failed));
            for task in unfinished {
                prop_assert_ne!(evaluate_task(&plan, task, |t| run.task_state(t)), Verdict::Run);
                let is_under_way = !matches!(run.cell(task), Cell::None | Cell::Cleared { .. } | Cell::Final { .. });
                prop_assert!(!is_under_way, "the run is called stuck while task {task} is {:?}", run.cell(task));
                let from = run.cell(task).clone();
                let asks = decision.rests_on.iter().map(|(task, from)| (*task, from));
                let mut asks = asks.chain(decision.cells.iter().map(|(task, (from, _))| (*task, from)));
                prop_assert!(asks.any(|asked| asked == (task, &from)), "the end does not rest on task {task}");
            }
        }
    }

    #[test]
    fn a_run_whose_cells_are_all_final_ends(dag in dag(), ends in any::<u64>()) {
        let end = |i: usize| match ends >> (3 * i) & 7 {
            0 | 1 => TaskInstanceState::Failed,
            2 => TaskInstanceState::Skipped,
            3 => TaskInstanceState::UpstreamFailed,
            4 => TaskInstanceState::Removed,
            _ => TaskInstanceState::Success,
        };
        let cells = (0..dag.tasks.len()).map(|i| Cell::decode(match end(i) {
            TaskInstanceState::Failed => "f1",
            TaskInstanceState::Skipped => "x1",
            TaskInstanceState::UpstreamFailed => "u0",
            TaskInstanceState::Removed => "v1",
            _ => "s1",
        }).expect("a cell"));
        let run = run(DagRunState::Running, cells.collect(), 0);
        let plan = Plan::new(dag);
        let bad = |task: &TaskIndex| {
            matches!(run.task_state(*task), TaskInstanceState::Failed | TaskInstanceState::UpstreamFailed)
        };
        let expected = if plan.leaves().iter().any(bad) { DagRunState::Failed } else { DagRunState::Success };
        prop_assert_eq!(decide(&plan, &run, NOW).end, Some(expected));
    }
}

/// A fan-out of 350 is queued by writes of bounded size, each following from the image of the one before.
#[test]
fn a_wide_fan_out_is_decided_in_bounded_writes() {
    let tasks = std::iter::once(plain("root", &[])).chain((0..350).map(|n| plain(&format!("t{n}"), &[0]))).collect();
    let plan = Plan::new(dag_of(tasks));
    let mut cells = vec![Cell::None; 351];
    cells[0] = Cell::ended(updraft_model::cell::End::Success, 1);
    let mut run = run(DagRunState::Running, cells, 0);
    let mut writes = 0;
    loop {
        let step = updraft_scheduling::step::sweep(&plan, &run, &[], at(0));
        if step.change.cells.is_empty() {
            break;
        }
        assert!(step.change.cells.len() <= updraft_scheduling::decide::CHANGES_MAX);
        assert_eq!(step.change.state, None, "a part of a decision never ends the run");
        writes += 1;
        run = step.image(&run);
    }
    assert_eq!(writes, 4);
    assert_eq!(run.cells.values().filter(|c| matches!(c, Cell::Queued { .. })).count(), 350);
}
