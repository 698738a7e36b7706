//! Users of the web server, and what their roles let them do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest name of a user, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// What a user may do: each role all of what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything but variables and connections.
    Viewer,
    /// And trigger, pause, clear and mark.
    User,
    /// And change pools, variables, connections and assets.
    Op,
    /// And everything else.
    Admin,
}

impl Role {
    /// All of them, from the least to the most.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::User, Self::Op, Self::Admin];

    /// Its name, as Airflow's simple auth manager has it, in small letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::Op => "op",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text that names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no role; there are viewer, user, op and admin")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let is_named = |role: &Self| role.as_str().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(is_named).ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

/// A user. Its `Debug` does not show the hash of the password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub username: String,
    /// What the user may do.
    pub role: Role,
    /// The password's hash, in the form of a PHC string.
    pub password_hash: String,
    /// When the user was made.
    pub created_at: Timestamp,
    /// Drawn anew with each password: what was signed for an earlier one counts no more.
    pub stamp: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("username", &self.username).field("role", &self.role).finish_non_exhaustive()
    }
}

/// Attempts to log in that failed in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedLogins {
    /// How many.
    pub count: u32,
    /// When the last one was.
    pub last: Timestamp,
}

impl FailedLogins {
    /// How many attempts are free before there is a wait between them.
    pub const FREE: u32 = 5;

    /// The longest wait, in seconds.
    pub const WAIT_SECONDS_MAX: i64 = 900;

    /// The instant before which no further attempt is looked at: the wait doubles with each failure.
    pub fn until(&self) -> Option<Timestamp> {
        let over = self.count.checked_sub(Self::FREE)?;
        let seconds = 15i64.checked_shl(over.min(16)).unwrap_or(i64::MAX).min(Self::WAIT_SECONDS_MAX);
        self.last.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()
    }
}

/// Whether a text can be a user's name.
pub fn is_username(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.@+-".contains(c);
    !text.is_empty() && text.len() <= NAME_CHARS_MAX && text.chars().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_grow() {
        assert!(Role::Viewer < Role::User && Role::User < Role::Op && Role::Op < Role::Admin);
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        assert_eq!("ADMIN".parse(), Ok(Role::Admin));
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn waits_double_up_to_a_quarter_of_an_hour() {
        let last: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let wait = |count| FailedLogins { count, last }.until().map(|until| until.duration_since(last).as_secs());
        assert_eq!(
            [4, 5, 6, 7, 11, 40, u32::MAX].map(wait),
            [None, Some(15), Some(30), Some(60), Some(900), Some(900), Some(900)]
        );
    }

    #[test]
    fn names_are_plain() {
        assert!(is_username("ann.b+c@example.org") && is_username(&"a".repeat(64)));
        for name in ["", "a b", "ann#", "ä", &"a".repeat(65)] {
            assert!(!is_username(name), "{name}");
        }
    }
}
