//! Python's operators, as functions that the rewritten template calls.

use std::cmp::Ordering;

use minijinja::value::{Rest, Tuple, ValueKind};
use minijinja::{Environment, Error, State, Value};

use crate::error::{ErrorKind, raise, type_error};
use crate::formats;
use crate::fuel::{charge, check_depth};
use crate::native::shown_undefined;
use crate::python::delta::{Interval, RelativeDelta, TimeDelta, as_delta, scale};
use crate::python::list::List;
use crate::python::moment::{Date, DateTime};
use crate::python::objects::{as_text, type_name};
use crate::python::text;

/// The names under which the functions are found. A space keeps them out of every template's reach.
pub(crate) mod names {
    pub(crate) const ADD: &str = "operator +";
    pub(crate) const SUB: &str = "operator -";
    pub(crate) const MUL: &str = "operator *";
    pub(crate) const DIV: &str = "operator /";
    pub(crate) const FLOOR_DIV: &str = "operator //";
    pub(crate) const REM: &str = "operator %";
    pub(crate) const POW: &str = "operator **";
    pub(crate) const NEG: &str = "operator neg";
    pub(crate) const CONCAT: &str = "operator ~";
    pub(crate) const EQ: &str = "operator ==";
    pub(crate) const NE: &str = "operator !=";
    pub(crate) const LT: &str = "operator <";
    pub(crate) const LE: &str = "operator <=";
    pub(crate) const GT: &str = "operator >";
    pub(crate) const GE: &str = "operator >=";
    pub(crate) const FORBIDDEN: &str = "operator __";
    pub(crate) const LIST: &str = "operator []";
    pub(crate) const SHALLOW: &str = "operator =";
    pub(crate) const SHOW_UNDEFINED: &str = "show undefined";
    pub(crate) const SHOW_MISSING: &str = "show missing";
}

/// Adds the functions to an environment.
pub(crate) fn install(env: &mut Environment<'static>) {
    env.add_function(names::ADD, |state: &State, a: Value, b: Value| binary(state, "+", &a, &b, add));
    env.add_function(names::SUB, |state: &State, a: Value, b: Value| binary(state, "-", &a, &b, subtract));
    env.add_function(names::MUL, |state: &State, a: Value, b: Value| {
        binary(state, "*", &a, &b, |a, b| multiply(state, a, b))
    });
    env.add_function(names::DIV, |state: &State, a: Value, b: Value| binary(state, "/", &a, &b, divide));
    env.add_function(names::FLOOR_DIV, |state: &State, a: Value, b: Value| binary(state, "//", &a, &b, floor_divide));
    env.add_function(names::REM, |state: &State, a: Value, b: Value| binary(state, "%", &a, &b, remainder));
    env.add_function(names::POW, |state: &State, a: Value, b: Value| binary(state, "**", &a, &b, power));
    env.add_function(names::NEG, |a: Value| negate(&a));
    env.add_function(names::CONCAT, |state: &State, a: Value, b: Value| concat(state, &a, &b));
    env.add_function(names::EQ, |state: &State, a: Value, b: Value| equal(state, &a, &b));
    env.add_function(names::NE, |state: &State, a: Value, b: Value| equal(state, &a, &b).map(|equal| !equal));
    env.add_function(names::LT, |state: &State, a: Value, b: Value| ordered(state, "<", &a, &b, Ordering::is_lt));
    env.add_function(names::LE, |state: &State, a: Value, b: Value| ordered(state, "<=", &a, &b, Ordering::is_le));
    env.add_function(names::GT, |state: &State, a: Value, b: Value| ordered(state, ">", &a, &b, Ordering::is_gt));
    env.add_function(names::GE, |state: &State, a: Value, b: Value| ordered(state, ">=", &a, &b, Ordering::is_ge));
    env.add_function(names::FORBIDDEN, forbidden);
    env.add_function(names::LIST, |state: &State, items: Rest<Value>| {
        state.consume_fuel(items.len() as u64 / 4)?;
        Ok::<_, Error>(List::value(items.to_vec()))
    });
    env.add_function(names::SHALLOW, |state: &State, value: Value| {
        check_depth(state, &value, &|_| false)?;
        Ok::<_, Error>(value)
    });
    env.add_function(names::SHOW_UNDEFINED, |value: Value, name: Value| {
        if value.is_undefined() { shown_undefined(format!("{{{{ {name} }}}}")) } else { value }
    });
    env.add_function(names::SHOW_MISSING, |value: Value, owner: Value, name: Value| {
        if !value.is_undefined() {
            return value;
        }
        let owner = if owner.is_none() { "None".to_owned() } else { format!("{} object", type_name(&owner)) };
        shown_undefined(format!("{{{{ no such element: {owner}['{name}'] }}}}"))
    });
}

