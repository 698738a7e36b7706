//! Filters: Airflow's five for dates, and jinja2's where the engine has none or another result.

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, State, Value};

use crate::error::{ErrorKind, raise, type_error};
use crate::formats::{self, WIDTH_MAX};
use crate::fuel::{charge, charge_bytes};
use crate::operators::defined;
use crate::python::json::{self, Style};
use crate::python::moment::{Date, DateTime, Time, date_text, time_text};
use crate::python::objects::type_name;
use crate::python::strftime::strftime;
use crate::python::text;

/// Refuses undefined values, and charges for reading the others.
fn readable(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    defined(value)?;
    charge(state, value)
}

/// Adds the filters to an environment.
pub(crate) fn install(env: &mut Environment<'static>) {
    env.add_filter("ds", |value: Value| formatted(&value, "%Y-%m-%d"));
    env.add_filter("ds_nodash", |value: Value| formatted(&value, "%Y%m%d"));
    env.add_filter("ts", |value: Value| isoformat(&value));
    env.add_filter("ts_nodash", |value: Value| formatted(&value, "%Y%m%dT%H%M%S"));
    env.add_filter("ts_nodash_with_tz", |value: Value| {
        let iso = isoformat(&value)?;
        Ok::<_, Error>(iso.as_str().map(|iso| Value::from(iso.replace(['-', ':'], ""))).unwrap_or(iso))
    });
    env.add_filter("tojson", |state: &State, value: Value, indent: Option<usize>, kwargs: Kwargs| {
        readable(state, &value)?;
        tojson(&value, indent, &kwargs)
    });
    env.add_filter("string", |state: &State, value: Value| readable(state, &value).map(|()| text::to_str(&value)));
    env.add_filter("pprint", |state: &State, value: Value| readable(state, &value).map(|()| text::to_repr(&value)));
    env.add_filter("join", join);
    env.add_filter("format", |state: &State, template: Value, args: Rest<Value>| {
        readable(state, &template)?;
        args.iter().try_for_each(|arg| charge(state, arg))?;
        formats::printf(&text::to_str(&template), &args)
    });
    env.add_filter("center", |state: &State, value: Value, width: Option<u64>| {
        readable(state, &value)?;
        center(&value, width.unwrap_or(80))
    });
    env.add_filter("wordcount", |state: &State, value: Value| {
        readable(state, &value).map(|()| {
            text::to_str(&value).split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).count()
        })
    });
    env.add_filter("truncate", truncate);
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("filesizeformat", |size: f64, binary: Option<bool>| filesize(size, binary.unwrap_or(false)));
    env.add_filter("striptags", |state: &State, value: Value| {
        readable(state, &value).map(|()| striptags(&text::to_str(&value)))
    });
}

/// `strftime` of a datetime, date or time. None stays None; a text has no `strftime` (group `filters`).
fn formatted(value: &Value, format: &str) -> Result<Value, Error> {
    defined(value)?;
    let moment = if value.is_none() {
        return Ok(Value::from(()));
    } else if let Some(moment) = value.downcast_object_ref::<DateTime>() {
        moment.clone()
    } else if let Some(date) = value.downcast_object_ref::<Date>() {
        DateTime::naive(date.0.to_datetime(jiff::civil::Time::midnight()))
    } else if let Some(time) = value.downcast_object_ref::<Time>() {
        time.on_day_zero()
    } else {
        return Err(no_date(value));
    };
    strftime(&moment, format).map(Value::from)
}

fn isoformat(value: &Value) -> Result<Value, Error> {
    defined(value)?;
    if value.is_none() {
        Ok(Value::from(()))
    } else if let Some(moment) = value.downcast_object_ref::<DateTime>() {
        Ok(Value::from(moment.isoformat('T')))
    } else if let Some(date) = value.downcast_object_ref::<Date>() {
        Ok(Value::from(date_text(date.0)))
    } else if let Some(time) = value.downcast_object_ref::<Time>() {
        Ok(Value::from(time_text(time.0)))
    } else {
        Err(no_date(value))
    }
}

fn no_date(value: &Value) -> Error {
    type_error(format!("this filter is for dates, not for {}", type_name(value)))
}

/// jinja2's `tojson`: keys sorted, ASCII, safe inside HTML.
fn tojson(value: &Value, indent: Option<usize>, kwargs: &Kwargs) -> Result<Value, Error> {
    defined(value)?;
    let indent = match indent {
        Some(indent) => Some(indent),
        None => kwargs.get::<Option<usize>>("indent")?,
    };
    kwargs.assert_all_used()?;
    check_width(indent.unwrap_or(0) as u64)?;
    json::dumps(value, Style { sort_keys: true, indent, html_safe: true }).map(Value::from_safe_string)
}

