//! Several processes on one file, and processes that are killed.
//!
//! A child is this test binary again, running one of the tests marked `ignore` with its directory in the environment.
#![expect(clippy::unwrap_used, reason = "a test may panic anywhere, in its helpers too")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use updraft_metastore::item::Path as At;
use updraft_metastore::{Change, Condition, Error, Item, Items, Key, Outcome, Update, Value};
use updraft_metastore_embedded::{Embedded, LockError, ServerLock};

const DIRECTORY: &str = "UPDRAFT_TEST_DIRECTORY";
const THREADS: usize = 4;
const TIMES: i64 = 60;

/// The directory a child works in; none in a test run that includes ignored tests.
fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

fn arguments(test: &str) -> [&str; 4] {
    ["--exact", test, "--include-ignored", "--nocapture"]
}

fn child(test: &str, directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(arguments(test))
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What the child printed behind `marker`, line by line.
fn marked(output: impl Read, marker: &'static str) -> impl Iterator<Item = String> {
    let lines = BufReader::new(output).lines();
    lines.map_while(Result::ok).filter_map(move |line| line.split_once(marker).map(|(_, rest)| rest.trim().to_owned()))
}

fn database(directory: &Path) -> PathBuf {
    directory.join("metastore.db")
}

fn key(sk: &str) -> Key {
    Key { pk: "P".to_owned(), sk: sk.to_owned() }
}

fn number(item: &Item, name: &str) -> i64 {
    match item.get(name) {
        Some(Value::N(number)) => *number,
        other => panic!("`{name}` is {other:?}"),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Counts up by compare-and-set, each step noting who made it; says how often it was accepted.
async fn count_up(items: &Embedded, who: &str) -> i64 {
    let mut accepted = 0;
    let mut seen = number(&items.get(&key("counter")).await.unwrap().unwrap(), "n");
    while accepted < TIMES {
        let step = Update {
            key: key("counter"),
            conditions: vec![
                Condition::Equals(At::Top("n"), Value::N(seen)),
                Condition::Absent(At::Entry("by", seen.to_string())),
            ],
            changes: vec![
                Change::Set(At::Top("n"), Value::N(seen + 1)),
                Change::Set(At::Entry("by", seen.to_string()), Value::text(who)),
                Change::Add("total", 1),
            ],
        };
        let image = match items.update(&step).await.unwrap() {
            Outcome::Updated(image) => {
                accepted += 1;
                image
            }
            Outcome::Refused(image) => image.unwrap(),
        };
        seen = number(&image, "n");
    }
    accepted
}

async fn count_up_many(directory: &Path, process: &str) {
    let items = Arc::new(Embedded::open(&database(directory)).unwrap());
    let counters = (0..THREADS).map(|thread| {
        let (items, who) = (items.clone(), format!("{process}{thread}"));
        tokio::spawn(async move { count_up(&items, &who).await })
    });
    for counter in counters.collect::<Vec<_>>() {
        assert_eq!(counter.await.unwrap(), TIMES);
    }
}

#[test]
#[ignore = "a child process of the test below"]
fn child_counts() {
    if let Some(directory) = directory() {
        runtime().block_on(count_up_many(&directory, "child"));
    }
}

/// Two processes of four threads each count up one document by compare-and-set. Every step must have been accepted exactly
/// once, and each thread must find its own steps in it.
#[test]
fn two_processes_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let zero = Item::from([
        ("n".to_owned(), Value::N(0)),
        ("total".to_owned(), Value::N(0)),
        ("by".to_owned(), Value::M(std::collections::BTreeMap::new())),
    ]);
    runtime().block_on(async {
        let items = Embedded::open(&database(directory.path())).unwrap();
        items.put(&key("counter"), &zero).await.unwrap();
        let mut other = child("child_counts", directory.path());
        count_up_many(directory.path(), "own").await;
        assert!(other.wait().unwrap().success());
        assert!(items.changed_elsewhere().unwrap());
        let end = items.get(&key("counter")).await.unwrap().unwrap();
        let all = 2 * THREADS as i64 * TIMES;
        assert_eq!((number(&end, "n"), number(&end, "total")), (all, all));
        let Some(Value::M(by)) = end.get("by") else { panic!("{end:?}") };
        for process in ["child", "own"] {
            for thread in 0..THREADS {
                let who = Value::text(format!("{process}{thread}"));
                assert_eq!(by.values().filter(|v| **v == who).count() as i64, TIMES, "{who:?}");
            }
        }
    });
}

/// Many processes make the file at once: each finds it laid out, none an error.
#[test]
fn processes_that_create_the_file_at_once_agree() {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let children: Vec<Child> = (0..4).map(|_| child("child_creates", directory.path())).collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
        let items = Embedded::open(&database(directory.path())).unwrap();
        let n = runtime().block_on(items.get(&key("n"))).unwrap().unwrap();
        assert_eq!(number(&n, "n"), 4);
    }
}

#[test]
#[ignore = "a child process of the test above"]
fn child_creates() {
    let Some(directory) = directory() else { return };
    runtime().block_on(async {
        let items = Embedded::open(&database(&directory)).unwrap();
        items.put_new(&key("n"), &Item::new()).await.unwrap();
        let add = Update { key: key("n"), conditions: vec![], changes: vec![Change::Add("n", 1)] };
        assert!(matches!(items.update(&add).await.unwrap(), Outcome::Updated(_)));
    });
}

#[test]
#[ignore = "a child process of the test below"]
fn child_storms() {
    let Some(directory) = directory() else { return };
    runtime().block_on(async {
        let items = Arc::new(Embedded::open(&database(&directory)).unwrap());
        let writers = (0..8).map(|writer| {
            let items = items.clone();
            tokio::spawn(async move {
                for n in 0.. {
                    let sk = format!("{writer}-{n}");
                    items.put(&key(&sk), &Item::from([("s".to_owned(), Value::text("x".repeat(500)))])).await.unwrap();
                    println!("\nanswered {sk}");
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

/// A process is killed in a storm of writes, five times. Every write it was told of must be there.
#[test]
fn answered_writes_survive_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut answered = std::collections::BTreeSet::new();
    for round in 0..5 {
        let mut storm = child("child_storms", directory.path());
        let mut lines = marked(storm.stdout.take().unwrap(), "answered ");
        answered.extend(lines.by_ref().take(100 + 137 * round));
        storm.kill().unwrap();
        answered.extend(lines);
        storm.wait().unwrap();
        let items = Embedded::open(&database(directory.path())).unwrap();
        runtime().block_on(async {
            for sk in &answered {
                assert!(items.get(&key(sk)).await.unwrap().is_some(), "`{sk}` was answered, and is gone after {round}");
            }
        });
    }
    assert!(answered.len() >= 500, "{}", answered.len());
}

#[test]
#[ignore = "a child process of the tests below"]
fn child_locks() {
    let Some(directory) = directory() else { return };
    let mut lock = ServerLock::acquire(&directory).unwrap();
    lock.announce("http://127.0.0.1:8080").unwrap();
    println!("\nlocked {}", std::process::id());
    // Until the parent kills it, or goes away.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// A second server is told who the first is; when that is killed, the home is free.
#[test]
fn a_second_server_is_refused_until_the_first_dies() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments("child_locks")).env(DIRECTORY, directory.path());
    let mut first = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let pid = marked(first.stdout.take().unwrap(), "locked ").next().unwrap();
    assert_eq!(pid, first.id().to_string());
    let refused = ServerLock::acquire(directory.path()).unwrap_err();
    let text = refused.to_string();
    assert!(text.contains(&format!("process {pid}")) && text.contains("http://127.0.0.1:8080"), "{text}");
    let LockError::Held { pid: Some(held), .. } = refused else { panic!("{refused:?}") };
    assert_eq!(held, first.id());
    first.kill().unwrap();
    first.wait().unwrap();
    let lock = ServerLock::acquire(directory.path()).unwrap();
    assert!(matches!(ServerLock::acquire(directory.path()), Err(LockError::Held { url: None, .. })));
    drop(lock);
    ServerLock::acquire(directory.path()).unwrap();
}

#[test]
fn a_home_that_cannot_be_locked_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let error = ServerLock::acquire(&directory.path().join("none")).unwrap_err();
    assert!(matches!(&error, LockError::Unusable { path, .. } if path.ends_with("none/server.lock")), "{error:?}");
}

#[test]
#[ignore = "a child process of the test below"]
fn child_fills_the_disk() {
    let Some(directory) = directory() else { return };
    runtime().block_on(async {
        let items = Embedded::open(&database(&directory)).unwrap();
        let item = Item::from([("s".to_owned(), Value::text("x".repeat(100_000)))]);
        let mut written = 0;
        let error = loop {
            match items.put(&key(&written.to_string()), &item).await {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
            assert!(written < 1000, "the disk never became full");
        };
        let Error::Unavailable(text) = &error else { panic!("{error:?}") };
        assert!(text.contains("disk is full") && text.contains("metastore.db"), "{text}");
        // Everything answered is there, and with space there is again, writing goes on.
        for n in 0..written {
            assert_eq!(items.get(&key(&n.to_string())).await.unwrap().as_ref(), Some(&item), "{n} of {written}");
        }
        assert_eq!(items.get(&key(&written.to_string())).await.unwrap(), None);
        std::fs::remove_file(directory.join("ballast")).unwrap();
        items.put(&key("more"), &item).await.unwrap();
        assert!(items.get(&key("more")).await.unwrap().is_some());
        println!("\nfilled {written}");
    });
}

/// A real full disk: a small one in memory, mounted where only the child sees it.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_reported_and_survived() {
    let directory = tempfile::tempdir().unwrap();
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).env(DIRECTORY, directory.path());
        command.arg(std::env::current_exe().unwrap()).args(arguments("child_fills_the_disk"));
        command
    };
    let mount = "mount -t tmpfs -o size=8m none \"$UPDRAFT_TEST_DIRECTORY\"";
    if !unshare(mount).output().is_ok_and(|tried| tried.status.success()) {
        // Not everybody may mount. The unit tests of the writer fill a database without it.
        println!("skipped: no mounts for this user");
        return;
    }
    let script =
        format!("{mount} && head -c 2000000 /dev/zero >\"$UPDRAFT_TEST_DIRECTORY/ballast\" && exec \"$0\" \"$@\"");
    let output = unshare(&script).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let filled = marked(&output.stdout[..], "filled ").next().expect("the child did its work");
    assert!(filled.parse::<u32>().unwrap() > 10, "{filled}");
}

#[test]
#[ignore = "a child process of the test below"]
fn child_may_not_write() {
    let Some(directory) = directory() else { return };
    let error = Embedded::open(&database(&directory)).unwrap_err();
    println!("\nrefused {error:?}");
}

/// Opens as a user without rights: root has all of them, so as root the child becomes another user first.
#[cfg(unix)]
fn open_without_rights(directory: &TempDir) -> String {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(arguments("child_may_not_write")).env(DIRECTORY, directory.path());
    if std::fs::metadata(directory.path()).unwrap().uid() == 0 {
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        command.uid(65534).gid(65534);
    } else {
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    let output = command.output().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(output.status.success(), "{output:?}");
    marked(&output.stdout[..], "refused ").next().unwrap()
}

#[test]
#[cfg(unix)]
fn missing_rights_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let text = open_without_rights(&directory);
    assert!(text.starts_with("Unusable") && text.contains("ermission denied") && text.contains("chown"), "{text}");

    drop(Embedded::open(&database(directory.path())).unwrap());
    std::fs::set_permissions(database(directory.path()), std::fs::Permissions::from_mode(0o444)).unwrap();
    let text = open_without_rights(&directory);
    assert!(text.starts_with("Unusable") && text.contains("cannot be written") && text.contains("chmod"), "{text}");

    std::fs::set_permissions(database(directory.path()), std::fs::Permissions::from_mode(0o000)).unwrap();
    let text = open_without_rights(&directory);
    assert!(text.starts_with("Unusable") && text.contains("ermission denied"), "{text}");
}
