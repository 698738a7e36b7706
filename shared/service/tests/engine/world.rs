//! An engine in memory, whose costs are counted, and whose tasks are acted.

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;
use updraft_clock::System;
use updraft_dag_store::{DagStore, Directory};
use updraft_metastore::counting::Counting;
use updraft_metastore::memory::Memory;
use updraft_model::{AttemptOutcome, DagId, OutletEvent, RunDoc};
use updraft_service::runs::Leases;
use updraft_service::trigger::Trigger;
use updraft_service::{Continuation, Engine, Finished, Runner, Settings, TaskRef, Work};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue, counting as queue};

/// An engine and a DAG folder.
pub(crate) struct World {
    pub(crate) engine: Engine<Counting<Memory>, queue::Counting<LocalQueue>, System>,
    pub(crate) folder: Directory,
    says: Mutex<Vec<OutletEvent>>,
}

/// Every task succeeds at once, and says this of the assets it writes.
struct Succeeds(Vec<OutletEvent>);

impl Runner for Succeeds {
    async fn run<S: Future<Output = String> + Send>(&self, _: &Work, _: S) -> Option<Finished> {
        Some(Finished {
            log: Some("done\n".to_owned()),
            outlet_events: self.0.clone(),
            ..Finished::new(AttemptOutcome::Success)
        })
    }
}

impl World {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let items = Counting::new(Memory::default());
        Self {
            engine: Engine::new(items, queue::Counting::default(), System, Settings::default()),
            folder: Directory::new(tempfile::tempdir().unwrap().keep()),
            says: Mutex::default(),
        }
    }

    /// Writes a DAG file.
    pub(crate) async fn write(&self, path: &str, text: &str) {
        self.folder.write(path, text.as_bytes()).await.unwrap();
    }

    /// Removes a DAG file.
    pub(crate) async fn remove(&self, path: &str) {
        tokio::fs::remove_file(self.folder.root().join(path)).await.unwrap();
    }

    /// Triggers a run and looks at it, as the scheduler does.
    pub(crate) async fn trigger(&self, dag_id: &str) -> RunDoc {
        let dag_id = DagId::parse(dag_id).unwrap();
        let trigger = Trigger { dag_id, run_id: None, logical_date: None, conf: serde_json::Value::Null };
        let run = self.engine.trigger(trigger).await.unwrap();
        Box::pin(self.engine.look_at_run(&run.facts.incarnation, Leases::Heed)).await.unwrap();
        self.engine.store.run(&run.facts.incarnation).await.unwrap().unwrap()
    }

    /// What tasks say from now on of the assets they write.
    pub(crate) fn says(&self, events: Vec<OutletEvent>) {
        *self.says.lock().unwrap() = events;
    }

    fn succeeds(&self) -> Succeeds {
        Succeeds(self.says.lock().unwrap().clone())
    }

    /// Looks and runs as messages say, until there are none.
    pub(crate) async fn settle(&self) {
        loop {
            let mut idle = true;
            self.work(false).await;
            for delivery in self.engine.queue.receive(Lane::Looks, 100, Duration::ZERO).await.unwrap() {
                idle = false;
                match delivery.message {
                    Some(Message::Run { incarnation }) => {
                        self.engine.look_at_run(&incarnation, Leases::Heed).await.unwrap();
                    }
                    Some(Message::Dag { dag_id }) => self.engine.look_at_dag(&dag_id).await.unwrap(),
                    _ => {}
                }
            }
            if idle {
                return;
            }
        }
    }

    /// Claims and runs one try.
    pub(crate) async fn run_one(&self, task: TaskRef) {
        self.engine.work(&task, &self.succeeds(), None, || None).await.unwrap();
    }

    /// Runs what is queued until nothing is, in place or not.
    pub(crate) async fn work(&self, in_place: bool) {
        loop {
            let received = self.engine.queue.receive(Lane::Tasks, 1, Duration::ZERO).await.unwrap();
            let Some(Message::Task { incarnation, task, try_number, place, .. }) =
                received.into_iter().find_map(|d| d.message)
            else {
                return;
            };
            let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
            let may_continue = || in_place.then(Continuation::default);
            self.engine.work(&task, &self.succeeds(), None, may_continue).await.unwrap();
        }
    }
}

/// A DAG of so many tasks, one after the other.
pub(crate) fn chain(dag_id: &str, tasks: usize) -> String {
    let task = |n: usize| {
        let after = n.checked_sub(1).map(|before| format!(", dependencies: [t{before}]")).unwrap_or_default();
        format!("    t{n}: {{operator: BashOperator, bash_command: 'true'{after}}}\n")
    };
    format!("{dag_id}:\n  schedule: null\n  tasks:\n{}", (0..tasks).map(task).collect::<Vec<_>>().concat())
}
