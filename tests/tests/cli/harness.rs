//! Running the binary, and what it said as one text.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary: `UPDRAFT_BIN`, else the one beside this test's own target directory.
///
/// A missing binary fails the test: a skipped one would look like a passed one.
pub(crate) fn binary() -> PathBuf {
    let beside = || {
        let this = std::env::current_exe().expect("a running test has a path");
        let folder =
            this.parent().and_then(Path::parent).expect("cargo puts tests into `deps` of its profile's folder");
        folder.join("updraft")
    };
    let binary = std::env::var_os("UPDRAFT_BIN").map_or_else(beside, PathBuf::from);
    assert!(
        binary.is_file(),
        "there is no `{}`: build it first with `cargo build -p updraft`, or name it in UPDRAFT_BIN",
        binary.display()
    );
    binary
}

/// A directory to run commands in.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The binary in this directory, in an environment without the settings of whoever runs the tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.current_dir(self.path()).args(arguments);
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let foreign = ["UPDRAFT_", "AWS_", "AIRFLOW_"].iter().any(|prefix| name.starts_with(prefix));
            if foreign || name.contains("COLOR") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs it to its end.
    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs it, and gives exit status, standard output and standard error as one text, with this directory and all instants made
    /// the same everywhere.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let status = output.status.code().map_or("killed".to_owned(), |code| code.to_string());
        let text = format!(
            "exit {status}\n--- stdout\n{}--- stderr\n{}",
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap()
        );
        same_instants(&text.replace(&self.path().display().to_string(), "[DIR]"))
    }

    /// Standard output as JSON, of a command that must end well.
    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.output(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?} wrote no JSON: {e}"))
    }
}

/// Puts 0 for every digit of an instant: its form stays, and with it the number of digits.
pub(crate) fn same_instants(text: &str) -> String {
    let form = "0000-00-00?00:00:00";
    let fits = |rest: &[char]| {
        rest.len() >= form.len()
            && form.chars().zip(rest).all(|(f, c)| match f {
                '0' => c.is_ascii_digit(),
                '?' => matches!(c, 'T' | ' '),
                other => other == *c,
            })
    };
    let characters: Vec<char> = text.chars().collect();
    let mut out = String::new();
    let mut at = 0;
    while at < characters.len() {
        if !fits(&characters[at..]) {
            out.push(characters[at]);
            at += 1;
            continue;
        }
        while at < characters.len()
            && (characters[at].is_ascii_digit() || matches!(characters[at], '-' | ':' | '.' | 'T' | ' '))
        {
            // A space belongs to the instant only between date and time.
            if characters[at] == ' ' && out.ends_with("00") && out.chars().rev().nth(2) == Some(':') {
                break;
            }
            out.push(if characters[at].is_ascii_digit() { '0' } else { characters[at] });
            at += 1;
        }
    }
    out
}

#[test]
fn instants_keep_their_form() {
    let given = "a 2026-11-23T02:17:05.123456+00:00 b 2026-11-23 02:17:05Z  2026-11-23 02:17:05 c 7";
    let same = "a 0000-00-00T00:00:00.000000+00:00 b 0000-00-00 00:00:00Z  0000-00-00 00:00:00 c 7";
    assert_eq!(same_instants(given), same);
}
