//! Documents of work that goes on in the background: interventions in several runs, and backfills. Each is one JSON text with a revision, in the time
//! index until it is done. They are written seldom and by few, so a write may ask that nothing else was written since.

use crate::codec::{self, corrupt, from_json_item, json_item, number, wake, wake_changes};
use crate::item::{Change, Condition, Item, Key, Path, SHARD, Update, Value, WAKE_AT};
use crate::store::Metastore;
use crate::{Error, Items, Outcome, Readable, keys};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use updraft_model::{Backfill, BackfillId, Intervention, OperationId};

/// A document as one read or one write returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct Job<T> {
    /// What it says.
    pub body: T,
    /// In the time index at this instant; none: out of it. Millisecond precision.
    pub wake_at: Option<Timestamp>,
    /// Grows with every write.
    pub revision: u64,
}

/// The attribute that counts writes.
const REVISION: &str = "rv";

fn item<T: Serialize>(key: &Key, job: &Job<T>) -> Item {
    let mut item = json_item(&job.body);
    item.insert(REVISION.to_owned(), Value::N(job.revision as i64));
    if let Some(at) = job.wake_at {
        item.insert(SHARD.to_owned(), Value::S(keys::shard(key)));
        item.insert(WAKE_AT.to_owned(), Value::N(at.as_millisecond()));
    }
    item
}

fn job<T: DeserializeOwned>(item: &Item) -> Result<Job<T>, Error> {
    let revision = number(item, REVISION).ok_or_else(|| corrupt("a job without a revision"))?;
    Ok(Job { body: from_json_item(item)?, wake_at: wake(item)?, revision: revision as u64 })
}

fn update<T: Serialize>(key: Key, before: &Job<T>, body: &T, wake_at: Option<Timestamp>) -> Update {
    let mut changes =
        vec![Change::Add(REVISION, 1), Change::Set(Path::Top(codec::JSON), Value::S(codec::to_json(body)))];
    wake_changes(&key, Some(wake_at), &mut changes);
    let conditions = vec![Condition::Equals(Path::Top(REVISION), Value::N(before.revision as i64))];
    Update { key, conditions, changes }
}

impl<I: Items> Metastore<I> {
    pub(crate) async fn put_job<T: Serialize + DeserializeOwned>(
        &self,
        key: &Key,
        body: T,
        wake_at: Option<Timestamp>,
    ) -> Result<Outcome<Job<T>>, Error> {
        let job_new = Job { body, wake_at, revision: 0 };
        self.items().put_new(key, &item(key, &job_new)).await?.try_map(|item| job(&item))
    }

    pub(crate) async fn job<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<Job<T>>, Error> {
        self.items().get(key).await?.map(|item| job(&item)).transpose()
    }

    pub(crate) async fn update_job<T: Serialize + DeserializeOwned>(
        &self,
        key: Key,
        before: &Job<T>,
        body: &T,
        wake_at: Option<Timestamp>,
    ) -> Result<Outcome<Job<T>>, Error> {
        self.items().update(&update(key, before, body, wake_at)).await?.try_map(|item| job(&item))
    }

    /// Records an intervention in several runs, before it touches the first.
    pub async fn put_intervention(&self, body: Intervention, wake_at: Timestamp) -> Result<(), Error> {
        let key = keys::intervention(&body.operation);
        self.put_job(&key, body, Some(wake_at)).await.map(|_| ())
    }

    /// Reads an intervention in several runs. None: it is made.
    pub async fn intervention(&self, operation: &OperationId) -> Result<Option<Job<Intervention>>, Error> {
        self.job(&keys::intervention(operation)).await
    }

    /// Notes how far an intervention has come. Refused: somebody else goes on with it.
    pub async fn update_intervention(
        &self,
        before: &Job<Intervention>,
        body: &Intervention,
        wake_at: Timestamp,
    ) -> Result<Outcome<Job<Intervention>>, Error> {
        self.update_job(keys::intervention(&body.operation), before, body, Some(wake_at)).await
    }

    /// Puts a backfill, with its place in the directory. False: there is one of this id.
    pub async fn put_backfill(&self, body: &Backfill, wake_at: Option<Timestamp>) -> Result<bool, Error> {
        // A place without a backfill is passed over; a backfill without a place would not be found.
        self.items().put_new(&keys::backfill_entry(&body.id), &json_item(&body.id)).await?;
        let put = self.put_job(&keys::backfill(&body.id), body.clone(), wake_at).await?;
        Ok(matches!(put, Outcome::Updated(_)))
    }

    /// Reads a backfill.
    pub async fn backfill(&self, id: &BackfillId) -> Result<Option<Job<Backfill>>, Error> {
        self.job(&keys::backfill(id)).await
    }

    /// Changes a backfill. Refused: somebody has written since it was read.
    pub async fn update_backfill(
        &self,
        before: &Job<Backfill>,
        body: &Backfill,
        wake_at: Option<Timestamp>,
    ) -> Result<Outcome<Job<Backfill>>, Error> {
        self.update_job(keys::backfill(&body.id), before, body, wake_at).await
    }

