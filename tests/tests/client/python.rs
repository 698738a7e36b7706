//! Python environments of these tests.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the scripts and their requirements are.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("client")
}

/// An environment with what a file of requirements names.
pub(crate) struct Environment {
    python: PathBuf,
}

impl Environment {
    /// Makes it, or finds the one that an earlier run made. None where it cannot be made and nobody insists.
    pub(crate) fn of(requirements: &str) -> Option<Self> {
        let file = folder().join(requirements);
        let wanted = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = requirements.trim_end_matches(".txt");
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("client-{name}"));
        let (python, mark) = (made.join("bin/python"), made.join("made-for"));
        if std::fs::read_to_string(&mark).is_ok_and(|made_for| made_for == wanted) {
            return Some(Self { python });
        }
        let venv = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&made).status();
        let pip = |_| Command::new(&python).args(["-m", "pip", "install", "-q", "-r"]).arg(&file).status();
        let installed = venv.and_then(pip);
        if installed.as_ref().is_ok_and(std::process::ExitStatus::success) {
            std::fs::write(&mark, wanted).expect("the environment was just made");
            return Some(Self { python });
        }
        assert!(std::env::var_os("CI").is_none(), "`{}` cannot be installed: {installed:?}", file.display());
        println!(
            "skipped: `{}` cannot be installed ({installed:?}); it needs python3 with venv, and PyPI",
            file.display()
        );
        None
    }

    /// Runs a program that was installed, which must end well.
    pub(crate) fn run_program(&self, name: &str, arguments: &[&str]) {
        let program = self.python.with_file_name(name);
        // What it keeps between runs has no place in the repository.
        let place = tempfile::tempdir().expect("a folder can be made");
        let output = Command::new(program).args(arguments).current_dir(place.path()).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("`{name}` does not start: {error}"));
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{name}:\n{}{}", said(&output.stdout), said(&output.stderr));
    }

    /// Runs a script, which must end well.
    pub(crate) fn run(&self, arguments: &[&str]) {
        let output = Command::new(&self.python).args(arguments).current_dir(folder()).stdin(Stdio::null()).output();
        let output = output.expect("the environment has a Python");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}:\n{}{}", arguments[0], said(&output.stdout), said(&output.stderr));
    }
}
