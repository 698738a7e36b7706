//! Points in time: `datetime` (plain or pendulum's), `date` and `time`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::civil;
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Span, Timestamp, Unit, Zoned};
use minijinja::value::{DynObject, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind as Engine, State, Value};

use super::delta::TimeDelta;
use super::strftime::strftime;
use crate::error::type_error;

/// A point in time with microseconds; without a zone it is "naive", as in Python.
#[derive(Clone)]
pub(crate) struct DateTime {
    when: When,
    /// pendulum's class, with many more methods than the standard library's.
    pendulum: bool,
}

#[derive(Clone)]
enum When {
    Naive(civil::DateTime),
    Aware(Zoned),
}

fn out_of_range<E>(_: E) -> Error {
    type_error("the date is out of range: Python's dates go from year 1 to 9999")
}

/// The zone of that IANA name, from the bundled database, so that every machine agrees.
pub(crate) fn zone(name: &str) -> Result<TimeZone, Error> {
    static DATABASE: OnceLock<TimeZoneDatabase> = OnceLock::new();
    if name.eq_ignore_ascii_case("utc") {
        return Ok(TimeZone::UTC);
    }
    DATABASE
        .get_or_init(TimeZoneDatabase::bundled)
        .get(name)
        .map_err(|_| type_error("there is no time zone of that name"))
}

/// `+05:45` with `:`, `+0545` with nothing; seconds only where there are some.
pub(crate) fn offset_text(offset: Offset, separator: &str) -> String {
    let seconds = offset.seconds().abs();
    let sign = if offset.seconds() < 0 { '-' } else { '+' };
    let mut text = format!("{sign}{:02}{separator}{:02}", seconds / 3600, seconds / 60 % 60);
    if seconds % 60 != 0 {
        text.extend([separator, &format!("{:02}", seconds % 60)]);
    }
    text
}

impl DateTime {
    /// What the context holds: pendulum's class, in UTC, cut to microseconds.
    pub(crate) fn utc(instant: Timestamp) -> Self {
        let micros = instant.as_microsecond();
        let instant = Timestamp::from_microsecond(micros).unwrap_or(instant);
        Self { when: When::Aware(instant.to_zoned(TimeZone::UTC)), pendulum: true }
    }

    /// The standard library's class without a zone.
    pub(crate) fn naive(civil: civil::DateTime) -> Self {
        Self { when: When::Naive(civil), pendulum: false }
    }

    /// The standard library's class at a fixed offset.
    pub(crate) fn fixed(civil: civil::DateTime, offset: Offset) -> Result<Self, Error> {
        Self::naive(civil).in_zone(TimeZone::fixed(offset))
    }

    /// The same wall clock in a zone (a time that the zone skips moves forward).
    pub(crate) fn in_zone(&self, zone: TimeZone) -> Result<Self, Error> {
        let zoned = zone.to_zoned(self.civil()).map_err(out_of_range)?;
        Ok(Self { when: When::Aware(zoned), pendulum: self.pendulum })
    }

    /// The same instant in another zone; a naive one counts as UTC.
    pub(crate) fn to_zone(&self, zone: TimeZone) -> Result<Self, Error> {
        let zoned = match &self.when {
            When::Aware(zoned) => zoned.with_time_zone(zone),
            When::Naive(civil) => TimeZone::UTC.to_zoned(*civil).map_err(out_of_range)?.with_time_zone(zone),
        };
        Ok(Self { when: When::Aware(zoned), pendulum: self.pendulum })
    }

    pub(crate) fn without_zone(&self) -> Self {
        Self { when: When::Naive(self.civil()), pendulum: self.pendulum }
    }

    pub(crate) fn value(self) -> Value {
        Value::from_object(self)
    }

    pub(crate) fn is_pendulum(&self) -> bool {
        self.pendulum
    }

    /// The wall clock.
    pub(crate) fn civil(&self) -> civil::DateTime {
        match &self.when {
            When::Naive(civil) => *civil,
            When::Aware(zoned) => zoned.datetime(),
        }
    }

