//! `updraft simulate`

use super::sources::{self, Alone, Reading};
use super::{files, parse_instant, report};
use crate::failure::{Failure, did_you_mean};
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer, Rows};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use updraft_model::{Dag, DagId};
use updraft_service::Settings;
use updraft_service::engine::near;
use updraft_simulate::{DagReport, Error, Guesses, Report, Wish, history, simulate};

/// How long is simulated where nobody says.
const DAYS_DEFAULT: i64 = 7;

/// What to simulate.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// DAG files, DAG folders, and buckets: `s3://BUCKET/PREFIX`
    #[arg(default_value = "dags")]
    paths: Vec<PathBuf>,

    /// When it begins: the beginning of today if not given. What was due before is taken for done
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    from: Option<Timestamp>,

    /// When it ends: after a week if not given. What is due at that very instant is not made any more
    #[arg(long, value_name = "DATE", value_parser = parse_instant)]
    to: Option<Timestamp>,

    /// How many seconds tries take: `30`, or `TASK=30`, or `DAG.TASK=30`; may be repeated. If not given: as before, else 10
    #[arg(long = "duration", value_name = "[TASK=]SECONDS", value_parser = parse_seconds)]
    durations: Vec<(String, f64)>,

    /// How many tries fail, from 0 (none) to 1 (all): `0.05`, or `TASK=0.5`, or `DAG.TASK=0.5`; may be repeated
    #[arg(long = "fail", value_name = "[TASK=]RATE", value_parser = parse_rate)]
    failures: Vec<(String, f64)>,

    /// Tries fail as often as they did before, where nothing else is given for their task
    #[arg(long)]
    fail_as_before: bool,

    /// How many of each DAG's latest runs in the metastore tell how long its tasks take; 0: none
    #[arg(long, value_name = "RUNS", default_value_t = 20)]
    history: usize,

    /// How many tasks run at once
    #[arg(long, value_name = "N", default_value_t = 32)]
    parallelism: u64,

    /// What everything is drawn from: the same seed tells the same
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Megabytes of a worker on AWS, for what it costs
    #[arg(long, value_name = "MB", default_value_t = 512)]
    worker_memory: u64,

    /// List every run instead of every DAG
    #[arg(long)]
    runs: bool,

    #[command(flatten)]
    reading: Reading,
}

/// A number for all tasks, or for one; `what` it has to be.
fn parse_pair(text: &str, what: &str, fits: impl Fn(f64) -> bool) -> Result<(String, f64), String> {
    let (name, number) =
        text.rsplit_once('=').map_or((None, text), |(name, number)| (Some(name.trim()), number.trim()));
    if name.is_some_and(str::is_empty) {
        return Err("no DAG and no task is named before `=`; leave the `=` out to mean all of them".to_owned());
    }
    let parsed: Option<f64> = number.parse().ok().filter(|number| fits(*number));
    parsed
        .map(|number| (name.unwrap_or_default().to_owned(), number))
        .ok_or_else(|| format!("`{number}` is not {what}"))
}

fn parse_seconds(text: &str) -> Result<(String, f64), String> {
    parse_pair(text, "a number of seconds, 0 or more", |number| number.is_finite() && number >= 0.0)
}

fn parse_rate(text: &str) -> Result<(String, f64), String> {
    parse_pair(text, "a rate from 0 to 1", |number| (0.0..=1.0).contains(&number))
}

/// What is said of a DAG or a task that is not among those simulated would be said for nothing.
fn check_name(option: &str, name: &str, number: f64, dags: &[Dag]) -> Result<(), Failure> {
    let tasks = || dags.iter().flat_map(|dag| dag.tasks.iter().map(move |task| (&dag.dag_id, &task.task_id)));
    let is_known = name.is_empty()
        || dags.iter().any(|dag| dag.dag_id.as_str() == name)
        || tasks().any(|(dag_id, task_id)| task_id.as_str() == name || format!("{dag_id}.{task_id}") == name);
    if is_known {
        return Ok(());
    }
    let mut known: BTreeSet<String> = dags.iter().map(|dag| dag.dag_id.to_string()).collect();
    for (dag_id, task_id) in tasks() {
        known.insert(format!("{dag_id}.{task_id}"));
        known.insert(task_id.to_string());
    }
    let near = near(name, known.into_iter().collect());
    Err(Failure::wrong_use(format!("`{option} {name}={number}`: no DAG and no task `{name}` is simulated"))
        .hint(did_you_mean(&near).unwrap_or_else(|| "name a DAG, a task, or both as `DAG.TASK`".to_owned())))
}

/// Simulates, and says what would be.
pub(crate) async fn run(arguments: &Arguments, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    let today = || {
        Timestamp::now().to_zoned(TimeZone::UTC).start_of_day().map_or_else(|_| Timestamp::now(), |day| day.timestamp())
    };
    let from = arguments.from.unwrap_or_else(today);
    let to = arguments.to.or_else(|| from.checked_add((24 * DAYS_DEFAULT).hours()).ok()).unwrap_or(Timestamp::MAX);
    let dags = dags(arguments, from, printer).await?;
    let guesses = guesses(arguments, &dags, metastore, printer).await?;
    let wish = Wish {
        dags,
        from,
        to,
        parallelism: arguments.parallelism,
        seed: arguments.seed,
        guesses,
        settings: Settings::default().with_limits(|name| std::env::var(name).ok())?,
        worker_memory: arguments.worker_memory,
    };
    let simulated = tokio::task::spawn_blocking(move || simulate(&wish)).await;
    let report = simulated.map_err(|error| Failure::fault("the simulation broke off").cause(error.to_string()))?;
    let report = report.map_err(|error| match error {
        Error::Backwards { .. } | Error::Empty(_) | Error::NoWorkers => Failure::wrong_use(error.to_string()),
        Error::Engine(error) => error.into(),
        Error::Stuck(_) => Failure::fault(error.to_string()),
    })?;
    show(arguments, &report, printer)
}

