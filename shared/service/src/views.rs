//! What people are shown: one place for the command line, the API and the UI.

use crate::engine::{Engine, Error, Version, near};
use crate::mapped_views::known;
use crate::readable::tell;
use crate::xcoms;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;
use updraft_clock::Clock;
use updraft_log_store::LogStore;
use updraft_metastore::{DagSummary, Items};
use updraft_model::{
    Attempt, AttemptKey, AttemptOutcome, Cell, DagDoc, DagId, Plan, RunDoc, Task, TaskIndex, TaskInstanceState,
};
use updraft_task_queue::TaskQueue;

/// A DAG in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct DagView {
    /// What the directory knows.
    pub summary: DagSummary,
    /// Its document.
    pub doc: Option<DagDoc>,
}

/// A task instance of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskInstanceView {
    /// Its index in the run's version.
    pub task: TaskIndex,
    /// The task.
    pub task_id: String,
    /// Which of its instances, where it is mapped and that is known: Airflow's `map_index`. None: Airflow shows -1.
    pub map_index: Option<u32>,
    /// The name of the instance, as `map_index_template` renders it.
    pub rendered_map_index: Option<String>,
    /// What the template fields of its latest attempt became, of those that are not what the file says; none before there was one.
    pub rendered: Option<serde_json::Map<String, Value>>,
    /// The URI of that, where it is long; [`TaskInstanceView::whole`] fetches it.
    pub rendered_uri: Option<String>,
    /// Its operator.
    pub operator: String,
    /// Its state.
    pub state: TaskInstanceState,
    /// Tries used or in use.
    pub try_number: u32,
    /// When its latest attempt was queued, once that has ended, and as far as the queue told.
    pub queued_at: Option<Timestamp>,
    /// When its latest attempt began, as far as it is recorded.
    pub start_date: Option<Timestamp>,
    /// When it ended.
    pub end_date: Option<Timestamp>,
    /// Why it failed or was skipped, in a line.
    pub message: Option<String>,
    /// Where its latest attempt ran.
    pub hostname: Option<String>,
}

impl TaskInstanceView {
    /// The view with what is kept beside the attempt's item. What is gone there is as the file says it.
    ///
    /// # Errors
    /// If the log store does not answer.
    pub async fn whole<L: LogStore>(&self, logs: &L) -> Result<Cow<'_, Self>, Error> {
        let Some(uri) = &self.rendered_uri else { return Ok(Cow::Borrowed(self)) };
        let kept = logs.get(uri).await?;
        let rendered = kept.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Ok(Cow::Owned(Self { rendered: Some(rendered), rendered_uri: None, ..self.clone() }))
    }
}

/// A try of a task instance.
#[derive(Debug, Clone, PartialEq)]
pub struct TryView {
    /// Its number, from 1.
    pub try_number: u32,
    /// How it ended or, for the latest, the state of the task instance.
    pub state: TaskInstanceState,
    /// When its first attempt was queued, as far as the queue told.
    pub queued_at: Option<Timestamp>,
    /// When its first attempt began.
    pub start_date: Option<Timestamp>,
    /// When its last attempt ended; none while it runs.
    pub end_date: Option<Timestamp>,
    /// Why it failed or was skipped, in a line.
    pub message: Option<String>,
    /// Where its last attempt ran.
    pub hostname: Option<String>,
}

/// An attempt's log.
#[derive(Debug, Clone, PartialEq)]
pub struct LogView {
    /// Which instance, where the task is mapped.
    pub map_index: Option<u32>,
    /// Which try.
    pub try_number: u32,
    /// How it ended; none while it runs.
    pub attempt: Option<Attempt>,
    /// The text.
    pub text: String,
}

impl<I: Items, Q: TaskQueue, C: Clock> Engine<I, Q, C> {
    /// The present instant, for what is worked out for people.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The directory: all DAGs by id, without their documents.
    pub async fn all_dag_summaries(&self) -> Result<Vec<DagSummary>, Error> {
        let mut summaries = Vec::new();
        let mut page = None;
        loop {
            let found = self.store.list_dags(500, page).await?;
            tell(&found.unreadable);
            summaries.extend(found.items);
            page = found.next;
            if page.is_none() {
                return Ok(summaries);
            }
        }
    }

    /// All DAGs, by id.
    pub async fn all_dags(&self) -> Result<Vec<DagView>, Error> {
        let summaries = self.all_dag_summaries().await?;
        let ids: Vec<DagId> = summaries.iter().map(|s| s.dag_id.clone()).collect();
        let mut docs: BTreeMap<DagId, DagDoc> =
            self.readable_dags(&ids).await?.into_iter().map(|d| (d.dag_id.clone(), d)).collect();
        Ok(summaries.into_iter().map(|summary| DagView { doc: docs.remove(&summary.dag_id), summary }).collect())
    }

