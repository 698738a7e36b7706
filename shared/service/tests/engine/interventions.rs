//! Clearing and marking over several runs, ends by hand, notes: over ports in memory.

use crate::limits::{past, world};
use updraft_metastore::{Noted, Outcome};
use updraft_model::cell::End;
use updraft_model::{
    Act, Cell, DagId, DagRunState, Intent, Intervention, Lease, OperationId, RunChange, RunDoc, RunIntent, TaskIndex,
    TaskInstanceState, Token,
};
use updraft_service::interventions::{ClearTaskInstances, PatchTaskInstances, Picks, RunPatch};
use updraft_service::{Engine, Error};

const T0: TaskIndex = TaskIndex(0);

/// Two runs that have succeeded, of two tasks in a chain.
async fn two_runs() -> (crate::world::World, RunDoc, RunDoc) {
    let world = world(&[("a.yaml", past("a", "retries: 0"))]).await;
    let first = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    let second = world.trigger_at("a", "2025-01-02T00:00:00Z").await;
    world.drain(true).await;
    (world, first, second)
}

fn of_all(first: &RunDoc, second: &RunDoc) -> Intervention {
    let of = |run: &RunDoc| RunIntent {
        incarnation: run.facts.incarnation.clone(),
        intent: Intent::new(Act::Clear, [T0]),
        prevent_running_task: false,
        run_on_latest_version: false,
    };
    let runs = vec![of(first), of(second)];
    Intervention { operation: OperationId::trusted("op"), dag_id: DagId::trusted("a"), runs, done: 0 }
}

#[tokio::test]
async fn what_a_dead_maker_began_in_several_runs_is_done_once() {
    let (world, first, second) = two_runs().await;
    let operation = OperationId::trusted("op");
    // Its maker has recorded it, has cleared the first run, and died.
    let record = of_all(&first, &second);
    world.engine.store.put_intervention(record.clone(), world.engine.now()).await.unwrap();
    let only_first = Intervention { runs: record.runs[..1].to_vec(), ..record };
    world.engine.store.delete_intervention(&operation).await.unwrap();
    world.engine.store.put_intervention(only_first, world.engine.now()).await.unwrap();
    Box::pin(world.engine.look_at_intervention(&operation)).await.unwrap();
    world.engine.store.put_intervention(of_all(&first, &second), world.engine.now()).await.unwrap();
    assert_eq!(world.run(&second).await.epoch, 0);
    let epoch = world.run(&first).await.epoch;
    world.drain(true).await;
    // Whoever ticks goes on with it.
    Box::pin(world.engine.tick()).await.unwrap();
    world.drain(true).await;
    for run in [&first, &second] {
        let run = world.run(run).await;
        assert_eq!((run.epoch, run.clear_number, run.state), (epoch, 1, DagRunState::Success));
        assert_eq!(run.cell(T0).try_number(), 2);
    }
    assert_eq!(world.engine.store.intervention(&operation).await.unwrap(), None);
}

#[tokio::test]
async fn clearing_the_past_clears_the_runs_before() {
    let (world, first, second) = two_runs().await;
    let dag_id = DagId::trusted("a");
    let request = |past, future| ClearTaskInstances {
        run_id: Some(second.facts.run_id.clone()),
        include_past: past,
        include_future: future,
        picks: Picks::of(["t1"]),
        note: Some("again".to_owned()),
        ..ClearTaskInstances::default()
    };
    let runs = |affected: Vec<updraft_service::interventions::Affected>| -> Vec<String> {
        affected.into_iter().map(|a| a.run_id).collect()
    };
    let later = world.engine.clear_task_instances(&dag_id, &request(false, true), true).await.unwrap();
    assert_eq!(runs(later), [second.facts.run_id.as_str()]);
    let both = Box::pin(world.engine.clear_task_instances(&dag_id, &request(true, false), false)).await.unwrap();
    assert_eq!(runs(both), [second.facts.run_id.as_str(), first.facts.run_id.as_str()]);
    for run in [&first, &second] {
        assert_eq!(world.run(run).await.state, DagRunState::Queued);
        let notes = world.engine.store.notes(&run.facts.incarnation).await.unwrap();
        assert_eq!(notes[&Noted::Task(TaskIndex(1), None)].content, "again");
    }
}

/// Makes the first task of a run one that runs.
async fn hold<I: updraft_metastore::Items, Q: updraft_task_queue::TaskQueue, C: updraft_clock::Clock>(
    engine: &Engine<I, Q, C>,
    run: &RunDoc,
) {
    let until = engine.now() + jiff::SignedDuration::from_hours(1);
    let until = jiff::Timestamp::from_millisecond(until.as_millisecond()).unwrap();
    let lease = Lease { token: Token::trusted("holding0"), until, since: until };
    let change = RunChange {
        state: Some(DagRunState::Running),
        cells: vec![(T0, Cell::Running { try_number: 3, lease })],
        ..RunChange::default()
    };
    assert!(matches!(engine.store.update_run(&run.facts.incarnation, &change).await.unwrap(), Outcome::Updated(_)));
}

