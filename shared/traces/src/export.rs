//! The way to the collector: OTLP over HTTP.

use crate::event::attribute;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::time::Duration;

/// Name the collector: of everything, and of traces.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// How long the collector may take, in milliseconds.
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// What is spoken.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// What the collector is told with each request.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"];

/// What is said of whoever tells.
const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// The most that is read of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long the collector may take where nobody says: functions wait for it before they answer, and are billed for that.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Traces cannot be exported as the environment asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A variable has a value that cannot be used.
    #[error("the environment variable `{name}` is `{value}`; {hint}")]
    Variable {
        /// Its name.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        hint: &'static str,
    },
    /// The exporter says why.
    #[error("traces cannot be exported: {0}")]
    Exporter(String),
}

/// Sends spans to a collector.
#[derive(Debug)]
pub(crate) struct Exporter {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    timeout: Duration,
    resource: Value,
}

impl Exporter {
    /// As these variables say; none where they name no collector.
    pub(crate) fn configured(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let set = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
        };
        let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let Some((name, endpoint)) = set(ENDPOINTS).filter(|_| !disabled) else { return Ok(None) };
        // The endpoint of everything is the beginning of the one of traces.
        let url = if name == ENDPOINTS[0] {
            endpoint.clone()
        } else {
            format!("{}/v1/traces", endpoint.trim_end_matches('/'))
        };
        let is_url = url.parse::<hyper::Uri>().is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
        if !is_url {
            return Err(Error::Variable {
                name,
                value: endpoint,
                hint: "write a URL, such as `http://localhost:4318`",
            });
        }
        if let Some((name, value)) = set(PROTOCOLS).filter(|(_, value)| value != "http/json") {
            return Err(Error::Variable { name, value, hint: "write `http/json`, or leave it out" });
        }
        let timeout = match set(TIMEOUTS) {
            None => TIMEOUT,
            Some((name, value)) => match value.parse() {
                Ok(millis) => Duration::from_millis(millis),
                Err(_) => return Err(Error::Variable { name, value, hint: "write a number of milliseconds" }),
            },
        };
        let mut headers = Vec::new();
        if let Some((name, value)) = set(HEADERS) {
            // Its value is a secret, and not shown.
            let wrong = || Error::Variable { name, value: "...".to_owned(), hint: "write `name=value,name=value`" };
            for (key, value) in pairs(&value).ok_or_else(wrong)? {
                let key = HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong())?;
                headers.push((key, HeaderValue::from_str(&value).map_err(|_| wrong())?));
            }
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|e| Error::Exporter(format!("the system's certificates could not be read: {e}")))?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Some(Self { client, url, headers, timeout, resource: resource(&variable)? }))
    }

    pub(crate) async fn export(&self, spans: Vec<Value>) -> Result<(), Error> {
        let scope = json!({"name": "updraft", "version": env!("CARGO_PKG_VERSION")});
        let body =
            json!({"resourceSpans": [{"resource": self.resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]});
        let mut request = hyper::Request::post(&self.url).header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_string())));
        let request = request.map_err(|e| Error::Exporter(e.to_string()))?;
        let answered = async {
            let answer =
                self.client.request(request).await.map_err(|e| format!("`{}` could not be reached: {e}", self.url))?;
            let status = answer.status();
            // Read to its end, so that the connection serves again.
            let said = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let said = said.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
            if status.is_success() { Ok(()) } else { Err(format!("`{}` answers {status}: {said}", self.url)) }
        };
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(answered) => answered.map_err(Error::Exporter),
            Err(_) => {
                Err(Error::Exporter(format!("`{}` did not answer within {} ms", self.url, self.timeout.as_millis())))
            }
        }
    }
}

/// Pairs as OpenTelemetry's variables have them, percent-encoded; none where it is something else.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let decoded = |part: &str| Some(percent_decode_str(part.trim()).decode_utf8().ok()?.into_owned());
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((decoded(key)?, decoded(value)?))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

/// Who tells: by name, and in Lambda by the function's.
fn resource(variable: &impl Fn(&str) -> Option<String>) -> Result<Value, Error> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    let mut attributes = Vec::new();
    if let Some(value) = set(ATTRIBUTES) {
        let wrong = Error::Variable { name: ATTRIBUTES, value: value.clone(), hint: "write `name=value,name=value`" };
        attributes = pairs(&value).ok_or(wrong)?;
    }
    let service = set("OTEL_SERVICE_NAME").unwrap_or_else(|| "updraft".to_owned());
    if variable("OTEL_SERVICE_NAME").is_some() || !attributes.iter().any(|(key, _)| key == "service.name") {
        attributes.retain(|(key, _)| key != "service.name");
        attributes.push(("service.name".to_owned(), service));
    }
    attributes.extend(set("AWS_LAMBDA_FUNCTION_NAME").map(|function| ("faas.name".to_owned(), function)));
    Ok(
        json!({"attributes": attributes.into_iter().map(|(key, value)| attribute(&key, value.into())).collect::<Value>()}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(variables: &[(&str, &str)]) -> Result<bool, Error> {
        let of = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Exporter::configured(of).map(|exporter| exporter.is_some())
    }

    #[test]
    fn there_are_none_where_no_collector_is_named() {
        let (all, one) = (ENDPOINTS[1], ENDPOINTS[0]);
        assert_eq!(configured(&[]), Ok(false));
        assert_eq!(configured(&[(all, "")]), Ok(false));
        assert_eq!(configured(&[(all, "http://c:4318"), ("OTEL_SDK_DISABLED", "TRUE")]), Ok(false));
        assert_eq!(configured(&[(all, "http://c:4318")]), Ok(true));
        assert_eq!(
            configured(&[(one, "https://c/v1/traces"), (PROTOCOLS[1], "http/json"), (TIMEOUTS[1], "1")]),
            Ok(true)
        );
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (name, value) in
            [(ENDPOINTS[1], "localhost:4318"), (PROTOCOLS[1], "grpc"), (TIMEOUTS[0], "2s"), (ATTRIBUTES, "stage")]
        {
            let variables = [(name, value), (ENDPOINTS[0], "http://c:4318")];
            let variables = if name == ENDPOINTS[1] { &variables[..1] } else { &variables };
            let said = configured(variables).expect_err(name).to_string();
            assert!(said.contains(name) && said.contains(value) && said.contains("write "), "{said}");
        }
        // What may be a key is not shown.
        let said =
            configured(&[(ENDPOINTS[0], "http://c:4318"), (HEADERS[1], "hunter22")]).expect_err("no pair").to_string();
        assert!(said.contains(HEADERS[1]) && !said.contains("hunter22"), "{said}");
    }

    #[test]
    fn pairs_are_decoded() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs("api-key=a%3Db, x=y,"), Some(vec![pair("api-key", "a=b"), pair("x", "y")]));
        assert_eq!(pairs(""), Some(Vec::new()));
        assert_eq!(pairs("x"), None);
    }
}
