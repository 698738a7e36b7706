//! TimeSensor: waits for a time of day.

use jiff::Timestamp;
use jiff::civil::Time;
use serde_json::Value;

use super::{Look, Sensor, Trouble, watch};
use crate::attempt::{Attempt, End};
use crate::operators::branch_day_of_week::zone_of_dag;
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let text = attempt.arguments.required_text("target_time")?;
    let time: Time = text
        .trim()
        .parse()
        .map_err(|_| format!("`target_time` must be a time of day like `\"10:30\"`, but is `{text}`"))?;
    // Of the day on which the try began: one that is looked at again after midnight waits for the same instant.
    let zone = zone_of_dag(attempt);
    let day = attempt.work.try_started().to_zoned(zone.clone()).date();
    let target = zone.to_ambiguous_timestamp(day.to_datetime(time)).compatible();
    watch(attempt, Until(target.map_err(|e| format!("`target_time`: {e}"))?)).await
}

/// Waits for an instant to have passed.
pub(super) struct Until(pub(super) Timestamp);

impl Sensor for Until {
    async fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>) -> Result<Look, Trouble> {
        attempt.say(&format!("has {} passed?", self.0)).await;
        Ok(if attempt.services.now() > self.0 { Look::Done(Value::Null) } else { Look::NotBefore(self.0) })
    }
}
