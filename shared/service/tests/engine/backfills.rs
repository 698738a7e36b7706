//! Backfills over ports in memory: their dates, their limits, what goes on after a crash, and who is refused.

use crate::limits::world;
use crate::world::World;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use updraft_metastore::Outcome;
use updraft_model::{Backfill, DagId, DagRunState, DagRunType, ReprocessBehavior, RunDoc};
use updraft_service::backfill::NewBackfill;
use updraft_service::interventions::RunPatch;
use updraft_service::{Error, Trigger};

fn dag_id() -> DagId {
    DagId::trusted("a")
}

/// Of a daily DAG that makes no run by itself: its start lies in the future.
fn daily(more: &str) -> Vec<(&'static str, String)> {
    let text = format!(
        "a:\n  schedule: '@daily'\n  start_date: 2099-01-01\n{more}  tasks:\n    t0: {{operator: BashOperator, bash_command: 'true'}}\n"
    );
    vec![("a.yaml", text)]
}

fn day(day: i8) -> Timestamp {
    format!("2025-03-{day:02}T00:00:00Z").parse().unwrap()
}

fn wish(from: i8, to: i8) -> NewBackfill {
    NewBackfill::new(dag_id(), day(from), day(to))
}

async fn runs(world: &World) -> Vec<RunDoc> {
    let mut runs = world.engine.store.list_runs(&dag_id(), 100, None).await.unwrap().items;
    runs.sort_by_key(|run| run.facts.logical_date);
    runs
}

async fn dates(world: &World) -> Vec<String> {
    runs(world).await.iter().map(|run| run.facts.logical_date.unwrap().to_string()[..10].to_owned()).collect()
}

async fn backfill(world: &World, created: &Backfill) -> Backfill {
    world.engine.backfill(&created.id).await.unwrap()
}

#[tokio::test]
async fn each_date_gets_its_run_no_more_than_allowed_at_once() {
    let world = world(&daily("")).await;
    let wish = NewBackfill { max_active_runs: 2, dag_run_conf: serde_json::json!({"k": 1}), ..wish(1, 5) };
    let shown = world.engine.dry_run_backfill(&wish).await.unwrap();
    assert_eq!(shown.len(), 5);
    assert!(shown.iter().all(|date| date.is_run && date.existing.is_none()));
    assert_eq!(runs(&world).await, [], "showing makes nothing");
    let created = Box::pin(world.engine.create_backfill(&wish)).await.unwrap();
    world.drain(false).await;
    assert_eq!(dates(&world).await, ["2025-03-01", "2025-03-02"]);
    let first = &runs(&world).await[0];
    assert_eq!(first.facts.run_id, "backfill__2025-03-01T00:00:00+00:00");
    assert_eq!((first.facts.run_type, first.state), (DagRunType::Backfill, DagRunState::Running));
    assert_eq!(first.facts.conf, serde_json::json!({"k": 1}));
    let other = Box::pin(world.engine.create_backfill(&wish)).await.unwrap_err();
    assert!(matches!(&other, Error::Conflict(why) if why.contains("Another backfill is running for Dag a")), "{other}");
    world.drain(true).await;
    assert_eq!(dates(&world).await.len(), 5);
    assert!(runs(&world).await.iter().all(|run| run.state == DagRunState::Success));
    let ended = backfill(&world, &created).await;
    assert!(ended.completed_at.is_some() && ended.active.is_empty());
    assert_eq!((ended.counts.created, ended.counts.passed_over), (5, 0));
    let dag = world.engine.store.dag(&dag_id()).await.unwrap().unwrap();
    assert!(dag.backfill.is_none() && dag.active.is_empty(), "{dag:?}");
    let late = Box::pin(world.engine.cancel_backfill(&created.id)).await.unwrap_err();
    assert!(matches!(&late, Error::Conflict(why) if why.starts_with("Backfill is already completed")), "{late}");
}

