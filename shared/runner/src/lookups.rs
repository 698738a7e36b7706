//! What a running callable and a template ask for: XComs, variables, connections.

use serde_json::Value;
use updraft_execution::{LookupError, Lookups};
use updraft_log_store::LogStore;
use updraft_metastore::{Items, Metastore};
use updraft_model::Connection;
use updraft_service::{Environment, Error, Lookup, Work, xcoms};

/// What an attempt may look up.
#[derive(Debug)]
pub(crate) struct AttemptLookups<'a, I, L> {
    pub(crate) store: &'a Metastore<I>,
    pub(crate) logs: &'a L,
    pub(crate) environment: &'a Environment,
    pub(crate) work: &'a Work,
}

impl<I: Items, L: LogStore> AttemptLookups<'_, I, L> {
    /// One value of one task; none where it pushed none, has not ended, or is not in the DAG.
    pub(crate) async fn get(&self, task_id: &str, key: &str) -> Result<Option<Value>, Error> {
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
        match xcoms::winners(self.store, run, [task]).await?.get(&task).and_then(|a| a.xcoms.get(key)) {
            Some(value) => xcoms::resolve(self.logs, value).await.map(Some),
            None => Ok(None),
        }
    }
}

impl<I: Items, L: LogStore> Lookups for AttemptLookups<'_, I, L> {
    async fn pull(&self, task_ids: Vec<String>, key: String) -> Result<Vec<Option<Value>>, LookupError> {
        let mut values = Vec::with_capacity(task_ids.len());
        for task_id in task_ids {
            let value = self.get(&task_id, &key).await;
            values.push(value.map_err(|e| LookupError(format!("XComs could not be read: {e}")))?);
        }
        Ok(values)
    }

    async fn variable(&self, key: String) -> Result<Option<String>, LookupError> {
        let lookup = Lookup { store: self.store, environment: self.environment };
        let found = lookup.variable(&key).await;
        found.map_err(|e| LookupError(format!("the variable `{key}` could not be read: {e}")))
    }

    async fn connection(&self, conn_id: String) -> Result<Option<Connection>, LookupError> {
        let lookup = Lookup { store: self.store, environment: self.environment };
        let found = lookup.connection(&conn_id).await;
        found.map_err(|e| LookupError(format!("the connection `{conn_id}` could not be read: {e}")))
    }
}
