//! Tasks that become several when they run, and values that other tasks hand over.

use crate::groups::Group;
use crate::reader::Cursor;
use crate::task::{Names, TaskContext};
use crate::yaml::Value;
use crate::yaml::compose::clip;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use updraft_model::dag_parts::{MAPPED_ARGUMENT, XCOM_ARG};
use updraft_model::{ExpandInput, Mapping, TaskId};

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

/// What a task or a group is expanded over, and the tasks whose values that takes.
pub(crate) fn mapping<'a>(
    expand: Option<&Cursor<'a>>,
    expand_kwargs: Option<&Cursor<'a>>,
    context: &TaskContext<'a, '_>,
) -> Option<(Mapping, Names<'a>)> {
    let mut upstreams = Vec::new();
    let mut mapping = Mapping::default();
    if let (Some(_), Some(both)) = (expand, expand_kwargs) {
        let hint = "put the arguments of `expand` into each mapping of `expand_kwargs`";
        both.key_error("conflict", "`expand` and `expand_kwargs` exclude each other", Some(hint.into()));
        return None;
    }
    if let Some(cursor) = expand_kwargs {
        if matches!(cursor.node.value, Value::Map(_)) && special(cursor).is_none() {
            let hint = "write a list of mappings of arguments, or `task.output`";
            cursor.wrong_type("a list of mappings", Some(hint.into()));
            return None;
        }
        if let Value::List(items) = &cursor.node.value
            && let Some(at) = items.iter().position(|item| !matches!(item.value, Value::Map(_)))
        {
            let hint = "write a list of mappings of arguments, or `task.output`";
            cursor.item(at, &items[at]).wrong_type("a mapping of arguments", Some(hint.into()));
            return None;
        }
        mapping.expand_kwargs = Some(input(cursor, context, &mut upstreams)?);
        return Some((mapping, upstreams));
    }
    let cursor = expand?;
    for (name, value) in cursor.pairs(cursor.mapping()?) {
        mapping.expand.push((name.to_owned(), input(&value, context, &mut upstreams)?));
    }
    if mapping.expand.is_empty() {
        cursor.error("missing-key", "`expand` names no argument", Some("name one, with a list as its value".into()));
        return None;
    }
    Some((mapping, upstreams))
}

/// Something to expand over.
fn input<'a>(value: &Cursor<'a>, context: &TaskContext<'a, '_>, upstreams: &mut Names<'a>) -> Option<ExpandInput> {
    if let Some(form) = special(value) {
        return combined(value, form, context, upstreams);
    }
    match &value.node.value {
        Value::List(_) | Value::Map(_) => Some(ExpandInput::Literal(value.json_keeping()?)),
        Value::Text(text) => {
            let Some((task, key)) = plus(text).or_else(|| output(text).map(|task| (task, None))) else {
                refuse(value);
                return None;
            };
            let found = find(value, task, key, context)?;
            if found.key != RETURN_VALUE {
                let message = format!(
                    "a task cannot be expanded over the value `{}`, only over what a task returns",
                    clip(&found.key)
                );
                let hint = "return the list from a task of its own, and expand over that";
                value.error("not-possible", message, Some(hint.into()));
                return None;
            }
            upstreams.push((found.name, value.clone()));
            Some(found.input())
        }
        _ => {
            refuse(value);
            None
        }
    }
}

/// How the values of tasks are put together: after the methods of Airflow's `XComArg`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Zip,
    Concat,
    Map,
}

/// `{zip: [...], fillvalue: x}`, `{concat: [...]}` and `{map: ..., python_callable: ...}`, where they take the value of a task: anything else
/// is a mapping to be expanded over as it is.
fn special(value: &Cursor<'_>) -> Option<Form> {
    let Value::Map(map) = &value.node.value else { return None };
    let names: Vec<&str> = map.entries().iter().map(|entry| &*entry.name).collect();
    let only = |known: &[&str]| names.iter().all(|name| known.contains(name));
    let form = if names.contains(&"zip") && only(&["zip", "fillvalue"]) {
        Form::Zip
    } else if names == ["concat"] {
        Form::Concat
    } else if names.contains(&"map")
        && only(&["map", "python_callable", "python_callable_name", "python_callable_file"])
    {
        Form::Map
    } else {
        return None;
    };
    let first = map.entries().iter().find(|entry| matches!(&*entry.name, "zip" | "concat" | "map"))?;
    takes_output(&first.value.value).then_some(form)
}

