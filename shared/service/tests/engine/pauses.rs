//! DAGs that are paused while their runs are under way: as in Airflow, what is queued or runs ends, and nothing else happens until they are
//! unpaused.

use crate::limits::world;
use crate::world::{World, chain};
use std::future::Future;
use updraft_model::{AttemptOutcome, DagChange, DagId, DagRunState, RunChange, RunDoc, TaskIndex, TaskInstanceState};
use updraft_service::pools::PoolWish;
use updraft_service::runs::Leases;
use updraft_service::{Continuation, Finished, Runner, TaskRef, Work};
use updraft_task_queue::{Lane, Message, TaskQueue};

use TaskInstanceState::{None as Nothing, Queued, Scheduled, Success};

const DATE: &str = "2026-01-01T00:00:00Z";

async fn pause(world: &World, paused: bool) {
    world.engine.set_paused(&DagId::trusted("a"), paused).await.unwrap();
}

async fn states(world: &World, run: &RunDoc) -> Vec<TaskInstanceState> {
    let run = world.run(run).await;
    let version = world.engine.version(&run.facts.version).await.unwrap();
    version.plan.tasks().map(|task| run.task_state(task)).collect()
}

#[tokio::test]
async fn a_run_of_a_paused_dag_goes_no_further_until_it_is_unpaused() {
    let world = world(&[("a.yaml", chain("a", 3))]).await;
    let run = world.trigger_at("a", DATE).await;
    assert_eq!(states(&world, &run).await, [Queued, Nothing, Nothing]);
    pause(&world, true).await;
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, [Success, Nothing, Nothing], "what was queued has run, and nothing else");
    world.engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.unwrap();
    assert_eq!(states(&world, &run).await, [Success, Nothing, Nothing], "a look changes nothing");
    let why = world.engine.why_not_running(&world.run(&run).await, "t1").await.unwrap();
    assert!(why.iter().any(|reason| reason.to_string().contains("the DAG is paused")), "{why:?}");
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, [Success; 3]);
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// Its last task ends while the DAG is paused: the run ends when it is unpaused, as in Airflow.
#[tokio::test]
async fn a_run_does_not_end_while_its_dag_is_paused() {
    let world = world(&[("a.yaml", chain("a", 1))]).await;
    let run = world.trigger_at("a", DATE).await;
    pause(&world, true).await;
    world.drain(true).await;
    assert_eq!((states(&world, &run).await, world.run(&run).await.state), (vec![Success], DagRunState::Running));
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// Who told the run died before it was told of: the DAG's own look makes up for it.
#[tokio::test]
async fn a_run_that_was_not_told_is_told_by_a_look() {
    let world = world(&[("a.yaml", chain("a", 2))]).await;
    let run = world.trigger_at("a", DATE).await;
    let dag = DagId::trusted("a");
    for paused in [true, false] {
        let change = DagChange { paused: Some(paused), ..DagChange::default() };
        world.engine.store.update_dag(&dag, &change).await.unwrap();
        world.engine.look_at_dag(&dag).await.unwrap();
        assert_eq!(world.run(&run).await.paused, paused);
    }
    // The run's own look, too: a word that came late must not hold it for good.
    let change = RunChange { paused: Some(true), ..RunChange::default() };
    world.engine.store.update_run(&run.facts.incarnation, &change).await.unwrap();
    world.engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.unwrap();
    assert!(!world.run(&run).await.paused);
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// Instances of a mapped task under a limit: those that are queued run, and no other follows.
#[tokio::test]
async fn instances_wait_too() {
    let text = "
a:
  schedule: null
  tasks:
    m: {operator: BashOperator, max_active_tis_per_dagrun: 2, expand: {bash_command: ['true', 'true', 'true', 'true', 'true']}}
";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    let run = world.trigger_at("a", DATE).await;
    pause(&world, true).await;
    world.drain(true).await;
    let done = async || {
        let pages = world.engine.store.pages(&run.facts.incarnation, TaskIndex(0), 0..1).await.unwrap();
        pages.iter().flat_map(|page| page.cells.values()).filter(|cell| cell.is_final()).count()
    };
    assert_eq!(done().await, 2);
    assert!(world.engine.queue.receive(Lane::Tasks, 1, std::time::Duration::ZERO).await.unwrap().is_empty());
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!((done().await, world.run(&run).await.state), (5, DagRunState::Success));
}

/// The only slot of a pool goes to whoever can use it: not to a task that waits in front and whose DAG is paused.
#[tokio::test]
async fn who_is_paused_keeps_no_slots_from_others() {
    let pooled = |dag: &str, tasks: &[&str]| {
        let task = |id: &&str| format!("    {id}: {{operator: BashOperator, bash_command: 'true', pool: p}}\n");
        let tasks: String = tasks.iter().map(task).collect();
        format!("{dag}:\n  schedule: null\n  max_active_tasks: 8\n  tasks:\n{tasks}")
    };
    let world = world(&[("a.yaml", pooled("a", &["t0", "t1", "t2"])), ("b.yaml", pooled("b", &["x"]))]).await;
    let pool = PoolWish { name: "p".to_owned(), slots: 1, description: String::new(), include_deferred: false };
    world.engine.set_pool(&pool).await.unwrap();
    let a = world.trigger_at("a", DATE).await;
    let b = world.trigger_at("b", DATE).await;
    assert_eq!(
        (states(&world, &a).await, states(&world, &b).await),
        (vec![Queued, Scheduled, Scheduled], vec![Scheduled])
    );
    pause(&world, true).await;
    world.drain(true).await;
    assert_eq!(
        (states(&world, &a).await, states(&world, &b).await),
        (vec![Success, Scheduled, Scheduled], vec![Success])
    );
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!(states(&world, &a).await, [Success; 3]);
}

/// Pauses the DAG while the first attempt runs.
struct PausesFirst<'a>(&'a World, std::sync::Mutex<usize>);

impl Runner for PausesFirst<'_> {
    async fn run<S: Future<Output = String> + Send>(&self, _: &Work, _: S) -> Option<Finished> {
        let is_first = {
            let mut ran = self.1.lock().unwrap();
            *ran += 1;
            *ran == 1
        };
        if is_first {
            self.0.engine.set_paused(&DagId::trusted("a"), true).await.unwrap();
        }
        Some(Finished::new(AttemptOutcome::Success))
    }
}

