//! Dates of runs, data intervals, and which cron expressions are valid: `timetables.json`.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use updraft_timetables::{
    CronDataInterval, CronExpression, CronPartition, CronStyle, CronTrigger, DagRunInfo, DataInterval, Delta, DeltaDataInterval,
    DeltaTrigger, Events, MultipleCronTrigger, RelativeDelta, RunImmediately, TimeRestriction, Timetable,
    TimetableError, Timezone,
};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::load_dag;

pub(crate) fn judge_file() -> Option<Tally> {
    judge("timetables", |case| match case["op"].as_str() {
        Some("next") => judge_next(&parse(case)),
        Some("manual_interval") => judge_manual_interval(&parse(case)),
        Some("validate") => judge_validate(&parse(case)),
        Some("class_for_schedule") => judge_class_for_schedule(&parse(case)),
        op => Verdict::Unbound(format!("op={op:?}")),
    })
}

/// A case that asks a timetable for dates.
#[derive(Deserialize)]
struct Case {
    timetable: String,
    cron: Option<String>,
    crons: Option<Vec<String>>,
    timezone: Option<String>,
    delta: Option<RecordedDelta>,
    interval: Option<RecordedDelta>,
    run_immediately: Option<Value>,
    events: Option<Vec<Timestamp>>,
    #[serde(default)]
    restrict_to_events: bool,
    run_offset: Option<i32>,
    key_format: Option<String>,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    #[serde(default)]
    catchup: bool,
    now: Option<Timestamp>,
    last: Option<(Timestamp, Timestamp)>,
    #[serde(default)]
    next: Vec<Option<Answer>>,
    run_after: Option<Timestamp>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    error: Option<String>,
    error_stage: Option<String>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Answer {
    run_after: Timestamp,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    logical_date: Option<Timestamp>,
    partition_key: Option<String>,
    partition_date: Option<Timestamp>,
}

/// A case that asks whether a cron expression is valid.
#[derive(Deserialize)]
struct Validity {
    cron: String,
    timezone: String,
    accepted: bool,
    timetable_class: Option<String>,
    #[serde(default)]
    first_run_afters: Vec<Timestamp>,
    next_error: Option<String>,
}

/// A case that asks which timetable a schedule becomes.
#[derive(Deserialize)]
struct Choice {
    schedule: String,
    create_cron_data_intervals: Option<bool>,
    timetable_class: Option<String>,
    summary: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RecordedDelta {
    Seconds(f64),
    RelativeDelta(RelativeDelta),
}

impl From<&RecordedDelta> for Delta {
    fn from(recorded: &RecordedDelta) -> Self {
        match recorded {
            RecordedDelta::Seconds(seconds) => Self::Fixed(SignedDuration::from_secs_f64(*seconds)),
            RecordedDelta::RelativeDelta(relative) => Self::Relative(*relative),
        }
    }
}

impl From<&DagRunInfo> for Answer {
    fn from(info: &DagRunInfo) -> Self {
        Self {
            run_after: info.run_after,
            start: info.data_interval.map(|interval| interval.start),
            end: info.data_interval.map(|interval| interval.end),
            logical_date: info.logical_date,
            partition_key: info.partition.as_ref().map(|partition| partition.key.clone()),
            partition_date: info.partition.as_ref().map(|partition| partition.date),
        }
    }
}

/// Why a recorded timetable has no counterpart.
enum Unbuilt {
    Unknown,
    Refused(String),
}

fn parse<T: for<'de> Deserialize<'de>>(case: &Value) -> T {
    T::deserialize(case).unwrap_or_else(|error| panic!("{} has another form: {error}", case["id"]))
}

impl Case {
    fn build(&self) -> Result<Timetable, Unbuilt> {
        let refused = |error: &dyn std::fmt::Display| Unbuilt::Refused(error.to_string());
        let cron = |text: &str| CronExpression::parse(text).map_err(|error| refused(&error));
        let timezone = || Timezone::parse(self.timezone.as_deref().unwrap_or("UTC")).map_err(|error| refused(&error));
        let interval = self.interval.as_ref().map_or(Delta::ZERO, Delta::from);
        let delta = || self.delta.as_ref().map(Delta::from).expect("a delta timetable has a delta");
        let text = || self.cron.as_deref().expect("a cron timetable has an expression");
        Ok(match self.timetable.as_str() {
            "null" => Timetable::Null,
            "once" => Timetable::Once,
            "continuous" => Timetable::Continuous,
            "cron_trigger" => {
                let trigger = CronTrigger::new(cron(text())?, timezone()?);
                let run_immediately = self.run_immediately();
                Timetable::CronTrigger(CronTrigger { interval, run_immediately, ..trigger })
            }
            "multi_cron_trigger" => Timetable::MultipleCronTrigger(MultipleCronTrigger {
                crons: self.crons.iter().flatten().map(|text| cron(text)).collect::<Result<_, _>>()?,
                timezone: timezone()?,
                interval,
                run_immediately: self.run_immediately(),
            }),
            "cron_data_interval" => {
                Timetable::CronDataInterval(CronDataInterval { cron: cron(text())?, timezone: timezone()? })
            }
            "delta_trigger" => {
                DeltaTrigger::new(delta(), interval).map(Timetable::DeltaTrigger).map_err(|error| refused(&error))?
            }
            "delta_data_interval" => {
                DeltaDataInterval::new(delta()).map(Timetable::DeltaDataInterval).map_err(|error| refused(&error))?
            }
            "events" => {
                Timetable::Events(Events::new(self.events.clone().unwrap_or_default(), self.restrict_to_events))
            }
            "cron_partition" => {
                let key_format = self.key_format.as_deref().unwrap_or(CronPartition::KEY_FORMAT_DEFAULT);
                let offset = self.run_offset.unwrap_or_default();
                CronPartition::new(cron(text())?, timezone()?, offset, key_format, self.run_immediately())
                    .map(Timetable::CronPartition)
                    .map_err(|error| refused(&error))?
            }
            _ => return Err(Unbuilt::Unknown),
        })
    }

