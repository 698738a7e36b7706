//! `updraft dags convert`: YAML of a Python DAG file, by AWS's converter.
//!
//! The converter runs in a Python environment of its own, which is made at its first use. A script of ours beside it (`driver.py`)
//! lets pass what is understood here, and compares the YAML with the DAG as Airflow built it: what is missing is listed.

mod environment;

use super::sources::{self, Alone, Reading};
use super::{files, report};
use crate::failure::Failure;
use crate::printer::Printer;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::process::Command;
use updraft_model::operators::{self, Runner};

/// What runs beside the converter.
const DRIVER: &str = include_str!("driver.py");

/// What to convert.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The Python DAG file. It is run, as Airflow runs it
    file: PathBuf,

    /// Where the YAML goes; `-` is standard output [default: beside the file, ending in `.yaml`]
    #[arg(long = "to", short = 't', value_name = "FILE")]
    to: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long)]
    force: bool,

    /// A package that the file imports, by its name on PyPI; may be repeated
    #[arg(long, value_name = "PACKAGE")]
    with: Vec<String>,

    #[command(flatten)]
    reading: Reading,
}

/// What the driver says.
#[derive(Debug, Deserialize)]
struct Report {
    dags: Vec<Converted>,
    refused: Option<Refusal>,
}

/// A DAG of the file.
#[derive(Debug, Deserialize)]
struct Converted {
    dag_id: String,
    file: PathBuf,
    lost: Vec<Loss>,
    notes: Vec<String>,
}

/// Something that the YAML lacks.
#[derive(Debug, Deserialize)]
struct Loss {
    what: String,
    line: Option<u32>,
}

/// Why there is no YAML.
#[derive(Debug, Deserialize)]
struct Refusal {
    reason: String,
    line: Option<u32>,
    hint: Option<String>,
}

/// Converts a file, checks what came of it, and says what was lost.
pub(crate) async fn run(arguments: &Arguments, printer: Printer) -> Result<(), Failure> {
    let file = &arguments.file;
    let source = file.canonicalize().ok().filter(|path| path.is_file());
    let Some(source) = source else {
        return Err(Failure::wrong_use(format!("there is no file `{}`", file.display())));
    };
    if !files::is_python(&file.to_string_lossy()) {
        return Err(Failure::wrong_use(format!("`{}` is no Python file", file.display())));
    }
    let to = arguments.to.clone().unwrap_or_else(|| file.with_extension("yaml"));
    let to = Some(to).filter(|to| to.as_os_str() != "-");
    if let Some(to) = to.as_ref().filter(|to| to.exists() && !arguments.force) {
        return Err(Failure::user(format!("there is a file `{}` already", to.display()))
            .hint("name another with `--to FILE`, or write over it with `--force`"));
    }
    let python = environment::python(&arguments.with, printer).await?;
    let scratch =
        tempfile::tempdir().map_err(|e| Failure::user("a temporary folder could not be made").cause(e.to_string()))?;
    let report = drive(&python, &source, scratch.path(), printer).await?;
    if let Some(refusal) = report.refused {
        let place = refusal.line.map_or_else(String::new, |line| format!(":{line}"));
        let failure = Failure::user(format!("`{}` was not converted", file.display())).cause(format!(
            "{}{place}: {}",
            file.display(),
            refusal.reason
        ));
        return Err(match refusal.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        });
    }
    let mut yaml = format!("# Converted from {}.\n", file.file_name().unwrap_or_default().to_string_lossy());
    for dag in &report.dags {
        let read = std::fs::read_to_string(&dag.file);
        yaml.push_str(
            &read.map_err(|e| Failure::fault("the converter's YAML could not be read").cause(e.to_string()))?,
        );
    }
    tell_losses(&report.dags, file, printer);
    match to {
        Some(to) => {
            std::fs::write(&to, yaml)
                .map_err(|e| Failure::user(format!("`{}` could not be written", to.display())).cause(e.to_string()))?;
            let dags: Vec<&str> = report.dags.iter().map(|dag| dag.dag_id.as_str()).collect();
            printer.note(format_args!("`{}` has the DAGs {}", to.display(), dags.join(", ")));
            lint(&to, &arguments.reading, printer).await
        }
        None => printer.text(&yaml),
    }
}

/// Runs the driver.
async fn drive(python: &Path, source: &Path, scratch: &Path, printer: Printer) -> Result<Report, Failure> {
    let write = |name: &str, text: &str| {
        let path = scratch.join(name);
        std::fs::write(&path, text).map(|()| path)
    };
    let failed = |e: std::io::Error| Failure::fault("the scratch folder could not be used").cause(e.to_string());
    let driver = write("driver.py", DRIVER).map_err(failed)?;
    let yaml = scratch.join("yaml");
    std::fs::create_dir(&yaml).map_err(failed)?;
    let report = scratch.join("report.json");
    let runs = |o: &&operators::Operator| o.runner != Runner::Deferred;
    let arguments = |o: &operators::Operator| o.arguments.iter().map(|a| a.name).collect::<Vec<_>>();
    let known: BTreeMap<&str, Vec<&str>> =
        operators::all().iter().filter(runs).map(|o| (o.class_path, arguments(o))).collect();
    let mut command = Command::new(python);
    command.arg(driver).arg(source).arg(&yaml).arg(&report).arg(serde_json::json!(known).to_string());
    command.env("PYTHONPATH", source.parent().unwrap_or(Path::new("/"))).env("PYTHONDONTWRITEBYTECODE", "1");
    // Airflow must neither find nor leave anything of its own on this machine.
    command.env("AIRFLOW_HOME", scratch.join("airflow")).env("AIRFLOW__CORE__LOAD_EXAMPLES", "False");
    command.env("AIRFLOW__LOGGING__LOGGING_LEVEL", "ERROR").env("PYTHONWARNINGS", "ignore");
    let progress = environment::Progress::new("converting", printer);
    let done = environment::output(&mut command).await;
    progress.end();
    let done = done?;
    let text = std::fs::read(&report)
        .map_err(|_| Failure::fault("the converter ended without an answer").cause(environment::last_line(&done)))?;
    serde_json::from_slice(&text).map_err(|e| Failure::fault("the converter's answer was none").cause(e.to_string()))
}

/// Says what the YAML lacks, and what is to be done by hand.
fn tell_losses(dags: &[Converted], file: &Path, printer: Printer) {
    for dag in dags {
        for note in &dag.notes {
            printer.note(format_args!("note: {note}"));
        }
        if !dag.lost.is_empty() {
            printer.note(format_args!("lost of the DAG `{}`:", dag.dag_id));
        }
        for loss in &dag.lost {
            let place = loss.line.map_or_else(String::new, |line| format!(" ({}:{line})", file.display()));
            printer.note(format_args!("  - {}{place}", loss.what));
        }
    }
}

/// Checks the YAML as `dags lint` does.
async fn lint(path: &Path, reading: &Reading, printer: Printer) -> Result<(), Failure> {
    let scopes = sources::collect(&[path.to_owned()], Alone::InPlace, reading.ignore_syntax()).await?;
    let checked = files::check(&scopes, reading, Timestamp::now()).await?;
    let problems = report::render_all(&checked, crate::printer::colors_on_stderr());
    if !problems.is_empty() {
        printer.note(problems.trim_end());
    }
    printer.note(report::summary(&checked));
    if checked.iter().any(files::Checked::has_errors) { Err(Failure::told()) } else { Ok(()) }
}
