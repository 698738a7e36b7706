//! Variables: named texts that DAGs read.

use crate::secrets;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The longest key, in characters: Airflow's column has as many.
pub const KEY_CHARS_MAX: usize = 250;

/// The largest value, in bytes: it lies in one item, whose limit on DynamoDB is 400 KB.
pub const VALUE_BYTES_MAX: usize = 256 * 1024;

/// A variable. Its `Debug` does not show the value.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub key: String,
    /// Its text; JSON where whoever wrote it said so.
    pub val: String,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable").field("key", &self.key).field("val", &secrets::HIDDEN).finish_non_exhaustive()
    }
}

/// Why a variable cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No key at all.
    #[error("the key of a variable is empty; give it a name")]
    NoKey,
    /// A key that is too long.
    #[error("the key of a variable has {0} characters; at most {KEY_CHARS_MAX} fit")]
    KeyTooLong(usize),
    /// A value that is too large.
    #[error(
        "the value of the variable `{key}` has {bytes} bytes; at most {VALUE_BYTES_MAX} fit: put it into a file and keep its address"
    )]
    TooLarge {
        /// Which variable.
        key: String,
        /// Its size.
        bytes: usize,
    },
}

impl Variable {
    /// Whether it can be kept.
    ///
    /// # Errors
    /// A [`Problem`] that says what does not fit.
    pub fn check(&self) -> Result<(), Problem> {
        let length = self.key.chars().count();
        let bytes = self.val.len() + self.description.as_ref().map_or(0, String::len);
        match length {
            0 => Err(Problem::NoKey),
            _ if length > KEY_CHARS_MAX => Err(Problem::KeyTooLong(length)),
            _ if bytes > VALUE_BYTES_MAX => Err(Problem::TooLarge { key: self.key.clone(), bytes }),
            _ => Ok(()),
        }
    }
}

/// What to mask in the logs of whoever reads this variable: all of it where its name tells of a secret, else what its JSON keeps below
/// a telling name.
pub fn texts_to_mask(key: &str, val: &str) -> Vec<String> {
    let whole = secrets::is_sensitive_name(key);
    let mut found = Vec::new();
    if whole {
        secrets::note(val, &mut found);
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(val) {
        secrets::texts_to_mask(&value, whole, &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(key: &str, val: &str) -> Variable {
        Variable { key: key.into(), val: val.into(), description: None }
    }

    #[test]
    fn what_does_not_fit_says_so() {
        assert_eq!(variable("", "x").check(), Err(Problem::NoKey));
        assert_eq!(variable(&"k".repeat(251), "x").check(), Err(Problem::KeyTooLong(251)));
        assert!(matches!(variable("k", &"x".repeat(VALUE_BYTES_MAX + 1)).check(), Err(Problem::TooLarge { .. })));
        assert_eq!(variable(&"ü".repeat(250), "").check(), Ok(()));
    }

    #[test]
    fn a_value_is_never_shown_by_accident() {
        assert!(!format!("{:?}", variable("k", "hunter22")).contains("hunter22"));
    }

    #[test]
    fn a_telling_name_masks_the_whole_value() {
        assert_eq!(texts_to_mask("api_key", "hunter22"), ["hunter22"]);
        assert_eq!(texts_to_mask("region", "eu-west-1"), Vec::<String>::new());
        assert_eq!(texts_to_mask("settings", r#"{"password": "hunter22", "region": "eu-west-1"}"#), ["hunter22"]);
    }
}
