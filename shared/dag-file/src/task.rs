//! One task: its operator, its arguments, its place among the others.

use crate::argument::{self, Zone};
use crate::common::{self, Kind};
use crate::reader::Cursor;
use crate::time::Moment;
use crate::yaml::compose::clip;
use crate::yaml::{Map, Value};
use jiff::Timestamp;
use std::collections::BTreeMap;
use updraft_model::operators::{self, Operator};
use updraft_model::{Task, TaskId};
use updraft_timetables::Timezone;

/// What the tasks of a DAG have in common.
pub(crate) struct TaskContext<'a, 's> {
    /// A task with everything `default_args` says.
    pub(crate) template: Task,
    /// What copying `template` costs.
    pub(crate) template_weight: u32,
    /// `default_args` by name, for operators' own arguments.
    pub(crate) defaults: BTreeMap<&'a str, Cursor<'a>>,
    pub(crate) zone: &'s Timezone,
    pub(crate) now: Timestamp,
    /// Whether the DAG has task groups (then the DAG is refused already).
    pub(crate) has_groups: bool,
    pub(crate) paths: Paths<'s>,
}

/// A task that still names its upstreams by id.
pub(crate) struct Draft<'a> {
    pub(crate) task: Task,
    /// Where the task's name stands.
    pub(crate) cursor: Cursor<'a>,
    pub(crate) dependencies: Vec<(&'a str, Cursor<'a>)>,
    pub(crate) start: Option<Moment>,
    pub(crate) end: Option<Moment>,
    /// Files of the DAG folder that it refers to.
    pub(crate) references: Vec<String>,
}

/// Reads one task; `cursor` stands on its mapping.
pub(crate) fn task<'a>(id: &str, cursor: &Cursor<'a>, context: &TaskContext<'a, '_>) -> Option<Draft<'a>> {
    let task_id = match TaskId::parse(id) {
        Ok(id) => id,
        Err(error) => {
            cursor.key_error("bad-id", error.to_string(), None);
            return None;
        }
    };
    let map = cursor.mapping()?;
    if !cursor.sink.may_copy(context.template_weight) {
        cursor.error("too-large", "`default_args`, copied into all tasks, take too much space", None);
        return None;
    }
    let mut draft = Draft {
        task: Task { task_id, ..context.template.clone() },
        cursor: cursor.clone(),
        dependencies: Vec::new(),
        start: None,
        end: None,
        references: Vec::new(),
    };
    let operator = operator(cursor, map, &mut draft.task);
    let mut own: BTreeMap<&'a str, Cursor<'a>> = BTreeMap::new();
    for (name, value) in cursor.pairs(map) {
        // An operator's own argument wins over a general one of the same name.
        let argument = operator.and_then(|o| o.arguments.iter().find(|a| a.name == name));
        match common::kind(name).filter(|_| argument.is_none()) {
            Some(Kind::Common) => common::apply(&mut draft.task, &value),
            Some(Kind::Structure) => structure(name, &value, &mut draft, context),
            Some(Kind::NoEffect) => {}
            Some(Kind::Ignored) => common::warn_ignored(&value),
            Some(Kind::Refused) => refuse(name, &value),
            None => drop(own.insert(name, value)),
        }
    }
    match operator {
        Some(operator) => known_arguments(operator, &own, &mut draft, context),
        None => {
            for (name, value) in own {
                if let Some(json) = value.json() {
                    draft.task.arguments.insert(name.to_owned(), json);
                }
            }
        }
    }
    Some(draft)
}

