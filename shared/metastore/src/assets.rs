//! Topics of asset events, their events, and the directory of assets.
//!
//! | attribute | |
//! |---|---|
//! | `f` | what is known of it, JSON |
//! | `co`, `pr`, `re`, `al` | consumers, producers, readers, aliases: since when, microseconds |
//! | `sq` | how many events it has taken |
//! | `le` | the last of them, JSON |
//! | `rv` | revision |
//! | `shard`, `wake_at` | time index |

use crate::codec::{
    corrupt, entries, from_json, from_json_item, json_item, number, set, text, to_json, wake, wake_changes,
};
use crate::item::{Change, Condition, Item, Path, SHARD, Update, Value, WAKE_AT};
use crate::store::{Metastore, Page, PageToken};
use crate::{Error, Items, Outcome, Range, keys};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use updraft_model::asset::{Numbered, Role};
use updraft_model::{AssetEvent, DagId, Incarnation, Topic, TopicChange, TopicDoc, TopicId};

const ROLES: [(Role, &str); 4] =
    [(Role::Consumer, "co"), (Role::Producer, "pr"), (Role::Reader, "re"), (Role::Alias, "al")];

fn map_of(role: Role) -> &'static str {
    ROLES.iter().find(|(is, _)| *is == role).map_or("", |(_, map)| map)
}

/// A topic's document as an item.
pub fn topic_item(topic: &TopicDoc) -> Item {
    let since = |at: Timestamp| Value::N(at.as_microsecond());
    let mut item = Item::from([
        ("f".to_owned(), Value::S(to_json(&topic.facts))),
        ("sq".to_owned(), Value::N(topic.taken as i64)),
        ("rv".to_owned(), Value::N(topic.revision as i64)),
    ]);
    for (role, map) in ROLES {
        let those = topic.those(role).map(|(name, at)| (name.to_owned(), since(at))).collect();
        item.insert(map.to_owned(), Value::M(those));
    }
    set(&mut item, "le", topic.last.as_ref().map(|event| Value::S(to_json(event))));
    if let Some(at) = topic.wake_at {
        item.insert(SHARD.to_owned(), Value::S(keys::shard(&keys::topic(&topic.id))));
        item.insert(WAKE_AT.to_owned(), Value::N(at.as_millisecond()));
    }
    item
}

/// An item as a topic's document.
pub fn topic_doc(id: &TopicId, item: &Item) -> Result<TopicDoc, Error> {
    let mut roles = BTreeMap::new();
    for (role, map) in ROLES {
        let one = |name: &str, value: &Value| match value {
            Value::N(micros) => Ok(((role, name.to_owned()), Timestamp::from_microsecond(*micros).map_err(corrupt)?)),
            _ => Err(corrupt(format_args!("`{name}` of the topic {id}"))),
        };
        roles.extend(entries(item, map, one)?);
    }
    Ok(TopicDoc {
        id: id.clone(),
        facts: from_json(text(item, "f")?)?,
        roles,
        taken: number(item, "sq").unwrap_or(0) as u64,
        last: text(item, "le").ok().map(from_json).transpose()?,
        wake_at: wake(item)?,
        revision: number(item, "rv").unwrap_or(0) as u64,
    })
}

/// A change of a topic's document as an update of its item.
pub fn topic_update(id: &TopicId, change: &TopicChange) -> Update {
    let key = keys::topic(id);
    let path = |role: Role, name: &str| Path::Entry(map_of(role), name.to_owned());
    let conditions =
        change.if_taken.map(|taken| Condition::Equals(Path::Top("sq"), Value::N(taken as i64))).into_iter().collect();
    let mut changes = vec![Change::Add("rv", 1)];
    if let Some(event) = &change.take {
        changes.push(Change::Add("sq", 1));
        changes.push(Change::Set(Path::Top("le"), Value::S(to_json(event))));
    }
    changes.extend(change.facts.as_ref().map(|facts| Change::Set(Path::Top("f"), Value::S(to_json(facts)))));
    let leaves = |role: Role, name: &str| change.leave.iter().any(|(r, n)| *r == role && n == name);
    let join = change.join.iter().filter(|(role, name, _)| !leaves(*role, name));
    changes.extend(join.map(|(role, name, at)| Change::Set(path(*role, name), Value::N(at.as_microsecond()))));
    changes.extend(change.leave.iter().map(|(role, name)| Change::Remove(path(*role, name))));
    wake_changes(&key, change.wake_at, &mut changes);
    Update { key, conditions, changes }
}

/// A run made of a topic's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consumed {
    /// Of those after this number.
    pub after: u64,
    /// Up to this one.
    pub up_to: u64,
    /// Its DAG.
    pub dag_id: DagId,
    /// Its name.
    pub run_id: String,
    /// Its document.
    pub incarnation: Incarnation,
}

impl<I: Items> Metastore<I> {
    /// Reads a topic's document.
    pub async fn topic(&self, id: &TopicId) -> Result<Option<TopicDoc>, Error> {
        self.items().get(&keys::topic(id)).await?.map(|item| topic_doc(id, &item)).transpose()
    }

