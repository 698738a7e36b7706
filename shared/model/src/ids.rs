//! Identities. Each is a newtype, so that a task id cannot be passed where a run id is meant.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest dag id or task id Airflow accepts, in characters.
pub const ID_LENGTH_MAX: usize = 250;

/// Why an id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("the id is empty; give it 1 to {ID_LENGTH_MAX} characters")]
    Empty,
    /// More than [`ID_LENGTH_MAX`] characters.
    #[error("the id has {0} characters; at most {ID_LENGTH_MAX} are allowed")]
    TooLong(usize),
    /// A character outside Airflow's set.
    #[error("the id `{id}` contains `{character}`; only letters, digits, `_`, `-` and `.` are allowed")]
    Character {
        /// The refused id.
        id: String,
        /// Its first offending character.
        character: char,
    },
}

/// Checks an id by Airflow's rule for dag ids and task ids (as of 3.3.2: word characters of any script, `-`, `.`,
/// 1 to 250 characters). Airflow lets a trailing newline slip through; we do not.
pub fn check_id(id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    let length = id.chars().count();
    if length > ID_LENGTH_MAX {
        return Err(IdError::TooLong(length));
    }
    match id.chars().find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))) {
        Some(character) => Err(IdError::Character { id: id.to_owned(), character }),
        None => Ok(()),
    }
}

/// The longest group id Airflow accepts, in characters.
pub const GROUP_ID_LENGTH_MAX: usize = 200;

/// Checks the name of a task group by Airflow's rule: as [`check_id`], but no `.`, which separates groups, and at most 200 characters.
pub fn check_group_id(id: &str) -> Result<(), IdError> {
    check_id(id)?;
    let length = id.chars().count();
    if length > GROUP_ID_LENGTH_MAX {
        return Err(IdError::TooLong(length));
    }
    if id.contains('.') {
        return Err(IdError::Character { id: id.to_owned(), character: '.' });
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Takes a text that is already known to be well formed: read back from our own store, or drawn by us.
            pub fn trusted(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id! {
    /// A DAG's id: unique in a deployment.
    DagId
}
text_id! {
    /// A task's id: unique in its DAG; tasks in groups carry the group as prefix (`group.task`).
    TaskId
}
text_id! {
    /// The drawn identity of a run, so that a deleted and recreated run id is another run.
    Incarnation
}
text_id! {
    /// The fencing token of one attempt: drawn anew for each claim.
    Token
}
text_id! {
    /// The identity of what asset events are told under: it follows from its kind and name ([`crate::asset::Topic::id`]).
    TopicId
}
text_id! {
    /// The content address of a compiled DAG version (hex SHA-256, shortened).
    VersionId
}
text_id! {
    /// The id of a backfill: drawn, and a number, as Airflow's are.
    BackfillId
}
text_id! {
    /// The drawn identity of one intervention, stored beside the epoch, so that a retry whose answer was lost does not act
    /// twice (ARCHITECTURE.md, rule F1).
    OperationId
}

impl DagId {
    /// Checks and wraps a dag id.
    ///
    /// # Errors
    /// [`IdError`] when Airflow would refuse it.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text).map(|()| Self(text.to_owned()))
    }
}

impl TaskId {
    /// Checks and wraps a task id.
    ///
    /// # Errors
    /// [`IdError`] when Airflow would refuse it.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_id(text).map(|()| Self(text.to_owned()))
    }
}

/// A task's place in its DAG version's task list. Cells are keyed by it, which keeps run documents small; it has a meaning
/// only together with the run's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskIndex(pub u32);

impl TaskIndex {
    /// The place as an index into a slice.
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for TaskIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_airflows_rule() {
        for good in ["a", "a.b", "a-b_c", "тест", "a..b", &"x".repeat(250)] {
            assert_eq!(check_id(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a/b", "a\n", "a!", &"x".repeat(251)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }
}
