//! Pays for the work of our own functions.
//!
//! The engine charges for each step and for the value that a function returns. What a function reads costs time, too: without
//! a price on it, a loop that compares two lists of a million items would run for an hour within its budget.

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};
use serde_json::Value as Json;

use crate::error::{ErrorKind, raise};

/// One unit of fuel pays for so many bytes.
const BYTES_PER_UNIT: u64 = 64;

/// Deepest value that our functions walk through: they do it by recursion, and the stack is finite.
const DEPTH_MAX: usize = 100;

/// Charges for one walk through a value.
///
/// Every list costs something, however short: thirty lists of two items each, one in the other twice, are a billion items to
/// whoever walks through them.
pub(crate) fn charge(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    charge_within(state, value, 0)
}

fn charge_within(state: &State<'_, '_>, value: &Value, depth: usize) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => charge_bytes(state, value.as_str().map_or(0, str::len)),
        ValueKind::Seq | ValueKind::Map => {
            if depth > DEPTH_MAX {
                return Err(raise(ErrorKind::Limit, format!("a value nests more than {DEPTH_MAX} deep")));
            }
            state.consume_fuel(1 + value.len().unwrap_or(0) as u64 / 4)?;
            for item in value.try_iter()? {
                charge_within(state, &item, depth + 1)?;
                if value.kind() == ValueKind::Map {
                    charge_within(state, &value.get_item(&item)?, depth + 1)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether `is` holds of a value or of anything inside it, and an error where it nests too deeply to be freed again: the engine frees
/// values by recursion.
pub(crate) fn check_depth(state: &State<'_, '_>, value: &Value, is: &dyn Fn(&Value) -> bool) -> Result<bool, Error> {
    holds_within(state, value, is, 0)
}

fn holds_within(
    state: &State<'_, '_>,
    value: &Value,
    is: &dyn Fn(&Value) -> bool,
    depth: usize,
) -> Result<bool, Error> {
    let kind = value.kind();
    if !matches!(kind, ValueKind::Seq | ValueKind::Map) {
        return Ok(false);
    }
    if depth > DEPTH_MAX {
        return Err(raise(ErrorKind::Limit, format!("a value nests more than {DEPTH_MAX} deep")));
    }
    state.consume_fuel(1 + value.len().unwrap_or(0) as u64 / 16)?;
    let mut holds = is(value);
    for item in value.try_iter()? {
        holds |= if kind == ValueKind::Map {
            holds_within(state, &value.get_item(&item)?, is, depth + 1)?
        } else {
            holds_within(state, &item, is, depth + 1)?
        };
    }
    Ok(holds)
}

/// Charges for reading a text.
pub(crate) fn charge_bytes(state: &State<'_, '_>, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / BYTES_PER_UNIT)
}

/// Charges for turning JSON into a template's value.
pub(crate) fn charge_json(state: &State<'_, '_>, json: &Json) -> Result<(), Error> {
    match json {
        Json::String(text) => charge_bytes(state, text.len()),
        Json::Array(items) => {
            state.consume_fuel(items.len() as u64 / 2)?;
            items.iter().try_for_each(|item| charge_json(state, item))
        }
        Json::Object(entries) => {
            state.consume_fuel(entries.len() as u64)?;
            entries.iter().try_for_each(|(key, item)| {
                charge_bytes(state, key.len())?;
                charge_json(state, item)
            })
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
    }
}
