//! What every [`DagStore`] promises, one promise a function. Each adapter runs all of them by `dag_store_suite!(make)`, on a
//! folder or prefix of its own.

#![expect(clippy::unwrap_used, reason = "a promise that is broken is to panic: these are the bodies of tests")]

use crate::{DagStore, Error};

/// What is written is listed and read, with one tag.
pub async fn what_is_written_is_listed_and_read<S: DagStore>(store: &S) {
    store.write("a.yaml", b"one").await.unwrap();
    store.write("sub/b.yaml", &[0, 159, 146, 150]).await.unwrap();
    let listed = store.list().await.unwrap();
    assert_eq!(listed.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["a.yaml", "sub/b.yaml"]);
    for entry in &listed {
        let file = store.read(&entry.path).await.unwrap().unwrap();
        assert_eq!(file.entry, *entry);
        assert_eq!(file.bytes.len() as u64, entry.size);
    }
    assert_eq!(store.read("sub/b.yaml").await.unwrap().unwrap().bytes, [0, 159, 146, 150]);
}

/// Another content has another tag; the same listing twice has the same tags.
pub async fn another_content_has_another_tag<S: DagStore>(store: &S) {
    store.write("a.yaml", b"one").await.unwrap();
    let first = store.list().await.unwrap();
    assert_eq!(store.list().await.unwrap(), first);
    store.write("a.yaml", b"two").await.unwrap();
    assert_ne!(store.list().await.unwrap()[0].etag, first[0].etag);
    assert_eq!(store.read("a.yaml").await.unwrap().unwrap().bytes, b"two");
}

/// What is not there is none, no error.
pub async fn what_is_not_there_is_none<S: DagStore>(store: &S) {
    assert_eq!(store.read("gone.yaml").await.unwrap(), None);
    assert_eq!(store.read("gone/too.yaml").await.unwrap(), None);
}

/// Hidden files and caches are not listed; ignore files are.
pub async fn hidden_files_are_not_listed<S: DagStore>(store: &S) {
    let hidden = [".hidden.yaml", ".git/config", ".git/.airflowignore", "__pycache__/x.pyc"];
    for path in hidden.into_iter().chain(["seen.py", ".airflowignore", "sub/.airflowignore"]) {
        store.write(path, b"x").await.unwrap();
    }
    let listed = store.list().await.unwrap();
    assert_eq!(
        listed.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(),
        [".airflowignore", "seen.py", "sub/.airflowignore"]
    );
}

/// No path leads out of the folder, and no file has two paths.
pub async fn no_path_leads_out<S: DagStore>(store: &S) {
    for path in ["../x", "/etc/passwd", "a/../../b", "", "a//b", "./a", "a/./b", "a/"] {
        assert_eq!(store.read(path).await, Err(Error::Path(path.to_owned())), "{path}");
        assert_eq!(store.write(path, b"x").await, Err(Error::Path(path.to_owned())), "{path}");
    }
}

/// One test per promise for the store that `$make` gives: an expression evaluated in an async context for each test.
#[macro_export]
macro_rules! dag_store_suite {
    ($make:expr) => {
        $crate::dag_store_suite!(@each $make;
            what_is_written_is_listed_and_read, another_content_has_another_tag, what_is_not_there_is_none,
            hidden_files_are_not_listed, no_path_leads_out
        );
    };
    (@each $make:expr; $($promise:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let store = $make;
                $crate::suite::$promise(&store).await;
            }
        )+
    };
}
