//! The DAG folder while the server runs, and the command line beside it.

use crate::harness::Place;
use crate::server::{Server, eventually, expect_run, run_state, trigger};

fn dag(id: &str, command: &str) -> String {
    format!("{id}:\n  schedule: null\n  tasks:\n    t: {{operator: BashOperator, bash_command: '{command}'}}\n")
}

fn is_listed(place: &Place, dag_id: &str) -> bool {
    let listed = place.json(&["dags", "list", "--output", "json"]);
    listed.as_array().unwrap().iter().any(|d| d["dag_id"] == dag_id)
}

fn import_errors(place: &Place) -> Vec<String> {
    // Exit status 1 says that there are some, as in Airflow.
    let output = place.output(&["dags", "list-import-errors", "--output", "json"]);
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |e: &serde_json::Value| format!("{} {}", e["filepath"].as_str().unwrap(), e["error"].as_str().unwrap());
    listed.as_array().unwrap().iter().map(text).collect()
}

#[test]
fn files_take_effect_while_the_server_runs() {
    let place = Place::new();
    place.write("dags/one.yaml", &dag("one", "echo first"));
    let _server = Server::start(&place, &[]);
    place.write("dags/team/two.yaml", &dag("two", "echo 2"));
    eventually("a new file in a new folder is read", || is_listed(&place, "two"));

    let output = |run: &str| place.output(&["tasks", "logs", "one", run, "t"]).stdout;
    let run = trigger(&place, "one");
    expect_run(&place, "one", &run, "success");
    assert!(String::from_utf8_lossy(&output(&run)).contains("first"));
    place.write("dags/one.yaml", &dag("one", "echo second"));
    eventually("the changed file runs", || {
        let run = trigger(&place, "one");
        expect_run(&place, "one", &run, "success");
        String::from_utf8_lossy(&output(&run)).contains("second")
    });

    // A bad file is an import error, its DAG's last good version runs on, and it hides nothing.
    place.write("dags/one.yaml", "one:\n  schedule: null\n  tasks:\n    t: {operator: BashOperator, bash_comand: x}\n");
    eventually("the bad file is an import error", || import_errors(&place).iter().any(|e| e.starts_with("one.yaml")));
    assert!(import_errors(&place)[0].contains("one.yaml:4:"), "{:?}", import_errors(&place));
    for dag_id in ["one", "two"] {
        let run = trigger(&place, dag_id);
        expect_run(&place, dag_id, &run, "success");
    }
    place.write("dags/one.yaml", &dag("one", "echo third"));
    eventually("the mended file is no import error", || import_errors(&place).is_empty());

    std::fs::remove_file(place.path().join("dags/team/two.yaml")).unwrap();
    eventually("the removed file's DAG is refused", || {
        let output = place.output(&["dags", "trigger", "two"]);
        output.status.code() == Some(1) && String::from_utf8_lossy(&output.stderr).contains("two.yaml")
    });
}

#[test]
fn a_callable_that_changes_makes_a_new_version() {
    let place = Place::new();
    place.write(
        "dags/py.yaml",
        "py:\n  schedule: null\n  tasks:\n    t: {operator: PythonOperator, python_callable_name: f, python_callable_file: f.py}\n",
    );
    place.write("dags/f.py", "def f():\n    return 'old'\n");
    let _server = Server::start(&place, &[]);
    let result = || {
        let run = trigger(&place, "py");
        expect_run(&place, "py", &run, "success");
        place.json(&["xcom", "get", "py", &run, "t", "--output", "json"])
    };
    assert_eq!(result(), "old");
    place.write("dags/f.py", "def f():\n    return 'new'\n");
    eventually("the new callable runs", || result() == "new");
}

#[test]
fn a_paused_dag_holds_its_runs_until_it_is_unpaused() {
    let place = Place::new();
    place.write("dags/d.yaml", &dag("d", "echo"));
    let _server = Server::start(&place, &[]);
    assert!(place.output(&["dags", "pause", "d"]).status.success());
    let run = trigger(&place, "d");
    // Something else runs to its end meanwhile, so the server has had its turn.
    place.write("dags/other.yaml", &dag("other", "echo"));
    eventually("the other DAG is there", || is_listed(&place, "other"));
    let other = trigger(&place, "other");
    expect_run(&place, "other", &other, "success");
    assert_eq!(run_state(&place, "d", &run), "queued");
    assert!(place.output(&["dags", "unpause", "d"]).status.success());
    expect_run(&place, "d", &run, "success");
}
