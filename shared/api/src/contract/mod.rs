//! What clients of Airflow's API expect: its operations and the forms of bodies and answers, in `airflow.json` (which `generate.py` makes).
//!
//! Requests are held to it before a handler sees them, so that a bad one is answered as FastAPI answers it, in one place. The same
//! document is served as OpenAPI, for what is served of it.

mod check;
mod request;

pub(crate) use check::instant;
pub(crate) use request::{Body, boolean, checked};

use serde_json::{Map, Value, json};
use std::sync::LazyLock;

static CONTRACT: LazyLock<Contract> = LazyLock::new(|| {
    let mut read: Map<String, Value> = serde_json::from_str(include_str!("airflow.json")).unwrap_or_default();
    let mut take = |name| match read.remove(name) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    Contract { operations: take("operations"), schemas: take("schemas") }
});

/// What any operation may answer, declared by Airflow or not: an order or a cursor that makes no sense, a thing that is not there, a role that
/// does not suffice, a body that is too large, a host name that is not this server's, too many attempts, a store that does not answer.
const ANYWHERE: [u16; 7] = [400, 403, 404, 413, 421, 429, 503];

/// What Airflow answers without declaring it.
const UNDECLARED: &[(&str, u16)] = &[("delete_dag", 204)];

/// Operations by method and path, and the schemas that they refer to.
struct Contract {
    operations: Map<String, Value>,
    schemas: Map<String, Value>,
}

/// An operation of Airflow's API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation(&'static Value);

impl Operation {
    /// The operation of this method and path, the path as Airflow's document writes it, without the prefix.
    pub(crate) fn find(method: &str, path: &str) -> Option<Self> {
        CONTRACT.operations.get(&format!("{method} {path}")).map(Self)
    }

    /// All operations, as `METHOD path`.
    #[cfg(test)]
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        CONTRACT.operations.keys().map(String::as_str)
    }

    /// What it is about, first of all.
    pub(crate) fn tag(self) -> &'static str {
        self.0["tags"][0].as_str().unwrap_or_default()
    }

    /// Airflow's name for it: what its audit log calls the event.
    pub(crate) fn id(self) -> &'static str {
        self.0["operationId"].as_str().unwrap_or_default()
    }

    /// Whether it only looks, though it has a body.
    pub(crate) fn only_looks(self) -> bool {
        const LOOK: [&str; 4] =
            ["get_list_dag_runs_batch", "get_task_instances_batch", "test_connection", "enqueue_connection_test"];
        self.id().contains("dry_run") || LOOK.contains(&self.id())
    }

    /// Whether its body may ask for nothing but what it would do; such do that unless they are told otherwise.
    pub(crate) fn may_be_dry(self) -> bool {
        self.body().is_some_and(|(schema, _)| resolved(schema)["properties"].get("dry_run").is_some())
    }

    fn parameters(self) -> &'static [Value] {
        self.0["parameters"].as_array().map_or(&[], Vec::as_slice)
    }

    /// The form of the body, and whether there must be one.
    fn body(self) -> Option<(&'static Value, bool)> {
        let body = self.0.get("requestBody")?;
        Some((&body["content"]["application/json"]["schema"], body["required"].as_bool().unwrap_or(false)))
    }

    /// The answers by status, with those that Airflow does not declare.
    pub(crate) fn answers(self) -> Map<String, Value> {
        let mut answers = self.0["responses"].as_object().cloned().unwrap_or_default();
        let named = |status: u16| {
            let name = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
            json!({"description": name.unwrap_or_default()})
        };
        for status in ANYWHERE {
            let mut answer = named(status);
            answer["content"] =
                json!({"application/json": {"schema": {"$ref": "#/components/schemas/HTTPExceptionResponse"}}});
            answers.entry(status.to_string()).or_insert(answer);
        }
        // Where Airflow declares another form, what FastAPI says of a bad request comes all the same.
        if let Some(schema) = answers.get_mut("422").map(|answer| &mut answer["content"]["application/json"]["schema"])
            && schema["$ref"] == json!("#/components/schemas/HTTPExceptionResponse")
        {
            *schema = json!({"anyOf": [schema.take(), {"$ref": "#/components/schemas/HTTPValidationError"}]});
        }
        for (_, status) in UNDECLARED.iter().filter(|(id, _)| *id == self.id()) {
            answers.entry(status.to_string()).or_insert_with(|| named(*status));
        }
        answers
    }
}

/// The schema that a reference names, or the schema itself.
fn resolved(schema: &Value) -> &Value {
    let name = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next());
    name.and_then(|name| CONTRACT.schemas.get(name)).unwrap_or(schema)
}

/// What is wrong with a value against a schema of the contract.
#[cfg(test)]
pub(crate) fn problems(schema: &Value, value: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    check::value(schema, value, &mut Vec::new(), &mut found);
    found
}

/// The OpenAPI document of what is served: pairs of method and path.
pub(crate) fn document(served: &[(&'static str, &'static str)]) -> Value {
    let mut paths = Map::new();
    for (method, path) in served {
        let Some(operation) = Operation::find(method, path) else { continue };
        let methods = paths.entry(format!("/api/v2{path}")).or_insert_with(|| json!({}));
        let mut shown = operation.0.clone();
        shown["responses"] = operation.answers().into();
        methods[method.to_ascii_lowercase()] = shown;
    }
    let mut schemas = CONTRACT.schemas.clone();
    // As Airflow declares it, a task instance would fit both forms, so none fits one of them.
    if let Some(item) = schemas.get_mut("ClearTaskInstanceCollectionResponse")
        && let Value::Object(item) = &mut item["properties"]["task_instances"]["items"]
        && let Some(branches) = item.remove("oneOf")
    {
        item.insert("anyOf".to_owned(), branches);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Airflow API", "version": "2"},
        "security": [{"HTTPBearer": []}, {"OAuth2PasswordBearer": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "OAuth2PasswordBearer": {"type": "oauth2", "flows": {"password": {"scopes": {}, "tokenUrl": "/auth/token"}}},
                "HTTPBearer": {"type": "http", "scheme": "bearer"},
            },
        },
    })
}
