//! Deleting runs and DAGs. A deleted run leaves a tombstone under its identity for a day, so that nobody who still knows it, by a message, an
//! image or a write on its way, brings it back (ARCHITECTURE.md, rule C3).

use crate::engine::{Engine, Error, ROUNDS_MAX};
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::{DagChange, DagId, OperationId, RunDoc};
use updraft_scheduling::{attention, step};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Deletes a run with its attempts. Attempts that run are stopped at their next renewal, or when somebody
    /// looks at the run in their process. Deleting again what was deleted half is fine.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such run.
    pub async fn delete_run(&self, dag_id: &DagId, run_id: &str) -> Result<(), Error> {
        let Some(name) = self.store.run_name(dag_id, run_id).await? else {
            return self.run_named(dag_id, run_id).await.map(|_| ());
        };
        match self.store.run_or_tombstone(&name.incarnation).await? {
            Some(run) => self.bury_run(run).await,
            None => self.run_named(dag_id, run_id).await.map(|_| ()),
        }
    }

    /// Makes a run a tombstone, then takes it out of everything that names it.
    async fn bury_run(&self, mut run: RunDoc) -> Result<(), Error> {
        let operation = OperationId::trusted(self.clock.draw(8));
        let incarnation = run.facts.incarnation.clone();
        for _ in 0..ROUNDS_MAX {
            if run.deleted_at.is_some() {
                self.store.delete_run_names(&run.facts).await?;
                let change = DagChange {
                    active_remove: vec![incarnation.clone()],
                    held_remove: vec![incarnation.clone()],
                    ..DagChange::default()
                };
                if let Outcome::Updated(dag) = self.store.update_dag(&run.facts.dag_id, &change).await? {
                    self.send(Self::room_messages(&dag, self.clock.now())).await;
                }
                self.store.forget_values_of_run(&incarnation, None).await?;
                return Ok(self.store.delete_attempts(&incarnation).await?);
            }
            let change = step::delete(&run, &operation, self.clock.now());
            match self.store.update_run(&incarnation, &change).await? {
                Outcome::Updated(image) => {
                    let version = self.version(&run.facts.version).await?;
                    Box::pin(self.hold(&version, Some(&run), image.clone())).await?;
                    if run.cells.values().any(|cell| cell.holder().is_some()) {
                        self.send(vec![Outgoing::now(Message::Run { incarnation: incarnation.clone() })]).await;
                    }
                    run = image;
                }
                Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => match self.store.run_or_tombstone(&incarnation).await? {
                    Some(image) => run = image,
                    None => return Ok(()),
                },
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// Removes what is left of a deleted run, once nobody can know it any more.
    pub(crate) async fn forget_deleted(&self, tombstone: &RunDoc) -> Result<(), Error> {
        let kept_until = tombstone.deleted_at.and_then(|at| at.checked_add(attention::TOMBSTONE_KEPT).ok());
        if kept_until.is_some_and(|until| until <= self.clock.now()) {
            self.store.delete_run_names(&tombstone.facts).await?;
            self.store.forget_run(tombstone).await?;
        }
        Ok(())
    }

    /// Deletes a DAG with all its runs: how many those were. A DAG whose file still declares it comes back, without its history, when its
    /// file is read again.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such DAG.
    pub async fn delete_dag(&self, dag_id: &DagId) -> Result<usize, Error> {
        if self.store.dag(dag_id).await?.is_none() {
            return Err(self.no_such_dag(dag_id).await);
        }
        // No run is created or started from here on.
        self.set_paused(dag_id, true).await?;
        let mut deleted = 0;
        for _ in 0..ROUNDS_MAX {
            loop {
                let found = self.store.list_runs(dag_id, 100, None).await?;
                if found.items.is_empty() {
                    // What cannot be read cannot be buried: an attempt of it may live.
                    found.whole()?;
                    break;
                }
                let runs = found.items;
                deleted += runs.len();
                for run in runs {
                    self.bury_run(run).await?;
                }
            }
            // Puts what a dead creator has left to be put, to be deleted with the rest, and forgets the places of what is gone.
            self.look_at_dag(dag_id).await?;
            let Some(dag) = self.store.dag(dag_id).await? else { return Ok(deleted) };
            let is_empty = dag.active.is_empty() && dag.held.is_empty();
            if is_empty && self.store.delete_dag(&dag).await? {
                while let Some(last) = self.store.list_dag_versions(dag_id, 1, None).await?.items.first() {
                    self.store.delete_dag_version(dag_id, last.version_number).await?;
                }
                self.store.delete_file(&dag.file).await?;
                return Ok(deleted);
            }
        }
        Err(Error::Contention(dag_id.to_string()))
    }
}
