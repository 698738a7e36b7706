//! DAG runs.

use super::query::Query;
use super::{Failure, NoContent, dag_versions, dags, shapes};
use crate::audit::Made;
use crate::auth::Caller;
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::body::Body as Stream;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use updraft_clock::Clock;
use updraft_model::{DagId, DagRunState, RunDoc, TriggeredBy};
use updraft_service::interventions::bodies;

type Answer = Result<Json<Value>, Failure>;

/// A run by its name, with Airflow's words where there is none.
pub(crate) async fn find<P: Parts>(api: &Api<P>, dag_id: &str, run_id: &str) -> Result<RunDoc, Failure> {
    let missing =
        || Failure::not_found(format!("The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` was not found"));
    let dag_id = DagId::parse(dag_id).map_err(|_| missing())?;
    let name = api.engine.store.run_name(&dag_id, run_id).await?.ok_or_else(missing)?;
    api.engine.store.run(&name.incarnation).await?.ok_or_else(missing)
}

pub(crate) async fn shown<P: Parts>(api: &Api<P>, run: &RunDoc) -> Result<Value, Failure> {
    Ok(shown_all(api, std::slice::from_ref(run)).await?.pop().unwrap_or_default())
}

/// `DAGRunResponse` of each.
pub(super) async fn shown_all<P: Parts>(api: &Api<P>, runs: &[RunDoc]) -> Result<Vec<Value>, Failure> {
    let ids: Vec<_> = runs.iter().map(|run| run.facts.incarnation.clone()).collect();
    let notes = api.engine.store.run_notes(&ids).await?;
    let mut answer = Vec::with_capacity(runs.len());
    for run in runs {
        let version = api.engine.version(&run.facts.version).await?;
        let note = notes.get(&run.facts.incarnation).map(|note| note.content.as_str());
        let its = dag_versions::of_run(api, run).await?;
        answer.push(shapes::run(run, &version.plan.dag, note, its));
    }
    Ok(answer)
}

/// `GET /dags/{dag_id}/dagRuns/{dag_run_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path((dag_id, run_id)): Path<(String, String)>) -> Answer {
    let run = find(&api, &dag_id, &run_id).await?;
    Ok(Json(shown(&api, &run).await?))
}

/// `POST /dags/{dag_id}/dagRuns`.
pub(super) async fn trigger<P: Parts>(
    State(api): State<Api<P>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    Path(dag_id): Path<String>,
    Body(body): Body,
) -> Result<(Extension<Made>, Json<Value>), Failure> {
    let missing = || Failure::not_found(format!("Dag with dag_id: '{dag_id}' not found"));
    let id = DagId::parse(&dag_id).map_err(|_| missing())?;
    let summary = api.engine.store.dag_summary(&id).await?.filter(|summary| !summary.is_stale);
    let summary = summary.ok_or_else(missing)?;
    if dags::bad_files(&api).await?.contains(&summary.file) {
        let detail = format!("Dag with dag_id: '{dag_id}' has import errors and cannot be triggered");
        return Err(Failure::bad_request(detail));
    }
    let (trigger, mut origin) = bodies::trigger(&id, &body)?;
    // As in Airflow, pages are told by where they say they come from.
    let from_page = headers.contains_key(header::REFERER)
        || headers.get("sec-fetch-site").is_some_and(|site| site == "same-origin");
    origin.triggered_by = Some(if from_page { TriggeredBy::Ui } else { TriggeredBy::RestApi });
    origin.user = Some(caller.username);
    let run = api.engine.trigger_from(trigger, &origin).await?;
    Ok((Extension(made(&run)), Json(shown(&api, &run).await?)))
}

/// What the audit log is told of a run that was made.
pub(super) fn made(run: &RunDoc) -> Made {
    Made { run_id: Some(run.facts.run_id.clone()), logical_date: run.facts.logical_date, named: Vec::new() }
}

/// Deletes a run that does not run.
pub(super) async fn deleted<P: Parts>(api: &Api<P>, dag_id: &str, run_id: &str) -> Result<(), Failure> {
    let run = find(api, dag_id, run_id).await?;
    if run.state == DagRunState::Running {
        return Err(Failure::conflict(format!(
            "The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` cannot be deleted in {} state",
            run.state
        )));
    }
    Ok(api.engine.delete_run(&run.facts.dag_id, run_id).await?)
}

/// `DELETE /dags/{dag_id}/dagRuns/{dag_run_id}`: not while it runs.
pub(super) async fn delete<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> Result<NoContent, Failure> {
    deleted(&api, &dag_id, &run_id).await?;
    Ok(NoContent)
}

/// How a run stands, and once it has ended what these tasks returned.
async fn standing<P: Parts>(api: &Api<P>, run: &RunDoc, results: &[String]) -> Result<Value, Failure> {
    let mut said = json!({"state": run.state});
    if run.state.is_finished() {
        let version = api.engine.version(&run.facts.version).await?;
        let mut returned = Map::new();
        for task_id in results.iter().filter(|id| version.plan.index_of(id).is_some()) {
            let found = api.engine.xcoms(&*api.logs, run, Some(task_id), Some("return_value")).await?;
            returned.extend(found.into_iter().map(|(task_id, _, value)| (task_id, value)));
        }
        if !returned.is_empty() {
            said["results"] = returned.into();
        }
    }
    Ok(said)
}

/// `GET /dags/{dag_id}/dagRuns/{dag_run_id}/wait`: a line of JSON each time the run was looked at, until it has ended.
pub(super) async fn wait<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Failure> {
    /// Nobody is served by being asked for more often.
    const INTERVAL_MIN: f64 = 0.05;
    const INTERVAL_MAX: f64 = 3600.0;
    let interval = query.text("interval").and_then(|text| text.trim().parse::<f64>().ok()).unwrap_or(1.0);
    if interval <= 0.0 {
        let message = "Input should be greater than 0";
        return Err(Failure::invalid("greater_than", "query", "interval", message, &interval.to_string().into()));
    }
    let interval = Duration::from_secs_f64(interval.clamp(INTERVAL_MIN, INTERVAL_MAX));
    let results: Vec<String> = query.all("result").into_iter().map(str::to_owned).collect();
    let run = find(&api, &dag_id, &run_id).await?;
    let (send, lines) = tokio::sync::mpsc::channel::<Result<String, std::io::Error>>(1);
    tokio::spawn(async move {
        let mut run = run;
        loop {
            let line = match standing(&api, &run, &results).await {
                Ok(line) => line,
                Err(failure) => json!({"error": failure.text()}),
            };
            // Nobody listens any more.
            if send.send(Ok(format!("{line}\n"))).await.is_err() || run.state.is_finished() {
                return;
            }
            tokio::select! {
                () = send.closed() => return,
                () = api.engine.clock.sleep(interval) => {}
            }
            match api.engine.store.run(&run.facts.incarnation).await {
                Ok(Some(now)) => run = now,
                // Deleted, or not to be read: the stream ends, and whoever waits asks again and is told.
                Ok(None) | Err(_) => return,
            }
        }
    });
    let body = Stream::from_stream(ReceiverStream::new(lines));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}
