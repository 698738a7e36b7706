//! What went wrong below, told by what the caller does next.

use rusqlite::ErrorCode;
use std::io::ErrorKind;
use std::path::Path;
use updraft_metastore::{Error, Key};

/// A failed operation on the file.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite refused.
    Sql(rusqlite::Error),
    /// A stored item is none.
    Item(Key, String),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Fault {
    /// Whether a transaction that failed like this may do better without some of its requests: one that is too big for the
    /// space left fails alone, while a locked file or a broken disk fails everybody.
    pub(crate) fn is_of_one_request(&self) -> bool {
        match self {
            Self::Sql(error) => !matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SystemIoFailure)
            ),
            Self::Item(..) => true,
        }
    }

    /// The error of the port, naming the file, the cause and the way out.
    pub(crate) fn at(self, path: &Path) -> Error {
        match self {
            Self::Sql(error) => sql(path, &error),
            Self::Item(key, cause) => Error::Corrupt(format!(
                "item `{}` / `{}` in `{}`: {cause}; restore the file from a backup, or remove the item",
                key.pk,
                key.sk,
                path.display()
            )),
        }
    }
}

fn sql(path: &Path, error: &rusqlite::Error) -> Error {
    let shown = path.display();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Unavailable(format!(
            "`{shown}` was locked by another process for more than {} s; if it goes on, look for the process with `fuser {shown}`",
            crate::schema::BUSY_TIMEOUT.as_secs()
        )),
        Some(ErrorCode::DiskFull) => Error::Unavailable(format!(
            "`{shown}` could not grow, since its disk is full; nothing was written; free some space there and try again"
        )),
        Some(ErrorCode::ReadOnly) => read_only(path),
        Some(ErrorCode::NotADatabase) => {
            Error::Unusable(format!("`{shown}` is no SQLite database; move it away, or name another home directory"))
        }
        Some(ErrorCode::DatabaseCorrupt) => Error::Corrupt(format!(
            "`{shown}` is damaged ({error}); restore it from a backup, or try `sqlite3 {shown} .recover`"
        )),
        Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            cannot_open(path, error)
        }
        Some(ErrorCode::SystemIoFailure) => {
            Error::Unavailable(format!("`{shown}` could not be read or written: {error}; check the disk it is on"))
        }
        Some(ErrorCode::OutOfMemory | ErrorCode::OperationInterrupted | ErrorCode::OperationAborted) => {
            Error::Unavailable(format!("`{shown}`: {error}"))
        }
        _ => Error::Corrupt(format!(
            "`{shown}` is not laid out as expected ({error}); was it changed by hand? Restore it from a backup"
        )),
    }
}

/// A file, or the directory it is in, that may be read and not written.
pub(crate) fn read_only(path: &Path) -> Error {
    Error::Unusable(format!(
        "`{0}` cannot be written: the file, its directory or its disk is read-only for this user; make both writable \
         (`chmod u+w`, `chown`), or name another home directory",
        path.display()
    ))
}

/// SQLite says no more than "unable to open"; the file system knows why.
fn cannot_open(path: &Path, error: &rusqlite::Error) -> Error {
    let shown = path.display();
    let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let unusable = |text: String| Error::Unusable(text);
    match std::fs::metadata(directory) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return unusable(format!(
                "`{shown}` cannot be opened: there is no directory `{0}`; create it (`mkdir -p {0}`), or name another home",
                directory.display()
            ));
        }
        Ok(found) if !found.is_dir() => {
            return unusable(format!(
                "`{shown}` cannot be opened: `{}` is not a directory; name another home",
                directory.display()
            ));
        }
        _ => {}
    }
    if path.is_dir() {
        return unusable(format!("`{shown}` cannot be opened: it is a directory; move it away, or name another home"));
    }
    let tried = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    match tried {
        Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => unusable(format!(
            "`{shown}` cannot be opened: {e}; let this user read and write it and its directory (`chown`, `chmod u+rw`), \
             or name another home directory"
        )),
        // Something passing, such as too many open files.
        Err(e) => Error::Unavailable(format!("`{shown}` cannot be opened: {e}")),
        // The database opens, so one of the files SQLite keeps beside it (`-wal`, `-shm`) does not.
        Ok(_) => unusable(format!(
            "`{shown}` cannot be opened: {error}; let this user read and write the `-wal` and `-shm` files beside it too"
        )),
    }
}
