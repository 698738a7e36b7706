//! Mapped tasks: what they cost, how lazily they are born, and how they are cleared, marked and cancelled.

use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;
use updraft_model::attempt::RETURN_VALUE;
use updraft_model::cell::End;
use updraft_model::{
    AttemptOutcome, Cell, DagRunState, IndexSet, PageChange, PageEffect, RunDoc, TaskIndex, TaskInstanceState, TryEnd,
    ValueRef,
};
use updraft_service::assets::EventFilter;
use updraft_service::interventions::{PatchTaskInstances, Picks, TaskPick};
use updraft_service::runs::Leases;
use updraft_service::{Error, Finished, Runner, TaskRef, Work};
use updraft_task_queue::{Lane, Message, TaskQueue};

/// `source` returns so many items; instances named here fail; everything that ran is noted, in order.
#[derive(Default)]
pub(crate) struct Acts {
    pub(crate) items: Mutex<u32>,
    pub(crate) fails: Mutex<BTreeSet<(String, u32)>>,
    ran: Mutex<Vec<(String, Option<u32>, u32)>>,
}

impl Runner for Acts {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, _: S) -> Option<Finished> {
        let task_id = work.definition().task_id.to_string();
        self.ran.lock().unwrap().push((task_id.clone(), work.map_index(), work.try_number));
        if task_id == "source" {
            let map_length = Some(*self.items.lock().unwrap());
            return Some(Finished { map_length, ..Finished::new(AttemptOutcome::Success) });
        }
        let index = work.map_index().unwrap_or(NOT_MAPPED);
        let fails = self.fails.lock().unwrap().contains(&(task_id, index));
        let outcome = if fails { AttemptOutcome::Failed } else { AttemptOutcome::Success };
        let xcoms = BTreeMap::from([(RETURN_VALUE.to_owned(), ValueRef::Inline(1.into()))]);
        Some(Finished { xcoms, ..Finished::new(outcome) })
    }
}

/// source >> mapped >> last.
pub(crate) const MAP: &str = "
d:
  schedule: null
  tasks:
    source: {operator: BashOperator, bash_command: 'true'}
    mapped: {operator: BashOperator, expand: {bash_command: source.output}}
    last: {operator: BashOperator, bash_command: 'true', dependencies: [mapped]}
";

/// Stands for the index of a task that is not mapped.
const NOT_MAPPED: u32 = u32::MAX;

pub(crate) const SOURCE: TaskIndex = TaskIndex(0);
pub(crate) const MAPPED: TaskIndex = TaskIndex(1);
pub(crate) const LAST: TaskIndex = TaskIndex(2);

pub(crate) struct Mapped {
    pub(crate) world: World,
    pub(crate) acts: Acts,
    pub(crate) run: RunDoc,
}

impl Mapped {
    pub(crate) async fn new(items: u32, text: &str) -> Self {
        let world = World::new();
        world.write("d.yaml", text).await;
        world.engine.ingest_all(&world.folder).await.unwrap();
        let run = world.trigger("d").await;
        let acts = Acts::default();
        *acts.items.lock().unwrap() = items;
        Self { world, acts, run }
    }

    pub(crate) async fn run(&self) -> RunDoc {
        self.world.engine.store.run(&self.run.facts.incarnation).await.unwrap().unwrap()
    }

    /// Does what one message says, looks first. False: there is none.
    pub(crate) async fn step(&self) -> bool {
        let engine = &self.world.engine;
        if let Some(delivery) = engine.queue.receive(Lane::Looks, 1, Duration::ZERO).await.unwrap().pop() {
            if let Some(message) = delivery.message {
                Box::pin(engine.look_where(&message)).await.unwrap();
            }
            return true;
        }
        self.work_one().await
    }

    pub(crate) async fn work_one(&self) -> bool {
        let engine = &self.world.engine;
        let received = engine.queue.receive(Lane::Tasks, 1, Duration::ZERO).await.unwrap().pop();
        let Some(Message::Task { incarnation, task, try_number, place, .. }) = received.and_then(|d| d.message) else {
            return false;
        };
        let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
        engine.work(&task, &self.acts, None, || None).await.unwrap();
        true
    }

