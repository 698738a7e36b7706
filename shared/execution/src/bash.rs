//! Airflow's BashOperator.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::attempt::Plan;
use crate::launcher::Launcher;
use crate::report::Outcome;
use crate::spec::{AttemptSpec, BashCall};
use crate::supervised::{Exit, ProcessSpec};

/// What is needed to run the command, or why it cannot run.
pub(crate) fn plan(
    call: &BashCall,
    spec: &AttemptSpec,
    launcher: &Launcher,
    env: Vec<(OsString, OsString)>,
) -> Result<Plan, String> {
    // Looked up in the server's path: the task's environment need not have one.
    let program = find_in_path("bash")
        .ok_or("`bash` was not found in the server's `PATH`; install it where workers run, or extend `PATH`")?;
    let (cwd, scratch) = working_directory(call.cwd.as_deref(), launcher)?;
    let process = ProcessSpec {
        program,
        args: vec!["-c".into(), OsString::from(&call.bash_command)],
        env,
        cwd,
        channel: false,
        kill_grace: spec.kill_grace,
        warm: None,
    };
    Ok(Plan { process, greeting: None, scratch })
}

/// The given directory, or a temporary one.
pub(crate) fn working_directory(
    given: Option<&Path>,
    launcher: &Launcher,
) -> Result<(PathBuf, Option<tempfile::TempDir>), String> {
    if let Some(given) = given {
        let shown = given.display();
        return match std::fs::metadata(given) {
            Ok(found) if found.is_dir() => match std::path::absolute(given) {
                Ok(absolute) => Ok((absolute, None)),
                Err(error) => Err(format!("the working directory `{shown}` cannot be found: {error}")),
            },
            Ok(_) => Err(format!("the working directory `{shown}` is a file; set `cwd` to a directory")),
            Err(error) => {
                Err(format!("the working directory `{shown}` cannot be used: {error}; create it, or change `cwd`"))
            }
        };
    }
    let scratch = launcher.scratch_dir().map_err(|error| launcher.no_scratch(&error))?;
    Ok((scratch.path().to_owned(), Some(scratch)))
}

/// What an exit means; a signal counts as its negative number, as in Python's `subprocess` and so in Airflow.
pub(crate) fn outcome(call: &BashCall, exit: Exit) -> Outcome {
    let code = match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => -signal,
    };
    if call.skip_on_exit_code.contains(&code) {
        return Outcome::Skipped { reason: format!("Bash command returned exit code {code}. Skipping.") };
    }
    if code == 0 {
        return Outcome::Success;
    }
    Outcome::failed(format!("Bash command failed. The command returned a non-zero exit code {code}."))
}

fn find_in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| {
        std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}
