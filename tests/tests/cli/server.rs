//! What a server does to a home, with tasks that are acted: how processes run is tested where they are run.

use crate::harness::Place;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use updraft_clock::System;
use updraft_dag_store::Directory;
use updraft_metastore_embedded::Embedded;
use updraft_model::{AttemptOutcome, ValueRef};
use updraft_service::{Engine, Finished, Runner, Settings, TaskRef, Work};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};

type TestEngine = Engine<Embedded, LocalQueue, System>;

/// The files of a home that has been served for a while.
pub(crate) const ETL: &str = "\
etl:
  description: Loads orders
  schedule: null
  start_date: 2026-01-01
  tags: [sales, nightly]
  params: {region: eu}
  tasks:
    extract:
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: 'echo 1'
      owner: ann
    transform:
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: 'echo 2'
      owner: bob
      dependencies: [extract]
    load:
      operator: airflow.providers.standard.operators.empty.EmptyOperator
      dependencies: [extract, transform]
";

/// A DAG whose one task fails.
pub(crate) const SAD: &str = "\
sad:
  schedule: null
  start_date: 2026-01-01
  tasks:
    weep:
      operator: airflow.providers.standard.operators.bash.BashOperator
      bash_command: 'exit 1'
";

/// Acts a task: `exit` fails, all else succeeds with a log and two XComs.
struct Actor;

impl Runner for Actor {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, _stop: S) -> Option<Finished> {
        let task = work.definition();
        let command = task.arguments.get("bash_command").and_then(|v| v.as_str()).unwrap_or_default();
        let fails = command.starts_with("exit");
        let value = serde_json::json!({ "task": task.task_id, "conf": work.run.facts.conf });
        let mut xcoms = BTreeMap::new();
        if !fails {
            xcoms.insert("return_value".to_owned(), ValueRef::Inline(value));
            xcoms.insert("note".to_owned(), ValueRef::Inline("plain text".into()));
        }
        Some(Finished {
            outcome: if fails { AttemptOutcome::Failed } else { AttemptOutcome::Success },
            message: fails.then(|| "exit code 1".to_owned()),
            xcoms,
            log: Some(format!("+ {command}\nhello\n")),
            ..Finished::new(AttemptOutcome::Success)
        })
    }
}

/// A server at work on a place's home, until it is dropped.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Takes in `dags` of the place, and serves its `.updraft`.
    pub(crate) fn start(place: &Place) -> Self {
        let (home, dags) = (place.path().join(".updraft"), place.path().join("dags"));
        std::fs::create_dir_all(&home).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = std::sync::mpsc::channel();
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let store = Embedded::open(&home.join("metastore.db")).unwrap();
                let engine = Engine::new(store, LocalQueue::default(), System, Settings::default());
                engine.ingest_all(&Directory::new(dags)).await.unwrap();
                ready.send(()).unwrap();
                while !stopped.load(Ordering::Relaxed) {
                    Box::pin(serve(&engine)).await;
                }
            });
        });
        is_ready.recv().expect("the server starts");
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let served = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            served.expect("a server has a thread").expect("the server does not panic");
        }
    }
}

/// One look at what is due and at what was sent.
async fn serve(engine: &TestEngine) {
    engine.tick().await.unwrap();
    for lane in [Lane::Looks, Lane::Tasks] {
        for delivery in engine.queue.receive(lane, 10, Duration::from_millis(5)).await.unwrap() {
            match delivery.message {
                Some(Message::Task { incarnation, task, try_number, place, .. }) => {
                    let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
                    engine.work(&task, &Actor, None, || None).await.unwrap();
                }
                Some(message) => Box::pin(engine.look_where(&message)).await.unwrap(),
                None => {}
            }
            engine.queue.acknowledge(lane, &delivery.receipt).await.unwrap();
        }
    }
}

/// A place whose home knows [`ETL`] and [`SAD`], with a server at work.
pub(crate) fn served() -> (Place, Server) {
    let place = Place::new();
    place.write("dags/etl.yaml", ETL);
    place.write("dags/sad.yaml", SAD);
    let server = Server::start(&place);
    (place, server)
}

/// A place whose home knows [`ETL`] and [`SAD`]; nobody serves it any more.
pub(crate) fn left() -> Place {
    let (place, server) = served();
    drop(server);
    place
}
