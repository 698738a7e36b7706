//! Airflow's own client, and schemathesis, against the REST API of a server.
//!
//! Both are Python, installed into environments below `target/` from the files of requirements in `tests/client`. Where that cannot be done, the
//! tests say so and pass, unless `CI` is set.

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

/// What schemathesis holds answers to: no failure of the server, nothing that the document does not say.
#[cfg(test)]
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance,unsupported_method,allow_header_conformance";

/// Requests that nobody would think of, made from the document that the server gives: once of any names, once about things that are there.
#[test]
fn schemathesis_finds_no_fault() {
    let Some(python) = Environment::of("schemathesis.txt") else { return };
    let server = Server::start();
    let authorization = format!("Authorization: Bearer {}", server.token());
    server.post("/api/v2/dags/etl/dagRuns", r#"{"logical_date": null, "dag_run_id": "mine"}"#);
    let document = format!("{}/openapi.json", server.url);
    let config = python::folder().join("schemathesis.toml");
    let config = config.to_string_lossy();
    let run = ["run", &document, "--max-examples", "20", "--header", &authorization];
    // A run may be waited for longer than anybody here waits.
    let bounded = ["--workers", "2", "--request-timeout", "30", "--no-color", "--seed", "1"];
    // Where it varies bodies by plan it knows what must be refused; at random it takes a text in a query for a truth value.
    let checks = format!("{CHECKS},negative_data_rejection");
    let anything = [&run[..], &bounded, &["--phases", "coverage", "--checks", &checks]].concat();
    python.run_program("schemathesis", &anything);
    let left_out = ["delete_dag", "delete_dag_run", "wait_dag_run_until_finished"];
    let left_out = left_out.map(|id| ["--exclude-operation-id", id]).concat();
    let there =
        [&["--config-file", &*config][..], &run, &bounded, &["--phases", "fuzzing", "--checks", CHECKS], &left_out];
    let there = there.concat();
    python.run_program("schemathesis", &there);
}
