//! What an attempt costs: wall time and processor time of no-op shell commands and Python callables.
//!
//! `cargo run --release -p updraft-bench --bin attempts -- shell 2000 4` runs 2,000 commands, 4 at a time; `python` and `python-fresh`
//! run callables. Processor time is that of this process and of everything it started, as the system accounts for it.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use updraft_execution::{
    AttemptSpec, BashCall, Callable, Cancel, Launcher, LogSink, NoLookups, OperatorCall, Outcome, PythonCall,
    SUPERVISE, run, supervisor_main,
};

const USAGE: &str = "usage: attempts shell|python|python-fresh TIMES CONCURRENCY";

/// Forgets what it is given.
struct Nowhere;

impl LogSink for Nowhere {
    async fn write(&mut self, _chunk: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|first| first == SUPERVISE) {
        return supervisor_main();
    }
    match bench(&args) {
        Ok(line) => {
            anstream::println!("{line}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            anstream::eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &[String]) -> Result<String, String> {
    let [_, kind, times, concurrency] = args else { return Err(USAGE.to_owned()) };
    let number = |text: &String| text.parse::<usize>().map_err(|error| format!("`{text}`: {error}; {USAGE}"));
    let (times, concurrency) = (number(times)?, number(concurrency)?.max(1));
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("callables.py");
    std::fs::write(&file, "def nothing():\n    pass\n").map_err(|error| error.to_string())?;
    let call = match kind.as_str() {
        "shell" => OperatorCall::Bash(BashCall::new("true")),
        "python" | "python-fresh" => OperatorCall::Python(PythonCall {
            fresh: kind == "python-fresh",
            ..PythonCall::new(Callable::File { path: file, name: "nothing".to_owned() })
        }),
        _ => return Err(USAGE.to_owned()),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| error.to_string())?;
    let before = cpu_seconds()?;
    let start = Instant::now();
    let mut taken = runtime.block_on(all(call, times, concurrency))?;
    let wall = start.elapsed().as_secs_f64();
    drop(runtime);
    let cpu = cpu_seconds()? - before;
    taken.sort_by(f64::total_cmp);
    let at = |share: f64| taken.get((taken.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    let mut line =
        format!("{kind}: {times} attempts, {concurrency} at a time: {:.0} per second, ", times as f64 / wall);
    let _ = write!(line, "{:.2} ms CPU each; ms per attempt: ", cpu * 1000.0 / times as f64);
    let _ = write!(line, "min {:.2} p50 {:.2} p90 {:.2} max {:.2}", at(0.0), at(0.5), at(0.9), at(0.999_999));
    Ok(line)
}

/// Runs the attempts and returns the milliseconds that each took. Everything they started has ended then.
async fn all(call: OperatorCall, times: usize, concurrency: usize) -> Result<Vec<f64>, String> {
    let launcher = Launcher::current_exe().map_err(|error| error.to_string())?;
    let spec = Arc::new(AttemptSpec::new("dag", "task", "run", call));
    let left = Arc::new(AtomicUsize::new(times));
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (launcher, spec, left) = (launcher.clone(), Arc::clone(&spec), Arc::clone(&left));
            tokio::spawn(async move {
                let mut taken = Vec::new();
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let start = Instant::now();
                    let report = run(&spec, &launcher, &mut Nowhere, &NoLookups, Cancel::never()).await;
                    taken.push(start.elapsed().as_secs_f64() * 1000.0);
                    if report.outcome != Outcome::Success {
                        return Err(format!("an attempt ended otherwise: {:?}", report.outcome));
                    }
                }
                Ok(taken)
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.map_err(|error| error.to_string())??);
    }
    launcher.close().await;
    Ok(all)
}

/// Processor time so far of this process and of its descendants that have ended and been waited for.
fn cpu_seconds() -> Result<f64, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    // Of what follows the name: utime, stime, cutime, cstime, in clock ticks.
    let ticks: u64 = after_name.split(' ').skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}
