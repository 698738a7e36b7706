//! Run ids: how they are made, which are accepted, and what type one suggests.

use crate::states::DagRunType;
use jiff::{Timestamp, tz::TimeZone};

/// The characters a run id may have beside ASCII letters and digits (`allowed_run_id_pattern`).
const PUNCTUATION: &str = "_.~:+-";

/// How many characters the drawn tail of an id without logical date has.
pub const TAIL_LENGTH: usize = 8;

/// Why a run id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunIdError {
    /// Nothing was given.
    #[error("the run id is empty; leave it out to have one made")]
    Empty,
    /// A character outside the set.
    #[error("the run id `{run_id}` contains {character:?}; only ASCII letters, digits and `{PUNCTUATION}` are allowed")]
    Character {
        /// The refused id.
        run_id: String,
        /// Its first offending character.
        character: char,
    },
    /// Two dots in a row.
    #[error("the run id `{0}` contains `..`, which is not allowed")]
    DoubleDot(String),
    /// A manual run under another type's prefix.
    #[error("the run id `{run_id}` begins like that of a {looks_like} run; a manual run cannot have that name")]
    OtherType {
        /// The refused id.
        run_id: String,
        /// The type it suggests.
        looks_like: DagRunType,
    },
}

/// `run_after` as Airflow writes it into run ids and JSON: ISO 8601 in UTC, `+00:00`, microseconds only where there are any.
pub fn isoformat(at: Timestamp) -> String {
    let zoned = at.to_zoned(TimeZone::UTC);
    if at.subsec_nanosecond() / 1000 == 0 {
        zoned.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
    } else {
        format!("{}.{:06}+00:00", zoned.strftime("%Y-%m-%dT%H:%M:%S"), at.subsec_nanosecond() / 1000)
    }
}

/// The id of a run: `<type>__<run_after>`, from `run_after`, not from the logical date. `tail` is the drawn ending of ids
/// made without a logical date by the command line ([`TAIL_LENGTH`] characters), none elsewhere.
pub fn generate(run_type: DagRunType, run_after: Timestamp, tail: Option<&str>) -> String {
    let tail = tail.map(|t| format!("_{t}")).unwrap_or_default();
    format!("{run_type}__{}{tail}", isoformat(run_after))
}

/// The type a run id suggests; manual where it suggests none.
pub fn type_of(run_id: &str) -> DagRunType {
    DagRunType::ALL
        .iter()
        .copied()
        .find(|t| run_id.strip_prefix(t.as_str()).is_some_and(|rest| rest.starts_with("__")))
        .unwrap_or(DagRunType::Manual)
}

/// Whether a run of this type may have this id.
///
/// # Errors
/// [`RunIdError`] where Airflow raises `ValueError`.
pub fn check(run_type: DagRunType, run_id: &str) -> Result<(), RunIdError> {
    if run_id.is_empty() {
        return Err(RunIdError::Empty);
    }
    if let Some(character) = run_id.chars().find(|c| !(c.is_ascii_alphanumeric() || PUNCTUATION.contains(*c))) {
        return Err(RunIdError::Character { run_id: run_id.to_owned(), character });
    }
    if run_id.contains("..") {
        return Err(RunIdError::DoubleDot(run_id.to_owned()));
    }
    let looks_like = type_of(run_id);
    if run_type == DagRunType::Manual && looks_like != DagRunType::Manual {
        return Err(RunIdError::OtherType { run_id: run_id.to_owned(), looks_like });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_type_and_two_underscores_suggest_a_type() {
        for (run_id, expected) in [
            ("scheduled__2025", DagRunType::Scheduled),
            ("scheduled_2025", DagRunType::Manual),
            ("scheduled", DagRunType::Manual),
            ("asset_triggered__", DagRunType::AssetTriggered),
            ("nightly scheduled__", DagRunType::Manual),
        ] {
            assert_eq!(type_of(run_id), expected, "{run_id}");
        }
        assert!(check(DagRunType::Manual, "scheduled_2025").is_ok());
    }
}
