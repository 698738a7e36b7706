//! Airflow's verbs for DAGs, runs and task instances.

use crate::harness::Place;
use crate::server::{Server, left, served};
use serde_json::{Value, json};

/// A place where `etl` has run as `r1` (of 2026-01-05) and `sad` has failed as `r1`; nobody serves it any more.
fn run_once() -> Place {
    let (place, server) = served();
    let arguments = ["dags", "trigger", "etl", "--run-id", "r1", "-l", "2026-01-05", "-c", "{\"a\": 1}", "--wait"];
    assert!(place.output(&arguments).status.success());
    assert_eq!(place.output(&["dags", "trigger", "sad", "--run-id", "r1", "--wait"]).status.code(), Some(1));
    drop(server);
    place
}

#[test]
fn states_are_printed_as_airflow_prints_them() {
    let place = run_once();
    let out = |text: &str| format!("exit 0\n--- stdout\n{text}\n--- stderr\n");
    for (arguments, expected) in [
        (&["dags", "state", "etl", "r1"][..], out("success, {\"a\":1}")),
        (&["dags", "state", "etl", "2026-01-05"], out("success, {\"a\":1}")),
        (&["dags", "state", "sad", "r1"], out("failed")),
        (
            &["dags", "state", "etl", "r2"],
            "exit 0\n--- stdout\nNone\n--- stderr\nnote: the run `r2` does not exist\n  hint: did you mean `r1`?\n".into(),
        ),
        (&["tasks", "state", "etl", "extract", "r1"], out("success")),
        (&["tasks", "state", "sad", "weep", "r1"], out("failed")),
        (
            &["tasks", "state", "etl", "xtract", "r1"],
            "exit 1\n--- stdout\n--- stderr\nerror: the task `xtract` does not exist\n  hint: did you mean `extract`?\n".into(),
        ),
    ] {
        assert_eq!(place.run(arguments), expected, "{arguments:?}");
    }
    place.run(&["dags", "pause", "etl"]);
    place.run(&["dags", "trigger", "etl", "--run-id", "r2"]);
    assert_eq!(place.run(&["tasks", "state", "etl", "load", "r2"]), out("None"));
    let expected = json!({"dag_id": "etl", "run_id": "r2", "state": "queued", "conf": null});
    assert_eq!(place.json(&["dags", "state", "etl", "r2", "-o", "json"]), expected);
    assert_eq!(place.json(&["tasks", "state", "etl", "load", "r2", "-o", "json"])["state"], Value::Null);
}

#[test]
fn a_logical_date_is_taken_once() {
    let place = run_once();
    let said = place.run(&["dags", "trigger", "etl", "-l", "2026-01-05"]);
    let expected = "exit 1\n--- stdout\n--- stderr\nerror: the DAG `etl` already has a run of the logical date \
                    0000-00-00T00:00:00Z: `r1`; choose another date, or clear that run\n";
    assert_eq!(said, expected);
    assert!(place.output(&["dags", "trigger", "etl", "-l", "2026-01-06"]).status.success());
}

