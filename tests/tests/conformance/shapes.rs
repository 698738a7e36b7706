//! DAGs as recorded cases describe them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use updraft_dag_file::{LoadOptions, load};
use updraft_model::{Dag, DagId, DagRunState, Plan, RunDoc, Task, TaskId, TriggerRule};

/// A DAG of a few tasks, as a file's header or a case gives it.
#[derive(Deserialize)]
pub(crate) struct Shape {
    pub(crate) tasks: serde_json::Map<String, Value>,
    pub(crate) edges: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct ShapeTask {
    kind: String,
    trigger_rule: TriggerRule,
    #[serde(default)]
    on_failure_fail_dagrun: bool,
    #[serde(default)]
    depends_on_past: bool,
    max_active_tis_per_dag: Option<u32>,
    max_active_tis_per_dagrun: Option<u32>,
}

impl Shape {
    /// The DAG, its tasks made by `task` from their recorded descriptions.
    pub(crate) fn plan(&self, task: impl Fn(TaskId, &Value) -> Task) -> Plan {
        let mut tasks: Vec<Task> = self.tasks.iter().map(|(id, value)| task(TaskId::trusted(id), value)).collect();
        let index_of = |id: &str| self.tasks.keys().position(|key| key == id).expect("an edge joins tasks");
        for (up, down) in &self.edges {
            tasks[index_of(down)].upstream.push(updraft_model::TaskIndex(index_of(up) as u32));
        }
        for task in &mut tasks {
            task.upstream.sort();
        }
        Plan::new(dag(tasks))
    }
}

/// The plans of the shapes in a file's header.
pub(crate) fn plans(header: &Value) -> BTreeMap<String, Plan> {
    let shapes: BTreeMap<String, Shape> = parse(&header["shapes"]);
    shapes.into_iter().map(|(name, shape)| (name, shape.plan(shape_task))).collect()
}

fn shape_task(task_id: TaskId, value: &Value) -> Task {
    let recorded: ShapeTask = parse(value);
    let is = |kind: &str| recorded.kind == kind;
    assert!(is("work") || is("setup") || is("teardown"), "a task of unknown kind: {value}");
    Task {
        trigger_rule: recorded.trigger_rule,
        is_setup: is("setup"),
        is_teardown: is("teardown"),
        on_failure_fail_dagrun: recorded.on_failure_fail_dagrun,
        depends_on_past: recorded.depends_on_past,
        max_active_tis_per_dag: recorded.max_active_tis_per_dag,
        max_active_tis_per_dagrun: recorded.max_active_tis_per_dagrun,
        retries: u32::from(is("work")),
        ..Task::new(task_id, "airflow.providers.standard.operators.python.PythonOperator")
    }
}

/// A DAG without a schedule.
pub(crate) fn dag(tasks: Vec<Task>) -> Dag {
    Dag { file: "d.yaml".to_owned(), ..Dag::new(DagId::trusted("d"), tasks) }
}

/// The task that a DAG file with one task declares, where the file gives `key` this value; or why the file is refused.
/// A run of such a DAG, running.
pub(crate) fn run() -> RunDoc {
    let facts = serde_json::from_value(serde_json::json!({
        "incarnation": "i", "dag_id": "d", "run_id": "r", "run_type": "manual", "version": "v",
        "run_after": "2026-01-01T00:00:00Z", "queued_at": "2026-01-01T00:00:00Z",
    }));
    RunDoc::new(facts.expect("facts of a run"), DagRunState::Running, jiff::Timestamp::UNIX_EPOCH)
}

pub(crate) fn declare(key: &str, value: &Value) -> Result<Task, String> {
    declare_with(std::iter::once((key.to_owned(), value.clone())).collect())
}

/// The same with these keys.
pub(crate) fn declare_with(keys: serde_json::Map<String, Value>) -> Result<Task, String> {
    let mut task = serde_json::json!({"operator": "EmptyOperator"});
    task.as_object_mut().expect("an object").extend(keys);
    let mut dag = load_dag(&serde_json::json!({"tasks": {"t": task}}))?;
    dag.tasks.pop().ok_or_else(|| "no task was declared".to_owned())
}

/// The DAG `d` that a file declares with these keys and a start date, or why the file is refused.
pub(crate) fn load_dag(keys: &Value) -> Result<Dag, String> {
    let mut dag = keys.clone();
    dag["default_args"] = serde_json::json!({"start_date": "2025-01-01"});
    // JSON is YAML.
    load_text(&serde_json::json!({"d": dag}).to_string())
}

/// The DAG that a file of this text declares, or why it is refused.
pub(crate) fn load_text(text: &str) -> Result<Dag, String> {
    let options = LoadOptions::new(jiff::Timestamp::UNIX_EPOCH);
    let mut loaded = load("d.yaml", text.as_bytes(), &options);
    let problems: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
    loaded.dags.pop().ok_or_else(|| problems.join("\n"))
}

/// A part of a recorded file as what it stands for.
pub(crate) fn parse<T: for<'de> Deserialize<'de>>(value: &Value) -> T {
    T::deserialize(value).unwrap_or_else(|error| panic!("{value} has another form: {error}"))
}
