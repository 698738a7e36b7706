//! What a deployment loses, gets twice, and cannot read for a while: its runs come to the same end, and people are told what there is to
//! be told. The deployment is this test's own, since it is treated badly.

use serde_json::{Value, json};
use std::time::Duration;
use updraft_e2e::cloud::{Cloud, eventually, rows};
use updraft_metastore::item::Value as Attribute;
use updraft_metastore::{Items, Metastore, keys};
use updraft_metastore_dynamodb::DynamoDb;
use updraft_model::{DagId, Incarnation, TaskIndex, WorkerKind};
use updraft_task_queue::Message;

/// How long a run of a few short tasks may take on a machine that is busy with other tests.
const SHORT: Duration = Duration::from_mins(1);

/// How long the sweep may take to find what nobody was told of: a minute until it is looked at, a tick, and the work.
const SWEPT: Duration = Duration::from_mins(4);

/// A DAG of three tasks side by side and one after them. Each start is noted where this process can read it.
fn fan(dag_id: &str, notes: &std::path::Path) -> String {
    let task = |name: &str, upstream: &str| {
        format!(
            "    {name}:\n      operator: BashOperator\n      bash_command: echo {name} >> {}\n      dependencies: [{upstream}]\n",
            notes.display()
        )
    };
    let tasks = [task("a", ""), task("b", ""), task("c", ""), task("last", "a, b, c")].concat();
    format!("{dag_id}:\n  schedule: null\n  start_date: 2026-01-01\n  tasks:\n{tasks}")
}

fn table(cloud: &Cloud) -> Metastore<DynamoDb> {
    Metastore::new(DynamoDb::new(&cloud.settings(), cloud.output("TableName")))
}

fn incarnation(cloud: &Cloud, dag_id: &str, run_id: &str) -> Incarnation {
    let names =
        cloud.block_on(table(cloud).list_run_names(&DagId::trusted(dag_id), 10, None)).expect("the table answers");
    let name = names.items.into_iter().find(|name| name.run_id == run_id);
    name.unwrap_or_else(|| panic!("no run `{run_id}`")).incarnation
}

/// Founds a run of which nobody is told.
fn untold(cloud: &Cloud, dag_id: &str) -> (String, Incarnation) {
    let shown = cloud.without_queues(&["dags", "trigger", dag_id, "--output", "json"]);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap_or_else(|_| panic!("{shown:?}"));
    let run_id = rows(&shown).next().and_then(|row| row["dag_run_id"].as_str()).expect("a run has an id").to_owned();
    let incarnation = incarnation(cloud, dag_id, &run_id);
    (run_id, incarnation)
}

fn send(cloud: &Cloud, queue: &str, message: &Message) {
    cloud.send(queue, &serde_json::to_string(message).expect("messages are JSON"));
}

fn task(dag_id: &str, incarnation: &Incarnation, task: u32, try_number: u32) -> Message {
    Message::Task {
        dag_id: DagId::trusted(dag_id),
        incarnation: incarnation.clone(),
        task: TaskIndex(task),
        try_number,
        priority: 1,
        place: None,
        worker: WorkerKind::Plain,
    }
}

/// Waits for the end of a run that nobody was told of. Ticks come more often than every minute, so that this takes less than two.
fn swept(cloud: &Cloud, dag_id: &str, run_id: &str) -> Value {
    eventually(&format!("`{run_id}` of `{dag_id}` is found by the sweep"), SWEPT, || {
        cloud.invoke("SchedulerFunction", &json!({"reconcile": false})).map(|_| ())?;
        std::thread::sleep(Duration::from_secs(2));
        let listed = cloud.try_json(&["dags", "list-runs", dag_id])?;
        let run = rows(&listed).find(|row| row["run_id"] == run_id);
        let ended = run.filter(|row| row["state"] == "success" || row["state"] == "failed");
        ended.cloned().ok_or_else(|| listed.to_string())
    })
}

fn noted(notes: &std::path::Path) -> Vec<String> {
    let mut starts: Vec<String> =
        std::fs::read_to_string(notes).unwrap_or_default().lines().map(str::to_owned).collect();
    starts.sort();
    starts
}

