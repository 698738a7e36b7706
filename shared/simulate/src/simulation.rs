//! The simulation itself: whatever happens next, until its time is over.

use crate::cost::{Costs, Counted, Prices};
use crate::grid::Grid;
use crate::guess::Guesses;
use crate::report::{DagReport, Report, RunReport, TaskReport, overlaps};
use crate::runner::{Imagined, Told};
use crate::world::{Busy, Event, Futures, Micros, Shared, at_once};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use updraft_metastore::counting::Counting;
use updraft_metastore::{Metastore, Version};
use updraft_model::{Dag, DagDoc, DagId, DagRunState, DataInterval, RunDoc};
use updraft_service::{Continuation, Engine, Settings, TaskRef};
use updraft_task_queue::Message;

/// What is to be simulated.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The DAGs, as their files say.
    pub dags: Vec<Dag>,
    /// When it begins. Runs that were due before are taken for made.
    pub from: Timestamp,
    /// When it ends: the first instant that is not simulated any more.
    pub to: Timestamp,
    /// How many tasks may run at once.
    pub parallelism: u64,
    /// What everything is drawn from.
    pub seed: u64,
    /// How long tasks take, and how often they fail.
    pub guesses: Guesses,
    /// How the engine is set up.
    pub settings: Settings,
    /// Megabytes of a worker on AWS.
    pub worker_memory: u64,
}

/// Why nothing was simulated.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The time is over before it begins.
    #[error("the simulation would end ({to}) before it begins ({from})")]
    Backwards {
        /// When it begins.
        from: Timestamp,
        /// When it ends.
        to: Timestamp,
    },
    /// There is no time between its beginning and its end.
    #[error("the simulation would end when it begins ({0}), and its end is not simulated any more")]
    Empty(Timestamp),
    /// Nothing could run.
    #[error("no task may run with a parallelism of 0")]
    NoWorkers,
    /// The engine said so.
    #[error(transparent)]
    Engine(#[from] updraft_service::Error),
    /// It would never end.
    #[error(
        "the engine looks at the same thing again and again at {0}, and nothing changes; this is a fault of Updraft"
    )]
    Stuck(Timestamp),
}

type SimEngine = Engine<Arc<Counting<Grid>>, Shared, Shared>;

/// How long after a tick something that is still due is looked at again, as a server does.
const RETRY_AFTER: Micros = 20_000;

/// How many ticks at one instant, none of which changes what is due next, are taken for a fault.
const STUCK_AFTER: u32 = 10_000;

/// Runs it.
///
/// # Errors
/// A wish that makes no sense, and faults of the engine.
pub fn simulate(wish: &Wish) -> Result<Report, Error> {
    if wish.to < wish.from {
        return Err(Error::Backwards { from: wish.from, to: wish.to });
    }
    if wish.to == wish.from {
        return Err(Error::Empty(wish.to));
    }
    if wish.parallelism == 0 {
        return Err(Error::NoWorkers);
    }
    let mut simulation = Simulation::new(wish)?;
    simulation.go_on_until(wish.to)?;
    simulation.report(wish)
}

struct Simulation {
    world: Shared,
    items: Arc<Counting<Grid>>,
    engine: Arc<SimEngine>,
    runner: Arc<Imagined>,
    futures: Futures,
    busy: Busy,
    /// Tasks that wait for a worker, by priority and then by when they came.
    waiting: BTreeMap<(i64, u64), TaskRef>,
    /// The same by what they are: a message may come twice.
    known: BTreeSet<Name>,
    arrived: u64,
    waiting_most: u64,
    ticked: (Micros, u32),
    parallelism: u64,
    faults: Faults,
}

/// The first fault of the engine: on a store that never fails there is none.
#[derive(Debug, Clone, Default)]
struct Faults(Arc<Mutex<Option<updraft_service::Error>>>);

impl Faults {
    fn note<T>(&self, result: Result<T, updraft_service::Error>) {
        if let Err(error) = result {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        }
    }

