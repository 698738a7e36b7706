//! Instances of mapped tasks under limits that span runs: each takes its slots, and gives them back.

use crate::mapped::{LAST, MAP, MAPPED, Mapped, SOURCE};
use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;
use updraft_model::cell::End;
use updraft_model::{
    Cell, DagId, DagRunState, HolderDoc, HolderId, IndexSet, PageDoc, PageKey, RunDoc, TaskId, TaskIndex,
};
use updraft_scheduling::holders;
use updraft_service::pools::PoolWish;
use updraft_service::runs::Leases;
use updraft_service::{Finished, Runner, TaskRef, Work};
use updraft_task_queue::{Lane, Message, TaskQueue};

fn pool(slots: i64) -> PoolWish {
    PoolWish { name: "p".to_owned(), slots, description: String::new(), include_deferred: false }
}

fn the_pool() -> HolderId {
    HolderId::Pool("p".to_owned())
}

/// `MAP`, whose mapped task is under a limit.
fn under(limit: &str) -> String {
    MAP.replace("expand:", &format!("{limit}, expand:"))
}

impl Mapped {
    async fn holder(&self, id: &HolderId) -> Option<HolderDoc> {
        self.world.engine.store.holder(id).await.unwrap()
    }

    /// How many task instances of a run are queued or run, mapped or not.
    async fn under_way(&self, run: &RunDoc) -> usize {
        let pages = self.pages_of(run).await;
        let cells = run.cells.values().chain(pages.iter().flat_map(|page| page.cells.values()));
        cells.filter(|cell| cell.takes_a_place()).count()
    }

    async fn pages_of(&self, run: &RunDoc) -> Vec<PageDoc> {
        self.world.engine.store.pages(&run.facts.incarnation, MAPPED, 0..4).await.unwrap()
    }

    /// How many slots the instances of a run take that are queued or run; each of them holds its own.
    async fn slots_used(&self, run: &RunDoc, id: &HolderId) -> i64 {
        let doc = self.holder(id).await;
        let mut used = 0;
        for page in self.pages_of(run).await {
            for (slot, cell) in &page.cells {
                if !matches!(cell, Cell::Queued { .. } | Cell::Running { .. }) {
                    continue;
                }
                let claim = doc.as_ref().and_then(|doc| doc.holders.get(&holders::instance_name(&page, *slot)));
                let claim = claim.unwrap_or_else(|| panic!("{slot:?} is {} without slots of {id}", cell.encode()));
                let of = Some((run, &page));
                assert!(holders::is_instance_alive(claim, of, *slot, |_| false), "{slot:?} of another attempt");
                used += i64::from(claim.slots);
            }
        }
        used
    }
}

/// Never more than the pool has slots for, always as many, and in the end none is left.
#[tokio::test]
async fn a_pool_holds_back_instances() {
    for (slots, limit, most) in [(2, "pool: p", 2), (7, "pool: p, pool_slots: 3", 6), (100, "pool: p", 100)] {
        let map = Mapped::new(200, &under(limit)).await;
        map.world.engine.set_pool(&pool(slots)).await.unwrap();
        let mut highest = 0;
        while map.step().await {
            let used = map.slots_used(&map.run().await, &the_pool()).await;
            assert!(used <= slots, "{limit}: {used} of {slots}");
            highest = highest.max(used);
            let waiters = map.holder(&the_pool()).await.map_or(0, |doc| doc.waiters.len());
            assert!(waiters <= 4 * holders::INSTANCES_IN_LINE, "{limit}: {waiters} wait in line");
        }
        assert_eq!(map.run().await.state, DagRunState::Success, "{limit}");
        assert_eq!((map.ran().len(), highest), (202, most), "{limit}");
        let doc = map.holder(&the_pool()).await.unwrap();
        assert_eq!((doc.used, doc.holders.len(), doc.waiters.len()), (0, 0, 0), "{limit}");
    }
}

