//! Versions of DAGs: their numbers, and runs that go over to the latest one.

use crate::limits::world;
use crate::world::World;
use updraft_model::{DagId, DagRunState, RunDoc, TaskInstanceState};
use updraft_service::interventions::{ClearDagRun, ClearTaskInstances, Picks};

fn dag_id() -> DagId {
    DagId::trusted("a")
}

/// Tasks in a chain, by name.
fn chain(names: &[&str], more: &str) -> String {
    let mut text = format!("a:\n  schedule: null\n{more}  tasks:\n");
    for (place, name) in names.iter().enumerate() {
        let above = if place == 0 { String::new() } else { format!(", dependencies: [{}]", names[place - 1]) };
        text.extend(["    ", name, ": {operator: BashOperator, bash_command: 'true'", &above, "}\n"]);
    }
    text
}

async fn write(world: &World, text: &str) {
    world.write("a.yaml", text).await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    world.drain(false).await;
}

/// The states and tries of a run by task id.
async fn states(world: &World, run: &RunDoc) -> Vec<(String, TaskInstanceState, u32)> {
    let run = world.run(run).await;
    let version = world.engine.version(&run.facts.version).await.unwrap();
    let one = |task| (version.plan.task(task).task_id.to_string(), run.task_state(task), run.cell(task).try_number());
    let mut all: Vec<_> = version.plan.tasks().map(one).collect();
    all.sort();
    all
}

fn expect(states: &[(&str, TaskInstanceState, u32)]) -> Vec<(String, TaskInstanceState, u32)> {
    states.iter().map(|(name, state, tries)| ((*name).to_owned(), *state, *tries)).collect()
}

async fn numbers(world: &World) -> Vec<u32> {
    world.engine.dag_versions(&dag_id()).await.unwrap().iter().map(|version| version.version_number).collect()
}

use TaskInstanceState::{Queued, Removed, Success};

#[tokio::test]
async fn each_change_is_a_version_with_the_next_number() {
    let world = world(&[("a.yaml", chain(&["x"], ""))]).await;
    assert_eq!(numbers(&world).await, [1]);
    write(&world, &chain(&["x"], "")).await;
    assert_eq!(numbers(&world).await, [1], "the same again is no version");
    write(&world, &chain(&["x", "y"], "")).await;
    write(&world, &chain(&["x"], "")).await;
    assert_eq!(numbers(&world).await, [3, 2, 1], "as before is a change, too");
    world.remove("a.yaml").await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    write(&world, &chain(&["x"], "")).await;
    assert_eq!(numbers(&world).await, [3, 2, 1], "gone and back");
    assert_eq!(world.engine.dag_version(&dag_id(), 2).await.unwrap().file, "a.yaml");
    assert!(world.engine.dag_version(&dag_id(), 4).await.is_err());
    world.engine.delete_dag(&dag_id()).await.unwrap();
    assert!(world.engine.dag_versions(&dag_id()).await.is_err());
}

#[tokio::test]
async fn a_run_keeps_its_version_until_it_is_asked_to_take_the_latest() {
    let world = world(&[("a.yaml", chain(&["z", "y", "x"], ""))]).await;
    let run = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    // The file changes while it runs.
    write(&world, &chain(&["w", "x", "z"], "")).await;
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, expect(&[("x", Success, 1), ("y", Success, 1), ("z", Success, 1)]));
    assert_eq!(world.engine.version_number(&dag_id(), &run.facts.version).await.unwrap(), Some(1));
    let clear = async |latest| {
        let request = ClearTaskInstances {
            run_id: Some(run.facts.run_id.clone()),
            picks: Picks::of(["x"]),
            run_on_latest_version: latest,
            ..ClearTaskInstances::default()
        };
        Box::pin(world.engine.clear_task_instances(&dag_id(), &request, false)).await.unwrap();
        world.drain(true).await;
    };
    clear(None).await;
    assert_eq!(states(&world, &run).await, expect(&[("x", Success, 2), ("y", Success, 1), ("z", Success, 1)]));
    clear(Some(true)).await;
    let after = world.run(&run).await;
    let expected = [("w", Success, 1), ("x", Success, 3), ("y", Removed, 1), ("z", Success, 1)];
    assert_eq!(states(&world, &run).await, expect(&expected));
    assert_eq!(after.state, DagRunState::Success);
    assert_eq!(world.engine.version_number(&dag_id(), &after.facts.version).await.unwrap(), Some(2));
    // What ran under the old version is still found, under the task's own place.
    let tries = world.engine.store.attempts_of(&run.facts.incarnation, None).await.unwrap();
    assert_eq!(tries.len(), 3 + 1 + 2);
    // Once more is nothing new; and back to what it was brings `y` back.
    clear(Some(true)).await;
    assert_eq!(world.run(&run).await.facts.version, after.facts.version);
    write(&world, &chain(&["z", "y", "x"], "")).await;
    clear(Some(true)).await;
    let version = world.engine.version(&world.run(&run).await.facts.version).await.unwrap();
    assert!(version.plan.removed().count() == 1 && version.plan.index_of("w").is_some());
}

