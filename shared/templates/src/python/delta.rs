//! Spans of time: `timedelta`, pendulum's interval between two moments, and dateutil's `relativedelta`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::Span;
use minijinja::value::{DynObject, Kwargs, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind as Engine, State, Value};

use super::moment::DateTime;
use crate::error::type_error;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Python's own bound on a timedelta.
const DAYS_MAX: i64 = 999_999_999;

/// Python's `timedelta`: microseconds, with its own way of printing negatives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeDelta(i64);

impl TimeDelta {
    /// From microseconds; fails beyond Python's range.
    pub(crate) fn from_micros(micros: i128) -> Result<Self, Error> {
        if micros.abs() / i128::from(DAY) > i128::from(DAYS_MAX) {
            return Err(type_error("the timedelta is out of range"));
        }
        i64::try_from(micros).map(Self).map_err(|_| type_error("the timedelta is out of range"))
    }

    /// From `macros.timedelta(days=1, hours=2)`; positional order as in Python.
    pub(crate) fn from_call(args: &[Value]) -> Result<Self, Error> {
        let units = [
            ("days", DAY),
            ("seconds", SECOND),
            ("microseconds", 1),
            ("milliseconds", 1000),
            ("minutes", 60 * SECOND),
            ("hours", 3600 * SECOND),
            ("weeks", 7 * DAY),
        ];
        let (positional, kwargs): (&[Value], Kwargs) = from_args(args)?;
        if positional.len() > units.len() {
            return Err(Error::from(Engine::TooManyArguments));
        }
        let mut micros = 0_i128;
        for (index, (name, factor)) in units.into_iter().enumerate() {
            let value = match positional.get(index) {
                Some(value) => Some(value.clone()),
                None => kwargs.get::<Option<Value>>(name)?,
            };
            if let Some(value) = value {
                micros += scaled(&value, factor)?;
            }
        }
        kwargs.assert_all_used()?;
        Self::from_micros(micros)
    }

    pub(crate) fn micros(self) -> i64 {
        self.0
    }

    pub(crate) fn value(self) -> Value {
        Value::from_object(self)
    }

    pub(crate) fn total_seconds(self) -> f64 {
        self.0 as f64 / SECOND as f64
    }

    fn days(self) -> i64 {
        self.0.div_euclid(DAY)
    }
}

/// `value * factor` in whole microseconds; Python rounds half to even.
fn scaled(value: &Value, factor: i64) -> Result<i128, Error> {
    if value.is_integer() {
        return i64::try_from(value.clone())
            .map(|number| i128::from(number) * i128::from(factor))
            .map_err(|_| type_error("the number is too large for a timedelta"));
    }
    match f64::try_from(value.clone()) {
        Ok(number) if value.is_number() && number.is_finite() => Ok((number * factor as f64).round_ties_even() as i128),
        _ => Err(type_error(format!("a timedelta is made of numbers, not of {}", super::objects::type_name(value)))),
    }
}

impl fmt::Display for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, rest) = (self.days(), self.0.rem_euclid(DAY));
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        let seconds = rest / SECOND;
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if rest % SECOND != 0 {
            write!(f, ".{:06}", rest % SECOND)?;
        }
        Ok(())
    }
}

impl fmt::Debug for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = self.0.rem_euclid(DAY);
        let parts = [("days", self.days()), ("seconds", rest / SECOND), ("microseconds", rest % SECOND)];
        let shown: Vec<String> =
            parts.iter().filter(|(_, value)| *value != 0).map(|(name, value)| format!("{name}={value}")).collect();
        write!(f, "datetime.timedelta({})", if shown.is_empty() { "0".to_owned() } else { shown.join(", ") })
    }
}

impl Object for TimeDelta {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let rest = self.0.rem_euclid(DAY);
        match key {
            "days" => Some(Value::from(self.days())),
            "seconds" => Some(Value::from(rest / SECOND)),
            "microseconds" => Some(Value::from(rest % SECOND)),
            _ => None,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "total_seconds" => {
                let () = from_args(args)?;
                Ok(Value::from(self.total_seconds()))
            }
            _ => Err(Error::from(Engine::UnknownMethod)),
        }
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.0 != 0
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|other| self.as_ref().cmp(other))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What pendulum gives for `end - start`.
pub(crate) struct Interval {
    start: DateTime,
    end: DateTime,
    delta: TimeDelta,
}

impl Interval {
    pub(crate) fn new(start: DateTime, end: DateTime) -> Result<Self, Error> {
        let delta = end.since(&start)?;
        Ok(Self { start, end, delta })
    }

    pub(crate) fn delta(&self) -> TimeDelta {
        self.delta
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Interval [{} -> {}]>", self.start, self.end)
    }
}

impl Object for Interval {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let micros = self.delta.micros();
        match key {
            "start" => Some(self.start.clone().value()),
            "end" => Some(self.end.clone().value()),
            // Toward zero, unlike a plain timedelta's.
            "days" => Some(Value::from(micros / DAY)),
            "microseconds" => Some(Value::from(micros % SECOND)),
            _ => None,
        }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let unit = match method {
            "total_seconds" => {
                let () = from_args(args)?;
                return Ok(Value::from(self.delta.total_seconds()));
            }
            "in_weeks" => 7 * DAY,
            "in_days" => DAY,
            "in_hours" => 3600 * SECOND,
            "in_minutes" => 60 * SECOND,
            "in_seconds" => SECOND,
            _ => return Err(Error::from(Engine::UnknownMethod)),
        };
        let () = from_args(args)?;
        Ok(Value::from(self.delta.micros() / unit))
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.delta.micros() != 0
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|other| self.delta.cmp(&other.delta))
    }
}

