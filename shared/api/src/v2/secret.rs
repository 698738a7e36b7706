//! What must not leave the server.

use serde_json::Value;
use updraft_model::secrets::{HIDDEN, is_sensitive_name};

/// A value with everything hidden that stands below a telling name, the value's own included.
pub(crate) fn redacted(value: &Value, name: &str) -> Value {
    // Below a telling name everything is hidden, whatever it is called itself.
    let below = |key: &str| if is_sensitive_name(name) { name.to_owned() } else { key.to_owned() };
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), redacted(value, &below(key)))).collect(),
        Value::Array(items) => items.iter().map(|item| redacted(item, name)).collect(),
        Value::Null => Value::Null,
        _ if is_sensitive_name(name) => HIDDEN.into(),
        other => other.clone(),
    }
}

/// A text, and where it is JSON what is inside it, with everything hidden that stands below a telling name.
pub(super) fn redacted_text(name: &str, text: &str) -> String {
    match serde_json::from_str::<Value>(text) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => redacted(&value, name).to_string(),
        _ if is_sensitive_name(name) && !text.is_empty() => HIDDEN.to_owned(),
        _ => text.to_owned(),
    }
}

/// What to keep where somebody sends back what was shown to them: hidden values stay as they were.
pub(super) fn restored(new: &Value, old: &Value, name: &str) -> Value {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => {
            let one = |key: &String, value: &Value| {
                let value = old.get(key).map_or_else(|| value.clone(), |old| restored(value, old, key));
                (key.clone(), value)
            };
            Value::Object(new.iter().map(|(key, value)| one(key, value)).collect())
        }
        (Value::String(text), old) if text == HIDDEN && is_sensitive_name(name) => old.clone(),
        _ => new.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn telling_names_hide_and_hidden_values_come_back() {
        let old =
            json!({"token": "abc", "region": "eu", "nested": {"password": "p", "keys": [1]}, "secret": {"a": "b"}});
        let shown = redacted(&old, "extra");
        assert_eq!(
            shown,
            json!({"token": "***", "region": "eu", "nested": {"password": "***", "keys": [1]}, "secret": {"a": "***"}})
        );
        let mut sent = shown.clone();
        sent["region"] = "us".into();
        sent["secret"] = json!({"a": "c"});
        let kept = restored(&sent, &old, "extra");
        assert_eq!(
            kept,
            json!({"token": "abc", "region": "us", "nested": {"password": "p", "keys": [1]}, "secret": {"a": "c"}})
        );
        assert_eq!(redacted_text("api_key", "x"), "***");
        assert_eq!(redacted_text("region", "eu"), "eu");
    }
}
