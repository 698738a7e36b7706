//! Whole files: text in, DAGs and problems out.

mod advice;
mod arguments;
mod dags;
mod forms;
mod fuzz;
mod groups;
mod people;
mod problems;
mod properties;
mod setups;
mod values;

use super::*;
use updraft_model::Task;

fn options() -> LoadOptions {
    LoadOptions::new("2026-01-15T12:00:00Z".parse().unwrap())
}

fn loaded(text: &str) -> Loaded {
    load("sales/etl.yaml", text.as_bytes(), &options())
}

/// The only DAG of a text that must be without errors.
fn dag(text: &str) -> Dag {
    let mut loaded = loaded(text);
    assert!(!loaded.has_errors(), "{text}\n{:?}", loaded.diagnostics);
    assert_eq!(loaded.dags.len(), 1, "{text}");
    loaded.dags.remove(0)
}

/// The DAG with these lines as its settings.
fn dag_with(settings: &str) -> Dag {
    dag(&in_dag(settings))
}

fn in_dag(settings: &str) -> String {
    format!("etl:\n  {}\n", settings.replace('\n', "\n  "))
}

/// The text of a DAG with one task `t` with these lines.
fn in_task(arguments: &str) -> String {
    format!("etl:\n  tasks:\n    t:\n      {}\n", arguments.replace('\n', "\n      "))
}

fn task_with(arguments: &str) -> Task {
    dag(&in_task(&format!("operator: EmptyOperator\n{arguments}"))).tasks.remove(0)
}

/// Line, column and code of every problem.
fn places(loaded: &Loaded) -> Vec<(u32, u32, &'static str)> {
    loaded.diagnostics.iter().map(|d| (d.line, d.column, d.code)).collect()
}

/// The only error of a text.
pub(crate) fn error(text: &str) -> Diagnostic {
    let loaded = loaded(text);
    let mut errors: Vec<_> = loaded.diagnostics.into_iter().filter(Diagnostic::is_error).collect();
    assert_eq!(errors.len(), 1, "{text}\n{errors:?}");
    assert!(loaded.dags.is_empty(), "{text}");
    errors.remove(0)
}

/// As many lines as asked for, each made from its number.
fn repeated(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}
