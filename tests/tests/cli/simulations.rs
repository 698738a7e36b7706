//! `updraft simulate`: what is asked for names what is there, and the end is the end.

use crate::harness::Place;

const DAYS: &str = "\
days:
  schedule: '@daily'
  start_date: 2026-01-01
  catchup: true
  tasks:
    extract: {operator: BashOperator, bash_command: 'true'}
    load: {operator: BashOperator, bash_command: 'true', dependencies: [extract]}
";

#[test]
fn rates_and_durations_are_of_what_is_simulated() {
    let place = Place::new();
    place.write("dags/days.yaml", DAYS);
    for (arguments, said) in [
        (
            &["--fail", "lod=0.2"][..],
            "error: `--fail lod=0.2`: no DAG and no task `lod` is simulated\n  hint: did you mean `load`?\n",
        ),
        (
            &["--duration", "days.loud=5"],
            "error: `--duration days.loud=5`: no DAG and no task `days.loud` is simulated\n  hint: did you mean `days.load`?\n",
        ),
        (&["--fail", "something_else=1"], "hint: name a DAG, a task, or both as `DAG.TASK`"),
        (&["--fail", "2"], "invalid value '2' for '--fail <[TASK=]RATE>': `2` is not a rate from 0 to 1"),
        (
            &["--fail", "load=-0.1"],
            "invalid value 'load=-0.1' for '--fail <[TASK=]RATE>': `-0.1` is not a rate from 0 to 1",
        ),
        (&["--fail", "=0.5"], "no DAG and no task is named before `=`"),
        (&["--duration", "load=soon"], "`soon` is not a number of seconds, 0 or more"),
        (&["--from", "2026-03-02", "--to", "2026-03-01"], "before it begins"),
        (&["--from", "2026-03-02", "--to", "2026-03-02"], "its end is not simulated any more"),
    ] {
        let output = place.output(&[&["simulate", "dags"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {stderr}");
        assert!(stderr.contains(said) && output.stdout.is_empty(), "{arguments:?}: {stderr}");
    }
}

#[test]
fn from_one_first_of_a_month_to_the_next_is_the_month() {
    let place = Place::new();
    place.write("dags/days.yaml", DAYS);
    let given = ["--from", "2026-03-01", "--to", "2026-04-01", "--fail", "days.load=1", "--duration", "days=30"];
    let report = place.json(&[&["simulate", "dags", "-o", "json"][..], &given].concat());
    let days = &report["dags"][0];
    assert_eq!((&days["runs"], &days["failed"], &days["unfinished"]), (&31.into(), &31.into(), &0.into()), "{days}");
    assert_eq!(days["tasks"][1], serde_json::json!({"task_id": "load", "tries": 31, "failures": 31, "seconds": 930.0}));
}
