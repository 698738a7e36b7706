//! Changes to run and DAG documents: one conditional update each.
//!
//! A change names the fields its decision used (conditions) and the fields it writes. It never conditions on a whole document,
//! so fifty workers claiming at once are all accepted. [`RunChange::apply`] and [`DagChange::apply`] say in plain Rust what the
//! metastore does, so that a caller can look at the image its own write would make before it writes.

use crate::asset::Queued;
use crate::cell::Cell;
use crate::choice::Chosen;
use crate::dag_doc::{ActiveRun, DagDoc};
use crate::ids::{BackfillId, Incarnation, OperationId, TaskIndex, Token, TopicId, VersionId};
use crate::mapped::{MappedEntry, MappedKey};
use crate::run::{Intent, OutboxEntry, Resumed, RunDoc, RunFacts};
use crate::states::DagRunState;
use jiff::Timestamp;
use std::collections::BTreeMap;
use updraft_timetables::DataInterval;

/// The attempt a condition asks for: running (or restarting) with this token, whatever its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The task.
    pub task: TaskIndex,
    /// The try.
    pub try_number: u32,
    /// The fencing token.
    pub token: Token,
}

/// One conditional update of a run document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunChange {
    /// Condition: the epoch the decision was made in.
    pub if_epoch: Option<u32>,
    /// Condition: the run's state.
    pub if_state: Option<DagRunState>,
    /// Condition: these exact cells ([`Cell::None`]: absent).
    pub if_cells: Vec<(TaskIndex, Cell)>,
    /// Condition: this attempt holds its cell, running.
    pub if_running: Option<Held>,
    /// Condition: this attempt holds its cell, restarting.
    pub if_restarting: Option<Held>,
    /// Condition: nothing was written since. Only for changes that put the wake-up later.
    pub if_revision: Option<u64>,
    /// Condition: in the time index no later than this.
    pub if_wake_at_most: Option<Timestamp>,
    /// Condition: in the time index exactly here (`Some(None)`: out of it). For changes that put the wake-up earlier than the image has
    /// it: somebody may have put it earlier still.
    pub if_wake_at: Option<Option<Timestamp>>,
    /// Condition: nobody else has taken places under `max_active_tasks` since.
    pub if_takes: Option<u64>,
    /// Condition: its DAG was paused, or not, as far as the run knows.
    pub if_paused: Option<bool>,
    /// Condition: the intervention under way stands exactly here (`Some(None)`: there is none).
    pub if_intent_at: Option<Option<TaskIndex>>,
    /// Condition: these exact entries of mapped tasks (none: absent).
    pub if_mapped: Vec<(MappedKey, Option<MappedEntry>)>,
    /// Cells to write; [`Cell::None`] removes.
    pub cells: Vec<(TaskIndex, Cell)>,
    /// Entries of mapped tasks to write; none removes.
    pub mapped: Vec<(MappedKey, Option<MappedEntry>)>,
    /// Tries a task may use, less one; written by clears.
    pub max_tries: Vec<(TaskIndex, u32)>,
    /// Tries that go on with another attempt.
    pub resumes: Vec<(TaskIndex, Resumed)>,
    /// Choices that were made; none takes an older one back.
    pub choices: Vec<(TaskIndex, Option<Chosen>)>,
    /// Places under `max_active_tasks` were taken.
    pub takes: Option<u64>,
    /// Tasks whose runs of earlier dates let them go.
    pub past_met: Vec<TaskIndex>,
    /// Tasks of which that is no longer known.
    pub past_unmet: Vec<TaskIndex>,
    /// Whether it holds for all tasks.
    pub past_met_by_all: Option<bool>,
    /// When the run is taken for failed; `Some(None)`: never.
    pub timeout_at: Option<Option<Timestamp>>,
    /// When the next deadline is missed; `Some(None)`: none is left.
    pub deadline_at: Option<Option<Timestamp>>,
    /// From when on deadlines count that count from when the run is queued.
    pub requeued_at: Option<Timestamp>,
    /// Whether the DAG is paused.
    pub paused: Option<bool>,
    /// An intervention that more writes are to make; `Some(None)`: it is made.
    pub intent: Option<Option<Intent>>,
    /// Where the intervention goes on.
    pub intent_at: Option<TaskIndex>,
    /// The run is deleted: all it held goes, but for its facts.
    pub deleted_at: Option<Timestamp>,
    /// The run's new state.
    pub state: Option<DagRunState>,
    /// A new epoch, with the interventions up to the one that made it ([`RunDoc::operations`]).
    pub epoch: Option<(u32, Vec<OperationId>)>,
    /// How often the run was cleared.
    pub clear_number: Option<u32>,
    /// Other facts, the version among them: a backfill makes a run its own.
    pub facts: Option<Box<RunFacts>>,
    /// Another version of its DAG, one whose tasks lie where those of the version before did.
    pub version: Option<VersionId>,
    /// The epoch at which the run took its place among the active ones.
    pub active_epoch: Option<u32>,
    /// When the run began to run.
    pub start_date: Option<Timestamp>,
    /// When the run ended; `Some(None)` takes it back.
    pub end_date: Option<Option<Timestamp>>,
    /// The new place in the time index; `Some(None)` leaves it.
    pub wake_at: Option<Option<Timestamp>>,
    /// Idle looks in a row.
    pub looks: Option<u32>,
    /// Effects to note.
    pub outbox_put: Vec<(String, OutboxEntry)>,
    /// Effects whose delivery is acknowledged.
    pub outbox_remove: Vec<String>,
}

