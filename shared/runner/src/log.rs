//! An attempt's log on its way to its spool.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio::io::AsyncWriteExt;
use updraft_execution::{Level, LogSink, log_lines};
use updraft_log_store::LogStore;
use updraft_model::attempt::INLINE_BYTES_MAX;
use updraft_service::Finished;

/// The log of one attempt: its operator's lines and its processes' output, in order. Memory is bounded: all but the end is in the spool.
#[derive(Debug)]
pub(crate) struct Log {
    name: String,
    spool: Option<PathBuf>,
    file: Option<tokio::fs::File>,
    bytes: u64,
    /// At least the last [`INLINE_BYTES_MAX`] bytes, at most twice as many.
    end: Vec<u8>,
    /// Why the spool was given up, if it was.
    lost: Option<String>,
}

impl Log {
    /// A log of this name. Where it cannot be spooled, its end is kept all the same: a full disk costs the log, not the attempt.
    pub(crate) async fn open<L: LogStore>(logs: &L, name: String) -> Self {
        let spool = logs.spool(&name).ok();
        let file = match &spool {
            Some(path) => tokio::fs::File::create(path).await.ok(),
            None => None,
        };
        Self { name, spool, file, bytes: 0, end: Vec::new(), lost: None }
    }

    /// Writes lines of the operator's own.
    pub(crate) async fn say(&mut self, now: Timestamp, level: Level, text: &str) {
        // A log that cannot be written must not fail the attempt; `write` keeps the end in memory.
        let _ = self.write(log_lines(now, level, text).as_bytes()).await;
    }

    /// Writes why the attempt ended, unless a process has just said so.
    pub(crate) async fn conclude(&mut self, now: Timestamp, level: Level, message: &str) {
        let said = String::from_utf8_lossy(&self.end);
        if !said.lines().next_back().is_some_and(|line| message.lines().next_back().is_some_and(|m| line.ends_with(m)))
        {
            self.say(now, level, message).await;
        }
    }

    /// The end of the log, from the start of a character.
    fn tail(&self) -> String {
        let from = self.end.len().saturating_sub(INLINE_BYTES_MAX);
        let mut tail = &self.end[from..];
        while let Some(first) = tail.first()
            && from > 0
            && first & 0b1100_0000 == 0b1000_0000
        {
            tail = &tail[1..];
        }
        String::from_utf8_lossy(tail).into_owned()
    }

    /// Keeps the log: a short one in the attempt's item, a long one in the log store. A log that cannot be kept costs the log, not the
    /// attempt: its end stays in the item.
    pub(crate) async fn keep<L: LogStore>(mut self, logs: &L, finished: &mut Finished) {
        let written = self.file.take().is_some();
        let tail = self.tail();
        let whole = tail.len() as u64 == self.bytes;
        let Some(spool) = self.spool.filter(|_| written) else {
            finished.log = Some(match self.lost.filter(|_| !whole) {
                Some(why) => only_the_end(&why, &tail),
                None => tail,
            });
            return;
        };
        if whole {
            finished.log = Some(tail);
            remove(&spool).await;
            return;
        }
        match logs.keep(&self.name, &spool).await {
            Ok(uri) => finished.log_uri = Some(uri),
            Err(error) => {
                tracing::warn!(%error, name = self.name, "a log was not kept");
                finished.log = Some(only_the_end(&error.to_string(), &tail));
            }
        }
    }

    /// Gives up a spool that cannot grow, and what it takes of the disk with it: where that is full the attempt's end, and everybody
    /// else's, needs the space. What follows is kept as far as memory does.
    async fn give_up(&mut self, error: &std::io::Error) {
        self.lost = Some(error.to_string());
        if let Some(file) = self.file.take() {
            // Whoever reads it live keeps it open.
            let _ = file.set_len(0).await;
        }
        if let Some(spool) = self.spool.take() {
            tracing::warn!(%error, name = self.name, "a log was given up, all but its end");
            remove(&spool).await;
        }
    }
}

fn only_the_end(why: &str, tail: &str) -> String {
    format!("[only the end of this log was kept: {why}]\n{tail}")
}

async fn remove(spool: &Path) {
    if let Err(error) = tokio::fs::remove_file(spool).await {
        tracing::warn!(%error, spool = %spool.display(), "a spool was not removed");
    }
}

impl LogSink for Log {
    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.bytes += chunk.len() as u64;
        self.end.extend_from_slice(chunk);
        if self.end.len() > 2 * INLINE_BYTES_MAX {
            let from = self.end.len() - INLINE_BYTES_MAX;
            self.end.drain(..from);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let written = match file.write_all(chunk).await {
            Ok(()) => file.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = &written {
            Box::pin(self.give_up(error)).await;
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unspooled() -> Log {
        Log { name: String::new(), spool: None, file: None, bytes: 0, end: Vec::new(), lost: None }
    }

    #[tokio::test]
    async fn the_end_of_a_log_is_kept_in_bounded_memory() {
        let mut log = unspooled();
        for number in 0..100_000 {
            log.write(format!("line {number} ü\n").as_bytes()).await.expect("there is no file");
            assert!(log.end.len() <= 2 * INLINE_BYTES_MAX);
        }
        let tail = log.tail();
        assert!(tail.ends_with("line 99999 ü\n") && tail.len() <= INLINE_BYTES_MAX, "{}", tail.len());
        assert!(tail.len() > INLINE_BYTES_MAX - 4 && !tail.contains('\u{fffd}'));
    }

    /// A disk that is full costs the log and not the attempt, and what the log took of it is free again.
    #[tokio::test]
    async fn a_spool_that_cannot_grow_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = folder.path().join("spool");
        std::fs::write(&spool, "some megabytes").expect("it is written");
        let full = tokio::fs::OpenOptions::new().write(true).open("/dev/full").await.expect("there is one");
        let mut log = Log { spool: Some(spool.clone()), file: Some(full), ..unspooled() };
        let filler = "x".repeat(1024);
        for _ in 0..=INLINE_BYTES_MAX / filler.len() {
            let _ = log.write(filler.as_bytes()).await;
        }
        log.say(Timestamp::UNIX_EPOCH, Level::Info, "the last line").await;
        assert!(!spool.exists());
        let logs = updraft_log_store::Directory::new(folder.path().to_owned());
        let mut finished = Finished::new(updraft_model::AttemptOutcome::Success);
        log.keep(&logs, &mut finished).await;
        let kept = finished.log.expect("its end is kept");
        assert!(kept.starts_with("[only the end of this log was kept: No space left"), "{kept:.100}");
        assert!(kept.ends_with("the last line\n"));
    }

    #[tokio::test]
    async fn a_short_log_is_kept_whole() {
        let mut log = unspooled();
        let now = Timestamp::UNIX_EPOCH;
        log.say(now, Level::Info, "one").await;
        log.conclude(now, Level::Error, "two").await;
        log.conclude(now, Level::Error, "two").await;
        let expected = "[1970-01-01T00:00:00.000Z] INFO - one\n[1970-01-01T00:00:00.000Z] ERROR - two\n";
        assert_eq!((log.tail().as_str(), log.bytes), (expected, expected.len() as u64));
    }
}
