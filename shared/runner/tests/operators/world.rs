//! An engine in memory with the real runner, and a clock whose waits take no time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use updraft_clock::{Clock, System};
use updraft_dag_store::{DagStore, Directory as Folder};
use updraft_execution::Launcher;
use updraft_log_store::{Directory, LogStore};
use updraft_metastore::counting::Counting;
use updraft_metastore::memory::Memory;
use updraft_model::{Attempt, DagId, DagRunState, RunDoc, WorkerKind};
use updraft_runner::ProcessRunner;
use updraft_service::runs::Leases;
use updraft_service::trigger::Trigger;
use updraft_service::{Engine, Environment, Settings, TaskRef, xcoms};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};
use updraft_templates::Renderer;

/// The system's clock, which is put forward by every wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leaping {
    ahead_ms: Arc<AtomicI64>,
    /// Every wait, in milliseconds.
    waits: Arc<Mutex<Vec<u64>>>,
}

impl Leaping {
    pub(crate) fn leap(&self, duration: SignedDuration) {
        // Whole milliseconds, and never short of what was asked for.
        self.ahead_ms.fetch_add(duration.as_millis() as i64 + 1, Ordering::SeqCst);
    }

    pub(crate) fn waits(&self) -> Vec<u64> {
        self.waits.lock().unwrap().clone()
    }
}

impl Clock for Leaping {
    fn now(&self) -> Timestamp {
        System.now() + SignedDuration::from_millis(self.ahead_ms.load(Ordering::SeqCst))
    }

    fn draw(&self, length: usize) -> String {
        System.draw(length)
    }

    async fn sleep(&self, duration: Duration) {
        // The lease is renewed every minute: were that to leap, it would race ahead of what an attempt does.
        if duration == RENEW_EVERY {
            return tokio::time::sleep(duration).await;
        }
        self.waits.lock().unwrap().push(duration.as_millis() as u64);
        self.leap(SignedDuration::try_from(duration).unwrap());
        tokio::task::yield_now().await;
    }
}

const RENEW_EVERY: Duration = Duration::from_secs(61);

type LocalEngine = Engine<Counting<Memory>, LocalQueue, Leaping>;

/// An engine, a DAG folder, and what runs attempts.
pub(crate) struct World {
    pub(crate) engine: Arc<LocalEngine>,
    pub(crate) clock: Leaping,
    pub(crate) runner: ProcessRunner<Counting<Memory>, LocalQueue, Directory, Leaping>,
    /// How many attempts were run.
    pub(crate) attempts: u32,
    /// When the worker will be gone, after now, if it will.
    pub(crate) worker_lives: Option<SignedDuration>,
    /// Which callbacks were to be called, and by which kind of worker, message by message.
    pub(crate) asked: Vec<(String, WorkerKind)>,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Ran {
    /// `task=state`, in the order of the file.
    pub(crate) states: Vec<String>,
    pub(crate) attempts: BTreeMap<String, Attempt>,
    pub(crate) logs: BTreeMap<String, String>,
}

impl Ran {
    /// What a task returned.
    pub(crate) fn returned(&self, task: &str) -> Option<Value> {
        self.xcom(task, "return_value")
    }

    pub(crate) fn xcom(&self, task: &str, key: &str) -> Option<Value> {
        match self.attempts.get(task)?.xcoms.get(key)? {
            updraft_model::ValueRef::Inline(value) => Some(value.clone()),
            updraft_model::ValueRef::At(uri) => panic!("a large value at {uri}"),
        }
    }

    /// Why a task's last attempt ended.
    pub(crate) fn message(&self, task: &str) -> String {
        self.attempts.get(task).and_then(|a| a.message.clone()).unwrap_or_default()
    }

    /// The log of a task's last attempt.
    pub(crate) fn log(&self, task: &str) -> &str {
        self.logs.get(task).map_or("", String::as_str)
    }
}

impl World {
    /// One with these files in its DAG folder, all of them read.
    pub(crate) async fn new(files: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().unwrap().keep();
        let folder = Folder::new(place.join("dags"));
        for (path, text) in files {
            folder.write(path, text.as_bytes()).await.unwrap();
        }
        let settings = Settings { renew_every: RENEW_EVERY, ..Settings::default() };
        let clock = Leaping::default();
        let items = Counting::new(Memory::default());
        let engine = Arc::new(Engine::new(items, LocalQueue::default(), clock.clone(), settings));
        let helper = env!("CARGO_BIN_EXE_updraft-runner-helper");
        let runner = ProcessRunner {
            engine: engine.clone(),
            logs: Directory::new(place.join("home")),
            launcher: Launcher::new(helper),
            versions: place.join("home/versions"),
            search_path: Vec::new(),
            renderer: Arc::new(Renderer::new()),
            environment: Environment::default(),
            sns: None,
        };
        Box::pin(engine.ingest_all(&folder)).await.unwrap();
        let problems = engine.store.list_import_errors(10, None).await.unwrap().items;
        assert!(problems.is_empty(), "{problems:#?}");
        Self { engine, clock, runner, attempts: 0, worker_lives: None, asked: Vec::new() }
    }

