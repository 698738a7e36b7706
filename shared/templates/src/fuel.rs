//! Pays for the work of our own functions.
//!
//! The engine charges for each step and for the value that a function returns. What a function reads costs time, too: without
//! a price on it, a loop that compares two lists of a million items would run for an hour within its budget.

use minijinja::value::ValueKind;
use minijinja::{Error, State, Value};
use serde_json::Value as Json;

/// One unit of fuel pays for so many bytes.
const BYTES_PER_UNIT: u64 = 64;

/// Charges for one walk through a value.
pub(crate) fn charge(state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String => charge_bytes(state, value.as_str().map_or(0, str::len)),
        ValueKind::Seq | ValueKind::Map => {
            state.consume_fuel(value.len().unwrap_or(0) as u64 / 4)?;
            for item in value.try_iter()? {
                charge(state, &item)?;
                if value.kind() == ValueKind::Map {
                    charge(state, &value.get_item(&item)?)?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
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
