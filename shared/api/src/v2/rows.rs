//! Task instances as Airflow's responses have them, written without a map between: pages of them are what people and scripts ask for most,
//! and most of what an answer costs is its JSON.

use super::shapes::{self, Notes, Versioned};
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::Value;
use updraft_metastore::Noted;
use updraft_model::{RunDoc, TaskIndex, TaskInstanceState};
use updraft_service::views::{TaskInstanceView, TryView};

/// An instant, written as pydantic prints it.
#[derive(Debug)]
struct At(Timestamp);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&shapes::time_text(self.0))
    }
}

/// What a task instance and each of its tries have in common. Units stand for what does not exist here: they are written as null.
#[derive(Debug, Serialize)]
pub(crate) struct Instance<'r> {
    task_id: &'r str,
    dag_id: &'r str,
    dag_run_id: &'r str,
    map_index: i64,
    max_tries: u32,
    task_display_name: &'r str,
    dag_display_name: &'r str,
    unixname: (),
    pool: &'r str,
    pool_slots: u32,
    queue: &'r str,
    priority_weight: i64,
    operator: &'r str,
    operator_name: &'r str,
    queued_when: Option<At>,
    scheduled_when: (),
    pid: (),
    executor: (),
    executor_config: &'r str,
    dag_version: &'r Value,
    start_date: Option<At>,
    end_date: Option<At>,
    duration: Option<f64>,
    /// Airflow writes "no state yet" as null.
    state: Option<TaskInstanceState>,
    try_number: u32,
    hostname: &'r str,
}

/// `TaskInstanceResponse`.
#[derive(Debug, Serialize)]
pub(crate) struct Row<'r> {
    #[serde(flatten)]
    instance: Instance<'r>,
    id: String,
    logical_date: Option<At>,
    run_after: At,
    note: Option<&'r str>,
    rendered_map_index: Option<&'r str>,
    rendered_fields: Value,
    trigger: (),
    triggerer_job: (),
}

/// The parts of an instance that are the task's.
fn instance<'r>(
    run: &'r RunDoc,
    (plan, dag_version): Versioned<'r>,
    index: TaskIndex,
    map_index: Option<u32>,
) -> Instance<'r> {
    let task = plan.task(index);
    let operator = task.operator.rsplit('.').next().unwrap_or(&task.operator);
    Instance {
        task_id: task.task_id.as_str(),
        dag_id: run.facts.dag_id.as_str(),
        dag_run_id: &run.facts.run_id,
        map_index: map_index.map_or(-1, i64::from),
        max_tries: run.max_tries.get(&index).copied().unwrap_or(task.retries),
        task_display_name: task.task_display_name.as_deref().unwrap_or(task.task_id.as_str()),
        dag_display_name: plan.dag.dag_display_name.as_deref().unwrap_or(plan.dag.dag_id.as_str()),
        unixname: (),
        pool: &task.pool,
        pool_slots: task.pool_slots,
        queue: &task.queue,
        priority_weight: plan.priority(index),
        operator,
        operator_name: operator,
        queued_when: None,
        scheduled_when: (),
        pid: (),
        executor: (),
        executor_config: "{}",
        dag_version,
        start_date: None,
        end_date: None,
        duration: None,
        state: None,
        try_number: 0,
        hostname: "",
    }
}

fn state(state: TaskInstanceState) -> Option<TaskInstanceState> {
    (state != TaskInstanceState::None).then_some(state)
}

/// `TaskInstanceResponse` of a task instance.
pub(crate) fn row<'r>(run: &'r RunDoc, of: Versioned<'r>, view: &'r TaskInstanceView, notes: &'r Notes) -> Row<'r> {
    let note = notes.get(&Noted::Task(view.task, view.map_index)).or_else(|| notes.get(&Noted::Task(view.task, None)));
    let incarnation = run.facts.incarnation.as_str();
    Row {
        instance: Instance {
            queued_when: view.queued_at.map(At),
            start_date: view.start_date.map(At),
            end_date: view.end_date.map(At),
            duration: shapes::seconds(view.start_date, view.end_date),
            state: state(view.state),
            try_number: view.try_number,
            hostname: view.hostname.as_deref().unwrap_or_default(),
            ..instance(run, of, view.task, view.map_index)
        },
        id: updraft_service::task_instance_id(incarnation, &view.task_id, view.map_index, view.try_number),
        logical_date: run.facts.logical_date.map(At),
        run_after: At(run.facts.run_after),
        note: note.map(|note| note.content.as_str()),
        rendered_map_index: view.rendered_map_index.as_deref(),
        rendered_fields: shapes::rendered_fields(of.0, view),
        trigger: (),
        triggerer_job: (),
    }
}

/// `TaskInstanceHistoryResponse` of a try.
pub(crate) fn one_try<'r>(
    run: &'r RunDoc,
    of: Versioned<'r>,
    task: TaskIndex,
    map_index: Option<u32>,
    view: &'r TryView,
) -> Instance<'r> {
    Instance {
        queued_when: view.queued_at.map(At),
        start_date: view.start_date.map(At),
        end_date: view.end_date.map(At),
        duration: shapes::seconds(view.start_date, view.end_date),
        state: state(view.state),
        try_number: view.try_number,
        hostname: view.hostname.as_deref().unwrap_or_default(),
        ..instance(run, of, task, map_index)
    }
}
