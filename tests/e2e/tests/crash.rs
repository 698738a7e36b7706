//! A crash at every request to DynamoDB: the engine on the real adapter, before an emulator's table.
//!
//! A process founds a run of two tasks and works on it, and is gone at its n-th request: before it is sent, or once it is served and before
//! the answer is heard. Minutes later, by the clock that both are given, another process ticks and works as a deployment does after a
//! crash, heeding leases, and the run must come to its end, with no attempt started twice. n counts up from 0 until the first process
//! lives to the end.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use updraft_clock::{Clock, System};
use updraft_e2e::emulator::Emulator;
use updraft_e2e::repository;
use updraft_metastore::{Condition, Due, Error, Item, Items, Key, Outcome, Range, Update, Version};
use updraft_metastore_dynamodb::DynamoDb;
use updraft_model::{AttemptOutcome, Dag, DagDoc, DagId, DagRunState, Task, TaskId, TaskIndex};
use updraft_service::runs::Leases;
use updraft_service::{Continuation, Engine, Finished, Runner, Settings, TaskRef, Trigger, Work};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};

/// More requests than the run needs: beyond them something goes round in circles.
const REQUESTS_MAX: u32 = 120;

/// Longer than a lease and than the wait until the next look.
const MINUTES: SignedDuration = SignedDuration::from_mins(4);

const BASH: &str = "airflow.providers.standard.operators.bash.BashOperator";

/// When the process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Before,
    After,
}

/// A table whose process is gone at one of its requests.
#[derive(Debug)]
struct Mortal {
    items: DynamoDb,
    death: Option<(Way, u32)>,
    requests: AtomicU32,
    gone: tokio::sync::Notify,
}

impl Mortal {
    async fn request<T>(&self, request: impl Future<Output = T>) -> T {
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        match self.death {
            Some((way, at)) if at == number => {
                if way == Way::After {
                    let _ = request.await;
                }
                self.gone.notify_one();
                std::future::pending().await
            }
            // Nothing of a process goes on after its death.
            Some((_, at)) if number > at => std::future::pending().await,
            _ => request.await,
        }
    }
}

impl Items for Mortal {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        Box::pin(self.request(self.items.update(update))).await
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        Box::pin(self.request(self.items.put_new(key, item))).await
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        Box::pin(self.request(self.items.put(key, item))).await
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        Box::pin(self.request(self.items.delete(key, conditions))).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        Box::pin(self.request(self.items.get(key))).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        Box::pin(self.request(self.items.get_many(keys))).await
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        Box::pin(self.request(self.items.query(range))).await
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        Box::pin(self.request(self.items.due(until, limit))).await
    }
}

/// The system's clock, put forward.
#[derive(Debug, Clone, Default)]
struct Ahead(Arc<AtomicI64>);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        System.now() + SignedDuration::from_secs(self.0.load(Ordering::SeqCst))
    }

    fn draw(&self, length: usize) -> String {
        System.draw(length)
    }

    async fn sleep(&self, duration: Duration) {
        System.sleep(duration).await;
    }
}

/// Every attempt that started, by its task, try and token.
#[derive(Debug, Clone, Default)]
struct Journal(Arc<Mutex<Vec<(TaskIndex, u32, String)>>>);

impl Runner for Journal {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, _: S) -> Option<Finished> {
        let start = (work.task, work.try_number, work.lease.token.to_string());
        self.0.lock().expect("nobody panics with it").push(start);
        Some(Finished::new(AttemptOutcome::Success))
    }
}

type Process = Engine<Mortal, LocalQueue, Ahead>;

fn process(table: &DynamoDb, death: Option<(Way, u32)>, clock: &Ahead) -> Process {
    let items = Mortal { items: table.clone(), death, requests: AtomicU32::new(0), gone: tokio::sync::Notify::new() };
    Engine::new(items, LocalQueue::default(), clock.clone(), Settings::default())
}

/// Two tasks, one after the other, each tried again once.
fn dag(dag_id: &DagId) -> Dag {
    let task = |name: &str, upstream| Task { upstream, retries: 1, ..Task::new(TaskId::trusted(name), BASH) };
    Dag::new(dag_id.clone(), vec![task("a", vec![]), task("b", vec![TaskIndex(0)])])
}

