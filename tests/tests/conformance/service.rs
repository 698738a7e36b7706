//! The use cases on stores of their own in memory, for cases that were recorded through Airflow's API.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use updraft_clock::Clock;
use updraft_metastore::{DagSummary, Outcome, Version, memory::Memory};
use updraft_model::{Dag, DagDoc, DagId, RunDoc, RunName};
use updraft_service::{Engine, Error, Settings};
use updraft_task_queue::LocalQueue;

/// A clock that goes on a second with each look at it.
#[derive(Debug)]
pub(crate) struct Ticking(AtomicU64);

/// When it begins.
pub(crate) const NOW: Timestamp = Timestamp::constant(1_770_000_000, 0);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        NOW + SignedDuration::from_secs(self.0.fetch_add(1, Ordering::Relaxed) as i64)
    }

    fn draw(&self, length: usize) -> String {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        let text = format!("{number:0>length$}");
        text[text.len() - length..].to_owned()
    }

    async fn sleep(&self, _: Duration) {}
}

pub(crate) type TestEngine = Engine<Memory, LocalQueue, Ticking>;

/// An engine whose store has these DAGs.
pub(crate) async fn engine(dags: Vec<Dag>) -> TestEngine {
    let clock = Ticking(AtomicU64::new(0));
    let engine = Engine::new(Memory::default(), LocalQueue::default(), clock, Settings::default());
    for dag in dags {
        let mut document = DagDoc::new(dag.dag_id.clone(), dag.file.clone(), false);
        document.max_active_runs = dag.max_active_runs_effective();
        let summary = DagSummary {
            dag_id: dag.dag_id.clone(),
            file: dag.file.clone(),
            owners: dag.owners.clone(),
            tags: dag.tags.clone(),
            timetable: dag.schedule_summary(),
            description: None,
            is_stale: false,
            last_parsed: NOW,
        };
        engine.store.put_dag_summary(&summary).await.expect("memory answers");
        let version = Version { dag, files: std::collections::BTreeMap::new() };
        document.version = Some(engine.store.put_version(&version).await.expect("memory answers"));
        engine.store.put_dag(&document).await.expect("memory answers");
    }
    engine
}

/// Puts a run with its names.
pub(crate) async fn put_run(engine: &TestEngine, run: &RunDoc) {
    let facts = &run.facts;
    let name =
        RunName { run_id: facts.run_id.clone(), incarnation: facts.incarnation.clone(), run_after: facts.run_after };
    let put = engine.store.put_run(run).await.expect("memory answers");
    assert!(matches!(put, Outcome::Updated(_)), "two runs of one identity");
    engine.store.put_run_name(&facts.dag_id, &name).await.expect("memory answers");
    engine.store.put_run_order(&facts.dag_id, &name).await.expect("memory answers");
}

/// The status by which a use case's answer travels.
pub(crate) fn status<T>(answer: &Result<T, Error>) -> u16 {
    match answer {
        Ok(_) => 200,
        Err(Error::NotFound { .. }) => 404,
        Err(Error::Refused(_)) => 400,
        Err(Error::Conflict(_) | Error::Contention(_)) => 409,
        Err(Error::Invalid(_)) => 422,
        Err(_) => 503,
    }
}

/// The current version of a DAG.
pub(crate) async fn version_of(engine: &TestEngine, dag_id: &DagId) -> updraft_model::VersionId {
    let dag = engine.store.dag(dag_id).await.expect("memory answers");
    dag.and_then(|dag| dag.version).expect("the DAG is there")
}