/// Three writes more for each: it takes its slots, is queued, gives them back. Everybody who writes a limit writes all who hold slots of it, so
/// that one which more instances hold at once than fill a kilobyte costs more.
#[tokio::test]
async fn what_an_instance_in_a_pool_costs() {
    for (slots, most) in [(2, 6_300), (16, 6_300), (10_000, 12_500)] {
        let map = Mapped::new(1000, &under("pool: p")).await;
        map.world.engine.set_pool(&pool(slots)).await.unwrap();
        let before = map.world.engine.store.items().counts();
        assert_eq!(map.settle().await.state, DagRunState::Success);
        let cost = map.world.engine.store.items().counts().since(before);
        assert!(cost.total_write_units() <= most, "{slots}: {} write units: {cost:?}", cost.total_write_units());
    }
}

/// A limit over all runs counts instances of all runs.
#[tokio::test]
async fn instances_of_two_runs_share_a_limit() {
    let map = Mapped::new(100, &under("max_active_tis_per_dag: 3")).await;
    let other = Box::pin(map.world.trigger("d")).await;
    let id = HolderId::Task(DagId::parse("d").unwrap(), TaskId::parse("mapped").unwrap());
    let mut highest = 0;
    while map.step().await {
        let runs = map.world.engine.store.runs(std::slice::from_ref(&other.facts.incarnation)).await.unwrap();
        let used = map.slots_used(&map.run().await, &id).await + map.slots_used(&runs[0], &id).await;
        assert!(used <= 3, "{used}");
        highest = highest.max(used);
    }
    assert_eq!((map.ran().len(), highest), (204, 3));
}

/// `max_active_tasks` counts all instances of a run, those of several mapped tasks and of tasks that are not mapped: as Airflow does.
#[tokio::test]
async fn max_active_tasks_counts_instances_and_tasks_together() {
    let text = "
d:
  schedule: null
  max_active_tasks: 5
  tasks:
    source: {operator: BashOperator, bash_command: 'true'}
    mapped: {operator: BashOperator, expand: {bash_command: source.output}}
    other: {operator: BashOperator, expand: {bash_command: source.output}}
    first: {operator: BashOperator, bash_command: 'true', dependencies: [source]}
    second: {operator: BashOperator, bash_command: 'true', dependencies: [source], priority_weight: 9}
    last: {operator: BashOperator, bash_command: 'true', dependencies: [mapped, other, first, second]}
";
    let map = Mapped::new(90, text).await;
    let mut highest = 0;
    loop {
        let run = map.run().await;
        let mut active = map.under_way(&run).await;
        for page in map.world.engine.store.pages(&run.facts.incarnation, TaskIndex(2), 0..4).await.unwrap() {
            active += page.cells.values().filter(|cell| cell.takes_a_place()).count();
        }
        assert!(active <= 5, "{active} are under way");
        highest = highest.max(active);
        if !map.step().await {
            break;
        }
    }
    assert_eq!((map.run().await.state, highest), (DagRunState::Success, 5));
    let ran = map.ran();
    assert_eq!(ran.len(), 184);
    let place = |id: &str| ran.iter().position(|(task, ..)| task == id).unwrap();
    assert!(place("second") < 10, "who is of a higher priority waits for instances: {}", place("second"));
    let doc = map.holder(&HolderId::Run(map.run.facts.incarnation.clone())).await.unwrap();
    assert_eq!((doc.size, doc.used, doc.holders.len(), doc.waiters.len()), (Some(5), 0, 0, 0));
}

/// Whoever has slots of a pool and no place in its run leaves them to others: what waits in one run holds up no other run.
#[tokio::test]
async fn a_run_at_its_limit_keeps_no_slots_of_a_pool() {
    let map =
        Mapped::new(100, &under("pool: p").replace("schedule: null", "schedule: null\n  max_active_tasks: 2")).await;
    map.world.engine.set_pool(&pool(10)).await.unwrap();
    while map.step().await {
        let run = map.run().await;
        assert!(map.under_way(&run).await <= 2);
        let held = map.holder(&the_pool()).await.map_or(0, |doc| doc.used);
        assert!(held <= 4, "{held} slots of the pool are held, for 2 places");
    }
    assert_eq!((map.run().await.state, map.ran().len()), (DagRunState::Success, 102));
    assert_eq!(map.holder(&the_pool()).await.unwrap().used, 0);
}

