//! Callbacks' documents: one JSON text each, with a revision and a place in the time index.

use crate::codec::{JSON, from_json, number, text, to_json, wake_changes};
use crate::item::{Change, Condition, Item, Path, SHARD, Update, Value, WAKE_AT};
use crate::store::Metastore;
use crate::{Error, Items, Key, Outcome, Range, keys};
use updraft_model::{CallbackDoc, CallbackKey, Incarnation};

fn doc(item: &Item) -> Result<CallbackDoc, Error> {
    let doc: CallbackDoc = from_json(text(item, JSON)?)?;
    Ok(CallbackDoc { revision: number(item, "rv").unwrap_or(0) as u64, ..doc })
}

impl<I: Items> Metastore<I> {
    /// Puts a callback's document unless it exists: it is told of once, however often it is noted.
    pub async fn put_callback(&self, callback: &CallbackDoc) -> Result<Outcome<CallbackDoc>, Error> {
        let key = keys::callback(&callback.key);
        let item = Item::from([
            (JSON.to_owned(), Value::S(to_json(callback))),
            ("rv".to_owned(), Value::N(callback.revision as i64)),
            (SHARD.to_owned(), Value::S(keys::shard(&key))),
            (WAKE_AT.to_owned(), Value::N(callback.wake_at.as_millisecond())),
        ]);
        self.items().put_new(&key, &item).await?.try_map(|item| doc(&item))
    }

    /// Reads a callback's document.
    pub async fn callback(&self, key: &CallbackKey) -> Result<Option<CallbackDoc>, Error> {
        self.items().get(&keys::callback(key)).await?.map(|item| doc(&item)).transpose()
    }

    /// Writes a callback's document, if nothing was written to it since it was read.
    pub async fn update_callback(&self, callback: &CallbackDoc) -> Result<Outcome<CallbackDoc>, Error> {
        let key = keys::callback(&callback.key);
        let conditions = vec![Condition::Equals(Path::Top("rv"), Value::N(callback.revision as i64))];
        let mut changes = vec![Change::Add("rv", 1), Change::Set(Path::Top(JSON), Value::S(to_json(callback)))];
        wake_changes(&key, Some(Some(callback.wake_at)), &mut changes);
        self.items().update(&Update { key, conditions, changes }).await?.try_map(|item| doc(&item))
    }

    /// A run's callbacks, by name.
    pub async fn callbacks_of(&self, incarnation: &Incarnation) -> Result<Vec<CallbackDoc>, Error> {
        let pk = keys::run(incarnation).pk;
        let prefix = keys::CALLBACKS.to_owned();
        let mut range = Range { pk, prefix, after: None, descending: false, limit: 200 };
        let mut found = Vec::new();
        loop {
            let page = self.items().query(&range).await?;
            let full = page.len() == range.limit;
            range.after = page.last().map(|(sk, _)| sk.clone());
            for (_, item) in page {
                found.push(doc(&item)?);
            }
            if !full {
                return Ok(found);
            }
        }
    }

    /// Removes a callback's document.
    pub async fn delete_callback(&self, key: &CallbackKey) -> Result<(), Error> {
        let Key { pk, sk } = keys::callback(key);
        self.items().delete(&Key { pk, sk }, &[]).await.map(|_| ())
    }
}
