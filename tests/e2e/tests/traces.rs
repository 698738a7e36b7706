//! OpenTelemetry traces of a deployment, as a collector of this machine gets them: what several functions tell of a run is one trace.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use updraft_e2e::cloud::{Cloud, eventually};

/// How long a run of a few short tasks may take on a machine that is busy with other tests.
const SHORT: Duration = Duration::from_mins(1);

/// Spans, each with the function that told it.
type Spans = Arc<Mutex<Vec<(String, Value)>>>;

/// A collector that takes everything, and where it is.
fn collector() -> (String, Spans) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of this machine is free");
    let address = format!("http://{}", listener.local_addr().expect("a listener has an address"));
    let spans = Spans::default();
    let taken = spans.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let taken = taken.clone();
            std::thread::spawn(move || while take(&stream, &taken).is_some() {});
        }
    });
    (address, spans)
}

/// Takes one request; none where the connection has ended.
fn take(mut stream: &TcpStream, taken: &Spans) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
    }
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    let head = head.to_lowercase();
    let length = head.split_once("content-length:")?.1.lines().next()?.trim().parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let request: Value = serde_json::from_slice(&body).expect("it is JSON");
    for resource in listed(&request["resourceSpans"]) {
        let of = attribute(&resource["resource"], "faas.name");
        let spans = listed(&resource["scopeSpans"]).flat_map(|scope| listed(&scope["spans"]));
        taken.lock().expect("nobody panics with it").extend(spans.map(|span| (of.clone(), span.clone())));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

fn listed(values: &Value) -> impl Iterator<Item = &Value> {
    values.as_array().into_iter().flatten()
}

/// The text of an attribute; a number of 64 bits is one, too.
fn attribute(of: &Value, key: &str) -> String {
    let value = listed(&of["attributes"]).find(|one| one["key"] == key).map(|one| &one["value"]);
    let text = value.and_then(|value| value["stringValue"].as_str().or_else(|| value["intValue"].as_str()));
    text.unwrap_or_default().to_owned()
}

fn instant(span: &Value, key: &str) -> u64 {
    span[key].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("`{key}` is an instant in {span}"))
}

#[test]
fn what_functions_tell_of_a_run_is_one_trace() {
    let (address, spans) = collector();
    let cloud = Cloud::deploy(&[("TracesEndpoint", &address)]);
    let dag = "traced:\n  schedule: null\n  start_date: 2026-01-01\n  tasks:\n    first:\n      operator: BashOperator\n      \
               bash_command: echo here\n    second:\n      operator: BashOperator\n      bash_command: exit {{ 2 - ti.try_number }}\n      \
               retries: 1\n      retry_delay: 1\n      queue: python\n      dependencies: [first]\n";
    cloud.upload("traced.yaml", dag);
    cloud.await_dag("traced");
    let run_id = cloud.trigger("traced", &[]);
    assert_eq!(cloud.await_end("traced", &run_id, SHORT)["state"], "success");
    let all = eventually("the run's own span has come", SHORT, || {
        let all = spans.lock().expect("nobody panics with it").clone();
        if all.iter().any(|(_, span)| span["name"] == "traced") { Ok(all) } else { Err(format!("{all:?}")) }
    });

    let run = all.iter().find(|(_, span)| span["name"] == "traced").map(|(_, span)| span).expect("it has come");
    assert!(run["parentSpanId"].is_null() && run["status"].is_null(), "{run}");
    assert_eq!(attribute(run, "airflow.run_id"), run_id);
    assert_eq!(attribute(run, "airflow.state"), "success");
    let told = |name: &str| {
        let mut told: Vec<_> = all.iter().filter(|(_, span)| span["name"] == name).collect();
        told.sort_by_key(|(_, span)| instant(span, "startTimeUnixNano"));
        told
    };
    let (schedule, first, second) = (told("schedule"), told("first"), told("second"));
    assert_eq!((schedule.len(), first.len(), second.len()), (1, 1, 2), "{all:?}");
    let from = |of: &[&(String, Value)]| of.iter().map(|(from, _)| from.clone()).collect::<Vec<_>>();
    let name = |end: &str| format!("{}-{end}", cloud.output("TableName"));
    assert_eq!(from(&schedule), [name("scheduler")]);
    assert_eq!(from(&first), [name("worker")]);
    assert_eq!(from(&second), [name("python-worker"), name("python-worker")]);
    for (_, span) in schedule.iter().chain(&first).chain(&second) {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&run["traceId"], &run["spanId"]), "{span}");
        assert!(instant(span, "startTimeUnixNano") <= instant(span, "endTimeUnixNano"), "{span}");
    }
    let state = |(_, span): &(String, Value)| (attribute(span, "airflow.try_number"), attribute(span, "airflow.state"));
    let pair = |try_number: &str, state: &str| (try_number.to_owned(), state.to_owned());
    assert_eq!(state(second[0]), pair("1", "failed"));
    assert_eq!(state(second[1]), pair("2", "success"));
    let said = second[0].1["status"]["message"].as_str().unwrap_or_default();
    assert!(said.contains("exit"), "{said}");
}
