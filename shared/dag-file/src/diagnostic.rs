//! Problems of a file, each with its place.

use serde::Serialize;
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The DAG (or, where no DAG is named, the whole file) was not loaded.
    Error,
    /// The DAG was loaded, but does not do what its text may lead one to believe.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One problem: where it is, what it is, why, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How much it matters.
    pub severity: Severity,
    /// The file, as it was named to the loader.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The way from the file's root, e.g. `etl.tasks.load.retries`; empty for the file itself.
    pub key_path: String,
    /// The DAG it belongs to; none: the whole file.
    pub dag_id: Option<String>,
    /// What is wrong and why, in lower case, without a full stop.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
    /// A name for this kind of problem that does not change with the wording.
    pub code: &'static str,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = visible(&self.file);
        write!(f, "{file}:{}:{}: {}: {}", self.line, self.column, self.severity, visible(&self.message))?;
        if self.key_path.is_empty() { Ok(()) } else { write!(f, " (at `{}`)", visible(&self.key_path)) }
    }
}

/// The longest piece of a source line that is shown, in characters.
const LINE_WIDTH_MAX: usize = 100;

impl Diagnostic {
    /// Whether it kept something from being loaded.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The problem with its source line, a caret under the place, and the hint. `source` is the text the file was loaded
    /// from; a line that does not exist there is left out.
    pub fn render(&self, source: &str, color: bool) -> String {
        let paint = |code: &str, text: &str| if color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
        let severity = match self.severity {
            Severity::Error => paint("1;31", "error"),
            Severity::Warning => paint("1;33", "warning"),
        };
        let mut out = format!("{}:{}:{}: {severity}: ", visible(&self.file), self.line, self.column);
        out.push_str(&paint("1", &visible(&self.message)));
        // Writing to a `String` cannot fail.
        let line = source.lines().nth(self.line.saturating_sub(1) as usize);
        if let Some(line) = line.filter(|l| !l.trim().is_empty()) {
            let (shown, caret) = excerpt(line, self.column.saturating_sub(1) as usize);
            let number = self.line.to_string();
            let margin = " ".repeat(number.len());
            let bar = paint("34", "|");
            let _ = write!(out, "\n {} {bar} {shown}", paint("34", &number));
            let _ = write!(out, "\n {margin} {bar} {}{}", " ".repeat(caret), paint("1;31", "^"));
        }
        if !self.key_path.is_empty() {
            let _ = write!(out, "\n  {}: {}", paint("1;36", "key"), visible(&self.key_path));
        }
        if let Some(hint) = &self.hint {
            let _ = write!(out, "\n  {}: {}", paint("1;36", "hint"), visible(hint));
        }
        out
    }
}

/// Text as it may be shown: control characters, with which a file could write to the terminal of whoever looks at it, as escapes.
fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

/// The part of a line around `column` that fits the screen, and where the caret goes under it. Tabs and other control
/// characters become spaces, so that the caret stands where it should.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    let from = if column >= LINE_WIDTH_MAX { column - LINE_WIDTH_MAX / 2 } else { 0 };
    let shown: String =
        line.chars().skip(from).take(LINE_WIDTH_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let caret = (column - from).min(shown.chars().count());
    (shown, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: u32, column: u32) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            file: "etl.yaml".into(),
            line,
            column,
            key_path: "etl.tasks.load.retries".into(),
            dag_id: Some("etl".into()),
            message: "`retries` is text".into(),
            hint: Some("write a whole number".into()),
            code: "wrong-type",
        }
    }

    #[test]
    fn a_line_says_place_severity_and_message() {
        assert_eq!(problem(2, 3).to_string(), "etl.yaml:2:3: error: `retries` is text (at `etl.tasks.load.retries`)");
    }

    #[test]
    fn what_a_file_says_cannot_write_to_the_terminal() {
        let mut hostile = problem(1, 1);
        hostile.message = "no key `a\u{1b}]0;pwn\u{7}\nb`".into();
        hostile.file = "x\u{1b}[2J.yaml".into();
        for shown in [hostile.to_string(), hostile.render("a\u{1b}[31m: b", false)] {
            assert!(!shown.contains(['\u{1b}', '\u{7}']), "{shown:?}");
            assert!(shown.starts_with("x\\u{1b}[2J.yaml:1:1: error: no key `a\\u{1b}]0;pwn\\u{7}\\nb`"), "{shown:?}");
        }
    }

    #[test]
    fn the_caret_stands_under_the_column() {
        let shown = problem(2, 3).render("a\n\tb: c\n", false);
        assert_eq!(
            shown,
            "etl.yaml:2:3: error: `retries` is text\n 2 |  b: c\n   |   ^\n  key: etl.tasks.load.retries\n  hint: write a whole number"
        );
        assert!(problem(2, 3).render("a\n\tb: c\n", true).contains("\x1b[1;31m^\x1b[0m"));
    }

    #[test]
    fn places_outside_the_text_and_far_to_the_right_are_shown_without_panic() {
        assert!(!problem(9, 1).render("a", false).contains('^'));
        let long = "x".repeat(5000);
        let shown = problem(1, 4000).render(&long, false);
        assert!(shown.lines().all(|l| l.len() < 200), "{shown}");
        assert!(shown.contains('^'));
    }
}
