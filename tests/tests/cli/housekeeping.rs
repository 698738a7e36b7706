//! Configuration, history, completion, and what a try or a value looks like that is not there or not plain.

use crate::harness::Place;
use crate::server::{left, served};
use serde_json::{Value, json};

/// A cleaning, with JSON for an answer.
fn clean(more: &[&'static str]) -> Vec<&'static str> {
    [&["db", "clean", "-o", "json", "--clean-before-timestamp"], more].concat()
}

#[test]
fn history_is_removed_only_before_an_instant_and_with_assent() {
    let (place, server) = served();
    for run_id in ["r1", "r2", "r3"] {
        assert!(place.output(&["dags", "trigger", "etl", "--run-id", run_id, "--wait"]).status.success());
    }
    drop(server);
    let runs = || -> Vec<Value> {
        let runs = place.json(&["dags", "list-runs", "etl", "-o", "json"]);
        runs.as_array().unwrap().iter().map(|run| run["run_id"].clone()).collect()
    };
    assert_eq!(place.json(&clean(&["2026-01-01", "--yes"])), json!([]), "nothing ended before that");
    let found = place.json(&clean(&["2126-01-01", "--dry-run"]));
    assert_eq!((&found[0]["dag_id"], &found[0]["runs"], &found[0]["kept"]), (&json!("etl"), &json!(2), &json!(1)));
    assert!(place.run(&clean(&["2126-01-01"])).contains("error: nothing was done"));
    assert_eq!(place.json(&clean(&["2126-01-01", "--yes", "--dag-ids", "sad"])), json!([]));
    assert_eq!(place.json(&clean(&["2126-01-01", "--yes", "--exclude-dag-ids", "etl"])), json!([]));
    assert_eq!(runs().len(), 3);
    let said = place.run(&["db", "clean", "--clean-before-timestamp", "2126-01-01", "--yes"]);
    assert!(
        said.starts_with("exit 0") && said.contains("removed 2 runs and ") && said.ends_with("of the log\n"),
        "{said}"
    );
    assert_eq!(runs(), ["r3"]);
    let of_tables = |tables: &'static str| {
        place.run(&["db", "clean", "--clean-before-timestamp", "2126-01-01", "--dry-run", "--tables", tables])
    };
    assert!(of_tables("backfill,asset_event").contains("0 runs would be removed"));
    assert!(of_tables("log").contains("of the log would be removed"));
    assert!(of_tables("dag").contains("possible values: dag_run, backfill, asset_event, log"));
    let log_of_one = ["db", "clean", "--clean-before-timestamp", "2126-01-01", "--tables", "log", "--dag-ids", "etl"];
    assert!(place.run(&log_of_one).contains("`log` cannot be narrowed to some DAGs"));
    let gone = place.run(&["dags", "state", "etl", "r1"]);
    assert!(gone.starts_with("exit 0\n--- stdout\nNone\n"), "{gone}");
    assert!(place.output(&["dags", "trigger", "etl", "--run-id", "r1"]).status.success(), "its name is free again");
    assert!(place.run(&["db", "clean", "--clean-before-timestamp", "soon"]).contains("this is no date"));
    assert!(place.run(&clean(&["2126-01-01", "--yes", "--dag-ids", "elt"])).contains("did you mean `etl`?"));
}

#[test]
fn the_metastore_is_checked() {
    let place = left();
    let fine = "exit 0\n--- stdout\n--- stderr\nthe metastore `file:./.updraft` can be read\n";
    assert_eq!(place.run(&["db", "check"]), fine);
    assert!(place.run(&["db", "migrate"]).starts_with("exit 0\n--- stdout\n--- stderr\nthere is nothing to migrate"));
    let elsewhere = Place::new();
    let missing = elsewhere.run(&["db", "check", "--retry", "1", "--retry-delay", "0"]);
    assert!(missing.starts_with("exit 1\n--- stdout\n--- stderr\nerror: there is no metastore in"), "{missing}");
}

#[test]
fn what_is_configured_is_shown_with_where_it_comes_from() {
    let place = Place::new();
    let of = |section: &str, option: &str, rows: &Value| -> (Value, Value) {
        let row = rows.as_array().unwrap().iter().find(|row| row["section"] == section && row["option"] == option);
        let row = row.unwrap_or_else(|| panic!("{section}.{option} is not listed"));
        (row["value"].clone(), row["source"].clone())
    };
    let rows = place.json(&["config", "list", "-o", "json"]);
    assert_eq!(of("core", "parallelism", &rows).0, "32");
    assert_eq!(of("database", "metastore", &rows).0, "file:./.updraft");
    assert_eq!(of("core", "max_task_retry_delay", &rows), (json!("86400"), json!("fixed")));
    let mut command = place.command(&["config", "list", "--changed", "-o", "json", "--metastore", "file:here"]);
    let output = command.env("UPDRAFT_LOG", "error").env("AIRFLOW__CORE__X", "1").output().unwrap();
    let rows: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 2, "{rows:#}");
    assert_eq!(of("database", "metastore", &rows), (json!("file:here"), json!("option `--metastore`")));
    assert_eq!(of("logging", "logging_level", &rows), (json!("error"), json!("environment `UPDRAFT_LOG`")));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "note: Updraft does not read AIRFLOW__CORE__X\n");
    assert_eq!(place.run(&["config", "get-value", "core", "parallelism"]), "exit 0\n--- stdout\n32\n--- stderr\n");
    for (arguments, said) in [
        (&["config", "get-value", "core", "paralelism"][..], "did you mean `parallelism`?"),
        (&["config", "get-value", "cor", "parallelism"], "did you mean `core`?"),
        (&["config", "list", "--section", "cor"], "did you mean `core`?"),
    ] {
        let output = place.run(arguments);
        assert!(
            output.starts_with("exit 1\n--- stdout\n--- stderr\n") && output.contains(said),
            "{arguments:?}: {output}"
        );
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "looking leaves nothing behind");
}

