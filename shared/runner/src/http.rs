//! A small HTTP client: one request, its redirects, a bounded answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The most of an answer's body that is taken, in bytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// How long a request may take that says nothing else.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(10);

/// How many redirects are followed, as by Python's `requests`.
pub(crate) const REDIRECTS_MAX: u32 = 30;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, ...
    pub method: String,
    /// Where.
    pub url: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// Its bytes.
    pub body: Vec<u8>,
    /// For each of the request and its redirects.
    pub timeout: Duration,
    /// How many redirects are followed; then, or at none, the redirect itself is the answer.
    pub redirects_max: u32,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// What the status is called.
    pub reason: String,
    /// Where the answer came from, after redirects.
    pub url: String,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub text: String,
    /// How long the answer took to begin.
    pub elapsed: Duration,
}

impl Response {
    /// Whether the status is no error.
    pub fn ok(&self) -> bool {
        self.status < 400
    }
}

/// Sends a request and follows its redirects. Credentials go to no other host, and nothing goes from https to http.
///
/// # Errors
/// Where nobody answers as HTTP says; with why, in a line.
pub async fn send(mut request: Request) -> Result<Response, String> {
    let client = client()?;
    let mut followed = 0;
    loop {
        let response = match tokio::time::timeout(request.timeout, once(&client, &request)).await {
            Ok(response) => response?,
            Err(_) => {
                return Err(format!("`{}` did not answer within {} s", request.url, request.timeout.as_secs_f64()));
            }
        };
        let is_redirect = matches!(response.status, 301 | 302 | 303 | 307 | 308);
        let location = response.headers.get("location").filter(|_| is_redirect && request.redirects_max > 0);
        let Some(location) = location else { return Ok(response) };
        if followed == request.redirects_max {
            return Err(format!("`{}` leads through more than {followed} redirects", request.url));
        }
        followed += 1;
        request = redirected(&request, response.status, location)?;
    }
}

fn client() -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, String> {
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
        .map_err(|e| format!("the system's certificates could not be read: {e}"))?
        .https_or_http()
        .enable_http1()
        .build();
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

async fn once(
    client: &Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    request: &Request,
) -> Result<Response, String> {
    let uri: Uri = request.url.parse().map_err(|e| format!("`{}` is no URL: {e}", request.url))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
        return Err(format!("`{}` is no URL that begins with http:// or https://", request.url));
    }
    let method = Method::from_bytes(request.method.as_bytes());
    let method = method.map_err(|_| format!("`{}` is no method of HTTP", request.method))?;
    let mut message = hyper::Request::builder().method(method).uri(uri);
    for (name, value) in &request.headers {
        message = message.header(name, value);
    }
    let message = message.body(Full::new(Bytes::from(request.body.clone())));
    let message = message.map_err(|e| format!("a header cannot be sent: {e}"))?;
    let begun = Instant::now();
    let answer = client.request(message).await;
    let answer = answer.map_err(|e| format!("`{}` could not be reached: {}", request.url, with_causes(&e)))?;
    let elapsed = begun.elapsed();
    let status = answer.status();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|e| {
        format!("the answer of `{}` broke off, or is longer than {} MiB: {e}", request.url, BODY_BYTES_MAX >> 20)
    })?;
    Ok(Response {
        status: status.as_u16(),
        reason: status.canonical_reason().unwrap_or_default().to_owned(),
        url: request.url.clone(),
        headers,
        text: text(&body.to_bytes()),
        elapsed,
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}

/// Bytes as text: UTF-8, or else Latin 1, in which every byte is a character.
fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// What is asked next after a redirect.
fn redirected(request: &Request, status: u16, location: &str) -> Result<Request, String> {
    let url = join(&request.url, location);
    let mut next = Request { url, ..request.clone() };
    let origin = |url: &str| {
        let uri: Uri = url.parse().ok()?;
        let port = uri.port_u16().or(if uri.scheme_str() == Some("https") { Some(443) } else { Some(80) });
        Some((uri.scheme_str()?.to_owned(), uri.host()?.to_owned(), port))
    };
    let (from, to) = (origin(&request.url), origin(&next.url));
    if let (Some(from), Some(to)) = (&from, &to)
        && from.0 == "https"
        && to.0 == "http"
    {
        return Err(format!(
            "`{}` redirects to `{}`, which is not encrypted; it is not followed",
            request.url, next.url
        ));
    }
    let keeps_body = matches!(status, 307 | 308) || matches!(request.method.as_str(), "GET" | "HEAD");
    if !keeps_body {
        "GET".clone_into(&mut next.method);
        next.body = Vec::new();
    }
    next.headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        let of_body = matches!(name.as_str(), "content-type" | "content-length" | "content-encoding");
        let of_host = matches!(name.as_str(), "authorization" | "cookie" | "proxy-authorization");
        (keeps_body || !of_body) && (from == to || !of_host)
    });
    Ok(next)
}

/// Where a `Location` leads, seen from a URL.
fn join(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    if let Some(other) = location.strip_prefix("//") {
        return format!("{scheme}://{other}");
    }
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(path_at);
    if location.starts_with('/') {
        return format!("{scheme}://{host}{location}");
    }
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if location.starts_with('?') {
        return format!("{scheme}://{host}{path}{location}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{host}{folder}/{location}")
}

/// Names and values as a query or a form has them.
pub(crate) fn form<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let quoted = |text: &str| {
        let mut quoted = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => quoted.push(char::from(byte)),
                b' ' => quoted.push('+'),
                other => {
                    quoted.push('%');
                    for digit in [other >> 4, other & 15] {
                        quoted.push(char::from_digit(digit.into(), 16).map_or('0', |d| d.to_ascii_uppercase()));
                    }
                }
            }
        }
        quoted
    };
    let parts: Vec<String> =
        pairs.into_iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(&value))).collect();
    parts.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_seen_from_where_they_were_said() {
        for (base, location, joined) in [
            ("http://a/b/c?d=1", "http://x/y", "http://x/y"),
            ("https://a/b/c", "//x/y", "https://x/y"),
            ("http://a:80/b/c?d=1", "/e", "http://a:80/e"),
            ("http://a/b/c?d=1", "e", "http://a/b/e"),
            ("http://a", "e", "http://a/e"),
            ("http://a/b/c", "?e=1", "http://a/b/c?e=1"),
        ] {
            assert_eq!(join(base, location), joined);
        }
    }

    #[test]
    fn a_redirect_takes_no_credentials_elsewhere_and_no_body_along() {
        let header = |name: &str| (name.to_owned(), "x".to_owned());
        let request = Request {
            method: "POST".to_owned(),
            url: "https://a/b".to_owned(),
            headers: vec![header("Authorization"), header("Content-Type"), header("X-Other")],
            body: b"x".to_vec(),
            timeout: TIMEOUT,
            redirects_max: 1,
        };
        let names = |request: &Request| request.headers.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let same = redirected(&request, 307, "/c").unwrap();
        assert_eq!((same.method.as_str(), same.body.len(), names(&same).len()), ("POST", 1, 3));
        let other = redirected(&request, 302, "https://x/c").unwrap();
        assert_eq!((other.method.as_str(), other.body.len(), names(&other)), ("GET", 0, vec!["X-Other".to_owned()]));
        assert!(redirected(&request, 302, "http://a/c").unwrap_err().contains("not encrypted"));
    }

    #[test]
    fn forms_are_quoted() {
        assert_eq!(form([("a b", "c&d=é".to_owned()), ("e", "1".to_owned())]), "a+b=c%26d%3D%C3%A9&e=1");
    }
}
