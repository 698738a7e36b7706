//! Operators' own arguments, read as the registry says.

use serde_json::json;

use super::*;

#[test]
fn arguments_of_every_type_are_kept_in_one_form() {
    for (operator, argument, text, kept) in [
        ("TimeSensor", "target_time", "10:30", json!("10:30:00")),
        ("TimeSensor", "target_time", "10:30:15", json!("10:30:15")),
        ("TimeSensor", "target_time", "'00:10:30.5'", json!("00:10:30.5")),
        ("TimeSensor", "target_time", "{__type__: datetime.time, hour: 6, minute: 30}", json!("06:30:00")),
        ("TimeSensor", "target_time", "{__type__: datetime.time, __args__: [6, 30]}", json!("06:30:00")),
        ("TimeDeltaSensor", "delta", "5", json!(300)),
        ("TimeDeltaSensor", "delta", "5 s", json!(5)),
        ("TimeDeltaSensor", "delta", "{__type__: datetime.timedelta, seconds: 0.5}", json!(0.5)),
        ("TimeDeltaSensor", "delta", "'{{ params.minutes }}'", json!("{{ params.minutes }}")),
        ("WaitSensor", "time_to_wait", "PT1M", json!(60)),
        ("DateTimeSensor", "target_time", "2026-01-01 06:30:00", json!("2026-01-01T06:30:00+00:00")),
        ("DateTimeSensor", "target_time", "'2026-01-01T06:30:00+02:00'", json!("2026-01-01T06:30:00+02:00")),
        ("DayOfWeekSensor", "week_day", "[Monday, Tuesday]", json!(["Monday", "Tuesday"])),
        ("DayOfWeekSensor", "week_day", "Monday", json!("Monday")),
    ] {
        let task = dag(&in_task(&format!("operator: {operator}\n{argument}: {text}"))).tasks.remove(0);
        assert_eq!(task.arguments[argument], kept, "{operator} {text}");
    }
}

#[test]
fn arguments_of_another_type_are_refused() {
    for (operator, argument, text) in [
        ("TimeSensor", "target_time", "2000"),
        ("TimeSensor", "target_time", "'25:00'"),
        ("TimeSensor", "target_time", "{__type__: datetime.time, hour: 25}"),
        ("TimeSensor", "target_time", "{__type__: datetime.date, hour: 1}"),
        ("TimeDeltaSensor", "delta", "soon"),
        ("DateTimeSensor", "target_time", "[1]"),
        ("DayOfWeekSensor", "week_day", "1"),
        ("HttpSensor", "endpoint", "[a]"),
    ] {
        let loaded = loaded(&in_task(&format!("operator: {operator}\n{argument}: {text}")));
        assert!(loaded.has_errors(), "{operator} {text}");
        let code = loaded.diagnostics[0].code;
        assert!(matches!(code, "wrong-type" | "out-of-range"), "{operator} {text}: {code}");
    }
}

#[test]
fn operators_that_are_not_run_yet_are_checked_by_name_and_not_by_type() {
    let wrong_type = loaded(&in_task("operator: AthenaOperator\nquery: select 1\nmax_polling_attempts: many"));
    assert!(!wrong_type.has_errors(), "{:?}", wrong_type.diagnostics);
    assert_eq!(places(&wrong_type).iter().map(|p| p.2).collect::<Vec<_>>(), ["operator-not-run", "wrong-type"]);
    assert_eq!(wrong_type.dags[0].tasks[0].arguments["max_polling_attempts"], "many");
    let wrong_name = loaded(&in_task("operator: AthenaOperator\nquery: select 1\nworkgruop: w"));
    let unknown = wrong_name.diagnostics.iter().find(|d| d.code == "unknown-argument").expect("it is told");
    assert_eq!(unknown.hint.as_deref(), Some("did you mean `workgroup`?"));
    let missing = loaded(&in_task("operator: AthenaOperator"));
    assert!(missing.diagnostics.iter().any(|d| d.is_error() && d.code == "missing-argument"));
}

#[test]
fn a_base_of_operators_is_no_task() {
    let found = loaded(&in_task("operator: EcsBaseOperator"));
    assert!(found.has_errors());
    assert_eq!(found.diagnostics[0].code, "abstract-operator");
}
