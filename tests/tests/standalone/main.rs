//! `updraft standalone`, as a person runs it: real processes, real signals, real files.

#[cfg(test)]
#[path = "../cli/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line, which use all of it")]
mod harness;

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod folder;
#[cfg(test)]
mod order;
#[cfg(test)]
mod server;
#[cfg(test)]
mod stops;