    /// The same zone, another wall clock.
    pub(crate) fn with_civil(&self, civil: civil::DateTime) -> Result<Self, Error> {
        if !(1..=9999).contains(&civil.year()) {
            return Err(out_of_range(()));
        }
        match &self.when {
            When::Naive(_) => Ok(Self { when: When::Naive(civil), pendulum: self.pendulum }),
            When::Aware(zoned) => {
                Self { when: When::Naive(civil), pendulum: self.pendulum }.in_zone(zoned.time_zone().clone())
            }
        }
    }

    /// One field replaced.
    pub(crate) fn with_field(&self, field: &str, value: i64) -> Result<Self, Error> {
        let with = self.civil().with();
        let small = || i8::try_from(value).map_err(out_of_range);
        let with = match field {
            "year" => with.year(i16::try_from(value).map_err(out_of_range)?),
            "month" => with.month(small()?),
            "day" => with.day(small()?),
            "hour" => with.hour(small()?),
            "minute" => with.minute(small()?),
            "second" => with.second(small()?),
            _ if (0..1_000_000).contains(&value) => with.subsec_nanosecond(value as i32 * 1000),
            _ => return Err(out_of_range(())),
        };
        self.with_civil(with.build().map_err(out_of_range)?)
    }

    pub(crate) fn offset(&self) -> Option<Offset> {
        match &self.when {
            When::Naive(_) => None,
            When::Aware(zoned) => Some(zoned.offset()),
        }
    }

    /// The zone's name: `UTC`, `Europe/Paris`, `+02:00`, or nothing.
    pub(crate) fn zone_name(&self) -> String {
        match &self.when {
            When::Naive(_) => String::new(),
            When::Aware(zoned) => {
                zoned.time_zone().iana_name().map_or_else(|| offset_text(zoned.offset(), ":"), str::to_owned)
            }
        }
    }

    /// The zone's abbreviation at this moment: `UTC`, `CET`.
    pub(crate) fn abbreviation(&self) -> String {
        match &self.when {
            When::Naive(_) => String::new(),
            When::Aware(zoned) => match zoned.time_zone().to_fixed_offset() {
                Ok(offset) if offset.seconds() != 0 => format!("UTC{}", offset_text(offset, ":")),
                _ => zoned.time_zone().to_offset_info(zoned.timestamp()).abbreviation().to_owned(),
            },
        }
    }

    fn instant(&self) -> Result<Timestamp, Error> {
        match &self.when {
            When::Aware(zoned) => Ok(zoned.timestamp()),
            When::Naive(civil) => TimeZone::UTC.to_timestamp(*civil).map_err(out_of_range),
        }
    }

    pub(crate) fn epoch_micros(&self) -> i64 {
        self.instant().map(Timestamp::as_microsecond).unwrap_or_default()
    }

    pub(crate) fn epoch_seconds(&self) -> i64 {
        self.epoch_micros().div_euclid(1_000_000)
    }

    /// `self - other`; Python refuses to mix naive and aware.
    pub(crate) fn since(&self, other: &Self) -> Result<TimeDelta, Error> {
        if self.offset().is_some() != other.offset().is_some() {
            return Err(type_error("cannot compute with a datetime that has a time zone and one that has none"));
        }
        TimeDelta::from_micros(i128::from(self.epoch_micros()) - i128::from(other.epoch_micros()))
    }

    /// Years, months, days and so on up to a later moment, counted on UTC's calendar.
    pub(crate) fn civil_span_to(&self, later: &Self) -> Result<Span, Error> {
        let utc = |moment: &Self| moment.to_zone(TimeZone::UTC).map(|moment| moment.civil());
        let span = utc(self)?.until((Unit::Year, utc(later)?)).map_err(out_of_range)?;
        Ok(span)
    }

    /// Months and days on the calendar, then microseconds on the time line.
    pub(crate) fn shift(&self, months: i64, days: i64, micros: i64) -> Result<Self, Error> {
        let mut moved = self.clone();
        if months != 0 || days != 0 {
            // One span cannot hold two signs.
            let civil = self
                .civil()
                .checked_add(Span::new().try_months(months).map_err(out_of_range)?)
                .and_then(|civil| civil.checked_add(Span::new().try_days(days)?))
                .map_err(out_of_range)?;
            moved = moved.with_civil(civil)?;
        }
        moved.plus(TimeDelta::from_micros(i128::from(micros))?)
    }