    fn first(&self) -> Option<updraft_service::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A try: its run, its task, its map index, its number.
type Name = (String, u32, Option<u32>, u32);

fn name_of(task: &TaskRef) -> Name {
    (task.incarnation.to_string(), task.task.0, task.place.map(|place| place.map_index), task.try_number)
}

/// The answer of a request to the store in memory, which never waits.
fn store<T>(answer: impl Future<Output = Result<T, updraft_metastore::Error>>) -> Result<T, Error> {
    let unavailable = || updraft_metastore::Error::Unavailable("the store in memory did not answer".to_owned());
    Ok(at_once(answer).unwrap_or_else(|| Err(unavailable())).map_err(updraft_service::Error::from)?)
}

impl Simulation {
    fn new(wish: &Wish) -> Result<Self, Error> {
        let world = Shared::new(wish.from, wish.seed);
        let items = Arc::new(Counting::new(Grid::default()));
        let settings = Settings { plans_max: wish.dags.len().max(512), ..wish.settings.clone() };
        let engine = Arc::new(Engine::new(items.clone(), world.clone(), world.clone(), settings));
        let told = Arc::new(Mutex::new(Told::default()));
        let runner = Imagined { world: world.clone(), seed: wish.seed, guesses: wish.guesses.clone(), told };
        for dag in &wish.dags {
            found(&engine.store, dag, wish.from)?;
        }
        Ok(Self {
            world,
            items,
            engine,
            runner: Arc::new(runner),
            futures: Futures::default(),
            busy: Busy::default(),
            waiting: BTreeMap::new(),
            known: BTreeSet::new(),
            arrived: 0,
            waiting_most: 0,
            ticked: (Micros::MIN, 0),
            parallelism: wish.parallelism,
            faults: Faults::default(),
        })
    }

    fn go_on_until(&mut self, to: Timestamp) -> Result<(), Error> {
        let end = to.as_microsecond();
        loop {
            self.futures.settle();
            if let Some(error) = self.faults.first() {
                return Err(error.into());
            }
            if self.start_work() {
                continue;
            }
            let due = self.items.inner().next_wake().map(|millis| millis.saturating_mul(1000));
            let mut world = self.world.lock();
            let next = world.events.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = next.into_iter().chain(due).min().map(|at| at.max(world.now)).filter(|at| *at < end) else {
                return Ok(());
            };
            world.now = at;
            // What was sent goes first: it may do what would be looked for.
            let event = if next.is_some_and(|next| next <= at) { world.events.pop_first() } else { None };
            drop(world);
            match event {
                Some((_, Event::Wake(waker))) => waker.wake(),
                Some((_, Event::Deliver(message))) => self.deliver(message),
                None => self.tick(at)?,
            }
        }
    }

    fn tick(&mut self, at: Micros) -> Result<(), Error> {
        if self.ticked.0 == at {
            // Still due after a tick: its look was overtaken. Not at once again, as in a server.
            self.ticked.1 += 1;
            if self.ticked.1 > STUCK_AFTER {
                return Err(Error::Stuck(Timestamp::from_microsecond(at).unwrap_or(Timestamp::MAX)));
            }
            if self.ticked.1.is_multiple_of(100) {
                self.world.lock().now += RETRY_AFTER;
            }
        } else {
            self.ticked = (at, 0);
        }
        let (engine, faults) = (self.engine.clone(), self.faults.clone());
        self.futures.spawn(async move {
            faults.note(engine.tick().await);
        });
        Ok(())
    }

