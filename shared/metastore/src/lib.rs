//! The metastore: documents, and one conditional update.
//!
//! Two layers. [`Items`] is the port: items of named attributes under a key, exactly as far as one DynamoDB table goes (one item
//! at a time, no transactions, no scans, a sparse time index that may be read late). [`Metastore`] speaks of runs, attempts and
//! DAGs, and is written once on top of it; [`keys`] is the only place where a key is built.
//!
//! What every implementation of [`Items`] promises is written down as the functions of [`suite`], which each adapter runs.

pub mod assets;
mod attempts;
mod callbacks;
pub mod codec;
pub mod counting;
pub mod events;
pub mod expiry;
mod history;
pub mod holders;
pub mod item;
pub mod jobs;
pub mod keys;
pub mod memory;
mod named;
pub mod notes;
pub mod pages;
pub mod seal;
mod state_store;
pub mod store;
pub mod suite;
mod unreadable;
mod users;
pub mod versions;

pub use assets::Consumed;
pub use events::EventLog;
pub use item::{Change, Condition, Item, Key, Path, Update, Value};
pub use jobs::Job;
pub use notes::{Note, Noted};
pub use state_store::{Kept, Scope};
pub use store::{DagSummary, DueEntry, DueWhat, FileRecord, ImportError, Metastore, Page, Version};
pub use unreadable::{Readable, Unreadable};
pub use versions::DagVersion;

use std::future::Future;

/// What a conditional write came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// Accepted; the image after it.
    Updated(T),
    /// Refused; the image that stood in the way, or none where nothing is there.
    Refused(Option<T>),
}

impl<T> Outcome<T> {
    /// Converts the image.
    pub fn try_map<U, E>(self, f: impl FnOnce(T) -> Result<U, E>) -> Result<Outcome<U>, E> {
        Ok(match self {
            Self::Updated(image) => Outcome::Updated(f(image)?),
            Self::Refused(Some(image)) => Outcome::Refused(Some(f(image)?)),
            Self::Refused(None) => Outcome::Refused(None),
        })
    }
}

/// Errors, by what the caller does next. A refused condition is an [`Outcome`], no error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Try again later. The write may or may not have happened.
    #[error("the metastore is unavailable: {0}")]
    Unavailable(String),
    /// What is stored is not what this version writes. Trying again does not help.
    #[error("the metastore holds something this version cannot read: {0}")]
    Corrupt(String),
    /// The metastore as named cannot be used: it does not exist, or access is denied. A person has to act.
    #[error("{0}")]
    Unusable(String),
}

/// A place in the time index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// When it wants attention, in milliseconds since the epoch.
    pub wake_at: i64,
    /// Which item.
    pub key: Key,
}

/// Which items of a partition a query returns, in the order of their sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The partition.
    pub pk: String,
    /// Only sort keys beginning with this.
    pub prefix: String,
    /// Only sort keys after this one (before it, when descending): where the last page ended.
    pub after: Option<String>,
    /// From the last to the first.
    pub descending: bool,
    /// At most so many items, at least 1.
    pub limit: usize,
}

/// Items under keys: the port.
///
/// Reads by key and answers to writes are linearizable. [`Items::due`] may lag behind writes (a DynamoDB index does), by
/// seconds; everything that uses it must bear that.
pub trait Items: Send + Sync + 'static {
    /// Applies an update if its conditions hold and the item exists. Atomic for that item.
    fn update(&self, update: &Update) -> impl Future<Output = Result<Outcome<Item>, Error>> + Send;

    /// Writes an item unless one with this key exists. Refused gives the one that exists.
    fn put_new(&self, key: &Key, item: &Item) -> impl Future<Output = Result<Outcome<Item>, Error>> + Send;

    /// Writes an item over whatever was there.
    fn put(&self, key: &Key, item: &Item) -> impl Future<Output = Result<(), Error>> + Send;

    /// Removes an item if these conditions hold for it. An absent item is no error.
    fn delete(&self, key: &Key, conditions: &[Condition]) -> impl Future<Output = Result<Outcome<()>, Error>> + Send;

    /// Reads an item, strongly consistent.
    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Item>, Error>> + Send;

    /// Reads many items, strongly consistent each; absent ones are left out. Any number.
    fn get_many(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<(Key, Item)>, Error>> + Send;

    /// Reads a range of one partition, strongly consistent.
    fn query(&self, range: &Range) -> impl Future<Output = Result<Vec<(String, Item)>, Error>> + Send;

    /// Items of the time index with `wake_at <= until`, earliest first, at most `limit`. May lag.
    fn due(&self, until: i64, limit: usize) -> impl Future<Output = Result<Vec<Due>, Error>> + Send;
}

impl<T: Items> Items for std::sync::Arc<T> {
    fn update(&self, update: &Update) -> impl Future<Output = Result<Outcome<Item>, Error>> + Send {
        (**self).update(update)
    }

    fn put_new(&self, key: &Key, item: &Item) -> impl Future<Output = Result<Outcome<Item>, Error>> + Send {
        (**self).put_new(key, item)
    }

    fn put(&self, key: &Key, item: &Item) -> impl Future<Output = Result<(), Error>> + Send {
        (**self).put(key, item)
    }

    fn delete(&self, key: &Key, conditions: &[Condition]) -> impl Future<Output = Result<Outcome<()>, Error>> + Send {
        (**self).delete(key, conditions)
    }

    fn get(&self, key: &Key) -> impl Future<Output = Result<Option<Item>, Error>> + Send {
        (**self).get(key)
    }

    fn get_many(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<(Key, Item)>, Error>> + Send {
        (**self).get_many(keys)
    }

    fn query(&self, range: &Range) -> impl Future<Output = Result<Vec<(String, Item)>, Error>> + Send {
        (**self).query(range)
    }

    fn due(&self, until: i64, limit: usize) -> impl Future<Output = Result<Vec<Due>, Error>> + Send {
        (**self).due(until, limit)
    }
}
