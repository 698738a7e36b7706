//! The whole product on AWS interfaces: the template deployed with the built binaries, DAG files uploaded, the schedule's ticks,
//! what runs observed through the command line alone.

#[path = "cloud/operating.rs"]
mod operating;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use updraft_e2e::cloud::{Cloud, eventually, example, rows};

/// How long a run of a few short tasks may take on a machine that is busy with other tests.
const SHORT: Duration = Duration::from_mins(1);

fn instant(row: &Value, key: &str) -> Timestamp {
    row[key].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("`{key}` is an instant in {row}"))
}

/// A DAG of one Bash task, without a schedule.
fn one_task(dag_id: &str, command: &str, more: &str) -> String {
    let command = serde_json::to_string(command).expect("text is JSON");
    format!(
        "{dag_id}:\n  schedule: null\n  start_date: 2026-01-01\n  tasks:\n    only:\n      \
         operator: airflow.providers.standard.operators.bash.BashOperator\n      bash_command: {command}\n{more}"
    )
}

/// Whether an attempt's log has a line that the task wrote: behind its time stamp and level.
fn has_line(attempt: &Value, said: &str) -> bool {
    let text = attempt["text"].as_str().unwrap_or_default();
    text.lines().any(|line| line.split_once("] INFO - ").is_some_and(|(_, rest)| rest == said))
}

#[test]
fn an_uploaded_file_runs_on_its_schedule() {
    let cloud = Cloud::shared();
    let text = one_task("minutely", "echo \"at {{ ts }}\"", "");
    cloud.upload("minutely.yaml", &text.replace("schedule: null", "schedule: \"* * * * *\""));
    cloud.await_dag("minutely");
    let uploaded = Timestamp::now();

    let runs = eventually("two runs fell due after the upload and succeeded", Duration::from_mins(3), || {
        let listed = cloud.try_json(&["dags", "list-runs", "minutely"])?;
        let mut runs: Vec<Value> = rows(&listed).filter(|run| instant(run, "run_after") > uploaded).cloned().collect();
        runs.reverse();
        let succeeded = runs.iter().filter(|run| run["state"] == "success").count();
        (succeeded >= 2).then_some(runs).ok_or_else(|| listed.to_string())
    });

    for run in &runs {
        let due = instant(run, "run_after");
        assert_eq!(due.as_second() % 60, 0, "{run}");
        assert_eq!(run["run_id"], format!("scheduled__{}+00:00", due.strftime("%Y-%m-%dT%H:%M:%S")));
    }
    for pair in runs.windows(2) {
        let apart = instant(&pair[1], "run_after").duration_since(instant(&pair[0], "run_after"));
        assert_eq!(apart, SignedDuration::from_mins(1), "no minute is left out, none is doubled");
    }
    // To the second, not to the next tick: a delayed message wakes the scheduler. The emulator and a busy machine take the rest.
    for run in &runs {
        let late = instant(run, "start_date").duration_since(instant(run, "run_after"));
        assert!(late >= SignedDuration::ZERO && late < SignedDuration::from_secs(10), "{late:#} late: {run}");
    }

    let run_id = runs[0]["run_id"].as_str().expect("a run has an id");
    let due = instant(&runs[0], "run_after").strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let said = format!("at {due}+00:00");
    assert_eq!(cloud.states("minutely", run_id), [("only".to_owned(), "success".to_owned())].into());
    assert_eq!(cloud.xcom("minutely", run_id, "only"), said);
    let attempts = cloud.attempts("minutely", run_id, "only");
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert!(has_line(&attempts[0], &said), "{attempts:?}");
}