    pub(crate) async fn settle(&self) -> RunDoc {
        while self.step().await {}
        self.run().await
    }

    /// Messages that were sent are lost.
    pub(crate) async fn lose_messages(&self) {
        for lane in [Lane::Looks, Lane::Tasks] {
            while !self.world.engine.queue.receive(lane, 100, Duration::ZERO).await.unwrap().is_empty() {}
        }
    }

    async fn states(&self) -> Vec<(String, Option<u32>, TaskInstanceState, u32)> {
        let views = self.world.engine.task_instances(&self.run().await).await.unwrap();
        views.into_iter().map(|v| (v.task_id, v.map_index, v.state, v.try_number)).collect()
    }

    pub(crate) fn ran(&self) -> Vec<(String, Option<u32>, u32)> {
        std::mem::take(&mut self.acts.ran.lock().unwrap())
    }
}

fn state(
    task: &str,
    index: u32,
    state: TaskInstanceState,
    tries: u32,
) -> (String, Option<u32>, TaskInstanceState, u32) {
    (task.to_owned(), Some(index), state, tries)
}

/// Claim, record and finish of each instance, and little more for its share of a page and of the run document.
#[tokio::test]
async fn an_instance_of_a_thousand_costs_three_write_units_and_a_tenth() {
    let map = Mapped::new(1000, MAP).await;
    let before = map.world.engine.store.items().counts();
    assert_eq!(map.settle().await.state, DagRunState::Success);
    let cost = map.world.engine.store.items().counts().since(before);
    assert!(cost.total_write_units() <= 3100, "{} write units: {cost:?}", cost.total_write_units());
}

/// No item becomes hot: neither the run document nor a page.
#[tokio::test]
async fn no_item_of_a_map_of_ten_thousand_is_written_more_than_350_times() {
    let map = Mapped::new(10_000, MAP).await;
    assert_eq!(map.settle().await.state, DagRunState::Success);
    let (key, count) = map.world.engine.store.items().most_written().unwrap();
    assert!(count <= 350, "{key:?} was written {count} times");
    assert_eq!(map.ran().len(), 10_002);
}

/// A hundred thousand instances are a number: what exists of them is bounded, and the first runs at once.
#[tokio::test]
async fn a_hundred_thousand_instances_are_born_as_they_are_worked() {
    let map = Mapped::new(100_000, MAP).await;
    assert!(map.work_one().await, "the source");
    let begun = map.world.engine.store.items().counts();
    assert!(map.work_one().await, "the first instance");
    assert_eq!(map.ran()[1], ("mapped".to_owned(), Some(0), 1));
    assert!(map.world.engine.store.items().counts().since(begun).total_write_units() <= 5);
    // However long nobody works, no more than a window of pages is born.
    for _ in 0..50 {
        let engine = &map.world.engine;
        engine.look_at_run(&map.run.facts.incarnation, Leases::Heed).await.unwrap();
        engine.look_at_pages(&map.run.facts.incarnation, MAPPED, None).await.unwrap();
    }
    let pages = map.world.engine.store.pages(&map.run.facts.incarnation, MAPPED, 0..1563).await.unwrap();
    assert_eq!(pages.len(), updraft_model::mapped::PAGES_OPEN_MAX as usize);
    for _ in 0..64 * 40 {
        map.step().await;
    }
    let pages = map.world.engine.store.pages(&map.run.facts.incarnation, MAPPED, 0..1563).await.unwrap();
    assert!((70..=72).contains(&pages.len()), "{} pages", pages.len());
}

/// Births whose messages are lost, and instances whose messages are, are made up for by looks.
#[tokio::test]
async fn births_survive_lost_messages_and_a_crash_in_the_middle() {
    let map = Mapped::new(700, MAP).await;
    assert!(map.work_one().await, "the source");
    map.lose_messages().await;
    let incarnation = map.run.facts.incarnation.clone();
    let born = || async { map.world.engine.store.pages(&incarnation, MAPPED, 0..11).await.unwrap().len() };
    assert_eq!(born().await, 1, "the first page is born with the expansion");
    // A process bears some, and dies; so does the next.
    map.world.engine.look_at_run(&incarnation, Leases::Heed).await.unwrap();
    map.lose_messages().await;
    assert!((2..11).contains(&born().await), "{}", born().await);
    map.world.engine.look_at_run(&incarnation, Leases::Heed).await.unwrap();
    map.lose_messages().await;
    assert_eq!(born().await, 11);
    for page in 0..11 {
        map.world.engine.look_at_pages(&incarnation, MAPPED, Some(page)).await.unwrap();
    }
    assert_eq!(map.settle().await.state, DagRunState::Success);
    assert_eq!(map.ran().len(), 702);
}

