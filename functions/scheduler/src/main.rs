//! Lambda: minute tick, bucket notification, due work.

mod event;
mod scheduler;

use lambda_runtime::{LambdaEvent, service_fn};
use scheduler::Scheduler;
use serde_json::Value;
use std::process::ExitCode;
use updraft_clock::System;
use updraft_dag_store_s3::S3DagStore;
use updraft_function::{Environment, Error};
use updraft_metastore::expiry::Expiry;
use updraft_metastore_dynamodb::DynamoDb;
use updraft_service::{Engine, Settings};
use updraft_task_queue_sqs::Sqs;

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
    let engine = Engine::new(items, queue, System, settings);
    let scheduler = Scheduler { engine, dags: S3DagStore::new(&aws, environment.bucket) };
    let handle = |event: LambdaEvent<Value>| scheduler.handle(event.payload);
    lambda_runtime::run(service_fn(handle)).await
}