    /// A run by its id.
    ///
    /// # Errors
    /// [`Error::NotFound`] with the DAG's latest run ids that are close.
    pub async fn run_by_id(&self, dag_id: &DagId, run_id: &str) -> Result<RunDoc, Error> {
        if let Some(name) = self.store.run_name(dag_id, run_id).await?
            && let Some(run) = self.store.run(&name.incarnation).await?
        {
            return Ok(run);
        }
        if self.store.dag(dag_id).await?.is_none() {
            return Err(self.no_such_dag(dag_id).await);
        }
        let known = self.list_runs(dag_id, 100, None).await?.items.into_iter().map(|r| r.facts.run_id).collect();
        Err(Error::NotFound { what: "the run", name: run_id.to_owned(), near: near(run_id, known) })
    }

    /// The task instances of a run, in the order of its DAG; of a mapped task each of its instances, as far as they are known. For one mapped
    /// task see [`Engine::mapped_instances`], for a page of them [`Engine::list_mapped`].
    pub async fn task_instances(&self, run: &RunDoc) -> Result<Vec<TaskInstanceView>, Error> {
        let version = self.version(&run.facts.version).await?;
        let latest = latest(self.readable_attempts(&run.facts.incarnation).await?);
        let mut views = Vec::new();
        for task in version.plan.tasks() {
            let whole = task_instance(run, task, &version.plan, latest.get(&(task, None)));
            if version.plan.unit_of(task).is_none() {
                views.push(whole);
                continue;
            }
            let instances = self.instances_of(&version, run, task, &latest).await?;
            views.extend(if instances.is_empty() { vec![whole] } else { instances });
        }
        Ok(views)
    }

    /// A page of a run's task instances in their order, and how many there are, by what belongs to the page alone: of a mapped task its
    /// instances, as far as they are known, which the run's document counts.
    pub async fn task_instances_page(
        &self,
        run: &RunDoc,
        offset: usize,
        limit: usize,
    ) -> Result<(Vec<TaskInstanceView>, usize), Error> {
        let version = self.version(&run.facts.version).await?;
        let plan = &version.plan;
        let mut views = Vec::new();
        let mut before = 0;
        // Tasks that are not mapped and follow each other are read together.
        let mut whole: Vec<TaskIndex> = Vec::new();
        for task in plan.tasks() {
            let instances = known(&version, run, task) as usize;
            let end = before + instances.max(1);
            let wanted = offset.max(before)..offset.saturating_add(limit).min(end);
            if !wanted.is_empty() && instances == 0 {
                whole.push(task);
            } else if !wanted.is_empty() {
                views.extend(self.whole_tasks(&version, run, &std::mem::take(&mut whole)).await?);
                views.extend(self.list_mapped(run, task, wanted.start - before, wanted.len()).await?.0);
            }
            before = end;
        }
        views.extend(self.whole_tasks(&version, run, &whole).await?);
        Ok((views, before))
    }

    /// Tasks that follow each other and have no instances of their own.
    async fn whole_tasks(
        &self,
        version: &Version,
        run: &RunDoc,
        tasks: &[TaskIndex],
    ) -> Result<Vec<TaskInstanceView>, Error> {
        let (Some(first), Some(last)) = (tasks.first(), tasks.last()) else { return Ok(Vec::new()) };
        let found = self.store.readable_attempts_of_tasks(&run.facts.incarnation, first.0..last.0 + 1).await?;
        tell(&found.unreadable);
        let latest = latest(found.items);
        let view = |task: &TaskIndex| task_instance(run, *task, &version.plan, latest.get(&(*task, None)));
        Ok(tasks.iter().map(view).collect())
    }

    /// One task instance of a run.
    pub async fn task_instance(&self, run: &RunDoc, task: TaskIndex) -> Result<TaskInstanceView, Error> {
        let version = self.version(&run.facts.version).await?;
        let latest = latest(self.store.attempts_of_whole(&run.facts.incarnation, task).await?);
        Ok(task_instance(run, task, &version.plan, latest.get(&(task, None))))
    }

    /// The tries of a task instance, the latest last. Tries that were never begun are not among them.
    pub async fn tries(&self, run: &RunDoc, task: TaskIndex) -> Result<Vec<TryView>, Error> {
        self.tries_of(run, task, None).await
    }

