//! A store whose process dies at one of its operations.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use updraft_metastore::{Condition, Due, Error, Item, Items, Key, Outcome, Range, Update};

/// When it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Done, before anybody is told.
    After,
    /// While it is under way: some microseconds after it was asked for.
    During,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::After { "after" } else { "during" })
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "after" => Ok(Self::After),
            "during" => Ok(Self::During),
            other => Err(format!("`{other}` is no way to die")),
        }
    }
}

/// A death to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Death {
    pub(crate) way: Way,
    /// At this operation, counted from 0.
    pub(crate) operation: u32,
}

fn kill() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .expect("a process may kill itself");
}

/// Counts operations, and dies at one.
#[derive(Debug)]
pub(crate) struct Dying<I> {
    items: I,
    death: Option<Death>,
    operations: Arc<AtomicU32>,
}

impl<I: Items> Dying<I> {
    pub(crate) fn new(items: I, death: Option<Death>) -> Self {
        Self { items, death, operations: Arc::default() }
    }

    async fn operation<T>(&self, operation: impl Future<Output = T>) -> T {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        let Some(death) = self.death.filter(|death| death.operation == number) else { return operation.await };
        if death.way == Way::During {
            // From 0 to 600: a commit in memory takes about that long.
            let wait = Duration::from_micros(u64::from(number) * 37 % 600);
            std::thread::spawn(move || {
                std::thread::sleep(wait);
                kill();
            });
            let _ = operation.await;
            return std::future::pending().await;
        }
        let _ = operation.await;
        kill();
        std::future::pending().await
    }
}

impl<I: Items> Items for Dying<I> {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        self.operation(self.items.update(update)).await
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        self.operation(self.items.put_new(key, item)).await
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.operation(self.items.put(key, item)).await
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        self.operation(self.items.delete(key, conditions)).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        self.operation(self.items.get(key)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        self.operation(self.items.get_many(keys)).await
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        self.operation(self.items.query(range)).await
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        self.operation(self.items.due(until, limit)).await
    }
}
