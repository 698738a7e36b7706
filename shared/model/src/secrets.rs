//! What must not be shown: names that tell of a secret, and the texts to mask in logs.

use serde_json::Value;

/// Parts of names that tell of a secret: Airflow's list (`DEFAULT_SENSITIVE_FIELDS`).
const SENSITIVE: [&str; 14] = [
    "access_token",
    "api_key",
    "apikey",
    "authorization",
    "keyfile_dict",
    "passphrase",
    "passwd",
    "password",
    "private_key",
    "proxies",
    "proxy",
    "secret",
    "service_account",
    "token",
];

/// What stands where a secret would: Airflow's three asterisks.
pub const HIDDEN: &str = "***";

/// Texts shorter than this are not masked: they would blot out half of every log. Airflow's minimum is 5 by default.
pub const MASKED_CHARS_MIN: usize = 5;

/// Whether a variable, or a key of a connection's extra, of this name holds a secret: letter case does not matter.
pub fn is_sensitive_name(name: &str) -> bool {
    let name = name.trim().to_lowercase();
    SENSITIVE.iter().any(|part| name.contains(part))
}

/// The texts inside a value that stand below a sensitive name, or all of them where `all`.
pub fn texts_to_mask(value: &Value, all: bool, found: &mut Vec<String>) {
    match value {
        Value::String(text) if all => note(text, found),
        Value::Array(items) => items.iter().for_each(|item| texts_to_mask(item, all, found)),
        Value::Object(map) => {
            map.iter().for_each(|(name, item)| texts_to_mask(item, all || is_sensitive_name(name), found));
        }
        _ => {}
    }
}

/// A text with [`HIDDEN`] in place of each secret, longer ones first: one may be a part of another.
pub fn hide(text: &str, secrets: &[String]) -> String {
    let mut longest_first: Vec<&String> = secrets.iter().filter(|secret| !secret.is_empty()).collect();
    longest_first.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    longest_first.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN))
}

/// Notes one text, if it is long enough to be masked.
pub(crate) fn note(text: &str, found: &mut Vec<String>) {
    if text.chars().count() >= MASKED_CHARS_MIN && !found.iter().any(|there| there == text) {
        found.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_tell() {
        for name in ["password", "DB_PASSWORD", "my api_key", "slackToken", " Secret "] {
            assert!(is_sensitive_name(name), "{name}");
        }
        for name in ["region", "path", "tok", "pass"] {
            assert!(!is_sensitive_name(name), "{name}");
        }
    }

    #[test]
    fn a_secret_that_holds_another_is_hidden_whole() {
        let secrets = ["hunter".to_owned(), "hunter22".to_owned(), String::new()];
        assert_eq!(hide("is hunter22, or hunter", &secrets), "is ***, or ***");
    }

    #[test]
    fn only_what_stands_below_a_telling_name_is_masked() {
        let value = json!({"region": "eu-west-1", "token": "abcdefgh", "keys": {"secret": ["first-one", 7, "no"]}});
        let mut found = Vec::new();
        texts_to_mask(&value, false, &mut found);
        assert_eq!(found, ["abcdefgh", "first-one"]);
        found.clear();
        texts_to_mask(&value, true, &mut found);
        assert_eq!(found, ["eu-west-1", "abcdefgh", "first-one"]);
    }
}