/// Cleared with what it is expanded over, a task is expanded anew; what its instances used of tries is kept.
#[tokio::test]
async fn a_cleared_map_is_expanded_anew() {
    for (before, after) in [(3, 2), (2, 3), (70, 3), (3, 70), (2, 0)] {
        let map = Mapped::new(before, MAP).await;
        assert_eq!(map.settle().await.state, DagRunState::Success);
        map.ran();
        *map.acts.items.lock().unwrap() = after;
        map.world.engine.clear(&map.run.facts.incarnation, &[SOURCE, MAPPED, LAST]).await.unwrap();
        let run = map.settle().await;
        assert_eq!(run.state, DagRunState::Success, "{before} to {after}");
        let mut expected = vec![("last".to_owned(), None, 2), ("source".to_owned(), None, 2)];
        expected.extend((0..after).map(|index| ("mapped".to_owned(), Some(index), if index < before { 2 } else { 1 })));
        if after == 0 {
            // Nothing to expand over skips, and what is below with it.
            expected.remove(0);
        }
        let mut ran = map.ran();
        ran.sort();
        expected.sort();
        assert_eq!(ran, expected, "{before} to {after}");
    }
}

/// What an expansion has no more that an earlier one had is removed, and keeps its tries; it is back where a later one has it.
#[tokio::test]
async fn instances_that_fall_away_are_removed() {
    use TaskInstanceState::{None as Nothing, Removed, Success};
    for (before, after, later) in [(5, 2, 4), (70, 3, 66), (3, 70, 2)] {
        let map = Mapped::new(before, MAP).await;
        assert_eq!(map.settle().await.state, DagRunState::Success);
        let instances = |ends: &[(u32, TaskInstanceState, u32)]| {
            let each = ends.iter().flat_map(|(count, end, tries)| (0..*count).map(move |_| (*end, *tries)));
            each.zip(0..).map(|((end, tries), index)| state("mapped", index, end, tries)).collect::<Vec<_>>()
        };
        let shown = || async {
            let states = map.states().await.into_iter();
            states.filter(|(task_id, ..)| task_id == "mapped").collect::<Vec<_>>()
        };
        let again = |items: u32| {
            *map.acts.items.lock().unwrap() = items;
            map.world.engine.clear(&map.run.facts.incarnation, &[SOURCE, MAPPED, LAST])
        };
        again(after).await.unwrap();
        assert_eq!(shown().await, instances(&[(before, Nothing, 1)]), "{before} cleared");
        assert_eq!(map.settle().await.state, DagRunState::Success);
        let (both, gone, new) = (before.min(after), before.saturating_sub(after), after.saturating_sub(before));
        let expected = instances(&[(both, Success, 2), (new, Success, 1), (gone, Removed, 1)]);
        assert_eq!(shown().await, expected, "{before} to {after}");
        let (_, total) = map.world.engine.list_mapped(&map.run().await, MAPPED, 0, 1).await.unwrap();
        assert_eq!(total, expected.len());
        if gone > 0 {
            let tries = map.world.engine.tries_of(&map.run().await, MAPPED, Some(before - 1)).await.unwrap();
            assert_eq!(tries.iter().map(|t| (t.try_number, t.state)).collect::<Vec<_>>(), [(1, Success)]);
        }
        again(later).await.unwrap();
        map.settle().await;
        let expected = match (before, after, later) {
            (5, 2, 4) => instances(&[(2, Success, 3), (2, Success, 2), (1, Removed, 1)]),
            (70, 3, 66) => instances(&[(3, Success, 3), (63, Success, 2), (4, Removed, 1)]),
            _ => instances(&[(2, Success, 3), (1, Removed, 2), (67, Removed, 1)]),
        };
        assert_eq!(shown().await, expected, "{before} to {after} to {later}");
    }
}

