//! The operators that ask people: they write the question down and give their worker back. The answer ends the task without a worker.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use updraft_model::hitl::{APPROVE, REJECT, WITHOUT_END};
use updraft_model::{HitlDetail, HitlThen, HitlUser, Task};
use updraft_operators::Runner;

use crate::arguments::Arguments;
use crate::attempt::{Attempt, End, Ended};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>, runner: Runner) -> End {
    let now = attempt.services.now();
    let detail = detail(&attempt.arguments, attempt.task(), runner, now)?;
    let until = until(&attempt.arguments, attempt.task(), now)?;
    let waits = if until == WITHOUT_END {
        "waiting for an answer".to_owned()
    } else {
        format!("waiting for an answer until {until}")
    };
    let asked = format!("asking: {}; options: {}", detail.subject, detail.options.join(", "));
    attempt.say(&asked).await;
    attempt.say(&waits).await;
    Ok(Ended::awaiting_input(detail, until))
}

/// Until when an answer is waited for. Airflow takes `execution_timeout` for this where `response_timeout` is not given.
fn until(arguments: &Arguments, task: &Task, now: Timestamp) -> Result<Timestamp, String> {
    let given = arguments.duration("response_timeout", Duration::from_secs(1))?;
    let of_task = task.execution_timeout.and_then(|timeout| Duration::try_from(timeout).ok());
    let until = given.or(of_task).map(|timeout| now.checked_add(timeout).unwrap_or(WITHOUT_END));
    Ok(until.unwrap_or(WITHOUT_END).min(WITHOUT_END))
}

fn detail(arguments: &Arguments, task: &Task, runner: Runner, now: Timestamp) -> Result<HitlDetail, String> {
    let is_approval = runner == Runner::Approval;
    let options = if is_approval {
        vec![APPROVE.to_owned(), REJECT.to_owned()]
    } else {
        arguments.texts("options")?.filter(|options| !options.is_empty()).ok_or("`options` cannot be empty")?
    };
    let mut defaults = arguments.texts("defaults")?;
    if runner == Runner::HitlEntry && !arguments.is_given("options") && !arguments.is_given("defaults") {
        defaults = Some(options.clone());
    }
    let then = match runner {
        Runner::Approval => HitlThen::Approval {
            ignore_downstream_trigger_rules: arguments.flag("ignore_downstream_trigger_rules")?,
            fail_on_reject: arguments.flag("fail_on_reject")?,
        },
        Runner::HitlBranch => HitlThen::Branch { options_mapping: options_mapping(arguments)? },
        _ => HitlThen::GoOn,
    };
    Ok(HitlDetail {
        subject: arguments.required_text("subject")?,
        body: arguments.text("body")?,
        options,
        defaults,
        multiple: !is_approval && arguments.flag("multiple")?,
        params: fields(task),
        assigned_users: users(&arguments.value("assigned_users"))?,
        created_at: now,
        then,
        response: None,
    })
}

fn options_mapping(arguments: &Arguments) -> Result<BTreeMap<String, String>, String> {
    let text = |(option, task): (String, Value)| match task {
        Value::String(task) => Ok((option, task)),
        other => Err(format!("`options_mapping` must give a task id for `{option}`, but gives {other}")),
    };
    arguments.mapping("options_mapping")?.unwrap_or_default().into_iter().map(text).collect()
}

/// The task's own params are the fields of the form; those of the DAG are not.
fn fields(task: &Task) -> Map<String, Value> {
    let names = task.params.keys().chain(task.param_schemas.keys());
    let field = |name: &String| {
        let mut schema = task.param_schemas.get(name).and_then(Value::as_object).cloned().unwrap_or_default();
        let description = schema.remove("description").unwrap_or(Value::Null);
        let value = task.params.get(name).cloned().unwrap_or(Value::Null);
        (name.clone(), json!({"value": value, "description": description, "schema": schema}))
    };
    names.map(field).collect()
}

/// Who may answer: `{id, name}`, an id alone, or a list of these.
fn users(value: &Value) -> Result<Vec<HitlUser>, String> {
    let user = |value: &Value| match value {
        Value::String(id) => Ok(HitlUser { id: id.clone(), name: id.clone() }),
        Value::Object(user) => {
            let text = |key| user.get(key).and_then(Value::as_str).map(str::to_owned);
            let id = text("id").or_else(|| text("name"));
            let id = id.ok_or("an assigned user must have an `id`, e.g. `{id: \"1\", name: ann}`")?;
            Ok(HitlUser { name: text("name").unwrap_or_else(|| id.clone()), id })
        }
        other => Err(format!("`assigned_users` must be `{{id, name}}` or a list of these, but holds {other}")),
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(users) => users.iter().map(user).collect(),
        one => Ok(vec![user(one)?]),
    }
}
