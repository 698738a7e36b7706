//! The rarer filters and functions of jinja2, which the engine lacks or answers otherwise.

use std::fmt;
use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ObjectRepr, ValueKind};
use minijinja::{Environment, Error, State, Value};

use crate::draw::Draw;
use crate::error::{ErrorKind, raise, type_error};
use crate::fuel::{charge, charge_bytes};
use crate::names;
use crate::operators::defined;
use crate::python::text;

/// Most items of a `range`, as in jinja2's sandbox.
const RANGE_MAX: u64 = 100_000;

/// Adds them to an environment.
pub(crate) fn install(env: &mut Environment<'static>) {
    env.add_function("range", range);
    env.add_filter("random", random);
    env.add_filter("wordwrap", wordwrap);
    env.add_filter("xmlattr", xmlattr);
}

/// The context's draw, where the filter `random` finds it.
#[derive(Debug)]
pub(crate) struct Drawing(pub Draw);

impl Object for Drawing {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }
}

fn random(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    defined(&value)?;
    charge(state, &value)?;
    let items: Vec<Value> = value.try_iter()?.collect();
    let drawing = state.lookup(names::DRAW);
    let drawing = drawing.as_ref().and_then(|drawing| drawing.downcast_object_ref::<Drawing>());
    match drawing {
        Some(Drawing(draw)) if !items.is_empty() => Ok(items[draw.below(items.len())].clone()),
        _ => Ok(Value::UNDEFINED),
    }
}

/// Python's `range`, which prints as one.
#[derive(Debug)]
pub(crate) struct Range {
    start: i64,
    stop: i64,
    step: i64,
    length: usize,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "range({}, {}", self.start, self.stop)?;
        if self.step != 1 {
            write!(f, ", {}", self.step)?;
        }
        f.write_str(")")
    }
}

impl Object for Range {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let (index, length) = (key.as_i64()?, i64::try_from(self.length).ok()?);
        let index = if index < 0 { index + length } else { index };
        // Within the length nothing overflows.
        (0..length).contains(&index).then(|| Value::from(self.start + index * self.step))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.length)
    }
}

fn range(first: i64, second: Option<i64>, step: Option<i64>) -> Result<Value, Error> {
    let (start, stop) = second.map_or((0, first), |stop| (first, stop));
    let step = step.unwrap_or(1);
    let distance = if step > 0 { stop.checked_sub(start) } else { start.checked_sub(stop) };
    let distance = distance.ok_or_else(|| raise(ErrorKind::Limit, "the range has too many elements"))?;
    let length = match step.unsigned_abs() {
        0 => return Err(type_error("the step of a `range` must not be zero")),
        step => u64::try_from(distance).unwrap_or(0).div_ceil(step),
    };
    if length > RANGE_MAX {
        return Err(raise(ErrorKind::Limit, "the range has too many elements"));
    }
    Ok(Value::from_object(Range { start, stop, step, length: length as usize }))
}

/// Breaks lines at spaces, and words that are too long.
fn wordwrap(state: &State<'_, '_>, value: Value, width: Option<usize>, kwargs: Kwargs) -> Result<String, Error> {
    defined(&value)?;
    charge(state, &value)?;
    let width = width.or(kwargs.get("width")?).unwrap_or(79).max(1);
    let breaks_long = kwargs.get::<Option<bool>>("break_long_words")?.unwrap_or(true);
    let newline = kwargs.get::<Option<&str>>("wrapstring")?.unwrap_or("\n").to_owned();
    kwargs.assert_all_used()?;
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text::to_str(&value).split('\n') {
        let mut line = String::new();
        for word in paragraph.split(' ').filter(|word| !word.is_empty()) {
            let mut rest: Vec<char> = word.chars().collect();
            let used = line.chars().count();
            if used > 0 && used + 1 + rest.len() > width {
                lines.push(std::mem::take(&mut line));
            }
            while breaks_long && rest.len() > width {
                lines.push(rest.drain(..width).collect());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.extend(rest);
        }
        lines.push(line);
    }
    let breaks = lines.len().saturating_mul(newline.len());
    charge_bytes(state, lines.iter().map(String::len).sum::<usize>().saturating_add(breaks))?;
    Ok(lines.join(&newline))
}

/// The attributes of an XML element from a dict; what is None is left out.
fn xmlattr(state: &State<'_, '_>, value: Value, autospace: Option<bool>) -> Result<Value, Error> {
    defined(&value)?;
    charge(state, &value)?;
    if value.kind() != ValueKind::Map {
        return Err(type_error("`xmlattr` is for dicts"));
    }
    let mut attributes = String::new();
    for key in value.try_iter()? {
        let item = value.get_item(&key)?;
        if item.is_none() || item.is_undefined() {
            continue;
        }
        let name = text::to_str(&key);
        if name.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '>' | '=')) {
            return Err(type_error("`xmlattr`: a name has a character it must not have"));
        }
        if !attributes.is_empty() || autospace.unwrap_or(true) {
            attributes.push(' ');
        }
        let content = crate::renderer::escape_html(&text::to_str(&item));
        attributes.extend([name.as_str(), "=\"", &content, "\""]);
    }
    Ok(Value::from_safe_string(attributes))
}