/// And the other way round: who waits for a pool leaves its place in the run to those that need none.
#[tokio::test]
async fn who_waits_for_a_pool_keeps_no_place_of_its_run() {
    let text = "
d:
  schedule: null
  max_active_tasks: 1
  tasks:
    source: {operator: BashOperator, bash_command: 'true'}
    mapped: {operator: BashOperator, expand: {bash_command: source.output}, pool: p, priority_weight: 9}
    plain: {operator: BashOperator, bash_command: 'true', dependencies: [source]}
";
    let map = Mapped::new(3, text).await;
    map.world.engine.set_pool(&pool(0)).await.unwrap();
    map.settle().await;
    let ran: Vec<String> = map.ran().into_iter().map(|(task, ..)| task).collect();
    assert_eq!(ran, ["source", "plain"]);
    map.world.engine.set_pool(&pool(2)).await.unwrap();
    assert_eq!(map.settle().await.state, DagRunState::Success);
    assert_eq!(map.ran().len(), 3);
}

/// A task of a group that needs more slots than there are holds up no other, as in Airflow.
#[tokio::test]
async fn who_needs_more_slots_than_there_are_holds_up_no_other_task_of_its_group() {
    let text = "
d:
  schedule: null
  task_groups:
    each: {expand: {x: source.output}}
  tasks:
    source: {operator: BashOperator, bash_command: 'true'}
    wide: {operator: BashOperator, bash_command: +x, task_group_name: each, pool: p, pool_slots: 5, priority_weight: 9}
    thin: {operator: BashOperator, bash_command: +x, task_group_name: each, pool: p}
";
    let map = Mapped::new(40, text).await;
    map.world.engine.set_pool(&pool(2)).await.unwrap();
    map.settle().await;
    let ran = |of: &str, ran: &[(String, Option<u32>, u32)]| ran.iter().filter(|(task, ..)| task.ends_with(of)).count();
    let found = map.ran();
    assert_eq!((ran("thin", &found), ran("wide", &found)), (40, 0));
    map.world.engine.set_pool(&pool(5)).await.unwrap();
    assert_eq!(map.settle().await.state, DagRunState::Success);
    assert_eq!(ran("wide", &map.ran()), 40);
}

/// Numbers that follow from a seed.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, most: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % most
    }
}

/// An attempt that never comes back.
struct Hangs;

impl Runner for Hangs {
    async fn run<S: Future<Output = String> + Send>(&self, _: &Work, _: S) -> Option<Finished> {
        std::future::pending().await
    }
}

impl Mapped {
    /// Claims a try, and dies.
    async fn die(&self) {
        let engine = &self.world.engine;
        let received = engine.queue.receive(Lane::Tasks, 1, Duration::ZERO).await.unwrap().pop();
        let Some(Message::Task { incarnation, task, try_number, place, .. }) = received.and_then(|d| d.message) else {
            return;
        };
        let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
        let work = engine.work(&task, &Hangs, None, || None);
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.map_or(true, |worked| worked.is_ok()));
    }

    /// What a server does first that takes all attempts for dead.
    async fn recover(&self) {
        let (engine, incarnation) = (&self.world.engine, &self.run.facts.incarnation);
        engine.look_at_run(incarnation, Leases::AllDead).await.unwrap();
        for page in 0..4 {
            let key = PageKey { incarnation: incarnation.clone(), unit: MAPPED, page };
            engine.look_at_page(&key, Leases::AllDead).await.unwrap();
        }
        engine.look_at_holder(&the_pool()).await.unwrap();
        engine.look_at_holder(&HolderId::Run(incarnation.clone())).await.unwrap();
    }

    async fn do_something(&self, drawn: &mut Drawn, size: &mut i64) {
        let (engine, run) = (&self.world.engine, &self.run.facts.incarnation);
        let some = |drawn: &mut Drawn| -> BTreeMap<TaskIndex, IndexSet> {
            BTreeMap::from([(MAPPED, (0..3).map(|_| drawn.below(100)).collect())])
        };
        let is_expanded = self.run().await.mapped.expanded().next().is_some();
        match drawn.below(100) {
            0..3 => self.lose_messages().await,
            3..9 => self.die().await,
            9..12 => self.recover().await,
            12..15 if is_expanded => {
                engine.clear_instances(run, some(drawn), &[]).await.unwrap();
            }
            15..17 if is_expanded => {
                engine.mark_instances(run, some(drawn), End::Success).await.unwrap();
            }
            17..18 => {
                engine.clear(run, &[SOURCE, MAPPED, LAST]).await.unwrap();
            }
            18..19 => {
                engine.clear(run, &[MAPPED]).await.unwrap();
            }
            19..21 => {
                *size = i64::from(drawn.below(6));
                engine.set_pool(&pool(*size)).await.unwrap();
            }
            21..23 => engine.look_at_holder(&the_pool()).await.unwrap(),
            _ => {
                self.step().await;
            }
        }
    }
}

