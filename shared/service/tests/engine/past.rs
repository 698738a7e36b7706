//! Runs behind a run that failed: their looks grow rare, and grow frequent again before what they wait for goes on.

use crate::limits::world;
use crate::world::World;
use jiff::{SignedDuration, Timestamp};
use updraft_metastore::Outcome;
use updraft_model::cell::End;
use updraft_model::{Cell, DagId, DagRunState, RunChange, RunDoc, TaskIndex};
use updraft_scheduling::attention::{LOOK_EVERY, LOOK_EVERY_MAX};
use updraft_service::runs::Leases;

/// Three days whose only task depends on the day before; the first day's has failed.
async fn stuck() -> (World, Vec<RunDoc>) {
    let text = "a:\n  schedule: '@daily'\n  start_date: 2025-03-01\n  end_date: 2025-03-03\n  catchup: true\n  tasks:\n    \
                t: {operator: BashOperator, bash_command: 'true', depends_on_past: true}\n";
    let world = world(&[("a.yaml", text.to_owned())]).await;
    world.engine.look_at_dag(&dag_id()).await.unwrap();
    let mut runs = runs(&world).await;
    assert_eq!(runs.len(), 3);
    // As an attempt that failed leaves it.
    let failed = RunChange {
        state: Some(DagRunState::Failed),
        cells: vec![(TaskIndex(0), Cell::ended(End::Failed, 1))],
        wake_at: Some(None),
        ..RunChange::default()
    };
    let first = world.engine.store.update_run(&runs[0].facts.incarnation, &failed).await.unwrap();
    assert!(matches!(first, Outcome::Updated(_)));
    for _ in 0..6 {
        for run in &runs[1..] {
            Box::pin(world.engine.look_at_run(&run.facts.incarnation, Leases::Heed)).await.unwrap();
        }
    }
    runs = self::runs(&world).await;
    (world, runs)
}

fn dag_id() -> DagId {
    DagId::trusted("a")
}

/// The earliest first.
async fn runs(world: &World) -> Vec<RunDoc> {
    let mut runs = world.engine.store.list_runs(&dag_id(), 10, None).await.unwrap().items;
    runs.reverse();
    runs
}

fn wait(run: &RunDoc) -> SignedDuration {
    run.wake_at.expect("it is in the time index").duration_since(Timestamp::now())
}

#[tokio::test]
async fn looks_at_runs_that_are_stuck_grow_rare_all_along_the_line() {
    let (_, runs) = stuck().await;
    let second = SignedDuration::from_secs(30);
    for run in &runs[1..] {
        assert!(wait(run) > LOOK_EVERY_MAX - second, "{}: {}", run.facts.run_id, wait(run));
    }
}

#[tokio::test]
async fn who_goes_on_first_has_those_behind_look_soon() {
    let (world, runs) = stuck().await;
    // No message is delivered from here on: what is to happen is in the documents.
    let marked = RunChange {
        state: Some(DagRunState::Success),
        cells: vec![(TaskIndex(0), Cell::ended(End::Success, 1))],
        ..RunChange::default()
    };
    world.engine.store.update_run(&runs[0].facts.incarnation, &marked).await.unwrap();
    Box::pin(world.engine.look_at_run(&runs[1].facts.incarnation, Leases::Heed)).await.unwrap();
    let after = self::runs(&world).await;
    assert!(matches!(after[1].cell(TaskIndex(0)), Cell::Queued { .. }), "{:?}", after[1]);
    assert!(wait(&after[2]) <= LOOK_EVERY, "{}", wait(&after[2]));
    // And stays at it while the run before goes on.
    Box::pin(world.engine.look_at_run(&runs[2].facts.incarnation, Leases::Heed)).await.unwrap();
    let after = self::runs(&world).await;
    assert!(wait(&after[2]) <= LOOK_EVERY && after[2].looks == 0, "{:?}", after[2]);
}
