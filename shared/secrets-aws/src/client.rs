//! One request of AWS's JSON protocol, signed.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a request is sent that was throttled, or met a fault of the service or the network.
const TRIES: u32 = 4;

/// The wait before the second try, twice as long before each after that.
const BACKOFF: Duration = Duration::from_millis(100);

/// Credentials are fetched anew so long before they end.
const MARGIN: Duration = Duration::from_mins(2);

/// A secret has 64 KiB at most.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Which service is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    /// As its requests are signed, and as its host begins.
    pub(crate) name: &'static str,
    /// The environment variable with its own address, if it has another.
    pub(crate) variable: &'static str,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The service said no.
    Refused {
        /// Its name for the reason.
        kind: String,
        message: String,
    },
    /// No answer came.
    Unreachable(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { kind, message } => write!(f, "{kind}: {message}"),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl Fault {
    fn may_pass(&self) -> bool {
        match self {
            Self::Refused { kind, .. } => {
                kind.contains("Throttl")
                    || kind.contains("TooManyRequests")
                    || kind.starts_with("Internal")
                    || kind.contains("Unavailable")
            }
            Self::Unreachable(_) => true,
        }
    }
}

/// A client of one service in one region.
pub(crate) struct Client {
    service: Service,
    region: String,
    url: String,
    provider: SharedCredentialsProvider,
    credentials: Mutex<Option<Credentials>>,
    http: HttpClient<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn new(service: Service, settings: &SdkConfig) -> Result<Self, String> {
        let region = settings
            .region()
            .map(ToString::to_string)
            .ok_or("no AWS region is set; set `AWS_REGION`, or `region_name` in the secrets backend's kwargs")?;
        let provider = settings.credentials_provider().ok_or("no AWS credentials are set up")?;
        let own = std::env::var(service.variable).ok().filter(|url| !url.is_empty());
        let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let url = settings.endpoint_url().map(str::to_owned).or(own);
        let url = url.unwrap_or_else(|| format!("https://{}.{region}.{domain}", service.name));
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|e| format!("the system's certificates could not be read: {e}"))?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            service,
            region,
            url: format!("{}/", url.trim_end_matches('/')),
            provider,
            credentials: Mutex::default(),
            http: HttpClient::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Asks, more than once where that may help.
    pub(crate) async fn ask(&self, target: &str, body: &Value) -> Result<Value, Fault> {
        let mut wait = BACKOFF;
        for _ in 1..TRIES {
            match self.once(target, body).await {
                Err(fault) if fault.may_pass() => tokio::time::sleep(wait).await,
                answer => return answer,
            }
            wait *= 2;
        }
        self.once(target, body).await
    }

    async fn once(&self, target: &str, body: &Value) -> Result<Value, Fault> {
        let answer = tokio::time::timeout(TIMEOUT, self.send(target, body.to_string())).await;
        answer.unwrap_or_else(|_| Err(Fault::Unreachable(format!("`{}` did not answer within {TIMEOUT:?}", self.url))))
    }

    async fn send(&self, target: &str, body: String) -> Result<Value, Fault> {
        let unreachable = |why: String| Fault::Unreachable(why);
        let request = self.signed(target, body).await.map_err(unreachable)?;
        let answer = self.http.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Fault::Unreachable(format!("`{}` could not be reached: {error}{cause}", self.url))
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body
            .map_err(|error| Fault::Unreachable(format!("the answer of `{}` broke off: {error}", self.url)))?
            .to_bytes();
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        if status.is_server_error() {
            return Err(Fault::Unreachable(format!("`{}` answered {status}", self.url)));
        }
        let text =
            |names: [&str; 2]| names.iter().find_map(|name| value[*name].as_str()).unwrap_or_default().to_owned();
        let kind = text(["__type", "code"]);
        let kind = kind.rsplit('#').next().unwrap_or_default().to_owned();
        let kind = if kind.is_empty() { status.to_string() } else { kind };
        Err(Fault::Refused { kind, message: text(["message", "Message"]) })
    }

    async fn signed(&self, target: &str, body: String) -> Result<hyper::Request<Full<Bytes>>, String> {
        let identity = self.credentials().await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service.name)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| format!("a request could not be signed: {error}"))?
            .into();
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target)];
        let signable =
            SignableRequest::new("POST", self.url.as_str(), headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
                .map_err(|error| format!("`{}` is no address: {error}", self.url))?;
        let (instructions, _) =
            sign(signable, &params).map_err(|error| format!("a request could not be signed: {error}"))?.into_parts();
        let mut request = hyper::Request::post(&self.url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in instructions.headers() {
            request = request.header(name, value);
        }
        request.body(Full::new(Bytes::from(body))).map_err(|error| format!("`{}` is no address: {error}", self.url))
    }

    async fn credentials(&self) -> Result<Credentials, String> {
        let lock = || self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |kept: &Credentials| kept.expiry().is_none_or(|ends| SystemTime::now() + MARGIN < ends);
        if let Some(kept) = lock().as_ref().filter(|kept| fresh(kept)) {
            return Ok(kept.clone());
        }
        let credentials = self.provider.provide_credentials().await;
        let credentials = credentials.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("no AWS credentials are to be had: {error}{cause}")
        })?;
        *lock() = Some(credentials.clone());
        Ok(credentials)
    }
}