#[test]
fn what_is_lost_doubled_or_unreadable_changes_when_and_never_what() {
    let cloud = Cloud::shared();
    let folder = std::env::temp_dir().join(format!("updraft-e2e-{}-lost", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let notes = |name: &str| folder.join(name);
    cloud.upload("doubled.yaml", &fan("doubled", &notes("doubled")));
    cloud.await_dag("doubled");
    // Found by the sweep in its own time, while the rest of this goes on.
    let (silent, _) = untold(cloud, "doubled");

    a_message_that_fails_again_and_again(cloud, &notes("broken"), |cloud| {
        doubled_and_reordered(cloud, &notes("other"));
    });
    a_lost_notification(cloud);

    let run = swept(cloud, "doubled", &silent);
    assert_eq!(run["state"], "success", "every message about it was lost: {run}");
    assert_eq!(noted(&notes("doubled")), ["a", "b", "c", "last"]);
    std::fs::remove_dir_all(folder).expect("the folder is there");
}

/// Messages that come before their time, twice, in the wrong order, for tries that are over and for those to come.
fn doubled_and_reordered(cloud: &Cloud, notes: &std::path::Path) {
    cloud.upload("other.yaml", &fan("other", notes));
    cloud.await_dag("other");
    let (run_id, incarnation) = untold(cloud, "other");
    let of = |number, try_number| task("other", &incarnation, number, try_number);
    // Nothing of it is queued yet.
    for message in [of(3, 1), of(2, 1), of(0, 2), of(1, 0)] {
        send(cloud, "TaskQueueUrl", &message);
    }
    let run = Message::Run { incarnation: incarnation.clone() };
    for message in [&run, &Message::Dag { dag_id: DagId::trusted("other") }, &run, &run] {
        send(cloud, "SchedulerQueueUrl", message);
    }
    for number in [2, 0, 1, 3, 1, 2, 0, 3, 0] {
        send(cloud, "TaskQueueUrl", &of(number, 1));
        send(cloud, "PythonQueueUrl", &of(number, 1));
    }
    assert_eq!(cloud.await_end("other", &run_id, SHORT)["state"], "success");
    // Its end is no end of the messages.
    for number in [3, 2, 1, 0] {
        send(cloud, "TaskQueueUrl", &of(number, 1));
        send(cloud, "SchedulerQueueUrl", &run);
    }
    eventually("every message is done with", SHORT, || {
        let left = cloud.messages_in("TaskQueueUrl") + cloud.messages_in("PythonQueueUrl");
        if left == 0 { Ok(()) } else { Err(format!("{left} are left")) }
    });
    assert_eq!(noted(notes), ["a", "b", "c", "last"], "each was started once");
    for name in ["a", "b", "c", "last"] {
        assert_eq!(cloud.attempts("other", &run_id, name).len(), 1, "{name}");
    }
}

/// A run whose document cannot be read: the message about it ends among the dead letters, the doctor says so, and other runs do not notice.
/// Once it can be read, the sweep goes on with it.
fn a_message_that_fails_again_and_again(cloud: &Cloud, notes: &std::path::Path, meanwhile: impl FnOnce(&Cloud)) {
    cloud.upload("broken.yaml", &fan("broken", notes));
    cloud.await_dag("broken");
    cloud.hurry("SchedulerQueueUrl");
    assert_eq!(cloud.messages_in("SchedulerDeadLettersUrl"), 0);
    let (run_id, incarnation) = untold(cloud, "broken");
    let (store, key) = (table(cloud), keys::run(&incarnation));
    let items = store.items();
    let whole = cloud.block_on(items.get(&key)).expect("the table answers").expect("the run is there");
    let mut broken = whole.clone();
    broken.insert("st".to_owned(), Attribute::text("no state"));
    cloud.block_on(items.put(&key, &broken)).expect("the table answers");

    send(cloud, "SchedulerQueueUrl", &Message::Run { incarnation });
    meanwhile(cloud);
    eventually("its message is among the dead letters", SHORT, || {
        if cloud.messages_in("SchedulerDeadLettersUrl") > 0 { Ok(()) } else { Err("it is not".to_owned()) }
    });
    let found = cloud.updraft(&["doctor", "--output", "json"]);
    let found: Value = serde_json::from_str(&found.stdout).unwrap_or_else(|_| panic!("{found:?}"));
    let letters: Vec<&Value> = rows(&found).filter(|row| row["check"] == "dead letters").collect();
    assert!(letters.iter().any(|row| row["state"] != "ok" && row["advice"].is_string()), "{letters:?}");
    // A tick that fails on this one goes on with the others.
    assert_eq!(cloud.invoke("SchedulerFunction", &json!({"reconcile": false})), Ok(Value::Null));
    let beside = cloud.trigger("other", &[]);
    assert_eq!(cloud.await_end("other", &beside, SHORT)["state"], "success");

    cloud.block_on(items.put(&key, &whole)).expect("the table answers");
    assert_eq!(swept(cloud, "broken", &run_id)["state"], "success");
    assert_eq!(noted(notes), ["a", "b", "c", "last"]);
}

/// An upload that nobody is told of is found by listing the bucket, and so is a removal.
fn a_lost_notification(cloud: &Cloud) {
    cloud.lose_notifications();
    cloud.upload("unnoticed.yaml", "unnoticed:\n  schedule: null\n  tasks: {t: {operator: EmptyOperator}}\n");
    std::thread::sleep(Duration::from_secs(3));
    let there = || rows(&cloud.json(&["dags", "list"])).any(|row| row["dag_id"] == "unnoticed");
    let listed_by_tick = there();
    assert_eq!(cloud.invoke("SchedulerFunction", &json!({"reconcile": true})), Ok(Value::Null));
    assert!(there(), "it was there before: {listed_by_tick}");
}
