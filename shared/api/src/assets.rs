//! The built UI, embedded.

use crate::parts::{Api, Parts};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

/// What `ui/build` made.
#[derive(RustEmbed)]
#[folder = "../../ui/dist"]
struct Dist;

/// Scripts, styles and pictures come from this server alone, and none stands in the page itself.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The page, whatever the address says: the app reads the part behind `#`.
pub(crate) async fn page<P: Parts>(State(api): State<Api<P>>, headers: HeaderMap) -> Response {
    let mut response = serve("index.html", &headers);
    // Logging in with an issuer, the page asks that one, and nobody else.
    if let Some(issuer) = &api.auth.issuer {
        let policy = POLICY.replace("connect-src 'self'", &format!("connect-src 'self' {}", issuer.origins()));
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
    }
    response
}

/// The icon.
pub(crate) async fn icon(headers: HeaderMap) -> Response {
    serve("favicon.svg", &headers)
}

/// A script or a style.
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    serve(&format!("assets/{name}"), &headers)
}

fn serve(name: &str, headers: &HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let gzip = accepted.split(',').any(|e| e.split(';').next().is_some_and(|e| e.trim() == "gzip"));
    let compressed = if gzip { Dist::get(&format!("{name}.gz")) } else { None };
    let is_compressed = compressed.is_some();
    let Some(file) = compressed.or_else(|| Dist::get(name)) else {
        return (StatusCode::NOT_FOUND, "There is no such file.\n").into_response();
    };
    let kind = match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    // The names of assets say what they hold, so they never change; the page that names them does.
    let cached = if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = file.data.into_owned().into_response();
    let answer = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, cached),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::VARY, "accept-encoding"),
    ] {
        answer.insert(name, HeaderValue::from_static(value));
    }
    if is_compressed {
        answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}
