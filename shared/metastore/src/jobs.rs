//! Documents of work that goes on in the background: interventions in several runs. Each is one JSON text with a revision, in the time
//! index until it is done. They are written seldom and by few, so a write may ask that nothing else was written since.

use crate::codec::{self, corrupt, from_json_item, json_item, number, wake, wake_changes};
use crate::item::{Change, Condition, Item, Key, Path, SHARD, Update, Value, WAKE_AT};
use crate::store::Metastore;
use crate::{Error, Items, Outcome, keys};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use updraft_model::{Intervention, OperationId};

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
    async fn a_job_is_read_back_and_a_late_write_is_refused() {
        let store = Metastore::new(Memory::default());
        let at = |second| Timestamp::from_second(second).unwrap();
        store.put_intervention(intervention(), at(60)).await.unwrap();
        let read = store.intervention(&OperationId::trusted("op")).await.unwrap().unwrap();
        assert_eq!(read, Job { body: intervention(), wake_at: Some(at(60)), revision: 0 });
        let due = store.due(at(60), 10).await.unwrap();
        assert_eq!(due[0].what, crate::DueWhat::Intervention(OperationId::trusted("op")));
        let further = Intervention { done: 1, ..intervention() };
        let written = store.update_intervention(&read, &further, at(90)).await.unwrap();
        let expected = Job { body: further.clone(), wake_at: Some(at(90)), revision: 1 };
        assert_eq!(written, Outcome::Updated(expected.clone()));
        let late = store.update_intervention(&read, &intervention(), at(60)).await.unwrap();
        assert_eq!(late, Outcome::Refused(Some(expected)));
        store.delete_intervention(&OperationId::trusted("op")).await.unwrap();
        assert_eq!(store.intervention(&OperationId::trusted("op")).await.unwrap(), None);
        assert_eq!(store.due(at(999), 10).await.unwrap(), []);
    }
}
