//! Compares our answers with those of Apache Airflow 3.3.2, recorded in `tests/data/conformance`.
//!
//! `cargo test -p updraft-tests --test conformance -- --nocapture` prints how many recorded cases of each file pass,
//! differ on purpose, belong to something Updraft does not have, or fail. `UPDRAFT_CONFORMANCE_DIR` names another folder
//! of such files.

#[cfg(test)]
mod dagrun_state;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod priority_weights;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod run_ids;
#[cfg(test)]
mod shapes;
#[cfg(test)]
mod templates;
#[cfg(test)]
mod timetables;
#[cfg(test)]
mod trigger_rules;
