//! Callbacks on their way: each is a document of its own, in the time index until it has been called or given up.

use crate::ids::{Incarnation, TaskIndex, Token, VersionId};
use crate::run::{RunEndReason, TryEnd};
use crate::workers::WorkerKind;
use crate::{Callback, CallbackKind, Dag};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a callback's document is: its run, and a name that follows from what it tells of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CallbackKey {
    /// The run.
    pub incarnation: Incarnation,
    /// The name.
    pub id: String,
}

/// What a callback tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// A try is about to run.
    Execute {
        /// The task.
        task: TaskIndex,
        /// Of a mapped task, the instance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        map_index: Option<u32>,
        /// The try.
        try_number: u32,
        /// The attempt.
        token: Token,
    },
    /// A try has ended.
    Try {
        /// The task.
        task: TaskIndex,
        /// Of a mapped task, the instance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        map_index: Option<u32>,
        /// The try.
        try_number: u32,
        /// The attempt that ended it.
        token: Token,
        /// How.
        end: TryEnd,
    },
    /// The run has ended.
    Ended {
        /// In which epoch.
        epoch: u32,
        /// Whether it succeeded.
        success: bool,
        /// Why.
        reason: RunEndReason,
    },
    /// A deadline was missed.
    Deadline {
        /// Which of the DAG's.
        number: usize,
    },
}

impl Occasion {
    /// The names of its callbacks begin with this; the same occasion always has the same.
    fn name(&self) -> String {
        match self {
            Self::Execute { task, try_number, token, .. } => format!("execute.{task}.{try_number}.{token}"),
            Self::Try { task, try_number, token, .. } => format!("try.{task}.{try_number}.{token}"),
            Self::Ended { epoch, .. } => format!("end.{epoch}"),
            Self::Deadline { number } => format!("late.{number}"),
        }
    }

    /// The callback of this number among those of the occasion, in the order in which they are written.
    pub fn key(&self, incarnation: &Incarnation, number: usize) -> CallbackKey {
        CallbackKey { incarnation: incarnation.clone(), id: format!("{}.{number}", self.name()) }
    }

    /// The instance of a mapped task that it tells of.
    pub fn map_index(&self) -> Option<u32> {
        match self {
            Self::Execute { map_index, .. } | Self::Try { map_index, .. } => *map_index,
            Self::Ended { .. } | Self::Deadline { .. } => None,
        }
    }

    /// The key by which a file sets its callbacks; none for a deadline's.
    pub fn kind(&self) -> Option<CallbackKind> {
        match self {
            Self::Execute { .. } => Some(CallbackKind::Execute),
            Self::Try { end, .. } => Some(end.callbacks()),
            Self::Ended { success: true, .. } => Some(CallbackKind::Success),
            Self::Ended { .. } => Some(CallbackKind::Failure),
            Self::Deadline { .. } => None,
        }
    }

    /// What is called, in the order in which it is written.
    pub fn callbacks<'a>(&self, dag: &'a Dag) -> &'a [Callback] {
        let of = |callbacks: &'a crate::Callbacks| {
            self.kind().and_then(|kind| callbacks.get(&kind)).map_or(&[] as &[Callback], Vec::as_slice)
        };
        match self {
            Self::Execute { task, .. } | Self::Try { task, .. } => {
                dag.tasks.get(task.at()).map_or(&[], |task| of(&task.callbacks))
            }
            Self::Ended { .. } => of(&dag.callbacks),
            Self::Deadline { number } => {
                dag.deadlines.get(*number).map_or(&[], |deadline| std::slice::from_ref(&deadline.callback))
            }
        }
    }
}

/// By what means a callback is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A message to an SNS topic.
    Sns,
    /// A request to a URL.
    Webhook,
    /// A mail.
    Mail,
    /// A command.
    Bash,
    /// A function of Python.
    Python,
}

impl Callback {
    /// By what means it is called: its path names one of Airflow's notifiers by the class or by the function that makes it, or a function.
    pub fn means(&self) -> Means {
        let path = self.callback.as_str();
        let module = path.strip_prefix("airflow.providers.");
        match (module, path.rsplit('.').next().unwrap_or(path)) {
            (Some(_), "SnsNotifier" | "send_sns_notification") => Means::Sns,
            (Some(_), "SlackWebhookNotifier" | "send_slack_webhook_notification") => Means::Webhook,
            (Some(_), "SmtpNotifier" | "send_smtp_notification") => Means::Mail,
            _ if path == "updraft.webhook" => Means::Webhook,
            _ if path == "updraft.bash" || (path.is_empty() && self.arguments.contains_key("bash_command")) => {
                Means::Bash
            }
            _ => Means::Python,
        }
    }

    /// The kind of worker that can call it.
    pub fn worker_kind(&self) -> WorkerKind {
        if self.means() == Means::Python { WorkerKind::Python } else { WorkerKind::Plain }
    }
}

/// How a callback stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallbackState {
    /// To be called, or to be called again.
    Queued,
    /// Being called.
    Running,
    /// It was called.
    Success,
    /// It failed as often as it may.
    Failed,
}

impl CallbackState {
    /// Whether it is called no more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// A callback's document. Who changes it asks that nothing was written since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallbackDoc {
    /// Where it is.
    pub key: CallbackKey,
    /// What it tells of.
    pub occasion: Occasion,
    /// Which of the occasion's callbacks.
    pub number: usize,
    /// The version that says what is called.
    pub version: VersionId,
    /// How it stands.
    pub state: CallbackState,
    /// How often it was begun.
    pub tries: u32,
    /// While it is being called: by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// When it came to be.
    pub created_at: Timestamp,
    /// When it last began or ended.
    pub updated_at: Timestamp,
    /// Why it failed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The end of what it wrote last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// In the time index at this instant. Millisecond precision.
    pub wake_at: Timestamp,
    /// Grows with every write.
    #[serde(skip)]
    pub revision: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_name_what_is_called_and_by_which_worker() {
        for (path, arguments, means, worker) in [
            ("airflow.providers.amazon.aws.notifications.sns.SnsNotifier", json!({}), Means::Sns, WorkerKind::Plain),
            (
                "airflow.providers.amazon.aws.notifications.sns.send_sns_notification",
                json!({}),
                Means::Sns,
                WorkerKind::Plain,
            ),
            (
                "airflow.providers.slack.notifications.slack_webhook.SlackWebhookNotifier",
                json!({}),
                Means::Webhook,
                WorkerKind::Plain,
            ),
            (
                "airflow.providers.smtp.notifications.smtp.send_smtp_notification",
                json!({}),
                Means::Mail,
                WorkerKind::Plain,
            ),
            ("my.own.SnsNotifier", json!({}), Means::Python, WorkerKind::Python),
            ("callbacks.tell", json!({"bash_command": "x"}), Means::Python, WorkerKind::Python),
            ("updraft.webhook", json!({}), Means::Webhook, WorkerKind::Plain),
            ("updraft.bash", json!({}), Means::Bash, WorkerKind::Plain),
            ("", json!({"bash_command": "x"}), Means::Bash, WorkerKind::Plain),
        ] {
            let callback: Callback = serde_json::from_value(json!({"callback": path, "arguments": arguments})).unwrap();
            assert_eq!((callback.means(), callback.worker_kind()), (means, worker), "{path}");
        }
    }
}
