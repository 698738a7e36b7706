//! Params against their JSON schemas, as Airflow's `Param.resolve` checks them.
//!
//! A param with a schema and no default is asked for: a run must bring a value. A param without a schema takes anything, and so does a
//! name in the conf that no param has. Formats are checked as far as Airflow checks them. Nothing is fetched: a `$ref` may only
//! point into its own schema.

use jsonschema::{Draft, PatternOptions, ValidationOptions};
use serde_json::{Map, Value};
use updraft_model::{Dag, Task, Timetable, secrets};

/// How much of a value or a rule a message shows, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// How often a pattern may go back before it is given up: a pattern is somebody else's program.
const BACKTRACKS_MAX: usize = 100_000;

/// How much memory a compiled pattern may take, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What is wrong with a param.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No default and no value: Airflow's "No value passed".
    #[error("invalid input for param `{0}`: no value passed, and the param has no default")]
    Missing(String),
    /// A value that its schema refuses.
    #[error("invalid input for param `{name}`: {why}")]
    Invalid {
        /// The param.
        name: String,
        /// The value, the rule, and the place inside the value where it is not the value itself.
        why: String,
    },
    /// A schema that is none.
    #[error("the schema of the param `{name}` is no JSON schema: {why}")]
    Schema {
        /// The param.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Problem {
    /// The param.
    pub fn name(&self) -> &str {
        match self {
            Self::Missing(name) | Self::Invalid { name, .. } | Self::Schema { name, .. } => name,
        }
    }
}

/// Checks the params of a run with this conf; null is no conf.
///
/// # Errors
/// The first [`Problem`], in the order of the schemas.
pub fn check_run(dag: &Dag, conf: &Value) -> Result<(), Problem> {
    check(&dag.param_schemas, |name| conf.get(name).or_else(|| dag.params.get(name)))
}

/// Checks what a DAG declares: its schemas must be schemas and, where its runs are made by a schedule, which gives them no conf, its
/// defaults must fit them. Airflow refuses such a DAG when it reads the file.
///
/// # Errors
/// The first [`Problem`], in the order of the schemas.
pub fn check_declared(dag: &Dag) -> Result<(), Problem> {
    let is_scheduled = dag.timetable != Timetable::Null || dag.assets.is_some();
    if is_scheduled {
        return check_run(dag, &Value::Null);
    }
    for (name, schema) in &dag.param_schemas {
        if let Err(problem @ Problem::Schema { .. }) = check_one(name, schema, &Value::Null) {
            return Err(problem);
        }
    }
    Ok(())
}

/// Checks the params of one task in a run with this conf: the DAG's schemas, with the task's values above the DAG's.
///
/// # Errors
/// The first [`Problem`], in the order of the schemas.
pub fn check_task(dag: &Dag, task: &Task, conf: &Value) -> Result<(), Problem> {
    check(&dag.param_schemas, |name| conf.get(name).or_else(|| task.params.get(name)).or_else(|| dag.params.get(name)))
}

/// Checks values against schemas by name; a value of none is missing.
///
/// # Errors
/// The first [`Problem`], in the order of the schemas.
pub fn check<'v>(schemas: &Map<String, Value>, value_of: impl Fn(&str) -> Option<&'v Value>) -> Result<(), Problem> {
    for (name, schema) in schemas {
        let value = value_of(name).ok_or_else(|| Problem::Missing(name.clone()))?;
        check_one(name, schema, value)?;
    }
    Ok(())
}

/// Checks one value.
///
/// # Errors
/// [`Problem::Schema`] or [`Problem::Invalid`].
pub fn check_one(name: &str, schema: &Value, value: &Value) -> Result<(), Problem> {
    if schema.as_object().is_some_and(Map::is_empty) {
        return Ok(());
    }
    let validator = options()
        .build(schema)
        .map_err(|error| Problem::Schema { name: name.to_owned(), why: clip(&error.to_string()) })?;
    let Err(error) = validator.validate(value) else { return Ok(()) };
    // A value that is secret by its name is not shown.
    let text = if secrets::is_sensitive_name(name) {
        error.masked_with(secrets::HIDDEN).to_string()
    } else {
        error.to_string()
    };
    let place = error.instance_path().to_string();
    let place = if place.is_empty() { String::new() } else { format!(" (at `{place}`)") };
    Err(Problem::Invalid { name: name.to_owned(), why: format!("{}{place}", clip(&text)) })
}

/// Draft 2020-12 unless the schema names another, as Airflow's library has it.
fn options<'i>() -> ValidationOptions<'i> {
    // Formats for which Airflow has no checker: it accepts anything.
    const UNCHECKED: [&str; 10] = [
        "duration",
        "hostname",
        "idn-hostname",
        "iri",
        "iri-reference",
        "json-pointer",
        "relative-json-pointer",
        "uri",
        "uri-reference",
        "uri-template",
    ];
    let mut options = jsonschema::options()
        .offline()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .with_pattern_options(
            PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS_MAX).size_limit(PATTERN_BYTES_MAX),
        )
        .with_format("email", |text: &str| text.contains('@'))
        .with_format("idn-email", |text: &str| text.contains('@'));
    for format in UNCHECKED {
        options = options.with_format(format, |_: &str| true);
    }
    options
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
