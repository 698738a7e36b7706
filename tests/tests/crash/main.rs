//! A real `kill -9` at every operation on the store, for a set of small DAGs.
//!
//! A process of its own founds a DAG, triggers a run and works on it, and dies by SIGKILL at the n-th operation on the embedded store:
//! once it is done, or in the midst of it. Then another process takes over, as a server does after a crash, and the run must come to an end
//! that it could have come to, with no try started twice and nothing left behind. n counts up from 0 until the first process lives to
//! the end.

mod dags;
mod dying;
mod process;
#[path = "../simulation/model.rs"]
mod reference;
mod verdict;

use dags::Case;
use dying::Death;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};

/// Tells a process of this test what it is to do: `CASE FOLDER DEATH OPERATION`.
const PART: &str = "UPDRAFT_CRASH_PART";

/// More operations than any case needs: beyond them something goes round in circles.
const OPERATIONS_MAX: u32 = 400;

/// The other process. Nothing, where it is not one.
#[test]
fn the_part_of_a_process() {
    let Ok(part) = std::env::var(PART) else { return };
    let words: Vec<&str> = part.split(' ').collect();
    let [case, folder, death, operation] = words[..] else { panic!("`{PART}` is `{part}`") };
    let death = Death { way: death.parse().expect("a way to die"), operation: operation.parse().expect("a number") };
    process::run(Case::named(case), Path::new(folder), Some(death));
}

/// A folder in memory where there is one: what a killed process wrote survives it there too, and synchronising costs nothing.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder to work in")
}

fn spawn(case: Case, folder: &Path, way: dying::Way, operation: u32) -> ExitStatus {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program)
        .args(["--exact", "the_part_of_a_process", "--nocapture"])
        .env(PART, format!("{} {} {way} {operation}", case.name(), folder.display()))
        .output()
        .expect("a process of its own");
    let killed = std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9);
    assert!(
        killed || output.status.success(),
        "{case:?}, {way} operation {operation}: {}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output.status
}

/// Kills at every operation, and judges what comes of it. Returns after how many there was nothing left to kill.
fn kill_at_every_operation(case: Case, way: dying::Way) -> u32 {
    let next = AtomicU32::new(0);
    let survived = AtomicU32::new(u32::MAX);
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let operation = next.fetch_add(1, Ordering::Relaxed);
                    assert!(operation < OPERATIONS_MAX, "{case:?} does not end");
                    if operation > survived.load(Ordering::Relaxed) {
                        return;
                    }
                    let folder = folder();
                    let status = spawn(case, folder.path(), way, operation);
                    let died = !status.success();
                    if !died {
                        survived.fetch_min(operation, Ordering::Relaxed);
                    }
                    // Whoever takes over does so in this process: it is another one all the same.
                    process::run(case, folder.path(), None);
                    if let Err(why) = verdict::judge(case, folder.path(), died) {
                        panic!("{case:?}, killed {way} operation {operation}: {why}");
                    }
                }
            });
        }
    });
    survived.into_inner()
}

fn every_operation(case: Case) {
    for way in [dying::Way::After, dying::Way::During] {
        let operations = kill_at_every_operation(case, way);
        assert!(operations > 8, "{case:?}: only {operations} operations");
    }
}

#[test]
fn a_chain_whose_tasks_are_tried_again() {
    every_operation(Case::Retried);
}

#[test]
fn a_chain_whose_tasks_are_tried_once() {
    every_operation(Case::Once);
}

#[test]
fn a_fork_and_a_join_over_a_failure() {
    every_operation(Case::Join);
}

#[test]
fn a_run_by_schedule() {
    every_operation(Case::Scheduled);
}
