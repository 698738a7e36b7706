//! Connections in Secrets Manager may use other words for their fields, those of AWS's own database secrets among them.

use crate::options::Options;
use serde_json::{Map, Value};

/// The words for each field, the first that is there counts: the provider's list.
const WORDS: &[(&str, &[&str])] = &[
    ("conn_type", &["conn_type", "conn_id", "connection_type", "engine"]),
    ("host", &["host", "remote_host", "server"]),
    ("login", &["login", "user", "username", "user_name"]),
    ("password", &["password", "pass", "key"]),
    ("port", &["port"]),
    ("schema", &["database", "schema"]),
    ("extra", &["extra"]),
];

/// JSON with Airflow's own words; any other text as it is.
pub(crate) fn standard(text: String, options: &Options) -> String {
    let Ok(Value::Object(map)) = serde_json::from_str(&text) else { return text };
    let mut fields = Map::new();
    for (field, words) in WORDS {
        let extra = options.extra_conn_words.get(*field).into_iter().flatten().map(String::as_str);
        // `user` is a word for `login` in the provider's own list of options.
        let users = options.extra_conn_words.get("user").filter(|_| *field == "login");
        let words = words.iter().copied().chain(extra).chain(users.into_iter().flatten().map(String::as_str));
        for value in words.filter_map(|word| map.get(word)).take(1) {
            let value = match value {
                Value::String(text) if options.are_secret_values_urlencoded => Value::String(unquoted(text)),
                other => other.clone(),
            };
            fields.insert((*field).to_owned(), value);
        }
    }
    Value::Object(fields).to_string()
}

/// Percent signs undone.
fn unquoted(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let pair = bytes.get(at + 1..at + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        if let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()).filter(|_| bytes[at] == b'%') {
            out.push(byte);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(kwargs: &str) -> Options {
        Options::read("airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend", kwargs).unwrap()
    }

    #[test]
    fn every_word_is_understood() {
        let text = r#"{"engine": "postgres", "username": "me", "pass": "p%40ss", "server": "db", "port": 5432, "database": "d", "x": 1}"#;
        let read = |text: &str, kwargs: &str| -> Value {
            serde_json::from_str(&standard(text.to_owned(), &options(kwargs))).unwrap()
        };
        let expected = json!({"conn_type": "postgres", "host": "db", "login": "me", "password": "p%40ss", "port": 5432, "schema": "d"});
        assert_eq!(read(text, ""), expected);
        assert_eq!(read(text, r#"{"are_secret_values_urlencoded": true}"#)["password"], "p@ss");
        let own = r#"{"extra_conn_words": {"user": ["usr"], "schema": ["db"]}}"#;
        assert_eq!(read(r#"{"usr": "me", "db": "d"}"#, own), json!({"login": "me", "schema": "d"}));
        assert_eq!(standard("postgres://me@db".to_owned(), &options("")), "postgres://me@db");
    }
}
