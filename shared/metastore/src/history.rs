//! Taking away what has ended: a run's document first and under conditions, its index entries last, so that whoever dies in between
//! leaves something by which the rest is found.

use crate::codec::{self, from_json_item};
use crate::item::{Condition, Key, Path, Value};
use crate::store::{Metastore, Page, PageToken};
use crate::{Error, Items, Outcome, Range, keys};
use jiff::Timestamp;
use updraft_model::{AttemptKey, DagId, Incarnation, RunChange, RunDate, RunDoc, RunName};

impl<I: Items> Metastore<I> {
    /// The names in a DAG's order of runs, latest `run_after` first, whether their documents are there or not.
    pub async fn list_run_names(
        &self,
        dag_id: &DagId,
        limit: usize,
        page: Option<PageToken>,
    ) -> Result<Page<RunName>, Error> {
        let prefix = keys::RUNS_BY_TIME.to_owned();
        let range = Range { pk: keys::dag(dag_id).pk, prefix, after: page, descending: true, limit };
        let found = self.items().query(&range).await?;
        let next = (found.len() == limit).then(|| found.last().map(|(sk, _)| sk.clone())).flatten();
        let items = found.iter().map(|(_, item)| from_json_item(item)).collect::<Result<_, _>>()?;
        Ok(Page::of(items, next))
    }

    /// Removes a run's document if nothing was written to it since it was read. False: something was.
    pub async fn delete_run(&self, run: &RunDoc) -> Result<bool, Error> {
        let change = RunChange { if_state: Some(run.state), if_revision: Some(run.revision), ..RunChange::default() };
        let update = codec::run_update(&run.facts.incarnation, &change);
        Ok(matches!(self.items().delete(&update.key, &update.conditions).await?, Outcome::Updated(())))
    }

    /// Removes what lies beside a run's document: attempts, notes, pages, and who holds slots of the run's own.
    pub async fn delete_beside_run(&self, incarnation: &Incarnation) -> Result<(), Error> {
        self.delete_attempts(incarnation).await?;
        self.delete_pages(incarnation).await?;
        self.delete_holder_of_run(incarnation).await
    }

    /// Removes an attempt's item.
    pub async fn delete_attempt(&self, attempt: &AttemptKey) -> Result<(), Error> {
        self.items().delete(&keys::attempt(attempt), &[]).await.map(|_| ())
    }

    /// Removes the index entries of a run, the one by which it is found again last. Entries that are another's by now stay.
    pub async fn delete_run_entries(
        &self,
        dag_id: &DagId,
        name: &RunName,
        logical_date: Option<Timestamp>,
    ) -> Result<(), Error> {
        if let Some(logical_date) = logical_date {
            self.delete_run_date(dag_id, logical_date, name).await?;
            let key = keys::run_in_sequence(dag_id, logical_date, &name.run_id);
            let found = self.items().get(&key).await?.map(|item| from_json_item::<RunDate>(&item)).transpose()?;
            if let Some(date) = found.filter(|date| date.incarnation == name.incarnation) {
                let still = Condition::Equals(Path::Top(codec::JSON), Value::S(codec::to_json(&date)));
                self.items().delete(&key, &[still]).await?;
            }
        }
        self.delete_named(&keys::run_name(dag_id, &name.run_id), name).await?;
        self.delete_named(&keys::run_order(dag_id, name.run_after, &name.run_id), name).await
    }

    async fn delete_named(&self, key: &Key, name: &RunName) -> Result<(), Error> {
        let still = Condition::Equals(Path::Top(codec::JSON), Value::S(codec::to_json(name)));
        self.items().delete(key, &[still]).await.map(|_| ())
    }
}
