//! The attributes and methods of a `datetime`; those of pendulum's class only where the value is one.

use std::collections::BTreeMap;

use jiff::civil::{self, Weekday};
use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, Tuple, from_args};
use minijinja::{Error, ErrorKind as Engine, State, Value};

use super::delta::{Interval, TimeDelta, in_words};
use super::moment::{Date, DateTime, Time, date_text, time_text, zone};
use super::objects::Record;
use super::strftime::{format_tokens, strftime};
use crate::error::type_error;

/// Days from 1 January of year 1, which is 1, to the epoch.
const EPOCH_ORDINAL: i64 = 719_163;

/// `moment.name`.
pub(crate) fn attribute(moment: &DateTime, name: &str) -> Option<Value> {
    let civil = moment.civil();
    let plain = match name {
        "year" => Value::from(civil.year()),
        "month" => Value::from(civil.month()),
        "day" => Value::from(civil.day()),
        "hour" => Value::from(civil.hour()),
        "minute" => Value::from(civil.minute()),
        "second" => Value::from(civil.second()),
        "microsecond" => Value::from(civil.subsec_nanosecond() / 1000),
        "tzinfo" if moment.offset().is_none() => Value::from(()),
        "tzinfo" => Value::from(moment.zone_name()),
        _ if moment.is_pendulum() => return pendulum_attribute(moment, name),
        _ => return None,
    };
    Some(plain)
}

fn pendulum_attribute(moment: &DateTime, name: &str) -> Option<Value> {
    let civil = moment.civil();
    Some(match name {
        "int_timestamp" => Value::from(moment.epoch_seconds()),
        "float_timestamp" => timestamp(moment),
        "day_of_week" => Value::from(civil.weekday().to_monday_zero_offset()),
        "day_of_year" => Value::from(civil.day_of_year()),
        "week_of_year" => Value::from(civil.date().iso_week_date().week()),
        "week_of_month" => {
            let first = i64::from(civil.first_of_month().weekday().to_monday_zero_offset());
            Value::from((i64::from(civil.day()) + first + 6) / 7)
        }
        "days_in_month" => Value::from(civil.days_in_month()),
        "quarter" => Value::from((civil.month() + 2) / 3),
        "timezone" | "tz" | "timezone_name" => Value::from(moment.zone_name()),
        "offset" => Value::from(moment.offset().map_or(0, jiff::tz::Offset::seconds)),
        "offset_hours" => Value::from(f64::from(moment.offset().map_or(0, jiff::tz::Offset::seconds)) / 3600.0),
        _ => return None,
    })
}

fn timestamp(moment: &DateTime) -> Value {
    Value::from(moment.epoch_micros() as f64 / 1_000_000.0)
}

/// `moment.method(args)`.
pub(crate) fn call(moment: &DateTime, state: &State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
    let civil = moment.civil();
    let week_day = civil.weekday();
    Ok(match method {
        "strftime" => Value::from(strftime(moment, one_text(args)?)?),
        "isoformat" => {
            let (separator,): (Option<char>,) = from_args(args)?;
            Value::from(moment.isoformat(separator.unwrap_or('T')))
        }
        "replace" => replace(moment, args)?,
        "date" => none_taken(args, || Value::from_object(Date(civil.date())))?,
        "time" => none_taken(args, || Value::from_object(Time(civil.time())))?,
        "timestamp" => none_taken(args, || timestamp(moment))?,
        "weekday" => none_taken(args, || Value::from(week_day.to_monday_zero_offset()))?,
        "isoweekday" => none_taken(args, || Value::from(week_day.to_monday_one_offset()))?,
        "toordinal" => none_taken(args, || Value::from(ordinal(civil.date())))?,
        "timetuple" => none_taken(args, || time_tuple(civil))?,
        "isocalendar" => none_taken(args, || {
            let week = civil.date().iso_week_date();
            Value::from(Tuple::from([
                Value::from(week.year()),
                Value::from(week.week()),
                Value::from(week_day.to_monday_one_offset()),
            ]))
        })?,
        "utcoffset" => match moment.offset() {
            None => Value::from(()),
            Some(offset) => TimeDelta::from_micros(i128::from(offset.seconds()) * 1_000_000)?.value(),
        },
        "tzname" => none_taken(args, || Value::from(moment.abbreviation()))?,
        "astimezone" => {
            let (name,): (Option<&str>,) = from_args(args)?;
            moment.to_zone(name.map_or(Ok(TimeZone::UTC), zone)?)?.value()
        }
        _ if moment.is_pendulum() => return call_pendulum(moment, state, method, args),
        _ => return Err(Error::from(Engine::UnknownMethod)),
    })
}

