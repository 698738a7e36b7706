//! BranchDateTimeOperator: follows one branch between two times, and another outside.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::branch::follow;
use super::branch_day_of_week::{logical, zone_of_dag};
use crate::arguments::{Arguments, moment};
use crate::attempt::{Attempt, End};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let now = logical(attempt)?.unwrap_or_else(|| attempt.services.now());
    let lower = target(&attempt.arguments, "target_lower")?;
    let upper = target(&attempt.arguments, "target_upper")?;
    if lower.is_none() && upper.is_none() {
        return Err("`target_lower` and `target_upper` are both missing; give the task at least one".to_owned().into());
    }
    let branch = if is_between(now, lower, upper, &zone_of_dag(attempt)) {
        "follow_task_ids_if_true"
    } else {
        "follow_task_ids_if_false"
    };
    let value = attempt.arguments.value(branch);
    Ok(follow(attempt, value).await?)
}

/// A bound: an instant, or a time of the day on which it is looked.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Target {
    At(Timestamp),
    TimeOfDay(Time),
}

fn target(arguments: &Arguments, name: &str) -> Result<Option<Target>, String> {
    match arguments.value(name) {
        Value::Null => Ok(None),
        Value::String(text) => {
            let time = || text.trim().parse::<Time>().ok().filter(|_| !text.contains('-')).map(Target::TimeOfDay);
            let target = time().or_else(|| moment(&text).map(Target::At));
            target.map(Some).ok_or_else(|| {
                format!("`{name}` must be a time of day like `\"10:30\"` or a point in time, but is `{text}`")
            })
        }
        _ => Err(format!("`{name}` must be a time of day in quotes, or a point in time")),
    }
}

/// Whether the instant lies between the bounds. Times of day are on its date in UTC, and read in the DAG's zone, as in Airflow; an upper
/// one below the lower is on the next day.
fn is_between(now: Timestamp, lower: Option<Target>, upper: Option<Target>, zone: &TimeZone) -> bool {
    let today = now.to_zoned(TimeZone::UTC).date();
    let instant = |target: Target| match target {
        Target::At(at) => Some(at),
        Target::TimeOfDay(time) => zone.to_ambiguous_timestamp(today.to_datetime(time)).compatible().ok(),
    };
    let (lower_at, mut upper_at) = (lower.and_then(instant), upper.and_then(instant));
    let both_instants = matches!((lower, upper), (Some(Target::At(_)), Some(Target::At(_))));
    if let (Some(low), Some(up)) = (lower_at, upper_at)
        && up < low
        && !both_instants
    {
        upper_at = up.checked_add(SignedDuration::from_hours(24)).ok();
    }
    upper_at.is_none_or(|upper| upper >= now) && lower_at.is_none_or(|lower| lower <= now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_times_of_day_or_instants() {
        let time = |h, m| Some(Target::TimeOfDay(Time::constant(h, m, 0, 0)));
        let at = |text: &str| text.parse::<Timestamp>().ok().map(Target::At);
        for (now, lower, upper, expected) in [
            ("2026-01-05T12:00:00Z", time(10, 0), time(14, 0), true),
            ("2026-01-05T10:00:00Z", time(10, 0), time(14, 0), true),
            ("2026-01-05T09:59:59Z", time(10, 0), time(14, 0), false),
            ("2026-01-05T14:00:01Z", time(10, 0), time(14, 0), false),
            ("2026-01-05T23:30:00Z", time(22, 0), time(2, 0), true),
            ("2026-01-05T01:00:00Z", time(22, 0), time(2, 0), false),
            ("2026-01-05T12:00:00Z", None, time(10, 0), false),
            ("2026-01-05T12:00:00Z", time(10, 0), None, true),
            ("2026-01-05T12:00:00Z", at("2026-01-01T00:00:00Z"), at("2026-01-09T00:00:00Z"), true),
            ("2026-01-05T12:00:00Z", at("2026-01-09T00:00:00Z"), at("2026-01-01T00:00:00Z"), false),
            ("2026-01-05T12:00:00Z", at("2026-01-01T00:00:00Z"), time(10, 0), false),
        ] {
            let now: Timestamp = now.parse().expect("an instant");
            assert_eq!(is_between(now, lower, upper, &TimeZone::UTC), expected, "{now} {lower:?} {upper:?}");
        }
    }

    #[test]
    fn times_of_day_are_meant_in_the_dags_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let time = Some(Target::TimeOfDay(Time::constant(12, 0, 0, 0)));
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        assert!(is_between(at("2026-01-05T10:00:00Z"), time, None, &zone));
        assert!(!is_between(at("2026-01-05T09:59:00Z"), time, None, &zone));
    }
}
