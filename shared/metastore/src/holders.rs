//! Holder documents and the directory of pools.
//!
//! | attribute | |
//! |---|---|
//! | `sz` | size; absent: no such pool |
//! | `us` | slots in use |
//! | `ho`, `wt` | holders and waiters: `<incarnation>#<task>`, and `.<map index>` after it, to a claim |
//! | `id` | 1: deferred ones keep their slots |
//! | `ds` | description |
//! | `lk`, `rv` | idle looks, revision |
//! | `shard`, `wake_at` | time index |

use crate::codec::{corrupt, entries, number, set, text, wake, wake_changes};
use crate::item::{Change, Condition, Item, Path, SHARD, Update, Value, WAKE_AT};
use crate::store::{Metastore, Page, PageToken};
use crate::{Error, Items, Outcome, Range, keys};
use updraft_model::{Claim, HolderChange, HolderDoc, HolderId, HolderName, Incarnation};

/// A holder document as an item.
pub fn holder_item(doc: &HolderDoc) -> Item {
    let claims = |claims: &std::collections::BTreeMap<HolderName, Claim>| {
        Value::M(claims.iter().map(|(name, claim)| (name.encode(), Value::S(claim.encode()))).collect())
    };
    let mut item = Item::from([
        ("us".to_owned(), Value::N(doc.used)),
        ("ho".to_owned(), claims(&doc.holders)),
        ("wt".to_owned(), claims(&doc.waiters)),
        ("id".to_owned(), Value::N(i64::from(doc.include_deferred))),
        ("ds".to_owned(), Value::text(&doc.description)),
        ("lk".to_owned(), Value::N(i64::from(doc.looks))),
        ("rv".to_owned(), Value::N(doc.revision as i64)),
    ]);
    set(&mut item, "sz", doc.size.map(Value::N));
    if let Some(at) = doc.wake_at {
        item.insert(SHARD.to_owned(), Value::S(keys::shard(&keys::holder(&doc.id))));
        item.insert(WAKE_AT.to_owned(), Value::N(at.as_millisecond()));
    }
    item
}

/// An item as a holder document.
pub fn holder_doc(id: &HolderId, item: &Item) -> Result<HolderDoc, Error> {
    let claim = |k: &str, v: &Value| match v {
        Value::S(text) => {
            let name = HolderName::decode(k).ok_or_else(|| corrupt(format_args!("holder `{k}`")))?;
            Ok((name, Claim::decode(text).map_err(corrupt)?))
        }
        _ => Err(corrupt(format_args!("holder {k}"))),
    };
    Ok(HolderDoc {
        id: id.clone(),
        size: number(item, "sz"),
        include_deferred: number(item, "id") == Some(1),
        description: text(item, "ds")?.to_owned(),
        holders: entries(item, "ho", claim)?.into_iter().collect(),
        waiters: entries(item, "wt", claim)?.into_iter().collect(),
        used: number(item, "us").unwrap_or(0),
        wake_at: wake(item)?,
        looks: number(item, "lk").and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
        revision: number(item, "rv").unwrap_or(0) as u64,
    })
}

