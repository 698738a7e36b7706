//! What the recorded answers of Airflow do not show: how timetables are stored, and where clocks change.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::{
    CronDataInterval, CronExpression, CronPartition, CronSchedule, CronStyle, CronTrigger, DataInterval, Delta,
    DeltaDataInterval, DeltaTrigger, Events, MultipleCronTrigger, PartitionError, RelativeDelta, RunImmediately,
    TimeRestriction, Timetable, TimetableError, Timezone,
};

fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(text: &str) -> CronExpression {
    CronExpression::parse(text).unwrap()
}

fn months(months: i32) -> Delta {
    Delta::Relative(RelativeDelta { months, ..RelativeDelta::default() })
}

fn hours(hours: i64) -> Delta {
    Delta::Fixed(SignedDuration::from_hours(hours))
}

#[track_caller]
fn assert_walk(expression: &str, timezone: &str, from: &str, expected: &[&str]) {
    let (cron, timezone) = (cron(expression), Timezone::parse(timezone).unwrap());
    let mut current = instant(from);
    for expected in expected {
        current = CronSchedule::new(&cron, &timezone).next(current).unwrap();
        assert_eq!(current, instant(expected), "`{expression}` in {timezone}");
    }
}

#[test]
fn a_time_that_the_clock_skips_moves_forward_by_the_gap() {
    let berlin = ["2025-03-29T01:30Z", "2025-03-30T01:30Z", "2025-03-31T00:30Z"];
    assert_walk("30 2 * * *", "Europe/Berlin", "2025-03-28T12:00Z", &berlin);
}

#[test]
fn a_time_that_the_clock_shows_twice_is_the_second() {
    let new_york = ["2025-11-01T05:30Z", "2025-11-02T06:30Z", "2025-11-03T06:30Z"];
    assert_walk("30 1 * * *", "America/New_York", "2025-11-01T00:00Z", &new_york);
}

#[test]
fn a_schedule_of_every_hour_goes_by_elapsed_time() {
    let new_york = ["2025-11-02T05:30Z", "2025-11-02T06:30Z", "2025-11-02T07:30Z"];
    assert_walk("30 * * * *", "America/New_York", "2025-11-02T05:00Z", &new_york);
}

#[test]
fn a_fixed_offset_never_changes() {
    assert_walk("30 2 * * *", "+05:30", "2025-03-28T12:00Z", &["2025-03-28T21:00Z", "2025-03-29T21:00Z"]);
}

#[test]
fn an_hourly_interval_stops_where_the_clock_changes_by_half_an_hour() {
    let timezone = Timezone::parse("Australia/Lord_Howe").unwrap();
    let timetable = Timetable::CronDataInterval(CronDataInterval { cron: cron("0 * * * *"), timezone });
    let restriction = TimeRestriction { earliest: Some(instant("2025-04-05T12:00Z")), latest: None, catchup: true };
    let mut last = None;
    let stopped = (0..24).find_map(|_| {
        match timetable.next_dagrun_info(last.as_ref(), &restriction, instant("2025-06-01T00:00Z")) {
            Ok(info) => {
                last = info.and_then(|info| info.data_interval);
                None
            }
            Err(error) => Some(error),
        }
    });
    let Some(TimetableError::DidNotAdvance { schedule, timezone, .. }) = stopped else { panic!("it went on") };
    assert_eq!((schedule.as_str(), timezone.as_str()), ("0 * * * *", "Australia/Lord_Howe"));
}

