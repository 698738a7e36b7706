//! Requests to the simulated services: on their way, landed, answered; or lost, late, throttled, without an answer.
//!
//! The store has DynamoDB's grain: one item at a time, reads by key linearizable, the time index late.

use crate::adapter;
use crate::faults::{Faults, Mutation, queues};
use crate::queue::Received;
use crate::world::{Event, MILLI, Micros, Op, SECOND, Shared, World, instant};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use updraft_metastore::item::wake_of;
use updraft_metastore::memory::Memory;
use updraft_metastore::{Condition, Due, Error, Item, Items, Key, Outcome, Path, Range, Update, Value, keys};
use updraft_model::Cell;
use updraft_task_queue::{Lane, Outgoing};

/// What is stored, and how the time index came to be what it is.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    pub(crate) memory: Arc<Memory>,
    index: BTreeMap<Key, i64>,
    /// Changes of the index, oldest first, with the entry before.
    changes: Vec<(Micros, Key, Option<i64>)>,
}

/// What a process asks of a service.
#[derive(Debug, Clone)]
pub(crate) enum Request {
    Update(Update),
    PutNew(Key, Item),
    Put(Key, Item),
    Delete(Key, Vec<Condition>),
    Get(Key),
    GetMany(Vec<Key>),
    Query(Range),
    /// Up to when, how many, and of which shard; none: of all.
    Due(i64, usize, Option<u8>),
    Send(Vec<Outgoing>),
    Receive(Lane),
    Acknowledge(Lane, u64),
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) enum Response {
    Item(Outcome<Item>),
    Deleted(Outcome<()>),
    Found(Option<Item>),
    Many(Vec<(Key, Item)>),
    Page(Vec<(String, Item)>),
    Due(Vec<Due>),
    Received(Option<Received>),
    Done,
    Unavailable,
}

impl Request {
    pub(crate) fn writes(&self) -> bool {
        matches!(self, Self::Update(_) | Self::PutNew(..) | Self::Put(..) | Self::Delete(..) | Self::Send(_))
    }
}

/// Polls a future that is ready at once: the ground under the simulation never waits.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("memory answers at once"),
    }
}

impl World {
    /// Sends a request on its way. What goes wrong with it is drawn here.
    fn submit(&mut self, process: usize, request: Request) -> u64 {
        self.stats.requests += 1;
        let id = self.next_id();
        let (mut there, back) = (self.latency(), self.latency());
        let faults = if self.is_calm() || !self.processes[process].mortal { Faults::default() } else { self.faults };
        let generation = self.processes[process].generation;
        if self.rng.chance(faults.kill) {
            let at = self.now + self.rng.range(0, there + back);
            self.at(at, Event::Kill { process, generation });
        }
        if self.rng.chance(faults.pause) {
            let at = self.now + self.rng.range(0, there + back);
            let until = at + Faults::pause_length(&mut self.rng);
            self.at(at, Event::Freeze { process, until });
        }
        if faults.pause > 0 && self.rng.chance(7_000) && self.thaw_who_is_settled(&request) {
            there += self.rng.range(100 * MILLI, 3 * SECOND);
        }
        let mut op = Op { process, ..Op::default() };
        let reply = self.now + there + back;
        if self.rng.chance(faults.throttle) {
            self.stats.throttles += 1;
            self.disturb(process);
            op.response = Some(Response::Unavailable);
        } else if self.rng.chance(faults.unknown) {
            self.stats.unknown_outcomes += 1;
            self.disturb(process);
            op.response = Some(Response::Unavailable);
            if request.writes() {
                // Landed, and only the answer is lost; or lands later; or never.
                let lands = match self.rng.index(3) {
                    0 => Some(self.now + there),
                    1 => Some(reply + Faults::lateness(&mut self.rng)),
                    _ => None,
                };
                if let Some(at) = lands {
                    self.stats.landed_late += u64::from(at > reply);
                    let ghost = self.next_id();
                    let request = Some(request);
                    self.ops.insert(ghost, Op { process, request, abandoned: true, ..Op::default() });
                    self.at(at, Event::Land(ghost));
                }
            }
        } else if self.mutation == Some(Mutation::MessageBeforeState)
            && let Request::Update(update) = &request
            && queues(update)
        {
            // Answered as if it had been made.
            let before = self.ground.memory.lock().get(&update.key).cloned();
            op.response = Some(Response::Item(update.run(before.as_ref())));
            let ghost = self.next_id();
            let at = reply + self.rng.range(20 * MILLI, SECOND);
            self.ops.insert(ghost, Op { process, request: Some(request), abandoned: true, ..Op::default() });
            self.at(at, Event::Land(ghost));
        } else {
            op.request = Some(request);
            self.at(self.now + there, Event::Land(id));
        }
        self.ops.insert(id, op);
        self.at(reply, Event::Fire(id));
        id
    }

