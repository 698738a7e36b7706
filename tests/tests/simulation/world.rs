//! The world: virtual time, what is going to happen, processes, and what was seen. Everything in it is ordered; nothing in it
//! knows the real time.

use crate::faults::{Faults, Mutation};
use crate::monitor::Monitor;
use crate::queue::Lanes;
use crate::rng::Rng;
use crate::store::Ground;
use crate::trace::{Stats, Trace};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Virtual time: microseconds since the world began. It never jumps; the clock by which its inhabitants go may.
pub(crate) type Micros = i64;

pub(crate) const MILLI: Micros = 1_000;
pub(crate) const SECOND: Micros = 1_000_000;
pub(crate) const MINUTE: Micros = 60 * SECOND;

/// When the world begins: an instant like any other, twenty seconds into a minute.
const BEGINNING: Micros = 1_790_000_000_000_000 + 20 * SECOND;

/// An instant of the engine's calendar.
pub(crate) fn instant(at: Micros) -> Timestamp {
    Timestamp::from_microsecond(BEGINNING + at).expect("a few hours after a fixed day of this century")
}

/// The virtual time of an instant.
pub(crate) fn micros(at: Timestamp) -> Micros {
    at.as_microsecond() - BEGINNING
}

/// A process: what dies and pauses together.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// Grows with each restart.
    pub(crate) generation: u32,
    pub(crate) alive: bool,
    pub(crate) frozen_until: Micros,
    /// Whether faults may hit it.
    pub(crate) mortal: bool,
    /// When its present invocation is cut off.
    pub(crate) deadline: Option<Micros>,
    /// When something went wrong with it: a death, a pause, an error of a port.
    pub(crate) disturbed: Vec<Micros>,
}

/// What is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A wait is over, or an answer arrives.
    Fire(u64),
    /// A request takes effect.
    Land(u64),
    /// A message becomes visible to those who wait for one.
    Visible(updraft_task_queue::Lane),
    Kill {
        process: usize,
        generation: u32,
    },
    /// An invocation reaches its limit.
    Deadline {
        process: usize,
        generation: u32,
        at: Micros,
    },
    Freeze {
        process: usize,
        until: Micros,
    },
    Thaw,
    Restart {
        process: usize,
        generation: u32,
    },
    /// The clock by which all go is put forward or back.
    Jump(Micros),
    /// A look whether all is quiet.
    Check,
}

/// A request on its way, or a wait.
#[derive(Debug, Default)]
pub(crate) struct Op {
    pub(crate) process: usize,
    pub(crate) request: Option<crate::store::Request>,
    pub(crate) response: Option<crate::store::Response>,
    pub(crate) fired: bool,
    /// Nobody waits for the answer any more.
    pub(crate) abandoned: bool,
    pub(crate) waker: Option<Waker>,
}

/// Everything.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Micros,
    /// How far the clock by which all go is from where it would be had nobody put it forward or back.
    skew: Micros,
    /// The latest that clock has shown.
    latest: Micros,
    /// By how much it was put back, all in all.
    put_back: Micros,
    pub(crate) rng: Rng,
    sequence: u64,
    pub(crate) events: BTreeMap<(Micros, u64), Event>,
    pub(crate) ops: BTreeMap<u64, Op>,
    pub(crate) processes: Vec<Process>,
    pub(crate) ground: Ground,
    pub(crate) lanes: Lanes,
    pub(crate) faults: Faults,
    /// From here on nothing goes wrong any more.
    pub(crate) calm_from: Micros,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) monitor: Monitor,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
    pub(crate) violation: Option<String>,
}

/// The world as its inhabitants hold it.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(crate) fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in virtual time.
    pub(crate) fn sleep(&self, length: Micros) -> Wait {
        let at = self.lock().now + length.max(0);
        Wait { world: self.clone(), at, op: None }
    }
}

impl World {
    pub(crate) fn new(
        seed: u64,
        faults: Faults,
        calm_from: Micros,
        mutation: Option<Mutation>,
        keep_trace: bool,
    ) -> Self {
        Self {
            seed,
            now: 0,
            skew: 0,
            latest: 0,
            put_back: 0,
            rng: Rng::new(seed),
            sequence: 0,
            events: BTreeMap::new(),
            ops: BTreeMap::new(),
            processes: Vec::new(),
            ground: Ground::default(),
            lanes: Lanes::default(),
            faults,
            calm_from,
            mutation,
            monitor: Monitor::default(),
            trace: Trace::new(keep_trace),
            stats: Stats::default(),
            violation: None,
        }
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.now >= self.calm_from
    }

