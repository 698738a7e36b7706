//! Variables and connections as items.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use proptest::prelude::*;
use updraft_metastore::memory::Memory;
use updraft_metastore::{Error, Item, Items, Metastore, Value, codec, keys};
use updraft_model::{Connection, Variable};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn variable(key: &str, val: &str) -> Variable {
    Variable { key: key.to_owned(), val: val.to_owned(), description: None }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_put_is_read_back(
        key in "\\PC{1,40}", val in "\\PC{0,80}", description in proptest::option::of("\\PC{0,20}"), port in proptest::option::of(0u16..)
    ) {
        let store = Metastore::new(Memory::default());
        let variable = Variable { key: key.clone(), val: val.clone(), description: description.clone() };
        let connection = Connection {
            conn_id: key.clone(), conn_type: "http".to_owned(), description, host: Some(val.clone()), login: None,
            password: Some(val.clone()), schema: None, port, extra: Some(serde_json::json!({ "a": val }).to_string()),
        };
        wait(async {
            store.put_variable(&variable).await.unwrap();
            store.put_connection(&connection).await.unwrap();
            assert_eq!(store.variable(&key).await.unwrap(), Some(variable.clone()));
            assert_eq!(store.connection(&key).await.unwrap(), Some(connection.clone()));
            assert_eq!(store.list_variables(10, None).await.unwrap().items, [variable]);
            assert_eq!(store.list_connections(10, None).await.unwrap().items, [connection]);
            store.delete_variable(&key).await.unwrap();
            store.delete_connection(&key).await.unwrap();
            assert_eq!(store.variable(&key).await.unwrap(), None);
            assert_eq!(store.connection(&key).await.unwrap(), None);
        });
    }
}

#[test]
fn adding_writes_over_nothing() {
    let store = Metastore::new(Memory::default());
    wait(async {
        assert!(store.add_variable(&variable("a", "1")).await.unwrap());
        assert!(store.add_variable(&variable("a", "1")).await.unwrap(), "the same once more is our own write");
        assert!(!store.add_variable(&variable("a", "2")).await.unwrap());
        assert_eq!(store.variable("a").await.unwrap(), Some(variable("a", "1")));
        store.put_variable(&variable("a", "2")).await.unwrap();
        assert_eq!(store.variable("a").await.unwrap(), Some(variable("a", "2")));
    });
}

#[test]
fn lists_go_on_where_a_page_ended() {
    let store = Metastore::new(Memory::default());
    wait(async {
        for key in ["b", "a", "c"] {
            store.put_variable(&variable(key, "x")).await.unwrap();
        }
        let first = store.list_variables(2, None).await.unwrap();
        assert_eq!(first.items, [variable("a", "x"), variable("b", "x")]);
        assert_eq!(store.list_variables(2, first.next).await.unwrap().items, [variable("c", "x")]);
    });
}

#[test]
fn an_unreadable_item_does_not_show_its_secret() {
    let items = Memory::default();
    let text = Value::text(r#"{"key": "a", "val": "hunter22", "description": 7}"#);
    wait(items.put(&keys::variable("a"), &Item::from([(codec::JSON.to_owned(), text)]))).unwrap();
    let Err(Error::Corrupt(said)) = wait(Metastore::new(items).variable("a")) else { panic!("it was read") };
    assert!(said.contains("`a`") && !said.contains("hunter22"), "{said}");
}
