//! One seed's world from its beginning to its quiet end: who is polled next, what happens next.

use crate::actors::{Hand, Kind, bare_store, engine};
use crate::assets;
use crate::faults::{Faults, Mutation};
use crate::maps;
use crate::rng::{Rng, mix};
use crate::scenario;
use crate::store::at_once;
use crate::trace::Stats;
use crate::world::{Event, MINUTE, Micros, Process, SECOND, Shared, TaskWaker, Woken, World, instant};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use updraft_model::{DagDoc, HolderDoc, HolderId};

/// How long after the last fault everything must have ended. Sixteen looks of the longest wait between two.
const CALM_MOST: Micros = 240 * MINUTE;

struct Task {
    process: usize,
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// What came of a seed.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) violation: Option<String>,
    pub(crate) stats: Stats,
    pub(crate) digest: (u64, u64),
    pub(crate) tail: String,
    /// The whole trace, where it was asked for.
    pub(crate) text: String,
}

/// What is to be simulated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish {
    pub(crate) seed: u64,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) keep_trace: bool,
    /// Whether the store is asked by the requests of the DynamoDB adapter.
    pub(crate) adapter: bool,
    /// Whether the clock jumps.
    pub(crate) jumps: bool,
}

struct Sim {
    world: Shared,
    woken: Arc<Woken>,
    tasks: BTreeMap<u64, Task>,
    kinds: Vec<Kind>,
    next_task: u64,
}

/// Runs one seed.
pub(crate) fn run(wish: Wish) -> Report {
    let mut rng = Rng::new(mix(wish.seed) ^ 0x5eed);
    let faults = Faults::draw(&mut rng);
    let faults = if wish.adapter { faults.behind_an_adapter() } else { faults };
    let window = rng.range(2 * MINUTE, 7 * MINUTE);
    let calm_from = window + rng.range(0, 6 * MINUTE);
    let mut world = World::new(wish.seed, faults, calm_from, wish.mutation, wish.keep_trace);
    let mut kinds = processes(&mut rng);
    if wish.jumps {
        kinds.iter_mut().for_each(Kind::as_on_a_server);
    }
    for (number, kind) in kinds.iter().enumerate() {
        let name = match kind {
            Kind::Worker { .. } => format!("worker{number}"),
            Kind::Scheduler { .. } => format!("scheduler{number}"),
            Kind::Person { .. } => format!("person{number}"),
            Kind::Caretaker => "caretaker".to_owned(),
        };
        let mortal = *kind != Kind::Caretaker;
        let process = Process {
            name,
            generation: 0,
            alive: true,
            frozen_until: 0,
            mortal,
            deadline: None,
            disturbed: Vec::new(),
        };
        world.processes.push(process);
    }
    let world = Shared::new(world);
    found(&world, &mut rng, window);
    let woken = Arc::new(Woken::default());
    let mut sim = Sim { world, woken, tasks: BTreeMap::new(), kinds, next_task: 0 };
    for process in 0..sim.kinds.len() {
        sim.spawn(process);
    }
    if wish.jumps {
        sim.world.lock().jumps(window);
    }
    sim.world.lock().at(calm_from, Event::Check);
    while sim.step() {}
    sim.report(wish.seed)
}

impl Kind {
    /// Whose clock is put forward and back is a server, and its workers end when they please.
    fn as_on_a_server(&mut self) {
        if let Self::Worker { limit, .. } = self {
            *limit = None;
        }
    }
}

