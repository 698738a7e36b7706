//! The `schedule` of a DAG.

use crate::reader::Cursor;
use crate::yaml::compose::clip;
use crate::yaml::{Map, Node, Value};
use std::rc::Rc;
use updraft_timetables::{
    CronDataInterval, CronExpression, CronStyle, CronTrigger, Delta, DeltaDataInterval, DeltaTrigger,
    MultipleCronTrigger, RelativeDelta, RunImmediately, Timetable, Timezone,
};

/// What a schedule may be, for hints.
const FORMS: &str = "write a cron expression such as `0 3 * * *`, a preset such as `@daily`, or `null`";

/// The timetable of a schedule; `zone` is the DAG's.
pub(crate) fn timetable(cursor: &Cursor<'_>, zone: &Timezone, style: CronStyle) -> Option<Timetable> {
    match &cursor.node.value {
        Value::Null => Some(Timetable::Null),
        Value::Text(text) if text.trim().eq_ignore_ascii_case("none") => Some(Timetable::Null),
        Value::Text(text) => from_text(cursor, text.trim(), zone, style),
        Value::List(_) => not_yet(cursor, "a schedule by assets"),
        Value::Map(map) => match cursor.typed() {
            Some((class, map)) => Typed { cursor, map, zone }.timetable(class),
            None if map.get("__and__").or(map.get("__or__")).or(map.get("datasets")).or(map.get("file")).is_some() => {
                not_yet(cursor, "a schedule by assets")
            }
            None => {
                cursor.error("schedule", "this mapping is no schedule", Some(FORMS.to_owned()));
                None
            }
        },
        _ => {
            cursor.wrong_type("a schedule", Some(FORMS.to_owned()));
            None
        }
    }
}

fn from_text(cursor: &Cursor<'_>, text: &str, zone: &Timezone, style: CronStyle) -> Option<Timetable> {
    if text.starts_with("rate(") || text.starts_with("cron(") {
        let message = format!("`{}` is in EventBridge's form, which is not supported yet", clip(text));
        cursor.error("unsupported", message, Some(FORMS.to_owned()));
        return None;
    }
    match Timetable::from_schedule(Some(text), zone, style) {
        Ok(timetable) => Some(timetable),
        Err(error) => {
            cursor.error("schedule", error.to_string(), None);
            None
        }
    }
}

fn not_yet(cursor: &Cursor<'_>, what: &str) -> Option<Timetable> {
    let hint = "use a cron expression or a preset, or `null` and trigger the DAG by hand";
    cursor.error("unsupported", format!("{what} is not supported yet"), Some(hint.to_owned()));
    None
}

/// A mapping with `__type__`.
struct Typed<'a, 'c> {
    cursor: &'c Cursor<'a>,
    map: &'a Map,
    zone: &'c Timezone,
}

