//! What is taken from a task while it runs ends its processes at once, not at the next renewal of its lease, which is a minute away.

use crate::harness::Place;
use crate::server::{Server, expect_run, task_states, trigger};
use std::time::{Duration, Instant};

/// Far less than the time to the next renewal, and far more than a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

const DAGS: &str = "\
long:
  schedule: null
  tasks:
    a: {operator: BashOperator, bash_command: 'echo this is try {{ ti.try_number }}; touch began-{{ ti.try_number }}; exec sleep 8765.{{ dag.dag_id | length }}', cwd: PLACE}
overdue:
  schedule: null
  dagrun_timeout: 2
  tasks:
    a: {operator: BashOperator, bash_command: 'exec sleep 8765.{{ dag.dag_id | length }}', cwd: PLACE}
    b: {operator: BashOperator, bash_command: 'true', dependencies: [a]}
strict:
  schedule: null
  fail_fast: true
  tasks:
    a: {operator: BashOperator, bash_command: 'touch other; exec sleep 8765.{{ dag.dag_id | length }}', cwd: PLACE}
    b: {operator: BashOperator, bash_command: 'until [ -e other ]; do sleep 0.05; done; exit 1', cwd: PLACE}
";

/// What is kept of a try that was killed: its own lines, and why it ended.
fn expect_killed(place: &Place, run: &str, try_number: &str, why: &str) {
    soon("the killed try has its log", || {
        let log = place.output(&["tasks", "logs", "long", run, "a", "--try", try_number]);
        let log = String::from_utf8_lossy(&log.stdout).into_owned();
        log.contains(&format!("this is try {try_number}\n")) && log.contains(why)
    });
}

/// The processes of this test's place that run with this in their command line.
fn running(place: &Place, what: &str) -> Vec<String> {
    let here = place.path().canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").expect("this is Linux");
    let of_place = processes.flatten().filter(|process| {
        let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
        let folder = std::fs::read_link(process.path().join("cwd")).unwrap_or_default();
        folder.starts_with(&here) && String::from_utf8_lossy(&command).replace('\0', " ").contains(what)
    });
    of_place.map(|process| process.file_name().to_string_lossy().into_owned()).collect()
}

fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < SOON, "in {SOON:?} it did not come to pass that {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn what_is_cleared_marked_deleted_or_out_of_time_ends_at_once() {
    let place = Place::new();
    place.write("dags/dags.yaml", &DAGS.replace("PLACE", place.path().to_str().unwrap()));
    let _server = Server::start(&place, &[]);
    let is_there = |name: &str| place.path().join(name).exists();

    // Cleared by another process: the second try begins once the first is gone.
    let run = trigger(&place, "long");
    soon("the first try runs", || is_there("began-1"));
    let first = running(&place, "sleep 8765.4");
    assert!(!first.is_empty());
    assert!(place.output(&["tasks", "clear", "long", "--yes"]).status.success());
    soon("the second try runs", || is_there("began-2"));
    let second = running(&place, "sleep 8765.4");
    assert!(second.iter().all(|process| !first.contains(process)), "{first:?} still run beside {second:?}");
    expect_killed(&place, &run, "1", "was set to restarting while it ran");

    // Ended by another process.
    assert!(place.output(&["dags", "set-state", "long", &run, "failed", "--yes"]).status.success());
    soon("nothing of the ended run is left", || running(&place, "sleep 8765.4").is_empty());
    expect_killed(&place, &run, "2", "was set to failed while it ran");

    // Deleted with its DAG by another process.
    std::fs::remove_file(place.path().join("began-1")).unwrap();
    trigger(&place, "long");
    soon("a try of another run runs", || is_there("began-1") && !running(&place, "sleep 8765.4").is_empty());
    assert!(place.output(&["dags", "delete", "long", "--yes"]).status.success());
    soon("nothing of the deleted run is left", || running(&place, "sleep 8765.4").is_empty());

    // By the server itself: `dagrun_timeout`, and `fail_fast`.
    let overdue = trigger(&place, "overdue");
    expect_run(&place, "overdue", &overdue, "failed");
    soon("nothing of the overdue run is left", || running(&place, "sleep 8765.7").is_empty());
    assert_eq!(task_states(&place, "overdue", &overdue), ["a=skipped", "b=skipped"]);
    let strict = trigger(&place, "strict");
    expect_run(&place, "strict", &strict, "failed");
    soon("nothing of the run that failed fast is left", || running(&place, "sleep 8765.6").is_empty());
}

const GIVEN: &str = "\
given:
  schedule: null
  tasks:
    a: {operator: BashOperator, bash_command: 'exec sleep 8766', cwd: PLACE}
    b: {operator: BashOperator, bash_command: 'touch begun', cwd: PLACE, dependencies: [a]}
narrow:
  schedule: null
  tasks:
    a: {operator: BashOperator, bash_command: 'touch one; until [ -e end ]; do sleep 0.05; done', cwd: PLACE, pool: small, priority_weight: 2}
    b: {operator: BashOperator, bash_command: 'touch two', cwd: PLACE, pool: small}
";

/// A command that marks a task, or makes a pool larger, queues what follows in its own process: the server is told, and does not find it by the
/// sweep of the next minute only.
#[test]
fn what_a_command_sets_free_begins_at_once() {
    let place = Place::new();
    place.write("dags/dags.yaml", &GIVEN.replace("PLACE", place.path().to_str().unwrap()));
    let _server = Server::start(&place, &[]);
    let is_there = |name: &str| place.path().join(name).exists();

    let run = trigger(&place, "given");
    soon("the first task runs", || !running(&place, "sleep 8766").is_empty());
    assert!(place.output(&["tasks", "set-state", "given", "a", &run, "success", "--yes"]).status.success());
    soon("the task below runs", || is_there("begun"));

    assert!(place.output(&["pools", "set", "small", "1", "one slot"]).status.success());
    let run = trigger(&place, "narrow");
    soon("the first task runs", || is_there("one"));
    soon("the other one waits", || task_states(&place, "narrow", &run)[1] == "b=scheduled");
    assert!(place.output(&["pools", "set", "small", "2", "two slots"]).status.success());
    soon("the other task runs", || is_there("two"));
    place.write("end", "");
}
