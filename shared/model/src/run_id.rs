//! Run ids: how they are made, which are accepted, and what type one suggests.

use crate::states::DagRunType;
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

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
    isoformat_in(at, Offset::UTC)
}

/// As [`isoformat`], on the clock of `offset`.
fn isoformat_in(at: Timestamp, offset: Offset) -> String {
    let zoned = at.to_zoned(TimeZone::fixed(offset));
    // Of the clock, not of the instant: before 1970 an instant counts its fraction backwards.
    let micros = match zoned.subsec_nanosecond() / 1000 {
        0 => String::new(),
        micros => format!(".{micros:06}"),
    };
    format!("{}{micros}{}", zoned.strftime("%Y-%m-%dT%H:%M:%S"), zoned.strftime("%:z"))
}

/// The instant a run may start at, and the clock its id shows that on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunAfter {
    /// The instant.
    pub at: Timestamp,
    /// UTC, unless somebody gave the instant with another offset: Airflow's ids keep it.
    pub offset: Offset,
}

impl From<Timestamp> for RunAfter {
    fn from(at: Timestamp) -> Self {
        Self { at, offset: Offset::UTC }
    }
}

impl From<&Zoned> for RunAfter {
    fn from(zoned: &Zoned) -> Self {
        Self { at: zoned.timestamp(), offset: zoned.offset() }
    }
}

/// What follows the instant in a run's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending<'a> {
    /// Nothing: the id says all.
    None,
    /// The drawn tail ([`TAIL_LENGTH`] characters) of ids made without a logical date by the command line.
    Tail(&'a str),
    /// A partitioned timetable's: the run's partition, if it has one, and a drawn tail, since several runs may be due at one instant.
    Partition(Option<&'a str>, &'a str),
}

/// The id of a run: `<type>__<run_after>`, from `run_after`, not from the logical date.
pub fn generate(run_type: DagRunType, run_after: impl Into<RunAfter>, ending: Ending<'_>) -> String {
    let RunAfter { at, offset } = run_after.into();
    let ending = match ending {
        Ending::None => String::new(),
        Ending::Tail(tail) => format!("_{tail}"),
        Ending::Partition(None, tail) => format!("__{tail}"),
        Ending::Partition(Some(key), tail) => format!("__{key}__{tail}"),
    };
    format!("{run_type}__{}{ending}", isoformat_in(at, offset))
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
