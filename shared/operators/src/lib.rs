//! The registry of operators: what each accepts, which of its arguments are templates, and how it runs.
//!
//! One list, used by the loader (to refuse unknown arguments), by the renderer (template fields) and by the worker (how to
//! run). An operator of the standard and http providers is one small file in `standard` or `http`; operators that load and
//! are checked but are not run yet stand in `deferred`'s data. Names and arguments are those of the standard provider 1.21.0,
//! the http provider 6.3.0, the amazon provider 9.39.0 and common.sql 2.4.0.

mod argument;
mod deferred;
mod http;
mod operator;
mod registry;
mod standard;
#[cfg(test)]
mod tests;

pub use argument::{Argument, ArgumentType, SENSOR_ARGUMENTS};
pub use operator::{Operator, Runner};
pub use registry::{all, find, names, runnable};
