//! What is removed of the past, and what stays.

use crate::world::{World, chain};
use jiff::{SignedDuration, Timestamp};
use updraft_clock::Clock;
use updraft_log_store::{Directory, LogStore};
use updraft_metastore::Outcome;
use updraft_model::{DagId, DagRunState, RunChange, RunDoc};
use updraft_service::interventions::RunPatch;

fn dag() -> DagId {
    DagId::trusted("d")
}

/// A world in which DAG `d` has run so often, and logs have a directory.
async fn ran(times: usize) -> (World, Directory, Vec<RunDoc>) {
    let world = World::new();
    world.write("d.yaml", &chain("d", 2)).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let mut runs = Vec::new();
    for _ in 0..times {
        let run = world.trigger("d").await;
        world.work(true).await;
        runs.push(world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap());
    }
    assert!(runs.iter().all(|run| run.state == DagRunState::Success && run.outbox.is_empty()));
    (world, Directory::new(tempfile::tempdir().unwrap().keep()), runs)
}

fn later(world: &World) -> Timestamp {
    world.engine.clock.now() + SignedDuration::from_secs(1)
}

#[tokio::test]
async fn the_latest_run_stays_and_older_ones_leave_nothing() {
    let (world, logs, runs) = Box::pin(ran(3)).await;
    let found = world.engine.removable(&dag(), later(&world)).await.unwrap();
    assert_eq!((found.runs.len(), found.kept, found.leftovers.len()), (2, 1, 0));
    let before = world.engine.store.items().inner().lock().len();
    for run in &found.runs {
        assert!(world.engine.remove_run(&logs, run).await.unwrap());
    }
    // Per run: document, two attempts, name, order, logical date.
    assert_eq!(before - world.engine.store.items().inner().lock().len(), 2 * 6);
    let left = world.engine.store.list_runs(&dag(), 10, None).await.unwrap().items;
    assert_eq!(left, [runs[2].clone()]);
    let again = world.engine.removable(&dag(), later(&world)).await.unwrap();
    assert_eq!((again.runs.len(), again.kept), (0, 1));
}

/// Pages, notes, holders of slots, callbacks, the order of dates: no item is left that knows a removed run.
#[tokio::test]
async fn no_item_knows_a_removed_run() {
    let text = "
d:
  schedule: null
  max_active_tasks: 2
  on_success_callback: {callback: f.done}
  default_args: {depends_on_past: true}
  tasks:
    a: {operator: BashOperator, bash_command: 'true'}
    m: {operator: BashOperator, expand: {bash_command: [x, y, z]}, dependencies: [a]}
";
    let world = World::new();
    world.write("d.yaml", text).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let logs = Directory::new(tempfile::tempdir().unwrap().keep());
    let mut runs = Vec::new();
    for _ in 0..2 {
        let run = world.trigger("d").await;
        world.drain(true).await;
        let note = Some("kept".to_owned());
        let patch = RunPatch { note, ..RunPatch::default() };
        runs.push(world.engine.patch_dag_run(&dag(), &run.facts.run_id, &patch).await.unwrap());
    }
    let run = &runs[0];
    assert_eq!(run.state, DagRunState::Success);
    let knows = || {
        let items = world.engine.store.items().inner().lock();
        let texts = items.iter().map(|(key, item)| (format!("{} {}", key.pk, key.sk), format!("{item:?}")));
        let is_its = |text: &str| text.contains(run.facts.incarnation.as_str());
        let found = texts.filter(|(key, item)| is_its(key) || is_its(item)).map(|(key, _)| key);
        found.collect::<Vec<_>>()
    };
    let kinds = [" R", " A#", " M#", " L", " C#", " K#", " N#", " O#", " S#"];
    let before = knows();
    assert!(kinds.iter().all(|kind| before.iter().any(|key| key.contains(kind))), "{before:?}");
    assert!(world.engine.remove_run(&logs, run).await.unwrap());
    assert_eq!(knows(), [] as [String; 0]);
}

