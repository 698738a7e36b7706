//! BashOperator.

use std::path::PathBuf;

use serde_json::Value;
use updraft_execution::{BashCall, OperatorCall};

use crate::arguments::Arguments;
use crate::attempt::{Attempt, End, end_of};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let call = call(&attempt.arguments)?;
    Ok(end_of(&attempt.process(OperatorCall::Bash(call)).await?))
}

fn call(arguments: &Arguments) -> Result<BashCall, String> {
    let mut call = BashCall::new(arguments.required_text("bash_command")?);
    call.env = arguments.mapping("env")?.map(texts);
    call.append_env = arguments.flag("append_env")?;
    call.cwd = arguments.text("cwd")?.map(PathBuf::from);
    call.skip_on_exit_code = match arguments.value("skip_on_exit_code") {
        Value::Null => Vec::new(),
        Value::Array(codes) => codes.iter().filter_map(code).collect(),
        value => code(&value).into_iter().collect(),
    };
    Ok(call)
}

fn code(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|n| i32::try_from(n).ok())
}

/// Environment variables: what is no text becomes its JSON.
pub(crate) fn texts(map: serde_json::Map<String, Value>) -> std::collections::BTreeMap<String, String> {
    map.into_iter().map(|(k, v)| (k, v.as_str().map_or_else(|| v.to_string(), str::to_owned))).collect()
}
