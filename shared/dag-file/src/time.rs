//! Durations and dates in every spelling people use.

use crate::reader::Cursor;
use crate::yaml::compose::clip;
use crate::yaml::{Map, Value};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use updraft_timetables::Timezone;

/// What durations may look like, for hints.
const DURATION_FORMS: &str = "write a number of seconds, `90s`, `5m`, `1h 30m`, `2 days`, `PT5M`, or `01:30:00`";

/// What dates may look like, for hints.
const DATE_FORMS: &str =
    "write `2025-01-31`, `2025-01-31T06:00:00`, `2025-01-31T06:00:00+01:00`, or `2 days` for so long before today";

/// The names of `datetime.timedelta`'s arguments in their order, with their length in microseconds.
const TIMEDELTA_PARTS: [(&str, f64); 7] = [
    ("days", 86_400e6),
    ("seconds", 1e6),
    ("microseconds", 1.0),
    ("milliseconds", 1e3),
    ("minutes", 60e6),
    ("hours", 3_600e6),
    ("weeks", 604_800e6),
];

/// The last time of day that is an instant in every zone.
const LAST: DateTime = jiff::civil::datetime(9999, 12, 29, 0, 0, 0, 0);

/// A span of 10,000 years, beyond which Python's `timedelta` and our dates end.
const MICROSECONDS_MAX: f64 = 3.2e17;

/// An instant, and the zone in which it was meant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Moment {
    pub(crate) at: Timestamp,
    pub(crate) zone: Timezone,
}

impl<'a> Cursor<'a> {
    /// A duration that is not negative.
    pub(crate) fn duration(&self) -> Option<SignedDuration> {
        let duration = match &self.node.value {
            Value::Int(seconds) => microseconds(*seconds as f64 * 1e6),
            Value::Float(seconds) => microseconds(*seconds * 1e6),
            Value::Text(text) => duration_from_text(text),
            Value::Map(_) => return self.typed_duration(),
            _ => None,
        };
        self.checked_duration(duration)
    }

    fn checked_duration(&self, duration: Option<SignedDuration>) -> Option<SignedDuration> {
        match duration {
            None => self.wrong_type("a duration", Some(DURATION_FORMS.to_owned())),
            Some(d) if d.is_negative() => {
                self.error("out-of-range", format!("`{}` is negative", self.name), Some(DURATION_FORMS.to_owned()));
                return None;
            }
            Some(_) => {}
        }
        duration
    }

