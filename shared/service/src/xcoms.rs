//! What attempts leave behind besides their items: XComs of a run, resolved through the attempt that won, since a stale attempt's output is
//! unreachable; and the names under which logs and large values are kept.

use crate::engine::Error;
use serde_json::Value;
use std::collections::BTreeMap;
use updraft_log_store::LogStore;
use updraft_metastore::{Items, Metastore};
use updraft_model::{Attempt, AttemptKey, Cell, RunDoc, TaskIndex, ValueRef};

/// The key of the attempt whose item holds a task's XComs, if it has ended by an attempt.
pub fn winner(run: &RunDoc, task: TaskIndex) -> Option<AttemptKey> {
    match run.cell(task) {
        Cell::Final { try_number, winner: Some(token), .. } => Some(AttemptKey {
            incarnation: run.facts.incarnation.clone(),
            task,
            try_number: *try_number,
            token: token.clone(),
        }),
        _ => None,
    }
}

/// Follows a reference to its value.
pub async fn resolve<L: LogStore>(logs: &L, value: &ValueRef) -> Result<Value, Error> {
    let uri = match value {
        ValueRef::Inline(value) => return Ok(value.clone()),
        ValueRef::At(uri) => uri,
    };
    let bytes = logs
        .get(uri)
        .await?
        .ok_or_else(|| Error::Refused(format!("the XCom kept at `{uri}` is gone: it was removed, or has expired")))?;
    serde_json::from_slice(&bytes).map_err(|e| Error::Refused(format!("the XCom kept at `{uri}` is no JSON: {e}")))
}

/// The attempts that won, of these tasks, by task.
pub async fn winners<I: Items>(
    store: &Metastore<I>,
    run: &RunDoc,
    tasks: impl IntoIterator<Item = TaskIndex>,
) -> Result<BTreeMap<TaskIndex, Attempt>, Error> {
    let wanted: Vec<AttemptKey> = tasks.into_iter().filter_map(|task| winner(run, task)).collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    Ok(store.attempts(&wanted).await?.into_iter().map(|(key, attempt)| (key.task, attempt)).collect())
}

/// The name of an attempt's log in the log store. Spread over a bounded number of folders, none of which is ever to be removed.
pub fn log_name(attempt: &AttemptKey) -> String {
    format!("logs/{}.log", blob_name(attempt))
}

/// The name of one of an attempt's large values in the log store.
pub fn value_name(attempt: &AttemptKey, number: usize) -> String {
    format!("xcoms/{}-{number}.json", blob_name(attempt))
}

/// What the names of an attempt's log and large values have in common.
fn blob_name(attempt: &AttemptKey) -> String {
    let AttemptKey { incarnation, task, try_number, token } = attempt;
    let folder: String = incarnation.as_str().chars().take(2).collect();
    format!("{folder}/{incarnation}-{task}-{try_number}-{token}")
}
