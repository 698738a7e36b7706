//! Writing: one thread, which commits whatever has queued up while it committed the last.
//!
//! A lone write costs one synchronisation of the disk and waits for nobody; sixty-four at once share one.

use crate::encoding;
use crate::faults::Fault;
use crate::readers;
use rusqlite::{Connection, TransactionBehavior, params};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use updraft_metastore::item::wake_of;
use updraft_metastore::{Condition, Error, Item, Key, Outcome, Update};

/// Requests in one transaction at most; a bound on how long a write waits for those before it in the queue.
const BATCH_MAX: usize = 256;

/// Bytes in the log, roughly, after which the next pause is used to move them into the database.
const LOG_BYTES_WANTED: usize = 4 << 20;

/// What counts as a pause.
const PAUSE: Duration = Duration::from_millis(20);

const INSERT: &str = "insert into kv (pk, sk, wake_at, v) values (?1, ?2, ?3, ?4) on conflict do nothing";
const UPSERT: &str = "insert into kv (pk, sk, wake_at, v) values (?1, ?2, ?3, ?4) \
                      on conflict do update set wake_at = excluded.wake_at, v = excluded.v";
const UPDATE: &str = "update kv set wake_at = ?3, v = ?4 where pk = ?1 and sk = ?2";
const DELETE: &str = "delete from kv where pk = ?1 and sk = ?2";

/// A write.
#[derive(Debug)]
pub(crate) enum Write {
    /// See `Items::update`.
    Update(Update),
    /// See `Items::put_new`.
    PutNew(Key, Item),
    /// See `Items::put`. Answered with an empty item.
    Put(Key, Item),
    /// See `Items::delete`. Answered with an empty item.
    Delete(Key, Vec<Condition>),
}

type Answer = Result<Outcome<Item>, Error>;

#[derive(Debug)]
struct Request {
    write: Write,
    answer: oneshot::Sender<Answer>,
}

/// The thread that writes, seen from outside.
#[derive(Debug)]
pub(crate) struct Writer {
    /// Taken at the end, which ends the thread.
    queue: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

/// What the thread shares with those who ask for changes elsewhere.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    /// Locked by the thread for each transaction.
    connection: Mutex<Watched>,
    /// Somebody else has committed, and nobody was told yet.
    elsewhere: AtomicBool,
}

#[derive(Debug)]
struct Watched {
    connection: Connection,
    /// SQLite's `data_version` when last looked at. It moves when others commit, and not when this connection does.
    data_version: i64,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(path: &Path, connection: Connection) -> Result<Self, Error> {
        let data_version = data_version(&connection).map_err(|e| Fault::from(e).at(path))?;
        let shared = Arc::new(Shared {
            path: path.to_owned(),
            connection: Mutex::new(Watched { connection, data_version }),
            elsewhere: AtomicBool::new(false),
        });
        let (queue, requests) = channel();
        let own = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("metastore-writer".to_owned()).spawn(move || own.run(&requests)).map_err(
                |e| Error::Unavailable(format!("the thread that writes `{}` did not start: {e}", path.display())),
            )?;
        Ok(Self { queue: Some(queue), thread: Some(thread), shared })
    }

