//! A server with an admin, whose password it has shown.

use crate::harness::Place;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before the test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    password: String,
    _place: Place,
}

impl Server {
    /// Starts one on a free port with the DAG files of `tests/client/dags`.
    pub(crate) fn start() -> Self {
        let place = Place::new();
        for file in std::fs::read_dir(crate::python::folder().join("dags")).unwrap().flatten() {
            place.write(
                &format!("dags/{}", file.file_name().to_string_lossy()),
                &std::fs::read_to_string(file.path()).unwrap(),
            );
        }
        let child = place
            .command(&["standalone", "--port", "0"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut server = Self { child, url: String::new(), password: String::new(), _place: place };
        let errors = BufReader::new(server.child.stderr.take().expect("piped"));
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < PATIENCE {
            let Ok(line) = lines.recv_timeout(Duration::from_secs(1)) else { continue };
            let word = line.trim();
            if word.len() == 20 && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()) {
                word.clone_into(&mut server.password);
            }
            if let Some((_, rest)) = line.split_once("ready: ") {
                rest.split_whitespace().next().unwrap_or_default().clone_into(&mut server.url);
                assert!(!server.password.is_empty(), "no password was shown: {seen:#?}");
                return server;
            }
            seen.push(line);
        }
        panic!("the server did not get ready: {seen:#?}");
    }

    /// A token of the admin.
    pub(crate) fn token(&self) -> String {
        let body = serde_json::json!({"username": "admin", "password": self.password}).to_string();
        let json = self.asked("/auth/token", "", &body);
        json["access_token"].as_str().unwrap_or_else(|| panic!("no token: {json}")).to_owned()
    }

    /// Asks as the admin for something to be made.
    pub(crate) fn post(&self, path: &str, body: &str) {
        let answer = self.asked(path, &format!("authorization: Bearer {}\r\n", self.token()), body);
        assert!(answer.get("detail").is_none(), "{path}: {answer}");
    }

    fn asked(&self, path: &str, headers: &str, body: &str) -> serde_json::Value {
        let address = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).expect("it listens");
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let json = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
        serde_json::from_str(json).unwrap_or_else(|_| panic!("no JSON: {answer}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