fn operator(cursor: &Cursor<'_>, map: &Map, task: &mut Task) -> Option<&'static Operator> {
    let Some(entry) = map.entry("operator") else {
        if map.entry("decorator").is_none() {
            let near = map.entries().iter().find(|e| cursor.sink.did_you_mean(&e.name, ["operator"]).is_some());
            let hint = match near {
                Some(entry) => format!("did you mean `operator` instead of `{}`?", clip(&entry.name)),
                None => "add one, e.g. `operator: BashOperator`".to_owned(),
            };
            cursor.key_error("missing-key", format!("the task `{}` has no `operator`", task.task_id), Some(hint));
        }
        return None;
    };
    let name = match &entry.value.value {
        Value::Text(name) => name.trim(),
        other => {
            let message = format!("`operator` must be a class name, but is {}", other.kind());
            cursor.key_error("wrong-type", message, Some("write e.g. `operator: BashOperator`".into()));
            return None;
        }
    };
    let found = operators::find(name);
    found.map_or(name, |o| o.class_path).clone_into(&mut task.operator);
    if found.is_none() {
        let here = Cursor { node: &entry.value, key_at: entry.value.at, ..cursor.clone() };
        let short = name.rsplit('.').next().unwrap_or(name);
        let hint = cursor.sink.did_you_mean(short, operators::all().iter().map(Operator::short_name));
        let message = format!("the operator `{}` is not known here; the task will fail when it runs", clip(name));
        here.warn("unknown-operator", message, hint);
    }
    found
}

fn structure<'a>(name: &str, value: &Cursor<'a>, draft: &mut Draft<'a>, context: &TaskContext<'a, '_>) {
    match name {
        "dependencies" => draft.dependencies = dependencies(value),
        "start_date" | "end_date" if value.is_none() || value.is_not_given() => {}
        "start_date" => draft.start = value.moment(context.zone, context.now),
        "end_date" => draft.end = value.moment(context.zone, context.now),
        "task_id" => {
            if let Some(id) = value.text().filter(|id| *id != draft.task.task_id.as_str()) {
                let message =
                    format!("`task_id` is `{}`, but the key `{}` is the task's id", clip(id), draft.task.task_id);
                value.warn("ignored-key", message, Some("remove `task_id`, or make both the same".into()));
            }
        }
        "task_group_name" if !value.is_none() && !context.has_groups => {
            let message = "`task_group_name` has no effect: the DAG has no `task_groups`";
            value.warn("ignored-key", message, None);
        }
        _ => {}
    }
}

/// Names of upstream tasks: a list, or one name (of which dag-factory would take each letter for a task).
fn dependencies<'a>(value: &Cursor<'a>) -> Vec<(&'a str, Cursor<'a>)> {
    match &value.node.value {
        Value::Null => Vec::new(),
        Value::Text(text) if &**text == "None" => Vec::new(),
        Value::Text(text) => {
            let hint = Some(format!("write `[{}]`", clip(text)));
            value.warn("not-a-list", "`dependencies` should be a list; the text is taken for one task", hint);
            vec![(text, value.clone())]
        }
        _ => value.texts(),
    }
}

fn refuse(name: &str, value: &Cursor<'_>) {
    if value.is_none() || matches!(&value.node.value, Value::Map(map) if map.entries().is_empty()) {
        return;
    }
    let (what, hint) = match name {
        "decorator" => ("tasks made by a decorator are", "use `operator: PythonOperator` with `python_callable`"),
        "expand" | "partial" => ("dynamic task mapping is", "write one task for each value"),
        _ => ("setting arguments from Variables is", "use a template: `\"{{ var.value.name }}\"`"),
    };
    value.key_error("unsupported", format!("`{name}`: {what} not supported yet"), Some(hint.into()));
}

