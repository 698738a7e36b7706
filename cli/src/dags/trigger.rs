//! `updraft dags trigger`

use super::wait;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Cell, Printer, Rows};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use updraft_model::{DagId, DagRunState, RunDoc, TriggeredBy};
use updraft_service::{Origin, Trigger};

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id)]
    dag_id: DagId,

    /// The run's id; if not given, made from the present instant
    #[arg(long, short)]
    run_id: Option<String>,

    /// What the run is given, as a JSON object; it overrides the DAG's params
    #[arg(long, short, value_name = "JSON", value_parser = parse_conf)]
    conf: Option<Value>,

    /// The instant the run stands for, e.g. `2026-01-31` or `2026-01-31T06:00:00+01:00` (UTC if no offset is given)
    #[arg(long, short, visible_alias = "exec-date", value_name = "DATE", value_parser = parse_instant)]
    logical_date: Option<Timestamp>,

    /// Wait until the run has ended, and show how it goes on; exit code 1 if it fails
    #[arg(long, short)]
    wait: bool,
}

/// A conf as somebody typed it.
pub(crate) fn parse_conf(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("this is no JSON: {e}"))?;
    if value.is_object() { Ok(value) } else { Err("it must be a JSON object, like {\"key\": \"value\"}".to_owned()) }
}

/// An instant as people write it: with an offset, or in UTC without.
pub(crate) fn parse_instant(text: &str) -> Result<Timestamp, String> {
    let exact = text.parse::<Timestamp>().ok();
    let civil = || text.parse::<DateTime>().ok().and_then(|civil| civil.to_zoned(TimeZone::UTC).ok());
    exact.or_else(|| civil().map(|zoned| zoned.timestamp())).ok_or_else(|| {
        "this is no date; write `2026-01-31`, `2026-01-31T06:00:00` or `2026-01-31T06:00:00+01:00`".to_owned()
    })
}

/// Triggers the run, and waits for its end if that was asked for.
pub(crate) async fn run(arguments: Arguments, session: &Session, printer: Printer) -> Result<(), Failure> {
    let trigger = Trigger {
        dag_id: arguments.dag_id,
        run_id: arguments.run_id,
        logical_date: arguments.logical_date,
        conf: arguments.conf.unwrap_or_default(),
    };
    let origin =
        Origin { triggered_by: Some(TriggeredBy::Cli), user: crate::metastore::user_name(), ..Origin::default() };
    let mut run = Box::pin(session.engine.trigger_from(trigger, &origin)).await?;
    // Now, whatever becomes of the run that may be waited for.
    if let Some(mut event) = crate::event_logs::take() {
        event.run_id = Some(run.facts.run_id.clone());
        event.logical_date = run.facts.logical_date;
        session.engine.record_event(event).await;
    }
    if let Some(note) = held(session, &run).await? {
        printer.note(note);
    }
    if let Some(note) = session.delay_note {
        printer.note(note);
    }
    if arguments.wait {
        run = match wait::for_end(session, run, printer).await? {
            wait::Ended::Run(run) => *run,
            wait::Ended::Interrupted => return Err(Failure::told()),
        };
    }
    printer.records(&rows(&run))?;
    if arguments.wait && run.state == DagRunState::Failed {
        return Err(Failure::user(format!("the run `{}` failed", run.facts.run_id)).hint(format!(
            "`updraft tasks states-for-dag-run {} {}` shows which tasks did",
            run.facts.dag_id, run.facts.run_id
        )));
    }
    Ok(())
}

/// Why a run will not start soon, if it will not.
async fn held(session: &Session, run: &RunDoc) -> Result<Option<String>, Failure> {
    let dag_id = &run.facts.dag_id;
    let dag = super::existing(session, dag_id).await?;
    Ok(if dag.paused {
        Some(format!("note: the DAG is paused, so the run stays queued; `updraft dags unpause {dag_id}` lets it start"))
    } else if dag.has_room() {
        None
    } else {
        Some(format!("note: the DAG has {} active runs, as many as it may; this one stays queued", dag.active.len()))
    })
}

/// The run, under the keys of Airflow's answer to a trigger.
fn rows(run: &RunDoc) -> Rows {
    let facts = &run.facts;
    let mut rows = Rows::new(&[
        "conf",
        "dag_id",
        "dag_run_id",
        "data_interval_start",
        "data_interval_end",
        "end_date",
        "logical_date",
        "run_after",
        "run_type",
        "start_date",
        "state",
    ]);
    let instant = |at: Option<Timestamp>| if at.is_some() { Cell::Time(at) } else { Cell::Null };
    let conf = if facts.conf.is_null() { Value::Object(serde_json::Map::new()) } else { facts.conf.clone() };
    rows.push(vec![
        Cell::Json(conf),
        Cell::text(&facts.dag_id),
        Cell::text(&facts.run_id),
        instant(facts.data_interval.map(|i| i.start)),
        instant(facts.data_interval.map(|i| i.end)),
        instant(run.end_date),
        instant(facts.logical_date),
        instant(Some(facts.run_after)),
        Cell::text(facts.run_type),
        instant(run.start_date),
        Cell::State(Some(run.state.as_str())),
    ]);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_without_an_offset_are_in_utc() {
        for (given, meant) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31 06:00", "2026-01-31T06:00:00Z"),
            ("2026-01-31T06:00:00+01:00", "2026-01-31T05:00:00Z"),
            ("2026-01-31T06:00:00.5Z", "2026-01-31T06:00:00.5Z"),
        ] {
            assert_eq!(parse_instant(given).unwrap().to_string(), meant);
        }
        assert!(parse_instant("tomorrow").unwrap_err().contains("2026-01-31"));
    }

    #[test]
    fn a_conf_is_an_object() {
        assert!(parse_conf("{\"a\": 1}").is_ok());
        assert!(parse_conf("[1]").unwrap_err().contains("object"));
        assert!(parse_conf("{a}").unwrap_err().contains("no JSON"));
    }
}
