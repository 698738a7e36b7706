//! The names a template sees, built from a [`Context`].

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use minijinja::value::{Kwargs, Object, ObjectRepr, ValueKind, from_args};
use minijinja::{Error, ErrorKind as Engine, State, Value};
use serde_json::Value as Json;

use crate::assets;
use crate::context::Context;
use crate::corners::Drawing;
use crate::draw::Draw;
use crate::error::{ErrorKind, raise, type_error};
use crate::fuel::charge_json;
use crate::macros::Macros;
use crate::names;
use crate::python::json::to_value;
use crate::python::moment::DateTime;
use crate::python::objects::{Enumeration, Record, Set, Uuid};
use crate::python::text::to_repr;
use crate::stored::{Connections, Variables};
use crate::xcoms::{RETURN_VALUE, XComs};

/// All names of one render. Those in [`crate::error::NEED_LOGICAL_DATE`] are there only with a logical date.
pub(crate) fn globals(context: &Context, xcoms: &XComs) -> BTreeMap<&'static str, Value> {
    let mut names: BTreeMap<&'static str, Value> = BTreeMap::new();
    let draw = Draw::of(context);
    let dag = dag(context);
    let task = task(context);
    let ti = task_instance(context, xcoms, &task);
    let params = to_value(&context.params);
    let previous = context.previous_success.as_ref();
    names.extend([
        ("dag", dag),
        ("dag_run", dag_run(context)),
        ("task", task),
        ("ti", ti.clone()),
        ("task_instance", ti),
        ("params", params),
        ("run_id", Value::from(context.run_id.as_str())),
        ("macros", Value::from_object(Macros { now: context.now, draw: draw.clone() })),
        (names::DRAW, Value::from_object(Drawing(draw))),
        ("var", Value::from_object(Variables(context.stored.clone()))),
        ("conn", Value::from_object(Connections(context.stored.clone()))),
        ("triggering_asset_events", assets::events(&context.triggering_asset_events)),
        ("inlets", assets::list(&context.inlets)),
        ("outlets", assets::list(&context.outlets)),
        ("map_index_template", Value::from(())),
        ("task_reschedule_count", Value::from(context.reschedule_count)),
        ("partition_key", Value::from(context.partition_key.as_deref())),
        ("partition_date", optional(context.partition_date)),
        ("prev_start_date_success", optional(previous.and_then(|previous| previous.start_date))),
        ("prev_end_date_success", optional(previous.and_then(|previous| previous.end_date))),
        ("task_instance_key_str", Value::from(key_str(context))),
        (names::NOW, moment(context.now)),
    ]);
    if !context.expand.is_empty() {
        names.insert("expand", to_value(&Json::Object(context.expand.clone())));
    }
    let told = [("exception", &context.exception), ("reason", &context.reason)];
    names.extend(told.into_iter().filter_map(|(name, text)| Some((name, Value::from(text.as_deref()?)))));
    if let Some(logical_date) = context.logical_date {
        add_dates(&mut names, context, logical_date);
    }
    names
}

fn moment(instant: Timestamp) -> Value {
    DateTime::utc(instant).value()
}

fn optional(instant: Option<Timestamp>) -> Value {
    instant.map_or_else(|| Value::from(()), moment)
}

fn add_dates(names: &mut BTreeMap<&'static str, Value>, context: &Context, logical_date: Timestamp) {
    let date = DateTime::utc(logical_date);
    let iso = date.isoformat('T');
    let day = date.civil().date();
    let ds = format!("{:04}-{:02}-{:02}", day.year(), day.month(), day.day());
    let seconds = date.civil().time();
    let ds_nodash = ds.replace('-', "");
    let ts_nodash = format!("{ds_nodash}T{:02}{:02}{:02}", seconds.hour(), seconds.minute(), seconds.second());
    let previous = context.previous_success.as_ref().and_then(|previous| previous.data_interval);
    names.extend([
        ("ds", Value::from(ds)),
        ("ds_nodash", Value::from(ds_nodash)),
        ("ts_nodash_with_tz", Value::from(iso.replace(['-', ':'], ""))),
        ("ts", Value::from(iso)),
        ("ts_nodash", Value::from(ts_nodash)),
        ("logical_date", date.value()),
        ("data_interval_start", optional(context.data_interval.map(|interval| interval.0))),
        ("data_interval_end", optional(context.data_interval.map(|interval| interval.1))),
        ("prev_data_interval_start_success", optional(previous.map(|interval| interval.0))),
        ("prev_data_interval_end_success", optional(previous.map(|interval| interval.1))),
    ]);
}

