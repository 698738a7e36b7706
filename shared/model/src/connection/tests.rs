//! Connections are read and written as Airflow does.

use super::*;
use proptest::prelude::*;

fn uri(text: &str) -> Connection {
    Connection::from_uri("c", text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn fields(c: &Connection) -> [&str; 6] {
    let text = |t: &'_ Option<String>| -> &'static str { t.clone().map_or("-", |t| Box::leak(t.into_boxed_str())) };
    [
        Box::leak(c.conn_type.clone().into_boxed_str()),
        text(&c.host),
        text(&c.login),
        text(&c.password),
        text(&c.schema),
        text(&c.extra),
    ]
}

#[test]
fn uris_are_taken_apart() {
    for (given, expected, port) in [
        ("http://host", ["http", "host", "-", "-", "", "-"], None),
        ("postgresql://u:p%40ss@Host:5432/db%2Fx", ["postgres", "host", "u", "p@ss", "db/x", "-"], Some(5432)),
        ("google-cloud-platform://", ["google_cloud_platform", "", "-", "-", "", "-"], None),
        ("http://https://Host.Example:8080/a", ["http", "https://host.example", "-", "-", "a", "-"], Some(8080)),
        (
            "aws://key:s%2Fcret@/?region_name=eu-west-1&x=",
            ["aws", "", "key", "s/cret", "", r#"{"region_name":"eu-west-1","x":""}"#],
            None,
        ),
        ("x://?__extra__=%7B%22a%22%3A+1%7D", ["x", "", "-", "-", "", r#"{"a": 1}"#], None),
        ("mysql://%2Ftmp%2FMy.sock/db", ["mysql", "/tmp/My.sock", "-", "-", "db", "-"], None),
        ("http://@:80", ["http", "", "", "-", "", "-"], Some(80)),
        ("http://[::1]:90/s#f", ["http", "::1", "-", "-", "s", "-"], Some(90)),
        ("http://h/?callback=https://x/y", ["http", "h", "-", "-", "", r#"{"callback":"https://x/y"}"#], None),
    ] {
        let connection = uri(given);
        assert_eq!(fields(&connection), expected, "{given}");
        assert_eq!(connection.port, port, "{given}");
    }
}

#[test]
fn uris_are_put_together() {
    let base = Connection { conn_id: "c".into(), conn_type: "google_cloud".into(), ..Connection::default() };
    let some = |text: &str| Some(text.to_owned());
    for (connection, expected) in [
        (base.clone(), "google-cloud://"),
        (Connection { port: Some(80), ..base.clone() }, "google-cloud://@:80"),
        (
            Connection { login: some("a b"), password: some("p/w"), host: some("h"), ..base.clone() },
            "google-cloud://a%20b:p%2Fw@h",
        ),
        (Connection { host: some("https://h"), schema: some("s"), ..base.clone() }, "google-cloud://https://h/s"),
        (Connection { extra: some(r#"{"a": "1 2"}"#), ..base.clone() }, "google-cloud:///?a=1+2"),
        (
            Connection { extra: some(r#"{"a": 1}"#), schema: some("s"), ..base },
            "google-cloud:///s?__extra__=%7B%22a%22%3A+1%7D",
        ),
    ] {
        assert_eq!(connection.uri(), expected);
    }
}

#[test]
fn json_has_the_fields_and_no_others() {
    let read = |text| Connection::from_json("c", text);
    let connection = read(r#"{"conn_type": "my-type", "host": "h", "port": "80", "extra": {"a": {"b": 1}}}"#).unwrap();
    assert_eq!((connection.conn_type.as_str(), connection.port), ("my_type", Some(80)));
    assert_eq!(connection.extra_dejson()["a"]["b"], 1);
    for (text, said) in [
        ("{", "it is no JSON (line 1"),
        ("[]", "no object"),
        (r#"{"conn_type": "x", "hosst": "h"}"#, "`hosst` is no field"),
        (r#"{"conn_type": "x", "port": "many"}"#, "`port` is no number"),
        (r#"{"conn_type": "x", "port": 65536}"#, "`port` is no number"),
        (r#"{"conn_type": "x", "extra": "[1]"}"#, "no JSON object"),
        (r#"{"conn_type": 7}"#, "`conn_type` is not text"),
        (r#"{"conn_type": "x", "conn_id": "d"}"#, "is another"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn what_is_no_uri_says_why_and_shows_no_password() {
    for (text, said) in [
        ("host", "no `://`"),
        ("my_type://secret@h", "is no type"),
        ("a://b://c://d", "more than two"),
        ("http://u:secret@https://h", "behind the second"),
        ("http://u:secret@h:many", "the port"),
        ("http://u:secret@h:70000", "the port"),
        ("http://h?__extra__=secret", "no JSON object"),
    ] {
        let error = Connection::from_uri("c", text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn what_cannot_be_kept_says_why() {
    let of = |conn_id: &str, conn_type: &str| Connection {
        conn_id: conn_id.into(),
        conn_type: conn_type.into(),
        ..Connection::default()
    };
    assert!(of("a.b-c_ü", "http").check().is_ok());
    assert!(matches!(of("a b", "http").check(), Err(Problem::Id(_))));
    assert!(matches!(of("", "http").check(), Err(Problem::Id(_))));
    assert!(matches!(of(&"x".repeat(201), "http").check(), Err(Problem::Id(_))));
    assert!(matches!(of("a", "").check(), Err(Problem::NoType(_))));
    let large = Connection { password: Some("x".repeat(CONNECTION_BYTES_MAX)), ..of("a", "http") };
    assert!(matches!(large.check(), Err(Problem::TooLarge { .. })));
}

#[test]
fn secrets_are_masked_and_never_shown_by_accident() {
    let connection = uri("http://user:p%40ssword@h/?token=abcdef&region=eu-west-1");
    assert_eq!(connection.texts_to_mask(), ["p@ssword", "p%40ssword", "abcdef"]);
    assert!(!format!("{connection:?}").contains("ssword"));
}

proptest! {
    /// What is written as a URI is read back, but for the letter case of hosts.
    #[test]
    fn a_uri_round_trips(
        conn_type in "[a-z][a-z0-9]{0,8}", host in "[a-z0-9.]{1,12}", login in "\\PC{0,12}", password in proptest::option::of("\\PC{0,12}"),
        schema in "\\PC{0,12}", port in proptest::option::of(1u16..), extra in proptest::collection::btree_map("\\PC{1,6}", "\\PC{0,6}", 0..3)
    ) {
        prop_assume!(conn_type != "postgresql");
        let extra: Map<String, Value> = extra.into_iter().map(|(k, v)| (k, Value::String(v))).collect();
        let connection = Connection {
            conn_id: "c".into(), conn_type, description: None, host: Some(host), login: Some(login), password, schema: Some(schema), port,
            extra: (!extra.is_empty()).then(|| Value::Object(extra).to_string()),
        };
        let mut read = uri(&connection.uri());
        // An empty login without a password leaves no trace in a URI.
        read.login = read.login.or(Some(String::new()));
        prop_assert_eq!(read, connection);
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,60}") {
        let _ = Connection::from_text("c", &text);
    }
}
