//! Items that are there and cannot be read: lists leave them out, and say which.
//!
//! Whoever decides asks for documents it needs by [`Metastore::runs`] and its like, and gets nothing where one of them cannot be read. Whoever
//! shows a list, or looks after many things of which each stands for itself, shall not lose them all to one.

use crate::item::{Item, Key};
use crate::pages::page_doc;
use crate::store::Metastore;
use crate::{Error, Items, codec, keys};
use std::collections::BTreeMap;
use std::fmt;
use updraft_model::{Attempt, AttemptKey, DagDoc, DagId, Incarnation, PageDoc, PageKey, RunDoc, TaskIndex};

/// An item that is there and cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Where it is.
    pub key: Key,
    /// What is wrong with it.
    pub why: String,
}

impl Unreadable {
    /// What an item's own error says of it.
    ///
    /// # Errors
    /// The error, where it is no fault of the item.
    pub(crate) fn of(key: Key, error: Error) -> Result<Self, Error> {
        match error {
            Error::Corrupt(why) => Ok(Self { key, why }),
            error => Err(error),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the item `{}` / `{}` cannot be read: {}", self.key.pk, self.key.sk, self.why)
    }
}

/// What could be read of many items, and what could not.
#[derive(Debug, Clone, PartialEq)]
pub struct Readable<T> {
    /// What could.
    pub items: Vec<T>,
    /// What could not.
    pub unreadable: Vec<Unreadable>,
}

impl<T> Readable<T> {
    /// All of it, for whoever may leave nothing out.
    ///
    /// # Errors
    /// [`Error::Corrupt`], naming the first of what could not be read.
    pub fn whole(self) -> Result<Vec<T>, Error> {
        match self.unreadable.first() {
            Some(unreadable) => Err(Error::Corrupt(unreadable.to_string())),
            None => Ok(self.items),
        }
    }

    /// Reads items, each by itself.
    ///
    /// # Errors
    /// Whatever is no fault of the items.
    pub(crate) fn of<'a>(
        found: impl IntoIterator<Item = (Key, &'a Item)>,
        read: impl Fn(&Key, &Item) -> Result<T, Error>,
    ) -> Result<Self, Error> {
        let mut all = Self { items: Vec::new(), unreadable: Vec::new() };
        for (key, item) in found {
            match read(&key, item) {
                Ok(document) => all.items.push(document),
                Err(error) => all.unreadable.push(Unreadable::of(key, error)?),
            }
        }
        Ok(all)
    }
}

impl<I: Items> Metastore<I> {
    /// Reads many run documents, as [`Metastore::runs`] does, each by itself.
    pub async fn readable_runs(&self, incarnations: &[Incarnation]) -> Result<Readable<RunDoc>, Error> {
        let keys: Vec<Key> = incarnations.iter().map(keys::run).collect();
        self.readable(&keys, |_, item| codec::run_doc(item)).await
    }

    /// Reads many DAG documents, as [`Metastore::dags`] does, each by itself.
    pub async fn readable_dags(&self, dag_ids: &[DagId]) -> Result<Readable<DagDoc>, Error> {
        let by_key: BTreeMap<Key, &DagId> = dag_ids.iter().map(|id| (keys::dag(id), id)).collect();
        let keys: Vec<Key> = by_key.keys().cloned().collect();
        self.readable(&keys, |key, item| codec::dag_doc(by_key[key], item)).await
    }

    /// Reads many attempts' items, as [`Metastore::attempts`] does, each by itself.
    pub async fn readable_attempts(&self, wanted: &[AttemptKey]) -> Result<Readable<(AttemptKey, Attempt)>, Error> {
        let by_key: BTreeMap<Key, &AttemptKey> = wanted.iter().map(|k| (keys::attempt(k), k)).collect();
        let keys: Vec<Key> = by_key.keys().cloned().collect();
        self.readable(&keys, |key, item| Ok((by_key[key].clone(), codec::from_json_item(item)?))).await
    }

    /// Reads many pages of a mapped task or group, as [`Metastore::pages`] does, each by itself.
    pub async fn readable_pages(
        &self,
        incarnation: &Incarnation,
        unit: TaskIndex,
        pages: impl IntoIterator<Item = u32>,
    ) -> Result<Readable<PageDoc>, Error> {
        let key = |page| PageKey { incarnation: incarnation.clone(), unit, page };
        let by_key: BTreeMap<Key, PageKey> = pages.into_iter().map(key).map(|key| (keys::page(&key), key)).collect();
        let keys: Vec<Key> = by_key.keys().cloned().collect();
        if keys.is_empty() {
            return Ok(Readable { items: Vec::new(), unreadable: Vec::new() });
        }
        let mut found = self.readable(&keys, |key, item| page_doc(&by_key[key], item)).await?;
        found.items.sort_by_key(|page| page.key.page);
        Ok(found)
    }

    /// Reads items by key, each by itself.
    pub(crate) async fn readable<T>(
        &self,
        keys: &[Key],
        read: impl Fn(&Key, &Item) -> Result<T, Error>,
    ) -> Result<Readable<T>, Error> {
        let mut unreadable = Vec::new();
        let found = match self.items().get_many(keys).await {
            Ok(found) => found,
            // One of them is no item even to its store. Which one it is, only reading them one by one tells.
            Err(Error::Corrupt(_)) => {
                let mut found = Vec::new();
                for key in keys {
                    match self.items().get(key).await {
                        Ok(item) => found.extend(item.map(|item| (key.clone(), item))),
                        Err(error) => unreadable.push(Unreadable::of(key.clone(), error)?),
                    }
                }
                found
            }
            Err(error) => return Err(error),
        };
        let mut all = Readable::of(found.iter().map(|(key, item)| (key.clone(), item)), read)?;
        all.unreadable.append(&mut unreadable);
        Ok(all)
    }
}
