//! The supervisor of the processes that the tests of this crate start: their own executable is the test harness.

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == updraft_execution::SUPERVISE) {
        return updraft_execution::supervisor_main();
    }
    ExitCode::from(2)
}
