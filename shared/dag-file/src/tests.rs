//! Whole files: text in, DAGs and problems out.

use super::*;

fn options() -> LoadOptions {
    LoadOptions::new("2026-01-15T12:00:00Z".parse().unwrap())
}

fn loaded(text: &str) -> Loaded {
    load("dags/etl.yaml", text.as_bytes(), &options())
}

#[test]
fn a_small_file_loads_without_a_word() {
    let loaded = loaded(
        "etl:\n  schedule: '@daily'\n  start_date: 2025-01-01\n  tasks:\n    b: {operator: EmptyOperator, dependencies: [a]}\n    \
         a: {operator: BashOperator, bash_command: echo}\n",
    );
    assert_eq!(loaded.diagnostics, []);
    let ids: Vec<&str> = loaded.dags[0].tasks.iter().map(|t| t.task_id.as_str()).collect();
    assert_eq!(ids, ["a", "b"]);
}
