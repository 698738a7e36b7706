//! A JSON schema of DAG files (draft 2020-12), for editors. It is made from the tables that the loader goes by: [`keys`] and the registry
//! of operators.
//!
//! A schema sees less than the loader does: it knows no defaults of other files, so it asks for no argument, and it cannot tell whether
//! a name that is depended on exists. Editors show what it does see while one types; `updraft dags lint` tells the rest.

use crate::keys::{self, Key, Shape, Standing};
use serde_json::{Map, Value, json};
use updraft_model::operators::{self, Argument, ArgumentType, Operator, SENSOR_ARGUMENTS};

/// The schema.
pub fn json_schema() -> Value {
    let properties = json!({
        "default": { "$ref": "#/$defs/dag", "description": "what all DAGs of the file have in common" },
    });
    let mut defs = Map::new();
    let mut dag = object(keys::DAG, true);
    // Places for anchors.
    dag["patternProperties"] = json!({ "^x-": {} });
    defs.insert("dag".into(), dag);
    defs.insert("task".into(), task());
    defs.insert("group".into(), object(keys::GROUP, true));
    defs.insert("default_args".into(), object(keys::TASK, false));
    let names = |keys: &[Key]| Value::Array(keys.iter().map(|key| key.name.into()).collect());
    defs.insert("task_key".into(), json!({ "enum": names(keys::TASK) }));
    let sensors: Vec<&str> = SENSOR_ARGUMENTS.iter().map(|argument| argument.name).collect();
    defs.insert("sensor_key".into(), json!({ "enum": sensors }));
    defs.insert("sensor".into(), json!({ "properties": arguments(SENSOR_ARGUMENTS) }));
    let special = ["__type__", "__join__", "__and__", "__or__"].map(|key| json!({ "required": [key] }));
    defs.insert(
        "typed".into(),
        json!({
            "description": "a Python object, by its class path and arguments",
            "type": "object",
            "properties": {
                "__type__": { "type": "string", "examples": ["datetime.timedelta", "datetime.datetime"] },
                "__args__": { "type": "array" },
            },
            "anyOf": special,
        }),
    );
    defs.insert("nothing".into(), json!({ "enum": [null, "None"] }));
    defs.insert("switch".into(), json!({ "anyOf": [{ "type": "boolean" }, { "enum": WORDS }] }));
    let arguments = operators::all().iter().flat_map(|operator| &operator.arguments).chain(SENSOR_ARGUMENTS);
    for argument in arguments {
        let name = kind_name(argument.kind, argument.template);
        defs.entry(name).or_insert_with(|| of_kind(argument.kind, argument.template));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Updraft DAG file",
        "description": "DAGs by their ids, as dag-factory and Amazon MWAA Serverless read them",
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": { "$ref": "#/$defs/dag" },
        "$defs": defs,
    })
}

/// The words that YAML 1.1 reads as true or false, and newer parsers as text.
const WORDS: [&str; 12] = ["yes", "Yes", "YES", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF"];

/// A mapping with these keys, and with others or not.
fn object(keys: &[Key], closed: bool) -> Value {
    let properties: Map<String, Value> = keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if closed {
        schema["additionalProperties"] = false.into();
    }
    schema
}

/// A key with its type and what it means.
fn property(key: &Key) -> Value {
    let mut schema = shape(key.shape);
    let doc = match key.standing {
        Standing::Effective => key.doc.to_owned(),
        Standing::Kept => format!("{} (kept; not acted on yet)", key.doc),
        Standing::NoEffect => format!("{} (no effect)", key.doc),
        Standing::Old(new) => format!("an older name of `{new}`"),
    };
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".into(), doc.into());
        if matches!(key.standing, Standing::Old(_)) {
            schema.insert("deprecated".into(), true.into());
        }
    }
    schema
}

/// Any of these, or nothing, or a Python object.
fn any_of(mut schemas: Vec<Value>) -> Value {
    schemas.extend([json!({ "$ref": "#/$defs/nothing" }), json!({ "$ref": "#/$defs/typed" })]);
    json!({ "anyOf": schemas })
}

fn of_type(name: &str) -> Value {
    json!({ "type": name })
}