fn call_pendulum(moment: &DateTime, state: &State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
    let civil = moment.civil();
    let (date, time) = (civil.date(), civil.time());
    let result = match method {
        "add" => shift(moment, args, 1)?,
        "subtract" => shift(moment, args, -1)?,
        "in_timezone" | "in_tz" => moment.to_zone(zone(one_text(args)?)?)?,
        "naive" => return none_taken(args, || moment.without_zone().value()),
        "start_of" | "first_of" => start_of(moment, one_text(args)?)?,
        "end_of" => end_of(moment, one_text(args)?)?,
        "last_of" => {
            let end = end_of(moment, one_text(args)?)?;
            end.with_civil(end.civil().start_of_day())?
        }
        "next" => beside(moment, args, 1)?,
        "previous" => beside(moment, args, -1)?,
        "average" => {
            let (other,): (Value,) = from_args(args)?;
            let half = moment_of(&other)?.since(moment)?.micros() / 2;
            moment.plus(TimeDelta::from_micros(i128::from(half))?)?
        }
        "format" => return format_tokens(moment, one_text(args)?).map(Value::from),
        "diff" => {
            let (other, absolute): (Option<Value>, Option<bool>) = from_args(args)?;
            let other = other_or_now(other, state)?;
            let (start, end) = if absolute.unwrap_or(true) && other.since(moment)?.micros() < 0 {
                (other, moment.clone())
            } else {
                (moment.clone(), other)
            };
            return Interval::new(start, end).map(Value::from_object);
        }
        "diff_for_humans" => {
            let (other,): (Option<Value>,) = from_args(args)?;
            let to_now = other.is_none();
            return in_words(moment, &other_or_now(other, state)?, to_now).map(Value::from);
        }
        "is_leap_year" => return none_taken(args, || Value::from(civil.in_leap_year())),
        "to_date_string" => return none_taken(args, || Value::from(date_text(date))),
        "to_time_string" => return none_taken(args, || Value::from(whole_seconds(time))),
        "to_datetime_string" => {
            return none_taken(args, || Value::from(format!("{} {}", date_text(date), whole_seconds(time))));
        }
        "to_iso8601_string" => {
            return none_taken(args, || {
                let text = moment.isoformat('T');
                Value::from(match text.strip_suffix("+00:00") {
                    Some(rest) if moment.zone_name() == "UTC" => format!("{rest}Z"),
                    _ => text,
                })
            });
        }
        // The only private method anyone calls: -1, 0 or 1.
        "_cmp" => {
            let (other,): (Value,) = from_args(args)?;
            return Ok(Value::from(moment.since(&moment_of(&other)?)?.micros().signum()));
        }
        _ => return Err(Error::from(Engine::UnknownMethod)),
    };
    Ok(result.value())
}

/// Another moment among the arguments.
pub(crate) fn moment_of(value: &Value) -> Result<DateTime, Error> {
    value
        .downcast_object_ref::<DateTime>()
        .cloned()
        .ok_or_else(|| type_error(format!("expected a datetime, not {}", super::objects::type_name(value))))
}

/// The moment given, or the context's present.
fn other_or_now(other: Option<Value>, state: &State<'_, '_>) -> Result<DateTime, Error> {
    moment_of(&other.or_else(|| state.lookup(crate::names::NOW)).unwrap_or_default())
}

fn one_text<'a>(args: &'a [Value]) -> Result<&'a str, Error> {
    from_args::<(&'a str,)>(args).map(|(text,)| text)
}

fn none_taken(args: &[Value], value: impl FnOnce() -> Value) -> Result<Value, Error> {
    from_args(args).map(|()| value())
}

fn whole_seconds(time: civil::Time) -> String {
    let mut text = time_text(time);
    text.truncate("00:00:00".len());
    text
}

fn ordinal(date: civil::Date) -> i64 {
    let days = i64::from(civil::date(1970, 1, 1).until(date).map_or(0, |span| span.get_days()));
    days + EPOCH_ORDINAL
}

/// `time.struct_time`, by attribute.
pub(crate) fn time_tuple(civil: civil::DateTime) -> Value {
    let fields = [
        ("tm_year", i64::from(civil.year())),
        ("tm_mon", i64::from(civil.month())),
        ("tm_mday", i64::from(civil.day())),
        ("tm_hour", i64::from(civil.hour())),
        ("tm_min", i64::from(civil.minute())),
        ("tm_sec", i64::from(civil.second())),
        ("tm_wday", i64::from(civil.weekday().to_monday_zero_offset())),
        ("tm_yday", i64::from(civil.day_of_year())),
        ("tm_isdst", -1),
    ];
    let shown: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let attributes: BTreeMap<&'static str, Value> =
        fields.into_iter().map(|(name, value)| (name, Value::from(value))).collect();
    Value::from_object(Record {
        shown: format!("time.struct_time({})", shown.join(", ")),
        attributes,
        more: BTreeMap::new(),
    })
}

