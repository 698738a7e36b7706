//! What every use case needs: the ports, the settings, and the plans already read.

use crate::attended::Attended;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use updraft_clock::Clock;
use updraft_dag_store::IgnoreSyntax;
use updraft_metastore::{Items, Metastore};
use updraft_model::{DagId, Plan, PlanSettings, TaskIndex, VersionId};
use updraft_task_queue::{Message, Outgoing, TaskQueue};

/// What may differ between deployments.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long a claim or a renewal holds an attempt's cell.
    pub lease: SignedDuration,
    /// How often a running attempt renews its lease.
    pub renew_every: Duration,
    /// Whether new DAGs that do not say so start paused.
    pub dags_are_paused_at_creation: bool,
    /// `max_active_tasks` of DAGs that do not say; none: no limit. Airflow has 16.
    pub max_active_tasks: Option<u32>,
    /// Slots of the default pool when it is first asked for; none: it is no limit, and nobody is asked. Airflow has 128.
    pub default_pool_slots: Option<i64>,
    /// How many instances a task may be expanded to over one value of another task. Airflow's default is 1,024.
    pub max_map_length: u32,
    /// How many instances of mapped tasks lie on a page. A run keeps to what it began with, so this never changes in a deployment: it is here for
    /// simulations, whose maps are small and shall have several pages.
    pub page_cells: u32,
    /// How many plans are kept in memory.
    pub plans_max: usize,
    /// Where attempts run, for people.
    pub hostname: String,
    /// How `.airflowignore` is read.
    pub ignore_syntax: IgnoreSyntax,
    /// What `$NAME` and `${NAME}` stand for in DAG files: declared, and never this process's own environment.
    pub dag_environment: BTreeMap<String, String>,
    /// Airflow Variables that DAG files may take arguments from while they are read (`variables_as_arguments`), by upper-case name. Those
    /// of the metastore are not among them: a file is read once, and they change.
    pub dag_variables: BTreeMap<String, String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: SignedDuration::from_secs(150),
            renew_every: Duration::from_mins(1),
            dags_are_paused_at_creation: false,
            max_active_tasks: None,
            default_pool_slots: None,
            max_map_length: MAX_MAP_LENGTH_DEFAULT,
            page_cells: updraft_model::mapped::PAGE_CELLS,
            plans_max: 512,
            hostname: "localhost".to_owned(),
            ignore_syntax: IgnoreSyntax::default(),
            dag_environment: BTreeMap::new(),
            dag_variables: BTreeMap::new(),
        }
    }
}

/// The target of events that tell figures, for whoever counts them: fields that are numbers are figures. Nothing else is told there.
pub const METRICS: &str = "updraft_metrics";

/// Names `max_active_tasks` of DAGs that do not say, for every process of a deployment.
pub const MAX_ACTIVE_TASKS_PER_DAG: &str = "UPDRAFT_MAX_ACTIVE_TASKS_PER_DAG";

/// Names the slots of the default pool when it is first asked for, for every process of a deployment.
pub const DEFAULT_POOL_TASK_SLOT_COUNT: &str = "UPDRAFT_DEFAULT_POOL_TASK_SLOT_COUNT";

/// Names `max_map_length`, for every process of a deployment.
pub const MAX_MAP_LENGTH: &str = "UPDRAFT_MAX_MAP_LENGTH";

/// How many instances one value of a task makes at most, where a deployment does not say.
pub const MAX_MAP_LENGTH_DEFAULT: u32 = 1024;

