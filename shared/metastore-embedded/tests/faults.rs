//! What a file that cannot be used is reported as.
#![expect(clippy::unwrap_used, reason = "a test may panic anywhere, in its helpers too")]

use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;
use updraft_metastore::{Error, Item, Items, Key};
use updraft_metastore_embedded::Embedded;

fn home() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("metastore.db");
    (directory, path)
}

fn unusable(path: &Path) -> String {
    match Embedded::open(path) {
        Err(Error::Unusable(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn a_missing_directory_is_named() {
    let (directory, _) = home();
    let path = directory.path().join("none/metastore.db");
    assert_says(&unusable(&path), &["none/metastore.db", "there is no directory", "mkdir -p"]);
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let (_directory, path) = home();
    std::fs::write(&path, "").unwrap();
    assert_says(&unusable(&path.join("metastore.db")), &["is not a directory", "name another home"]);
}

#[test]
fn a_directory_in_place_of_the_file_is_named() {
    let (directory, _) = home();
    assert_says(&unusable(directory.path()), &["it is a directory"]);
}

#[test]
fn what_is_no_database_is_left_alone() {
    let (_directory, path) = home();
    let letter = "Dear reader, this is no database at all. ".repeat(100);
    std::fs::write(&path, &letter).unwrap();
    assert_says(&unusable(&path), &["metastore.db", "no SQLite database", "move it away"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), letter);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let (_directory, path) = home();
    Connection::open(&path).unwrap().execute_batch("create table songs (title text)").unwrap();
    let before = std::fs::read(&path).unwrap();
    assert_says(&unusable(&path), &["another program"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_newer_layout_is_refused_with_its_number() {
    let (_directory, path) = home();
    drop(Embedded::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    assert_says(&unusable(&path), &["layout 7", "newer version", "up to layout 1"]);
}

#[tokio::test]
async fn a_table_that_was_taken_away_is_corruption() {
    let (_directory, path) = home();
    let items = Embedded::open(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("drop table kv").unwrap();
    let key = Key { pk: "P".to_owned(), sk: "S".to_owned() };
    for result in [items.put(&key, &Item::new()).await, items.get(&key).await.map(|_| ())] {
        let Err(Error::Corrupt(text)) = result else { panic!("{result:?}") };
        assert_says(&text, &["metastore.db", "no such table", "backup"]);
    }
}

/// Somebody keeps a transaction open for longer than anybody waits: reads go on, writes are told to try again, and do once
/// it ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_locked_for_too_long_is_unavailable() {
    let (_directory, path) = home();
    let items = Embedded::open(&path).unwrap();
    let key = Key { pk: "P".to_owned(), sk: "S".to_owned() };
    items.put(&key, &Item::new()).await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let begun = Instant::now();
    let item = Item::new();
    let (written, read) = tokio::join!(items.put(&key, &item), async {
        let read = items.get(&key).await;
        assert!(begun.elapsed().as_secs() < 3, "reads do not wait");
        items.changed_elsewhere().unwrap();
        assert!(begun.elapsed().as_secs() < 3, "asking for changes does not wait");
        read
    });
    assert_eq!(read.unwrap(), Some(Item::new()));
    let Err(Error::Unavailable(text)) = written else { panic!("{written:?}") };
    assert_says(&text, &["metastore.db", "locked by another process", "5 s"]);
    assert!(begun.elapsed().as_millis() >= 4900, "{:?}", begun.elapsed());
    other.execute_batch("rollback").unwrap();
    items.put(&key, &Item::new()).await.unwrap();
}
