//! The `cron` crate as the engine behind croniter's syntax.
//!
//! That crate reads another dialect: seconds first, Sunday as 1, both day fields required to match, and no last days or
//! n-th weekdays. So it gets plain lists of numbers, with weekdays moved up by one, and two schedules where croniter
//! wants either day field to match. Time zones are kept from it: it runs on UTC and is told local times.

use std::fmt::Write as _;
use std::str::FromStr as _;

use chrono::Utc;
use cron::Schedule;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::fields::Fields;

/// The crate knows the years 1970 to 2100. A search that begins close to these bounds would be cut short.
const YEARS: std::ops::RangeInclusive<i16> = 1971..=2099;

/// One schedule, or two of which either may match. Without listed years a match is never more than eight years away, so
/// that the limit on a search need not be watched here.
pub(super) struct Engine {
    schedules: Vec<Schedule>,
}

impl Engine {
    /// `None` for what the crate cannot express.
    pub(super) fn new(fields: &Fields) -> Option<Self> {
        let days = &fields.days;
        // The crate looks for an earlier date in a listed year as if that year, too, were over at the day and month the
        // search began at.
        if !days.are_plain() || fields.years.is_some() {
            return None;
        }
        let schedules = if days.either() {
            vec![schedule(fields, days.of_month, None)?, schedule(fields, None, days.of_week)?]
        } else {
            vec![schedule(fields, days.of_month, days.of_week)?]
        };
        Some(Self { schedules })
    }

    /// The first match after `after`; `None` if the crate finds none or cannot say.
    pub(super) fn next_after(&self, after: DateTime) -> Option<DateTime> {
        if !YEARS.contains(&after.year()) {
            return None;
        }
        let after = to_chrono(after)?;
        let mut first = None;
        for schedule in &self.schedules {
            let found = schedule.after(&after).next()?;
            first = Some(first.map_or(found, |first: chrono::DateTime<Utc>| first.min(found)));
        }
        from_chrono(first?)
    }

    /// The last match before `before`; `None` if the crate finds none or cannot say.
    pub(super) fn prev_before(&self, before: DateTime) -> Option<DateTime> {
        if !YEARS.contains(&before.year()) {
            return None;
        }
        // A begun second counts as over: matches fall on whole seconds.
        let begun = i64::from(before.subsec_nanosecond() > 0);
        let before = to_chrono(before)? + chrono::TimeDelta::seconds(begun);
        let mut last = None;
        for schedule in &self.schedules {
            let found = schedule.after(&before).next_back()?;
            last = Some(last.map_or(found, |last: chrono::DateTime<Utc>| last.max(found)));
        }
        from_chrono(last?)
    }
}

/// The sets as one text of the crate's dialect: second, minute, hour, day of month, month, day of week, year.
fn schedule(fields: &Fields, of_month: Option<u64>, of_week: Option<u64>) -> Option<Schedule> {
    let mut text = String::with_capacity(64);
    // A long list costs more to parse than the star it amounts to.
    let unless_all = |bits, all| (bits != all).then_some(bits);
    push_list(&mut text, unless_all(fields.seconds, (1 << 60) - 1));
    push_list(&mut text, unless_all(fields.minutes, (1 << 60) - 1));
    push_list(&mut text, unless_all(fields.hours, (1 << 24) - 1));
    push_list(&mut text, of_month);
    push_list(&mut text, unless_all(fields.months, 0b1_1111_1111_1110));
    push_list(&mut text, of_week.map(|bits| bits << 1));
    text.push('*');
    Schedule::from_str(&text).ok()
}

fn push_list(text: &mut String, bits: Option<u64>) {
    match bits {
        None => text.push('*'),
        Some(bits) => {
            for bit in (0..64).filter(|bit| bits & (1 << bit) != 0) {
                // Writing to a string cannot fail.
                let _ = write!(text, "{bit},");
            }
            text.pop();
        }
    }
    text.push(' ');
}

/// The same reading of the clock, without fractions of a second.
fn to_chrono(at: DateTime) -> Option<chrono::DateTime<Utc>> {
    let seconds = Offset::UTC.to_timestamp(at).ok()?.as_second();
    // Before 1970 jiff rounds a fraction up; the bounds on years keep such times out.
    chrono::DateTime::from_timestamp(seconds, 0)
}

fn from_chrono(at: chrono::DateTime<Utc>) -> Option<DateTime> {
    let timestamp = jiff::Timestamp::from_second(at.timestamp()).ok()?;
    Some(Offset::UTC.to_datetime(timestamp))
}
