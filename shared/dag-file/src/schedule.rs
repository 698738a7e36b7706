//! The `schedule` of a DAG.

use crate::assets::{self, AssetFiles};
use crate::eventbridge;
use crate::reader::Cursor;
use crate::yaml::compose::clip;
use crate::yaml::{Map, Node, Value};
use std::rc::Rc;
use updraft_model::AssetCondition;
use updraft_timetables::{
    CronDataInterval, CronExpression, CronPartition, CronStyle, CronTrigger, Delta, DeltaDataInterval, DeltaTrigger,
    Events, MultipleCronTrigger, RelativeDelta, RunImmediately, Timetable, Timezone,
};

/// What a schedule may be, for hints.
const FORMS: &str = "write a cron expression such as `0 3 * * *`, a preset such as `@daily`, or `null`";

/// When runs are made: at times, by assets, or both.
#[derive(Debug)]
pub(crate) struct Schedule {
    pub(crate) timetable: Timetable,
    pub(crate) assets: Option<AssetCondition>,
}

impl Schedule {
    /// Never by itself.
    pub(crate) const NONE: Self = Self { timetable: Timetable::Null, assets: None };

    fn of_time(timetable: Timetable) -> Self {
        Self { timetable, assets: None }
    }

    fn of_assets(assets: AssetCondition) -> Self {
        Self { timetable: Timetable::Null, assets: Some(assets) }
    }
}

/// What schedules are read with.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'s> {
    /// The DAG's zone.
    pub(crate) zone: &'s Timezone,
    pub(crate) style: CronStyle,
    pub(crate) now: jiff::Timestamp,
    pub(crate) asset_files: AssetFiles<'s>,
}

/// Reads a schedule.
pub(crate) fn schedule(cursor: &Cursor<'_>, settings: Settings<'_>) -> Option<Schedule> {
    match &cursor.node.value {
        Value::Null => Some(Schedule::NONE),
        Value::Text(text) if text.trim().eq_ignore_ascii_case("none") => Some(Schedule::NONE),
        // `__or__` of names leaves such a text; no cron expression has these.
        Value::Text(text) if text.contains(['&', '|']) => {
            assets::condition(cursor, settings.asset_files).map(Schedule::of_assets)
        }
        Value::Text(text) => from_text(cursor, text.trim(), settings).map(Schedule::of_time),
        Value::List(_) => assets::condition(cursor, settings.asset_files).map(Schedule::of_assets),
        Value::Map(map) => from_map(cursor, map, settings),
        _ => {
            cursor.wrong_type("a schedule", Some(FORMS.to_owned()));
            None
        }
    }
}

fn from_map(cursor: &Cursor<'_>, map: &Map, settings: Settings<'_>) -> Option<Schedule> {
    if let Some((class, map)) = cursor.typed() {
        if assets::is_asset_class(class) {
            return assets::condition(cursor, settings.asset_files).map(Schedule::of_assets);
        }
        return Typed { cursor, map, settings }.schedule(class);
    }
    if !assets::is_condition(map) && map.get("timetable").is_none() {
        let hint = match map.get("callable").map(|n| &n.value) {
            Some(Value::Text(class)) => {
                let class = clip(class);
                format!(
                    "dag-factory 1.0 dropped this form: write `schedule: {{__type__: {class}, ...}}` with its arguments beside `__type__`"
                )
            }
            _ => FORMS.to_owned(),
        };
        cursor.error("schedule", "this mapping is no schedule", Some(hint));
        return None;
    }
    let timetable = match map.entry("timetable").map(|e| cursor.down(e)).filter(|c| !c.is_none()) {
        Some(inner) => {
            let inner = schedule(&inner, settings)?;
            if !assets::is_condition(map) {
                return Some(inner);
            }
            inner.timetable
        }
        None => Timetable::Null,
    };
    Some(Schedule { timetable, assets: Some(assets::condition(cursor, settings.asset_files)?) })
}

