//! Cron expressions as Airflow reads them: the syntax and the dates of its library croniter, version 7.0.0.
//!
//! `parse` turns the text into sets of numbers. `engine` hands those sets to the `cron` crate, which finds the dates of
//! most expressions. `civil` finds them where that crate cannot: last days, nearest and n-th weekdays, years after 2100.
//! All of it works on the clock on the wall; `crate::local` knows about time zones.

mod civil;
mod engine;
mod fields;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use engine::Engine;
use fields::Fields;
pub use parse::{CronError, CronField};

/// A search gives up when the year it looks at is this far from the one it began in. An expression that matches less
/// often, such as 29 February on a Monday in two listed years, counts as one that never matches.
pub(crate) const SEARCH_YEARS_MAX: i16 = 50;

/// Short names that stand for an expression, and are replaced by it as soon as they are read.
const REPLACED_PRESETS: [(&str, &str); 6] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
];

/// Short names that are understood in any letter case and shown as they were written.
const KEPT_PRESETS: [(&str, &str); 7] = [
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A valid cron expression. Compared, shown and stored by its text; cheap to clone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CronExpression(Arc<Parsed>);

struct Parsed {
    text: String,
    fields: Fields,
    /// Built when the first date is asked for: most holders of an expression never ask.
    engine: OnceLock<Option<Engine>>,
}

impl CronExpression {
    /// Reads five fields (minute, hour, day of month, month, day of week), a sixth for the second, a seventh for the
    /// year, or a preset such as `@daily`.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text =
            REPLACED_PRESETS.iter().find(|(preset, _)| *preset == text).map_or(text, |(_, expression)| expression);
        let expression = KEPT_PRESETS
            .iter()
            .find(|(preset, _)| preset.eq_ignore_ascii_case(text))
            .map_or(text, |(_, expression)| expression);
        let fields = parse::parse(expression)?;
        Ok(Self(Arc::new(Parsed { text: text.to_owned(), fields, engine: OnceLock::new() })))
    }

    /// The text as written, or what the preset stands for.
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The first local time after `after` that the expression matches; `None` if there is none within 50 years.
    pub fn next_after(&self, after: DateTime) -> Option<DateTime> {
        let found = self.engine().and_then(|engine| engine.next_after(after));
        found.or_else(|| civil::next_after(&self.0.fields, after))
    }

    /// The last local time before `before` that the expression matches; `None` if there is none within 50 years.
    pub fn prev_before(&self, before: DateTime) -> Option<DateTime> {
        let found = self.engine().and_then(|engine| engine.prev_before(before));
        found.or_else(|| civil::prev_before(&self.0.fields, before))
    }

    /// What will probably surprise the author of this valid expression, as advice for a linter.
    pub fn caveat(&self) -> Option<&'static str> {
        let days = &self.0.fields.days;
        if !days.either() || days.is_clean_split() {
            return None;
        }
        Some(if days.nth_weekdays.is_some() {
            "an n-th or last weekday beside a day of month: the day of month is ignored, and where the two never fall \
             together nothing runs at all; use two schedules"
        } else {
            "a nearest weekday (`W`) beside a day of week: the day of week is ignored, and where the two never fall \
             together nothing runs at all; use two schedules"
        })
    }

    /// Whether the hour field means every hour. Such a schedule goes by elapsed time where clocks change.
    pub fn covers_every_hour(&self) -> bool {
        self.0.fields.covers_every_hour
    }

    fn engine(&self) -> Option<&Engine> {
        self.0.engine.get_or_init(|| Engine::new(&self.0.fields)).as_ref()
    }
}

impl fmt::Display for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for CronExpression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronExpression({})", self.0.text)
    }
}

impl PartialEq for CronExpression {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for CronExpression {}

impl std::str::FromStr for CronExpression {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for CronExpression {
    type Error = CronError;

    fn try_from(text: String) -> Result<Self, CronError> {
        Self::parse(&text)
    }
}

impl From<CronExpression> for String {
    fn from(expression: CronExpression) -> Self {
        expression.0.text.clone()
    }
}
