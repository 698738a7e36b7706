//! The suite against an emulator, and against scripted answers what an emulator never says.

use super::*;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType,
};
use tokio::sync::OnceCell;
use updraft_e2e::emulator::Emulator;
use updraft_e2e::script::{self, SILENCE, Script};
use updraft_metastore::item::{Change, Path, Value};

updraft_metastore::items_suite!(items().await);

/// The table that the tests of this process share; the suite keeps its keys apart.
async fn items() -> DynamoDb {
    static MADE: OnceCell<()> = OnceCell::const_new();
    let table = format!("suite-{}", std::process::id());
    let settings = Emulator::shared().settings().await;
    let items = DynamoDb::new(&settings, &table);
    MADE.get_or_init(async || make_table(&items.client, &table).await).await;
    items
}

/// A table like that of `infra/template.yaml`.
async fn make_table(client: &Client, table: &str) {
    let attribute = |name: &str, kind: ScalarAttributeType| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let key =
        |name: &str, kind: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let index = GlobalSecondaryIndex::builder()
        .index_name(DUE_INDEX)
        .key_schema(key(SHARD, KeyType::Hash))
        .key_schema(key(WAKE_AT, KeyType::Range))
        .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
    client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(PK, ScalarAttributeType::S))
        .attribute_definitions(attribute(SK, ScalarAttributeType::S))
        .attribute_definitions(attribute(SHARD, ScalarAttributeType::S))
        .attribute_definitions(attribute(WAKE_AT, ScalarAttributeType::N))
        .key_schema(key(PK, KeyType::Hash))
        .key_schema(key(SK, KeyType::Range))
        .global_secondary_indexes(index.build().unwrap())
        .send()
        .await
        .unwrap();
}

