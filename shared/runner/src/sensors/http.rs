//! HttpSensor: waits until a request succeeds, and its answer is good.

use serde_json::Value;
use updraft_model::AttemptOutcome;

use super::{Look, Sensor, Trouble, watch};
use crate::attempt::{Attempt, Break, End};
use crate::operators::http::{ask, call};
use crate::services::Services;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    let waits_on = match attempt.arguments.value("response_error_codes_allowlist") {
        Value::Null => vec!["404".to_owned()],
        Value::Array(codes) => {
            codes.iter().map(|code| code.as_str().map_or_else(|| code.to_string(), str::to_owned)).collect()
        }
        _ => return Err("`response_error_codes_allowlist` must be a list".to_owned().into()),
    };
    watch(attempt, Http { waits_on }).await
}

struct Http {
    /// What a message begins with that is no answer yet, though an error.
    waits_on: Vec<String>,
}

impl Sensor for Http {
    async fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>) -> Result<Look, Trouble> {
        let response = match ask(attempt, "request_params").await? {
            Ok(response) => response,
            Err(why) if self.waits_on.iter().any(|code| why.starts_with(code)) => return Ok(Look::NotYet),
            Err(why) => return Err(Trouble::Error(why)),
        };
        match call(attempt, "response_check", &response).await {
            Ok(None) => Ok(Look::Done(Value::Null)),
            Ok(Some(returned)) if returned.truthy => {
                Ok(Look::Done(if returned.poke { returned.value } else { Value::Null }))
            }
            Ok(Some(_)) => Ok(Look::NotYet),
            Err(Break::Ended(ended)) => {
                let message = ended.message.clone().unwrap_or_default();
                Err(match ended.outcome {
                    AttemptOutcome::Skipped => Trouble::Skip(message),
                    AttemptOutcome::FailedForGood => Trouble::Final(message),
                    _ => Trouble::Error(message),
                })
            }
            Err(killed @ Break::Killed) => Err(Trouble::Break(killed)),
        }
    }
}
