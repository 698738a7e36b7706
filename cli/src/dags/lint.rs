//! `updraft dags lint`

use super::files::{self, Checked};
use crate::failure::Failure;
use crate::printer::Printer;
use jiff::Timestamp;
use serde_json::Value;
use std::path::PathBuf;
use updraft_dag_file::Diagnostic;

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// DAG files, or DAG folders
    #[arg(default_value = "dags")]
    paths: Vec<PathBuf>,
}

/// Checks files: problems are the data, so they go to standard output.
pub(crate) async fn run(arguments: &Arguments, printer: Printer) -> Result<(), Failure> {
    let mut sources = files::collect(&arguments.paths).await?;
    for path in arguments.paths.iter().filter(|path| path.is_file()) {
        if sources.iter().any(|source| source.path == *path && !source.is_dag_file()) {
            return Err(Failure::user(format!("`{}` is no DAG file", path.display()))
                .cause("DAG files end in `.yaml` or `.yml`, and `defaults.yml` is reserved"));
        }
    }
    sources.retain(files::Source::is_dag_file);
    let checked = files::check(sources, Timestamp::now())?;
    if printer.is_for_programs() {
        let all = checked.iter().flat_map(|file| &file.diagnostics).map(to_json).collect();
        printer.value(&Value::Array(all))?;
    } else {
        printer.text(&checked.iter().map(|file| file.render(printer.color())).collect::<String>())?;
    }
    printer.note(summary(&checked));
    if checked.iter().any(Checked::has_errors) { Err(Failure::told()) } else { Ok(()) }
}

fn to_json(diagnostic: &Diagnostic) -> Value {
    serde_json::json!({
        "file": diagnostic.file,
        "line": diagnostic.line,
        "column": diagnostic.column,
        "severity": diagnostic.severity.to_string(),
        "dag_id": diagnostic.dag_id,
        "key_path": diagnostic.key_path,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    })
}

/// What was checked, and what came of it, in a line.
fn summary(checked: &[Checked]) -> String {
    let all = checked.iter().flat_map(|file| &file.diagnostics);
    let errors = all.clone().filter(|d| d.is_error()).count();
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    format!(
        "{}: {}, {}",
        count(checked.len(), "DAG file"),
        count(errors, "error"),
        count(all.count() - errors, "warning")
    )
}
