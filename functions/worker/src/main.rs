//! Lambda: claim, run, finish, continue in place.

mod budget;
mod packages;
mod worker;

use lambda_runtime::service_fn;
use packages::Packages;
use std::process::ExitCode;
use std::sync::Arc;
use updraft_clock::System;
use updraft_dag_store_s3::S3DagStore;
use updraft_execution::Launcher;
use updraft_function::{Environment, Error};
use updraft_log_store_s3::S3LogStore;
use updraft_metastore::expiry::Expiry;
use updraft_metastore_dynamodb::DynamoDb;
use updraft_model::WorkerKind;
use updraft_runner::ProcessRunner;
use updraft_secrets_aws::AwsSecrets;
use updraft_service::{Engine, Settings};
use updraft_task_queue_sqs::Sqs;
use updraft_templates::Renderer;
use worker::Worker;

fn main() -> ExitCode {
    // The supervisor of a task's processes is this executable again; it must not have threads or a runtime.
    if std::env::args_os().nth(1).is_some_and(|first| first == updraft_execution::SUPERVISE) {
        return updraft_execution::supervisor_main();
    }
    updraft_function::run(serve)
}

async fn serve() -> Result<(), Error> {
    let environment = Environment::read()?;
    let scratch = environment.scratch;
    let temporary = scratch.join("tmp");
    std::fs::create_dir_all(&temporary)?;
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
    let logs = S3LogStore::with_spools(&aws, environment.bucket.clone(), scratch.join("spools"));
    let packages = environment.has_python.then(|| {
        let store = S3DagStore::with_prefix(&aws, environment.bucket.clone(), packages::PREFIX);
        let interpreter = std::env::var("UPDRAFT_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        Packages::new(store, S3LogStore::new(&aws, environment.bucket), scratch.join("packages"), interpreter)
    });
    let search_path = packages.as_ref().map(Packages::search_path).unwrap_or_default();
    let runner = ProcessRunner {
        engine: engine.clone(),
        logs,
        // A process that is frozen with this one would hold sockets and memory of an attempt long gone.
        launcher: Launcher::current_exe()?.with_scratch(temporary).keeping_nothing().with_packages(search_path.clone()),
        versions: scratch.join("versions"),
        // The DAG folder is not at hand here: versions carry the files that their tasks name.
        search_path,
        renderer: Arc::new(Renderer::new()),
        environment: updraft_service::Environment::of_process().behind(secrets.backend),
        sns: Some(Arc::new(updraft_notify_sns::Signer::new(aws.clone()))),
    };
    let kind = if environment.has_python { WorkerKind::Python } else { WorkerKind::Plain };
    let worker = Worker { engine, runner, kind, packages };
    lambda_runtime::run(service_fn(|event| worker.handle(event))).await
}