#[test]
fn the_examples_run_to_their_ends() {
    let cloud = Cloud::shared();
    let success = |tasks: &[&str]| tasks.iter().map(|task| ((*task).to_owned(), "success".to_owned())).collect();
    for callable in ["statistics_of_numbers", "orders", "measurements", "shop", "words"] {
        let path = format!("callables/{callable}.py");
        cloud.upload(&path, &example(&path));
    }
    let names = [
        "etl",
        "retries",
        "calendar",
        "python_callable",
        "branching",
        "setup_teardown",
        "taskflow",
        "assets",
        "mapping",
    ];
    for name in names {
        cloud.upload(&format!("{name}.yaml"), &example(&format!("{name}.yaml")));
    }
    for name in names {
        cloud.await_dag(name);
    }
    let conf = json!({"numbers": [1, 2, 6]}).to_string();
    let etl = cloud.trigger("etl", &["--logical-date", "2026-02-03"]);
    let retries = cloud.trigger("retries", &[]);
    let calendar = cloud.trigger("calendar", &["--logical-date", "2026-02-03T12:00:00"]);
    let python = cloud.trigger("python_callable", &["--conf", &conf]);
    let branching = cloud.trigger("branching", &[]);
    let torn_down = cloud.trigger("setup_teardown", &["--conf", &json!({"files": 0}).to_string()]);
    let taskflow = cloud.trigger("taskflow", &["--conf", &json!({"celsius": [20, 35]}).to_string()]);
    let mapping = cloud.trigger("mapping", &[]);

    assert_eq!(cloud.await_end("etl", &etl, SHORT)["state"], "success");
    assert_eq!(cloud.states("etl", &etl), success(&["extract", "transform", "load", "done"]));
    assert_eq!(cloud.xcom("etl", &etl, "transform"), "42");
    assert_eq!(cloud.xcom("etl", &etl, "load"), "loaded 42 EUR for 20260203");

    assert_eq!(cloud.await_end("retries", &retries, SHORT)["state"], "success");
    assert_eq!(cloud.states("retries", &retries), success(&["flaky", "report"]));
    let tries: Vec<(Value, Value)> = cloud
        .attempts("retries", &retries, "flaky")
        .iter()
        .map(|attempt| (attempt["try_number"].clone(), attempt["state"].clone()))
        .collect();
    assert_eq!(tries, [(json!(1), json!("failed")), (json!(2), json!("failed")), (json!(3), json!("success"))]);

    assert_eq!(cloud.await_end("calendar", &calendar, SHORT)["state"], "success");
    let opened = cloud.xcom("calendar", &calendar, "open_books");
    assert!(opened.as_str().is_some_and(|text| text.starts_with("opening the books of ")), "{opened}");

    assert_eq!(cloud.await_end("python_callable", &python, SHORT)["state"], "success");
    assert_eq!(cloud.states("python_callable", &python), success(&["summarize", "report"]));
    assert_eq!(cloud.xcom("python_callable", &python, "summarize"), json!({"mean": 3, "median": 2}));
    let attempts = cloud.attempts("python_callable", &python, "report");
    assert!(attempts[0]["text"].as_str().is_some_and(|text| text.contains("mean 3.00, median 2")), "{attempts:?}");

    assert_eq!(cloud.await_end("branching", &branching, SHORT)["state"], "success");
    let states = cloud.states("branching", &branching);
    let of = |task: &str| states.get(task).map(String::as_str);
    assert_eq!(
        (of("book_at_once"), of("review.ask"), of("report")),
        (Some("success"), Some("skipped"), Some("success"))
    );

    // The work fails, and what the setup made is removed all the same.
    assert_eq!(cloud.await_end("setup_teardown", &torn_down, SHORT)["state"], "failed");
    let states = cloud.states("setup_teardown", &torn_down);
    let of = |task: &str| states.get(task).map(String::as_str);
    assert_eq!(
        (of("make_folder"), of("count"), of("remove_folder")),
        (Some("success"), Some("failed"), Some("success"))
    );
    assert_eq!(cloud.await_end("taskflow", &taskflow, SHORT)["state"], "success");
    let states = cloud.states("taskflow", &taskflow);
    assert_eq!((states["alarm"].as_str(), states["mean"].as_str()), ("success", "skipped"));
    assert_eq!(cloud.xcom("taskflow", &taskflow, "alarm"), format!("35 degrees in {taskflow}"));
    assert_eq!(cloud.xcom("taskflow", &taskflow, "report"), "2 values: too hot for a mean");

    // An instance for each word and each combination, a group for each word, and what comes together of them.
    assert_eq!(cloud.await_end("mapping", &mapping, SHORT)["state"], "success");
    assert_eq!(cloud.xcom("mapping", &mapping, "together"), "ONE TWO THREE");
    assert_eq!(cloud.xcom("mapping", &mapping, "each_word.count"), json!(["3", "3", "5"]));
    let greetings = ["hello, world", "hello, moon", "goodbye, world", "goodbye, moon"];
    assert_eq!(cloud.xcom("mapping", &mapping, "greet"), json!(greetings));
}