impl Settings {
    /// With the limits that these variables name: every process of a deployment must have the same, since each decides.
    ///
    /// # Errors
    /// [`Error::Refused`] for a value that is no such number.
    pub fn with_limits(self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let number = |name: &str| -> Result<Option<u32>, Error> {
            let Some(text) = variable(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            let number = text.parse().map_err(|_| {
                Error::Refused(format!("`{name}` is `{text}`; give a whole number, or leave it out for no limit"))
            })?;
            Ok(Some(number))
        };
        Ok(Self {
            max_active_tasks: number(MAX_ACTIVE_TASKS_PER_DAG)?,
            default_pool_slots: number(DEFAULT_POOL_TASK_SLOT_COUNT)?.map(i64::from),
            max_map_length: number(MAX_MAP_LENGTH)?.unwrap_or(self.max_map_length),
            ..self
        })
    }
}

/// Why a use case failed, by what its caller does next.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The metastore said so.
    #[error(transparent)]
    Metastore(#[from] updraft_metastore::Error),
    /// Messages could not be sent; the sweep will send them.
    #[error(transparent)]
    Queue(#[from] updraft_task_queue::Error),
    /// The DAG folder said so.
    #[error(transparent)]
    DagStore(#[from] updraft_dag_store::Error),
    /// The log store said so.
    #[error(transparent)]
    LogStore(#[from] updraft_log_store::Error),
    /// Somebody asked for something that is not there.
    #[error("{what} `{name}` does not exist")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// Names that are close.
        near: Vec<String>,
    },
    /// Somebody asked for something that cannot be done; the message says why and what can.
    #[error("{0}")]
    Refused(String),
    /// What is asked for is so already, was possible before and is not any more, or somebody else has what is asked for.
    #[error("{0}")]
    Conflict(String),
    /// What is asked for has not the form that it must have.
    #[error("{0}")]
    Invalid(String),
    /// Somebody asked for something that is for others to do.
    #[error("{0}")]
    Forbidden(String),
    /// Writers kept getting in each other's way; trying again helps.
    #[error("too many others write `{0}` at this moment; try again")]
    Contention(String),
}

/// The ports, bound together.
#[derive(Debug)]
pub struct Engine<I, Q, C> {
    /// Runs, attempts, DAGs.
    pub store: Metastore<I>,
    /// Hints.
    pub queue: Q,
    /// Instants and drawn ids.
    pub clock: C,
    /// What may differ between deployments.
    pub settings: Settings,
    plans: Mutex<BTreeMap<VersionId, Arc<Version>>>,
    pub(crate) attended: Attended,
}

/// A version as the engine uses it: the plan and the files its tasks need.
#[derive(Debug)]
pub struct Version {
    /// Its content address.
    pub id: VersionId,
    /// The DAG and what follows from its shape.
    pub plan: Plan,
    /// Files by path relative to the DAG folder.
    pub files: BTreeMap<String, String>,
}

/// How often a refused write is decided anew before the caller gives up; the sweep goes on where it stopped.
pub(crate) const ROUNDS_MAX: usize = 64;

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// Binds the ports.
    pub fn new(items: I, queue: Q, clock: C, settings: Settings) -> Self {
        Self {
            store: Metastore::new(items),
            queue,
            clock,
            settings,
            plans: Mutex::default(),
            attended: Attended::default(),
        }
    }

    /// The same, with variables and connections encrypted in the metastore.
    #[must_use]
    pub fn sealed_by(self, seal: Option<Arc<dyn updraft_metastore::seal::Seal>>) -> Self {
        Self { store: self.store.sealed_by(seal), ..self }
    }

    /// The plan of a version, read at most once while it is kept.
    pub async fn version(&self, id: &VersionId) -> Result<Arc<Version>, Error> {
        let kept = |plans: &BTreeMap<VersionId, Arc<Version>>| plans.get(id).cloned();
        if let Some(version) = kept(&self.plans.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(version);
        }
        let stored = self.store.version(id).await?.ok_or_else(|| {
            Error::Metastore(updraft_metastore::Error::Corrupt(format!("the DAG version `{id}` is not there")))
        })?;
        let settings = PlanSettings {
            max_active_tasks: self.settings.max_active_tasks,
            default_pool_is_limited: self.settings.default_pool_slots.is_some(),
        };
        let plan = Plan::with(stored.dag, settings).with_page_cells(self.settings.page_cells);
        let version = Arc::new(Version { id: id.clone(), plan, files: stored.files });
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= self.settings.plans_max {
            // Any will do: it is read again when needed.
            plans.pop_first();
        }
        plans.insert(id.clone(), version.clone());
        Ok(version)
    }

    /// Messages for queued tries.
    pub(crate) fn task_messages(
        plan: &Plan,
        run: &updraft_model::RunDoc,
        tries: impl IntoIterator<Item = (TaskIndex, u32)>,
    ) -> Vec<Outgoing> {
        tries
            .into_iter()
            .map(|(task, try_number)| {
                Outgoing::now(Message::Task {
                    dag_id: run.facts.dag_id.clone(),
                    incarnation: run.facts.incarnation.clone(),
                    task,
                    try_number,
                    priority: plan.priority(task),
                    place: None,
                    worker: plan.task(task).worker_kind(),
                })
            })
            .collect()
    }

    /// Sends messages. A failure is logged and otherwise ignored: the state is written, and the sweep sends again.
    pub(crate) async fn send(&self, messages: Vec<Outgoing>) {
        if messages.is_empty() {
            return;
        }
        if let Err(error) = self.queue.send(&messages).await {
            tracing::warn!(%error, count = messages.len(), "messages were not sent; the sweep will send them");
        }
    }

    /// The error for a DAG that is not there, with ids that are close.
    pub async fn no_such_dag(&self, dag_id: &DagId) -> Error {
        let known = match self.store.list_dags(1000, None).await {
            Ok(page) => page.items.into_iter().map(|d| d.dag_id.to_string()).collect(),
            Err(error) => return Error::Metastore(error),
        };
        Error::NotFound { what: "the DAG", name: dag_id.to_string(), near: near(dag_id.as_str(), known) }
    }
}

/// The known names closest to a given one, at most three, none where nothing is close.
pub fn near(given: &str, known: Vec<String>) -> Vec<String> {
    let mut scored: Vec<(usize, String)> =
        known.into_iter().map(|name| (strsim::levenshtein(given, &name), name)).collect();
    scored.retain(|(d, name)| *d <= 1 + given.chars().count().max(name.chars().count()) / 3);
    scored.sort();
    scored.into_iter().take(3).map(|(_, name)| name).collect()
}
