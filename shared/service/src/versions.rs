//! Versions of DAGs: their numbers, and runs that go over to the latest one.

use crate::engine::{Engine, Error, Version};
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{DagVersion, Items};
use updraft_model::rebase::rebase;
use updraft_model::{DagDoc, DagId, VersionId};
use updraft_task_queue::TaskQueue;

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// The versions that a DAG has had, the latest first.
    ///
    /// # Errors
    /// [`Error::NotFound`] where there is no such DAG.
    pub async fn dag_versions(&self, dag_id: &DagId) -> Result<Vec<DagVersion>, Error> {
        let mut all: Vec<DagVersion> = Vec::new();
        let mut page = None;
        loop {
            let found = self.store.list_dag_versions(dag_id, 200, page).await?;
            all.extend(found.items);
            page = found.next;
            if page.is_none() {
                break;
            }
        }
        if !all.is_empty() {
            return Ok(all);
        }
        // Read before versions were counted: the one it has is the first.
        let Some(dag) = self.store.dag(dag_id).await? else { return Err(self.no_such_dag(dag_id).await) };
        Ok(self.uncounted(&dag).await?.into_iter().collect())
    }

    async fn uncounted(&self, dag: &DagDoc) -> Result<Option<DagVersion>, Error> {
        let Some(version) = &dag.version else { return Ok(None) };
        let read = self.store.dag_summary(&dag.dag_id).await?.map(|summary| summary.last_parsed);
        let created_at = read.unwrap_or_else(|| self.clock.now());
        Ok(Some(DagVersion { version_number: 1, version: version.clone(), created_at, file: dag.file.clone() }))
    }

    /// A version of a DAG by its number.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn dag_version(&self, dag_id: &DagId, number: u32) -> Result<DagVersion, Error> {
        let found = self.dag_versions(dag_id).await?.into_iter().find(|version| version.version_number == number);
        found.ok_or_else(|| Error::NotFound {
            what: "the DAG version",
            name: format!("{dag_id} {number}"),
            near: Vec::new(),
        })
    }

    /// The text of the file that a version was read from; none where it was not kept.
    ///
    /// # Errors
    /// [`Error::NotFound`] where the DAG has no such version.
    pub async fn dag_source(&self, dag_id: &DagId, number: u32) -> Result<Option<Vec<u8>>, Error> {
        self.dag_version(dag_id, number).await?;
        Ok(self.store.dag_version_source(dag_id, number).await?)
    }

    /// The number of the version that a run has, or that its version stands for; none where it is not counted.
    pub async fn version_number(&self, dag_id: &DagId, version: &VersionId) -> Result<Option<u32>, Error> {
        let stands_for = self.version(version).await?.plan.dag.stands_for.clone();
        let wanted = stands_for.as_ref().unwrap_or(version);
        let all = self.dag_versions(dag_id).await?;
        Ok(all.into_iter().find(|entry| entry.version == *wanted).map(|entry| entry.version_number))
    }

    /// The number that a version gets when it becomes its DAG's current one, and whether it is a new one.
    pub(crate) async fn number_of(&self, dag: &DagDoc, version: &VersionId) -> Result<(u32, bool), Error> {
        if dag.version.as_ref() == Some(version) {
            return Ok((dag.version_number.max(1), dag.version_number == 0));
        }
        if dag.version_number == 0 {
            let Some(first) = self.uncounted(dag).await? else { return Ok((1, true)) };
            self.store.put_dag_version(&dag.dag_id, &first).await?;
            return Ok((2, true));
        }
        // A file that was gone and is back as it was.
        let last = self.store.dag_version(&dag.dag_id, dag.version_number).await?;
        if dag.version.is_none() && last.is_some_and(|last| last.version == *version) {
            return Ok((dag.version_number, false));
        }
        Ok((dag.version_number + 1, true))
    }

    /// Whether runs that are cleared go over to the latest version: as somebody asks, or as the DAG says.
    pub(crate) async fn reruns_with_latest(&self, dag_id: &DagId, asked: Option<bool>) -> Result<bool, Error> {
        if let Some(asked) = asked {
            return Ok(asked);
        }
        let Some(version) = self.store.dag(dag_id).await?.and_then(|dag| dag.version) else { return Ok(false) };
        Ok(self.version(&version).await?.plan.dag.rerun_with_latest_version.unwrap_or(false))
    }

    /// The latest version of a DAG, where it is `wanted`.
    ///
    /// # Errors
    /// [`Error::Refused`] where the DAG's file is gone.
    pub(crate) async fn latest_for(&self, dag_id: &DagId, wanted: bool) -> Result<Option<Arc<Version>>, Error> {
        if !wanted {
            return Ok(None);
        }
        let Some(dag) = self.store.dag(dag_id).await? else { return Err(self.no_such_dag(dag_id).await) };
        match &dag.version {
            Some(version) => Ok(Some(self.version(version).await?)),
            None => Err(Error::Refused(format!(
                "the DAG `{dag_id}` has no latest version to run on: its file `{}` is gone or no longer declares it; upload it again, or \
                 run on the version that the run has",
                dag.file
            ))),
        }
    }

    /// The latest version as a run of another one takes it up.
    pub(crate) async fn rebased(&self, from: &Arc<Version>, latest: &Arc<Version>) -> Result<Arc<Version>, Error> {
        if from.id == latest.id || from.plan.dag.stands_for.as_ref() == Some(&latest.id) {
            return Ok(from.clone());
        }
        let dag = rebase(&from.plan.dag, &latest.plan.dag, &latest.id);
        if dag == latest.plan.dag {
            return Ok(latest.clone());
        }
        let version = updraft_metastore::Version { dag, files: latest.files.clone() };
        let id = self.store.put_version(&version).await?;
        self.version(&id).await
    }
}