/// Refuses undefined operands, as jinja2 does in every mode: only printing and testing an undefined value is lenient.
pub(crate) fn defined(value: &Value) -> Result<(), Error> {
    // The engine's own error knows which expression was undefined.
    if value.is_undefined() { value.get_attr("").map(drop) } else { Ok(()) }
}

fn binary(
    state: &State<'_, '_>,
    operator: &str,
    a: &Value,
    b: &Value,
    apply: impl Fn(&Value, &Value) -> Result<Option<Value>, Error>,
) -> Result<Value, Error> {
    defined(a)?;
    defined(b)?;
    charge(state, a)?;
    charge(state, b)?;
    apply(a, b)?.ok_or_else(|| unsupported(operator, a, b))
}

fn unsupported(operator: &str, a: &Value, b: &Value) -> Error {
    type_error(format!("`{operator}` is not possible between {} and {}", type_name(a), type_name(b)))
}

/// An integer or a float; Python counts booleans among the integers.
enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value.kind() {
            ValueKind::Bool => Some(Self::Int(i128::from(value.is_true()))),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok().map(Self::Int),
            ValueKind::Number => f64::try_from(value.clone()).ok().map(Self::Float),
            _ => None,
        }
    }

    fn float(&self) -> f64 {
        match self {
            Self::Int(number) => *number as f64,
            Self::Float(number) => *number,
        }
    }
}

/// Applies the integer operation to two integers, the other one if a float is among them.
fn arithmetic(
    a: &Value,
    b: &Value,
    integers: impl Fn(i128, i128) -> Option<i128>,
    floats: impl Fn(f64, f64) -> f64,
) -> Result<Option<Value>, Error> {
    let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) else {
        return Ok(None);
    };
    match (&a, &b) {
        (Number::Int(a), Number::Int(b)) => {
            integers(*a, *b).map(|result| Some(integer(result))).ok_or_else(|| type_error("the number is too large"))
        }
        _ => Ok(Some(Value::from(floats(a.float(), b.float())))),
    }
}

fn integer(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::from(number), Value::from)
}

fn add(a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    if let (Some(a), Some(b)) = (as_text(a), as_text(b)) {
        return Ok(Some(Value::from([a, b].concat())));
    }
    if let Some(sum) = arithmetic(a, b, i128::checked_add, |a, b| a + b)? {
        return Ok(Some(sum));
    }
    if a.kind() == ValueKind::Seq && b.kind() == ValueKind::Seq && a.is_tuple() == b.is_tuple() {
        let items: Vec<Value> = a.try_iter()?.chain(b.try_iter()?).collect();
        return Ok(Some(if a.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) }));
    }
    match added_time(a, b)? {
        Some(sum) => Ok(Some(sum)),
        None => added_time(b, a),
    }
}

/// `moment + delta` and `delta + delta`.
fn added_time(a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    if let Some(moment) = a.downcast_object_ref::<DateTime>() {
        if let Some(delta) = as_delta(b) {
            return moment.plus(delta).map(|moment| Some(moment.value()));
        }
        if let Some(delta) = b.downcast_object_ref::<RelativeDelta>() {
            return delta.apply(moment, 1).map(|moment| Some(moment.value()));
        }
    }
    if let (Some(date), Some(delta)) = (a.downcast_object_ref::<Date>(), as_delta(b)) {
        return date_plus(date, delta, 1).map(Some);
    }
    match (as_delta(a), as_delta(b)) {
        (Some(a), Some(b)) => {
            TimeDelta::from_micros(i128::from(a.micros()) + i128::from(b.micros())).map(|delta| Some(delta.value()))
        }
        _ => Ok(None),
    }
}

/// A date moves by whole days only.
fn date_plus(date: &Date, delta: TimeDelta, sign: i64) -> Result<Value, Error> {
    let days = delta.micros().div_euclid(86_400_000_000) * sign;
    jiff::Span::new()
        .try_days(days)
        .and_then(|span| date.0.checked_add(span))
        .map(|date| Value::from_object(Date(date)))
        .map_err(|_| type_error("the date is out of range"))
}