/// Does what is queued.
async fn work(engine: &Process, journal: &Journal) -> Result<(), updraft_service::Error> {
    loop {
        let looks = engine.queue.receive(Lane::Looks, 1, Duration::ZERO).await?;
        let tasks = engine.queue.receive(Lane::Tasks, 1, Duration::ZERO).await?;
        if looks.is_empty() && tasks.is_empty() {
            return Ok(());
        }
        for message in looks.into_iter().chain(tasks).filter_map(|delivery| delivery.message) {
            match message {
                Message::Page { incarnation, unit, page } => {
                    Box::pin(engine.look_at_pages(&incarnation, unit, page)).await?;
                }
                Message::Run { incarnation } => Box::pin(engine.look_at_run(&incarnation, Leases::Heed)).await?,
                Message::Dag { dag_id } => Box::pin(engine.look_at_dag(&dag_id)).await?,
                Message::Holder { holder } => Box::pin(engine.look_at_holder(&holder)).await?,
                Message::Intervention { .. } | Message::Callback { .. } | Message::Backfill { .. } => {
                    unreachable!("nobody asked for these")
                }
                Message::Task { incarnation, task, try_number, place, .. } => {
                    let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
                    Box::pin(engine.work(&task, journal, None, || Some(Continuation::default()))).await?;
                }
            }
        }
    }
}

async fn found(engine: &Process, dag_id: &DagId, journal: &Journal) -> Result<(), updraft_service::Error> {
    let trigger = Trigger { dag_id: dag_id.clone(), run_id: None, logical_date: None, conf: serde_json::Value::Null };
    Box::pin(engine.trigger(trigger)).await?;
    Box::pin(work(engine, journal)).await
}

/// A table like the template's, made by the venv's command line.
async fn table() -> DynamoDb {
    let emulator = Emulator::shared();
    let table = format!("crash-{}", std::process::id());
    let made = Command::new(repository().join(".venv-emu/bin/aws"))
        .args(["dynamodb", "create-table", "--billing-mode", "PAY_PER_REQUEST", "--table-name", &table])
        .args(["--key-schema", "AttributeName=pk,KeyType=HASH", "AttributeName=sk,KeyType=RANGE"])
        .args(["--attribute-definitions", "AttributeName=pk,AttributeType=S", "AttributeName=sk,AttributeType=S"])
        .args(["AttributeName=shard,AttributeType=S", "AttributeName=wake_at,AttributeType=N"])
        .arg("--global-secondary-indexes")
        .arg(
            "IndexName=due,KeySchema=[{AttributeName=shard,KeyType=HASH},{AttributeName=wake_at,KeyType=RANGE}],\
             Projection={ProjectionType=KEYS_ONLY}",
        )
        .envs(emulator.variables())
        .output()
        .expect("the venv has the `aws` command");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    DynamoDb::new(&emulator.settings().await, table)
}

/// Founds a run in a process that is gone at a request, and has another one take over. True: it was gone before its work was done.
async fn crash(table: &DynamoDb, way: Way, at: u32) -> bool {
    let dag_id = DagId::trusted(format!("{way:?}-{at}"));
    let (clock, journal) = (Ahead::default(), Journal::default());
    let survivor = process(table, None, &clock);
    let version = Version { dag: dag(&dag_id), files: BTreeMap::new() };
    let mut document = DagDoc::new(dag_id.clone(), "d.yaml".to_owned(), false);
    document.version = Some(survivor.store.put_version(&version).await.expect("the emulator answers"));
    survivor.store.put_dag(&document).await.expect("the emulator answers");

    let mortal = process(table, Some((way, at)), &clock);
    let died = tokio::select! {
        biased;
        () = mortal.store.items().gone.notified() => true,
        founded = found(&mortal, &dag_id, &journal) => {
            founded.expect("the emulator answers");
            false
        }
    };
    drop(mortal);
    // What was queued is lost with the process. Where the run was never made, nobody was promised one.
    for _ in 0..4 {
        clock.0.fetch_add(MINUTES.as_secs(), Ordering::SeqCst);
        survivor.tick().await.expect("the emulator answers");
        work(&survivor, &journal).await.expect("the emulator answers");
    }
    let runs = survivor.store.list_runs(&dag_id, 5, None).await.expect("the emulator answers").items;
    assert!(died || runs.len() == 1, "{way:?} {at}: the run was promised, and is not there");
    for run in &runs {
        assert_eq!(run.state, DagRunState::Success, "{way:?} {at}: {run:?}");
        assert!(run.outbox.is_empty() && run.wake_at.is_none(), "{way:?} {at}: something is owed: {run:?}");
    }
    let active = survivor.store.dag(&dag_id).await.expect("the emulator answers").expect("it is there").active;
    assert!(active.is_empty(), "{way:?} {at}: a place leaked: {active:?}");
    let mut started = journal.0.lock().expect("nobody panics with it").clone();
    started.sort();
    let tries: Vec<(TaskIndex, u32)> = started.iter().map(|(task, try_number, _)| (*task, *try_number)).collect();
    let mut distinct = tries.clone();
    distinct.dedup();
    assert_eq!(tries, distinct, "{way:?} {at}: a try was started twice");
    died
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_request_costs_nothing_but_time() {
    let table = table().await;
    for way in [Way::Before, Way::After] {
        let mut at = 0;
        while Box::pin(crash(&table, way, at)).await {
            at += 1;
            assert!(at < REQUESTS_MAX, "the run does not end");
        }
        assert!(at > 10, "only {at} requests");
    }
}
