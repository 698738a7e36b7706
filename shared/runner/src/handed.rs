//! Arguments that are values of other tasks: `+task` in a DAG file.

use serde_json::{Map, Value};
use updraft_model::dag_parts::XCOM_ARG;

/// The value that an argument stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The task that left it.
    pub(crate) task_id: String,
    /// Its key.
    pub(crate) key: String,
}

/// Where in the arguments a value belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Item(usize),
}

impl Place {
    /// Puts the value there. A place that is gone was rendered away, and gets nothing.
    pub(crate) fn put(self, arguments: &mut Map<String, Value>, value: Value) {
        let mut steps = self.0.iter();
        let Some(Step::Key(first)) = steps.next() else { return };
        let mut at = arguments.get_mut(first);
        for step in steps {
            at = match (at, step) {
                (Some(Value::Object(map)), Step::Key(key)) => map.get_mut(key),
                (Some(Value::Array(items)), Step::Item(index)) => items.get_mut(*index),
                _ => None,
            };
        }
        if let Some(at) = at {
            *at = value;
        }
    }
}

/// Takes out of the arguments what stands for values of other tasks, and leaves null there.
pub(crate) fn take(arguments: &mut Map<String, Value>) -> Vec<(Place, Wanted)> {
    let mut found = Vec::new();
    for (name, value) in arguments {
        look(value, &mut vec![Step::Key(name.clone())], &mut found);
    }
    found
}

fn look(value: &mut Value, way: &mut Vec<Step>, found: &mut Vec<(Place, Wanted)>) {
    if let Some(wanted) = wanted(value) {
        found.push((Place(way.clone()), wanted));
        *value = Value::Null;
        return;
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                way.push(Step::Item(index));
                look(item, way, found);
                way.pop();
            }
        }
        Value::Object(map) => {
            for (key, item) in map {
                way.push(Step::Key(key.clone()));
                look(item, way, found);
                way.pop();
            }
        }
        _ => {}
    }
}

fn wanted(value: &Value) -> Option<Wanted> {
    let map = value.as_object()?;
    if map.get("__type__")? != XCOM_ARG {
        return None;
    }
    let text = |name: &str| map.get(name)?.as_str().map(str::to_owned);
    Some(Wanted { task_id: text("task_id")?, key: text("key")? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_come_back_to_where_they_were_taken() {
        let handed = |task: &str| json!({"__type__": XCOM_ARG, "task_id": task, "key": "k"});
        let mut arguments =
            json!({"op_kwargs": {"x": handed("a"), "n": 1}, "op_args": [1, [handed("b")], handed("c")]});
        let arguments = arguments.as_object_mut().expect("an object");
        let found = take(arguments);
        assert_eq!(json!(arguments), json!({"op_kwargs": {"x": null, "n": 1}, "op_args": [1, [null], null]}));
        // What a value looks like does not matter any more once it is in its place.
        for (place, wanted) in found {
            place.put(arguments, json!({"__type__": XCOM_ARG, "was": wanted.task_id}));
        }
        let was = |task: &str| json!({"__type__": XCOM_ARG, "was": task});
        assert_eq!(
            json!(arguments),
            json!({"op_kwargs": {"x": was("a"), "n": 1}, "op_args": [1, [was("b")], was("c")]})
        );
    }

    #[test]
    fn a_place_that_is_gone_gets_nothing() {
        let mut arguments = json!({"op_args": [{"__type__": XCOM_ARG, "task_id": "a", "key": "k"}]});
        let arguments = arguments.as_object_mut().expect("an object");
        let mut found = take(arguments);
        arguments.insert("op_args".to_owned(), json!("text"));
        found.remove(0).0.put(arguments, json!(5));
        assert_eq!(json!(arguments), json!({"op_args": "text"}));
    }
}