fn replace(moment: &DateTime, args: &[Value]) -> Result<Value, Error> {
    let (kwargs,): (Kwargs,) = from_args(args)?;
    let mut replaced = moment.clone();
    // The day first to the first, so that no step passes through 31 February.
    let day = kwargs.get::<Option<i64>>("day")?;
    let wanted_day = day.unwrap_or(i64::from(moment.civil().day()));
    replaced = replaced.with_field("day", 1)?;
    for field in ["year", "month", "hour", "minute", "second", "microsecond"] {
        if let Some(value) = kwargs.get::<Option<i64>>(field)? {
            replaced = replaced.with_field(field, value)?;
        }
    }
    replaced = replaced.with_field("day", wanted_day)?;
    if kwargs.has("tzinfo") {
        replaced = match kwargs.get::<Option<&str>>("tzinfo")? {
            None => replaced.without_zone(),
            Some(name) => replaced.in_zone(zone(name)?)?,
        };
    }
    kwargs.assert_all_used()?;
    Ok(replaced.value())
}

/// pendulum's `add` and `subtract`: positional order years, months, weeks, days, hours, minutes, seconds, microseconds.
fn shift(moment: &DateTime, args: &[Value], sign: i64) -> Result<DateTime, Error> {
    const UNITS: [&str; 8] = ["years", "months", "weeks", "days", "hours", "minutes", "seconds", "microseconds"];
    let (positional, kwargs): (&[Value], Kwargs) = from_args(args)?;
    if positional.len() > UNITS.len() {
        return Err(Error::from(Engine::TooManyArguments));
    }
    let mut amounts = [0_f64; 8];
    for (index, name) in UNITS.into_iter().enumerate() {
        let value = match positional.get(index) {
            Some(value) => Some(f64::try_from(value.clone())?),
            None => kwargs.get::<Option<f64>>(name)?,
        };
        amounts[index] = value.unwrap_or(0.0);
    }
    kwargs.assert_all_used()?;
    // A fraction is exact only below 2^53 microseconds, 285 years; beyond that whole numbers stay exact in practice.
    let [years, months, weeks, days, hours, minutes, seconds, micros] = amounts;
    let micros = ((hours * 60.0 + minutes) * 60.0 + seconds) * 1_000_000.0 + micros;
    moment.shift(sign * (years * 12.0 + months) as i64, sign * (weeks * 7.0 + days) as i64, sign * micros as i64)
}

fn start_of(moment: &DateTime, unit: &str) -> Result<DateTime, Error> {
    let civil = moment.civil();
    let date = civil.date();
    let start = match unit {
        "second" => return moment.with_field("microsecond", 0),
        "minute" => return moment.with_field("second", 0)?.with_field("microsecond", 0),
        "hour" => return moment.with_field("minute", 0)?.with_field("second", 0)?.with_field("microsecond", 0),
        "day" => date,
        "week" => back(date, i32::from(date.weekday().to_monday_zero_offset()))?,
        "month" => date.first_of_month(),
        "quarter" => civil::Date::new(date.year(), (date.month() - 1) / 3 * 3 + 1, 1).map_err(|_| unknown_unit())?,
        "year" => date.first_of_year(),
        "decade" => civil::Date::new(date.year() / 10 * 10, 1, 1).map_err(|_| unknown_unit())?,
        _ => return Err(unknown_unit()),
    };
    moment.with_civil(start.to_datetime(civil::Time::midnight()))
}

fn end_of(moment: &DateTime, unit: &str) -> Result<DateTime, Error> {
    let start = start_of(moment, unit)?;
    let next = match unit {
        "second" => start.shift(0, 0, 1_000_000)?,
        "minute" => start.shift(0, 0, 60_000_000)?,
        "hour" => start.shift(0, 0, 3_600_000_000)?,
        "day" => start.shift(0, 1, 0)?,
        "week" => start.shift(0, 7, 0)?,
        "month" => start.shift(1, 0, 0)?,
        "quarter" => start.shift(3, 0, 0)?,
        "year" => start.shift(12, 0, 0)?,
        _ => start.shift(120, 0, 0)?,
    };
    next.shift(0, 0, -1)
}

fn back(date: civil::Date, days: i32) -> Result<civil::Date, Error> {
    date.checked_sub(jiff::Span::new().days(days)).map_err(|_| type_error("the date is out of range"))
}

fn unknown_unit() -> Error {
    type_error("expected one of `second`, `minute`, `hour`, `day`, `week`, `month`, `quarter`, `year`, `decade`")
}

/// The next or previous given day of the week (Monday is 0; without one, the same day a week on), at midnight.
fn beside(moment: &DateTime, args: &[Value], direction: i32) -> Result<DateTime, Error> {
    let (day,): (Option<i8>,) = from_args(args)?;
    let date = moment.civil().date();
    let wanted = match day {
        None => date.weekday(),
        Some(day) => Weekday::from_monday_zero_offset(day)
            .map_err(|_| type_error("a day of the week is from 0 (Monday) to 6"))?,
    };
    let found = date.nth_weekday(direction, wanted).map_err(|_| type_error("the date is out of range"))?;
    moment.with_civil(found.to_datetime(civil::Time::midnight()))
}