    /// Reads many topics' documents; absent ones are left out; in no order.
    pub async fn topics(&self, ids: &[TopicId]) -> Result<Vec<TopicDoc>, Error> {
        let by_key: BTreeMap<_, _> = ids.iter().map(|id| (keys::topic(id), id)).collect();
        let keys: Vec<_> = by_key.keys().cloned().collect();
        self.items().get_many(&keys).await?.iter().map(|(key, item)| topic_doc(by_key[key], item)).collect()
    }

    /// Puts a topic's document unless it exists, and enters it into the directory.
    pub async fn put_topic(&self, topic: &TopicDoc) -> Result<(), Error> {
        // The directory first: what nobody finds cannot be mended.
        if !matches!(topic.facts.topic, Topic::Uri(_)) {
            self.items().put(&keys::topic_entry(&topic.facts.topic), &json_item(&topic.facts.topic)).await?;
        }
        self.items().put_new(&keys::topic(&topic.id), &topic_item(topic)).await?;
        Ok(())
    }

    /// Changes a topic's document.
    pub async fn update_topic(&self, id: &TopicId, change: &TopicChange) -> Result<Outcome<TopicDoc>, Error> {
        let outcome = self.items().update(&topic_update(id, change)).await?;
        outcome.try_map(|item| topic_doc(id, &item))
    }

