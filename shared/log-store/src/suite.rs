//! What every [`LogStore`] promises, one promise a function. Each adapter runs all of them by `log_store_suite!(make)`.

#![expect(clippy::unwrap_used, reason = "a promise that is broken is to panic: these are the bodies of tests")]

use crate::{Error, LogStore};

/// Bytes of which no two stretches are alike: what is turned round, moved, doubled or left out is noticed.
pub fn unlike(length: u32) -> Vec<u8> {
    // Multiples of a number that divides nothing of 2^32 take each value once, in no order.
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Bytes put under a name are read back by the URI.
pub async fn what_is_put_is_read_back<S: LogStore>(store: &S) {
    let bytes = unlike(300_000);
    let uri = store.put("suite/a/value.json", bytes.clone()).await.unwrap();
    assert_eq!(store.get(&uri).await.unwrap(), Some(bytes));
}

/// A spooled file is kept whole, and the spool is gone or is the kept file itself.
pub async fn what_is_spooled_is_kept<S: LogStore>(store: &S) {
    let spool = store.spool("suite/b/1.log").unwrap();
    std::fs::write(&spool, b"line one\nline two\n").unwrap();
    let uri = store.keep("suite/b/1.log", &spool).await.unwrap();
    assert_eq!(store.get(&uri).await.unwrap(), Some(b"line one\nline two\n".to_vec()));
}

/// Two names are two things.
pub async fn names_do_not_mix<S: LogStore>(store: &S) {
    let one = store.put("suite/c/1", b"1".to_vec()).await.unwrap();
    let two = store.put("suite/c/2", b"2".to_vec()).await.unwrap();
    assert_eq!(store.get(&one).await.unwrap(), Some(b"1".to_vec()));
    assert_eq!(store.get(&two).await.unwrap(), Some(b"2".to_vec()));
}

/// What is gone is none; a URI of another store is refused.
pub async fn what_is_gone_is_none<S: LogStore>(store: &S) {
    let uri = store.put("suite/d/1", b"1".to_vec()).await.unwrap();
    let gone = uri.replace("suite/d/1", "suite/d/none");
    assert_eq!(store.get(&gone).await.unwrap(), None);
    assert_eq!(store.get("gopher://x/y").await, Err(Error::Uri("gopher://x/y".to_owned())));
}

/// What is removed is gone, alone; removing it once more is no error, and a URI of another store is refused.
pub async fn what_is_removed_is_gone<S: LogStore>(store: &S) {
    let one = store.put("suite/e/1", b"1".to_vec()).await.unwrap();
    let two = store.put("suite/e/2", b"2".to_vec()).await.unwrap();
    for _ in 0..2 {
        store.remove(&one).await.unwrap();
        assert_eq!(store.get(&one).await.unwrap(), None);
    }
    assert_eq!(store.get(&two).await.unwrap(), Some(b"2".to_vec()));
    assert_eq!(store.remove("gopher://x/y").await, Err(Error::Uri("gopher://x/y".to_owned())));
}

/// One test per promise for the store that `$make` gives: an expression evaluated in an async context for each test.
#[macro_export]
macro_rules! log_store_suite {
    ($make:expr) => {
        $crate::log_store_suite!(@each $make;
            what_is_put_is_read_back, what_is_spooled_is_kept, names_do_not_mix, what_is_gone_is_none,
            what_is_removed_is_gone
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
