//! Tasks and machines that misbehave: a clear message, bounded memory and time, and everything else goes on. With real processes.

mod common;

use std::time::{Duration, Instant};

use common::{BOUND, bash, bash_marked, body, bounded, finish, launcher, marked, python_file, unique};
use updraft_execution::{AttemptSpec, Cancel, LogSink, NoLookups, Outcome, run};

/// Counts what it is given.
#[derive(Default)]
struct Counting(u64);

impl LogSink for Counting {
    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.0 += chunk.len() as u64;
        Ok(())
    }
}

#[tokio::test]
async fn a_task_that_prints_for_ever_is_ended_by_its_timeout() {
    let timeout = Duration::from_millis(700);
    let directory = tempfile::tempdir().expect("a directory");
    for spec in [bash("yes"), python_file(directory.path(), "def f():\n    while True: print('y')", "f")] {
        let spec = AttemptSpec { execution_timeout: Some(timeout), ..spec };
        let (mut sink, start) = (Counting::default(), Instant::now());
        let report = bounded(run(&spec, &launcher(), &mut sink, &NoLookups, Cancel::never())).await;
        assert_eq!(report.outcome, Outcome::TimedOut { after: timeout });
        assert!(sink.0 > 10_000 && report.log.bytes == sink.0 && report.log.tail.len() <= 8 * 1024);
        assert!(report.all_ended && start.elapsed() < BOUND / 2);
    }
}

#[tokio::test]
async fn a_task_that_closes_its_output_is_waited_for() {
    let (report, log) = finish(&bash("exec >&- 2>&-; sleep 0.5; exit 3")).await;
    assert_eq!(body(&log), "");
    assert!(
        report.ran_for >= Duration::from_millis(500) && report.outcome.message().ends_with("exit code 3."),
        "{log}"
    );

    let source =
        "import os, sys, time\ndef f():\n    sys.stdout.close(); os.close(1); os.close(2); time.sleep(0.5); return 1";
    let directory = tempfile::tempdir().expect("a directory");
    let (report, log) = finish(&python_file(directory.path(), source, "f")).await;
    assert_eq!((&report.outcome, report.xcoms.len()), (&Outcome::Success, 1), "{log}");
    assert!(report.ran_for >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_task_that_ignores_sigterm_is_killed_after_the_grace() {
    let marker = unique("deaf");
    let grace = Duration::from_millis(600);
    let spec = AttemptSpec {
        execution_timeout: Some(Duration::from_millis(500)),
        kill_grace: grace,
        ..bash_marked(&marker, "trap 'echo heard' TERM; while :; do sleep 0.1; done")
    };
    let (report, log) = finish(&spec).await;
    assert!(matches!(report.outcome, Outcome::TimedOut { .. }) && report.all_ended, "{log}");
    assert!(log.contains(" - heard\n") && report.ran_for >= Duration::from_millis(500) + grace, "{log}");
    assert_eq!(marked(&marker), Vec::<String>::new());
}

/// Each process starts the next one in a session of its own and ends at once, so that none of them is there for long.
#[tokio::test]
async fn processes_that_start_new_ones_all_the_time_are_caught() {
    let marker = unique("chain");
    let script = "hop() { setsid bash -c \"$(declare -f hop); hop\" > /dev/null 2>&1 & exit; }; for n in 1 2 3 4; do (hop); done; sleep 999";
    let spec = AttemptSpec {
        execution_timeout: Some(Duration::from_secs(1)),
        kill_grace: Duration::from_millis(50),
        ..bash_marked(&marker, script)
    };
    let (report, log) = finish(&spec).await;
    assert!(matches!(report.outcome, Outcome::TimedOut { .. }) && report.all_ended, "{log}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(marked(&marker), Vec::<String>::new());
}

/// What the log of an attempt says that a server makes in this environment.
fn log_of(kind: &str, what: &std::ffi::OsStr, variable: &str, value: &str) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_updraft-execution-helper"));
    let ended = command.arg(kind).arg(what).env(variable, value).output().expect("the helper runs");
    String::from_utf8(ended.stdout).expect("UTF-8")
}

#[test]
fn what_is_not_installed_is_named_with_what_to_do() {
    let log = log_of("bash", "true".as_ref(), "PATH", "/nowhere");
    let message = "`bash` was not found in the server's `PATH`; install it where workers run, or extend `PATH`\n";
    assert!(log.contains("] ERROR - failed after ") && log.ends_with(message), "{log}");

    let directory = tempfile::tempdir().expect("a directory");
    python_file(directory.path(), "def f(): print('called')", "f");
    let file = directory.path().join("callables.py");
    let log = log_of("python", file.as_os_str(), "PATH", "/nowhere");
    assert!(log.contains("`python3` was not found") && log.contains("install Python 3.8 or later"), "{log}");
    // The variable that the message names does what it says.
    let log = log_of("python", file.as_os_str(), "UPDRAFT_PYTHON", "/no/such/python");
    assert!(log.contains("`/no/such/python` was not found"), "{log}");
    let log = log_of("python", file.as_os_str(), "UPDRAFT_PYTHON_FRESH", "true");
    assert_eq!(body(&log), "called\n");
}

#[tokio::test]
async fn a_home_that_takes_nothing_fails_the_attempt_with_its_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("no-directory");
    std::fs::write(&file, "").expect("written");
    let launcher = launcher().with_scratch(&file);
    for spec in [bash("true"), python_file(directory.path(), "def f(): pass", "f")] {
        let mut log = Vec::new();
        let report = bounded(run(&spec, &launcher, &mut log, &NoLookups, Cancel::never())).await;
        let Outcome::Failed { message, retryable: true } = &report.outcome else { panic!("{:?}", report.outcome) };
        let expected = format!("nothing can be written to `{}`", file.display());
        assert!(message.starts_with(&expected) && message.contains("make room there"), "{message}");
    }
}

#[tokio::test]
async fn invalid_utf8_and_control_characters_stay_in_their_line() {
    let (report, log) = finish(&bash("printf 'a\\377b\\r\\n\\036ERROR\\037\\037c\\0d\\n'")).await;
    assert_eq!(report.outcome, Outcome::Success);
    assert_eq!(body(&log), "a\u{fffd}b\r\n\u{1e}ERROR\u{1f}\u{1f}c\0d\n".replace("\r\n", "\n"));
}