fn subtract(a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    if let Some(difference) = arithmetic(a, b, i128::checked_sub, |a, b| a - b)? {
        return Ok(Some(difference));
    }
    if let Some(moment) = a.downcast_object_ref::<DateTime>() {
        if let Some(other) = b.downcast_object_ref::<DateTime>() {
            return Ok(Some(if moment.is_pendulum() || other.is_pendulum() {
                Value::from_object(Interval::new(other.clone(), moment.clone())?)
            } else {
                moment.since(other)?.value()
            }));
        }
        if let Some(delta) = as_delta(b) {
            let negative = TimeDelta::from_micros(-i128::from(delta.micros()))?;
            return moment.plus(negative).map(|moment| Some(moment.value()));
        }
        if let Some(delta) = b.downcast_object_ref::<RelativeDelta>() {
            return delta.apply(moment, -1).map(|moment| Some(moment.value()));
        }
    }
    if let Some(date) = a.downcast_object_ref::<Date>() {
        if let Some(other) = b.downcast_object_ref::<Date>() {
            let days = other.0.until(date.0).map_or(0, |span| span.get_days());
            return TimeDelta::from_micros(i128::from(days) * 86_400_000_000).map(|delta| Some(delta.value()));
        }
        if let Some(delta) = as_delta(b) {
            return date_plus(date, delta, -1).map(Some);
        }
    }
    match (as_delta(a), as_delta(b)) {
        (Some(a), Some(b)) => {
            TimeDelta::from_micros(i128::from(a.micros()) - i128::from(b.micros())).map(|delta| Some(delta.value()))
        }
        _ => Ok(None),
    }
}

fn multiply(state: &State<'_, '_>, a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    if let Some(product) = arithmetic(a, b, i128::checked_mul, |a, b| a * b)? {
        return Ok(Some(product));
    }
    for (repeated, count) in [(a, b), (b, a)] {
        if let (Some(delta), Some(_)) = (as_delta(repeated), Number::of(count)) {
            return scale(delta, count, false).map(|delta| Some(delta.value()));
        }
        let Some(Number::Int(count)) = Number::of(count) else { continue };
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        if let Some(text) = as_text(repeated) {
            charge_product(state, text.len().saturating_mul(count))?;
            return Ok(Some(Value::from(text.repeat(count))));
        }
        if repeated.kind() == ValueKind::Seq {
            let items: Vec<Value> = repeated.try_iter()?.collect();
            charge_product(state, items.len().saturating_mul(count).saturating_mul(size_of::<Value>()))?;
            let items: Vec<Value> = std::iter::repeat_n(&items, count).flatten().cloned().collect();
            return Ok(Some(if repeated.is_tuple() { Value::from(Tuple::from(items)) } else { Value::from(items) }));
        }
    }
    Ok(None)
}

/// Pays before the value is made, so that one that is too large never is.
fn charge_product(state: &State<'_, '_>, size: usize) -> Result<(), Error> {
    state.consume_fuel(size as u64 / 64)
}

fn is_zero(value: &Value) -> bool {
    Number::of(value).is_some_and(|number| number.float() == 0.0)
}

fn refuse_zero(a: &Value, b: &Value) -> Result<(), Error> {
    if Number::of(a).is_some() && is_zero(b) { Err(type_error("division by zero")) } else { Ok(()) }
}

fn divide(a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    refuse_zero(a, b)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(Some(Value::from(a.float() / b.float())));
    }
    match (as_delta(a), as_delta(b)) {
        (Some(_), Some(b)) if b.micros() == 0 => Err(type_error("division by zero")),
        (Some(a), Some(b)) => Ok(Some(Value::from(a.micros() as f64 / b.micros() as f64))),
        (Some(a), None) if Number::of(b).is_some() => scale(a, b, true).map(|delta| Some(delta.value())),
        _ => Ok(None),
    }
}

fn floor_divide(a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    refuse_zero(a, b)?;
    match (as_delta(a), as_delta(b)) {
        (Some(_), Some(b)) if b.micros() == 0 => Err(type_error("division by zero")),
        (Some(a), Some(b)) => {
            Ok(Some(integer(floor(i128::from(a.micros()), i128::from(b.micros())).unwrap_or_default())))
        }
        _ => arithmetic(a, b, floor, |a, b| (a / b).floor()),
    }
}

/// Division rounding down, as Python's `//`.
fn floor(a: i128, b: i128) -> Option<i128> {
    let quotient = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient })
}