fn from_text(cursor: &Cursor<'_>, text: &str, settings: Settings<'_>) -> Option<Timetable> {
    if eventbridge::is(text) {
        return match eventbridge::timetable(text, settings.zone) {
            Ok(timetable) => Some(timetable),
            Err(why) => {
                cursor.error(
                    "schedule",
                    format!("`{}` is no schedule: {why}", clip(text)),
                    Some(eventbridge::FORMS.into()),
                );
                None
            }
        };
    }
    let error = match Timetable::from_schedule(Some(text), settings.zone, settings.style) {
        Ok(timetable) => {
            warn_of_days(cursor, text, settings);
            return Some(timetable);
        }
        Err(error) => error,
    };
    // `5m`, `1 days`, `PT5M`: no cron expression looks like one.
    if let Some(duration) = crate::time::duration_with_unit(text)
        && let Ok(timetable) = DeltaTrigger::new(Delta::Fixed(duration), Delta::ZERO)
    {
        return Some(Timetable::DeltaTrigger(timetable));
    }
    cursor.error("schedule", error.to_string(), None);
    None
}

/// Says what a valid expression does that its author will not expect: days that never come, and days that are ignored.
fn warn_of_days(cursor: &Cursor<'_>, text: &str, settings: Settings<'_>) {
    // Only a day of the month beside a month, a day of the week or a year can miss; searching costs more than reading.
    let is_star = |field: &&str| matches!(*field, "*" | "?");
    if text.split_ascii_whitespace().skip(2).filter(|field| !is_star(field)).count() < 2 {
        return;
    }
    let Ok(cron) = CronExpression::parse(text) else { return };
    if cron.next_after(settings.zone.zone().to_datetime(settings.now)).is_none() {
        let message = format!("`{}` matches no date within 50 years: no run will ever be due", clip(text));
        let hint = "check its days and months against each other, and its years if it has any";
        cursor.warn("never-due", message, Some(hint.into()));
    } else if let Some(caveat) = cron.caveat() {
        cursor.warn("surprising-schedule", caveat, None);
    }
}

fn unknown(cursor: &Cursor<'_>, class: &str) {
    let hint = "use a cron expression or a preset, one of Airflow's timetables, or `null` and trigger the DAG by hand";
    let message = format!("`{}` is no timetable that is known here", clip(class));
    cursor.error("unsupported", message, Some(hint.to_owned()));
}

/// A mapping with `__type__`.
struct Typed<'a, 'c, 's> {
    cursor: &'c Cursor<'a>,
    map: &'a Map,
    settings: Settings<'s>,
}

impl<'a> Typed<'a, '_, '_> {
    fn schedule(&self, class: &str) -> Option<Schedule> {
        match class.rsplit('.').next().unwrap_or(class) {
            "AssetTriggeredTimetable" | "DatasetTriggeredTimetable" => {
                let assets = self.required(0, "assets").map(|c| assets::condition(&c, self.settings.asset_files))??;
                Some(Schedule::of_assets(assets))
            }
            "AssetOrTimeSchedule" | "DatasetOrTimeSchedule" => {
                self.only(&["timetable", "assets", "datasets"]);
                let inner = schedule(&self.required(0, "timetable")?, self.settings)?;
                let assets = self.named("datasets").or_else(|| self.required(1, "assets"))?;
                let assets = assets::condition(&assets, self.settings.asset_files)?;
                Some(Schedule { timetable: inner.timetable, assets: Some(assets) })
            }
            _ => self.timetable(class).map(Schedule::of_time),
        }
    }

