//! The timetables a DAG can have.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    CronDataInterval, CronError, CronExpression, CronPartition, CronTrigger, DagRunInfo, DataInterval,
    DeltaDataInterval, DeltaTrigger, Events, MultipleCronTrigger, TimeRestriction, TimetableError, Timezone,
};

/// When a DAG runs. Stored within a compiled DAG: the names of variants and their fields are fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timetable {
    /// Never by itself.
    Null,
    /// Once, at the start date or as soon as possible.
    Once,
    /// Again as soon as a run has ended. The DAG must allow one active run at a time only.
    Continuous,
    /// At the instants of a cron expression.
    CronTrigger(CronTrigger),
    /// At the instants of several cron expressions.
    MultipleCronTrigger(MultipleCronTrigger),
    /// For the intervals between the instants of a cron expression.
    CronDataInterval(CronDataInterval),
    /// A time after the run before.
    DeltaTrigger(DeltaTrigger),
    /// For intervals of a length.
    DeltaDataInterval(DeltaDataInterval),
    /// At listed instants.
    Events(Events),
    /// At the instants of a cron expression, each for a partition of the data.
    CronPartition(CronPartition),
}

/// What a cron string means as a DAG's schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CronStyle {
    /// Runs at the instants, with data intervals of no length. Airflow's default since version 3.
    #[default]
    Trigger,
    /// Runs for the intervals in between: Airflow's option `create_cron_data_intervals`.
    DataInterval,
}

impl Timetable {
    /// The timetable of a DAG whose schedule is the text `schedule`: a cron expression, a preset, `@once`,
    /// `@continuous`, or nothing.
    pub fn from_schedule(schedule: Option<&str>, timezone: &Timezone, style: CronStyle) -> Result<Self, CronError> {
        let text = match schedule {
            None => return Ok(Self::Null),
            Some("@once") => return Ok(Self::Once),
            Some("@continuous") => return Ok(Self::Continuous),
            Some(text) => text,
        };
        let (cron, timezone) = (CronExpression::parse(text)?, timezone.clone());
        Ok(match style {
            CronStyle::Trigger => Self::CronTrigger(CronTrigger::new(cron, timezone)),
            CronStyle::DataInterval => Self::CronDataInterval(CronDataInterval { cron, timezone }),
        })
    }

    /// The next run after the one that covered `last`, if there is to be one. `last` is that of the last run the
    /// timetable made, not of one triggered by hand.
    pub fn next_dagrun_info(
        &self,
        last: Option<&DataInterval>,
        restriction: &TimeRestriction,
        now: Timestamp,
    ) -> Result<Option<DagRunInfo>, TimetableError> {
        match self {
            Self::Null => Ok(None),
            Self::Once => Ok(once(last, restriction, now)),
            Self::Continuous => continuous(last, restriction, now),
            Self::CronTrigger(timetable) => timetable.next_dagrun_info(last, restriction, now),
            Self::MultipleCronTrigger(timetable) => timetable.next_dagrun_info(last, restriction, now),
            Self::CronDataInterval(timetable) => timetable.next_dagrun_info(last, restriction, now),
            Self::DeltaTrigger(timetable) => timetable.next_dagrun_info(last, restriction, now),
            Self::DeltaDataInterval(timetable) => timetable.next_dagrun_info(last, restriction, now),
            Self::Events(timetable) => Ok(timetable.next_dagrun_info(last, restriction, now)),
            Self::CronPartition(timetable) => timetable.next_dagrun_info(last, restriction, now),
        }
    }

