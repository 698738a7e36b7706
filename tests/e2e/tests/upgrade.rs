//! An upgrade with a run under way. The deployment is this test's own, since functions that are replaced take tasks along in the emulator.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::time::Duration;
use updraft_e2e::cloud::{Cloud, eventually};

/// How long a run of a few short tasks may take on a machine that is busy with other tests.
const SHORT: Duration = Duration::from_mins(1);

/// One task that has ended, one that runs, one that waits for its second try, and two to come; and a DAG that says by which function it is run.
const DAG: &str = r#"upgraded:
  schedule: null
  start_date: 2026-01-01
  tasks:
    ended: {operator: BashOperator, bash_command: echo here}
    waits: {operator: BashOperator, bash_command: "exit {{ 2 - ti.try_number }}", retries: 1, retry_delay: 30, dependencies: [ended]}
    runs: {operator: BashOperator, bash_command: sleep 15, retries: 1, retry_delay: 5, dependencies: [ended]}
    after: {operator: BashOperator, bash_command: echo here, dependencies: [runs]}
    last: {operator: BashOperator, bash_command: echo here, dependencies: [after, waits]}
told:
  schedule: null
  start_date: 2026-01-01
  tasks:
    only: {operator: BashOperator, bash_command: echo $RUST_LOG}
"#;

fn pair(try_number: u64, state: &str) -> (u64, String) {
    (try_number, state.to_owned())
}

fn instant(row: &Value, key: &str) -> Timestamp {
    row[key].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("`{key}` is an instant in {row}"))
}

/// How each attempt at a task ended.
fn ends(attempts: &[Value]) -> Vec<(u64, String)> {
    let end = |one: &Value| Some((one["try_number"].as_u64()?, one["state"].as_str()?.to_owned()));
    attempts.iter().map(|one| end(one).unwrap_or_else(|| panic!("an attempt that has ended says so: {one}"))).collect()
}

/// What a function has as the level of its log, by a task that runs in it.
fn told(cloud: &Cloud) -> Value {
    let run_id = cloud.trigger("told", &[]);
    assert_eq!(cloud.await_end("told", &run_id, SHORT)["state"], "success");
    cloud.xcom("told", &run_id, "only")
}

/// A run that is under way when the functions are replaced goes on with the new ones. AWS lets an invocation end with the old code; the
/// emulator kills it, so the task that runs then may be tried again here, by its rules and once its lease has ended. Nothing else is.
#[test]
fn a_run_goes_on_over_an_upgrade() {
    let cloud = Cloud::deploy(&[("LogLevel", "info")]);
    cloud.upload("upgraded.yaml", DAG);
    cloud.await_dag("upgraded");
    cloud.await_dag("told");
    assert_eq!(told(&cloud), "info");
    let run_id = cloud.trigger("upgraded", &[]);
    // On a busy machine the one may have ended before it is seen.
    eventually("one task runs and another one waits", SHORT, || {
        let states = cloud.states("upgraded", &run_id);
        let is = |task: &str, state: &str| states.get(task).is_some_and(|found| found == state);
        let begun = is("runs", "running") || is("runs", "success");
        if begun && is("waits", "up_for_retry") { Ok(()) } else { Err(format!("{states:?}")) }
    });
    cloud.upgrade(&[("LogLevel", "debug")]);
    assert_eq!(cloud.await_end("upgraded", &run_id, Duration::from_mins(4))["state"], "success");

    let attempts = |task: &str| cloud.attempts("upgraded", &run_id, task);
    for task in ["ended", "after", "last"] {
        assert_eq!(ends(&attempts(task)), [pair(1, "success")], "`{task}`: {:?}", attempts(task));
    }
    let waited = attempts("waits");
    assert_eq!(ends(&waited), [pair(1, "failed"), pair(2, "success")], "{waited:?}");
    let runs = attempts("runs");
    if let [killed, again] = runs.as_slice() {
        assert_eq!(ends(&runs), [pair(1, "failed"), pair(2, "success")], "{runs:?}");
        assert!(killed["message"].as_str().is_some_and(|why| why.contains("its worker died")), "{killed}");
        let waited = instant(again, "start_date").duration_since(instant(killed, "end_date"));
        assert!(waited >= SignedDuration::from_secs(5), "its `retry_delay` is 5 s, and it came after {waited:#}");
    } else {
        assert_eq!(ends(&runs), [pair(1, "success")], "{runs:?}");
    }
    assert_eq!(told(&cloud), "debug", "the functions are the new ones");
}
