//! What can go wrong while a template is read or rendered, told so that a person can repair it.
//!
//! No message holds a value of the context: parameters, XComs and variables may be secrets. Names, types and the
//! template's own text are all that is shown.

use std::error::Error as _;
use std::fmt;

use crate::stored::Wanted;

/// The kinds of failure; few, because each asks for another action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The template does not parse, or names a filter, test or tag that does not exist: repair the text.
    Syntax,
    /// A name, attribute or key does not exist (jinja2's `UndefinedError`): repair the name or give a default.
    Undefined,
    /// The template reached for something a sandbox forbids: an attribute that starts with two underscores.
    Security,
    /// Another template was included, imported or extended, and there is none of that name.
    NotFound,
    /// The template does too much: steps, nesting, size of the text or width of a format.
    Limit,
    /// An XCom was asked for that the caller had not fetched before rendering.
    XComNotFetched,
    /// A variable or connection was asked for that the caller had not fetched: [`TemplateError::wanted`] says which.
    NotFetched,
    /// There is no such variable or connection.
    Missing,
    /// Something Airflow has and this engine does not have yet.
    Unsupported,
    /// The expression failed on its values: a wrong type, a division by zero, a text that is no date.
    Evaluation,
}

/// A template that could not be rendered, with the place and the cure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", Place(.field, *.line))]
pub struct TemplateError {
    /// Which kind of failure.
    pub kind: ErrorKind,
    /// The path of the field, such as `env.TOKEN` or `args[2]`; empty if the caller gave a bare template.
    pub field: String,
    /// The line inside the template, from 1.
    pub line: Option<u32>,
    /// What happened.
    pub message: String,
    /// How to repair it, where we know.
    pub hint: Option<String>,
    /// What has to be fetched before the fields can be rendered again, for [`ErrorKind::NotFetched`].
    pub wanted: Option<Wanted>,
}

/// Where it happened, as the beginning of a message.
struct Place<'a>(&'a str, Option<u32>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.1) {
            ("", None) => Ok(()),
            ("", Some(line)) => write!(f, "line {line}: "),
            (field, None) => write!(f, "field `{field}`: "),
            (field, Some(line)) => write!(f, "field `{field}`, line {line}: "),
        }
    }
}

/// The mark on errors that our own functions raise: their text is known to hold no values, and their kind is ours.
#[derive(Debug, Clone)]
struct Raised(ErrorKind, Option<Wanted>);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("raised by the template's context")
    }
}

impl std::error::Error for Raised {}

/// An error of our own kind, to be returned from a filter, function or method.
pub(crate) fn raise(kind: ErrorKind, message: impl Into<String>) -> minijinja::Error {
    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message.into()).with_source(Raised(kind, None))
}

/// The error of something that must be fetched first.
pub(crate) fn wanted(what: Wanted, message: impl Into<String>) -> minijinja::Error {
    let raised = Raised(ErrorKind::NotFetched, Some(what));
    minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, message.into()).with_source(raised)
}

/// The commonest one: an operation on values it is not made for.
pub(crate) fn type_error(message: impl Into<String>) -> minijinja::Error {
    raise(ErrorKind::Evaluation, message)
}

