//! Deadline alerts, after Airflow's `DeadlineAlert`: what a deadline counts from, how long it is, and what is called when it is missed.

use crate::callbacks;
use crate::reader::Cursor;
use crate::yaml::compose::clip;
use crate::yaml::{Map, Value};
use jiff::Timestamp;
use updraft_model::{Callback, Deadline, DeadlineReference};
use updraft_timetables::Timezone;

const REFERENCES: &str = "write `DAGRUN_LOGICAL_DATE`, `DAGRUN_QUEUED_AT`, `{FIXED_DATETIME: 2026-01-01T00:00:00}` or \
                          `{AVERAGE_RUNTIME: {max_runs: 10, min_runs: 3}}`";

/// Of how many runs an average is taken unless a file says otherwise, as in Airflow.
const RUNS_AVERAGED: u32 = 10;

/// The most: each new run reads as many.
const RUNS_AVERAGED_MAX: u32 = 100;

/// One deadline, or a list.
pub(crate) fn deadlines(cursor: &Cursor<'_>, zone: &Timezone, now: Timestamp) -> Vec<Deadline> {
    match &cursor.node.value {
        Value::List(items) => {
            items.iter().enumerate().filter_map(|(i, node)| deadline(&cursor.item(i, node), zone, now)).collect()
        }
        _ => deadline(cursor, zone, now).into_iter().collect(),
    }
}

fn deadline(cursor: &Cursor<'_>, zone: &Timezone, now: Timestamp) -> Option<Deadline> {
    let map = cursor.mapping()?;
    let part = |name: &str| {
        let found = map.entry(name).map(|entry| cursor.down(entry)).filter(|c| !c.is_none());
        if found.is_none() {
            let hint = "a deadline has a `reference`, an `interval` and a `callback`";
            cursor.error("missing-key", format!("the deadline has no `{name}`"), Some(hint.into()));
        }
        found
    };
    let (from, interval, called) = (part("reference"), part("interval"), part("callback"));
    Some(Deadline {
        reference: reference(&from?, zone, now)?,
        interval: interval?.duration()?,
        callback: callback(&called?)?,
    })
}

/// A class path counts by its last name.
fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

fn reference(cursor: &Cursor<'_>, zone: &Timezone, now: Timestamp) -> Option<DeadlineReference> {
    let fixed = |at: Option<Cursor<'_>>| {
        if at.is_none() {
            cursor.error("missing-key", "`FIXED_DATETIME` needs an instant", Some(REFERENCES.into()));
        }
        at?.moment(zone, now).map(|moment| DeadlineReference::FixedDatetime(moment.at))
    };
    let named = |name: &str, map: Option<&Map>| match name {
        "DAGRUN_LOGICAL_DATE" | "DagRunLogicalDateDeadline" => Some(DeadlineReference::DagrunLogicalDate),
        "DAGRUN_QUEUED_AT" | "DagRunQueuedAtDeadline" => Some(DeadlineReference::DagrunQueuedAt),
        "FIXED_DATETIME" | "FixedDatetimeDeadline" => {
            let at = map.and_then(|map| map.entry("datetime")).map(|entry| cursor.down(entry));
            let first = || {
                let args = map?.entry("__args__").map(|entry| cursor.down(entry))?;
                let Value::List(items) = &args.node.value else { return None };
                items.first().map(|node| args.item(0, node))
            };
            fixed(at.or_else(first))
        }
        "AVERAGE_RUNTIME" | "AverageRuntimeDeadline" => average(cursor, map),
        _ => {
            let message = format!("a deadline cannot count from `{}` here", clip(name));
            cursor.error("unsupported", message, Some(REFERENCES.into()));
            None
        }
    };
    match &cursor.node.value {
        Value::Text(text) => named(last(text.trim()), None),
        Value::Map(map) => match cursor.typed() {
            Some((class, map)) => named(last(class), Some(map)),
            None => match (map.entry("FIXED_DATETIME"), map.entry("AVERAGE_RUNTIME")) {
                (Some(entry), _) => fixed(Some(cursor.down(entry))),
                (None, Some(entry)) => {
                    let inner = cursor.down(entry);
                    let map = if inner.is_none() { None } else { Some(inner.mapping()?) };
                    average(&inner, map)
                }
                (None, None) => named("a mapping", None),
            },
        },
        _ => {
            cursor.wrong_type("what a deadline counts from", Some(REFERENCES.into()));
            None
        }
    }
}

/// An average of runs: how many, and of how few there is none, by name or in Airflow's order. 0 runs are the usual number, and none given is
/// as few as there have to be.
fn average(cursor: &Cursor<'_>, map: Option<&Map>) -> Option<DeadlineReference> {
    let given = |name: &str, at: usize, least: u32| {
        let by_place = || {
            let args = map?.entry("__args__").map(|entry| cursor.down(entry))?;
            let Value::List(items) = &args.node.value else { return None };
            items.get(at).map(|node| args.item(at, node))
        };
        let found = map.and_then(|map| map.entry(name)).map(|entry| cursor.down(entry)).or_else(by_place);
        match found.filter(|given| !given.is_none()) {
            Some(given) => given.integer(least.into(), RUNS_AVERAGED_MAX.into()).map(|number| Some(number as u32)),
            None => Some(None),
        }
    };
    let max_runs = given("max_runs", 0, 0)?.filter(|runs| *runs > 0).unwrap_or(RUNS_AVERAGED);
    let min_runs = given("min_runs", 1, 1)?.unwrap_or(max_runs);
    Some(DeadlineReference::AverageRuntime { max_runs, min_runs })
}

/// A callback as anywhere else, or one of Airflow's `AsyncCallback` and `SyncCallback` around it.
fn callback(cursor: &Cursor<'_>) -> Option<Callback> {
    let Some((_, map)) = cursor.typed().filter(|(class, _)| matches!(last(class), "AsyncCallback" | "SyncCallback"))
    else {
        return callbacks::one(cursor);
    };
    let first = || {
        let args = map.entry("__args__").map(|entry| cursor.down(entry))?;
        let Value::List(items) = &args.node.value else { return None };
        items.first().map(|node| args.item(0, node))
    };
    let named =
        ["callback", "callback_callable", "path"].iter().find_map(|name| map.entry(name)).map(|e| cursor.down(e));
    let Some(path) = named.or_else(first) else {
        cursor.error("missing-key", "the deadline's callback names no function", None);
        return None;
    };
    let mut callback = callbacks::one(&path)?;
    if let Some(kwargs) = map.entry("kwargs").map(|entry| cursor.down(entry)).filter(|c| !c.is_none()) {
        kwargs.mapping()?;
        if let serde_json::Value::Object(arguments) = kwargs.json_keeping()? {
            callback.arguments = arguments;
        }
    }
    Some(callback)
}
