//! From a function's start to its first question for an event, before a runtime API of this machine.
//!
//! `cargo build --profile release-lambda -p updraft-scheduler-function -p updraft-worker-function -p updraft-api-function`, then
//! `taskset -c 0 cargo run -p updraft-e2e --bin cold_start` starts each of them thirty times on one core, and prints a table of times, memory and
//! sizes. `-- DIRECTORY` names another directory with the binaries.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use updraft_e2e::repository;
use updraft_e2e::runtime::Function;

const TIMES: usize = 30;

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| repository().join("target/release-lambda"), PathBuf::from);
    let mut out = std::io::stdout().lock();
    writeln!(out, "| function | start to first poll, median (least to most) | memory then | binary | zip |")?;
    writeln!(out, "|---|---|---|---|---|")?;
    for name in ["scheduler", "worker", "api"] {
        let binary = folder.join(format!("updraft-{name}-function"));
        let mut memory = 0;
        let mut polls: Vec<f64> = (0..TIMES)
            .map(|_| {
                let function = Function::start(&binary, &[], &[]);
                let poll = function.first_poll().as_secs_f64() * 1000.0;
                memory = memory.max(function.peak_memory_kib());
                poll
            })
            .collect();
        polls.sort_by(f64::total_cmp);
        let (least, median, most) = (polls[0], polls[TIMES / 2], polls[TIMES - 1]);
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        writeln!(
            out,
            "| `{name}` | {median:.1} ms ({least:.1} to {most:.1}) | {:.1} MiB | {:.1} MB | {:.1} MB |",
            memory as f64 / 1024.0,
            megabytes(std::fs::metadata(&binary)?.len()),
            megabytes(zip(&binary)?),
        )?;
    }
    Ok(())
}

/// The size of the zip that `infra/deploy` makes.
fn zip(binary: &Path) -> std::io::Result<u64> {
    let folder = std::env::temp_dir().join(format!("updraft-zips-{}", std::process::id()));
    let mut deploy = Command::new(repository().join("infra/deploy"));
    deploy.arg("--zips").arg(&folder);
    for name in ["--scheduler", "--worker", "--api"] {
        deploy.arg(name).arg(binary);
    }
    let done = deploy.output()?;
    if !done.status.success() {
        return Err(std::io::Error::other(String::from_utf8_lossy(&done.stderr).into_owned()));
    }
    let size = std::fs::metadata(folder.join("worker.zip"))?.len();
    std::fs::remove_dir_all(folder)?;
    Ok(size)
}
