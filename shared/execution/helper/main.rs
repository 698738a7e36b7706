//! An ordinary executable that runs attempts, for the tests of this crate: it can be killed where a test process cannot kill itself.

use std::io::Write;
use std::process::ExitCode;

use updraft_execution::{
    AttemptSpec, BashCall, Callable, Cancel, Launcher, LogSink, NoLookups, OperatorCall, PythonCall, SUPERVISE, run,
    supervisor_main,
};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
    match args.as_slice() {
        [first, ..] if *first == SUPERVISE => supervisor_main(),
        ["bash", command] => with_runtime(attempt(OperatorCall::Bash(BashCall::new(*command)))),
        ["python", path] => {
            let callable = Callable::File { path: path.into(), name: "f".to_owned() };
            with_runtime(attempt(OperatorCall::Python(PythonCall::new(callable))))
        }
        _ => ExitCode::from(2),
    }
}

fn with_runtime(future: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(_) => ExitCode::from(2),
    }
}

/// Writes the log to standard output.
struct Shown;

impl LogSink for Shown {
    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        std::io::stdout().write_all(chunk)
    }
}

/// Makes one attempt; the exit code says whether it succeeded.
async fn attempt(call: OperatorCall) -> ExitCode {
    let Ok(launcher) = Launcher::current_exe() else { return ExitCode::from(2) };
    let spec = AttemptSpec::new("dag", "task", "run", call);
    let report = run(&spec, &launcher, &mut Shown, &NoLookups, Cancel::never()).await;
    ExitCode::from(u8::from(report.outcome != updraft_execution::Outcome::Success))
}
