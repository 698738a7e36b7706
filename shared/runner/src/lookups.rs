//! What a running callable and a template ask for: XComs, variables, connections.

use serde_json::Value;
use updraft_execution::{LookupError, Lookups};
use updraft_log_store::LogStore;
use updraft_metastore::{Items, Metastore};
use updraft_model::attempt::RETURN_VALUE;
use updraft_model::{Connection, Topic, ValueRef};
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
    /// The value of one task; of a mapped one the list of its instances' values, or the only one there is. None where it pushed none, has
    /// not ended, or is not in the DAG.
    pub(crate) async fn get(&self, task_id: &str, key: &str) -> Result<Option<Value>, Error> {
        let mut rows = self.rows(task_id, key, None).await?;
        Ok(match rows.len() {
            0 => None,
            1 => rows.pop().map(|(_, value)| value),
            _ => Some(Value::Array(rows.into_iter().map(|(_, value)| value).collect())),
        })
    }

    /// The value of one task as an argument of this one. Of a mapped one always a list, however many there are; of another task of the same
    /// mapped group the value of the same instance.
    pub(crate) async fn argument(&self, task_id: &str, key: &str) -> Result<Option<Value>, Error> {
        if !self.is_mapped(task_id) {
            return self.get(task_id, key).await;
        }
        let plan = &self.work.version.plan;
        let unit_of = |task| plan.unit_of(task).map(|unit| unit.unit);
        let beside = plan.index_of(task_id).and_then(unit_of) == unit_of(self.work.task);
        if let Some(map_index) = self.work.map_index().filter(|_| beside) {
            let mut rows = self.rows(task_id, key, Some(&[i64::from(map_index)])).await?;
            Ok(rows.pop().map(|(_, value)| value))
        } else {
            let rows = self.rows(task_id, key, None).await?;
            Ok(Some(Value::Array(rows.into_iter().map(|(_, value)| value).collect())))
        }
    }

    /// The values of one task by map index, -1 where it is not mapped; with `map_indexes` only these.
    pub(crate) async fn rows(
        &self,
        task_id: &str,
        key: &str,
        map_indexes: Option<&[i64]>,
    ) -> Result<Vec<(i32, Value)>, Error> {
        let plan = &self.work.version.plan;
        let Some(task) = plan.index_of(task_id) else { return Ok(Vec::new()) };
        // Upstreams had ended when this attempt was claimed; others may have since.
        let fresh;
        let is_known = |run: &updraft_model::RunDoc| run.cell(task).is_final();
        let run = if is_known(&self.work.run) {
            &self.work.run
        } else {
            match self.store.run(&self.work.run.facts.incarnation).await? {
                Some(run) => fresh = run,
                None => return Ok(Vec::new()),
            }
            &fresh
        };
        let found = if self.is_mapped(task_id) {
            let only: Option<Vec<u32>> =
                map_indexes.map(|only| only.iter().filter_map(|index| u32::try_from(*index).ok()).collect());
            let rows = xcoms::rows(self.store, plan, run, task, key, only.as_deref()).await?;
            rows.into_iter().map(|(index, value)| (i32::try_from(index).unwrap_or(i32::MAX), value)).collect()
        } else if map_indexes.is_none_or(|only| only.contains(&-1)) {
            let winner = xcoms::winners(self.store, run, [task]).await?.remove(&task);
            winner.and_then(|mut attempt| attempt.xcoms.remove(key)).map(|value| (-1, value)).into_iter().collect()
        } else {
            Vec::new()
        };
        let mut rows = Vec::with_capacity(found.len());
        for (map_index, value) in found {
            rows.push((map_index, xcoms::resolve(self.logs, &value).await?));
        }
        Ok(rows)
    }

    /// Whether a task is mapped.
    pub(crate) fn is_mapped(&self, task_id: &str) -> bool {
        let plan = &self.work.version.plan;
        plan.index_of(task_id).is_some_and(|task| plan.unit_of(task).is_some())
    }

    /// The reference to what a task that is not mapped returned.
    pub(crate) async fn returned(&self, task_id: &str) -> Result<Option<ValueRef>, Error> {
        let Some(task) = self.work.version.plan.index_of(task_id) else { return Ok(None) };
        let winner = xcoms::winners(self.store, &self.work.run, [task]).await?.remove(&task);
        Ok(winner.and_then(|mut attempt| attempt.xcoms.remove(RETURN_VALUE)))
    }

    /// One item of a value.
    pub(crate) async fn item_of(&self, value: &ValueRef, item: u64) -> Result<Value, Error> {
        xcoms::resolve_item(self.logs, value, item).await
    }

    /// The `item`-th of the values that a mapped task's instances returned.
    pub(crate) async fn item_of_mapped(&self, task_id: &str, item: u64) -> Result<Option<Value>, Error> {
        let plan = &self.work.version.plan;
        let Some(task) = plan.index_of(task_id) else { return Ok(None) };
        match xcoms::item(self.store, plan, &self.work.run, task, item).await? {
            Some(value) => xcoms::resolve(self.logs, &value).await.map(Some),
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

    async fn pull_instances(
        &self,
        task_ids: Vec<String>,
        map_indexes: Vec<i64>,
        key: String,
    ) -> Result<Vec<Vec<(i64, Value)>>, LookupError> {
        let mut found = Vec::with_capacity(task_ids.len());
        for task_id in task_ids {
            let rows = self.rows(&task_id, &key, Some(&map_indexes)).await;
            let rows = rows.map_err(|e| LookupError(format!("XComs could not be read: {e}")))?;
            found.push(rows.into_iter().map(|(index, value)| (i64::from(index), value)).collect());
        }
        Ok(found)
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

    async fn asset_events(&self, topic: Topic) -> Result<Vec<Value>, LookupError> {
        let found = crate::assets::last_events(self.store, &topic).await;
        found.map_err(|e| LookupError(format!("the events of `{}` could not be read: {e}", topic.name())))
    }
}