#[test]
fn all_commands_are_on_one_page_and_in_the_shells() {
    let place = Place::new();
    let sheet = place.json(&["cheat-sheet", "-o", "json"]);
    let commands: Vec<&str> = sheet.as_array().unwrap().iter().map(|row| row["command"].as_str().unwrap()).collect();
    for command in ["updraft dags test DAG_ID [LOGICAL_DATE]", "updraft variables set KEY VALUE", "updraft version"] {
        assert!(commands.contains(&command), "`{command}` is missing among {commands:#?}");
    }
    assert!(sheet.as_array().unwrap().iter().all(|row| row["about"] != ""), "every command says what it does");
    for shell in ["bash", "zsh", "fish"] {
        let output = place.output(&["completion", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("next-execution"), "{shell}");
    }
    let checked = place.output(&["completion", "bash"]);
    place.write("c.bash", &String::from_utf8(checked.stdout).unwrap());
    let bash = std::process::Command::new("bash").arg("-n").arg(place.path().join("c.bash")).output().unwrap();
    assert!(bash.status.success(), "{}", String::from_utf8_lossy(&bash.stderr));
    assert_eq!(place.json(&["info", "-o", "json"])["version"], "0.1.0");
}

#[test]
fn a_try_that_has_not_been_is_a_failure() {
    let (place, server) = served();
    place.run(&["dags", "trigger", "etl", "--run-id", "r1", "--wait"]);
    place.run(&["dags", "pause", "sad"]);
    place.run(&["dags", "trigger", "sad", "--run-id", "r1"]);
    drop(server);
    for (arguments, cause) in [
        (["etl", "r1", "extract", "--try", "2"], "it has been tried once; its state is `success`"),
        (["sad", "r1", "weep", "--try", "1"], "it has not been tried; its state is `none`"),
    ] {
        let said = place.run(&[&["tasks", "logs"], &arguments[..]].concat());
        let task = arguments[2];
        let number = arguments[4];
        let expected =
            format!("exit 1\n--- stdout\n--- stderr\nerror: the task `{task}` has no try {number}\n  cause: {cause}\n");
        assert_eq!(said, expected);
    }
    assert!(place.output(&["tasks", "logs", "etl", "r1", "extract", "--try", "1"]).status.success());
}