impl<'a> Typed<'a, '_> {
    fn timetable(&self, class: &str) -> Option<Timetable> {
        match class.rsplit('.').next().unwrap_or(class) {
            "timedelta" => {
                let delta = Delta::Fixed(self.cursor.timedelta(self.map)?);
                self.checked(DeltaTrigger::new(delta, Delta::ZERO).map(Timetable::DeltaTrigger))
            }
            "relativedelta" => {
                let delta = delta(self.cursor)?;
                self.checked(DeltaTrigger::new(delta, Delta::ZERO).map(Timetable::DeltaTrigger))
            }
            "CronTriggerTimetable" => {
                self.only(&["cron", "timezone", "interval", "run_immediately"]);
                let cron = cron(&self.required(0, "cron")?)?;
                let mut timetable = CronTrigger::new(cron, self.timezone()?);
                timetable.interval = self.interval()?;
                timetable.run_immediately = self.run_immediately()?;
                Some(Timetable::CronTrigger(timetable))
            }
            "MultipleCronTriggerTimetable" => {
                self.only(&["timezone", "interval", "run_immediately"]);
                Some(Timetable::MultipleCronTrigger(MultipleCronTrigger {
                    crons: self.crons()?,
                    timezone: self.timezone()?,
                    interval: self.interval()?,
                    run_immediately: self.run_immediately()?,
                }))
            }
            "CronDataIntervalTimetable" => {
                self.only(&["cron", "timezone"]);
                let cron = cron(&self.required(0, "cron")?)?;
                Some(Timetable::CronDataInterval(CronDataInterval { cron, timezone: self.timezone()? }))
            }
            "DeltaTriggerTimetable" => {
                self.only(&["delta", "interval"]);
                let delta = delta(&self.required(0, "delta")?)?;
                self.checked(DeltaTrigger::new(delta, self.interval()?).map(Timetable::DeltaTrigger))
            }
            "DeltaDataIntervalTimetable" => {
                self.only(&["delta"]);
                let delta = delta(&self.required(0, "delta")?)?;
                self.checked(DeltaDataInterval::new(delta).map(Timetable::DeltaDataInterval))
            }
            "Asset" | "Dataset" | "AssetAlias" | "DatasetAlias" | "AssetAny" | "AssetAll" => {
                not_yet(self.cursor, "a schedule by assets")
            }
            _ => not_yet(self.cursor, &format!("the timetable `{}`", clip(class))),
        }
    }

    fn checked<E: std::fmt::Display>(&self, timetable: Result<Timetable, E>) -> Option<Timetable> {
        timetable.map_err(|error| self.cursor.error("schedule", error.to_string(), None)).ok()
    }

    /// Notes keys that the class does not take.
    fn only(&self, names: &[&str]) {
        for (name, cursor) in self.cursor.pairs(self.map) {
            if !names.contains(&name) && !name.starts_with("__") {
                let hint = self.cursor.sink.did_you_mean(name, names.iter().copied());
                cursor.key_error("unknown-key", format!("this timetable has no argument `{}`", cursor.name), hint);
            }
        }
    }

    fn named(&self, name: &str) -> Option<Cursor<'a>> {
        self.map.entry(name).map(|entry| self.cursor.down(entry)).filter(|c| !c.is_null())
    }

    fn positional(&self) -> &'a [Rc<Node>] {
        match self.map.get("__args__").map(|n| &n.value) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    fn required(&self, position: usize, name: &str) -> Option<Cursor<'a>> {
        let found = self.named(name).or_else(|| self.positional().get(position).map(|n| self.cursor.item(position, n)));
        if found.is_none() {
            self.cursor.error("missing-key", format!("this timetable needs `{name}`"), None);
        }
        found
    }

    fn crons(&self) -> Option<Vec<CronExpression>> {
        let items = self.positional().iter().enumerate();
        let crons = items.map(|(i, node)| cron(&self.cursor.item(i, node))).collect::<Option<Vec<_>>>()?;
        if crons.is_empty() {
            let message = "this timetable needs at least one cron expression under `__args__`";
            self.cursor.error("missing-key", message, None);
            return None;
        }
        Some(crons)
    }

    fn timezone(&self) -> Option<Timezone> {
        match self.named("timezone") {
            Some(cursor) => cursor.timezone(),
            None => Some(self.zone.clone()),
        }
    }

    fn interval(&self) -> Option<Delta> {
        match self.named("interval") {
            Some(cursor) => delta(&cursor),
            None => Some(Delta::ZERO),
        }
    }

    fn run_immediately(&self) -> Option<RunImmediately> {
        let Some(cursor) = self.named("run_immediately") else { return Some(RunImmediately::default()) };
        match cursor.node.value {
            Value::Bool(true) => Some(RunImmediately::Always),
            Value::Bool(false) => Some(RunImmediately::IfRecent),
            _ => cursor.duration().map(RunImmediately::Within),
        }
    }
}

fn cron(cursor: &Cursor<'_>) -> Option<CronExpression> {
    CronExpression::parse(cursor.text()?).map_err(|error| cursor.error("schedule", error.to_string(), None)).ok()
}

/// A duration, or a `relativedelta` with months and years.
fn delta(cursor: &Cursor<'_>) -> Option<Delta> {
    let Some((class, map)) = cursor.typed() else { return cursor.duration().map(Delta::Fixed) };
    if class.rsplit('.').next() != Some("relativedelta") {
        return cursor.duration().map(Delta::Fixed);
    }
    let mut delta = RelativeDelta::default();
    for (name, part) in cursor.pairs(map) {
        let (target, factor) = match name {
            "__type__" => continue,
            "years" => (&mut delta.years, 1),
            "months" => (&mut delta.months, 1),
            "weeks" => (&mut delta.days, 7),
            "days" => (&mut delta.days, 1),
            "hours" => (&mut delta.hours, 1),
            "minutes" => (&mut delta.minutes, 1),
            "seconds" => (&mut delta.seconds, 1),
            _ => {
                let message = format!("`{}` of a relativedelta is not supported yet", part.name);
                part.key_error("unsupported", message, Some("use years, months, weeks, days, hours".into()));
                return None;
            }
        };
        // A thousand years in each unit but the smallest; keeps sums far from overflow.
        let count = part.integer(-100_000_000, 100_000_000)? as i32;
        *target += count * factor;
    }
    Some(Delta::Relative(delta))
}
