//! The form of a log's lines: a time stamp, a level, a logger's name where there is one, the text.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How important a line of a log is, by Airflow's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What happened.
    Info,
    /// What may be wrong.
    Warning,
    /// What went wrong.
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// A text as lines of a log, `[2026-11-23T04:05:06.123Z] INFO - text` each.
pub fn log_lines(now: Timestamp, level: Level, text: &str) -> String {
    let mut shown = String::new();
    for line in text.lines() {
        push_head(&mut shown, &stamp(now), level.name(), "");
        shown.push_str(line);
        shown.push('\n');
    }
    shown
}

fn stamp(now: Timestamp) -> String {
    now.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn push_head(shown: &mut String, stamp: &str, level: &str, logger: &str) {
    shown.push('[');
    shown.push_str(stamp);
    shown.push_str("] ");
    if !logger.is_empty() {
        shown.push('{');
        shown.push_str(logger);
        shown.push_str("} ");
    }
    shown.push_str(level);
    shown.push_str(" - ");
}

/// A line longer than this is cut.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Before a line: `RS LEVEL US LOGGER US`, written by the Python side.
const MARK: u8 = 0x1e;
const MARK_PART_END: u8 = 0x1f;
/// A mark with a longer part is none.
const MARK_PART_BYTES_MAX: usize = 256;

/// Makes lines of a text that comes in pieces. A line is shown as soon as its first character is there.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Whether marks are understood; else they are text.
    marks: bool,
    /// Of the line that is being written: whether it has begun, how long it is, its level and logger.
    begun: bool,
    length: usize,
    level: String,
    logger: String,
    /// The beginning of a mark whose end has not come yet.
    held: String,
}

/// Why a text does not start with a mark.
enum NoMark {
    /// It may, once more of it is there.
    Unfinished,
    Never,
}

impl Lines {
    pub(crate) fn new(marks: bool) -> Self {
        let (begun, length) = (false, 0);
        Self { marks, begun, length, level: Level::Info.name().to_owned(), logger: String::new(), held: String::new() }
    }

    /// The next piece, as it is to be shown.
    pub(crate) fn take(&mut self, now: Timestamp, text: &str) -> String {
        let joined;
        let mut rest = if self.held.is_empty() {
            text
        } else {
            joined = std::mem::take(&mut self.held) + text;
            &joined
        };
        let stamp = stamp(now);
        let mut shown = String::with_capacity(rest.len() + rest.len() / 2 + 64);
        while let Some(first) = rest.bytes().next() {
            if self.marks && first == MARK {
                match mark(rest) {
                    Ok((level, logger, after)) => {
                        self.end_line(&mut shown);
                        level.clone_into(&mut self.level);
                        logger.clone_into(&mut self.logger);
                        self.begin_line(&mut shown, &stamp);
                        rest = after;
                        continue;
                    }
                    Err(NoMark::Unfinished) => {
                        rest.clone_into(&mut self.held);
                        return shown;
                    }
                    Err(NoMark::Never) => {}
                }
            }
            if !self.begun {
                self.begin_line(&mut shown, &stamp);
            }
            rest = self.take_line(rest, &mut shown);
        }
        shown
    }

    /// Shows text up to the end of its line, the next mark, or where the line has to be cut.
    fn take_line<'a>(&mut self, text: &'a str, shown: &mut String) -> &'a str {
        let room = text.ceil_char_boundary(LINE_BYTES_MAX - self.length.min(LINE_BYTES_MAX - 1));
        let mut within = text.bytes().take(room).enumerate();
        let end = within.find(|(at, byte)| *byte == b'\n' || *byte == MARK && self.marks && *at > 0);
        match end {
            Some((at, b'\n')) => {
                shown.push_str(&text[..at]);
                self.end_line(shown);
                &text[at + 1..]
            }
            Some((at, _)) => {
                self.length += at;
                shown.push_str(&text[..at]);
                &text[at..]
            }
            None => {
                self.length += room;
                shown.push_str(&text[..room]);
                if self.length >= LINE_BYTES_MAX {
                    let (level, logger) = (self.level.clone(), self.logger.clone());
                    self.end_line(shown);
                    (self.level, self.logger) = (level, logger);
                }
                &text[room..]
            }
        }
    }

    fn begin_line(&mut self, shown: &mut String, stamp: &str) {
        push_head(shown, stamp, &self.level, &self.logger);
        (self.begun, self.length) = (true, 0);
    }

    /// Ends the line if one has begun; the next is `INFO` unless a mark says otherwise.
    fn end_line(&mut self, shown: &mut String) {
        if self.begun {
            shown.push('\n');
        }
        self.begun = false;
        Level::Info.name().clone_into(&mut self.level);
        self.logger.clear();
    }

    /// What is left when nothing more will come: the last line ends here.
    pub(crate) fn end(&mut self, now: Timestamp) -> String {
        let held = std::mem::take(&mut self.held);
        let marks = std::mem::replace(&mut self.marks, false);
        let mut shown = self.take(now, &held);
        self.marks = marks;
        self.end_line(&mut shown);
        shown
    }
}

