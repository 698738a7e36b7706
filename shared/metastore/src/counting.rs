//! Counts what a metastore costs: requests, and the write units DynamoDB would bill.
//!
//! A write costs one unit per started KB of the larger of the item before and after; a refused write costs as much as an
//! accepted one. An entry of the time index (keys only) costs one unit to put, one to remove, two to move.

use crate::item::{Condition, Item, Key, Update, size, wake_of};
use crate::{Due, Error, Items, Outcome, Range};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Updates, accepted and refused.
    pub updates: u64,
    /// Updates and new puts that were refused.
    pub refused: u64,
    /// Puts.
    pub puts: u64,
    /// Deletes.
    pub deletes: u64,
    /// Reads of one item.
    pub gets: u64,
    /// Items read in batches.
    pub batch_gets: u64,
    /// Queries of a partition.
    pub queries: u64,
    /// Reads of the time index.
    pub dues: u64,
    /// Write units of the table.
    pub write_units: u64,
    /// Write units of the time index.
    pub index_write_units: u64,
}

impl Counts {
    /// What was counted since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            updates: self.updates - earlier.updates,
            refused: self.refused - earlier.refused,
            puts: self.puts - earlier.puts,
            deletes: self.deletes - earlier.deletes,
            gets: self.gets - earlier.gets,
            batch_gets: self.batch_gets - earlier.batch_gets,
            queries: self.queries - earlier.queries,
            dues: self.dues - earlier.dues,
            write_units: self.write_units - earlier.write_units,
            index_write_units: self.index_write_units - earlier.index_write_units,
        }
    }

    /// All write units.
    pub fn total_write_units(self) -> u64 {
        self.write_units + self.index_write_units
    }
}

#[derive(Debug, Default)]
struct Counters {
    updates: AtomicU64,
    refused: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    gets: AtomicU64,
    batch_gets: AtomicU64,
    queries: AtomicU64,
    dues: AtomicU64,
    write_units: AtomicU64,
    index_write_units: AtomicU64,
}

/// Items that are counted. What the index costs follows from the item before and after a write; the wrapper remembers the last
/// size and wake-up it saw of each item, so it counts right while it is the only writer.
#[derive(Debug)]
pub struct Counting<I> {
    inner: I,
    counters: Counters,
    seen: Mutex<BTreeMap<Key, (usize, Option<i64>)>>,
    /// Accepted writes by item.
    writes: Mutex<BTreeMap<Key, u64>>,
}

fn units(bytes: usize) -> u64 {
    bytes.div_ceil(1024).max(1) as u64
}

impl<I> Counting<I> {
    /// Counts what goes through to `inner`.
    pub fn new(inner: I) -> Self {
        Self {
            inner,
            counters: Counters::default(),
            seen: Mutex::new(BTreeMap::new()),
            writes: Mutex::new(BTreeMap::new()),
        }
    }

    /// The items below.
    pub fn inner(&self) -> &I {
        &self.inner
    }

    /// The item that has been written most often, and how often.
    pub fn most_written(&self) -> Option<(Key, u64)> {
        let writes = self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        writes.iter().max_by_key(|(_, count)| **count).map(|(key, count)| (key.clone(), *count))
    }

    /// What has been counted so far.
    pub fn counts(&self) -> Counts {
        let read = |c: &AtomicU64| c.load(Ordering::Relaxed);
        let c = &self.counters;
        Counts {
            updates: read(&c.updates),
            refused: read(&c.refused),
            puts: read(&c.puts),
            deletes: read(&c.deletes),
            gets: read(&c.gets),
            batch_gets: read(&c.batch_gets),
            queries: read(&c.queries),
            dues: read(&c.dues),
            write_units: read(&c.write_units),
            index_write_units: read(&c.index_write_units),
        }
    }

    fn add(counter: &AtomicU64, by: u64) {
        counter.fetch_add(by, Ordering::Relaxed);
    }

    /// Notes an item after a write (or as it stood in the way of one).
    fn wrote(&self, key: &Key, item: Option<&Item>) {
        *self.writes.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default() += 1;
        let after = item.map(|item| (size(key, item), wake_of(item)));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = seen.get(key).copied();
        let bytes = before.map_or(0, |b| b.0).max(after.map_or(0, |a| a.0));
        Self::add(&self.counters.write_units, units(bytes));
        let (old, new) = (before.and_then(|b| b.1), after.and_then(|a| a.1));
        if old != new {
            Self::add(&self.counters.index_write_units, u64::from(old.is_some()) + u64::from(new.is_some()));
        }
        match after {
            Some(after) => seen.insert(key.clone(), after),
            None => seen.remove(key),
        };
    }
}

impl<I: Items> Items for Counting<I> {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        Self::add(&self.counters.updates, 1);
        let outcome = self.inner.update(update).await?;
        match &outcome {
            Outcome::Updated(item) => self.wrote(&update.key, Some(item)),
            Outcome::Refused(item) => {
                Self::add(&self.counters.refused, 1);
                Self::add(&self.counters.write_units, item.as_ref().map_or(1, |i| units(size(&update.key, i))));
            }
        }
        Ok(outcome)
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        Self::add(&self.counters.puts, 1);
        let outcome = self.inner.put_new(key, item).await?;
        match &outcome {
            Outcome::Updated(item) => self.wrote(key, Some(item)),
            Outcome::Refused(_) => {
                Self::add(&self.counters.refused, 1);
                Self::add(&self.counters.write_units, units(size(key, item)));
            }
        }
        Ok(outcome)
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        Self::add(&self.counters.puts, 1);
        self.inner.put(key, item).await?;
        self.wrote(key, Some(item));
        Ok(())
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        Self::add(&self.counters.deletes, 1);
        let outcome = self.inner.delete(key, conditions).await?;
        match &outcome {
            Outcome::Updated(()) => self.wrote(key, None),
            Outcome::Refused(_) => Self::add(&self.counters.write_units, 1),
        }
        Ok(outcome)
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        Self::add(&self.counters.gets, 1);
        self.inner.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        Self::add(&self.counters.batch_gets, keys.len() as u64);
        self.inner.get_many(keys).await
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        Self::add(&self.counters.queries, 1);
        self.inner.query(range).await
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        Self::add(&self.counters.dues, 1);
        self.inner.due(until, limit).await
    }
}
