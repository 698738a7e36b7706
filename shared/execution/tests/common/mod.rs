//! What the tests of this crate share.

#![expect(dead_code, reason = "each test target uses another part of it")]

use std::path::Path;
use std::time::{Duration, Instant};

use updraft_execution::{
    AttemptSpec, BashCall, Callable, Cancel, Launcher, NoXComs, OperatorCall, PythonCall, Report, run,
};

/// How long anything may take that must happen; far more than it needs, because other tests run beside it.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

pub(crate) fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_updraft-execution-helper"))
}

pub(crate) fn spec(operator: OperatorCall) -> AttemptSpec {
    AttemptSpec::new("my_dag", "my_task", "my_run", operator)
}

pub(crate) fn bash(command: &str) -> AttemptSpec {
    spec(OperatorCall::Bash(BashCall::new(command)))
}

/// An attempt's report and the log that its sink was given.
pub(crate) async fn finish(spec: &AttemptSpec) -> (Report, String) {
    let mut log = Vec::new();
    let report = run(spec, &launcher(), &mut log, &NoXComs, Cancel::never()).await;
    (report, String::from_utf8(log).expect("the sink is given UTF-8"))
}

/// Calls `name` of a file with this content.
pub(crate) fn python_file(directory: &Path, source: &str, name: &str) -> AttemptSpec {
    let path = directory.join("callables.py");
    std::fs::write(&path, source).expect("the temporary directory can be written");
    spec(OperatorCall::Python(PythonCall {
        callable: Callable::File { path, name: name.to_owned() },
        op_args: Vec::new(),
        op_kwargs: serde_json::Map::new(),
        templates_dict: None,
        search_path: Vec::new(),
        cwd: None,
    }))
}

/// Polls until `met` gives a value.
pub(crate) async fn until<T>(what: &str, mut met: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = met() {
            return value;
        }
        assert!(start.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The processes, zombies left out, whose environment carries this marker.
pub(crate) fn marked(marker: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("there is a /proc").flatten() {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == format!("MARKER={marker}").as_bytes()) {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(format!("{:?}: {}", entry.file_name(), String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// A bash attempt whose processes can be found by [`marked`].
pub(crate) fn bash_marked(marker: &str, command: &str) -> AttemptSpec {
    let env = [("MARKER".to_owned(), marker.to_owned())].into();
    spec(OperatorCall::Bash(BashCall { env: Some(env), append_env: true, ..BashCall::new(command) }))
}

/// A text that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}
