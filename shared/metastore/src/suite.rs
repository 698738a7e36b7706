//! What every [`Items`] promises, one promise a function. Each adapter runs all of them:
//!
//! ```ignore
//! updraft_metastore::items_suite!(my_items().await);
//! ```
//!
//! Promises may run at once and against one shared table: each draws keys of its own from its name and `salt`.

#![expect(clippy::unwrap_used, reason = "a promise that is broken is to panic: these are the bodies of tests")]

use crate::item::{Change, Condition, Item, Key, Path, SHARD, Update, Value, WAKE_AT};
use crate::{Due, Items, Outcome, Range, keys};
use std::collections::BTreeMap;

fn key(salt: &str, name: &str) -> Key {
    Key { pk: format!("T#{salt}#{name}"), sk: "R".to_owned() }
}

fn doc() -> Item {
    Item::from([
        ("s".to_owned(), Value::text("one")),
        ("n".to_owned(), Value::N(1)),
        ("b".to_owned(), Value::B(vec![0, 255, 7])),
        ("m".to_owned(), Value::M(BTreeMap::from([("1".to_owned(), Value::text("q1"))]))),
        ("e".to_owned(), Value::M(BTreeMap::new())),
    ])
}

fn update(key: &Key, conditions: Vec<Condition>, changes: Vec<Change>) -> Update {
    Update { key: key.clone(), conditions, changes }
}

fn entry(key: &str) -> Path {
    Path::Entry("m", key.to_owned())
}

/// What is put is read back, whatever the types.
pub async fn what_is_put_is_read_back<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "roundtrip");
    assert_eq!(items.get(&key).await.unwrap(), None);
    items.put(&key, &doc()).await.unwrap();
    assert_eq!(items.get(&key).await.unwrap(), Some(doc()));
}

/// A new item is put once; the second is refused with the first.
pub async fn a_new_item_is_put_once<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "once");
    let second = Item::from([("s".to_owned(), Value::text("two"))]);
    assert_eq!(items.put_new(&key, &doc()).await.unwrap(), Outcome::Updated(doc()));
    assert_eq!(items.put_new(&key, &second).await.unwrap(), Outcome::Refused(Some(doc())));
    assert_eq!(items.get(&key).await.unwrap(), Some(doc()));
}

/// An update never makes an item.
pub async fn an_update_of_nothing_is_refused<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "nothing");
    let set = update(&key, vec![], vec![Change::Set(Path::Top("s"), Value::text("x"))]);
    assert_eq!(items.update(&set).await.unwrap(), Outcome::Refused(None));
    assert_eq!(items.get(&key).await.unwrap(), None);
}

/// An accepted update returns the image after it, a refused one the image that stood in the way.
pub async fn an_update_returns_the_image<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "image");
    items.put(&key, &doc()).await.unwrap();
    let claim = update(
        &key,
        vec![Condition::Equals(entry("1"), Value::text("q1"))],
        vec![
            Change::Set(entry("1"), Value::text("r1")),
            Change::Set(entry("22"), Value::text("q1")),
            Change::Add("rv", 1),
        ],
    );
    let mut expected = doc();
    expected.insert(
        "m".to_owned(),
        Value::M(BTreeMap::from([("1".to_owned(), Value::text("r1")), ("22".to_owned(), Value::text("q1"))])),
    );
    expected.insert("rv".to_owned(), Value::N(1));
    assert_eq!(items.update(&claim).await.unwrap(), Outcome::Updated(expected.clone()));
    assert_eq!(items.update(&claim).await.unwrap(), Outcome::Refused(Some(expected)));
}

/// Every condition means what [`Condition::holds`] says, on values that are there, that differ, and that are absent.
pub async fn conditions_mean_the_same_everywhere<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "conditions");
    items.put(&key, &doc()).await.unwrap();
    let paths = [Path::Top("s"), Path::Top("n"), Path::Top("gone"), entry("1"), entry("2")];
    let mut conditions = vec![
        Condition::FewerThan("m", 1),
        Condition::FewerThan("m", 2),
        Condition::FewerThan("e", 0),
        Condition::FewerThan("e", 1),
        Condition::FewerThan("gone", 1),
    ];
    for path in &paths {
        conditions.push(Condition::Absent(path.clone()));
        conditions.extend([0, 1, 2].map(|n| Condition::AtMost(path.clone(), n)));
        conditions.extend(["q", "q1", "q12", "on", "x"].map(|p| Condition::BeginsWith(path.clone(), p.to_owned())));
        conditions.extend(
            [Value::text("one"), Value::text("q1"), Value::N(1), Value::N(2)]
                .map(|v| Condition::Equals(path.clone(), v)),
        );
    }
    for condition in conditions {
        let expected = condition.holds(&doc());
        let probe = update(&key, vec![condition.clone()], vec![Change::Set(Path::Top("n"), Value::N(1))]);
        let accepted = matches!(items.update(&probe).await.unwrap(), Outcome::Updated(_));
        assert_eq!(accepted, expected, "{condition:?}");
    }
}

