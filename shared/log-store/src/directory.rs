//! Logs and values as files of a directory. The spool of a log is its final place, so it can be read while it is written.

use crate::{Error, LogStore};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

const SCHEME: &str = "file:";

/// A directory on this machine.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory; made when something is kept.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a name is kept.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The file that a URI stands for. What is asked for comes from an item; it must not become a way to any file of the machine.
    fn file(&self, uri: &str) -> Result<PathBuf, Error> {
        let name = uri.strip_prefix(SCHEME).ok_or_else(|| Error::Uri(uri.to_owned()))?;
        if !Path::new(name).components().all(|c| matches!(c, Component::Normal(_))) {
            return Err(Error::Uri(uri.to_owned()));
        }
        Ok(self.path(name))
    }
}

fn unavailable(path: &Path, error: &std::io::Error) -> Error {
    Error::Unavailable(format!("`{}`: {error}", path.display()))
}

impl LogStore for Directory {
    fn spool(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path(name);
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder).map_err(|e| unavailable(folder, &e))?;
        Ok(path)
    }

    async fn keep(&self, name: &str, spool: &Path) -> Result<String, Error> {
        let path = self.path(name);
        if spool != path {
            std::fs::rename(spool, &path).map_err(|e| unavailable(&path, &e))?;
        }
        Ok(format!("{SCHEME}{name}"))
    }

    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<String, Error> {
        let path = self.spool(name)?;
        std::fs::write(&path, bytes).map_err(|e| unavailable(&path, &e))?;
        Ok(format!("{SCHEME}{name}"))
    }

    async fn get(&self, uri: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.file(uri)?;
        match std::fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(unavailable(&path, &e)),
        }
    }

    async fn remove(&self, uri: &str) -> Result<(), Error> {
        let path = self.file(uri)?;
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(unavailable(&path, &e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::log_store_suite!(Directory::new(tempfile::tempdir().unwrap().keep()));

    #[tokio::test]
    async fn no_uri_leads_out() {
        let store = Directory::new(tempfile::tempdir().unwrap().keep());
        for uri in ["file:../../etc/passwd", "file:/etc/passwd"] {
            assert_eq!(store.get(uri).await, Err(Error::Uri(uri.to_owned())));
            assert_eq!(store.remove(uri).await, Err(Error::Uri(uri.to_owned())));
        }
    }
}
