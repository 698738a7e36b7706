//! Going back: to the functions of before, and from a stack that is gone to its table. The deployment is this test's own, since functions
//! that are replaced take tasks along in the emulator.

use serde_json::{Value, json};
use std::time::Duration;
use updraft_e2e::cloud::{Cloud, WORKER_TIMEOUT, built, rows};

/// How long a run of a short task may take on a machine that is busy with other tests.
const SHORT: Duration = Duration::from_mins(1);

/// What a function is made of: its code, its timeout, and the level of its log.
fn made_of(cloud: &Cloud, function: &str) -> (Value, Value, Value) {
    let name = cloud.output(function);
    let shown = cloud.aws(&["lambda", "get-function-configuration", "--function-name", name]);
    let level = shown["Environment"]["Variables"]["RUST_LOG"].clone();
    (shown["CodeSha256"].clone(), shown["Timeout"].clone(), level)
}

#[test]
fn what_was_there_before_comes_back() {
    let mut cloud = Cloud::deploy(&[("LogLevel", "warn")]);
    let first = made_of(&cloud, "SchedulerFunction");
    let worker = made_of(&cloud, "WorkerFunction");
    assert_eq!((worker.1.to_string().as_str(), worker.2.as_str()), (WORKER_TIMEOUT, Some("warn")), "{worker:?}");
    let refused = cloud.roll_back().expect_err("there was nothing before");
    assert!(refused.contains("nothing is known of what stack"), "{refused}");

    let text = "kept:\n  schedule: null\n  start_date: 2026-01-01\n  tasks:\n    only: {operator: BashOperator, bash_command: echo here}\n";
    cloud.upload("kept.yaml", text);
    cloud.await_dag("kept");
    let run_id = cloud.trigger("kept", &[]);
    assert_eq!(cloud.await_end("kept", &run_id, SHORT)["state"], "success");

    // Another version: the same executable, and a byte that nobody reads.
    let other = std::env::temp_dir().join(format!("updraft-e2e-{}-scheduler", std::process::id()));
    let mut binary = std::fs::read(built("updraft-scheduler-function")).expect("it is there");
    binary.push(b'x');
    std::fs::write(&other, binary).expect("a file can be written");
    cloud.deploy_scheduler(&other);
    let second = made_of(&cloud, "SchedulerFunction");
    assert_ne!(second.0, first.0, "it is another version");
    assert_eq!(made_of(&cloud, "WorkerFunction"), worker, "parameters stay what they were");
    let run_id = cloud.trigger("kept", &[]);
    assert_eq!(cloud.await_end("kept", &run_id, SHORT)["state"], "success");

    cloud.roll_back().expect("the first version is known");
    assert_eq!(made_of(&cloud, "SchedulerFunction"), first);
    let run_id = cloud.trigger("kept", &[]);
    assert_eq!(cloud.await_end("kept", &run_id, SHORT)["state"], "success");
    assert!(cloud.roll_back().is_err(), "there is nothing further back");

    // Nobody is told of this run, and the queues go with the stack.
    let shown = cloud.without_queues(&["dags", "trigger", "kept", "--run-id", "owed"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    let stack = cloud.output("TableName").to_owned();
    cloud.aws(&["cloudformation", "delete-stack", "--stack-name", &stack]);
    cloud.aws(&["cloudformation", "wait", "stack-delete-complete", "--stack-name", &stack]);
    cloud.deploy_scheduler(&other);
    std::fs::remove_file(&other).expect("the file is there");
    let sent = cloud.updraft(&["db", "requeue"]);
    assert_eq!(sent.code, 0, "{sent:?}");
    assert_eq!(cloud.await_end("kept", "owed", SHORT)["state"], "success");
    let runs = cloud.json(&["dags", "list-runs", "kept"]);
    let states: Vec<&Value> = rows(&runs).map(|run| &run["state"]).collect();
    assert_eq!(states, [&json!("success"); 4], "the table is the one of before");
}
