//! Errors of the SDK, by what the caller does next.

use aws_config::SdkConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use std::error::Error as StdError;
use updraft_metastore::Error;

/// What a message to a person names.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The table.
    pub(crate) table: String,
    region: String,
    endpoint: Option<String>,
}

impl Place {
    pub(crate) fn new(settings: &SdkConfig, table: String) -> Self {
        let region = settings.region().map_or_else(|| "no region".to_owned(), ToString::to_string);
        Self { table, region, endpoint: settings.endpoint_url().map(str::to_owned) }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "table `{}` in {}", self.table, self.region)?;
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
    }
}

/// Sorts an error that is no refused condition.
pub(crate) fn fault<E>(error: &SdkError<E, HttpResponse>, place: &Place) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            service(answer.err().code(), answer.err().message().unwrap_or("no message"), status, place)
        }
        SdkError::ConstructionFailure(_) => Error::Unusable(format!("could not ask {place}: {}", chain(error))),
        SdkError::TimeoutError(_) => Error::Unavailable(format!("no answer in time from {place}")),
        _ => match credentials(error) {
            Some(CredentialsError::CredentialsNotLoaded(_)) => Error::Unusable(format!(
                "no AWS credentials were found for {place}; hint: name a profile in `AWS_PROFILE`, or set \
                 `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`"
            )),
            Some(wrong @ CredentialsError::InvalidConfiguration(_)) => Error::Unusable(format!(
                "the AWS credentials for {place} are not set up rightly: {}; hint: look at `~/.aws/config`",
                chain(wrong)
            )),
            _ => Error::Unavailable(format!("could not reach {place}: {}", chain(error))),
        },
    }
}

/// Sorts an answer by its error code.
fn service(code: Option<&str>, message: &str, status: u16, place: &Place) -> Error {
    let code = code.unwrap_or("no error code");
    match code {
        "ResourceNotFoundException" => Error::Unusable(format!(
            "no {place}; hint: deploy it with `infra/deploy`, or name one that exists, and its region ({code}: {message})"
        )),
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "IncompleteSignatureException"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException"
        | "OptInRequired" => Error::Unusable(format!(
            "access to {place} is denied; hint: check which profile or role is in use, and what it may do ({code}: {message})"
        )),
        // Maps that an update reaches into are put with their document, and what is counted is a number.
        "ValidationException" if message.contains("document path") || message.contains("incorrect data type") => {
            Error::Corrupt(format!("an update does not fit an item of {place}: {message}"))
        }
        "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "Throttling"
        | "ThrottlingException"
        | "ReplicatedWriteConflictException"
        | "TransactionConflictException"
        | "TransactionInProgressException"
        | "InternalServerError"
        | "ServiceUnavailable" => Error::Unavailable(format!("{place}: {code}: {message}")),
        _ if status >= 500 || status == 429 => Error::Unavailable(format!("{place}: {code} ({status}): {message}")),
        _ => Error::Unusable(format!("{place} refused a request: {code}: {message}")),
    }
}

/// The failure of a credentials provider somewhere below an error.
fn credentials<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    std::iter::successors(Some(error), |&e| e.source()).find_map(|e| e.downcast_ref())
}

/// An error and everything below it, in one line.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let parts: Vec<String> = std::iter::successors(Some(error), |&e| e.source()).map(ToString::to_string).collect();
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_by_what_to_do_next() {
        let place = Place { table: "t".to_owned(), region: "eu-west-1".to_owned(), endpoint: None };
        let sorted = |code, status| match service(code, "m", status, &place) {
            Error::Unavailable(text) => ("unavailable", text),
            Error::Unusable(text) => ("unusable", text),
            Error::Corrupt(text) => ("corrupt", text),
        };
        for (code, status, kind) in [
            (Some("ThrottlingException"), 400, "unavailable"),
            (Some("RequestLimitExceeded"), 400, "unavailable"),
            (Some("InternalServerError"), 500, "unavailable"),
            (Some("SomethingNew"), 503, "unavailable"),
            (None, 502, "unavailable"),
            (None, 429, "unavailable"),
            (Some("ResourceNotFoundException"), 400, "unusable"),
            (Some("AccessDeniedException"), 400, "unusable"),
            (Some("ExpiredTokenException"), 400, "unusable"),
            (Some("ValidationException"), 400, "unusable"),
            (None, 404, "unusable"),
        ] {
            assert_eq!(sorted(code, status).0, kind, "{code:?} {status}");
        }
        assert!(sorted(Some("ResourceNotFoundException"), 400).1.starts_with("no table `t` in eu-west-1; hint: "));
        let path = "The document path provided in the update expression is invalid for update";
        assert!(matches!(service(Some("ValidationException"), path, 400, &place), Error::Corrupt(_)));
    }
}