fn remainder(a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    if let Some(format) = as_text(a) {
        let args: Vec<Value> = if b.is_tuple() { b.try_iter()?.collect() } else { vec![b.clone()] };
        return formats::printf(format, &args).map(|text| Some(Value::from(text)));
    }
    refuse_zero(a, b)?;
    // The sign follows the divisor.
    arithmetic(
        a,
        b,
        |a, b| a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }),
        |a, b| a - b * (a / b).floor(),
    )
}

fn power(a: &Value, b: &Value) -> Result<Option<Value>, Error> {
    match (Number::of(a), Number::of(b)) {
        (Some(Number::Int(base)), Some(Number::Int(exponent))) if exponent >= 0 => {
            let exponent = u32::try_from(exponent).map_err(|_| type_error("the number is too large"))?;
            base.checked_pow(exponent)
                .map(|power| Some(integer(power)))
                .ok_or_else(|| type_error("the number is too large"))
        }
        (Some(a), Some(b)) if a.float() == 0.0 && b.float() < 0.0 => Err(type_error("division by zero")),
        (Some(a), Some(b)) => Ok(Some(Value::from(a.float().powf(b.float())))),
        _ => Ok(None),
    }
}

fn negate(a: &Value) -> Result<Value, Error> {
    defined(a)?;
    if let Some(delta) = as_delta(a) {
        return TimeDelta::from_micros(-i128::from(delta.micros())).map(TimeDelta::value);
    }
    match Number::of(a) {
        Some(Number::Int(number)) => {
            number.checked_neg().map(integer).ok_or_else(|| type_error("the number is too large"))
        }
        Some(Number::Float(number)) => Ok(Value::from(-number)),
        None => Err(type_error(format!("`-` is not possible on {}", type_name(a)))),
    }
}

fn concat(state: &State<'_, '_>, a: &Value, b: &Value) -> Result<Value, Error> {
    strict_defined(state, a)?;
    strict_defined(state, b)?;
    charge(state, a)?;
    charge(state, b)?;
    let mut joined = text::to_str(a);
    joined.push_str(&text::to_str(b));
    Ok(Value::from(joined))
}

fn strict_defined(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    if state.undefined_behavior() == minijinja::UndefinedBehavior::Strict { defined(value) } else { Ok(()) }
}

fn equal(state: &State<'_, '_>, a: &Value, b: &Value) -> Result<bool, Error> {
    strict_defined(state, a)?;
    strict_defined(state, b)?;
    charge(state, a)?;
    charge(state, b)?;
    if let (Some(a), Some(b)) = (as_text(a), as_text(b)) {
        return Ok(a == b);
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(order(&a, &b) == Some(Ordering::Equal));
    }
    if let (Some(a), Some(b)) = (as_delta(a), as_delta(b)) {
        return Ok(a == b);
    }
    Ok(a == b)
}

fn order(a: &Number, b: &Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
        _ => a.float().partial_cmp(&b.float()),
    }
}

fn ordered(
    state: &State<'_, '_>,
    operator: &str,
    a: &Value,
    b: &Value,
    wanted: fn(Ordering) -> bool,
) -> Result<bool, Error> {
    charge(state, a)?;
    charge(state, b)?;
    Ok(compare(operator, a, b)?.is_some_and(wanted))
}

/// `None` where neither is smaller, as with NaN.
fn compare(operator: &str, a: &Value, b: &Value) -> Result<Option<Ordering>, Error> {
    defined(a)?;
    defined(b)?;
    if let (Some(a), Some(b)) = (as_text(a), as_text(b)) {
        return Ok(Some(a.cmp(b)));
    }
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(order(&a, &b));
    }
    if let (Some(a), Some(b)) = (as_delta(a), as_delta(b)) {
        return Ok(Some(a.cmp(&b)));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<DateTime>(), b.downcast_object_ref::<DateTime>()) {
        return a.since(b).map(|delta| Some(delta.micros().cmp(&0)));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Date>(), b.downcast_object_ref::<Date>()) {
        return Ok(Some(a.cmp(b)));
    }
    if a.kind() == ValueKind::Seq && b.kind() == ValueKind::Seq && a.is_tuple() == b.is_tuple() {
        return Ok(a.partial_cmp(b));
    }
    Err(unsupported(operator, a, b))
}

/// jinja2's sandbox refuses attributes that begin with two underscores, and so do we, for everything.
fn forbidden(value: Value, name: &str) -> Result<Value, Error> {
    defined(&value)?;
    Err(raise(ErrorKind::Security, format!("access to the attribute `{name}` is not safe and not allowed")))
}
