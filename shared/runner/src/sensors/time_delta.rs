//! TimeDeltaSensor: waits until some time after the data interval's end, or after the instant the run could start.

use std::time::Duration;

use super::time::Until;
use super::watch;
use crate::attempt::{Attempt, End};
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let delta = attempt.arguments.duration("delta", Duration::from_mins(1))?.unwrap_or_default();
    let facts = &attempt.work.run.facts;
    let base = facts.data_interval.map_or(facts.run_after, |interval| interval.end);
    let target = base.checked_add(delta).map_err(|_| "`delta` leads beyond the year 9999".to_owned())?;
    watch(attempt, Until(target)).await
}
