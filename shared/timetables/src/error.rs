//! Why a timetable has no answer.

use jiff::{Timestamp, civil::DateTime};

/// A timetable could not compute a date. A DAG that meets one has no next run until its schedule is changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimetableError {
    /// A valid cron expression names dates that do not come, such as 30 February.
    #[error(
        "cron expression `{expression}` matches no date within {years} years of {from}; \
         check its days and months against each other, and its years if it has any"
    )]
    NoMatchingDate {
        /// The expression as written.
        expression: String,
        /// The local time the search began at.
        from: DateTime,
        /// How far the search went, in years.
        years: i16,
    },

    /// The schedule's next date after an interval lies at or before that interval's start. It happens where clocks
    /// change by less than an hour and the schedule runs hourly.
    #[error(
        "schedule `{schedule}` does not advance past {past}, because its time zone `{timezone}` changes its clocks there; \
         use a schedule in `UTC`"
    )]
    DidNotAdvance {
        /// The schedule as shown to people.
        schedule: String,
        /// Name of its time zone.
        timezone: String,
        /// The instant it got stuck at.
        past: Timestamp,
    },

    /// The date lies outside the years -9999 to 9999.
    #[error("a date of the schedule lies too far away, beyond the years -9999 to 9999: {0}")]
    OutOfRange(String),
}

impl From<jiff::Error> for TimetableError {
    fn from(error: jiff::Error) -> Self {
        Self::OutOfRange(error.to_string())
    }
}
