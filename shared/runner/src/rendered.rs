//! What is kept of the template fields of an attempt, for people to look at afterwards.

use serde_json::{Map, Value};
use updraft_model::secrets::{hide, is_sensitive_name, texts_to_mask};
use updraft_operators::Operator;

/// The most characters that are kept of one field: Airflow's `max_templated_field_length`.
const FIELD_CHARS_MAX: usize = 4096;

/// The template fields that are not what the file says: what the file says need not be kept a second time. Secrets are hidden in them,
/// and long ones cut.
pub(crate) fn kept(
    operator: &Operator,
    written: &Map<String, Value>,
    became: impl Fn(&str) -> Option<Value>,
    secrets: &[String],
) -> Map<String, Value> {
    let mut kept = Map::new();
    for name in operator.template_fields() {
        let Some(value) = became(name).filter(|value| written.get(name) != Some(value)) else { continue };
        let mut secrets = secrets.to_vec();
        texts_to_mask(&value, is_sensitive_name(name), &mut secrets);
        kept.insert(name.to_owned(), cut(without(value, &secrets)));
    }
    kept
}

/// A value, or where its text is long, the beginning of that, and that it was cut.
fn cut(value: Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some((end, _)) = text.char_indices().nth(FIELD_CHARS_MAX) else { return value };
    Value::String(format!("Truncated to {FIELD_CHARS_MAX} characters: {}", &text[..end]))
}

/// A value without the secrets in its texts.
pub(crate) fn without(value: Value, secrets: &[String]) -> Value {
    match value {
        Value::String(text) => Value::String(hide(&text, secrets)),
        Value::Array(items) => Value::Array(items.into_iter().map(|item| without(item, secrets)).collect()),
        Value::Object(map) => map.into_iter().map(|(name, item)| (name, without(item, secrets))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_file_says_is_not_kept_and_secrets_are_not_either() {
        let operator = updraft_operators::find("airflow.providers.standard.operators.bash.BashOperator").unwrap();
        let map = |value: Value| value.as_object().cloned().unwrap();
        let written = map(json!({"bash_command": "echo {{ ds }}", "cwd": "/tmp"}));
        let became = map(json!({
            "bash_command": "echo 2026-01-01 hunter22",
            "cwd": "/tmp",
            "env": {"API_TOKEN": "abcdefgh", "LONG": "x".repeat(5000)},
        }));
        let kept = kept(operator, &written, |name| became.get(name).cloned(), &["hunter22".to_owned()]);
        assert_eq!(kept["bash_command"], "echo 2026-01-01 ***");
        assert_eq!(kept.get("cwd"), None);
        let env = kept["env"].as_str().unwrap();
        assert!(env.starts_with("Truncated to 4096 characters: {") && env.contains("***"), "{env}");
        assert!(!env.contains("abcdefgh") && env.len() < 4200);
    }
}
