//! BashSensor: waits until a command exits with 0.

use serde_json::Value;
use updraft_execution::{BashCall, OperatorCall, Outcome};

use super::{Look, Sensor, Trouble, watch};
use crate::attempt::{Attempt, End};
use crate::operators::bash::texts;
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let arguments = &attempt.arguments;
    let mut call = BashCall::new(arguments.required_text("bash_command")?);
    call.env = arguments.mapping("env")?.map(texts);
    let retry_exit_code = arguments.integer("retry_exit_code")?.and_then(|code| i32::try_from(code).ok());
    // A code that means "not yet" is told apart from others as a skip is.
    call.skip_on_exit_code = retry_exit_code.into_iter().collect();
    watch(attempt, Bash { call, any_failure_waits: retry_exit_code.is_none() }).await
}

struct Bash {
    call: BashCall,
    any_failure_waits: bool,
}

impl Sensor for Bash {
    async fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>) -> Result<Look, Trouble> {
        let report = attempt.helper_process(OperatorCall::Bash(self.call.clone())).await?;
        match report.outcome {
            Outcome::Success => Ok(Look::Done(Value::Null)),
            Outcome::Skipped { .. } => Ok(Look::NotYet),
            Outcome::Failed { .. } if self.any_failure_waits => Ok(Look::NotYet),
            outcome => Err(Trouble::Final(outcome.message())),
        }
    }
}