    /// The unluckiest moment to come back from a pause: while the write that takes one's attempt for dead is on its way.
    fn thaw_who_is_settled(&mut self, request: &Request) -> bool {
        let Request::Update(update) = request else { return false };
        let mut thawed = false;
        for condition in &update.conditions {
            let Condition::Equals(Path::Entry("c", _), Value::S(cell)) = condition else { continue };
            let holder = Cell::decode(cell).ok().and_then(|c| self.monitor.drawer(&c.holder()?.token));
            if let Some(process) = holder
                && self.processes[process].frozen_until > self.now
            {
                self.processes[process].frozen_until = self.now;
                self.say(process, "goes on early");
                thawed = true;
            }
        }
        thawed
    }

    fn latency(&mut self) -> Micros {
        if self.rng.chance(300) { self.rng.range(20 * MILLI, 900 * MILLI) } else { self.rng.range(500, 12 * MILLI) }
    }

    /// A request takes effect.
    pub(crate) fn land(&mut self, id: u64) {
        let Some(op) = self.ops.get_mut(&id) else { return };
        let process = op.process;
        let Some(request) = op.request.take() else { return };
        if op.abandoned {
            self.ops.remove(&id);
        }
        let response = self.serve(process, request);
        if let Some(op) = self.ops.get_mut(&id) {
            op.response = Some(response);
        }
    }

    fn serve(&mut self, process: usize, request: Request) -> Response {
        match request {
            Request::Update(update) => {
                let update = self.mutation.map_or_else(|| update.clone(), |m| m.weaken(&update));
                let key = update.key.clone();
                let memory = self.ground.memory.clone();
                Response::Item(self.write(process, &key, || at_once(memory.update(&update)), accepted))
            }
            Request::PutNew(key, item) => {
                let memory = self.ground.memory.clone();
                Response::Item(self.write(process, &key, || at_once(memory.put_new(&key, &item)), accepted))
            }
            Request::Put(key, item) => {
                let memory = self.ground.memory.clone();
                self.write(process, &key, || at_once(memory.put(&key, &item)), |()| true);
                Response::Done
            }
            Request::Delete(key, conditions) => {
                let memory = self.ground.memory.clone();
                Response::Deleted(self.write(process, &key, || at_once(memory.delete(&key, &conditions)), accepted))
            }
            Request::Get(key) => Response::Found(self.ground.memory.lock().get(&key).cloned()),
            Request::GetMany(keys) => {
                Response::Many(at_once(self.ground.memory.get_many(&keys)).expect("memory does not fail"))
            }
            Request::Query(range) => {
                Response::Page(at_once(self.ground.memory.query(&range)).expect("memory does not fail"))
            }
            Request::Due(until, limit, shard) => Response::Due(self.late_index(until, limit, shard)),
            Request::Send(messages) => {
                self.deliver_messages(process, &messages);
                Response::Done
            }
            Request::Receive(lane) => Response::Received(self.take_message(lane)),
            Request::Acknowledge(lane, receipt) => {
                self.lanes.acknowledge(lane, receipt);
                Response::Done
            }
        }
    }

    /// Makes a write, keeps the index, and lets the monitor see what became of the item.
    fn write<T>(
        &mut self,
        process: usize,
        key: &Key,
        make: impl FnOnce() -> Result<T, Error>,
        is_accepted: impl FnOnce(&T) -> bool,
    ) -> T {
        let outcome = make().expect("memory does not fail");
        if !is_accepted(&outcome) {
            self.stats.writes_refused += 1;
            return outcome;
        }
        self.stats.writes_accepted += 1;
        let after = self.ground.memory.lock().get(key).cloned();
        let wake = after.as_ref().and_then(wake_of);
        let before = match wake {
            Some(at) => self.ground.index.insert(key.clone(), at),
            None => self.ground.index.remove(key),
        };
        if before != wake {
            self.ground.changes.push((self.now, key.clone(), before));
        }
        self.observe(process, key, after.as_ref());
        outcome
    }

    /// The time index as it was some time ago, for each item another time.
    fn late_index(&mut self, until: i64, limit: usize, shard: Option<u8>) -> Vec<Due> {
        let lag = if self.is_calm() { 0 } else { self.faults.index_lag };
        let mut index = self.ground.index.clone();
        let oldest = self.now - lag;
        self.ground.changes.retain(|(at, _, _)| *at > oldest);
        let (now, rng) = (self.now, &mut self.rng);
        let mut seen_at: BTreeMap<&Key, Micros> = BTreeMap::new();
        for (at, key, before) in self.ground.changes.iter().rev() {
            let seen = *seen_at.entry(key).or_insert_with(|| now - rng.range(0, lag));
            if *at > seen {
                self.stats.stale_index_reads += 1;
                match before {
                    Some(wake) => index.insert(key.clone(), *wake),
                    None => index.remove(key),
                };
            }
        }
        if self.mutation == Some(Mutation::NoSweep) {
            index.retain(|key, _| matches!(keys::document(key), Some(keys::Document::Dag(_))));
        }
        let mut due: Vec<Due> = index
            .into_iter()
            .filter(|(_, wake_at)| *wake_at <= until)
            .filter(|(key, _)| shard.is_none_or(|shard| keys::shard(key) == keys::shard_name(shard)))
            .map(|(key, wake_at)| Due { wake_at, key })
            .collect();
        due.sort();
        due.truncate(limit);
        due
    }