    /// The data interval of a run triggered by hand for `run_after`.
    pub fn infer_manual_data_interval(&self, run_after: Timestamp) -> Result<DataInterval, TimetableError> {
        match self {
            Self::Null | Self::Once | Self::Continuous | Self::CronPartition(_) => Ok(DataInterval::exact(run_after)),
            Self::CronTrigger(timetable) => timetable.infer_manual_data_interval(run_after),
            Self::MultipleCronTrigger(timetable) => timetable.infer_manual_data_interval(run_after),
            Self::CronDataInterval(timetable) => timetable.infer_manual_data_interval(run_after),
            Self::DeltaTrigger(timetable) => timetable.infer_manual_data_interval(run_after),
            Self::DeltaDataInterval(timetable) => timetable.infer_manual_data_interval(run_after),
            Self::Events(timetable) => Ok(timetable.infer_manual_data_interval(run_after)),
        }
    }

    /// The schedule in a few letters, as Airflow's lists show it: the cron expression, `@once`, `None`.
    pub fn describe(&self) -> String {
        match self {
            Self::Null => "None".to_owned(),
            Self::Once => "@once".to_owned(),
            Self::Continuous => "@continuous".to_owned(),
            Self::CronTrigger(timetable) => timetable.cron.to_string(),
            Self::MultipleCronTrigger(timetable) => {
                let texts: Vec<&str> = timetable.crons.iter().map(CronExpression::as_str).collect();
                texts.join(", ")
            }
            Self::CronDataInterval(timetable) => timetable.cron.to_string(),
            Self::DeltaTrigger(timetable) => timetable.delta().to_string(),
            Self::DeltaDataInterval(timetable) => timetable.delta().to_string(),
            Self::Events(timetable) => format!("{} events", timetable.dates().len()),
            Self::CronPartition(timetable) => timetable.cron().to_string(),
        }
    }

    /// The name of Airflow's class for this timetable, which its API shows.
    pub fn airflow_class(&self) -> &'static str {
        match self {
            Self::Null => "NullTimetable",
            Self::Once => "OnceTimetable",
            Self::Continuous => "ContinuousTimetable",
            Self::CronTrigger(_) => "CronTriggerTimetable",
            Self::MultipleCronTrigger(_) => "MultipleCronTriggerTimetable",
            Self::CronDataInterval(_) => "CronDataIntervalTimetable",
            Self::DeltaTrigger(_) => "DeltaTriggerTimetable",
            Self::DeltaDataInterval(_) => "DeltaDataIntervalTimetable",
            Self::Events(_) => "EventsTimetable",
            Self::CronPartition(_) => "CronPartitionTimetable",
        }
    }

    /// Whether its runs stand for partitions: they have no logical date, and their ids a drawn ending.
    pub fn is_partitioned(&self) -> bool {
        matches!(self, Self::CronPartition(_))
    }

    /// The partition of this key; none where its runs stand for none, or have no such key.
    pub fn partition_named(&self, key: &str) -> Option<crate::Partition> {
        match self {
            Self::CronPartition(timetable) => timetable.named(key),
            _ => None,
        }
    }
}

/// One run, at the start date even if that is past and catchup is off.
fn once(last: Option<&DataInterval>, restriction: &TimeRestriction, now: Timestamp) -> Option<DagRunInfo> {
    let run_after = restriction.earliest.unwrap_or(now);
    let is_over = restriction.latest.is_some_and(|latest| run_after > latest);
    (last.is_none() && !is_over).then(|| DagRunInfo::exact(run_after))
}

/// From the end of the last interval until now.
fn continuous(
    last: Option<&DataInterval>,
    restriction: &TimeRestriction,
    now: Timestamp,
) -> Result<Option<DagRunInfo>, TimetableError> {
    let first = restriction.earliest.unwrap_or(now);
    let interval = match last {
        None => DataInterval::new(first, first.max(now)),
        // The last interval reaches into the future, as one does that began at a future start date.
        Some(last) if last.end > now => {
            DataInterval::new(first, first.checked_add(last.end.duration_since(last.start))?)
        }
        Some(last) => DataInterval::new(last.end, now),
    };
    if restriction.latest.is_some_and(|latest| interval.end > latest) {
        return Ok(None);
    }
    Ok(Some(DagRunInfo::interval(interval)))
}
