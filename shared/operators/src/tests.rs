//! What holds for the list as a whole.

use std::collections::BTreeSet;

use super::*;

#[test]
fn operators_are_found_by_every_name_people_use() {
    let names = [
        "airflow.providers.standard.operators.bash.BashOperator",
        "BashOperator",
        "airflow.operators.bash.BashOperator",
        "airflow.operators.bash_operator.BashOperator",
    ];
    for name in names {
        assert_eq!(find(name).map(|o| o.class_path), Some(names[0]), "{name}");
    }
    assert_eq!(find("DummyOperator").map(|o| o.runner), Some(Runner::Empty));
    assert_eq!(find("SimpleHttpOperator").map(|o| o.runner), Some(Runner::Http));
    assert_eq!(
        find("TimeSensorAsync").map(|o| o.class_path),
        Some("airflow.providers.standard.sensors.time.TimeSensor")
    );
    assert_eq!(find("AthenaOperator").map(|o| o.service), Some("athena"));
    assert!(find("bash.BashOperator").is_none() && find("").is_none());
}

#[test]
fn no_name_means_two_things() {
    let mut paths = BTreeSet::new();
    let mut short = BTreeSet::new();
    for operator in all() {
        for path in std::iter::once(&operator.class_path).chain(&operator.old_class_paths) {
            assert!(paths.insert(*path), "{path} twice");
            assert_eq!(find(path).map(|o| o.class_path), Some(operator.class_path));
        }
        assert!(short.insert(operator.short_name()), "{} twice", operator.short_name());
        assert_eq!(find(operator.short_name()).map(|o| o.class_path), Some(operator.class_path));
    }
    assert!(names().is_sorted() && names().count() > paths.len());
}

#[test]
fn every_argument_stands_once_and_makes_sense() {
    for operator in all() {
        let mut seen = BTreeSet::new();
        for argument in &operator.arguments {
            let place = format!("{}.{}", operator.short_name(), argument.name);
            assert!(seen.insert(argument.name), "{place} twice");
            assert!(!(argument.required && argument.default.is_some()), "{place} is required and has a default");
            // What every sensor takes stands again only where its default is another.
            let of_sensors = SENSOR_ARGUMENTS.iter().find(|a| operator.sensor && a.name == argument.name);
            assert!(of_sensors.is_none_or(|a| a.kind == argument.kind && a.default != argument.default), "{place}");
        }
        let documented = operator.runner != Runner::Deferred;
        assert!(!documented || operator.arguments.iter().all(|a| !a.doc.is_empty()), "{}", operator.short_name());
    }
}

#[test]
fn sensors_are_sensors() {
    let sensors: Vec<&str> =
        all().iter().filter(|o| o.sensor && o.runner != Runner::Deferred).map(Operator::short_name).collect();
    let expected = [
        "BashSensor",
        "DateTimeSensor",
        "DayOfWeekSensor",
        "ExternalTaskSensor",
        "FileSensor",
        "TimeSensor",
        "TimeDeltaSensor",
        "WaitSensor",
        "PythonSensor",
        "DecoratedSensorOperator",
        "HttpSensor",
    ];
    assert_eq!(sensors, expected);
    let bash = find("BashSensor").expect("it is listed");
    assert_eq!(bash.argument("poke_interval").and_then(|a| a.default), Some("60"));
    assert!(find("BashOperator").expect("it is listed").argument("poke_interval").is_none());
}

#[test]
fn what_runs_is_told_by_class_names() {
    let names: Vec<&str> = runnable().collect();
    assert!(names.contains(&"BashOperator") && names.contains(&"HttpSensor"), "{names:?}");
    assert!(!names.contains(&"AthenaOperator") && !names.contains(&"BaseOperator"), "{names:?}");
    assert!(names.iter().all(|name| !name.starts_with('_')), "{names:?}");
}