    /// Writes; answers when it is on disk. A write whose future is dropped may still happen.
    pub(crate) async fn write(&self, write: Write) -> Answer {
        let (answer, answered) = oneshot::channel();
        let ended = || Error::Unavailable(format!("the thread that writes `{}` has ended", self.shared.path.display()));
        let queue = self.queue.as_ref().ok_or_else(ended)?;
        queue.send(Request { write, answer }).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// See `Embedded::changed_elsewhere`.
    pub(crate) fn changed_elsewhere(&self) -> Result<bool, Error> {
        let shared = &self.shared;
        let watched = match shared.connection.try_lock() {
            Ok(watched) => Some(watched),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            // A transaction of ours is under way, which has looked at its beginning, and keeps others out until it ends.
            Err(TryLockError::WouldBlock) => None,
        };
        if let Some(mut watched) = watched {
            let Watched { connection, data_version } = &mut *watched;
            shared.look(connection, data_version).map_err(|e| Fault::from(e).at(&shared.path))?;
        }
        Ok(shared.elsewhere.swap(false, Ordering::AcqRel))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // It ends in panic only if a request panicked, whose caller has been told.
            let _ = thread.join();
        }
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("pragma data_version")?.query_row([], |row| row.get(0))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether others have committed. `seen` is the version when last looked at.
    fn look(&self, connection: &Connection, seen: &mut i64) -> rusqlite::Result<()> {
        let now = data_version(connection)?;
        if now != *seen {
            *seen = now;
            self.elsewhere.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Serves the queue until all who may send are gone.
    fn run(&self, requests: &Receiver<Request>) {
        let mut log_bytes = 0;
        loop {
            let first = if log_bytes < LOG_BYTES_WANTED {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                requests.recv_timeout(PAUSE)
            };
            match first {
                Ok(first) => {
                    let mut batch = vec![first];
                    batch.extend(requests.try_iter().take(BATCH_MAX - 1));
                    log_bytes += self.serve(batch);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.empty_log();
                    log_bytes = 0;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Moves the log into the database, as far as readers allow, so that no commit has to. A failure costs nothing: SQLite
    /// tries again when the log is long.
    fn empty_log(&self) {
        let watched = self.lock();
        let _ = watched.connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()));
    }

    /// Runs a batch and answers everybody. Returns the bytes it put into the log, roughly.
    fn serve(&self, batch: Vec<Request>) -> usize {
        let mut bytes = 0;
        let mut watched = self.lock();
        match self.transact(&mut watched, &batch, &mut bytes) {
            Ok(answers) => {
                // Those who ask for changes elsewhere need not wait for those who are answered.
                drop(watched);
                for (request, answer) in batch.into_iter().zip(answers) {
                    request.answer(answer);
                }
            }
            // One of them took the others down: each for itself, then.
            Err(fault) if batch.len() > 1 && fault.is_of_one_request() => {
                for request in batch {
                    let alone = self.transact(&mut watched, std::slice::from_ref(&request), &mut bytes);
                    let answer = alone
                        .map_err(|fault| fault.at(&self.path))
                        .and_then(|mut answers| answers.pop().expect("one request has one answer"));
                    request.answer(answer);
                }
            }
            Err(fault) => {
                drop(watched);
                let error = fault.at(&self.path);
                for request in batch {
                    request.answer(Err(error.clone()));
                }
            }
        }
        bytes
    }

    /// One transaction over the requests. If it fails, none of them has happened.
    fn transact(&self, watched: &mut Watched, requests: &[Request], bytes: &mut usize) -> Result<Vec<Answer>, Fault> {
        let Watched { connection, data_version } = watched;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        self.look(&transaction, data_version)?;
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            match request.write.run(&transaction, bytes) {
                // SQLite undid the transaction, not only the statement.
                Err(fault) if transaction.is_autocommit() => return Err(fault),
                other => answers.push(other.map_err(|fault| fault.at(&self.path))),
            }
        }
        transaction.commit()?;
        Ok(answers)
    }
}

impl Request {
    /// Answers, unless nobody waits any more.
    fn answer(self, answer: Answer) {
        let _ = self.answer.send(answer);
    }
}

impl Write {
    /// Runs it inside a transaction.
    fn run(&self, connection: &Connection, bytes: &mut usize) -> Result<Outcome<Item>, Fault> {
        let mut put = |sql: &str, key: &Key, item: &Item| {
            let text = encoding::encode(item);
            // The row, and the page it is on.
            *bytes += text.len() + 4096;
            connection.prepare_cached(sql)?.execute(params![key.pk, key.sk, wake_of(item), text])
        };
        match self {
            Self::Update(update) => {
                let outcome = update.run(readers::get(connection, &update.key)?.as_ref());
                if let Outcome::Updated(item) = &outcome {
                    put(UPDATE, &update.key, item)?;
                }
                Ok(outcome)
            }
            Self::PutNew(key, item) => match put(INSERT, key, item)? {
                0 => Ok(Outcome::Refused(readers::get(connection, key)?)),
                _ => Ok(Outcome::Updated(item.clone())),
            },
            Self::Put(key, item) => {
                put(UPSERT, key, item)?;
                Ok(Outcome::Updated(Item::new()))
            }
            Self::Delete(key, conditions) => {
                if !conditions.is_empty() {
                    let there = readers::get(connection, key)?;
                    if there.is_some_and(|item| !conditions.iter().all(|c| c.holds(&item))) {
                        return Ok(Outcome::Refused(Some(Item::new())));
                    }
                }
                connection.prepare_cached(DELETE)?.execute(params![key.pk, key.sk])?;
                Ok(Outcome::Updated(Item::new()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
