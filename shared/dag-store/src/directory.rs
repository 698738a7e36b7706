//! The DAG folder as a directory.

use crate::{DagStore, Error, FILE_BYTES_MAX, File, FileEntry, is_inside, is_visible};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How deep folders may be nested.
const DEPTH_MAX: usize = 32;

/// A directory on this machine. Links are followed, as Airflow does.
#[derive(Debug, Clone)]
pub struct Directory {
    root: PathBuf,
}

impl Directory {
    /// The directory itself; it need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn inside(&self, path: &str) -> Result<PathBuf, Error> {
        if is_inside(path) { Ok(self.root.join(path)) } else { Err(Error::Path(path.to_owned())) }
    }

    /// `above`: the folders on the way, by device and inode, so that links which go in circles are followed once.
    fn walk(
        folder: &Path,
        prefix: &str,
        above: &mut Vec<(u64, u64)>,
        found: &mut Vec<FileEntry>,
    ) -> std::io::Result<()> {
        let here = std::fs::metadata(folder)?;
        if above.contains(&(here.dev(), here.ino())) || above.len() > DEPTH_MAX {
            return Ok(());
        }
        above.push((here.dev(), here.ino()));
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            if !is_visible(&path) {
                continue;
            }
            // A file that vanishes between listing and looking is simply not there any more.
            let Ok(meta) = std::fs::metadata(entry.path()) else { continue };
            if meta.is_dir() {
                Self::walk(&entry.path(), &path, above, found)?;
            } else if meta.is_file() {
                found.push(FileEntry { path, etag: tag(&meta), size: meta.len() });
            }
        }
        above.pop();
        Ok(())
    }
}

/// Inode, size and modification time: changes whenever an editor, `cp` or `mv` changes the content.
fn tag(meta: &std::fs::Metadata) -> String {
    format!("{}-{}-{}.{:09}", meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec())
}

fn unavailable(path: &Path, error: &std::io::Error) -> Error {
    Error::Unavailable(format!("`{}`: {error}", path.display()))
}

impl DagStore for Directory {
    async fn list(&self) -> Result<Vec<FileEntry>, Error> {
        let mut found = Vec::new();
        Self::walk(&self.root, "", &mut Vec::new(), &mut found).map_err(|e| unavailable(&self.root, &e))?;
        found.sort();
        Ok(found)
    }

    async fn read(&self, path: &str) -> Result<Option<File>, Error> {
        let full = self.inside(path)?;
        let meta = match std::fs::metadata(&full) {
            Ok(meta) if meta.is_file() => meta,
            Ok(_) => return Ok(None),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(unavailable(&full, &e)),
        };
        if meta.len() > FILE_BYTES_MAX {
            return Err(Error::TooLarge { path: path.to_owned(), size: meta.len() });
        }
        let bytes = match std::fs::read(&full) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) if e.kind() == ErrorKind::PermissionDenied => {
                return Err(Error::Unreadable { path: path.to_owned(), why: e.to_string() });
            }
            Err(e) => return Err(unavailable(&full, &e)),
        };
        // The tag from before the reading: if the file changed meanwhile, the next listing shows another tag.
        Ok(Some(File { entry: FileEntry { path: path.to_owned(), etag: tag(&meta), size: meta.len() }, bytes }))
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let full = self.inside(path)?;
        let folder = full.parent().unwrap_or(&self.root);
        let write = || {
            std::fs::create_dir_all(folder)?;
            let draft = folder.join(format!(
                ".{}.{}.draft",
                full.file_name().unwrap_or_default().display(),
                std::process::id()
            ));
            std::fs::write(&draft, bytes)?;
            std::fs::rename(&draft, &full)
        };
        write().map_err(|e: std::io::Error| unavailable(&full, &e))
    }

    fn location(&self) -> String {
        self.root.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Directory {
        Directory::new(tempfile::tempdir().unwrap().keep())
    }

    crate::dag_store_suite!(folder());

    #[tokio::test]
    async fn links_in_circles_are_followed_once() {
        let store = folder();
        store.write("sub/a.yaml", b"x").await.unwrap();
        std::os::unix::fs::symlink(".", store.root().join("loop")).unwrap();
        std::os::unix::fs::symlink("..", store.root().join("sub/up")).unwrap();
        let listed = store.list().await.unwrap();
        assert_eq!(listed.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["sub/a.yaml"]);
    }

    #[tokio::test]
    async fn a_missing_folder_is_an_error_that_names_it() {
        let error = Directory::new("/nowhere/at/all").list().await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/at/all"), "{error}");
    }
}