    fn run_immediately(&self) -> RunImmediately {
        match &self.run_immediately {
            None | Some(Value::Null | Value::Bool(false)) => RunImmediately::IfRecent,
            Some(Value::Bool(true)) => RunImmediately::Always,
            Some(within) => {
                let seconds = within["seconds"].as_f64().expect("a duration has seconds");
                RunImmediately::Within(SignedDuration::from_secs_f64(seconds))
            }
        }
    }
}

/// Our timetable, or the verdict on a case without one.
fn build(case: &Case) -> Result<Timetable, Verdict> {
    match case.build() {
        Ok(_) if case.error_stage.as_deref() == Some("validate") => {
            Err(Verdict::Failed("accepted, but Airflow refuses it".to_owned()))
        }
        Ok(timetable) => {
            // A timetable is used as it comes out of a compiled DAG.
            let stored = serde_json::to_string(&timetable).expect("a timetable is stored as JSON");
            let restored = serde_json::from_str(&stored).expect("a stored timetable is read");
            if timetable == restored {
                Ok(restored)
            } else {
                Err(Verdict::Failed(format!("{stored} is read as {restored:?}")))
            }
        }
        Err(Unbuilt::Unknown) => Err(Verdict::Unbound(format!("timetable={}", case.timetable))),
        Err(Unbuilt::Refused(_)) if case.error_stage.as_deref() == Some("validate") => Err(Verdict::Passed),
        Err(Unbuilt::Refused(_)) if case.error.is_none() && is_negative(case) => Err(Verdict::Divergent(
            "a negative delta is refused before any date is computed, as Airflow's validation would",
        )),
        Err(Unbuilt::Refused(why)) => Err(Verdict::Failed(format!("refused: {why}"))),
    }
}

fn is_negative(case: &Case) -> bool {
    case.delta.as_ref().is_some_and(|delta| Delta::from(delta).positive().is_err())
}

/// Asks again and again, each answer being the last run of the next question.
fn judge_next(case: &Case) -> Verdict {
    let timetable = match build(case) {
        Ok(timetable) => timetable,
        Err(verdict) => return verdict,
    };
    let restriction = TimeRestriction { earliest: case.start_date, latest: case.end_date, catchup: case.catchup };
    let now = case.now.expect("a case has a current time");
    let mut last = case.last.map(|(start, end)| DataInterval::new(start, end));
    for (nth, expected) in case.next.iter().enumerate() {
        let info = match timetable.next_dagrun_info(last.as_ref(), &restriction, now) {
            Ok(info) => info,
            Err(error) => return Verdict::Failed(format!("run {nth}: {error}")),
        };
        let found = info.as_ref().map(Answer::from);
        if found != *expected {
            return Verdict::Failed(format!("run {nth}: expected {expected:?}, found {found:?}"));
        }
        last = info.map(|info| info.data_interval.unwrap_or_else(|| DataInterval::exact(info.run_after)));
    }
    match &case.error {
        None => Verdict::Passed,
        Some(error) => judge_error(error, &timetable.next_dagrun_info(last.as_ref(), &restriction, now)),
    }
}

fn judge_manual_interval(case: &Case) -> Verdict {
    let timetable = match build(case) {
        Ok(timetable) => timetable,
        Err(verdict) => return verdict,
    };
    let run_after = case.run_after.expect("a case has an instant");
    let found = timetable.infer_manual_data_interval(run_after);
    match (&case.error, case.start.zip(case.end)) {
        (Some(error), _) => judge_error(error, &found),
        (None, Some((start, end))) if found == Ok(DataInterval::new(start, end)) => Verdict::Passed,
        (None, expected) => Verdict::Failed(format!("expected {expected:?}, found {found:?}")),
    }
}

/// Whether our error is the one that Airflow's exception stands for.
fn judge_error<T: std::fmt::Debug>(expected: &str, found: &Result<T, TimetableError>) -> Verdict {
    match (expected, found) {
        ("CroniterBadDateError", Err(TimetableError::NoMatchingDate { .. }))
        | ("ValueError", Err(TimetableError::DidNotAdvance { .. })) => Verdict::Passed,
        _ => Verdict::Failed(format!("expected {expected}, found {found:?}")),
    }
}

fn judge_validate(case: &Validity) -> Verdict {
    if case.cron == "@continuous" {
        return judge_continuous(None, case.accepted);
    }
    let timezone = Timezone::parse(&case.timezone).expect("a case has a known time zone");
    let timetable = match Timetable::from_schedule(Some(&case.cron), &timezone, CronStyle::Trigger) {
        Ok(timetable) => timetable,
        Err(_) if !case.accepted => return Verdict::Passed,
        Err(_) if case.cron.split(' ').any(|field| field == "R") => {
            return Verdict::Divergent(
                "`R` draws a random value at each parse, which no two machines agree on; it is refused",
            );
        }
        Err(error) => return Verdict::Failed(format!("refused: {error}")),
    };
    if !case.accepted {
        return Verdict::Failed("accepted, but Airflow refuses it".to_owned());
    }
    if case.timetable_class.as_deref() != Some(timetable.airflow_class()) {
        return Verdict::Failed(format!("expected {:?}, found {}", case.timetable_class, timetable.airflow_class()));
    }
    let start_date = "2025-01-01T00:00Z".parse().expect("a timestamp");
    let restriction = TimeRestriction { earliest: Some(start_date), latest: None, catchup: true };
    let mut last = None;
    for expected in &case.first_run_afters {
        match timetable.next_dagrun_info(last.as_ref(), &restriction, start_date) {
            Ok(Some(info)) if info.run_after == *expected => last = info.data_interval,
            found => return Verdict::Failed(format!("expected {expected}, found {found:?}")),
        }
    }
    match &case.next_error {
        None => Verdict::Passed,
        Some(error) => judge_error(error, &timetable.next_dagrun_info(last.as_ref(), &restriction, start_date)),
    }
}

fn judge_class_for_schedule(case: &Choice) -> Verdict {
    match case.schedule.as_str() {
        "@continuous default max_active_runs" => return judge_continuous(None, case.timetable_class.is_some()),
        "@continuous max_active_runs=2" => return judge_continuous(Some(2), case.timetable_class.is_some()),
        _ => {}
    }
    let style = match case.create_cron_data_intervals {
        Some(true) => CronStyle::DataInterval,
        _ => CronStyle::Trigger,
    };
    let timetable = match case.schedule.as_str() {
        "timedelta(days=1)" => delta_schedule(Delta::Fixed(SignedDuration::from_hours(24)), style),
        "relativedelta(months=1)" => {
            delta_schedule(Delta::Relative(RelativeDelta { months: 1, ..RelativeDelta::default() }), style)
        }
        text => {
            let text = text.strip_prefix("cron:").unwrap_or(text);
            let text = (!matches!(text, "None" | "not given")).then_some(text);
            Timetable::from_schedule(text, &Timezone::utc(), style).expect("a valid schedule")
        }
    };
    let found = (timetable.airflow_class().to_owned(), timetable.describe());
    match (&case.timetable_class, &case.summary) {
        (Some(class), Some(summary)) if found == (class.clone(), summary.clone()) => Verdict::Passed,
        expected => Verdict::Failed(format!("expected {expected:?}, found {found:?}")),
    }
}

/// A time delta as schedule follows the same option as a cron string.
fn delta_schedule(delta: Delta, style: CronStyle) -> Timetable {
    match style {
        CronStyle::Trigger => Timetable::DeltaTrigger(DeltaTrigger::new(delta, Delta::ZERO).expect("a positive delta")),
        CronStyle::DataInterval => {
            Timetable::DeltaDataInterval(DeltaDataInterval::new(delta).expect("a positive delta"))
        }
    }
}

/// Whether a DAG file may ask for runs one after the other and for this many at once.
fn judge_continuous(max_active_runs: Option<u32>, accepted: bool) -> Verdict {
    let mut dag = serde_json::json!({"schedule": "@continuous", "tasks": {"t": {"operator": "EmptyOperator"}}});
    if let Some(most) = max_active_runs {
        dag["max_active_runs"] = most.into();
    }
    let found = load_dag(&dag);
    if found.is_ok() == accepted { Verdict::Passed } else { Verdict::Failed(format!("found {found:?}")) }
}
