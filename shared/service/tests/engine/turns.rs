//! Who comes first among what is due: a look that takes the process down keeps nobody from theirs for long.

use jiff::Timestamp;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use updraft_clock::{Clock, System};
use updraft_dag_store::{DagStore, Directory};
use updraft_metastore::memory::Memory;
use updraft_metastore::{Condition, Due, Error, Item, Items, Key, Outcome, Range, Update, keys};
use updraft_model::DagId;
use updraft_service::{Engine, Settings};
use updraft_task_queue::LocalQueue;

/// Items of which one takes the process down that reads it, from a certain moment.
#[derive(Default)]
struct Deadly {
    items: Memory,
    armed: AtomicBool,
}

/// The DAG that nobody survives.
const DEADLY: &str = "d03";

impl Items for Deadly {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        self.items.update(update).await
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        self.items.put_new(key, item).await
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.items.put(key, item).await
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        self.items.delete(key, conditions).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        assert!(!self.armed.load(Ordering::Relaxed) || *key != keys::dag(&DagId::trusted(DEADLY)), "out of memory");
        self.items.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        self.items.get_many(keys).await
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        self.items.query(range).await
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        self.items.due(until, limit).await
    }
}

/// A clock that is set by hand.
#[derive(Clone)]
struct At(Arc<AtomicI64>);

impl Clock for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.0.load(Ordering::Relaxed)).unwrap()
    }

    fn draw(&self, length: usize) -> String {
        System.draw(length)
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        System.sleep(duration)
    }
}

/// Ticks come each minute, to the second or nearly so. How many are due must not decide whether anybody's turn comes.
#[tokio::test]
async fn a_look_that_takes_the_process_down_keeps_the_others_for_some_ticks_at_most() {
    for (dags, second) in [(4, 0), (5, 17), (6, 0), (7, 59), (12, 30), (13, 0)] {
        let folder = Directory::new(tempfile::tempdir().unwrap().keep());
        let clock = At(Arc::new(AtomicI64::new(1_767_225_600 + second)));
        for n in 0..dags {
            let text = format!(
                "d{n:02}:\n  schedule: '@daily'\n  start_date: 2025-03-01\n  end_date: 2025-03-01\n  catchup: true\n  tasks:\n    t: \
                 {{operator: EmptyOperator}}\n"
            );
            folder.write(&format!("d{n:02}.yaml"), text.as_bytes()).await.unwrap();
        }
        let engine =
            Arc::new(Engine::new(Deadly::default(), LocalQueue::default(), clock.clone(), Settings::default()));
        engine.ingest_all(&folder).await.unwrap();
        engine.store.items().armed.store(true, Ordering::Relaxed);
        for _ in 0..20 {
            let ticking = tokio::spawn({
                let engine = engine.clone();
                async move { Box::pin(engine.tick_ahead()).await }
            });
            assert!(ticking.await.is_err_and(|died| died.is_panic()), "the deadly one stays due");
            clock.0.fetch_add(60, Ordering::Relaxed);
        }
        engine.store.items().armed.store(false, Ordering::Relaxed);
        for n in 0..dags {
            let dag_id = DagId::parse(&format!("d{n:02}")).unwrap();
            let runs = engine.list_runs(&dag_id, 10, None).await.unwrap().items.len();
            assert_eq!(runs, usize::from(dag_id.as_str() != DEADLY), "{dag_id} of {dags}");
        }
    }
}
