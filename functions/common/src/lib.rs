//! What every Lambda function does the same way: its settings, its logs, its batches of messages.

pub mod batch;
pub mod cost;
pub mod metrics;
pub mod settings;
pub mod traces;

pub use batch::{BatchAnswer, Record};
pub use settings::Environment;

use std::io::Write;
use std::process::ExitCode;

/// What a function may fail with: Lambda reports the text, and counts it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The whole life of a function's process: logs, a runtime, and what it serves. Setting things up happens once in it, before the
/// first event.
pub fn run(serve: impl AsyncFnOnce() -> Result<(), Error>) -> ExitCode {
    let served = settings::log_as_json().map_err(Error::from).and_then(|()| {
        // One thread: a function has one event at a time, and less than two processors below 1,769 MB.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(serve())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The logs may be what failed. Nobody is left to be told when this fails.
            let _ = writeln!(std::io::stderr(), "error: the function could not start, or stopped: {error}");
            ExitCode::FAILURE
        }
    }
}