    /// `self + delta`, on the time line.
    pub(crate) fn plus(&self, delta: TimeDelta) -> Result<Self, Error> {
        let duration = SignedDuration::from_micros(delta.micros());
        let when = match &self.when {
            When::Naive(civil) => When::Naive(civil.checked_add(duration).map_err(out_of_range)?),
            When::Aware(zoned) => When::Aware(zoned.checked_add(duration).map_err(out_of_range)?),
        };
        let moved = Self { when, pendulum: self.pendulum };
        if (1..=9999).contains(&moved.civil().year()) { Ok(moved) } else { Err(out_of_range(())) }
    }

    /// Python's `isoformat`.
    pub(crate) fn isoformat(&self, separator: char) -> String {
        let civil = self.civil();
        let mut text = format!("{}{separator}{}", date_text(civil.date()), time_text(civil.time()));
        if let Some(offset) = self.offset() {
            text.push_str(&offset_text(offset, ":"));
        }
        text
    }
}

pub(crate) fn date_text(date: civil::Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

pub(crate) fn time_text(time: civil::Time) -> String {
    let whole = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    match time.subsec_nanosecond() / 1000 {
        0 => whole,
        micros => format!("{whole}.{micros:06}"),
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.isoformat(' '))
    }
}

impl fmt::Debug for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.civil();
        let (second, micros) = (civil.second(), civil.subsec_nanosecond() / 1000);
        let name = if self.pendulum { "DateTime" } else { "datetime.datetime" };
        write!(f, "{name}({}, {}, {}, {}, {}", civil.year(), civil.month(), civil.day(), civil.hour(), civil.minute())?;
        if self.pendulum || second != 0 || micros != 0 {
            write!(f, ", {second}")?;
        }
        if micros != 0 {
            write!(f, ", {micros}")?;
        }
        if self.offset().is_some() {
            write!(f, ", tzinfo=Timezone('{}')", self.zone_name())?;
        }
        f.write_str(")")
    }
}

impl Object for DateTime {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        super::moment_methods::attribute(self, key)
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        super::moment_methods::call(self, state, method, args)
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        (self.offset().is_some() == other.offset().is_some()).then(|| self.epoch_micros().cmp(&other.epoch_micros()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A calendar day.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Date(pub civil::Date);

impl fmt::Debug for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datetime.date({}, {}, {})", self.0.year(), self.0.month(), self.0.day())
    }
}

impl Object for Date {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "year" => Some(Value::from(self.0.year())),
            "month" => Some(Value::from(self.0.month())),
            "day" => Some(Value::from(self.0.day())),
            _ => None,
        }
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "strftime" => {
                let (format,): (&str,) = from_args(args)?;
                strftime(&DateTime::naive(self.0.to_datetime(civil::Time::midnight())), format).map(Value::from)
            }
            "isoformat" => from_args(args).map(|()| Value::from(date_text(self.0))),
            "weekday" => from_args(args).map(|()| Value::from(self.0.weekday().to_monday_zero_offset())),
            "isoweekday" => from_args(args).map(|()| Value::from(self.0.weekday().to_monday_one_offset())),
            _ => Err(Error::from(Engine::UnknownMethod)),
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|other| self.0.cmp(&other.0))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&date_text(self.0))
    }
}

/// A time of day.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub civil::Time);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "datetime.time({}, {})", self.0.hour(), self.0.minute())
    }
}

impl Object for Time {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "hour" => Some(Value::from(self.0.hour())),
            "minute" => Some(Value::from(self.0.minute())),
            "second" => Some(Value::from(self.0.second())),
            "microsecond" => Some(Value::from(self.0.subsec_nanosecond() / 1000)),
            _ => None,
        }
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "strftime" => {
                let (format,): (&str,) = from_args(args)?;
                strftime(&self.on_day_zero(), format).map(Value::from)
            }
            "isoformat" => from_args(args).map(|()| Value::from(time_text(self.0))),
            _ => Err(Error::from(Engine::UnknownMethod)),
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|other| self.0.cmp(&other.0))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&time_text(self.0))
    }
}

impl Time {
    /// Python formats a bare time as if it were on 1 January 1900.
    pub(crate) fn on_day_zero(&self) -> DateTime {
        DateTime::naive(civil::date(1900, 1, 1).to_datetime(self.0))
    }
}
