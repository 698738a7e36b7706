//! From nothing to a server, and back.

use super::loops::{self, Server};
use super::{Arguments, Error, Executor, watch};
use crate::failure::Failure;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::watch as signal;
use updraft_clock::System;
use updraft_dag_store::Directory;
use updraft_execution::Launcher;
use updraft_metastore::seal::Seal;
use updraft_metastore_embedded::{Embedded, LockError, ServerLock};
use updraft_runner::ProcessRunner;
use updraft_service::{Engine, Environment, Settings};
use updraft_task_queue::LocalQueue;
use updraft_templates::Renderer;

/// How long a server waits for the lock of another.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// The folder of the home in which attempts have their temporary directories.
const SCRATCH: &str = "tmp";

/// How far a server has been told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stopping {
    /// Not at all.
    No,
    /// Nothing new begins; what runs goes on to its end.
    Draining,
    /// At once: running attempts are killed with the process, and retried or failed by the rules at the next start.
    Now,
}

/// Runs the server until it is told to stop.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Error> {
    let begun = Instant::now();
    if !arguments.dags.is_dir() {
        return Err(Error::NoDags(arguments.dags));
    }
    let home = prepare(&arguments.home)?;
    let mut lock = lock(&home).await?;
    furnish(&home)?;
    let secrets = secrets(&home).await?;
    let server = Arc::new(wire(&arguments, &home, secrets)?);
    let ingested = server.engine.ingest_all(&server.dags).await?;
    let recovered = server.engine.recover().await?;

    // Listening is the last thing that can fail, and nothing runs before it has not.
    let access = if arguments.no_auth { updraft_api::Access::Open } else { updraft_api::Access::Login };
    let (port, address) = (arguments.port, ("127.0.0.1", arguments.port));
    let listener = TcpListener::bind(address).await.map_err(|cause| Error::Port { port, cause })?;
    let local = listener.local_addr().map_err(|cause| Error::System { what: "the port's address", cause })?;
    let url = format!("http://{local}");
    lock.announce(&url)?;
    if access == updraft_api::Access::Login {
        make_first_admin(&server, &url).await?;
    }
    tracing::info!(
        dags = %arguments.dags.display(),
        home = %home.display(),
        files = ingested.parsed.len() + ingested.unchanged,
        due = recovered.looked_at,
        ms = begun.elapsed().as_millis(),
        "ready: {url}"
    );

    let (stop, stopping) = signal::channel(Stopping::No);
    let workers = match arguments.executor {
        Executor::Sequential => 1,
        Executor::Local => arguments.parallelism,
    };
    let watcher = watch::start(server.clone(), stopping.clone());
    let running = loops::start(&server, workers, &stopping);
    let setup = updraft_api::Setup { config: crate::config::of_server(&arguments), access, issuer: None };
    let http = tokio::spawn(serve(listener, server.clone(), setup, stopping));
    let ended = wait_for_signals(&stop, running, home_gone(&home)).await;
    let _ = stop.send(Stopping::Now);
    drop(watcher);
    if let Err(error) = http.await {
        tracing::error!(%error, "the web server ended badly");
    }
    drop(lock);
    ended?;
    tracing::info!("stopped");
    Ok(())
}

/// Makes the first user where there is none, and shows its password: this once, and not in the log.
async fn make_first_admin(server: &Server, url: &str) -> Result<(), Error> {
    use std::io::Write;
    let Some((username, password)) = server.engine.first_admin().await? else { return Ok(()) };
    let shown = format!(
        "\n  Log in at {url} as `{username}` with the password\n\n      {password}\n\n  \
         It is shown this once; `updraft users set-password {username}` sets another.\n\n"
    );
    // Where nobody is there to read it, `set-password` is the way in.
    let _ = std::io::stderr().write_all(shown.as_bytes());
    Ok(())
}

/// How often the server looks whether its home is still there.
const HOME_LOOK_EVERY: Duration = Duration::from_secs(1);