/// Nobody looks at pages again and again of a task that is mapped no more.
#[tokio::test]
async fn a_page_of_a_task_that_is_mapped_no_more_leaves_the_time_index() {
    let text = |what: &str| format!("a:\n  schedule: null\n  tasks:\n    t: {{operator: BashOperator, {what}}}\n");
    let world = world(&[("a.yaml", text("expand: {bash_command: [x, y, z]}"))]).await;
    let run = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    world.drain(false).await;
    let (incarnation, unit) = (run.facts.incarnation.clone(), updraft_model::TaskIndex(0));
    let key = updraft_model::PageKey { incarnation, unit, page: 0 };
    assert!(world.engine.store.page(&key).await.unwrap().unwrap().wake_at.is_some());
    write(&world, &text("bash_command: x")).await;
    let request = ClearTaskInstances {
        run_id: Some(run.facts.run_id.clone()),
        run_on_latest_version: Some(true),
        ..ClearTaskInstances::default()
    };
    Box::pin(world.engine.clear_task_instances(&dag_id(), &request, false)).await.unwrap();
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, expect(&[("t", Success, 1)]));
    world.engine.look_at_page(&key, updraft_service::runs::Leases::Heed).await.unwrap();
    assert_eq!(world.engine.store.page(&key).await.unwrap().unwrap().wake_at, None);
}

/// What a try has done is told, though its run has gone over to a version that does not have its task any more.
#[tokio::test]
async fn events_and_callbacks_of_a_task_that_is_gone_are_told() {
    use updraft_model::{
        Attempt, AttemptKey, AttemptOutcome, OutboxEntry, PageChange, PageEffect, PageKey, RunChange, Slot, TaskIndex,
        Token, TryEnd,
    };
    let more = "outlets: [s3://x], on_success_callback: {callback: f.told}";
    let text = format!(
        "a:\n  schedule: null\n  tasks:\n    x: {{operator: BashOperator, bash_command: 'true', {more}}}\n    m: {{operator: BashOperator, \
         expand: {{bash_command: [x]}}, {more}}}\n    y: {{operator: BashOperator, bash_command: 'true'}}\n"
    );
    let world = world(&[("a.yaml", text)]).await;
    let run = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    world.drain(true).await;
    let (engine, incarnation) = (&world.engine, &run.facts.incarnation);
    let told = async || {
        let filter = updraft_service::assets::EventFilter::default();
        let (events, _) = engine.list_asset_events(&filter, 100, 0).await.unwrap();
        let mut from: Vec<String> = events.into_iter().map(|e| e.event.source.unwrap().task_id).collect();
        from.sort();
        let callbacks = engine.callbacks_of_run(&dag_id(), &run.facts.run_id).await.unwrap();
        (from, callbacks.into_iter().filter(|(_, name)| name == "f.told").count())
    };
    assert_eq!(told().await, (vec!["m".to_owned(), "x".to_owned()], 2));
    // As by workers that were stopped after the write that ended a try of each.
    let token = Token::trusted("late");
    let now = engine.now();
    for (task, map_index) in [(TaskIndex(0), None), (TaskIndex(1), Some(0))] {
        let key = AttemptKey { incarnation: incarnation.clone(), task, map_index, try_number: 2, token: token.clone() };
        engine.store.put_attempt(&key, &Attempt::new(AttemptOutcome::Success, now, now)).await.unwrap();
    }
    let entry = OutboxEntry::Try { task: TaskIndex(0), try_number: 2, token: token.clone(), end: TryEnd::Success };
    let owes = RunChange { outbox_put: vec![(entry.id(), entry)], wake_at: Some(Some(now)), ..RunChange::default() };
    engine.store.update_run(incarnation, &owes).await.unwrap();
    let key = PageKey { incarnation: incarnation.clone(), unit: TaskIndex(1), page: 0 };
    let slot = Slot { map_index: 0, task: TaskIndex(1) };
    let effect = PageEffect { token, end: TryEnd::Success };
    let owes =
        PageChange { effects: vec![((slot, 2), Some(effect))], wake_at: Some(Some(now)), ..PageChange::default() };
    engine.store.update_page(&key, 0, &owes).await.unwrap();
    write(&world, &chain(&["y"], "")).await;
    let clear = ClearDagRun { run_on_latest_version: Some(true), ..ClearDagRun::default() };
    Box::pin(engine.clear_dag_run(&dag_id(), &run.facts.run_id, &clear, false)).await.unwrap();
    world.drain(true).await;
    engine.look_at_page(&key, updraft_service::runs::Leases::Heed).await.unwrap();
    assert_eq!(states(&world, &run).await, expect(&[("m", Removed, 0), ("x", Removed, 1), ("y", Success, 2)]));
    assert_eq!(told().await, (["m", "m", "x", "x"].map(str::to_owned).to_vec(), 4));
    assert!(world.run(&run).await.outbox.is_empty());
    let page = engine.store.page(&key).await.unwrap().unwrap();
    assert!(page.effects.is_empty() && page.wake_at.is_none(), "{page:?}");
}