/// A change of a holder document as an update of its item.
pub fn holder_update(id: &HolderId, change: &HolderChange) -> Update {
    let key = keys::holder(id);
    let holder = |name: &HolderName| Path::Entry("ho", name.encode());
    let waiter = |name: &HolderName| Path::Entry("wt", name.encode());
    let mut conditions = Vec::new();
    conditions.extend(change.if_size.map(|size| match size {
        Some(size) => Condition::Equals(Path::Top("sz"), Value::N(size)),
        None => Condition::Absent(Path::Top("sz")),
    }));
    conditions.extend(change.if_used_at_most.map(|most| Condition::AtMost(Path::Top("us"), most)));
    conditions.extend(change.if_nobody_waits.then_some(Condition::FewerThan("wt", 1)));
    conditions.extend(change.if_holders.iter().map(|(name, claim)| match claim {
        Some(claim) => Condition::Equals(holder(name), Value::S(claim.encode())),
        None => Condition::Absent(holder(name)),
    }));
    conditions.extend(change.if_revision.map(|r| Condition::Equals(Path::Top("rv"), Value::N(r as i64))));

    let mut changes = vec![Change::Add("rv", 1)];
    let released = |name: &HolderName| change.release.contains(name);
    let left = |name: &HolderName| change.leave.contains(name);
    changes.extend(
        change.hold.iter().filter(|(n, _)| !released(n)).map(|(n, c)| Change::Set(holder(n), Value::S(c.encode()))),
    );
    changes.extend(change.release.iter().map(|name| Change::Remove(holder(name))));
    changes.extend(
        change.wait.iter().filter(|(n, _)| !left(n)).map(|(n, c)| Change::Set(waiter(n), Value::S(c.encode()))),
    );
    changes.extend(change.leave.iter().map(|name| Change::Remove(waiter(name))));
    changes.extend((change.used != 0).then_some(Change::Add("us", change.used)));
    changes.extend(change.size.map(|size| match size {
        Some(size) => Change::Set(Path::Top("sz"), Value::N(size)),
        None => Change::Remove(Path::Top("sz")),
    }));
    changes.extend(change.include_deferred.map(|is| Change::Set(Path::Top("id"), Value::N(i64::from(is)))));
    changes.extend(change.description.as_ref().map(|text| Change::Set(Path::Top("ds"), Value::text(text))));
    changes.extend(change.looks.map(|n| Change::Set(Path::Top("lk"), Value::N(i64::from(n)))));
    wake_changes(&key, change.wake_at, &mut changes);
    Update { key, conditions, changes }
}

impl<I: Items> Metastore<I> {
    /// Reads a holder document.
    pub async fn holder(&self, id: &HolderId) -> Result<Option<HolderDoc>, Error> {
        self.items().get(&keys::holder(id)).await?.map(|item| holder_doc(id, &item)).transpose()
    }

    /// Reads many holder documents; absent ones are left out; in no order.
    pub async fn holders(&self, ids: &[HolderId]) -> Result<Vec<HolderDoc>, Error> {
        let by_key: std::collections::BTreeMap<_, _> = ids.iter().map(|id| (keys::holder(id), id)).collect();
        let keys: Vec<_> = by_key.keys().cloned().collect();
        self.items().get_many(&keys).await?.iter().map(|(key, item)| holder_doc(by_key[key], item)).collect()
    }

    /// Puts a holder document unless it exists.
    pub async fn put_holder(&self, doc: &HolderDoc) -> Result<Outcome<HolderDoc>, Error> {
        let outcome = self.items().put_new(&keys::holder(&doc.id), &holder_item(doc)).await?;
        outcome.try_map(|item| holder_doc(&doc.id, &item))
    }

    /// Changes a holder document.
    pub async fn update_holder(&self, id: &HolderId, change: &HolderChange) -> Result<Outcome<HolderDoc>, Error> {
        let outcome = self.items().update(&holder_update(id, change)).await?;
        outcome.try_map(|item| holder_doc(id, &item))
    }

    /// Removes the holder document of a run that is deleted.
    pub(crate) async fn delete_holder_of_run(&self, run: &Incarnation) -> Result<(), Error> {
        self.items().delete(&keys::holder(&HolderId::Run(run.clone())), &[]).await.map(|_| ())
    }

    /// Enters a pool into the directory.
    pub async fn put_pool_entry(&self, name: &str) -> Result<(), Error> {
        let item = Item::from([("ds".to_owned(), Value::text(name))]);
        self.items().put(&keys::pool_entry(name), &item).await
    }

    /// Takes a pool out of the directory.
    pub async fn delete_pool_entry(&self, name: &str) -> Result<(), Error> {
        self.items().delete(&keys::pool_entry(name), &[]).await.map(|_| ())
    }