    fn timetable(&self, class: &str) -> Option<Timetable> {
        match class.rsplit('.').next().unwrap_or(class) {
            "NullTimetable" => Some(Timetable::Null),
            "OnceTimetable" => Some(Timetable::Once),
            "ContinuousTimetable" => Some(Timetable::Continuous),
            "timedelta" | "duration" | "Duration" => {
                self.cursor.timedelta(self.map).and_then(|d| self.delta_trigger(Delta::Fixed(d), Delta::ZERO))
            }
            "relativedelta" => delta(self.cursor).and_then(|d| self.delta_trigger(d, Delta::ZERO)),
            "CronTriggerTimetable" => self.cron_trigger(),
            "MultipleCronTriggerTimetable" => self.multiple_crons(),
            "CronDataIntervalTimetable" => self.cron_data_interval(),
            "CronPartitionTimetable" => self.cron_partition(),
            "DeltaTriggerTimetable" => {
                self.only(&["delta", "interval"]);
                let delta = self.required(0, "delta").and_then(|c| delta(&c));
                delta.zip(self.interval()).and_then(|(delta, interval)| self.delta_trigger(delta, interval))
            }
            "DeltaDataIntervalTimetable" => {
                self.only(&["delta"]);
                let delta = self.required(0, "delta").and_then(|c| delta(&c));
                delta.and_then(|d| self.checked(DeltaDataInterval::new(d).map(Timetable::DeltaDataInterval)))
            }
            "EventsTimetable" => self.events(),
            _ => {
                unknown(self.cursor, class);
                None
            }
        }
    }

    fn delta_trigger(&self, delta: Delta, interval: Delta) -> Option<Timetable> {
        self.checked(DeltaTrigger::new(delta, interval).map(Timetable::DeltaTrigger))
    }

    fn cron_trigger(&self) -> Option<Timetable> {
        self.only(&["cron", "timezone", "interval", "run_immediately"]);
        let cron = cron(&self.required(0, "cron")?)?;
        let mut timetable = CronTrigger::new(cron, self.timezone()?);
        timetable.interval = self.interval()?;
        timetable.run_immediately = self.run_immediately()?;
        Some(Timetable::CronTrigger(timetable))
    }

    fn multiple_crons(&self) -> Option<Timetable> {
        self.only(&["timezone", "interval", "run_immediately"]);
        Some(Timetable::MultipleCronTrigger(MultipleCronTrigger {
            crons: self.crons()?,
            timezone: self.timezone()?,
            interval: self.interval()?,
            run_immediately: self.run_immediately()?,
        }))
    }

    fn cron_data_interval(&self) -> Option<Timetable> {
        self.only(&["cron", "timezone"]);
        let cron = cron(&self.required(0, "cron")?)?;
        Some(Timetable::CronDataInterval(CronDataInterval { cron, timezone: self.timezone()? }))
    }

    fn cron_partition(&self) -> Option<Timetable> {
        self.only(&["cron", "timezone", "run_offset", "key_format", "run_immediately"]);
        let cron = cron(&self.required(0, "cron")?)?;
        let offset = match self.named("run_offset") {
            Some(offset) => offset.integer(i32::MIN.into(), i32::MAX.into())? as i32,
            None => 0,
        };
        let format = match self.named("key_format") {
            Some(format) => format.text()?.to_owned(),
            None => CronPartition::KEY_FORMAT_DEFAULT.to_owned(),
        };
        let timetable = CronPartition::new(cron, self.timezone()?, offset, format, self.run_immediately()?);
        self.checked(timetable.map(Timetable::CronPartition))
    }

    fn events(&self) -> Option<Timetable> {
        self.only(&["event_dates", "restrict_to_events", "presorted", "description"]);
        let dates = self.required(0, "event_dates")?;
        let items = dates.list()?.iter().enumerate();
        let moment =
            |(i, node): (usize, &Rc<Node>)| Some(dates.item(i, node).moment(self.settings.zone, self.settings.now)?.at);
        let dates = items.map(moment).collect::<Option<Vec<_>>>()?;
        let restrict = match self.named("restrict_to_events") {
            Some(restrict) => restrict.boolean()?,
            None => false,
        };
        Some(Timetable::Events(Events::new(dates, restrict)))
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
            None => Some(self.settings.zone.clone()),
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
            "year" | "month" | "day" | "hour" | "minute" | "second" | "weekday" => {
                let message = format!(
                    "`{name}` sets a part of the date instead of adding to it, so that the schedule would not move on"
                );
                let hint =
                    format!("write `{name}s` for so long between runs, or a cron expression such as `0 18 * * *`");
                part.key_error("schedule", message, Some(hint));
                return None;
            }
            _ => {
                let message = format!("a relativedelta has no part `{}` here", part.name);
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
