//! Schedules, dates and durations in every spelling.

use super::*;

#[test]
fn durations_are_read_in_every_spelling() {
    for (text, seconds) in [
        ("300", 300.0),
        ("1.5", 1.5),
        ("'90'", 90.0),
        ("5m", 300.0),
        ("1 days", 86_400.0),
        ("2 hours", 7_200.0),
        ("1h 30m", 5_400.0),
        ("1h30m", 5_400.0),
        ("1 day, 2 hours", 93_600.0),
        ("250ms", 0.25),
        ("PT5M", 300.0),
        ("P1DT1H", 90_000.0),
        ("P1W", 604_800.0),
        ("01:30:00", 5_400.0),
        ("1:30:00", 5_400.0),
        ("'00:00:01.5'", 1.5),
        ("{__type__: datetime.timedelta, minutes: 5, seconds: 1.5}", 301.5),
        ("{__type__: datetime.timedelta, seconds: 300.0}", 300.0),
        ("{__type__: datetime.timedelta, __args__: [1, 2]}", 86_402.0),
        ("{__type__: dateutil.relativedelta.relativedelta, hours: 2}", 7_200.0),
    ] {
        let task = task_with(&format!("retry_delay: {text}"));
        assert!((task.retry_delay.as_secs_f64() - seconds).abs() < 1e-6, "{text}: {:?}", task.retry_delay);
        assert_eq!(
            task_with(&format!("execution_timeout: {text}")).execution_timeout,
            Some(task.retry_delay),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_duration_is_refused() {
    for (text, code) in [
        ("soon", "wrong-type"),
        ("5 lightyears", "wrong-type"),
        ("5", "none"),
        ("'01:30'", "wrong-type"),
        ("01:60:00", "wrong-type"),
        ("P1M", "wrong-type"),
        ("true", "wrong-type"),
        ("[1]", "wrong-type"),
        ("{minutes: 5}", "wrong-type"),
        ("{__type__: datetime.datetime, year: 1}", "wrong-type"),
        ("{__type__: datetime.timedelta, minuets: 5}", "unknown-key"),
        ("{__type__: datetime.timedelta, minutes: x}", "wrong-type"),
        ("{__type__: datetime.timedelta, days: 99999999999}", "out-of-range"),
        ("-5", "out-of-range"),
        ("1e999", "wrong-type"),
        (".inf", "wrong-type"),
    ] {
        let loaded = loaded(&in_task(&format!("operator: EmptyOperator\nretry_delay: {text}")));
        let found = loaded.diagnostics.first().map_or("none", |d| d.code);
        assert_eq!(found, code, "{text}: {:?}", loaded.diagnostics);
    }
    assert_eq!(error(&in_task("operator: EmptyOperator\nexecution_timeout: 0")).code, "out-of-range");
}

#[test]
fn what_no_function_can_run_to_its_end_loads_with_a_warning() {
    for (task, warned) in [
        ("operator: BashOperator\nbash_command: ls\nexecution_timeout: 901", true),
        ("operator: PythonOperator\npython_callable: a.b\nexecution_timeout: 2h", true),
        ("operator: BashOperator\nbash_command: ls\nexecution_timeout: 15m", false),
        ("operator: BashOperator\nbash_command: ls", false),
        ("operator: BashSensor\nbash_command: ls\nexecution_timeout: 2h", false),
        ("operator: EmptyOperator\nexecution_timeout: 2h", false),
    ] {
        let loaded = loaded(&in_task(task));
        assert_eq!(loaded.dags.len(), 1, "{task}: {:?}", loaded.diagnostics);
        let found: Vec<&str> = loaded.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(found, if warned { vec!["outlives-functions"] } else { vec![] }, "{task}");
        if warned {
            let place = &loaded.diagnostics[0];
            assert!(place.key_path.ends_with("execution_timeout") && place.message.contains("on AWS"), "{place:?}");
        }
    }
}

#[test]
fn dates_are_read_in_every_spelling() {
    for (settings, instant, zone) in [
        ("start_date: 2025-01-31", "2025-01-31T00:00:00Z", "UTC"),
        ("start_date: '2025-01-31'", "2025-01-31T00:00:00Z", "UTC"),
        ("start_date: 2025-01-31 06:30:00", "2025-01-31T06:30:00Z", "UTC"),
        ("start_date: '2025-01-31T06:30'", "2025-01-31T06:30:00Z", "UTC"),
        ("start_date: '2025-01-31T06:30:00Z'", "2025-01-31T06:30:00Z", "UTC"),
        ("start_date: 2025-01-31T06:30:00+02:00", "2025-01-31T04:30:00Z", "+02:00"),
        ("start_date: '2025-01-31T06:30:00+02:00'", "2025-01-31T04:30:00Z", "+02:00"),
        // A zone that is named replaces an offset, as dag-factory has it.
        (
            "start_date: 2025-01-31T06:30:00+02:00\ntimezone: Europe/Amsterdam",
            "2025-01-31T05:30:00Z",
            "Europe/Amsterdam",
        ),
        ("start_date: '2025-01-31T06:30:00Z'\ntimezone: Europe/Amsterdam", "2025-01-31T05:30:00Z", "Europe/Amsterdam"),
        ("start_date: 9999-12-31", "9999-12-29T00:00:00Z", "UTC"),
        ("start_date: 9999-12-31\ntimezone: America/New_York", "9999-12-29T05:00:00Z", "America/New_York"),
        ("start_date: 2025-01-31\ntimezone: Europe/Amsterdam", "2025-01-30T23:00:00Z", "Europe/Amsterdam"),
        ("start_date: 2025-07-31\ntimezone: Europe/Amsterdam", "2025-07-30T22:00:00Z", "Europe/Amsterdam"),
        ("start_date: {__type__: datetime.datetime, year: 2026, month: 1, day: 2}", "2026-01-02T00:00:00Z", "UTC"),
        (
            "start_date: {__type__: datetime.datetime, __args__: [2026, 1, 2], hour: 3}\ntimezone: Asia/Kolkata",
            "2026-01-01T21:30:00Z",
            "Asia/Kolkata",
        ),
        // Now is noon of 15 January 2026, UTC.
        ("start_date: 2 days", "2026-01-13T00:00:00Z", "UTC"),
        ("start_date: 1 hours\ntimezone: Europe/Amsterdam", "2026-01-14T22:00:00Z", "Europe/Amsterdam"),
        (
            "default_args: {start_date: 2025-01-31, timezone: Asia/Tokyo}\ntasks: {t: {operator: EmptyOperator}}",
            "2025-01-30T15:00:00Z",
            "Asia/Tokyo",
        ),
        ("start_date: 2025-01-01\ndefault_args: {start_date: 2024-01-31}", "2025-01-01T00:00:00Z", "UTC"),
    ] {
        let dag = dag_with(settings);
        assert_eq!(dag.start_date.map(|d| d.to_string()).as_deref(), Some(instant), "{settings}");
        assert_eq!(dag.timezone, zone, "{settings}");
    }
}

#[test]
fn bounds_come_from_the_tasks_where_the_dag_has_none() {
    let tasks = |a: &str, b: &str| {
        let dag =
            dag_with(&format!("tasks:\n  a: {{operator: EmptyOperator{a}}}\n  b: {{operator: EmptyOperator{b}}}"));
        (dag.start_date.map(|d| d.to_string()), dag.end_date.map(|d| d.to_string()))
    };
    let date = |d: &str| Some(format!("{d}T00:00:00Z"));
    let both =
        tasks(", start_date: 2025-02-01, end_date: 2025-03-01", ", start_date: 2025-01-01, end_date: 2025-04-01");
    assert_eq!(both, (date("2025-01-01"), date("2025-04-01")));
    assert_eq!(tasks(", start_date: 2025-02-01, end_date: 2025-03-01", ""), (date("2025-02-01"), None));
}

#[test]
fn what_is_no_date_is_refused() {
    for (text, code) in [
        ("soon", "wrong-type"),
        ("205-01-01", "wrong-type"),
        ("2025-02-30", "yaml-value"),
        ("'2025-02-30'", "wrong-type"),
        ("5", "wrong-type"),
        ("{__type__: datetime.datetime, year: 2025}", "missing-key"),
        ("{__type__: datetime.datetime, year: 2025, month: 2, day: 30}", "out-of-range"),
        ("{__type__: datetime.datetime, year: 2025, month: 13, day: 1}", "out-of-range"),
        ("{__type__: datetime.datetime, year: 2025, month: 1, day: 1, tzinfo: x}", "unknown-timezone"),
        ("{__type__: datetime.datetime, year: 2025, month: 1, day: 1, zone: x}", "unknown-key"),
    ] {
        assert_eq!(error(&in_dag(&format!("start_date: {text}"))).code, code, "{text}");
    }
    assert_eq!(error(&in_dag("timezone: Europe/Pariss\nstart_date: 2025-01-01")).code, "unknown-timezone");
}

#[test]
fn schedules_are_read_in_every_form() {
    let typed = "__type__: airflow.timetables";
    for (schedule, class, shown) in [
        ("'0 3 * * *'".to_owned(), "CronTriggerTimetable", "0 3 * * *"),
        ("'@hourly'".to_owned(), "CronTriggerTimetable", "0 * * * *"),
        ("'@once'".to_owned(), "OnceTimetable", "@once"),
        ("null".to_owned(), "NullTimetable", "None"),
        ("None".to_owned(), "NullTimetable", "None"),
        ("' none '".to_owned(), "NullTimetable", "None"),
        ("{__type__: datetime.timedelta, hours: 6}".to_owned(), "DeltaTriggerTimetable", "6:00:00"),
        (
            "{__type__: dateutil.relativedelta.relativedelta, months: 1, weeks: 1}".to_owned(),
            "DeltaTriggerTimetable",
            "relativedelta(months=+1, days=+7)",
        ),
        (
            format!("{{{typed}.trigger.CronTriggerTimetable, cron: '0 1 * * 3', timezone: UTC}}"),
            "CronTriggerTimetable",
            "0 1 * * 3",
        ),
        (
            format!(
                "{{{typed}.trigger.CronTriggerTimetable, __args__: ['0 1 * * 3'], interval: 1h, run_immediately: true}}"
            ),
            "CronTriggerTimetable",
            "0 1 * * 3",
        ),
        (
            format!("{{{typed}.trigger.MultipleCronTriggerTimetable, __args__: ['0 1 * * *', '0 2 * * *']}}"),
            "MultipleCronTriggerTimetable",
            "0 1 * * *, 0 2 * * *",
        ),
        (
            format!("{{{typed}.interval.CronDataIntervalTimetable, cron: '@daily', timezone: Europe/Paris}}"),
            "CronDataIntervalTimetable",
            "0 0 * * *",
        ),
        (
            format!("{{{typed}.interval.DeltaDataIntervalTimetable, delta: 1h}}"),
            "DeltaDataIntervalTimetable",
            "1:00:00",
        ),
    ] {
        let dag = dag_with(&format!("schedule: {schedule}"));
        assert_eq!((dag.timetable.airflow_class(), dag.timetable.describe().as_str()), (class, shown), "{schedule}");
    }
}

#[test]
fn a_schedule_is_read_in_the_dags_zone() {
    let dag = dag_with("schedule: '@daily'\nstart_date: 2025-01-01\ntimezone: Europe/Amsterdam");
    let updraft_timetables::Timetable::CronTrigger(trigger) = dag.timetable else { panic!() };
    assert_eq!(trigger.timezone.name(), "Europe/Amsterdam");
}

#[test]
fn what_is_no_schedule_is_refused() {
    for (schedule, code) in [
        ("'@fortnightly'", "schedule"),
        ("'0 25 * * *'", "schedule"),
        ("5", "wrong-type"),
        ("rate(5 weeks)", "schedule"),
        ("cron(0 12 1 * MON *)", "schedule"),
        ("[]", "schedule"),
        ("[1]", "wrong-type"),
        ("['é']", "bad-asset"),
        ("{__type__: airflow.sdk.Asset}", "missing-key"),
        ("{__type__: airflow.sdk.AssetAlias}", "missing-key"),
        ("{__type__: my.Timetable}", "unsupported"),
        ("{datasets: 'a & | b'}", "schedule"),
        ("{datasets: '(a'}", "schedule"),
        ("{datasets: 'a b'}", "schedule"),
        ("{datasets: a, file: names.yml}", "missing-file"),
        ("{datasets: []}", "schedule"),
        ("{__type__: dateutil.relativedelta.relativedelta, hour: 18}", "schedule"),
        ("{a: b}", "schedule"),
        ("{__type__: datetime.timedelta, hours: 0}", "schedule"),
        ("{__type__: datetime.timedelta, hours: -1}", "schedule"),
        ("{__type__: a.CronTriggerTimetable}", "missing-key"),
        ("{__type__: a.CronTriggerTimetable, cron: '@daily', timezon: UTC}", "unknown-key"),
        ("'@continuous'", "schedule"),
    ] {
        assert_eq!(error(&in_dag(&format!("schedule: {schedule}"))).code, code, "{schedule}");
    }
    assert_eq!(dag_with("schedule: '@continuous'\nmax_active_runs: 1").timetable.describe(), "@continuous");
}