#[tokio::test]
async fn a_dag_may_ask_for_the_latest_and_a_run_for_what_is_new_alone() {
    let world = world(&[("a.yaml", chain(&["x"], ""))]).await;
    let run = world.trigger_at("a", "2025-01-01T00:00:00Z").await;
    world.drain(true).await;
    write(&world, &chain(&["x", "y"], "  rerun_with_latest_version: true\n")).await;
    let only_new = ClearDagRun { only_new: true, ..ClearDagRun::default() };
    let new = Box::pin(world.engine.clear_dag_run(&dag_id(), &run.facts.run_id, &only_new, true)).await.unwrap();
    assert_eq!(new.iter().map(|one| one.task_id.as_str()).collect::<Vec<_>>(), ["y"]);
    Box::pin(world.engine.clear_dag_run(&dag_id(), &run.facts.run_id, &only_new, false)).await.unwrap();
    world.drain(false).await;
    assert_eq!(states(&world, &run).await, expect(&[("x", Success, 1), ("y", Queued, 1)]));
    world.drain(true).await;
    assert_eq!(world.run(&run).await.state, DagRunState::Success);
    let run = world.trigger_at("a", "2025-01-02T00:00:00Z").await;
    world.drain(true).await;
    write(&world, &chain(&["y", "v"], "  rerun_with_latest_version: true\n")).await;
    let clear = ClearDagRun::default();
    Box::pin(world.engine.clear_dag_run(&dag_id(), &run.facts.run_id, &clear, false)).await.unwrap();
    world.drain(true).await;
    assert_eq!(states(&world, &run).await, expect(&[("v", Success, 1), ("x", Removed, 1), ("y", Success, 2)]));
    world.remove("a.yaml").await;
    world.engine.ingest_all(&world.folder).await.unwrap();
    let latest = ClearDagRun { run_on_latest_version: Some(true), ..ClearDagRun::default() };
    let refused = Box::pin(world.engine.clear_dag_run(&dag_id(), &run.facts.run_id, &latest, false)).await.unwrap_err();
    assert!(refused.to_string().contains("no latest version to run on"), "{refused}");
}

/// What was queued under a version without limits does not run beside what holds the slots of the one it goes over to.
#[tokio::test]
async fn what_is_queued_asks_the_limits_of_the_version_it_goes_over_to() {
    let file = |limit: &str| {
        format!(
            "a:\n  schedule: null\n  tasks:\n    first: {{operator: BashOperator, bash_command: 'true'}}\n    one: {{operator: BashOperator, \
             bash_command: 'true'{limit}}}\n"
        )
    };
    let world = world(&[("a.yaml", file(""))]).await;
    let runs =
        [world.trigger_at("a", "2025-01-01T00:00:00Z").await, world.trigger_at("a", "2025-01-02T00:00:00Z").await];
    world.drain(false).await;
    for run in &runs {
        assert_eq!(states(&world, run).await, expect(&[("first", Queued, 1), ("one", Queued, 1)]));
    }
    write(&world, &file(", max_active_tis_per_dag: 1")).await;
    for run in &runs {
        let request = ClearTaskInstances {
            run_id: Some(run.facts.run_id.clone()),
            picks: Picks::of(["first"]),
            run_on_latest_version: Some(true),
            ..ClearTaskInstances::default()
        };
        Box::pin(world.engine.clear_task_instances(&dag_id(), &request, false)).await.unwrap();
    }
    world.drain(false).await;
    let queued =
        async |run| states(&world, run).await.into_iter().find(|(name, ..)| name == "one").unwrap().1 == Queued;
    let both = [queued(&runs[0]).await, queued(&runs[1]).await];
    assert_eq!(both.iter().filter(|is| **is).count(), 1, "one of two holds the only slot");
    world.drain(true).await;
    for run in &runs {
        assert!(states(&world, run).await.iter().all(|(_, state, _)| *state == Success));
    }
}
