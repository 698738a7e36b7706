//! An upgrade with a run under way. The deployment is this test's own, since functions that are replaced take tasks along in the emulator.

use serde_json::Value;
use std::time::Duration;
use updraft_e2e::cloud::{Cloud, eventually};

/// How long a run of a few short tasks may take on a machine that is busy with other tests.
const SHORT: Duration = Duration::from_mins(1);

/// A run that is under way when the functions are replaced goes on with the new ones. AWS lets an invocation end with the old code; the
/// emulator kills it, so its task may be tried again here once its lease has ended.
#[test]
fn a_run_goes_on_over_an_upgrade() {
    let cloud = Cloud::deploy(&[]);
    let text = "upgraded:\n  schedule: null\n  start_date: 2026-01-01\n  tasks:\n    before:\n      operator: BashOperator\n      \
                bash_command: sleep 6; echo old\n      retries: 1\n      retry_delay: 1\n    after:\n      operator: BashOperator\n      bash_command: echo new\n      \
                dependencies: [before]\n";
    cloud.upload("upgraded.yaml", text);
    cloud.await_dag("upgraded");
    let run_id = cloud.trigger("upgraded", &[]);
    eventually("the first task runs", SHORT, || {
        let states = cloud.states("upgraded", &run_id);
        if states.get("before").is_some_and(|state| state == "running") { Ok(()) } else { Err(format!("{states:?}")) }
    });
    cloud.upgrade(&[("LogLevel", "debug")]);
    assert_eq!(cloud.await_end("upgraded", &run_id, Duration::from_mins(4))["state"], "success");
    assert_eq!(cloud.xcom("upgraded", &run_id, "after"), "new");
    let attempts = cloud.attempts("upgraded", &run_id, "before");
    let (last, killed) = attempts.split_last().expect("it ran");
    assert!(last["state"] == "success" && killed.len() <= 1, "{attempts:?}");
    let died = |one: &Value| one["message"].as_str().is_some_and(|why| why.contains("its worker died"));
    assert!(killed.iter().all(died), "{attempts:?}");
}
