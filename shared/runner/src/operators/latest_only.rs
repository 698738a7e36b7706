//! LatestOnlyOperator: what is directly downstream goes on in the latest interval only.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use updraft_model::{Choice, DagRunType, DataInterval, Timetable};
use updraft_timetables::TimeRestriction;

use crate::attempt::{Attempt, End, Ended};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let facts = &attempt.work.run.facts;
    let plan = &attempt.work.version.plan;
    let latest = if facts.run_type == DagRunType::Manual {
        attempt.say("a run triggered by hand: going on").await;
        true
    } else {
        let at = facts.logical_date.unwrap_or(facts.run_after);
        let interval = facts.data_interval.unwrap_or(DataInterval { start: at, end: at });
        let now = attempt.services.now();
        let window = window(&plan.dag.timetable, &interval, now).map_err(Ended::failed)?;
        let latest = window.is_none_or(|(left, right)| left < now && now <= right);
        let said =
            if latest { "the latest interval: going on" } else { "not the latest interval: skipping what is next" };
        attempt.say(said).await;
        latest
    };
    if !latest {
        return Ok(attempt.success_with(Value::Array(Vec::new())).with_choice(Some(Choice::LatestOnly)));
    }
    let next: Vec<Value> = plan
        .downstream(attempt.work.task)
        .iter()
        .map(|task| Value::String(plan.task(*task).task_id.to_string()))
        .collect();
    Ok(attempt.success_with(Value::Array(next)))
}

/// Between which instants a run over this interval is the latest; none: always.
fn window(
    timetable: &Timetable,
    interval: &DataInterval,
    now: Timestamp,
) -> Result<Option<(Timestamp, Timestamp)>, String> {
    let just_before = interval.end.saturating_sub(SignedDuration::from_micros(1)).unwrap_or(interval.end);
    let before = TimeRestriction { earliest: None, latest: Some(just_before), catchup: true };
    let after = TimeRestriction { earliest: Some(interval.end), latest: None, catchup: true };
    let next = |restriction: &TimeRestriction| {
        timetable.next_dagrun_info(Some(interval), restriction, now).map_err(|e| e.to_string())
    };
    let end = |restriction: &TimeRestriction| {
        Ok::<_, String>(next(restriction)?.and_then(|i| i.data_interval).map(|i| i.end))
    };
    let left = end(&before)?.unwrap_or(interval.start);
    Ok(end(&after)?.map(|right| (left, right)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use updraft_timetables::{CronStyle, Timezone};

    #[test]
    fn the_latest_run_is_the_one_whose_successor_is_not_due() {
        let day = |n: i8| format!("2026-01-{n:02}T00:00:00Z").parse::<Timestamp>().expect("a date");
        let now = day(20);
        for (style, start, end) in [(CronStyle::Trigger, 5, 5), (CronStyle::DataInterval, 4, 5)] {
            let daily = Timetable::from_schedule(Some("@daily"), &Timezone::utc(), style).expect("a preset");
            let interval = DataInterval { start: day(start), end: day(end) };
            let (left, right) = window(&daily, &interval, now).expect("it can be told").expect("there is a next one");
            assert_eq!((left, right), (day(start), day(6)), "{style:?}");
        }
        let interval = DataInterval { start: day(5), end: day(5) };
        assert_eq!(window(&Timetable::Null, &interval, now), Ok(None));
    }
}
