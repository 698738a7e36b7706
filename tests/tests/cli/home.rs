//! Reading and pausing what a server has left behind.

use crate::harness::{Place, same_instants};
use crate::server::{ETL, Server, left};
use serde_json::json;

#[test]
fn the_dags_are_listed_under_airflows_keys() {
    let place = left();
    let expected = json!([
        {
            "dag_id": "etl",
            "fileloc": "etl.yaml",
            "owners": ["ann", "bob", "airflow"],
            "is_paused": false,
            "bundle_name": "dags-folder",
            "bundle_version": null,
        },
        {
            "dag_id": "sad",
            "fileloc": "sad.yaml",
            "owners": ["airflow"],
            "is_paused": false,
            "bundle_name": "dags-folder",
            "bundle_version": null,
        },
    ]);
    assert_eq!(place.json(&["dags", "list", "--output", "json"]), expected);
    let plain = "\
exit 0
--- stdout
dag_id  fileloc   owners           is_paused  bundle_name  bundle_version
etl     etl.yaml  ann,bob,airflow  false      dags-folder
sad     sad.yaml  airflow          false      dags-folder
--- stderr
";
    assert_eq!(place.run(&["dags", "list"]), plain);
    let columns = "dag_id,tags,timetable_summary,last_parsed_time";
    let said = place.run(&["dags", "list", "--columns", columns, "-o", "table"]);
    assert!(said.contains("│ etl    ┆ sales,nightly ┆ None              ┆ 0000-00-00 00:00:00Z │"), "{said}");
    let yaml = "exit 0\n--- stdout\n- dag_id: etl\n  is_paused: false\n- dag_id: sad\n  is_paused: false\n--- stderr\n";
    assert_eq!(place.run(&["dags", "list", "--columns", "dag_id,is_paused", "-o", "yaml"]), yaml);
}

#[test]
fn a_home_is_named_by_option_or_variable() {
    let place = left();
    let elsewhere = Place::new();
    let home = format!("file:{}", place.path().join(".updraft").display());
    let listed = elsewhere.json(&["--metastore", &home, "dags", "list", "-o", "json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let mut command = elsewhere.command(&["dags", "list", "-o", "json"]);
    let output = command.env("UPDRAFT_METASTORE", &home).output().unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap(), listed);
}

#[test]
fn names_that_are_close_are_suggested() {
    let place = left();
    let dag = "exit 1\n--- stdout\n--- stderr\nerror: the DAG `elt` does not exist\n  hint: did you mean `etl`?\n";
    for arguments in [
        &["dags", "trigger", "elt"][..],
        &["dags", "show", "elt"],
        &["dags", "pause", "elt"],
        &["dags", "list-runs", "elt"],
        &["tasks", "list", "elt"],
        &["tasks", "states-for-dag-run", "elt", "x"],
        &["xcom", "list", "elt", "x"],
    ] {
        assert_eq!(place.run(arguments), dag, "{arguments:?}");
    }
    let far = "exit 1\n--- stdout\n--- stderr\nerror: the DAG `zzzzzzzzzzz` does not exist\n  \
               hint: `updraft dags list` shows the DAGs there are\n";
    assert_eq!(place.run(&["dags", "show", "zzzzzzzzzzz"]), far);
}

#[test]
fn pausing_is_seen_and_twice_is_no_failure() {
    let place = left();
    let paused = "exit 0\n--- stdout\ndag_id  is_paused\netl     true\n--- stderr\n";
    assert_eq!(place.run(&["dags", "pause", "etl"]), paused);
    assert_eq!(place.run(&["dags", "pause", "etl"]), paused);
    assert_eq!(place.json(&["dags", "list", "-o", "json"])[0]["is_paused"], true);
    let said = place.run(&["dags", "trigger", "etl", "--run-id", "r1"]);
    assert!(said.contains("note: the DAG is paused, so the run stays queued"), "{said}");
    assert_eq!(place.json(&["dags", "unpause", "etl", "-o", "json"]), json!([{ "dag_id": "etl", "is_paused": false }]));
}

#[test]
fn a_dag_shows_its_tasks_and_settings() {
    let place = left();
    let shown = place.json(&["dags", "show", "etl", "--output", "json"]);
    assert_eq!(shown["is_paused"], false);
    assert_eq!(shown["fileloc"], "etl.yaml");
    assert_eq!(shown["tasks"][0]["arguments"], json!({ "bash_command": "echo 1" }));
    let expected = "\
exit 0
--- stdout
task_id    operator_name  trigger_rule  retries  upstream_task_ids
extract    BashOperator   all_success   0
transform  BashOperator   all_success   0        extract
load       EmptyOperator  all_success   0        extract,transform
--- stderr
";
    assert_eq!(place.run(&["tasks", "list", "etl"]), expected);
}

#[test]
fn import_errors_are_listed_and_are_exit_code_1() {
    let place = Place::new();
    place.write("dags/etl.yaml", ETL);
    drop(Server::start(&place));
    assert_eq!(place.run(&["dags", "list-import-errors"]), "exit 0\n--- stdout\n--- stderr\nnothing found\n");
    assert_eq!(place.run(&["dags", "list-import-errors", "-o", "json"]), "exit 0\n--- stdout\n[]\n--- stderr\n");
    place.write("dags/broken.yaml", "a: [\n");
    drop(Server::start(&place));
    let output = place.output(&["dags", "list-import-errors", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stderr.is_empty());
    let errors: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys: Vec<&str> = errors[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["bundle_name", "filepath", "error"]);
    assert_eq!(errors[0]["filepath"], "broken.yaml");
    assert!(errors[0]["error"].as_str().unwrap().starts_with("broken.yaml:"), "{errors:#}");
    let said = place.run(&["dags", "list", "--columns", "dag_id"]);
    let expected = "exit 0\n--- stdout\ndag_id\netl\n--- stderr\n\
                    note: not every file was loaded; `updraft dags list-import-errors` shows why\n";
    assert_eq!(said, expected);
}

#[test]
fn a_dag_whose_file_is_gone_is_listed_only_when_asked_for() {
    let place = left();
    std::fs::remove_file(place.path().join("dags/sad.yaml")).unwrap();
    drop(Server::start(&place));
    let ids = |arguments: &[&str]| place.json(arguments).as_array().unwrap().len();
    assert_eq!(ids(&["dags", "list", "-o", "json"]), 1);
    assert_eq!(ids(&["dags", "list", "--all", "-o", "json"]), 2);
    let said = place.run(&["dags", "show", "sad"]);
    assert!(said.contains("cause: its file `sad.yaml` is gone"), "{said}");
    let said = place.run(&["dags", "trigger", "sad"]);
    assert!(said.starts_with("exit 1\n--- stdout\n--- stderr\nerror: the DAG `sad` cannot be triggered"), "{said}");
}

#[test]
fn a_file_that_is_no_metastore_is_named() {
    let place = Place::new();
    place.write(".updraft/metastore.db", "this is no database, but long enough to be looked at as one");
    let said = place.run(&["dags", "list"]);
    assert!(
        said.starts_with("exit 1\n--- stdout\n--- stderr\nerror: could not use the metastore\n  cause: "),
        "{said}"
    );
    assert!(said.contains("metastore.db"), "{said}");
    assert_eq!(same_instants(&said), said);
}
