//! `updraft dags list-versions`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use updraft_model::DagId;

/// Which DAG.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,
}

/// Lists the versions that a DAG has had.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut rows = Rows::new(&["version_number", "id", "created_at", "file"]);
    for version in session.engine.dag_versions(&arguments.dag_id).await? {
        rows.push(vec![
            Cell::Json(version.version_number.into()),
            Cell::text(&version.version),
            Cell::Time(Some(version.created_at)),
            Cell::Text(version.file),
        ]);
    }
    printer.rows(&rows)
}
