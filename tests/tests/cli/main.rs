//! The command line as a person or a script meets it: standard output, standard error and exit status together.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod convert;
mod harness;
mod home;
mod housekeeping;
mod named;
mod offline;
mod runs;
mod secrets;
mod server;
mod simulations;
mod trials;
mod verbs;
