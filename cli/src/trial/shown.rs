//! A runner whose attempts can be watched: what is going on is said, and logs are printed while they are written.

use super::watch::Interrupted;
use crate::printer::Printer;
use regex::Regex;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use updraft_log_store::{Directory, LogStore};
use updraft_model::AttemptOutcome;
use updraft_service::{CallEnded, Called, Caller, Finished, Runner, Work};

/// How often a log is looked at for more.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How much of a log is read at once.
const CHUNK_BYTES: u64 = 64 * 1024;

/// The runner.
pub(crate) struct Shown<R> {
    inner: R,
    logs: Directory,
    interrupted: Interrupted,
    mark_success: Option<Regex>,
    printer: Printer,
}

impl<R> Shown<R> {
    /// Around another; tasks whose ids match `mark_success` succeed without being run.
    pub(crate) fn new(
        inner: R,
        logs: Directory,
        interrupted: Interrupted,
        mark_success: Option<Regex>,
        printer: Printer,
    ) -> Self {
        Self { inner, logs, interrupted, mark_success, printer }
    }

    /// The runner that does the work.
    pub(super) fn inner(&self) -> &R {
        &self.inner
    }
}

impl<R: Caller> Caller for Shown<R> {
    async fn call(&self, called: &Called) -> CallEnded {
        self.inner.call(called).await
    }
}

impl<R: Runner> Runner for Shown<R> {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, stop: S) -> Option<Finished> {
        let name = work.definition().task_id.as_str();
        let tries = if work.try_number > 1 { format!(" (try {})", work.try_number) } else { String::new() };
        if self.mark_success.as_ref().is_some_and(|regex| regex.is_match(name)) {
            self.printer.note(format_args!("*** {name}: success, without being run"));
            return Some(Finished::new(AttemptOutcome::Success));
        }
        self.printer.note(format_args!("*** {name}: running{tries}"));
        let spool = self.logs.spool(&updraft_service::xcoms::log_name(&work.key())).ok();
        let tail = Tail { spool, printed: Mutex::new(0), printer: self.printer };
        let stop = async {
            tokio::select! {
                why = stop => why,
                () = self.interrupted.wait() => "the run was interrupted".to_owned(),
            }
        };
        let finished = {
            let running = self.inner.run(work, stop);
            tokio::pin!(running);
            loop {
                tokio::select! {
                    biased;
                    finished = &mut running => break finished,
                    () = tokio::time::sleep(LOOK_EVERY) => tail.go_on(),
                }
            }
        };
        match &finished {
            None => {
                tail.go_on();
                self.printer.note(format_args!("*** {name}: killed"));
            }
            Some(killed) if killed.is_killed => {
                self.rest(&tail, killed);
                self.printer.note(format_args!("*** {name}: killed"));
            }
            Some(finished) => {
                self.rest(&tail, finished);
                let why = finished.message.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
                self.printer.note(format_args!("*** {name}: {}{why}", word(finished.outcome)));
            }
        }
        finished
    }
}

impl<R> Shown<R> {
    /// Prints what the tail has not: the log may have moved from its spool.
    fn rest(&self, tail: &Tail, finished: &Finished) {
        let printed = *tail.printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (&finished.log, &finished.log_uri) {
            (_, Some(uri)) => {
                if let Some(name) = uri.strip_prefix("file:") {
                    Tail { spool: Some(self.logs.path(name)), printed: Mutex::new(printed), printer: self.printer }
                        .go_on();
                }
            }
            (Some(log), None) => {
                let rest = log.as_bytes().get(printed as usize..).unwrap_or_default();
                let _ = self.printer.live(&String::from_utf8_lossy(rest));
            }
            (None, None) => {}
        }
    }
}

/// How an attempt's end is called.
fn word(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Success => "success",
        AttemptOutcome::Skipped => "skipped",
        AttemptOutcome::Failed | AttemptOutcome::FailedForGood => "failed",
        AttemptOutcome::Rescheduled { .. } => "up_for_reschedule",
        AttemptOutcome::Deferred { .. } => "deferred",
        AttemptOutcome::AwaitingInput { .. } => "awaiting_input",
    }
}

/// A file that grows, as far as it has been printed.
struct Tail {
    spool: Option<PathBuf>,
    printed: Mutex<u64>,
    printer: Printer,
}

impl Tail {
    /// Prints what is new, whole lines while more may come.
    fn go_on(&self) {
        let Some(spool) = &self.spool else { return };
        let mut printed = self.printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while let Some(chunk) = read(spool, *printed).filter(|chunk| !chunk.is_empty()) {
            *printed += chunk.len() as u64;
            // Nobody is left to be told when the output is gone.
            let _ = self.printer.live(&String::from_utf8_lossy(&chunk));
        }
    }
}

fn read(path: &Path, from: u64) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(path).ok()?;
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut chunk = Vec::new();
    file.take(CHUNK_BYTES).read_to_end(&mut chunk).ok()?;
    // A character is not cut, as long as what follows it may still come.
    match std::str::from_utf8(&chunk) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => chunk.truncate(error.valid_up_to()),
        _ => {}
    }
    Some(chunk)
}
