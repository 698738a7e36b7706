//! What a process does: found what is not there yet, recover, and work until everything has ended.

use crate::dags::Case;
use crate::dying::{Death, Dying};
use jiff::Timestamp;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use updraft_clock::System;
use updraft_metastore::Version;
use updraft_metastore_embedded::Embedded;
use updraft_model::{AttemptOutcome, DagDoc, DagId, DagRunState};
use updraft_service::runs::Leases;
use updraft_service::trigger::Trigger;
use updraft_service::{Continuation, Engine, Finished, Runner, Settings, TaskRef, Work};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};

/// How long a process may take.
const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) type Local<I> = Engine<I, Arc<LocalQueue>, System>;

/// Where attempts note that they started and ended.
pub(crate) fn journal(folder: &Path) -> PathBuf {
    folder.join("journal")
}

/// Notes what runs, in a file that outlives this process.
struct Noted {
    case: Case,
    journal: PathBuf,
}

impl Noted {
    fn note(&self, what: &str, work: &Work) {
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(&self.journal).expect("the journal opens");
        let line = format!("{what} {} {} {} {}\n", work.task, work.try_number, work.lease.token, std::process::id());
        file.write_all(line.as_bytes()).expect("the journal is written");
    }
}

impl Runner for Noted {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, stop: S) -> Option<Finished> {
        self.note("start", work);
        tokio::select! {
            biased;
            _ = stop => return None,
            () = tokio::time::sleep(Duration::from_millis(2)) => {}
        }
        self.note("end", work);
        let outcome: AttemptOutcome = self.case.outcome(work.task, work.try_number);
        Some(Finished::new(outcome))
    }
}

/// Runs a process to its end, or to its death.
pub(crate) fn run(case: Case, folder: &Path, death: Option<Death>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let items = Embedded::open(&folder.join("metastore.db")).expect("the store opens");
    let takes_over = death.is_none();
    let engine = Engine::new(Dying::new(items, death), Arc::new(LocalQueue::default()), System, Settings::default());
    let runner = Noted { case, journal: journal(folder) };
    runtime.block_on(async {
        if takes_over {
            Box::pin(engine.recover()).await.expect("the store is there");
        } else {
            Box::pin(found(&engine, case)).await;
        }
        tokio::select! {
            biased;
            () = until_all_is_over(&engine, case) => {}
            () = worker(&engine, &runner) => {}
            () = worker(&engine, &runner) => {}
            () = looks(&engine) => {}
            () = timer(&engine) => {}
        }
    });
}

/// Makes the DAG known, and its run, if it is made by hand.
async fn found<I: updraft_metastore::Items>(engine: &Local<I>, case: Case) {
    let dag = case.dag();
    let mut document = DagDoc::new(dag.dag_id.clone(), dag.file.clone(), false);
    document.max_active_runs = 1;
    document.wake_at = case.is_scheduled().then(Timestamp::now);
    let version = Version { dag, files: std::collections::BTreeMap::new() };
    document.version = Some(engine.store.put_version(&version).await.expect("the version is put"));
    engine.store.put_dag(&document).await.expect("the DAG is put");
    if !case.is_scheduled() {
        let dag_id = document.dag_id.clone();
        let trigger = Trigger { dag_id, run_id: None, logical_date: None, conf: serde_json::Value::Null };
        let run = engine.trigger(trigger).await.expect("the run is triggered");
        engine.look_at_run(&run.facts.incarnation, Leases::Heed).await.expect("the run is looked at");
    }
}

/// Whether nothing is under way or owed: no run without an end, no place held, nothing in the time index.
async fn until_all_is_over<I: updraft_metastore::Items>(engine: &Local<I>, case: Case) {
    let begun = Instant::now();
    let dag_id = DagId::trusted(case.name());
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        let dag = engine.store.dag(&dag_id).await.expect("the store is there");
        let runs = engine.store.list_runs(&dag_id, 10, None).await.expect("the store is there").items;
        let due = engine.store.due(Timestamp::MAX, 10).await.expect("the store is there").items;
        let owed = dag.is_some_and(|dag| !dag.active.is_empty() || !dag.held.is_empty() || dag.next_due.is_some());
        let ended = runs.iter().all(|run| matches!(run.state, DagRunState::Success | DagRunState::Failed));
        let made = !case.is_scheduled() || !runs.is_empty() || due.is_empty();
        if ended && made && !owed && due.iter().all(|entry| entry.wake_at > Timestamp::now()) && no_run(&due) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "nothing comes to an end: runs {runs:?}, due {due:?}");
    }
}

fn no_run(due: &[updraft_metastore::DueEntry]) -> bool {
    !due.iter().any(|entry| matches!(entry.what, updraft_metastore::DueWhat::Run(_)))
}

async fn worker<I: updraft_metastore::Items>(engine: &Local<I>, runner: &Noted) {
    loop {
        let received = engine.queue.receive(Lane::Tasks, 1, Duration::from_mins(1)).await;
        for delivery in received.into_iter().flatten() {
            let Some(Message::Task { incarnation, task, try_number, place, .. }) = delivery.message else { continue };
            let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
            engine.work(&task, runner, None, || Some(Continuation::default())).await.expect("the store is there");
        }
    }
}

async fn looks<I: updraft_metastore::Items>(engine: &Local<I>) {
    loop {
        let received = engine.queue.receive(Lane::Looks, 1, Duration::from_mins(1)).await;
        for delivery in received.into_iter().flatten() {
            if let Some(message) = delivery.message {
                Box::pin(engine.look_where(&message)).await.expect("the store is there");
            }
        }
    }
}

async fn timer<I: updraft_metastore::Items>(engine: &Local<I>) {
    loop {
        engine.tick().await.expect("the store is there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