#[tokio::test]
async fn what_runs_is_not_cleared_where_that_is_to_be_prevented() {
    let (world, first, second) = two_runs().await;
    hold(&world.engine, &second).await;
    let before = world.run(&first).await;
    let request = ClearTaskInstances { prevent_running_task: true, ..ClearTaskInstances::default() };
    let dag_id = DagId::trusted("a");
    let refused = Box::pin(world.engine.clear_task_instances(&dag_id, &request, false)).await.unwrap_err();
    let Error::Conflict(said) = refused else { panic!("{refused:?}") };
    assert!(said.contains("`t0` of the run `at_2025-01-02T00:00:00Z` is running"), "{said}");
    assert_eq!(world.run(&first).await, before, "nothing was cleared");
    let request = ClearTaskInstances::default();
    Box::pin(world.engine.clear_task_instances(&dag_id, &request, false)).await.unwrap();
    assert_eq!(world.run(&second).await.task_state(T0), TaskInstanceState::Restarting);
}

#[tokio::test]
async fn marking_lets_what_had_failed_below_run_again() {
    let (world, _, run) = two_runs().await;
    let dag_id = DagId::trusted("a");
    let mark = |task: &str, end| PatchTaskInstances::new(&run.facts.run_id, Picks::of([task]), end);
    let patch =
        async |request: &PatchTaskInstances| Box::pin(world.engine.patch_task_instances(&dag_id, request, false)).await;
    patch(&mark("t1", End::Failed)).await.unwrap();
    assert_eq!(world.run(&run).await.state, DagRunState::Success, "a mark changes no run that has ended");
    let again = patch(&mark("t1", End::Failed)).await.unwrap_err();
    assert!(matches!(&again, Error::Conflict(said) if said.contains("already in the state failed")), "{again}");
    patch(&mark("t0", End::Skipped)).await.unwrap();
    let after = world.run(&run).await;
    assert_eq!((after.state, after.clear_number), (DagRunState::Queued, 1));
    assert_eq!(*after.cell(TaskIndex(1)), Cell::Cleared { try_number: 1 });
    let invalid = patch(&mark("t0", End::Removed)).await.unwrap_err();
    assert!(matches!(invalid, Error::Invalid(_)));
}

#[tokio::test]
async fn a_run_is_ended_and_queued_by_hand() {
    let (world, first, run) = two_runs().await;
    let dag_id = DagId::trusted("a");
    let run_id = &run.facts.run_id;
    let patch = |state| RunPatch { state: Some(state), note: Some("by hand".to_owned()) };
    hold(&world.engine, &run).await;
    let set = async |state| Box::pin(world.engine.patch_dag_run(&dag_id, run_id, &patch(state))).await;
    let failed = set(DagRunState::Failed).await.unwrap();
    assert_eq!(failed.state, DagRunState::Failed);
    assert_eq!(failed.task_state(T0), TaskInstanceState::Failed);
    assert!(failed.cell(T0).holder().is_some(), "its attempt has to let go");
    assert_eq!(set(DagRunState::Failed).await.unwrap().epoch, failed.epoch, "twice is once");
    let success = set(DagRunState::Success).await.unwrap();
    assert_eq!((success.state, success.task_state(T0)), (DagRunState::Success, TaskInstanceState::Failed));
    let notes = world.engine.store.notes(&run.facts.incarnation).await.unwrap();
    assert_eq!(notes[&Noted::Run].content, "by hand");
    let queued = set(DagRunState::Queued).await.unwrap();
    assert_eq!((queued.state, queued.clear_number), (DagRunState::Queued, 0));
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success, "nothing was cleared, so its leaves decide at once");
    assert!(matches!(set(DagRunState::Running).await, Err(Error::Invalid(_))));
    let long = RunPatch { state: None, note: Some("x".repeat(1001)) };
    assert!(matches!(world.engine.patch_dag_run(&dag_id, &first.facts.run_id, &long).await, Err(Error::Invalid(_))));
    // A running run that is queued gives its place back, takes it anew, and leaves nothing behind.
    hold(&world.engine, &run).await;
    let running = world.run(&run).await;
    let queued = set(DagRunState::Queued).await.unwrap();
    assert_eq!((queued.state, queued.epoch), (DagRunState::Queued, running.epoch + 1));
    world.drain(true).await;
    let after = world.run(&run).await;
    assert_eq!((after.state, after.task_state(T0)), (DagRunState::Running, TaskInstanceState::Running));
    let dag = world.engine.store.dag(&dag_id).await.unwrap().unwrap();
    assert_eq!(dag.active[&run.facts.incarnation].epoch, after.active_epoch);
}
