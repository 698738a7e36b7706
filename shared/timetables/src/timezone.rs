//! Time zones by name, from the database in the binary.

use std::fmt;
use std::sync::LazyLock;

use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// The database compiled in. The machine's own is never asked: laptop and cloud must agree on every date.
static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A name may differ from a known one by this many letters and still be offered as a correction.
const TYPING_ERRORS_MAX: usize = 2;

/// A time zone: an IANA name such as `Europe/Berlin`, or a fixed offset such as `+05:30`. Stored as that text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timezone {
    name: String,
    zone: TimeZone,
}

/// A text that names no time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no known time zone; use an IANA name such as `{}`, or an offset such as `+05:30`",
    suggestion.as_deref().unwrap_or("Europe/Berlin")
)]
pub struct TimezoneError {
    /// The text as written.
    pub name: String,
    /// The name that was probably meant.
    pub suggestion: Option<String>,
}

impl Timezone {
    /// Coordinated universal time, the zone of a DAG that names none.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// The zone called `name`: an IANA name in any letter case, or an offset `+HH:MM`, `-HH:MM` or `+HH:MM:SS`.
    pub fn parse(name: &str) -> Result<Self, TimezoneError> {
        if let Some(offset) = parse_offset(name) {
            return Ok(Self { name: name.to_owned(), zone: TimeZone::fixed(offset) });
        }
        let Ok(zone) = DATABASE.get(name) else {
            return Err(TimezoneError { name: name.to_owned(), suggestion: suggest(name) });
        };
        let name = zone.iana_name().unwrap_or(name).to_owned();
        Ok(Self { name, zone })
    }

    /// The name in its usual spelling.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rules of the zone.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timezone({})", self.name)
    }
}

impl Default for Timezone {
    fn default() -> Self {
        Self::utc()
    }
}

impl std::str::FromStr for Timezone {
    type Err = TimezoneError;

    fn from_str(name: &str) -> Result<Self, TimezoneError> {
        Self::parse(name)
    }
}

impl TryFrom<String> for Timezone {
    type Error = TimezoneError;

    fn try_from(name: String) -> Result<Self, TimezoneError> {
        Self::parse(&name)
    }
}

impl From<Timezone> for String {
    fn from(timezone: Timezone) -> Self {
        timezone.name
    }
}

/// `+05:30` and the like; `None` for anything that is not an offset.
fn parse_offset(text: &str) -> Option<Offset> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let mut seconds = 0;
    let mut parts = text[1..].split(':');
    for (unit, max) in [(3600, 25), (60, 59), (1, 59)] {
        let part = match (parts.next(), unit) {
            (Some(part), _) => part,
            (None, 1) => break,
            // Hours and minutes must both be there, so that `+5` is not taken for five minutes or five hours.
            (None, _) => return None,
        };
        if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let value = part.parse::<i32>().ok().filter(|value| *value <= max)?;
        seconds += value * unit;
    }
    if parts.next().is_some() {
        return None;
    }
    Offset::from_seconds(sign * seconds).ok()
}

/// The known name that `name` was probably meant to be: the same city in its region, or nearly the same letters.
fn suggest(name: &str) -> Option<String> {
    let wanted = name.trim().replace(' ', "_").to_ascii_lowercase();
    let known: Vec<String> = DATABASE.available().map(|known| known.as_str().to_owned()).collect();
    let same_city =
        known.iter().find(|known| known.rsplit_once('/').is_some_and(|(_, city)| city.eq_ignore_ascii_case(&wanted)));
    let nearest = || {
        known
            .iter()
            .map(|known| (strsim::levenshtein(&known.to_ascii_lowercase(), &wanted), known))
            .filter(|(distance, _)| *distance <= TYPING_ERRORS_MAX)
            .min()
            .map(|(_, known)| known)
    };
    same_city.or_else(nearest).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_kept_in_their_usual_spelling() {
        assert_eq!(Timezone::parse("europe/berlin").unwrap().name(), "Europe/Berlin");
        assert_eq!(Timezone::parse("UTC").unwrap(), Timezone::utc());
    }

    #[test]
    fn offsets_are_zones() {
        let zone = Timezone::parse("+05:30").unwrap();
        assert_eq!(zone.name(), "+05:30");
        let noon: jiff::Timestamp = "2025-01-01T12:00:00Z".parse().unwrap();
        assert_eq!(zone.zone().to_datetime(noon).to_string(), "2025-01-01T17:30:00");
        for text in ["+5", "+05", "+05:60", "+26:00", "+05:30:00:00", "+0a:00", "+", "-"] {
            assert!(Timezone::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_offset_survives_the_round_trip_through_its_name() {
        for text in ["+05:30", "-08:00", "+00:19:32", "+14:00"] {
            let zone = Timezone::parse(text).unwrap();
            assert_eq!(Timezone::parse(zone.name()).unwrap(), zone);
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_one_that_was_meant() {
        let error = Timezone::parse("Berlin").unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("Europe/Berlin"));
        let error = Timezone::parse("Europe/Pariss").unwrap_err();
        assert_eq!(error.suggestion.as_deref(), Some("Europe/Paris"));
        assert_eq!(
            Timezone::parse("Middle-earth/Shire").unwrap_err().to_string(),
            "`Middle-earth/Shire` is no known time zone; use an IANA name such as `Europe/Berlin`, or an offset such as `+05:30`"
        );
    }
}
