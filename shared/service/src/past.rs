//! Runs that depend on runs of earlier dates: finding the run before without scans, noting what it lets go, and telling the run after.

use crate::engine::{Engine, Error, ROUNDS_MAX, Version};
use std::sync::Arc;
use updraft_clock::Clock;
use updraft_metastore::{Items, Outcome};
use updraft_model::{DagRunState, RunDate, RunDoc, RunFacts, TaskIndex};
use updraft_scheduling::decide::waits_for_past;
use updraft_scheduling::past::{self, Before};
use updraft_scheduling::step;
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// How many runs one query for the run before looks at; only runs made by hand are passed over.
const PAGE: usize = 8;

/// A run and how it stands to those before it.
#[derive(Debug)]
pub(crate) struct Met {
    pub(crate) run: RunDoc,
    /// Whether it waits for a run that goes on.
    pub(crate) waits: bool,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Enters a run into its DAG's order of logical dates, where its tasks depend on earlier runs. Before its document is put or started,
    /// so that a later run cannot miss it.
    pub(crate) async fn date_run(&self, version: &Version, facts: &RunFacts) -> Result<(), Error> {
        let Some(logical_date) = facts.logical_date.filter(|_| version.plan.has_past()) else { return Ok(()) };
        let date = RunDate {
            incarnation: facts.incarnation.clone(),
            run_id: facts.run_id.clone(),
            run_type: facts.run_type,
            logical_date,
        };
        Ok(self.store.put_run_in_sequence(&facts.dag_id, &date).await?)
    }

    /// The run before a run, with its version; none where there is none, or where the run has no logical date.
    pub(crate) async fn run_before(
        &self,
        version: &Version,
        facts: &RunFacts,
    ) -> Result<Option<(RunDoc, Arc<Version>)>, Error> {
        let Some(mut date) = facts.logical_date else { return Ok(None) };
        let to_be_put = self.run_to_be_put_before(version, facts).await?;
        let is_later = |entry: &RunDate| {
            to_be_put.as_ref().is_some_and(|run| run.facts.logical_date.is_some_and(|date| date > entry.logical_date))
        };
        loop {
            let found = self.store.runs_around(&facts.dag_id, date, false, PAGE).await?;
            for entry in found.iter().filter(|entry| past::counts(&version.plan, entry)) {
                if is_later(entry) {
                    break;
                }
                if let Some(run) = self.store.run(&entry.incarnation).await? {
                    let version = self.version(&run.facts.version).await?;
                    return Ok(Some((run, version)));
                }
            }
            match found.last() {
                Some(last) if found.len() == PAGE && !is_later(last) => date = last.logical_date,
                _ => break,
            }
        }
        match to_be_put {
            Some(run) => {
                let version = self.version(&run.facts.version).await?;
                Ok(Some((run, version)))
            }
            None => Ok(None),
        }
    }

    /// The latest run before a run that its DAG's document has among the active ones and that nobody has put yet: its creator died or is
    /// slow, and whoever looks at the DAG puts it. Read before the order of runs is, since it leaves here only once it is there.
    async fn run_to_be_put_before(&self, version: &Version, facts: &RunFacts) -> Result<Option<RunDoc>, Error> {
        let Some(dag) = self.store.dag(&facts.dag_id).await? else { return Ok(None) };
        let date_of = |other: &RunFacts| RunDate {
            incarnation: other.incarnation.clone(),
            run_id: other.run_id.clone(),
            run_type: other.run_type,
            logical_date: other.logical_date.unwrap_or(other.run_after),
        };
        let is_before = |other: &RunFacts| {
            other.logical_date.is_some_and(|date| facts.logical_date.is_some_and(|own| date < own))
                && past::counts(&version.plan, &date_of(other))
        };
        let before = dag.active.into_values().filter_map(|active| active.facts).filter(is_before);
        let Some(before) = before.max_by_key(|other| other.logical_date) else { return Ok(None) };
        let put = self.store.run(&before.incarnation).await?;
        Ok(Some(put.unwrap_or_else(|| RunDoc::new(before, DagRunState::Queued, self.clock.now()))))
    }

