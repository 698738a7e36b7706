//! One server per home directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// The file that is locked.
const NAME: &str = "server.lock";

/// The right to be the server of a home directory, held until it is dropped or the process ends, however it ends.
///
/// The lock is the operating system's (`flock`); the text in the file, process id and URL, is for messages only. Commands that
/// run beside a server never take it. The file stays when the lock is given back: removing it would let two servers lock
/// two files of one name.
#[derive(Debug)]
pub struct ServerLock {
    file: File,
    path: PathBuf,
}

/// Why a home directory was not locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another server has it.
    #[error("another server{} already runs in `{}`{}; {}", pid_text(*pid), home.display(), url_text(url.as_deref()), way_out(*pid))]
    Held {
        /// The home directory.
        home: PathBuf,
        /// The other server's process, if it has written it down.
        pid: Option<u32>,
        /// Where the other server listens, if it has written it down.
        url: Option<String>,
    },
    /// The lock file cannot be used.
    #[error("`{}` cannot be locked: {cause}; the home directory must exist, on a local disk, and be writable for this user", path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        cause: io::Error,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn url_text(url: Option<&str>) -> String {
    url.map(|url| format!(", at {url}")).unwrap_or_default()
}

fn way_out(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("use that one, stop it (`kill {pid}`), or name another home directory"),
        None => "use that one, stop it, or name another home directory".to_owned(),
    }
}

impl ServerLock {
    /// Locks a home directory, or fails at once.
    pub fn acquire(home: &Path) -> Result<Self, LockError> {
        let path = home.join(NAME);
        let unusable = |cause| LockError::Unusable { path: path.clone(), cause };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                // It may be empty still: its owner locks first and writes then.
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(unusable)?;
                let (pid, url) = parse(&text);
                return Err(LockError::Held { home: home.to_owned(), pid, url });
            }
            Err(TryLockError::Error(cause)) => return Err(unusable(cause)),
        }
        let mut lock = Self { file, path: path.clone() };
        lock.write(&format!("pid {}\n", std::process::id()))?;
        Ok(lock)
    }

    /// Notes where the server listens, for the message a second server gives.
    pub fn announce(&mut self, url: &str) -> Result<(), LockError> {
        self.write(&format!("pid {}\nurl {url}\n", std::process::id()))
    }

    fn write(&mut self, text: &str) -> Result<(), LockError> {
        let mut replace = || {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(text.as_bytes())
        };
        replace().map_err(|cause| LockError::Unusable { path: self.path.clone(), cause })
    }
}

impl Drop for ServerLock {
    fn drop(&mut self) {
        // Only so that nobody who looks takes it for a live server.
        let _ = self.file.set_len(0);
        // Closing the file is not enough: a child process has it open too between its fork and its exec.
        let _ = self.file.unlock();
    }
}

fn parse(text: &str) -> (Option<u32>, Option<String>) {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    (field("pid ").and_then(|pid| pid.parse().ok()), field("url ").map(str::to_owned))
}
