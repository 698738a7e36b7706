//! When a DAG's next run is due, and which data interval it covers.
//!
//! A [`Timetable`] answers two questions and knows nothing else: when does the next scheduled run start
//! ([`Timetable::next_dagrun_info`]), and which interval does a run triggered by hand cover
//! ([`Timetable::infer_manual_data_interval`]). The answers are those of Apache Airflow 3.3.2, its surprises included,
//! because people move DAGs over and expect them to run when they ran before.
//!
//! The current time is an argument, and time zones come from the database compiled into the binary, so that a laptop
//! and a function in the cloud agree.

mod cron;
mod delta;
mod error;
mod events;
mod info;
mod interval;
mod local;
mod partition;
#[cfg(test)]
mod tests;
mod timetable;
mod timezone;
mod trigger;

pub use cron::{CronError, CronExpression, CronField};
pub use delta::{Delta, DeltaError, RelativeDelta};
pub use error::TimetableError;
pub use events::Events;
pub use info::{DagRunInfo, DataInterval, TimeRestriction};
pub use interval::{CronDataInterval, DeltaDataInterval};
pub use local::CronSchedule;
pub use partition::{CronPartition, Partition, PartitionError};
pub use timetable::{CronStyle, Timetable};
pub use timezone::{Timezone, TimezoneError};
pub use trigger::{CronTrigger, DeltaTrigger, MultipleCronTrigger, RunImmediately};
