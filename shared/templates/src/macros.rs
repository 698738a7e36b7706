//! The `macros` object. Its clock is the context's `now`, and what it draws follows from the try.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil;
use jiff::{SignedDuration, Timestamp};
use minijinja::value::{Kwargs, Object, ObjectRepr, from_args};
use minijinja::{Error, ErrorKind as Engine, State, Value};

use crate::draw::Draw;
use crate::error::{ErrorKind, raise, type_error};
use crate::formats::{self, WIDTH_MAX};
use crate::fuel::{charge, charge_bytes};
use crate::operators::defined;
use crate::python::delta::{RelativeDelta, TimeDelta, in_words};
use crate::python::json::{self, Style};
use crate::python::moment::{DateTime, zone};
use crate::python::moment_methods::{moment_of, time_tuple};
use crate::python::objects::{Callable, NotYet, Record};
use crate::python::strftime::{strftime, strptime};

/// `macros`, for one render.
#[derive(Debug)]
pub(crate) struct Macros {
    pub now: Timestamp,
    pub draw: Draw,
}

impl Object for Macros {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        Some(match key {
            "datetime" => Value::from_object(DateTimeClass { now: self.now }),
            "timedelta" => Callable::value("timedelta", |args| TimeDelta::from_call(args).map(TimeDelta::value)),
            "json" => module(
                "json",
                &[("dumps", Value::from_function(json_dumps)), ("loads", Value::from_function(json_loads))],
            ),
            "dateutil" => dateutil(),
            "time" => module(
                "time",
                &[
                    ("time", constant(Value::from(self.now.as_microsecond() as f64 / 1_000_000.0))),
                    ("gmtime", Value::from_function(gmtime)),
                ],
            ),
            "random" => {
                let draw = self.draw.clone();
                Value::from_function(move || draw.fraction())
            }
            "uuid" => crate::uuids::module(self.draw.clone()),
            "Any" => Value::from_object(Record {
                shown: "typing.Any".to_owned(),
                attributes: BTreeMap::new(),
                more: BTreeMap::new(),
            }),
            "yaml" => not_yet("`macros.yaml` is not available yet; `macros.json` is"),
            _ => return None,
        })
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "ds_add" => {
                let (ds, days): (Value, Value) = from_args(args)?;
                ds_add(&ds, &days)
            }
            "ds_format" => {
                let (ds, input, output): (&str, &str, &str) = from_args(args)?;
                strftime(&strptime(ds, input)?, output).map(Value::from)
            }
            "ds_format_locale" => {
                let (ds, input, output, locale): (&str, &str, &str, Option<&str>) = from_args(args)?;
                formats::locale_date(&strptime(ds, input)?, output, locale.unwrap_or("en_US")).map(Value::from)
            }
            "datetime_diff_for_humans" => {
                let (moment, since): (Value, Option<Value>) = from_args(args)?;
                let mut moment = moment_of(&moment)?;
                // Airflow makes the first one aware and leaves the second as it is, so a naive `since` fails.
                if moment.offset().is_none() {
                    moment = moment.in_zone(jiff::tz::TimeZone::UTC)?;
                }
                match since {
                    Some(since) => in_words(&moment, &moment_of(&since)?, false),
                    None => in_words(&moment, &DateTime::utc(self.now), true),
                }
                .map(Value::from)
            }
            other => match self.get_value_by_str(other) {
                Some(value) => value.call(state, args),
                None => Err(Error::new(Engine::UnknownMethod, format!("`macros` has no `{other}`"))),
            },
        }
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<MacrosAccessor (dynamic access to macros)>")
    }
}

fn not_yet(message: &'static str) -> Value {
    Value::from_object(NotYet { shown: "<not available>", message })
}

