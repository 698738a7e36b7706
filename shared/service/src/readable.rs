//! Lists, and looks at many things of which each stands for itself: what cannot be read is left out and told of, and hides nothing else.

use crate::engine::{Engine, Error};
use updraft_clock::Clock;
use updraft_metastore::store::PageToken;
use updraft_metastore::{Items, Page, Readable, Unreadable};
use updraft_model::{Attempt, AttemptKey, DagDoc, DagId, Incarnation, RunDoc};
use updraft_task_queue::TaskQueue;

/// Says what a list leaves out.
pub(crate) fn tell(unreadable: &[Unreadable]) {
    for item in unreadable {
        tracing::error!("left out: {item}");
    }
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// A DAG's runs, latest `run_after` first. Those that cannot be read are told of, and named in the page.
    pub async fn list_runs(
        &self,
        dag_id: &DagId,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<RunDoc>, Error> {
        let found = self.store.list_runs(dag_id, limit, page).await?;
        tell(&found.unreadable);
        Ok(found)
    }

    /// Many runs, tombstones too, in no order. Those that cannot be read are told of.
    pub async fn readable_runs(&self, incarnations: &[Incarnation]) -> Result<Readable<RunDoc>, Error> {
        let found = self.store.readable_runs(incarnations).await?;
        tell(&found.unreadable);
        Ok(found)
    }

    /// All attempts of a run. Those that cannot be read are told of.
    pub async fn readable_attempts(&self, incarnation: &Incarnation) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        let found = self.store.readable_attempts_of(incarnation, None).await?;
        tell(&found.unreadable);
        Ok(found.items)
    }

    /// The documents of many DAGs, in no order. Those that cannot be read are told of.
    pub async fn readable_dags(&self, dag_ids: &[DagId]) -> Result<Vec<DagDoc>, Error> {
        let found = self.store.readable_dags(dag_ids).await?;
        tell(&found.unreadable);
        Ok(found.items)
    }
}