/// Rules count what fell away as removed, as in Airflow: what is mapped itself and below goes with it.
#[tokio::test]
async fn rules_see_what_fell_away() {
    use TaskInstanceState::{Removed, Success};
    let text = "
d:
  schedule: null
  tasks:
    source: {operator: BashOperator, bash_command: 'true'}
    mapped: {operator: BashOperator, expand: {bash_command: source.output}}
    last: {operator: BashOperator, expand: {bash_command: ['1', '2', '3', '4', '5']}, dependencies: [mapped]}
    done: {operator: BashOperator, bash_command: 'true', dependencies: [mapped], trigger_rule: all_done}
";
    let map = Mapped::new(5, text).await;
    assert_eq!(map.settle().await.state, DagRunState::Success);
    *map.acts.items.lock().unwrap() = 2;
    map.world.engine.clear(&map.run.facts.incarnation, &[SOURCE, MAPPED, LAST, TaskIndex(3)]).await.unwrap();
    assert_eq!(map.settle().await.state, DagRunState::Success);
    let states = map.states().await;
    let of = |task: &str| states.iter().filter(|s| s.0 == task).map(|s| (s.2, s.3)).collect::<Vec<_>>();
    let expected = [(Success, 2), (Success, 2), (Removed, 1), (Removed, 1), (Removed, 1)];
    assert_eq!(of("mapped"), expected);
    assert_eq!(of("last"), expected);
    assert_eq!(of("done"), [(Success, 2)]);
}

/// Cleared instances run again, alone; the task below waits for them.
#[tokio::test]
async fn single_instances_are_cleared_and_marked() {
    let map = Mapped::new(130, MAP).await;
    map.acts.fails.lock().unwrap().extend([("mapped".to_owned(), 1), ("mapped".to_owned(), 128)]);
    assert_eq!(map.settle().await.state, DagRunState::Failed);
    map.ran();
    map.acts.fails.lock().unwrap().clear();
    let engine = &map.world.engine;
    let some = |indexes: &[u32]| BTreeMap::from([(MAPPED, indexes.iter().copied().collect::<IndexSet>())]);
    engine.clear_instances(&map.run.facts.incarnation, some(&[1, 128]), &[LAST]).await.unwrap();
    assert_eq!(map.settle().await.state, DagRunState::Success);
    let mut ran = map.ran();
    ran.sort();
    let again = |task: &str, index, tries| (task.to_owned(), index, tries);
    assert_eq!(ran, [again("last", None, 1), again("mapped", Some(1), 2), again("mapped", Some(128), 2)]);
    engine.mark_instances(&map.run.facts.incarnation, some(&[5]), End::Failed).await.unwrap();
    map.settle().await;
    assert_eq!(map.states().await[6], state("mapped", 5, TaskInstanceState::Failed, 1));
    let run = map.run().await;
    assert_eq!(run.cell(MAPPED).state(), TaskInstanceState::Failed);
    // An instance that there is not is not "already" in any state.
    for (task, map_index, there) in [("mapped", 130, vec!["0", "129"]), ("last", 0, vec![])] {
        let pick = TaskPick { task_id: task.to_owned(), map_index: Some(map_index) };
        let picks = Picks { tasks: Some(vec![pick]), ..Picks::default() };
        let request = PatchTaskInstances::new(&map.run.facts.run_id, picks, End::Success);
        let patched = Box::pin(engine.patch_task_instances(&map.run.facts.dag_id, &request, false)).await;
        let refused = patched.unwrap_err();
        let Error::NotFound { name, near, .. } = refused else { panic!("{refused:?}") };
        assert_eq!((name, near), (map_index.to_string(), there.into_iter().map(str::to_owned).collect()));
    }
}

