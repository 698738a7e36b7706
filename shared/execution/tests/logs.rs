//! What the log of an attempt shows, with real processes.

mod common;

use std::time::Duration;

use common::{bash, body, bounded, finish, launcher, python_file};
use updraft_execution::{AttemptSpec, Cancel, LogSink, NoLookups, Outcome, run};

#[tokio::test]
async fn python_lines_keep_their_level_and_their_logger() {
    let source = "
import logging, sys, warnings, subprocess
def f(ti):
    logging.getLogger('my.etl').warning('careful: %d\\nsecond line', 1)
    logging.error('to the root')
    logging.debug('not shown')
    print('printed', end='')
    print('to stderr', file=sys.stderr)
    subprocess.run(['sh', '-c', 'echo sub out; echo sub err >&2'])
    warnings.warn('old')
    try:
        1 / 0
    except ZeroDivisionError:
        ti.log.exception('it failed')
    sys.stdout.close()
    logging.info('still logged')
";
    let directory = tempfile::tempdir().expect("a directory");
    let (report, log) = finish(&python_file(directory.path(), source, "f")).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    let expected = [
        "{my.etl} WARNING: careful: 1",
        "{my.etl} WARNING: second line",
        "ERROR: to the root",
        "printed",
        "ERROR: to stderr",
        "sub out",
        "sub err",
    ];
    let shown = body(&log);
    let shown: Vec<&str> = shown.lines().collect();
    assert_eq!(shown[..expected.len()], expected, "{log}");
    assert!(shown[7].starts_with("{py.warnings} WARNING: ") && shown[7].ends_with("UserWarning: old"), "{log}");
    assert!(shown.contains(&"{airflow.task} ERROR: it failed"), "{log}");
    assert!(shown.contains(&"{airflow.task} ERROR: ZeroDivisionError: division by zero"), "{log}");
    assert_eq!(shown.last(), Some(&"still logged"), "{log}");
}

#[tokio::test]
async fn secrets_are_masked_wherever_they_come_up() {
    let with = |spec: AttemptSpec| AttemptSpec { secrets: vec!["s3cr3t-value".to_owned(), "shrt".to_owned()], ..spec };
    // In pieces, across the limits of what is read at once, and in the command that the log shows.
    let command = "printf s3cr3t; sleep 0.2; printf -- '-val'; sleep 0.2; echo ue shrt; echo s3cr3t-value; exit 3";
    let (report, log) = finish(&with(bash(command))).await;
    assert_eq!(body(&log), "*** shrt\n***\n");
    assert!(!log.contains("s3cr3t-value") && report.log.tail == log, "{log}");

    let (report, log) = finish(&with(bash("yes s3cr3t-value | head -c 1300000"))).await;
    assert_eq!(log.matches(" - ***\n").count(), 100_000);
    assert!(!log.contains("s3cr3t"), "masked across chunks");
    // What is pushed is the value itself.
    assert_eq!(report.xcoms[0].1, "s3cr3t-value");

    let source = "def f():\n    raise ValueError('the password is s3cr3t-value')\n";
    let directory = tempfile::tempdir().expect("a directory");
    let (report, log) = finish(&with(python_file(directory.path(), source, "f"))).await;
    assert_eq!(report.outcome.message(), "ValueError: the password is ***");
    assert!(!log.contains("s3cr3t-value"), "{log}");
}

#[tokio::test]
async fn python_can_have_values_masked() {
    let source = "
def f():
    from airflow.sdk.log import mask_secret
    mask_secret({'a': ['drawn-secret', 1], 'b': 'other-secret'})
    print('drawn-secret and other-secret')
    for part in ('drawn', '-', 'secret'):
        print(part, end='', flush=True)
";
    let directory = tempfile::tempdir().expect("a directory");
    let (report, log) = finish(&python_file(directory.path(), source, "f")).await;
    assert_eq!(report.outcome, Outcome::Success, "{log}");
    assert_eq!(body(&log), "*** and ***\n***\n");
}

/// Remembers when the first text came that contains this.
struct Watching(&'static str, Option<Duration>, std::time::Instant);

impl LogSink for Watching {
    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        if self.1.is_none() && String::from_utf8_lossy(chunk).contains(self.0) {
            self.1 = Some(self.2.elapsed());
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_unfinished_line_is_shown_at_once() {
    let mut sink = Watching("working", None, std::time::Instant::now());
    let spec = bash("printf working; sleep 2; echo .");
    let report = bounded(run(&spec, &launcher(), &mut sink, &NoLookups, Cancel::never())).await;
    assert!(sink.1.is_some_and(|seen| seen + Duration::from_secs(1) < report.ran_for), "{:?}", sink.1);
}
