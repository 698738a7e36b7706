//! `'...' % args` and `'...'.format(args)`, with a bound on widths: the engine builds a padded text before it counts it.

use std::fmt::Write as _;

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use crate::error::{ErrorKind, raise};
use crate::python::moment::DateTime;
use crate::python::objects::Enumeration;
use crate::python::strftime::{DAYS, MONTHS};
use crate::python::text;

/// Widest field and longest precision.
pub(crate) const WIDTH_MAX: u64 = 10_000;
/// Most fields in one format.
const FIELDS_MAX: usize = 1_000;

/// `format % args`.
pub(crate) fn printf(template: &str, args: &[Value]) -> Result<String, Error> {
    let stars = template.contains('*');
    check(template, args, '%', stars)?;
    format(FormatStyle::Printf, template, &printable(args))
}

/// `template.format(args)`.
pub(crate) fn str_format(template: &str, args: &[Value]) -> Result<String, Error> {
    // A width may itself be a field: `{:{}}`.
    let nested = template.split('{').skip(1).any(|part| part.contains(':') && !part.contains('}'));
    check(template, args, '{', nested)?;
    format(FormatStyle::StrFormat, template, &printable(args))
}

/// Refuses a width that is spelled in the template or, where widths can come from the arguments, given in one.
fn check(template: &str, args: &[Value], opening: char, widths_from_args: bool) -> Result<(), Error> {
    if template.matches(opening).count() > FIELDS_MAX {
        return Err(raise(ErrorKind::Limit, format!("a format may have at most {FIELDS_MAX} fields")));
    }
    let spelled = template.split(|c: char| !c.is_ascii_digit()).any(|digits| !digits.is_empty() && is_wide(digits));
    let given = widths_from_args && args.iter().any(holds_wide_number);
    if spelled || given {
        return Err(raise(ErrorKind::Limit, format!("a format's width may be at most {WIDTH_MAX}")));
    }
    Ok(())
}

fn is_wide(digits: &str) -> bool {
    digits.parse::<u64>().map_or(true, |width| width > WIDTH_MAX)
}

/// Named arguments come in one map, hence the look inside.
fn holds_wide_number(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Number => {
            i128::try_from(value.clone()).map_or(true, |number| number.unsigned_abs() > u128::from(WIDTH_MAX))
        }
        ValueKind::String => {
            value.as_str().is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && is_wide(digits))
        }
        ValueKind::Map => value
            .try_iter()
            .is_ok_and(|mut keys| keys.any(|key| value.get_item(&key).is_ok_and(|item| holds_wide_number(&item)))),
        _ => false,
    }
}

/// The engine prints `none`, `true` and our objects in its own way; give it the texts Python would print.
fn printable(args: &[Value]) -> Vec<Value> {
    args.iter()
        .map(|value| match value.kind() {
            _ if value.is_kwargs() => value.clone(),
            ValueKind::None | ValueKind::Seq | ValueKind::Iterable => Value::from(text::to_str(value)),
            ValueKind::Plain => match value.downcast_object_ref::<Enumeration>() {
                Some(member) => Value::from(member.value.as_str()),
                None => Value::from(text::to_str(value)),
            },
            _ => value.clone(),
        })
        .collect()
}

/// A date by a pattern of Unicode's CLDR (`EEEE dd MMMM yyyy`), as `ds_format_locale` writes it. Names are there in English only.
pub(crate) fn locale_date(moment: &DateTime, pattern: &str, locale: &str) -> Result<String, Error> {
    let civil = moment.civil();
    let is_english = locale.split(['_', '-']).next() == Some("en");
    let name = |names: &[&str], index: usize, length: usize| {
        if !is_english {
            let message = "names of days and months are available in English only; write the date with numbers";
            return Err(raise(ErrorKind::Unsupported, message));
        }
        let full = names.get(index).copied().unwrap_or_default();
        Ok(match length {
            4 => full.to_owned(),
            5 => full.chars().take(1).collect(),
            _ => full.chars().take(3).collect(),
        })
    };
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\'' {
            // Quoted text; two quotes are one.
            if chars.next_if_eq(&'\'').is_some() {
                out.push('\'');
                continue;
            }
            while let Some(quoted) = chars.next() {
                if quoted != '\'' {
                    out.push(quoted);
                } else if chars.next_if_eq(&'\'').is_some() {
                    out.push('\'');
                } else {
                    break;
                }
            }
            continue;
        }
        if !c.is_ascii_alphabetic() {
            out.push(c);
            continue;
        }
        let mut length = 1;
        while chars.next_if_eq(&c).is_some() {
            length += 1;
        }
        if length as u64 > WIDTH_MAX {
            return Err(raise(ErrorKind::Limit, format!("a width may be at most {WIDTH_MAX}")));
        }
        let month = civil.month().unsigned_abs().into();
        let hour = civil.hour().unsigned_abs();
        let number: u32 = match c {
            'y' | 'u' | 'Y' if length == 2 => u32::from(civil.year().unsigned_abs()) % 100,
            'y' | 'u' => civil.year().unsigned_abs().into(),
            'M' | 'L' if length > 2 => {
                out.push_str(&name(&MONTHS, month as usize - 1, length)?);
                continue;
            }
            'M' | 'L' => month,
            'E' | 'c' | 'e' => {
                out.push_str(&name(&DAYS, civil.weekday().to_monday_zero_offset().unsigned_abs().into(), length)?);
                continue;
            }
            'a' => {
                out.push_str(if hour < 12 { "AM" } else { "PM" });
                continue;
            }
            'd' => civil.day().unsigned_abs().into(),
            'D' => civil.day_of_year().unsigned_abs().into(),
            'H' => hour.into(),
            'h' => ((u32::from(hour) + 11) % 12) + 1,
            'K' => u32::from(hour) % 12,
            'k' => ((u32::from(hour) + 23) % 24) + 1,
            'm' => civil.minute().unsigned_abs().into(),
            's' => civil.second().unsigned_abs().into(),
            'Q' => (month - 1) / 3 + 1,
            other => {
                let message = format!("the field `{other}` of a date pattern is not available");
                return Err(raise(ErrorKind::Unsupported, message));
            }
        };
        // Writing into a `String` cannot fail.
        let _ = write!(out, "{number:0length$}");
    }
    Ok(out)
}