/// A run that is ended takes its instances along: what has not ended is skipped, and nothing starts any more.
#[tokio::test]
async fn instances_end_with_their_run() {
    let map = Mapped::new(100, MAP).await;
    for _ in 0..6 {
        map.step().await;
    }
    map.world.engine.fail_run(&map.run.facts.incarnation).await.unwrap();
    let done = map.ran().len();
    let run = map.settle().await;
    assert_eq!((run.state, map.ran().len()), (DagRunState::Failed, 0));
    let states = map.states().await;
    let skipped = states.iter().filter(|(_, _, state, _)| *state == TaskInstanceState::Skipped).count();
    assert_eq!(skipped, 100 + 2 - done, "{states:?}");
    assert!(run.intent.is_none());
}

/// Where one of them is under way all get the end that their run is given, as in Airflow: those that have another end, and those of pages that
/// are to be born.
#[tokio::test]
async fn instances_of_a_task_that_is_under_way_all_get_the_end_of_their_run() {
    let map = Mapped::new(3000, MAP).await;
    while map.ran().is_empty() {
        map.step().await;
    }
    map.work_one().await;
    let engine = &map.world.engine;
    let incarnation = &map.run.facts.incarnation;
    let page = engine.store.pages(incarnation, MAPPED, 0..1).await.unwrap().remove(0);
    let is_queued = |(_, cell): &(&updraft_model::Slot, &Cell)| matches!(cell, Cell::Queued { .. });
    assert!(page.cells.values().any(Cell::is_final), "some have ended before");
    let (slot, cell) = page.cells.iter().find(is_queued).unwrap();
    let now = updraft_clock::Clock::now(&engine.clock);
    let lease = updraft_model::Lease { token: updraft_model::Token::trusted("t"), until: now, since: now };
    let claim = updraft_scheduling::pages::claim(*slot, cell.try_number(), &lease);
    let claim = PageChange { if_wake_at_most: None, ..claim };
    engine.store.update_page(&page.key, page.first, &claim).await.unwrap();
    engine.end_run(incarnation, End::Failed).await.unwrap();
    let run = map.settle().await;
    let states = map.states().await;
    let is_failed = |(task, _, state, _): &&(String, Option<u32>, TaskInstanceState, u32)| {
        task == "mapped" && *state == TaskInstanceState::Failed
    };
    assert_eq!((run.state, states.iter().filter(is_failed).count()), (DagRunState::Failed, 3000));
}

/// A failed instance is told at once where a task below can act on it.
#[tokio::test]
async fn the_first_failure_is_told_before_the_page_is_full() {
    let map = Mapped::new(64, MAP).await;
    map.acts.fails.lock().unwrap().insert(("mapped".to_owned(), 0));
    while map.states().await[1].2 != TaskInstanceState::Failed {
        assert!(map.step().await, "there is more to do");
    }
    // Of this the run knows, while others still wait for their turn.
    let run = map.run().await;
    assert_eq!(run.task_state(LAST), TaskInstanceState::UpstreamFailed);
    assert!(!run.cell(MAPPED).is_final());
    assert_eq!(map.settle().await.state, DagRunState::Failed);
    assert_eq!(map.ran().len(), 65);
}

/// A failed try of an instance is tried again, by itself.
#[tokio::test]
async fn an_instance_is_retried_by_itself() {
    let map = Mapped::new(3, &MAP.replace("expand:", "retries: 1, retry_delay: 0, expand:")).await;
    map.acts.fails.lock().unwrap().insert(("mapped".to_owned(), 1));
    while map.states().await[2].2 != TaskInstanceState::Failed {
        if !map.step().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
            map.world.engine.look_at_pages(&map.run.facts.incarnation, MAPPED, Some(0)).await.unwrap();
        }
    }
    assert_eq!(map.settle().await.state, DagRunState::Failed);
    let mut ran = map.ran();
    ran.sort();
    let tries: Vec<(Option<u32>, u32)> = ran.into_iter().map(|(_, index, tries)| (index, tries)).collect();
    assert_eq!(tries, [(Some(0), 1), (Some(1), 1), (Some(1), 2), (Some(2), 1), (None, 1)]);
}