fn key(sk: &str) -> Key {
    Key { pk: format!("X#{}", std::process::id()), sk: sk.to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_may_begin_anywhere_even_outside_of_its_range() {
    let items = items().await;
    let pk = format!("P#{}", std::process::id());
    let memory = updraft_metastore::memory::Memory::default();
    for sk in ["A#1", "A#3", "B#1"] {
        let item = Item::from([("s".to_owned(), Value::text(""))]);
        let key = Key { pk: pk.clone(), sk: sk.to_owned() };
        items.put(&key, &item).await.unwrap();
        memory.put(&key, &item).await.unwrap();
    }
    for prefix in ["", "A#"] {
        for after in ["", "A", "A#", "A#1", "A#2", "A#3", "A#9", "B", "Z"] {
            for descending in [false, true] {
                let (prefix, after) = (prefix.to_owned(), Some(after.to_owned()));
                let range = Range { pk: pk.clone(), prefix, after, descending, limit: 9 };
                assert_eq!(items.query(&range).await.unwrap(), memory.query(&range).await.unwrap(), "{range:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_longer_than_a_megabyte_comes_whole() {
    let items = items().await;
    let pk = format!("L#{}", std::process::id());
    for n in 0..6 {
        let item = Item::from([("b".to_owned(), Value::B(vec![7; 300_000]))]);
        items.put(&Key { pk: pk.clone(), sk: format!("A#{n}") }, &item).await.unwrap();
    }
    let range = Range { pk, prefix: "A#".to_owned(), after: None, descending: false, limit: 5 };
    let found: Vec<String> = items.query(&range).await.unwrap().into_iter().map(|(sk, _)| sk).collect();
    assert_eq!(found, ["A#0", "A#1", "A#2", "A#3", "A#4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_may_be_asked_for_twice() {
    let items = items().await;
    items.put(&key("twice"), &Item::new()).await.unwrap();
    let found = items.get_many(&[key("twice"), key("none"), key("twice")]).await.unwrap();
    assert_eq!(found, [(key("twice"), Item::new()), (key("twice"), Item::new())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_changes_nothing_returns_the_item() {
    let items = items().await;
    items.put(&key("still"), &Item::new()).await.unwrap();
    let update = Update { key: key("still"), conditions: vec![], changes: vec![] };
    assert_eq!(items.update(&update).await.unwrap(), Outcome::Updated(Item::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_not_there_is_named_with_advice() {
    let items = DynamoDb::new(&Emulator::shared().settings().await, "nowhere");
    let Err(Error::Unusable(message)) = items.get(&key("x")).await else { panic!("a table came from nowhere") };
    assert!(message.starts_with("no table `nowhere` in us-east-1") && message.contains("hint: "), "{message}");
}

/// The table `t` of a scripted server.
async fn scripted(answers: &[(u16, &str)]) -> (Script, DynamoDb) {
    let script = Script::start(answers);
    let items = DynamoDb::new(&script::settings(&script.endpoint()).await, "t");
    (script, items)
}

fn failure(code: &str) -> String {
    format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{code}","message":"m"}}"#)
}

#[tokio::test]
async fn throttling_and_faults_of_the_service_outlive_retries_as_unavailable() {
    for (status, code) in [
        (400, "ThrottlingException"),
        (400, "ProvisionedThroughputExceededException"),
        (400, "RequestLimitExceeded"),
        (400, "TransactionConflictException"),
        (500, "InternalServerError"),
        (503, "ServiceUnavailable"),
    ] {
        let (script, items) = scripted(&[(status, &failure(code))]).await;
        let Err(Error::Unavailable(message)) = items.put(&key("x"), &Item::new()).await else {
            panic!("{code} is not unavailable")
        };
        assert!(message.contains(code) && message.contains("`t`"), "{message}");
        if code != "TransactionConflictException" {
            assert_eq!(script.asked().len(), 3, "{code} is tried three times");
        }
    }
}

#[tokio::test]
async fn a_throttled_request_is_repeated_until_it_is_served() {
    let served = r#"{"Item":{"pk":{"S":"p"},"sk":{"S":"s"},"n":{"N":"7"}}}"#;
    let (_script, items) = scripted(&[(400, &failure("ThrottlingException")), (200, served)]).await;
    let item = items.get(&key("x")).await.unwrap().unwrap();
    assert_eq!(item, Item::from([("n".to_owned(), Value::N(7))]));
}

#[tokio::test]
async fn silence_and_refused_connections_are_unavailable() {
    let (_script, items) = scripted(&[(SILENCE, "")]).await;
    let error = items.get(&key("x")).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(message) if message.contains("no answer in time")), "{error}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = script::settings(&format!("http://{closed}")).await;
    let error = DynamoDb::new(&settings, "t").get(&key("x")).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(message) if message.contains("refused")), "{error}");
}

#[tokio::test]
async fn denied_access_and_missing_credentials_want_a_person() {
    let (script, items) = scripted(&[(400, &failure("AccessDeniedException"))]).await;
    let error = items.get(&key("x")).await.unwrap_err();
    assert!(matches!(&error, Error::Unusable(message) if message.contains("denied")), "{error}");
    assert_eq!(script.asked().len(), 1, "repeating does not help");

    let none = aws_credential_types::credential_fn::provide_credentials_fn(async || {
        Err(CredentialsError::not_loaded("there are none"))
    });
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(none);
    let settings = script::settings(&script.endpoint()).await.into_builder().credentials_provider(provider).build();
    let error = DynamoDb::new(&settings, "t").get(&key("x")).await.unwrap_err();
    assert!(matches!(&error, Error::Unusable(message) if message.contains("no AWS credentials")), "{error}");
    assert_eq!(script.asked().len(), 1, "nothing is sent without credentials");
}

#[tokio::test]
async fn what_this_version_never_writes_is_corrupt() {
    let (_script, items) = scripted(&[(200, r#"{"Item":{"pk":{"S":"p"},"sk":{"S":"s"},"odd":{"BOOL":true}}}"#)]).await;
    let error = items.get(&key("x")).await.unwrap_err();
    assert!(matches!(&error, Error::Corrupt(message) if message.contains("`odd`")), "{error}");
}

#[tokio::test]
async fn an_update_is_one_request_that_asks_for_both_images() {
    let (script, items) = scripted(&[(200, r#"{"Attributes":{"pk":{"S":"p"},"sk":{"S":"s"}}}"#)]).await;
    let changes = vec![Change::Set(Path::Top("n"), Value::N(1))];
    items.update(&Update { key: key("x"), conditions: vec![], changes }).await.unwrap();
    let asked = script.asked();
    assert_eq!(asked.len(), 1);
    for part in [r#""ReturnValues":"ALL_NEW""#, r#""ReturnValuesOnConditionCheckFailure":"ALL_OLD""#, "SET #1=:0"] {
        assert!(asked[0].contains(part), "{part} is missing in {}", asked[0]);
    }
}

#[tokio::test]
async fn unprocessed_keys_are_asked_for_again_and_not_for_ever() {
    let rest = r#""UnprocessedKeys":{"t":{"Keys":[{"pk":{"S":"p"},"sk":{"S":"2"}}],"ConsistentRead":true}}"#;
    let first = format!(r#"{{"Responses":{{"t":[{{"pk":{{"S":"p"}},"sk":{{"S":"1"}}}}]}},{rest}}}"#);
    let nothing = format!(r#"{{"Responses":{{"t":[]}},{rest}}}"#);
    let second = r#"{"Responses":{"t":[{"pk":{"S":"p"},"sk":{"S":"2"}}]},"UnprocessedKeys":{}}"#;
    let keys = ["1", "2"].map(|sk| Key { pk: "p".to_owned(), sk: sk.to_owned() });

    let (script, items) = scripted(&[(200, &first), (200, &nothing), (200, second)]).await;
    let found = items.get_many(&keys).await.unwrap();
    assert_eq!(found.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), keys);
    assert_eq!(script.asked().len(), 3);
    assert!(!script.asked()[1].contains(r#""S":"1""#), "what came is not asked for again");

    let (_script, items) = scripted(&[(200, &nothing)]).await;
    let error = items.get_many(&keys).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(message) if message.contains("unprocessed")), "{error}");
}

#[tokio::test]
async fn the_time_index_is_asked_once_for_each_shard_and_never_consistently() {
    let (script, items) = scripted(&[(200, r#"{"Items":[]}"#)]).await;
    assert_eq!(items.due(5, 10).await.unwrap(), []);
    let asked = script.asked();
    assert_eq!(asked.len(), usize::from(SHARDS));
    for shard in 0..SHARDS {
        let name = format!(r#"{{"S":"{}"}}"#, shard_name(shard));
        assert_eq!(asked.iter().filter(|body| body.contains(&name)).count(), 1, "shard {shard}");
    }
    assert!(asked.iter().all(|body| body.contains(r#""IndexName":"due""#) && !body.contains("ConsistentRead")));
}

/// DynamoDB's own figures add up to what our counting at the ports says, which is what budgets are held by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_used_is_what_the_service_says() {
    let settings = Emulator::shared().settings().await;
    let items = DynamoDb::new(&settings, items().await.table());
    let counting = updraft_metastore::counting::Counting::new(items.clone());
    let (key, absent) = (key("metered"), key("never"));
    let with = |more: &[(&str, Value)]| more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let item: Item = with(&[("b", Value::B(vec![7; 1500]))]);
    assert_eq!(items.consumed(), Consumed::default());
    counting.put(&key, &item).await.unwrap();
    let indexed =
        vec![Change::Set(Path::Top(SHARD), Value::text(shard_name(0))), Change::Set(Path::Top(WAKE_AT), Value::N(5))];
    counting.update(&Update { key: key.clone(), conditions: vec![], changes: indexed }).await.unwrap();
    let moved = vec![Change::Set(Path::Top(WAKE_AT), Value::N(9))];
    counting.update(&Update { key: key.clone(), conditions: vec![], changes: moved }).await.unwrap();
    let never = vec![Condition::Absent(Path::Top(WAKE_AT))];
    let refused = Update { key: key.clone(), conditions: never.clone(), changes: vec![] };
    assert!(matches!(counting.update(&refused).await.unwrap(), Outcome::Refused(Some(_))));
    assert!(matches!(counting.put_new(&key, &item).await.unwrap(), Outcome::Refused(Some(_))));
    counting.get(&key).await.unwrap();
    counting.get_many(&[key.clone(), absent]).await.unwrap();
    counting.delete(&key, &[]).await.unwrap();
    let consumed = items.consumed();
    assert!(
        (consumed.write_units - counting.counts().total_write_units() as f64).abs() < 0.1,
        "{consumed:?} {:?}",
        counting.counts()
    );
    assert!((1.0..=3.0).contains(&consumed.read_units), "{consumed:?}");
}

#[tokio::test]
async fn history_expires_where_it_is_asked_for_and_nowhere_else() {
    let (script, items) = scripted(&[(200, r#"{"Attributes":{"pk":{"S":"p"},"sk":{"S":"s"}}}"#)]).await;
    let expiring = items.clone().expiring(updraft_metastore::expiry::Expiry::from_days("30").unwrap());
    let run = |sk: &str| Key { pk: "R#i".to_owned(), sk: sk.to_owned() };
    let end = vec![Change::Set(Path::Top("ed"), Value::N(5_000_000))];
    let ends = Update { key: run("R"), conditions: vec![], changes: end };
    for items in [&expiring, &items] {
        items.put(&run("A#00000#0001#t"), &Item::new()).await.unwrap();
        items.put_new(&run("C#"), &Item::new()).await.unwrap();
        items.put(&key("x"), &Item::new()).await.unwrap();
        items.put_new(&run("R"), &Item::new()).await.unwrap();
        items.update(&ends).await.unwrap();
    }
    let asked = script.asked();
    let expires: Vec<bool> = asked.iter().map(|body| body.contains("expires")).collect();
    assert_eq!(expires, [true, true, false, false, true, false, false, false, false, false], "{asked:?}");
    assert!(asked[4].contains(&format!(r#"{{"N":"{}"}}"#, 5 + 30 * 24 * 3600)), "{}", asked[4]);
}

#[tokio::test]
async fn reads_by_key_are_consistent() {
    let (script, items) = scripted(&[(200, "{}")]).await;
    items.get(&key("x")).await.unwrap();
    items.get_many(&[key("x")]).await.unwrap();
    let range = Range { pk: "p".to_owned(), prefix: String::new(), after: None, descending: true, limit: 1 };
    items.query(&range).await.unwrap();
    let asked = script.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|body| body.contains(r#""ConsistentRead":true"#)), "{asked:?}");
}
