//! PythonOperator, and how callables are called for other operators.

use serde_json::Value;
use updraft_execution::{OperatorCall, Outcome, PythonCall};

use crate::attempt::{Attempt, Break, End, Ended, end_of};
use crate::processes;
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let call = own_call(attempt).await?;
    Ok(end_of(&attempt.process(OperatorCall::Python(call)).await?))
}

/// The task's own call.
pub(crate) async fn own_call<S: Services>(attempt: &mut Attempt<'_, S>) -> Result<PythonCall, Break> {
    let search_path = attempt.services.search_path(attempt.work).await.map_err(|e| Ended::failed(e.to_string()))?;
    let call = processes::own_call(&attempt.arguments, search_path)?;
    Ok(PythonCall { strict: attempt.task().decorator.is_some(), ..call })
}

/// What a callable returned.
#[derive(Debug)]
pub(crate) struct Returned {
    /// The value; null where it has no form in JSON. Of a `PokeReturnValue` it is the `xcom_value`.
    pub(crate) value: Value,
    /// Why it has no form in JSON, if so.
    pub(crate) not_json: Option<String>,
    /// What Python's `bool` says of it; of a `PokeReturnValue`, whether it is done.
    pub(crate) truthy: bool,
    /// Whether it is a `PokeReturnValue`.
    pub(crate) poke: bool,
}

/// Calls the task's own callable and returns what it returned. Whatever is no success ends the attempt.
pub(crate) async fn returned<S: Services>(attempt: &mut Attempt<'_, S>) -> Result<Returned, Break> {
    let call = own_call(attempt).await?;
    call_for_value(attempt, call).await
}

/// Calls any callable and returns what it returned. Whatever is no success ends the attempt.
pub(crate) async fn call_for_value<S: Services>(
    attempt: &mut Attempt<'_, S>,
    call: PythonCall,
) -> Result<Returned, Break> {
    let report = attempt.helper_process(OperatorCall::Python(PythonCall { wants_value: true, ..call })).await?;
    if report.outcome != Outcome::Success {
        return Err(end_of(&report).into());
    }
    let updraft_execution::Returned { value, not_json, truthy, poke } = report.returned.unwrap_or_default();
    Ok(Returned { value, not_json, truthy: truthy.unwrap_or(false), poke })
}
