//! What reading DAG files costs, on one core: many small files, one large one, and files that are to be refused at once.
//!
//! `cargo run --release -p updraft-bench --bin load`
//!
//! Each line is the best of three, in processor time. The bounds are those that a reader of the folder counts on; the last column says whether
//! they were kept.

use anstream::println;
use jiff::Timestamp;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use updraft_dag_file::{LoadOptions, load};

/// Small files, as a folder of a busy team has them.
const FILES: usize = 2_000;

/// Tasks of a small file.
const TASKS_SMALL: usize = 5;

/// Tasks of the large file.
const TASKS_LARGE: usize = 10_000;

/// What either may take.
const BOUND: Duration = Duration::from_secs(1);

/// What a refusal may take.
const BOUND_REFUSAL: Duration = Duration::from_millis(200);

fn main() {
    let small: Vec<(String, String)> =
        (0..FILES).map(|n| (format!("team/etl_{n}.yaml"), dag(&format!("etl_{n}"), TASKS_SMALL))).collect();
    let large = dag("large", TASKS_LARGE);
    line(&format!("{FILES} files of {TASKS_SMALL} tasks"), BOUND, || {
        small.iter().map(|(path, text)| tasks(path, text.as_bytes())).sum::<usize>() == FILES * TASKS_SMALL
    });
    line(&format!("{TASKS_LARGE} tasks in one file"), BOUND, || tasks("large.yaml", large.as_bytes()) == TASKS_LARGE);
    let defaults = "default_args: {owner: data, retries: 2, retry_delay: 5m}\ntags: [all]\n";
    let mut options = LoadOptions::new(Timestamp::UNIX_EPOCH);
    options.files.insert("team/defaults.yml".to_owned(), defaults.as_bytes().to_vec());
    line(&format!("{FILES} files with defaults above them"), BOUND, || {
        let loaded = |(path, text): &(String, String)| load(path, text.as_bytes(), &options).dags[0].tasks.len();
        small.iter().map(loaded).sum::<usize>() == FILES * TASKS_SMALL
    });
    let huge = vec![b'#'; 100 << 20];
    line("refuse 100 MB", BOUND_REFUSAL, || refused(&huge));
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (below, here) in ('a'..='h').zip('b'..='i') {
        let _ = writeln!(
            bomb,
            "{here}: &{here} [*{below}, *{below}, *{below}, *{below}, *{below}, *{below}, *{below}, *{below}, *{below}]"
        );
    }
    line("refuse an alias bomb", BOUND_REFUSAL, || refused(bomb.as_bytes()));
    let deep = "[".repeat(1_000_000);
    line("refuse a million levels", BOUND_REFUSAL, || refused(deep.as_bytes()));
    let mut keys = String::new();
    for n in 0..1_000_000 {
        let _ = writeln!(keys, "{n:x}:");
    }
    line("refuse a million keys", BOUND_REFUSAL, || refused(keys.as_bytes()));
}

/// A DAG as people write it: a chain of commands, with settings of their own here and there.
fn dag(id: &str, tasks: usize) -> String {
    let mut text = format!(
        "{id}:\n  schedule: '0 3 * * *'\n  start_date: 2025-01-01\n  default_args: {{owner: data, retries: 2, retry_delay: 300}}\n  tasks:\n"
    );
    for n in 0..tasks {
        let upstream = if n == 0 { String::new() } else { format!("t{}", n - 1) };
        let _ = write!(
            text,
            "    t{n}:\n      operator: airflow.operators.bash.BashOperator\n      bash_command: \"echo {{{{ ds }}}} {n}\"\n      \
             execution_timeout: 10m\n      trigger_rule: all_success\n      dependencies: [{upstream}]\n"
        );
    }
    text
}

fn tasks(path: &str, text: &[u8]) -> usize {
    load(path, text, &LoadOptions::new(Timestamp::UNIX_EPOCH)).dags.iter().map(|dag| dag.tasks.len()).sum()
}

fn refused(text: &[u8]) -> bool {
    load("f.yaml", text, &LoadOptions::new(Timestamp::UNIX_EPOCH)).has_errors()
}

/// The time that this thread has had a core, where the system tells: other programs on the machine do not count.
fn on_cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// Times the best of three, and prints it beside its bound.
fn line(what: &str, bound: Duration, run: impl Fn() -> bool) {
    let took = (0..3)
        .map(|_| {
            let (start, before) = (Instant::now(), on_cpu());
            assert!(run(), "{what}: not what was expected");
            on_cpu().zip(before).map_or_else(|| start.elapsed(), |(after, before)| after.saturating_sub(before))
        })
        .min()
        .unwrap_or_default();
    let verdict = if took <= bound { "kept" } else { "MISSED" };
    println!("{what:<40} {:>9.1} ms   of {:>6} ms   {verdict}", took.as_secs_f64() * 1e3, bound.as_millis());
}
