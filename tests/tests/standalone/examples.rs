//! Each example runs to its expected end.

use crate::harness::Place;
use crate::server::{Server, eventually, expect_run, returned, task_states, trigger};
use serde_json::json;
use std::path::Path;

/// A place with the repository's examples in its DAG folder.
fn place_with_examples() -> Place {
    let place = Place::new();
    let dags = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dags");
    let mut open = vec![dags.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                let name = path.strip_prefix(&dags).unwrap().to_str().unwrap().to_owned();
                place.write(&format!("dags/{name}"), &text);
            }
        }
    }
    place
}

/// Waits until a task of the run asks, and answers.
fn answer(place: &Place, run: &str, task: &str, how: &[&str]) {
    eventually(&format!("{task} asks"), || {
        let asked = place.json(&["tasks", "hitl", "list", "approval", run, "--output", "json"]);
        asked.as_array().is_some_and(|asked| asked.iter().any(|question| question["task_id"] == task))
    });
    let said = place.output(&[&["tasks", "hitl", "respond", "approval", run, task], how].concat());
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

#[test]
fn each_example_runs_to_its_end() {
    let place = place_with_examples();
    let _server = Server::start(&place, &[]);
    let listed = place.json(&["dags", "list", "--output", "json"]);
    let ids: Vec<&str> = listed.as_array().unwrap().iter().map(|d| d["dag_id"].as_str().unwrap()).collect();
    let expected = [
        "alerts",
        "approval",
        "assets",
        "assets_report",
        "branching",
        "calendar",
        "daily",
        "etl",
        "exclusive",
        "groups",
        "mapping",
        "python_callable",
        "retries",
        "secrets",
        "sensors",
        "setup_teardown",
        "taskflow",
    ];
    assert_eq!(ids, expected, "a new example needs its expectation here");

    let run = trigger(&place, "etl");
    expect_run(&place, "etl", &run, "success");
    assert_eq!(
        task_states(&place, "etl", &run),
        ["extract=success", "transform=success", "load=success", "done=success"]
    );
    assert_eq!(returned(&place, "etl", &run, "transform"), json!("42"));
    let loaded = returned(&place, "etl", &run, "load");
    assert!(loaded.as_str().unwrap().starts_with("loaded 42 EUR for 2"), "{loaded}");

    let run = trigger(&place, "retries");
    expect_run(&place, "retries", &run, "success");
    let log = place.output(&["tasks", "logs", "retries", &run, "flaky"]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    for line in ["try 1", "try 2", "try 3"] {
        assert!(log.contains(line), "{log}");
    }

    // The retry is the outer group's, the owner the inner one's, and the last group puts no prefix before its task.
    let run = trigger(&place, "groups");
    expect_run(&place, "groups", &run, "success");
    assert_eq!(returned(&place, "groups", &run, "add"), json!("7"));
    let said = returned(&place, "groups", &run, "shops.south.check_south");
    assert_eq!(said, json!("checked by south"));
    let log = place.output(&["tasks", "logs", "groups", &run, "shops.north.count_north"]);
    assert!(String::from_utf8_lossy(&log.stdout).contains("try 2"), "it fails once");

    let run = trigger(&place, "calendar");
    expect_run(&place, "calendar", &run, "success");
    let line = returned(&place, "calendar", &run, "open_books");
    assert!(line.as_str().unwrap().starts_with("opening the books of "), "{line}");

    let conf = ["dags", "trigger", "python_callable", "--conf", r#"{"numbers": [1, 2, 6]}"#, "--output", "json"];
    let run = place.json(&conf)[0]["dag_run_id"].as_str().unwrap().to_owned();
    expect_run(&place, "python_callable", &run, "success");
    assert_eq!(returned(&place, "python_callable", &run, "summarize"), json!({"mean": 3, "median": 2}));
    let line = returned(&place, "python_callable", &run, "report");
    assert!(line.as_str().unwrap().ends_with("mean 3.00, median 2"), "{line}");

    // The consumer runs once, as both assets have been written once.
    let run = trigger(&place, "assets");
    expect_run(&place, "assets", &run, "success");
    let made = until(|| {
        let runs = place.json(&["dags", "list-runs", "assets_report", "--output", "json"]);
        let run = runs.as_array().and_then(|runs| runs.first()).cloned()?;
        Some(run["dag_run_id"].as_str().or(run["run_id"].as_str())?.to_owned())
    });
    assert!(made.starts_with("asset_triggered__"), "{made}");
    expect_run(&place, "assets_report", &made, "success");
    assert_eq!(returned(&place, "assets_report", &made, "report"), json!("3 rows of assets"));
    let events = place.json(&["assets", "events", "--name", "s3://shop/orders", "--output", "json"]);
    assert_eq!((&events[0]["extra"], &events[0]["source_task_id"]), (&json!({"rows": 3}), &json!("write_orders")));

    let run = trigger(&place, "alerts");
    expect_run(&place, "alerts", &run, "success");
    let told = until(|| {
        let told = place.json(&["callbacks", "list", "alerts", &run, "--output", "json"]);
        let told = told.as_array()?.clone();
        (told.len() == 4 && told.iter().all(|one| one["state"] == "success")).then_some(told)
    });
    let said: String = told.iter().filter_map(|one| one["log"].as_str()).collect();
    for part in [
        "the run is over, success",
        "to everybody: flaky is up_for_retry",
        "worked at try 2",
        "and somebody else is told",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }

    // The folder is removed whether or not the work in it succeeds.
    let run = trigger(&place, "setup_teardown");
    expect_run(&place, "setup_teardown", &run, "success");
    assert_eq!(returned(&place, "setup_teardown", &run, "count"), json!("3"));
    let conf = ["dags", "trigger", "setup_teardown", "--conf", r#"{"files": 0}"#, "--output", "json"];
    let run = place.json(&conf)[0]["dag_run_id"].as_str().unwrap().to_owned();
    expect_run(&place, "setup_teardown", &run, "failed");
    let expected = ["make_folder=success", "fill=success", "count=failed", "remove_folder=success"];
    assert_eq!(task_states(&place, "setup_teardown", &run), expected);
    let line = returned(&place, "setup_teardown", &run, "remove_folder");
    assert!(line.as_str().unwrap().starts_with("removed /"), "{line}");

    // A teardown fails its run where it says so.
    let run = trigger(&place, "exclusive");
    expect_run(&place, "exclusive", &run, "success");
    let lost = place.json(&["dags", "trigger", "exclusive", "--conf", r#"{"lose_lock": true}"#, "--output", "json"]);
    let run = lost[0]["dag_run_id"].as_str().unwrap().to_owned();
    expect_run(&place, "exclusive", &run, "failed");
    let expected = ["take_lock=success", "publish=success", "give_lock_back=failed"];
    assert_eq!(task_states(&place, "exclusive", &run), expected);

    let run = trigger(&place, "taskflow");
    expect_run(&place, "taskflow", &run, "success");
    let states = task_states(&place, "taskflow", &run);
    let expected =
        ["any_left=success", "judge=success", "mean=success", "read=success", "report=success", "alarm=skipped"];
    assert!(expected.iter().all(|state| states.iter().any(|is| is == state)), "{states:?}");
    let said = returned(&place, "taskflow", &run, "report");
    assert!(said.as_str().unwrap().starts_with("3 values: 20.7 degrees"), "{said}");
    let highest = place.output(&["xcom", "get", "taskflow", &run, "read", "--key", "highest"]);
    assert_eq!(String::from_utf8_lossy(&highest.stdout).trim(), "22");

    // People are asked twice, and answer from the command line.
    let run = trigger(&place, "approval");
    answer(&place, &run, "sign_off", &["--option", "Approve"]);
    answer(&place, &run, "amount", &["--option", "OK", "--params-input", r#"{"euros": 250}"#]);
    expect_run(&place, "approval", &run, "success");
    assert_eq!(returned(&place, "approval", &run, "pay"), json!("paid 250 EUR"));
    let rejected = trigger(&place, "approval");
    answer(&place, &rejected, "sign_off", &["--option", "Reject"]);
    expect_run(&place, "approval", &rejected, "success");
    let expected = ["prepare=success", "sign_off=success", "amount=skipped", "pay=skipped"];
    assert_eq!(task_states(&place, "approval", &rejected), expected);
    let twice = place.output(&["tasks", "hitl", "respond", "approval", &run, "sign_off", "--option", "Reject"]);
    let said = String::from_utf8_lossy(&twice.stderr);
    assert!(!twice.status.success() && said.contains("answered already: Approve"), "{said}");

    mapping_gives_each_word_a_task(&place);
    secrets_are_masked(&place);
    days_are_done_again(&place);

    // It triggers the other one with a large order, and waits for it.
    let run = trigger(&place, "sensors");
    expect_run(&place, "sensors", &run, "success");
    let states = task_states(&place, "sensors", &run);
    assert!(states.len() == 5 && states.iter().all(|task| task.ends_with("=success")), "{states:?}");
    let runs = place.json(&["dags", "list-runs", "branching", "--output", "json"]);
    assert_eq!(runs.as_array().map(Vec::len), Some(1), "{runs}");
    let large = runs[0]["run_id"].as_str().unwrap();
    let states = task_states(&place, "branching", large);
    for task in ["book_at_once=skipped", "review.decide=success", "report=success"] {
        assert!(states.iter().any(|state| state == task), "{task}: {states:?}");
    }
}

/// Lists, groups and combinations of lists, brought together again.
fn mapping_gives_each_word_a_task(place: &Place) {
    let run = trigger(place, "mapping");
    expect_run(place, "mapping", &run, "success");
    assert_eq!(returned(place, "mapping", &run, "together"), json!("ONE TWO THREE"));
    assert_eq!(returned(place, "mapping", &run, "each_word.count"), json!(["3", "3", "5"]));
    let greetings = ["hello, world", "hello, moon", "goodbye, world", "goodbye, moon"];
    assert_eq!(returned(place, "mapping", &run, "greet"), json!(greetings));
    // One instance runs again by name, and what is below it with it.
    let clear = ["tasks", "clear", "mapping", "--run-id", &run, "--task-regex", "^shout$", "--map-index", "1"];
    let cleared = place.output(&[&clear[..], &["--downstream", "--yes", "--output", "plain"]].concat());
    let said = String::from_utf8_lossy(&cleared.stdout).into_owned();
    assert!(cleared.status.success() && said.contains("shout [1]") && !said.contains("shout [0]"), "{said}");
    expect_run(place, "mapping", &run, "success");
    let tries = |index: &str| {
        let of = ["tasks", "state", "mapping", "shout", &run, "--map-index", index, "--output", "json"];
        place.json(&of)["try_number"].clone()
    };
    assert_eq!((tries("0"), tries("1")), (json!(1), json!(2)));
    // One that is not there is no reason to do nothing without a word.
    let clear = ["tasks", "clear", "mapping", "--run-id", &run, "--task-regex", "shout|words", "--map-index", "7"];
    let refused = place.output(&clear);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("`7`"), "{said}");
    assert!(said.contains("hint: `shout` has the instances `0` to `2`\n"), "{said}");
    // And one is marked.
    let mark = ["tasks", "set-state", "mapping", "shout", &run, "failed", "--map-index", "2", "--yes"];
    let marked = place.output(&mark);
    assert!(marked.status.success(), "{}", String::from_utf8_lossy(&marked.stderr));
    let state = place.json(&["tasks", "state", "mapping", "shout", &run, "--map-index", "2", "--output", "json"]);
    assert_eq!(state["state"], json!("failed"));
}

fn secrets_are_masked(place: &Place) {
    let uri = "postgres://reader:a-long-password@db.example.com/shop";
    for arguments in [&["variables", "set", "region", "eu"][..], &["connections", "add", "shop", "--conn-uri", uri]] {
        let output = place.output(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let run = trigger(place, "secrets");
    expect_run(place, "secrets", &run, "success");
    assert_eq!(returned(place, "secrets", &run, "connect"), json!("db.example.com in eu"));
    let log = place.output(&["tasks", "logs", "secrets", &run, "connect"]);
    let log = String::from_utf8_lossy(&log.stdout).into_owned();
    assert!(log.contains("as reader with ***") && !log.contains("a-long-password"), "{log}");
}

/// A day of the past is done, and done again.
fn days_are_done_again(place: &Place) {
    let day = ["dags", "trigger", "daily", "--logical-date", "2026-01-01", "--output", "json"];
    let run = place.json(&day)[0]["dag_run_id"].as_str().unwrap().to_owned();
    expect_run(place, "daily", &run, "success");
    let said = returned(place, "daily", &run, "sum_up");
    assert!(said.as_str().unwrap().starts_with("summed up 2026-01-01"), "{said}");
    let output = place.output(&["tasks", "clear", "daily", "--run-id", &run, "--yes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    expect_run(place, "daily", &run, "success");
    let state = place.json(&["tasks", "state", "daily", "load", &run, "--output", "json"]);
    assert_eq!((&state["state"], &state["try_number"]), (&json!("success"), &json!(2)));
}

/// Asks until there is an answer.
fn until<T>(ask: impl Fn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("there was no answer within a minute");
}
