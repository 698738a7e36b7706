//! Signs requests to SNS as AWS asks (Signature Version 4), without an SDK of its own: one request is all that is sent.

use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use std::time::SystemTime;
use tokio::sync::OnceCell;
use updraft_notify::{Boxed, Signed, SnsSigner};

/// Signs by the process's AWS settings: credentials, region, endpoint.
#[derive(Debug, Default)]
pub struct Signer {
    settings: OnceCell<SdkConfig>,
}

impl Signer {
    /// By these settings.
    pub fn new(settings: SdkConfig) -> Self {
        Self { settings: OnceCell::new_with(Some(settings)) }
    }

    /// By the settings of this process, which are looked for when the first request is signed.
    pub fn of_process() -> Self {
        Self::default()
    }

    async fn signed(&self, region: Option<&str>, content_type: &str, form: &str) -> Result<Signed, String> {
        let load = || aws_config::load_defaults(aws_config::BehaviorVersion::latest());
        let settings = self.settings.get_or_init(load).await;
        let own = settings.region().map(|region| region.as_ref().to_owned());
        let region =
            region.map(str::to_owned).or(own).ok_or("no AWS region is set: set `AWS_REGION`, or give `region_name`")?;
        let provider = settings.credentials_provider().ok_or("no AWS credentials are set")?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|e| format!("no AWS credentials were found: {e}"))?;
        let url = match settings.endpoint_url() {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://sns.{region}.amazonaws.com/"),
        };
        let identity = credentials.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name("sns")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| format!("a request to SNS could not be signed: {e}"))?
            .into();
        let unsigned = |e: &dyn std::fmt::Display| format!("a request to SNS could not be signed: {e}");
        let headers = std::iter::once(("content-type", content_type));
        let request = SignableRequest::new("POST", url.as_str(), headers, SignableBody::Bytes(form.as_bytes()));
        let request = request.map_err(|e| unsigned(&e))?;
        let (instructions, _) = sign(request, &parameters).map_err(|e| unsigned(&e))?.into_parts();
        let headers = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Signed { url, headers })
    }
}

impl SnsSigner for Signer {
    fn sign<'a>(
        &'a self,
        region: Option<&'a str>,
        content_type: &'a str,
        form: &'a str,
    ) -> Boxed<'a, Result<Signed, String>> {
        Box::pin(self.signed(region, content_type, form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_config::{BehaviorVersion, Region};
    use aws_credential_types::Credentials;
    use aws_credential_types::provider::SharedCredentialsProvider;

    #[tokio::test]
    async fn requests_go_where_they_should_and_say_whose_they_are() {
        let credentials = Credentials::new("AKID", "secret", Some("session".to_owned()), None, "test");
        let settings = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let signer = Signer::new(settings.clone());
        for (region, url, scope) in [
            (None, "https://sns.eu-west-1.amazonaws.com/", "/eu-west-1/sns/aws4_request"),
            (Some("us-east-2"), "https://sns.us-east-2.amazonaws.com/", "/us-east-2/sns/aws4_request"),
        ] {
            let signed = signer.sign(region, "text/plain", "a=b").await.unwrap();
            assert_eq!(signed.url, url);
            let header = |name: &str| signed.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
            let authorization = header("authorization").unwrap();
            assert!(authorization.contains("Credential=AKID/") && authorization.contains(scope), "{authorization}");
            assert_eq!(header("x-amz-security-token").as_deref(), Some("session"));
        }
        let elsewhere = settings.into_builder().endpoint_url("http://127.0.0.1:4566").build();
        let signed = Signer::new(elsewhere).sign(None, "text/plain", "").await.unwrap();
        assert_eq!(signed.url, "http://127.0.0.1:4566/");
        let nowhere = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build();
        assert!(Signer::new(nowhere).sign(None, "text/plain", "").await.unwrap_err().contains("AWS_REGION"));
    }
}
