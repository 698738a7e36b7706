//! Holder documents: who holds how many slots of a limit that more than one document is under, and who waits for some (ARCHITECTURE.md, rules B1 to B9).
//!
//! A holder and a waiter are known by name (run and task) and generation (try, how often the try has gone on, and how often it has asked
//! anew). A generation is never used twice for a name: whatever takes a task instance away from a try makes its next attempt another
//! generation, and so does giving slots back unused. So taking and giving
//! back are idempotent, a late decider cannot free the slots of a later attempt, and nothing has to be counted that could be miscounted:
//! the number of slots in use is written together with the holders that use them, and is nothing but their sum.

use crate::ids::{DagId, Incarnation, TaskId, TaskIndex};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A limit that task instances take slots of, since no one document shows all that count under it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HolderId {
    /// A pool, by its name.
    Pool(String),
    /// `max_active_tis_per_dag` of a task.
    Task(DagId, TaskId),
    /// `max_active_tasks` of a run that has mapped tasks, whose instances lie on pages.
    Run(Incarnation),
}

impl HolderId {
    /// Whether deferred task instances keep their slots whatever else is said: they count under `max_active_tis_per_dag`.
    pub fn always_includes_deferred(&self) -> bool {
        matches!(self, Self::Task(..))
    }
}

impl std::fmt::Display for HolderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pool(name) => write!(f, "the pool `{name}`"),
            Self::Task(dag_id, task_id) => write!(f, "max_active_tis_per_dag of `{task_id}` of `{dag_id}`"),
            Self::Run(incarnation) => write!(f, "max_active_tasks of the run {incarnation}"),
        }
    }
}

/// A task instance as it holds slots or waits for some.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HolderName {
    /// The run.
    pub incarnation: Incarnation,
    /// The task.
    pub task: TaskIndex,
    /// Which of its instances, where it is mapped.
    pub map_index: Option<u32>,
}

impl HolderName {
    /// A task that is not mapped.
    pub fn of_task(incarnation: Incarnation, task: TaskIndex) -> Self {
        Self { incarnation, task, map_index: None }
    }

    /// The text it is kept under.
    pub fn encode(&self) -> String {
        let index = self.map_index.map(|index| format!(".{index}")).unwrap_or_default();
        format!("{}#{}{index}", self.incarnation, self.task)
    }

    /// Reads what [`HolderName::encode`] wrote.
    pub fn decode(text: &str) -> Option<Self> {
        let (incarnation, task) = text.rsplit_once('#')?;
        let (task, map_index) = match task.split_once('.') {
            Some((task, index)) => (task, Some(index.parse().ok()?)),
            None => (task, None),
        };
        Some(Self { incarnation: Incarnation::trusted(incarnation), task: TaskIndex(task.parse().ok()?), map_index })
    }
}

/// Which attempt of a task instance: its try, and how many attempts of that try came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation {
    /// The try.
    pub try_number: u32,
    /// Attempts of the try that went on with another.
    pub resume: u32,
    /// How often the attempt to be has given back slots that it had no place in its run for, or [`ANY_TURN`].
    pub turn: u32,
}

/// All turns of an attempt: on whichever it was queued, it asks no more.
pub const ANY_TURN: u32 = u32::MAX;

impl Generation {
    /// Whether both are of one attempt, on whichever turn.
    pub fn is_same_attempt(self, other: Self) -> bool {
        (self.try_number, self.resume) == (other.try_number, other.resume)
    }

    /// Whether this, given back, gives back what a claim of the other holds: the same attempt, on this turn or one before.
    pub fn gives_back(self, other: Self) -> bool {
        self.is_same_attempt(other) && other.turn <= self.turn
    }
}

/// What one holds, or waits for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// For which attempt.
    pub generation: Generation,
    /// How many slots.
    pub slots: u32,
    /// Higher goes first.
    pub priority: i64,
    /// Among equal priorities, earlier goes first: the run's logical date, or when it was due. Millisecond precision.
    pub since: Timestamp,
    /// Whether the task instance may be queued as soon as it has these slots, without a look at its run: there is no other limit.
    pub is_last: bool,
}

/// A text that is no claim of a holder document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no claim of a holder document")]
pub struct NotAClaim(pub String);

impl Claim {
    /// The text stored: `<try>.<resume>.<slots>.<priority>.<since, ms>.<1 if last>`, and `.<turn>` after the first.
    pub fn encode(&self) -> String {
        let Generation { try_number, resume, turn } = self.generation;
        let last = u8::from(self.is_last);
        let turn = if turn == 0 { String::new() } else { format!(".{turn}") };
        format!("{try_number}.{resume}.{}.{}.{}.{last}{turn}", self.slots, self.priority, self.since.as_millisecond())
    }

    /// Reads what [`Claim::encode`] wrote.
    ///
    /// # Errors
    /// [`NotAClaim`] for any other text.
    pub fn decode(text: &str) -> Result<Self, NotAClaim> {
        Self::decode_inner(text).ok_or_else(|| NotAClaim(text.to_owned()))
    }

    fn decode_inner(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (try_number, resume) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let mut claim = Self {
            generation: Generation { try_number, resume, turn: 0 },
            slots: parts.next()?.parse().ok()?,
            priority: parts.next()?.parse().ok()?,
            since: Timestamp::from_millisecond(parts.next()?.parse().ok()?).ok()?,
            is_last: parts.next()? == "1",
        };
        if let Some(turn) = parts.next() {
            claim.generation.turn = turn.parse().ok()?;
        }
        parts.next().is_none().then_some(claim)
    }
}