/// All conditions must hold; a refused update changes nothing.
pub async fn a_refused_update_changes_nothing<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "all");
    items.put(&key, &doc()).await.unwrap();
    let half = update(
        &key,
        vec![Condition::Equals(Path::Top("n"), Value::N(1)), Condition::Equals(Path::Top("s"), Value::text("two"))],
        vec![Change::Set(Path::Top("n"), Value::N(9)), Change::Remove(entry("1")), Change::Add("rv", 1)],
    );
    assert_eq!(items.update(&half).await.unwrap(), Outcome::Refused(Some(doc())));
    assert_eq!(items.get(&key).await.unwrap(), Some(doc()));
}

/// Removing takes a value away; removing what is not there is fine.
pub async fn removing_takes_values_away<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "remove");
    items.put(&key, &doc()).await.unwrap();
    let remove = update(
        &key,
        vec![],
        vec![
            Change::Remove(entry("1")),
            Change::Remove(entry("7")),
            Change::Remove(Path::Top("s")),
            Change::Remove(Path::Top("zz")),
        ],
    );
    let mut expected = doc();
    expected.insert("m".to_owned(), Value::M(BTreeMap::new()));
    expected.remove("s");
    assert_eq!(items.update(&remove).await.unwrap(), Outcome::Updated(expected));
}

/// Of many writers that want the same cell, one gets it; writers of different cells are all accepted.
pub async fn one_of_many_claims_wins<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "race");
    items.put(&key, &doc()).await.unwrap();
    let claim = |n: usize| {
        update(
            &key,
            vec![Condition::Equals(entry("1"), Value::text("q1"))],
            vec![Change::Set(entry("1"), Value::S(format!("r{n}"))), Change::Add("rv", 1)],
        )
    };
    let own = |n: usize| {
        let path = entry(&format!("w{n}"));
        update(
            &key,
            vec![Condition::Absent(path.clone())],
            vec![Change::Set(path, Value::text("x")), Change::Add("rv", 1)],
        )
    };
    let updates: Vec<Update> = (0..8).map(claim).chain((0..8).map(own)).collect();
    let outcomes = join_all(updates.iter().map(|u| items.update(u))).await;
    let accepted: Vec<bool> = outcomes.into_iter().map(|o| matches!(o.unwrap(), Outcome::Updated(_))).collect();
    assert_eq!(accepted[..8].iter().filter(|a| **a).count(), 1, "one claim wins");
    assert!(accepted[8..].iter().all(|a| *a), "writers of other cells are all accepted");
    assert_eq!(
        items.get(&key).await.unwrap().unwrap().get("rv"),
        Some(&Value::N(9)),
        "every accepted write counts once"
    );
}

/// Deleting removes; with a condition that does not hold it removes nothing; of nothing it is no error.
pub async fn deleting_obeys_conditions<I: Items>(items: &I, salt: &str) {
    let key = key(salt, "delete");
    items.put(&key, &doc()).await.unwrap();
    let wrong = [Condition::Equals(Path::Top("n"), Value::N(5))];
    assert_eq!(items.delete(&key, &wrong).await.unwrap(), Outcome::Refused(Some(())));
    assert!(items.get(&key).await.unwrap().is_some());
    assert_eq!(items.delete(&key, &[]).await.unwrap(), Outcome::Updated(()));
    assert_eq!(items.get(&key).await.unwrap(), None);
    assert_eq!(items.delete(&key, &[]).await.unwrap(), Outcome::Updated(()));
}

/// Many items are read at once, absent ones left out, beyond any batch limit of the store.
pub async fn many_items_are_read_at_once<I: Items>(items: &I, salt: &str) {
    let keys: Vec<Key> = (0..130).map(|n| key(salt, &format!("many{n}"))).collect();
    for key in keys.iter().step_by(2) {
        items.put(key, &Item::from([("s".to_owned(), Value::text(&key.pk))])).await.unwrap();
    }
    let mut found = items.get_many(&keys).await.unwrap();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let mut expected: Vec<Key> = keys.iter().step_by(2).cloned().collect();
    expected.sort();
    assert_eq!(found.iter().map(|(k, _)| k.clone()).collect::<Vec<_>>(), expected);
    assert!(found.iter().all(|(k, i)| i.get("s") == Some(&Value::text(&k.pk))), "each with its own attributes");
    assert_eq!(items.get_many(&[]).await.unwrap(), vec![]);
}

