//! What branches have in common.

use serde_json::Value;
use updraft_model::Choice;

use crate::attempt::{Attempt, Ended};
use crate::services::Services;

/// The end of an attempt that follows some tasks. What it follows is its result, as in Airflow.
pub(super) async fn follow<S: Services>(attempt: &mut Attempt<'_, S>, value: Value) -> Result<Ended, String> {
    let followed = followed(&value)?;
    attempt.say(&format!("following {}", shown(&followed))).await;
    Ok(attempt.success_with(value).with_choice(Some(Choice::Branch { followed })))
}

/// The ids in a branch's answer: one, several, or none.
pub(super) fn followed(value: &Value) -> Result<Vec<String>, String> {
    let wrong = |value: &Value| {
        format!("a branch follows a task id, a list of them or nothing, but this one said `{}`", kind(value))
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(id) => Ok(vec![id.clone()]),
        Value::Array(items) => items.iter().map(|id| id.as_str().map(str::to_owned).ok_or_else(|| wrong(id))).collect(),
        other => Err(wrong(other)),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "None",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    }
}

pub(super) fn shown(followed: &[String]) -> String {
    if followed.is_empty() { "nothing".to_owned() } else { format!("`{}`", followed.join("`, `")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_branch_says_one_several_or_none() {
        for (value, expected) in [
            (json!(null), vec![]),
            (json!([]), vec![]),
            (json!("a"), vec!["a"]),
            (json!(["a", "g.b"]), vec!["a", "g.b"]),
        ] {
            assert_eq!(followed(&value).expect("it is one"), expected, "{value}");
        }
        for value in [json!(true), json!(5), json!({"a": 1}), json!(["a", null])] {
            assert!(followed(&value).is_err(), "{value}");
        }
    }
}
