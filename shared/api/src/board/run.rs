//! A run with all its task instances, in columns: 10,000 of them are some 300 KB.

use super::{Fresh, letter, running_since};
use crate::parts::{Api, Parts};
use crate::v2::{Failure, runs};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use updraft_model::{Attempt, RunDoc, TaskIndex};

/// How an attempt's time adds up.
#[derive(Debug, Default, Clone)]
struct Used {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    attempts: u32,
    milliseconds: i64,
}

/// Attempts by task: when the last try began and ended, and how long all of them took.
fn used(attempts: &[(updraft_model::AttemptKey, Attempt)], run: &RunDoc) -> BTreeMap<TaskIndex, Used> {
    let mut all: BTreeMap<TaskIndex, Used> = BTreeMap::new();
    for (key, attempt) in attempts {
        let one = all.entry(key.task).or_default();
        one.attempts += 1;
        one.milliseconds += attempt.end_date.duration_since(attempt.start_date).as_millis() as i64;
        if key.try_number == run.cell(key.task).try_number() {
            one.start = Some(one.start.map_or(attempt.start_date, |start| start.min(attempt.start_date)));
            one.end = Some(one.end.map_or(attempt.end_date, |end| end.max(attempt.end_date)));
        }
    }
    for (task, cell) in &run.cells {
        if let Some(since) = running_since(cell) {
            let one = all.entry(*task).or_default();
            (one.start, one.end) = (Some(one.start.map_or(since, |start| start.min(since))), None);
        }
    }
    all
}

/// A run, its tasks and how each stands.
pub(super) async fn one<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let plan = &version.plan;
    let attempts = api.engine.store.attempts_of(&run.facts.incarnation, None).await?;
    let used = used(&attempts, &run);
    let of = |task: TaskIndex| used.get(&task).cloned().unwrap_or_default();
    let upstream = |task: TaskIndex| plan.upstream(task).iter().map(|up| up.at()).collect::<Vec<_>>();
    let begun = run.start_date.map(Timestamp::as_millisecond).unwrap_or_default();
    // Milliseconds since the run began: short numbers.
    let since = |at: Option<Timestamp>| at.map(|at| at.as_millisecond() - begun);
    let body = json!({
        "run": runs::shown(&api, &run).await?,
        "tasks": super::grid::tasks(plan),
        "rows": super::grid::rows(plan),
        "states": plan.tasks().map(|task| letter(run.task_state(task))).collect::<String>(),
        "tries": plan.tasks().map(|task| run.cell(task).try_number()).collect::<Vec<_>>(),
        "start": plan.tasks().map(|task| since(of(task).start)).collect::<Vec<_>>(),
        "end": plan.tasks().map(|task| since(of(task).end)).collect::<Vec<_>>(),
        "upstream": plan.tasks().map(upstream).collect::<Vec<_>>(),
        "base": begun,
        "mapped": super::mapped(&run, plan, plan),
        "messages": messages(&attempts, &run),
        "used": total(&used),
    });
    Ok(Fresh::new(&body, headers))
}

/// Why what has failed did, in a line each, by index.
fn messages(attempts: &[(updraft_model::AttemptKey, Attempt)], run: &RunDoc) -> serde_json::Map<String, Value> {
    let latest = attempts.iter().filter(|(key, _)| key.try_number == run.cell(key.task).try_number());
    let said = latest.filter_map(|(key, attempt)| Some((key.task.at().to_string(), attempt.message.clone()?.into())));
    said.collect()
}

/// What the finished attempts of all tasks took together.
fn total(used: &BTreeMap<TaskIndex, Used>) -> Value {
    let attempts: u32 = used.values().map(|one| one.attempts).sum();
    let milliseconds: i64 = used.values().map(|one| one.milliseconds).sum();
    json!({"attempts": attempts, "seconds": milliseconds as f64 / 1000.0})
}
