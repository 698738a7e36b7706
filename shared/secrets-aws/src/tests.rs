//! Against an emulator, on the wire.

use super::*;
use updraft_e2e::emulator::Emulator;

const PARAMETER_STORE: &str =
    "airflow.providers.amazon.aws.secrets.systems_manager.SystemsManagerParameterStoreBackend";
const SECRETS_MANAGER: &str = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend";

async fn backend(class: &str, kwargs: &str) -> AwsSecrets {
    AwsSecrets::with(Options::read(class, kwargs).unwrap(), &Emulator::shared().settings().await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_variables_connections_and_options() {
    let store = backend(PARAMETER_STORE, r#"{"config_prefix": null}"#).await;
    for (name, value) in [
        ("/airflow/variables/region", "eu"),
        ("/airflow/connections/db", "postgres://me:hunter22@db/x"),
        ("/airflow/config/k", "v"),
    ] {
        let body = json!({"Name": name, "Value": value, "Type": "SecureString", "Overwrite": true});
        store.client.ask("AmazonSSM.PutParameter", &body).await.unwrap();
    }
    assert_eq!(store.variable("region").await, Ok(Some("eu".to_owned())));
    assert_eq!(store.connection("db").await, Ok(Some("postgres://me:hunter22@db/x".to_owned())));
    assert_eq!(store.variable("nobody").await, Ok(None));
    assert_eq!(store.config("k").await, Ok(None), "its prefix is null");
    let other = backend(PARAMETER_STORE, r#"{"variables_prefix": "/airflow/config"}"#).await;
    assert_eq!(other.variable("k").await, Ok(Some("v".to_owned())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_variables_and_connections() {
    let manager = backend(SECRETS_MANAGER, "").await;
    for (name, value) in [
        ("airflow/variables/token", "hunter22"),
        ("airflow/connections/db", r#"{"engine": "postgres", "username": "me", "password": "hunter22", "host": "db"}"#),
    ] {
        let body =
            json!({"Name": name, "SecretString": value, "ClientRequestToken": "00000000-0000-0000-0000-000000000001"});
        manager.client.ask("secretsmanager.CreateSecret", &body).await.unwrap();
    }
    assert_eq!(manager.variable("token").await, Ok(Some("hunter22".to_owned())));
    let found = manager.connection("db").await.unwrap().unwrap();
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(found, json!({"conn_type": "postgres", "host": "db", "login": "me", "password": "hunter22"}));
    assert_eq!(manager.variable("nobody").await, Ok(None));
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_named_and_is_no_absence() {
    let settings = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .endpoint_url("http://127.0.0.1:9")
        .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(
            aws_credential_types::Credentials::new("key", "hunter22", None, None, "test"),
        ))
        .build();
    let store = AwsSecrets::with(Options::read(PARAMETER_STORE, "").unwrap(), &settings).unwrap();
    let said = store.variable("x").await.unwrap_err().to_string();
    assert!(
        said.contains("/airflow/variables/x") && said.contains("127.0.0.1:9") && !said.contains("hunter22"),
        "{said}"
    );
}
