//! The event log: who has changed what.

use super::order::sort_by;
use super::query::Query;
use super::{Failure, shapes};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use updraft_metastore::{EventLog, keys};
use updraft_model::{DagId, Plan};
use updraft_service::engine::Version;

type Answer = Result<Json<Value>, Failure>;

/// How many events a list looks at: the latest before `before`, so that a page costs a bounded number of requests.
const LOOKED_AT_MAX: usize = 2_000;

/// How many of them one request to the metastore brings.
const AT_ONCE: usize = 1_000;

const ORDERS: [&str; 10] =
    ["id", "event_log_id", "when", "dttm", "dag_id", "task_id", "run_id", "event", "logical_date", "owner"];

/// The current versions of the DAGs that events tell of, for the names that they and their tasks are shown under.
async fn versions<P: Parts>(api: &Api<P>, events: &[EventLog]) -> Result<BTreeMap<String, Arc<Version>>, Failure> {
    let mut ids: Vec<_> = events.iter().filter_map(|event| event.dag_id.clone()).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut found = BTreeMap::new();
    for doc in api.engine.store.dags(&ids).await? {
        if let Some(version) = &doc.version {
            found.insert(doc.dag_id.to_string(), api.engine.version(version).await?);
        }
    }
    Ok(found)
}

/// `EventLogResponse`.
fn shown(event: &EventLog, versions: &BTreeMap<String, Arc<Version>>) -> Value {
    let plan = event.dag_id.as_ref().and_then(|id| versions.get(id.as_str())).map(|version| &version.plan);
    let dag_name = |plan: &Plan| plan.dag.dag_display_name.clone().unwrap_or_else(|| plan.dag.dag_id.to_string());
    let task_name = |plan: &Plan| {
        let task_id = event.task_id.as_deref()?;
        let task = plan.task(plan.index_of(task_id)?);
        Some(task.task_display_name.clone().unwrap_or_else(|| task_id.to_owned()))
    };
    json!({
        "event_log_id": event.event_log_id,
        "when": shapes::time(event.when),
        "dag_id": event.dag_id,
        "task_id": event.task_id,
        "run_id": event.run_id,
        "map_index": event.map_index,
        "try_number": event.try_number,
        "event": event.event,
        "logical_date": shapes::time_or_null(event.logical_date),
        "owner": event.owner,
        "extra": event.extra,
        "dag_display_name": plan.map(dag_name),
        "task_display_name": plan.and_then(task_name),
    })
}

/// What a query asks for.
struct Filter<'q> {
    query: &'q Query,
    map_index: Option<i64>,
    try_number: Option<i64>,
    before: Option<Timestamp>,
    after: Option<Timestamp>,
}

impl<'q> Filter<'q> {
    fn read(query: &'q Query) -> Result<Self, Failure> {
        Ok(Self {
            query,
            map_index: query.integer("map_index")?,
            try_number: query.integer("try_number")?,
            before: query.instant("before")?,
            after: query.instant("after")?,
        })
    }

    /// Airflow asks for before and after, both included.
    fn holds(&self, event: &EventLog) -> bool {
        let query = self.query;
        let text = |name: &str, value: Option<&str>| {
            query.text(name).is_none_or(|wish| value == Some(wish)) && query.matches_optional(name, value)
        };
        let listed = |name: &str| query.all(name).contains(&event.event.as_str());
        text("dag_id", event.dag_id.as_ref().map(DagId::as_str))
            && text("task_id", event.task_id.as_deref())
            && text("run_id", event.run_id.as_deref())
            && text("owner", event.owner.as_deref())
            && text("event", Some(&event.event))
            && (query.all("included_events").is_empty() || listed("included_events"))
            && !listed("excluded_events")
            && self.map_index.is_none_or(|index| event.map_index.map(i64::from) == Some(index))
            && self.try_number.is_none_or(|number| event.try_number.map(i64::from) == Some(number))
            && self.before.is_none_or(|before| event.when <= before)
            && self.after.is_none_or(|after| event.when >= after)
    }

    /// The latest events that are asked for, the latest first.
    async fn found<P: Parts>(&self, api: &Api<P>) -> Result<Vec<EventLog>, Failure> {
        // Several at one microsecond have ids that follow each other: a little beyond the bound nothing is missed.
        let edge = self.before.map(|before| keys::event_log(before.as_microsecond().saturating_add(1_000)).sk);
        let (mut found, mut looked_at, mut page) = (Vec::new(), 0, edge);
        loop {
            let read = api.engine.store.list_event_logs(true, AT_ONCE, page).await?;
            looked_at += read.items.len();
            let is_over = read.items.last().is_some_and(|event| self.after.is_some_and(|after| event.when < after));
            found.extend(read.items.into_iter().filter(|event| self.holds(event)));
            page = read.next;
            if page.is_none() || is_over || looked_at >= LOOKED_AT_MAX {
                return Ok(found);
            }
        }
    }
}

/// `GET /eventLogs`.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &ORDERS)?;
    let mut found = Filter::read(&query)?.found(&api).await?;
    sort_by(&mut found, &order, |event, name| match name {
        "when" | "dttm" => event.when.into(),
        "logical_date" => event.logical_date.into(),
        "dag_id" => event.dag_id.as_ref().map(ToString::to_string).into(),
        "task_id" => event.task_id.clone().into(),
        "run_id" => event.run_id.clone().into(),
        "event" => event.event.clone().into(),
        "owner" => event.owner.clone().into(),
        _ => event.event_log_id.into(),
    });
    let total = found.len();
    let found = page.of(found);
    let versions = versions(&api, &found).await?;
    let shown: Vec<Value> = found.iter().map(|event| shown(event, &versions)).collect();
    Ok(Json(json!({"event_logs": shown, "total_entries": total})))
}

/// `GET /eventLogs/{event_log_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(id): Path<i64>) -> Answer {
    let missing = || Failure::not_found(format!("The Event Log with id: `{id}` not found"));
    // Instants have positive numbers.
    let event = if id < 0 { None } else { api.engine.store.event_log(id).await? };
    let event = event.ok_or_else(missing)?;
    let versions = versions(&api, std::slice::from_ref(&event)).await?;
    Ok(Json(shown(&event, &versions)))
}
