//! The event log: what people have changed. One item an event, in the order of time.

use crate::codec::{from_json_item, json_item};
use crate::store::{Metastore, Page, PageToken};
use crate::{Error, Items, Range, keys};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use updraft_model::DagId;

/// Something that a person has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventLog {
    /// Its id: greater than that of every earlier event.
    pub event_log_id: i64,
    /// When it happened.
    pub when: Timestamp,
    /// What was done: Airflow's name for it, such as `cli_dag_trigger` or `trigger_dag_run`.
    pub event: String,
    /// To which DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dag_id: Option<DagId>,
    /// To which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// To which instance of a mapped task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_index: Option<u32>,
    /// To which run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// What the run stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// To which try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub try_number: Option<u32>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// What else is to be known, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
}

impl<I: Items> Metastore<I> {
    /// Writes an event. False: there is one of this id.
    pub async fn put_event_log(&self, event: &EventLog) -> Result<bool, Error> {
        let outcome = self.items().put_new(&keys::event_log(event.event_log_id), &json_item(event)).await?;
        Ok(matches!(outcome, crate::Outcome::Updated(_)))
    }

    /// Reads an event.
    pub async fn event_log(&self, event_log_id: i64) -> Result<Option<EventLog>, Error> {
        self.items().get(&keys::event_log(event_log_id)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// The events, the latest first, or (`descending` not set) the earliest.
    pub async fn list_event_logs(
        &self,
        descending: bool,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<EventLog>, Error> {
        let range = Range { pk: keys::EVENT_LOG.to_owned(), prefix: String::new(), after: page, descending, limit };
        let found = self.items().query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let items = found.iter().map(|(_, item)| from_json_item(item)).collect::<Result<_, _>>()?;
        Ok(Page::of(items, next))
    }

    /// Removes an event.
    pub async fn delete_event_log(&self, event_log_id: i64) -> Result<(), Error> {
        self.items().delete(&keys::event_log(event_log_id), &[]).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[tokio::test]
    async fn events_are_kept_in_the_order_of_time() {
        let store = Metastore::new(Memory::default());
        let event = |id: i64| EventLog {
            event_log_id: id,
            when: Timestamp::from_microsecond(id).unwrap(),
            event: "cli_dag_pause".to_owned(),
            dag_id: Some(DagId::trusted("d")),
            task_id: None,
            map_index: None,
            run_id: None,
            logical_date: None,
            try_number: None,
            owner: Some("ada".to_owned()),
            extra: Some("{}".to_owned()),
        };
        for id in [5, 1_700_000_000_000_000, 70] {
            assert!(store.put_event_log(&event(id)).await.unwrap());
        }
        assert!(!store.put_event_log(&event(70)).await.unwrap());
        let ids = |page: Page<EventLog>| page.items.into_iter().map(|e| e.event_log_id).collect::<Vec<_>>();
        assert_eq!(ids(store.list_event_logs(true, 10, None).await.unwrap()), [1_700_000_000_000_000, 70, 5]);
        assert_eq!(ids(store.list_event_logs(false, 1, None).await.unwrap()), [5]);
        assert_eq!(store.event_log(70).await.unwrap(), Some(event(70)));
        store.delete_event_log(70).await.unwrap();
        assert_eq!(store.event_log(70).await.unwrap(), None);
    }
}
