//! Answers with a tag of their content, so that a view that asks again is told in a few bytes that nothing has changed.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// JSON, sent only where the asker does not have it.
#[derive(Debug)]
pub(crate) struct Fresh(String, HeaderMap);

impl Fresh {
    /// An answer to a request with these headers.
    pub(crate) fn new(body: &Value, asked: HeaderMap) -> Self {
        Self(body.to_string(), asked)
    }
}

impl IntoResponse for Fresh {
    fn into_response(self) -> Response {
        let Self(body, asked) = self;
        let digest = Sha256::digest(body.as_bytes());
        let mut tag = String::from("\"");
        for byte in &digest[..12] {
            let _ = write!(tag, "{byte:02x}");
        }
        tag.push('"');
        let known = asked.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
        let mut response = if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        };
        let headers = response.headers_mut();
        // Kept by the browser alone, and asked about each time.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            headers.insert(header::ETAG, tag);
        }
        response
    }
}