impl RunChange {
    /// Whether the conditions hold for this image.
    pub fn holds(&self, run: &RunDoc) -> bool {
        let held = |h: &Held, prefix: String| run.cell(h.task).encode().starts_with(&prefix);
        self.if_epoch.is_none_or(|e| e == run.epoch)
            && self.if_state.is_none_or(|s| s == run.state)
            && self.if_cells.iter().all(|(t, c)| run.cell(*t) == c)
            && self.if_running.as_ref().is_none_or(|h| held(h, Cell::running_prefix(h.try_number, &h.token)))
            && self.if_restarting.as_ref().is_none_or(|h| held(h, Cell::restarting_prefix(h.try_number, &h.token)))
            && self.if_revision.is_none_or(|r| r == run.revision)
            && self.if_wake_at_most.is_none_or(|most| run.wake_at.is_some_and(|w| w <= most))
            && self.if_wake_at.is_none_or(|at| at == run.wake_at)
            && self.if_takes.is_none_or(|t| t == run.takes)
            && self.if_paused.is_none_or(|p| p == run.paused)
            && self.if_mapped.iter().all(|(key, entry)| run.mapped.0.get(key) == entry.as_ref())
            && self.if_intent_at.is_none_or(|at| at == run.intent.is_some().then_some(run.intent_at))
    }

