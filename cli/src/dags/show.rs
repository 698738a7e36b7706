//! `updraft dags show`

use super::sources::{self, Alone, Reading};
use super::{files, report, tree};
use crate::failure::{Failure, did_you_mean};
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::{Cell, Printer};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use updraft_model::{DagDoc, DagId, Plan, TaskIndex};

/// What to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The DAG's id
    #[arg(value_parser = super::parse_dag_id, required_unless_present = "file")]
    dag_id: Option<DagId>,

    /// Show the DAGs of this file, with no metastore; JSON and YAML are then a list
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    reading: Reading,
}

/// Shows a DAG of the metastore, or those of a file.
pub(crate) async fn run(arguments: &Arguments, metastore: &MetastoreUrl, printer: Printer) -> Result<(), Failure> {
    if let Some(file) = &arguments.file {
        return show_file(file, arguments.dag_id.as_ref(), &arguments.reading, printer).await;
    }
    let Some(dag_id) = &arguments.dag_id else { return Err(Failure::user("no DAG was named")) };
    let session = Session::open(metastore).await?;
    let dag = super::existing(&session, dag_id).await?;
    let Some(version) = &dag.version else {
        return Err(Failure::user(format!("the DAG `{dag_id}` has nothing to show"))
            .cause(format!("its file `{}` is gone, or no longer declares it", dag.file))
            .hint("upload the file again"));
    };
    let version = session.engine.version(version).await?;
    if printer.is_for_programs() {
        printer.value(&to_json(&version.plan, Some(&dag)))
    } else {
        printer.text(&tree::draw(&version.plan))
    }
}

async fn show_file(file: &PathBuf, wanted: Option<&DagId>, reading: &Reading, printer: Printer) -> Result<(), Failure> {
    if !file.is_file() {
        return Err(Failure::user(format!("`{}` is no file", file.display())));
    }
    let scopes = sources::collect(std::slice::from_ref(file), Alone::InPlace, reading.ignore_syntax()).await?;
    let checked = files::check(&scopes, reading, Timestamp::now()).await?;
    let Some(checked) = checked.into_iter().next() else {
        return Err(Failure::user(format!("`{}` is no DAG file", file.display()))
            .cause("DAG files end in `.yaml` or `.yml`, and `defaults.yml` is reserved"));
    };
    let problems = report::render(&checked, crate::printer::colors_on_stderr());
    if !problems.is_empty() {
        printer.note(problems.trim_end());
    }
    let known: Vec<String> = checked.dags.iter().map(|dag| dag.dag_id.to_string()).collect();
    let failed = checked.has_errors();
    let dags: Vec<_> = checked.dags.into_iter().filter(|dag| wanted.is_none_or(|id| *id == dag.dag_id)).collect();
    if let (Some(id), []) = (wanted, dags.as_slice()) {
        let failure = Failure::user(format!("the file `{}` gives no DAG `{id}`", file.display()));
        return Err(match did_you_mean(&updraft_service::engine::near(id.as_str(), known)) {
            Some(hint) => failure.hint(hint),
            None => failure,
        });
    }
    let plans: Vec<Plan> = dags.into_iter().map(Plan::new).collect();
    if printer.is_for_programs() {
        printer.value(&Value::Array(plans.iter().map(|plan| to_json(plan, None)).collect()))?;
    } else {
        printer.text(&plans.iter().map(tree::draw).collect::<Vec<_>>().join("\n"))?;
    }
    if failed { Err(Failure::told()) } else { Ok(()) }
}

/// A DAG with its tasks and edges, under the keys of Airflow's API where it has them. Durations are seconds.
fn to_json(plan: &Plan, doc: Option<&DagDoc>) -> Value {
    let dag = &plan.dag;
    let edges: Vec<Value> = plan
        .tasks()
        .flat_map(|from| plan.downstream(from).iter().map(move |to| (from, *to)))
        .map(|(from, to)| json!({ "source_id": plan.task(from).task_id, "target_id": plan.task(to).task_id }))
        .collect();
    let id = |task: TaskIndex| plan.task(task).task_id.as_str();
    json!({
        "dag_id": dag.dag_id,
        "dag_display_name": dag.dag_display_name.as_deref().unwrap_or(dag.dag_id.as_str()),
        "fileloc": dag.file,
        "description": dag.description,
        "doc_md": dag.doc_md,
        "owners": dag.owners,
        "tags": dag.tags,
        "is_paused": doc.map(|doc| doc.paused),
        "is_paused_upon_creation": dag.is_paused_upon_creation,
        "timetable_summary": dag.schedule_summary(),
        "timetable_class": dag.timetable_class(),
        "timetable": dag.timetable,
        "asset_expression": dag.assets,
        "timezone": dag.timezone,
        "start_date": instant(dag.start_date),
        "end_date": instant(dag.end_date),
        "next_dagrun_run_after": instant(doc.and_then(|doc| doc.next_due)),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs_effective(),
        "max_active_tasks": dag.max_active_tasks,
        "dagrun_timeout": dag.dagrun_timeout.map(seconds),
        "fail_fast": dag.fail_fast,
        "render_template_as_native_obj": dag.render_template_as_native_obj,
        "max_consecutive_failed_dag_runs": dag.max_consecutive_failed_dag_runs,
        "params": dag.params,
        "param_schemas": dag.param_schemas,
        "default_args": dag.default_args,
        "callbacks": dag.callbacks,
        "owner_links": dag.owner_links,
        "templates": dag.templates,
        "task_groups": dag.groups,
        "roots": plan.tasks().filter(|task| plan.upstream(*task).is_empty()).map(id).collect::<Vec<_>>(),
        "leaves": plan.leaves().iter().copied().map(id).collect::<Vec<_>>(),
        "tasks": plan.tasks().map(|task| task_to_json(plan, task)).collect::<Vec<_>>(),
        "edges": edges,
    })
}

