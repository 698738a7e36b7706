//! Runs at listed instants.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{DagRunInfo, DataInterval, TimeRestriction};

/// A run at each of some instants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "StoredEvents")]
pub struct Events {
    /// Ascending.
    dates: Vec<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    restrict_to_events: bool,
}

/// What may be written by hand, in any order.
#[derive(Deserialize)]
struct StoredEvents {
    dates: Vec<Timestamp>,
    #[serde(default)]
    restrict_to_events: bool,
}

impl From<StoredEvents> for Events {
    fn from(stored: StoredEvents) -> Self {
        Self::new(stored.dates, stored.restrict_to_events)
    }
}

impl Events {
    /// A run at each of `dates`, in any order. With `restrict_to_events` a run triggered by hand counts as one for the
    /// most recent of them, or the first.
    pub fn new(mut dates: Vec<Timestamp>, restrict_to_events: bool) -> Self {
        dates.sort_unstable();
        Self { dates, restrict_to_events }
    }

    /// The instants, ascending.
    pub fn dates(&self) -> &[Timestamp] {
        &self.dates
    }

    /// Without catchup, past instants are skipped, the most recent one too.
    pub(crate) fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Option<DagRunInfo> {
        let earliest = if restriction.catchup { restriction.earliest } else { restriction.earliest.max(Some(now)) };
        let is_due = |date: &&Timestamp| {
            earliest.is_none_or(|earliest| **date >= earliest) && last.is_none_or(|last| **date > last.end)
        };
        let next = self.dates.iter().find(is_due)?;
        let is_over = restriction.latest.is_some_and(|latest| *next > latest);
        (!is_over).then(|| DagRunInfo::exact(*next))
    }

    pub(crate) fn infer_manual_data_interval(&self, run_after: Timestamp) -> DataInterval {
        let recent = self.dates.iter().rev().find(|date| **date <= run_after).or(self.dates.first());
        let event = recent.filter(|_| self.restrict_to_events);
        DataInterval::exact(event.copied().unwrap_or(run_after))
    }
}