fn list_of(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn shape(shape: Shape) -> Value {
    let text = || of_type("string");
    match shape {
        Shape::Text | Shape::DottedPath | Shape::Timezone | Shape::Moment => any_of(vec![text()]),
        Shape::Boolean => any_of(vec![json!({ "$ref": "#/$defs/switch" })]),
        Shape::Count(least) => any_of(vec![json!({ "type": "integer", "minimum": least })]),
        Shape::Integer => any_of(vec![of_type("integer")]),
        Shape::BooleanOrNumber => any_of(vec![json!({ "$ref": "#/$defs/switch" }), of_type("number")]),
        Shape::Duration => any_of(vec![of_type("number"), text()]),
        Shape::Texts => any_of(vec![of_type("array")]),
        Shape::TextOrTexts => any_of(vec![text(), list_of(&text())]),
        Shape::Mapping | Shape::Params | Shape::Expand => any_of(vec![of_type("object")]),
        Shape::OneOf(words) => any_of(vec![json!({ "enum": words })]),
        Shape::Schedule => any_of(vec![
            json!({ "type": "string", "examples": ["@daily", "0 6 * * mon-fri", "rate(5 minutes)"] }),
            of_type("number"),
            of_type("array"),
            of_type("object"),
        ]),
        Shape::Tasks => any_of(vec![
            json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/task" } }),
            json!({ "type": "array", "items": { "$ref": "#/$defs/task", "required": ["task_id"] } }),
        ]),
        Shape::Groups => any_of(vec![
            json!({ "type": "object", "additionalProperties": { "anyOf": [{ "$ref": "#/$defs/group" }, { "type": "null" }] } }),
            json!({ "type": "array", "items": { "$ref": "#/$defs/group", "required": ["group_name"] } }),
        ]),
        Shape::DefaultArgs => any_of(vec![json!({ "$ref": "#/$defs/default_args" })]),
        Shape::Dependencies => any_of(vec![list_of(&text()), text()]),
        Shape::Operator => {
            let names: Vec<&str> = operators::all().iter().flat_map(|o| [o.short_name(), o.class_path]).collect();
            any_of(vec![json!({ "enum": names }), text()])
        }
        Shape::VariablesAsArguments => any_of(vec![list_of(&json!({
            "type": "object",
            "properties": { "variable": text(), "attribute": text() },
            "required": ["variable", "attribute"],
        }))]),
        Shape::Assets | Shape::Callback => any_of(vec![text(), of_type("array"), of_type("object")]),
        Shape::Any => json!({}),
    }
}

/// A task: the keys of every task, and those of the operator that it names.
fn task() -> Value {
    let mut schema = object(keys::TASK, false);
    let known = operators::all().iter().filter(|operator| !operator.abstract_base);
    schema["allOf"] = Value::Array(known.map(of_operator).collect());
    schema
}

/// What holds for a task of this operator: other keys than its own and those of every task are mistakes.
fn of_operator(operator: &Operator) -> Value {
    let mut names = vec![operator.class_path, operator.short_name()];
    for path in &operator.old_class_paths {
        names.push(path);
    }
    // A short name may be another operator's: the one that the loader finds by it has it.
    names.retain(|name| operators::find(name).is_some_and(|found| found.class_path == operator.class_path));
    names.dedup();
    let own: Vec<&str> = operator.arguments.iter().map(|argument| argument.name).collect();
    let mut keys = vec![json!({ "$ref": "#/$defs/task_key" }), json!({ "enum": own })];
    let mut then = json!({ "properties": arguments(&operator.arguments) });
    if operator.sensor {
        keys.push(json!({ "$ref": "#/$defs/sensor_key" }));
        then["$ref"] = "#/$defs/sensor".into();
    }
    then["propertyNames"] = json!({ "anyOf": keys });
    json!({
        "if": { "properties": { "operator": { "enum": names } }, "required": ["operator"] },
        "then": then,
    })
}

fn arguments(arguments: &[Argument]) -> Map<String, Value> {
    arguments.iter().map(|argument| (argument.name.to_owned(), of_argument(argument))).collect()
}

/// An argument by its type, which is spelled out once for all of its kind.
fn of_argument(argument: &Argument) -> Value {
    let mut schema = json!({ "$ref": format!("#/$defs/{}", kind_name(argument.kind, argument.template)) });
    let doc = match (argument.template, argument.doc) {
        (false, doc) => doc.to_owned(),
        (true, "") => "a template".to_owned(),
        (true, doc) => format!("{doc}; a template"),
    };
    if !doc.is_empty() {
        schema["description"] = doc.into();
    }
    if let Some(default) = argument.default.and_then(|json| serde_json::from_str::<Value>(json).ok()) {
        schema["default"] = default;
    }
    schema
}

/// What the schema of arguments of a type is called.
fn kind_name(kind: ArgumentType, template: bool) -> String {
    format!("{kind:?}{}", if template { "Template" } else { "" })
}

/// What may stand for an argument of a type.
fn of_kind(kind: ArgumentType, template: bool) -> Value {
    let text = || of_type("string");
    let mut kinds = match kind {
        ArgumentType::Any => return json!({}),
        // Numbers and the like are taken for their text.
        ArgumentType::Text | ArgumentType::Moment | ArgumentType::TimeOfDay | ArgumentType::Callable => {
            vec![json!({ "type": ["string", "number", "boolean"] })]
        }
        ArgumentType::Boolean => vec![json!({ "$ref": "#/$defs/switch" })],
        ArgumentType::Integer => vec![of_type("integer")],
        ArgumentType::Number => vec![of_type("number")],
        ArgumentType::List => vec![of_type("array")],
        ArgumentType::Mapping => vec![of_type("object")],
        ArgumentType::IntegerOrList => vec![of_type("integer"), of_type("array")],
        ArgumentType::TextOrList => vec![text(), of_type("array")],
        ArgumentType::MappingOrText => vec![of_type("object"), text()],
        ArgumentType::Duration | ArgumentType::Minutes => vec![of_type("number"), text()],
    };
    if template && !kinds.contains(&text()) {
        kinds.push(text());
    }
    any_of(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    /// Compiled once: there are hundreds of operators in it.
    static VALIDATOR: LazyLock<jsonschema::Validator> =
        LazyLock::new(|| jsonschema::draft202012::new(&json_schema()).unwrap());

    fn errors(yaml: &str) -> Vec<String> {
        let document = crate::read_document("a.yaml", yaml.as_bytes()).unwrap();
        VALIDATOR.iter_errors(&document).map(|e| format!("{}: {e}", e.instance_path())).collect()
    }

    #[test]
    fn it_is_a_schema() {
        jsonschema::meta::validate(&json_schema()).unwrap();
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the examples are files, and each new one is to be checked")]
    fn the_examples_are_valid() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dags");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|suffix| suffix == "yaml") {
                assert_eq!(
                    errors(&std::fs::read_to_string(&path).unwrap()),
                    Vec::<String>::new(),
                    "{}",
                    path.display()
                );
                seen += 1;
            }
        }
        assert!(seen >= 4, "{seen} examples");
    }

    #[test]
    fn both_forms_of_tasks_and_unknown_operators_are_valid() {
        for yaml in [
            "a:\n  schedule: null\n  tasks:\n    - {task_id: t, operator: BashOperator, bash_command: x, retries: 2}\n",
            "a:\n  tasks:\n    t: {operator: my.own.Operator, whatever: [1]}\n",
            "a:\n  schedule: {__type__: datetime.timedelta, hours: 2}\n  default_args: {retry_delay: 5m, anything: 1}\n  tasks: {}\n",
            "default:\n  catchup: false\na:\n  tasks:\n    t: {decorator: airflow.sdk.task, python_callable: m.f, x: 1}\n",
            "a:\n  task_groups:\n    g: {tooltip: x}\n  tasks:\n    t: {operator: EmptyOperator, task_group_name: g}\n",
            "a:\n  x-common: &c {retries: 1}\n  tasks:\n    t: {<<: *c, operator: EmptyOperator}\n",
            "default:\n  tasks:\n    t: {operator: BashOperator, bash_command: x}\na:\n  tasks:\n    t: {}\n",
            "",
        ] {
            assert_eq!(errors(yaml), Vec::<String>::new(), "{yaml}");
        }
    }

    #[test]
    fn typing_errors_are_not() {
        for yaml in [
            "a:\n  tasks:\n    t: {operator: BashOperator, bash_comand: x}\n",
            "a:\n  tasks:\n    - {task_id: t, operator: airflow.operators.bash.BashOperator, bash_comand: x}\n",
            "a:\n  tasks:\n    - {operator: BashOperator, bash_command: x}\n",
            "a:\n  shedule: '@daily'\n  tasks: {}\n",
            "a:\n  tasks:\n    t:\n",
            "a:\n  tasks:\n    t: {operator: BashOperator, bash_command: x, retries: many}\n",
            "a:\n  tasks:\n    t: {operator: BashOperator, bash_command: x, trigger_rule: all_sucess}\n",
        ] {
            assert_ne!(errors(yaml), Vec::<String>::new(), "{yaml}");
        }
    }
}
