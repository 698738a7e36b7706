//! Callbacks, from a DAG file to whoever is told: processes, a webhook, a mail server, SNS.

use crate::world::World;
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use updraft_clock::Clock;
use updraft_model::{CallbackDoc, CallbackState, Connection, RunDoc, WorkerKind};
use updraft_notify::{Boxed, Signed, SnsSigner};

type Heard = Arc<Mutex<Vec<String>>>;

/// A server that hears requests; the first so many it refuses.
async fn webhook(refused: usize) -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Heard::default();
    let hears = heard.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            loop {
                let read = stream.read(&mut piece).await.unwrap();
                request.extend_from_slice(&piece[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")
                        .map(|n| n.trim().parse::<usize>().unwrap())
                });
                if body.len() >= length.unwrap_or(0) || read == 0 {
                    break;
                }
            }
            let number = {
                let mut heard = hears.lock().unwrap();
                heard.push(String::from_utf8_lossy(&request).into_owned());
                heard.len()
            };
            let status = if number > refused { "200 OK" } else { "503 Service Unavailable" };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, heard)
}

/// A mail server that takes everything.
async fn mail_server() -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let hears = heard.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let hears = hears.clone();
            tokio::spawn(async move {
                let (reader, mut writer) = stream.into_split();
                let mut lines = BufReader::new(reader).lines();
                writer.write_all(b"220 here\r\n").await.unwrap();
                let mut in_letter = false;
                while let Ok(Some(line)) = lines.next_line().await {
                    hears.lock().unwrap().push(line.clone());
                    let answer: &[u8] = match (in_letter, line.as_str()) {
                        (true, ".") => {
                            in_letter = false;
                            b"250 taken\r\n"
                        }
                        (true, _) => continue,
                        (false, "DATA") => {
                            in_letter = true;
                            b"354 go on\r\n"
                        }
                        (false, "QUIT") => b"221 bye\r\n",
                        _ => b"250 fine\r\n",
                    };
                    writer.write_all(answer).await.unwrap();
                }
            });
        }
    });
    (port, heard)
}

async fn callbacks(world: &World, run: &RunDoc) -> Vec<CallbackDoc> {
    world.engine.store.callbacks_of(&run.facts.incarnation).await.unwrap()
}

fn stands(callbacks: &[CallbackDoc]) -> Vec<String> {
    callbacks.iter().map(|c| format!("{:?}", c.state)).collect()
}

const CALLABLES: &str = "
import os

def note(context, where=None, **more):
    ti = context['ti']
    with open(where or os.environ['NOTES'], 'a') as file:
        print(ti.task_id, ti.state, context.get('exception'), context.get('reason'), context['params'], more, file=file)

class Notifier:
    def __init__(self, where):
        self.where = where

    def notify(self, context):
        note(context, self.where, by='class')

async def later(where, context):
    note(context, where, by='deadline')
";