    /// The names of all pools, in order.
    pub async fn list_pool_names(&self, limit: usize, page: Option<PageToken>) -> Result<Page<String>, Error> {
        let range = Range { pk: keys::POOLS.to_owned(), prefix: String::new(), after: page, descending: false, limit };
        let items: Vec<String> = self.items().query(&range).await?.into_iter().map(|(name, _)| name).collect();
        let next = (items.len() == limit).then(|| items.last().cloned()).flatten();
        Ok(Page::of(items, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use updraft_model::{DagId, Generation, Incarnation, TaskId, TaskIndex};

    fn at() -> impl Strategy<Value = jiff::Timestamp> {
        (0i64..4_000_000_000_000).prop_map(|ms| jiff::Timestamp::from_millisecond(ms).unwrap())
    }

    fn name() -> impl Strategy<Value = HolderName> {
        ("[ab]", 0u32..2, proptest::option::of(0u32..2)).prop_map(|(id, task, map_index)| HolderName {
            incarnation: Incarnation::trusted(id),
            task: TaskIndex(task),
            map_index,
        })
    }

    fn claim() -> impl Strategy<Value = Claim> {
        (0u32..3, 0u32..2, 0u32..2, 0u32..3, -2i64..3, at(), any::<bool>()).prop_map(
            |(try_number, resume, turn, slots, priority, since, is_last)| Claim {
                generation: Generation { try_number, resume, turn },
                slots,
                priority,
                since,
                is_last,
            },
        )
    }

    fn claims() -> impl Strategy<Value = BTreeMap<HolderName, Claim>> {
        proptest::collection::btree_map(name(), claim(), 0..3)
    }

    fn id() -> impl Strategy<Value = HolderId> {
        prop_oneof![
            "[a-z #]{1,5}".prop_map(HolderId::Pool),
            ("[a-z.]{1,5}", "[a-z.]{1,5}").prop_map(|(d, t)| HolderId::Task(DagId::trusted(d), TaskId::trusted(t))),
            "[a-z0-9]{1,5}".prop_map(|id| HolderId::Run(Incarnation::trusted(id)))
        ]
    }

    fn doc() -> impl Strategy<Value = HolderDoc> {
        (
            id(),
            proptest::option::of(-1i64..4),
            claims(),
            claims(),
            0i64..4,
            proptest::option::of(at()),
            0u64..3,
            "[a-z]{0,3}",
        )
            .prop_map(|(id, size, holders, waiters, used, wake_at, revision, description)| HolderDoc {
                include_deferred: revision == 1,
                description,
                holders,
                waiters,
                used,
                wake_at,
                looks: revision as u32,
                revision,
                ..HolderDoc::new(id, size)
            })
    }

    fn change() -> impl Strategy<Value = HolderChange> {
        let names = || proptest::collection::btree_set(name(), 0..2).prop_map(|names| names.into_iter().collect());
        let conditions = (
            proptest::option::weighted(0.3, proptest::option::of(-1i64..4)),
            proptest::option::weighted(0.3, 0i64..4),
            proptest::bool::weighted(0.2),
            proptest::collection::btree_map(name(), proptest::option::of(claim()), 0..2),
            proptest::option::weighted(0.2, 0u64..3),
        );
        let changes = (claims(), names(), claims(), names(), -2i64..3);
        let rest = (
            proptest::option::of(proptest::option::of(-1i64..4)),
            proptest::option::of(any::<bool>()),
            proptest::option::of("[a-z]{0,3}"),
            proptest::option::of(proptest::option::of(at())),
            proptest::option::of(0u32..4),
        );
        (conditions, changes, rest).prop_map(|(c, w, r)| HolderChange {
            if_size: c.0,
            if_used_at_most: c.1,
            if_nobody_waits: c.2,
            if_holders: c.3.into_iter().collect(),
            if_revision: c.4,
            hold: w.0.into_iter().collect(),
            release: w.1,
            wait: w.2.into_iter().collect(),
            leave: w.3,
            used: w.4,
            size: r.0,
            include_deferred: r.1,
            description: r.2,
            wake_at: r.3,
            looks: r.4,
        })
    }

    proptest! {
        #[test]
        fn a_holder_document_is_read_back(doc in doc()) {
            prop_assert_eq!(holder_doc(&doc.id, &holder_item(&doc)), Ok(doc.clone()));
            prop_assert_eq!(keys::document(&keys::holder(&doc.id)), Some(keys::Document::Holder(doc.id)));
        }

        #[test]
        fn a_change_means_the_same_on_the_item(doc in doc(), change in change()) {
            let outcome = holder_update(&doc.id, &change).run(Some(&holder_item(&doc)));
            let outcome = outcome.try_map(|item| holder_doc(&doc.id, &item)).unwrap();
            let expected = if change.holds(&doc) {
                Outcome::Updated(change.apply(&doc))
            } else {
                Outcome::Refused(Some(doc))
            };
            prop_assert_eq!(outcome, expected);
        }
    }
}
