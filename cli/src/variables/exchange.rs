//! `updraft variables import` and `export`, in Airflow's form: a value, or an object of `value` and `description`.

use crate::exchange;
use crate::failure::Failure;
use crate::metastore::Session;
use crate::printer::{Printer, count};
use serde_json::{Map, Value, json};
use std::path::Path;
use updraft_model::Variable;

/// What to do with a key that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnExisting {
    /// Write over it.
    Overwrite,
    /// Import nothing at all.
    Fail,
    /// Leave it as it is.
    Skip,
}

/// Keeps the variables of a file. All are looked at before any is kept.
pub(super) async fn import(
    session: &Session,
    file: &Path,
    on_existing: OnExisting,
    printer: Printer,
) -> Result<(), Failure> {
    let variables: Vec<Variable> = exchange::read(file)?.into_iter().map(variable).collect();
    for variable in &variables {
        variable.check().map_err(|problem| Failure::user("nothing was imported").cause(problem.to_string()))?;
    }
    if on_existing == OnExisting::Fail {
        let there = session.engine.variables().await?;
        let doubles: Vec<String> = variables
            .iter()
            .filter(|new| there.iter().any(|old| old.key == new.key))
            .map(|variable| format!("`{}`", variable.key))
            .collect();
        if !doubles.is_empty() {
            return Err(Failure::user("nothing was imported")
                .cause(format!("there are variables {} already", doubles.join(", ")))
                .hint("`--action-on-existing-key overwrite` writes over them, `skip` leaves them"));
        }
    }
    let mut kept = 0;
    for variable in &variables {
        if session.engine.set_variable(variable, on_existing == OnExisting::Overwrite).await? {
            kept += 1;
        } else {
            printer.note(format_args!("skipped `{}`: it is there already", variable.key));
        }
    }
    printer.note(format_args!("kept {kept} of {}", count(variables.len(), "variable")));
    Ok(())
}

/// What an entry of a file means: text as it is, anything else as JSON.
fn variable((key, value): (String, Value)) -> Variable {
    let (value, description) = match value {
        Value::Object(mut map) if map.contains_key("value") => {
            let description = map.remove("description").and_then(|d| d.as_str().map(str::to_owned));
            (map.remove("value").unwrap_or_default(), description)
        }
        other => (other, None),
    };
    let val = match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Variable { key, val, description }
}

/// Writes all variables. What was kept as JSON is JSON again, unless reading it back would not give the same text.
pub(super) async fn export(session: &Session, file: &Path, printer: Printer) -> Result<(), Failure> {
    let mut all = Map::new();
    for variable in session.engine.variables().await? {
        all.insert(variable.key.clone(), entry(variable));
    }
    let written = all.len();
    exchange::write(file, &format!("{:#}\n", Value::Object(all)), printer)?;
    printer.note(format_args!("wrote {}; the file holds their values as they are", count(written, "variable")));
    Ok(())
}

fn entry(variable: Variable) -> Value {
    let parsed = serde_json::from_str::<Value>(&variable.val).ok();
    let exact = parsed
        .filter(|value| !value.is_string() && serde_json::to_string(value).is_ok_and(|text| text == variable.val));
    let value = exact.unwrap_or(Value::String(variable.val));
    let looks_wrapped = value.as_object().is_some_and(|map| map.contains_key("value"));
    match variable.description {
        None if !looks_wrapped => value,
        description => json!({ "value": value, "description": description }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_exported_is_imported_as_it_was() {
        let of = |val: &str, description: Option<&str>| Variable {
            key: "k".to_owned(),
            val: val.to_owned(),
            description: description.map(str::to_owned),
        };
        for given in [
            of("plain", None),
            of("plain", Some("about")),
            of("42", None),
            of("1.50", None),
            of(r#"{"a":[1,null]}"#, None),
            of(r#"{"a": [1, null]}"#, None),
            of(r#"{"value":1}"#, None),
            of(r#"{"value":1,"description":"x"}"#, None),
            of("\"quoted\"", None),
            of("", None),
            of("null", None),
        ] {
            assert_eq!(variable(("k".to_owned(), entry(given.clone()))), given, "{}", given.val);
        }
    }
}
