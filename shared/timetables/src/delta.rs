//! Fixed and calendar-relative spans of time.

use std::fmt;

use jiff::civil::date;
use jiff::tz::Offset;
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::TimetableError;

/// A span of time: a fixed one, stored as an ISO 8601 text such as `PT1H30M`, or a calendar-relative one, stored as a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Delta {
    /// Always the same length, like Python's `timedelta`.
    Fixed(SignedDuration),
    /// Months and years, whose length depends on the date, like dateutil's `relativedelta`.
    Relative(RelativeDelta),
}

/// Parts that are applied in UTC, years and months first: 31 January and one month is 28 February, or 29.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelativeDelta {
    #[expect(missing_docs, reason = "the names say it all")]
    #[serde(skip_serializing_if = "is_zero")]
    pub years: i32,
    #[expect(missing_docs, reason = "the names say it all")]
    #[serde(skip_serializing_if = "is_zero")]
    pub months: i32,
    #[expect(missing_docs, reason = "the names say it all")]
    #[serde(skip_serializing_if = "is_zero")]
    pub days: i32,
    #[expect(missing_docs, reason = "the names say it all")]
    #[serde(skip_serializing_if = "is_zero")]
    pub hours: i32,
    #[expect(missing_docs, reason = "the names say it all")]
    #[serde(skip_serializing_if = "is_zero")]
    pub minutes: i32,
    #[expect(missing_docs, reason = "the names say it all")]
    #[serde(skip_serializing_if = "is_zero")]
    pub seconds: i32,
}

/// A span that cannot be the time between two runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time between two runs is `{delta}`, but it must be longer than zero")]
pub struct DeltaError {
    /// The span as shown to people.
    pub delta: String,
}

impl Delta {
    /// No time at all.
    pub const ZERO: Self = Self::Fixed(SignedDuration::ZERO);

    /// `instant` moved forward by this span.
    pub fn after(&self, instant: Timestamp) -> Result<Timestamp, TimetableError> {
        self.apply(instant, 1)
    }

    /// `instant` moved back by this span.
    pub fn before(&self, instant: Timestamp) -> Result<Timestamp, TimetableError> {
        self.apply(instant, -1)
    }

    /// This span, if it leads forward from any date. A relative one is tried on the shortest month.
    pub fn positive(self) -> Result<Self, DeltaError> {
        let shortest_month = Offset::UTC.to_timestamp(date(2001, 2, 1).at(0, 0, 0, 0));
        let is_positive = shortest_month.is_ok_and(|from| self.after(from).is_ok_and(|after| after > from));
        if is_positive { Ok(self) } else { Err(DeltaError { delta: self.to_string() }) }
    }

    /// Whether this is [`Delta::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }

    fn apply(&self, instant: Timestamp, sign: i32) -> Result<Timestamp, TimetableError> {
        match self {
            Self::Fixed(duration) => Ok(instant.checked_add(*duration * sign)?),
            Self::Relative(relative) => relative.apply(instant, sign.into()),
        }
    }
}

impl RelativeDelta {
    /// Whether its length depends on the date it is added to.
    pub(crate) fn is_calendar(&self) -> bool {
        self.years != 0 || self.months != 0
    }

    /// Its length without years and months.
    pub(crate) fn fixed_part(&self) -> SignedDuration {
        let seconds = [(self.days, 86_400), (self.hours, 3_600), (self.minutes, 60), (self.seconds, 1)];
        SignedDuration::from_secs(seconds.iter().map(|(count, unit)| i64::from(*count) * unit).sum())
    }

    fn apply(&self, instant: Timestamp, sign: i64) -> Result<Timestamp, TimetableError> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        let months = Span::new().try_months(months * sign)?;
        let wall = Offset::UTC.to_datetime(instant).checked_add(months)?;
        Ok(Offset::UTC.to_timestamp(wall)?.checked_add(self.fixed_part() * sign as i32)?)
    }
}

/// As Python prints them: `1 day, 0:00:00`, `relativedelta(months=+1)`.
impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(duration) => write_fixed(f, *duration),
            Self::Relative(relative) => relative.fmt(f),
        }
    }
}

impl fmt::Display for RelativeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("years", self.years),
            ("months", self.months),
            ("days", self.days),
            ("hours", self.hours),
            ("minutes", self.minutes),
            ("seconds", self.seconds),
        ];
        f.write_str("relativedelta(")?;
        let mut separator = "";
        for (name, count) in parts.iter().filter(|(_, count)| *count != 0) {
            write!(f, "{separator}{name}={count:+}")?;
            separator = ", ";
        }
        f.write_str(")")
    }
}

fn write_fixed(f: &mut fmt::Formatter<'_>, duration: SignedDuration) -> fmt::Result {
    let micros = duration.as_micros();
    let (days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    if days != 0 {
        let plural = if days.abs() == 1 { "" } else { "s" };
        write!(f, "{days} day{plural}, ")?;
    }
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction != 0 { write!(f, ".{fraction:06}") } else { Ok(()) }
}

/// Reads the time between two runs.
pub(crate) fn deserialize_positive<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Delta, D::Error> {
    Delta::deserialize(deserializer)?.positive().map_err(serde::de::Error::custom)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &i32) -> bool {
    *count == 0
}
