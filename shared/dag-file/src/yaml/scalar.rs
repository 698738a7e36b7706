//! What a plain scalar means under YAML 1.1, by the implicit resolvers and constructors of PyYAML 6.0.3.

use super::Value;
use jiff::{civil, tz::Offset};

/// A plain scalar, resolved.
#[derive(Debug)]
pub(crate) enum Plain {
    /// A value.
    Value(Value),
    /// `<<`: as a key, it merges.
    Merge,
    /// `=`: text as a key, and nothing as a value.
    Default,
    /// Looks like a date or number, but is none: what and why.
    Invalid(&'static str),
}

/// Resolves a plain (unquoted, untagged) scalar.
pub(crate) fn resolve(text: &str) -> Plain {
    let value = match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Value::Bool(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Value::Bool(false),
        "<<" => return Plain::Merge,
        "=" => return Plain::Default,
        _ => {
            // Only these can begin a number or a date; everything else is text without a further look.
            if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
                Value::Text(text.into())
            } else if let Some(number) = float(text) {
                Value::Float(number)
            } else if let Some(number) = int(text) {
                number
            } else {
                return timestamp(text);
            }
        }
    };
    Plain::Value(value)
}

/// A whole number: decimal, binary, octal (`0` in front), hexadecimal, or base 60 (`1:30`).
pub(crate) fn int(text: &str) -> Option<Value> {
    let (negative, body) = unsigned(text);
    let digits: String = body.chars().filter(|c| *c != '_').collect();
    let (radix, digits) = if body == "0" {
        (10, digits)
    } else if let Some(rest) = body.strip_prefix("0b") {
        (2, of(rest, |c| matches!(c, '0' | '1' | '_')).then(|| digits[2..].to_owned())?)
    } else if let Some(rest) = body.strip_prefix("0x") {
        (16, of(rest, |c| c.is_ascii_hexdigit() || c == '_').then(|| digits[2..].to_owned())?)
    } else if let Some(rest) = body.strip_prefix('0') {
        (8, of(rest, |c| matches!(c, '0'..='7' | '_')).then_some(digits)?)
    } else if body.contains(':') {
        return sixties(body, negative);
    } else {
        let fits = body.starts_with(|c: char| c.is_ascii_digit()) && of(body, |c| c.is_ascii_digit() || c == '_');
        (10, fits.then_some(digits)?)
    };
    if digits.is_empty() {
        return None;
    }
    Some(whole(i128::from_str_radix(&digits, radix).ok(), negative, text))
}

/// `[1-9][0-9_]*(:[0-5]?[0-9])+`
fn sixties(body: &str, negative: bool) -> Option<Value> {
    let mut parts = body.split(':');
    let first = parts.next()?;
    if !first.starts_with(|c: char| matches!(c, '1'..='9')) || !of(first, |c| c.is_ascii_digit() || c == '_') {
        return None;
    }
    let mut total: Option<i128> = first.replace('_', "").parse().ok();
    for part in parts {
        let part = sixtieth(part)?;
        total = total.and_then(|t| t.checked_mul(60)).and_then(|t| t.checked_add(part.into()));
    }
    Some(whole(total, negative, body))
}

fn whole(value: Option<i128>, negative: bool, text: &str) -> Value {
    match value.map(|v| if negative { -v } else { v }) {
        Some(v) if v >= i64::MIN.into() && v <= u64::MAX.into() => Value::Int(v),
        _ => Value::Huge(text.into()),
    }
}

/// One digit group of a base 60 number: `[0-5]?[0-9]`.
fn sixtieth(text: &str) -> Option<u8> {
    let fits = matches!(text.as_bytes(), [b'0'..=b'9'] | [b'0'..=b'5', b'0'..=b'9']);
    fits.then(|| text.parse().ok()).flatten()
}

