//! BranchDayOfWeekOperator, and what the sensor shares with it.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;

use super::branch::follow;
use crate::arguments::Arguments;
use crate::attempt::{Attempt, End};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let days = days(&attempt.arguments)?;
    let (at, zone) = match logical(attempt)? {
        Some(at) => (at, TimeZone::UTC),
        None => (attempt.services.now(), zone_of_dag(attempt)),
    };
    let is_so = days.contains(&at.to_zoned(zone).weekday());
    let branch = if is_so { "follow_task_ids_if_true" } else { "follow_task_ids_if_false" };
    let value = attempt.arguments.value(branch);
    Ok(follow(attempt, value).await?)
}

/// The instant that `use_task_logical_date` asks for: the run's logical date, or the instant it could start where it has none.
pub(crate) fn logical<S: Services>(attempt: &Attempt<'_, S>) -> Result<Option<Timestamp>, String> {
    let facts = &attempt.work.run.facts;
    let wanted = attempt.arguments.flag("use_task_logical_date")?;
    Ok(wanted.then(|| facts.logical_date.unwrap_or(facts.run_after)))
}

/// The DAG's time zone. The loader has checked its name.
pub(crate) fn zone_of_dag<S: Services>(attempt: &Attempt<'_, S>) -> TimeZone {
    let name = &attempt.work.version.plan.dag.timezone;
    updraft_timetables::Timezone::parse(name).map_or(TimeZone::UTC, |zone| zone.zone().clone())
}

/// The days that `week_day` names, by their full English names in any letter case.
pub(crate) fn days(arguments: &Arguments) -> Result<Vec<Weekday>, String> {
    let names = arguments.texts("week_day")?.unwrap_or_default();
    names.iter().map(|name| day(name)).collect()
}

fn day(name: &str) -> Result<Weekday, String> {
    // Airflow's enumeration prints as `WeekDay.MONDAY`.
    let plain = name.trim().rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    Ok(match plain.as_str() {
        "monday" => Weekday::Monday,
        "tuesday" => Weekday::Tuesday,
        "wednesday" => Weekday::Wednesday,
        "thursday" => Weekday::Thursday,
        "friday" => Weekday::Friday,
        "saturday" => Weekday::Saturday,
        "sunday" => Weekday::Sunday,
        _ => return Err(format!("`week_day`: `{name}` is no day of the week; write e.g. `Monday`")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_named_in_full() {
        for (name, expected) in
            [("Monday", Weekday::Monday), ("SUNDAY", Weekday::Sunday), ("WeekDay.FRIDAY", Weekday::Friday)]
        {
            assert_eq!(day(name), Ok(expected));
        }
        for name in ["", "Mon", "1", "someday"] {
            assert!(day(name).is_err(), "{name}");
        }
    }
}
