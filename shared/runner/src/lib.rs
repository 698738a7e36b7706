//! Runs attempts for real: templates rendered, the operator carried out, its log spooled.
//!
//! An operator is one small file in `operators`, a sensor one in `sensors`. It is given an `Attempt`: rendered arguments, the work, a
//! log, and what it may ask for (processes, XComs, connections, other runs); it returns how the attempt ends. What an operator *accepts*
//! stands in `shared/operators`, not here.
//!
//! What happens to a task after that is not decided here: retries, states and skips are the engine's.

mod arguments;
mod assets;
mod attempt;
mod caller;
mod expand;
mod glob;
mod handed;
pub mod http;
mod log;
mod lookups;
mod mail;
mod operators;
mod processes;
mod render;
mod rendered;
mod runner;
mod sensors;
mod services;

pub use runner::{ProcessRunner, WIND_UP};
