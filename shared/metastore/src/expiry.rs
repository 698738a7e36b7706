//! History that goes by itself: where a deployment keeps it for so many days only, what is written of a run says when it may be removed.
//!
//! Nothing is written for it that is not written anyway. A run's document expires from its end on, and no longer once the run goes on
//! again; everything beside it from when it is written. The store removes what has expired, when it pleases, and nothing waits for that.

use crate::codec;
use crate::item::{Change, Key, Path, Update, Value};
use crate::keys;
use jiff::{SignedDuration, Timestamp};

/// The attribute that says, in seconds since 1970, from when on an item may be removed.
pub const EXPIRES: &str = "expires";

/// Names the days that history is kept, for every process of a deployment.
pub const DAYS: &str = "UPDRAFT_HISTORY_DAYS";

/// The fewest days that history can be kept: longer than any run should take, since what a run wrote first expires first.
pub const DAYS_LEAST: u32 = 30;

/// How long history is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(SignedDuration);

/// A number of days that is none of those allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of days to keep history; write 0, which keeps it for ever, or {DAYS_LEAST} or more")]
pub struct NoDays(String);

impl Expiry {
    /// Reads a number of days; none where history is kept for ever: for nothing, and for 0.
    ///
    /// # Errors
    /// If it is no number, or too small a one.
    pub fn from_days(text: &str) -> Result<Option<Self>, NoDays> {
        match text.parse::<u32>() {
            _ if text.is_empty() => Ok(None),
            Ok(0) => Ok(None),
            Ok(days @ DAYS_LEAST..=36_500) => Ok(Some(Self(SignedDuration::from_hours(24 * i64::from(days))))),
            _ => Err(NoDays(text.to_owned())),
        }
    }

    /// When an item that is put now expires; none: never.
    pub fn of_put(self, key: &Key, now: Timestamp) -> Option<Value> {
        keys::is_history(key).then(|| self.after(now))
    }

    /// The change that goes with an update: of a run's document that it gives an end.
    pub fn of_update(self, update: &Update) -> Option<Change> {
        if !keys::is_run(&update.key) {
            return None;
        }
        let ended = update.changes.iter().find_map(|change| match change {
            Change::Set(Path::Top(codec::END_DATE), Value::N(micros)) => Timestamp::from_microsecond(*micros).ok(),
            _ => None,
        });
        ended.map(|at| Change::Set(Path::Top(EXPIRES), self.after(at)))
    }

    fn after(self, at: Timestamp) -> Value {
        Value::N(at.as_second().saturating_add(self.0.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_model::{DagId, DagRunState, Incarnation, RunChange};

    const DAY: i64 = 24 * 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn days_are_none_or_enough() {
        assert_eq!((Expiry::from_days(""), Expiry::from_days("0")), (Ok(None), Ok(None)));
        let month = Expiry::from_days("30").unwrap().unwrap();
        assert_eq!(month.after(at(5)), Value::N(5 + 30 * DAY));
        for bad in ["29", "-1", "x", "1.5", "99999999"] {
            assert_eq!(Expiry::from_days(bad), Err(NoDays(bad.to_owned())));
        }
    }

    #[test]
    fn what_is_written_of_runs_expires_and_what_is_needed_does_not() {
        let month = Expiry::from_days("30").unwrap().unwrap();
        let put = |pk: &str, sk: &str| month.of_put(&Key { pk: pk.to_owned(), sk: sk.to_owned() }, at(0)).is_some();
        for (pk, sk) in [
            ("R#i", "A#00001#0001#t"),
            ("R#i", "M#00001#00000000"),
            ("R#i", "C#"),
            ("R#i", "K#end.0.0"),
            ("R#i", "B#00001##n"),
            ("D#d", "N#manual__1"),
            ("D#d", "O#1#manual__1"),
            ("D#d", "L#1"),
            ("D#d", "S#1#manual__1"),
            ("EVENTS", "1"),
        ] {
            assert!(put(pk, sk), "{pk} {sk}");
        }
        for (pk, sk) in [
            ("R#i", "R"),
            ("D#d", "D"),
            ("D#d", "W#00000001"),
            ("V#v", "V"),
            ("P#p", "P"),
            ("A#a", "E#1"),
            ("B#7", "B#n"),
            ("VARIABLES", "N#x"),
            ("DAGS", "d"),
            ("I#i", "I"),
        ] {
            assert!(!put(pk, sk), "{pk} {sk}");
        }
        assert!(put(&keys::dag(&DagId::trusted("d")).pk, &keys::run_name(&DagId::trusted("d"), "r").sk));
    }

    #[test]
    fn a_run_expires_from_its_end_on_and_no_more_once_it_goes_on() {
        let month = Expiry::from_days("30").unwrap().unwrap();
        let incarnation = Incarnation::trusted("i");
        let ends =
            RunChange { state: Some(DagRunState::Success), end_date: Some(Some(at(100))), ..RunChange::default() };
        let expires = Change::Set(Path::Top(EXPIRES), Value::N(100 + 30 * DAY));
        assert_eq!(month.of_update(&codec::run_update(&incarnation, &ends)), Some(expires));
        // A release or a command line that knows no expiry must take it back, too.
        let goes_on = RunChange { state: Some(DagRunState::Queued), end_date: Some(None), ..RunChange::default() };
        let update = codec::run_update(&incarnation, &goes_on);
        assert_eq!(month.of_update(&update), None);
        assert!(update.changes.contains(&Change::Remove(Path::Top(EXPIRES))), "{update:?}");
        let other = RunChange { start_date: Some(at(1)), ..RunChange::default() };
        assert_eq!(month.of_update(&codec::run_update(&incarnation, &other)), None);
    }
}
