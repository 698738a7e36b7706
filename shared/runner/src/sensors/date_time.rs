//! DateTimeSensor: waits for a point in time.

use super::time::Until;
use super::watch;
use crate::attempt::{Attempt, End};
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let target = attempt.arguments.moment("target_time")?;
    watch(attempt, Until(target.ok_or_else(|| "`target_time` is missing; give the task one".to_owned())?)).await
}
