//! How long a large simulation takes: `cargo run --release -p updraft-simulate --example thousand -- [DAGS] [TASKS] [DAYS] [MINUTES] [PARALLELISM]`
//! (1,000 daily DAGs of 10 tasks over 30 days, due at all minutes of a day, if nothing else is said; MINUTES 1: all at midnight).

use jiff::{SignedDuration, Timestamp};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;
use updraft_dag_file::{LoadOptions, load};
use updraft_service::Settings;
use updraft_simulate::{Guess, Guesses, Wish, simulate};

/// A diamond with a tail, at a minute of its own.
fn dag(number: usize, tasks: usize, minutes: usize) -> String {
    let due = number % minutes.clamp(1, 24 * 60);
    let (hour, minute) = (due / 60, due % 60);
    let mut text = format!(
        "dag_{number}:\n  schedule: \"{minute} {hour} * * *\"\n  start_date: 2026-01-01\n  catchup: true\n  tasks:\n"
    );
    for task in 0..tasks {
        let upstream = match task {
            0 => String::new(),
            1..=3 => ", dependencies: [t0]".to_owned(),
            4 => ", dependencies: [t1, t2, t3]".to_owned(),
            _ => format!(", dependencies: [t{}]", task - 1),
        };
        let _ = writeln!(text, "    t{task}: {{operator: BashOperator, bash_command: 'true', retries: 2{upstream}}}");
    }
    text
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let mut next = |usual| numbers.next().transpose().map(|number| number.unwrap_or(usual));
    let (dags, tasks, days, minutes, parallelism) = (next(1000)?, next(10)?, next(30)?, next(24 * 60)?, next(64)?);
    let from: Timestamp = "2026-03-01T00:00:00Z".parse()?;
    let options = LoadOptions::new(from);
    let dags: Vec<_> =
        (0..dags).flat_map(|number| load("d.yaml", dag(number, tasks, minutes).as_bytes(), &options).dags).collect();
    let given = Guess { seconds: vec![20.0, 40.0, 90.0], failures: Some(0.02) };
    let wish = Wish {
        dags,
        from,
        to: from + SignedDuration::from_hours(24 * i64::try_from(days)?),
        parallelism: parallelism as u64,
        seed: 1,
        guesses: Guesses { given: [(String::new(), given)].into(), ..Guesses::default() },
        settings: Settings::default(),
        worker_memory: 512,
    };
    let begun = Instant::now();
    let report = simulate(&wish)?;
    let took = begun.elapsed();
    let tries: u64 = report.dags.iter().flat_map(|dag| &dag.tasks).map(|task| task.tries).sum();
    writeln!(
        std::io::stdout(),
        "{} DAGs, {} runs, {tries} tries, {} tasks at once at most, ${:.2} on AWS: {:.1} s, {:.0} tries a second",
        report.dags.len(),
        report.runs.len(),
        report.tasks_at_once,
        report.costs.total,
        took.as_secs_f64(),
        tries as f64 / took.as_secs_f64()
    )?;
    Ok(())
}
