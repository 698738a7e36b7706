//! Compares our answers with those of Apache Airflow 3.3.2, recorded in `tests/data/conformance`.
//!
//! `cargo test -p updraft-tests --test conformance -- --nocapture` prints how many recorded cases of each file pass,
//! differ on purpose (with ids and reasons), belong to something Updraft does not have, are described in words unknown
//! here, or fail; and at the end a table. `UPDRAFT_CONFORMANCE_DIR` names another folder of such files.

#[cfg(test)]
mod harness;
#[cfg(test)]
mod http;
#[cfg(test)]
#[path = "../cli/harness.rs"]
#[allow(dead_code, reason = "shared with the tests of the command line, which use all of it")]
mod place;
#[cfg(test)]
mod service;
#[cfg(test)]
mod shapes;

/// One module and one test for each file of cases, and a test that prints the table of all.
macro_rules! files {
    ($($file:ident),* $(,)?) => {
        $(#[cfg(test)] mod $file;)*

        #[cfg(test)]
        mod file {
            use crate::harness::{Tally, table};
            use std::sync::LazyLock;

            /// Judged once, for the file's own test and for the table.
            #[expect(non_upper_case_globals, reason = "named as the files are")]
            mod judged {
                use super::{LazyLock, Tally};
                $(pub(super) static $file: LazyLock<Option<Tally>> = LazyLock::new(crate::$file::judge_file);)*
            }

            $(
                #[test]
                fn $file() {
                    match &*judged::$file {
                        Some(tally) => tally.hold(),
                        None => println!("{}: not in the chosen folder", stringify!($file)),
                    }
                }
            )*

            #[test]
            fn z_table_of_all() {
                let tallies: Vec<&Tally> = [$(judged::$file.as_ref()),*].into_iter().flatten().collect();
                println!("\n{}", table(&tallies));
                assert!(!tallies.is_empty(), "the chosen folder has none of these files");
            }
        }
    };
}

files!(
    clear_mark,
    clear_mark_http,
    dagrun_state,
    e2e_runs,
    graph,
    mapping,
    priority_weights,
    retries,
    run_creation,
    run_ids,
    scheduling,
    templates,
    ti_transitions,
    timetables,
    trigger_api,
    trigger_api_http,
    trigger_rules
);
