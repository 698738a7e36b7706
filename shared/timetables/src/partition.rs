//! Runs that each stand for a partition of the data.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::strtime::{self, BrokenDownTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::trigger::next_cron_instant;
use crate::{
    CronExpression, CronSchedule, DagRunInfo, DataInterval, RunImmediately, TimeRestriction, TimetableError, Timezone,
};

/// How far a partition may lie from its run, in instants of the expression: each costs a search.
const RUN_OFFSET_MAX: i32 = 10_000;

/// The longest key, in characters. It becomes part of the run's id.
const KEY_LENGTH_MAX: usize = 200;

/// A run at each instant of a cron expression, for the partition that another of its instants names. Such a run has neither
/// logical date nor data interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct CronPartition {
    cron: CronExpression,
    timezone: Timezone,
    #[serde(skip_serializing_if = "is_zero")]
    run_offset: i32,
    key_format: String,
    #[serde(skip_serializing_if = "RunImmediately::is_default")]
    run_immediately: RunImmediately,
}

/// As written by hand, unchecked.
#[derive(Deserialize)]
struct Stored {
    cron: CronExpression,
    timezone: Timezone,
    #[serde(default)]
    run_offset: i32,
    key_format: String,
    #[serde(default)]
    run_immediately: RunImmediately,
}

/// Why a partitioned timetable was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    /// The format of the keys means nothing, or makes keys that are empty or too long.
    #[error(
        "the key format `{key_format}` makes no usable key: {why}; use a format such as `{default}`",
        default = CronPartition::KEY_FORMAT_DEFAULT
    )]
    KeyFormat {
        /// The format as written.
        key_format: String,
        /// What is wrong with it.
        why: String,
    },
    /// The offset is out of bounds.
    #[error("the run offset {0} is out of bounds; use one from -{RUN_OFFSET_MAX} to {RUN_OFFSET_MAX}")]
    RunOffset(i32),
}

impl CronPartition {
    /// How Airflow writes a partition's key unless told otherwise.
    pub const KEY_FORMAT_DEFAULT: &str = "%Y-%m-%dT%H:%M:%S";

    /// Runs at the instants of `cron`, each for the partition `run_offset` instants later (earlier, if negative), whose key is
    /// that instant on the clock of `timezone` as `key_format` writes it.
    ///
    /// # Errors
    /// [`PartitionError`] for a format that makes no key, or an offset out of bounds.
    pub fn new(
        cron: CronExpression,
        timezone: Timezone,
        run_offset: i32,
        key_format: impl Into<String>,
        run_immediately: RunImmediately,
    ) -> Result<Self, PartitionError> {
        let timetable = Self { cron, timezone, run_offset, key_format: key_format.into(), run_immediately };
        if run_offset.abs() > RUN_OFFSET_MAX {
            return Err(PartitionError::RunOffset(run_offset));
        }
        let refused =
            |why: &str| PartitionError::KeyFormat { key_format: timetable.key_format.clone(), why: why.to_owned() };
        match strtime::format(&timetable.key_format, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC)) {
            Err(error) => Err(refused(&error.to_string())),
            Ok(key) if key.is_empty() => Err(refused("its keys are empty")),
            Ok(key) if key.chars().count() > KEY_LENGTH_MAX => {
                Err(refused(&format!("its keys are longer than {KEY_LENGTH_MAX} characters")))
            }
            Ok(_) => Ok(timetable),
        }
    }

    /// When to run.
    pub fn cron(&self) -> &CronExpression {
        &self.cron
    }

    pub(crate) fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        let run_after = next_cron_instant(self.schedule(), self.run_immediately, last, restriction, now)?;
        if restriction.latest.is_some_and(|latest| latest < run_after) {
            return Ok(None);
        }
        let partition = Some(self.partition(run_after)?);
        Ok(Some(DagRunInfo { run_after, data_interval: None, logical_date: None, partition }))
    }

    /// The partition of a run at `run_after`.
    fn partition(&self, run_after: Timestamp) -> Result<Partition, TimetableError> {
        let mut date = run_after;
        for _ in 0..self.run_offset.unsigned_abs() {
            date = if self.run_offset > 0 { self.schedule().next(date)? } else { self.schedule().prev(date)? };
        }
        let key = strtime::format(&self.key_format, &date.to_zoned(self.timezone.zone().clone()))?;
        Ok(Partition { key, date })
    }

    /// The partition of this key; none where the format makes no such key.
    pub(crate) fn named(&self, key: &str) -> Option<Partition> {
        let mut read = BrokenDownTime::parse(&self.key_format, key).ok()?;
        // A key of a month is its first day's.
        if read.to_date().is_err() {
            read.set_month(Some(read.month().unwrap_or(1))).ok()?;
            read.set_day(Some(read.day().unwrap_or(1))).ok()?;
        }
        let civil = read.to_date().ok()?.to_datetime(read.to_time().unwrap_or(Time::MIN));
        let at = civil.to_zoned(self.timezone.zone().clone()).ok()?;
        let is_its_key = strtime::format(&self.key_format, &at).is_ok_and(|made| made == key);
        is_its_key.then(|| Partition { key: key.to_owned(), date: at.timestamp() })
    }

    fn schedule(&self) -> CronSchedule<'_> {
        CronSchedule::new(&self.cron, &self.timezone)
    }
}

impl TryFrom<Stored> for CronPartition {
    type Error = PartitionError;

    fn try_from(stored: Stored) -> Result<Self, PartitionError> {
        Self::new(stored.cron, stored.timezone, stored.run_offset, stored.key_format, stored.run_immediately)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(offset: &i32) -> bool {
    *offset == 0
}

/// A part of the data, and the run that makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Names the partition.
    pub key: String,
    /// The instant the key was made from.
    pub date: Timestamp,
}
