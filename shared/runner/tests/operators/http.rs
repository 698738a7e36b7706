//! Requests to a server of this process.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::World;

/// A server that remembers what it was asked. `/status/N` answers with that status, `/later` with 404 twice and then 200, `/to` leads to
/// `/end`, anything else echoes.
async fn server() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 65536];
            let mut length = 0;
            let text = loop {
                let read = stream.read(&mut bytes[length..]).await.unwrap_or(0);
                length += read;
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    let wanted = head
                        .lines()
                        .find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                    if body.len() >= wanted.unwrap_or(0) || read == 0 {
                        break text;
                    }
                }
                if read == 0 {
                    break text;
                }
            };
            let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
            let count = {
                let mut seen = seen.lock().unwrap();
                seen.push(text.clone());
                seen.len()
            };
            let (status, more) = match path.as_str() {
                "/to" => ("302 Found".to_owned(), "Location: /end\r\n"),
                "/later" if count < 3 => ("404 Not Found".to_owned(), ""),
                path if path.starts_with("/status/") => (format!("{} Said", &path[8..]), ""),
                _ => ("200 OK".to_owned(), ""),
            };
            let body = format!("{{\"path\": \"{path}\"}}");
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, asked)
}

#[tokio::test]
async fn a_request_is_made_as_the_task_says() {
    let (address, asked) = server().await;
    let check = "
def good(response): return response.status_code == 200 and response.json()['path'] == '/x'
def bad(response): return False
def path(response): return response.json()['path']
";
    for (more, state, returned, sent) in [
        (
            "method: GET, data: {a: 'b c', d: 1}",
            "success",
            Some(json!("{\"path\": \"/x?a=b+c&d=1\"}")),
            "GET /x?a=b+c&d=1 HTTP",
        ),
        ("data: {a: 1}", "success", Some(json!("{\"path\": \"/x\"}")), "\r\n\r\na=1"),
        (
            "data: {a: '{{ 1 + 1 }}'}, headers: {Content-Type: application/json}",
            "success",
            Some(json!("{\"path\": \"/x\"}")),
            "\r\n\r\n{\"a\":\"2\"}",
        ),
        ("data: plain, method: PUT", "success", Some(json!("{\"path\": \"/x\"}")), "\r\n\r\nplain"),
        ("request_kwargs: {json: {a: [1]}}", "success", Some(json!("{\"path\": \"/x\"}")), "\r\n\r\n{\"a\":[1]}"),
        ("headers: {X-Mine: '{{ task.task_id }}'}", "success", Some(json!("{\"path\": \"/x\"}")), "x-mine: a\r\n"),
        ("response_check: checks.good", "success", Some(json!("{\"path\": \"/x\"}")), ""),
        ("response_check: checks.bad", "failed", None, ""),
        ("response_filter: checks.path", "success", Some(json!("/x")), ""),
    ] {
        asked.lock().unwrap().clear();
        let dag = format!(
            "d: {{schedule: null, tasks: {{a: {{operator: HttpOperator, endpoint: 'http://{address}/x', {more}}}}}}}"
        );
        let ran = World::new(&[("d.yaml", &dag), ("checks.py", check)]).await.run().await;
        assert_eq!(ran.states, [format!("a={state}")], "{more}: {}", ran.message("a"));
        assert_eq!(ran.returned("a"), returned, "{more}");
        let asked = asked.lock().unwrap().clone();
        assert!(asked.len() == 1 && asked[0].contains(sent), "{more}: {asked:?}");
    }
}

#[tokio::test]
async fn an_error_status_fails_unless_it_is_not_checked() {
    let (address, _) = server().await;
    for (path, more, state, said) in [
        ("status/500", "", "failed", "500:"),
        ("status/404", "", "failed", "404:"),
        ("status/500", "extra_options: {check_response: false},", "success", ""),
        ("status/204", "", "success", ""),
        ("to", "method: GET,", "success", ""),
        ("to", "method: GET, extra_options: {allow_redirects: false},", "success", ""),
        ("x", "extra_options: {verify: false},", "failed", "verify"),
        ("x", "extra_options: {timeout: soon},", "failed", "timeout"),
    ] {
        let ran =
            World::run_of(&format!("a: {{operator: HttpOperator, {more} endpoint: 'http://{address}/{path}'}}")).await;
        assert_eq!(ran.states, [format!("a={state}")], "{path} {more}: {}", ran.message("a"));
        assert!(ran.message("a").contains(said), "{path} {more}: {}", ran.message("a"));
        if path == "to" {
            let end = if more.contains("false") { "/to" } else { "/end" };
            assert_eq!(ran.returned("a"), Some(json!(format!("{{\"path\": \"{end}\"}}"))), "{more}");
        }
    }
    let ran = World::run_of("a: {operator: HttpOperator, endpoint: 'http://127.0.0.1:1/x'}").await;
    assert!(ran.message("a").contains("could not be reached"), "{}", ran.message("a"));
    let ran = World::run_of("a: {operator: HttpOperator, endpoint: x}").await;
    assert!(ran.message("a").contains("http_default"), "{}", ran.message("a"));
}

#[tokio::test]
async fn a_connection_says_where_and_who() {
    let (address, asked) = server().await;
    let mut world = World::of("a: {operator: HttpOperator, method: GET, http_conn_id: api, endpoint: v1/x}").await;
    let (host, port) = address.split_once(':').unwrap();
    let connection = updraft_model::Connection {
        conn_id: "api".to_owned(),
        conn_type: "http".to_owned(),
        host: Some(host.to_owned()),
        port: port.parse().ok(),
        login: Some("me".to_owned()),
        password: Some("hunter22".to_owned()),
        extra: Some(r#"{"X-Team": "data", "timeout": 5}"#.to_owned()),
        ..Default::default()
    };
    world.engine.store.put_connection(&connection).await.unwrap();
    let ran = world.run().await;
    assert_eq!(ran.states, ["a=success"], "{}", ran.message("a"));
    let asked = asked.lock().unwrap().clone();
    for sent in ["GET /v1/x HTTP", "authorization: Basic bWU6aHVudGVyMjI=", "x-team: data"] {
        assert!(asked[0].contains(sent), "{sent}: {asked:?}");
    }
    assert!(!asked[0].contains("timeout"), "{asked:?}");
}

#[tokio::test]
async fn an_answer_is_waited_for() {
    for (path, more, state, requests) in [
        ("later", "", "success", 3),
        ("later", "mode: reschedule,", "success", 3),
        ("status/500", "", "failed", 1),
        ("status/503", "response_error_codes_allowlist: ['404', '503'], timeout: 100,", "failed", 3),
        ("x", "response_check: checks.never, timeout: 100,", "failed", 3),
    ] {
        let (address, asked) = server().await;
        let dag = format!(
            "d: {{schedule: null, tasks: {{a: {{operator: HttpSensor, {more} endpoint: 'http://{address}/{path}'}}}}}}"
        );
        let ran = World::new(&[("d.yaml", &dag), ("checks.py", "def never(response): return ''")]).await.run().await;
        assert_eq!(ran.states, [format!("a={state}")], "{path} {more}: {}", ran.message("a"));
        assert_eq!(asked.lock().unwrap().len(), requests, "{path} {more}");
    }
}
