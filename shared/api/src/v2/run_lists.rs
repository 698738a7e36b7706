//! Lists of DAG runs: filters, order, pages.

use super::order::{SortKey, sort_by};
use super::query::{Bounds, Query};
use super::{Failure, dags, runs, shapes};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use jiff::Timestamp;
use serde_json::{Value, json};
use updraft_model::{DagId, RunDoc};

/// How many of a DAG's latest runs a filtered or sorted list looks at. The newest come first, so what lies beyond is old.
pub(crate) const LOOKED_AT_MAX: usize = 1000;

type Answer = Result<Json<Value>, Failure>;

/// The filters of a list of runs.
pub(super) struct Filters<'q> {
    query: &'q Query,
    run_after: Bounds<Timestamp>,
    logical_date: Bounds<Timestamp>,
    start_date: Bounds<Timestamp>,
    end_date: Bounds<Timestamp>,
    updated_at: Bounds<Timestamp>,
    duration: Bounds<f64>,
}

impl<'q> Filters<'q> {
    pub(super) fn read(query: &'q Query) -> Result<Self, Failure> {
        Ok(Self {
            query,
            run_after: query.times("run_after")?,
            logical_date: query.times("logical_date")?,
            start_date: query.times("start_date")?,
            end_date: query.times("end_date")?,
            updated_at: query.times("updated_at")?,
            duration: query.numbers("duration")?,
        })
    }

    pub(super) fn hold(&self, run: &RunDoc) -> bool {
        let (query, facts) = (self.query, &run.facts);
        let partition = facts.partition.as_ref().map(|partition| partition.key.as_str());
        self.run_after.hold(Some(facts.run_after))
            && self.logical_date.hold(facts.logical_date)
            && self.start_date.hold(run.start_date)
            && self.end_date.hold(run.end_date)
            && self.updated_at.hold(updated_at(run))
            && self.duration.hold(shapes::seconds(run.start_date, run.end_date))
            && query.is_one_of("state", run.state.as_str())
            && query.is_one_of("run_type", facts.run_type.as_str())
            && query.matches("run_id", &facts.run_id)
            && query.matches_optional("partition_key", partition)
            && query.text("conf_contains").is_none_or(|part| facts.conf.to_string().contains(part))
            && query.matches_optional("triggering_user_name", facts.origin.triggering_user_name.as_deref())
            && query.text("bundle_version").is_none()
    }

    /// Whether there are none, so that the order of the index is all that is needed.
    fn is_empty(&self) -> bool {
        const HARMLESS: [&str; 4] = ["limit", "offset", "order_by", "cursor"];
        self.query.names().all(|name| HARMLESS.contains(&name))
    }
}

/// When something of a run last changed, as far as its document tells.
fn updated_at(run: &RunDoc) -> Option<Timestamp> {
    run.end_date.max(run.start_date).max(Some(run.facts.queued_at))
}

const ORDERS: [&str; 14] = [
    "id",
    "dag_run_id",
    "run_id",
    "run_after",
    "logical_date",
    "partition_date",
    "start_date",
    "end_date",
    "updated_at",
    "state",
    "duration",
    "run_type",
    "dag_id",
    "conf",
];

/// The sort key of a run under a name of `order_by`.
fn key(run: &RunDoc, name: &str) -> SortKey {
    match name {
        "run_after" => run.facts.run_after.into(),
        "logical_date" => run.facts.logical_date.into(),
        "partition_date" => run.facts.partition.as_ref().map(|partition| partition.date).into(),
        "start_date" => run.start_date.into(),
        "end_date" => run.end_date.into(),
        "updated_at" => updated_at(run).into(),
        "duration" => shapes::seconds(run.start_date, run.end_date).into(),
        "state" => run.state.to_string().into(),
        "run_type" => run.facts.run_type.to_string().into(),
        "dag_id" => run.facts.dag_id.to_string().into(),
        "run_id" | "dag_run_id" => run.facts.run_id.clone().into(),
        "conf" => run.facts.conf.to_string().into(),
        // Airflow's ids grow with creation.
        _ => run.facts.queued_at.into(),
    }
}

/// The runs of these DAGs that the filters let through, at most [`LOOKED_AT_MAX`] looked at of each.
pub(super) async fn filtered<P: Parts>(
    api: &Api<P>,
    dag_ids: &[DagId],
    filters: &Filters<'_>,
) -> Result<Vec<RunDoc>, Failure> {
    let mut runs = Vec::new();
    for dag_id in dag_ids {
        let (mut looked_at, mut page) = (0, None);
        while looked_at < LOOKED_AT_MAX {
            let found = api.engine.list_runs(dag_id, 100, page).await?;
            looked_at += found.items.len();
            runs.extend(found.items.into_iter().filter(|run| filters.hold(run)));
            page = found.next;
            if page.is_none() {
                break;
            }
        }
    }
    Ok(runs)
}

