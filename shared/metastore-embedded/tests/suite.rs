//! One file keeps every promise of the port.
#![expect(clippy::unwrap_used, reason = "a test may panic anywhere, in its helpers too")]

use std::ops::Deref;
use tempfile::TempDir;
use updraft_metastore::{
    Change, Condition, Due, Error, Item, Items, Key, Outcome, Path, Range, Update, Value, items_suite,
};
use updraft_metastore_embedded::Embedded;

/// A file that is removed after use.
struct Temporary {
    items: Embedded,
    _directory: TempDir,
}

fn temporary() -> Temporary {
    let directory = tempfile::tempdir().unwrap();
    Temporary { items: Embedded::open(&directory.path().join("metastore.db")).unwrap(), _directory: directory }
}

impl Deref for Temporary {
    type Target = Embedded;

    fn deref(&self) -> &Embedded {
        &self.items
    }
}

impl Items for Temporary {
    async fn update(&self, update: &Update) -> Result<Outcome<Item>, Error> {
        self.items.update(update).await
    }

    async fn put_new(&self, key: &Key, item: &Item) -> Result<Outcome<Item>, Error> {
        self.items.put_new(key, item).await
    }

    async fn put(&self, key: &Key, item: &Item) -> Result<(), Error> {
        self.items.put(key, item).await
    }

    async fn delete(&self, key: &Key, conditions: &[Condition]) -> Result<Outcome<()>, Error> {
        self.items.delete(key, conditions).await
    }

    async fn get(&self, key: &Key) -> Result<Option<Item>, Error> {
        self.items.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<(Key, Item)>, Error> {
        self.items.get_many(keys).await
    }

    async fn query(&self, range: &Range) -> Result<Vec<(String, Item)>, Error> {
        self.items.query(range).await
    }

    async fn due(&self, until: i64, limit: usize) -> Result<Vec<Due>, Error> {
        self.items.due(until, limit).await
    }
}

items_suite!(temporary());

fn key(pk: &str, sk: &str) -> Key {
    Key { pk: pk.to_owned(), sk: sk.to_owned() }
}

fn text(text: &str) -> Item {
    Item::from([("s".to_owned(), Value::text(text))])
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metastore.db");
    let items = Embedded::open(&path).unwrap();
    items.put(&key("P", "a"), &text("kept")).await.unwrap();
    drop(items);
    assert!(!directory.path().join("metastore.db-wal").exists(), "the last to close tidies the log away");
    let items = Embedded::open(&path).unwrap();
    assert_eq!(items.get(&key("P", "a")).await.unwrap(), Some(text("kept")));
    assert_eq!(items.path(), path);
}

#[tokio::test]
async fn ranges_hold_with_keys_of_any_characters() {
    let items = temporary();
    let sks = [
        "",
        "\0",
        "a",
        "a\0",
        "a\0b",
        "a\u{7f}",
        "aé",
        "a\u{d7ff}",
        "a\u{e000}",
        "a\u{10ffff}",
        "a\u{10ffff}z",
        "b",
        "\u{10ffff}",
    ];
    for sk in sks {
        items.put(&key("P", sk), &text(sk)).await.unwrap();
        items.put(&key("Q", sk), &text("of another partition")).await.unwrap();
    }
    let memory = updraft_metastore::memory::Memory::default();
    for sk in sks {
        memory.put(&key("P", sk), &text(sk)).await.unwrap();
    }
    for prefix in ["", "a", "a\0", "a\u{d7ff}", "a\u{10ffff}", "\u{10ffff}", "zz"] {
        for after in std::iter::once(None).chain(sks.into_iter().map(Some)) {
            for descending in [false, true] {
                let after = after.map(str::to_owned);
                let range = Range { pk: "P".to_owned(), prefix: prefix.to_owned(), after, descending, limit: 4 };
                assert_eq!(items.query(&range).await.unwrap(), memory.query(&range).await.unwrap(), "{range:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_see_every_answered_write() {
    let items = std::sync::Arc::new(temporary());
    items.put(&key("P", "n"), &Item::new()).await.unwrap();
    let add = Update { key: key("P", "n"), conditions: vec![], changes: vec![Change::Add("n", 1)] };
    let clients = (0..8).map(|_| {
        let (items, add) = (items.clone(), add.clone());
        tokio::spawn(async move {
            for _ in 0..50 {
                let Outcome::Updated(image) = items.update(&add).await.unwrap() else { panic!("it is there") };
                let (Some(Value::N(written)), Some(Value::N(read))) =
                    (image.get("n").cloned(), items.get(&key("P", "n")).await.unwrap().unwrap().get("n").cloned())
                else {
                    panic!("a number")
                };
                assert!(read >= written, "read {read} after {written} was answered");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(items.get(&key("P", "n")).await.unwrap().unwrap().get("n"), Some(&Value::N(400)));
}

#[tokio::test]
async fn changes_elsewhere_are_noticed_once_and_own_ones_are_not() {
    let items = temporary();
    let other = Embedded::open(items.path()).unwrap();
    items.put(&key("P", "a"), &text("own")).await.unwrap();
    items.get(&key("P", "a")).await.unwrap();
    assert!(!items.changed_elsewhere().unwrap());
    assert!(other.changed_elsewhere().unwrap());
    other.put(&key("P", "b"), &text("theirs")).await.unwrap();
    assert!(items.changed_elsewhere().unwrap());
    assert!(!items.changed_elsewhere().unwrap());
    // A write of our own in between must not hide it.
    other.put(&key("P", "b"), &text("again")).await.unwrap();
    items.put(&key("P", "a"), &text("own")).await.unwrap();
    assert!(items.changed_elsewhere().unwrap());
    // A refused write of theirs changes nothing.
    let nothing = [Condition::Equals(Path::Top("s"), Value::N(1))];
    assert_eq!(other.delete(&key("P", "b"), &nothing).await.unwrap(), Outcome::Refused(Some(())));
    assert!(!items.changed_elsewhere().unwrap());
}
