//! Triggering a run by Airflow's REST API, on the service layer and over HTTP: `trigger_api.json`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use updraft_model::run_id::isoformat;
use updraft_model::{Dag, DagChange, DagId, RunDoc};
use updraft_service::interventions::bodies;

use crate::harness::{Tally, Verdict, judge_cases, load};
use crate::http::{self, Way};
use crate::service::{NOW, TestEngine, engine, status};
use crate::shapes::{load_text, parse};

pub(crate) fn judge_file() -> Option<Tally> {
    judge_by("trigger_api", false)
}

/// The cases, by requests to the routes where `is_http`.
pub(crate) fn judge_by(name: &'static str, is_http: bool) -> Option<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
    let recorded = load("trigger_api")?;
    Some(judge_cases(name, &recorded.cases, |case| {
        let case: Case = parse(case);
        let words = &recorded.header["dags"][&case.dag];
        match dag(&case.dag, words) {
            Bound::Dag(dag) => runtime.block_on(judge_requests(&case, Some(*dag), is_http)),
            Bound::NoSuchDag => runtime.block_on(judge_requests(&case, None, is_http)),
            Bound::Nowhere => Verdict::Unbound(format!("dag={}: {words}", case.dag)),
        }
    }))
}

enum Bound {
    Dag(Box<Dag>),
    NoSuchDag,
    Nowhere,
}

/// What the words of the file's header mean. A DAG that the header does not have does not exist.
fn dag(name: &str, words: &Value) -> Bound {
    let class = |class: &str| json!({"__type__": class, "cron": "0 0 * * *", "timezone": "UTC"});
    let keys = match words.as_str() {
        None => return Bound::NoSuchDag,
        Some("schedule None") => json!({"schedule": null}),
        Some("@daily (CronTriggerTimetable)") => json!({"schedule": "@daily"}),
        Some("CronDataIntervalTimetable 0 0 * * * UTC") => {
            json!({"schedule": class("airflow.timetables.interval.CronDataIntervalTimetable")})
        }
        Some("@once") => json!({"schedule": "@once"}),
        Some("timedelta(hours=6)") => json!({"schedule": {"__type__": "datetime.timedelta", "hours": 6}}),
        Some("params req: string without default; n: integer 1..10 default 5; opt: null or string default None") => {
            let param = |keys: Value| {
                let mut param = keys;
                param["__type__"] = json!("airflow.models.param.Param");
                param
            };
            json!({"schedule": null, "params": {
                "req": param(json!({"type": "string"})),
                "n": param(json!({"default": 5, "type": "integer", "minimum": 1, "maximum": 10})),
                "opt": param(json!({"default": null, "type": ["null", "string"]})),
            }})
        }
        Some(_) => return Bound::Nowhere,
    };
    let mut keys = keys;
    keys["tasks"] = json!({"t": {"operator": "EmptyOperator"}});
    keys["default_args"] = json!({"start_date": "2025-01-01"});
    let dag = load_text(&json!({name: keys}).to_string()).unwrap_or_else(|why| panic!("{name}: {why}"));
    Bound::Dag(Box::new(dag))
}

#[derive(Deserialize)]
struct Case {
    id: String,
    dag: String,
    requests: Vec<Value>,
}

async fn judge_requests(case: &Case, dag: Option<Dag>, is_http: bool) -> Verdict {
    let dag_id = DagId::trusted(&case.dag);
    let engine = Arc::new(engine(dag.into_iter().collect()).await);
    let way = Way::new(is_http, &engine);
    // The body does not say that the DAG was paused before; the id does.
    if case.id.ends_with("-paused") {
        let change = DagChange { paused: Some(true), ..DagChange::default() };
        engine.store.update_dag(&dag_id, &change).await.expect("memory answers");
    }
    for request in &case.requests {
        if let Err(why) = judge_request(&engine, &way, &dag_id, request).await {
            return Verdict::Failed(format!("{}: {why}", request["body"]));
        }
    }
    Verdict::Passed
}