    /// One with one DAG `d` of these tasks.
    pub(crate) async fn of(tasks: &str) -> Self {
        let indented = tasks.trim_end().replace('\n', "\n    ");
        Self::new(&[("d.yaml", &format!("d:\n  schedule: null\n  tasks:\n    {indented}\n"))]).await
    }

    /// Triggers a run.
    pub(crate) async fn trigger(&self, dag_id: &str, conf: Value) -> RunDoc {
        let dag_id = DagId::parse(dag_id).unwrap();
        let trigger = Trigger { dag_id, run_id: None, logical_date: None, conf };
        self.engine.trigger(trigger).await.unwrap()
    }

    /// Runs `d` to its end.
    pub(crate) async fn run(&mut self) -> Ran {
        let run = self.trigger("d", Value::Null).await;
        self.finish(run).await
    }

    /// Runs the tasks of `d` and returns what came of the run.
    pub(crate) async fn run_of(tasks: &str) -> Ran {
        Self::of(tasks).await.run().await
    }

    /// Works until a run has ended, leaping over what is not due yet.
    pub(crate) async fn finish(&mut self, run: RunDoc) -> Ran {
        Box::pin(self.engine.look_at_run(&run.facts.incarnation, Leases::Heed)).await.unwrap();
        for _ in 0..400 {
            self.work().await;
            let now = self.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap();
            if matches!(now.state, DagRunState::Success | DagRunState::Failed) {
                return self.ran(now).await;
            }
            let horizon = self.clock.now() + SignedDuration::from_hours(24 * 400);
            let due = self.engine.next_due(horizon).await.unwrap().expect("an unfinished run is in the time index");
            self.clock.leap(due.duration_since(self.clock.now()).max(SignedDuration::ZERO));
            Box::pin(self.engine.tick()).await.unwrap();
        }
        panic!("the run does not end");
    }

    /// Does what is queued.
    pub(crate) async fn work(&mut self) {
        loop {
            for looked in self.receive(Lane::Looks).await {
                Box::pin(self.engine.look_where(&looked)).await.unwrap();
            }
            let tasks = self.receive(Lane::Tasks).await;
            if tasks.is_empty() {
                return;
            }
            for message in tasks {
                if let Message::Callback { key, worker } = &message {
                    self.asked.push((key.id.clone(), *worker));
                    Box::pin(self.engine.call(key, &self.runner, None)).await.unwrap();
                    continue;
                }
                let Message::Task { incarnation, task, try_number, place, .. } = message else {
                    panic!("a look is no task")
                };
                let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
                let deadline = self.worker_lives.map(|lives| self.clock.now() + lives);
                let worked = Box::pin(self.engine.work(&task, &self.runner, deadline, || None)).await.unwrap();
                self.attempts += worked.attempts;
            }
        }
    }

    async fn receive(&self, lane: Lane) -> Vec<Message> {
        let received = self.engine.queue.receive(lane, 10, Duration::ZERO).await.unwrap();
        for delivery in &received {
            self.engine.queue.acknowledge(lane, &delivery.receipt).await.unwrap();
        }
        received.into_iter().filter_map(|delivery| delivery.message).collect()
    }

    /// What came of a run so far.
    pub(crate) async fn ran(&self, run: RunDoc) -> Ran {
        let version = self.engine.version(&run.facts.version).await.unwrap();
        let (mut states, mut attempts, mut logs) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for task in version.plan.tasks() {
            let task_id = version.plan.task(task).task_id.to_string();
            states.push(format!("{task_id}={}", run.task_state(task)));
            let winner = xcoms::winners(&self.engine.store, &run, [task]).await.unwrap();
            if let Some(attempt) = winner.into_values().next() {
                let log = match (&attempt.log, &attempt.log_uri) {
                    (Some(log), _) => log.clone(),
                    (None, Some(uri)) => String::from_utf8(self.runner.logs.get(uri).await.unwrap().unwrap()).unwrap(),
                    (None, None) => String::new(),
                };
                logs.insert(task_id.clone(), log);
                attempts.insert(task_id, attempt);
            }
        }
        Ran { states, attempts, logs }
    }
}
