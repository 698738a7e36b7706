//! A cron expression on the clock of a time zone.
//!
//! The expression is read on the wall clock, and what it says is then looked up in the zone. Where clocks go forward a
//! missing time moves forward by the gap; where they go back a doubled time is its second occurrence. Only a schedule
//! of every hour goes by elapsed time instead, so that it runs in both of the doubled hours.

use jiff::civil::DateTime;
use jiff::tz::Disambiguation;
use jiff::{SignedDuration, Timestamp};

use crate::cron::SEARCH_YEARS_MAX;
use crate::{CronExpression, TimetableError, Timezone};

/// A cron expression with its time zone, seen as a series of instants.
#[derive(Clone, Copy, Debug)]
pub struct CronSchedule<'a> {
    cron: &'a CronExpression,
    timezone: &'a Timezone,
}

impl<'a> CronSchedule<'a> {
    /// The instants of `cron` in `timezone`.
    pub fn new(cron: &'a CronExpression, timezone: &'a Timezone) -> Self {
        Self { cron, timezone }
    }

    /// The first instant after `current`.
    pub fn next(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        let wall = self.wall(current);
        let found = self.cron.next_after(wall).ok_or_else(|| self.no_match(wall))?;
        self.instant(current, found.duration_since(wall), found)
    }

    /// The last instant before `current`. Where clocks went forward it may be `current` itself: Airflow has it so, and
    /// no caller repeats the step.
    pub fn prev(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        let wall = self.wall(current);
        let found = self.cron.prev_before(wall).ok_or_else(|| self.no_match(wall))?;
        self.instant(current, found.duration_since(wall), found)
    }

    /// `current` if it is one of the instants, else the next one.
    pub fn align_to_next(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        let next = self.next(current)?;
        Ok(if self.prev(next)? == current { current } else { next })
    }

    /// `current` if it is one of the instants, else the previous one.
    pub fn align_to_prev(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        let prev = self.prev(current)?;
        Ok(if self.next(prev)? == current { current } else { prev })
    }

    /// The failure of a schedule to get past `past`.
    pub(crate) fn did_not_advance(&self, past: Timestamp) -> TimetableError {
        TimetableError::DidNotAdvance {
            schedule: self.cron.as_str().to_owned(),
            timezone: self.timezone.name().to_owned(),
            past,
        }
    }

    fn wall(&self, instant: Timestamp) -> DateTime {
        self.timezone.zone().to_datetime(instant)
    }

    /// The instant of the local time `found`, which the wall clock reaches `elapsed` after it showed `current`.
    fn instant(
        &self,
        current: Timestamp,
        elapsed: SignedDuration,
        found: DateTime,
    ) -> Result<Timestamp, TimetableError> {
        if self.cron.covers_every_hour() {
            return Ok(current.checked_add(elapsed)?);
        }
        let ambiguous = self.timezone.zone().to_ambiguous_timestamp(found);
        Ok(ambiguous.disambiguate(Disambiguation::Later)?)
    }

    fn no_match(&self, from: DateTime) -> TimetableError {
        TimetableError::NoMatchingDate { expression: self.cron.as_str().to_owned(), from, years: SEARCH_YEARS_MAX }
    }
}