/// The first try says who it is and never ends by itself; the second ends at once. The worker of the first is killed as by a crash: its
/// task must go with it, its lease must end, and the sweep must give the task its second try.
#[test]
fn a_worker_killed_in_mid_task_leads_to_a_retry() {
    let cloud = Cloud::shared();
    let said = std::env::temp_dir().join(format!("updraft-e2e-{}-killed", std::process::id()));
    let command = format!(
        "if [ {{{{ ti.try_number }}}} = 1 ]; then echo $$ > {0}.new; mv {0}.new {0}; exec sleep 3600; fi; echo survived",
        said.display()
    );
    cloud.upload("killed.yaml", &one_task("killed", &command, "      retries: 1\n      retry_delay: 1\n"));
    cloud.await_dag("killed");
    let run_id = cloud.trigger("killed", &[]);

    let task = eventually("the first try runs", SHORT, || {
        let written = std::fs::read_to_string(&said).map_err(|error| error.to_string())?;
        written.trim().parse::<u32>().map_err(|error| error.to_string())
    });
    std::fs::remove_file(&said).expect("the file is there");
    assert_eq!(cloud.states("killed", &run_id), [("only".to_owned(), "running".to_owned())].into());
    // Between the worker and its task stands the supervisor.
    let worker = parent(parent(task));
    assert!(command_line(worker).is_some_and(|line| !line.contains("__supervise")), "{worker} is the worker");
    kill(worker);

    eventually("the task has gone with its worker", Duration::from_secs(15), || {
        if command_line(task).is_some_and(|line| line.contains("sleep")) { Err("it runs".to_owned()) } else { Ok(()) }
    });
    // A lease of less than 30 s, a tick within a minute, a retry after a second.
    let run = cloud.await_end("killed", &run_id, Duration::from_mins(3));
    assert_eq!(run["state"], "success", "{run}");
    assert_eq!(cloud.xcom("killed", &run_id, "only"), "survived");
    let attempts = cloud.attempts("killed", &run_id, "only");
    let tries: Vec<(&Value, &Value)> = attempts.iter().map(|tried| (&tried["try_number"], &tried["state"])).collect();
    assert_eq!(tries, [(&json!(1), &json!("failed")), (&json!(2), &json!("success"))], "{attempts:?}");
}

/// A worker lives for 30 s here; a task that takes longer is ended in time for its failure to be written, with its log.
#[test]
fn a_task_that_outlasts_its_worker_fails_with_its_log_and_is_retried() {
    let cloud = Cloud::shared();
    let command = "echo begun; if [ {{ ti.try_number }} = 1 ]; then sleep 3600; fi; echo ended";
    cloud.upload("long.yaml", &one_task("long", command, "      retries: 1\n      retry_delay: 1\n"));
    cloud.await_dag("long");
    let run_id = cloud.trigger("long", &[]);
    let run = cloud.await_end("long", &run_id, Duration::from_secs(90));
    assert_eq!(run["state"], "success", "{run}");

    let attempts = cloud.attempts("long", &run_id, "only");
    let states: Vec<&Value> = attempts.iter().map(|attempt| &attempt["state"]).collect();
    assert_eq!(states, ["failed", "success"], "{attempts:?}");
    let first = &attempts[0];
    assert!(has_line(first, "begun") && !has_line(first, "ended"), "{first}");
    assert!(first["message"].as_str().is_some_and(|text| text.contains("the worker's time was over")), "{first}");
    let took = instant(first, "end_date").duration_since(instant(first, "start_date"));
    assert!(took > SignedDuration::from_secs(10) && took < SignedDuration::from_secs(30), "{took:#}");
}

