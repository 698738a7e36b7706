//! Secrets backends on AWS, with the names and options of Airflow's amazon provider: SSM Parameter Store and Secrets Manager.
//!
//! Each look-up is one request, signed and sent here: the SDKs of both services are large, and one operation of each is needed.

mod client;
mod options;
mod words;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use client::{Client, Fault, Service};
use options::{Kind, Options, Space};
use serde_json::{Value, json};
use updraft_secrets::{Answer, BackendError, SecretsBackend};

/// A secrets backend on AWS.
#[derive(Debug)]
pub struct AwsSecrets {
    options: Options,
    client: Client,
}

impl AwsSecrets {
    /// The backend of this class, with these settings (a JSON object, or nothing), on the usual AWS settings. Nothing is sent yet.
    ///
    /// # Errors
    /// A class or an option that is not known, and where no region is set.
    pub async fn new(class: &str, kwargs: &str) -> Result<Self, BackendError> {
        let options = Options::read(class, kwargs).map_err(BackendError)?;
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12());
        if let Some(profile) = &options.profile_name {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = &options.region_name {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(url) = &options.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        Self::with(options, &loader.load().await)
    }

    fn with(options: Options, settings: &SdkConfig) -> Result<Self, BackendError> {
        let service = match options.kind {
            Kind::ParameterStore => Service { name: "ssm", variable: "AWS_ENDPOINT_URL_SSM" },
            Kind::SecretsManager => Service { name: "secretsmanager", variable: "AWS_ENDPOINT_URL_SECRETS_MANAGER" },
        };
        Ok(Self { client: Client::new(service, settings).map_err(BackendError)?, options })
    }

    async fn look_up(&self, space: Space, id: &str) -> Result<Option<String>, BackendError> {
        let Some(name) = self.options.name(space, id) else { return Ok(None) };
        let (target, body, absent): (_, _, &[&str]) = match self.options.kind {
            Kind::ParameterStore => (
                "AmazonSSM.GetParameter",
                json!({"Name": name, "WithDecryption": true}),
                &["ParameterNotFound", "ParameterVersionNotFound"],
            ),
            Kind::SecretsManager => (
                "secretsmanager.GetSecretValue",
                json!({"SecretId": name}),
                // The last two: marked for removal, and a name that can be no secret's.
                &["ResourceNotFoundException", "InvalidRequestException", "InvalidParameterException"],
            ),
        };
        let answer = match self.client.ask(target, &body).await {
            Ok(answer) => answer,
            Err(Fault::Refused { kind, .. }) if absent.contains(&kind.as_str()) => return Ok(None),
            Err(fault) => return Err(BackendError(format!("`{name}` could not be read: {fault}"))),
        };
        let text = match self.options.kind {
            Kind::ParameterStore => answer["Parameter"]["Value"].as_str().map(str::to_owned),
            Kind::SecretsManager => answer["SecretString"].as_str().map(str::to_owned).or_else(|| binary(&answer)),
        };
        text.map(Some).ok_or_else(|| BackendError(format!("`{name}` was answered without a text")))
    }
}

/// A secret kept as bytes that are text.
fn binary(answer: &Value) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(answer["SecretBinary"].as_str()?).ok()?;
    String::from_utf8(bytes).ok()
}

impl SecretsBackend for AwsSecrets {
    fn variable<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(self.look_up(Space::Variables, key))
    }

    fn connection<'a>(&'a self, conn_id: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let text = self.look_up(Space::Connections, conn_id).await?;
            Ok(match self.options.kind {
                Kind::ParameterStore => text,
                Kind::SecretsManager => text.map(|text| words::standard(text, &self.options)),
            })
        })
    }

    fn config<'a>(&'a self, option: &'a str) -> Answer<'a> {
        Box::pin(self.look_up(Space::Config, option))
    }
}

#[cfg(test)]
mod tests;
