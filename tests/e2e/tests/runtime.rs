//! The functions' processes before a runtime API of this machine: what Lambda does that no emulator does.

use serde_json::{Value, json};
use updraft_e2e::cloud::built;
use updraft_e2e::runtime::{Answer, Function};

fn response(body: &str) -> Answer {
    Answer { kind: "response".to_owned(), body: body.to_owned() }
}

/// On a managed runtime Lambda starts `$AWS_LAMBDA_EXEC_WRAPPER` with the interpreter's command line as its arguments. The worker is
/// its own wrapper: it leaves the interpreter alone and serves in its place.
#[test]
fn the_worker_takes_the_place_of_a_managed_runtimes_interpreter() {
    let worker = built("updraft-worker-function");
    let arguments = ["/var/lang/bin/python3.13", "-s", "/var/runtime/bootstrap.py"];
    let variables = [
        ("AWS_LAMBDA_EXEC_WRAPPER", "/var/task/bootstrap"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.13"),
        ("_HANDLER", "bootstrap"),
        ("UPDRAFT_WORKER", "python"),
        ("UPDRAFT_METRICS", "true"),
        // Nobody answers here; packages cannot be listed, and tasks go on without them.
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_MAX_ATTEMPTS", "1"),
    ];
    let function = Function::start(&worker, &arguments, &variables);
    let batch = |body: &str| json!({"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": body}]});
    assert_eq!(function.invoke(&batch("no message")), response(r#"{"batchItemFailures":[]}"#));
    // A batch was received and deleted, and an invocation was made: a dollar for a million of them, and the time on top.
    let line: Value = serde_json::from_str(&function.line_with("cost_microdollars")).expect("figures are JSON");
    assert!(line["cost_microdollars"].as_f64().is_some_and(|cost| cost > 1.0 && cost < 100.0), "{line}");
    assert_eq!((&line["sqs_requests"], &line["deployment"]), (&json!("2"), &json!("table")), "{line}");
    let told = json!([{"Name": "cost_microdollars", "Unit": "None"}]);
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Metrics"], told, "only what is asked for is billed");
    // A task that cannot be claimed, since no table answers: its message comes again, and the function lives on.
    let task =
        r#"{"look_at":"task","dag_id":"d","incarnation":"i","task":0,"try_number":1,"priority":1,"worker":"python"}"#;
    let again = response(r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#);
    assert_eq!(function.invoke(&batch(task)), again);
    assert_eq!(function.invoke(&json!({})).kind, "error");
    assert_eq!(function.invoke(&batch("{}")), response(r#"{"batchItemFailures":[]}"#));
}

/// A function polls before it asks anything of AWS: nothing of its start waits for the network.
#[test]
fn functions_ask_for_an_event_before_they_ask_for_anything_else() {
    for name in ["updraft-scheduler-function", "updraft-worker-function"] {
        // A port where nobody accepts would make a request at the start wait, and then fail.
        let function = Function::start(&built(name), &[], &[("AWS_ENDPOINT_URL", "http://192.0.2.1:9")]);
        function.first_poll();
        assert!(function.peak_memory_kib() > 0);
    }
}
