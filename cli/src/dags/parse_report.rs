//! `updraft dags report`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use serde_json::json;
use std::collections::BTreeMap;

/// Lists the DAG files with what was read from them.
pub(crate) async fn run(session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut tasks: BTreeMap<String, (Vec<String>, usize)> = BTreeMap::new();
    let mut page = None;
    loop {
        let found = session.engine.store.list_files(200, page).await?;
        for file in found.items {
            tasks.entry(file.path).or_default();
        }
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    for dag in session.engine.all_dags().await? {
        let Some(version) = dag.doc.as_ref().and_then(|doc| doc.version.as_ref()) else { continue };
        let count = session.engine.version(version).await?.plan.dag.tasks.len();
        let (dags, sum) = tasks.entry(dag.summary.file.clone()).or_default();
        dags.push(dag.summary.dag_id.to_string());
        *sum += count;
    }
    let mut errors: BTreeMap<String, bool> = BTreeMap::new();
    let mut page = None;
    loop {
        let found = session.engine.store.list_import_errors(200, page).await?;
        for error in found.items {
            tasks.entry(error.path.clone()).or_default();
            errors.insert(error.path, true);
        }
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    let mut rows = Rows::new(&["file", "dag_num", "task_num", "dags", "has_import_errors"]);
    for (file, (dags, sum)) in tasks {
        let failed = errors.contains_key(&file);
        rows.push(vec![
            Cell::Text(file),
            Cell::Json(dags.len().into()),
            Cell::Json(sum.into()),
            Cell::Json(json!(dags)),
            Cell::Json(failed.into()),
        ]);
    }
    printer.rows(&rows)
}
