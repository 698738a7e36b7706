//! When task instances of a run began and ended, for those in sight: a run of 10,000 has as many attempts, and a view shows some dozens.

use super::{Fresh, letter, running_since};
use crate::parts::{Api, Parts};
use crate::v2::{Failure, Query, runs};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ops::Range;
use updraft_metastore::keys;
use updraft_model::{Attempt, AttemptKey, Cell, Plan, RunDoc, TaskIndex};

/// How many tasks one answer is about.
pub(super) const TASKS_MAX: usize = 500;

/// How many stretches of neighbouring tasks it reads, each by a request of its own.
pub(super) const STRETCHES_MAX: usize = 50;

/// How many instances of mapped tasks one answer looks at.
pub(super) const INSTANCES_MAX: usize = 2000;

/// How many upstreams are named; of more it is not said when a task was ready.
const UPSTREAM_MAX: usize = 50;

/// How many attempts one answer adds up.
const ATTEMPTS_AT_ONCE: usize = 2000;

/// Tasks by index, each with the first of its instances to look at where it is mapped.
type Wanted = BTreeMap<u32, u32>;

/// Reads `0-99,120,7@2000`: stretches of indices, single ones, and one from its instance 2000 on.
fn wanted(text: &str) -> Option<Wanted> {
    let mut found = Wanted::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (tasks, from) = part.split_once('@').unwrap_or((part, "0"));
        let (first, last) = tasks.split_once('-').unwrap_or((tasks, tasks));
        let (first, last, from) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?, from.parse().ok()?);
        if last < first || found.len() + (last - first) as usize >= TASKS_MAX {
            return None;
        }
        found.extend((first..=last).map(|task| (task, from)));
    }
    Some(found)
}

/// Neighbours together, so that they are read at once; a mapped task, whose instances come behind it, ends a stretch.
fn stretches(plan: &Plan, tasks: impl Iterator<Item = u32>) -> Vec<Range<u32>> {
    let mut found: Vec<Range<u32>> = Vec::new();
    for task in tasks.filter(|task| plan.unit_of(TaskIndex(*task)).is_none()) {
        match found.last_mut() {
            Some(last) if last.end == task => last.end += 1,
            _ => found.push(task..task + 1),
        }
    }
    found
}

/// Milliseconds since the run began: short numbers.
struct Since(i64);

impl Since {
    fn of(run: &RunDoc) -> Self {
        Self(super::begun(run))
    }

    fn at(&self, at: Option<Timestamp>) -> Value {
        at.map_or(Value::Null, |at| (at.as_millisecond() - self.0).into())
    }
}

/// `GET .../times?tasks=0-99`: when the last try of each began and ended, and what it said of itself. Of a mapped task, of which up to
/// [`INSTANCES_MAX`] instances are looked at, when the first began and the last ended, and in `next` where to look on.
pub(super) async fn times<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let asked = query.text("tasks").unwrap_or_default();
    let refused = |why: String| Failure::invalid("value_error", "query", "tasks", &why, &Value::from(asked));
    let form = || {
        refused(format!(
            "Should be indices of at most {TASKS_MAX} tasks: `0-99,120`, `7@2000` from its instance 2000 on"
        ))
    };
    let wanted = wanted(asked).ok_or_else(form)?;
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let version = api.engine.version(&run.facts.version).await?;
    let plan = &version.plan;
    let count = plan.dag.tasks.len();
    if let Some((index, _)) = wanted.last_key_value().filter(|(index, _)| **index as usize >= count) {
        return Err(refused(format!(
            "The run has {count} tasks, the last of index {}; there is no {index}",
            count - 1
        )));
    }
    let stretches = stretches(plan, wanted.keys().copied());
    if stretches.len() > STRETCHES_MAX {
        return Err(refused(format!(
            "Should be at most {STRETCHES_MAX} stretches of neighbours; these are {}",
            stretches.len()
        )));
    }
    let since = Since::of(&run);
    let mut found = Map::new();
    for stretch in stretches {
        let attempts =
            api.engine.store.readable_attempts_of_tasks(&run.facts.incarnation, stretch.clone()).await?.items;
        for task in stretch.map(TaskIndex) {
            found.insert(task.at().to_string(), one(&run, plan, task, &attempts, &since));
        }
    }
    let mut left = INSTANCES_MAX;
    for (index, from) in wanted {
        let task = TaskIndex(index);
        if plan.unit_of(task).is_some() {
            found.insert(index.to_string(), whole(&api, &run, plan, task, from, &mut left).await?);
        }
    }
    Ok(Fresh::new(&json!({"base": since.0, "tasks": found}), headers))
}