    /// Notes what the run before lets go, and decides what follows. None: the run is gone.
    pub(crate) async fn meet_past(&self, version: &Version, mut run: RunDoc) -> Result<Option<Met>, Error> {
        for _ in 0..ROUNDS_MAX {
            let waiting = waits_for_past(&version.plan, &run, self.clock.now());
            if waiting.is_empty() {
                return Ok(Some(Met { run, waits: false }));
            }
            let before = self.run_before(version, &run.facts).await?;
            let (met, all) = match &before {
                None => (waiting, true),
                Some((run, of)) => (past::met(&version.plan, Before { run, plan: &of.plan }, &waiting), false),
            };
            if met.is_empty() {
                // A run that has ended changes no more, unless somebody intervenes: then it tells. One that is stuck behind such a run
                // has this one look again before it goes on.
                let waits = before.is_some_and(|(run, of)| !run.state.is_finished() && !past::is_stuck(&of.plan, &run));
                return Ok(Some(Met { run, waits }));
            }
            if past::is_stuck(&version.plan, &run) {
                self.wake_run_after(version, &run).await?;
            }
            let step = step::past_met(&version.plan, &run, met, all, self.clock.now());
            match self.store.update_run(&run.facts.incarnation, &step.change).await? {
                Outcome::Updated(image) => {
                    self.after(version, &step, &image).await;
                    run = image;
                }
                // Taken to another version meanwhile: its next look asks by that one.
                Outcome::Refused(Some(image)) if image.facts.version != version.id => {
                    return Ok(Some(Met { run: image, waits: true }));
                }
                Outcome::Refused(Some(image)) => run = image,
                Outcome::Refused(None) => return Ok(None),
            }
        }
        Err(Error::Contention(run.facts.run_id))
    }

    /// Has the runs after a run that was stuck look again soon, before it goes on: by their documents, since a message may be lost.
    async fn wake_run_after(&self, version: &Version, run: &RunDoc) -> Result<(), Error> {
        let Some(logical_date) = run.facts.logical_date else { return Ok(()) };
        let found = self.store.runs_around(&run.facts.dag_id, logical_date, true, PAGE).await?;
        let first = found.iter().position(|entry| past::counts(&version.plan, entry));
        for entry in found.iter().take(first.map_or(PAGE, |first| first + 1)) {
            let mut after = self.store.run(&entry.incarnation).await?;
            // Refused: somebody has just written, perhaps the look that makes looks rare.
            for _ in 0..ROUNDS_MAX {
                let Some(run) = after.filter(|run| run.state == DagRunState::Running && run.looks > 0) else { break };
                let soon = step::rearm(&run, step::Waits::ForOthers, self.clock.now());
                match self.store.update_run(&entry.incarnation, &soon).await? {
                    Outcome::Updated(_) => break,
                    Outcome::Refused(image) => after = image,
                }
            }
        }
        Ok(())
    }

    /// Tells the runs after a run that tasks of it have come to an end that they may wait for. Only a hint: who waits also looks by itself.
    pub(crate) async fn tell_runs_after(&self, version: &Version, base: Option<&RunDoc>, run: &RunDoc) {
        let Some(logical_date) = run.facts.logical_date.filter(|_| version.plan.has_past()) else { return };
        let is_news = |task: TaskIndex| {
            run.cell(task).is_final()
                && base.is_none_or(|base| base.cell(task) != run.cell(task))
                && past::is_looked_back_at(&version.plan, task)
        };
        if !version.plan.tasks().any(is_news) {
            return;
        }
        // With catchup the runs made by hand in between look back at this run too.
        match self.store.runs_around(&run.facts.dag_id, logical_date, true, PAGE).await {
            Ok(found) => {
                let first = found.iter().position(|entry| past::counts(&version.plan, entry));
                let told = found.iter().take(first.map_or(PAGE, |first| first + 1));
                let message = |entry: &RunDate| Message::Run { incarnation: entry.incarnation.clone() };
                self.send(told.map(|entry| Outgoing::now(message(entry))).collect()).await;
            }
            Err(error) => tracing::warn!(%error, "the run after was not told; it looks by itself"),
        }
    }
}
