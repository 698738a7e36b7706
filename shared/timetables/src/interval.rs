//! Timetables that run *for* an interval: the run is named after the interval's start and due at its end.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    CronExpression, CronSchedule, DagRunInfo, DataInterval, Delta, DeltaError, TimeRestriction, TimetableError,
    Timezone,
};

/// Intervals between the instants of a cron expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CronDataInterval {
    /// Where intervals meet.
    pub cron: CronExpression,
    /// Whose clock the expression is read on.
    pub timezone: Timezone,
}

/// Intervals of a fixed or calendar-relative length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeltaDataInterval {
    #[serde(deserialize_with = "crate::delta::deserialize_positive")]
    delta: Delta,
}

/// What the two kinds do differently.
trait Boundaries {
    fn next(&self, current: Timestamp) -> Result<Timestamp, TimetableError>;
    fn align_to_next(&self, current: Timestamp) -> Result<Timestamp, TimetableError>;
    fn align_to_prev(&self, current: Timestamp) -> Result<Timestamp, TimetableError>;
    /// The start of the interval to run for if past ones are not made up, not before `earliest`.
    fn skip_to_latest(&self, earliest: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, TimetableError>;
    fn did_not_advance(&self, past: Timestamp) -> TimetableError;
}

/// The interval after the last one, or the first, or without catchup the most recent complete one.
fn next_run(
    boundaries: &impl Boundaries,
    last: Option<&DataInterval>,
    restriction: &TimeRestriction,
    now: Timestamp,
) -> Result<Option<DagRunInfo>, TimetableError> {
    let earliest = match restriction.earliest {
        earliest if !restriction.catchup => Some(boundaries.skip_to_latest(earliest, now)?),
        Some(earliest) => Some(boundaries.align_to_next(earliest)?),
        None => None,
    };
    let start = match (last, earliest) {
        (None, None) => return Ok(None),
        (None, Some(earliest)) => earliest,
        (Some(last), earliest) => {
            // The schedule may have changed since: the last end need not be one of its instants.
            let aligned = boundaries.align_to_prev(last.end)?;
            let start = earliest.map_or(aligned, |earliest| earliest.max(aligned));
            past(boundaries, start, last.start)?
        }
    };
    if restriction.latest.is_some_and(|latest| start > latest) {
        return Ok(None);
    }
    Ok(Some(DagRunInfo::interval(DataInterval::new(start, boundaries.next(start)?))))
}

/// `start`, or the boundary after it if a run with that start, `last_start`, or a later one exists already.
fn past(boundaries: &impl Boundaries, start: Timestamp, last_start: Timestamp) -> Result<Timestamp, TimetableError> {
    if start > last_start {
        return Ok(start);
    }
    let start = boundaries.next(start)?;
    if start > last_start { Ok(start) } else { Err(boundaries.did_not_advance(last_start)) }
}

impl CronDataInterval {
    fn schedule(&self) -> CronSchedule<'_> {
        CronSchedule::new(&self.cron, &self.timezone)
    }

    pub(crate) fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        next_run(&self.schedule(), last, restriction, now)
    }

    /// The last interval that was complete at `run_after`.
    pub(crate) fn infer_manual_data_interval(&self, run_after: Timestamp) -> Result<DataInterval, TimetableError> {
        let end = self.schedule().align_to_prev(run_after)?;
        Ok(DataInterval::new(self.schedule().prev(end)?, end))
    }
}

impl Boundaries for CronSchedule<'_> {
    fn next(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        CronSchedule::next(self, current)
    }

    fn align_to_next(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        CronSchedule::align_to_next(self, current)
    }

    fn align_to_prev(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        CronSchedule::align_to_prev(self, current)
    }

    fn skip_to_latest(&self, earliest: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, TimetableError> {
        let last_start = self.prev(now)?;
        let next_start = CronSchedule::next(self, last_start)?;
        let start = match next_start.cmp(&now) {
            std::cmp::Ordering::Equal => last_start,
            std::cmp::Ordering::Greater => self.prev(last_start)?,
            std::cmp::Ordering::Less => return Err(CronSchedule::did_not_advance(self, last_start)),
        };
        match earliest {
            None => Ok(start),
            Some(earliest) => Ok(start.max(CronSchedule::align_to_next(self, earliest)?)),
        }
    }

    fn did_not_advance(&self, past: Timestamp) -> TimetableError {
        CronSchedule::did_not_advance(self, past)
    }
}

impl DeltaDataInterval {
    /// Intervals of length `delta`.
    pub fn new(delta: Delta) -> Result<Self, DeltaError> {
        Ok(Self { delta: delta.positive()? })
    }

    /// The length of an interval.
    pub fn delta(&self) -> Delta {
        self.delta
    }

    pub(crate) fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        next_run(self, last, restriction, now)
    }

    /// The interval that ends at `run_after`.
    pub(crate) fn infer_manual_data_interval(&self, run_after: Timestamp) -> Result<DataInterval, TimetableError> {
        Ok(DataInterval::new(self.delta.before(run_after)?, run_after))
    }

    /// The last boundary not after `at`: multiples of a fixed length since 1970, or steps of months from `anchor`.
    fn floor(&self, at: Timestamp, anchor: Timestamp) -> Result<Timestamp, TimetableError> {
        let length = match self.delta {
            Delta::Fixed(duration) => duration,
            Delta::Relative(relative) if relative.is_calendar() => return self.walk(at, anchor),
            Delta::Relative(relative) => relative.fixed_part(),
        };
        let surplus = at.as_nanosecond().rem_euclid(length.as_nanos());
        Ok(Timestamp::from_nanosecond(at.as_nanosecond() - surplus)?)
    }

    /// Steps from `anchor` one by one, because 31 January, 28 February, 28 March is not what a multiple of months gives.
    fn walk(&self, at: Timestamp, anchor: Timestamp) -> Result<Timestamp, TimetableError> {
        let mut boundary = anchor;
        loop {
            let next = self.delta.after(boundary)?;
            if next <= boundary {
                return Err(Boundaries::did_not_advance(self, boundary));
            }
            if next > at {
                return Ok(boundary);
            }
            boundary = next;
        }
    }
}

impl Boundaries for DeltaDataInterval {
    fn next(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        self.delta.after(current)
    }

    fn align_to_next(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        Ok(current)
    }

    fn align_to_prev(&self, current: Timestamp) -> Result<Timestamp, TimetableError> {
        Ok(current)
    }

    fn skip_to_latest(&self, earliest: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, TimetableError> {
        let start = self.delta.before(self.floor(now, earliest.unwrap_or(now))?)?;
        Ok(earliest.map_or(start, |earliest| start.max(earliest)))
    }

    fn did_not_advance(&self, past: Timestamp) -> TimetableError {
        TimetableError::DidNotAdvance { schedule: self.delta.to_string(), timezone: "UTC".to_owned(), past }
    }
}
