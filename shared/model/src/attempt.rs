//! Attempt items: what one execution by one worker left behind. Written before the finish, immutable after.

use crate::asset::OutletEvent;
use crate::change::Held;
use crate::choice::Choice;
use crate::hitl::HitlDetail;
use crate::ids::{Incarnation, TaskIndex, Token};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Values above this many bytes of JSON go to the blob store.
pub const INLINE_BYTES_MAX: usize = 8 * 1024;

/// Where an attempt is found. Never by try alone: after a reschedule one attempt's crash must not be settled by another's
/// item (ARCHITECTURE.md, rule A4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptKey {
    /// The run.
    pub incarnation: Incarnation,
    /// The task.
    pub task: TaskIndex,
    /// Which of its instances, where it is mapped.
    pub map_index: Option<u32>,
    /// The try.
    pub try_number: u32,
    /// The fencing token of the claim.
    pub token: Token,
}

impl AttemptKey {
    /// The attempt as conditions ask for it.
    pub fn held(&self) -> Held {
        Held { task: self.task, try_number: self.try_number, token: self.token.clone() }
    }
}

/// How an attempt ended, as its worker saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptOutcome {
    /// Ended well.
    Success,
    /// Wished to be skipped.
    Skipped,
    /// Failed; may be retried.
    Failed,
    /// Failed, and asked not to be retried.
    FailedForGood,
    /// A sensor gives its worker back until its next look: the same try goes on with another attempt.
    Rescheduled {
        /// When it looks again.
        until: Timestamp,
    },
    /// Gives its worker back until something outside has happened: the same try goes on with another attempt.
    Deferred {
        /// When it is looked at again at the latest.
        until: Timestamp,
    },
    /// Has asked people, and gives its worker back: the answer, or the end of the time for one, ends the same try.
    AwaitingInput {
        /// Until when an answer is waited for.
        until: Timestamp,
    },
}

impl AttemptOutcome {
    /// Whether the try goes on with another attempt.
    pub fn goes_on(self) -> bool {
        match self {
            Self::Rescheduled { .. } | Self::Deferred { .. } | Self::AwaitingInput { .. } => true,
            Self::Success | Self::Skipped | Self::Failed | Self::FailedForGood => false,
        }
    }
}

/// A value kept beside the attempt, or the place where it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueRef {
    /// The value itself.
    Inline(Value),
    /// A URI in the log and blob store.
    At(String),
}

/// What one attempt left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// When its message was sent, or its try was queued in place, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When the claim was made.
    pub start_date: Timestamp,
    /// When it ended; a retry's delay counts from here.
    pub end_date: Timestamp,
    /// XComs by key; the return value is `return_value`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xcoms: BTreeMap<String, ValueRef>,
    /// The log, where it is short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The URI of the whole log, where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_uri: Option<String>,
    /// Why it failed or was skipped, in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What it lets go on: kept here too, so that settling by this item does what the finish would have done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// What it said about the assets it writes, beside that they were written: kept here for the same reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlet_events: Vec<OutletEvent>,
    /// What the next attempt of the same try is told, where the try goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handover: Option<Value>,
    /// How many instances can be made of what it returned, where a task is mapped over that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_length: Option<u32>,
    /// The name of its mapped instance, as `map_index_template` renders it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered_map_index: Option<String>,
    /// What its template fields became, of those that are not what the file says; secrets are hidden in it.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub rendered: Map<String, Value>,
    /// The URI of that, where it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered_uri: Option<String>,
    /// What people were asked by it; of an answer, what they were asked and what they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hitl: Option<HitlDetail>,
}

impl Attempt {
    /// An attempt that ended like this, and left nothing else.
    pub fn new(outcome: AttemptOutcome, start_date: Timestamp, end_date: Timestamp) -> Self {
        Self {
            outcome,
            queued_at: None,
            start_date,
            end_date,
            xcoms: BTreeMap::new(),
            log: None,
            log_uri: None,
            message: None,
            hostname: None,
            choice: None,
            outlet_events: Vec::new(),
            handover: None,
            map_length: None,
            rendered_map_index: None,
            rendered: Map::new(),
            rendered_uri: None,
            hitl: None,
        }
    }
}

/// The key under which a task's return value is kept.
pub const RETURN_VALUE: &str = "return_value";