/// Whatever is cleared, marked, lost, killed and resized: no instance is queued or runs without its slots, no more are taken than there are,
/// in the end none is left, and everything ends.
#[tokio::test]
async fn slots_of_instances_are_kept_and_given_back_whatever_happens() {
    let seeds = std::env::var("UPDRAFT_LIMIT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    let mut ran = 0;
    for seed in 0..seeds {
        let mut drawn = Drawn(seed);
        let slots = 1 + drawn.below(2);
        let items = 60 + drawn.below(80);
        let mut text = under(&format!("retries: 99, retry_delay: 0, pool: p, pool_slots: {slots}"));
        // In every other world the run has a limit of its own, too.
        let limit = (seed % 2 == 1).then(|| 1 + drawn.below(4) as usize);
        if let Some(limit) = limit {
            text = text.replace("schedule: null", &format!("schedule: null\n  max_active_tasks: {limit}"));
        }
        let map = Mapped::new(items, &text).await;
        let mut size = i64::from(drawn.below(8));
        map.world.engine.set_pool(&pool(size)).await.unwrap();
        let mut before = 0;
        for step in 0..300 {
            map.do_something(&mut drawn, &mut size).await;
            let used = map.slots_used(&map.run().await, &the_pool()).await;
            let doc = map.holder(&the_pool()).await.unwrap();
            assert_eq!(doc.used, doc.holders.values().map(|claim| i64::from(claim.slots)).sum::<i64>());
            assert!(used <= doc.used && doc.used <= size.max(before), "seed {seed}, step {step}: {used}, {doc:?}");
            before = doc.used;
            let active = map.under_way(&map.run().await).await;
            assert!(limit.is_none_or(|limit| active <= limit), "seed {seed}, step {step}: {active} of {limit:?}");
        }
        map.world.engine.set_pool(&pool(2)).await.unwrap();
        let mut rounds = 0;
        while !map.run().await.state.is_finished() {
            map.recover().await;
            map.settle().await;
            rounds += 1;
            assert!(rounds < 40, "seed {seed} does not end: {:?}", map.holder(&the_pool()).await);
        }
        map.world.engine.look_at_holder(&the_pool()).await.unwrap();
        let doc = map.holder(&the_pool()).await.unwrap();
        assert_eq!((doc.used, doc.waiters.len()), (0, 0), "seed {seed}: {doc:?}");
        let of_run = HolderId::Run(map.run.facts.incarnation.clone());
        map.world.engine.look_at_holder(&of_run).await.unwrap();
        let of_run = map.holder(&of_run).await;
        assert_eq!(of_run.is_some(), limit.is_some(), "seed {seed}");
        assert!(of_run.is_none_or(|doc| doc.used == 0 && doc.waiters.is_empty()), "seed {seed}");
        ran += map.ran().iter().filter(|(task, ..)| task == "mapped").count();
    }
    assert!(ran > 50 * seeds as usize, "{ran} instances ran");
}