#[tokio::test]
async fn nothing_that_ended_after_the_instant_is_removable() {
    let (world, _, runs) = Box::pin(ran(3)).await;
    let found = world.engine.removable(&dag(), runs[0].end_date.unwrap()).await.unwrap();
    assert_eq!((found.runs.len(), found.kept), (0, 0));
}

#[tokio::test]
async fn runs_that_have_not_ended_stay_and_so_does_the_one_before_each() {
    let (world, _, runs) = Box::pin(ran(2)).await;
    let unfinished = world.trigger("d").await;
    assert_eq!(unfinished.state, DagRunState::Running);
    let found = world.engine.removable(&dag(), later(&world)).await.unwrap();
    assert_eq!((found.runs.len(), found.kept), (1, 1));
    assert_eq!(found.runs[0].facts.run_id, runs[0].facts.run_id);
}

/// Somebody clears a run between the look and the removal: it stays whole.
#[tokio::test]
async fn a_run_that_was_written_to_meanwhile_stays() {
    let (world, logs, _) = Box::pin(ran(2)).await;
    let found = world.engine.removable(&dag(), later(&world)).await.unwrap();
    let run = &found.runs[0];
    let tasks: Vec<_> = run.cells.keys().copied().collect();
    world.engine.clear(&run.facts.incarnation, &tasks).await.unwrap();
    assert!(!world.engine.remove_run(&logs, run).await.unwrap());
    assert_eq!(world.engine.store.attempts_of(&run.facts.incarnation, None).await.unwrap().len(), 2);
    assert_eq!(world.engine.store.list_runs(&dag(), 10, None).await.unwrap().items.len(), 2);
}

/// Whoever removes dies after the document: the next removal finds the rest.
#[tokio::test]
async fn what_an_interrupted_removal_left_is_found() {
    let (world, logs, runs) = Box::pin(ran(2)).await;
    assert!(world.engine.store.delete_run(&runs[0]).await.unwrap());
    let found = world.engine.removable(&dag(), later(&world)).await.unwrap();
    assert_eq!((found.runs.len(), found.leftovers.len()), (0, 1));
    world.engine.remove_leftover(&logs, &dag(), &found.leftovers[0]).await.unwrap();
    assert_eq!(world.engine.store.attempts_of(&runs[0].facts.incarnation, None).await.unwrap(), []);
    assert_eq!(world.engine.removable(&dag(), later(&world)).await.unwrap().leftovers, []);
}

#[tokio::test]
async fn logs_and_large_values_go_with_their_run() {
    let (world, logs, runs) = Box::pin(ran(2)).await;
    let uri = logs.put("logs/x.log", b"text".to_vec()).await.unwrap();
    let (key, attempt) = world.engine.store.attempts_of(&runs[0].facts.incarnation, None).await.unwrap().remove(0);
    world.engine.store.delete_attempt(&key).await.unwrap();
    let fields = logs.put("xcoms/x-rendered.json", b"{}".to_vec()).await.unwrap();
    let (log_uri, rendered_uri) = (Some(uri.clone()), Some(fields.clone()));
    let attempt = updraft_model::Attempt { log: None, log_uri, rendered_uri, ..attempt };
    assert!(matches!(world.engine.store.put_attempt(&key, &attempt).await.unwrap(), Outcome::Updated(_)));
    assert!(world.engine.remove_run(&logs, &runs[0]).await.unwrap());
    assert_eq!((logs.get(&uri).await.unwrap(), logs.get(&fields).await.unwrap()), (None, None));
}

/// A run whose place among the active ones is still to be given back is not there to be removed.
#[tokio::test]
async fn a_run_with_something_to_deliver_stays() {
    let (world, logs, runs) = Box::pin(ran(2)).await;
    let note = ("leave".to_owned(), updraft_model::OutboxEntry::Leave { epoch: 0 });
    let change = RunChange { outbox_put: vec![note], ..RunChange::default() };
    let Outcome::Updated(run) = world.engine.store.update_run(&runs[0].facts.incarnation, &change).await.unwrap()
    else {
        panic!("it is written");
    };
    assert!(!world.engine.remove_run(&logs, &run).await.unwrap());
    assert_eq!(world.engine.removable(&dag(), later(&world)).await.unwrap().runs, []);
}