/// Translates the engine's error. `known` are the names the context has, for "did you mean".
pub(crate) fn translate(error: &minijinja::Error, field: &str, known: &[&str]) -> TemplateError {
    use minijinja::ErrorKind as Engine;
    let detail = error.detail().unwrap_or_default();
    let raised = error.source().and_then(|source| source.downcast_ref::<Raised>());
    let (kind, message) = if let Some(Raised(kind, _)) = raised {
        (*kind, detail.to_owned())
    } else {
        match error.kind() {
            Engine::SyntaxError | Engine::BadEscape => (ErrorKind::Syntax, format!("syntax error: {detail}")),
            Engine::UnknownFilter | Engine::UnknownTest => (ErrorKind::Syntax, detail.to_owned()),
            Engine::UndefinedError => (ErrorKind::Undefined, undefined_message(detail)),
            Engine::UnknownFunction => {
                let name = detail.split(' ').next().unwrap_or_default();
                (ErrorKind::Undefined, format!("`{name}` is undefined"))
            }
            Engine::UnknownMethod | Engine::UnknownBlock => (ErrorKind::Undefined, detail.to_owned()),
            Engine::TemplateNotFound | Engine::BadInclude => {
                (ErrorKind::NotFound, "a template may not include, import or extend another one".to_owned())
            }
            Engine::OutOfFuel => {
                (ErrorKind::Limit, "the template does too much work: too many steps or too much text".to_owned())
            }
            Engine::TooManyArguments | Engine::MissingArgument => {
                let what = if detail.is_empty() { "in the call of a function or a filter" } else { detail };
                (ErrorKind::Evaluation, format!("{}: {what}", error.kind()))
            }
            Engine::InvalidOperation if detail.starts_with("range has too many") => {
                (ErrorKind::Limit, "the range has too many elements".to_owned())
            }
            _ if detail.contains("recursion limit") => (ErrorKind::Limit, "the template nests too deeply".to_owned()),
            // These texts are built from types, not from values; every other one might quote a value.
            Engine::InvalidOperation
                if ["tried to use", "value of type", "object is not callable"]
                    .iter()
                    .any(|safe| detail.starts_with(safe)) =>
            {
                (ErrorKind::Evaluation, detail.to_owned())
            }
            other => (ErrorKind::Evaluation, format!("the expression failed on its values: {other}")),
        }
    };
    let hint = if kind == ErrorKind::Undefined { undefined_hint(&message, known) } else { None };
    TemplateError {
        kind,
        field: field.to_owned(),
        line: error.line().and_then(|line| u32::try_from(line).ok()),
        message,
        hint,
        wanted: raised.and_then(|raised| raised.1.clone()),
    }
}

fn undefined_message(detail: &str) -> String {
    if detail.is_empty() { "a name is undefined".to_owned() } else { detail.to_owned() }
}

/// The expression between the first pair of backticks: what was undefined.
fn undefined_expression(detail: &str) -> Option<&str> {
    detail.split('`').nth(1)
}

fn undefined_hint(detail: &str, known: &[&str]) -> Option<String> {
    let expression = undefined_expression(detail)?;
    let first = expression.split(['.', '[', '(']).next().unwrap_or_default();
    if let Some(new) = gone_since_airflow_3(first) {
        return Some(format!("`{first}` is gone since Airflow 3; use `{new}`"));
    }
    if NEED_LOGICAL_DATE.contains(&first) && !known.contains(&first) {
        return Some(format!(
            "this run has no logical date, so `{first}` is not defined; use `dag_run.run_after`, or `{first} | default(...)`"
        ));
    }
    if first != expression {
        return Some(format!("give a fallback: `{expression} | default(...)`"));
    }
    nearest(first, known).map(|name| format!("did you mean `{name}`?"))
}

/// The names a run has only together with a logical date (group `variables` of the recorded templates).
pub(crate) const NEED_LOGICAL_DATE: [&str; 10] = [
    "ds",
    "ds_nodash",
    "ts",
    "ts_nodash",
    "ts_nodash_with_tz",
    "logical_date",
    "data_interval_start",
    "data_interval_end",
    "prev_data_interval_start_success",
    "prev_data_interval_end_success",
];

/// What took the place of the names that Airflow 3 dropped.
fn gone_since_airflow_3(name: &str) -> Option<&'static str> {
    Some(match name {
        "execution_date" => "logical_date",
        "next_ds" | "tomorrow_ds" => "macros.ds_add(ds, 1)",
        "prev_ds" | "yesterday_ds" => "macros.ds_add(ds, -1)",
        "next_execution_date" => "data_interval_end",
        "prev_execution_date" => "data_interval_start",
        "conf" => "dag_run.conf",
        _ => return None,
    })
}

/// The known name with the fewest changed letters, if few enough.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let limit = (name.len() / 3).max(1);
    known
        .iter()
        .map(|candidate| (strsim::levenshtein(name, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}