    /// The image after this change, conditions unchecked.
    pub fn apply(&self, run: &RunDoc) -> RunDoc {
        if let Some(at) = self.deleted_at {
            return self.tombstone(run, at);
        }
        let mut run = run.clone();
        for (task, cell) in &self.cells {
            match cell {
                Cell::None => run.cells.remove(task),
                _ => run.cells.insert(*task, cell.clone()),
            };
        }
        for (key, entry) in &self.mapped {
            match entry {
                None => run.mapped.0.remove(key),
                Some(entry) => run.mapped.0.insert(*key, entry.clone()),
            };
        }
        run.max_tries.extend(self.max_tries.iter().copied());
        run.resumes.extend(self.resumes.iter().cloned());
        for (task, chosen) in &self.choices {
            match chosen {
                None => run.choices.remove(task),
                Some(chosen) => run.choices.insert(*task, chosen.clone()),
            };
        }
        run.takes = self.takes.unwrap_or(run.takes);
        run.past_met.extend(self.past_met.iter().copied());
        run.past_met.retain(|task| !self.past_unmet.contains(task));
        run.past_met_by_all = self.past_met_by_all.unwrap_or(run.past_met_by_all);
        run.timeout_at = self.timeout_at.unwrap_or(run.timeout_at);
        run.deadline_at = self.deadline_at.unwrap_or(run.deadline_at);
        run.requeued_at = self.requeued_at.or(run.requeued_at);
        run.paused = self.paused.unwrap_or(run.paused);
        if let Some(intent) = &self.intent {
            run.intent = intent.clone().map(Box::new);
        }
        run.intent_at = self.intent_at.unwrap_or(run.intent_at);
        if run.intent.is_none() {
            run.intent_at = TaskIndex(0);
        }
        run.state = self.state.unwrap_or(run.state);
        if let Some((epoch, operations)) = &self.epoch {
            run.epoch = *epoch;
            run.operations.clone_from(operations);
        }
        run.clear_number = self.clear_number.unwrap_or(run.clear_number);
        if let Some(facts) = &self.facts {
            run.facts.clone_from(facts);
        }
        if let Some(version) = &self.version {
            run.facts.version.clone_from(version);
        }
        run.active_epoch = self.active_epoch.unwrap_or(run.active_epoch);
        run.start_date = self.start_date.or(run.start_date);
        run.end_date = self.end_date.unwrap_or(run.end_date);
        run.wake_at = self.wake_at.unwrap_or(run.wake_at);
        run.looks = self.looks.unwrap_or(run.looks);
        run.outbox.extend(self.outbox_put.iter().cloned());
        run.outbox.retain(|id, _| !self.outbox_remove.contains(id));
        run.revision += 1;
        run
    }
}

impl RunChange {
    /// What is left of a deleted run: nothing that a process may still know of it holds any more.
    fn tombstone(&self, run: &RunDoc, at: Timestamp) -> RunDoc {
        let mut left = RunDoc::new(run.facts.clone(), self.state.unwrap_or(run.state), at);
        (left.epoch, left.operations) = self.epoch.clone().unwrap_or((run.epoch, run.operations.clone()));
        left.deleted_at = Some(at);
        left.wake_at = self.wake_at.unwrap_or(run.wake_at);
        left.revision = run.revision + 1;
        left
    }
}

/// One conditional update of a DAG document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DagChange {
    /// Condition: the current version.
    pub if_version: Option<Option<VersionId>>,
    /// Condition: the backfill that goes on (`Some(None)`: none does).
    pub if_backfill: Option<Option<BackfillId>>,
    /// Condition: paused or not.
    pub if_paused: Option<bool>,
    /// Condition: the last interval the timetable was asked with.
    pub if_last: Option<Option<DataInterval>>,
    /// Condition: fewer active runs than this.
    pub if_active_fewer_than: Option<u32>,
    /// Condition: backfills, and whoever else makes runs of dates of the schedule, have come exactly so far.
    pub if_backfilled_to: Option<Option<Timestamp>>,
    /// Condition: the run is active, at this epoch.
    pub if_active: Option<(Incarnation, u32)>,
    /// Condition: the run is not active.
    pub if_not_active: Option<Incarnation>,
    /// Condition: it knows exactly this of these topics.
    pub if_queue: Vec<(TopicId, Queued)>,
    /// Condition: in the time index exactly here (`Some(None)`: out of it). For changes that put the wake-up earlier than the image has
    /// it: somebody may have put it earlier still.
    pub if_wake_at: Option<Option<Timestamp>>,
    /// Condition: nothing was written since. Only for changes that put the wake-up later, and those of the whole queue.
    pub if_revision: Option<u64>,
    /// The version new runs get.
    pub version: Option<Option<VersionId>>,
    /// Its number.
    pub version_number: Option<u32>,
    /// The backfill that goes on; `Some(None)`: none does any more.
    pub backfill: Option<Option<BackfillId>>,
    /// How far backfills have come, and whoever else makes runs of dates of the schedule.
    pub backfilled_to: Option<Timestamp>,
    /// The file.
    pub file: Option<String>,
    /// Paused or not.
    pub paused: Option<bool>,
    /// The last interval the timetable made a run for.
    pub last: Option<DataInterval>,
    /// When the next run is due.
    pub next_due: Option<Option<Timestamp>>,
    /// How many runs may be active at once.
    pub max_active_runs: Option<u32>,
    /// Runs that become active.
    pub active_put: Vec<(Incarnation, ActiveRun)>,
    /// Runs that leave.
    pub active_remove: Vec<Incarnation>,
    /// Runs that wait for a place.
    pub held_put: Vec<(Incarnation, Timestamp)>,
    /// Runs that wait no more.
    pub held_remove: Vec<Incarnation>,
    /// What it knows of these topics, of which it knows something already.
    pub queue_put: Vec<(TopicId, Queued)>,
    /// The topics of its schedule, each with what it knows, instead of all before.
    pub queue_all: Option<BTreeMap<TopicId, Queued>>,
    /// The new place in the time index; `Some(None)` leaves it.
    pub wake_at: Option<Option<Timestamp>>,
}

