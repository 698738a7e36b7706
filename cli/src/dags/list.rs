//! `updraft dags list`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use serde_json::json;
use updraft_service::views::DagView;

/// How to list the DAGs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which columns, with commas between
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Column::DEFAULT)]
    columns: Vec<Column>,

    /// Also those whose file is gone
    #[arg(long)]
    all: bool,
}

/// A column, named as Airflow names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum Column {
    DagId,
    Fileloc,
    Owners,
    IsPaused,
    BundleName,
    BundleVersion,
    Description,
    IsStale,
    LastParsedTime,
    MaxActiveRuns,
    NextDagrunRunAfter,
    Tags,
    TimetableSummary,
}

impl Column {
    /// Airflow 3's.
    const DEFAULT: [Self; 6] =
        [Self::DagId, Self::Fileloc, Self::Owners, Self::IsPaused, Self::BundleName, Self::BundleVersion];

    fn name(self) -> &'static str {
        match self {
            Self::DagId => "dag_id",
            Self::Fileloc => "fileloc",
            Self::Owners => "owners",
            Self::IsPaused => "is_paused",
            Self::BundleName => "bundle_name",
            Self::BundleVersion => "bundle_version",
            Self::Description => "description",
            Self::IsStale => "is_stale",
            Self::LastParsedTime => "last_parsed_time",
            Self::MaxActiveRuns => "max_active_runs",
            Self::NextDagrunRunAfter => "next_dagrun_run_after",
            Self::Tags => "tags",
            Self::TimetableSummary => "timetable_summary",
        }
    }

    fn cell(self, dag: &DagView) -> Cell {
        let (summary, doc) = (&dag.summary, dag.doc.as_ref());
        match self {
            Self::DagId => Cell::text(&summary.dag_id),
            Self::Fileloc => Cell::text(&summary.file),
            Self::Owners => Cell::Json(json!(summary.owners)),
            Self::IsPaused => doc.map_or(Cell::Null, |doc| Cell::Json(json!(doc.paused))),
            // There is one folder or bucket, under the name that Airflow gives its own by default; it has no version of its own.
            Self::BundleName => Cell::text("dags-folder"),
            Self::BundleVersion => Cell::Null,
            Self::Description => Cell::optional(summary.description.as_ref()),
            Self::IsStale => Cell::Json(json!(summary.is_stale)),
            Self::LastParsedTime => Cell::Time(Some(summary.last_parsed)),
            Self::MaxActiveRuns => doc.map_or(Cell::Null, |doc| Cell::Json(json!(doc.max_active_runs))),
            Self::NextDagrunRunAfter => Cell::Time(doc.and_then(|doc| doc.next_due)),
            Self::Tags => Cell::Json(json!(summary.tags)),
            Self::TimetableSummary => Cell::text(&summary.timetable),
        }
    }
}

/// Lists the DAGs by id.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let mut rows = Rows::new(&arguments.columns.iter().map(|column| column.name()).collect::<Vec<_>>());
    let dags = session.engine.all_dags().await?;
    for dag in dags.iter().filter(|dag| arguments.all || !dag.summary.is_stale) {
        rows.push(arguments.columns.iter().map(|column| column.cell(dag)).collect());
    }
    if !session.engine.store.list_import_errors(1, None).await?.items.is_empty() {
        printer.note("note: not every file was loaded; `updraft dags list-import-errors` shows why");
    }
    printer.rows(&rows)
}
