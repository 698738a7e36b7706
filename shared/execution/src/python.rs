//! Airflow's PythonOperator, in a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::attempt::{LOST, Plan, Settled};
use crate::bash::working_directory;
use crate::channel::{Said, Status, VALUE_BYTES};
use crate::environment::{context_variables, inherited, iso_text};
use crate::launcher::{Launcher, PYTHON};
use crate::report::{Outcome, Returned};
use crate::spec::{AttemptSpec, Callable, PythonCall};
use crate::supervised::{Exit, ProcessSpec, WarmPython};

/// What runs in the Python process.
const BOOTSTRAP: &str = include_str!("python/bootstrap.py");
/// What it imports.
const MODULES: &[(&str, &str)] = &[
    ("updraft_assets.py", include_str!("python/assets.py")),
    ("updraft_airflow.py", include_str!("python/airflow.py")),
    ("updraft_context.py", include_str!("python/context.py")),
    ("updraft_log.py", include_str!("python/log.py")),
    ("updraft_values.py", include_str!("python/values.py")),
    ("updraft_zygote.py", include_str!("python/zygote.py")),
];
/// The bootstrap's name as a module: imported, not run as a script, so that Python keeps its compiled form.
const MODULE: &str = "updraft_bootstrap";
/// Says which executable a name stands for, behind shims and links, and how old it is.
const WHICH: &str = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)";

/// What is needed to call the callable, or why it cannot be called.
pub(crate) async fn plan(
    call: &PythonCall,
    spec: &AttemptSpec,
    launcher: &Launcher,
    env: Vec<(OsString, OsString)>,
) -> Result<Plan, String> {
    let program = match &call.own {
        Some(own) => resolve(&own.interpreter, OWN_ADVICE).await?,
        None => launcher
            .interpreter()
            .get_or_try_init(|| async { resolve(launcher.python(), &advice()).await })
            .await?
            .clone(),
    };
    let bootstrap = bootstrap(launcher).map_err(|error| launcher.no_scratch(&error))?;
    let greeting = greeting(call, spec).map_err(|error| format!("could not find the working directory: {error}"))?;
    let (cwd, scratch) = working_directory(call.cwd.as_deref(), launcher)?;
    // The entry for the current directory makes room for the bootstrap, which leaves again once it is imported.
    let start = format!("import sys; sys.path[0] = sys.argv[1]; import {MODULE}; {MODULE}.main()");
    let warm = warm(call, spec, &cwd).map(|line| WarmPython {
        interpreter: program.clone(),
        folder: bootstrap.path().to_owned(),
        env: inherited(std::env::vars_os()).collect(),
        line,
    });
    let process = ProcessSpec {
        program,
        args: vec!["-c".into(), start.into(), bootstrap.path().into()],
        env,
        cwd,
        channel: true,
        kill_grace: spec.kill_grace,
        warm,
    };
    Ok(Plan { process, greeting: Some(greeting.to_string()), scratch })
}

/// What a Python that is forked has to become; nothing if it has to be one of its own.
fn warm(call: &PythonCall, spec: &AttemptSpec, cwd: &Path) -> Option<String> {
    if call.fresh || call.own.is_some() {
        return None;
    }
    let env = context_variables(spec).map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let env: BTreeMap<String, String> = env.collect::<Option<_>>()?;
    Some(json!({ "cwd": cwd.to_str()?, "env": env }).to_string())
}

/// What to do about an interpreter that a task names.
const OWN_ADVICE: &str =
    "the task's `python` must name Python 3.8 or later, by its path or by a name in `PATH`, where workers run";

/// What to do about the interpreter of all callables.
fn advice() -> String {
    format!("install Python 3.8 or later where workers run, or name another interpreter in `{PYTHON}`")
}

/// The interpreter itself behind a name. Shims of version managers take 100 ms to find it each time, so it is asked once.
async fn resolve(python: &str, advice: &str) -> Result<PathBuf, String> {
    let asked = Command::new(python).args(["-c", WHICH]).kill_on_drop(true).output().await;
    let answer = asked.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("`{python}` was not found, and this task is a Python callable; {advice}")
        }
        _ => format!("could not start `{python}`: {error}; {advice}"),
    })?;
    let text = String::from_utf8_lossy(&answer.stdout);
    let mut lines = text.lines();
    let version = lines.next().and_then(|version| {
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    });
    match (version, lines.next()) {
        (Some(version), Some(executable)) if version >= (3, 8) && !executable.is_empty() => Ok(executable.into()),
        (Some((major, minor)), _) => Err(format!("`{python}` is Python {major}.{minor}; {advice}")),
        (None, _) => {
            let said = String::from_utf8_lossy(&answer.stderr);
            Err(format!("`{python}` does not work ({}): {}; {advice}", answer.status, said.trim()))
        }
    }
}

