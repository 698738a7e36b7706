//! `updraft dags list-import-errors`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};

/// Lists the import errors by path. As in Airflow, the exit code says whether there are any; a notice of a
/// Python file is none.
pub(crate) async fn run(session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut rows = Rows::new(&["bundle_name", "filepath", "error"]);
    let mut page = None;
    let mut has_errors = false;
    loop {
        let found = session.engine.store.list_import_errors(200, page).await?;
        for error in found.items {
            has_errors |= !error.is_notice;
            rows.push(vec![Cell::text("dags-folder"), Cell::text(error.path), Cell::text(error.stack_trace)]);
        }
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    printer.rows(&rows)?;
    if has_errors { Err(Failure::told()) } else { Ok(()) }
}
