//! The run document: what is decided together lives together.

use crate::cell::{Cell, End};
use crate::choice::Chosen;
use crate::dag_parts::CallbackKind;
use crate::ids::{BackfillId, DagId, Incarnation, OperationId, TaskIndex, Token, TopicId, VersionId};
use crate::mapped::Mapped;
use crate::states::{DagRunState, DagRunType, TaskInstanceState, TriggeredBy};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use updraft_timetables::{DataInterval, Partition};

/// The run's own facts, fixed when it is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Its drawn identity.
    pub incarnation: Incarnation,
    /// Its DAG.
    pub dag_id: DagId,
    /// Its name, unique in the DAG.
    pub run_id: String,
    /// How it came to be.
    pub run_type: DagRunType,
    /// The instant it stands for; null for some manual runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logical_date: Option<Timestamp>,
    /// The data it covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval: Option<DataInterval>,
    /// The part of the data it makes, in a DAG whose timetable is partitioned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// Not started before this.
    pub run_after: Timestamp,
    /// When it was created.
    pub queued_at: Timestamp,
    /// The DAG version it runs.
    pub version: VersionId,
    /// What the person who triggered it gave.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub conf: Value,
    /// The asset events that made it: of each topic those after the first number, up to the second.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asset_events: BTreeMap<TopicId, (u64, u64)>,
    /// Who or what made it.
    #[serde(default, skip_serializing_if = "RunOrigin::is_empty")]
    pub origin: RunOrigin,
}

/// Who or what made a run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunOrigin {
    /// By which way it was asked for; none: the run's type says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggered_by: Option<TriggeredBy>,
    /// The name of the person who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub triggering_user_name: Option<String>,
    /// The backfill it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<BackfillId>,
    /// Whether it has to claim its logical date, since a backfill or somebody by hand may make a run of it: it is put only while the claim is
    /// its.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_claim: bool,
}

impl RunOrigin {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How many interventions a run remembers. One whose answer was lost finds itself among them, unless so many others came between.
pub const OPERATIONS_MAX: usize = 8;

/// A run document, as one read or one write returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunDoc {
    /// Fixed at creation, but for the version, which a clear may change on request.
    pub facts: RunFacts,
    /// Where the run stands.
    pub state: DagRunState,
    /// Counts the interventions in the run.
    pub epoch: u32,
    /// The last interventions, the latest first, at most [`OPERATIONS_MAX`] (ARCHITECTURE.md, rule F1).
    pub operations: Vec<OperationId>,
    /// How often the run was cleared.
    pub clear_number: u32,
    /// The epoch at which it took its place among the DAG's active runs; the end gives back that place (ARCHITECTURE.md, rule C1).
    pub active_epoch: u32,
    /// When it began to run.
    pub start_date: Option<Timestamp>,
    /// When it ended.
    pub end_date: Option<Timestamp>,
    /// Cells by task; absent is "no state yet".
    pub cells: BTreeMap<TaskIndex, Cell>,
    /// Where a clear changed it: the tries a task may use, less one.
    pub max_tries: BTreeMap<TaskIndex, u32>,
    /// Tries that went on with another attempt (reschedules, deferrals). Only entries of a cell's own try have a meaning.
    pub resumes: BTreeMap<TaskIndex, Resumed>,
    /// Choices that branches have made. Only those of a cell's own try have a meaning.
    pub choices: BTreeMap<TaskIndex, Chosen>,
    /// Mapped tasks: lengths, expansions, and how pages stand.
    pub mapped: Mapped,
    /// Grows with each write that takes more places under `max_active_tasks` than it gives back: such writes ask for the number they saw,
    /// so that two of them do not take one place.
    pub takes: u64,
    /// Tasks whose runs of earlier dates are known to let them go.
    pub past_met: BTreeSet<TaskIndex>,
    /// Whether that holds for all tasks.
    pub past_met_by_all: bool,
    /// When it is taken for failed if it still runs. Millisecond precision.
    pub timeout_at: Option<Timestamp>,
    /// When the next of its DAG's deadlines is missed, unless the run has succeeded by then. Millisecond precision.
    pub deadline_at: Option<Timestamp>,
    /// How long runs before it took on average, by the number of the deadline that counts from that.
    pub average_runtimes: BTreeMap<usize, SignedDuration>,
    /// When it was last cleared, where a deadline that was not missed by then counts from when the run is queued.
    pub requeued_at: Option<Timestamp>,
    /// Whether its DAG is paused: what runs goes on to its end, and nothing is decided.
    pub paused: bool,
    /// An intervention that more than one write makes. Nothing is decided before its last.
    pub intent: Option<Box<Intent>>,
    /// Where the intervention goes on.
    pub intent_at: TaskIndex,
    /// Deleted then: what is left is a tombstone, kept until no process and no late write can know the run any more.
    pub deleted_at: Option<Timestamp>,
    /// Effects noted by the writes that caused them, not yet delivered.
    pub outbox: BTreeMap<String, OutboxEntry>,
    /// In the time index at this instant; none: out of it. Millisecond precision.
    pub wake_at: Option<Timestamp>,
    /// Looks of the sweep in a row that found nothing to do.
    pub looks: u32,
    /// Grows with every write. Only a write that puts `wake_at` later is conditioned on it.
    pub revision: u64,
}