/// Ends in the day, or in the run id when there is no logical date.
fn key_str(context: &Context) -> String {
    let last = match context.logical_date {
        Some(date) => {
            let day = DateTime::utc(date).civil();
            format!("{:04}{:02}{:02}", day.year(), day.month(), day.day())
        }
        None => context.run_id.clone(),
    };
    format!("{}__{}__{last}", context.dag_id, context.task_id)
}

fn record<const N: usize>(shown: String, attributes: [(&'static str, Value); N]) -> Value {
    Value::from_object(Record { shown, attributes: BTreeMap::from(attributes), more: BTreeMap::new() })
}

fn dag(context: &Context) -> Value {
    let facts = &context.dag;
    record(
        format!("<DAG: {}>", context.dag_id),
        [
            ("dag_id", Value::from(context.dag_id.as_str())),
            ("description", Value::from(facts.description.as_deref())),
            ("tags", Value::from_object(Set(facts.tags.clone()))),
            ("start_date", optional(facts.start_date)),
            ("end_date", optional(facts.end_date)),
            ("catchup", Value::from(facts.catchup)),
            ("max_active_runs", Value::from(facts.max_active_runs)),
        ],
    )
}

fn task(context: &Context) -> Value {
    let facts = &context.task;
    let label = context.task_id.rsplit('.').next().unwrap_or_default();
    let attributes = [
        ("dag_id", Value::from(context.dag_id.as_str())),
        ("task_id", Value::from(context.task_id.as_str())),
        ("label", Value::from(label)),
        ("owner", Value::from(facts.owner.as_str())),
        ("pool", Value::from(facts.pool.as_str())),
        ("queue", Value::from(facts.queue.as_str())),
        ("retries", Value::from(facts.retries)),
        ("trigger_rule", Enumeration::value("TriggerRule", &facts.trigger_rule)),
    ];
    let more = context.arguments.iter().map(|(name, value)| (name.clone(), to_value(value))).collect();
    let shown = format!("<Task(Op): {}>", context.task_id);
    Value::from_object(Record { shown, attributes: BTreeMap::from(attributes), more })
}

/// The fields that `str(ti)` lists, in its order.
const TASK_INSTANCE_FIELDS: [&str; 19] = [
    "id",
    "task_id",
    "dag_id",
    "run_id",
    "try_number",
    "dag_version_id",
    "map_index",
    "hostname",
    "context_carrier",
    "queue",
    "task",
    "bundle_instance",
    "max_tries",
    "start_date",
    "end_date",
    "state",
    "is_mapped",
    "rendered_map_index",
    "sentry_integration",
];

/// The fields that `str(dag_run)` lists, in its order.
const DAG_RUN_FIELDS: [&str; 18] = [
    "dag_id",
    "run_id",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "run_after",
    "start_date",
    "end_date",
    "clear_number",
    "run_type",
    "state",
    "conf",
    "triggering_user_name",
    "consumed_asset_events",
    "partition_key",
    "partition_date",
    "note",
    "team_name",
];

/// As pydantic prints a model: its fields and their `repr`.
fn fields(attributes: &BTreeMap<&'static str, Value>, names: &[&str]) -> String {
    let shown = names.iter().filter_map(|name| attributes.get(name).map(|value| format!("{name}={}", to_repr(value))));
    shown.collect::<Vec<_>>().join(" ")
}

fn dag_run(context: &Context) -> Value {
    let interval = context.data_interval;
    let attributes = BTreeMap::from([
        ("consumed_asset_events", Value::from(Vec::<Value>::new())),
        ("team_name", Value::from(())),
        ("dag_id", Value::from(context.dag_id.as_str())),
        ("run_id", Value::from(context.run_id.as_str())),
        ("run_type", Enumeration::value("DagRunType", &context.run_type)),
        ("state", Enumeration::value("DagRunState", &context.run_state)),
        ("conf", to_value(&context.conf)),
        ("logical_date", optional(context.logical_date)),
        ("data_interval_start", optional(interval.map(|interval| interval.0))),
        ("data_interval_end", optional(interval.map(|interval| interval.1))),
        ("run_after", moment(context.run_after)),
        ("start_date", optional(context.run_start_date)),
        ("end_date", Value::from(())),
        ("clear_number", Value::from(0)),
        ("partition_key", Value::from(context.partition_key.as_deref())),
        ("partition_date", optional(context.partition_date)),
        ("triggering_user_name", Value::from(context.triggering_user_name.as_deref())),
        ("note", Value::from(context.note.as_deref())),
    ]);
    Value::from_object(Record { shown: fields(&attributes, &DAG_RUN_FIELDS), attributes, more: BTreeMap::new() })
}

fn task_instance(context: &Context, xcoms: &XComs, task: &Value) -> Value {
    let attributes = BTreeMap::from([
        ("id", Value::from_object(Uuid(context.ti_id.clone()))),
        ("dag_version_id", Value::from_object(Uuid(context.dag_version_id.clone()))),
        ("context_carrier", Value::from(())),
        ("queue", Value::from(context.task.queue.as_str())),
        ("bundle_instance", Value::from(())),
        ("rendered_map_index", Value::from(())),
        ("sentry_integration", Value::from("")),
        ("task_id", Value::from(context.task_id.as_str())),
        ("dag_id", Value::from(context.dag_id.as_str())),
        ("run_id", Value::from(context.run_id.as_str())),
        ("map_index", Value::from(context.map_index)),
        ("try_number", Value::from(context.try_number)),
        ("max_tries", Value::from(context.max_tries)),
        ("hostname", Value::from(context.hostname.as_str())),
        ("start_date", optional(context.task_start_date)),
        ("end_date", Value::from(())),
        ("state", Value::from("running")),
        ("is_mapped", Value::from(())),
        ("task", task.clone()),
    ]);
    Value::from_object(TaskInstance {
        task_id: context.task_id.clone(),
        dag_id: context.dag_id.clone(),
        run_id: context.run_id.clone(),
        shown: fields(&attributes, &TASK_INSTANCE_FIELDS),
        attributes,
        xcoms: xcoms.clone(),
    })
}

/// `ti`: attributes, and `xcom_pull` over what was fetched.
#[derive(Debug)]
struct TaskInstance {
    task_id: String,
    dag_id: String,
    run_id: String,
    /// What `str()` gives.
    shown: String,
    attributes: BTreeMap<&'static str, Value>,
    xcoms: XComs,
}

impl Object for TaskInstance {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.attributes.get(key).cloned()
    }

    fn call_method(self: &Arc<Self>, state: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match method {
            "xcom_pull" => self.xcom_pull(state, args),
            _ => Err(Error::from(Engine::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl TaskInstance {
    /// Airflow's rules (group `xcom`): without `map_indexes` every map index is pulled: nothing gives None, one row its
    /// value, more a list, and `default` is not looked at; a list of task ids gives one flat list.
    fn xcom_pull(&self, state: &State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        let (task_ids, dag_id, key, prior, kwargs): (
            Option<Value>,
            Option<Value>,
            Option<Value>,
            Option<bool>,
            Kwargs,
        ) = from_args(args)?;
        let named = |given: Option<Value>, name| {
            given.map_or_else(|| kwargs.get::<Option<Value>>(name), |value| Ok(Some(value)))
        };
        let task_ids = named(task_ids, "task_ids")?.filter(|value| !value.is_none());
        let dag_id = named(dag_id, "dag_id")?.filter(|value| !value.is_none());
        // An explicit None for the key is an error in Airflow too, hence the question whether it was given.
        let key_given = key.is_some() || kwargs.has("key");
        let key = named(key, "key")?;
        let prior = prior.or(kwargs.get::<Option<bool>>("include_prior_dates")?).unwrap_or(false);
        let run_id = kwargs.get::<Option<&str>>("run_id")?;
        let map_indexes = if kwargs.has("map_indexes") { Some(kwargs.get::<Value>("map_indexes")?) } else { None };
        let default = kwargs.get::<Option<Value>>("default")?.unwrap_or(Value::from(()));
        kwargs.assert_all_used()?;

        let elsewhere = dag_id.is_some_and(|dag_id| dag_id.as_str() != Some(&self.dag_id))
            || run_id.is_some_and(|run_id| run_id != self.run_id);
        if elsewhere {
            return Err(raise(
                ErrorKind::Unsupported,
                "`xcom_pull` from another DAG or another run is not available yet",
            ));
        }
        let key = match &key {
            Some(key) => key.as_str().ok_or_else(|| type_error("`xcom_pull` needs a text as `key`"))?,
            None if key_given => return Err(type_error("`xcom_pull` needs a text as `key`, not None")),
            None => RETURN_VALUE,
        };
        let pull =
            Pull { state, xcoms: &self.xcoms, key, prior, map_indexes: MapIndexes::parse(map_indexes)?, default };
        match task_ids {
            None => pull.one(&self.task_id),
            Some(task_id) if task_id.kind() == ValueKind::String => pull.one(task_id.as_str().unwrap_or_default()),
            Some(task_ids) => pull.many(&task_ids),
        }
    }
}

enum MapIndexes {
    /// Not given.
    All,
    One(i32),
    Some(Vec<i32>),
}

impl MapIndexes {
    fn parse(value: Option<Value>) -> Result<Self, Error> {
        let wrong = || type_error("`map_indexes` must be a number or a list of numbers");
        let index = |value: &Value| value.as_i64().and_then(|index| i32::try_from(index).ok()).ok_or_else(wrong);
        match value {
            None => Ok(Self::All),
            // None means "not mapped".
            Some(value) if value.is_none() => Ok(Self::One(-1)),
            Some(value) if value.kind() == ValueKind::Number => index(&value).map(Self::One),
            Some(value) if value.kind() == ValueKind::Seq => {
                value.try_iter()?.map(|item| index(&item)).collect::<Result<_, _>>().map(Self::Some)
            }
            Some(_) => Err(wrong()),
        }
    }
}

struct Pull<'a> {
    state: &'a State<'a, 'a>,
    xcoms: &'a XComs,
    key: &'a str,
    prior: bool,
    map_indexes: MapIndexes,
    default: Value,
}

impl Pull<'_> {
    fn one(&self, task_id: &str) -> Result<Value, Error> {
        let mut values = self.values(task_id)?;
        Ok(match self.map_indexes {
            MapIndexes::All | MapIndexes::One(_) if values.len() < 2 => values.pop().unwrap_or_else(|| Value::from(())),
            _ => Value::from(values),
        })
    }

    fn many(&self, task_ids: &Value) -> Result<Value, Error> {
        let mut all = Vec::new();
        for task_id in task_ids.try_iter()? {
            let task_id = task_id.as_str().ok_or_else(|| type_error("`task_ids` must be a text or a list of texts"))?;
            let values = self.values(task_id)?;
            if values.is_empty() { all.push(Value::from(())) } else { all.extend(values) }
        }
        Ok(Value::from(all))
    }

    fn values(&self, task_id: &str) -> Result<Vec<Value>, Error> {
        let rows = self.xcoms.get(task_id, self.key).ok_or_else(|| {
            raise(
                ErrorKind::XComNotFetched,
                format!("the XCom `{}` of task `{task_id}` was not fetched before rendering", self.key),
            )
        })?;
        if self.prior && rows.is_empty() {
            return Err(raise(ErrorKind::Unsupported, "`include_prior_dates` is not available yet"));
        }
        rows.iter().try_for_each(|(_, value)| charge_json(self.state, value))?;
        let at = |index: &i32| {
            rows.iter().find(|(row, _)| row == index).map_or_else(|| self.default.clone(), |(_, value)| to_value(value))
        };
        Ok(match &self.map_indexes {
            MapIndexes::All => rows.iter().map(|(_, value)| to_value(value)).collect(),
            MapIndexes::One(index) => vec![at(index)],
            MapIndexes::Some(indexes) => indexes.iter().map(at).collect(),
        })
    }
}
