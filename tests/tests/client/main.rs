//! Airflow's own client against the REST API of a server.
//!
//! It is Python, installed into an environment below `target/` from `tests/client/requirements.txt`. Where that cannot be done, the test says
//! so and passes, unless `CI` is set.

#[cfg(test)]
#[path = "../cli/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line, which use all of it")]
mod harness;

#[cfg(test)]
mod python;
#[cfg(test)]
mod server;

#[cfg(test)]
use {python::Environment, server::Server};

#[test]
fn airflows_client_works_unchanged() {
    let Some(python) = Environment::of("requirements.txt") else { return };
    let server = Server::start();
    python.run(&["script.py", &server.url, &server.token()]);
}