/// A worker that goes on in place with instance after instance notices that the DAG has been paused meanwhile.
#[tokio::test]
async fn instances_in_place_notice_a_pause() {
    let items = (0..50).map(|n| format!("'echo {n}'")).collect::<Vec<_>>().join(", ");
    let text = format!(
        "a:\n  schedule: null\n  tasks:\n    m: {{operator: BashOperator, max_active_tis_per_dagrun: 1, expand: {{bash_command: [{items}]}}}}\n"
    );
    let world = world(&[("a.yaml", text)]).await;
    let run = world.trigger_at("a", DATE).await;
    world.drain(false).await;
    let runner = PausesFirst(&world, std::sync::Mutex::new(0));
    let received = world.engine.queue.receive(Lane::Tasks, 1, std::time::Duration::ZERO).await.unwrap();
    let Some(Message::Task { incarnation, task, try_number, place, .. }) =
        received.into_iter().find_map(|delivery| delivery.message)
    else {
        panic!("an instance is queued")
    };
    let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
    world.engine.work(&task, &runner, None, || Some(Continuation::default())).await.unwrap();
    let ran = *runner.1.lock().unwrap();
    assert!(ran <= 2, "{ran} instances ran: one may follow on what was read before the pause");
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// Asks people, who have no time to answer.
struct Asks;

impl Runner for Asks {
    async fn run<S: Future<Output = String> + Send>(&self, _: &Work, _: S) -> Option<Finished> {
        let now = jiff::Timestamp::now();
        let detail = serde_json::json!({ "subject": "go on?", "options": ["OK"], "created_at": now });
        let hitl = Some(serde_json::from_value(detail).unwrap());
        let until = now.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
        Some(Finished { hitl, ..Finished::new(AttemptOutcome::AwaitingInput { until }) })
    }
}

/// No question is over while the DAG is paused: people may still answer it.
#[tokio::test]
async fn questions_do_not_time_out_under_a_pause() {
    let world = world(&[("a.yaml", chain("a", 1))]).await;
    let run = world.trigger_at("a", DATE).await;
    let task = TaskRef {
        incarnation: run.facts.incarnation.clone(),
        task: TaskIndex(0),
        try_number: 1,
        place: None,
        queued_at: None,
    };
    world.engine.work(&task, &Asks, None, || None).await.unwrap();
    pause(&world, true).await;
    world.engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.unwrap();
    assert_eq!(states(&world, &run).await, [TaskInstanceState::AwaitingInput]);
    pause(&world, false).await;
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, [TaskInstanceState::Failed]);
}