/// The stored form is part of every compiled DAG. A change to it strands the versions stored before.
#[test]
fn the_stored_form_is_fixed() {
    let berlin = Timezone::parse("Europe/Berlin").unwrap();
    let trigger = CronTrigger::new(cron("@daily"), berlin.clone());
    let full = CronTrigger {
        interval: hours(36),
        run_immediately: RunImmediately::Within(SignedDuration::from_mins(10)),
        ..trigger.clone()
    };
    let several = MultipleCronTrigger {
        crons: vec![cron("0 8 * * *"), cron("0 9 * * *")],
        timezone: Timezone::utc(),
        interval: Delta::ZERO,
        run_immediately: RunImmediately::Always,
    };
    for (timetable, stored) in [
        (Timetable::Null, r#""null""#),
        (Timetable::Once, r#""once""#),
        (Timetable::Continuous, r#""continuous""#),
        (Timetable::CronTrigger(trigger), r#"{"cron_trigger":{"cron":"0 0 * * *","timezone":"Europe/Berlin"}}"#),
        (
            Timetable::CronTrigger(full),
            r#"{"cron_trigger":{"cron":"0 0 * * *","timezone":"Europe/Berlin","interval":"PT36H","run_immediately":{"within":"PT10M"}}}"#,
        ),
        (
            Timetable::MultipleCronTrigger(several),
            r#"{"multiple_cron_trigger":{"crons":["0 8 * * *","0 9 * * *"],"timezone":"UTC","run_immediately":"always"}}"#,
        ),
        (
            Timetable::CronDataInterval(CronDataInterval { cron: cron("@Hourly"), timezone: berlin }),
            r#"{"cron_data_interval":{"cron":"@Hourly","timezone":"Europe/Berlin"}}"#,
        ),
        (
            Timetable::DeltaTrigger(DeltaTrigger::new(months(1), hours(2)).unwrap()),
            r#"{"delta_trigger":{"delta":{"months":1},"interval":"PT2H"}}"#,
        ),
        (
            Timetable::DeltaDataInterval(DeltaDataInterval::new(hours(24)).unwrap()),
            r#"{"delta_data_interval":{"delta":"PT24H"}}"#,
        ),
        (
            Timetable::Events(Events::new(vec![instant("2025-06-01T00:00Z"), instant("2025-03-03T08:00Z")], true)),
            r#"{"events":{"dates":["2025-03-03T08:00:00Z","2025-06-01T00:00:00Z"],"restrict_to_events":true}}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&timetable).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Timetable>(stored).unwrap(), timetable, "{stored}");
    }
}

#[test]
fn what_is_stored_wrongly_is_refused() {
    for stored in [
        r#"{"cron_trigger":{"cron":"61 * * * *","timezone":"UTC"}}"#,
        r#"{"cron_trigger":{"cron":"0 * * * *","timezone":"Europe/Nowhere"}}"#,
        r#"{"delta_trigger":{"delta":"-PT5S"}}"#,
        r#"{"delta_data_interval":{"delta":{"months":-1}}}"#,
        r#"{"delta_data_interval":{"delta":{"fortnights":1}}}"#,
        r#""sometimes""#,
    ] {
        assert!(serde_json::from_str::<Timetable>(stored).is_err(), "{stored}");
    }
}

#[test]
fn deltas_lead_forward() {
    for (delta, shown) in [
        (Delta::ZERO, "0:00:00"),
        (Delta::Fixed(SignedDuration::from_secs(-5)), "-1 day, 23:59:55"),
        (months(-1), "relativedelta(months=-1)"),
        (Delta::Relative(RelativeDelta::default()), "relativedelta()"),
        (
            Delta::Relative(RelativeDelta { months: 1, days: -28, ..RelativeDelta::default() }),
            "relativedelta(months=+1, days=-28)",
        ),
    ] {
        let error = DeltaTrigger::new(delta, Delta::ZERO).unwrap_err();
        assert_eq!(error.delta, shown);
        assert_eq!(DeltaDataInterval::new(delta).unwrap_err(), error);
    }
}

#[test]
fn deltas_are_shown_as_python_prints_them() {
    for (millis, shown) in [
        (86_400_000, "1 day, 0:00:00"),
        (277_200_000, "3 days, 5:00:00"),
        (1_500, "0:00:01.500000"),
        (45_296_000, "12:34:56"),
    ] {
        assert_eq!(Delta::Fixed(SignedDuration::from_millis(millis)).to_string(), shown);
    }
}

#[test]
fn months_are_added_before_days_and_end_with_the_month() {
    let delta = Delta::Relative(RelativeDelta { months: 1, days: 1, ..RelativeDelta::default() });
    assert_eq!(delta.after(instant("2025-01-31T10:00Z")), Ok(instant("2025-03-01T10:00Z")));
    assert_eq!(delta.before(instant("2025-03-31T05:00Z")), Ok(instant("2025-02-27T05:00Z")));
}

#[test]
fn a_date_beyond_the_calendar_is_an_error() {
    let end = Timestamp::MAX;
    for timetable in [
        Timetable::DeltaTrigger(DeltaTrigger::new(hours(1), Delta::ZERO).unwrap()),
        Timetable::DeltaTrigger(DeltaTrigger::new(months(1), Delta::ZERO).unwrap()),
    ] {
        let restriction = TimeRestriction { earliest: None, latest: None, catchup: true };
        let found = timetable.next_dagrun_info(Some(&DataInterval::exact(end)), &restriction, end);
        assert!(matches!(found, Err(TimetableError::OutOfRange(_))), "{found:?}");
    }
    let cron = Timetable::from_schedule(Some("0 0 * * *"), &Timezone::utc(), CronStyle::Trigger).unwrap();
    let restriction = TimeRestriction { earliest: Some(end), latest: None, catchup: true };
    assert!(cron.next_dagrun_info(None, &restriction, end).is_err());
}

#[test]
fn a_partition_is_named_on_the_clock_of_its_zone_and_outlives_storage() {
    let cron = || cron("0 0 * * *");
    let zone = || Timezone::parse("Asia/Kathmandu").unwrap();
    let build = |offset, format: &str| CronPartition::new(cron(), zone(), offset, format, RunImmediately::default());
    let timetable = Timetable::CronPartition(build(-1, "%Y/%m/%d").unwrap());
    let stored = serde_json::to_string(&timetable).unwrap();
    assert_eq!(serde_json::from_str::<Timetable>(&stored).unwrap(), timetable);
    let restriction = TimeRestriction { earliest: Some(instant("2025-03-08T00:00Z")), latest: None, catchup: true };
    let info = timetable.next_dagrun_info(None, &restriction, instant("2025-06-01T00:00Z")).unwrap().unwrap();
    assert_eq!((info.logical_date, info.data_interval), (None, None));
    let partition = info.partition.unwrap();
    assert_eq!((partition.key.as_str(), partition.date), ("2025/03/08", instant("2025-03-07T18:15Z")));
    assert!(timetable.is_partitioned());

    assert_eq!(timetable.partition_named("2025/03/08"), Some(partition));
    for key in ["2025/3/8", "2025/02/30", "2025/03/08 ", "", "yesterday"] {
        assert_eq!(timetable.partition_named(key), None, "{key}");
    }
    let monthly = Timetable::CronPartition(build(0, "%Y-%m").unwrap());
    let first = instant("2025-02-28T18:15Z");
    assert_eq!(monthly.partition_named("2025-03").map(|partition| partition.date), Some(first));

    for format in ["", "%", "%!", &"%Y".repeat(60)] {
        assert!(matches!(build(0, format), Err(PartitionError::KeyFormat { .. })), "{format}");
    }
    assert_eq!(build(20_000, "%Y"), Err(PartitionError::RunOffset(20_000)));
    let huge = stored.replace("-1", "2000000000");
    assert!(serde_json::from_str::<Timetable>(&huge).is_err());
}

fn some_timetable() -> impl Strategy<Value = Timetable> {
    let expression = prop::sample::select(vec![
        "* * * * *",
        "*/15 * * * *",
        "30 2 * * *",
        "0 0 1,15 * 1",
        "0 0 l * *",
        "5 4 * * 5#2",
    ]);
    let zone = prop::sample::select(vec!["UTC", "America/New_York", "Europe/London", "Asia/Kathmandu", "Pacific/Apia"]);
    let style = prop::sample::select(vec![CronStyle::Trigger, CronStyle::DataInterval]);
    (expression, zone, style).prop_map(|(expression, zone, style)| {
        Timetable::from_schedule(Some(expression), &Timezone::parse(zone).unwrap(), style).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the bounds, a DAG's runs go forward, respect its dates, and with catchup leave no gap.
    #[test]
    fn runs_go_forward_within_their_bounds(
        timetable in some_timetable(),
        start in 0_i64..40_000_000,
        length in 0_i64..40_000_000,
        now in 0_i64..80_000_000,
        catchup in any::<bool>(),
    ) {
        let base = instant("2024-01-01T00:00Z");
        let after = |seconds| base + SignedDuration::from_secs(seconds);
        let (earliest, latest) = (after(start), after(start + length));
        let restriction = TimeRestriction { earliest: Some(earliest), latest: Some(latest), catchup };
        let is_trigger = matches!(timetable, Timetable::CronTrigger(_));
        let mut last: Option<DataInterval> = None;
        for _ in 0..20 {
            let Some(info) = timetable.next_dagrun_info(last.as_ref(), &restriction, after(now)).unwrap() else { break };
            let interval = info.data_interval.unwrap();
            prop_assert_eq!(info.logical_date, Some(interval.start));
            prop_assert_eq!(info.run_after, interval.end);
            prop_assert!(interval.start >= earliest && interval.start <= latest);
            if let Some(last) = last {
                prop_assert!(interval.start > last.start);
                prop_assert!(!catchup || is_trigger || interval.start == last.end, "a gap after {}", last.end);
            }
            last = Some(interval);
        }
    }
}