    fn deliver(&mut self, message: Message) {
        let (engine, faults) = (self.engine.clone(), self.faults.clone());
        match message {
            Message::Task { incarnation, task, try_number, priority, place, .. } => {
                let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
                if self.known.insert(name_of(&task)) {
                    self.arrived += 1;
                    self.waiting.insert((-priority, self.arrived), task);
                    self.waiting_most = self.waiting_most.max(self.waiting.len() as u64);
                }
            }
            Message::Run { incarnation } => self.futures.spawn(async move {
                use updraft_service::runs::Leases;
                faults.note(engine.look_at_run(&incarnation, Leases::Heed).await);
            }),
            Message::Page { incarnation, unit, page } => self.futures.spawn(async move {
                faults.note(engine.look_at_pages(&incarnation, unit, page).await);
            }),
            // Nobody intervenes, and nothing is called: callbacks and deadlines are taken out of the DAGs.
            Message::Intervention { .. } | Message::Backfill { .. } | Message::Callback { .. } => {}
            Message::Dag { dag_id } => self.futures.spawn(async move {
                faults.note(engine.look_at_dag(&dag_id).await);
            }),
            Message::Holder { holder } => self.futures.spawn(async move {
                faults.note(engine.look_at_holder(&holder).await);
            }),
        }
    }

    /// Gives idle workers what waits. False: there is nothing to give, or nobody to give it to.
    fn start_work(&mut self) -> bool {
        let mut started = false;
        while self.busy.count() < self.parallelism {
            let Some((_, task)) = self.waiting.pop_first() else { break };
            self.known.remove(&name_of(&task));
            self.begin(task);
            started = true;
        }
        self.world.lock().waiting = self.waiting.first_key_value().map(|((priority, _), _)| -priority);
        started
    }

    fn begin(&mut self, task: TaskRef) {
        let (engine, runner, world) = (self.engine.clone(), self.runner.clone(), self.world.clone());
        let (busy, faults) = (self.busy.clone(), self.faults.clone());
        busy.begin();
        self.futures.spawn(async move {
            let may_continue = || {
                let least = world.lock().waiting.map(|waiting| waiting.saturating_add(1));
                Some(Continuation { priority_least: least, timeout_most: None, worker: None })
            };
            faults.note(engine.work(&task, &*runner, None, may_continue).await);
            busy.end();
        });
    }
}

/// Puts a DAG into the store, as ingesting its file does. Runs that were due before are taken for made.
fn found(metastore: &Metastore<Arc<Counting<Grid>>>, dag: &Dag, from: Timestamp) -> Result<(), Error> {
    let mut dag = dag.clone();
    dag.callbacks.clear();
    dag.deadlines.clear();
    for task in &mut dag.tasks {
        task.callbacks.clear();
    }
    let mut document = DagDoc::new(dag.dag_id.clone(), dag.file.clone(), false);
    document.max_active_runs = dag.max_active_runs_effective();
    document.wake_at = Some(from);
    document.last = last_before(&dag, from);
    let version = Version { dag, files: BTreeMap::new() };
    document.version = Some(store(metastore.put_version(&version))?);
    store(metastore.put_dag(&document))?;
    Ok(())
}

/// The data interval of the last run that was due before.
fn last_before(dag: &Dag, from: Timestamp) -> Option<DataInterval> {
    // Not one by one from the start: the latest that was missed is what a DAG that does not catch up makes first.
    let mut restriction = dag.time_restriction();
    restriction.catchup = false;
    // What is due at the beginning is not missed by then: asked at that instant, the timetable would name it, and nothing before it.
    let before = from.saturating_sub(SignedDuration::from_micros(1)).unwrap_or(from);
    let missed = dag.timetable.next_dagrun_info(None, &restriction, before).ok().flatten()?;
    if missed.run_after < from { missed.data_interval } else { None }
}

impl Simulation {
    fn report(self, wish: &Wish) -> Result<Report, Error> {
        let counts = self.items.counts();
        let mut runs = Vec::new();
        let mut dags = Vec::new();
        let told = std::mem::take(&mut *self.runner.told());
        let mut tasks: BTreeMap<String, Vec<TaskReport>> = BTreeMap::new();
        for ((dag_id, task_id), tally) in &told.tasks {
            let (tries, failures, seconds) = (tally.tries, tally.failures, tally.seconds);
            let report = TaskReport { task_id: task_id.clone(), tries, failures, seconds };
            tasks.entry(dag_id.clone()).or_default().push(report);
        }
        for dag in &wish.dags {
            let of_dag = self.runs_of(&dag.dag_id)?;
            let tasks = tasks.remove(dag.dag_id.as_str()).unwrap_or_default();
            dags.push(dag_report(&dag.dag_id, &of_dag, tasks, wish.to));
            runs.extend(of_dag.iter().map(run_report));
        }
        dags.sort_by(|a, b| a.dag_id.cmp(&b.dag_id));
        runs.sort_by(|a, b| (a.run_after, &a.dag_id, &a.run_id).cmp(&(b.run_after, &b.dag_id, &b.run_id)));
        let mut spans: Vec<_> = runs.iter().filter_map(|run| span(run.start_date, run.end_date, wish.to)).collect();
        spans.sort_unstable();
        let counted = Counted {
            store: counts,
            queue: self.world.lock().queue,
            seconds: told.tasks.values().map(|tally| tally.seconds).sum(),
            minutes: wish.to.duration_since(wish.from).as_mins().unsigned_abs(),
            memory: wish.worker_memory as f64 / 1024.0,
        };
        Ok(Report {
            from: wish.from,
            to: wish.to,
            seed: wish.seed,
            parallelism: wish.parallelism,
            tasks_at_once: told.running_most,
            waiting_at_once: self.waiting_most,
            runs_at_once: overlaps(&spans).0,
            dags,
            runs,
            costs: Costs::of(&counted, &Prices::default()),
        })
    }

