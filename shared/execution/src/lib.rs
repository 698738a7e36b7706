//! Runs one attempt of a task as operating system processes and reports how it ended.
//!
//! [`run`] takes an [`AttemptSpec`] (plain data, templates already rendered), starts the operator's process under a supervisor process,
//! streams its output into a [`LogSink`], answers what it asks for from [`Lookups`], enforces the execution timeout, and returns a
//! [`Report`]. It decides nothing about retries, states or dependents: that is the scheduler's part.
//!
//! # What is promised
//! - Nothing that an attempt started outlives the attempt or this process, even when this process is killed by `kill -9`: the supervisor
//!   (this product's own executable, called again with the hidden subcommand [`SUPERVISE`]) holds a socket to this process, and when that
//!   closes it ends every descendant, also those that made a session of their own. Daemonised ones are found on Linux only.
//! - Supervisors are used again, but each has one attempt at a time, and the next only when nothing is left of the one before. Python callables
//!   run in processes forked from a Python that has imported the usual modules and runs nothing itself, so none sees what another one did;
//!   [`Launcher::with_fresh_python`], [`PythonCall::fresh`](PythonCall) and [`Launcher::keeping_nothing`] do without.
//! - Memory is bounded, whatever the process prints: the log is streamed, and only its last 8 KiB and its last line are kept.
//! - Each line of the log has a time stamp and a level. Given secrets, and those that the callable asked for or registered, are written as `***`.
//! - A variable of the server's environment whose name starts with `UPDRAFT_` never reaches a task. (`UPDRAFT_ATTEMPT` is set for it: should the
//!   supervisor itself be killed, the attempt's processes are found and killed by that mark, as far as they kept it.)
//!
//! An executable that uses this crate must call [`supervisor_main`] before anything else when its first argument is [`SUPERVISE`].
//!
//! # Values that Python returns
//! What a callable returns or pushes becomes JSON. What JSON lacks is written as `{"__type": .., "__var": ..}` and read back by `xcom_pull`
//! inside Python: `datetime`, `date`, `time` (ISO 8601), `timedelta` (seconds), `decimal` (text), `uuid`, `bytes` (base64), `set`, `frozenset`,
//! `int` (text, beyond 64 bits) and `dict` (one that has a key `__type` of its own). A tuple becomes a list. Anything else fails the attempt
//! with a message that names the type and the path.

mod account;
mod attempt;
mod bash;
mod cancel;
mod channel;
mod environment;
mod launcher;
mod leftovers;
mod lines;
mod masks;
mod output;
mod pool;
mod ports;
mod python;
mod report;
mod spec;
mod supervised;
mod supervisor;
mod wire;

pub use attempt::run;
pub use cancel::{Cancel, CancelHandle, cancellation};
pub use launcher::{Launcher, PYTHON, PYTHON_FRESH};
pub use lines::{Level, log_lines};
pub use ports::{LogSink, LookupError, Lookups, NoLookups};
pub use report::{LogSummary, Outcome, Report, Returned};
pub use spec::{
    AssetContext, AttemptSpec, BashCall, CallStyle, Callable, OperatorCall, OwnPython, PythonCall, RunContext,
    http_response,
};
pub use supervisor::{SUPERVISE, supervisor_main};

/// The key under which the value that a task returns is stored, as in Airflow.
pub const RETURN_VALUE: &str = "return_value";
