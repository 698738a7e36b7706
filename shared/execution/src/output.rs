//! The output of an attempt on its way to the sink, in bounded memory.

use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use crate::lines::{Level, Lines, log_lines};
use crate::masks::{Masked, Masks};
use crate::ports::LogSink;
use crate::report::LogSummary;

/// How much of the end is kept for the attempt's record.
const TAIL_BYTES: usize = 8 * 1024;
/// How long a last line may be to become an XCom.
const LINE_BYTES: usize = 1024 * 1024;
/// How much is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// After the processes have ended, what is in the pipe is all there is: no more than the largest pipe that Linux grants.
const DRAIN_BYTES: usize = 1024 * 1024;
/// How long to wait for the end of output once all processes have ended; only a descriptor handed to a stranger makes this pass.
pub(crate) const DRAIN_PAUSE: Duration = Duration::from_secs(1);

/// What has been seen of the output so far. On its way to the sink it becomes text, loses its secrets, and is made into lines.
#[derive(Debug)]
pub(crate) struct Output {
    summary: LogSummary,
    tail: Vec<u8>,
    last_line: LastLine,
    /// The first bytes of a character whose other bytes have not arrived.
    partial: Vec<u8>,
    masks: Masks,
    masked: Masked,
    lines: Lines,
}

/// The last line, without its end.
#[derive(Debug, Default)]
struct LastLine {
    text: Vec<u8>,
    ended: bool,
    too_long: bool,
}

impl Output {
    /// `marks` says whether the process marks its lines, as the Python side does.
    pub(crate) fn new(masks: Masks, marks: bool) -> Self {
        Self {
            summary: LogSummary::default(),
            tail: Vec::new(),
            last_line: LastLine::default(),
            partial: Vec::new(),
            masked: Masked::new(masks.clone()),
            masks,
            lines: Lines::new(marks),
        }
    }

    /// Reads until the end of output, or shortly after `ended` turns true.
    pub(crate) async fn pump(
        &mut self,
        mut source: impl AsyncRead + Unpin,
        sink: &mut impl LogSink,
        mut ended: watch::Receiver<bool>,
    ) {
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut drained = 0;
        while drained < DRAIN_BYTES {
            let read = source.read(&mut buffer);
            let length = if *ended.borrow() {
                let read = tokio::time::timeout(DRAIN_PAUSE, read).await;
                read.map_or(0, |read| read.unwrap_or(0))
            } else {
                tokio::select! {
                    biased;
                    read = read => read.unwrap_or(0),
                    _ = ended.changed() => continue,
                }
            };
            if length == 0 {
                break;
            }
            if *ended.borrow() {
                drained += length;
            }
            self.take(&buffer[..length], sink).await;
        }
        if !self.partial.is_empty() {
            self.partial.clear();
            self.accept("\u{fffd}", sink).await;
        }
        self.end_line(sink).await;
    }

    /// Ends what was begun, so that what comes next starts a line.
    async fn end_line(&mut self, sink: &mut impl LogSink) {
        let (now, rest) = (Timestamp::now(), self.masked.end());
        let shown = self.lines.take(now, &rest) + &self.lines.end(now);
        self.give(&shown, sink).await;
    }

    /// Adds lines of our own to the log.
    pub(crate) async fn note(&mut self, level: Level, text: &str, sink: &mut impl LogSink) {
        let shown = log_lines(Timestamp::now(), level, &self.masks.apply(text));
        self.give(&shown, sink).await;
    }

    /// Makes UTF-8 of what was read, whatever was read, and hands it on.
    async fn take(&mut self, bytes: &[u8], sink: &mut impl LogSink) {
        let joined;
        let mut rest = if self.partial.is_empty() {
            bytes
        } else {
            joined = [&std::mem::take(&mut self.partial), bytes].concat();
            &joined
        };
        let mut clean = String::new();
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) if clean.is_empty() => {
                    // The usual case, without a copy.
                    self.accept(text, sink).await;
                    return;
                }
                Ok(text) => {
                    clean.push_str(text);
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    clean.push_str(&String::from_utf8_lossy(valid));
                    let Some(bad) = error.error_len() else {
                        self.partial = after.to_vec();
                        break;
                    };
                    clean.push('\u{fffd}');
                    rest = &after[bad..];
                }
            }
        }
        self.accept(&clean, sink).await;
    }

    async fn accept(&mut self, text: &str, sink: &mut impl LogSink) {
        self.last_line.take(text.as_bytes());
        let shown = self.masked.take(text);
        let shown = self.lines.take(Timestamp::now(), &shown);
        self.give(&shown, sink).await;
    }

    async fn give(&mut self, text: &str, sink: &mut impl LogSink) {
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(CHUNK_BYTES));
            rest = after;
            let piece = piece.as_bytes();
            self.summary.bytes += piece.len() as u64;
            self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_BYTES)..]);
            let excess = self.tail.len().saturating_sub(TAIL_BYTES);
            self.tail.drain(..excess);
            if let Err(error) = sink.write(piece).await
                && self.summary.sink_error.is_none()
            {
                self.summary.sink_error = Some(error.to_string());
            }
        }
    }

    /// The last line as Airflow's BashOperator returns it: without white space at its end, empty if there was no output.
    ///
    /// # Errors
    /// The number of bytes that it may have, if it has more.
    pub(crate) fn last_line(&self) -> Result<String, usize> {
        if self.last_line.too_long {
            return Err(LINE_BYTES);
        }
        Ok(String::from_utf8_lossy(&self.last_line.text).trim_end().to_owned())
    }

    /// What is left to say when the attempt has ended.
    pub(crate) fn into_summary(self) -> LogSummary {
        // The tail may start in the middle of a character.
        let start = self.tail.iter().position(|byte| byte & 0xc0 != 0x80).unwrap_or(0);
        LogSummary { tail: String::from_utf8_lossy(&self.tail[start..]).into_owned(), ..self.summary }
    }
}

impl LastLine {
    fn take(&mut self, text: &[u8]) {
        let Some(last) = text.last() else { return };
        let body = if *last == b'\n' { &text[..text.len() - 1] } else { text };
        let start = body.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        if self.ended || start.is_some() {
            self.text.clear();
            self.too_long = false;
        }
        let line = &body[start.unwrap_or(0)..];
        if self.text.len() + line.len() > LINE_BYTES {
            self.text.clear();
            self.too_long = true;
        } else if !self.too_long {
            self.text.extend_from_slice(line);
        }
        self.ended = *last == b'\n';
    }
}

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
