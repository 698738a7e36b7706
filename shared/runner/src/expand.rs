//! What one instance of a mapped task is given: an item of each value that the task, or the group around it, is expanded over.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use serde_json::{Map, Value, json};
use updraft_execution::PythonCall;
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::dag_parts::{MAPPED_ARGUMENT, item_of};
use updraft_model::{ExpandInput, Task, TaskId, ValueRef};
use updraft_operators::Operator;
use updraft_service::mapped;

use crate::arguments::Arguments;
use crate::attempt::{Attempt, Break, Ended};
use crate::lookups::AttemptLookups;
use crate::operators;
use crate::processes;
use crate::services::Services;

/// The arguments of one instance.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    /// Those whose values stand in the file: templates, as other arguments.
    literal: Map<String, Value>,
    /// Those whose values are other tasks': as they are.
    plain: Map<String, Value>,
    /// Those of the mapped group around the task.
    of_group: Map<String, Value>,
}

impl Expanded {
    /// The arguments of the group around the task, for its templates.
    pub(crate) fn of_group(&self) -> &Map<String, Value> {
        &self.of_group
    }

    /// Adds what is still to be rendered.
    pub(crate) fn add_templates(&mut self, operator: &Operator, task: &Task, arguments: &mut Map<String, Value>) {
        place(std::mem::take(&mut self.literal), operator, task, arguments);
    }

    /// Adds what is not to be rendered, and puts the group's arguments where they are named.
    pub(crate) fn add_values(self, operator: &Operator, task: &Task, arguments: &mut Map<String, Value>) {
        place(self.plain, operator, task, arguments);
        for value in arguments.values_mut() {
            fill_in(value, &self.of_group);
        }
    }
}

/// Arguments of a decorated function are among its keyword arguments; all others are the operator's.
fn place(values: Map<String, Value>, operator: &Operator, task: &Task, arguments: &mut Map<String, Value>) {
    for (name, value) in values {
        if task.decorator.is_some() && operator.argument(&name).is_none() {
            let kwargs = arguments.entry("op_kwargs").or_insert_with(|| json!({}));
            if let Value::Object(kwargs) = kwargs {
                kwargs.insert(name, value);
            }
        } else {
            arguments.insert(name, value);
        }
    }
}

fn fill_in(value: &mut Value, of_group: &Map<String, Value>) {
    match value {
        Value::Object(map) if map.get("__type__").is_some_and(|class| class == MAPPED_ARGUMENT) => {
            let name = map.get("key").and_then(Value::as_str).unwrap_or_default();
            *value = of_group.get(name).cloned().unwrap_or_default();
        }
        Value::Object(map) => map.values_mut().for_each(|value| fill_in(value, of_group)),
        Value::Array(items) => items.iter_mut().for_each(|value| fill_in(value, of_group)),
        _ => {}
    }
}

/// Finds the items of an instance. `attempt`: calls the functions of `map`; without one their items are taken as they are.
pub(crate) async fn expanded<I: Items, L: LogStore, S: Services>(
    lookups: &AttemptLookups<'_, I, L>,
    attempt: Option<&mut Attempt<'_, S>>,
) -> Result<Expanded, Break> {
    let work = lookups.work;
    let mut found = Expanded::default();
    let plan = &work.version.plan;
    let (Some(unit), Some(map_index)) = (plan.unit_of(work.task), work.map_index()) else { return Ok(found) };
    let Some(items) = mapped::items_of(plan, &work.run.mapped, unit, map_index) else {
        let why =
            format!("the values that make instance {map_index} are gone: what they come from was cleared meanwhile");
        return Err(Ended::failed(why).into());
    };
    let is_group = unit.group.is_some();
    let mut finder = Finder { lookups, attempt, returned: BTreeMap::new() };
    let names = unit.mapping.expand.iter().map(|(name, _)| Some(name.as_str()));
    let names: Vec<Option<&str>> = names.chain(unit.mapping.expand_kwargs.iter().map(|_| None)).collect();
    for ((name, input), item) in names.into_iter().zip(unit.mapping.inputs()).zip(items) {
        let value = finder.item(input, item).await?;
        let values = match (name, value) {
            (Some(name), value) => Map::from_iter([(name.to_owned(), value)]),
            (None, Value::Object(values)) if is_group => values,
            (None, Value::Object(values)) => {
                check_kwargs(work.definition(), &values).map_err(Ended::failed)?;
                values
            }
            (None, other) => return Err(Ended::failed(no_kwargs(&other)).into()),
        };
        let target = match input {
            _ if is_group => &mut found.of_group,
            input if input.is_literal() => &mut found.literal,
            _ => &mut found.plain,
        };
        target.extend(values);
    }
    Ok(found)
}

