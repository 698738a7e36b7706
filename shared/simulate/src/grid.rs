//! Items in memory with an index by wake-up: as [`Memory`](updraft_metastore::memory::Memory), for hundreds of thousands of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use updraft_metastore::item::wake_of;
use updraft_metastore::{Condition, Due, Error, Item, Items, Key, Outcome, Range, Update};

/// Items, and the time index over them.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    items: BTreeMap<Key, Item>,
    due: BTreeSet<(i64, Key)>,
}

impl Inner {
    fn put(&mut self, key: &Key, item: Item) {
        let now = wake_of(&item);
        let was = self.items.insert(key.clone(), item).and_then(|item| wake_of(&item));
        self.index(key, was, now);
    }

    fn index(&mut self, key: &Key, was: Option<i64>, now: Option<i64>) {
        if was == now {
            return;
        }
        if let Some(at) = was {
            self.due.remove(&(at, key.clone()));
        }
        if let Some(at) = now {
            self.due.insert((at, key.clone()));
        }
    }
}

impl Grid {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the next item wants attention, in milliseconds.
    pub(crate) fn next_wake(&self) -> Option<i64> {
        self.lock().due.first().map(|(at, _)| *at)
    }
}

impl Items for Grid {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        let mut inner = self.lock();
        let outcome = update.run(inner.items.get(&update.key));
        if let Outcome::Updated(item) = &outcome {
            inner.put(&update.key, item.clone());
        }
        Ok(outcome)
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        let mut inner = self.lock();
        if let Some(there) = inner.items.get(key) {
            return Ok(Outcome::Refused(Some(there.clone())));
        }
        inner.put(key, item.clone());
        Ok(Outcome::Updated(item.clone()))
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.lock().put(key, item.clone());
        Ok(())
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        let mut inner = self.lock();
        if inner.items.get(key).is_some_and(|item| !conditions.iter().all(|c| c.holds(item))) {
            return Ok(Outcome::Refused(Some(())));
        }
        let was = inner.items.remove(key).and_then(|item| wake_of(&item));
        inner.index(key, was, None);
        Ok(Outcome::Updated(()))
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        Ok(self.lock().items.get(key).cloned())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        let inner = self.lock();
        Ok(keys.iter().filter_map(|key| inner.items.get(key).map(|item| (key.clone(), item.clone()))).collect())
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        let inner = self.lock();
        let from = Key { pk: range.pk.clone(), sk: range.prefix.clone() };
        let inside = |key: &Key| key.pk == range.pk && key.sk.starts_with(&range.prefix);
        let after = |sk: &String| range.after.as_ref().is_none_or(|a| if range.descending { sk < a } else { sk > a });
        let all = inner.items.range(from..).take_while(|(key, _)| inside(key)).filter(|(key, _)| after(&key.sk));
        let mut found: Vec<(&Key, &Item)> =
            if range.descending { all.collect() } else { all.take(range.limit).collect() };
        if range.descending {
            found.reverse();
            found.truncate(range.limit);
        }
        Ok(found.into_iter().map(|(key, item)| (key.sk.clone(), item.clone())).collect())
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        let inner = self.lock();
        let due = inner.due.iter().take_while(|(at, _)| *at <= until).take(limit);
        Ok(due.map(|(wake_at, key)| Due { wake_at: *wake_at, key: key.clone() }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    updraft_metastore::items_suite!(Grid::default());
}