    /// A duration longer than zero.
    pub(crate) fn duration_above_zero(&self) -> Option<SignedDuration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.error("out-of-range", format!("`{}` must be longer than zero", self.name), None);
            return None;
        }
        Some(duration)
    }

    fn typed_duration(&self) -> Option<SignedDuration> {
        let Some((class, map)) = self.typed() else {
            self.wrong_type("a duration", Some(DURATION_FORMS.to_owned()));
            return None;
        };
        if !matches!(class.rsplit('.').next(), Some("timedelta" | "relativedelta" | "duration")) {
            let message = format!("`{}` must be a duration, but has the type `{}`", self.name, clip(class));
            self.error("wrong-type", message, Some("use `__type__: datetime.timedelta`".into()));
            return None;
        }
        let duration = self.timedelta(map)?;
        self.checked_duration(Some(duration))
    }

    /// The sum of a timedelta's parts, negative ones included.
    pub(crate) fn timedelta(&self, map: &'a Map) -> Option<SignedDuration> {
        let mut total = 0.0;
        let mut add = |cursor: &Self, unit: f64| -> Option<()> {
            total += unit * cursor.number()?;
            Some(())
        };
        for (name, cursor) in self.pairs(map) {
            match (name, TIMEDELTA_PARTS.iter().find(|(part, _)| *part == name)) {
                ("__type__", _) => {}
                ("__args__", _) => {
                    let items = cursor.list()?;
                    if items.len() > TIMEDELTA_PARTS.len() {
                        cursor.error("wrong-type", "a timedelta has at most seven parts", None);
                        return None;
                    }
                    for (i, (node, (_, unit))) in items.iter().zip(TIMEDELTA_PARTS).enumerate() {
                        add(&cursor.item(i, node), unit)?;
                    }
                }
                (_, Some((_, unit))) => add(&cursor, *unit)?,
                (_, None) => {
                    let hint = self.sink.did_you_mean(name, TIMEDELTA_PARTS.iter().map(|(n, _)| *n));
                    let message = format!("a duration has no part `{}`", cursor.name);
                    cursor.key_error("unknown-key", message, hint);
                    return None;
                }
            }
        }
        let duration = microseconds(total);
        if duration.is_none() {
            self.error("out-of-range", format!("`{}` is longer than 10,000 years", self.name), None);
        }
        duration
    }

    fn number(&self) -> Option<f64> {
        match self.node.value {
            Value::Int(number) => Some(number as f64),
            Value::Float(number) if number.is_finite() => Some(number),
            _ => {
                self.wrong_type("a number", Some("write digits without quotes, such as `1.5`".to_owned()));
                None
            }
        }
    }

    /// A date or an instant. What names no zone is meant in `zone`; what has an offset of its own keeps it.
    pub(crate) fn moment(&self, zone: &Timezone, now: Timestamp) -> Option<Moment> {
        let found = match &self.node.value {
            Value::Date(date) => in_zone(date.to_datetime(Time::midnight()), zone),
            Value::DateTime(at, None) => in_zone(*at, zone),
            Value::DateTime(at, Some(offset)) => at_offset(*at, *offset),
            Value::Text(text) => moment_from_text(text.trim(), zone, now),
            Value::Map(_) => match self.typed() {
                Some((class, map)) if matches!(class.rsplit('.').next(), Some("datetime" | "date" | "DateTime")) => {
                    return self.typed_datetime(map, zone);
                }
                _ => None,
            },
            _ => None,
        };
        if found.is_none() {
            self.wrong_type("a date", Some(DATE_FORMS.to_owned()));
        }
        found
    }

    /// A [`Cursor::moment`] beside which `timezone` may stand (`is_named`): then an offset of its own is dropped, as dag-factory does.
    pub(crate) fn moment_of_level(&self, zone: &Timezone, is_named: bool, now: Timestamp) -> Option<Moment> {
        let found = self.moment(zone, now)?;
        let is_bracketed = matches!(&self.node.value, Value::Text(text) if text.contains('['));
        if found.zone == *zone || is_bracketed {
            return Some(found);
        }
        if !is_named {
            if found.zone != Timezone::utc() {
                let message = format!("the offset of `{}` counts here; dag-factory drops it and means UTC", self.name);
                let hint = "write the time without an offset, and name its zone with `timezone` beside it";
                self.warn("offset", message, Some(hint.to_owned()));
            }
            return Some(found);
        }
        let wall = found.zone.zone().to_datetime(found.at);
        let meant = in_zone(wall, zone)?;
        if meant.at != found.at {
            let message =
                format!("`{}` has an offset, which `timezone` replaces: {wall} in {}", self.name, zone.name());
            self.warn("offset", message, Some("write the time without an offset".to_owned()));
        }
        Some(meant)
    }

    /// A typed date with time as ISO 8601 text.
    pub(crate) fn typed_datetime_text(&self, map: &'a Map) -> Option<String> {
        let found = self.typed_datetime(map, &Timezone::utc())?;
        let offset = found.zone.zone().to_offset(found.at);
        let zone = if map.get("tzinfo").is_some() { isoformat_offset(offset) } else { String::new() };
        Some(format!("{}{zone}", offset.to_datetime(found.at)))
    }

    /// The zone that a typed date names: text, or a typed zone with its name as first argument.
    fn tzinfo(&self) -> Option<Timezone> {
        let Some((_, map)) = self.typed() else { return self.timezone() };
        let named = ["key", "name", "zone"].iter().find_map(|key| map.entry(key)).map(|e| self.down(e));
        let first = || {
            let args = map.entry("__args__").map(|e| self.down(e))?;
            let node = args.list()?.first()?;
            Some(args.item(0, node))
        };
        let name = named.or_else(first);
        if name.is_none() {
            self.error("missing-key", "this zone has no name", Some("write e.g. `tzinfo: Europe/Paris`".into()));
        }
        name?.timezone()
    }

    fn typed_datetime(&self, map: &'a Map, zone: &Timezone) -> Option<Moment> {
        const PARTS: [(&str, i64, i64); 7] = [
            ("year", 1, 9999),
            ("month", 1, 12),
            ("day", 1, 31),
            ("hour", 0, 23),
            ("minute", 0, 59),
            ("second", 0, 59),
            ("microsecond", 0, 999_999),
        ];
        let mut values: [Option<i64>; 7] = [None; 7];
        let mut read = |cursor: &Self, i: usize| -> Option<()> {
            values[i] = Some(cursor.integer(PARTS[i].1, PARTS[i].2)?);
            Some(())
        };
        let mut own_zone = None;
        for (name, cursor) in self.pairs(map) {
            match (name, PARTS.iter().position(|(part, ..)| *part == name)) {
                ("__type__" | "fold", _) => {}
                ("tzinfo" | "tz", _) if cursor.is_none() => {}
                ("tzinfo" | "tz", _) => own_zone = Some(cursor.tzinfo()?),
                ("__args__", _) => {
                    for (i, node) in cursor.list()?.iter().enumerate().take(PARTS.len()) {
                        read(&cursor.item(i, node), i)?;
                    }
                }
                (_, Some(i)) => read(&cursor, i)?,
                (_, None) => {
                    let hint = self.sink.did_you_mean(name, PARTS.iter().map(|(n, ..)| *n));
                    let message = format!("a typed date has no part `{}`", cursor.name);
                    cursor.key_error("unknown-key", message, hint.or(Some("set `timezone` beside the date".into())));
                    return None;
                }
            }
        }
        let part = |i: usize| values[i].unwrap_or(0);
        let (Some(year), Some(month), Some(day)) = (values[0], values[1], values[2]) else {
            self.error("missing-key", format!("`{}` needs `year`, `month` and `day`", self.name), None);
            return None;
        };
        let date = Date::new(year as i16, month as i8, day as i8).ok();
        let time = Time::new(part(3) as i8, part(4) as i8, part(5) as i8, part(6) as i32 * 1000).ok();
        let found =
            date.zip(time).and_then(|(date, time)| in_zone(date.to_datetime(time), own_zone.as_ref().unwrap_or(zone)));
        if found.is_none() {
            self.error("out-of-range", format!("`{}` names a day that does not exist", self.name), None);
        }
        found
    }

    /// A time zone by name.
    pub(crate) fn timezone(&self) -> Option<Timezone> {
        match Timezone::parse(self.text()?) {
            Ok(zone) => Some(zone),
            Err(error) => {
                self.error("unknown-timezone", error.to_string(), None);
                None
            }
        }
    }
}

