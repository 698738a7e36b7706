//! Bulk requests: several creations, updates and deletions, in order, each with what came of it.

use super::Failure;
use crate::parts::{Api, Parts};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::future::Future;

/// A kind of thing that bulk requests are about.
pub(super) trait Kind<P: Parts> {
    /// The field of an entity that names it.
    const NAME: &'static str;
    /// What several are called, as Airflow's messages have it.
    const PLURAL: &'static str;
    /// What their names are called.
    const NAMES: &'static str;

    /// Which of these names there are.
    fn existing(
        api: &Api<P>,
        names: &BTreeSet<String>,
    ) -> impl Future<Output = Result<BTreeSet<String>, Failure>> + Send;

    /// Makes one, or changes what the entity names of the one that is there.
    fn create(api: &Api<P>, entity: &Value) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Changes what the entity and the mask name.
    fn update(api: &Api<P>, entity: &Value, mask: Option<&[&str]>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Removes one.
    fn delete(api: &Api<P>, name: &str) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// `{'a', 'b'}`, as Python prints a set.
fn set(names: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("{{{}}}", quoted.join(", "))
}

/// Answers a bulk request whose form is known to be right.
pub(super) async fn answer<P: Parts, K: Kind<P>>(api: &Api<P>, body: &Value) -> Value {
    let mut results = Map::new();
    for action in body["actions"].as_array().into_iter().flatten() {
        let verb = action["action"].as_str().unwrap_or_default();
        let (success, failure) = act::<P, K>(api, verb, action).await;
        let result = results.entry(verb).or_insert_with(|| json!({"success": [], "errors": []}));
        if let Value::Array(all) = &mut result["success"] {
            all.extend(success.into_iter().map(Value::from));
        }
        if let (Value::Array(all), Some(failure)) = (&mut result["errors"], failure) {
            all.push(json!({"error": failure.text(), "status_code": failure.status().as_u16()}));
        }
    }
    for verb in ["create", "update", "delete"] {
        results.entry(verb).or_insert(Value::Null);
    }
    Value::Object(results)
}

/// One action: what it was done to, and what stopped it.
async fn act<P: Parts, K: Kind<P>>(api: &Api<P>, verb: &str, action: &Value) -> (Vec<String>, Option<Failure>) {
    let name = |entity: &Value| entity.as_str().or_else(|| entity[K::NAME].as_str()).unwrap_or_default().to_owned();
    let entities = action["entities"].as_array().cloned().unwrap_or_default();
    let named: BTreeSet<String> = entities.iter().map(name).collect();
    let existing = match K::existing(api, &named).await {
        Ok(existing) => existing,
        Err(failure) => return (Vec::new(), Some(failure)),
    };
    let missing: BTreeSet<String> = named.difference(&existing).cloned().collect();
    let (plural, names) = (K::PLURAL, K::NAMES);
    let wanted = if verb == "create" {
        let on_existence = action["action_on_existence"].as_str().unwrap_or("fail");
        if on_existence == "fail" && !existing.is_empty() {
            let detail = format!("The {plural} with these {names}: {} already exist.", set(&existing));
            return (Vec::new(), Some(Failure::conflict(detail)));
        }
        if on_existence == "skip" { missing } else { named }
    } else {
        if action["action_on_non_existence"].as_str().unwrap_or("fail") == "fail" && !missing.is_empty() {
            let detail = format!("The {plural} with these {names}: {} were not found.", set(&missing));
            return (Vec::new(), Some(Failure::not_found(detail)));
        }
        existing
    };
    let mask: Option<Vec<&str>> =
        action["update_mask"].as_array().map(|m| m.iter().filter_map(Value::as_str).collect());
    // One after the other, up to the first that fails.
    let mut done = Vec::new();
    for entity in entities.iter().filter(|entity| wanted.contains(&name(entity))) {
        let result = match verb {
            "create" => K::create(api, entity).await,
            "update" => K::update(api, entity, mask.as_deref()).await,
            _ => K::delete(api, &name(entity)).await,
        };
        if let Err(failure) = result {
            return (done, Some(failure));
        }
        done.push(name(entity));
    }
    (done, None)
}

/// Whether a change of a field is asked for: it is given, and the mask, where there is one, names it.
pub(super) fn is_meant(entity: &Value, mask: Option<&[&str]>, field: &str) -> bool {
    entity.get(field).is_some() && mask.is_none_or(|mask| mask.iter().any(|name| name.trim() == field))
}

/// Teams are a thing of deployments that Updraft does not have.
pub(super) fn refuse_team(entity: &Value) -> Result<(), Failure> {
    if entity["team_name"].is_null() {
        return Ok(());
    }
    let message =
        "Value error, team_name cannot be set when multi_team mode is disabled. Please contact your administrator.";
    Err(Failure::invalid("value_error", "body", "team_name", message, &entity["team_name"]))
}