impl RunDoc {
    /// A run as it is first written.
    pub fn new(facts: RunFacts, state: DagRunState, wake_at: Timestamp) -> Self {
        Self {
            facts,
            state,
            epoch: 0,
            operations: Vec::new(),
            clear_number: 0,
            active_epoch: 0,
            start_date: None,
            end_date: None,
            cells: BTreeMap::new(),
            max_tries: BTreeMap::new(),
            resumes: BTreeMap::new(),
            choices: BTreeMap::new(),
            mapped: Mapped::default(),
            takes: 0,
            past_met: BTreeSet::new(),
            past_met_by_all: false,
            timeout_at: None,
            deadline_at: None,
            average_runtimes: BTreeMap::new(),
            requeued_at: None,
            paused: false,
            intent: None,
            intent_at: TaskIndex(0),
            deleted_at: None,
            outbox: BTreeMap::new(),
            wake_at: Some(wake_at),
            looks: 0,
            revision: 0,
        }
    }

    /// The cell of a task; absent is [`Cell::None`].
    pub fn cell(&self, task: TaskIndex) -> &Cell {
        static NONE: Cell = Cell::None;
        self.cells.get(&task).unwrap_or(&NONE)
    }

    /// What is known of the earlier attempts of the cell's try; none: there were none.
    pub fn resumed(&self, task: TaskIndex) -> Option<&Resumed> {
        self.resumes.get(&task).filter(|r| r.try_number == self.cell(task).try_number())
    }

    /// The choice that a task has made, if it has and that try still counts.
    pub fn chosen(&self, task: TaskIndex) -> Option<&Chosen> {
        self.choices.get(&task).filter(|c| c.try_number == self.cell(task).try_number())
    }

    /// Whether the runs of earlier dates are known to let a task go.
    pub fn is_past_met(&self, task: TaskIndex) -> bool {
        self.past_met_by_all || self.past_met.contains(&task)
    }

    /// The state of a task instance.
    pub fn task_state(&self, task: TaskIndex) -> TaskInstanceState {
        self.cell(task).state()
    }
}

/// What an intervention does to task instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// They lose their state and run again, and a run that has ended is queued.
    Clear,
    /// They lose their state; a run that has ended stays as it is.
    ClearTasks,
    /// The run is queued; no task instance changes.
    Requeue,
    /// They get this end.
    Mark(End),
    /// The run ends: what has not ended is skipped, and what is under way gets this end. Teardowns are left to run, and then the run too;
    /// unless the end is a skip, as of a run whose time is over.
    Cancel(End),
    /// A task of a DAG with `fail_fast` has failed for good: what runs fails, what else has neither succeeded nor failed is skipped. The
    /// run goes on with its teardowns.
    Stop,
}

/// An intervention that more than one write makes: too many cells for one. It is noted by its first write, and whoever looks at the run
/// goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// What is done.
    pub act: Act,
    /// To which tasks.
    pub tasks: TaskSet,
    /// Those of these tasks that have failed by then, themselves or because of an upstream, are cleared with it.
    #[serde(default, skip_serializing_if = "TaskSet::is_empty")]
    pub resume: TaskSet,
    /// Pages of mapped tasks among these are still to be closed, before anything else is changed (ARCHITECTURE.md, rule E2).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pages: bool,
    /// Of these mapped tasks only these instances; of all others all (ARCHITECTURE.md, rule E5).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub instances: BTreeMap<TaskIndex, IndexSet>,
    /// Where a run is ended by hand: its mapped tasks of which an instance is under way. All of their instances get the end, those that have
    /// another too, as in Airflow.
    #[serde(default, skip_serializing_if = "TaskSet::is_empty")]
    pub under_way: TaskSet,
}