/// A wall clock time in a zone. Where clocks go back the first of the two instants is meant, where they go forward the
/// later reading, as Python's `fold=0` has it.
fn in_zone(at: DateTime, zone: &Timezone) -> Option<Moment> {
    // "For ever" is often written as 9999-12-31, which is a day past the last instant there is here.
    let at = at.min(LAST);
    let at = zone.zone().to_ambiguous_timestamp(at).compatible().ok()?;
    Some(Moment { at, zone: zone.clone() })
}

fn at_offset(at: DateTime, offset: Offset) -> Option<Moment> {
    let zone = if offset == Offset::UTC { Timezone::utc() } else { Timezone::parse(&isoformat_offset(offset)).ok()? };
    Some(Moment { at: offset.to_timestamp(at).ok()?, zone })
}

/// `+05:30`, as Python writes an offset.
pub(crate) fn isoformat_offset(offset: Offset) -> String {
    let seconds = offset.seconds();
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn moment_from_text(text: &str, zone: &Timezone, now: Timestamp) -> Option<Moment> {
    if let Some(before) = parts_duration(text) {
        let today = now.to_zoned(zone.zone().clone()).start_of_day().ok()?;
        return Some(Moment { at: today.timestamp().checked_sub(before).ok()?, zone: zone.clone() });
    }
    if let crate::yaml::scalar::Plain::Value(value) = crate::yaml::scalar::timestamp(text) {
        match value {
            Value::Date(date) => return in_zone(date.to_datetime(Time::midnight()), zone),
            Value::DateTime(at, None) => return in_zone(at, zone),
            Value::DateTime(at, Some(offset)) => return at_offset(at, offset),
            _ => {}
        }
    }
    // ISO 8601 forms that YAML does not know: `2025-01-31T06:00`, `20250131`, with a zone in brackets.
    if let Ok(zoned) = text.parse::<jiff::Zoned>() {
        let zone = zoned.time_zone().iana_name().and_then(|name| Timezone::parse(name).ok())?;
        return Some(Moment { at: zoned.timestamp(), zone });
    }
    if let Ok(pieces) = jiff::fmt::temporal::DateTimeParser::new().parse_timestamp(text) {
        return Some(Moment { at: pieces, zone: Timezone::utc() });
    }
    in_zone(text.parse::<DateTime>().ok()?, zone)
}

/// A duration that names its unit, or is in ISO 8601.
pub(crate) fn duration_with_unit(text: &str) -> Option<SignedDuration> {
    let is_number = text.trim().parse::<f64>().is_ok();
    duration_from_text(text).filter(|_| !is_number)
}

fn duration_from_text(text: &str) -> Option<SignedDuration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return microseconds(seconds * 1e6);
    }
    if text.starts_with(['P', 'p']) {
        let span: Span = text.parse().ok()?;
        return span.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
    }
    clock_duration(text).or_else(|| parts_duration(text))
}

