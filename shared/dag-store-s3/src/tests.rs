//! The suite against an emulator, and what only S3 has.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};
use updraft_e2e::emulator::Emulator;

updraft_dag_store::dag_store_suite!(folder().await);

/// The DAG folder of a bucket of its own.
async fn folder() -> S3DagStore {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let bucket = format!("suite-dags-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let store = S3DagStore::new(&Emulator::shared().settings().await, &bucket);
    store.client.create_bucket().bucket(&bucket).send().await.unwrap();
    store
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_objects_under_the_prefix_are_files() {
    let store = folder().await;
    for key in ["other/x.yaml", "dags", "dags/", "dags/sub/", "dags//odd.yaml", "dags/a b.yaml"] {
        store.client.put_object().bucket(&store.bucket).key(key).send().await.unwrap();
    }
    let paths: Vec<String> = store.list().await.unwrap().into_iter().map(|entry| entry.path).collect();
    assert_eq!(paths, ["a b.yaml"]);
    assert_eq!(store.location(), format!("s3://{}/dags/", store.bucket));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_listed_beyond_one_page() {
    let store = S3DagStore { prefix: "many/".to_owned(), ..folder().await };
    let writers = (0..8).map(|part| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (0..1003).filter(|n| n % 8 == part) {
                store.write(&format!("{n:04}.py"), b"").await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let listed = store.list().await.unwrap();
    assert_eq!(listed.len(), 1003);
    assert!(listed.is_sorted() && listed[0].path == "0000.py" && listed[1002].path == "1002.py");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_too_large_is_listed_and_not_read() {
    let store = folder().await;
    let size = FILE_BYTES_MAX + 1;
    store.write("big.py", &vec![b'#'; size as usize]).await.unwrap();
    assert_eq!(store.list().await.unwrap()[0].size, size);
    assert_eq!(store.read("big.py").await, Err(Error::TooLarge { path: "big.py".to_owned(), size }));
    store.write("big.py", &vec![b'#'; FILE_BYTES_MAX as usize]).await.unwrap();
    assert_eq!(store.read("big.py").await.unwrap().unwrap().entry.size, FILE_BYTES_MAX);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_is_plain_and_that_of_the_content() {
    let store = folder().await;
    store.write("a.yaml", b"same").await.unwrap();
    store.write("b.yaml", b"same").await.unwrap();
    let listed = store.list().await.unwrap();
    assert_eq!(listed[0].etag, listed[1].etag);
    assert!(listed[0].etag.chars().all(|c| c.is_ascii_hexdigit()) && !listed[0].etag.is_empty(), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_named_with_advice() {
    let store = S3DagStore::new(&Emulator::shared().settings().await, "nowhere");
    for error in [store.list().await.unwrap_err(), store.read("a.yaml").await.unwrap_err()] {
        let message = error.to_string();
        assert!(message.contains("`s3://nowhere/dags/") && message.contains("no such bucket; hint: "), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_a_notification_is_a_path_or_nothing() {
    let store = S3DagStore::new(&Emulator::shared().settings().await, "b");
    assert_eq!(store.path_of("dags/sub/a.yaml"), Some("sub/a.yaml"));
    for key in ["dags/", "dags/.git/config", "logs/dags/a.yaml", "dags/sub/", "dagsa.yaml"] {
        assert_eq!(store.path_of(key), None, "{key}");
    }
}
