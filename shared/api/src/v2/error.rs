//! Failures as Airflow answers them: a status and `{"detail": ...}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use updraft_service::Error;

/// A request that is not answered with what it asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    status: StatusCode,
    detail: Value,
}

impl Failure {
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: detail.into().into() }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, detail: detail.into().into() }
    }

    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into().into() }
    }

    pub(crate) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::CONFLICT, detail: detail.into().into() }
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::FORBIDDEN, detail: detail.into().into() }
    }

    pub(crate) fn not_acceptable(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_ACCEPTABLE, detail: detail.into().into() }
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, detail: detail.into().into() }
    }

    /// Values that have not the form they must have, each with its place.
    pub(crate) fn unprocessable(problems: Vec<Value>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail: problems.into() }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// What went wrong, as text.
    pub(crate) fn text(&self) -> String {
        self.detail.as_str().map_or_else(|| self.detail.to_string(), str::to_owned)
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, detail: "Method Not Allowed".into() }
    }

    /// A value that has not the form it must have. `place` is `query`, `path` or `body`.
    pub(crate) fn invalid(kind: &str, place: &str, name: &str, message: &str, input: &Value) -> Self {
        let one = json!({"type": kind, "loc": [place, name], "msg": message, "input": input});
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail: json!([one]) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::NotFound { .. } => StatusCode::NOT_FOUND,
            Error::Refused(_) => StatusCode::BAD_REQUEST,
            Error::Conflict(_) | Error::Contention(_) => StatusCode::CONFLICT,
            Error::Forbidden(_) => StatusCode::FORBIDDEN,
            Error::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        if status == StatusCode::SERVICE_UNAVAILABLE {
            tracing::error!(%error, "a request could not be answered");
            return Self { status, detail: "a store does not answer; see the server's log".into() };
        }
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            let message = format!("Value error, {error}");
            return Self::unprocessable(vec![json!({"type": "value_error", "loc": ["body"], "msg": message})]);
        }
        Self { status, detail: error.to_string().into() }
    }
}

impl From<updraft_metastore::Error> for Failure {
    fn from(error: updraft_metastore::Error) -> Self {
        Error::from(error).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({"detail": self.detail}))).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
