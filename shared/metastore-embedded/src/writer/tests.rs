//! What one request of a transaction means for the others.

use super::*;
use crate::schema;
use tempfile::TempDir;
use updraft_metastore::Value;

struct Bench {
    shared: Shared,
    _directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metastore.db");
        let connection = schema::open(&path).unwrap();
        let data_version = data_version(&connection).unwrap();
        let connection = Mutex::new(Watched { connection, data_version });
        Self { shared: Shared { path, connection, elsewhere: AtomicBool::new(false) }, _directory: directory }
    }

    fn sql(&self, sql: &str) {
        self.shared.lock().connection.execute_batch(sql).unwrap();
    }

    /// Leaves room for so many more pages.
    fn leave_pages(&self, more: i64) {
        let watched = self.shared.lock();
        let pages: i64 = watched.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        watched.connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(())).unwrap();
    }

    /// Serves these as one batch.
    fn serve(&self, writes: Vec<Write>) -> Vec<Answer> {
        let (batch, answers): (Vec<Request>, Vec<_>) = writes
            .into_iter()
            .map(|write| {
                let (answer, answered) = oneshot::channel();
                (Request { write, answer }, answered)
            })
            .unzip();
        self.shared.serve(batch);
        answers.into_iter().map(|mut answer| answer.try_recv().expect("everybody is answered")).collect()
    }

    fn stored(&self, sk: &str) -> Option<Item> {
        readers::get(&self.shared.lock().connection, &key(sk)).unwrap()
    }
}

fn key(sk: &str) -> Key {
    Key { pk: "P".to_owned(), sk: sk.to_owned() }
}

fn item(bytes: usize) -> Item {
    Item::from([("s".to_owned(), Value::text("x".repeat(bytes)))])
}

fn put(sk: &str, bytes: usize) -> Write {
    Write::Put(key(sk), item(bytes))
}

#[test]
fn an_unreadable_item_fails_its_own_request_only() {
    let bench = Bench::new();
    bench.sql("insert into kv (pk, sk, v) values ('P', 'bad', '{oops')");
    let update = Update { key: key("bad"), conditions: vec![], changes: vec![] };
    let answers = bench.serve(vec![put("a", 1), Write::Update(update), put("b", 1)]);
    assert!(answers[0].is_ok() && answers[2].is_ok());
    let Err(Error::Corrupt(text)) = &answers[1] else { panic!("{:?}", answers[1]) };
    assert!(text.contains("`P` / `bad`") && text.contains("metastore.db"), "{text}");
    assert_eq!((bench.stored("a"), bench.stored("b")), (Some(item(1)), Some(item(1))));
}

#[test]
fn a_write_too_big_for_the_space_left_fails_alone() {
    let bench = Bench::new();
    bench.leave_pages(8);
    let answers = bench.serve(vec![put("a", 100), put("big", 1 << 20), put("b", 100)]);
    assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
    let Err(Error::Unavailable(text)) = &answers[1] else { panic!("{:?}", answers[1]) };
    assert!(text.contains("disk is full") && text.contains("metastore.db"), "{text}");
    assert_eq!(bench.stored("a"), Some(item(100)));
    assert_eq!(bench.stored("big"), None);
    assert_eq!(bench.stored("b"), Some(item(100)));
}

#[test]
fn an_answer_says_what_became_of_the_write_even_when_its_batch_is_run_again() {
    let bench = Bench::new();
    bench.leave_pages(8);
    // In one transaction the second would see the first; the big one undoes both, and each is run again by itself.
    let answers =
        bench.serve(vec![Write::PutNew(key("a"), item(1)), Write::PutNew(key("a"), item(2)), put("big", 1 << 20)]);
    assert_eq!(answers[0], Ok(Outcome::Updated(item(1))));
    assert_eq!(answers[1], Ok(Outcome::Refused(Some(item(1)))));
    assert!(answers[2].is_err());
    assert_eq!(bench.stored("a"), Some(item(1)));
}

#[test]
fn a_transaction_that_sqlite_undid_is_repeated_one_by_one() {
    let bench = Bench::new();
    // A trigger stands in for a fault that undoes the whole transaction, as a full disk may.
    bench
        .sql("create trigger undo before insert on kv when new.sk = 'bad' begin select raise(rollback, 'undone'); end");
    let answers = bench.serve(vec![put("a", 1), put("bad", 1), put("b", 1)]);
    assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok(), "{answers:?}");
    assert_eq!((bench.stored("a"), bench.stored("bad"), bench.stored("b")), (Some(item(1)), None, Some(item(1))));
}

/// While one transaction follows the other, whoever asks for changes never finds the connection free.
#[test]
fn a_transaction_notes_what_others_have_committed() {
    let bench = Bench::new();
    bench.serve(vec![put("a", 1)]);
    assert!(!bench.shared.elsewhere.load(Ordering::Acquire));
    let other = schema::open(&bench.shared.path).unwrap();
    other.execute("delete from kv", []).unwrap();
    bench.serve(vec![put("a", 1)]);
    assert!(bench.shared.elsewhere.load(Ordering::Acquire));
}
