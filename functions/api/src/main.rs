//! Lambda: the routes that `updraft standalone` serves, behind a Function URL and, where an issuer is named, an HTTP API.
//!
//! The URL's AuthType is AWS_IAM, and the HTTP API's routes ask for a token: AWS has checked who calls before this is started, and refused
//! who may not. Open are the page, its scripts and where to log in, by which a browser gets its token.

mod event;

use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use std::process::ExitCode;
use std::sync::Arc;
use updraft_clock::System;
use updraft_dag_store_s3::S3DagStore;
use updraft_function::{Environment, Error};
use updraft_log_store_s3::S3LogStore;
use updraft_metastore::expiry::Expiry;
use updraft_metastore_dynamodb::DynamoDb;
use updraft_secrets_aws::AwsSecrets;
use updraft_service::{Engine, Settings};
use updraft_task_queue_sqs::Sqs;

/// Which claim of an issuer's token names the roles of who has it.
const ROLE_CLAIM: &str = "UPDRAFT_JWT_ROLE_CLAIM";

fn main() -> ExitCode {
    updraft_function::run(serve)
}

async fn serve() -> Result<(), Error> {
    let environment = Environment::read()?;
    let aws = updraft_metastore_dynamodb::settings().await?;
    let items = DynamoDb::new(&aws, environment.table).expiring(Expiry::from_days(&environment.history_days)?);
    let queue = Sqs::new(&aws, environment.task_queue_url, environment.scheduler_queue_url)
        .with_python(environment.python_queue_url);
    let settings = Settings { hostname: environment.hostname, ..Settings::default() };
    let settings = settings.with_limits(|name| std::env::var(name).ok())?;
    let secrets = Box::pin(updraft_secrets::configured(
        |name| std::env::var(name).ok(),
        async |class: String, kwargs: String| AwsSecrets::new(&class, &kwargs).await,
    ))
    .await?;
    let engine = Arc::new(Engine::new(items, queue, System, settings).sealed_by(secrets.keys));
    let logs = Arc::new(S3LogStore::new(&aws, environment.bucket.clone()));
    let dags = Arc::new(S3DagStore::new(&aws, environment.bucket));
    let issuer = updraft_api::Issuer::configured(|name| std::env::var(name).ok());
    let router = updraft_api::router(engine, logs, dags, updraft_api::Setup { issuer, ..Default::default() });
    let role_claim = std::env::var(ROLE_CLAIM).unwrap_or_default();
    let handle = async |event: LambdaEvent<Value>| {
        let answer = event::serve(&router, &role_claim, event.payload).await;
        updraft_function::traces::flush().await;
        answer
    };
    lambda_runtime::run(service_fn(handle)).await
}
