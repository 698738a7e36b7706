//! The eye on the DAG folder: a new, changed or removed file takes effect within a second.

use super::loops::{Server, until_draining};
use super::startup::Stopping;
use notify::{RecursiveMode, Watcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch as signal};
use tokio::task::JoinHandle;

/// Events come in bursts: an editor's save is several. Files are looked at when it has been quiet for so long.
const SETTLE: Duration = Duration::from_millis(100);

/// Files are looked at after this even when it never gets quiet.
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// How often the folder is listed although nothing was said to have changed: file systems that tell nothing (network mounts).
const LIST_EVERY: Duration = Duration::from_secs(30);

/// The same where the system cannot watch at all.
const LIST_EVERY_UNWATCHED: Duration = Duration::from_secs(1);

/// What keeps the watch going. Dropping it ends the watch.
pub(super) struct Watch {
    _watcher: Option<notify::RecommendedWatcher>,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches the DAG folder.
pub(super) fn start(server: Arc<Server>, stopping: signal::Receiver<Stopping>) -> Watch {
    let changed = Arc::new(Notify::new());
    let notified = changed.clone();
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Reading a file is an event too, and our own.
        if event.is_ok_and(|e| !matches!(e.kind, notify::EventKind::Access(_))) {
            notified.notify_one();
        }
    })
    .and_then(|mut watcher| watcher.watch(server.dags.root(), RecursiveMode::Recursive).map(|()| watcher));
    let watcher = watcher
        .inspect_err(
            |error| tracing::warn!(%error, "the DAG folder cannot be watched; it is listed every second instead"),
        )
        .ok();
    let every = if watcher.is_some() { LIST_EVERY } else { LIST_EVERY_UNWATCHED };
    let task = tokio::spawn(until_draining(look(server, changed, every), stopping));
    Watch { _watcher: watcher, task }
}

async fn look(server: Arc<Server>, changed: Arc<Notify>, every: Duration) {
    loop {
        if tokio::time::timeout(every, changed.notified()).await.is_ok() {
            let latest = tokio::time::Instant::now() + SETTLE_MAX;
            while tokio::time::timeout(SETTLE, changed.notified()).await.is_ok() && tokio::time::Instant::now() < latest
            {
            }
        }
        match server.engine.ingest_all(&server.dags).await {
            Ok(done) => {
                for path in &done.parsed {
                    if done.failed.contains(path) {
                        tracing::error!("{path} has import errors; `updraft dags list-import-errors` shows them");
                    } else {
                        tracing::info!("{path} was read");
                    }
                }
                for path in &done.python {
                    tracing::warn!(
                        "{path} is a Python DAG file, and not loaded; `updraft dags convert` makes YAML of it"
                    );
                }
                for path in &done.removed {
                    tracing::info!("{path} is gone; its DAGs get no more runs");
                }
            }
            Err(error) => tracing::error!(%error, "the DAG folder could not be looked over"),
        }
    }
}