/// The DAGs that a path names: one, or with `~` all whose ids the query lets through.
pub(super) async fn named<P: Parts>(api: &Api<P>, dag_id: &str, query: &Query) -> Result<Vec<DagId>, Failure> {
    if dag_id != "~" {
        return Ok(vec![dags::find(api, dag_id).await?.summary.dag_id]);
    }
    let summaries = api.engine.all_dag_summaries().await?;
    let ids = summaries.into_iter().map(|s| s.dag_id);
    Ok(ids.filter(|id| query.matches("dag_id", id.as_str()) && query.is_one_of("dag_ids", id.as_str())).collect())
}

/// The latest runs of a DAG by `run_after`, of which only the page is read, and how many there are.
async fn latest<P: Parts>(api: &Api<P>, dag_id: &DagId, query: &Query) -> Result<Value, Failure> {
    let page = query.page()?;
    let mut names = Vec::new();
    let mut at = None;
    loop {
        let found = api.engine.store.list_run_names(dag_id, 1000, at).await?;
        names.extend(found.items);
        at = found.next;
        if at.is_none() {
            break;
        }
    }
    let total = names.len();
    let wanted: Vec<_> = page.of(names).into_iter().map(|name| name.incarnation).collect();
    let mut found = api.engine.readable_runs(&wanted).await?.items;
    found.retain(|run| run.deleted_at.is_none());
    found.sort_by_key(|run| wanted.iter().position(|incarnation| *incarnation == run.facts.incarnation));
    // Put in afterwards: the macro would copy them all.
    let mut answer = json!({"dag_runs": null, "total_entries": total, "total_entries_limit": null, "next_cursor": null, "previous_cursor": null});
    answer["dag_runs"] = runs::shown_all(api, &found).await?.into();
    Ok(answer)
}

async fn answer<P: Parts>(api: &Api<P>, dag_ids: &[DagId], query: &Query) -> Answer {
    let filters = Filters::read(query)?;
    let order = query.order_by("id", &ORDERS)?;
    if let ([dag_id], [("run_after", true)]) = (dag_ids, order.as_slice())
        && filters.is_empty()
        && query.text("cursor").is_none()
    {
        return Ok(Json(latest(api, dag_id, query).await?));
    }
    let mut runs = filtered(api, dag_ids, &filters).await?;
    sort_by(&mut runs, &order, key);
    let mut answer = query.window(&mut runs, |run| run.facts.incarnation.to_string())?;
    answer["dag_runs"] = runs::shown_all(api, &runs).await?.into();
    Ok(Json(answer))
}

/// `GET /dags/{dag_id}/dagRuns`; `~` for all DAGs.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>, query: Query) -> Answer {
    if query.text("partition_date_gte").is_some() || query.text("partition_date_lte").is_some() {
        return by_partition_date(&api, &dag_id, &query).await;
    }
    let dag_ids = named(&api, &dag_id, &query).await?;
    answer(&api, &dag_ids, &query).await
}

/// Runs whose partition's date lies on these days, in the time zone of the DAG.
async fn by_partition_date<P: Parts>(api: &Api<P>, dag_id: &str, query: &Query) -> Answer {
    if dag_id == "~" {
        return Err(Failure::bad_request("partition_date_gte and partition_date_lte require a specific dag_id."));
    }
    let (view, version) = dags::current(api, dag_id).await?;
    let dag = &version.plan.dag;
    if !dag.timetable.is_partitioned() {
        return Err(Failure::bad_request(format!(
            "Dag with dag_id: '{dag_id}' is not partitioned; partition_date_gte and partition_date_lte are not supported."
        )));
    }
    let zone = jiff::tz::TimeZone::get(&dag.timezone).unwrap_or(jiff::tz::TimeZone::UTC);
    let day = |name: &str| query.text(name).and_then(|text| text.parse::<jiff::civil::Date>().ok());
    let (from, to) = (day("partition_date_gte"), day("partition_date_lte"));
    let on_a_day = |run: &RunDoc| {
        let date = run.facts.partition.as_ref().map(|partition| partition.date.to_zoned(zone.clone()).date());
        date.is_some_and(|date| from.is_none_or(|from| date >= from) && to.is_none_or(|to| date <= to))
    };
    let filters = Filters::read(query)?;
    let order = query.order_by("id", &ORDERS)?;
    let mut runs = filtered(api, &[view.summary.dag_id], &filters).await?;
    runs.retain(on_a_day);
    sort_by(&mut runs, &order, key);
    let mut answer = query.window(&mut runs, |run| run.facts.incarnation.to_string())?;
    answer["dag_runs"] = runs::shown_all(api, &runs).await?.into();
    Ok(Json(answer))
}

/// `POST /dags/~/dagRuns/list`: the same filters, in a body.
pub(super) async fn batch<P: Parts>(State(api): State<Api<P>>, Path(dag_id): Path<String>, Body(body): Body) -> Answer {
    const NAMES: [(&str, &str); 3] = [("states", "state"), ("page_limit", "limit"), ("page_offset", "offset")];
    if dag_id != "~" {
        return Err(Failure::invalid("literal_error", "path", "dag_id", "Input should be '~'", &dag_id.into()));
    }
    let query = Query::of_body(&body, &NAMES);
    let dag_ids = named(&api, "~", &query).await?;
    answer(&api, &dag_ids, &query).await
}
