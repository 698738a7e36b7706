//! DayOfWeekSensor: waits for a day of the week, in UTC as in Airflow.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use super::{Look, Sensor, Trouble, watch};
use crate::attempt::{Attempt, End};
use crate::operators::branch_day_of_week::{days, logical};
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let days = days(&attempt.arguments)?;
    let at = logical(attempt)?;
    watch(attempt, DayOfWeek { days, at }).await
}

struct DayOfWeek {
    days: Vec<Weekday>,
    /// Instead of the present.
    at: Option<Timestamp>,
}

impl Sensor for DayOfWeek {
    async fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>) -> Result<Look, Trouble> {
        let at = self.at.unwrap_or_else(|| attempt.services.now()).to_zoned(TimeZone::UTC);
        attempt.say(&format!("is {:?} one of {:?}?", at.weekday(), self.days)).await;
        if self.days.contains(&at.weekday()) {
            return Ok(Look::Done(Value::Null));
        }
        // Nothing changes before midnight; a logical date never does.
        let midnight = at.start_of_day().and_then(|day| day.checked_add(1.day()));
        match midnight {
            Ok(midnight) if self.at.is_none() => Ok(Look::NotBefore(midnight.timestamp())),
            _ => Ok(Look::NotYet),
        }
    }
}
