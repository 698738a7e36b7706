//! What is the same for all attempts of a process: the executable that supervises, the interpreter, the scratch directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

/// How attempts are started. Make one per process and share it: clones share what was looked up once (the Python interpreter).
#[derive(Clone, Debug)]
pub struct Launcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    python: String,
    scratch: PathBuf,
    interpreter: OnceCell<PathBuf>,
    bootstrap: Mutex<Option<Arc<tempfile::TempDir>>>,
}

impl Launcher {
    /// Supervisors run `program`, which must call [`supervisor_main`](crate::supervisor_main) when its first argument is
    /// [`SUPERVISE`](crate::SUPERVISE).
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self::with(program.into(), "python3".to_owned(), std::env::temp_dir())
    }

    /// Supervisors run the executable of this very process; on Linux even after the file was replaced or removed.
    ///
    /// # Errors
    /// If the system does not tell where the executable is.
    pub fn current_exe() -> io::Result<Self> {
        if cfg!(target_os = "linux") {
            return Ok(Self::new("/proc/self/exe"));
        }
        std::env::current_exe().map(Self::new)
    }

    /// Uses this Python interpreter, a path or a name to look up in `PATH`, instead of `python3`.
    pub fn with_python(&self, python: impl Into<String>) -> Self {
        Self::with(self.inner.program.clone(), python.into(), self.inner.scratch.clone())
    }

    /// Makes the attempts' temporary directories in this directory, which must exist, instead of the system's.
    pub fn with_scratch(&self, scratch: impl Into<PathBuf>) -> Self {
        Self::with(self.inner.program.clone(), self.inner.python.clone(), scratch.into())
    }

    fn with(program: PathBuf, python: String, scratch: PathBuf) -> Self {
        let inner = Inner { program, python, scratch, interpreter: OnceCell::new(), bootstrap: Mutex::new(None) };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.inner.program
    }

    pub(crate) fn python(&self) -> &str {
        &self.inner.python
    }

    pub(crate) fn interpreter(&self) -> &OnceCell<PathBuf> {
        &self.inner.interpreter
    }

    pub(crate) fn bootstrap(&self) -> &Mutex<Option<Arc<tempfile::TempDir>>> {
        &self.inner.bootstrap
    }

    /// A fresh directory that is removed with all it contains when the value is dropped.
    pub(crate) fn scratch_dir(&self) -> io::Result<tempfile::TempDir> {
        // Somebody may have tidied it away under a running server.
        std::fs::create_dir_all(&self.inner.scratch)?;
        tempfile::Builder::new().prefix("updraft-").tempdir_in(&self.inner.scratch)
    }
}
