//! Values and schemas, as Airflow 3.3.2 answers to them.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use updraft_model::{DagId, TaskId};

fn schemas() -> Map<String, Value> {
    let json = json!({
        "req": {"type": "string"},
        "n": {"type": "integer", "minimum": 1, "maximum": 10},
        "opt": {"type": ["null", "string"]},
        "kind": {"enum": ["a", "b"]},
        "any": {},
    });
    json.as_object().cloned().unwrap()
}

fn answer(conf: Value) -> Option<String> {
    let defaults = json!({"n": 5, "opt": null, "kind": "a", "any": null});
    check(&schemas(), |name| conf.get(name).or_else(|| defaults.get(name))).err().map(|problem| problem.to_string())
}

/// The recorded answers of Airflow's trigger (its words in another order).
#[test]
fn confs_are_refused_as_airflow_does() {
    for (conf, said) in [
        (json!({"req": "x"}), None),
        (json!({"req": "x", "n": 10}), None),
        (json!({"req": "x", "zzz": 1}), None),
        (json!({"req": "x", "opt": null, "any": [1]}), None),
        (json!({"req": "x", "n": 5.0}), None),
        (Value::Null, Some("invalid input for param `req`: no value passed")),
        (json!({"req": 3}), Some("invalid input for param `req`: 3 is not of type \"string\"")),
        (json!({"req": "x", "n": "5"}), Some("invalid input for param `n`: \"5\" is not of type \"integer\"")),
        (json!({"req": "x", "n": null}), Some("invalid input for param `n`: null is not of type \"integer\"")),
        (json!({"req": "x", "n": 11}), Some("11 is greater than the maximum of 10")),
        (json!({"req": "x", "kind": "c"}), Some("\"c\" is not one of")),
    ] {
        match (answer(conf.clone()), said) {
            (None, None) => {}
            (Some(found), Some(said)) => assert!(found.contains(said), "{conf}: {found}"),
            (found, said) => panic!("{conf}: {found:?} instead of {said:?}"),
        }
    }
}

#[test]
fn formats_are_checked_as_far_as_airflow_checks_them() {
    for (format, value, fits) in [
        ("date", "2026-02-28", true),
        ("date", "2026-02-30", false),
        ("date-time", "2026-02-28T00:00:00+00:00", true),
        ("date-time", "2026-02-28T00:00:00", false),
        ("time", "12:00:00Z", true),
        ("time", "noon", false),
        ("email", "@", true),
        ("email", "none", false),
        ("ipv4", "1.2.3.4", true),
        ("ipv4", "1.2.3", false),
        ("uri", "no uri", true),
        ("multiline", "anything", true),
    ] {
        let schema = json!({"type": "string", "format": format});
        assert_eq!(check_one("p", &schema, &json!(value)).is_ok(), fits, "{format}: {value}");
    }
}

#[test]
fn a_place_inside_a_value_is_named() {
    let schema = json!({"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}});
    let problem = check_one("p", &schema, &json!([{"n": 1}, {"n": "x"}])).unwrap_err();
    assert_eq!(problem.to_string(), "invalid input for param `p`: \"x\" is not of type \"integer\" (at `/1/n`)");
}

#[test]
fn secrets_and_long_values_are_not_spread() {
    let schema = json!({"type": "integer"});
    let said = check_one("api_token", &schema, &json!("hunter22")).unwrap_err().to_string();
    assert_eq!(said, "invalid input for param `api_token`: *** is not of type \"integer\"");
    let said = check_one("p", &schema, &json!("x".repeat(10_000))).unwrap_err().to_string();
    assert!(said.len() < 300, "{} bytes", said.len());
}

#[test]
fn what_is_no_schema_says_so() {
    for schema in
        [json!({"type": "nothing"}), json!({"pattern": "("}), json!({"$ref": "https://example.com/s"}), json!(7)]
    {
        let problem = check_one("p", &schema, &json!("x")).unwrap_err();
        assert!(matches!(&problem, Problem::Schema { name, .. } if name == "p"), "{schema}: {problem}");
    }
}

/// A pattern that goes back for ever is given up, and the value refused.
#[test]
fn a_runaway_pattern_ends() {
    let schema = json!({"pattern": "^(?=(a+)+$)(a|aa)+\\1$"});
    assert!(check_one("p", &schema, &json!(format!("{}!", "a".repeat(5_000)))).is_err());
}

#[test]
fn a_tasks_values_go_over_the_dags_and_the_confs_over_both() {
    let map = |json: Value| json.as_object().cloned().unwrap();
    let mut task = Task::new(TaskId::trusted("t"), "x");
    let mut dag = Dag::new(DagId::trusted("d"), vec![task.clone()]);
    dag.param_schemas = map(json!({"n": {"type": "integer"}}));
    assert_eq!(check_run(&dag, &Value::Null), Err(Problem::Missing("n".to_owned())));
    dag.params = map(json!({"n": 1}));
    assert_eq!(check_run(&dag, &Value::Null), Ok(()));
    assert_eq!(check_task(&dag, &task, &Value::Null), Ok(()));
    task.params = map(json!({"n": "x"}));
    assert!(check_task(&dag, &task, &Value::Null).is_err());
    assert_eq!(check_task(&dag, &task, &json!({"n": 2})), Ok(()));
}

#[test]
fn the_defaults_of_a_scheduled_dag_must_fit() {
    let map = |json: Value| json.as_object().cloned().unwrap();
    let mut dag = Dag::new(DagId::trusted("d"), Vec::new());
    dag.param_schemas = map(json!({"n": {"type": "integer"}}));
    assert_eq!(check_declared(&dag), Ok(()), "who triggers it gives a value");
    dag.timetable = Timetable::Once;
    assert_eq!(check_declared(&dag), Err(Problem::Missing("n".to_owned())));
    dag.params = map(json!({"n": "x"}));
    assert!(matches!(check_declared(&dag), Err(Problem::Invalid { .. })));
    dag.params = map(json!({"n": 1}));
    assert_eq!(check_declared(&dag), Ok(()));
    dag.timetable = Timetable::Null;
    dag.param_schemas = map(json!({"n": {"type": "nothing"}}));
    assert!(matches!(check_declared(&dag), Err(Problem::Schema { .. })));
}

proptest! {
    #[test]
    fn no_schema_panics(kind in "[a-z]{0,8}", pattern in "\\PC{0,20}", value in "\\PC{0,20}") {
        let _ = check_one("p", &json!({"type": kind}), &json!(value));
        let _ = check_one("p", &json!({"pattern": pattern}), &json!(value));
    }
}