pub(crate) fn module(name: &str, members: &[(&'static str, Value)]) -> Value {
    let attributes: BTreeMap<_, _> = members.iter().cloned().collect();
    Value::from_object(Record { shown: format!("<module '{name}'>"), attributes, more: BTreeMap::new() })
}

fn constant(value: Value) -> Value {
    Value::from_function(move || value.clone())
}

/// `ds` plus days. None stays None; a fraction of a day counts only as far as the day it ends in.
fn ds_add(ds: &Value, days: &Value) -> Result<Value, Error> {
    defined(ds)?;
    if ds.is_none() {
        return Ok(Value::from(()));
    }
    let ds = ds.as_str().ok_or_else(|| type_error("`ds_add` needs a date as text, such as `ds`"))?;
    let date = strptime(ds, "%Y-%m-%d")?;
    if !days.is_number() {
        return Err(type_error("`ds_add` needs a number of days"));
    }
    let delta = TimeDelta::from_call(std::slice::from_ref(days))?;
    strftime(&date.plus(delta)?, "%Y-%m-%d").map(Value::from)
}

fn json_dumps(state: &State, value: Value, kwargs: Kwargs) -> Result<String, Error> {
    defined(&value)?;
    charge(state, &value)?;
    let sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    let indent = kwargs.get::<Option<usize>>("indent")?;
    kwargs.assert_all_used()?;
    if indent.is_some_and(|indent| indent as u64 > WIDTH_MAX) {
        return Err(raise(ErrorKind::Limit, format!("an indent may be at most {WIDTH_MAX}")));
    }
    json::dumps(&value, Style { sort_keys, indent, html_safe: false })
}

fn json_loads(state: &State, text: &str) -> Result<Value, Error> {
    // A byte of JSON makes up to a whole value.
    charge_bytes(state, text.len().saturating_mul(16))?;
    json::loads(text)
}

fn gmtime(seconds: i64) -> Result<Value, Error> {
    let instant = Timestamp::from_second(seconds).map_err(|_| type_error("the date is out of range"))?;
    Ok(time_tuple(DateTime::utc(instant).civil()))
}

fn dateutil() -> Value {
    let relativedelta = Callable::value("relativedelta", |args| RelativeDelta::from_call(args).map(Value::from_object));
    let parse = Value::from_function(|text: &str| fromisoformat(text).map(DateTime::value));
    module(
        "dateutil",
        &[
            ("relativedelta", module("dateutil.relativedelta", &[("relativedelta", relativedelta)])),
            ("parser", module("dateutil.parser", &[("parse", parse)])),
        ],
    )
}

/// The class `datetime.datetime`.
#[derive(Debug)]
struct DateTimeClass {
    now: Timestamp,
}

impl Object for DateTimeClass {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let civil = match key {
            "min" => civil::datetime(1, 1, 1, 0, 0, 0, 0),
            "max" => civil::datetime(9999, 12, 31, 23, 59, 59, 999_999_000),
            _ => return None,
        };
        Some(DateTime::naive(civil).value())
    }

    fn call(self: &Arc<Self>, _state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        const FIELDS: [&str; 7] = ["year", "month", "day", "hour", "minute", "second", "microsecond"];
        let (positional, kwargs): (&[Value], Kwargs) = from_args(args)?;
        if positional.len() > FIELDS.len() {
            return Err(Error::from(Engine::TooManyArguments));
        }
        let mut moment = DateTime::naive(civil::datetime(1, 1, 1, 0, 0, 0, 0));
        for (index, field) in FIELDS.into_iter().enumerate() {
            let value = match positional.get(index) {
                Some(value) => Some(i64::try_from(value.clone())?),
                None => kwargs.get::<Option<i64>>(field)?,
            };
            match value {
                Some(value) => moment = moment.with_field(field, value)?,
                None if index < 3 => {
                    return Err(Error::new(Engine::MissingArgument, format!("`datetime` needs a {field}")));
                }
                None => {}
            }
        }
        if let Some(name) = kwargs.get::<Option<&str>>("tzinfo")? {
            moment = moment.in_zone(zone(name)?)?;
        }
        kwargs.assert_all_used()?;
        Ok(moment.value())
    }

    fn call_method(self: &Arc<Self>, _state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let now = DateTime::naive(DateTime::utc(self.now).civil());
        match method {
            "utcnow" | "today" => from_args(args).map(|()| now.value()),
            "now" => {
                let (name,): (Option<&str>,) = from_args(args)?;
                match name {
                    None => Ok(now.value()),
                    Some(name) => now.to_zone(zone(name)?).map(DateTime::value),
                }
            }
            "strptime" => {
                let (text, format): (&str, &str) = from_args(args)?;
                strptime(text, format).map(DateTime::value)
            }
            "fromisoformat" => {
                let (text,): (&str,) = from_args(args)?;
                fromisoformat(text).map(DateTime::value)
            }
            "fromtimestamp" | "utcfromtimestamp" => {
                let (seconds,): (f64,) = from_args(args)?;
                let duration =
                    SignedDuration::try_from_secs_f64(seconds).map_err(|_| type_error("the date is out of range"))?;
                let instant =
                    Timestamp::UNIX_EPOCH.checked_add(duration).map_err(|_| type_error("the date is out of range"))?;
                Ok(DateTime::naive(DateTime::utc(instant).civil()).value())
            }
            _ => Err(Error::new(Engine::UnknownMethod, format!("`macros.datetime` has no `{method}`"))),
        }
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<class 'datetime.datetime'>")
    }
}

/// An ISO 8601 date or date and time, with or without an offset.
fn fromisoformat(text: &str) -> Result<DateTime, Error> {
    let wrong = || type_error("the text is no ISO 8601 date");
    let text = text.trim();
    if let Ok(pieces) = jiff::fmt::temporal::Pieces::parse(text) {
        let civil = pieces.date().to_datetime(pieces.time().unwrap_or(civil::Time::midnight()));
        return match pieces.to_numeric_offset() {
            Some(offset) => DateTime::fixed(civil, offset),
            None => Ok(DateTime::naive(civil)),
        };
    }
    Err(wrong())
}
