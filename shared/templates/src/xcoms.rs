//! The XComs a template may pull. Rendering does no I/O, so a caller asks [`crate::Renderer::xcom_needs`] what a task's
//! fields pull, fetches that, and hands it in here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;

/// The key under which a task's return value lies.
pub const RETURN_VALUE: &str = "return_value";

/// What must be fetched before the fields can be rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct XComNeeds {
    /// Pulls spelled out in the templates: task id and key. Fetch every map index of each.
    pub pulls: BTreeSet<(String, String)>,
    /// Some pull is computed while rendering: fetch every XCom of every upstream task, and mark those tasks complete.
    pub dynamic: bool,
}

impl XComNeeds {
    /// Whether nothing need be fetched.
    pub fn is_empty(&self) -> bool {
        self.pulls.is_empty() && !self.dynamic
    }
}

/// The XComs of one run that were fetched, and the knowledge of which were looked for and not there.
///
/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct XComs(Arc<Fetched>);

#[derive(Debug, Clone, Default)]
struct Fetched {
    /// Task id and key to the values by map index; no values means "looked for, and none there".
    values: BTreeMap<(String, String), BTreeMap<i32, Json>>,
    /// Tasks of which every key was fetched.
    complete: BTreeSet<String>,
}

impl XComs {
    /// Nothing fetched: a template that pulls will fail.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value. `map_index` is -1 for a task that is not mapped.
    pub fn insert(&mut self, task_id: impl Into<String>, key: impl Into<String>, map_index: i32, value: Json) {
        self.rows(task_id.into(), key.into()).insert(map_index, value);
    }

    /// Notes that this key of this task was looked for, so that its absence is known.
    pub fn mark_fetched(&mut self, task_id: impl Into<String>, key: impl Into<String>) {
        self.rows(task_id.into(), key.into());
    }

    /// Notes that every key of this task was fetched.
    pub fn mark_complete(&mut self, task_id: impl Into<String>) {
        Arc::make_mut(&mut self.0).complete.insert(task_id.into());
    }

    /// The values by map index, or `None` if nobody looked.
    pub(crate) fn get(&self, task_id: &str, key: &str) -> Option<Vec<(i32, &Json)>> {
        match self.0.values.get(&(task_id.to_owned(), key.to_owned())) {
            Some(rows) => Some(rows.iter().map(|(index, value)| (*index, value)).collect()),
            None if self.0.complete.contains(task_id) => Some(Vec::new()),
            None => None,
        }
    }

    fn rows(&mut self, task_id: String, key: String) -> &mut BTreeMap<i32, Json> {
        Arc::make_mut(&mut self.0).values.entry((task_id, key)).or_default()
    }
}
