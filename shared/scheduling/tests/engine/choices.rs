//! Branches, short circuits, `latest_only`: what they leave out.

use crate::generate::{NOW, at, dag_of, lease, plain, run};
use updraft_model::cell::End;
use updraft_model::{
    AttemptOutcome, Cell, Choice, DagRunState, Held, OperationId, Plan, RunDoc, TaskIndex, TaskInstanceState, Token,
    TriggerRule,
};
use updraft_scheduling::step::{self, Ended, Expired};

const BRANCH: TaskIndex = TaskIndex(0);

fn branch(followed: &[&str]) -> Choice {
    Choice::Branch { followed: followed.iter().map(|id| (*id).to_owned()).collect() }
}

/// The branch runs, whatever else stands.
fn running(plan: &Plan, others: &[(u32, Cell)]) -> RunDoc {
    let mut cells = vec![Cell::None; plan.dag.tasks.len()];
    cells[0] = Cell::Running { try_number: 1, lease: lease("t", at(150)) };
    for (task, cell) in others {
        cells[*task as usize] = cell.clone();
    }
    run(DagRunState::Running, cells, 0)
}

fn held() -> Held {
    Held { task: BRANCH, try_number: 1, token: Token::trusted("t") }
}

fn ended(choice: Choice) -> Ended {
    Ended { choice: Some(choice), ..Ended::new(AttemptOutcome::Success, NOW) }
}

fn chosen(plan: &Plan, image: &RunDoc, choice: Choice) -> RunDoc {
    step::finish(plan, image, &held(), &ended(choice), NOW, None).expect("it holds its cell").image(image)
}

fn states(plan: &Plan, image: &RunDoc) -> Vec<&'static str> {
    plan.tasks().map(|task| image.task_state(task).as_str()).collect()
}

/// branch >> (a, b, c); a >> c.
fn diamond() -> Plan {
    Plan::new(dag_of(vec![plain("branch", &[]), plain("a", &[0]), plain("b", &[0]), plain("c", &[0, 1])]))
}

#[test]
fn a_branch_skips_what_is_neither_followed_nor_below_it() {
    let plan = diamond();
    let image = running(&plan, &[]);
    assert_eq!(states(&plan, &chosen(&plan, &image, branch(&["a"]))), ["success", "queued", "skipped", "none"]);
    assert_eq!(states(&plan, &chosen(&plan, &image, branch(&["b"]))), ["success", "skipped", "queued", "skipped"]);
    let none = chosen(&plan, &image, branch(&[]));
    assert_eq!(states(&plan, &none), ["success", "skipped", "skipped", "skipped"]);
    assert_eq!(none.state, DagRunState::Success);
    assert_eq!(states(&plan, &chosen(&plan, &image, Choice::LatestOnly)), ["success", "skipped", "skipped", "skipped"]);
}

#[test]
fn settling_by_the_item_does_what_the_finish_would_have_done() {
    let plan = diamond();
    let image = running(&plan, &[]);
    let cell = image.cell(BRANCH).clone();
    let expired = Expired { cell, task: BRANCH, left: Some(ended(branch(&["a"]))) };
    let settled = step::sweep(&plan, &image, &[expired], NOW).image(&image);
    let finished = chosen(&plan, &image, branch(&["a"]));
    assert_eq!((settled.cells, settled.choices), (finished.cells, finished.choices));
}

#[test]
fn a_branch_that_follows_what_is_not_there_has_failed() {
    let plan = diamond();
    let image = chosen(&plan, &running(&plan, &[]), branch(&["z"]));
    assert_eq!(image.task_state(BRANCH), TaskInstanceState::Failed);
    let said = updraft_scheduling::choices::chosen(&plan, BRANCH, 1, &branch(&["a", "z"])).expect_err("no such task");
    assert!(said.to_string().contains("`z`"), "{said}");
}