/// The DAGs of the files. Files with errors are told of, and left out.
async fn dags(arguments: &Arguments, from: Timestamp, printer: Printer) -> Result<Vec<Dag>, Failure> {
    let scopes = sources::collect(&arguments.paths, Alone::InPlace, arguments.reading.ignore_syntax()).await?;
    let checked = files::check(&scopes, &arguments.reading, from).await?;
    let (mut dags, mut wrong) = (Vec::new(), Vec::new());
    for mut file in checked {
        if file.has_errors() {
            wrong.push(file);
        } else {
            dags.append(&mut file.dags);
        }
    }
    if !wrong.is_empty() {
        printer.note(report::render_all(&wrong, false));
        printer.note(report::summary(&wrong));
    }
    if dags.is_empty() {
        return Err(Failure::user("there is no DAG to simulate")
            .hint("name DAG files or folders; `updraft dags lint` tells what is wrong with them"));
    }
    Ok(dags)
}

/// What is given, and what the metastore remembers, where there is one.
async fn guesses(
    arguments: &Arguments,
    dags: &[Dag],
    metastore: &MetastoreUrl,
    printer: Printer,
) -> Result<Guesses, Failure> {
    let mut guesses = Guesses { fail_as_seen: arguments.fail_as_before, ..Guesses::default() };
    for (name, seconds) in &arguments.durations {
        check_name("--duration", name, *seconds, dags)?;
        guesses.given.entry(name.clone()).or_default().seconds.push(*seconds);
    }
    for (name, rate) in &arguments.failures {
        check_name("--fail", name, *rate, dags)?;
        guesses.given.entry(name.clone()).or_default().failures = Some(*rate);
    }
    if arguments.history > 0 && metastore.may_exist() {
        let ids: Vec<DagId> = dags.iter().map(|dag| dag.dag_id.clone()).collect();
        let session = Session::open(metastore).await?;
        let found = history(&session.engine, &ids, arguments.history, &mut guesses).await?;
        if found > 0 {
            printer.note(format_args!("durations are those of {found} runs in {metastore}, where none are given"));
        }
    }
    Ok(guesses)
}

fn show(arguments: &Arguments, report: &Report, printer: Printer) -> Result<(), Failure> {
    if printer.is_for_programs() {
        return printer.value(&json!(report));
    }
    if arguments.runs {
        let mut rows = Rows::new(&["dag_id", "run_id", "run_after", "start_date", "end_date", "state"]);
        for run in &report.runs {
            rows.push(vec![
                Cell::text(&run.dag_id),
                Cell::text(&run.run_id),
                Cell::Time(Some(run.run_after)),
                Cell::Time(run.start_date),
                Cell::Time(run.end_date),
                Cell::text(&run.state),
            ]);
        }
        printer.rows(&rows)?;
    } else {
        let mut rows = Rows::new(&[
            "dag_id",
            "runs",
            "success",
            "failed",
            "unfinished",
            "tries",
            "failures",
            "mean",
            "longest",
            "latest_start",
            "runs_at_once",
            "overlaps",
        ]);
        for dag in &report.dags {
            rows.push(dag_row(dag));
        }
        printer.rows(&rows)?;
    }
    let costs = &report.costs;
    printer.note(format_args!(
        "{} runs from {} to {}; at most {} at once, {} tasks at once (of {}), {} waiting for a worker",
        report.runs.len(),
        report.from,
        report.to,
        report.runs_at_once,
        report.tasks_at_once,
        report.parallelism,
        report.waiting_at_once
    ));
    printer.note(format_args!(
        "on AWS it would cost ${:.4}: DynamoDB ${:.4} ({} write units), SQS ${:.4}, Lambda ${:.4}, schedule ${:.4}",
        costs.total, costs.metastore, costs.write_units, costs.queue, costs.workers, costs.schedule
    ));
    Ok(())
}

fn dag_row(dag: &DagReport) -> Vec<Cell> {
    let number = |number: u64| Cell::Json(json!(number));
    let duration = |seconds: f64| {
        let rounded = SignedDuration::try_from_secs_f64(seconds).unwrap_or_default();
        Cell::Text(format!("{:#}", rounded.round(jiff::Unit::Second).unwrap_or(rounded)))
    };
    let sum = |of: fn(&updraft_simulate::TaskReport) -> u64| dag.tasks.iter().map(of).sum();
    vec![
        Cell::text(&dag.dag_id),
        number(dag.runs),
        number(dag.success),
        number(dag.failed),
        number(dag.unfinished),
        number(sum(|task| task.tries)),
        number(sum(|task| task.failures)),
        duration(dag.mean_seconds),
        duration(dag.longest_seconds),
        duration(dag.latest_start_seconds),
        number(dag.runs_at_once),
        number(dag.overlaps),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_for_all_or_for_one() {
        assert_eq!(parse_rate("0.5"), Ok((String::new(), 0.5)));
        assert_eq!(parse_seconds("etl.load = 30"), Ok(("etl.load".to_owned(), 30.0)));
        for text in ["", "x", "a=", "a=-1", "NaN", "inf", "=0.5"] {
            assert!(parse_rate(text).is_err() && parse_seconds(text).is_err(), "{text}");
        }
        assert!(parse_seconds("2").is_ok());
        assert_eq!(parse_rate("2"), Err("`2` is not a rate from 0 to 1".to_owned()));
    }
}