impl Intent {
    /// An act on some tasks alone.
    pub fn new(act: Act, tasks: impl IntoIterator<Item = TaskIndex>) -> Self {
        let (resume, instances, under_way) = (TaskSet::default(), BTreeMap::new(), TaskSet::default());
        Self { act, tasks: tasks.into_iter().collect(), resume, pages: false, instances, under_way }
    }

    /// Whether it is done to an instance of a mapped task, if to the task at all.
    pub fn means_instance(&self, task: TaskIndex, map_index: u32) -> bool {
        self.instances.get(&task).is_none_or(|only| only.contains(map_index))
    }

    /// Whether it is done to a task as a whole, if at all.
    pub fn means_whole(&self, task: TaskIndex) -> bool {
        !self.instances.contains_key(&task)
    }
}

/// A set of map indexes, kept as ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IndexSet(TaskSet);

impl IndexSet {
    /// Whether an instance is among them.
    pub fn contains(&self, map_index: u32) -> bool {
        self.0.contains(TaskIndex(map_index))
    }

    /// The instances, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.from(TaskIndex(0)).map(|TaskIndex(index)| index)
    }
}

impl FromIterator<u32> for IndexSet {
    fn from_iter<T: IntoIterator<Item = u32>>(indexes: T) -> Self {
        Self(indexes.into_iter().map(TaskIndex).collect())
    }
}

/// A set of tasks, kept as ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskSet(Vec<(u32, u32)>);

impl TaskSet {
    /// The tasks from one on, in order.
    pub fn from(&self, first: TaskIndex) -> impl Iterator<Item = TaskIndex> + '_ {
        self.0.iter().flat_map(move |(from, to)| (*from.max(&first.0)..=*to).map(TaskIndex))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a task is among them.
    pub fn contains(&self, task: TaskIndex) -> bool {
        let at = self.0.partition_point(|(_, to)| *to < task.0);
        self.0.get(at).is_some_and(|(from, _)| *from <= task.0)
    }
}

impl FromIterator<TaskIndex> for TaskSet {
    fn from_iter<T: IntoIterator<Item = TaskIndex>>(tasks: T) -> Self {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for TaskIndex(task) in tasks.into_iter().collect::<BTreeSet<_>>() {
            match ranges.last_mut() {
                Some((_, to)) if *to + 1 == task => *to = task,
                _ => ranges.push((task, task)),
            }
        }
        Self(ranges)
    }
}

/// A run of a DAG whose tasks depend on earlier runs, in the order of logical dates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunDate {
    /// The document's identity.
    pub incarnation: Incarnation,
    /// Its name.
    pub run_id: String,
    /// How it came to be.
    pub run_type: DagRunType,
    /// What it stands for.
    pub logical_date: Timestamp,
}

/// What a run keeps of the earlier attempts of a try that went on: however often, it is one entry of some 35 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resumed {
    /// The try.
    pub try_number: u32,
    /// How many attempts of it have ended in a reschedule or a deferral.
    pub count: u32,
    /// When the first of them was claimed: a sensor's timeout counts from here. Millisecond precision.
    pub first_start: Timestamp,
    /// The last of them, whose item may hold something for the next.
    pub last: Token,
}

/// A text that is no entry of resumed tries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no resumed try of a run document")]
pub struct NotResumed(pub String);

impl Resumed {
    /// The text stored in the run document: `<try>.<count>.<milliseconds>.<token>`.
    pub fn encode(&self) -> String {
        format!("{}.{}.{}.{}", self.try_number, self.count, self.first_start.as_millisecond(), self.last)
    }

    /// Reads what [`Resumed::encode`] wrote.
    ///
    /// # Errors
    /// [`NotResumed`] for any other text.
    pub fn decode(text: &str) -> Result<Self, NotResumed> {
        Self::decode_inner(text).ok_or_else(|| NotResumed(text.to_owned()))
    }