/// `HH:MM:SS` with perhaps a fraction; `MM:SS` alone could be taken for hours and minutes and is refused.
fn clock_duration(text: &str) -> Option<SignedDuration> {
    let mut parts = text.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = |s: &str| (!s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())).then(|| s.parse::<u32>().ok())?;
    let (hours, minutes) = (whole(hours)?, whole(minutes).filter(|m| *m < 60)?);
    if parts.next().is_some() || !seconds.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let seconds = seconds.parse::<f64>().ok().filter(|s| *s < 60.0)?;
    microseconds((f64::from(hours) * 3600.0 + f64::from(minutes) * 60.0 + seconds) * 1e6)
}

/// `5m`, `1 days`, `1h 30m`: numbers with units, largest first or not.
fn parts_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim();
    let mut total = 0.0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).filter(|end| *end > 0)?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total += number * unit(&rest[..letters])?;
        rest = rest[letters..].trim_start().trim_start_matches(',').trim_start();
    }
    microseconds(total)
}

/// The length of a unit in microseconds.
fn unit(name: &str) -> Option<f64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 1e3,
        "s" | "sec" | "secs" | "second" | "seconds" => 1e6,
        "m" | "min" | "mins" | "minute" | "minutes" => 60e6,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3_600e6,
        "d" | "day" | "days" => 86_400e6,
        "w" | "week" | "weeks" => 604_800e6,
        _ => return None,
    })
}

fn microseconds(count: f64) -> Option<SignedDuration> {
    (count.abs() <= MICROSECONDS_MAX).then(|| SignedDuration::from_micros(count.round() as i64))
}