/// A holder document, as one read or one write returns it.
#[derive(Debug, Clone, PartialEq)]
pub struct HolderDoc {
    /// The limit.
    pub id: HolderId,
    /// How many slots there are; none: the pool does not exist, so whoever asks for it waits. Below zero: without end.
    pub size: Option<i64>,
    /// Whether deferred task instances keep their slots.
    pub include_deferred: bool,
    /// What the pool is for, for people.
    pub description: String,
    /// Who holds slots.
    pub holders: BTreeMap<HolderName, Claim>,
    /// Who waits for some.
    pub waiters: BTreeMap<HolderName, Claim>,
    /// The sum of the holders' slots.
    pub used: i64,
    /// In the time index at this instant; none: out of it. Millisecond precision.
    pub wake_at: Option<Timestamp>,
    /// Looks in a row that found nothing to do.
    pub looks: u32,
    /// Grows with every write.
    pub revision: u64,
}

impl HolderDoc {
    /// A limit as it is first written.
    pub fn new(id: HolderId, size: Option<i64>) -> Self {
        Self {
            include_deferred: id.always_includes_deferred(),
            id,
            size,
            description: String::new(),
            holders: BTreeMap::new(),
            waiters: BTreeMap::new(),
            used: 0,
            wake_at: None,
            looks: 0,
            revision: 0,
        }
    }

    /// How many slots are free; less than zero where it has been made smaller.
    pub fn open(&self) -> i64 {
        match self.size {
            None => 0,
            Some(size) if size < 0 => i64::MAX,
            Some(size) => size.saturating_sub(self.used),
        }
    }
}

/// One conditional update of a holder document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HolderChange {
    /// Condition: of this size (`Some(None)`: it does not exist).
    pub if_size: Option<Option<i64>>,
    /// Condition: at most so many slots in use.
    pub if_used_at_most: Option<i64>,
    /// Condition: nobody waits.
    pub if_nobody_waits: bool,
    /// Condition: exactly these holders; none: it holds nothing.
    pub if_holders: Vec<(HolderName, Option<Claim>)>,
    /// Condition: nothing was written since.
    pub if_revision: Option<u64>,
    /// Holders that take, or replace what an earlier attempt held.
    pub hold: Vec<(HolderName, Claim)>,
    /// Holders that give back.
    pub release: Vec<HolderName>,
    /// Waiters that come, or replace an earlier attempt's wait.
    pub wait: Vec<(HolderName, Claim)>,
    /// Waiters that wait no more.
    pub leave: Vec<HolderName>,
    /// How the slots in use change by that.
    pub used: i64,
    /// The new size; `Some(None)`: the pool is no more.
    pub size: Option<Option<i64>>,
    /// Whether deferred ones keep their slots.
    pub include_deferred: Option<bool>,
    /// What it is for.
    pub description: Option<String>,
    /// The new place in the time index; `Some(None)` leaves it.
    pub wake_at: Option<Option<Timestamp>>,
    /// Idle looks in a row.
    pub looks: Option<u32>,
}

impl HolderChange {
    /// Whether it writes nothing.
    pub fn is_nothing(&self) -> bool {
        let Self { hold, release, wait, leave, size, include_deferred, description, wake_at, looks, .. } = self;
        hold.is_empty()
            && release.is_empty()
            && wait.is_empty()
            && leave.is_empty()
            && size.is_none()
            && include_deferred.is_none()
            && description.is_none()
            && wake_at.is_none()
            && looks.is_none()
    }

    /// Whether the conditions hold for this image.
    pub fn holds(&self, doc: &HolderDoc) -> bool {
        self.if_size.is_none_or(|size| size == doc.size)
            && self.if_used_at_most.is_none_or(|most| doc.used <= most)
            && (!self.if_nobody_waits || doc.waiters.is_empty())
            && self.if_holders.iter().all(|(name, claim)| doc.holders.get(name) == claim.as_ref())
            && self.if_revision.is_none_or(|r| r == doc.revision)
    }

    /// The image after this change, conditions unchecked.
    pub fn apply(&self, doc: &HolderDoc) -> HolderDoc {
        let mut doc = doc.clone();
        doc.holders.extend(self.hold.iter().cloned());
        doc.holders.retain(|name, _| !self.release.contains(name));
        doc.waiters.extend(self.wait.iter().cloned());
        doc.waiters.retain(|name, _| !self.leave.contains(name));
        doc.used += self.used;
        doc.size = self.size.unwrap_or(doc.size);
        doc.include_deferred = self.include_deferred.unwrap_or(doc.include_deferred);
        if let Some(description) = &self.description {
            doc.description.clone_from(description);
        }
        doc.wake_at = self.wake_at.unwrap_or(doc.wake_at);
        doc.looks = self.looks.unwrap_or(doc.looks);
        doc.revision += 1;
        doc
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_claim_is_read_back(try_number in 0u32..999, resume in 0u32..9999, turn in 0u32..3, slots in 0u32..99, priority: i64, ms in 0i64..4_000_000_000_000, is_last: bool) {
            let since = Timestamp::from_millisecond(ms).unwrap();
            let claim = Claim { generation: Generation { try_number, resume, turn }, slots, priority, since, is_last };
            prop_assert_eq!(Claim::decode(&claim.encode()), Ok(claim));
        }

        #[test]
        fn a_name_is_read_back(id in "[a-z0-9]{1,12}", task in 0u32..99_999, map_index: Option<u32>) {
            let name = HolderName { incarnation: Incarnation::trusted(id), task: TaskIndex(task), map_index };
            prop_assert_eq!(HolderName::decode(&name.encode()), Some(name));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = (Claim::decode(&text), HolderName::decode(&text));
        }
    }
}