/// Waits until the metastore's file is no longer the one that this server opened: whatever it writes from then on, nobody will find.
async fn home_gone(home: &Path) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let file = home.join("metastore.db");
    let which = || std::fs::metadata(&file).map(|found| (found.dev(), found.ino()));
    let Ok(ours) = which() else { return home.to_owned() };
    loop {
        tokio::time::sleep(HOME_LOOK_EVERY).await;
        // Anything but its absence may pass: a file system that does not answer for a while is still the same.
        match which() {
            Ok(now) if now != ours => return home.to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return home.to_owned(),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Locks the home. A server that was just killed is gone before its lock is, by the time its last processes take to end.
async fn lock(home: &Path) -> Result<ServerLock, Error> {
    let patient_until = Instant::now() + LOCK_PATIENCE;
    loop {
        match ServerLock::acquire(home) {
            Err(LockError::Held { .. }) if Instant::now() < patient_until => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return Ok(result?),
        }
    }
}

/// Makes the home, readable for its owner alone: logs and XComs may hold what is nobody else's business.
fn prepare(home: &Path) -> Result<PathBuf, Error> {
    use std::os::unix::fs::DirBuilderExt;
    let failed = |cause| Error::Home { home: home.to_owned(), cause };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(failed)?;
    home.canonicalize().map_err(failed)
}

/// Makes the home's folders, and clears what a server before left in its scratch folder. Only under the lock.
fn furnish(home: &Path) -> Result<(), Error> {
    let failed = |cause| Error::Home { home: home.to_owned(), cause };
    match std::fs::remove_dir_all(home.join(SCRATCH)) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(failed(cause)),
        Ok(()) | Err(_) => {}
    }
    for folder in ["versions", "logs", "xcoms", SCRATCH] {
        std::fs::create_dir_all(home.join(folder)).map_err(failed)?;
    }
    Ok(())
}

/// Where variables and connections come from, and what encrypts them.
type Secrets = (Environment, Arc<dyn Seal>);

/// Reads what is set, and makes the home's key where it has none.
async fn secrets(home: &Path) -> Result<Secrets, Error> {
    let home = crate::home::Home::new(home);
    let failed = |failure| Error::Secrets(Box::new(failure));
    let environment = crate::secrets::environment().await.map_err(failed)?;
    let seal = crate::secrets::seal_of_home(&home).await.map_err(failed)?;
    updraft_secrets::HomeKeys::new(home.fernet_key())
        .ensure()
        .map_err(|error| failed(Failure::user(error.to_string())))?;
    Ok((environment, seal))
}

/// Binds the ports to this machine.
fn wire(arguments: &Arguments, home: &Path, (environment, seal): Secrets) -> Result<Server, Error> {
    let items = Arc::new(Embedded::open(&home.join("metastore.db"))?);
    let dags = arguments.dags.canonicalize().map_err(|cause| Error::System { what: "the DAG folder", cause })?;
    let system = |what| move |cause| Error::System { what, cause };
    let launcher = Launcher::current_exe().map_err(system("this program's own path"))?.with_scratch(home.join(SCRATCH));
    let settings = Settings {
        dags_are_paused_at_creation: arguments.pause_new_dags,
        max_active_tasks: arguments.max_active_tasks_per_dag,
        max_map_length: arguments.max_map_length,
        default_pool_slots: arguments.default_pool_task_slot_count.map(i64::from),
        ignore_syntax: arguments.reading.ignore_syntax(),
        dag_environment: arguments.reading.environment(),
        dag_variables: crate::dags::Reading::variables(),
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        ..Settings::default()
    };
    let queue = Arc::new(LocalQueue::default());
    let engine = Arc::new(Engine::new(items.clone(), queue.clone(), System, settings).sealed_by(Some(seal)));
    let runner = ProcessRunner {
        engine: engine.clone(),
        logs: updraft_log_store::Directory::new(home),
        launcher,
        versions: home.join("versions"),
        search_path: vec![dags.clone()],
        renderer: Arc::new(Renderer::new()),
        environment,
        sns: crate::stores::sns(),
    };
    Ok(Server { engine, items, queue, runner, dags: Directory::new(dags) })
}

async fn serve(
    listener: TcpListener,
    server: Arc<Server>,
    setup: updraft_api::Setup,
    mut stopping: signal::Receiver<Stopping>,
) {
    let router = updraft_api::router(
        Arc::new(server.reader()),
        Arc::new(server.runner.logs.clone()),
        Arc::new(server.dags.clone()),
        setup,
    );
    // The audit log says where a change came from.
    let router = router.into_make_service_with_connect_info::<SocketAddr>();
    let stopped = async move {
        let _ = stopping.wait_for(|s| *s == Stopping::Now).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
        tracing::error!(%error, "the web server stopped");
    }
}

/// Waits for the loops to end, or for signals: the first drains, the second stops at once.
async fn wait_for_signals(
    stop: &signal::Sender<Stopping>,
    mut running: tokio::task::JoinSet<()>,
    home_gone: impl Future<Output = PathBuf>,
) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|cause| Error::System { what: "listening for signals", cause });
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::pin!(home_gone);
    loop {
        tokio::select! {
            home = &mut home_gone => {
                let _ = stop.send(Stopping::Now);
                running.shutdown().await;
                return Err(Error::HomeGone(home));
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            ended = running.join_next() => match ended {
                Some(Ok(())) => continue,
                Some(Err(error)) => {
                    // A loop that panics is a fault of ours; without it the server would only seem to work.
                    tracing::error!(%error, "a part of the server failed; stopping");
                    let _ = stop.send(Stopping::Now);
                    running.shutdown().await;
                    return Ok(());
                }
                None => return Ok(()),
            },
        }
        if *stop.borrow() == Stopping::No {
            tracing::info!(
                "draining: nothing new begins, running tasks go on to their end; once more to stop them now"
            );
            let _ = stop.send(Stopping::Draining);
        } else {
            tracing::warn!(
                "stopping now: running tasks are killed, and retried or failed by the rules at the next start"
            );
            let _ = stop.send(Stopping::Now);
            running.shutdown().await;
            return Ok(());
        }
    }
}
