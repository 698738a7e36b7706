//! Processes of an attempt: what they are told, and the files they find.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use updraft_execution::{AssetContext, AttemptSpec, Callable, OperatorCall, PythonCall, RunContext};
use updraft_service::Work;

use crate::arguments::Arguments;

/// A process of this attempt.
pub(crate) fn spec(work: &Work, params: &Value, call: OperatorCall) -> AttemptSpec {
    let (dag, task, facts) = (&work.version.plan.dag, work.definition(), &work.run.facts);
    let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let mut spec = AttemptSpec::new(dag.dag_id.as_str(), task.task_id.as_str(), &facts.run_id, call);
    spec.try_number = work.try_number;
    spec.max_tries = work.max_tries();
    spec.map_index = work.map_index();
    spec.task_instance_id = Some(work.task_instance_id());
    spec.do_xcom_push = task.do_xcom_push;
    spec.multiple_outputs = task.multiple_outputs;
    spec.multiple_outputs_as_annotated = task.multiple_outputs_as_annotated;
    spec.wants_context = task.map_index_template.is_some() && work.map_index().is_some();
    spec.context = RunContext {
        logical_date: facts.logical_date,
        data_interval_start: facts.data_interval.map(|i| i.start),
        data_interval_end: facts.data_interval.map(|i| i.end),
        run_after: Some(facts.run_after),
        run_start_date: work.run.start_date,
        start_date: Some(work.lease.since),
        run_type: facts.run_type.to_string(),
        conf: object(&facts.conf),
        params: object(params),
        owner: task.owner.clone(),
        assets: AssetContext::default(),
        extra: Map::new(),
    };
    spec
}

/// The callable that a task names under `name`, or under `name_name` and `name_file`. None: it names none.
pub(crate) fn callable(arguments: &Arguments, name: &str, folder: &Path) -> Result<Option<Callable>, String> {
    if let Some(path) = arguments.text(name)? {
        return Ok(Some(Callable::Import(path)));
    }
    match (arguments.text(&format!("{name}_name"))?, arguments.text(&format!("{name}_file"))?) {
        (Some(function), Some(file)) => Ok(Some(Callable::File { path: folder.join(file), name: function })),
        _ => Ok(None),
    }
}

/// A call of the task's own callable with its own arguments.
pub(crate) fn own_call(arguments: &Arguments, search_path: Vec<PathBuf>) -> Result<PythonCall, String> {
    let folder = search_path.first().cloned().unwrap_or_default();
    let callable = callable(arguments, "python_callable", &folder)?
        .ok_or("the task names no Python callable; give it `python_callable: module.function`")?;
    let op_args = match arguments.value("op_args") {
        Value::Array(list) => list,
        Value::Null => Vec::new(),
        _ => return Err("`op_args` must be a list".to_owned()),
    };
    Ok(PythonCall {
        op_args,
        op_kwargs: arguments.mapping("op_kwargs")?.unwrap_or_default(),
        templates_dict: arguments.mapping("templates_dict")?,
        search_path,
        ..PythonCall::new(callable)
    })
}

/// Lays out the files of the attempt's version, once per version and machine.
pub(crate) async fn lay_out(versions: &Path, work: &Work) -> std::io::Result<PathBuf> {
    let folder = versions.join(work.version.id.as_str());
    if tokio::fs::try_exists(&folder).await? {
        return Ok(folder);
    }
    // Beside it first, then renamed: nobody sees half a version, and of two that lay it out one wins.
    let draft = versions.join(format!(".{}-{}", work.version.id, work.lease.token));
    tokio::fs::create_dir_all(&draft).await?;
    for (path, text) in &work.version.files {
        let file = draft.join(path);
        if let Some(parent) = file.parent() {
            tokio::fs::create_dir_all(parent).await?;
        }
        tokio::fs::write(file, text).await?;
    }
    match tokio::fs::rename(&draft, &folder).await {
        Ok(()) => Ok(folder),
        Err(_) if tokio::fs::try_exists(&folder).await? => {
            tokio::fs::remove_dir_all(&draft).await?;
            Ok(folder)
        }
        Err(error) => Err(error),
    }
}