/// Whether the value of a task stands somewhere inside.
fn takes_output(value: &Value) -> bool {
    match value {
        Value::Text(text) => plus(text).is_some() || output(text).is_some(),
        Value::List(items) => items.iter().any(|item| takes_output(&item.value)),
        Value::Map(map) => map.entries().iter().any(|entry| takes_output(&entry.value.value)),
        _ => false,
    }
}

fn combined<'a>(
    value: &Cursor<'a>,
    form: Form,
    context: &TaskContext<'a, '_>,
    upstreams: &mut Names<'a>,
) -> Option<ExpandInput> {
    let fields: BTreeMap<&str, Cursor<'a>> = value.pairs(value.mapping()?).into_iter().collect();
    let mut several = |name: &str| -> Option<Vec<ExpandInput>> {
        let at = fields.get(name)?;
        let Value::List(items) = &at.node.value else {
            at.wrong_type("a list", Some("write e.g. `[one.output, other.output]`".into()));
            return None;
        };
        items.iter().enumerate().map(|(i, node)| input(&at.item(i, node), context, upstreams)).collect()
    };
    match form {
        Form::Zip => {
            let fillvalue = fields.get("fillvalue").map(Cursor::json_keeping);
            if matches!(fillvalue, Some(None)) {
                return None;
            }
            Some(ExpandInput::Zip { of: several("zip")?, fillvalue: fillvalue.flatten() })
        }
        Form::Concat => Some(ExpandInput::Concat(several("concat")?)),
        Form::Map => {
            let of = Box::new(input(fields.get("map")?, context, upstreams)?);
            let mut function = serde_json::Map::new();
            for name in ["python_callable", "python_callable_name", "python_callable_file"] {
                let Some(at) = fields.get(name) else { continue };
                let text = at.text()?;
                let text =
                    if name == "python_callable_file" { context.paths.of_version(at, text) } else { text.to_owned() };
                function.insert(name.to_owned(), text.into());
            }
            let is_named = function.contains_key("python_callable")
                || (function.contains_key("python_callable_name") && function.contains_key("python_callable_file"));
            if let Some(at) = fields.get("python_callable")
                && at.text().is_some_and(|text| text.starts_with("builtins."))
            {
                let message = "`map` takes a function of a module, and none that is built into Python, as in Airflow";
                at.error("not-possible", message, Some("write a function that calls it, and name that one".into()));
                return None;
            }
            if !is_named {
                let hint = "add `python_callable: module.function`";
                value.error("missing-argument", "`map` needs a function", Some(hint.into()));
                return None;
            }
            Some(ExpandInput::Map { of, function })
        }
    }
}

/// Reads what groups are expanded over.
pub(crate) fn of_groups<'a>(groups: &mut [Group<'a>], context: &mut TaskContext<'a, '_>) {
    for group in groups.iter_mut() {
        let around = group.parent.and_then(|parent| context.mapped_groups[parent].clone());
        let (expand, kwargs) = (group.expand.clone(), group.expand_kwargs.clone());
        let Some(cursor) = expand.as_ref().or(kwargs.as_ref()) else {
            context.mapped_groups.push(around);
            continue;
        };
        if around.is_some() {
            let message = "a mapped group inside of a mapped group is not possible, as in Airflow";
            cursor.key_error("not-possible", message, Some("expand the outer group over both".into()));
        }
        let Some((mapping, upstreams)) = mapping(expand.as_ref(), kwargs.as_ref(), context) else {
            context.mapped_groups.push(Some(Vec::new()));
            continue;
        };
        let mut names: Vec<String> = mapping.expand.iter().map(|(name, _)| name.clone()).collect();
        if mapping.expand_kwargs.is_some() {
            names.push("*".to_owned());
        }
        context.mapped_groups.push(Some(names));
        group.dependencies.extend(upstreams);
        group.model.mapping = Some(mapping);
    }
}

/// The argument of a mapped group that `+name` stands for, among these (`*`: any).
pub(crate) fn of_group(text: &str, arguments: &[String]) -> Option<Json> {
    let (name, None) = plus(text)? else { return None };
    let is_there = arguments.iter().any(|argument| argument == name || argument == "*");
    is_there.then(|| json!({"__type__": MAPPED_ARGUMENT, "key": name}))
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
