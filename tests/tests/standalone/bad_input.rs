//! Bad input costs its sender a clear message, and nobody else anything: the server goes on.

use crate::harness::Place;
use crate::server::{Server, expect_run, task_states, trigger};

/// Each of these would loop for ever, fill the memory or overflow the stack.
const TEMPLATES: [(&str, &str); 6] = [
    ("{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}", "nests too deeply"),
    ("{% for n in [1] recursive %}{{ loop([1]) }}{% endfor %}", "nests too deeply"),
    ("{{ ('a' * 1000000).replace('a', 'b' * 100000) }}", "too much work"),
    ("{{ ('b' * 1000000).join(range(100000)) }}", "too much work"),
    ("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}", "too much work"),
    ("{{ 'x' * 2000000000 }}", "too much work"),
];

#[test]
fn templates_without_bound_fail_alone_and_say_why() {
    let place = Place::new();
    let tasks = TEMPLATES.iter().enumerate().map(|(number, (template, _))| {
        (format!("t{number}"), serde_json::json!({"operator": "BashOperator", "bash_command": template}))
    });
    let mut tasks: serde_json::Map<String, serde_json::Value> = tasks.collect();
    tasks.insert("good".to_owned(), serde_json::json!({"operator": "BashOperator", "bash_command": "echo still here"}));
    place.write("dags/bad.yaml", &serde_json::json!({"bad": {"schedule": null, "tasks": tasks}}).to_string());
    let _server = Server::start(&place, &[]);
    let run = trigger(&place, "bad");
    expect_run(&place, "bad", &run, "failed");
    let states = task_states(&place, "bad", &run);
    assert!(states.contains(&"good=success".to_owned()), "{states:?}");
    for (number, (template, why)) in TEMPLATES.iter().enumerate() {
        let task = format!("t{number}");
        assert!(states.contains(&format!("{task}=failed")), "{template}: {states:?}");
        let log = String::from_utf8_lossy(&place.output(&["tasks", "logs", "bad", &run, &task]).stdout).into_owned();
        assert!(log.contains("ERROR - a template could not be rendered") && log.contains(why), "{template}: {log}");
    }
}

/// A branch that follows what is not there says so where people look: in its log.
#[test]
fn what_an_operator_fails_for_is_an_error_in_its_log() {
    let place = Place::new();
    place.write("dags/f.py", "def f():\n    return 'nowhere'\n");
    place.write(
        "dags/d.yaml",
        "d:\n  schedule: null\n  tasks:\n    a: {operator: BranchPythonOperator, python_callable_name: f, python_callable_file: f.py}\n    \
         b: {operator: TriggerDagRunOperator, trigger_dag_id: nowhere}\n    \
         c: {operator: FileSensor, filepath: /nowhere/at/all, timeout: 1, poke_interval: 0.2}\n    \
         d: {operator: BashSensor, bash_command: 'exit 1', timeout: 1, poke_interval: 0.2}\n    \
         e: {operator: BashOperator, bash_command: 'sleep 60', execution_timeout: 1}\n",
    );
    let _server = Server::start(&place, &[]);
    let run = trigger(&place, "d");
    expect_run(&place, "d", &run, "failed");
    let log =
        |task: &str| String::from_utf8_lossy(&place.output(&["tasks", "logs", "d", &run, task]).stdout).into_owned();
    assert!(log("a").contains("ERROR - the branch follows `nowhere`, which is no task of this DAG"), "{}", log("a"));
    assert!(log("b").contains("ERROR - the DAG `nowhere` does not exist"), "{}", log("b"));
    assert!(
        log("c").contains("ERROR - the sensor's time is over") && !log("c").contains("INFO - the sensor's"),
        "{}",
        log("c")
    );
    // A look that found nothing is no failure.
    assert!(log("d").contains("INFO - ended after ") && log("d").matches("ERROR").count() == 1, "{}", log("d"));
    assert!(log("e").contains("execution timeout of 1 s passed"), "{}", log("e"));
}