/// The tasks of a mapped group: each instance goes its own way.
#[tokio::test]
async fn instances_of_a_group_go_their_own_way() {
    let text = "
d:
  schedule: null
  task_groups:
    g: {expand: {x: source.output}}
  tasks:
    source: {operator: BashOperator, bash_command: 'true'}
    first: {operator: BashOperator, bash_command: +x, task_group_name: g}
    second: {operator: BashOperator, bash_command: 'true', task_group_name: g, dependencies: [first]}
    last: {operator: BashOperator, bash_command: 'true', dependencies: [g], trigger_rule: all_done}
";
    let map = Mapped::new(40, text).await;
    map.acts.fails.lock().unwrap().insert(("g.first".to_owned(), 33));
    assert_eq!(map.settle().await.state, DagRunState::Success);
    let states = map.states().await;
    let of = |task: &str, index: u32| states.iter().find(|s| s.0 == task && s.1 == Some(index)).unwrap().2;
    assert_eq!((of("g.first", 33), of("g.second", 33)), (TaskInstanceState::Failed, TaskInstanceState::UpstreamFailed));
    assert_eq!((of("g.first", 32), of("g.second", 32)), (TaskInstanceState::Success, TaskInstanceState::Success));
    assert_eq!(map.ran().len(), 1 + 40 + 39 + 1);
}

/// source >> mapped, which writes an asset and has callbacks.
const TOLD: &str = "
d:
  schedule: null
  tasks:
    source: {operator: BashOperator, bash_command: 'true'}
    mapped:
      operator: BashOperator
      expand: {bash_command: source.output}
      outlets: [s3://a]
      retries: 1
      retry_delay: 0
      on_failure_callback: {callback: f.failed}
      on_retry_callback: {callback: f.again}
      on_execute_callback: {callback: f.begins}
";

/// Instances tell as tasks do: each its own events and callbacks, once, however often they are told.
#[tokio::test]
async fn instances_tell_of_their_ends_once() {
    let map = Mapped::new(70, TOLD).await;
    map.acts.fails.lock().unwrap().extend([("mapped".to_owned(), 3), ("mapped".to_owned(), 65)]);
    let engine = &map.world.engine;
    let incarnation = &map.run.facts.incarnation;
    while !map.settle().await.state.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        for page in 0..2 {
            engine.look_at_pages(incarnation, MAPPED, Some(page)).await.unwrap();
        }
    }
    let told = || async {
        let (events, count) = engine.list_asset_events(&EventFilter::default(), 100, 0).await.unwrap();
        let from: BTreeSet<i64> = events.iter().map(|event| event.event.source.as_ref().unwrap().map_index).collect();
        let mut callbacks: Vec<(String, Option<u32>)> = Vec::new();
        for (callback, name) in engine.callbacks_of_run(&map.run.facts.dag_id, &map.run.facts.run_id).await.unwrap() {
            callbacks.push((name, callback.occasion.map_index()));
        }
        callbacks.retain(|(name, _)| name != "f.begins");
        callbacks.sort();
        (count, from, callbacks)
    };
    let callbacks = ["f.again", "f.failed"].map(|name| [3, 65].map(|index| (name.to_owned(), Some(index)))).concat();
    let expected = (68, (0..70).filter(|index| ![3, 65].contains(index)).collect::<BTreeSet<i64>>(), callbacks);
    assert_eq!(told().await, expected);
    let pages = engine.store.pages(incarnation, MAPPED, 0..2).await.unwrap();
    assert!(pages.iter().all(|page| page.effects.is_empty() && page.wake_at.is_none()), "{pages:?}");
    // As by somebody who was stopped between telling and striking out: the look tells again, and nothing comes of it.
    let page = &pages[0];
    let again = page.cells.iter().filter_map(|(slot, cell)| {
        let updraft_model::Cell::Final { end, try_number, winner: Some(token), .. } = cell else { return None };
        let end = if *end == End::Failed { TryEnd::Failed } else { TryEnd::Success };
        Some(((*slot, *try_number), Some(PageEffect { token: token.clone(), end })))
    });
    let again = PageChange { effects: again.collect(), ..PageChange::default() };
    assert_eq!(again.effects.len(), 64);
    engine.store.update_page(&page.key, page.first, &again).await.unwrap();
    engine.look_at_pages(incarnation, MAPPED, Some(0)).await.unwrap();
    assert_eq!(told().await, expected);
    let page = engine.store.page(&page.key).await.unwrap().unwrap();
    assert!(page.effects.is_empty() && page.wake_at.is_none(), "{page:?}");
}

