//! How an attempt ended.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use updraft_model::OutletEvent;

use crate::masks::Masks;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The task did what it should.
    Success,
    /// The task asked to be skipped.
    Skipped {
        /// In the task's own words where it has any.
        reason: String,
    },
    /// The task failed.
    Failed {
        /// What happened, in one line or a few.
        message: String,
        /// Whether another try makes sense; not so after `AirflowFailException`.
        retryable: bool,
    },
    /// The execution timeout passed, and the processes were killed.
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// The task asked to be run again later, by `AirflowRescheduleException`: the same try goes on then.
    Rescheduled {
        /// When.
        until: Timestamp,
    },
    /// The caller cancelled the attempt, and the processes were killed.
    Killed {
        /// The reason the caller gave.
        why: String,
    },
}

impl Outcome {
    /// A failure that another try may mend.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), retryable: true }
    }

    /// The same without secrets in its words.
    pub(crate) fn masked(self, masks: &Masks) -> Self {
        match self {
            Self::Skipped { reason } => Self::Skipped { reason: masks.apply(&reason) },
            Self::Failed { message, retryable } => Self::Failed { message: masks.apply(&message), retryable },
            Self::Killed { why } => Self::Killed { why: masks.apply(&why) },
            Self::Success | Self::TimedOut { .. } | Self::Rescheduled { .. } => self,
        }
    }

    /// One line for people: `success`, or what went wrong.
    pub fn message(&self) -> String {
        match self {
            Self::Success => "success".to_owned(),
            Self::Skipped { reason } => reason.clone(),
            Self::Failed { message, .. } => message.clone(),
            Self::TimedOut { after } => format!("execution timeout of {} s passed", after.as_secs_f64()),
            Self::Rescheduled { until } => format!("to be run again at {until}"),
            Self::Killed { why } => format!("killed: {why}"),
        }
    }
}

/// What is known about an attempt once all its processes are gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What the task pushed, in order, the return value last. A failed attempt has the values it pushed before it failed.
    pub xcoms: Vec<(String, Value)>,
    /// What a Python callable returned, where the call asks for it; also where it is no XCom.
    pub returned: Option<Returned>,
    /// What a Python callable said about the assets that its task writes.
    #[serde(default)]
    pub outlet_events: Vec<OutletEvent>,
    /// What a Python callable put into its context, where the spec asks for it.
    #[serde(default)]
    pub context: serde_json::Map<String, Value>,
    /// What is known about its output.
    pub log: LogSummary,
    /// From the start of the process to its end.
    pub ran_for: Duration,
    /// False if processes of the attempt may still run: some could not be killed in time (uninterruptible, or another user's), or the supervisor
    /// was killed and those that gave up their environment cannot be told from others.
    pub all_ended: bool,
}

/// What a Python callable returned.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Returned {
    /// The value, tagged as XComs are; null if it has no form in JSON. Of Airflow's `PokeReturnValue` it is the `xcom_value`.
    pub value: Value,
    /// Why the value has no form in JSON, if so.
    #[serde(default)]
    pub not_json: Option<String>,
    /// What Python's `bool` says of the value; of a `PokeReturnValue`, whether it is done. Nothing if the value refuses to answer.
    pub truthy: Option<bool>,
    /// Whether it was a `PokeReturnValue`.
    #[serde(default)]
    pub poke: bool,
}

/// The output of an attempt, which went to the sink, in short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSummary {
    /// How many bytes of UTF-8 the sink was given.
    pub bytes: u64,
    /// The last 8 KiB at most, from the start of a character.
    pub tail: String,
    /// The first error of the sink; later output was still given to it.
    pub sink_error: Option<String>,
}
