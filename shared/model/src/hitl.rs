//! Human in the loop: what people are asked, and what they answer. Names are Airflow's.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What an approval offers to go on.
pub const APPROVE: &str = "Approve";

/// What an approval offers to stop.
pub const REJECT: &str = "Reject";

/// Until when an answer is waited for where a task says nothing: beyond any run.
pub const WITHOUT_END: Timestamp = Timestamp::constant(253_370_764_800, 0);

/// Somebody who may answer, or has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HitlUser {
    /// By which they log in.
    pub id: String,
    /// For people.
    pub name: String,
}

/// What one try of a task asks, and the answer once there is one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HitlDetail {
    /// The question in a line.
    pub subject: String,
    /// All that is needed to decide, in Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// What may be chosen.
    pub options: Vec<String>,
    /// What counts as chosen when the time is over; none: the task fails then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Vec<String>>,
    /// Whether several options may be chosen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multiple: bool,
    /// The fields of the form, by name: each its `value`, `description` and `schema`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// Who may answer; empty: anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assigned_users: Vec<HitlUser>,
    /// When it was asked.
    pub created_at: Timestamp,
    /// What an answer does.
    #[serde(default)]
    pub then: HitlThen,
    /// The answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HitlResponse>,
}

/// What an answer does besides ending the task in success.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HitlThen {
    /// Nothing: what is below reads it.
    #[default]
    GoOn,
    /// A rejection skips what is below, or fails the task.
    Approval {
        /// Whether everything below is skipped, and not only what is directly below.
        ignore_downstream_trigger_rules: bool,
        /// Whether the task fails instead.
        fail_on_reject: bool,
    },
    /// What is chosen is followed, what else is directly below is skipped.
    Branch {
        /// The task that an option stands for, where it is not named like it.
        options_mapping: BTreeMap<String, String>,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HitlResponse {
    /// What was chosen.
    pub chosen_options: Vec<String>,
    /// What was filled in.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params_input: Map<String, Value>,
    /// When.
    pub responded_at: Timestamp,
    /// By whom; none: nobody, the defaults were taken when the time was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub responded_by_user: Option<HitlUser>,
}

impl HitlDetail {
    /// The fields of the form as they stand before anybody has filled them in.
    pub fn params_default(&self) -> Map<String, Value> {
        let value = |field: &Value| field.get("value").cloned().unwrap_or(Value::Null);
        self.params.iter().map(|(name, field)| (name.clone(), value(field))).collect()
    }
}