    /// The same, of an instance of a mapped task.
    pub async fn tries_of(&self, run: &RunDoc, task: TaskIndex, map_index: Option<u32>) -> Result<Vec<TryView>, Error> {
        let mut attempts = self.attempts_of_instance(run, task, map_index).await?;
        attempts.sort_by_key(|(key, attempt)| (key.try_number, attempt.start_date, attempt.end_date));
        let mut tries: BTreeMap<u32, TryView> = BTreeMap::new();
        for (key, attempt) in attempts {
            let first = tries.get(&key.try_number);
            let begun = first.and_then(|t| t.start_date).unwrap_or(attempt.start_date);
            let view = TryView {
                try_number: key.try_number,
                state: ended_as(attempt.outcome),
                queued_at: first.map_or(attempt.queued_at, |t| t.queued_at),
                start_date: Some(begun),
                end_date: Some(attempt.end_date),
                message: attempt.message,
                hostname: attempt.hostname,
            };
            tries.insert(key.try_number, view);
        }
        let cell = &self.cell_of(run, task, map_index).await?;
        if let Some(lease) = cell.holder().filter(|_| !cell.is_final()) {
            let first = tries.get(&cell.try_number());
            let begun = first.and_then(|t| t.start_date).unwrap_or(lease.since);
            let view = TryView {
                try_number: cell.try_number(),
                state: cell.state(),
                queued_at: first.and_then(|t| t.queued_at),
                start_date: Some(begun),
                end_date: None,
                message: None,
                hostname: None,
            };
            tries.insert(cell.try_number(), view);
        } else if let (true, Some(last)) = (cell.is_final(), tries.get_mut(&cell.try_number()))
            && (map_index.is_none() || cell.state() != TaskInstanceState::Removed)
        {
            // What the task instance was settled or marked as outweighs what its attempt said. An instance that a later expansion has no more
            // was cleared first: its tries ended as they did.
            last.state = cell.state();
        }
        Ok(tries.into_values().collect())
    }

    /// A task of a run, by its id.
    pub async fn task_of_run(&self, run: &RunDoc, task_id: &str) -> Result<TaskIndex, Error> {
        let version = self.version(&run.facts.version).await?;
        version.plan.index_of(task_id).ok_or_else(|| {
            let known = version.plan.dag.tasks.iter().map(|t| t.task_id.to_string()).collect();
            Error::NotFound { what: "the task", name: task_id.to_owned(), near: near(task_id, known) }
        })
    }

    /// The logs of a task instance, attempt by attempt, the running one last where this machine has its spool.
    pub async fn logs<L: LogStore>(
        &self,
        logs: &L,
        run: &RunDoc,
        task_id: &str,
        try_number: Option<u32>,
    ) -> Result<Vec<LogView>, Error> {
        self.logs_of(logs, run, task_id, None, try_number).await
    }

    /// The same, of an instance of a mapped task. Without a map index the logs of all its instances.
    pub async fn logs_of<L: LogStore>(
        &self,
        logs: &L,
        run: &RunDoc,
        task_id: &str,
        map_index: Option<u32>,
        try_number: Option<u32>,
    ) -> Result<Vec<LogView>, Error> {
        let task = self.task_of_run(run, task_id).await?;
        let mut views = Vec::new();
        let mut attempts = match map_index {
            Some(_) => self.attempts_of_instance(run, task, map_index).await?,
            None => self.store.attempts_of(&run.facts.incarnation, Some(task)).await?,
        };
        // A try that was taken up again has an attempt for each time: in the order in which they ran.
        attempts.sort_by_key(|(key, attempt)| (key.map_index, key.try_number, attempt.start_date, attempt.end_date));
        for (key, attempt) in attempts {
            if try_number.is_some_and(|n| n != key.try_number) {
                continue;
            }
            let text = match (&attempt.log, &attempt.log_uri) {
                (_, Some(uri)) => match logs.get(uri).await? {
                    Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                    None => format!("[the log kept at {uri} is gone]\n"),
                },
                (Some(log), None) => log.clone(),
                // Its worker died: what it had written may still lie on this machine.
                (None, None) => spooled(logs, &key).unwrap_or_default(),
            };
            views.push(LogView { map_index: key.map_index, try_number: key.try_number, attempt: Some(attempt), text });
        }
        if let Cell::Running { try_number: running, lease } = &self.cell_of(run, task, map_index).await?
            && try_number.is_none_or(|n| n == *running)
        {
            let key = AttemptKey {
                incarnation: run.facts.incarnation.clone(),
                task,
                map_index,
                try_number: *running,
                token: lease.token.clone(),
            };
            if let Some(text) = spooled(logs, &key) {
                views.push(LogView { map_index, try_number: *running, attempt: None, text });
            }
        }
        Ok(views)
    }