    /// All backfills, the latest first.
    pub async fn list_backfills(&self) -> Result<Readable<Backfill>, Error> {
        let mut all = Readable { items: Vec::new(), unreadable: Vec::new() };
        let mut range = crate::Range {
            pk: keys::BACKFILLS.to_owned(),
            prefix: String::new(),
            after: None,
            descending: true,
            limit: 100,
        };
        loop {
            let page = self.items().query(&range).await?;
            let entries = page.iter().map(|(sk, item)| (Key { pk: range.pk.clone(), sk: sk.clone() }, item));
            let ids = Readable::of(entries, |_, item| from_json_item::<BackfillId>(item))?;
            let keys: Vec<Key> = ids.items.iter().map(keys::backfill).collect();
            let mut found = self.readable(&keys, |key, item| Ok((key.clone(), job::<Backfill>(item)?.body))).await?;
            for key in &keys {
                if let Some(at) = found.items.iter().position(|(there, _)| there == key) {
                    all.items.push(found.items.swap_remove(at).1);
                }
            }
            all.unreadable.extend(ids.unreadable.into_iter().chain(found.unreadable));
            if page.len() < range.limit {
                return Ok(all);
            }
            range.after = page.last().map(|(sk, _)| sk.clone());
        }
    }

    /// Removes a backfill.
    pub async fn delete_backfill(&self, id: &BackfillId) -> Result<(), Error> {
        self.items().delete(&keys::backfill(id), &[]).await?;
        self.items().delete(&keys::backfill_entry(id), &[]).await.map(|_| ())
    }

    /// Forgets an intervention that is made.
    pub async fn delete_intervention(&self, operation: &OperationId) -> Result<(), Error> {
        self.items().delete(&keys::intervention(operation), &[]).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use updraft_model::{Act, DagId, Incarnation, Intent, RunIntent, TaskIndex};

    fn intervention() -> Intervention {
        Intervention {
            operation: OperationId::trusted("op"),
            dag_id: DagId::trusted("d"),
            runs: vec![RunIntent {
                incarnation: Incarnation::trusted("i"),
                intent: Intent::new(Act::Clear, [TaskIndex(3)]),
                prevent_running_task: false,
                run_on_latest_version: false,
            }],
            done: 0,
        }
    }

    #[tokio::test]
    async fn backfills_are_listed_the_latest_first() {
        let store = Metastore::new(Memory::default());
        let at = Timestamp::from_second(60).unwrap();
        let backfill = |id: &str| Backfill {
            id: BackfillId::trusted(id),
            dag_id: DagId::trusted("d"),
            from_date: at,
            to_date: at,
            dag_run_conf: serde_json::json!({"a": 1}),
            reprocess_behavior: updraft_model::ReprocessBehavior::Failed,
            run_backwards: true,
            max_active_runs: 3,
            run_on_latest_version: true,
            is_paused: true,
            created_at: at,
            updated_at: at,
            completed_at: None,
            user: Some("ada".to_owned()),
            last: Some(updraft_model::DataInterval { start: at, end: at }),
            last_date: Some(at),
            is_exhausted: false,
            active: [(Incarnation::trusted("i"), updraft_model::BackfillRun::default())].into(),
            counts: updraft_model::BackfillCounts { created: 1, cleared: 2, passed_over: 3 },
        };
        for id in ["900", "1000"] {
            assert!(store.put_backfill(&backfill(id), Some(at)).await.unwrap());
        }
        assert!(!store.put_backfill(&backfill("900"), None).await.unwrap());
        assert_eq!(store.list_backfills().await.unwrap().items, [backfill("1000"), backfill("900")]);
        assert_eq!(store.due(at, 9).await.unwrap().items.len(), 2);
        store.delete_backfill(&BackfillId::trusted("900")).await.unwrap();
        assert_eq!(store.list_backfills().await.unwrap().items, [backfill("1000")]);
    }

    #[tokio::test]
    async fn a_job_is_read_back_and_a_late_write_is_refused() {
        let store = Metastore::new(Memory::default());
        let at = |second| Timestamp::from_second(second).unwrap();
        store.put_intervention(intervention(), at(60)).await.unwrap();
        let read = store.intervention(&OperationId::trusted("op")).await.unwrap().unwrap();
        assert_eq!(read, Job { body: intervention(), wake_at: Some(at(60)), revision: 0 });
        let due = store.due(at(60), 10).await.unwrap().items;
        assert_eq!(due[0].what, crate::DueWhat::Intervention(OperationId::trusted("op")));
        let further = Intervention { done: 1, ..intervention() };
        let written = store.update_intervention(&read, &further, at(90)).await.unwrap();
        let expected = Job { body: further.clone(), wake_at: Some(at(90)), revision: 1 };
        assert_eq!(written, Outcome::Updated(expected.clone()));
        let late = store.update_intervention(&read, &intervention(), at(60)).await.unwrap();
        assert_eq!(late, Outcome::Refused(Some(expected)));
        store.delete_intervention(&OperationId::trusted("op")).await.unwrap();
        assert_eq!(store.intervention(&OperationId::trusted("op")).await.unwrap(), None);
        assert_eq!(store.due(at(999), 10).await.unwrap().items, []);
    }
}
