//! One run for each logical date, whoever makes it (ARCHITECTURE.md, rule G2).

use crate::limits::world;
use crate::world::World;
use jiff::Timestamp;
use updraft_metastore::{Items, Outcome};
use updraft_model::{DagId, DagRunState, DagRunType, Incarnation, RunDoc, RunFacts, RunName};
use updraft_service::backfill::NewBackfill;
use updraft_service::{Error, Trigger};

fn dag_id() -> DagId {
    DagId::trusted("a")
}

fn day(day: i8) -> Timestamp {
    format!("2025-03-{day:02}T00:00:00Z").parse().unwrap()
}

/// Of the days from the first to the fourth, with runs of type and date.
async fn daily() -> World {
    let text = "a:\n  schedule: '@daily'\n  start_date: 2025-03-01\n  end_date: 2025-03-04\n  catchup: true\n  tasks:\n    \
                t0: {operator: BashOperator, bash_command: 'true'}\n";
    world(&[("a.yaml", text.to_owned())]).await
}

async fn runs(world: &World) -> Vec<(DagRunType, Timestamp)> {
    let all = world.engine.store.list_runs(&dag_id(), 100, None).await.unwrap().items;
    let mut all: Vec<_> = all.iter().map(|run| (run.facts.run_type, run.facts.logical_date.unwrap())).collect();
    all.sort_by_key(|(_, date)| *date);
    all
}

fn backfill(from: i8, to: i8) -> NewBackfill {
    NewBackfill::new(dag_id(), day(from), day(to))
}

fn by_hand(at: i8) -> Trigger {
    let run_id = Some(format!("by_hand_{at}"));
    Trigger { dag_id: dag_id(), run_id, logical_date: Some(day(at)), conf: serde_json::Value::Null }
}

const OF_SCHEDULE: DagRunType = DagRunType::Scheduled;

/// The scheduler died between noting a run on its DAG and putting it: the run has its date all the same.
#[tokio::test]
async fn what_the_timetable_owes_has_its_date() {
    let world = daily().await;
    world.drain(false).await;
    let all = world.engine.store.list_runs(&dag_id(), 100, None).await.unwrap().items;
    assert_eq!(all.len(), 4);
    for run in &all {
        world.engine.store.delete_run_names(&run.facts).await.unwrap();
        world.engine.store.items().delete(&updraft_metastore::keys::run(&run.facts.incarnation), &[]).await.unwrap();
    }
    let refused = world.engine.trigger(by_hand(2)).await.unwrap_err();
    assert!(
        matches!(&refused, Error::Conflict(why) if why.contains("already has a run of the logical date")),
        "{refused}"
    );
    let created = Box::pin(world.engine.create_backfill(&backfill(1, 4))).await.unwrap();
    Box::pin(world.engine.look_at_backfill(&created.id)).await.unwrap();
    world.drain(true).await;
    Box::pin(world.engine.look_at_dag(&dag_id())).await.unwrap();
    world.drain(true).await;
    assert_eq!(runs(&world).await, [1, 2, 3, 4].map(|at| (OF_SCHEDULE, day(at))));
    let ended = world.engine.backfill(&created.id).await.unwrap();
    assert_eq!((ended.counts.created, ended.counts.passed_over), (0, 4));
}

/// Whoever takes a claim over makes sure that the run it was claimed for is never put.
#[tokio::test]
async fn a_claim_is_taken_over_for_good() {
    let world = daily().await;
    let late = RunName { run_id: "late".to_owned(), incarnation: Incarnation::trusted("late"), run_after: day(1) };
    world.engine.store.put_run_date(&dag_id(), day(2), &late).await.unwrap();
    world.engine.set_paused(&dag_id(), true).await.unwrap();
    let created = Box::pin(world.engine.create_backfill(&backfill(1, 4))).await.unwrap();
    world.drain(false).await;
    let there = runs(&world).await;
    assert!(there.iter().any(|(kind, date)| *date == day(2) && *kind == DagRunType::Backfill), "{there:?}");
    let one = world.engine.store.list_runs(&dag_id(), 1, None).await.unwrap().items.remove(0);
    let facts = RunFacts { incarnation: late.incarnation, run_id: late.run_id, ..one.facts };
    let put = world.engine.store.put_run(&RunDoc::new(facts, DagRunState::Queued, day(1))).await.unwrap();
    assert!(matches!(&put, Outcome::Refused(Some(there)) if there.deleted_at.is_some()), "{put:?}");
    // Cancelled: each date that was noted has its run, which failed. The timetable goes on from there.
    Box::pin(world.engine.cancel_backfill(&created.id)).await.unwrap();
    world.engine.set_paused(&dag_id(), false).await.unwrap();
    world.drain(true).await;
    let dates: Vec<Timestamp> = runs(&world).await.into_iter().map(|(_, date)| date).collect();
    assert_eq!(dates, [1, 2, 3, 4].map(day));
}

/// A run by hand for a date to come: the timetable passes that date over, with no backfill anywhere.
#[tokio::test]
async fn the_timetable_passes_over_what_was_triggered_for_a_date_of_it() {
    let world = daily().await;
    world.engine.set_paused(&dag_id(), true).await.unwrap();
    world.engine.trigger(by_hand(3)).await.unwrap();
    let again = world.engine.trigger(Trigger { run_id: Some("other".to_owned()), ..by_hand(3) }).await.unwrap_err();
    assert!(matches!(&again, Error::Conflict(why) if why.contains("by_hand_3")), "{again}");
    world.engine.set_paused(&dag_id(), false).await.unwrap();
    world.drain(true).await;
    let manual = DagRunType::Manual;
    let expected = [(OF_SCHEDULE, day(1)), (OF_SCHEDULE, day(2)), (manual, day(3)), (OF_SCHEDULE, day(4))];
    assert_eq!(runs(&world).await, expected);
    let dag = world.engine.store.dag(&dag_id()).await.unwrap().unwrap();
    assert_eq!(dag.backfilled_to, Some(day(3)));
}