/// The level and the logger of a mark at the start of a text, and what follows it.
fn mark(text: &str) -> Result<(&str, &str, &str), NoMark> {
    let (level, rest) = mark_part(&text[1..])?;
    if level.is_empty() {
        return Err(NoMark::Never);
    }
    let (logger, rest) = mark_part(rest)?;
    Ok((level, logger, rest))
}

fn mark_part(text: &str) -> Result<(&str, &str), NoMark> {
    match text.bytes().take(MARK_PART_BYTES_MAX).enumerate().find(|(_, byte)| *byte < b' ') {
        Some((end, MARK_PART_END)) => Ok((&text[..end], &text[end + 1..])),
        None if text.len() < MARK_PART_BYTES_MAX => Err(NoMark::Unfinished),
        Some(_) | None => Err(NoMark::Never),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const T: &str = "[1970-01-01T00:00:00.000Z]";

    fn whole(marks: bool, pieces: &[&str]) -> String {
        let mut lines = Lines::new(marks);
        let mut shown: String = pieces.iter().map(|piece| lines.take(NOW, piece)).collect();
        shown += &lines.end(NOW);
        shown
    }

    #[test]
    fn each_line_has_its_head_however_it_is_cut() {
        let text = "one\n\n\x1eWARNING\x1fa.b\x1ftwo\nthree\x1eERROR\x1f\x1ffour\n\x1enone\n\x1eX\x1f\x1e\x1fY\x1f\x1fü\nend\x1eZ";
        let expected = format!(
            "{T} INFO - one\n{T} INFO - \n{T} {{a.b}} WARNING - two\n{T} INFO - three\n{T} ERROR - four\n{T} INFO - \x1enone\n\
             {T} INFO - \x1eX\x1f\x1e\x1fY\x1f\x1fü\n{T} INFO - end\x1eZ\n"
        );
        assert_eq!(whole(true, &[text]), expected);
        let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        for first in &ends {
            for second in ends.iter().filter(|second| *second >= first) {
                let pieces = [&text[..*first], &text[*first..*second], &text[*second..]];
                assert_eq!(whole(true, &pieces), expected, "cut at {first} and {second}");
            }
        }
        assert_eq!(whole(false, &["a\x1eERROR\x1f\x1fb\n"]), format!("{T} INFO - a\x1eERROR\x1f\x1fb\n"));
    }

    #[test]
    fn a_line_shows_before_it_ends() {
        let mut lines = Lines::new(true);
        assert_eq!(lines.take(NOW, "wait"), format!("{T} INFO - wait"));
        assert_eq!(lines.take(NOW, "ing"), "ing");
        assert_eq!(lines.end(NOW), "\n");
        assert_eq!(lines.end(NOW), "");
    }

    #[test]
    fn a_line_without_an_end_is_cut() {
        let text = "ü".repeat(LINE_BYTES_MAX);
        for piece in [1000, LINE_BYTES_MAX, text.len()] {
            let pieces: Vec<&str> =
                text.as_bytes().chunks(piece).map(|b| std::str::from_utf8(b).expect("even")).collect();
            let shown = whole(true, &pieces);
            assert_eq!(shown.lines().count(), 2, "{piece}");
            assert!(shown.lines().all(|line| line.len() <= LINE_BYTES_MAX + 40), "{piece}");
            let joined: String =
                shown.lines().filter_map(|line| line.split_once(" - ")).map(|(_, text)| text).collect();
            assert!(joined == text, "{piece}");
        }
    }

    #[test]
    fn our_own_lines_have_the_same_form() {
        assert_eq!(log_lines(NOW, Level::Error, "a\nb"), format!("{T} ERROR - a\n{T} ERROR - b\n"));
    }
}