/// Workers as in the cloud or as on a server, schedulers, and people.
fn processes(rng: &mut Rng) -> Vec<Kind> {
    let in_cloud = rng.chance(5_000);
    let limit = in_cloud.then(|| rng.range(8 * MINUTE, 15 * MINUTE));
    let mut kinds = Vec::new();
    for _ in 0..rng.range(2, 5) {
        kinds.push(Kind::Worker { slots: if in_cloud { 1 } else { 1 + rng.index(3) }, limit });
    }
    for _ in 0..rng.range(1, 4) {
        kinds.push(Kind::Scheduler { ahead: rng.chance(6_000) });
    }
    if rng.chance(8_500) {
        for _ in 0..rng.range(1, 3) {
            kinds.push(Kind::Person { acts: 1 + rng.index(8) });
        }
    }
    kinds.push(Kind::Caretaker);
    kinds
}

/// Fills the store with DAGs.
fn found(world: &Shared, rng: &mut Rng, window: Micros) {
    let store = bare_store(world);
    let slots = 2 + rng.index(2) as i64;
    let pool = HolderDoc::new(HolderId::Pool(scenario::POOL.to_owned()), Some(slots));
    at_once(store.put_holder(&pool)).expect("memory does not fail");
    world.lock().monitor.holders.insert(pool.id.clone(), pool);
    for number in 0..=rng.index(3) {
        let seed = world.lock().seed;
        let dag = maps::with_maps(seed, number, scenario::dag(rng, number, window));
        let dag = assets::with_assets(seed, number, dag);
        let mut document = DagDoc::new(dag.dag_id.clone(), dag.file.clone(), false);
        document.max_active_runs = dag.max_active_runs_effective();
        document.wake_at = Some(instant(0));
        assets::found(&mut world.lock(), &store, &dag, &mut document);
        let version = scenario::version(dag);
        let id = at_once(store.put_version(&version)).expect("memory does not fail");
        document.version = Some(id.clone());
        at_once(store.put_dag(&document)).expect("memory does not fail");
        let mut world = world.lock();
        let plan = world.plan(version.dag);
        world.monitor.plans.insert(id, Arc::new(plan));
        world.monitor.dags.insert(document.dag_id.clone(), document);
    }
    world.lock().index_everything();
}

impl Sim {
    /// Starts the tasks of a process.
    fn spawn(&mut self, process: usize) {
        let hand = Hand { world: self.world.clone(), process, engine: engine(&self.world, process) };
        let mut futures: Vec<Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        match self.kinds[process] {
            Kind::Worker { slots, limit } => {
                futures.extend((0..slots).map(|_| Box::pin(hand.clone().work(limit)) as Pin<Box<_>>));
            }
            Kind::Scheduler { ahead } => {
                futures.push(Box::pin(hand.clone().tick(ahead)));
                futures.push(Box::pin(hand.clone().look()));
                futures.push(Box::pin(hand.look()));
            }
            Kind::Person { acts } => futures.push(Box::pin(hand.act(acts))),
            Kind::Caretaker => futures.push(Box::pin(hand.take_care())),
        }
        for future in futures {
            self.next_task += 1;
            self.woken.lock().insert(self.next_task);
            self.tasks.insert(self.next_task, Task { process, future });
        }
    }

    /// Polls one task, or lets the next thing happen. False: it is over.
    fn step(&mut self) -> bool {
        if self.world.lock().violation.is_some() {
            return false;
        }
        if let Some(task) = self.choose() {
            self.poll(task);
            return true;
        }
        let event = {
            let mut world = self.world.lock();
            let Some(((at, _), event)) = world.events.pop_first() else {
                world.violate("9: nothing is ever going to happen again");
                return false;
            };
            world.now = at;
            event
        };
        self.happen(event)
    }

    /// One of the tasks that may go on; the seed says which.
    fn choose(&mut self) -> Option<u64> {
        let mut woken = self.woken.lock();
        if woken.is_empty() {
            return None;
        }
        woken.retain(|task| self.tasks.contains_key(task));
        let mut world = self.world.lock();
        let may = |task: &&u64| world.processes[self.tasks[task].process].frozen_until <= world.now;
        let ready: Vec<u64> = woken.iter().filter(may).copied().collect();
        if ready.is_empty() {
            return None;
        }
        let task = *world.rng.pick(&ready);
        woken.remove(&task);
        Some(task)
    }

