//! Formats of dates: Python's `strftime` and `strptime`, and pendulum's own tokens.

use std::fmt::Write as _;

use jiff::civil;
use jiff::fmt::strtime::BrokenDownTime;
use minijinja::Error;

use super::moment::{DateTime, offset_text};
use crate::error::{ErrorKind, raise, type_error};

/// Longest result, in bytes; a format is a few letters, and each yields at most a month's name.
const LENGTH_MAX: usize = 1 << 20;

/// The English names of days, Monday first.
pub(crate) const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
/// The English names of months, by number less one.
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

fn day_name(civil: civil::DateTime) -> &'static str {
    DAYS[civil.weekday().to_monday_zero_offset() as usize]
}

fn month_name(civil: civil::DateTime) -> &'static str {
    MONTHS[civil.month() as usize - 1]
}

/// Python's `strftime`, in the C locale.
pub(crate) fn strftime(moment: &DateTime, format: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            None => out.push('%'),
            // glibc's "no padding".
            Some('-') => {
                let mut padded = String::new();
                if let Some(directive) = chars.next() {
                    write_directive(&mut padded, moment, directive);
                }
                let trimmed = padded.trim_start_matches('0');
                out.push_str(if trimmed.is_empty() && !padded.is_empty() { "0" } else { trimmed });
            }
            Some(directive) => write_directive(&mut out, moment, directive),
        }
        if out.len() > LENGTH_MAX {
            return Err(raise(ErrorKind::Limit, "the formatted date is too long"));
        }
    }
    Ok(out)
}

fn write_directive(out: &mut String, moment: &DateTime, directive: char) {
    let civil = moment.civil();
    let hour12 = (civil.hour() + 11) % 12 + 1;
    let week_day = i16::from(civil.weekday().to_monday_zero_offset());
    let year_day = civil.day_of_year();
    // Writing into a `String` cannot fail.
    let _ = match directive {
        'Y' => write!(out, "{:04}", civil.year()),
        'm' => write!(out, "{:02}", civil.month()),
        'd' => write!(out, "{:02}", civil.day()),
        'H' => write!(out, "{:02}", civil.hour()),
        'M' => write!(out, "{:02}", civil.minute()),
        'S' => write!(out, "{:02}", civil.second()),
        'f' => write!(out, "{:06}", civil.subsec_nanosecond() / 1000),
        'y' => write!(out, "{:02}", civil.year().rem_euclid(100)),
        'C' => write!(out, "{:02}", civil.year() / 100),
        'j' => write!(out, "{year_day:03}"),
        'I' => write!(out, "{hour12:02}"),
        'p' => write!(out, "{}", if civil.hour() < 12 { "AM" } else { "PM" }),
        'a' => write!(out, "{}", &day_name(civil)[..3]),
        'A' => write!(out, "{}", day_name(civil)),
        'b' | 'h' => write!(out, "{}", &month_name(civil)[..3]),
        'B' => write!(out, "{}", month_name(civil)),
        'w' => write!(out, "{}", (week_day + 1) % 7),
        'u' => write!(out, "{}", week_day + 1),
        // Weeks counted from the year's first Sunday or Monday.
        'U' => write!(out, "{:02}", (year_day + 6 - (week_day + 1) % 7) / 7),
        'W' => write!(out, "{:02}", (year_day + 6 - week_day) / 7),
        'V' => write!(out, "{:02}", civil.date().iso_week_date().week()),
        'G' => write!(out, "{:04}", civil.date().iso_week_date().year()),
        'e' => write!(out, "{:2}", civil.day()),
        'k' => write!(out, "{:2}", civil.hour()),
        'l' => write!(out, "{hour12:2}"),
        'F' => write!(out, "{:04}-{:02}-{:02}", civil.year(), civil.month(), civil.day()),
        'T' | 'X' => write!(out, "{:02}:{:02}:{:02}", civil.hour(), civil.minute(), civil.second()),
        'R' => write!(out, "{:02}:{:02}", civil.hour(), civil.minute()),
        'D' | 'x' => write!(out, "{:02}/{:02}/{:02}", civil.month(), civil.day(), civil.year().rem_euclid(100)),
        'c' => write!(
            out,
            "{} {} {:2} {:02}:{:02}:{:02} {:04}",
            &day_name(civil)[..3],
            &month_name(civil)[..3],
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second(),
            civil.year()
        ),
        's' => write!(out, "{}", moment.epoch_seconds()),
        'z' => write!(out, "{}", moment.offset().map(|offset| offset_text(offset, "")).unwrap_or_default()),
        'Z' => write!(out, "{}", moment.abbreviation()),
        'n' => out.write_char('\n'),
        't' => write!(out, "\t"),
        '%' => write!(out, "%"),
        other => write!(out, "%{other}"),
    };
}

