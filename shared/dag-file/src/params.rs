//! Params: default values, and of a typed `Param` the JSON schema.

use crate::reader::Cursor;
use crate::yaml::Value;
use crate::yaml::compose::clip;
use serde_json::{Map as JsonMap, Value as Json};

/// Params by name, and their schemas.
#[derive(Default)]
pub(crate) struct Params {
    pub(crate) values: JsonMap<String, Json>,
    pub(crate) schemas: JsonMap<String, Json>,
}

/// Reads params; null, or the word `None`, are none.
pub(crate) fn params(cursor: &Cursor<'_>) -> Option<Params> {
    let mut params = Params::default();
    if cursor.is_none() || cursor.is_not_given() {
        return Some(params);
    }
    for (name, value) in cursor.pairs(cursor.mapping()?) {
        let (default, schema) = param(&value)?;
        if let Some(default) = default {
            params.values.insert(name.to_owned(), default);
        }
        if let Some(schema) = schema {
            params.schemas.insert(name.to_owned(), schema);
        }
    }
    Some(params)
}

/// A param's default, if it has one, and its schema. Without a default it has a schema in any case: whoever triggers must give a value.
fn param(cursor: &Cursor<'_>) -> Option<(Option<Json>, Option<Json>)> {
    let Some((class, map)) = cursor.typed() else { return Some((Some(cursor.json()?), None)) };
    match class.rsplit('.').next() {
        Some("Param" | "DagParam") => {}
        Some("datetime" | "date" | "timedelta" | "ArgNotSet") => return Some((Some(cursor.json()?), None)),
        _ => {
            let message = format!("a param of the type `{}` is not supported", clip(class));
            cursor.error("unsupported", message, Some("use a plain value, or `airflow.sdk.Param`".into()));
            return None;
        }
    }
    let mut default = None;
    let mut schema = JsonMap::new();
    for (name, value) in cursor.pairs(map) {
        match name {
            "__type__" => {}
            "__args__" => {
                for (i, node) in value.list()?.iter().enumerate() {
                    let json = value.item(i, node).json()?;
                    match i {
                        0 => default = Some(json),
                        _ => drop(schema.insert("description".to_owned(), json)),
                    }
                }
            }
            "default" => default = Some(value.json()?),
            // `schema: {...}` is an argument of Airflow's class as well as its keywords are.
            "schema" if matches!(value.node.value, Value::Map(_)) => {
                if let Json::Object(given) = value.json()? {
                    schema.extend(given);
                }
            }
            _ => drop(schema.insert(name.to_owned(), value.json()?)),
        }
    }
    let has_schema = default.is_none() || !schema.is_empty();
    Some((default, has_schema.then_some(Json::Object(schema))))
}