/// Whether a task may be given these by `expand_kwargs`: arguments of its operator that it has not been given yet. Those of a decorated
/// function are checked when it is called, which alone knows what they are.
fn check_kwargs(task: &Task, values: &Map<String, Value>) -> Result<(), String> {
    let Some(operator) = updraft_operators::find(&task.operator) else { return Ok(()) };
    let of_function = task.arguments.get("op_kwargs").and_then(Value::as_object);
    let is_given = |name: &str| match operator.argument(name) {
        None => of_function.is_some_and(|kwargs| kwargs.contains_key(name)),
        Some(_) => task.arguments.contains_key(name),
    };
    if let Some(name) = values.keys().find(|name| is_given(name)) {
        return Err(format!(
            "`expand_kwargs` gives this instance `{name}`, which the task gives all instances; name it in one of the two places only"
        ));
    }
    match values.keys().find(|name| task.decorator.is_none() && operator.argument(name).is_none()) {
        None => Ok(()),
        Some(name) => Err(format!(
            "`expand_kwargs` gives this instance `{name}`, which is no argument of {} that can differ among instances; it takes `{}`",
            operator.short_name(),
            operator.argument_names().collect::<Vec<_>>().join("`, `")
        )),
    }
}

fn no_kwargs(value: &Value) -> String {
    let kind = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a mapping",
    };
    format!("`expand_kwargs` needs a list of mappings of arguments, but this item is {kind}; return mappings instead")
}

/// Finds items of what a task is expanded over.
struct Finder<'f, 'l, 'a, I, L, S> {
    lookups: &'f AttemptLookups<'l, I, L>,
    attempt: Option<&'f mut Attempt<'a, S>>,
    /// Where that is what tasks returned that are not mapped, as far as it was asked for.
    returned: BTreeMap<TaskId, Option<ValueRef>>,
}

/// The future of an item: items are made of items.
type Found<'x> = Pin<Box<dyn Future<Output = Result<Value, Break>> + Send + 'x>>;

impl<'f, 'l, 'a, I: Items, L: LogStore, S: Services> Finder<'f, 'l, 'a, I, L, S> {
    fn item<'x>(&'x mut self, input: &'x ExpandInput, item: u64) -> Found<'x>
    where
        'f: 'x,
        'l: 'x,
        'a: 'x,
    {
        Box::pin(async move {
            match input {
                ExpandInput::Literal(value) => Ok(item_of(value, item)),
                ExpandInput::XCom { task_id, .. } => self.of_task(task_id, item).await,
                ExpandInput::Zip { of, fillvalue } => {
                    let mut several = Vec::with_capacity(of.len());
                    for input in of {
                        let is_there = self.length(input) > item;
                        let value = if is_there {
                            self.item(input, item).await?
                        } else {
                            fillvalue.clone().unwrap_or_default()
                        };
                        several.push(value);
                    }
                    Ok(Value::Array(several))
                }
                ExpandInput::Concat(of) => {
                    let mut left = item;
                    for input in of {
                        let length = self.length(input);
                        if left < length {
                            return self.item(input, left).await;
                        }
                        left -= length;
                    }
                    Ok(Value::Null)
                }
                ExpandInput::Map { of, function } => {
                    let value = self.item(of, item).await?;
                    self.call(function, value).await
                }
            }
        })
    }

    fn length(&self, input: &ExpandInput) -> u64 {
        let work = self.lookups.work;
        let plan = &work.version.plan;
        let of_task = |id: &TaskId| mapped::length(plan, &work.run.mapped, plan.index_of(id.as_str())?);
        input.length(&of_task).unwrap_or(0)
    }

    async fn of_task(&mut self, task_id: &TaskId, item: u64) -> Result<Value, Break> {
        let unreachable =
            |e: updraft_service::Error| Break::from(Ended::failed(format!("an item could not be read: {e}")));
        let is_mapped = self.lookups.is_mapped(task_id.as_str());
        if is_mapped {
            let value = self.lookups.item_of_mapped(task_id.as_str(), item).await.map_err(unreachable)?;
            return Ok(value.unwrap_or_default());
        }
        if !self.returned.contains_key(task_id) {
            let value = self.lookups.returned(task_id.as_str()).await.map_err(unreachable)?;
            self.returned.insert(task_id.clone(), value);
        }
        match self.returned.get(task_id).and_then(Option::as_ref) {
            Some(value) => self.lookups.item_of(value, item).await.map_err(unreachable),
            None => Ok(Value::Null),
        }
    }

    async fn call(&mut self, function: &Map<String, Value>, value: Value) -> Result<Value, Break> {
        let Some(attempt) = self.attempt.as_deref_mut() else { return Ok(value) };
        let search_path = attempt.services.search_path(attempt.work).await.map_err(|e| Ended::failed(e.to_string()))?;
        let folder = search_path.first().cloned().unwrap_or_default();
        let arguments = Arguments::plain(function.clone());
        let callable = processes::callable(&arguments, "python_callable", &folder)?
            .ok_or_else(|| "`map` names no Python callable".to_owned())?;
        let call = PythonCall { op_args: vec![value], search_path, ..PythonCall::new(callable) };
        let returned = operators::python::call_for_value(attempt, call).await?;
        match returned.not_json {
            Some(why) => {
                Err(Ended::failed(format!("what the function of `map` returned cannot be handed on: {why}")).into())
            }
            None => Ok(returned.value),
        }
    }
}
