//! What people do to a deployment that lives: call its API, look it over, and bring back what was lost.

use super::{SHORT, has_line, one_task};
use serde_json::{Value, json};
use updraft_e2e::cloud::{Cloud, rows};

/// An event of a Function URL, as AWS sends it after it has checked who asks.
fn get(path: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "limit=1", "isBase64Encoded": false,
        "headers": {"host": "abc.lambda-url.us-east-1.on.aws", "x-forwarded-proto": "https"},
        "requestContext": {"accountId": "1", "authentication": null,
            "authorizer": {"iam": {"userArn": "arn:aws:iam::000000000000:user/ada"}}, "http": {"method": "GET", "path": path}},
    })
}

#[test]
fn the_api_serves_what_standalone_serves() {
    let cloud = Cloud::shared();
    cloud.upload("served.yaml", &one_task("served", "echo here", ""));
    cloud.await_dag("served");
    let answer = cloud.invoke("ApiFunction", &get("/api/v2/dags/served")).expect("it answers");
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).expect("the body is JSON");
    assert_eq!(body["dag_id"], "served", "{body}");
    // When a task was queued is told by its message, and nobody but the worker sees that.
    let run_id = cloud.trigger("served", &[]);
    assert_eq!(cloud.await_end("served", &run_id, SHORT)["state"], "success");
    let path = format!("/api/v2/dags/served/dagRuns/{run_id}/taskInstances/only");
    let answer = cloud.invoke("ApiFunction", &get(&path)).expect("it answers");
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).expect("the body is JSON");
    let instant = |name: &str| -> jiff::Timestamp {
        body[name].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name}: {body}"))
    };
    assert!(instant("queued_when") <= instant("start_date"), "{body}");
    let answer = cloud.invoke("ApiFunction", &get("/api/v2/dags/nowhere")).expect("it answers");
    assert_eq!(answer["statusCode"], 404, "{answer}");
    let answer = cloud.invoke("ApiFunction", &get("/")).expect("it answers");
    assert!(answer["body"].as_str().is_some_and(|page| page.contains("<html")), "{answer}");
}

/// What wants Python is run by the function that has it, and by `queue` so is everything else.
#[test]
fn tasks_reach_the_python_worker_by_their_queue() {
    let cloud = Cloud::shared();
    // Whatever a command starts there finds the packages of the deployment.
    let command = "case $AWS_LAMBDA_FUNCTION_NAME:$PYTHONPATH: in *-python-worker:*/packages/current:*) echo worker is python;; \
                   *packages*) echo worker is odd;; *) echo worker is plain;; esac";
    for (dag_id, queue, said) in
        [("by_default", "default", "worker is plain"), ("by_queue", "python", "worker is python")]
    {
        cloud.upload(&format!("{dag_id}.yaml"), &one_task(dag_id, command, &format!("      queue: {queue}\n")));
        cloud.await_dag(dag_id);
        let run_id = cloud.trigger(dag_id, &[]);
        assert_eq!(cloud.await_end(dag_id, &run_id, SHORT)["state"], "success");
        let attempts = cloud.attempts(dag_id, &run_id, "only");
        assert!(has_line(&attempts[0], said), "{attempts:?}");
    }
}