    fn runs_of(&self, dag_id: &DagId) -> Result<Vec<RunDoc>, Error> {
        let (mut runs, mut page) = (Vec::new(), None);
        loop {
            let names = store(self.engine.store.list_run_names(dag_id, 1000, page))?;
            for name in names.items {
                runs.extend(store(self.engine.store.run(&name.incarnation))?);
            }
            page = names.next;
            if page.is_none() {
                return Ok(runs);
            }
        }
    }
}

/// From a run's start to its end, or to the simulation's.
fn span(start: Option<Timestamp>, end: Option<Timestamp>, to: Timestamp) -> Option<(Timestamp, Timestamp)> {
    start.map(|start| (start, end.unwrap_or(to)))
}

fn run_report(run: &RunDoc) -> RunReport {
    RunReport {
        dag_id: run.facts.dag_id.to_string(),
        run_id: run.facts.run_id.clone(),
        run_after: run.facts.run_after,
        start_date: run.start_date,
        end_date: run.end_date,
        state: run.state.to_string(),
    }
}

fn dag_report(dag_id: &DagId, runs: &[RunDoc], tasks: Vec<TaskReport>, to: Timestamp) -> DagReport {
    let count = |state: DagRunState| runs.iter().filter(|run| run.state == state).count() as u64;
    let seconds = |duration: SignedDuration| duration.as_secs_f64();
    let lengths: Vec<f64> =
        runs.iter().filter_map(|run| Some(seconds(run.end_date?.duration_since(run.start_date?)))).collect();
    let delays = runs.iter().filter_map(|run| Some(seconds(run.start_date?.duration_since(run.facts.run_after))));
    let mut spans: Vec<_> = runs.iter().filter_map(|run| span(run.start_date, run.end_date, to)).collect();
    spans.sort_unstable();
    let (runs_at_once, early) = overlaps(&spans);
    let (success, failed) = (count(DagRunState::Success), count(DagRunState::Failed));
    DagReport {
        dag_id: dag_id.to_string(),
        runs: runs.len() as u64,
        success,
        failed,
        unfinished: runs.len() as u64 - success - failed,
        mean_seconds: lengths.iter().sum::<f64>() / lengths.len().max(1) as f64,
        longest_seconds: lengths.iter().copied().fold(0.0, f64::max),
        latest_start_seconds: delays.fold(0.0, f64::max),
        runs_at_once,
        overlaps: early,
        tasks,
    }
}
