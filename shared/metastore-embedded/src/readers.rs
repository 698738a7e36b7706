//! Reading: a few connections of their own, so that reads never wait for the disk with the writer.
//!
//! Each read begins a transaction of its own and so sees every commit that was answered before it.

use crate::encoding;
use crate::faults::Fault;
use crate::schema;
use rusqlite::types::{Value as Sql, ValueRef};
use rusqlite::{Connection, OptionalExtension, params};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use updraft_metastore::{Due, Error, Item, Key, Range};

/// Reads at once. More would only contend for the same page cache.
const READERS_MAX: usize = 4;

const GET: &str = "select v from kv where pk = ?1 and sk = ?2";
const ASCENDING: &str = "select sk, v from kv where pk = ?1 and sk >= ?2 and sk < ?3 order by sk limit ?4";
const DESCENDING: &str = "select sk, v from kv where pk = ?1 and sk >= ?2 and sk < ?3 order by sk desc limit ?4";
const DUE: &str = "select wake_at, pk, sk from kv where wake_at <= ?1 order by wake_at, pk, sk limit ?2";

/// The connections that read.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Opens none yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), permits: Arc::new(Semaphore::new(READERS_MAX)), idle: Mutex::default() }
    }

    /// Runs a read on a thread that may wait for the disk.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.expect("the semaphore is never closed");
        let this = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            this.run(read).map_err(|fault| fault.at(&this.path))
        });
        task.await.unwrap_or_else(|e| Err(Error::Unavailable(format!("a read was given up: {e}"))))
    }

    fn run<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.path)?,
        };
        // A connection that failed is not kept: the next read opens a fresh one.
        let found = read(&connection)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(found)
    }
}

/// One item.
pub(crate) fn get(connection: &Connection, key: &Key) -> Result<Option<Item>, Fault> {
    let mut statement = connection.prepare_cached(GET)?;
    let text: Option<String> = statement.query_row(params![key.pk, key.sk], |row| row.get(0)).optional()?;
    text.map(|text| item(&key.pk, &key.sk, &text)).transpose()
}

/// Those of the items that exist.
pub(crate) fn get_many(connection: &Connection, keys: Vec<Key>) -> Result<Vec<(Key, Item)>, Fault> {
    let mut found = Vec::with_capacity(keys.len());
    // One transaction, so that the file is locked once and not per key.
    let transaction = connection.unchecked_transaction()?;
    for key in keys {
        if let Some(item) = get(&transaction, &key)? {
            found.push((key, item));
        }
    }
    transaction.commit()?;
    Ok(found)
}

/// A range of a partition.
pub(crate) fn query(connection: &Connection, range: &Range) -> Result<Vec<(String, Item)>, Fault> {
    let (from, to) = bounds(range);
    let mut statement = connection.prepare_cached(if range.descending { DESCENDING } else { ASCENDING })?;
    let mut rows = statement.query(params![range.pk, from, to, limit(range.limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let sk: String = row.get(0)?;
        let item = item(&range.pk, &sk, row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        found.push((sk, item));
    }
    Ok(found)
}

/// The beginning of the time index.
pub(crate) fn due(connection: &Connection, until: i64, most: usize) -> Result<Vec<Due>, Fault> {
    let mut statement = connection.prepare_cached(DUE)?;
    let rows = statement.query_map(params![until, limit(most)], |row| {
        let key = Key { pk: any_text(row.get_ref(1)?), sk: any_text(row.get_ref(2)?) };
        Ok(Due { wake_at: place(row.get_ref(0)?), key })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A place in the time index. SQLite keeps other numbers in a column of whole ones; such a one is taken for the nearest that could be ours, so
/// that whoever looks finds the item.
fn place(wake_at: ValueRef) -> i64 {
    match wake_at {
        ValueRef::Integer(at) => at,
        ValueRef::Real(at) => at.floor() as i64,
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => 0,
    }
}

/// Part of a key, whatever it is.
fn any_text(part: ValueRef) -> String {
    match part {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Null => String::new(),
    }
}

/// A stored text as an item.
pub(crate) fn item(pk: &str, sk: &str, text: &str) -> Result<Item, Fault> {
    encoding::decode(text).map_err(|cause| Fault::Item(Key { pk: pk.to_owned(), sk: sk.to_owned() }, cause))
}

fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The sort keys of a range: from the first, inclusive, to the second, exclusive.
///
/// SQLite compares text by its bytes, so a text's immediate successor is the text and a zero byte; and any blob comes after
/// every text, so the empty one stands for "no end".
fn bounds(range: &Range) -> (String, Sql) {
    let mut from = range.prefix.clone();
    let mut to = end_of_prefix(&range.prefix);
    match &range.after {
        Some(after) if range.descending => to = Some(to.map_or(after.clone(), |to| to.min(after.clone()))),
        Some(after) => from = from.max(format!("{after}\0")),
        None => {}
    }
    (from, to.map_or(Sql::Blob(Vec::new()), Sql::Text))
}

/// The first text after all that begin with the prefix, if there is one: UTF-8 sorts like its code points, so the last
/// character that has a successor moves on to it.
fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut rest: Vec<char> = prefix.chars().collect();
    while let Some(last) = rest.pop() {
        // A range of characters leaves out the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            rest.push(next);
            return Some(rest.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_next_text() {
        for (prefix, end) in [
            ("", None),
            ("A#", Some("A$")),
            ("a\u{7f}", Some("a\u{80}")),
            ("\u{d7ff}", Some("\u{e000}")),
            ("a\u{10ffff}", Some("b")),
            ("\u{10ffff}\u{10ffff}", None),
        ] {
            assert_eq!(end_of_prefix(prefix).as_deref(), end, "{prefix:?}");
        }
    }

    #[test]
    fn the_time_index_is_read_whatever_stands_in_it() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        for row in ["'R#1', 'R', 20", "'R#2', 'R', 10.5", "'R#3', 'R', -1e300", "x'52ff', 'R', 15"] {
            connection.execute(&format!("insert into kv (pk, sk, wake_at, v) values ({row}, '{{}}')"), []).unwrap();
        }
        let found = due(&connection, 20, 10).unwrap();
        let found: Vec<(i64, &str)> = found.iter().map(|due| (due.wake_at, due.key.pk.as_str())).collect();
        assert_eq!(found, [(i64::MIN, "R#3"), (10, "R#2"), (15, "R\u{fffd}"), (20, "R#1")]);
    }

    #[test]
    fn ranges_are_found_by_index_and_not_by_scanning() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("schema.sql")).unwrap();
        for (sql, plan) in [
            (ASCENDING, "SEARCH kv USING PRIMARY KEY (pk=? AND sk>? AND sk<?)"),
            (DESCENDING, "SEARCH kv USING PRIMARY KEY (pk=? AND sk>? AND sk<?)"),
            (GET, "SEARCH kv USING PRIMARY KEY (pk=? AND sk=?)"),
            (DUE, "SEARCH kv USING COVERING INDEX kv_due (wake_at<?)"),
        ] {
            let mut statement = connection.prepare(&format!("explain query plan {sql}")).unwrap();
            let count = statement.parameter_count();
            let args = rusqlite::params_from_iter(vec![0; count]);
            let steps: Vec<String> = statement.query_map(args, |row| row.get(3)).unwrap().map(Result::unwrap).collect();
            assert_eq!(steps, [plan], "{sql}");
        }
    }
}
