//! What is the same for all attempts of a process: the executable that supervises, the interpreter, the scratch directory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::OnceCell;

use crate::pool::Pool;

/// After as many failures in a row no further Python is asked to fork.
const NOT_FORKED_MAX: u32 = 3;

/// The environment variable that names the Python interpreter of callables, a path or a name to look up in `PATH`; `python3` without it.
pub const PYTHON: &str = "UPDRAFT_PYTHON";
/// The environment variable that says, by `true`, that each callable gets an interpreter started for it alone.
pub const PYTHON_FRESH: &str = "UPDRAFT_PYTHON_FRESH";

/// How attempts are started. Make one per process and runtime, and share it: clones share what was looked up once (the Python
/// interpreter) and the supervisors that wait for their next attempt.
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
    pool: Arc<Pool>,
    /// Whether supervisors wait for their next attempt.
    keep: bool,
    /// Whether Python callables get an interpreter of their own.
    fresh_python: bool,
    /// How many times in a row no Python could be forked.
    not_forked: AtomicU32,
    /// Where the Pythons that commands start look first.
    packages: Vec<PathBuf>,
}

impl Launcher {
    /// Supervisors run `program`, which must call [`supervisor_main`](crate::supervisor_main) when its first argument is
    /// [`SUPERVISE`](crate::SUPERVISE).
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let inner = Inner {
            program: program.into(),
            python: "python3".to_owned(),
            scratch: std::env::temp_dir(),
            interpreter: OnceCell::new(),
            bootstrap: Mutex::new(None),
            pool: Arc::default(),
            keep: true,
            fresh_python: false,
            not_forked: AtomicU32::new(0),
            packages: Vec::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Supervisors run the executable of this very process; on Linux even after the file was replaced or removed. Callables get the interpreter
    /// that [`PYTHON`] names, and one of their own each if [`PYTHON_FRESH`] says so.
    ///
    /// # Errors
    /// If the system does not tell where the executable is, or a variable has a value that it cannot have.
    pub fn current_exe() -> io::Result<Self> {
        let program = if cfg!(target_os = "linux") { "/proc/self/exe".into() } else { std::env::current_exe()? };
        let mut launcher = Self::new(program);
        if let Some(python) = variable(PYTHON)? {
            launcher = launcher.with_python(python);
        }
        match variable(PYTHON_FRESH)?.as_deref() {
            None | Some("0" | "false") => Ok(launcher),
            Some("1" | "true") => Ok(launcher.with_fresh_python()),
            Some(other) => Err(io::Error::other(format!(
                "`{PYTHON_FRESH}` is `{other}`; set it to `true` or `false`, or unset it"
            ))),
        }
    }

    /// Uses this Python interpreter, a path or a name to look up in `PATH`, instead of `python3`.
    pub fn with_python(&self, python: impl Into<String>) -> Self {
        self.with(|inner| inner.python = python.into())
    }

    /// Makes the attempts' temporary directories in this directory, which must exist, instead of the system's.
    pub fn with_scratch(&self, scratch: impl Into<PathBuf>) -> Self {
        self.with(|inner| inner.scratch = scratch.into())
    }

    /// Keeps nothing between attempts: when [`run`](crate::run) returns, no process of this crate is left. For workers that are frozen between
    /// their attempts. Otherwise supervisors wait a minute or two for their next attempt, and so do Pythons, from which callables are forked.
    pub fn keeping_nothing(&self) -> Self {
        self.with(|inner| inner.keep = false)
    }

    /// Starts an interpreter for each Python callable instead of forking one that has imported the usual modules of Python already.
    pub fn with_fresh_python(&self) -> Self {
        self.with(|inner| inner.fresh_python = true)
    }

    /// Lets the Pythons that commands start find what lies in these folders, before what `PYTHONPATH` names. A command that is given an
    /// environment of its own, in the place of the server's, does without, and callables are told where to look by their calls.
    pub fn with_packages(&self, folders: Vec<PathBuf>) -> Self {
        self.with(|inner| inner.packages = folders)
    }

    /// Ends the processes that wait for their next attempt, and waits until they are gone. Without it they end soon after the launcher is dropped.
    pub async fn close(&self) {
        for supervisor in self.inner.pool.take_all() {
            supervisor.end().await;
        }
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let from = &*self.inner;
        let mut inner = Inner {
            program: from.program.clone(),
            python: from.python.clone(),
            scratch: from.scratch.clone(),
            interpreter: OnceCell::new(),
            bootstrap: Mutex::new(None),
            pool: Arc::default(),
            keep: from.keep,
            fresh_python: from.fresh_python,
            not_forked: AtomicU32::new(0),
            packages: from.packages.clone(),
        };
        change(&mut inner);
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.inner.pool
    }

    pub(crate) fn packages(&self) -> &[PathBuf] {
        &self.inner.packages
    }

    pub(crate) fn keeps(&self) -> bool {
        self.inner.keep
    }

    /// Whether callables may be forked from a warm Python. Where that failed repeatedly it is not tried any more.
    pub(crate) fn may_fork(&self) -> bool {
        let inner = &self.inner;
        cfg!(target_os = "linux")
            && inner.keep
            && !inner.fresh_python
            && inner.not_forked.load(Ordering::Relaxed) < NOT_FORKED_MAX
    }

    /// Remembers whether a Python could be forked.
    pub(crate) fn forked(&self, done: bool) {
        if done {
            self.inner.not_forked.store(0, Ordering::Relaxed);
        } else {
            self.inner.not_forked.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn program(&self) -> &Path {
        &self.inner.program
    }

    /// The Python interpreter of callables: a path or a name to look up in `PATH`.
    pub fn python(&self) -> &str {
        &self.inner.python
    }

    pub(crate) fn interpreter(&self) -> &OnceCell<PathBuf> {
        &self.inner.interpreter
    }

    pub(crate) fn bootstrap(&self) -> &Mutex<Option<Arc<tempfile::TempDir>>> {
        &self.inner.bootstrap
    }

    /// A fresh directory that is removed with all it contains when the value is dropped.
    ///
    /// # Errors
    /// If nothing can be made there.
    pub fn scratch_dir(&self) -> io::Result<tempfile::TempDir> {
        // Somebody may have tidied it away under a running server.
        std::fs::create_dir_all(&self.inner.scratch)?;
        tempfile::Builder::new().prefix("updraft-").tempdir_in(&self.inner.scratch)
    }

    /// What is said where nothing can be put into the scratch directory.
    pub(crate) fn no_scratch(&self, error: &io::Error) -> String {
        let scratch = self.inner.scratch.display();
        format!(
            "nothing can be written to `{scratch}`, where tasks have their temporary directories: {error}; make room there, or make it writable"
        )
    }
}

/// The value of a variable that is set and not empty.
fn variable(name: &str) -> io::Result<Option<String>> {
    match std::env::var(name) {
        Ok(value) if !value.is_empty() => Ok(Some(value)),
        Ok(_) | Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(io::Error::other(format!("`{name}` is not UTF-8"))),
    }
}
