//! `updraft dags next-execution`

use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows, iso};
use jiff::Timestamp;
use updraft_model::{DagDoc, DagId, Plan};
use updraft_timetables::{DagRunInfo, TimeRestriction};

/// Which DAG, and what of its next runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,

    /// How many runs
    #[arg(long, short, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    num_executions: u32,

    /// What to print of each
    #[arg(long, value_enum, default_value_t = Field::LogicalDate)]
    field: Field,

    /// Print all of them, as columns
    #[arg(long, conflicts_with = "field")]
    table: bool,
}

/// An instant of a run, named as Airflow names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Field {
    /// The instant it stands for.
    #[value(name = "logical_date")]
    LogicalDate,
    /// The beginning of its data.
    #[value(name = "data_interval.start")]
    Start,
    /// The end of its data.
    #[value(name = "data_interval.end")]
    End,
    /// When it is due.
    #[value(name = "run_after")]
    RunAfter,
}

impl Field {
    const ALL: [Self; 4] = [Self::LogicalDate, Self::Start, Self::End, Self::RunAfter];

    fn name(self) -> &'static str {
        match self {
            Self::LogicalDate => "logical_date",
            Self::Start => "data_interval.start",
            Self::End => "data_interval.end",
            Self::RunAfter => "run_after",
        }
    }

    fn of(self, info: &DagRunInfo) -> Option<Timestamp> {
        match self {
            Self::LogicalDate => info.logical_date,
            Self::Start => info.data_interval.map(|interval| interval.start),
            Self::End => info.data_interval.map(|interval| interval.end),
            Self::RunAfter => Some(info.run_after),
        }
    }
}

/// Prints the next runs that the timetable makes.
pub(crate) async fn run(arguments: &Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let dag = super::existing(session, &arguments.dag_id).await?;
    let Some(version) = &dag.version else {
        return Err(Failure::user(format!("the DAG `{}` gets no more runs", dag.dag_id))
            .cause(format!("its file `{}` is gone, or no longer declares it", dag.file)));
    };
    let version = session.engine.version(version).await?;
    if dag.paused {
        printer.note("note: the DAG is paused, so no run is made before it is unpaused");
    }
    let next = next_runs(&version.plan, &dag, Timestamp::now(), arguments.num_executions as usize)?;
    if next.len() < arguments.num_executions as usize {
        printer.note(format_args!(
            "note: no more runs than these follow from the schedule `{}`",
            version.plan.dag.schedule_summary()
        ));
    }
    let shows_nothing = |info: &DagRunInfo| arguments.field.of(info).is_none();
    if !arguments.table && !next.is_empty() && next.iter().all(shows_nothing) {
        printer.note(format_args!(
            "note: its runs have no {}; `--field run_after` says when they are due",
            arguments.field.name()
        ));
    }
    if arguments.table || printer.is_for_programs() {
        let mut rows = Rows::new(&Field::ALL.map(Field::name));
        for info in &next {
            rows.push(Field::ALL.iter().map(|field| Cell::Time(field.of(info))).collect());
        }
        return printer.rows(&rows);
    }
    let line = |at: Option<Timestamp>| at.map_or("None".to_owned(), iso);
    let mut lines: Vec<String> = next.iter().map(|info| line(arguments.field.of(info))).collect();
    if lines.is_empty() {
        lines.push(line(None));
    }
    printer.text(&(lines.join("\n") + "\n"))
}

/// The first as the scheduler would make it; those after it follow one another, as Airflow shows them, whatever is caught up.
fn next_runs(plan: &Plan, dag: &DagDoc, now: Timestamp, count: usize) -> Result<Vec<DagRunInfo>, Failure> {
    let timetable = &plan.dag.timetable;
    let wrong = |error: updraft_timetables::TimetableError| {
        Failure::user(format!("the next run of the DAG `{}` cannot be told", dag.dag_id)).cause(error.to_string())
    };
    let mut restriction = plan.dag.time_restriction();
    let mut last = dag.last;
    let mut found = Vec::new();
    while found.len() < count {
        let Some(info) = timetable.next_dagrun_info(last.as_ref(), &restriction, now).map_err(wrong)? else { break };
        last = Some(info.data_interval.unwrap_or_else(|| updraft_model::DataInterval::exact(info.run_after)));
        restriction = TimeRestriction { catchup: true, ..restriction };
        found.push(info);
    }
    Ok(found)
}