    /// The XComs of a run, or of one of its tasks: task id, key, value. Of mapped tasks see [`Engine::mapped_xcoms`].
    pub async fn xcoms<L: LogStore>(
        &self,
        logs: &L,
        run: &RunDoc,
        task_id: Option<&str>,
        key: Option<&str>,
    ) -> Result<Vec<(String, String, Value)>, Error> {
        let version = self.version(&run.facts.version).await?;
        let tasks = match task_id {
            Some(task_id) => vec![self.task_of_run(run, task_id).await?],
            None => version.plan.tasks().collect(),
        };
        let mut found = Vec::new();
        for (task, attempt) in xcoms::winners(&self.store, run, tasks).await? {
            for (name, value) in attempt.xcoms.iter().filter(|(name, _)| key.is_none_or(|k| k == name.as_str())) {
                let value = xcoms::resolve(logs, value).await?;
                found.push((version.plan.task(task).task_id.to_string(), name.clone(), value));
            }
        }
        Ok(found)
    }
}

/// The state that an attempt of this outcome leaves its try in.
fn ended_as(outcome: AttemptOutcome) -> TaskInstanceState {
    match outcome {
        AttemptOutcome::Success => TaskInstanceState::Success,
        AttemptOutcome::Skipped => TaskInstanceState::Skipped,
        AttemptOutcome::Failed | AttemptOutcome::FailedForGood => TaskInstanceState::Failed,
        AttemptOutcome::Rescheduled { .. } => TaskInstanceState::UpForReschedule,
        AttemptOutcome::Deferred { .. } => TaskInstanceState::Deferred,
        AttemptOutcome::AwaitingInput { .. } => TaskInstanceState::AwaitingInput,
    }
}

/// The attempt of each task instance that began last.
pub(crate) type Latest = BTreeMap<(TaskIndex, Option<u32>), Attempt>;

pub(crate) fn latest(attempts: Vec<(AttemptKey, Attempt)>) -> Latest {
    let mut latest = Latest::new();
    for (key, mut attempt) in attempts {
        let instance = (key.task, key.map_index);
        // An answer begins with the attempt that asked, and ends later.
        let dates = |attempt: &Attempt| (attempt.start_date, attempt.end_date);
        let other = latest.get_mut(&instance);
        if other.as_ref().is_none_or(|other| dates(&attempt) >= dates(other)) {
            // An answer renders nothing: what it answers did.
            let rendered_none = attempt.rendered.is_empty() && attempt.rendered_uri.is_none();
            if let (true, Some(other)) = (attempt.hitl.is_some() && rendered_none, other) {
                attempt.queued_at = attempt.queued_at.or(other.queued_at);
                attempt.rendered = std::mem::take(&mut other.rendered);
                attempt.rendered_uri = other.rendered_uri.take();
            }
            latest.insert(instance, attempt);
        }
    }
    latest
}

/// A task as a whole: of a mapped one that is expanded, what its instances come to.
fn task_instance(run: &RunDoc, task: TaskIndex, plan: &Plan, attempt: Option<&Attempt>) -> TaskInstanceView {
    let view = instance_view(task, plan.task(task), None, run.cell(task), attempt);
    TaskInstanceView { state: updraft_scheduling::mapped::state(plan, &run.mapped, run.cell(task), task), ..view }
}

pub(crate) fn instance_view(
    task: TaskIndex,
    definition: &Task,
    map_index: Option<u32>,
    cell: &Cell,
    attempt: Option<&Attempt>,
) -> TaskInstanceView {
    let (queued_at, start_date, end_date) = match cell {
        Cell::Running { lease, .. } | Cell::Restarting { lease, .. } => (None, Some(lease.since), None),
        Cell::None => (None, None, None),
        // The attempt is of an earlier try, or of an earlier part of this one; when this was queued is told by its claim.
        Cell::Scheduled { .. } | Cell::Queued { .. } => {
            (None, attempt.map(|a| a.start_date), attempt.map(|a| a.end_date))
        }
        _ => (attempt.and_then(|a| a.queued_at), attempt.map(|a| a.start_date), attempt.map(|a| a.end_date)),
    };
    TaskInstanceView {
        task,
        task_id: definition.task_id.to_string(),
        map_index,
        rendered_map_index: attempt.and_then(|a| a.rendered_map_index.clone()),
        rendered: attempt.filter(|_| *cell != Cell::None).map(|a| a.rendered.clone()),
        rendered_uri: attempt.filter(|_| *cell != Cell::None).and_then(|a| a.rendered_uri.clone()),
        operator: definition.operator.clone(),
        state: cell.state(),
        try_number: cell.try_number(),
        queued_at,
        start_date,
        end_date,
        message: attempt.and_then(|a| a.message.clone()),
        hostname: attempt.and_then(|a| a.hostname.clone()),
    }
}

/// What this machine's spool holds of an attempt's log.
fn spooled<L: LogStore>(logs: &L, key: &AttemptKey) -> Option<String> {
    let path = logs.spool(&xcoms::log_name(key)).ok()?;
    Some(String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned())
}
