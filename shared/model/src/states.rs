//! States, run types and trigger rules, in Airflow's spelling.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A text that is no known value of one of the enums here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no known {what}; known are {known}")]
pub struct UnknownName {
    /// What was asked for, e.g. `trigger rule`.
    pub what: &'static str,
    /// What was given.
    pub given: String,
    /// The accepted values, comma separated.
    pub known: String,
}

macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Airflow's spelling.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|v| v.as_str() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    given: text.to_owned(),
                    known: Self::ALL.iter().map(|v| v.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named_enum! {
    /// The state of a task instance. "No state yet" is a value, not a missing one.
    TaskInstanceState, "task instance state" {
        /// No state yet.
        None = "none",
        /// Ready, held by a limit.
        Scheduled = "scheduled",
        /// Ready, its message is (to be) on its way to a worker.
        Queued = "queued",
        /// A worker holds it by a token and a lease.
        Running = "running",
        /// Cleared while running; its worker has not yet let go.
        Restarting = "restarting",
        /// Failed a try, waits for the next.
        UpForRetry = "up_for_retry",
        /// A sensor in reschedule mode, waiting for its next look.
        UpForReschedule = "up_for_reschedule",
        /// Gave its worker back and waits for an outside event.
        Deferred = "deferred",
        /// Parked for a person's answer.
        AwaitingInput = "awaiting_input",
        /// Ended well.
        Success = "success",
        /// Ended badly, no try left.
        Failed = "failed",
        /// Not run, by a rule or by its own wish.
        Skipped = "skipped",
        /// Not run, because an upstream failed.
        UpstreamFailed = "upstream_failed",
        /// The task is gone from the DAG.
        Removed = "removed",
    }
}

impl TaskInstanceState {
    /// Whether the state is an end.
    pub fn is_finished(self) -> bool {
        match self {
            Self::Success | Self::Failed | Self::Skipped | Self::UpstreamFailed | Self::Removed => true,
            Self::None
            | Self::Scheduled
            | Self::Queued
            | Self::Running
            | Self::Restarting
            | Self::UpForRetry
            | Self::UpForReschedule
            | Self::Deferred
            | Self::AwaitingInput => false,
        }
    }

    /// Whether the scheduler may move it on to scheduled.
    pub fn is_schedulable(self) -> bool {
        matches!(self, Self::None | Self::UpForRetry | Self::UpForReschedule)
    }
}

named_enum! {
    /// The state of a DAG run.
    DagRunState, "run state" {
        /// Created, waits for a place among the DAG's active runs.
        Queued = "queued",
        /// Its tasks are being run.
        Running = "running",
        /// Ended well.
        Success = "success",
        /// Ended badly.
        Failed = "failed",
    }
}

impl DagRunState {
    /// Whether the run has ended (for its current epoch).
    pub fn is_finished(self) -> bool {
        match self {
            Self::Success | Self::Failed => true,
            Self::Queued | Self::Running => false,
        }
    }
}

named_enum! {
    /// What a backfill does about a date that has a run.
    ReprocessBehavior, "reprocess behavior" {
        /// Nothing.
        None = "none",
        /// It runs again if it has failed.
        Failed = "failed",
        /// It runs again if it has ended.
        Completed = "completed",
    }
}

impl ReprocessBehavior {
    /// Whether a run in this state runs again.
    pub fn applies_to(self, state: DagRunState) -> bool {
        match (self, state) {
            (_, DagRunState::Queued | DagRunState::Running)
            | (Self::None, _)
            | (Self::Failed, DagRunState::Success) => false,
            (Self::Failed, DagRunState::Failed) | (Self::Completed, DagRunState::Success | DagRunState::Failed) => true,
        }
    }
}

named_enum! {
    /// By which way a run was asked for.
    TriggeredBy, "way to trigger a run" {
        /// The command line.
        Cli = "cli",
        /// A task of another DAG.
        Operator = "operator",
        /// The REST API.
        RestApi = "rest_api",
        /// The web UI.
        Ui = "ui",
        /// A test.
        Test = "test",
        /// The timetable.
        Timetable = "timetable",
        /// Asset events.
        Asset = "asset",
        /// A backfill.
        Backfill = "backfill",
    }
}

named_enum! {
    /// How a run came to be.
    DagRunType, "run type" {
        /// By a backfill.
        Backfill = "backfill",
        /// By the DAG's timetable.
        Scheduled = "scheduled",
        /// By a person.
        Manual = "manual",
        /// By a task of another DAG.
        OperatorTriggered = "operator_triggered",
        /// By asset events.
        AssetTriggered = "asset_triggered",
        /// To make an asset.
        AssetMaterialization = "asset_materialization",
    }
}

named_enum! {
    /// When a task may run, given how its upstreams ended.
    TriggerRule, "trigger rule" {
        /// All upstreams succeeded.
        AllSuccess = "all_success",
        /// All upstreams failed.
        AllFailed = "all_failed",
        /// All upstreams ended.
        AllDone = "all_done",
        /// All upstreams ended, none was skipped, one succeeded.
        AllDoneMinOneSuccess = "all_done_min_one_success",
        /// All upstreams ended and a setup succeeded: what teardowns use.
        AllDoneSetupSuccess = "all_done_setup_success",
        /// One upstream succeeded; does not wait for the others.
        OneSuccess = "one_success",
        /// One upstream failed; does not wait for the others.
        OneFailed = "one_failed",
        /// One upstream succeeded or failed; does not wait for the others.
        OneDone = "one_done",
        /// No upstream failed.
        NoneFailed = "none_failed",
        /// No upstream failed, one succeeded.
        NoneFailedMinOneSuccess = "none_failed_min_one_success",
        /// No upstream was skipped.
        NoneSkipped = "none_skipped",
        /// All upstreams were skipped.
        AllSkipped = "all_skipped",
        /// Whatever happens.
        Always = "always",
    }
}
