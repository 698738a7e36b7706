//! BashOperator.

use std::path::PathBuf;

use serde_json::Value;
use updraft_execution::{BashCall, OperatorCall};

use crate::arguments::Arguments;
use crate::attempt::{Attempt, End, Ended, end_of};
use crate::operators::python;
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let call = call(&attempt.arguments)?;
    Ok(end_of(&attempt.process(OperatorCall::Bash(call)).await?))
}

/// The command that a function returns, which is a template as one in the DAG file is.
pub(super) async fn run_decorated<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let returned = python::returned(attempt).await?.value;
    let Value::String(command) = returned else {
        return Err(
            Ended::failed("the function of a `bash` task must return a command, as text that is not empty").into()
        );
    };
    if command.is_empty() {
        return Err(Ended::failed("the function of a `bash` task returned an empty command").into());
    }
    let (services, params) = (attempt.services, attempt.params.clone());
    let rendered = services.rendered_text(attempt.work, &params, command, &mut attempt.secrets).await?;
    attempt.arguments.set("bash_command", rendered);
    run(attempt).await
}

fn call(arguments: &Arguments) -> Result<BashCall, String> {
    let mut call = BashCall::new(arguments.required_text("bash_command")?);
    call.env = arguments.mapping("env")?.map(texts);
    call.append_env = arguments.flag("append_env")?;
    call.cwd = arguments.text("cwd")?.map(PathBuf::from);
    call.skip_on_exit_code = arguments.integers("skip_on_exit_code")?;
    Ok(call)
}

/// Environment variables: what is no text becomes its JSON.
pub(crate) fn texts(map: serde_json::Map<String, Value>) -> std::collections::BTreeMap<String, String> {
    map.into_iter().map(|(k, v)| (k, v.as_str().map_or_else(|| v.to_string(), str::to_owned))).collect()
}
