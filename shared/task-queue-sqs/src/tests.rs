//! The suite against an emulator, and what only SQS has.

use super::*;
use std::sync::atomic::{AtomicU32, Ordering};
use updraft_e2e::emulator::Emulator;
use updraft_e2e::script::{self, Script};
use updraft_model::{DagId, Incarnation, TaskIndex};

updraft_task_queue::queue_suite!(queues().await);

/// Two queues of their own for a test.
async fn queues() -> Sqs {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("suite-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let settings = Emulator::shared().settings().await;
    let client = Client::new(&settings);
    let make = async |lane: &str| {
        let made = client.create_queue().queue_name(format!("{name}-{lane}")).send().await.unwrap();
        made.queue_url.unwrap()
    };
    Sqs::new(&settings, make("tasks").await, make("looks").await)
}

fn task(dag_id: &str) -> Message {
    Message::Task {
        dag_id: DagId::trusted(dag_id),
        incarnation: Incarnation::trusted("i"),
        task: TaskIndex(7),
        try_number: 2,
        priority: -4,
        place: None,
        worker: WorkerKind::Plain,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_message_is_delivered_as_none_and_can_be_acknowledged() {
    let queues = queues().await;
    queues.client.send_message().queue_url(&queues.tasks).message_body("{\"look\":1}").send().await.unwrap();
    let got = queues.receive(Lane::Tasks, 10, Duration::from_secs(5)).await.unwrap();
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].message, None);
    queues.acknowledge(Lane::Tasks, &got[0].receipt).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_travels_with_its_dag_as_the_group() {
    let queues = queues().await;
    let sent = [task("suite.dag"), Message::Dag { dag_id: DagId::trusted("suite.dag") }].map(Outgoing::now);
    queues.send(&sent).await.unwrap();
    for (url, expected) in [(&queues.tasks, Some("suite.dag")), (&queues.looks, None)] {
        let group = aws_sdk_sqs::types::MessageSystemAttributeName::MessageGroupId;
        let receive = queues.client.receive_message().queue_url(url).wait_time_seconds(5);
        let answer = receive.message_system_attribute_names(group.clone()).send().await.unwrap();
        let message = &answer.messages()[0];
        assert_eq!(message.attributes().and_then(|all| all.get(&group)).map(String::as_str), expected);
        assert!(parse_body(message.body().unwrap()).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_want_python_have_a_queue_of_their_own_where_one_is_named() {
    let wants = |worker| match task("suite.dag") {
        Message::Task { dag_id, incarnation, task, try_number, priority, place, .. } => {
            Message::Task { dag_id, incarnation, task, try_number, priority, place, worker }
        }
        other => other,
    };
    let sent = [wants(WorkerKind::Python), wants(WorkerKind::Plain)].map(Outgoing::now);
    let (one, other) = (queues().await, queues().await);
    let python = Sqs { tasks: other.tasks.clone(), ..one.clone() };
    let received = async |queue: &Sqs| {
        let all = queue.receive(Lane::Tasks, 10, Duration::from_secs(5)).await.unwrap();
        let mut kinds = Vec::new();
        for delivery in all {
            queue.acknowledge(Lane::Tasks, &delivery.receipt).await.unwrap();
            let Some(Message::Task { worker, .. }) = delivery.message else { panic!("{delivery:?}") };
            kinds.push(worker);
        }
        kinds.sort();
        kinds
    };
    one.clone().with_python(Some(other.tasks)).send(&sent).await.unwrap();
    assert_eq!(received(&one).await, [WorkerKind::Plain]);
    assert_eq!(received(&python).await, [WorkerKind::Python]);
    let before = one.requests();
    one.send(&sent).await.unwrap();
    assert_eq!(one.requests() - before, 1, "a batch is one request");
    assert_eq!(received(&one).await, [WorkerKind::Plain, WorkerKind::Python], "one queue serves for both");
}

#[test]
fn callbacks_that_want_python_go_where_tasks_do() {
    let key = updraft_model::CallbackKey { incarnation: Incarnation::trusted("i"), id: "end.0.0".to_owned() };
    let config = Builder::new().behavior_version(aws_config::BehaviorVersion::v2026_01_12()).build();
    let one = Sqs {
        client: Client::from_conf(config),
        tasks: "t".into(),
        python: Some("p".into()),
        looks: "l".into(),
        requests: Arc::default(),
    };
    let to = |queues: &Sqs, worker| queues.url_for(&Message::Callback { key: key.clone(), worker }).to_owned();
    assert_eq!((to(&one, WorkerKind::Plain), to(&one, WorkerKind::Python)), ("t".to_owned(), "p".to_owned()));
    assert_eq!(to(&Sqs { python: None, ..one }, WorkerKind::Python), "t");
    // What earlier releases sent is read, and they read what is for plain workers.
    let old = r#"{"look_at":"callback","key":{"incarnation":"i","id":"end.0.0"}}"#;
    assert_eq!(parse_body(old), Some(Message::Callback { key: key.clone(), worker: WorkerKind::Plain }));
    let plain = Message::Callback { key: key.clone(), worker: WorkerKind::Plain };
    assert_eq!(serde_json::to_string(&plain).unwrap(), old);
}

#[test]
fn messages_of_releases_that_knew_one_kind_of_worker_are_read() {
    let old = r#"{"look_at":"task","dag_id":"d","incarnation":"i","task":3,"try_number":2,"priority":1}"#;
    let Some(read @ Message::Task { worker, .. }) = parse_body(old) else { panic!("it is a message") };
    assert_eq!(worker, WorkerKind::Plain);
    assert_eq!(serde_json::to_string(&read).unwrap(), old, "and those releases read what is sent to plain workers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_not_there_is_named_with_advice() {
    let queues = queues().await;
    let gone = format!("{}-gone", queues.tasks);
    let wrong = Sqs::new(&Emulator::shared().settings().await, &gone, &gone);
    for error in [
        wrong.send(&[Outgoing::now(task("d"))]).await.unwrap_err(),
        wrong.receive(Lane::Tasks, 1, Duration::ZERO).await.unwrap_err(),
    ] {
        assert!(error.0.contains(&gone) && error.0.contains("no such queue; hint: "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sqs_refuses_is_an_error_that_counts() {
    // Too large for a message: refused for good, so it is not sent again and again.
    let error = queues().await.send(&[Outgoing::now(task(&"d".repeat(2 << 20)))]).await.unwrap_err();
    assert!(error.0.contains("tasks"), "{error}");
}

/// Queues of a scripted server.
async fn scripted(answers: &[(u16, &str)]) -> (Script, Sqs) {
    let script = Script::start(answers);
    let url = |lane: &str| format!("{}/000000000000/{lane}", script.endpoint());
    let queues = Sqs::new(&script::settings(&script.endpoint()).await, url("tasks"), url("looks"));
    (script, queues)
}

#[tokio::test]
async fn only_what_sqs_could_not_take_is_sent_again() {
    let failed =
        |id: &str, by_us: bool| format!(r#"{{"Id":"{id}","Code":"Busy","SenderFault":{by_us},"Message":"m"}}"#);
    let part = |failed: &str| format!(r#"{{"Successful":[],"Failed":[{failed}]}}"#);
    let messages = ["first", "second"].map(|dag_id| Outgoing::now(task(dag_id)));

    let (script, queues) = scripted(&[(200, &part(&failed("1", false))), (200, &part(""))]).await;
    queues.send(&messages).await.unwrap();
    let asked = script.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].contains("first") && asked[0].contains("second"));
    assert!(!asked[1].contains("first") && asked[1].contains("second"), "{}", asked[1]);

    let (script, queues) = scripted(&[(200, &part(&failed("0", false)))]).await;
    let error = queues.send(&messages).await.unwrap_err();
    assert!(error.0.contains("did not take 1 of 2 messages, the first because of Busy: m"), "{error}");
    assert_eq!(script.asked().len(), 4);

    let (script, queues) = scripted(&[(200, &part(&failed("0", true)))]).await;
    queues.send(&messages).await.unwrap_err();
    assert_eq!(script.asked().len(), 1, "what SQS calls our fault is not repeated");
}

#[tokio::test]
async fn throttling_is_an_error_after_the_retries() {
    let throttled = r#"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"m"}"#;
    let (script, queues) = scripted(&[(400, throttled)]).await;
    let error = queues.send(&[Outgoing::now(task("d"))]).await.unwrap_err();
    assert!(error.0.contains("could not send to") && error.0.contains("RequestThrottled"), "{error}");
    assert_eq!(script.asked().len(), 3);
}

#[tokio::test]
async fn messages_are_asked_for_within_the_limits_of_sqs() {
    let (script, queues) = scripted(&[(200, "{}")]).await;
    assert_eq!(queues.receive(Lane::Tasks, 50, Duration::from_mins(2)).await.unwrap(), []);
    assert_eq!(queues.receive(Lane::Tasks, 0, Duration::ZERO).await.unwrap(), []);
    let asked = script.asked();
    assert_eq!(asked.len(), 1, "none are asked for without a request");
    assert!(
        asked[0].contains(r#""MaxNumberOfMessages":10"#) && asked[0].contains(r#""WaitTimeSeconds":20"#),
        "{asked:?}"
    );
}

#[test]
fn delays_are_rounded_up_and_cut() {
    for (millis, expected) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (899_001, 900), (900_000, 900), (5_000_000, 900)] {
        assert_eq!(delay_seconds(Duration::from_millis(millis)), expected, "{millis} ms");
    }
}

#[test]
fn a_group_is_what_sqs_takes() {
    assert_eq!(group(&task("a.b-c_d")).as_deref(), Some("a.b-c_d"));
    assert_eq!(group(&task("übung 1")).as_deref(), Some("_bung_1"));
    assert_eq!(group(&task(&"x".repeat(250))).map(|g| g.len()), Some(128));
    assert_eq!(group(&Message::Run { incarnation: Incarnation::trusted("i") }), None);
}

#[test]
fn a_body_is_read_and_anything_else_is_none() {
    let message = task("d");
    assert_eq!(parse_body(&serde_json::to_string(&message).unwrap()), Some(message));
    for other in ["", "null", "{}", r#"{"look_at":"moon"}"#, r#"{"look_at":"run"}"#] {
        assert_eq!(parse_body(other), None, "{other}");
    }
}
