//! Where one machine keeps its state.

use std::path::{Path, PathBuf};

/// A home directory: the metastore's file; logs and large values, whose names begin with `logs/` and `xcoms/`; the server's lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    root: PathBuf,
}

impl Home {
    /// The directory; it need not exist.
    pub(crate) fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The directory itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The file of the keys that variables and connections are encrypted by.
    pub(crate) fn fernet_key(&self) -> PathBuf {
        self.root.join("fernet_key")
    }

    /// The file of the embedded metastore.
    pub(crate) fn metastore(&self) -> PathBuf {
        self.root.join("metastore.db")
    }
}
