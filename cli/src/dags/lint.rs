//! `updraft dags lint`

use super::files::{self, Checked};
use super::report;
use super::sources::{self, Alone, Reading, Scope};
use crate::failure::Failure;
use crate::printer::Printer;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What to check.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// DAG files, DAG folders, and buckets: `s3://BUCKET/PREFIX`
    #[arg(default_value = "dags")]
    paths: Vec<PathBuf>,

    /// Warnings are errors: exit code 1 for them, too
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    reading: Reading,
}

/// Checks files: problems are the data, so they go to standard output. Exit code 1 says that there are errors, 2 that something could
/// not be checked.
pub(crate) async fn run(arguments: &Arguments, printer: Printer) -> Result<(), Failure> {
    let syntax = arguments.reading.ignore_syntax();
    let (scopes, missing) = sources::collect_there(&arguments.paths, Alone::InPlace, syntax).await?;
    if scopes.is_empty() {
        return missing.map_or(Ok(()), Err);
    }
    for scope in &scopes {
        refuse_other_files(scope)?;
    }
    let mut checked = files::check(&scopes, &arguments.reading, Timestamp::now()).await?;
    tell_once(&mut checked);
    if printer.is_for_programs() {
        let all = checked.iter().flat_map(|file| &file.diagnostics).map(report::to_json).collect();
        printer.value(&Value::Array(all))?;
    } else {
        printer.text(&report::render_all(&checked, printer.color()))?;
    }
    printer.note(report::summary(&checked));
    let above: BTreeSet<PathBuf> = scopes.iter().filter_map(Scope::defaults_above).collect();
    for path in above {
        printer.note(format!(
            "`{}` lies above what was checked, and was not merged: check the whole DAG folder, or from inside of it",
            path.display()
        ));
    }
    let fails = |file: &Checked| file.has_errors() || arguments.strict && !file.diagnostics.is_empty();
    // What was not there could not be checked, which is worse than what was found in the rest.
    match missing {
        Some(failure) => Err(failure),
        None if checked.iter().any(fails) => Err(Failure::told()),
        None => Ok(()),
    }
}

/// A problem of a `defaults.yml` concerns each file below it, and is told with the first.
fn tell_once(checked: &mut [Checked]) {
    let mut told = BTreeSet::new();
    for file in checked {
        let Checked { shown, diagnostics, .. } = file;
        diagnostics.retain(|d| d.file == *shown || told.insert((d.file.clone(), d.line, d.column, d.message.clone())));
    }
}

/// A file that was named by itself is meant to be a DAG file, or a Python file to be told about.
fn refuse_other_files(scope: &Scope) -> Result<(), Failure> {
    let is_other = |path: &&String| !Scope::is_dag_file(path) && !files::is_python(path);
    match scope.files.iter().filter(|_| scope.listed.is_none()).find(is_other) {
        Some(path) => Err(Failure::wrong_use(format!("`{}` is no DAG file", scope.shown(path)))
            .cause("DAG files end in `.yaml` or `.yml`, and `defaults.yml` is reserved")),
        None => Ok(()),
    }
}
