//! Tasks that become several when they run, and values that other tasks hand over.

use crate::reader::Cursor;
use crate::task::{Names, TaskContext};
use crate::yaml::Value;
use crate::yaml::compose::clip;
use serde_json::{Value as Json, json};
use updraft_model::dag_parts::XCOM_ARG;
use updraft_model::{ExpandInput, TaskId};

/// The key under which a task's result is kept.
const RETURN_VALUE: &str = "return_value";

/// A value that another task hands over.
pub(crate) struct Handed<'a> {
    /// The task, as the file names it.
    pub(crate) name: &'a str,
    /// Its id.
    pub(crate) task_id: String,
    key: String,
}

impl Handed<'_> {
    /// As an argument.
    pub(crate) fn json(&self) -> Json {
        json!({"__type__": XCOM_ARG, "task_id": self.task_id, "key": self.key})
    }

    fn input(self) -> ExpandInput {
        ExpandInput::XCom { task_id: TaskId::trusted(self.task_id), key: self.key }
    }
}

/// `+task` and `+task['key']`: a name of letters, digits and `_`. The key is between quotes of either kind.
fn plus(text: &str) -> Option<(&str, Option<&str>)> {
    let rest = text.strip_prefix('+')?;
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    if name.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some((name, None));
    }
    let key = rest.strip_prefix('[').and_then(|r| r.strip_suffix(']'))?;
    let inside = |quote| key.strip_prefix(quote).and_then(|k| k.strip_suffix(quote));
    Some((name, Some(inside('\'').or_else(|| inside('"'))?)))
}

/// `task.output`, and `XcomArg(task)` with the name in quotes or not.
fn output(text: &str) -> Option<&str> {
    if let Some(name) = text.strip_suffix(".output") {
        return Some(name);
    }
    let lower = text.get(..8)?;
    let inside = if lower.eq_ignore_ascii_case("xcomarg(") { text[8..].strip_suffix(')') } else { None };
    inside.map(|name| name.trim().trim_matches(['\'', '"']))
}

/// An argument of a decorated task.
pub(crate) enum Argument<'a> {
    /// The value of another task.
    Handed(Handed<'a>),
    /// A value of the file.
    Plain,
    /// The value of a task that does not exist, which is noted.
    Unknown,
}

/// What a value is as an argument of a decorated task.
pub(crate) fn argument<'a>(cursor: &Cursor<'a>, context: &TaskContext<'a, '_>) -> Argument<'a> {
    let Value::Text(text) = &cursor.node.value else { return Argument::Plain };
    let Some((name, key)) = plus(text) else { return Argument::Plain };
    find(cursor, name, key, context).map_or(Argument::Unknown, Argument::Handed)
}

fn find<'a>(
    cursor: &Cursor<'a>,
    name: &'a str,
    key: Option<&str>,
    context: &TaskContext<'a, '_>,
) -> Option<Handed<'a>> {
    let Some(task_id) = context.ids.get(name) else {
        let hint = cursor.sink.did_you_mean(name, context.ids.keys().copied());
        cursor.error(
            "unknown-dependency",
            format!("`{}` takes a value of `{}`, which does not exist", cursor.name, clip(name)),
            hint,
        );
        return None;
    };
    Some(Handed { name, task_id: task_id.clone(), key: key.unwrap_or(RETURN_VALUE).to_owned() })
}

/// The arguments that a task is expanded over, and the tasks whose values they are.
pub(crate) fn expand<'a>(
    cursor: &Cursor<'a>,
    context: &TaskContext<'a, '_>,
) -> Option<(Vec<(String, ExpandInput)>, Names<'a>)> {
    let mut inputs = Vec::new();
    let mut upstreams = Vec::new();
    for (name, value) in cursor.pairs(cursor.mapping()?) {
        let input = match &value.node.value {
            Value::List(_) | Value::Map(_) => ExpandInput::Literal(value.json_keeping()?),
            Value::Text(text) => {
                let Some((task, key)) = plus(text).or_else(|| output(text).map(|task| (task, None))) else {
                    refuse(&value);
                    return None;
                };
                let found = find(&value, task, key, context)?;
                upstreams.push((found.name, value.clone()));
                found.input()
            }
            _ => {
                refuse(&value);
                return None;
            }
        };
        inputs.push((name.to_owned(), input));
    }
    if inputs.is_empty() {
        cursor.error("missing-key", "`expand` names no argument", Some("name one, with a list as its value".into()));
        return None;
    }
    Some((inputs, upstreams))
}

fn refuse(value: &Cursor<'_>) {
    let hint = "write a list, a mapping, or `task.output` for what another task returns";
    value.wrong_type("something to expand over", Some(hint.into()));
}

/// The class that runs tasks of a decorator.
pub(crate) fn operator_of(decorator: &str) -> Option<&'static str> {
    let kind = [
        "airflow.decorators.task",
        "airflow.sdk.task",
        "airflow.sdk.definitions.decorators.task",
        "airflow.sdk.decorators.task",
        "task",
    ]
    .iter()
    .find_map(|base| decorator.strip_prefix(base))
    .filter(|rest| rest.is_empty() || rest.starts_with('.'))?;
    Some(match kind.trim_start_matches('.') {
        "" | "python" => "airflow.providers.standard.decorators.python._PythonDecoratedOperator",
        "branch" => "airflow.providers.standard.decorators.branch_python._BranchPythonDecoratedOperator",
        "short_circuit" => "airflow.providers.standard.decorators.short_circuit._ShortCircuitDecoratedOperator",
        "virtualenv" => "airflow.providers.standard.decorators.python_virtualenv._PythonVirtualenvDecoratedOperator",
        "branch_virtualenv" => {
            "airflow.providers.standard.decorators.branch_virtualenv._BranchPythonVirtualenvDecoratedOperator"
        }
        "external_python" => "airflow.providers.standard.decorators.external_python._PythonExternalDecoratedOperator",
        "branch_external_python" => {
            "airflow.providers.standard.decorators.branch_external_python._BranchExternalPythonDecoratedOperator"
        }
        "sensor" => "airflow.providers.standard.decorators.sensor.DecoratedSensorOperator",
        "bash" => "airflow.providers.standard.decorators.bash._BashDecoratedOperator",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_other_tasks_are_recognised() {
        assert_eq!(plus("+a_1"), Some(("a_1", None)));
        assert_eq!(plus("+a['k.x']"), Some(("a", Some("k.x"))));
        assert_eq!(plus("+a[\"k\"]"), Some(("a", Some("k"))));
        for text in ["a", "+", "+a b", "+1.5x", "+a[k]", "+a['k'] "] {
            assert_eq!(plus(text), None, "{text}");
        }
        assert_eq!(output("a.output"), Some("a"));
        assert_eq!(output("XcomArg(a)"), Some("a"));
        assert_eq!(output("XComArg('a')"), Some("a"));
        for text in ["a", "XcomArg", "xcomé(a)", "output"] {
            assert_eq!(output(text), None, "{text}");
        }
    }
}
