//! DAG runs.

use super::query::Query;
use super::{Failure, NoContent, dags, shapes};
use crate::contract::{Body, instant};
use crate::parts::{Api, Parts};
use axum::Json;
use axum::body::Body as Stream;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio_stream::wrappers::ReceiverStream;
use updraft_clock::Clock;
use updraft_model::{DagId, DagRunState, RunDoc};
use updraft_service::Trigger;

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
    let version = api.engine.version(&run.facts.version).await?;
    Ok(shapes::run(run, &version.plan.dag))
}

/// `GET /dags/{dag_id}/dagRuns/{dag_run_id}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path((dag_id, run_id)): Path<(String, String)>) -> Answer {
    let run = find(&api, &dag_id, &run_id).await?;
    Ok(Json(shown(&api, &run).await?))
}

/// An instant of a request's body, whose form is known to be right.
fn at(body: &Value, name: &str) -> Option<Timestamp> {
    body[name].as_str().and_then(instant)
}

/// `POST /dags/{dag_id}/dagRuns`.
pub(super) async fn trigger<P: Parts>(
    State(api): State<Api<P>>,
    Path(dag_id): Path<String>,
    Body(body): Body,
) -> Answer {
    for name in ["data_interval_start", "data_interval_end", "run_after", "note", "partition_key"] {
        if !body[name].is_null() {
            let message = format!("`{name}` is not supported by this version; leave it out");
            return Err(Failure::bad_request(message));
        }
    }
    let run_id = body["dag_run_id"].as_str().filter(|id| !id.is_empty()).map(str::to_owned);
    let view = dags::find(&api, &dag_id).await?;
    let trigger = Trigger {
        dag_id: view.summary.dag_id,
        run_id,
        logical_date: at(&body, "logical_date"),
        conf: body["conf"].clone(),
    };
    let run = api.engine.trigger(trigger).await?;
    Ok(Json(shown(&api, &run).await?))
}

/// `DELETE /dags/{dag_id}/dagRuns/{dag_run_id}`: not while it runs.
pub(super) async fn delete<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
) -> Result<NoContent, Failure> {
    let run = find(&api, &dag_id, &run_id).await?;
    if run.state == DagRunState::Running {
        return Err(Failure::conflict(format!(
            "The DagRun with dag_id: `{dag_id}` and run_id: `{run_id}` cannot be deleted in {} state",
            run.state
        )));
    }
    api.engine.delete_run(&run.facts.dag_id, &run_id).await?;
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
