//! XComs of a run, resolved through the attempt that won: a stale attempt's output is unreachable.

use crate::engine::Error;
use crate::work::Work;
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

/// What the tasks of an attempt's run pushed, as far as they have ended.
#[derive(Debug)]
pub struct RunXComs<'a, I, L> {
    /// The metastore.
    pub store: &'a Metastore<I>,
    /// Where large values are kept.
    pub logs: &'a L,
    /// The attempt that asks.
    pub work: &'a Work,
}

impl<I: Items, L: LogStore> RunXComs<'_, I, L> {
    /// One value of one task; none where it pushed none, has not ended, or is not in the DAG.
    pub async fn get(&self, task_id: &str, key: &str) -> Result<Option<Value>, Error> {
        let Some(task) = self.work.version.plan.index_of(task_id) else { return Ok(None) };
        // Upstreams had ended when this attempt was claimed; others may have since.
        let fresh;
        let run = if self.work.run.cell(task).is_final() {
            &self.work.run
        } else {
            match self.store.run(&self.work.run.facts.incarnation).await? {
                Some(run) => fresh = run,
                None => return Ok(None),
            }
            &fresh
        };
        match winners(self.store, run, [task]).await?.get(&task).and_then(|a| a.xcoms.get(key)) {
            Some(value) => resolve(self.logs, value).await.map(Some),
            None => Ok(None),
        }
    }
}

impl<I: Items, L: LogStore> updraft_execution::XComSource for RunXComs<'_, I, L> {
    async fn pull(
        &self,
        task_ids: Vec<String>,
        key: String,
    ) -> Result<Vec<Option<Value>>, updraft_execution::XComError> {
        let mut values = Vec::with_capacity(task_ids.len());
        for task_id in task_ids {
            let value = self.get(&task_id, &key).await;
            values.push(value.map_err(|e| updraft_execution::XComError(e.to_string()))?);
        }
        Ok(values)
    }
}
