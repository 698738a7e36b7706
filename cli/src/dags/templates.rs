//! Templates that cannot be read, before a task fails on them.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use updraft_dag_file::{Diagnostic, Places, Severity};
use updraft_model::references::{ReferenceKind, is_template_file, of_task};
use updraft_model::{Dag, Task, operators};
use updraft_templates::{Renderer, TemplateError};

/// The problems of the templates in a DAG's arguments, each at its line. `source` is the file's text, `shown` its name.
pub(super) fn check(renderer: &Renderer, dag: &Dag, places: &Places, source: &str, shown: &str) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if !dag.templates.environment.is_empty() {
        return found;
    }
    for task in &dag.tasks {
        let Some(operator) = operators::find(&task.operator) else { continue };
        for field in operator.template_fields() {
            let Some(value) = task.arguments.get(field) else { continue };
            let mut texts = Vec::new();
            texts_of(value, &mut vec![field.to_owned()], &mut texts);
            for (keys, text) in texts {
                if is_template_file(&operator.template_ext, text) {
                    continue;
                }
                let Err(error) = renderer.check(text) else { continue };
                if !is_own_filter(dag, &error) {
                    found.push(at_its_line(dag, task, &keys, &error, places, source, shown));
                }
            }
        }
    }
    found
}

/// The problems of the template files that a DAG's tasks name, each file once.
pub(super) fn check_files(
    renderer: &Renderer,
    dag: &Dag,
    files: &BTreeMap<String, String>,
    shown: impl Fn(&str) -> String,
) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    if !dag.templates.environment.is_empty() {
        return found;
    }
    let mut seen = BTreeSet::new();
    for task in &dag.tasks {
        for reference in of_task(dag, task).into_iter().filter(|r| r.kind == ReferenceKind::Template) {
            let there = reference.candidates.iter().find_map(|path| files.get_key_value(path));
            let Some((path, text)) = there.filter(|(path, _)| seen.insert((*path).clone())) else { continue };
            let Err(error) = renderer.check(text) else { continue };
            if !is_own_filter(dag, &error) {
                found.push(diagnostic(dag, task, &reference.key_path, &error, shown(path), error.line.unwrap_or(1), 1));
            }
        }
    }
    found
}

/// The texts inside a value, each with the keys that lead to it.
fn texts_of<'v>(value: &'v Value, keys: &mut Vec<String>, found: &mut Vec<(Vec<String>, &'v str)>) {
    match value {
        Value::String(text) => found.push((keys.clone(), text)),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                keys.push(at.to_string());
                texts_of(item, keys, found);
                keys.pop();
            }
        }
        Value::Object(entries) => {
            for (key, item) in entries {
                keys.push(key.clone());
                texts_of(item, keys, found);
                keys.pop();
            }
        }
        _ => {}
    }
}

/// Whether a filter is missing that the DAG brings along.
fn is_own_filter(dag: &Dag, error: &TemplateError) -> bool {
    let named = error.message.split('`').nth(1);
    error.message.starts_with("there is no filter")
        && named.is_some_and(|name| dag.templates.filters.contains_key(name))
}

fn at_its_line(
    dag: &Dag,
    task: &Task,
    keys: &[String],
    error: &TemplateError,
    places: &Places,
    source: &str,
    shown: &str,
) -> Diagnostic {
    let way: Vec<&str> = keys.iter().map(String::as_str).collect();
    let at = places.argument(dag.dag_id.as_str(), task.task_id.as_str(), &way);
    let (mut line, mut column) = at.map_or((1, 1), |at| (at.line, at.column));
    let inside = error.line.unwrap_or(1).saturating_sub(1);
    // In a block (`|`) lines stay lines. A text in quotes, or folded (`>`), has other lines than its template.
    let is_block = |line: u32| {
        let above = source.lines().nth(line.saturating_sub(2) as usize).unwrap_or_default();
        above.trim_end().ends_with(['|', '-', '+']) && above.contains('|')
    };
    if inside > 0 && line > 1 && is_block(line) {
        line += inside;
        column =
            source.lines().nth(line as usize - 1).map_or(1, |l| l.chars().take_while(|c| *c == ' ').count() as u32 + 1);
    }
    diagnostic(dag, task, &keys.join("."), error, shown.to_owned(), line, column)
}

fn diagnostic(
    dag: &Dag,
    task: &Task,
    key_path: &str,
    error: &TemplateError,
    file: String,
    line: u32,
    column: u32,
) -> Diagnostic {
    let field = key_path.split('.').next().unwrap_or_default();
    Diagnostic {
        severity: Severity::Error,
        file,
        line,
        column,
        key_path: format!("{}.tasks.{}.{key_path}", dag.dag_id, task.task_id),
        dag_id: Some(dag.dag_id.to_string()),
        message: format!("`{field}` is no valid template, and task `{}` would fail: {}", task.task_id, error.message),
        hint: error.hint.clone(),
        code: "template-syntax",
    }
}
