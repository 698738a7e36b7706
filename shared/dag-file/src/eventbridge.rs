//! Schedules in the form of EventBridge Scheduler, which Amazon MWAA Serverless uses: `rate(5 minutes)`, `cron(0 12 * * ? *)`.

use updraft_timetables::{CronExpression, Delta, DeltaTrigger, Timetable, Timezone};

/// What they look like, for hints.
pub(crate) const FORMS: &str = "write e.g. `rate(5 minutes)`, or `cron(0 12 * * ? *)` with minute, hour, day of month, month, \
                                day of week and year, one of the two days being `?`";

/// Whether a text is in this form.
pub(crate) fn is(text: &str) -> bool {
    text.starts_with("rate(") || text.starts_with("cron(") || text.starts_with("at(")
}

/// The timetable, or why there is none.
pub(crate) fn timetable(text: &str, zone: &Timezone) -> Result<Timetable, String> {
    let inside = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')')).map(str::trim);
    if let Some(rate) = inside("rate(") {
        return self::rate(rate);
    }
    if let Some(fields) = inside("cron(") {
        let expression = cron(fields)?;
        let cron = CronExpression::parse(&expression).map_err(|e| e.to_string())?;
        return Ok(Timetable::CronTrigger(updraft_timetables::CronTrigger::new(cron, zone.clone())));
    }
    if text.starts_with("at(") {
        return Err("`at(...)` names one instant; set it as `start_date` and write `@once`".to_owned());
    }
    Err("the closing parenthesis is missing".to_owned())
}

fn rate(text: &str) -> Result<Timetable, String> {
    let mut words = text.split_whitespace();
    let (Some(count), Some(unit), None) = (words.next(), words.next(), words.next()) else {
        return Err(format!("`rate({text})` must hold a number and a unit"));
    };
    let count: i64 = count
        .parse()
        .ok()
        .filter(|n| (1..=1_000_000).contains(n))
        .ok_or_else(|| format!("`{count}` is no whole number from 1 to 1,000,000"))?;
    let seconds = match unit {
        "minute" | "minutes" => 60,
        "hour" | "hours" => 3_600,
        "day" | "days" => 86_400,
        _ => return Err(format!("`{unit}` is no unit of rate(); there are minutes, hours and days")),
    };
    let delta = Delta::Fixed(jiff::SignedDuration::from_secs(count * seconds));
    DeltaTrigger::new(delta, Delta::ZERO).map(Timetable::DeltaTrigger).map_err(|e| e.to_string())
}

/// EventBridge's six fields in croniter's order and numbers: `minute hour day month weekday`, or with seconds and years.
fn cron(text: &str) -> Result<String, String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, day, month, weekday, year] = fields[..] else {
        return Err(format!("cron() has {} fields, but must have six", fields.len()));
    };
    if day != "?" && weekday != "?" {
        // EventBridge refuses this as well; `*` in both is a common slip whose meaning is clear.
        if !(day == "*" && weekday == "*") {
            return Err("one of day of month and day of week must be `?`".to_owned());
        }
    }
    let weekday = if weekday == "?" { "*".to_owned() } else { list(weekday, self::weekday)? };
    let day = if day == "?" { "*" } else { day };
    let stepped = |field: &str, most: u32| list(field, |part| Ok(stepped(part, most)));
    let (minute, hour) = (stepped(minute, 59)?, stepped(hour, 23)?);
    let (day, month) = (stepped(day, 31)?, stepped(month, 12)?);
    let five = format!("{minute} {hour} {day} {month} {weekday}");
    Ok(if matches!(year, "*" | "?") { five } else { format!("{five} 0 {}", stepped_year(year)) })
}

fn list(field: &str, part: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    Ok(field.split(',').map(part).collect::<Result<Vec<_>, _>>()?.join(","))
}

/// `5/10` begins at 5 and goes on to the end; croniter would stop at once.
fn stepped(part: &str, most: u32) -> String {
    match part.split_once('/') {
        Some((first, step)) if first.bytes().all(|b| b.is_ascii_digit()) && !first.is_empty() => {
            format!("{first}-{most}/{step}")
        }
        _ => part.to_owned(),
    }
}

fn stepped_year(field: &str) -> String {
    field.split(',').map(|part| stepped(part, 2099)).collect::<Vec<_>>().join(",")
}

/// EventBridge counts days from Sunday as 1; croniter from Sunday as 0.
fn weekday(part: &str) -> Result<String, String> {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    let (range, nth) = range.split_once('#').map_or((range, None), |(range, nth)| (range, Some(nth)));
    let one = |name: &str| -> Result<String, String> {
        let (name, last) = match name.strip_suffix('L') {
            Some(rest) if !rest.is_empty() => (rest, true),
            _ => (name, false),
        };
        let shown = match name.parse::<u32>() {
            Ok(day @ 1..=7) => (day - 1).to_string(),
            Ok(day) => return Err(format!("`{day}` is no day of the week; 1 is Sunday, 7 is Saturday")),
            // The last day of the week is Saturday.
            Err(_) if name == "L" => "6".to_owned(),
            Err(_) => name.to_owned(),
        };
        Ok(if last { format!("L{shown}") } else { shown })
    };
    let mut out = match range.split_once('-') {
        Some((first, last)) => format!("{}-{}", one(first)?, one(last)?),
        None => one(range)?,
    };
    if let Some(nth) = nth {
        out = format!("{out}#{nth}");
    }
    if let Some(step) = step {
        out = format!("{out}/{step}");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_as_eventbridge_means_them() {
        for (text, shown) in [
            ("rate(5 minutes)", "0:05:00"),
            ("rate(1 hour)", "1:00:00"),
            ("rate( 2 days )", "2 days, 0:00:00"),
            ("cron(0 12 * * ? *)", "0 12 * * *"),
            ("cron(15 10 ? * MON-FRI *)", "15 10 * * MON-FRI"),
            ("cron(0/15 8 ? * 2-6 *)", "0-59/15 8 * * 1-5"),
            ("cron(0 18 ? * 6L *)", "0 18 * * L5"),
            ("cron(0 18 ? * 2#1 2026-2027)", "0 18 * * 1#1 0 2026-2027"),
            ("cron(0 0 L * ? *)", "0 0 L * *"),
            ("cron(0 0 15W * ? *)", "0 0 15W * *"),
        ] {
            let timetable = timetable(text, &Timezone::utc());
            assert_eq!(
                timetable.map(|t| t.describe().to_uppercase()).as_deref(),
                Ok(shown.to_uppercase().as_str()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_eventbridge_refuses_is_refused_with_a_reason() {
        for (text, why) in [
            ("rate(5)", "a number and a unit"),
            ("rate(0 minutes)", "no whole number"),
            ("rate(5 weeks)", "no unit"),
            ("rate(5 minutes", "parenthesis"),
            ("cron(0 12 * * *)", "5 fields"),
            ("cron(0 12 1 * MON *)", "must be `?`"),
            ("cron(0 12 ? * 8 *)", "no day of the week"),
            ("cron(0 25 * * ? *)", "25"),
            ("at(2026-01-01T00:00:00)", "@once"),
        ] {
            let refused = timetable(text, &Timezone::utc()).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