    fn decode_inner(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '.');
        Some(Self {
            try_number: parts.next()?.parse().ok()?,
            count: parts.next()?.parse().ok()?,
            first_start: Timestamp::from_millisecond(parts.next()?.parse().ok()?).ok()?,
            last: Token::trusted(parts.next().filter(|t| !t.is_empty())?),
        })
    }
}

/// An effect to deliver after the write that noted it, idempotently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutboxEntry {
    /// The run ended: leave the DAG's active runs (ARCHITECTURE.md, rule C1).
    Leave {
        /// The epoch at which it took the place it leaves.
        epoch: u32,
    },
    /// A try ended: its asset events, and the callbacks of that end. What they are follows from the run's version and the attempt's item
    /// (ARCHITECTURE.md, rule D1), so that this is small however much they say.
    Try {
        /// The task.
        task: TaskIndex,
        /// The try.
        try_number: u32,
        /// The attempt that ended it.
        token: Token,
        /// How.
        end: TryEnd,
    },
    /// The run ended: the callbacks of that end.
    Ended {
        /// In which epoch.
        epoch: u32,
        /// Whether it succeeded.
        success: bool,
        /// Why, in Airflow's words.
        reason: RunEndReason,
    },
    /// A deadline was missed: its callback.
    Deadline {
        /// Which of the DAG's.
        number: usize,
    },
}

impl OutboxEntry {
    /// Under which name it is noted. The same effect always has the same one, so that noting it twice is noting it once.
    pub fn id(&self) -> String {
        match self {
            Self::Leave { .. } => "leave".to_owned(),
            Self::Try { task, try_number, token, .. } => format!("{task}.{try_number}.{token}"),
            Self::Ended { epoch, .. } => format!("end.{epoch}"),
            Self::Deadline { number } => format!("late.{number}"),
        }
    }
}

/// How a try ended, as its callbacks tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TryEnd {
    /// Well.
    Success,
    /// It skipped itself.
    Skipped,
    /// It failed, and is tried again.
    Retry,
    /// It failed for good.
    Failed,
}

impl TryEnd {
    /// The occasion of callbacks.
    pub fn callbacks(self) -> CallbackKind {
        match self {
            Self::Success => CallbackKind::Success,
            Self::Skipped => CallbackKind::Skipped,
            Self::Retry => CallbackKind::Retry,
            Self::Failed => CallbackKind::Failure,
        }
    }
}

/// Why a run ended, as callbacks are told (`context["reason"]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunEndReason {
    /// All that counts succeeded.
    Success,
    /// A task that counts failed.
    TaskFailure,
    /// Nothing left could ever run.
    AllTasksDeadlocked,
    /// It took longer than `dagrun_timeout`.
    TimedOut,
}

impl RunEndReason {
    /// In Airflow's words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::TaskFailure => "task_failure",
            Self::AllTasksDeadlocked => "all_tasks_deadlocked",
            Self::TimedOut => "timed_out",
        }
    }
}

/// A run index item: from a run's name to its document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunName {
    /// The name, unique in the DAG.
    pub run_id: String,
    /// The document's identity.
    pub incarnation: Incarnation,
    /// For ordering.
    pub run_after: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_resumed_try_is_read_back(try_number in 0u32..9999, count in 0u32..1_000_000, ms in 0i64..4_000_000_000_000, token in "[a-z0-9]{8}") {
            let first_start = Timestamp::from_millisecond(ms).unwrap();
            let resumed = Resumed { try_number, count, first_start, last: Token::trusted(token) };
            prop_assert_eq!(Resumed::decode(&resumed.encode()), Ok(resumed));
        }

        #[test]
        fn a_set_of_tasks_holds_what_was_put_into_it(tasks in proptest::collection::btree_set(0u32..40, 0..20), first in 0u32..40) {
            let set: TaskSet = tasks.iter().rev().copied().map(TaskIndex).collect();
            let expected: Vec<TaskIndex> = tasks.range(first..).copied().map(TaskIndex).collect();
            prop_assert_eq!(set.from(TaskIndex(first)).collect::<Vec<_>>(), expected);
            prop_assert_eq!(set.contains(TaskIndex(first)), tasks.contains(&first));
            prop_assert_eq!(set.is_empty(), tasks.is_empty());
            prop_assert_eq!(serde_json::from_str::<TaskSet>(&serde_json::to_string(&set).unwrap()).unwrap(), set);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = Resumed::decode(&text);
        }
    }
}
