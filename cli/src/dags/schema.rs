//! `updraft dags schema`

use crate::failure::Failure;
use crate::printer::Printer;

/// Prints the JSON schema of DAG files: JSON, whatever the output format is, since editors read it.
pub(crate) fn run(printer: Printer) -> Result<(), Failure> {
    printer.text(&format!("{}\n", updraft_dag_file::json_schema()))
}
