//! Opening the file: what is set on a connection, and the layout.

use crate::faults::{self, Fault};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, TransactionBehavior};
use std::path::Path;
use std::time::{Duration, Instant};
use updraft_metastore::Error;

/// How long to wait for another process's transaction.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The layout this version writes, kept in SQLite's `user_version`. 0 is an empty file.
const LAYOUT: i64 = 1;

/// Pages of the log after which a commit has to make room itself. The writer does so in a pause, well before.
const LOG_PAGES_MAX: u32 = 4000;

const CREATE: &str = include_str!("schema.sql");

/// Opens the file for writing; makes it, and lays it out, if it is new.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    let at = |e: rusqlite::Error| Fault::from(e).at(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(at)?;
    configure(&connection).map_err(at)?;
    // SQLite opens a file it may not write for reading, and says so only here.
    if connection.is_readonly(MAIN_DB).map_err(at)? {
        return Err(faults::read_only(path));
    }
    // Before anything is changed: the file may be somebody else's.
    let laid_out = is_laid_out(&connection, path)?;
    use_log(&connection, path)?;
    if !laid_out {
        lay_out(&mut connection, path)?;
    }
    Ok(connection)
}

/// Opens the file for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(&connection)?;
    Ok(connection)
}

/// Lets plans depend on the statements alone: else SQLite compiles a statement anew whenever a bound gets another value.
fn keep_plans(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    keep_plans(connection)?;
    connection.pragma_update(None, "synchronous", "full")?;
    // macOS keeps writes in the drive's cache unless told otherwise; elsewhere this has no effect.
    connection.pragma_update(None, "fullfsync", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX)
}

/// Whether the file has our layout. An error if it has one of a newer version or of another program.
fn is_laid_out(connection: &Connection, path: &Path) -> Result<bool, Error> {
    let at = |e: rusqlite::Error| Fault::from(e).at(path);
    // In one statement, so that another process does not lay the file out in between.
    let sql = "select user_version, (select count(*) from sqlite_schema) from pragma_user_version";
    let (found, tables): (i64, i64) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(at)?;
    match found {
        0 if tables == 0 => Ok(false),
        LAYOUT => Ok(true),
        newer if newer > LAYOUT => Err(Error::Unusable(format!(
            "`{}` has layout {newer}, written by a newer version; this one knows up to layout {LAYOUT}; install the newer \
             version, or name another home directory",
            path.display()
        ))),
        _ => Err(Error::Unusable(format!(
            "`{}` is the database of another program; move it away, or name another home directory",
            path.display()
        ))),
    }
}

/// Switches to the write-ahead log. SQLite does not wait for others here, so this does.
fn use_log(connection: &Connection, path: &Path) -> Result<(), Error> {
    let begun = Instant::now();
    loop {
        let set = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0));
        match set {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                return Err(Error::Unusable(format!(
                    "`{}` lies where SQLite cannot keep a write-ahead log (it stays in mode `{mode}`); put the home \
                     directory on a local disk",
                    path.display()
                )));
            }
            Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < BUSY_TIMEOUT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => return Err(Fault::from(e).at(path)),
        }
    }
}

fn lay_out(connection: &mut Connection, path: &Path) -> Result<(), Error> {
    let at = |e: rusqlite::Error| Fault::from(e).at(path);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(at)?;
    // Another process may have been first.
    if !is_laid_out(&transaction, path)? {
        transaction.execute_batch(CREATE).map_err(at)?;
        transaction.pragma_update(None, "user_version", LAYOUT).map_err(at)?;
    }
    transaction.commit().map_err(at)
}