/// A task with its settings.
pub(crate) fn task_to_json(plan: &Plan, index: TaskIndex) -> Value {
    let task = plan.task(index);
    let ids = |tasks: &[TaskIndex]| {
        let mut ids: Vec<&str> = tasks.iter().map(|t| plan.task(*t).task_id.as_str()).collect();
        ids.sort_unstable();
        json!(ids)
    };
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
    put("task_id", json!(task.task_id));
    put("operator_name", json!(short_name(&task.operator)));
    put("operator", json!(task.operator));
    put("decorator", json!(task.decorator));
    put("task_display_name", json!(task.task_display_name.as_deref().unwrap_or(task.task_id.as_str())));
    put("task_group", json!(task.group));
    put("owner", json!(task.owner));
    put("is_mapped", json!(task.mapping.is_some()));
    put("mapping", json!(task.mapping));
    put("map_index_template", json!(task.map_index_template));
    put("sensor", json!(task.sensor));
    put("start_date", instant(task.start_date));
    put("end_date", instant(task.end_date));
    put("upstream_task_ids", ids(plan.upstream(index)));
    put("downstream_task_ids", ids(plan.downstream(index)));
    put("trigger_rule", json!(task.trigger_rule));
    put("retries", json!(task.retries));
    put("retry_delay", seconds(task.retry_delay));
    put("retry_exponential_backoff", json!(task.retry_exponential_backoff));
    put("max_retry_delay", json!(task.max_retry_delay.map(seconds)));
    put("execution_timeout", json!(task.execution_timeout.map(seconds)));
    put("priority_weight", json!(task.priority_weight));
    put("weight_rule", json!(task.weight_rule));
    put("depends_on_past", json!(task.depends_on_past));
    put("wait_for_downstream", json!(task.wait_for_downstream));
    put("ignore_first_depends_on_past", json!(task.ignore_first_depends_on_past));
    put("wait_for_past_depends_before_skipping", json!(task.wait_for_past_depends_before_skipping));
    put("pool", json!(task.pool));
    put("pool_slots", json!(task.pool_slots));
    put("queue", json!(task.queue));
    put("do_xcom_push", json!(task.do_xcom_push));
    put("multiple_outputs", json!(task.multiple_outputs));
    put("render_template_as_native_obj", json!(task.renders_native(&plan.dag)));
    put("max_active_tis_per_dag", json!(task.max_active_tis_per_dag));
    put("max_active_tis_per_dagrun", json!(task.max_active_tis_per_dagrun));
    put("is_setup", json!(task.is_setup));
    put("is_teardown", json!(task.is_teardown));
    put("on_failure_fail_dagrun", json!(task.on_failure_fail_dagrun));
    put("params", json!(task.params));
    put("callbacks", json!(task.callbacks));
    put("inlets", json!(task.inlets));
    put("outlets", json!(task.outlets));
    put("arguments", json!(task.arguments));
    let operator = updraft_model::operators::find(&task.operator);
    put("template_fields", json!(operator.map(|o| o.template_fields().collect::<Vec<_>>()).unwrap_or_default()));
    put("other_arguments", json!(task.other));
    put("doc_md", json!(task.doc_md));
    Value::Object(object)
}

/// The class of an operator, without its module.
pub(crate) fn short_name(operator: &str) -> &str {
    operator.rsplit('.').next().unwrap_or(operator)
}

fn instant(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| Cell::Time(Some(at)).to_json())
}

/// Seconds: whole where they are whole.
fn seconds(duration: SignedDuration) -> Value {
    if duration.subsec_nanos() == 0 { json!(duration.as_secs()) } else { json!(duration.as_secs_f64()) }
}
