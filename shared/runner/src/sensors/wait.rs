//! WaitSensor: waits for some time after its own start.

use std::time::Duration;

use super::time::Until;
use super::watch;
use crate::attempt::{Attempt, End};
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let wait = attempt.arguments.duration("time_to_wait", Duration::from_mins(1))?.unwrap_or_default();
    let started = attempt.work.try_started();
    let target = started.checked_add(wait).map_err(|_| "`time_to_wait` leads beyond the year 9999".to_owned())?;
    watch(attempt, Until(target)).await
}