#[test]
fn the_doctor_finds_a_deployment_well_and_knows_what_an_emulator_does_not() {
    let cloud = Cloud::shared();
    let answer = cloud.updraft(&["doctor", "--output", "json"]);
    let found: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    let state = |check: &str| -> Vec<&str> {
        rows(&found).filter(|row| row["check"] == check).filter_map(|row| row["state"].as_str()).collect()
    };
    assert_eq!(state("metastore"), ["ok"], "{found:#}");
    assert_eq!(state("clock"), ["ok"], "{found:#}");
    assert_eq!(state("stuck"), ["ok"], "{found:#}");
    assert_eq!(state("function"), ["ok", "ok", "ok", "ok"], "{found:#}");
    assert_eq!(state("mapping"), ["ok", "ok", "ok"], "{found:#}");
    assert_eq!(state("schedule"), ["ok"], "{found:#}");
    assert_eq!(state("permissions"), ["ok", "ok", "ok", "ok"], "{found:#}");
    assert!(rows(&found).all(|row| row["state"] == "ok" || row["advice"].is_string()), "{found:#}");

    // The emulator asks nobody for rights, so functions do not miss what is taken from their roles for a while.
    let name = cloud.output("WorkerFunction");
    let shown = cloud.aws(&["lambda", "get-function-configuration", "--function-name", name]);
    let role = shown["Role"].as_str().and_then(|arn| arn.rsplit('/').next()).expect("a function has a role").to_owned();
    let policies = cloud.aws(&["iam", "list-role-policies", "--role-name", &role]);
    let policy = policies["PolicyNames"][0].as_str().expect("a role has a policy").to_owned();
    let named = ["--role-name", &role, "--policy-name", &policy];
    let whole = cloud.aws(&[&["iam", "get-role-policy"][..], &named].concat())["PolicyDocument"].to_string();
    let less = whole.replace("\"dynamodb:UpdateItem\"", "\"dynamodb:DescribeTable\"");
    assert_ne!(less, whole);
    let put = |document: &str| {
        cloud.aws(&[&["iam", "put-role-policy", "--policy-document", document][..], &named].concat());
    };
    put(&less);
    let answer = cloud.updraft(&["doctor", "--output", "json"]);
    put(&whole);
    let found: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
    let wrong: Vec<&Value> = rows(&found).filter(|row| row["check"] == "permissions" && row["state"] != "ok").collect();
    assert_eq!((answer.code, wrong.len(), &wrong[0]["state"]), (1, 1, &json!("error")), "{found:#}");
    let said = wrong[0]["found"].as_str().unwrap_or_default();
    assert!(said.contains("dynamodb:UpdateItem on arn:aws:dynamodb:") && said.contains(name), "{said}");
}

/// The emulator watches no metrics, so alarms are raised by hand.
#[test]
fn the_doctor_names_the_alarms_that_are_raised() {
    let cloud = Cloud::shared();
    let alarms = || -> Vec<Value> {
        let answer = cloud.updraft(&["doctor", "--output", "json"]);
        let found: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
        rows(&found).filter(|row| row["check"] == "alarms").cloned().collect()
    };
    let prefix = format!("{}-TickAlarm", cloud.output("TableName"));
    let known = cloud.aws(&["cloudwatch", "describe-alarms", "--alarm-name-prefix", &prefix]);
    let name = known["MetricAlarms"][0]["AlarmName"].as_str().expect("there is such an alarm").to_owned();
    let set = |state: &str| {
        let reason = ["--state-value", state, "--state-reason", "a test"];
        cloud.aws(&[&["cloudwatch", "set-alarm-state", "--alarm-name", &name][..], &reason].concat());
    };

    // Of the fourteen none is raised, but none would tell anybody either.
    let before = alarms();
    assert_eq!(before.len(), 1, "{before:?}");
    assert_eq!(before[0]["state"], "warning", "{before:?}");
    assert!(before[0]["found"].as_str().is_some_and(|found| found.contains("none of 14 is raised")), "{before:?}");
    set("ALARM");
    let raised = alarms();
    assert_eq!((raised.len(), &raised[0]["state"]), (1, &json!("error")), "{raised:?}");
    assert_eq!(raised[0]["found"], format!("raised: {name}"));
    assert!(raised[0]["advice"].as_str().is_some_and(|advice| advice.contains("infra/README.md")), "{raised:?}");
    set("OK");
    assert_eq!(alarms(), before);
}

/// The message that a run is there never arrives, as if the queue had been purged. Without anybody's doing the sweep would find the run.
#[test]
fn what_a_lost_queue_held_is_sent_again_from_the_table() {
    let cloud = Cloud::shared();
    cloud.upload("lost.yaml", &one_task("lost", "echo found", ""));
    cloud.await_dag("lost");
    let shown = cloud.without_queues(&["dags", "trigger", "lost", "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_else(|_| panic!("{shown:?}"));
    let run_id = rows(&shown).next().and_then(|row| row["dag_run_id"].as_str()).expect("a run has an id").to_owned();
    let refused = cloud.without_queues(&["db", "requeue"]);
    assert!(refused.code == 1 && refused.stderr.contains("no queue"), "{refused:?}");
    let sent = cloud.updraft(&["db", "requeue"]);
    assert!(sent.code == 0 && sent.stderr.contains("looked at"), "{sent:?}");
    assert_eq!(cloud.await_end("lost", &run_id, SHORT)["state"], "success");
}
