//! Finds dates by walking the calendar, for what the `cron` crate cannot express.

use jiff::civil::{Date, DateTime, Time};
use jiff::{SignedDuration, ToSpan};

use super::SEARCH_YEARS_MAX;
use super::fields::{Consider, Fields};

/// The first match after `after`, by walking the calendar.
pub(super) fn next_after(fields: &Fields, after: DateTime) -> Option<DateTime> {
    let from = first_candidate(fields, after)?;
    if !fields.days.either() {
        return search_forward(fields, from, Consider::Both);
    }
    either(
        fields,
        search_forward(fields, from, Consider::DayOfMonth),
        search_forward(fields, from, Consider::DayOfWeek),
        Ord::min,
    )
}

/// The last match before `before`, by walking the calendar.
pub(super) fn prev_before(fields: &Fields, before: DateTime) -> Option<DateTime> {
    let from = last_candidate(fields, before)?;
    if !fields.days.either() {
        return search_backward(fields, from, Consider::Both);
    }
    either(
        fields,
        search_backward(fields, from, Consider::DayOfMonth),
        search_backward(fields, from, Consider::DayOfWeek),
        Ord::max,
    )
}

/// Where a search forward begins: the next whole minute, or second if the expression has seconds.
fn first_candidate(fields: &Fields, after: DateTime) -> Option<DateTime> {
    let unit = SignedDuration::from_secs(if fields.has_seconds { 1 } else { 60 });
    Some(truncate(fields, after.checked_add(unit).ok()?))
}

/// Where a search backward begins: the last whole minute, or second, that is over.
fn last_candidate(fields: &Fields, before: DateTime) -> Option<DateTime> {
    Some(truncate(fields, before.checked_sub(SignedDuration::from_nanos(1)).ok()?))
}

/// `found`, unless its year is too far from that of the search's begin.
fn within_reach(from: DateTime, found: DateTime) -> Option<DateTime> {
    ((from.year() - found.year()).abs() <= SEARCH_YEARS_MAX).then_some(found)
}

/// Joins the searches of an either-or expression. If they cannot be told apart, a miss of one is a miss of both.
fn either(
    fields: &Fields,
    of_month: Option<DateTime>,
    of_week: Option<DateTime>,
    choose: fn(DateTime, DateTime) -> DateTime,
) -> Option<DateTime> {
    match (of_month, of_week) {
        (Some(of_month), Some(of_week)) => Some(choose(of_month, of_week)),
        _ if !fields.days.is_clean_split() => None,
        (of_month, of_week) => of_month.or(of_week),
    }
}

fn truncate(fields: &Fields, at: DateTime) -> DateTime {
    let second = if fields.has_seconds { at.second() } else { 0 };
    at.date().at(at.hour(), at.minute(), second, 0)
}

fn search_forward(fields: &Fields, from: DateTime, consider: Consider) -> Option<DateTime> {
    let mut date = from.date();
    let mut time = from.time();
    loop {
        within_reach(from, date.at(0, 0, 0, 0))?;
        let candidate = next_listed_month(fields, date)?;
        if candidate != date {
            date = candidate;
            time = Time::MIN;
            continue;
        }
        if fields.days.contain(date, consider)
            && let Some(time) = time_from(fields, time)
        {
            return Some(date.to_datetime(time));
        }
        date = date.tomorrow().ok()?;
        time = Time::MIN;
    }
}

fn search_backward(fields: &Fields, from: DateTime, consider: Consider) -> Option<DateTime> {
    let mut date = from.date();
    let mut time = from.time();
    loop {
        within_reach(from, date.at(0, 0, 0, 0))?;
        let candidate = prev_listed_month(fields, date)?;
        if candidate != date {
            date = candidate;
            time = Time::MAX;
            continue;
        }
        if fields.days.contain(date, consider)
            && let Some(time) = time_until(fields, time)
        {
            return Some(date.to_datetime(time));
        }
        date = date.yesterday().ok()?;
        time = Time::MAX;
    }
}

/// `date` if its year and month are listed, else the first day of the next year or month to look at.
fn next_listed_month(fields: &Fields, date: Date) -> Option<Date> {
    if let Some(years) = &fields.years {
        let year = *years.iter().find(|year| **year >= date.year())?;
        if year != date.year() {
            return Date::new(year, 1, 1).ok();
        }
    }
    if fields.months & (1 << date.month()) != 0 {
        return Some(date);
    }
    date.first_of_month().checked_add(1.month()).ok()
}

/// `date` if its year and month are listed, else the last day of the previous year or month to look at.
fn prev_listed_month(fields: &Fields, date: Date) -> Option<Date> {
    if let Some(years) = &fields.years {
        let year = *years.iter().rev().find(|year| **year <= date.year())?;
        if year != date.year() {
            return Date::new(year, 12, 31).ok();
        }
    }
    if fields.months & (1 << date.month()) != 0 {
        return Some(date);
    }
    date.first_of_month().yesterday().ok()
}

/// The first listed time of a day that is not before `from`.
fn time_from(fields: &Fields, from: Time) -> Option<Time> {
    let time = |hour, minute, second| Some(Time::constant(hour, minute, second, 0));
    let (hour, minute) = (from.hour(), from.minute());
    if contains(fields.hours, hour) {
        if contains(fields.minutes, minute)
            && let Some(second) = lowest_from(fields.seconds, from.second())
        {
            return time(hour, minute, second);
        }
        if let Some(minute) = lowest_from(fields.minutes, minute + 1) {
            return time(hour, minute, lowest_from(fields.seconds, 0)?);
        }
    }
    let hour = lowest_from(fields.hours, hour + 1)?;
    time(hour, lowest_from(fields.minutes, 0)?, lowest_from(fields.seconds, 0)?)
}

/// The last listed time of a day that is not after `until`.
fn time_until(fields: &Fields, until: Time) -> Option<Time> {
    let time = |hour, minute, second| Some(Time::constant(hour, minute, second, 0));
    let (hour, minute) = (until.hour(), until.minute());
    if contains(fields.hours, hour) {
        if contains(fields.minutes, minute)
            && let Some(second) = highest_until(fields.seconds, until.second())
        {
            return time(hour, minute, second);
        }
        if let Some(minute) = highest_until(fields.minutes, minute - 1) {
            return time(hour, minute, highest_until(fields.seconds, 59)?);
        }
    }
    let hour = highest_until(fields.hours, hour - 1)?;
    time(hour, highest_until(fields.minutes, 59)?, highest_until(fields.seconds, 59)?)
}

fn contains(bits: u64, bit: i8) -> bool {
    bits & (1 << bit) != 0
}

/// The lowest set bit at or above `from`, which is at most 63.
fn lowest_from(bits: u64, from: i8) -> Option<i8> {
    let rest = bits & (u64::MAX << from);
    (rest != 0).then(|| rest.trailing_zeros() as i8)
}

/// The highest set bit at or below `until`, which is below 63 and may be -1.
fn highest_until(bits: u64, until: i8) -> Option<i8> {
    let rest = bits & ((1 << (until + 1)) - 1);
    (rest != 0).then(|| rest.ilog2() as i8)
}