#[tokio::test]
async fn what_is_done_about_a_date_that_has_a_run_is_chosen() {
    for (behavior, again) in [
        (ReprocessBehavior::None, vec![]),
        (ReprocessBehavior::Failed, vec![2]),
        (ReprocessBehavior::Completed, vec![1, 2]),
    ] {
        let world = world(&daily("")).await;
        let trigger = async |at: i8, state| {
            let trigger = Trigger {
                dag_id: dag_id(),
                run_id: Some(format!("by_hand_{at}")),
                logical_date: Some(day(at)),
                conf: serde_json::Value::Null,
            };
            let run = world.engine.trigger(trigger).await.unwrap();
            world.drain(true).await;
            let patch = RunPatch { state: Some(state), note: None };
            Box::pin(world.engine.patch_dag_run(&dag_id(), &run.facts.run_id, &patch)).await.unwrap();
        };
        trigger(1, DagRunState::Success).await;
        trigger(2, DagRunState::Failed).await;
        let wish = NewBackfill { reprocess_behavior: behavior, run_backwards: true, ..wish(1, 3) };
        let shown = world.engine.dry_run_backfill(&wish).await.unwrap();
        assert_eq!(shown.iter().filter(|date| date.is_run).count(), 1 + again.len());
        assert_eq!(shown[0].logical_date, Some(day(3)), "backwards");
        let created = Box::pin(world.engine.create_backfill(&wish)).await.unwrap();
        world.drain(true).await;
        let all = runs(&world).await;
        let tries: Vec<u32> = all.iter().map(|run| run.cell(updraft_model::TaskIndex(0)).try_number()).collect();
        let expected: Vec<u32> = [1, 2, 3].iter().map(|at| 1 + u32::from(again.contains(at))).collect();
        assert_eq!(tries, expected, "{behavior}");
        for (run, at) in all.iter().zip([1, 2, 3]) {
            let is_ours = at == 3 || again.contains(&at);
            assert_eq!(run.facts.origin.backfill.is_some(), is_ours);
            assert_eq!(run.facts.run_type == DagRunType::Backfill, is_ours);
        }
        let counts = backfill(&world, &created).await.counts;
        assert_eq!((counts.created, counts.cleared), (1, again.len() as u64));
    }
}

#[tokio::test]
async fn a_paused_backfill_waits_and_a_cancelled_one_fails_what_is_queued() {
    let world = world(&daily("")).await;
    world.engine.set_paused(&dag_id(), true).await.unwrap();
    let created = Box::pin(world.engine.create_backfill(&wish(1, 20))).await.unwrap();
    world.drain(false).await;
    assert_eq!(runs(&world).await.len(), 10);
    assert!(runs(&world).await.iter().all(|run| run.state == DagRunState::Queued), "the DAG is paused");
    let paused = Box::pin(world.engine.set_backfill_paused(&created.id, true)).await.unwrap();
    assert!(paused.is_paused);
    world.engine.set_paused(&dag_id(), false).await.unwrap();
    world.drain(true).await;
    assert!(runs(&world).await.iter().all(|run| run.state == DagRunState::Queued), "the backfill is paused");
    Box::pin(world.engine.set_backfill_paused(&created.id, false)).await.unwrap();
    world.drain(false).await;
    assert!(runs(&world).await.iter().all(|run| run.state == DagRunState::Running));
    let queued = runs(&world).await[0].facts.clone();
    let patch = RunPatch { state: Some(DagRunState::Queued), note: None };
    world.engine.set_paused(&dag_id(), true).await.unwrap();
    Box::pin(world.engine.patch_dag_run(&dag_id(), &queued.run_id, &patch)).await.unwrap();
    let cancelled = Box::pin(world.engine.cancel_backfill(&created.id)).await.unwrap();
    assert!(cancelled.completed_at.is_some() && cancelled.active.is_empty());
    world.engine.set_paused(&dag_id(), false).await.unwrap();
    world.drain(true).await;
    let states: Vec<DagRunState> = runs(&world).await.iter().map(|run| run.state).collect();
    assert_eq!(states.len(), 10, "no run is made any more");
    assert_eq!(states[0], DagRunState::Failed);
    assert!(states[1..].iter().all(|state| *state == DagRunState::Success), "those that ran go on");
}