/// A run that came to be while others were told finds out by its first look; it is not told for good by somebody who was late.
#[tokio::test]
async fn a_run_that_nobody_tells_asks_itself() {
    let world = world(&[("a.yaml", chain("a", 2))]).await;
    let run = world.trigger_at("a", DATE).await;
    for paused in [true, false] {
        let change = DagChange { paused: Some(paused), ..DagChange::default() };
        world.engine.store.update_dag(&DagId::trusted("a"), &change).await.unwrap();
        world.engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.unwrap();
        assert_eq!(world.run(&run).await.paused, paused);
        let again = RunChange { looks: Some(0), ..RunChange::default() };
        world.engine.store.update_run(&run.facts.incarnation, &again).await.unwrap();
    }
}

/// Nothing lists a run of a backfill that was cancelled: each of its looks asks, also one after which looks are rare.
#[tokio::test]
async fn a_run_of_a_backfill_asks_at_each_look() {
    let world = world(&[("a.yaml", chain("a", 2))]).await;
    let mut run = world.trigger_at("a", DATE).await;
    run.facts.incarnation = updraft_model::Incarnation::trusted("backfilled");
    run.facts.origin.backfill = Some(updraft_model::BackfillId::trusted("1"));
    run.looks = 3;
    world.engine.store.put_run(&run).await.unwrap();
    let change = DagChange { paused: Some(true), ..DagChange::default() };
    world.engine.store.update_dag(&DagId::trusted("a"), &change).await.unwrap();
    world.engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.unwrap();
    assert!(world.run(&run).await.paused);
}

/// Who unpaused a run died before its pages were told: its next look tells them.
#[tokio::test]
async fn pages_are_told_by_the_look_after_a_pause() {
    let text = "
a:
  schedule: null
  tasks:
    m: {operator: BashOperator, max_active_tis_per_dagrun: 2, expand: {bash_command: ['true', 'true', 'true']}}
";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    let run = world.trigger_at("a", DATE).await;
    pause(&world, true).await;
    world.drain(true).await;
    let unpaused = DagChange { paused: Some(false), ..DagChange::default() };
    world.engine.store.update_dag(&DagId::trusted("a"), &unpaused).await.unwrap();
    let told = updraft_scheduling::step::pause(&world.run(&run).await, false, jiff::Timestamp::now()).unwrap();
    world.engine.store.update_run(&run.facts.incarnation, &told).await.unwrap();
    world.engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.unwrap();
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
}

/// A look that still saw the pause, and puts the next one off, is not to land between the run's being read and its being told.
#[tokio::test]
async fn who_unpauses_asks_that_no_later_look_was_planned() {
    let world = world(&[("a.yaml", chain("a", 1))]).await;
    let run = world.trigger_at("a", DATE).await;
    pause(&world, true).await;
    let incarnation = &run.facts.incarnation;
    let now = jiff::Timestamp::now();
    let due = RunChange { wake_at: Some(Some(now)), ..RunChange::default() };
    world.engine.store.update_run(incarnation, &due).await.unwrap();
    let told = updraft_scheduling::step::pause(&world.run(&run).await, false, now).unwrap();
    let later =
        RunChange { wake_at: Some(now.checked_add(jiff::SignedDuration::from_mins(15)).ok()), ..RunChange::default() };
    world.engine.store.update_run(incarnation, &later).await.unwrap();
    let outcome = world.engine.store.update_run(incarnation, &told).await.unwrap();
    assert!(matches!(outcome, updraft_metastore::Outcome::Refused(_)), "{outcome:?}");
}
