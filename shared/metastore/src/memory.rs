//! Items in memory: for tests, and as the ground under simulations.

use crate::item::{Condition, Item, Key, Update, wake_of};
use crate::{Due, Error, Items, Outcome, Range};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Items in one ordered map.
#[derive(Debug, Default)]
pub struct Memory {
    map: Mutex<BTreeMap<Key, Item>>,
}

impl Memory {
    /// Everything that is stored. A poisoned lock is taken over: each operation leaves the map whole.
    pub fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Item>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Items for Memory {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        let mut map = self.lock();
        let outcome = update.run(map.get(&update.key));
        if let Outcome::Updated(item) = &outcome {
            map.insert(update.key.clone(), item.clone());
        }
        Ok(outcome)
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        let mut map = self.lock();
        if let Some(there) = map.get(key) {
            return Ok(Outcome::Refused(Some(there.clone())));
        }
        map.insert(key.clone(), item.clone());
        Ok(Outcome::Updated(item.clone()))
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.lock().insert(key.clone(), item.clone());
        Ok(())
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        let mut map = self.lock();
        if map.get(key).is_some_and(|item| !conditions.iter().all(|c| c.holds(item))) {
            return Ok(Outcome::Refused(Some(())));
        }
        map.remove(key);
        Ok(Outcome::Updated(()))
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        Ok(self.lock().get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        let map = self.lock();
        Ok(keys.iter().filter_map(|key| map.get(key).map(|item| (key.clone(), item.clone()))).collect())
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        let map = self.lock();
        let from = Key { pk: range.pk.clone(), sk: range.prefix.clone() };
        let matching = map
            .range(from..)
            .take_while(|(k, _)| k.pk == range.pk && k.sk.starts_with(&range.prefix))
            .map(|(k, item)| (k.sk.clone(), item.clone()));
        let after = |sk: &String| range.after.as_ref().is_none_or(|a| if range.descending { sk < a } else { sk > a });
        let mut found: Vec<_> = matching.filter(|(sk, _)| after(sk)).collect();
        if range.descending {
            found.reverse();
        }
        found.truncate(range.limit);
        Ok(found)
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        let map = self.lock();
        let mut found: Vec<Due> = map
            .iter()
            .filter_map(|(key, item)| wake_of(item).map(|wake_at| Due { wake_at, key: key.clone() }))
            .filter(|due| due.wake_at <= until)
            .collect();
        found.sort();
        found.truncate(limit);
        Ok(found)
    }
}
