//! PythonSensor: waits until a callable returns something true.

use super::{Look, Sensor, Trouble, watch};
use crate::attempt::{Attempt, Break, End};
use crate::operators::python;
use crate::services::Services;
use serde_json::Value;
use updraft_model::AttemptOutcome;

pub(crate) async fn run<S: Services>(attempt: &mut Attempt<'_, S>) -> End {
    watch(attempt, Python).await
}

struct Python;

impl Sensor for Python {
    async fn look<S: Services>(&mut self, attempt: &mut Attempt<'_, S>) -> Result<Look, Trouble> {
        match python::returned(attempt).await {
            // Only a `PokeReturnValue` has a result of its own.
            Ok(returned) if returned.truthy => Ok(Look::Done(if returned.poke { returned.value } else { Value::Null })),
            Ok(_) => Ok(Look::NotYet),
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
