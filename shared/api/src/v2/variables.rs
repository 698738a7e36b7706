//! Variables. Values under telling names, whole or inside JSON, are not shown.

use super::bulk::{self, Kind, is_meant};
use super::order::{SortKey, sort_by};
use super::query::Query;
use super::secret::redacted_text;
use super::{Created, Failure, NoContent};
use crate::contract::Body;
use crate::parts::{Api, Parts};
use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use updraft_model::Variable;

type Answer = Result<Json<Value>, Failure>;

/// `VariableResponse`.
fn shown(variable: &Variable) -> Value {
    json!({
        "key": variable.key,
        "value": redacted_text(&variable.key, &variable.val),
        "description": variable.description,
        // Nothing is encrypted in the metastore yet.
        "is_encrypted": false,
        "team_name": null,
    })
}

fn missing(key: &str) -> Failure {
    Failure::not_found(format!("The Variable with key: `{key}` was not found"))
}

async fn find<P: Parts>(api: &Api<P>, key: &str) -> Result<Variable, Failure> {
    api.engine.store.variable(key).await?.ok_or_else(|| missing(key))
}

/// The text that a JSON value is kept as.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

/// The text that is kept where somebody sends back what a list has shown: what was hidden there stays as it was.
fn merged(key: &str, new: &Value, old: &str) -> String {
    let new = text(new);
    if new == redacted_text(key, old) { old.to_owned() } else { new }
}

fn changed(mut variable: Variable, body: &Value, mask: Option<&[&str]>) -> Variable {
    if is_meant(body, mask, "value") {
        variable.val = merged(&variable.key, &body["value"], &variable.val);
    }
    if is_meant(body, mask, "description") {
        variable.description = body["description"].as_str().map(str::to_owned);
    }
    variable
}

fn new(body: &Value) -> Variable {
    let key = body["key"].as_str().unwrap_or_default().to_owned();
    changed(Variable { key, val: String::new(), description: None }, body, None)
}

/// `GET /variables`.
pub(super) async fn list<P: Parts>(State(api): State<Api<P>>, query: Query) -> Answer {
    let page = query.page()?;
    let order = query.order_by("id", &["key", "id", "_val", "description", "is_encrypted", "team_name"])?;
    let mut variables = api.engine.variables().await?;
    variables.retain(|variable| query.matches("variable_key", &variable.key));
    sort_by(&mut variables, &order, |variable, name| match name {
        "_val" => redacted_text(&variable.key, &variable.val).into(),
        "description" => variable.description.clone().into(),
        "is_encrypted" | "team_name" => SortKey::Nothing,
        _ => variable.key.clone().into(),
    });
    let total = variables.len();
    let shown: Vec<Value> = page.of(variables).iter().map(shown).collect();
    Ok(Json(json!({"variables": shown, "total_entries": total})))
}

/// `GET /variables/{variable_key}`.
pub(super) async fn one<P: Parts>(State(api): State<Api<P>>, Path(key): Path<String>) -> Answer {
    Ok(Json(shown(&find(&api, &key).await?)))
}

/// `POST /variables`.
pub(super) async fn create<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Result<Created, Failure> {
    bulk::refuse_team(&body)?;
    let variable = new(&body);
    // Keeping what is there already again is no conflict to the store; to Airflow it is.
    let there = !variable.key.is_empty() && api.engine.store.variable(&variable.key).await?.is_some();
    if there || !api.engine.set_variable(&variable, false).await? {
        return Err(Failure::conflict(format!("The Variable with key: `{}` already exists", variable.key)));
    }
    Ok(Created(shown(&variable)))
}

/// `PATCH /variables/{variable_key}`.
pub(super) async fn patch<P: Parts>(
    State(api): State<Api<P>>,
    Path(key): Path<String>,
    query: Query,
    Body(body): Body,
) -> Answer {
    bulk::refuse_team(&body)?;
    if body["key"] != key.as_str() {
        return Err(Failure::bad_request("Invalid body, key from request body doesn't match uri parameter"));
    }
    let mask = query.all("update_mask");
    if mask.contains(&"key") {
        let detail = "Update not allowed: the following fields are immutable and cannot be modified: {'key'}";
        return Err(Failure::bad_request(detail));
    }
    let mask = (!mask.is_empty()).then_some(mask);
    let variable = changed(find(&api, &key).await?, &body, mask.as_deref());
    api.engine.set_variable(&variable, true).await?;
    Ok(Json(shown(&variable)))
}

/// `DELETE /variables/{variable_key}`.
pub(super) async fn delete<P: Parts>(State(api): State<Api<P>>, Path(key): Path<String>) -> Result<NoContent, Failure> {
    find(&api, &key).await?;
    api.engine.store.delete_variable(&key).await?;
    Ok(NoContent)
}

struct Variables;

impl<P: Parts> Kind<P> for Variables {
    const NAME: &'static str = "key";
    const PLURAL: &'static str = "variables";
    const NAMES: &'static str = "keys";

    async fn existing(api: &Api<P>, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Failure> {
        let mut found = BTreeSet::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            if api.engine.store.variable(name).await?.is_some() {
                found.insert(name.clone());
            }
        }
        Ok(found)
    }

    async fn create(api: &Api<P>, entity: &Value) -> Result<(), Failure> {
        bulk::refuse_team(entity)?;
        let there = api.engine.store.variable(entity["key"].as_str().unwrap_or_default()).await?;
        let variable = there.map_or_else(|| new(entity), |there| changed(there, entity, None));
        api.engine.set_variable(&variable, true).await?;
        Ok(())
    }

    async fn update(api: &Api<P>, entity: &Value, mask: Option<&[&str]>) -> Result<(), Failure> {
        bulk::refuse_team(entity)?;
        let there = find(api, entity["key"].as_str().unwrap_or_default()).await?;
        api.engine.set_variable(&changed(there, entity, mask), true).await?;
        Ok(())
    }

    async fn delete(api: &Api<P>, name: &str) -> Result<(), Failure> {
        Ok(api.engine.store.delete_variable(name).await?)
    }
}

/// `PATCH /variables`.
pub(super) async fn bulk<P: Parts>(State(api): State<Api<P>>, Body(body): Body) -> Answer {
    Ok(Json(bulk::answer::<P, Variables>(&api, &body).await))
}

#[cfg(test)]
mod tests {
    use super::super::secret::redacted;
    use super::*;

    #[test]
    fn what_was_hidden_stays_when_it_comes_back() {
        let variable = |key: &str, val: &str| Variable { key: key.into(), val: val.into(), description: None };
        let kept = changed(variable("db_password", "hunter22"), &json!({"value": "***", "description": "new"}), None);
        assert_eq!((kept.val.as_str(), kept.description.as_deref()), ("hunter22", Some("new")));
        let set = changed(variable("db_password", "hunter22"), &json!({"value": "other"}), None);
        assert_eq!(set.val, "other");
        let masked =
            changed(variable("region", "eu"), &json!({"value": "us", "description": "d"}), Some(&["description"]));
        assert_eq!((masked.val.as_str(), masked.description.as_deref()), ("eu", Some("d")));
        assert_eq!(new(&json!({"key": "k", "value": {"a": 1}})).val, "{\n  \"a\": 1\n}");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let json = Variable { key: "s".into(), val: r#"{"password": "hunter22", "a": 1}"#.into(), description: None };
        assert_eq!(shown(&json)["value"], redacted(&json!({"password": "hunter22", "a": 1}), "s").to_string());
        assert!(!shown(&json).to_string().contains("hunter22"));
    }
}
