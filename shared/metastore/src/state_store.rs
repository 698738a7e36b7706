//! What tasks, and people, keep beside task instances and assets: small JSON values under names.

use crate::codec::{from_json_item, json_item};
use crate::store::Metastore;
use crate::{Error, Items, Key, Range, keys};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_model::{Incarnation, TaskIndex};

/// Beside what a value is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// A task instance; -1 for one that is not mapped.
    Task(Incarnation, TaskIndex, i64),
    /// An asset, by its number.
    Asset(u64),
}

/// A value that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The value.
    pub value: Value,
    /// When it was written.
    pub updated_at: Timestamp,
    /// When it counts no more; none: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl<I: Items> Metastore<I> {
    /// Keeps a value, over one of the same name.
    pub async fn keep_value(&self, scope: &Scope, name: &str, kept: &Kept) -> Result<(), Error> {
        self.items().put(&keys::kept_value(scope, name), &json_item(kept)).await
    }

    /// A value that is kept.
    pub async fn kept_value(&self, scope: &Scope, name: &str) -> Result<Option<Kept>, Error> {
        self.items().get(&keys::kept_value(scope, name)).await?.map(|item| from_json_item(&item)).transpose()
    }

    /// Removes a value. An absent one is no error.
    pub async fn forget_value(&self, scope: &Scope, name: &str) -> Result<(), Error> {
        self.items().delete(&keys::kept_value(scope, name), &[]).await.map(|_| ())
    }

    /// All values of a scope, by name.
    pub async fn kept_values(&self, scope: &Scope) -> Result<Vec<(String, Kept)>, Error> {
        let Key { pk, sk: prefix } = keys::kept_value(scope, "");
        let found = self.kept_below(&pk, &prefix).await?;
        found.into_iter().map(|(sk, item)| Ok((sk[prefix.len()..].to_owned(), from_json_item(&item)?))).collect()
    }

    /// Removes all values of all task instances of a run, or of one of its tasks.
    pub async fn forget_values_of_run(&self, run: &Incarnation, task: Option<TaskIndex>) -> Result<(), Error> {
        let (pk, prefix) = (keys::run(run).pk, keys::kept_values_of(task));
        for (sk, _) in self.kept_below(&pk, &prefix).await? {
            self.items().delete(&Key { pk: pk.clone(), sk }, &[]).await?;
        }
        Ok(())
    }

    async fn kept_below(&self, pk: &str, prefix: &str) -> Result<Vec<(String, crate::Item)>, Error> {
        let mut range =
            Range { pk: pk.to_owned(), prefix: prefix.to_owned(), after: None, descending: false, limit: 200 };
        let mut all = Vec::new();
        loop {
            let page = self.items().query(&range).await?;
            let full = page.len() == range.limit;
            range.after = page.last().map(|(sk, _)| sk.clone());
            all.extend(page);
            if !full {
                return Ok(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;
    use serde_json::json;

    #[tokio::test]
    async fn values_are_kept_by_scope_and_go_with_their_run() {
        let store = Metastore::new(Memory::default());
        let run = Incarnation::trusted("r");
        let of = |task, map| Scope::Task(run.clone(), TaskIndex(task), map);
        let kept = |n: i64| Kept { value: json!(n), updated_at: Timestamp::UNIX_EPOCH, expires_at: None };
        for (n, scope) in [of(1, -1), of(1, 0), of(1, 10), of(2, -1), Scope::Asset(7)].iter().enumerate() {
            store.keep_value(scope, "a/b", &kept(n as i64)).await.unwrap();
        }
        store.keep_value(&of(1, 0), "c", &kept(9)).await.unwrap();
        assert_eq!(store.kept_value(&of(1, 10), "a/b").await.unwrap(), Some(kept(2)));
        assert_eq!(
            store.kept_values(&of(1, 0)).await.unwrap(),
            [("a/b".to_owned(), kept(1)), ("c".to_owned(), kept(9))]
        );
        store.forget_value(&of(1, 0), "c").await.unwrap();
        store.forget_values_of_run(&run, Some(TaskIndex(1))).await.unwrap();
        assert_eq!(store.kept_values(&of(1, 10)).await.unwrap(), []);
        assert_eq!(store.kept_values(&of(2, -1)).await.unwrap().len(), 1);
        store.forget_values_of_run(&run, None).await.unwrap();
        assert_eq!(store.kept_values(&of(2, -1)).await.unwrap(), []);
        assert_eq!(store.kept_values(&Scope::Asset(7)).await.unwrap().len(), 1);
    }
}
