//! The bodies of Airflow's REST API v2 by which people intervene, read into what the use cases take. Whoever serves HTTP answers
//! [`Error::Invalid`] with 422, as Airflow answers a body of another form.

use super::clear::{ClearDagRun, ClearTaskInstances};
use super::mark::{PatchTaskInstances, RunPatch};
use super::runs::check_note;
use super::selection::{Picks, TaskPick};
use crate::backfill::NewBackfill;
use crate::engine::Error;
use crate::trigger::{Origin, Trigger};
use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use updraft_model::cell::End;
use updraft_model::{DagId, DagRunState, DagRunType, DataInterval, ReprocessBehavior, TriggeredBy};

/// A request, and whether it is only to say what it would do.
#[derive(Debug, Clone, PartialEq)]
pub struct MayBeDry<T> {
    /// What is asked for.
    pub request: T,
    /// Only say what it would do.
    pub dry_run: bool,
}

fn read<T: DeserializeOwned>(body: &Value) -> Result<T, Error> {
    let invalid =
        |why: &dyn std::fmt::Display| Error::Invalid(format!("the body is not what this request takes: {why}"));
    if !body.is_object() {
        return Err(invalid(&"it is no JSON object"));
    }
    T::deserialize(body).map_err(|error| invalid(&error))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TaskOrInstance {
    Task(String),
    Instance(String, i64),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClearTaskInstancesBody {
    dry_run: bool,
    start_date: Option<Timestamp>,
    end_date: Option<Timestamp>,
    only_failed: bool,
    only_running: bool,
    reset_dag_runs: bool,
    task_ids: Option<Vec<TaskOrInstance>>,
    dag_run_id: Option<String>,
    include_upstream: bool,
    include_downstream: bool,
    include_future: bool,
    include_past: bool,
    prevent_running_task: bool,
    run_on_latest_version: Option<bool>,
    note: Option<String>,
}

impl Default for ClearTaskInstancesBody {
    fn default() -> Self {
        Self {
            dry_run: true,
            start_date: None,
            end_date: None,
            only_failed: true,
            only_running: false,
            reset_dag_runs: true,
            task_ids: None,
            dag_run_id: None,
            include_upstream: false,
            include_downstream: false,
            include_future: false,
            include_past: false,
            prevent_running_task: false,
            run_on_latest_version: None,
            note: None,
        }
    }
}

/// `POST /dags/{dag_id}/clearTaskInstances`. As in Airflow it is dry, and about what has failed, unless it says otherwise.
///
/// # Errors
/// [`Error::Invalid`] for a body of another form, or one that contradicts itself.
pub fn clear_task_instances(body: &Value) -> Result<MayBeDry<ClearTaskInstances>, Error> {
    let body: ClearTaskInstancesBody = read(body)?;
    let invalid = |text: &str| Err(Error::Invalid(text.to_owned()));
    if body.only_failed && body.only_running {
        return invalid("only_failed and only_running both are set to True");
    }
    if body.task_ids.as_ref().is_some_and(Vec::is_empty) {
        return invalid("task_ids list should have at least 1 element.");
    }
    if let (Some(start), Some(end)) = (body.start_date, body.end_date)
        && end < start
    {
        return invalid("end_date is sooner than start_date");
    }
    if body.dag_run_id.is_some() && (body.start_date.is_some() || body.end_date.is_some()) {
        return invalid("Exactly one of dag_run_id or (start_date and end_date) must be provided");
    }
    check_note(body.note.as_deref().unwrap_or_default())?;
    let tasks = body.task_ids.map(|ids| ids.into_iter().map(pick).collect::<Result<_, _>>()).transpose()?;
    Ok(MayBeDry {
        request: ClearTaskInstances {
            run_id: body.dag_run_id,
            include_past: body.include_past,
            include_future: body.include_future,
            start_date: body.start_date,
            end_date: body.end_date,
            picks: Picks { tasks, task_group_ids: Vec::new() },
            include_upstream: body.include_upstream,
            include_downstream: body.include_downstream,
            only_failed: body.only_failed,
            only_running: body.only_running,
            reset_dag_runs: body.reset_dag_runs,
            prevent_running_task: body.prevent_running_task,
            run_on_latest_version: body.run_on_latest_version,
            note: body.note,
        },
        dry_run: body.dry_run,
    })
}

fn pick(id: TaskOrInstance) -> Result<TaskPick, Error> {
    match id {
        // Airflow's -1 is "not mapped".
        TaskOrInstance::Task(task_id) | TaskOrInstance::Instance(task_id, -1) => Ok(TaskPick::task(task_id)),
        TaskOrInstance::Instance(task_id, map_index) => match u32::try_from(map_index) {
            Ok(map_index) => Ok(TaskPick { task_id, map_index: Some(map_index) }),
            Err(_) => Err(Error::Invalid(format!("the map index of `{task_id}` is {map_index}; give 0 or more"))),
        },
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ClearDagRunBody {
    dry_run: bool,
    only_failed: bool,
    only_new: bool,
    run_on_latest_version: Option<bool>,
    note: Option<String>,
}

impl Default for ClearDagRunBody {
    fn default() -> Self {
        Self { dry_run: true, only_failed: false, only_new: false, run_on_latest_version: None, note: None }
    }
}

/// `POST /dags/{dag_id}/dagRuns/{dag_run_id}/clear`. Dry unless it says otherwise.
///
/// # Errors
/// [`Error::Invalid`] for a body of another form.
pub fn clear_dag_run(body: &Value) -> Result<MayBeDry<ClearDagRun>, Error> {
    let ClearDagRunBody { dry_run, only_failed, only_new, run_on_latest_version, note } = read(body)?;
    check_note(note.as_deref().unwrap_or_default())?;
    let request = ClearDagRun { only_failed, only_running: false, only_new, run_on_latest_version, note };
    Ok(MayBeDry { request, dry_run })
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PatchTaskInstanceBody {
    new_state: Option<String>,
    note: Option<String>,
    include_upstream: bool,
    include_downstream: bool,
    include_future: bool,
    include_past: bool,
}

/// `PATCH` of a task instance, or of the instances of a task group. None: it gives no state, only a note (or nothing).
///
/// # Errors
/// [`Error::Invalid`] for a body of another form, or a state that nobody may give.
pub fn patch_task_instances(
    run_id: &str,
    picks: Picks,
    body: &Value,
) -> Result<(Option<PatchTaskInstances>, Option<String>), Error> {
    let body: PatchTaskInstanceBody = read(body)?;
    check_note(body.note.as_deref().unwrap_or_default())?;
    let new_state = match body.new_state.as_deref() {
        None => None,
        Some("success") => Some(End::Success),
        Some("failed") => Some(End::Failed),
        Some("skipped") => Some(End::Skipped),
        Some(other) => {
            return Err(Error::Invalid(format!("'{other}' is not one of ['success', 'failed', 'skipped']")));
        }
    };
    let patch = new_state.map(|new_state| PatchTaskInstances {
        include_past: body.include_past,
        include_future: body.include_future,
        include_upstream: body.include_upstream,
        include_downstream: body.include_downstream,
        note: body.note.clone(),
        ..PatchTaskInstances::new(run_id, picks, new_state)
    });
    Ok((patch, body.note))
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PatchDagRunBody {
    state: Option<String>,
    note: Option<String>,
}

/// `PATCH /dags/{dag_id}/dagRuns/{dag_run_id}`.
///
/// # Errors
/// [`Error::Invalid`] for a body of another form, or a state that nobody may give.
pub fn patch_dag_run(body: &Value) -> Result<RunPatch, Error> {
    let body: PatchDagRunBody = read(body)?;
    check_note(body.note.as_deref().unwrap_or_default())?;
    let state = match body.state.as_deref() {
        None => None,
        Some("success") => Some(DagRunState::Success),
        Some("failed") => Some(DagRunState::Failed),
        Some("queued") => Some(DagRunState::Queued),
        Some(other) => {
            return Err(Error::Invalid(format!("'{other}' is not one of ['queued', 'success', 'failed']")));
        }
    };
    Ok(RunPatch { state, note: body.note })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TriggerBody {
    #[serde(deserialize_with = "Option::deserialize")]
    logical_date: Option<Timestamp>,
    #[serde(default)]
    dag_run_id: Option<String>,
    #[serde(default)]
    data_interval_start: Option<Timestamp>,
    #[serde(default)]
    data_interval_end: Option<Timestamp>,
    #[serde(default)]
    run_after: Option<Timestamp>,
    #[serde(default)]
    conf: Option<Map<String, Value>>,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    partition_key: Option<String>,
}

/// `POST /dags/{dag_id}/dagRuns`: `logical_date` must be there, and may be null.
///
/// # Errors
/// [`Error::Invalid`] for a body of another form.
pub fn trigger(dag_id: &DagId, body: &Value) -> Result<(Trigger, Origin), Error> {
    triggered(dag_id, read(body)?)
}

/// `POST /assets/{asset_id}/materialize`: what a trigger takes, all of it optional, and the body itself too.
///
/// # Errors
/// [`Error::Invalid`] for a body of another form.
pub fn materialize(dag_id: &DagId, body: &Value) -> Result<(Trigger, Origin), Error> {
    let mut body = body.clone();
    if body.is_null() {
        body = Value::Object(Map::new());
    }
    if let Value::Object(fields) = &mut body {
        fields.entry("logical_date").or_insert(Value::Null);
    }
    let (trigger, origin) = triggered(dag_id, read(&body)?)?;
    Ok((trigger, Origin { run_type: DagRunType::AssetMaterialization, ..origin }))
}

fn triggered(dag_id: &DagId, body: TriggerBody) -> Result<(Trigger, Origin), Error> {
    check_note(body.note.as_deref().unwrap_or_default())?;
    let data_interval = match (body.data_interval_start, body.data_interval_end) {
        (Some(start), Some(end)) => Some(DataInterval { start, end }),
        (None, None) => None,
        _ => {
            return Err(Error::Invalid(
                "Either both data_interval_start and data_interval_end must be provided or both must be None"
                    .to_owned(),
            ));
        }
    };
    let trigger = Trigger {
        dag_id: dag_id.clone(),
        run_id: body.dag_run_id.filter(|id| !id.is_empty()),
        logical_date: body.logical_date,
        conf: body.conf.map_or(Value::Null, Value::Object),
    };
    let origin = Origin {
        run_after: body.run_after,
        without_logical_date: body.logical_date.is_none(),
        without_tail: true,
        data_interval,
        partition_key: body.partition_key,
        triggered_by: Some(TriggeredBy::RestApi),
        note: body.note,
        ..Origin::default()
    };
    Ok((trigger, origin))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BackfillBody {
    dag_id: String,
    from_date: Timestamp,
    to_date: Timestamp,
    #[serde(default)]
    run_backwards: bool,
    #[serde(default)]
    dag_run_conf: Option<Map<String, Value>>,
    #[serde(default)]
    reprocess_behavior: Option<ReprocessBehavior>,
    #[serde(default)]
    max_active_runs: Option<u32>,
    #[serde(default)]
    run_on_latest_version: Option<bool>,
}

/// `POST /backfills` and `POST /backfills/dry_run`.
///
/// # Errors
/// [`Error::Invalid`] for a body of another form.
pub fn backfill(body: &Value) -> Result<NewBackfill, Error> {
    let body: BackfillBody = read(body)?;
    let dag_id = DagId::parse(&body.dag_id).map_err(|why| Error::Invalid(format!("dag_id: {why}")))?;
    let default = NewBackfill::new(dag_id, body.from_date, body.to_date);
    Ok(NewBackfill {
        run_backwards: body.run_backwards,
        dag_run_conf: body.dag_run_conf.filter(|conf| !conf.is_empty()).map_or(Value::Null, Value::Object),
        reprocess_behavior: body.reprocess_behavior.unwrap_or(default.reprocess_behavior),
        max_active_runs: body.max_active_runs.unwrap_or(default.max_active_runs),
        run_on_latest_version: body.run_on_latest_version,
        ..default
    })
}