/// A range comes in the order of its sort keys, forwards and backwards, page by page, and never leaves its prefix.
pub async fn ranges_come_in_order_and_pages<I: Items>(items: &I, salt: &str) {
    let pk = key(salt, "range").pk;
    for sk in ["A#1", "A#2", "A#3", "A#4", "B#1", "9"] {
        let item = Item::from([("s".to_owned(), Value::text(sk))]);
        items.put(&Key { pk: pk.clone(), sk: sk.to_owned() }, &item).await.unwrap();
    }
    for (descending, expected) in [(false, ["A#1", "A#2", "A#3", "A#4"]), (true, ["A#4", "A#3", "A#2", "A#1"])] {
        let mut range = Range { pk: pk.clone(), prefix: "A#".to_owned(), after: None, descending, limit: 3 };
        let first = items.query(&range).await.unwrap();
        range.after = first.last().map(|(sk, _)| sk.clone());
        let second = items.query(&range).await.unwrap();
        let all: Vec<String> = first.iter().chain(&second).map(|(sk, _)| sk.clone()).collect();
        assert_eq!(first.len(), 3);
        assert_eq!(all, expected);
        assert!(first.iter().all(|(sk, item)| item.get("s") == Some(&Value::text(sk))));
    }
    let whole = Range { pk, prefix: String::new(), after: None, descending: false, limit: 100 };
    assert_eq!(items.query(&whole).await.unwrap().len(), 6);
}

/// The time index holds an item from the write that places it to the write that takes it out, at the place last written.
/// It may lag, so each expectation is awaited, within ten seconds.
pub async fn the_time_index_follows_writes<I: Items>(items: &I, salt: &str) {
    // Far in the past, so that a shared table's other entries come after it.
    let key = key(salt, "wake");
    let hash = keys::shard(&key);
    let mut item = doc();
    item.insert(SHARD.to_owned(), Value::text(&hash));
    item.insert(WAKE_AT.to_owned(), Value::N(1000));
    items.put(&key, &item).await.unwrap();
    expect_due(items, &key, Some(1000)).await;
    let place = |at: i64| {
        let changes =
            vec![Change::Set(Path::Top(SHARD), Value::text(&hash)), Change::Set(Path::Top(WAKE_AT), Value::N(at))];
        update(&key, vec![], changes)
    };
    items.update(&place(2000)).await.unwrap();
    expect_due(items, &key, Some(2000)).await;
    let leave = vec![Change::Remove(Path::Top(SHARD)), Change::Remove(Path::Top(WAKE_AT))];
    items.update(&update(&key, vec![], leave)).await.unwrap();
    expect_due(items, &key, None).await;
    items.update(&place(3000)).await.unwrap();
    expect_due(items, &key, Some(3000)).await;
    items.delete(&key, &[]).await.unwrap();
    expect_due(items, &key, None).await;
}

/// The time index gives the earliest first, and no more than asked for.
pub async fn the_time_index_is_ordered_and_bounded<I: Items>(items: &I, salt: &str) {
    let keys: Vec<Key> = (0..9).map(|n| key(salt, &format!("order{n}"))).collect();
    for (n, key) in keys.iter().enumerate() {
        let mut item = doc();
        item.insert(SHARD.to_owned(), Value::S(keys::shard(key)));
        item.insert(WAKE_AT.to_owned(), Value::N(100 - n as i64));
        items.put(key, &item).await.unwrap();
    }
    for key in &keys {
        expect_due(items, key, Some(100 - keys.iter().position(|k| k == key).unwrap() as i64)).await;
    }
    let found = items.due(200, 1000).await.unwrap();
    assert!(found.is_sorted_by_key(|d| d.wake_at));
    assert!(items.due(91, 1000).await.unwrap().iter().all(|d| d.wake_at <= 91));
    // What is due at that very instant is among them.
    let due = items.due(93, 1000).await.unwrap();
    let ours: Vec<i64> = due.iter().filter(|d| keys.contains(&d.key)).map(|d| d.wake_at).collect();
    assert_eq!(ours, [92, 93]);
    assert_eq!(items.due(200, 3).await.unwrap(), found[..3].to_vec());
    for key in &keys {
        items.delete(key, &[]).await.unwrap();
    }
}

async fn expect_due<I: Items>(items: &I, key: &Key, at: Option<i64>) {
    let mut seen = None;
    for _ in 0..1000 {
        let due = items.due(10_000, 10_000).await.unwrap();
        seen = due.into_iter().find(|d: &Due| d.key == *key).map(|d| d.wake_at);
        if seen == at {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the time index has {seen:?} for {key:?}, expected {at:?}");
}

/// Awaits all, polling each in turn; enough for tests, without another dependency.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => *output = Some(value),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

/// One test per promise for the items that `$make` gives: an expression evaluated in an async context for each test.
#[macro_export]
macro_rules! items_suite {
    ($make:expr) => {
        $crate::items_suite!(@each $make;
            what_is_put_is_read_back, a_new_item_is_put_once, an_update_of_nothing_is_refused, an_update_returns_the_image,
            conditions_mean_the_same_everywhere, a_refused_update_changes_nothing, removing_takes_values_away,
            one_of_many_claims_wins, deleting_obeys_conditions, many_items_are_read_at_once,
            ranges_come_in_order_and_pages, the_time_index_follows_writes, the_time_index_is_ordered_and_bounded
        );
    };
    (@each $make:expr; $($promise:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let items = $make;
                let salt = format!("{}-{}", std::process::id(), stringify!($promise));
                $crate::suite::$promise(&items, &salt).await;
            }
        )+
    };
}