#[test]
fn a_short_circuit_skips_all_below_or_what_is_directly_below() {
    let mut always = plain("c", &[2]);
    always.trigger_rule = TriggerRule::Always;
    let mut teardown = plain("down", &[0]);
    teardown.is_teardown = true;
    teardown.trigger_rule = TriggerRule::AllDoneSetupSuccess;
    let plan = Plan::new(dag_of(vec![plain("cond", &[]), plain("a", &[0]), plain("b", &[1]), always, teardown]));
    let image = running(&plan, &[]);
    let all = chosen(&plan, &image, Choice::ShortCircuit { ignore_downstream_trigger_rules: true });
    assert_eq!(states(&plan, &all), ["success", "skipped", "skipped", "skipped", "queued"]);
    let direct = chosen(&plan, &image, Choice::ShortCircuit { ignore_downstream_trigger_rules: false });
    assert_eq!(states(&plan, &direct), ["success", "skipped", "skipped", "queued", "queued"]);
}

#[test]
fn what_runs_or_has_ended_by_itself_is_not_skipped() {
    let plan = Plan::new(dag_of((0..6).map(|i| plain(&format!("t{i}"), if i == 0 { &[] } else { &[0] })).collect()));
    let held = lease("u", at(150));
    let image = running(
        &plan,
        &[
            (1, Cell::Running { try_number: 1, lease: held }),
            (2, Cell::ended(End::Success, 1)),
            (3, Cell::ended(End::Failed, 1)),
            (4, Cell::Queued { try_number: 1 }),
            (5, Cell::ended(End::UpstreamFailed, 0)),
        ],
    );
    let after = chosen(&plan, &image, branch(&[]));
    assert_eq!(states(&plan, &after), ["success", "running", "success", "failed", "skipped", "skipped"]);
}

#[test]
fn what_was_left_out_and_is_cleared_is_left_out_again() {
    let plan = diamond();
    let image = chosen(&plan, &running(&plan, &[]), branch(&["a"]));
    let cleared = step::clear(&plan, &image, &[TaskIndex(2)], &OperationId::trusted("op"), NOW).image(&image);
    assert_eq!(cleared.task_state(TaskIndex(2)), TaskInstanceState::Skipped);
    // With the branch itself, nothing is known until it has chosen anew.
    let both = [BRANCH, TaskIndex(2)];
    let cleared = step::clear(&plan, &image, &both, &OperationId::trusted("op"), NOW).image(&image);
    assert_eq!(cleared.task_state(TaskIndex(2)), TaskInstanceState::None);
    let again = step::claim(BRANCH, 2, &lease("t2", at(150))).apply(&cleared);
    let held = Held { task: BRANCH, try_number: 2, token: Token::trusted("t2") };
    let after = step::finish(&plan, &again, &held, &ended(branch(&["b"])), NOW, None).expect("it holds its cell");
    assert_eq!(after.image(&again).task_state(TaskIndex(2)), TaskInstanceState::Queued);
}

/// More skips than one write may make are all made, also where another worker, or nobody but a look, comes after the first write.
#[test]
fn skips_beyond_one_write_are_made_from_what_the_run_remembers() {
    let mut tasks = vec![plain("cond", &[])];
    tasks.extend((0..350).map(|i| plain(&format!("t{i}"), &[0])));
    tasks.push(plain("other", &[]));
    let plan = Plan::new(dag_of(tasks));
    let other = TaskIndex(351);
    let image = running(&plan, &[(351, Cell::Running { try_number: 1, lease: lease("o", at(150)) })]);
    let short = Choice::ShortCircuit { ignore_downstream_trigger_rules: true };
    let mut image = chosen(&plan, &image, short);
    assert!(image.chosen(BRANCH).is_some_and(|chosen| chosen.pending));
    let theirs = Held { task: other, try_number: 1, token: Token::trusted("o") };
    let done = Ended::new(AttemptOutcome::Success, NOW);
    image = step::finish(&plan, &image, &theirs, &done, NOW, None).expect("it holds its cell").image(&image);
    let mut looks = 0;
    while image.state == DagRunState::Running {
        let look = step::sweep(&plan, &image, &[], NOW);
        assert!(!look.is_nothing() && look.change.cells.len() <= updraft_scheduling::decide::CHANGES_MAX);
        image = look.image(&image);
        looks += 1;
        assert!(looks < 9);
    }
    assert!(image.cells.iter().all(|(task, cell)| cell.is_final()
        && (*task == BRANCH || *task == other) == (cell.state() == TaskInstanceState::Success)));
    assert!(image.chosen(BRANCH).is_some_and(|chosen| !chosen.pending));
}
