//! The imagined world: its time, what will happen, and who waits for it.

use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use updraft_clock::Clock;
use updraft_task_queue::{DELAY_MAX, Delivery, Error, Lane, Message, Outgoing, TaskQueue};

/// Microseconds since the epoch.
pub(crate) type Micros = i64;

/// What happens at an instant.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody's wait is over.
    Wake(Waker),
    /// A message arrives.
    Deliver(Message),
}

/// Requests to the queue, as SQS would bill them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueueCounts {
    /// Batches that were sent.
    pub(crate) sends: u64,
    /// Messages that name a task.
    pub(crate) tasks: u64,
    /// Messages that name something to look at.
    pub(crate) looks: u64,
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Micros,
    /// By instant, then in the order in which they were noted.
    pub(crate) events: BTreeMap<(Micros, u64), Event>,
    number: u64,
    drawn: Draw,
    pub(crate) queue: QueueCounts,
    /// The priority of the task that waits first, for whoever could go on in place.
    pub(crate) waiting: Option<i64>,
}

/// SplitMix64: a few lines, the same numbers everywhere.
#[derive(Debug, Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    /// What follows from these texts and numbers, and from nothing else.
    pub(crate) fn of(seed: u64, texts: &[&str], numbers: &[u64]) -> Self {
        let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
        let mut mix = |byte: u64| state = (state ^ byte).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        for text in texts {
            text.bytes().for_each(|byte| mix(byte.into()));
            mix(0x1ff);
        }
        for number in numbers {
            mix(*number);
        }
        Self(state)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to below 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }
}

impl World {
    pub(crate) fn at(&mut self, at: Micros, event: Event) -> (Micros, u64) {
        self.number += 1;
        let key = (at.max(self.now), self.number);
        self.events.insert(key, event);
        key
    }
}

/// The world, shared.
#[derive(Debug, Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn new(now: Timestamp, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            now: now.as_microsecond(),
            events: BTreeMap::new(),
            number: 0,
            drawn: Draw(seed),
            queue: QueueCounts::default(),
            waiting: None,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for an instant.
struct Sleep {
    world: Shared,
    until: Micros,
    noted: Option<(Micros, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.world.clone();
        let mut world = shared.lock();
        if world.now >= self.until {
            return Poll::Ready(());
        }
        if let Some(noted) = self.noted.take() {
            world.events.remove(&noted);
        }
        self.noted = Some(world.at(self.until, Event::Wake(cx.waker().clone())));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(noted) = self.noted.take() {
            self.world.lock().events.remove(&noted);
        }
    }
}

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.lock().now).unwrap_or(Timestamp::MAX)
    }

    fn draw(&self, length: usize) -> String {
        const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
        let mut world = self.lock();
        (0..length).map(|_| char::from(DIGITS[world.drawn.below(DIGITS.len())])).collect()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let until = self.lock().now.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX));
        Sleep { world: self.clone(), until, noted: None }
    }
}

impl TaskQueue for Shared {
    async fn send(&self, messages: &[Outgoing]) -> Result<(), Error> {
        let mut world = self.lock();
        for lane in [Lane::Tasks, Lane::Looks] {
            let count = messages.iter().filter(|outgoing| outgoing.message.lane() == lane).count() as u64;
            // A request takes ten.
            world.queue.sends += count.div_ceil(10);
            match lane {
                Lane::Tasks => world.queue.tasks += count,
                Lane::Looks => world.queue.looks += count,
            }
        }
        for outgoing in messages {
            let delay = i64::try_from(outgoing.delay.min(DELAY_MAX).as_micros()).unwrap_or(i64::MAX);
            let at = world.now.saturating_add(delay);
            world.at(at, Event::Deliver(outgoing.message.clone()));
        }
        Ok(())
    }

    async fn receive(&self, lane: Lane, _: usize, _: Duration) -> Result<Vec<Delivery>, Error> {
        Err(Error(format!("the simulation hands messages of the lane {lane:?} over itself")))
    }

    async fn acknowledge(&self, _: Lane, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

/// Futures that are polled when somebody wakes them, and never otherwise.
#[derive(Default)]
pub(crate) struct Futures {
    next: u64,
    woken: Arc<Mutex<BTreeSet<u64>>>,
    all: BTreeMap<u64, Pin<Box<dyn Future<Output = ()> + Send>>>,
}

struct Waking {
    number: u64,
    woken: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).insert(self.number);
    }
}

impl Futures {
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + Send + 'static) {
        self.next += 1;
        self.all.insert(self.next, Box::pin(future));
        self.woken.lock().unwrap_or_else(PoisonError::into_inner).insert(self.next);
    }

    /// Polls whoever was woken, until nobody is.
    pub(crate) fn settle(&mut self) {
        loop {
            let Some(number) = self.woken.lock().unwrap_or_else(PoisonError::into_inner).pop_first() else { return };
            let Some(future) = self.all.get_mut(&number) else { continue };
            let waker = Waker::from(Arc::new(Waking { number, woken: self.woken.clone() }));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.all.remove(&number);
            }
        }
    }
}

/// Polls a future that never waits for the world: one that only asks the store.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// How many workers are busy, for those that start more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Busy(Arc<AtomicU64>);

impl Busy {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