    /// What the clock shows by which all go.
    pub(crate) fn clock(&self) -> Micros {
        self.now + self.skew
    }

    /// The latest that anybody may have read from the clock: what was decided before it was put back is judged by this.
    pub(crate) fn latest(&self) -> Micros {
        self.latest.max(self.clock())
    }

    /// By how much later than it says something may be looked at: a clock that is put back keeps everybody waiting for as long.
    pub(crate) fn grace(&self) -> SignedDuration {
        SignedDuration::from_micros(self.put_back)
    }

    /// Puts the clock forward or back. Every attempt may look dead by it.
    pub(crate) fn jump(&mut self, by: Micros) {
        self.latest = self.latest();
        self.skew += by;
        self.put_back += (-by).max(0);
        let latest = self.latest();
        for process in &mut self.processes {
            process.disturbed.push(latest);
        }
        self.stats.jumps += 1;
        self.trace.say(self.now, "clock", &format!("jumps by {} s", by / SECOND));
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    pub(crate) fn at(&mut self, at: Micros, event: Event) {
        let id = self.next_id();
        self.events.insert((at.max(self.now), id), event);
    }

    pub(crate) fn say(&mut self, process: usize, line: &str) {
        let name = &self.processes[process].name;
        self.trace.say(self.now, name, line);
    }

    /// The first thing that must not be.
    pub(crate) fn violate(&mut self, what: impl Into<String>) {
        let what = what.into();
        self.trace.say(self.now, "VIOLATION", &what);
        self.violation.get_or_insert(what);
    }

    pub(crate) fn disturb(&mut self, process: usize) {
        let now = self.clock();
        self.processes[process].disturbed.push(now);
    }

    /// Deaths and pauses of a process while an attempt runs in it, between its requests.
    pub(crate) fn trouble_during(&mut self, process: usize, length: Micros) {
        if self.is_calm() {
            return;
        }
        let generation = self.processes[process].generation;
        if self.rng.chance(self.faults.kill * 2) {
            let at = self.now + self.rng.range(0, length);
            self.at(at, Event::Kill { process, generation });
        }
        if self.rng.chance(self.faults.pause * 8) {
            let at = self.now + self.rng.range(0, length);
            let until = at + Faults::pause_length(&mut self.rng);
            self.at(at, Event::Freeze { process, until });
        }
    }

    /// Marks an operation as answered and wakes whoever waits.
    pub(crate) fn fire(&mut self, op: u64) {
        if let Some(op) = self.ops.get_mut(&op) {
            op.fired = true;
            if let Some(waker) = op.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A wait in virtual time.
#[derive(Debug)]
pub(crate) struct Wait {
    world: Shared,
    at: Micros,
    op: Option<u64>,
}

impl Wait {
    /// The operation it waits by, once it has been polled.
    pub(crate) fn op(&self) -> Option<u64> {
        self.op
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.world.clone();
        let mut world = shared.lock();
        let Some(id) = self.op else {
            let id = world.next_id();
            world.ops.insert(id, Op { waker: Some(cx.waker().clone()), ..Op::default() });
            let at = self.at;
            world.at(at, Event::Fire(id));
            self.op = Some(id);
            return Poll::Pending;
        };
        let Some(op) = world.ops.get_mut(&id) else { return Poll::Ready(()) };
        if op.fired {
            world.ops.remove(&id);
            self.op = None;
            return Poll::Ready(());
        }
        op.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(id) = self.op {
            self.world.lock().ops.remove(&id);
        }
    }
}

/// Which tasks want to be polled.
#[derive(Debug, Default)]
pub(crate) struct Woken(Mutex<BTreeSet<u64>>);

impl Woken {
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes one task.
#[derive(Debug)]
pub(crate) struct TaskWaker {
    pub(crate) task: u64,
    pub(crate) woken: Arc<Woken>,
}

impl std::task::Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().insert(self.task);
    }
}