fn noted(path: &std::path::Path) -> Vec<String> {
    let mut lines: Vec<String> = std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn every_occasion_is_told_once_and_in_every_spelling() {
    let place = tempfile::tempdir().unwrap();
    let notes = place.path().join("notes");
    let w = notes.display();
    let dag = format!(
        "d:
  schedule: null
  params: {{p: 1}}
  default_args:
    on_failure_callback: {{callback: cb.note, where: {w}, n: default}}
  on_failure_callback: [{{callback: cb.note, where: {w}, n: dag}}, {{bash_command: 'echo dag $AIRFLOW_CTX_REASON {{{{ run_id[:8] }}}} >> {w}'}}]
  on_success_callback: {{callback: cb.note, where: {w}, n: never}}
  tasks:
    good:
      operator: EmptyOperator
      on_success_callback: [{{callback: cb.Notifier, where: {w}}}, {{bash_command: 'echo bash $AIRFLOW_CTX_TASK_STATE {{{{ ti.task_id }}}} >> {w}'}}]
      on_execute_callback: {{callback: cb.note, where: {w}, n: begins}}
    skipped:
      operator: BashOperator
      bash_command: exit 99
      on_skipped_callback_name: note
      on_skipped_callback_file: cb.py
    bad:
      operator: BashOperator
      bash_command: exit 3
      retries: 1
      retry_delay: 1
      on_retry_callback: {{callback: cb.note, where: {w}, n: again}}
"
    );
    let dag = dag.replace(
        "on_skipped_callback_name: note\n      on_skipped_callback_file: cb.py",
        &format!("on_skipped_callback: {{callback: cb.note, where: {w}}}"),
    );
    let mut world = World::new(&[("d.yaml", &dag), ("cb.py", CALLABLES)]).await;
    let run = world.trigger("d", Value::Null).await;
    let ran = world.finish(run.clone()).await;
    assert_eq!(ran.states, ["good=success", "skipped=skipped", "bad=failed"]);
    world.work().await;
    let found = callbacks(&world, &run).await;
    assert!(found.iter().all(|c| c.state == CallbackState::Success && c.tries == 1), "{found:#?}");
    let lines = noted(&notes);
    let expected = [
        "bad failed exit code 3 None {'p': 1} {'n': 'default'}",
        "bad None exit code 3 task_failure {'p': 1} {'n': 'dag'}",
        "bad up_for_retry exit code 3 None {'p': 1} {'n': 'again'}",
        "bash success good",
        "dag task_failure manual__",
        "good running None None {'p': 1} {'n': 'begins'}",
        "good success None None {'p': 1} {'by': 'class'}",
        "skipped skipped None None {'p': 1} {}",
    ];
    let mut lines: Vec<String> = lines
        .into_iter()
        .map(|line| line.replace("Bash command failed. The command returned a non-zero exit code 3.", "exit code 3"))
        .collect();
    lines.sort();
    let mut expected: Vec<String> = expected.map(str::to_owned).into();
    expected.sort();
    assert_eq!(lines, expected, "{found:#?}");
}

/// A callback that fails is called again, with growing pauses; one that always fails ends as a failure that can be seen. The run ends
/// without waiting for either.
#[tokio::test]
async fn what_fails_is_called_again_and_given_up() {
    let (url, heard) = webhook(2).await;
    let dag = "d:\n  schedule: null\n  tasks:\n    t:\n      operator: BashOperator\n      bash_command: 'true'\n      on_success_callback:\n      \
         - {callback: airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier, slack_webhook_conn_id: hook, text: 'done: {{ ti.task_id }}'}\n      \
         - {callback: cb.fails}\n";
    let mut world =
        World::new(&[("d.yaml", dag), ("cb.py", "def fails(context):\n    raise ValueError('no')\n")]).await;
    let connection = json!({"conn_id": "hook", "conn_type": "slackwebhook", "host": url, "password": "T0/sekrit99"});
    let connection: Connection = serde_json::from_value(connection).unwrap();
    world.engine.store.put_connection(&connection).await.unwrap();
    let run = world.trigger("d", Value::Null).await;
    let ran = world.finish(run.clone()).await;
    assert_eq!(ran.states, ["t=success"]);
    for _ in 0..40 {
        world.work().await;
        world.clock.leap(SignedDuration::from_secs(30));
        world.engine.tick().await.unwrap();
    }
    let found = callbacks(&world, &run).await;
    assert_eq!(stands(&found), ["Success", "Failed"], "{found:#?}");
    assert_eq!((found[0].tries, found[1].tries), (3, 5));
    // What is a function goes to workers with Python, each time anew; all else to any.
    let asked = |number: usize, worker| {
        let id = &found[number].key.id;
        let to: Vec<WorkerKind> = world.asked.iter().filter(|(asked, _)| asked == id).map(|(_, kind)| *kind).collect();
        to.len() >= found[number].tries as usize && to.iter().all(|kind| *kind == worker)
    };
    assert!(asked(0, WorkerKind::Plain) && asked(1, WorkerKind::Python), "{:?}", world.asked);
    assert!(found[1].message.as_deref().is_some_and(|m| m.contains("ValueError: no")), "{found:#?}");
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 3);
    assert!(heard[2].starts_with("POST /T0/sekrit99 ") && heard[2].ends_with(r#"{"text":"done: t"}"#), "{}", heard[2]);
    let shown = format!("{found:?}");
    assert!(!shown.contains("sekrit99"), "{shown}");
    // Kept for a day, so that whoever notes it late does not have it called again; then gone.
    world.clock.leap(SignedDuration::from_hours(25));
    world.engine.tick().await.unwrap();
    assert!(callbacks(&world, &run).await.is_empty());
}

#[derive(Debug)]
struct Unsigned(String);

impl SnsSigner for Unsigned {
    fn sign<'a>(&'a self, region: Option<&'a str>, _: &'a str, _: &'a str) -> Boxed<'a, Result<Signed, String>> {
        let headers = vec![("x-region".to_owned(), region.unwrap_or_default().to_owned())];
        Box::pin(async move { Ok(Signed { url: format!("{}/", self.0), headers }) })
    }
}

#[tokio::test]
async fn sns_and_mail_are_told_as_airflows_notifiers_tell_them() {
    let ((url, published), (port, mailed)) = (webhook(0).await, mail_server().await);
    let dag = "d:
  schedule: null
  on_success_callback:
  - callback: airflow.providers.amazon.aws.notifications.sns.SnsNotifier
    target_arn: arn:aws:sns:eu-west-1:000000000000:news
    subject: '{{ dag.dag_id }} is {{ reason }}'
    message: 'ended: {{ run_id[:8] }} & more'
    message_attributes: {kind: end, n: 2}
  - callback: airflow.providers.smtp.notifications.smtp.send_smtp_notification
    from_email: a@example.org
    to: [b@example.org, c@example.org]
    subject: 'about {{ dag.dag_id }}'
    html_content: <b>fine</b>
  tasks:
    t: {operator: BashOperator, bash_command: 'true'}
";
    let mut world = World::new(&[("d.yaml", dag)]).await;
    world.runner.sns = Some(Arc::new(Unsigned(url)));
    let extra = r#"{"disable_ssl": true, "disable_tls": true}"#;
    let mail =
        json!({"conn_id": "smtp_default", "conn_type": "smtp", "host": "127.0.0.1", "port": port, "extra": extra});
    let mail: Connection = serde_json::from_value(mail).unwrap();
    world.engine.store.put_connection(&mail).await.unwrap();
    let run = world.trigger("d", Value::Null).await;
    world.finish(run.clone()).await;
    world.work().await;
    let found = callbacks(&world, &run).await;
    assert_eq!(stands(&found), ["Success", "Success"], "{found:#?}");
    let request = published.lock().unwrap()[0].clone();
    assert!(request.contains("x-region: eu-west-1"), "{request}");
    for part in [
        "Action=Publish",
        "TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A000000000000%3Anews",
        "Message=ended%3A+manual__+%26+more",
        "Subject=d+is+success",
        "MessageAttributes.entry.1.Name=kind",
        "MessageAttributes.entry.2.Value.DataType=Number",
    ] {
        assert!(request.contains(part), "{part}: {request}");
    }
    let mailed = mailed.lock().unwrap().join("\n");
    for part in [
        "MAIL FROM:<a@example.org>",
        "RCPT TO:<b@example.org>",
        "RCPT TO:<c@example.org>",
        "Subject: about d",
        "<b>fine</b>",
    ] {
        assert!(mailed.contains(part), "{part}: {mailed}");
    }
}

/// As in Airflow, of as many of the latest runs as have to be there, and none where there are fewer.
#[tokio::test]
async fn a_deadline_counts_from_what_runs_took_on_average() {
    let place = tempfile::tempdir().unwrap();
    let notes = place.path().join("notes");
    let w = notes.display();
    let dag = format!(
        "d:
  schedule: null
  deadline:
  - reference: {{AVERAGE_RUNTIME: {{max_runs: 3, min_runs: 2}}}}
    interval: 60
    callback: {{bash_command: 'echo late >> {w}'}}
  - {{reference: AVERAGE_RUNTIME, interval: 60, callback: {{bash_command: 'echo never >> {w}'}}}}
  tasks:
    s: {{operator: BashSensor, bash_command: 'test -e {w}.go', mode: reschedule, poke_interval: 1}}
"
    );
    let mut world = World::new(&[("d.yaml", &dag)]).await;
    let mut took: Vec<i64> = Vec::new();
    for minutes in [50, 2, 4, 9] {
        let _ = std::fs::remove_file(format!("{w}.go"));
        let run = world.trigger("d", Value::Null).await;
        let latest = &took[took.len().saturating_sub(3)..];
        let expected = (latest.len() >= 2).then(|| latest.iter().sum::<i64>() / latest.len() as i64 + 60_000);
        let left = run.deadline_at.map(|at| at.as_millisecond() - run.facts.queued_at.as_millisecond());
        // Both are whole milliseconds, of instants that are not.
        assert!(left.zip(expected).map_or(left == expected, |(a, b)| (a - b).abs() <= 2), "{left:?} {expected:?}");
        world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
        world.work().await;
        world.clock.leap(SignedDuration::from_mins(minutes));
        std::fs::write(format!("{w}.go"), "").unwrap();
        let incarnation = run.facts.incarnation.clone();
        let ran = world.finish(run).await;
        assert_eq!(ran.states, ["s=success"]);
        let run = world.engine.store.run(&incarnation).await.unwrap().unwrap();
        took.push(run.end_date.unwrap().duration_since(run.start_date.unwrap()).as_millis() as i64);
    }
    let _ = std::fs::remove_file(format!("{w}.go"));
    let run = world.trigger("d", Value::Null).await;
    world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
    for _ in 0..3 {
        world.work().await;
        world.clock.leap(SignedDuration::from_mins(4));
        world.engine.tick().await.unwrap();
    }
    world.work().await;
    assert_eq!(noted(&notes), ["late"]);
}

/// A run that is late is told of by the time index: once for each deadline, and not at all where it has succeeded.
#[tokio::test]
async fn a_missed_deadline_is_told() {
    let place = tempfile::tempdir().unwrap();
    let notes = place.path().join("notes");
    let w = notes.display();
    let deadlines = format!(
        "  deadline:
  - reference: {{__type__: airflow.sdk.DeadlineReference.DAGRUN_QUEUED_AT}}
    interval: 60
    callback: {{__type__: airflow.sdk.AsyncCallback, __args__: [cb.later], kwargs: {{where: {w}}}}}
  - {{reference: DAGRUN_QUEUED_AT, interval: 1h, callback: {{bash_command: 'echo hour >> {w}'}}}}
  - {{reference: DAGRUN_LOGICAL_DATE, interval: 10d, callback: {{bash_command: 'echo never >> {w}'}}}}
"
    );
    let waits = format!(
        "d:\n  schedule: null\n{deadlines}  tasks:\n    s: {{operator: BashSensor, bash_command: 'test -e {w}.go', mode: reschedule, poke_interval: 600}}\n"
    );
    let quick = format!("q:\n  schedule: null\n{deadlines}  tasks:\n    t: {{operator: EmptyOperator}}\n");
    let mut world = World::new(&[("d.yaml", &format!("{waits}{quick}")), ("cb.py", CALLABLES)]).await;
    let quick = world.trigger("q", Value::Null).await;
    world.finish(quick.clone()).await;
    let run = world.trigger("d", Value::Null).await;
    world.engine.look_at_run(&run.facts.incarnation, updraft_service::runs::Leases::Heed).await.unwrap();
    for _ in 0..20 {
        world.work().await;
        world.clock.leap(SignedDuration::from_mins(5));
        world.engine.tick().await.unwrap();
    }
    world.work().await;
    std::fs::write(format!("{w}.go"), "").unwrap();
    let now = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
    let ran = world.finish(now).await;
    assert_eq!(ran.states, ["s=success"]);
    for _ in 0..5 {
        world.clock.leap(SignedDuration::from_hours(24 * 11));
        world.engine.tick().await.unwrap();
        world.work().await;
    }
    assert_eq!(noted(&notes), ["hour", "s None None deadline_missed {} {'by': 'deadline'}"]);
    for run in [&quick, &run] {
        let run = world.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
        assert_eq!((run.wake_at, run.deadline_at, run.outbox.len()), (None, None, 0));
    }
    assert!(world.clock.now() > run.facts.queued_at);
}
