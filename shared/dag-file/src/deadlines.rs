//! Deadline alerts, after Airflow's `DeadlineAlert`: what a deadline counts from, how long it is, and what is called when it is missed.

use crate::callbacks;
use crate::reader::Cursor;
use crate::yaml::compose::clip;
use crate::yaml::{Map, Value};
use jiff::Timestamp;
use updraft_model::{Callback, Deadline, DeadlineReference};
use updraft_timetables::Timezone;

const REFERENCES: &str = "write `DAGRUN_LOGICAL_DATE`, `DAGRUN_QUEUED_AT` or `{FIXED_DATETIME: 2026-01-01T00:00:00}`";

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
            None => match map.entry("FIXED_DATETIME") {
                Some(entry) => fixed(Some(cursor.down(entry))),
                None => named("a mapping", None),
            },
        },
        _ => {
            cursor.wrong_type("what a deadline counts from", Some(REFERENCES.into()));
            None
        }
    }
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
