//! Long task logs and large values: written once, read by the URI that writing gave.
//!
//! An attempt's log is spooled to a local file while it runs, so memory stays bounded whatever a task prints. Short logs end up in
//! the attempt's item and never come here.
//!
//! The promises of [`LogStore`] are the functions of [`suite`]; [`Directory`] is the twin on a file system.

pub mod directory;
pub mod suite;

pub use directory::Directory;

use std::future::Future;
use std::path::{Path, PathBuf};

/// Why something could not be kept or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Try again later.
    #[error("the log store is unavailable: {0}")]
    Unavailable(String),
    /// A URI of another store, or none at all.
    #[error("`{0}` is no URI of this log store")]
    Uri(String),
}

/// Where long logs and large values are kept. Names are made by us: parts of `[A-Za-z0-9._-]`, separated by `/`, never reused.
pub trait LogStore: Send + Sync + 'static {
    /// The local file in which to spool what will be kept under this name. Its folder exists afterwards.
    fn spool(&self, name: &str) -> Result<PathBuf, Error>;

    /// Keeps a spooled file under its name; the spool is gone afterwards. Returns the URI.
    fn keep(&self, name: &str, spool: &Path) -> impl Future<Output = Result<String, Error>> + Send;

    /// Keeps bytes under a name. Returns the URI.
    fn put(&self, name: &str, bytes: Vec<u8>) -> impl Future<Output = Result<String, Error>> + Send;

    /// Reads what was kept; none where it is gone.
    fn get(&self, uri: &str) -> impl Future<Output = Result<Option<Vec<u8>>, Error>> + Send;

    /// Removes what was kept. What is gone already is no error.
    fn remove(&self, uri: &str) -> impl Future<Output = Result<(), Error>> + Send;
}
