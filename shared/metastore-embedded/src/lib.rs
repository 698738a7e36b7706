//! The metastore in one SQLite file.
//!
//! [`Embedded`] keeps the promises of [`Items`] for one machine: each write is one row in one transaction, answered once it is
//! on disk. One thread writes, taking what has queued up meanwhile into one transaction; reads go to connections of their own.
//! Several processes may have the file open, so the command line can write while a server runs; [`ServerLock`] keeps a
//! second *server* out.
//!
//! The file is made to be looked at: `select pk, sk, v from kv` in the `sqlite3` shell shows every document as JSON.
//! It must lie on a local disk: SQLite's write-ahead log needs shared memory, which network file systems do not give.

mod encoding;
mod faults;
mod lock;
mod readers;
mod schema;
mod writer;

pub use lock::{LockError, ServerLock};

use readers::Readers;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use updraft_metastore::{Condition, Due, Error, Item, Items, Key, Outcome, Range, Update};
use writer::{Write, Writer};

/// Items in one SQLite file. Dropping it waits for the writes under way.
#[derive(Debug)]
pub struct Embedded {
    // First, so that these connections are closed before the writer's: the last one to close tidies the log away, and only
    // a writing one can.
    readers: Arc<Readers>,
    writer: Writer,
    path: PathBuf,
}

impl Embedded {
    /// Opens the file, and makes it if there is none. Its directory must exist. Blocks for some milliseconds.
    ///
    /// Errors: [`Error::Unusable`] where a person has to act (no directory, no permission, no database of ours, written by a
    /// newer version), [`Error::Unavailable`] where another process keeps the file locked for more than five seconds.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = schema::open(path)?;
        let writer = Writer::start(path, connection)?;
        Ok(Self { readers: Arc::new(Readers::new(path)), writer, path: path.to_owned() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody else (another process, another [`Embedded`]) has committed since the last call, or since the opening.
    ///
    /// Never misses a commit, though it may report one at the next call while a write of our own is under way, and says so at
    /// times without one. Costs microseconds and waits for nothing, so it may be asked every few milliseconds.
    pub fn changed_elsewhere(&self) -> Result<bool, Error> {
        self.writer.changed_elsewhere()
    }
}

impl Items for Embedded {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        self.writer.write(Write::Update(update.clone())).await
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        self.writer.write(Write::PutNew(key.clone(), item.clone())).await
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.writer.write(Write::Put(key.clone(), item.clone())).await.map(|_| ())
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        let outcome = self.writer.write(Write::Delete(key.clone(), conditions.to_vec())).await?;
        outcome.try_map(|_| Ok(()))
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        let key = key.clone();
        self.readers.read(move |connection| readers::get(connection, &key)).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys.to_vec();
        self.readers.read(move |connection| readers::get_many(connection, keys)).await
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        let range = range.clone();
        self.readers.read(move |connection| readers::query(connection, &range)).await
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        self.readers.read(move |connection| readers::due(connection, until, limit)).await
    }
}