/// dateutil's `relativedelta`: first the fields it sets, then the amounts it adds.
#[derive(Debug, Default)]
pub(crate) struct RelativeDelta {
    /// `year`, `month`, `day`, `hour`, `minute`, `second`, `microsecond` to set.
    set: Vec<(&'static str, i64)>,
    months: i64,
    days: i64,
    micros: i64,
}

impl RelativeDelta {
    /// From `relativedelta(months=1, day=31)`.
    pub(crate) fn from_call(args: &[Value]) -> Result<Self, Error> {
        let (kwargs,): (Kwargs,) = from_args(args)?;
        let mut delta = Self::default();
        for name in ["year", "month", "day", "hour", "minute", "second", "microsecond"] {
            if let Some(value) = kwargs.get::<Option<i64>>(name)? {
                delta.set.push((name, value));
            }
        }
        let amount = |name| kwargs.get::<Option<i64>>(name).map(Option::unwrap_or_default);
        let sum = |terms: &[(i64, i64)]| {
            terms
                .iter()
                .try_fold(0_i64, |sum, (count, unit)| sum.checked_add(count.checked_mul(*unit)?))
                .ok_or_else(|| type_error("the relativedelta is out of range"))
        };
        delta.months = sum(&[(amount("years")?, 12), (amount("months")?, 1)])?;
        delta.days = sum(&[(amount("weeks")?, 7), (amount("days")?, 1)])?;
        delta.micros = sum(&[
            (amount("hours")?, 3600 * SECOND),
            (amount("minutes")?, 60 * SECOND),
            (amount("seconds")?, SECOND),
            (amount("microseconds")?, 1),
        ])?;
        kwargs.assert_all_used()?;
        Ok(delta)
    }

    /// `moment + self`, or `moment - self` with `sign` -1.
    pub(crate) fn apply(&self, moment: &DateTime, sign: i64) -> Result<DateTime, Error> {
        let mut moment = moment.clone();
        for (name, value) in &self.set {
            // A day past the month's end means the last day, as in dateutil.
            let value = if *name == "day" { (*value).min(i64::from(moment.civil().days_in_month())) } else { *value };
            moment = moment.with_field(name, value)?;
        }
        moment.shift(sign * self.months, sign * self.days, sign * self.micros)
    }
}

impl Object for RelativeDelta {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

/// How long ago, in pendulum's English: `5 months ago`, or `13 hours before` when compared with a given moment.
pub(crate) fn in_words(moment: &DateTime, other: &DateTime, relative_to_now: bool) -> Result<String, Error> {
    let (early, late) = if moment.since(other)?.micros() < 0 { (moment, other) } else { (other, moment) };
    let span = early.civil_span_to(late)?;
    let (count, unit) = largest_unit(&span);
    let words = match unit {
        "" => "a few seconds".to_owned(),
        unit => format!("{count} {unit}{}", if count == 1 { "" } else { "s" }),
    };
    let past = moment.since(other)?.micros() < 0;
    Ok(match (relative_to_now, past) {
        (true, true) => format!("{words} ago"),
        (true, false) => format!("in {words}"),
        (false, true) => format!("{words} before"),
        (false, false) => format!("{words} after"),
    })
}

/// The largest unit that is not zero, rounded up where the next one nearly fills it.
fn largest_unit(span: &Span) -> (i64, &'static str) {
    let days = i64::from(span.get_days());
    let (years, months) = (i64::from(span.get_years()), i64::from(span.get_months()));
    let (weeks, odd_days) = (days / 7, days % 7);
    let hours = i64::from(span.get_hours());
    let (minutes, seconds) = (span.get_minutes(), span.get_seconds());
    if years > 0 {
        (years + i64::from(months > 6), "year")
    } else if months == 11 && days > 15 {
        (1, "year")
    } else if months > 0 {
        (months + i64::from(days >= 27), "month")
    } else if weeks > 0 {
        (weeks + i64::from(odd_days > 3), "week")
    } else if odd_days > 0 {
        (odd_days + i64::from(hours >= 22), "day")
    } else if hours > 0 {
        (hours, "hour")
    } else if minutes > 0 {
        (minutes, "minute")
    } else if seconds > 10 {
        (seconds, "second")
    } else {
        (0, "")
    }
}

/// A timedelta or the length of an interval.
pub(crate) fn as_delta(value: &Value) -> Option<TimeDelta> {
    value
        .downcast_object_ref::<TimeDelta>()
        .copied()
        .or_else(|| value.downcast_object_ref::<Interval>().map(Interval::delta))
}

/// `delta * number` and `delta / number`.
pub(crate) fn scale(delta: TimeDelta, number: &Value, divide: bool) -> Result<TimeDelta, Error> {
    if number.is_integer() && !divide {
        return TimeDelta::from_micros(scaled(number, 1)? * i128::from(delta.micros()));
    }
    let factor = f64::try_from(number.clone())
        .map_err(|_| type_error(format!("a timedelta cannot be scaled by {}", super::objects::type_name(number))))?;
    if divide && factor == 0.0 {
        return Err(type_error("division by zero"));
    }
    let factor = if divide { 1.0 / factor } else { factor };
    let micros = (delta.micros() as f64 * factor).round_ties_even();
    if !micros.is_finite() {
        return Err(type_error("a timedelta cannot be scaled by a number that is not finite"));
    }
    TimeDelta::from_micros(micros as i128)
}
