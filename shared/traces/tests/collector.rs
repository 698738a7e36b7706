//! Spans on the wire, as a collector of this machine gets them.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt;
use updraft_traces::{TARGET, Traces};

/// A collector that answers so, and hands over each request: its head, and its body.
fn collector(status: &'static str) -> (String, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = format!("http://{}", listener.local_addr().expect("a listener has an address"));
    let (sent, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut writer = stream.try_clone().expect("a stream can be shared");
            let mut reader = BufReader::new(stream);
            loop {
                let mut head = String::new();
                while reader.read_line(&mut head).is_ok_and(|read| read > 0) && !head.ends_with("\r\n\r\n") {}
                let lower = head.to_lowercase();
                let Some((_, length)) = lower.split_once("content-length:") else { break };
                let length: usize =
                    length.lines().next().unwrap_or_default().trim().parse().expect("a length is a number");
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the body is whole");
                if sent.send((lower, body)).is_err() {
                    return;
                }
                write!(writer, "HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}").expect("the client listens");
            }
        }
    });
    (address, received)
}

fn traces(address: &str) -> Traces {
    let variable = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(address.to_owned()),
        "OTEL_EXPORTER_OTLP_HEADERS" => Some("api-key=a%20b".to_owned()),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("500".to_owned()),
        "AWS_LAMBDA_FUNCTION_NAME" => Some("updraft-worker".to_owned()),
        _ => None,
    };
    Traces::configured(variable).expect("it can be used").expect("a collector is named")
}

/// Tells a run with one attempt, which failed, and something that is no span.
fn tell(traces: &Traces) {
    with_default(tracing_subscriber::registry().with(traces.layer()), || {
        tracing::debug!(
            target: TARGET, trace = "i1", root = 0_u32, id = "t1", name = "load", begin_us = 1_000_000_i64, end_us = 3_000_000_i64,
            error = Some("exit status 1"), airflow.task_id = "load", airflow.map_index = -1_i64, host.name = None::<&str>,
        );
        tracing::debug!(
            target: TARGET, trace = "i1", root = 0_u32, id = "", name = "etl", begin_us = 500_000_i64, end_us = 4_000_000_i64,
            error = None::<&str>, airflow.state = %"success",
        );
        tracing::debug!(target: TARGET, trace = "i1", "no times");
    });
}

fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let found = of["attributes"].as_array().and_then(|all| all.iter().find(|one| one["key"] == key));
    found.map_or(&Value::Null, |one| &one["value"])
}

#[tokio::test]
async fn spans_of_a_run_are_one_trace() {
    let (address, received) = collector("200 OK");
    let traces = traces(&address);
    tell(&traces);
    traces.flush().await;
    let (head, body) = received.recv().unwrap();
    assert!(head.starts_with("post /v1/traces ") && head.contains("content-type: application/json\r\n"), "{head}");
    assert!(head.contains("api-key: a b\r\n"), "{head}");
    let body: Value = serde_json::from_slice(&body).unwrap();
    let resource = &body["resourceSpans"][0];
    assert_eq!(attribute(&resource["resource"], "service.name"), &json!({"stringValue": "updraft"}), "{body:#}");
    assert_eq!(attribute(&resource["resource"], "faas.name"), &json!({"stringValue": "updraft-worker"}), "{body:#}");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let [attempt, run] = &spans[..] else { panic!("{body:#}") };
    assert_eq!(attempt["traceId"], run["traceId"]);
    assert_eq!(attempt["parentSpanId"], run["spanId"]);
    assert_eq!(run["parentSpanId"].as_str().unwrap_or_default(), "");
    assert!(attempt["traceId"].as_str().is_some_and(|id| id.len() == 32), "{attempt}");
    assert!(attempt["spanId"].as_str().is_some_and(|id| id.len() == 16), "{attempt}");
    assert_eq!((&attempt["status"]["code"], &run["status"]), (&json!(2), &Value::Null));
    assert_eq!((&attempt["name"], &run["name"]), (&json!("load"), &json!("etl")));
    assert_eq!(attempt["startTimeUnixNano"], "1000000000");
    assert_eq!(attempt["endTimeUnixNano"], "3000000000");
    assert_eq!(attempt["status"]["message"], "exit status 1");
    assert_eq!(attribute(attempt, "airflow.task_id"), &json!({"stringValue": "load"}));
    assert_eq!(attribute(attempt, "airflow.map_index"), &json!({"intValue": "-1"}));
    assert_eq!(attribute(run, "airflow.state"), &json!({"stringValue": "success"}));
    assert_eq!(attribute(attempt, "host.name"), &Value::Null);

    // What was sent is not sent again, and with nothing to send nobody is asked.
    traces.flush().await;
    assert!(received.try_recv().is_err());
}

/// Nobody waits for a collector that refuses, is away, or is silent.
#[tokio::test]
async fn what_is_not_taken_is_lost_and_nothing_else_is() {
    let (refusing, received) = collector("400 Bad Request");
    let traces_refused = traces(&refusing);
    tell(&traces_refused);
    traces_refused.flush().await;
    assert!(received.recv().is_ok());
    let away = traces("http://127.0.0.1:1");
    tell(&away);
    away.flush().await;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_traces = traces(&format!("http://{}", silent.local_addr().unwrap()));
    tell(&silent_traces);
    let flushed = tokio::time::timeout(std::time::Duration::from_secs(20), silent_traces.flush());
    flushed.await.expect("a collector that says nothing is not waited for");
}