/// Python's `datetime.strptime`: what the format does not give is 1900-01-01 00:00:00; with `%z` the result has an offset.
pub(crate) fn strptime(text: &str, format: &str) -> Result<DateTime, Error> {
    let wrong = || type_error("the text does not match the date format");
    let parsed = BrokenDownTime::parse(format, text).map_err(|_| wrong())?;
    let date = match parsed.to_date() {
        Ok(date) => date,
        Err(_) => {
            civil::Date::new(parsed.year().unwrap_or(1900), parsed.month().unwrap_or(1), parsed.day().unwrap_or(1))
                .map_err(|_| wrong())?
        }
    };
    let time = parsed.to_time().unwrap_or(civil::Time::midnight());
    let naive = date.to_datetime(time);
    match parsed.offset() {
        Some(offset) => DateTime::fixed(naive, offset),
        None => Ok(DateTime::naive(naive)),
    }
}

/// The tokens of pendulum's `format`, longest first.
const TOKENS: [&str; 34] = [
    "SSSSSS", "SSSSS", "YYYY", "MMMM", "DDDD", "dddd", "SSSS", "MMM", "DDD", "ddd", "SSS", "YY", "MM", "DD", "Do",
    "dd", "HH", "hh", "mm", "ss", "SS", "ZZ", "Y", "Q", "M", "D", "d", "E", "H", "h", "m", "s", "S", "A",
];

/// pendulum's `format`, in English.
pub(crate) fn format_tokens(moment: &DateTime, format: &str) -> Result<String, Error> {
    let mut out = String::new();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        let literal = rest.strip_prefix('[').and_then(|inside| inside.split_once(']'));
        let token = TOKENS.into_iter().chain(["Z", "X", "x", "z"]).find(|token| rest.starts_with(token));
        if let Some((literal, after)) = literal {
            out.push_str(literal);
            rest = after;
        } else if let Some(token) = token {
            write_token(&mut out, moment, token);
            rest = &rest[token.len()..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
        if out.len() > LENGTH_MAX {
            return Err(raise(ErrorKind::Limit, "the formatted date is too long"));
        }
    }
    Ok(out)
}

fn write_token(out: &mut String, moment: &DateTime, token: &str) {
    let civil = moment.civil();
    let hour12 = (civil.hour() + 11) % 12 + 1;
    let week_day = civil.weekday().to_monday_zero_offset();
    let offset = |separator| moment.offset().map(|offset| offset_text(offset, separator)).unwrap_or_default();
    let _ = match token {
        "YYYY" => write!(out, "{:04}", civil.year()),
        "YY" => write!(out, "{:02}", civil.year().rem_euclid(100)),
        "Y" => write!(out, "{}", civil.year()),
        "Q" => write!(out, "{}", (civil.month() + 2) / 3),
        "MMMM" => write!(out, "{}", month_name(civil)),
        "MMM" => write!(out, "{}", &month_name(civil)[..3]),
        "MM" => write!(out, "{:02}", civil.month()),
        "M" => write!(out, "{}", civil.month()),
        "DDDD" => write!(out, "{:03}", civil.day_of_year()),
        "DDD" => write!(out, "{}", civil.day_of_year()),
        "DD" => write!(out, "{:02}", civil.day()),
        "Do" => write!(out, "{}{}", civil.day(), ordinal(civil.day())),
        "D" => write!(out, "{}", civil.day()),
        "dddd" => write!(out, "{}", day_name(civil)),
        "ddd" => write!(out, "{}", &day_name(civil)[..3]),
        "dd" => write!(out, "{}", &day_name(civil)[..2]),
        "d" => write!(out, "{}", (week_day + 1) % 7),
        "E" => write!(out, "{}", week_day + 1),
        "HH" => write!(out, "{:02}", civil.hour()),
        "H" => write!(out, "{}", civil.hour()),
        "hh" => write!(out, "{hour12:02}"),
        "h" => write!(out, "{hour12}"),
        "mm" => write!(out, "{:02}", civil.minute()),
        "m" => write!(out, "{}", civil.minute()),
        "ss" => write!(out, "{:02}", civil.second()),
        "s" => write!(out, "{}", civil.second()),
        "A" => write!(out, "{}", if civil.hour() < 12 { "AM" } else { "PM" }),
        "ZZ" => write!(out, "{}", offset("")),
        "Z" => write!(out, "{}", offset(":")),
        "z" => write!(out, "{}", moment.zone_name()),
        "X" => write!(out, "{}", moment.epoch_seconds()),
        "x" => write!(out, "{}", moment.epoch_micros() / 1000),
        // As many digits of the second's fraction as there are letters.
        fraction => {
            let micros = format!("{:06}", civil.subsec_nanosecond() / 1000);
            write!(out, "{}", &micros[..fraction.len()])
        }
    };
}

fn ordinal(day: i8) -> &'static str {
    match (day % 10, day / 10) {
        (_, 1) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}
