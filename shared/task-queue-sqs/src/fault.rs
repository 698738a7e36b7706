//! Errors of the SDK in words.

use aws_sdk_sqs::config::http::HttpResponse;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use std::error::Error as StdError;
use updraft_task_queue::Error;

/// What could not be done, with which queue, and why.
pub(crate) fn describe<E>(what: &str, url: &str, error: &SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    let why = match error.as_service_error().and_then(|answer| Some((answer.code()?, answer.message()))) {
        Some((code, _)) if code.ends_with("NonExistentQueue") || code == "QueueDoesNotExist" => {
            "there is no such queue; hint: correct the URL, or bring it back: `updraft doctor` says how".to_owned()
        }
        Some((code, message)) => format!("{code}: {}", message.unwrap_or("no message")),
        None => {
            let below = std::iter::successors(Some(error as &(dyn StdError + 'static)), |&e| e.source());
            below.map(ToString::to_string).collect::<Vec<_>>().join(": ")
        }
    };
    Error(format!("could not {what} `{url}`: {why}"))
}