fn join(state: &State, value: Value, separator: Option<Value>, attribute: Option<&str>) -> Result<String, Error> {
    if value.is_undefined() && state.undefined_behavior() != minijinja::UndefinedBehavior::Strict {
        return Ok(String::new());
    }
    defined(&value)?;
    let separator = separator.map(|separator| text::to_str(&separator)).unwrap_or_default();
    let mut joined = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        if index > 0 {
            joined.push_str(&separator);
        }
        let item = match attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        let before = joined.len();
        joined.push_str(&text::to_str(&item));
        // What is made before the engine sees it must be paid for as it grows.
        state.consume_fuel((joined.len() - before + separator.len()) as u64 / 64 + 1)?;
    }
    Ok(joined)
}

fn check_width(width: u64) -> Result<(), Error> {
    if width > WIDTH_MAX {
        return Err(raise(ErrorKind::Limit, format!("a width may be at most {WIDTH_MAX}")));
    }
    Ok(())
}

/// Python's `str.center`: of an odd rest, the left gets more only if the width is odd.
pub(crate) fn center(value: &Value, width: u64) -> Result<String, Error> {
    defined(value)?;
    check_width(width)?;
    let text = text::to_str(value);
    let (width, length) = (width as usize, text.chars().count());
    let rest = width.saturating_sub(length);
    let left = rest / 2 + (rest & width & 1);
    Ok(format!("{}{text}{}", " ".repeat(left), " ".repeat(rest - left)))
}

/// `str.ljust`, `rjust` and `zfill`.
pub(crate) fn justify(text: &str, width: u64, fill: char, left: bool) -> Result<String, Error> {
    check_width(width)?;
    let rest = (width as usize).saturating_sub(text.chars().count());
    let padding: String = std::iter::repeat_n(fill, rest).collect();
    Ok(if left { format!("{text}{padding}") } else { format!("{padding}{text}") })
}

/// Length, whether to cut words, the end, the leeway.
type Truncation<'a> = (Option<usize>, Option<bool>, Option<&'a str>, Option<usize>, Kwargs);

fn truncate(state: &State, value: Value, args: Rest<Value>) -> Result<String, Error> {
    readable(state, &value)?;
    let (length, kill_words, end, leeway, kwargs): Truncation<'_> = from_args(&args)?;
    let length = length.or(kwargs.get("length")?).unwrap_or(255);
    let kill_words = kill_words.or(kwargs.get("killwords")?).unwrap_or(false);
    let end = end.or(kwargs.get("end")?).unwrap_or("...").to_owned();
    let leeway = leeway.or(kwargs.get("leeway")?).unwrap_or(5);
    kwargs.assert_all_used()?;
    let text = text::to_str(&value);
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept = length
        .checked_sub(end.chars().count())
        .ok_or_else(|| type_error("`truncate`: the length is smaller than the end's"))?;
    let cut: String = text.chars().take(kept).collect();
    let cut = if kill_words { cut.as_str() } else { cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head) };
    Ok(format!("{cut}{end}"))
}

