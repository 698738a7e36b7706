//! The DAG folder: files that people put there.
//!
//! The promises of [`DagStore`] are the functions of [`suite`]; [`Directory`] is the twin on a file system.

pub mod directory;
pub mod ignore;
pub mod suite;

pub use directory::Directory;
pub use ignore::{IGNORE_FILE, IgnoreSyntax, Ignored, folders_of};

use std::future::Future;

/// The largest file that is read; a DAG file or a callable has no business being larger.
pub const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// A file of the DAG folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    /// Its path relative to the folder or prefix, with `/` between parts.
    pub path: String,
    /// Changes whenever the content does.
    pub etag: String,
    /// Bytes.
    pub size: u64,
}

/// A file's content, with the tag it had when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path, tag and size.
    pub entry: FileEntry,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Why the folder could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Try again later.
    #[error("the DAG folder is unavailable: {0}")]
    Unavailable(String),
    /// The file is there and may not be read: trying again does not help.
    #[error("`{path}` cannot be read: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The file is larger than [`FILE_BYTES_MAX`].
    #[error("`{path}` has {size} bytes; a DAG file may have {FILE_BYTES_MAX}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// A path that leaves the folder or cannot be one.
    #[error("`{0}` is no path inside the DAG folder")]
    Path(String),
}

/// The DAG folder.
pub trait DagStore: Send + Sync + 'static {
    /// All files, by path. Hidden files and folders (`.git`) and `__pycache__` are left out; `.airflowignore` is not.
    fn list(&self) -> impl Future<Output = Result<Vec<FileEntry>, Error>> + Send;

    /// Reads a file; none where there is none.
    fn read(&self, path: &str) -> impl Future<Output = Result<Option<File>, Error>> + Send;

    /// Writes a file, over an earlier one: readers see the old or the new content, never a mixture.
    fn write(&self, path: &str, bytes: &[u8]) -> impl Future<Output = Result<(), Error>> + Send;

    /// Where the folder is, for messages to people: a path or a URI.
    fn location(&self) -> String;
}

/// Whether a file of the DAG folder is looked at: no part of its path is hidden or a cache. An ignore file is looked at.
pub fn is_visible(path: &str) -> bool {
    let is_visible = |part: &str| !part.is_empty() && !part.starts_with('.') && part != "__pycache__";
    match path.rsplit_once('/') {
        Some((folder, name)) => folder.split('/').all(is_visible) && (is_visible(name) || name == IGNORE_FILE),
        None => is_visible(path) || path == IGNORE_FILE,
    }
}

/// Whether a path names something inside the DAG folder: parts separated by `/`, none of them empty, `.` or `..`, so that one file
/// has one path.
pub fn is_inside(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
