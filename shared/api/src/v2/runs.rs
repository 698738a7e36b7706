//! DAG runs.

use super::query::{Bounds, Query, sort_by};
use super::{Failure, dags, shapes};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_model::{DagId, RunDoc};
use updraft_service::Trigger;

/// How many of a DAG's latest runs a filtered or sorted list looks at. The newest come first, so what lies beyond is old.
pub(crate) const LOOKED_AT_MAX: usize = 1000;

type Answer = Result<Json<Value>, Failure>;

/// A run by its name, with Airflow's words where there is none.
pub(crate) async fn find<P: Parts>(api: &Api<P>, dag_id: &str, run_id: &str) -> Result<RunDoc, Failure> {
    let missing =
        || Failure::not_found(format!("The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"));
    let dag_id = DagId::parse(dag_id).map_err(|_| missing())?;
    let name = api.engine.store.run_name(&dag_id, run_id).await?.ok_or_else(missing)?;
    api.engine.store.run(&name.incarnation).await?.ok_or_else(missing)
}

async fn shown<P: Parts>(api: &Api<P>, run: &RunDoc) -> Result<Value, Failure> {
    let version = api.engine.version(&run.facts.version).await?;
    Ok(shapes::run(run, &version.plan.dag))
}

/// The filters of a list of runs.
struct Filters<'q> {
    query: &'q Query,
    run_after: Bounds<Timestamp>,
    logical_date: Bounds<Timestamp>,
    start_date: Bounds<Timestamp>,
    end_date: Bounds<Timestamp>,
    duration: Bounds<f64>,
}

impl<'q> Filters<'q> {
    fn read(query: &'q Query) -> Result<Self, Failure> {
        Ok(Self {
            query,
            run_after: query.times("run_after")?,
            logical_date: query.times("logical_date")?,
            start_date: query.times("start_date")?,
            end_date: query.times("end_date")?,
            duration: query.numbers("duration")?,
        })
    }

    fn hold(&self, run: &RunDoc) -> bool {
        let facts = &run.facts;
        self.run_after.hold(Some(facts.run_after))
            && self.logical_date.hold(facts.logical_date)
            && self.start_date.hold(run.start_date)
            && self.end_date.hold(run.end_date)
            && self.duration.hold(shapes::seconds(run.start_date, run.end_date))
            && self.query.is_one_of("state", run.state.as_str())
            && self.query.is_one_of("run_type", facts.run_type.as_str())
            && self.query.matches("run_id", &facts.run_id)
    }
}

/// `GET /dags/{dag_id}/dagRuns`; `~` for all DAGs.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>, query: Query) -> Answer {
    let page = query.page()?;
    let filters = Filters::read(&query)?;
    let known = [
        "id",
        "dag_run_id",
        "run_id",
        "run_after",
        "logical_date",
        "start_date",
        "end_date",
        "state",
        "duration",
        "run_type",
        "dag_id",
    ];
    let order = query.order_by("id", &known)?;
    let dag_ids: Vec<DagId> = if dag_id == "~" {
        let summaries = api.engine.all_dag_summaries().await?;
        summaries.into_iter().map(|s| s.dag_id).filter(|id| query.matches("dag_id", id.as_str())).collect()
    } else {
        vec![dags::find(&api, &dag_id).await?.summary.dag_id]
    };
    let mut runs = Vec::new();
    for dag_id in &dag_ids {
        let mut looked_at = 0;
        let mut at = None;
        while looked_at < LOOKED_AT_MAX {
            let found = api.engine.store.list_runs(dag_id, 100, at).await?;
            looked_at += found.items.len();
            runs.extend(found.items.into_iter().filter(|run| filters.hold(run)));
            at = found.next;
            if at.is_none() {
                break;
            }
        }
    }
    sort_by(&mut runs, &order, |run, name| {
        let at = |at: Option<Timestamp>| (at, None, String::new());
        match name {
            "run_after" => at(Some(run.facts.run_after)),
            "logical_date" => at(run.facts.logical_date),
            "start_date" => at(run.start_date),
            "end_date" => at(run.end_date),
            "duration" => (None, shapes::seconds(run.start_date, run.end_date), String::new()),
            "state" => (None, None, run.state.to_string()),
            "run_type" => (None, None, run.facts.run_type.to_string()),
            "dag_id" => (None, None, run.facts.dag_id.to_string()),
            "run_id" | "dag_run_id" => (None, None, run.facts.run_id.clone()),
            // Airflow's ids grow with creation.
            _ => at(Some(run.facts.queued_at)),
        }
    });
    let total = runs.len();
    let mut answer = Vec::new();
    for run in page.of(runs) {
        answer.push(shown(&api, &run).await?);
    }
    let limit = if total >= LOOKED_AT_MAX { json!(LOOKED_AT_MAX) } else { Value::Null };
    Ok(Json(json!({
        "dag_runs": answer,
        "total_entries": total,
        "total_entries_limit": limit,
        "next_cursor": null,
        "previous_cursor": null,
    })))
}

/// `GET /dags/{dag_id}/dagRuns/{dag_run_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path((dag_id, run_id)): Path<(String, String)>) -> Answer {
    let run = find(&api, &dag_id, &run_id).await?;
    Ok(Json(shown(&api, &run).await?))
}

/// An instant of a request's body.
fn instant(body: &Value, name: &str) -> Result<Option<Timestamp>, Failure> {
    let message = "Input should have timezone info";
    match &body[name] {
        Value::Null => Ok(None),
        Value::String(text) => match text.parse() {
            Ok(at) => Ok(Some(at)),
            Err(_) => Err(Failure::invalid("timezone_aware", "body", name, message, &body[name])),
        },
        other => Err(Failure::invalid("datetime_type", "body", name, "Input should be a valid datetime", other)),
    }
}

/// `POST /dags/{dag_id}/dagRuns`.
pub(super) async fn trigger<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    Json(body): Json<Value>,
) -> Answer {
    const KNOWN: [&str; 8] = [
        "dag_run_id",
        "data_interval_start",
        "data_interval_end",
        "logical_date",
        "run_after",
        "conf",
        "note",
        "partition_key",
    ];
    let Some(fields) = body.as_object() else {
        return Err(Failure::invalid("model_attributes_type", "body", "", "Input should be an object", &body));
    };
    if let Some(other) = fields.keys().find(|k| !KNOWN.contains(&k.as_str())) {
        return Err(Failure::invalid("extra_forbidden", "body", other, "Extra inputs are not permitted", &body[other]));
    }
    if !fields.contains_key("logical_date") {
        return Err(Failure::invalid("missing", "body", "logical_date", "Field required", &body));
    }
    for name in ["data_interval_start", "data_interval_end", "run_after", "note", "partition_key"] {
        if !body[name].is_null() {
            let message = format!("`{name}` is not supported by this version; leave it out");
            return Err(Failure::bad_request(message));
        }
    }
    let run_id = match &body["dag_run_id"] {
        Value::Null => None,
        Value::String(id) => Some(id.clone()).filter(|id| !id.is_empty()),
        other => {
            return Err(Failure::invalid("string_type", "body", "dag_run_id", "Input should be a valid string", other));
        }
    };
    let view = dags::find(&api, &dag_id).await?;
    let trigger = Trigger {
        dag_id: view.summary.dag_id,
        run_id,
        logical_date: instant(&body, "logical_date")?,
        conf: body["conf"].clone(),
    };
    let run = api.engine.trigger(trigger).await?;
    Ok(Json(shown(&api, &run).await?))
}