    /// The assets, or the aliases, in the order of their ids.
    pub async fn list_topics(
        &self,
        aliases: bool,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<Topic>, Error> {
        let pk = if aliases { keys::ALIASES } else { keys::ASSETS };
        let range = Range { pk: pk.to_owned(), prefix: String::new(), after: page, descending: false, limit };
        let found = self.items().query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let items = found.iter().map(|(_, item)| from_json_item(item)).collect::<Result<_, _>>()?;
        Ok(Page::of(items, next))
    }

    /// Puts an event into its topic's order, then under its id: whoever finds the id finds the event. Again is fine.
    pub async fn put_event(&self, id: &TopicId, number: u64, event: &AssetEvent) -> Result<(), Error> {
        self.items().put_new(&keys::event(id, number), &json_item(event)).await?;
        self.items().put_new(&keys::event_id(id, &event.id), &json_item(&number)).await?;
        Ok(())
    }

    /// The numbers of events of a topic that are known by these ids; others are left out.
    pub async fn event_numbers(&self, id: &TopicId, events: &[&str]) -> Result<BTreeMap<String, u64>, Error> {
        let by_key: BTreeMap<_, _> = events.iter().map(|event| (keys::event_id(id, event), *event)).collect();
        let keys: Vec<_> = by_key.keys().cloned().collect();
        let found = self.items().get_many(&keys).await?;
        found.iter().map(|(key, item)| Ok((by_key[key].to_owned(), from_json_item(item)?))).collect()
    }

    /// Events of a topic after one number, up to another, in order; at most `limit`, from the end where there are more.
    pub async fn events(&self, id: &TopicId, after: u64, up_to: u64, limit: usize) -> Result<Vec<Numbered>, Error> {
        let mut range = Range {
            pk: keys::topic(id).pk,
            prefix: keys::EVENTS.to_owned(),
            after: Some(keys::event(id, up_to.saturating_add(1)).sk),
            descending: true,
            limit: limit.min(200),
        };
        let mut found = Vec::new();
        while found.len() < limit {
            let page = self.items().query(&range).await?;
            let full = page.len() == range.limit;
            range.after = page.last().map(|(sk, _)| sk.clone());
            for (sk, item) in page {
                let number = keys::read_event(&sk).ok_or_else(|| corrupt(format_args!("event key `{sk}`")))?;
                if number <= after || found.len() == limit {
                    found.reverse();
                    return Ok(found);
                }
                found.push(Numbered { number, event: from_json_item(&item)? });
            }
            if !full {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    /// The first events of a topic beyond a number that are still there, in order.
    pub async fn first_events(&self, id: &TopicId, after: u64, limit: usize) -> Result<Vec<Numbered>, Error> {
        let (pk, prefix) = (keys::topic(id).pk, keys::EVENTS.to_owned());
        let range = Range { pk, prefix, after: Some(keys::event(id, after).sk), descending: false, limit };
        let read = |(sk, item): &(String, Item)| {
            let number = keys::read_event(sk).ok_or_else(|| corrupt(format_args!("event key `{sk}`")))?;
            Ok(Numbered { number, event: from_json_item(item)? })
        };
        self.items().query(&range).await?.iter().map(read).collect()
    }

    /// Forgets which runs were made of events of a topic up to a number.
    pub async fn forget_consumed(&self, id: &TopicId, up_to: u64) -> Result<(), Error> {
        let (pk, prefix) = (keys::topic(id).pk, keys::CONSUMED.to_owned());
        let range = Range { pk: pk.clone(), prefix, after: None, descending: false, limit: 200 };
        loop {
            let found = self.items().query(&range).await?;
            for (sk, item) in &found {
                let consumed: Consumed = from_json_item(item)?;
                if consumed.up_to > up_to {
                    return Ok(());
                }
                self.items().delete(&crate::Key { pk: pk.clone(), sk: sk.clone() }, &[]).await?;
            }
            if found.len() < range.limit {
                return Ok(());
            }
        }
    }

    /// Removes an event.
    pub async fn delete_event(&self, id: &TopicId, number: u64, event: &str) -> Result<(), Error> {
        self.items().delete(&keys::event_id(id, event), &[]).await?;
        self.items().delete(&keys::event(id, number), &[]).await.map(|_| ())
    }

    /// Notes that a run was made of a topic's events. Again is fine.
    pub async fn put_consumed(&self, id: &TopicId, consumed: &Consumed) -> Result<(), Error> {
        let key = keys::consumed(id, consumed.up_to, &consumed.dag_id, &consumed.run_id);
        self.items().put_new(&key, &json_item(consumed)).await.map(|_| ())
    }

    /// The runs made of an event, at most `limit`.
    pub async fn consumed(&self, id: &TopicId, number: u64, limit: usize) -> Result<Vec<Consumed>, Error> {
        let range = Range {
            pk: keys::topic(id).pk,
            prefix: keys::CONSUMED.to_owned(),
            // Those that end before it have not got it.
            after: Some(keys::consumed_at(number)),
            descending: false,
            limit,
        };
        let found: Vec<Consumed> =
            self.items().query(&range).await?.iter().map(|(_, item)| from_json_item(item)).collect::<Result<_, _>>()?;
        Ok(found.into_iter().filter(|run| run.after < number && number <= run.up_to).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use updraft_model::{EventSource, TopicFacts};

    fn at() -> impl Strategy<Value = Timestamp> {
        (0i64..4_000_000_000_000).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
    }

    fn facts() -> impl Strategy<Value = TopicFacts> {
        let topic = ("[ab]", 0u8..3).prop_map(|(name, kind)| match kind {
            0 => Topic::Asset(name),
            1 => Topic::Alias(name),
            _ => Topic::Uri(name),
        });
        (topic, at()).prop_map(|(topic, at)| TopicFacts {
            topic,
            uri: "s3://b".to_owned(),
            group: "asset".to_owned(),
            extra: serde_json::Map::from_iter([("k".to_owned(), serde_json::json!([1]))]),
            created_at: at,
            updated_at: at,
        })
    }

    fn event() -> impl Strategy<Value = AssetEvent> {
        ("[ef]", at(), any::<bool>()).prop_map(|(id, timestamp, by_task)| AssetEvent {
            id,
            name: "a".to_owned(),
            uri: "s3://b".to_owned(),
            group: String::new(),
            extra: serde_json::Map::new(),
            source: by_task.then(|| EventSource {
                dag_id: DagId::trusted("d"),
                run_id: "r".to_owned(),
                incarnation: Incarnation::trusted("i"),
                task_id: "t".to_owned(),
                map_index: -1,
            }),
            aliases: vec!["l".to_owned()],
            timestamp,
        })
    }

    fn role() -> impl Strategy<Value = (Role, String)> {
        (0usize..4, "[a-c]{1,2}").prop_map(|(role, name)| (ROLES[role].0, name))
    }

    fn doc() -> impl Strategy<Value = TopicDoc> {
        let roles = proptest::collection::btree_map(role(), at(), 0..4);
        (facts(), roles, 0u64..3, proptest::option::of(event()), proptest::option::of(at()), 0u64..3).prop_map(
            |(facts, roles, taken, last, wake_at, revision)| TopicDoc {
                roles,
                taken,
                last,
                wake_at,
                revision,
                ..TopicDoc::new(facts)
            },
        )
    }

    fn change() -> impl Strategy<Value = TopicChange> {
        let join = proptest::collection::btree_map(role(), at(), 0..3);
        let leave = proptest::collection::btree_set(role(), 0..2);
        let wake = proptest::option::of(proptest::option::of(at()));
        (0u64..3, any::<bool>(), event(), proptest::option::of(facts()), join, leave, wake).prop_map(
            |(taken, takes, event, facts, join, leave, wake_at)| TopicChange {
                if_taken: takes.then_some(taken),
                take: takes.then_some(event),
                facts,
                join: join.into_iter().map(|((role, name), at)| (role, name, at)).collect(),
                leave: leave.into_iter().collect(),
                wake_at,
            },
        )
    }

    proptest! {
        #[test]
        fn a_topic_is_read_back(doc in doc()) {
            prop_assert_eq!(topic_doc(&doc.id, &topic_item(&doc)), Ok(doc.clone()));
            prop_assert_eq!(keys::document(&keys::topic(&doc.id)), Some(keys::Document::Topic(doc.id)));
        }

        #[test]
        fn a_change_means_the_same_on_the_item(doc in doc(), change in change()) {
            let outcome = topic_update(&doc.id, &change).run(Some(&topic_item(&doc)));
            let outcome = outcome.try_map(|item| topic_doc(&doc.id, &item)).unwrap();
            let expected = if change.holds(&doc) {
                Outcome::Updated(change.apply(&doc))
            } else {
                Outcome::Refused(Some(doc))
            };
            prop_assert_eq!(outcome, expected);
        }
    }
}
