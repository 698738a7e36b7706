//! Triggering, waiting, and what is then to be read.

use crate::harness::Place;
use crate::server::{ETL, Server, left, served};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};

/// The keys of a row, in order.
fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Whether a text is an instant with microseconds and offset.
fn is_exact(value: &Value) -> bool {
    crate::harness::same_instants(value.as_str().unwrap_or_default()) == "0000-00-00T00:00:00.000000+00:00"
}

/// Triggers a run and waits for it.
fn done(place: &Place, dag_id: &str, run_id: &str) {
    let output =
        place.output(&["dags", "trigger", dag_id, "--run-id", run_id, "--wait", "--conf", "{\"k\": [1, \"é\"]}"]);
    assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_triggered_run_is_queued_without_a_server() {
    let place = left();
    let run =
        &place.json(&["dags", "trigger", "etl", "--logical-date", "2026-03-01", "--conf", "{\"a\": 1}", "-o", "json"])
            [0];
    let expected = [
        "conf",
        "dag_id",
        "dag_run_id",
        "data_interval_start",
        "data_interval_end",
        "end_date",
        "logical_date",
        "run_after",
        "run_type",
        "start_date",
        "state",
    ];
    assert_eq!(keys(run), expected);
    assert_eq!(run["conf"], json!({ "a": 1 }));
    assert_eq!(run["logical_date"], "2026-03-01T00:00:00.000000+00:00");
    assert_eq!((&run["run_type"], &run["state"], &run["end_date"]), (&json!("manual"), &json!("queued"), &Value::Null));
    assert!(run["dag_run_id"].as_str().unwrap().starts_with("manual__"));
    assert!(is_exact(&run["run_after"]));
    let said = place.run(&["dags", "trigger", "etl", "--run-id", "r2", "--output", "table"]);
    assert!(
        said.contains("│ property_name       ┆ property_value") && said.contains("│ dag_run_id          ┆ r2 "),
        "{said}"
    );
}

#[test]
fn a_backfill_begins_where_it_is_made() {
    let place = Place::new();
    let daily = ETL.replace("schedule: null", "schedule: '@daily'\n  catchup: false");
    place.write("dags/etl.yaml", &daily);
    drop(Server::start(&place));
    let dates = ["--from-date", "2026-01-05", "--to-date", "2026-01-20", "--max-active-runs", "2"];
    let said = place.run(&[&["backfill", "create", "--dag-id", "etl"], &dates[..]].concat());
    // Nobody serves the home: what is there was made by the command itself.
    let runs = place.json(&["dags", "list-runs", "etl", "--output", "json"]);
    let ids: Vec<&str> = runs.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    let made = ids.iter().filter(|id| id.starts_with("backfill__2026-01-0")).count();
    assert_eq!(made, 2, "{ids:?}: {said}");
}

#[test]
fn a_run_id_is_taken_once() {
    let place = left();
    assert!(place.output(&["dags", "trigger", "etl", "--run-id", "r1"]).status.success());
    let said = place.run(&["dags", "trigger", "etl", "--run-id", "r1"]);
    let expected =
        "exit 1\n--- stdout\n--- stderr\nerror: the DAG `etl` already has a run `r1`; choose another run id\n";
    assert_eq!(said, expected);
}

#[test]
fn waiting_tells_each_change_and_ends_with_the_run() {
    let (place, _server) = served();
    let output = place.output(&["dags", "trigger", "etl", "--run-id", "r1", "--wait", "-o", "json"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains('\r') && !said.contains('\x1b'), "no bar in a pipe: {said}");
    for line in ["extract: success", "transform: success", "load: success", "r1: success"] {
        assert!(said.lines().any(|l| l == line), "{line} is missing in:\n{said}");
    }
    assert_eq!(said.lines().last(), Some("r1: success"));
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(run[0]["state"], "success");
    assert!(is_exact(&run[0]["end_date"]));
}

#[test]
fn a_run_that_fails_is_exit_code_1_when_waited_for() {
    let (place, _server) = served();
    let said = place.run(&["dags", "trigger", "sad", "--run-id", "r1", "--wait"]);
    assert!(said.starts_with("exit 1\n--- stdout\nconf  dag_id"), "{said}");
    let end = "weep: failed\nr1: failed\nerror: the run `r1` failed\n  hint: `updraft tasks states-for-dag-run sad r1` shows which \
               tasks did\n";
    assert!(said.ends_with(end), "{said}");
}

/// Ctrl-C ends the waiting, not the run.
#[test]
fn an_interrupted_wait_leaves_the_run() {
    let place = left();
    let mut child = place
        .command(&["dags", "trigger", "etl", "--run-id", "r1", "--wait"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Once it has said how the run stands it listens for the signal.
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert_eq!(said, "r1: queued\n");
    let interrupted = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupted.success());
    let output = child.wait_with_output().unwrap();
    stderr.read_to_string(&mut said).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    assert_eq!(said, "r1: queued\nno longer waiting; the run `r1` goes on\n");
    assert_eq!(place.json(&["dags", "list-runs", "etl", "-o", "json"])[0]["state"], "queued");
}

#[test]
fn runs_are_listed_latest_first_and_cut_with_a_note() {
    let (place, server) = served();
    for run_id in ["r1", "r2", "r3"] {
        done(&place, "etl", run_id);
    }
    drop(server);
    let listed = place.json(&["dags", "list-runs", "etl", "-o", "json"]);
    assert_eq!(keys(&listed[0]), ["dag_id", "run_id", "state", "run_after", "logical_date", "start_date", "end_date"]);
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["r3", "r2", "r1"]);
    for key in ["run_after", "logical_date", "start_date", "end_date"] {
        assert!(is_exact(&listed[0][key]), "{key}: {}", listed[0][key]);
    }
    let said = place.run(&["dags", "list-runs", "etl", "--limit", "2"]);
    let expected = "\
exit 0
--- stdout
dag_id  run_id  state    run_after             logical_date          start_date            end_date
etl     r3      success  0000-00-00 00:00:00Z  0000-00-00 00:00:00Z  0000-00-00 00:00:00Z  0000-00-00 00:00:00Z
etl     r2      success  0000-00-00 00:00:00Z  0000-00-00 00:00:00Z  0000-00-00 00:00:00Z  0000-00-00 00:00:00Z
--- stderr
note: these are the latest 2; `--limit N` shows more
";
    assert_eq!(said, expected);
    assert_eq!(place.json(&["dags", "list-runs", "etl", "--state", "failed", "-o", "json"]), json!([]));
    let some = place.json(&["dags", "list-runs", "etl", "--state", "success", "--limit", "1", "-o", "json"]);
    assert_eq!(some.as_array().unwrap().len(), 1);
}

#[test]
fn task_instances_have_their_states_and_dates() {
    let (place, server) = served();
    done(&place, "etl", "r1");
    drop(server);
    let states = place.json(&["tasks", "states-for-dag-run", "etl", "r1", "-o", "json"]);
    assert_eq!(keys(&states[0]), ["dag_id", "logical_date", "task_id", "state", "start_date", "end_date"]);
    let of = |at: usize, key: &str| states[at][key].as_str().unwrap().to_owned();
    assert_eq!((of(0, "task_id"), of(0, "state")), ("extract".to_owned(), "success".to_owned()));
    assert!(is_exact(&states[0]["start_date"]) && is_exact(&states[0]["end_date"]));
    // By its logical date, as Airflow allows.
    let date = of(0, "logical_date");
    assert_eq!(place.json(&["tasks", "states-for-dag-run", "etl", &date, "-o", "json"]), states);
    let near = "exit 1\n--- stdout\n--- stderr\nerror: the run `r2` does not exist\n  hint: did you mean `r1`?\n";
    assert_eq!(place.run(&["tasks", "states-for-dag-run", "etl", "r2"]), near);
}

#[test]
fn a_task_without_a_state_is_null_for_programs_and_none_for_people() {
    let place = left();
    assert!(place.output(&["dags", "trigger", "etl", "--run-id", "r1"]).status.success());
    let states = place.json(&["tasks", "states-for-dag-run", "etl", "r1", "-o", "json"]);
    assert_eq!((&states[2]["state"], &states[2]["start_date"]), (&Value::Null, &json!("")));
    assert!(place.run(&["tasks", "states-for-dag-run", "etl", "r1"]).contains("load       none"));
    let said = place.run(&["xcom", "get", "etl", "r1", "extract"]);
    assert!(said.contains("cause: the task has not ended"), "{said}");
}

#[test]
fn logs_are_on_standard_output_alone() {
    let (place, server) = served();
    done(&place, "etl", "r1");
    done(&place, "sad", "s1");
    drop(server);
    let expected = "exit 0\n--- stdout\n+ echo 1\nhello\n--- stderr\n*** try 1\n";
    assert_eq!(place.run(&["tasks", "logs", "etl", "r1", "extract"]), expected);
    assert_eq!(place.run(&["tasks", "logs", "etl", "r1", "extract", "--try", "1", "--follow"]), expected);
    let logs = place.json(&["tasks", "logs", "sad", "s1", "weep", "-o", "json"]);
    assert_eq!(logs.as_array().unwrap().len(), 1);
    let log = &logs[0];
    assert_eq!(
        (&log["try_number"], &log["state"], &log["message"]),
        (&json!(1), &json!("failed"), &json!("exit code 1"))
    );
    assert_eq!(log["text"], "+ exit 1\nhello\n");
    let none = "exit 1\n--- stdout\n--- stderr\nerror: the task `extract` has no try 7\n  \
         cause: it has been tried once; its state is `success`\n";
    assert_eq!(place.run(&["tasks", "logs", "etl", "r1", "extract", "--try", "7"]), none);
    let near =
        "exit 1\n--- stdout\n--- stderr\nerror: the task `extrakt` does not exist\n  hint: did you mean `extract`?\n";
    assert_eq!(place.run(&["tasks", "logs", "etl", "r1", "extrakt"]), near);
}

#[test]
fn xcoms_are_read_as_they_were_pushed() {
    let (place, server) = served();
    done(&place, "etl", "r1");
    done(&place, "sad", "s1");
    drop(server);
    let value = json!({ "task": "extract", "conf": { "k": [1, "é"] } });
    let listed = place.json(&["xcom", "list", "etl", "r1", "-o", "json"]);
    assert_eq!(keys(&listed[0]), ["dag_id", "run_id", "task_id", "key", "value"]);
    assert_eq!(
        listed[1],
        json!({ "dag_id": "etl", "run_id": "r1", "task_id": "extract", "key": "return_value", "value": value })
    );
    assert_eq!(place.json(&["xcom", "get", "etl", "r1", "extract"]), value);
    let text = "exit 0\n--- stdout\nplain text\n--- stderr\n";
    assert_eq!(place.run(&["xcom", "get", "etl", "r1", "extract", "--key", "note"]), text);
    assert_eq!(place.json(&["xcom", "get", "etl", "r1", "extract", "--key", "note", "-o", "json"]), "plain text");
    let near = "exit 1\n--- stdout\n--- stderr\nerror: the XCom `nite` of the task `extract` does not exist\n  \
                hint: did you mean `note`?\n";
    assert_eq!(place.run(&["xcom", "get", "etl", "r1", "extract", "--key", "nite"]), near);
    let nothing = "exit 1\n--- stdout\n--- stderr\nerror: the XCom `return_value` of the task `weep` does not exist\n  \
                   cause: the task returned and pushed nothing; its state is `failed`\n";
    assert_eq!(place.run(&["xcom", "get", "sad", "s1", "weep"]), nothing);
}
