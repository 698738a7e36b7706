//! ShortCircuitOperator: the callable says whether to go on.

use updraft_model::Choice;

use super::python;
use crate::attempt::{Attempt, End};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let ignore_downstream_trigger_rules = attempt.arguments.flag("ignore_downstream_trigger_rules")?;
    let returned = python::returned(attempt).await?;
    if returned.truthy {
        attempt.say("the condition is true: going on").await;
        return Ok(attempt.success_with(returned.value));
    }
    let what = if ignore_downstream_trigger_rules { "everything downstream" } else { "what is directly downstream" };
    attempt.say(&format!("the condition is false: skipping {what}")).await;
    Ok(attempt.success_with(returned.value).with_choice(Some(Choice::ShortCircuit { ignore_downstream_trigger_rules })))
}