/// A decimal number. PyYAML wants a point, and a sign in the exponent: `1e3` is text.
pub(crate) fn float(text: &str) -> Option<f64> {
    let (negative, body) = unsigned(text);
    let signed = body.len() != text.len();
    let sign = if negative { -1.0 } else { 1.0 };
    match body {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if !signed => return Some(f64::NAN),
        _ => {}
    }
    let (whole, fraction) = body.split_once('.')?;
    if let Some((first, rest)) = whole.split_once(':') {
        if !starts_with_digit(first)
            || !of(first, |c| c.is_ascii_digit() || c == '_')
            || !fraction.chars().all(|c| c.is_ascii_digit() || c == '_')
        {
            return None;
        }
        let mut total: f64 = first.replace('_', "").parse().ok()?;
        for part in rest.split(':') {
            total = total * 60.0 + f64::from(sixtieth(part)?);
        }
        let fraction: f64 = format!("0.{}", fraction.replace('_', "")).parse().ok()?;
        return Some(sign * (total + fraction));
    }
    let (fraction, exponent) = match fraction.find(['e', 'E']) {
        Some(at) => (&fraction[..at], Some(&fraction[at + 1..])),
        None => (fraction, None),
    };
    let leads = if whole.is_empty() {
        !signed && starts_with_digit(fraction)
    } else {
        starts_with_digit(whole) && of(whole, |c| c.is_ascii_digit() || c == '_')
    };
    let exponent_fits =
        exponent.is_none_or(|e| e.strip_prefix(['-', '+']).is_some_and(|digits| of(digits, |c| c.is_ascii_digit())));
    if !leads || !exponent_fits || !fraction.chars().all(|c| c.is_ascii_digit() || c == '_') {
        return None;
    }
    body.replace('_', "").parse::<f64>().ok().map(|f| sign * f)
}

/// `2025-01-31`, or with a time after `T` or blanks and perhaps a zone.
pub(crate) fn timestamp(text: &str) -> Plain {
    let as_text = || Plain::Value(Value::Text(text.into()));
    let Some(parts) = split_timestamp(text) else { return as_text() };
    let Ok(date) = civil::Date::new(parts.year, parts.month, parts.day) else {
        return Plain::Invalid("looks like a date, but there is no such day");
    };
    let Some(time) = parts.time else { return Plain::Value(Value::Date(date)) };
    match civil::Time::new(time.hour, time.minute, time.second, time.nanosecond) {
        Ok(time) => Plain::Value(Value::DateTime(date.to_datetime(time), parts.offset)),
        Err(_) => Plain::Invalid("looks like a date with time, but there is no such time of day"),
    }
}

struct Timestamp {
    year: i16,
    month: i8,
    day: i8,
    time: Option<Time>,
    offset: Option<Offset>,
}

struct Time {
    hour: i8,
    minute: i8,
    second: i8,
    nanosecond: i32,
}

fn split_timestamp(text: &str) -> Option<Timestamp> {
    if !text.is_ascii() || text.len() < 8 {
        return None;
    }
    let date_end = text.find(['T', 't', ' ', '\t']).unwrap_or(text.len());
    let (date, rest) = text.split_at(date_end);
    let mut fields = date.split('-');
    let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
    // A date alone must have two digits each; before a time one digit will do.
    let two = if rest.is_empty() { 2 } else { 1 };
    if fields.next().is_some() || year.len() != 4 {
        return None;
    }
    let mut stamp = Timestamp {
        year: digits(year, 4, 4)? as i16,
        month: digits(month, two, 2)? as i8,
        day: digits(day, two, 2)? as i8,
        time: None,
        offset: None,
    };
    if rest.is_empty() {
        return Some(stamp);
    }
    let rest = match rest.strip_prefix(['T', 't']) {
        Some(rest) => rest,
        None => rest.trim_start_matches([' ', '\t']),
    };
    let clock_end = rest.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == '.')).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(clock_end);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let mut fields = clock.split(':');
    let (hour, minute, second) = (fields.next()?, fields.next()?, fields.next()?);
    if fields.next().is_some() || !fraction.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    // Python keeps microseconds and drops what is finer.
    let micros: String = fraction.chars().chain("000000".chars()).take(6).collect();
    stamp.time = Some(Time {
        hour: digits(hour, 1, 2)? as i8,
        minute: digits(minute, 2, 2)? as i8,
        second: digits(second, 2, 2)? as i8,
        nanosecond: micros.parse::<i32>().ok()? * 1000,
    });
    let zone = zone.trim_start_matches([' ', '\t']);
    stamp.offset = match zone {
        "" => None,
        "Z" => Some(Offset::UTC),
        _ => Some(offset(zone)?),
    };
    Some(stamp)
}

fn offset(text: &str) -> Option<Offset> {
    let (negative, body) = unsigned(text);
    if body.len() == text.len() {
        return None;
    }
    let (hours, minutes) = body.split_once(':').unwrap_or((body, "00"));
    let seconds = digits(hours, 1, 2)? * 3600 + digits(minutes, 2, 2)? * 60;
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok()
}

fn digits(text: &str, shortest: usize, longest: usize) -> Option<i32> {
    let fits = (shortest..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

fn unsigned(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn of(text: &str, allowed: impl Fn(char) -> bool) -> bool {
    !text.is_empty() && text.chars().all(allowed)
}

fn starts_with_digit(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}
