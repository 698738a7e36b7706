//! BranchPythonOperator: the callable says what to follow.

use updraft_model::Choice;

use super::branch::{followed, shown};
use super::python;
use crate::attempt::{Attempt, End, Ended};
use crate::services::Services;

pub(super) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let returned = python::returned(attempt).await?;
    follow(attempt, returned).await
}

/// The end of an attempt whose callable said what to follow.
pub(super) async fn follow<S: Services>(attempt: &mut Attempt<'_, S>, returned: python::Returned) -> End {
    if let Some(why) = returned.not_json {
        return Err(Ended::failed(format!(
            "a branch follows task ids, but this one said what has no form in JSON: {why}"
        ))
        .into());
    }
    // What is no answer may be one next time, so another try is worth it, as in Airflow.
    let followed = followed(&returned.value).map_err(Ended::failed)?;
    attempt.say(&format!("following {}", shown(&followed))).await;
    Ok(attempt.success_with(returned.value).with_choice(Some(Choice::Branch { followed })))
}
