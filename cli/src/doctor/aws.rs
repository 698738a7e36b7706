//! Signed requests to any service of AWS: few enough that no client crate is worth its build.

use crate::failure::Failure;
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use jiff::Timestamp;
use serde_json::Value;
use std::time::{Duration, SystemTime};
use updraft_runner::http::{Request, Response, send};

/// Who asks, and where.
#[derive(Debug)]
pub(super) struct Asker {
    credentials: Credentials,
    region: String,
    endpoint: Option<String>,
}

/// A request of a service's own protocol.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ask<'a> {
    /// REST: the path, with its query.
    Get(&'a str),
    /// JSON: the target, and the body.
    Json(&'a str, &'a Value),
    /// A form; the answer is XML.
    Form(&'a str),
}

impl Asker {
    /// With the usual settings and credentials.
    pub(super) async fn new(settings: &SdkConfig) -> Result<Self, Failure> {
        let provider = settings.credentials_provider();
        let provider = provider.ok_or_else(|| Failure::user("there are no AWS credentials"))?;
        let credentials = provider.provide_credentials().await;
        let credentials =
            credentials.map_err(|e| Failure::user("there are no AWS credentials").cause(e.to_string()))?;
        let region = settings.region().map(ToString::to_string).unwrap_or_default();
        Ok(Self { credentials, region, endpoint: settings.endpoint_url().map(str::to_owned) })
    }

    fn url(&self, service: &str) -> String {
        let public = || public(service, &self.region);
        self.endpoint.as_ref().map_or_else(public, |endpoint| endpoint.trim_end_matches('/').to_owned())
    }

    /// Where it asks.
    pub(super) fn region(&self) -> &str {
        &self.region
    }

    /// Asks, and returns the answer if it is one; else what is wrong, in a line.
    pub(super) async fn ask(&self, service: &str, ask: Ask<'_>) -> Result<Response, String> {
        let (method, path, mut headers, body) = match ask {
            Ask::Get(path) => ("GET", path, Vec::new(), Vec::new()),
            Ask::Json(target, body) => {
                let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", target)];
                ("POST", "/", headers.to_vec(), body.to_string().into_bytes())
            }
            Ask::Form(form) => {
                ("POST", "/", vec![("content-type", "application/x-www-form-urlencoded")], form.as_bytes().to_vec())
            }
        };
        let url = format!("{}{path}", self.url(service));
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(signed_for(service, &self.region))
            .name(service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| e.to_string())?
            .into();
        let signable = SignableRequest::new(method, &url, headers.iter().copied(), SignableBody::Bytes(&body));
        let signed = sign(signable.map_err(|e| e.to_string())?, &params).map_err(|e| e.to_string())?;
        let (instructions, _) = signed.into_parts();
        headers.extend(instructions.headers());
        let request = Request {
            method: method.to_owned(),
            url,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body,
            timeout: Duration::from_secs(10),
            redirects_max: 0,
        };
        let answer = send(request).await?;
        if answer.ok() { Ok(answer) } else { Err(refusal(service, &answer)) }
    }

    /// As [`Self::ask`], for an answer in JSON.
    pub(super) async fn json(&self, service: &str, ask: Ask<'_>) -> Result<Value, String> {
        let answer = self.ask(service, ask).await?;
        serde_json::from_str(&answer.text).map_err(|error| format!("`{service}` answers no JSON: {error}"))
    }
}

/// Where a service answers.
fn public(service: &str, region: &str) -> String {
    match (service, region.starts_with("cn-")) {
        // One for all regions.
        ("iam", false) => "https://iam.amazonaws.com".to_owned(),
        ("iam", true) => "https://iam.cn-north-1.amazonaws.com.cn".to_owned(),
        (service, false) => format!("https://{service}.{region}.amazonaws.com"),
        (service, true) => format!("https://{service}.{region}.amazonaws.com.cn"),
    }
}

/// The region that requests to a service are signed for.
fn signed_for<'a>(service: &str, region: &'a str) -> &'a str {
    match (service, region.starts_with("cn-")) {
        ("iam", false) => "us-east-1",
        ("iam", true) => "cn-north-1",
        _ => region,
    }
}

/// Why a service refused.
fn refusal(service: &str, answer: &Response) -> String {
    let json: Value = serde_json::from_str(&answer.text).unwrap_or_default();
    let said = ["message", "Message"].iter().find_map(|key| json.get(key)?.as_str());
    let said = said.map_or_else(|| between(&answer.text, "<Message>", "</Message>").unwrap_or_default(), str::to_owned);
    format!("`{service}` answers {} {}: {said}", answer.status, answer.reason)
}

/// When an answer was given, by the clock of whoever gave it.
pub(super) fn date(answer: &Response) -> Option<Timestamp> {
    let date = answer.headers.get("date")?;
    jiff::fmt::rfc2822::parse(date).ok().map(|zoned| zoned.timestamp())
}

/// The first text between two others.
fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let rest = text.split_once(before)?.1;
    Some(rest.split_once(after)?.0.to_owned())
}

/// Every text between two others.
pub(super) fn all_between(text: &str, before: &str, after: &str) -> Vec<String> {
    text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0.to_owned())).collect()
}
