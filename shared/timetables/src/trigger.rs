//! Timetables that run *at* an instant. The data interval ends there and has any length, by default none.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    CronExpression, CronSchedule, DagRunInfo, DataInterval, Delta, DeltaError, TimeRestriction, TimetableError,
    Timezone,
};

/// A run at each instant of a cron expression. What a cron string or preset means as a DAG's schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CronTrigger {
    /// When to run.
    pub cron: CronExpression,
    /// Whose clock the expression is read on.
    pub timezone: Timezone,
    /// Length of the data interval before each run.
    #[serde(default = "zero", skip_serializing_if = "Delta::is_zero")]
    pub interval: Delta,
    /// What to do about the run that was due before the DAG came.
    #[serde(default, skip_serializing_if = "RunImmediately::is_default")]
    pub run_immediately: RunImmediately,
}

/// A run at each instant of any of several cron expressions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MultipleCronTrigger {
    /// When to run; expressions that meet give one run, and an empty list gives none.
    pub crons: Vec<CronExpression>,
    /// Whose clock the expressions are read on.
    pub timezone: Timezone,
    /// Length of the data interval before each run.
    #[serde(default = "zero", skip_serializing_if = "Delta::is_zero")]
    pub interval: Delta,
    /// What to do about the run that was due before the DAG came.
    #[serde(default, skip_serializing_if = "RunImmediately::is_default")]
    pub run_immediately: RunImmediately,
}

/// A run a fixed or calendar-relative time after the one before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DeltaTrigger {
    #[serde(deserialize_with = "crate::delta::deserialize_positive")]
    delta: Delta,
    #[serde(default = "zero", skip_serializing_if = "Delta::is_zero")]
    interval: Delta,
}

/// Whether a DAG without a start date that has never run makes up the run last due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunImmediately {
    /// If it was due within a tenth of the time between two runs, or within five minutes.
    #[default]
    IfRecent,
    /// Always.
    Always,
    /// If it was due within this time.
    Within(SignedDuration),
}

impl RunImmediately {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A missed run counts as recent for this long at least.
const RECENT_MIN: SignedDuration = SignedDuration::from_mins(5);

fn zero() -> Delta {
    Delta::ZERO
}

impl CronTrigger {
    /// A trigger with a data interval of no length.
    pub fn new(cron: CronExpression, timezone: Timezone) -> Self {
        Self { cron, timezone, interval: Delta::ZERO, run_immediately: RunImmediately::default() }
    }

    pub(crate) fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let schedule = CronSchedule::new(&self.cron, &self.timezone);
        next_cron_run(schedule, self.interval, self.run_immediately, last, restriction, now)
    }

    pub(crate) fn infer_manual_data_interval(&self, run_after: Timestamp) -> Result<DataInterval, TimetableError> {
        ending_at(run_after, self.interval)
    }
}

impl MultipleCronTrigger {
    pub(crate) fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let mut best: Option<DagRunInfo> = None;
        for cron in &self.crons {
            let schedule = CronSchedule::new(cron, &self.timezone);
            let info = next_cron_run(schedule, self.interval, self.run_immediately, last, restriction, now)?;
            best = match (best, info) {
                (Some(best), Some(info)) if comes_before(&info, &best, restriction.catchup, now) => Some(info),
                (best, info) => best.or(info),
            };
        }
        Ok(best)
    }

    pub(crate) fn infer_manual_data_interval(&self, run_after: Timestamp) -> Result<DataInterval, TimetableError> {
        ending_at(run_after, self.interval)
    }
}

impl DeltaTrigger {
    /// A run every `delta`, with a data interval of length `interval` before each.
    pub fn new(delta: Delta, interval: Delta) -> Result<Self, DeltaError> {
        Ok(Self { delta: delta.positive()?, interval })
    }

    /// The time between two runs.
    pub fn delta(&self) -> Delta {
        self.delta
    }