/// Checks and takes the arguments of an operator from the registry.
fn known_arguments<'a>(
    operator: &'static Operator,
    own: &BTreeMap<&'a str, Cursor<'a>>,
    draft: &mut Draft<'a>,
    context: &TaskContext<'a, '_>,
) {
    if operator.abstract_base {
        let message = format!("`{}` is only a base for other operators: such a task cannot run", operator.short_name());
        draft.cursor.key_error("abstract-operator", message, Some("name one of the operators made from it".into()));
        return;
    }
    for (name, value) in own {
        if operator.argument(name).is_none() {
            let of_sensors = if operator.sensor { operators::SENSOR_ARGUMENTS } else { &[] };
            let known = operator.arguments.iter().chain(of_sensors).map(|a| a.name);
            let hint = value.sink.did_you_mean(name, known.chain(common::KEYS.iter().map(|(k, _)| *k)));
            let message = format!("`{}` has no argument `{}`", operator.short_name(), value.name);
            value.key_error("unknown-argument", message, hint);
        }
    }
    for argument in &operator.arguments {
        let value = own.get(argument.name).or_else(|| context.defaults.get(argument.name));
        let value = value.filter(|v| !v.is_null() && !v.is_not_given());
        match value {
            Some(value) => {
                let zone = Zone { zone: context.zone, now: context.now };
                if let Some(json) = argument::read(value, argument, operator, &zone) {
                    draft.task.arguments.insert(argument.name.to_owned(), json);
                }
            }
            None if argument.required => {
                let message = format!("`{}` needs the argument `{}`", operator.short_name(), argument.name);
                draft.cursor.key_error("missing-argument", message, None);
            }
            None => {}
        }
    }
    if operator.calls_python() {
        callable(operator, draft, own, context);
    }
}

/// Checks how a Python callable is named: a dotted path, or a function's name and a file in the DAG folder.
fn callable<'a>(
    operator: &Operator,
    draft: &mut Draft<'a>,
    own: &BTreeMap<&'a str, Cursor<'a>>,
    context: &TaskContext<'a, '_>,
) {
    let given = |name: &str| own.get(name).or_else(|| context.defaults.get(name)).filter(|v| !v.is_null());
    if let Some(value) = given("python_callable") {
        let Value::Text(path) = &value.node.value else { return };
        let is_path = path.contains('.') && path.split('.').all(is_identifier);
        if !is_path {
            let message = format!("`{}` is no dotted path to a function", clip(path));
            let hint = "write `module.function`, or use `python_callable_name` with `python_callable_file`";
            value.error("wrong-type", message, Some(hint.into()));
        }
        return;
    }
    let (Some(name), Some(file)) = (given("python_callable_name"), given("python_callable_file")) else {
        let message = format!(
            "`{}` needs `python_callable`, or `python_callable_name` together with `python_callable_file`",
            operator.short_name()
        );
        draft.cursor.key_error("missing-argument", message, None);
        return;
    };
    if let Value::Text(text) = &name.node.value
        && !is_identifier(text)
    {
        name.error("wrong-type", format!("`{}` is no name of a function", clip(text)), None);
    }
    if let Value::Text(text) = &file.node.value {
        match context.paths.resolve(text) {
            Ok(path) => {
                draft.task.arguments.insert("python_callable_file".to_owned(), path.clone().into());
                draft.references.push(path);
            }
            Err(why) => {
                let hint = "name a file in the DAG folder, relative to this one";
                file.error("bad-path", format!("`{}` {why}", clip(text)), Some(hint.into()));
            }
        }
    }
}

fn is_identifier(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && characters.all(|c| c.is_alphanumeric() || c == '_')
}

/// Where files that a DAG file names are looked for.
#[derive(Clone, Copy)]
pub(crate) struct Paths<'s> {
    /// The DAG file, relative to the DAG folder.
    pub(crate) file: &'s str,
    /// The DAG folder itself, where it has a place in a file system.
    pub(crate) folder: Option<&'s str>,
}

impl Paths<'_> {
    /// The path relative to the DAG folder. A relative one begins at the DAG file's own folder.
    pub(crate) fn resolve(&self, path: &str) -> Result<String, &'static str> {
        if path.starts_with('$') {
            return Err("contains a variable that is not set");
        }
        let mut parts: Vec<&str> = Vec::new();
        let inside = if path.starts_with('/') {
            let folder = self.folder.map(|f| f.trim_end_matches('/'));
            let rest = folder.and_then(|f| path.strip_prefix(f)).filter(|rest| rest.starts_with('/'));
            rest.ok_or("is outside of the DAG folder")?
        } else {
            parts.extend(self.file.split('/').filter(|p| !p.is_empty() && *p != "."));
            parts.pop();
            path
        };
        for part in inside.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or("is outside of the DAG folder")?),
                part => parts.push(part),
            }
        }
        if parts.is_empty() { Err("names no file") } else { Ok(parts.join("/")) }
    }
}