/// What an ended try has to tell is noted by the write that ends it, and keeps its page in the time index until it is told.
#[tokio::test]
async fn a_page_that_owes_effects_stays_in_the_index() {
    let map = Mapped::new(1, TOLD).await;
    map.settle().await;
    let page = map.world.engine.store.pages(&map.run.facts.incarnation, MAPPED, 0..1).await.unwrap().remove(0);
    let slot = *page.cells.keys().next().unwrap();
    let effect = PageEffect { token: updraft_model::Token::trusted("t"), end: TryEnd::Success };
    let owes = updraft_model::PageDoc { effects: [((slot, 1), effect)].into(), ..page };
    let now = jiff::Timestamp::UNIX_EPOCH;
    assert!(
        updraft_scheduling::pages::needed(&owes, now).is_some_and(|at| at <= now + jiff::SignedDuration::from_mins(1))
    );
    let closed = updraft_model::PageDoc { is_open: false, ..owes.clone() };
    assert!(updraft_scheduling::pages::needed(&closed, now).is_some());
    assert_eq!(updraft_scheduling::pages::leave(&owes), PageChange::default());
}

/// In a DAG with `fail_fast` the first instance that fails stops all other tasks; the other instances of its own go on, as in Airflow.
#[tokio::test]
async fn an_instance_that_fails_stops_the_other_tasks() {
    for items in [3, 130] {
        let map = Mapped::new(items, &MAP.replace("schedule: null", "schedule: null\n  fail_fast: true")).await;
        map.acts.fails.lock().unwrap().insert(("mapped".to_owned(), 0));
        map.settle().await;
        let states = map.states().await;
        assert_eq!(states[1], state("mapped", 0, TaskInstanceState::Failed, 1));
        assert!(states[2..=items as usize].iter().all(|(_, _, state, _)| *state == TaskInstanceState::Success));
        // Without it, it would be upstream_failed.
        assert_eq!(states.last().unwrap().2, TaskInstanceState::Skipped);
        assert!(map.run().await.state.is_finished());
    }
}

/// A task that fails stops the instances of others, born or not.
#[tokio::test]
async fn a_failure_stops_the_instances_of_other_tasks() {
    let text = MAP.replace("schedule: null", "schedule: null\n  fail_fast: true")
        + "    bad: {operator: BashOperator, bash_command: 'true', dependencies: [source], priority_weight: 9}\n";
    for items in [3, 130, 3000] {
        let map = Mapped::new(items, &text).await;
        map.acts.fails.lock().unwrap().insert(("bad".to_owned(), NOT_MAPPED));
        let run = map.settle().await;
        assert_eq!((run.state, &run.intent), (DagRunState::Failed, &None));
        let ran: Vec<String> = map.ran().into_iter().map(|(task, _, _)| task).collect();
        assert_eq!(ran, ["source", "bad"]);
        let states = map.states().await;
        let of_mapped = states.iter().filter(|(task, ..)| task == "mapped");
        assert!(of_mapped.clone().all(|(_, index, state, _)| index.is_some() && *state == TaskInstanceState::Skipped));
        assert_eq!(of_mapped.count(), items as usize);
        assert_eq!(run.cell(MAPPED).state(), TaskInstanceState::Skipped);
    }
}

/// Instances of a task with a limit are held to it one by one, on all pages together; of those that end, others take the place.
#[tokio::test]
async fn instances_are_held_to_limits() {
    for (limit, most) in [
        ("max_active_tis_per_dagrun: 2", 2),
        ("max_active_tis_per_dagrun: 70", 70),
        ("max_active_tis_per_dagrun: 130", 130),
    ] {
        let text = MAP.replace("expand:", &format!("{limit}, expand:"));
        let map = Mapped::new(200, &text).await;
        let mut highest = 0;
        while map.step().await {
            let pages = map.world.engine.store.pages(&map.run.facts.incarnation, MAPPED, 0..4).await.unwrap();
            let is_active = |cell: &&Cell| matches!(cell, Cell::Queued { .. } | Cell::Running { .. });
            let active = pages.iter().flat_map(|page| page.cells.values()).filter(is_active).count();
            assert!(active <= most, "{limit}: {active} at once");
            highest = highest.max(active);
        }
        assert_eq!(map.run().await.state, DagRunState::Success, "{limit}");
        assert_eq!(map.ran().len(), 202, "{limit}");
        // As many pages as the limit fills, and of a small one all of it.
        assert!(highest >= most.min(64), "{limit}: {highest} at once");
    }
}

