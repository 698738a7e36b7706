//! A server in a place of its own.

use crate::harness::Place;
use std::io::{BufRead, BufReader};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long anything may take on a busy machine before the test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A running server. Dropping it kills it, and with it everything it started.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

impl Server {
    /// Starts one on a free port and waits until it is ready.
    pub(crate) fn start(place: &Place, more: &[&str]) -> Self {
        let mut arguments = vec!["standalone", "--port", "0"];
        arguments.extend(more);
        let child = place.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut server = Self { child, url: String::new() };
        let errors = BufReader::new(server.child.stderr.take().expect("piped"));
        let (send, lines) = mpsc::channel();
        // Reads to the end, so that the server never waits for a full pipe.
        std::thread::spawn(move || errors.lines().map_while(Result::ok).for_each(|line| drop(send.send(line))));
        let begun = Instant::now();
        let mut seen = Vec::new();
        while begun.elapsed() < PATIENCE {
            let Ok(line) = lines.recv_timeout(Duration::from_secs(1)) else { continue };
            if let Some((_, rest)) = line.split_once("ready: ") {
                rest.split_whitespace().next().unwrap_or_default().clone_into(&mut server.url);
                return server;
            }
            seen.push(line);
        }
        panic!("the server did not get ready: {seen:#?}");
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            std::process::Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub(crate) fn crash(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        eventually("the server ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.expect("just seen")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is so; fails when it takes too long.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "in {PATIENCE:?} it did not come to pass that {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Triggers a run and returns its id.
pub(crate) fn trigger(place: &Place, dag_id: &str) -> String {
    let triggered = place.json(&["dags", "trigger", dag_id, "--output", "json"]);
    triggered[0]["dag_run_id"].as_str().expect("a run has an id").to_owned()
}

/// The state of a run.
pub(crate) fn run_state(place: &Place, dag_id: &str, run_id: &str) -> String {
    let runs = place.json(&["dags", "list-runs", dag_id, "--output", "json"]);
    let runs = runs.as_array().expect("a list");
    let run = runs.iter().find(|run| run["run_id"] == run_id);
    run.map(|run| run["state"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// Waits until a run has this state.
pub(crate) fn expect_run(place: &Place, dag_id: &str, run_id: &str, state: &str) {
    eventually(&format!("`{run_id}` is {state}"), || run_state(place, dag_id, run_id) == state);
}

/// The states of a run's task instances, as `task=state` in the order of the DAG; nothing where there is no state yet.
pub(crate) fn task_states(place: &Place, dag_id: &str, run_id: &str) -> Vec<String> {
    let states = place.json(&["tasks", "states-for-dag-run", dag_id, run_id, "--output", "json"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let states = states.as_array().expect("a list").clone();
    states.iter().map(|ti| format!("{}={}", text(&ti["task_id"]), text(&ti["state"]))).collect()
}

/// What a task returned.
pub(crate) fn returned(place: &Place, dag_id: &str, run_id: &str, task_id: &str) -> serde_json::Value {
    place.json(&["xcom", "get", dag_id, run_id, task_id, "--output", "json"])
}

#[test]
fn a_second_server_is_refused_and_a_taken_port_too() {
    let place = Place::new();
    place.write("dags/empty.yaml", "");
    let server = Server::start(&place, &[]);
    let second = place.output(&["standalone", "--port", "0"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another server") && said.contains(&server.url), "{said}");
    let port = server.url.rsplit(':').next().expect("a url ends in its port");
    let third = place.output(&["standalone", "--home", "other", "--port", port]);
    let said = String::from_utf8_lossy(&third.stderr).into_owned();
    assert_eq!(third.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{port}")) && said.contains("--port"), "{said}");
}

#[test]
fn a_missing_folder_is_said_with_a_way_out() {
    let place = Place::new();
    let output = place.output(&["standalone", "--port", "0"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("no DAG folder") && said.contains("mkdir"), "{said}");
}