    fn poll(&mut self, id: u64) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let waker = Waker::from(Arc::new(TaskWaker { task: id, woken: self.woken.clone() }));
        if let Poll::Ready(()) = task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.tasks.remove(&id);
        }
    }

    fn happen(&mut self, event: Event) -> bool {
        let mut world = self.world.lock();
        match event {
            Event::Fire(op) => world.fire(op),
            Event::Land(op) => world.land(op),
            Event::Visible(lane) => world.visible(lane),
            Event::Freeze { process, until } => {
                if world.processes[process].alive {
                    let length = until - world.now;
                    world.stats.pauses += 1;
                    world.stats.pauses_past_a_lease += u64::from(length > 150 * SECOND);
                    world.disturb(process);
                    world.say(process, &format!("pauses for {} s", length / SECOND));
                    world.processes[process].frozen_until = until;
                    world.at(until, Event::Thaw);
                }
            }
            Event::Thaw => {}
            Event::Jump(by) => world.jump(by),
            Event::Kill { process, generation } => {
                if world.processes[process].generation == generation && world.processes[process].alive {
                    world.stats.kills += 1;
                    drop(world);
                    self.kill(process, "dies");
                }
            }
            Event::Deadline { process, generation, at } => {
                let is_cut =
                    world.processes[process].generation == generation && world.processes[process].deadline == Some(at);
                if is_cut {
                    world.stats.deadlines_reached += 1;
                    drop(world);
                    self.kill(process, "reaches the limit of its invocation");
                }
            }
            Event::Restart { process, generation } => {
                if world.processes[process].generation == generation {
                    world.processes[process].alive = true;
                    world.say(process, "starts again");
                    drop(world);
                    self.spawn(process);
                }
            }
            Event::Check => {
                drop(world);
                return self.check();
            }
        }
        true
    }

    /// A process dies: everything it was doing is dropped where it stood.
    fn kill(&mut self, process: usize, how: &str) {
        let doomed: Vec<u64> = self.tasks.iter().filter(|(_, t)| t.process == process).map(|(id, _)| *id).collect();
        // Dropped one by one, with the world unlocked: requests on their way are abandoned.
        for id in doomed {
            drop(self.tasks.remove(&id));
        }
        let is_person = matches!(self.kinds[process], Kind::Person { .. });
        let mut world = self.world.lock();
        world.say(process, how);
        world.disturb(process);
        world.monitor.process_is_gone(process);
        let died = &mut world.processes[process];
        died.alive = false;
        died.generation += 1;
        died.frozen_until = 0;
        died.deadline = None;
        let generation = died.generation;
        // A person whose command was killed does not type it again.
        if !is_person {
            let at = world.now + world.rng.range(SECOND / 10, MINUTE);
            world.at(at, Event::Restart { process, generation });
        }
    }

    /// Looks whether all is quiet; if so, judges how it ended.
    fn check(&mut self) -> bool {
        let mut world = self.world.lock();
        let restless = world.restless();
        if restless.is_none() {
            world.judge();
            return false;
        }
        if world.now > world.calm_from + CALM_MOST + world.grace().as_micros() as Micros {
            let what = restless.unwrap_or_default();
            world.violate(format!("9: {} minutes after the last fault {what}", CALM_MOST / MINUTE));
            return false;
        }
        let at = world.now + MINUTE;
        world.at(at, Event::Check);
        true
    }

    fn report(self, seed: u64) -> Report {
        // The tasks go first: dropping them looks into the world.
        drop(self.tasks);
        let mut world = self.world.lock();
        world.stats.virtual_minutes = (world.now / MINUTE) as u64;
        Report {
            seed,
            violation: world.violation.clone(),
            stats: world.stats,
            digest: world.trace.digest(),
            tail: world.trace.tail(),
            text: world.trace.text(),
        }
    }
}