/// A task that is not mapped, by the attempts of its last try.
fn one(run: &RunDoc, plan: &Plan, task: TaskIndex, all: &[(AttemptKey, Attempt)], since: &Since) -> Value {
    let cell = run.cell(task);
    // What was cleared has not begun again.
    let of_try = if matches!(cell, Cell::None | Cell::Cleared { .. }) { 0 } else { cell.try_number() };
    let of_task = all[all.partition_point(|(key, _)| key.task < task)..].iter().take_while(|(key, _)| key.task == task);
    let latest: Vec<&Attempt> =
        of_task.filter(|(key, _)| key.try_number == of_try).map(|(_, attempt)| attempt).collect();
    let running = running_since(cell);
    let start = latest.iter().map(|attempt| attempt.start_date).chain(running).min();
    let end = latest.iter().map(|attempt| attempt.end_date).max().filter(|_| running.is_none());
    let message = latest.iter().max_by_key(|attempt| attempt.end_date).and_then(|attempt| attempt.message.clone());
    json!({"start": since.at(start), "end": since.at(end), "message": message, "upstream": upstream(plan, task)})
}

fn upstream(plan: &Plan, task: TaskIndex) -> Option<Vec<usize>> {
    let all = plan.upstream(task);
    (all.len() <= UPSTREAM_MAX).then(|| all.iter().map(|up| up.at()).collect())
}

/// A mapped task, by its instances from one on, of which as many as are `left` are looked at. `open`: the first that has not ended.
async fn whole<P: Parts>(
    api: &Api<P>,
    run: &RunDoc,
    plan: &Plan,
    task: TaskIndex,
    from: u32,
    left: &mut usize,
) -> Result<Value, Failure> {
    let from = from as usize;
    let (views, total) = api.engine.list_mapped(run, task, from, *left).await?;
    *left -= views.len();
    let behind = from.saturating_add(views.len());
    let since = Since::of(run);
    let open = views.iter().find(|view| !view.state.is_finished()).and_then(|view| view.map_index);
    let said = views.iter().find_map(|view| Some(format!("[{}] {}", view.map_index?, view.message.as_ref()?)));
    let running = views.iter().any(|view| view.start_date.is_some() && view.end_date.is_none());
    Ok(json!({
        "start": since.at(views.iter().filter_map(|view| view.start_date).min()),
        "end": since.at(views.iter().filter_map(|view| view.end_date).max().filter(|_| !running)),
        "message": said,
        "upstream": upstream(plan, task),
        "total": total,
        "next": (behind < total).then_some(behind),
        "open": open,
    }))
}

/// `GET .../tasks/{task_id}/instances`: a page of a mapped task's instances, in columns.
pub(super) async fn instances<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id, task_id)): Path<(String, String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let page = query.page()?;
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let task = super::task::index(&api, &run, &task_id).await?;
    let (views, total) = api.engine.list_mapped(&run, task, page.offset, page.limit).await?;
    let since = Since::of(&run);
    let body = json!({
        "total": total,
        "base": since.0,
        "states": views.iter().map(|view| letter(view.state)).collect::<String>(),
        "start": views.iter().map(|view| since.at(view.start_date)).collect::<Vec<_>>(),
        "end": views.iter().map(|view| since.at(view.end_date)).collect::<Vec<_>>(),
        "names": views.iter().map(|view| view.rendered_map_index.as_deref()).collect::<Vec<_>>(),
    });
    Ok(Fresh::new(&body, headers))
}

/// `GET .../used`: how many attempts have ended and how long they took together, a part of them at a time: `next` is where to go on.
pub(super) async fn used<P: Parts>(
    State(api): State<Api<P>>,
    Path((dag_id, run_id)): Path<(String, String)>,
    query: Query,
    headers: HeaderMap,
) -> Result<Fresh, Failure> {
    let after = query.text("after").map(str::to_owned);
    if let Some(after) = after.as_deref().filter(|after| keys::read_attempt(after).is_none()) {
        let message = "Should be what `next` said in an earlier answer";
        return Err(Failure::invalid("value_error", "query", "after", message, &Value::from(after)));
    }
    let run = runs::find(&api, &dag_id, &run_id).await?;
    let page = api.engine.store.attempts_page(&run.facts.incarnation, ATTEMPTS_AT_ONCE, after).await?;
    let took = |attempt: &Attempt| attempt.end_date.duration_since(attempt.start_date).as_millis() as i64;
    let milliseconds: i64 = page.items.iter().map(|(_, attempt)| took(attempt)).sum();
    let body = json!({"attempts": page.items.len(), "milliseconds": milliseconds, "next": page.next});
    Ok(Fresh::new(&body, headers))
}