    /// Puts what was there before the world began into the index.
    pub(crate) fn index_everything(&mut self) {
        let found: Vec<(Key, i64)> =
            self.ground.memory.lock().iter().filter_map(|(k, item)| Some((k.clone(), wake_of(item)?))).collect();
        self.ground.index.extend(found);
    }
}

fn accepted<T>(outcome: &Outcome<T>) -> bool {
    matches!(outcome, Outcome::Updated(_))
}

/// A request and its answer, as the process that asked sees it.
pub(crate) struct Call {
    world: Shared,
    process: usize,
    request: Option<Request>,
    op: Option<u64>,
}

/// Asks a service.
pub(crate) fn call(world: &Shared, process: usize, request: Request) -> Call {
    Call { world: world.clone(), process, request: Some(request), op: None }
}

impl Future for Call {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response> {
        let shared = self.world.clone();
        let mut world = shared.lock();
        let id = match (self.op, self.request.take()) {
            (Some(id), _) => id,
            (None, Some(request)) => world.submit(self.process, request),
            (None, None) => return Poll::Pending,
        };
        self.op = Some(id);
        let op = world.ops.get_mut(&id).expect("an operation is kept until its answer is taken or nobody waits for it");
        if !op.fired {
            op.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let response = op.response.take().expect("what has landed before the answer arrives is answered");
        world.ops.remove(&id);
        self.op = None;
        Poll::Ready(response)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(id) = self.op else { return };
        let mut world = self.world.lock();
        // What was sent may arrive although nobody waits for it any more.
        let still_lands = world.rng.chance(5_000);
        match world.ops.get_mut(&id) {
            Some(op) if op.request.is_some() && still_lands => op.abandoned = true,
            _ => {
                world.ops.remove(&id);
            }
        }
    }
}

/// The metastore's port, in the hands of one process.
#[derive(Debug, Clone)]
pub(crate) struct SimItems {
    pub(crate) world: Shared,
    pub(crate) process: usize,
}

impl SimItems {
    async fn ask(&self, request: Request) -> Result<Response, Error> {
        adapter::carried(&self.world, self.process, request).await
    }
}

macro_rules! expect_response {
    ($self:ident, $request:expr, $variant:ident) => {
        match $self.ask($request).await? {
            Response::$variant(answer) => Ok(answer),
            other => unreachable!("another answer: {other:?}"),
        }
    };
}

impl Items for SimItems {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        expect_response!(self, Request::Update(update.clone()), Item)
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        expect_response!(self, Request::PutNew(key.clone(), item.clone()), Item)
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.ask(Request::Put(key.clone(), item.clone())).await.map(|_| ())
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        expect_response!(self, Request::Delete(key.clone(), conditions.to_vec()), Deleted)
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        expect_response!(self, Request::Get(key.clone()), Found)
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        let mut found = Vec::new();
        for keys in adapter::batches(&self.world, keys) {
            let part: Result<_, Error> = expect_response!(self, Request::GetMany(keys), Many);
            found.extend(part?);
        }
        Ok(found)
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        let mut found = Vec::new();
        let mut next = Some(range.clone());
        while let Some(wanted) = next {
            let page = adapter::page(&self.world, &wanted);
            let part: Result<_, Error> = expect_response!(self, Request::Query(page.clone()), Page);
            let part = part?;
            next = adapter::rest(&wanted, &page, &part);
            found.extend(part);
        }
        Ok(found)
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        let mut found = Vec::new();
        for shard in adapter::shards(&self.world) {
            let part: Result<_, Error> = expect_response!(self, Request::Due(until, limit, shard), Due);
            found.extend(part?);
        }
        found.sort();
        found.truncate(limit);
        Ok(found)
    }
}

/// The clock's port, in the hands of one process. Drawn ids tell who drew them.
#[derive(Debug, Clone)]
pub(crate) struct SimClock {
    pub(crate) world: Shared,
    pub(crate) process: usize,
}

impl updraft_clock::Clock for SimClock {
    fn now(&self) -> jiff::Timestamp {
        instant(self.world.lock().clock())
    }

    fn draw(&self, length: usize) -> String {
        let mut world = self.world.lock();
        let id: String =
            (0..length).map(|_| char::from(*world.rng.pick(b"0123456789abcdefghijklmnopqrstuvwxyz"))).collect();
        let process = self.process;
        world.monitor.drawn_by(&id, process);
        id
    }

    fn sleep(&self, duration: std::time::Duration) -> impl Future<Output = ()> + Send {
        self.world.sleep(duration.as_micros() as Micros)
    }
}
