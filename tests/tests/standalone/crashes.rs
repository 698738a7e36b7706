//! Crashes and stops: nothing is lost, and nothing that an attempt started outlives it.

use crate::harness::Place;
use crate::server::{PATIENCE, Server, eventually, expect_run, returned, run_state, task_states, trigger};
use std::time::{Duration, Instant};

/// A task that leaves a child in a session of its own, and takes longer than the test waits the first time it runs.
const SLOW: &str = "\
slow:
  schedule: null
  tasks:
    a:
      operator: BashOperator
      bash_command: |
        echo try {{ ti.try_number }}
        touch began-{{ ti.try_number }}
        if [ {{ ti.try_number }} = 1 ]; then (setsid sleep 7654.321 &); sleep 7654.123; fi
      cwd: PLACE
      retries: 1
      retry_delay: 1
    b: {operator: BashOperator, bash_command: echo b, dependencies: [a]}
";

/// Whether a process of this test's place runs with this in its command line.
fn is_running(place: &Place, what: &str) -> bool {
    let here = place.path().canonicalize().unwrap();
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let folder = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
        folder.starts_with(&here) && String::from_utf8_lossy(&command).replace('\0', " ").contains(what)
    })
}

fn slow() -> Place {
    let place = Place::new();
    let here = place.path().to_str().unwrap().to_owned();
    place.write("dags/slow.yaml", &SLOW.replace("PLACE", &here));
    place
}

#[test]
fn a_crash_loses_nothing_and_leaves_nothing() {
    let place = slow();
    let server = Server::start(&place, &[]);
    let run = trigger(&place, "slow");
    let logs = || String::from_utf8_lossy(&place.output(&["tasks", "logs", "slow", &run, "a"]).stdout).into_owned();
    eventually("the task and its child run", || is_running(&place, "7654.123") && is_running(&place, "7654.321"));
    eventually("its log is seen while it runs", || logs().contains("INFO - try 1\n"));
    server.crash();
    eventually("nothing of the attempt is left", || !is_running(&place, "7654."));
    assert_eq!(task_states(&place, "slow", &run), ["a=running", "b="]);

    let _server = Server::start(&place, &[]);
    expect_run(&place, "slow", &run, "success");
    let logs = logs();
    assert!(logs.contains("INFO - try 1\n") && logs.contains("INFO - try 2\n"), "both tries are shown: {logs}");
}

#[test]
fn queued_tasks_run_after_a_crash() {
    let place = Place::new();
    place.write(
        "dags/gate.yaml",
        "gate:\n  schedule: null\n  tasks:\n    a: {operator: BashOperator, bash_command: 'touch a; until [ -e go ]; do sleep 0.05; done', cwd: PLACE, retries: 3, retry_delay: 1}\n    b: {operator: BashOperator, bash_command: echo b}\n    c: {operator: BashOperator, bash_command: echo c}\n"
            .replace("PLACE", place.path().to_str().unwrap())
            .as_str(),
    );
    let server = Server::start(&place, &["--executor", "sequential"]);
    let run = trigger(&place, "gate");
    eventually("the first task runs", || place.path().join("a").exists());
    assert_eq!(task_states(&place, "gate", &run), ["a=running", "b=queued", "c=queued"]);
    server.crash();
    place.write("go", "");
    let _server = Server::start(&place, &["--executor", "sequential"]);
    expect_run(&place, "gate", &run, "success");
}

#[test]
fn the_first_signal_drains_and_the_second_stops() {
    let place = Place::new();
    let gate = "touch {{ ti.task_id }}; until [ -e go ]; do sleep 0.05; done";
    place.write(
        "dags/gate.yaml",
        &format!(
            "gate:\n  schedule: null\n  tasks:\n    a: {{operator: BashOperator, bash_command: '{gate}', cwd: {0}, retries: 1, retry_delay: 1}}\n    b: {{operator: BashOperator, bash_command: '{gate}', cwd: {0}, retries: 1, retry_delay: 1, dependencies: [a]}}\n",
            place.path().display()
        ),
    );
    let mut server = Server::start(&place, &[]);
    let run = trigger(&place, "gate");
    eventually("the task runs", || place.path().join("a").exists());
    server.signal("INT");
    place.write("go", "");
    assert!(server.wait().success());
    assert_eq!(task_states(&place, "gate", &run), ["a=success", "b=queued"], "what ran ended, and nothing new began");

    std::fs::remove_file(place.path().join("go")).unwrap();
    let mut server = Server::start(&place, &[]);
    eventually("the next task runs", || place.path().join("b").exists());
    server.signal("TERM");
    server.signal("INT");
    assert!(server.wait().success());
    assert_eq!(task_states(&place, "gate", &run), ["a=success", "b=running"]);
    place.write("go", "");
    let _server = Server::start(&place, &[]);
    expect_run(&place, "gate", &run, "success");
}

/// Killed while instances are born and worked, a mapped task has all of them in the end, each with its own value.
#[test]
fn a_crash_in_the_middle_of_a_map_loses_no_instance() {
    let place = Place::new();
    place.write("dags/list.py", "def commands():\n    return [f'echo {number}' for number in range(200)]\n");
    let dag = serde_json::json!({"map": {"schedule": null, "tasks": {
        "list": {"operator": "PythonOperator", "python_callable_name": "commands", "python_callable_file": "list.py"},
        "each": {
            "operator": "BashOperator", "expand": {"bash_command": "list.output"}, "retries": 3, "retry_delay": 0,
        },
        "sum": {
            "operator": "BashOperator", "dependencies": ["each"], "retries": 3, "retry_delay": 0,
            "bash_command": "echo {{ ti.xcom_pull(task_ids='each') | map('int') | sum }}",
        },
    }}});
    place.write("dags/map.yaml", &dag.to_string());
    // The limit of the deployment holds: with less than the list has, its task fails.
    let server = Server::start(&place, &["--max-map-length", "199"]);
    let refused = trigger(&place, "map");
    expect_run(&place, "map", &refused, "failed");
    assert!(task_states(&place, "map", &refused).contains(&"list=failed".to_owned()));
    drop(server);
    let server = Server::start(&place, &[]);
    let run = trigger(&place, "map");
    let ended = || task_states(&place, "map", &run).iter().filter(|state| *state == "each=success").count();
    eventually("some instances have ended", || ended() >= 40);
    server.crash();
    let _server = Server::start(&place, &[]);
    // What a crash has lost of messages is made up for within a minute.
    let begun = Instant::now();
    while run_state(&place, "map", &run) != "success" {
        assert!(begun.elapsed() < 3 * PATIENCE, "{:?}", task_states(&place, "map", &run));
        std::thread::sleep(Duration::from_millis(200));
    }
    let states = task_states(&place, "map", &run);
    assert_eq!(states.iter().filter(|state| *state == "each=success").count(), 200, "{states:?}");
    assert_eq!(returned(&place, "map", &run, "sum"), serde_json::json!("19900"));
}
