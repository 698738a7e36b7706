//! Executors: one task at a time by priority, or many at once.

use crate::harness::Place;
use crate::server::{Server, expect_run, trigger};

/// A task of a DAG file.
fn bash(task_id: &str, settings: &str, command: &str) -> String {
    format!("    {task_id}: {{operator: BashOperator, {settings}, bash_command: '{command}'}}\n")
}

#[test]
fn sequential_runs_one_at_a_time_by_priority() {
    let place = Place::new();
    let here = place.path().display();
    let mut text = "d:\n  schedule: null\n  tasks:\n".to_owned();
    for (task, weight) in [("low", 1), ("high", 9), ("mid_one", 5), ("mid_two", 5)] {
        let command = format!("echo +{task} >> order; sleep 0.1; echo -{task} >> order");
        text.push_str(&bash(task, &format!("priority_weight: {weight}, cwd: {here}"), &command));
    }
    place.write("dags/d.yaml", &text);
    let _server = Server::start(&place, &["--executor", "sequential"]);
    let run = trigger(&place, "d");
    expect_run(&place, "d", &run, "success");
    let order = std::fs::read_to_string(place.path().join("order")).unwrap();
    let order: Vec<&str> = order.lines().collect();
    assert_eq!(order, ["+high", "-high", "+mid_one", "-mid_one", "+mid_two", "-mid_two", "+low", "-low"]);
}

#[test]
fn local_runs_many_at_once_but_no_more_than_told() {
    let place = Place::new();
    let here = place.path().display();
    let mut text = "d:\n  schedule: null\n  tasks:\n".to_owned();
    // Each of four waits for a second one, and counts how many run beside it.
    for n in 0..4 {
        let count = format!("touch run-{n}; ls | grep -c ^run- >> seen");
        let meet = "until [ $(cat seen | wc -l) -ge 2 ]; do sleep 0.02; done; sleep 0.2";
        let command = format!("{count}; {meet}; rm run-{n}");
        text.push_str(&bash(&format!("t{n}"), &format!("cwd: {here}, execution_timeout: 30"), &command));
    }
    place.write("dags/d.yaml", &text);
    let _server = Server::start(&place, &["--parallelism", "2"]);
    let run = trigger(&place, "d");
    expect_run(&place, "d", &run, "success");
    let seen = std::fs::read_to_string(place.path().join("seen")).unwrap();
    let seen: Vec<u32> = seen.lines().map(|n| n.trim().parse().unwrap()).collect();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen.iter().max(), Some(&2), "two at once, never three: {seen:?}");
}