/// The directory that holds the bootstrap, written once per process, and again if somebody cleaned it away.
fn bootstrap(launcher: &Launcher) -> io::Result<Arc<tempfile::TempDir>> {
    let mut kept = launcher.bootstrap().lock().unwrap_or_else(PoisonError::into_inner);
    let file = |directory: &Path| directory.join(MODULE).with_extension("py");
    match &*kept {
        Some(directory) if file(directory.path()).exists() => Ok(Arc::clone(directory)),
        _ => {
            let directory = Arc::new(launcher.scratch_dir()?);
            for (name, text) in MODULES {
                fs::write(directory.path().join(name), text)?;
            }
            fs::write(file(directory.path()), BOOTSTRAP)?;
            *kept = Some(Arc::clone(&directory));
            Ok(directory)
        }
    }
}

/// What the bootstrap is told. Paths are absolute, because the process has another working directory.
fn greeting(call: &PythonCall, spec: &AttemptSpec) -> io::Result<Value> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map(|path| path.to_string_lossy().into_owned());
    let callable = match &call.callable {
        Callable::Import(name) => json!({ "import": name }),
        Callable::File { path, name } => json!({ "file": absolute(path)?, "name": name }),
    };
    let search_path = call.search_path.iter().map(absolute).collect::<io::Result<Vec<_>>>()?;
    let context = &spec.context;
    let date = |instant: Option<Timestamp>| instant.map(iso_text);
    Ok(json!({
        "callable": callable,
        "native_args": call.native_args,
        "op_args": call.op_args,
        "op_kwargs": call.op_kwargs,
        "templates_dict": call.templates_dict,
        "search_path": search_path,
        "value_bytes": VALUE_BYTES,
        "keep_value": spec.do_xcom_push,
        "wants_value": call.wants_value,
        "style": call.style,
        "as_annotated": spec.do_xcom_push && spec.multiple_outputs_as_annotated,
        "wants_context": spec.wants_context,
        "strict": call.strict,
        "string_args": call.own.as_ref().and_then(|own| own.string_args.as_ref()),
        "id": spec.task_instance_id,
        "dag_id": spec.dag_id,
        "task_id": spec.task_id,
        "run_id": spec.run_id,
        "try_number": spec.try_number,
        "max_tries": spec.max_tries,
        "map_index": spec.map_index.map_or(-1, i64::from),
        "owner": context.owner,
        "logical_date": date(context.logical_date),
        "data_interval_start": date(context.data_interval_start),
        "data_interval_end": date(context.data_interval_end),
        "run_after": date(context.run_after),
        "run_start_date": date(context.run_start_date),
        "start_date": date(context.start_date),
        "run_type": context.run_type,
        "conf": context.conf,
        "params": context.params,
        "assets": context.assets,
        "extra": context.extra,
    }))
}

/// What the conversation and the exit mean, and the value that was returned.
pub(crate) fn outcome(call: &PythonCall, said: Said, exit: Option<Exit>) -> (Settled, Value) {
    let mut ended = Settled { xcoms: said.pushed, ..Settled::new(Outcome::Success) };
    let skips = |code: i32| call.own.as_ref().is_some_and(|own| own.skip_on_exit_code.contains(&code));
    let skipped = |code: i32| Outcome::Skipped { reason: format!("Process exited with code {code}. Skipping.") };
    let Some(mut done) = said.done else {
        if let Some(Exit::Code(code)) = exit
            && said.fault.is_none()
            && skips(code)
        {
            ended.outcome = skipped(code);
            return (ended, Value::Null);
        }
        ended.outcome = Outcome::failed(match (said.fault, exit) {
            (Some(fault), _) => fault,
            (None, Some(Exit::Code(code))) => {
                format!("the Python process ended with exit code {code} before the callable returned")
            }
            (None, Some(Exit::Signal(signal))) => {
                let hint = if signal == 9 { " (was it killed for want of memory?)" } else { "" };
                format!("the Python process was ended by signal {signal} before the callable returned{hint}")
            }
            (None, None) => LOST.to_owned(),
        });
        return (ended, Value::Null);
    };
    ended.outlet_events = std::mem::take(&mut done.outlet_events);
    ended.context = std::mem::take(&mut done.context);
    if call.wants_value {
        ended.returned =
            Some(Returned { value: done.value.clone(), not_json: done.not_json, truthy: done.truthy, poke: done.poke });
    }
    ended.multiple_outputs = done.multiple_outputs;
    if let Some(code) = done.exit_code.filter(|code| skips(*code)) {
        ended.outcome = skipped(code);
        return (ended, Value::Null);
    }
    ended.outcome = match (done.status, done.until) {
        (Status::Success, _) => Outcome::Success,
        (Status::Skipped, _) => Outcome::Skipped { reason: done.message },
        (Status::Rescheduled, Some(until)) => Outcome::Rescheduled { until },
        (Status::Failed | Status::Rescheduled, _) => Outcome::failed(done.message),
        (Status::FailedForGood, _) => Outcome::Failed { message: done.message, retryable: false },
    };
    (ended, done.value)
}