#[test]
fn the_next_runs_follow_from_the_schedule() {
    let place = Place::new();
    let dag = |id: &str, schedule: &str| {
        format!(
            "{id}:\n  schedule: {schedule}\n  start_date: 2126-01-01\n  tasks:\n    a: {{operator: EmptyOperator}}\n"
        )
    };
    place.write("dags/daily.yaml", &dag("daily", "'@daily'"));
    place.write("dags/never.yaml", &dag("never", "null"));
    place.write("dags/once.yaml", &dag("once", "'@once'"));
    drop(Server::start(&place));
    let lines = |arguments: &[&str]| {
        let output = place.output(arguments);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(lines(&["dags", "next-execution", "daily"]), "2126-01-01T00:00:00.000000+00:00\n");
    let two = "2126-01-01T00:00:00.000000+00:00\n2126-01-02T00:00:00.000000+00:00\n";
    assert_eq!(lines(&["dags", "next-execution", "daily", "-n", "2", "--field", "run_after"]), two);
    let table = place.json(&["dags", "next-execution", "daily", "--table", "-o", "json"]);
    let keys: Vec<&str> = table[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["logical_date", "data_interval.start", "data_interval.end", "run_after"]);
    let none = "exit 0\n--- stdout\nNone\n--- stderr\nnote: no more runs than these follow from the schedule `None`\n";
    assert_eq!(place.run(&["dags", "next-execution", "never"]), none);
    assert_eq!(lines(&["dags", "next-execution", "once", "-n", "3"]).lines().count(), 1);
    place.run(&["dags", "pause", "daily"]);
    let said = place.run(&["dags", "next-execution", "daily"]);
    assert!(said.contains("note: the DAG is paused"), "{said}");
}

#[test]
fn a_dag_and_the_files_are_told_of() {
    let place = left();
    let details = &place.json(&["dags", "details", "etl", "-o", "json"])[0];
    for (key, value) in [
        ("dag_id", json!("etl")),
        ("is_paused", json!(false)),
        ("fileloc", json!("etl.yaml")),
        ("max_active_runs", json!(16)),
        ("max_active_tasks", json!(16)),
        ("task_count", json!(3)),
        ("params", json!({"region": "eu"})),
        ("next_dagrun_run_after", Value::Null),
    ] {
        assert_eq!(details[key], value, "{key}");
    }
    let report = "exit 0\n--- stdout\nfile      dag_num  task_num  dags  has_import_errors\n\
                  etl.yaml  1        3         etl   false\nsad.yaml  1        1         sad   false\n--- stderr\n";
    assert_eq!(place.run(&["dags", "report"]), report);
}

#[test]
fn runs_are_listed_between_dates() {
    let place = run_once();
    let number = |more: &[&str]| {
        let arguments = [&["dags", "list-runs", "etl", "-o", "json"], more].concat();
        place.json(&arguments).as_array().unwrap().len()
    };
    assert_eq!(number(&["--start-date", "2026-01-05", "--end-date", "2026-01-05"]), 1);
    assert_eq!(number(&["--start-date", "2026-01-06"]), 0);
    assert_eq!(number(&["--end-date", "2026-01-04"]), 0);
    assert_eq!(number(&["--no-backfill", "--state", "success"]), 1);
    assert_eq!(number(&["--state", "failed"]), 0);
}

#[test]
fn nothing_is_cleared_without_a_word_of_assent() {
    let place = run_once();
    let refused = "exit 1\n--- stdout\ndag_id  run_id  task_id  state\netl     r1      load     success\n--- stderr\n\
                   error: nothing was done\n  cause: standard input is no terminal, so nobody could be asked\n  \
                   hint: say `--yes` to do it without a question\n";
    assert_eq!(place.run(&["tasks", "clear", "etl", "--task-regex", "^load$"]), refused);
    let refused = place.run(&["dags", "clear", "etl", "--run-id", "r1"]);
    assert!(refused.contains("nothing was done"), "{refused}");
    assert_eq!(place.json(&["dags", "state", "etl", "r1", "-o", "json"])["state"], "success");
}

#[test]
fn what_is_cleared_runs_again() {
    let place = run_once();
    let ids = |arguments: &[&str]| -> Vec<String> {
        let rows = place.json(arguments);
        rows.as_array().unwrap().iter().map(|row| row["task_id"].as_str().unwrap().to_owned()).collect()
    };
    let nothing: [&str; 0] = [];
    assert_eq!(ids(&["tasks", "clear", "etl", "--only-failed", "--yes", "-o", "json"]), nothing);
    assert_eq!(ids(&["tasks", "clear", "etl", "--only-running", "--yes", "-o", "json"]), nothing);
    assert_eq!(ids(&["tasks", "clear", "etl", "--start-date", "2026-01-06", "--yes", "-o", "json"]), nothing);
    assert_eq!(place.json(&["dags", "state", "etl", "r1", "-o", "json"])["state"], "success");
    let all = ["extract", "transform", "load"];
    assert_eq!(ids(&["tasks", "clear", "etl", "-t", "transform", "-d", "-y", "-o", "json"]), all[1..]);
    assert_eq!(place.json(&["dags", "state", "etl", "r1", "-o", "json"])["state"], "queued");
    {
        let _server = Server::start(&place);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while place.json(&["dags", "state", "etl", "r1", "-o", "json"])["state"] != "success" {
            assert!(std::time::Instant::now() < deadline, "the cleared run does not end");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    let tries = |task: &str| place.json(&["tasks", "state", "etl", task, "r1", "-o", "json"])["try_number"].clone();
    assert_eq!((tries("extract"), tries("transform")), (json!(1), json!(2)));
    assert_eq!(ids(&["tasks", "clear", "etl", "-t", "transform", "-u", "-y", "-o", "json"]), all[..2]);
    assert_eq!(ids(&["tasks", "clear", "^s", "--dag-regex", "--only-failed", "-y", "-o", "json"]), ["weep"]);
    for (arguments, said) in [
        (&["etl", "-t", "nope", "-y"][..], "error: no task matches `nope`"),
        (&["^x", "-R", "-y"], "error: no DAG matches `^x`"),
        (&["elt", "-y"], "hint: did you mean `etl`?"),
    ] {
        let output = place.run(&[&["tasks", "clear"], arguments].concat());
        assert!(output.starts_with("exit 1") && output.contains(said), "{arguments:?}: {output}");
    }
    let wrong = place.output(&["tasks", "clear", "etl", "-t", "("]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("this is no regular expression"));
}

#[test]
fn many_dags_are_paused_by_a_pattern() {
    let place = left();
    let both = json!([{"dag_id": "etl", "is_paused": true}, {"dag_id": "sad", "is_paused": true}]);
    let refused = place.run(&["dags", "pause", "--treat-dag-id-as-regex", "."]);
    assert!(
        refused.starts_with("exit 1\n--- stdout\n--- stderr\n  etl\n  sad\nerror: nothing was done\n"),
        "{refused}"
    );
    assert_eq!(place.json(&["dags", "pause", "--treat-dag-id-as-regex", ".", "-y", "-o", "json"]), both);
    let again = "exit 0\n--- stdout\n[]\n--- stderr\n";
    assert_eq!(place.run(&["dags", "pause", "--treat-dag-id-as-regex", ".", "-y", "-o", "json"]), again);
    assert_eq!(
        place.run(&["dags", "unpause", "--treat-dag-id-as-regex", "^e", "-y"]),
        "exit 0\n--- stdout\ndag_id  is_paused\netl     false\n--- stderr\n  etl\n"
    );
    let wrong = place.run(&["dags", "pause", "a b"]);
    assert!(wrong.starts_with("exit 1\n--- stdout\n--- stderr\nerror: `a b` is no DAG id\n"), "{wrong}");
}

#[test]
fn pools_are_made_shown_and_removed() {
    let place = left();
    let made = place.json(&["pools", "set", "small", "2", "a few", "-o", "json"]);
    assert_eq!((&made[0]["pool"], &made[0]["slots"], &made[0]["open_slots"]), (&json!("small"), &json!(2), &json!(2)));
    assert_eq!(place.json(&["pools", "set", "small", "-1", "all", "--include-deferred", "-o", "json"])[0]["slots"], -1);
    let listed = place.json(&["pools", "list", "-o", "json"]);
    let names: Vec<&Value> = listed.as_array().unwrap().iter().map(|pool| &pool["pool"]).collect();
    assert_eq!(names, ["default_pool", "small"]);
    assert_eq!(place.json(&["pools", "get", "small", "-o", "json"])[0]["include_deferred"], true);
    assert!(place.output(&["pools", "export", "pools.json"]).status.success());
    assert!(place.run(&["pools", "delete", "small"]).contains("the pool `small` was removed"));
    assert!(place.run(&["pools", "get", "smal"]).starts_with("exit 1\n--- stdout\n--- stderr\nerror: the pool `smal`"));
    assert!(place.run(&["pools", "import", "pools.json"]).contains("made or changed 1 pool\n"));
    assert_eq!(place.json(&["pools", "get", "small", "-o", "json"])[0]["slots"], -1);
    place.write("bad.json", r#"{"x": {"slots": "many", "description": ""}}"#);
    assert!(place.run(&["pools", "import", "bad.json"]).contains("the pool `x` needs `slots`"));
    assert!(place.run(&["pools", "delete", "default_pool"]).contains("cannot be deleted"));
}

#[test]
fn a_dag_is_removed_with_its_runs_and_comes_back_with_its_file() {
    let place = run_once();
    assert!(place.run(&["dags", "delete", "etl"]).contains("error: nothing was done"));
    let said = place.run(&["dags", "delete", "etl", "--yes"]);
    assert!(said.contains("removed the DAG `etl` and 1 run\nnote: its file `etl.yaml` declared it"), "{said}");
    let ids = |place: &Place| -> Vec<Value> {
        let dags = place.json(&["dags", "list", "-o", "json"]);
        dags.as_array().unwrap().iter().map(|dag| dag["dag_id"].clone()).collect()
    };
    assert_eq!(ids(&place), ["sad"]);
    assert!(place.run(&["dags", "delete", "etl", "--yes"]).contains("the DAG `etl` does not exist"));
    drop(Server::start(&place));
    assert_eq!(ids(&place), ["etl", "sad"]);
    assert_eq!(place.json(&["dags", "list-runs", "etl", "-o", "json"]), json!([]));
}

#[test]
fn why_a_task_is_not_running_is_told() {
    let place = run_once();
    place.run(&["dags", "pause", "etl"]);
    place.run(&["dags", "trigger", "etl", "--run-id", "r2"]);
    let told = place.run(&["tasks", "failed-deps", "etl", "load", "r2"]);
    assert!(told.starts_with("exit 0\n--- stdout\nTask instance dependencies not met:\n"), "{told}");
    assert!(
        told.contains("Dag Not Paused: the DAG is paused") && told.contains("Trigger Rule: trigger rule `all_success`"),
        "{told}"
    );
    let ended = place.json(&["tasks", "failed-deps", "etl", "load", "r1", "-o", "json"]);
    assert_eq!(ended[0]["dep_name"], "Task Instance State");
    assert!(place.run(&["tasks", "failed-deps", "etl", "laod", "r2"]).contains("did you mean `load`?"));
}