/// Makes a request. The run that it made, or the status by which it was refused and what was said.
async fn trigger(engine: &TestEngine, way: &Way, dag_id: &DagId, body: &Value) -> Result<RunDoc, (u16, String)> {
    let Way::Http(router) = way else {
        let answer = match bodies::trigger(dag_id, body) {
            Ok((trigger, origin)) => engine.trigger_from(trigger, &origin).await,
            Err(error) => Err(error),
        };
        let found = status(&answer);
        return answer.map_err(|error| (found, error.to_string()));
    };
    let (found, answer) = http::ask(router, "POST", &format!("/api/v2/dags/{dag_id}/dagRuns"), body).await;
    if found != 200 {
        return Err((found, answer.to_string()));
    }
    let run_id = answer["dag_run_id"].as_str().unwrap_or_default();
    let run = engine.run_named(dag_id, run_id).await.map_err(|error| (found, format!("{answer}: {error}")))?;
    let told = answered_differently(&run, &answer);
    if told.is_empty() { Ok(run) } else { Err((0, told.join("; "))) }
}

/// What an answer says otherwise than the run it is about.
fn answered_differently(run: &RunDoc, answer: &Value) -> Vec<String> {
    let facts = &run.facts;
    let at = |at: Option<Timestamp>| at.map_or(Value::Null, |at| json!(isoformat(at).replace("+00:00", "Z")));
    let interval = facts.data_interval;
    let conf = if facts.conf.is_null() { json!({}) } else { facts.conf.clone() };
    let differs = |(name, wanted): (&str, Value)| {
        (answer[name] != wanted).then(|| format!("{name}: the run has {wanted}, the answer {}", answer[name]))
    };
    [
        ("logical_date", at(facts.logical_date)),
        ("data_interval_start", at(interval.map(|i| i.start))),
        ("data_interval_end", at(interval.map(|i| i.end))),
        ("run_after", at(Some(facts.run_after))),
        ("state", json!(run.state)),
        ("run_type", json!(facts.run_type)),
        ("conf", conf),
        ("note", Value::Null),
        ("triggered_by", json!("rest_api")),
        ("triggering_user_name", json!("Anonymous")),
    ]
    .into_iter()
    .filter_map(differs)
    .collect()
}

async fn judge_request(engine: &TestEngine, way: &Way, dag_id: &DagId, request: &Value) -> Result<(), String> {
    let answer = trigger(engine, way, dag_id, &request["body"]).await;
    let found = answer.as_ref().map_or_else(|(status, _)| *status, |_| 200);
    if request["status"] != found {
        return Err(format!("expected {}, found {found}: {answer:?}", request["status"]));
    }
    let Ok(run) = answer else { return Ok(()) };
    let note = engine.store.notes(&run.facts.incarnation).await.expect("memory answers");
    let mut differences = compare(&run, request);
    if request["note"] != Value::Null || !note.is_empty() {
        differences.push(format!("note {note:?}"));
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

/// What differs between a created run and the recorded one.
fn compare(run: &RunDoc, recorded: &Value) -> Vec<String> {
    let facts = &run.facts;
    let at = |recorded: &Value| recorded.as_str().map(|text| text.parse::<Timestamp>().expect("a recorded instant"));
    let interval = facts.data_interval;
    let mut differences = Vec::new();
    let mut check = |what: &str, same: bool, found: &dyn std::fmt::Debug| {
        if !same {
            differences.push(format!("{what}: expected {}, found {found:?}", recorded[what]));
        }
    };
    check("logical_date", at(&recorded["logical_date"]) == facts.logical_date, &facts.logical_date);
    check("data_interval_start", at(&recorded["data_interval_start"]) == interval.map(|i| i.start), &interval);
    check("data_interval_end", at(&recorded["data_interval_end"]) == interval.map(|i| i.end), &interval);
    let of_request = |at: Timestamp| at >= NOW && at < NOW + SignedDuration::from_mins(10);
    let run_after = match recorded["run_after"].as_str() {
        Some("<request time>") => of_request(facts.run_after),
        _ => at(&recorded["run_after"]) == Some(facts.run_after),
    };
    check("run_after", run_after, &facts.run_after);
    let run_id = match recorded["dag_run_id"].as_str() {
        Some("manual__<request time>") => facts.run_id == format!("manual__{}", isoformat(facts.run_after)),
        other => other == Some(&facts.run_id),
    };
    check("dag_run_id", run_id, &facts.run_id);
    check("state", recorded["state"] == run.state.as_str(), &run.state);
    check("run_type", recorded["run_type"] == facts.run_type.as_str(), &facts.run_type);
    let conf = if facts.conf.is_null() { json!({}) } else { facts.conf.clone() };
    check("conf", recorded["conf"] == conf, &conf);
    let by = facts.origin.triggered_by.map(updraft_model::TriggeredBy::as_str);
    check("triggered_by", recorded["triggered_by"].as_str() == by, &by);
    differences
}