fn filesize(size: f64, binary: bool) -> String {
    let (base, units) = if binary {
        (1024.0, ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"])
    } else {
        (1000.0, ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"])
    };
    if size.abs() < base {
        return if size as i64 == 1 { "1 Byte".to_owned() } else { format!("{} Bytes", size as i64) };
    }
    let mut scaled = size;
    let mut unit = "";
    for name in units {
        scaled /= base;
        unit = name;
        if scaled.abs() < base {
            break;
        }
    }
    format!("{scaled:.1} {unit}")
}

/// jinja2's `int`: what is no number becomes the default, which is 0.
fn int(state: &State, value: Value, default: Option<Value>, base: Option<u32>, kwargs: Kwargs) -> Result<Value, Error> {
    readable(state, &value)?;
    let default = default.or(kwargs.get("default")?).unwrap_or_else(|| Value::from(0));
    let base = base.or(kwargs.get("base")?).unwrap_or(10);
    kwargs.assert_all_used()?;
    if !(2..=36).contains(&base) {
        return Err(type_error("`int`: the base is from 2 to 36"));
    }
    Ok(match value.kind() {
        ValueKind::Bool => Value::from(i64::from(value.is_true())),
        ValueKind::Number if value.is_integer() => value,
        ValueKind::Number => match f64::try_from(value) {
            Ok(number) if number.is_finite() => Value::from(number.trunc() as i128),
            _ => default,
        },
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default().trim().replace('_', "");
            match (i128::from_str_radix(&text, base), text.parse::<f64>()) {
                (Ok(number), _) => i64::try_from(number).map_or_else(|_| Value::from(number), Value::from),
                (Err(_), Ok(number)) if number.is_finite() && base == 10 => Value::from(number.trunc() as i64),
                _ => default,
            }
        }
        _ => default,
    })
}

/// jinja2's `float`: what is no number becomes the default, which is 0.0.
fn float(state: &State, value: Value, default: Option<f64>) -> Result<f64, Error> {
    readable(state, &value)?;
    let default = default.unwrap_or(0.0);
    Ok(match value.kind() {
        ValueKind::Bool => f64::from(u8::from(value.is_true())),
        ValueKind::Number => f64::try_from(value).unwrap_or(default),
        ValueKind::String => value.as_str().unwrap_or_default().trim().parse().unwrap_or(default),
        _ => default,
    })
}

/// Drops comments and tags, and runs of white space become one space.
fn striptags(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        kept.push_str(&rest[..start]);
        let (closing, skip) = if rest[start..].starts_with("<!--") { ("-->", 3) } else { (">", 1) };
        let Some(end) = rest[start..].find(closing) else {
            kept.push_str(&rest[start..]);
            rest = "";
            break;
        };
        rest = &rest[start + end + skip..];
    }
    kept.push_str(rest);
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `str.replace(old, new, count)`.
fn replace(state: &State<'_, '_>, text: &str, args: &[Value]) -> Result<Value, Error> {
    let (old, new, count): (&str, &str, Option<i64>) = from_args(args)?;
    let most = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let times = text.matches(old).count().min(most);
    charge_bytes(state, text.len().saturating_add(times.saturating_mul(new.len())))?;
    Ok(Value::from(text.replacen(old, new, times)))
}

/// Methods that the engine's Python layer lacks, or does not pay for; `None` if it is not ours.
pub(crate) fn text_method(
    state: &State<'_, '_>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Option<Result<Value, Error>> {
    if value.kind() != ValueKind::String {
        return None;
    }
    let text = value.as_str()?;
    let paid = charge_bytes(state, text.len()).and_then(|()| args.iter().try_for_each(|arg| charge(state, arg)));
    if let Err(error) = paid {
        return Some(Err(error));
    }
    Some(match method {
        "format" => formats::str_format(text, args).map(Value::from),
        // Each puts a text of its arguments in as often as it pleases, so what comes of it is paid for before it is made.
        "replace" => replace(state, text, args),
        "join" => from_args::<(Value,)>(args)
            .and_then(|(items,)| join(state, items, Some(value.clone()), None))
            .map(Value::from),
        "center" => from_args::<(u64,)>(args).and_then(|(width,)| center(value, width)).map(Value::from),
        "zfill" => from_args::<(u64,)>(args)
            .and_then(|(width,)| match text.strip_prefix(['-', '+']) {
                Some(digits) => {
                    justify(digits, width.saturating_sub(1), '0', false).map(|filled| format!("{}{filled}", &text[..1]))
                }
                None => justify(text, width, '0', false),
            })
            .map(Value::from),
        "ljust" | "rjust" => from_args::<(u64, Option<char>)>(args)
            .and_then(|(width, fill)| justify(text, width, fill.unwrap_or(' '), method == "ljust"))
            .map(Value::from),
        "removeprefix" => {
            from_args::<(&str,)>(args).map(|(prefix,)| Value::from(text.strip_prefix(prefix).unwrap_or(text)))
        }
        "removesuffix" => {
            from_args::<(&str,)>(args).map(|(suffix,)| Value::from(text.strip_suffix(suffix).unwrap_or(text)))
        }
        "partition" | "rpartition" => from_args::<(&str,)>(args).map(|(separator,)| {
            let parts = if method == "partition" { text.split_once(separator) } else { text.rsplit_once(separator) };
            let (head, middle, tail) = match parts {
                Some((head, tail)) => (head, separator, tail),
                None if method == "partition" => (text, "", ""),
                None => ("", "", text),
            };
            Value::from(minijinja::value::Tuple::from([head, middle, tail].map(Value::from)))
        }),
        "swapcase" => from_args(args).map(|()| {
            Value::from(
                text.chars()
                    .flat_map(|c| {
                        if c.is_uppercase() { c.to_lowercase().collect::<Vec<_>>() } else { c.to_uppercase().collect() }
                    })
                    .collect::<String>(),
            )
        }),
        _ => return None,
    })
}