    /// Every instant is as good as any, so a DAG that has never run starts now, not at a multiple of its delta.
    pub(crate) fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let after_last = last.map(|last| self.delta.after(last.end)).transpose()?;
        let run_after = if restriction.catchup {
            after_last.or(restriction.earliest).unwrap_or(now)
        } else {
            latest_of(now, [after_last, restriction.earliest])
        };
        run_at(run_after, self.interval, restriction)
    }

    pub(crate) fn infer_manual_data_interval(&self, run_after: Timestamp) -> Result<DataInterval, TimetableError> {
        ending_at(run_after, self.interval)
    }
}

/// The run at [`next_cron_instant`].
fn next_cron_run(
    schedule: CronSchedule<'_>,
    interval: Delta,
    run_immediately: RunImmediately,
    last: Option<&DataInterval>,
    restriction: &TimeRestriction,
    now: Timestamp,
) -> Result<Option<DagRunInfo>, TimetableError> {
    run_at(next_cron_instant(schedule, run_immediately, last, restriction, now)?, interval, restriction)
}

/// With catchup the instant after the last run, else the one most recently due, but never a second time.
pub(crate) fn next_cron_instant(
    schedule: CronSchedule<'_>,
    run_immediately: RunImmediately,
    last: Option<&DataInterval>,
    restriction: &TimeRestriction,
    now: Timestamp,
) -> Result<Timestamp, TimetableError> {
    Ok(match (last, restriction.earliest, restriction.catchup) {
        (Some(last), _, true) => schedule.next(last.end)?,
        (None, Some(earliest), true) => schedule.align_to_next(earliest)?,
        (None, None, true) => first_run(schedule, run_immediately, now)?,
        (last, earliest, false) => {
            let after_last = match (last, earliest) {
                (Some(last), _) => Some(schedule.next(last.end)?),
                (None, None) => Some(first_run(schedule, run_immediately, now)?),
                (None, Some(_)) => None,
            };
            let earliest = earliest.map(|earliest| schedule.align_to_next(earliest)).transpose()?;
            latest_of(schedule.align_to_prev(now)?, [after_last, earliest])
        }
    })
}

/// The first run of a DAG without a start date: the one last due if that is recent enough, else the next.
fn first_run(
    schedule: CronSchedule<'_>,
    run_immediately: RunImmediately,
    now: Timestamp,
) -> Result<Timestamp, TimetableError> {
    let past = schedule.align_to_prev(now)?;
    let next = schedule.align_to_next(now)?;
    let recent = match run_immediately {
        RunImmediately::Always => return Ok(past),
        RunImmediately::Within(duration) => duration,
        RunImmediately::IfRecent => (next.duration_since(past) / 10).max(RECENT_MIN),
    };
    Ok(if now.duration_since(past) <= recent { past } else { next })
}

/// Whether a run of one expression is chosen before that of another: with catchup the earlier one; without it the later
/// one of those due, and before all of those not due yet.
fn comes_before(info: &DagRunInfo, best: &DagRunInfo, catchup: bool, now: Timestamp) -> bool {
    match (info.logical_date <= Some(now), best.logical_date <= Some(now)) {
        (true, true) if !catchup => info.logical_date > best.logical_date,
        (false, false) => info.logical_date < best.logical_date,
        (is_due, _) if !catchup => is_due,
        _ => info.logical_date < best.logical_date,
    }
}

fn latest_of(first: Timestamp, others: [Option<Timestamp>; 2]) -> Timestamp {
    others.into_iter().flatten().fold(first, Timestamp::max)
}

fn run_at(
    run_after: Timestamp,
    interval: Delta,
    restriction: &TimeRestriction,
) -> Result<Option<DagRunInfo>, TimetableError> {
    if restriction.latest.is_some_and(|latest| latest < run_after) {
        return Ok(None);
    }
    Ok(Some(DagRunInfo::interval(ending_at(run_after, interval)?)))
}

fn ending_at(end: Timestamp, interval: Delta) -> Result<DataInterval, TimetableError> {
    Ok(DataInterval::new(interval.before(end)?, end))
}