impl DagChange {
    /// Whether the conditions hold for this image.
    pub fn holds(&self, dag: &DagDoc) -> bool {
        self.if_version.as_ref().is_none_or(|v| *v == dag.version)
            && self.if_backfill.as_ref().is_none_or(|b| *b == dag.backfill)
            && self.if_paused.is_none_or(|p| p == dag.paused)
            && self.if_backfilled_to.is_none_or(|to| to == dag.backfilled_to)
            && self.if_last.as_ref().is_none_or(|l| *l == dag.last)
            && self.if_active_fewer_than.is_none_or(|n| dag.active.len() < n as usize)
            && self.if_active.as_ref().is_none_or(|(run, epoch)| dag.active.get(run).is_some_and(|a| a.epoch == *epoch))
            && self.if_not_active.as_ref().is_none_or(|run| !dag.active.contains_key(run))
            && self.if_queue.iter().all(|(topic, queued)| dag.queue.get(topic) == Some(queued))
            && self.if_wake_at.is_none_or(|at| at == dag.wake_at)
            && self.if_revision.is_none_or(|r| r == dag.revision)
    }

    /// The image after this change, conditions unchecked.
    pub fn apply(&self, dag: &DagDoc) -> DagDoc {
        let mut dag = dag.clone();
        if let Some(version) = &self.version {
            dag.version.clone_from(version);
        }
        dag.version_number = self.version_number.unwrap_or(dag.version_number);
        if let Some(backfill) = &self.backfill {
            dag.backfill.clone_from(backfill);
        }
        dag.backfilled_to = self.backfilled_to.or(dag.backfilled_to);
        if let Some(file) = &self.file {
            dag.file.clone_from(file);
        }
        dag.paused = self.paused.unwrap_or(dag.paused);
        dag.last = self.last.or(dag.last);
        dag.next_due = self.next_due.unwrap_or(dag.next_due);
        dag.max_active_runs = self.max_active_runs.unwrap_or(dag.max_active_runs);
        dag.active.extend(self.active_put.iter().cloned());
        dag.active.retain(|run, _| !self.active_remove.contains(run));
        dag.held.extend(self.held_put.iter().cloned());
        dag.held.retain(|run, _| !self.held_remove.contains(run));
        match &self.queue_all {
            Some(queue) => dag.queue.clone_from(queue),
            None => dag.queue.extend(self.queue_put.iter().cloned()),
        }
        dag.wake_at = self.wake_at.unwrap_or(dag.wake_at);
        dag.revision += 1;
        dag
    }
}