/// Also where pages in the middle are open again, since instances of them were cleared.
#[tokio::test]
async fn cleared_instances_are_held_to_limits() {
    let map = Mapped::new(200, &MAP.replace("expand:", "max_active_tis_per_dagrun: 1, expand:")).await;
    assert_eq!(map.settle().await.state, DagRunState::Success);
    map.ran();
    let some: IndexSet = [3, 5, 130, 131, 199].into_iter().collect();
    let engine = &map.world.engine;
    engine.clear_instances(&map.run.facts.incarnation, BTreeMap::from([(MAPPED, some)]), &[LAST]).await.unwrap();
    let mut highest = 0;
    while map.step().await {
        let pages = engine.store.pages(&map.run.facts.incarnation, MAPPED, 0..4).await.unwrap();
        let is_active = |cell: &&Cell| matches!(cell, Cell::Queued { .. } | Cell::Running { .. });
        highest = highest.max(pages.iter().flat_map(|page| page.cells.values()).filter(is_active).count());
    }
    assert_eq!((map.run().await.state, highest), (DagRunState::Success, 1));
    assert_eq!(map.ran().len(), 6);
}

#[tokio::test]
async fn a_page_of_task_instances_reads_what_is_on_it() {
    for items in [130, 1300] {
        let map = Mapped::new(items, MAP).await;
        while map.step().await {}
        let (engine, run, items) = (&map.world.engine, map.run().await, items as usize);
        let all = engine.task_instances(&run).await.unwrap();
        assert_eq!(all.len(), items + 2);
        for (offset, limit) in [(0, 1), (0, 10), (60, 10), (items - 3, 10), (items + 1, 5), (items + 2, 5), (0, 5000)] {
            let before = engine.store.items().counts();
            let (page, total) = engine.task_instances_page(&run, offset, limit).await.unwrap();
            let read = engine.store.items().counts().since(before);
            let end = all.len().min(offset + limit);
            assert_eq!((page.as_slice(), total), (&all[offset.min(end)..end], all.len()), "{offset} {limit}");
            assert!(limit > 10 || read.gets + read.batch_gets + read.queries <= 5, "of {items}, {offset}: {read:?}");
        }
    }
}

/// What it would be expanded over is skipped by the very look in which another upstream fails: the failure counts. Airflow asks its rule and
/// its values in no certain order.
#[tokio::test]
async fn a_skipped_source_hides_no_failure() {
    let text = "
d:
  schedule: null
  tasks:
    first: {operator: BashOperator, bash_command: 'true'}
    source: {operator: BashOperator, bash_command: 'true', trigger_rule: all_skipped, dependencies: [first]}
    middle: {operator: BashOperator, bash_command: 'true', dependencies: [first]}
    mapped: {operator: BashOperator, dependencies: [middle], expand: {bash_command: source.output}}
";
    for (fails, ends, state) in [
        (true, [End::Failed, End::Skipped, End::UpstreamFailed, End::UpstreamFailed], DagRunState::Failed),
        (false, [End::Success, End::Skipped, End::Success, End::Skipped], DagRunState::Success),
    ] {
        let map = Mapped::new(2, text).await;
        if fails {
            map.acts.fails.lock().unwrap().insert(("first".to_owned(), NOT_MAPPED));
        }
        let run = map.settle().await;
        let found = |task: u32| match run.cell(TaskIndex(task)) {
            Cell::Final { end, .. } => Some(*end),
            _ => None,
        };
        assert_eq!(([0, 1, 2, 3].map(found), run.state), (ends.map(Some), state));
    }
}
