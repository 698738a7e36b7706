//! Assets and their events, as templates see them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, State, Value};
use serde_json::Value as Json;

use crate::error::{ErrorKind, raise};
use crate::python::json::to_value;
use crate::python::moment::DateTime;
use crate::python::objects::Record;
use crate::python::text::to_repr;

/// Assets and aliases.
pub(crate) fn list(told: &[Json]) -> Value {
    Value::from(told.iter().map(asset).collect::<Vec<_>>())
}

/// An asset or an alias.
fn asset(told: &Json) -> Value {
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    let repr = |value: &Json| to_repr(&to_value(value));
    let (name, group) = (text("name"), text("group"));
    if told["kind"] == "alias" {
        let shown = format!("AssetAlias(name={}, group={})", repr(&told["name"]), repr(&told["group"]));
        let attributes = BTreeMap::from([("name", Value::from(name)), ("group", Value::from(group))]);
        return Value::from_object(Record { shown, attributes, more: BTreeMap::new() });
    }
    let extra = if told["extra"].is_object() { told["extra"].clone() } else { Json::Object(serde_json::Map::new()) };
    let shown = format!(
        "Asset(name={}, uri={}, group={}, extra={}, watchers=[])",
        repr(&told["name"]),
        repr(&told["uri"]),
        repr(&told["group"]),
        repr(&extra)
    );
    let attributes = BTreeMap::from([
        ("name", Value::from(name)),
        ("uri", Value::from(text("uri"))),
        ("group", Value::from(group)),
        ("extra", to_value(&extra)),
        ("watchers", Value::from(Vec::<Value>::new())),
    ]);
    Value::from_object(Record { shown, attributes, more: BTreeMap::new() })
}

fn moment(told: &Json) -> Value {
    let instant = told.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    instant.map_or_else(|| Value::from(()), |instant| DateTime::utc(instant).value())
}

/// The run that an event comes from.
fn run(told: &Json) -> Value {
    if told.is_null() {
        return Value::from(());
    }
    let text = |name: &'static str| (name, to_value(&told[name]));
    let date = |name: &'static str| (name, moment(&told[name]));
    let attributes = BTreeMap::from([
        text("dag_id"),
        text("run_id"),
        text("run_type"),
        text("state"),
        date("logical_date"),
        date("data_interval_start"),
        date("data_interval_end"),
        date("start_date"),
        date("end_date"),
    ]);
    Value::from_object(Record {
        shown: told["run_id"].as_str().unwrap_or_default().to_owned(),
        attributes,
        more: BTreeMap::new(),
    })
}

fn event(told: &Json) -> Value {
    let same = |name: &'static str| (name, to_value(&told[name]));
    let asset = asset(&told["asset"]);
    let attributes = BTreeMap::from([
        ("name", to_value(&told["asset"]["name"])),
        ("uri", to_value(&told["asset"]["uri"])),
        ("asset", asset.clone()),
        same("extra"),
        ("timestamp", moment(&told["timestamp"])),
        same("source_dag_id"),
        same("source_task_id"),
        same("source_run_id"),
        same("source_map_index"),
        ("source_dag_run", run(&told["source_dag_run"])),
    ]);
    Value::from_object(Record { shown: format!("AssetEvent(asset={asset})"), attributes, more: BTreeMap::new() })
}

/// `triggering_asset_events`: lists of events by asset and by alias.
pub(crate) fn events(told: &[Json]) -> Value {
    let mut entries: Vec<Entry> = Vec::new();
    for one in told {
        let alias = |name: &Json| serde_json::json!({"kind": "alias", "name": name, "group": "asset"});
        let aliases = one["aliases"].as_array().into_iter().flatten().map(alias);
        for key in std::iter::once(one["asset"].clone()).chain(aliases) {
            let is_alias = key["kind"] == "alias";
            let name = key["name"].as_str().unwrap_or_default();
            let there = entries.iter_mut().find(|entry| entry.is_alias == is_alias && entry.name == name);
            match there {
                Some(entry) => entry.events.push(event(one)),
                None => entries.push(Entry {
                    is_alias,
                    name: name.to_owned(),
                    uri: key["uri"].as_str().unwrap_or_default().to_owned(),
                    key: asset(&key),
                    events: vec![event(one)],
                }),
            }
        }
    }
    Value::from_object(Events(entries))
}

struct Entry {
    is_alias: bool,
    name: String,
    uri: String,
    key: Value,
    events: Vec<Value>,
}

struct Events(Vec<Entry>);

/// Whether a value is `triggering_asset_events`: a mapping that does not print as one.
pub(crate) fn is_events(value: &Value) -> bool {
    value.downcast_object_ref::<Events>().is_some()
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TriggeringAssetEventAccessor(_events=defaultdict(<class 'list'>, {")?;
        for (number, entry) in self.0.iter().enumerate() {
            let events: Vec<String> = entry.events.iter().map(to_repr).collect();
            write!(f, "{}{}: [{}]", if number > 0 { ", " } else { "" }, to_repr(&entry.key), events.join(", "))?;
        }
        f.write_str("}))")
    }
}

impl Events {
    /// The events of an asset, of an alias, or of what has this name or URI.
    fn of(&self, key: &Value) -> Option<Value> {
        let found = |entry: &&Entry| match key.as_str() {
            Some(text) => entry.name == text || entry.uri == text,
            None => to_repr(key) == to_repr(&entry.key),
        };
        self.0.iter().find(found).map(|entry| Value::from(entry.events.clone()))
    }

    fn pairs(&self) -> Value {
        let pair = |entry: &Entry| Value::from(vec![entry.key.clone(), Value::from(entry.events.clone())]);
        Value::from(self.0.iter().map(pair).collect::<Vec<_>>())
    }
}

impl Object for Events {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    /// As in Airflow, an asset that made nothing has an empty list.
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(self.of(key).unwrap_or_else(|| Value::from(Vec::<Value>::new())))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|entry| entry.key.clone()).collect())
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match (method, args) {
            ("items", []) => Ok(self.pairs()),
            ("keys", []) => Ok(Value::from(self.0.iter().map(|entry| entry.key.clone()).collect::<Vec<_>>())),
            ("values", []) => {
                Ok(Value::from(self.0.iter().map(|entry| Value::from(entry.events.clone())).collect::<Vec<_>>()))
            }
            ("get", [key]) => Ok(self.of(key).unwrap_or_else(|| Value::from(()))),
            ("get", [key, default]) => Ok(self.of(key).unwrap_or_else(|| default.clone())),
            _ => Err(raise(
                ErrorKind::Unsupported,
                "triggering_asset_events has the methods items, keys, values and get, which take no other arguments",
            )),
        }
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
