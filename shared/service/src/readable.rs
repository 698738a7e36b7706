//! Lists, and looks at many things of which each stands for itself: what cannot be read is left out and told of, and hides nothing else.

use crate::engine::{Engine, Error};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use updraft_clock::Clock;
use updraft_metastore::store::PageToken;
use updraft_metastore::{Items, Page, Readable, Unreadable};
use updraft_model::{Attempt, AttemptKey, DagDoc, DagId, Incarnation, Plan, RunDoc};
use updraft_scheduling::deadlines;
use updraft_task_queue::TaskQueue;

/// Says what a list leaves out.
pub(crate) fn tell(unreadable: &[Unreadable]) {
    for item in unreadable {
        tracing::error!("left out: {item}");
    }
}

/// What came of one of many things that stand for themselves: none where it cannot be read, which is told of and costs the others nothing.
pub(crate) fn aside<T>(came: Result<T, Error>) -> Result<Option<T>, Error> {
    match came {
        Ok(came) => Ok(Some(came)),
        Err(Error::Metastore(updraft_metastore::Error::Corrupt(why))) => {
            tracing::error!("left out: {why}");
            Ok(None)
        }
        Err(error) => Err(error),
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

    /// How long runs of a DAG took on average, by the number of the deadline that counts from that. Looks no further back than through so many
    /// pages of its latest runs, and reads none where no deadline asks for it.
    pub(crate) async fn average_runtimes(&self, plan: &Plan) -> Result<BTreeMap<usize, SignedDuration>, Error> {
        const PAGES_MAX: usize = 4;
        let Some(most) = deadlines::runs_averaged(plan).map(|most| most as usize) else { return Ok(BTreeMap::new()) };
        let (mut took, mut page) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let found = Box::pin(self.list_runs(&plan.dag.dag_id, most, page)).await?;
            let ended = found.items.iter().filter(|run| run.state.is_finished());
            took.extend(ended.filter_map(|run| Some(run.end_date?.duration_since(run.start_date?))));
            page = found.next;
            if took.len() >= most || page.is_none() {
                break;
            }
        }
        Ok(deadlines::averages(plan, &took))
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

    /// What attempts left behind that are to be settled. One whose item cannot be read counts as one that left nothing: its task is tried again
    /// by its rules, where else its run would stand still until somebody mends the item.
    pub(crate) async fn left_behind(&self, wanted: &[AttemptKey]) -> Result<Vec<(AttemptKey, Attempt)>, Error> {
        let found = self.store.readable_attempts(wanted).await?;
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