#[tokio::test]
async fn what_a_dead_creator_noted_is_made_by_the_next_look() {
    let world = world(&daily("")).await;
    let created =
        Box::pin(world.engine.create_backfill(&NewBackfill { max_active_runs: 3, ..wish(1, 3) })).await.unwrap();
    // The look has noted its runs, and died before it put the first.
    Box::pin(world.engine.look_at_backfill(&created.id)).await.unwrap();
    let noted: BTreeSet<_> = runs(&world).await.into_iter().map(|run| run.facts.incarnation).collect();
    for run in runs(&world).await {
        world.engine.store.discard_run(&run).await.unwrap();
        world.engine.store.delete_run_names(&run.facts).await.unwrap();
    }
    assert_eq!(runs(&world).await, []);
    Box::pin(world.engine.look_at_backfill(&created.id)).await.unwrap();
    let made: BTreeSet<_> = runs(&world).await.into_iter().map(|run| run.facts.incarnation).collect();
    assert_eq!(made, noted, "the same runs, not others");
    world.drain(true).await;
    assert!(backfill(&world, &created).await.completed_at.is_some());
    // One that died before it was on its DAG takes its turn: each date has its run by now.
    let orphan = Backfill { id: updraft_model::BackfillId::trusted("77"), completed_at: None, ..created };
    let soon = Some(world.engine.now());
    assert!(world.engine.store.put_backfill(&orphan, soon).await.unwrap());
    Box::pin(world.engine.look_at_backfill(&orphan.id)).await.unwrap();
    let ended = backfill(&world, &orphan).await;
    assert!(ended.completed_at.is_some() && ended.counts.passed_over == 3, "{ended:?}");
}

#[tokio::test]
async fn what_no_backfill_can_be_is_refused_by_name() {
    let past = "  default_args: {depends_on_past: true}\n";
    let world = world(&daily(past)).await;
    world.write("b.yaml", "b:\n  schedule: null\n  tasks:\n    t0: {operator: EmptyOperator}\n").await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let refused = async |wish: NewBackfill| Box::pin(world.engine.create_backfill(&wish)).await.unwrap_err();
    let unknown = refused(NewBackfill { dag_id: DagId::trusted("c"), ..wish(1, 2) }).await;
    assert!(matches!(&unknown, Error::NotFound { name, .. } if name == "c"));
    let unscheduled = refused(NewBackfill { dag_id: DagId::trusted("b"), ..wish(1, 2) }).await;
    assert!(matches!(&unscheduled, Error::Conflict(why) if why.starts_with("b has no schedule")), "{unscheduled}");
    let completed = NewBackfill { reprocess_behavior: ReprocessBehavior::Completed, ..wish(1, 2) };
    let future = world.engine.now() + SignedDuration::from_hours(48);
    for (wish, said) in [
        (wish(1, 2), "You must set reprocess behavior"),
        (NewBackfill { run_backwards: true, ..completed.clone() }, "cannot be run in reverse"),
        (NewBackfill { from_date: day(3), ..completed.clone() }, "ends before it begins"),
        (NewBackfill { max_active_runs: 0, ..completed.clone() }, "max_active_runs is 0"),
        (NewBackfill { from_date: future, to_date: future, ..completed.clone() }, "future dates"),
    ] {
        let error = refused(wish).await;
        assert!(matches!(&error, Error::Invalid(why) if why.contains(said)), "{error}");
    }
    world.remove("a.yaml").await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let gone = refused(completed).await;
    assert!(matches!(&gone, Error::Refused(why) if why.contains("its file `a.yaml` is gone")), "{gone}");
}

/// The timetable makes no second run of a date that a backfill has.
#[tokio::test]
async fn the_timetable_goes_past_what_is_backfilled() {
    let world = world(&daily("")).await;
    let created = Box::pin(world.engine.create_backfill(&wish(1, 4))).await.unwrap();
    world.drain(true).await;
    assert!(backfill(&world, &created).await.completed_at.is_some());
    let text = daily("")[0]
        .1
        .replace("start_date: 2099-01-01", "start_date: 2025-03-03\n  end_date: 2025-03-06\n  catchup: true");
    world.write("a.yaml", &text).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world.drain(true).await;
    let all = runs(&world).await;
    let kinds: Vec<(String, DagRunType)> = all
        .iter()
        .map(|run| (run.facts.logical_date.unwrap().to_string()[8..10].to_owned(), run.facts.run_type))
        .collect();
    let (b, s) = (DagRunType::Backfill, DagRunType::Scheduled);
    let expected = [("01", b), ("02", b), ("03", b), ("04", b), ("05", s), ("06", s)];
    assert_eq!(kinds, expected.map(|(day, kind)| (day.to_owned(), kind)));
    let dag = world.engine.store.dag(&dag_id()).await.unwrap().unwrap();
    assert!(dag.active.is_empty() && dag.next_due.is_none(), "{dag:?}");
    assert!(matches!(
        world.engine.store.update_dag(&dag_id(), &updraft_model::DagChange::default()).await,
        Ok(Outcome::Updated(_))
    ));
}
