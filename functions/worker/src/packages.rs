//! What Python tasks import beside their DAG's own files: zip files under `packages/` of the bucket, unpacked where the interpreter looks.

use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::process::Command;
use updraft_dag_store::DagStore;
use updraft_log_store::LogStore;

/// Where the zip files are in the bucket.
pub(crate) const PREFIX: &str = "packages/";

/// How long what was listed counts: a listing costs as much as ten task messages.
const FRESH_FOR: Duration = Duration::from_mins(1);

/// The folder inside of a zip in which Lambda's layers have Python packages: such a zip serves as it is.
const LAYER_FOLDER: &str = "python";

/// The unpacked packages of a deployment. `S` lists them, `B` has their bytes.
#[derive(Debug)]
pub(crate) struct Packages<S, B> {
    store: S,
    blobs: B,
    root: PathBuf,
    interpreter: String,
    /// What is unpacked, and when that was last found to be so.
    known: Mutex<Option<(String, Instant)>>,
}

impl<S: DagStore, B: LogStore> Packages<S, B> {
    /// Those that `store` lists, to be unpacked below `root` by this interpreter.
    pub(crate) fn new(store: S, blobs: B, root: PathBuf, interpreter: String) -> Self {
        Self { store, blobs, root, interpreter, known: Mutex::new(None) }
    }

    /// The folders in which Python is to look. They are there once something was unpacked.
    pub(crate) fn search_path(&self) -> Vec<PathBuf> {
        let current = self.current();
        vec![current.join(LAYER_FOLDER), current]
    }

    fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// Unpacks what is new. What cannot be is an error, and what was there before stays: a task that needs more fails by its import.
    pub(crate) async fn refresh(&self) -> Result<(), String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.as_ref().is_some_and(|(_, found)| found.elapsed() < FRESH_FOR) {
            return Ok(());
        }
        let listed = self.store.list().await.map_err(|error| error.to_string())?;
        let zips: Vec<_> = listed
            .into_iter()
            .filter(|file| Path::new(&file.path).extension().is_some_and(|end| end == "zip"))
            .collect();
        let tags: Vec<String> = zips.iter().map(|zip| format!("{} {}", zip.path, zip.etag)).collect();
        let wanted = format!("{:x}", Sha256::digest(tags.join("\n").as_bytes()));
        if known.is_none_or(|(there, _)| there != wanted) {
            let paths = zips.into_iter().map(|zip| zip.path).collect::<Vec<_>>();
            self.unpack(&wanted, &paths).await?;
            tracing::info!(packages = ?paths, "unpacked extra packages");
        }
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some((wanted, Instant::now()));
        Ok(())
    }

    /// Unpacks all of them into a folder of their own, which then takes the place of the one before.
    async fn unpack(&self, wanted: &str, paths: &[String]) -> Result<(), String> {
        let folder = self.root.join(wanted);
        let at = |path: &Path, error: io::Error| format!("`{}`: {error}", path.display());
        // What an invocation that was stopped in the midst of this has left is begun anew.
        if let Err(error) = tokio::fs::remove_dir_all(&folder).await
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(at(&folder, error));
        }
        tokio::fs::create_dir_all(&folder).await.map_err(|e| at(&folder, e))?;
        for path in paths {
            let uri = format!("{}/{path}", self.store.location().trim_end_matches('/'));
            let bytes = self.blobs.get(&uri).await.map_err(|error| error.to_string())?;
            let Some(bytes) = bytes else { continue };
            let zip = self.root.join("package.zip");
            tokio::fs::write(&zip, bytes).await.map_err(|e| at(&zip, e))?;
            // Python is here, and knows zip files.
            let unzip =
                Command::new(&self.interpreter).args(["-m", "zipfile", "-e"]).arg(&zip).arg(&folder).output().await;
            let unzipped = unzip.map_err(|e| at(Path::new(&self.interpreter), e))?;
            if !unzipped.status.success() {
                let said = String::from_utf8_lossy(&unzipped.stderr);
                let last = said.lines().last().unwrap_or("no message");
                return Err(format!("`{uri}` cannot be unpacked: {last}; upload it as a zip file"));
            }
            tokio::fs::remove_file(&zip).await.map_err(|e| at(&zip, e))?;
        }
        let (link, current) = (self.root.join("next"), self.current());
        // A link from an earlier attempt at this; there mostly is none.
        let _ = tokio::fs::remove_file(&link).await;
        tokio::fs::symlink(&folder, &link).await.map_err(|e| at(&link, e))?;
        tokio::fs::rename(&link, &current).await.map_err(|e| at(&current, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_dag_store::Directory;

    /// A folder of packages whose blobs are its files.
    #[derive(Debug)]
    struct Files(PathBuf);

    impl LogStore for Files {
        fn spool(&self, name: &str) -> Result<PathBuf, updraft_log_store::Error> {
            Ok(self.0.join(name))
        }

        async fn keep(&self, name: &str, _: &Path) -> Result<String, updraft_log_store::Error> {
            Ok(name.to_owned())
        }

        async fn put(&self, name: &str, _: Vec<u8>) -> Result<String, updraft_log_store::Error> {
            Ok(name.to_owned())
        }

        async fn get(&self, uri: &str) -> Result<Option<Vec<u8>>, updraft_log_store::Error> {
            let name = uri.rsplit('/').next().unwrap_or(uri);
            std::fs::read(self.0.join(name)).map(Some).map_err(|e| updraft_log_store::Error::Unavailable(e.to_string()))
        }

        async fn remove(&self, _: &str) -> Result<(), updraft_log_store::Error> {
            Ok(())
        }
    }

    fn python(code: &str, folder: &Path) -> std::process::Output {
        std::process::Command::new("python3").args(["-c", code]).current_dir(folder).output().unwrap()
    }

    /// Writes a zip with one module of one line.
    fn pack(folder: &Path, zip: &str, module: &str, line: &str) {
        let code = format!("import zipfile; zipfile.ZipFile({zip:?}, 'w').writestr({module:?}, {line:?})");
        let packed = python(&code, folder);
        assert!(packed.status.success(), "{packed:?}");
    }

    #[tokio::test]
    async fn what_is_uploaded_can_be_imported_and_a_bad_zip_changes_nothing() {
        let (uploads, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let new = || {
            let store = Directory::new(uploads.path());
            Packages::new(store, Files(uploads.path().to_owned()), home.path().to_owned(), "python3".to_owned())
        };
        let import = |packages: &Packages<_, _>| {
            let code = format!(
                "import sys; sys.path[:0] = {:?}; import one, two; print(one.n, two.n)",
                packages.search_path()
            );
            let said = python(&code, Path::new("/"));
            (said.status.success(), String::from_utf8_lossy(&said.stdout).trim().to_owned())
        };
        let packages = new();
        packages.refresh().await.unwrap();
        assert!(!import(&packages).0, "nothing is there yet");

        pack(uploads.path(), "a.zip", "one.py", "n = 1");
        pack(uploads.path(), "b.zip", "python/two.py", "n = 2");
        packages.refresh().await.unwrap();
        assert!(!import(&packages).0, "what was listed counts for a while");
        let packages = new();
        packages.refresh().await.unwrap();
        assert_eq!(import(&packages), (true, "1 2".to_owned()));

        std::fs::write(uploads.path().join("b.zip"), "no zip").unwrap();
        let packages = new();
        let error = packages.refresh().await.unwrap_err();
        assert!(error.contains("b.zip` cannot be unpacked"), "{error}");
        assert_eq!(import(&packages), (true, "1 2".to_owned()), "what was there stays");
    }
}
