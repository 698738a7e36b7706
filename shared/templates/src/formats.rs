//! `'...' % args` and `'...'.format(args)`, with a bound on widths: the engine builds a padded text before it counts it.

use minijinja::formatting::{FormatStyle, format};
use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use crate::error::{ErrorKind, raise};
use crate::python::objects::Enumeration;
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
