//! The converter's own Python environment: made at its first use, and kept.

use crate::failure::Failure;
use crate::printer::{Printer, colors_on_stderr};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;
use tokio::process::Command;

/// AWS's converter on PyPI, and the release of it that is used. It brings Airflow 3.0.6 along.
const PACKAGE: &str = "python-to-yaml-dag-converter-mwaa-serverless";
const RELEASE: &str = "0.1.4";

/// Interpreters that the converter's Airflow runs on, the best first; `python3` where it is one of these releases.
const PYTHONS: [&str; 4] = ["python3.12", "python3.11", "python3.10", "python3"];

/// The environment's interpreter.
pub(super) async fn python(with: &[String], printer: Printer) -> Result<PathBuf, Failure> {
    let folder = folder()?;
    let python = folder.join("bin/python");
    if !python.is_file() {
        make(&folder, printer).await?;
    }
    if !with.is_empty() {
        let what = format!("installing {} beside the converter", with.join(", "));
        let progress = Progress::new(&what, printer);
        let done = pip(&python, with).await;
        progress.end();
        done?;
    }
    Ok(python)
}

/// Where it is: in the person's cache, since it can be made again.
fn folder() -> Result<PathBuf, Failure> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let cache = cache.ok_or_else(|| {
        Failure::user("there is no place for the converter").hint("set `HOME` or `XDG_CACHE_HOME` to a folder")
    })?;
    Ok(cache.join("updraft").join(format!("converter-{RELEASE}")))
}

/// Makes it beside its place first, so that one that was broken off is never taken for a whole one.
async fn make(folder: &Path, printer: Printer) -> Result<(), Failure> {
    let interpreter = interpreter().await?;
    let draft = folder.with_extension(format!("{}.draft", std::process::id()));
    let parent = folder.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(|e| {
        Failure::user(format!("the folder `{}` could not be made", parent.display())).cause(e.to_string())
    })?;
    let what = format!("installing AWS's converter and Airflow into {} (once; a minute or two)", folder.display());
    let progress = Progress::new(&what, printer);
    let made = fill(&interpreter, &draft).await;
    progress.end();
    let settled = made.and_then(|()| match std::fs::rename(&draft, folder) {
        Err(_) if folder.join("bin/python").is_file() => Ok(()),
        Err(e) => Err(Failure::fault("the converter could not be put in its place").cause(e.to_string())),
        Ok(()) => Ok(()),
    });
    // What is left of a draft is of no use to anybody.
    let _ = std::fs::remove_dir_all(&draft);
    settled
}

async fn fill(interpreter: &str, draft: &Path) -> Result<(), Failure> {
    let made = output(Command::new(interpreter).args(["-m", "venv"]).arg(draft)).await?;
    if !made.status.success() {
        let failure = Failure::user("a Python environment for the converter could not be made").cause(last_line(&made));
        return Err(failure.hint("on Debian and Ubuntu install `python3-venv`"));
    }
    pip(&draft.join("bin/python"), &[format!("{PACKAGE}=={RELEASE}")]).await
}

/// Installs packages into the environment.
async fn pip(python: &Path, packages: &[String]) -> Result<(), Failure> {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]).args(packages);
    let done = output(&mut command).await?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let no_network =
        ["NewConnectionError", "Name or service not known", "Temporary failure in name resolution", "timed out"]
            .iter()
            .any(|sign| said.contains(sign));
    let failure = Failure::user(format!("{} could not be installed", packages.join(", ")));
    Err(if no_network {
        failure.cause("PyPI could not be reached").hint(
            "the converter is installed at its first use, which needs the network; behind a proxy or a mirror of PyPI, set pip up for it",
        )
    } else {
        failure.cause(last_line(&done))
    })
}

/// An interpreter that the converter runs on.
async fn interpreter() -> Result<String, Failure> {
    let mut found = None;
    for name in PYTHONS {
        let asked = "import sys; print('%d.%d' % sys.version_info[:2])";
        let Ok(answer) = Command::new(name).args(["-c", asked]).output().await else { continue };
        let release = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        if matches!(release.as_str(), "3.10" | "3.11" | "3.12") {
            return Ok(name.to_owned());
        }
        found = Some(release);
    }
    let failure = Failure::user("the converter needs Python 3.10, 3.11 or 3.12");
    Err(match found {
        Some(release) => failure.cause(format!("the `python3` on the path is {release}")),
        None => failure.cause("there is no `python3` on the path"),
    }
    .hint("install one of them, e.g. the package `python3.12` with `python3.12-venv`"))
}

/// Runs a command to its end. It dies with us.
pub(super) async fn output(command: &mut Command) -> Result<Output, Failure> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let running = command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await;
    running.map_err(|e| Failure::user(format!("`{name}` could not be run")).cause(e.to_string()))
}

/// The last line of what a command said is what went wrong.
pub(super) fn last_line(output: &Output) -> String {
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or("it said nothing").trim_start_matches("ERROR: ").to_owned()
}

/// That something takes its time: a spinner on a terminal, a line elsewhere.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(super) fn new(what: &str, printer: Printer) -> Self {
        if !std::io::stderr().is_terminal() {
            printer.note(what);
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let template =
            if colors_on_stderr() { "{spinner:.green} {msg} {elapsed}" } else { "{spinner} {msg} {elapsed}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}