#[test]
fn a_bad_upload_is_an_import_error_while_the_old_version_runs_on() {
    let cloud = Cloud::shared();
    let errors = |path: &str| -> Option<String> {
        let answer = cloud.updraft(&["dags", "list-import-errors", "--output", "json"]);
        let listed: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|_| panic!("{answer:?}"));
        let row = rows(&listed).find(|row| row["filepath"] == path)?;
        Some(row["error"].to_string())
    };
    cloud.upload("changing.yaml", &one_task("changing", "echo old", ""));
    cloud.await_dag("changing");
    assert_eq!(errors("changing.yaml"), None);

    cloud.upload("changing.yaml", "changing:\n  schedule: \"@fortnightly\"\n  tasks: {only: {}}\n");
    let error = eventually("the bad file is an import error", SHORT, || {
        errors("changing.yaml").ok_or_else(|| "no import error".to_owned())
    });
    assert!(error.contains("changing.yaml:2"), "it says where: {error}");
    // The linter says the same of the file in the bucket, named by itself or found below the prefix.
    let prefix = format!("s3://{}/dags", cloud.output("BucketName"));
    for path in [format!("{prefix}/changing.yaml"), prefix.clone()] {
        let linted = cloud.updraft(&["dags", "lint", &path]);
        assert_eq!(linted.code, 1, "{linted:?}");
        assert!(linted.stdout.contains("changing.yaml:2:13: error: `@fortnightly` is no known preset"), "{linted:?}");
    }
    let missing = cloud.updraft(&["dags", "lint", &format!("{prefix}/nowhere.yaml")]);
    assert_eq!((missing.code, &*missing.stdout), (2, ""), "{missing:?}");
    let run_id = cloud.trigger("changing", &[]);
    assert_eq!(cloud.await_end("changing", &run_id, SHORT)["state"], "success");
    assert_eq!(cloud.xcom("changing", &run_id, "only"), "old");

    cloud.upload("changing.yaml", &one_task("changing", "echo new", ""));
    eventually("the mended file is taken in", SHORT, || match errors("changing.yaml") {
        None => Ok(()),
        Some(error) => Err(error),
    });
    let run_id = cloud.trigger("changing", &[]);
    assert_eq!(cloud.await_end("changing", &run_id, SHORT)["state"], "success");
    assert_eq!(cloud.xcom("changing", &run_id, "only"), "new");
}

#[test]
fn bodies_that_are_no_messages_stop_no_queue() {
    let cloud = Cloud::shared();
    cloud.upload("beside.yaml", &one_task("beside", "echo here", ""));
    cloud.await_dag("beside");
    let bodies = ["no JSON", "{}", "[1, 2]", r#"{"look_at":"moon"}"#, r#"{"look_at":"task","dag_id":"beside"}"#];
    for queue in ["TaskQueueUrl", "SchedulerQueueUrl"] {
        for body in bodies {
            cloud.send(queue, body);
        }
        // Of the right form, but of nothing that there is, and on the wrong queue.
        cloud.send(
            queue,
            r#"{"look_at":"task","dag_id":"x","incarnation":"gone","task":0,"try_number":1,"priority":1}"#,
        );
        cloud.send(queue, r#"{"look_at":"run","incarnation":"gone"}"#);
        cloud.send(queue, r#"{"look_at":"dag","dag_id":"gone"}"#);
    }
    let run_id = cloud.trigger("beside", &[]);
    assert_eq!(cloud.await_end("beside", &run_id, SHORT)["state"], "success");

    // The answer says what shall come again: nothing of this. Else it would come five times, and be among the dead letters then.
    let record =
        |(id, body): (usize, &&str)| json!({"messageId": id.to_string(), "eventSource": "aws:sqs", "body": body});
    let batch = json!({ "Records": bodies.iter().enumerate().map(record).collect::<Vec<_>>() });
    for function in ["SchedulerFunction", "WorkerFunction"] {
        assert_eq!(cloud.invoke(function, &batch), Ok(json!({"batchItemFailures": []})), "{function}");
    }
}

#[test]
fn events_that_are_not_understood_fail_and_say_so() {
    let cloud = Cloud::shared();
    let event = json!({"source": "aws.ec2"});
    let refused = cloud.invoke("SchedulerFunction", &event).expect_err("it is nobody's event");
    assert!(refused.contains("its source is `aws.ec2`"), "{refused}");
    let refused = cloud.invoke("WorkerFunction", &event).expect_err("it is nobody's event");
    assert!(refused.contains("no batch of SQS messages"), "{refused}");
    // They are as well as before.
    assert_eq!(cloud.invoke("SchedulerFunction", &json!({"reconcile": true})), Ok(Value::Null));
    assert_eq!(cloud.invoke("WorkerFunction", &json!({"Records": []})), Ok(json!({"batchItemFailures": []})));
}

/// The parent of a process of this machine.
fn parent(process: u32) -> u32 {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{path}`: {error}"));
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a process has a parent");
    line.trim().parse().expect("a process id is a number")
}

/// What a process was started with; none where there is none.
fn command_line(process: u32) -> Option<String> {
    let bytes = std::fs::read(Path::new("/proc").join(process.to_string()).join("cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', " "))
}

/// Kills a process as a crash would.
fn kill(process: u32) {
    let status = std::process::Command::new("kill").args(["-9", &process.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "process {process} was not killed");
}
