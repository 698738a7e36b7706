//! The runner that runs attempts for real: templates rendered, the operator's process under its supervisor, the log spooled.

use crate::engine::Error;
use crate::work::{Finished, Runner, Work};
use crate::xcoms::{self, RunXComs};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use updraft_clock::{Clock, System};
use updraft_execution::{
    AttemptSpec, BashCall, Callable, Launcher, LogSink, OperatorCall, Outcome, PythonCall, RunContext, cancellation,
};
use updraft_log_store::LogStore;
use updraft_metastore::{Items, Metastore};
use updraft_model::attempt::INLINE_BYTES_MAX;
use updraft_model::operators;
use updraft_model::{AttemptKey, AttemptOutcome, ValueRef};
use updraft_templates::{Context, DagFacts, Options, Renderer, TaskFacts, XComs};

/// How much of an attempt's XComs its item holds; what comes after goes to the log store, so that no item nears DynamoDB's limit.
const INLINE_TOTAL_MAX: usize = 64 * 1024;

/// How long before a worker's deadline its attempt is ended: the grace for its processes, and the time to record what it came to.
pub const WIND_UP: SignedDuration = SignedDuration::from_secs(8);

/// What is said of an attempt that did not end before its worker had to.
const OUT_OF_TIME: &str = "the worker's time was over before the task ended; let workers run longer (`WorkerTimeout` of the deployment), \
                           or make the task shorter";

/// Runs attempts as processes of this machine.
#[derive(Debug)]
pub struct ProcessRunner<I, L> {
    /// Where XComs are read.
    pub store: Metastore<I>,
    /// Where long logs and large values go.
    pub logs: L,
    /// How processes are started.
    pub launcher: Launcher,
    /// Where the files of versions are laid out.
    pub versions: PathBuf,
    /// Folders in which Python looks after the version's own files: the DAG folder, where it is at hand.
    pub search_path: Vec<PathBuf>,
    /// Renders templates.
    pub renderer: Arc<Renderer>,
}

/// The name of an attempt's log in the log store. Spread over a bounded number of folders, none of which is ever to be removed.
pub fn log_name(attempt: &AttemptKey) -> String {
    format!("logs/{}.log", blob_name(attempt))
}

/// What the names of an attempt's log and large values have in common.
fn blob_name(attempt: &AttemptKey) -> String {
    let AttemptKey { incarnation, task, try_number, token } = attempt;
    let folder: String = incarnation.as_str().chars().take(2).collect();
    format!("{folder}/{incarnation}-{task}-{try_number}-{token}")
}

/// A log on its way to its spool.
struct Spool {
    file: Option<tokio::fs::File>,
}

impl LogSink for Spool {
    async fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        match &mut self.file {
            Some(file) => {
                file.write_all(chunk).await?;
                file.flush().await
            }
            None => Ok(()),
        }
    }
}

impl<I: Items, L: LogStore> Runner for ProcessRunner<I, L> {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, stop: S) -> Option<Finished> {
        let name = log_name(&work.key());
        let spool = self.logs.spool(&name);
        let mut sink = Spool {
            file: match &spool {
                Ok(path) => tokio::fs::File::create(path).await.ok(),
                Err(_) => None,
            },
        };
        let spec = match self.prepare(work).await {
            Ok(spec) => spec,
            Err(failed) => {
                let line = format!("{}\n", failed.message.as_deref().unwrap_or("the attempt could not be prepared"));
                let _ = sink.write(line.as_bytes()).await;
                return Some(Finished { log: Some(line), ..failed });
            }
        };
        let (handle, cancel) = cancellation();
        let (mut stopping, mut out_of_time) = (false, false);
        let source = RunXComs { store: &self.store, logs: &self.logs, work };
        let report = {
            let running = updraft_execution::run(&spec, &self.launcher, &mut sink, &source, cancel);
            let time_over = wind_up(work.deadline);
            tokio::pin!(running, stop, time_over);
            loop {
                tokio::select! {
                    biased;
                    report = &mut running => break report,
                    why = &mut stop, if !stopping => { stopping = true; handle.cancel(why); }
                    () = &mut time_over, if !stopping => { (stopping, out_of_time) = (true, true); handle.cancel(OUT_OF_TIME); }
                }
            }
        };
        let (outcome, message) = match &report.outcome {
            Outcome::Success => (AttemptOutcome::Success, None),
            Outcome::Skipped { .. } => (AttemptOutcome::Skipped, Some(report.outcome.message())),
            Outcome::Failed { retryable: false, .. } => (AttemptOutcome::FailedForGood, Some(report.outcome.message())),
            Outcome::Failed { .. } | Outcome::TimedOut { .. } => {
                (AttemptOutcome::Failed, Some(report.outcome.message()))
            }
            Outcome::Rescheduled { until } => (AttemptOutcome::Rescheduled { until: *until }, None),
            // The cell is still ours: an end like any other failure's, and another try has a worker's whole time.
            Outcome::Killed { .. } if out_of_time => (AttemptOutcome::Failed, Some(report.outcome.message())),
            Outcome::Killed { .. } => return None,
        };
        drop(sink);
        let mut finished = Finished { message, ..Finished::new(outcome) };
        match self.keep_xcoms(work, report.xcoms).await {
            Ok(xcoms) => finished.xcoms = xcoms,
            Err(error) => finished = failed(format!("the XComs could not be kept: {error}")),
        }
        self.keep_log(&name, spool.ok().as_deref(), &report.log, &mut finished).await;
        Some(finished)
    }
}

/// Waits until an attempt has to be ended so that its end is recorded before the worker is gone; for ever, where it stays.
async fn wind_up(deadline: Option<Timestamp>) {
    let Some(deadline) = deadline else { return std::future::pending().await };
    let left = deadline.duration_since(System.now()) - WIND_UP;
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
}

fn failed(message: String) -> Finished {
    Finished { message: Some(message), ..Finished::new(AttemptOutcome::Failed) }
}

fn failed_for_good(message: String) -> Finished {
    Finished { outcome: AttemptOutcome::FailedForGood, ..failed(message) }
}

impl<I: Items, L: LogStore> ProcessRunner<I, L> {
    /// Renders the templates and puts together what is to be run. An error is the attempt's failure.
    async fn prepare(&self, work: &Work) -> Result<AttemptSpec, Finished> {
        let task = work.definition();
        let Some(operator) = operators::find(&task.operator) else {
            let known = ["BashOperator", "EmptyOperator", "PythonOperator"];
            return Err(failed_for_good(format!(
                "the operator `{}` is not one that Updraft runs; it runs {}",
                task.operator,
                known.join(", ")
            )));
        };
        if let Some(why) = task.not_run_yet() {
            return Err(failed_for_good(why.to_owned()));
        }
        let dag = &work.version.plan.dag;
        let params = dag.params_for(task, &work.run.facts.conf);
        let arguments = self.render(work, operator, params.clone()).await?;
        let call = match operator.runner {
            operators::Runner::Empty => OperatorCall::Empty,
            operators::Runner::Bash => OperatorCall::Bash(bash(&arguments).map_err(failed_for_good)?),
            operators::Runner::Python => {
                let folder = self.lay_out(work).await.map_err(|e| failed(e.to_string()))?;
                OperatorCall::Python(self.python(&arguments, &folder).map_err(failed_for_good)?)
            }
            _ => {
                return Err(failed_for_good(format!(
                    "the operator `{}` is known but not run by this version; it runs BashOperator, EmptyOperator and PythonOperator",
                    operator.short_name()
                )));
            }
        };
        let facts = &work.run.facts;
        let object = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let mut spec = AttemptSpec::new(dag.dag_id.as_str(), task.task_id.as_str(), &facts.run_id, call);
        spec.try_number = work.try_number;
        spec.max_tries = work.run.max_tries.get(&work.task).copied().unwrap_or(task.retries);
        spec.execution_timeout = task.execution_timeout.and_then(|t| Duration::try_from(t).ok());
        spec.do_xcom_push = task.do_xcom_push;
        spec.context = RunContext {
            logical_date: facts.logical_date,
            data_interval_start: facts.data_interval.map(|i| i.start),
            data_interval_end: facts.data_interval.map(|i| i.end),
            run_after: Some(facts.run_after),
            run_start_date: work.run.start_date,
            start_date: Some(work.lease.since),
            run_type: facts.run_type.to_string(),
            conf: object(&facts.conf),
            params: object(&params),
            owner: task.owner.clone(),
            extra: Map::new(),
        };
        Ok(spec)
    }

    /// The operator's arguments with its template fields rendered.
    async fn render(
        &self,
        work: &Work,
        operator: &operators::Operator,
        params: Value,
    ) -> Result<Map<String, Value>, Finished> {
        let task = work.definition();
        let mut arguments = task.arguments.clone();
        let fields: Map<String, Value> = operator
            .template_fields()
            .filter_map(|name| arguments.get(name).map(|value| (name.to_owned(), value.clone())))
            .collect();
        let fields = Value::Object(fields);
        let template = |e: updraft_templates::TemplateError| failed(format!("a template could not be rendered: {e}"));
        let needs = self.renderer.xcom_needs(&fields, task.task_id.as_str()).map_err(template)?;
        let xcoms = self.fetch(work, &needs).await.map_err(|e| failed(e.to_string()))?;
        let context = context(work, params);
        let rendered = self.renderer.render(&fields, &context, &xcoms, &Options::default()).map_err(template)?;
        if let Value::Object(rendered) = rendered {
            arguments.extend(rendered);
        }
        Ok(arguments)
    }

    /// Fetches what templates pull.
    async fn fetch(&self, work: &Work, needs: &updraft_templates::XComNeeds) -> Result<XComs, Error> {
        let mut xcoms = XComs::new();
        let source = RunXComs { store: &self.store, logs: &self.logs, work };
        for (task_id, key) in &needs.pulls {
            xcoms.mark_fetched(task_id, key);
            if let Some(value) = source.get(task_id, key).await? {
                xcoms.insert(task_id, key, -1, value);
            }
        }
        if needs.dynamic {
            let plan = &work.version.plan;
            let upstream: Vec<_> = plan.tasks().filter(|t| work.run.cell(*t).is_final()).collect();
            for (task, attempt) in xcoms::winners(&self.store, &work.run, upstream.iter().copied()).await? {
                for (key, value) in &attempt.xcoms {
                    let value = xcoms::resolve(&self.logs, value).await?;
                    xcoms.insert(plan.task(task).task_id.as_str(), key, -1, value);
                }
            }
            for task in upstream {
                xcoms.mark_complete(plan.task(task).task_id.as_str());
            }
        }
        Ok(xcoms)
    }

    /// Lays out the files of the attempt's version, once per version and machine.
    async fn lay_out(&self, work: &Work) -> std::io::Result<PathBuf> {
        let folder = self.versions.join(work.version.id.as_str());
        if tokio::fs::try_exists(&folder).await? {
            return Ok(folder);
        }
        // Beside it first, then renamed: nobody sees half a version, and of two that lay it out one wins.
        let draft = self.versions.join(format!(".{}-{}", work.version.id, work.lease.token));
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

    fn python(&self, arguments: &Map<String, Value>, folder: &Path) -> Result<PythonCall, String> {
        let text = |name: &str| arguments.get(name).and_then(Value::as_str);
        let callable = match (text("python_callable"), text("python_callable_file"), text("python_callable_name")) {
            (Some(path), _, _) => Callable::Import(path.to_owned()),
            (None, Some(file), Some(name)) => Callable::File { path: folder.join(file), name: name.to_owned() },
            _ => return Err("the task names no Python callable; give it `python_callable: module.function`".to_owned()),
        };
        let list = arguments.get("op_args").and_then(Value::as_array).cloned().unwrap_or_default();
        let map = |name: &str| arguments.get(name).and_then(Value::as_object).cloned();
        let mut search_path = vec![folder.to_path_buf()];
        search_path.extend(self.search_path.iter().cloned());
        Ok(PythonCall {
            op_args: list,
            op_kwargs: map("op_kwargs").unwrap_or_default(),
            templates_dict: map("templates_dict"),
            search_path,
            ..PythonCall::new(callable)
        })
    }

    /// Keeps what an attempt pushed: small values in its item, large ones in the log store.
    async fn keep_xcoms(&self, work: &Work, pushed: Vec<(String, Value)>) -> Result<BTreeMap<String, ValueRef>, Error> {
        let mut kept = BTreeMap::new();
        let mut inline = 0;
        let last: BTreeMap<String, Value> = pushed.into_iter().collect();
        for (number, (key, value)) in last.into_iter().enumerate() {
            let bytes = serde_json::to_vec(&value).expect("a JSON value always serializes");
            let at = if bytes.len() > INLINE_BYTES_MAX || inline + bytes.len() > INLINE_TOTAL_MAX {
                let name = format!("xcoms/{}-{number}.json", blob_name(&work.key()));
                ValueRef::At(self.logs.put(&name, bytes).await?)
            } else {
                inline += bytes.len();
                ValueRef::Inline(value)
            };
            kept.insert(key, at);
        }
        Ok(kept)
    }

    /// Keeps an attempt's log: a short one in its item, a long one in the log store. A log that cannot be kept costs the log, not the
    /// attempt: its tail stays in the item.
    async fn keep_log(
        &self,
        name: &str,
        spool: Option<&Path>,
        log: &updraft_execution::LogSummary,
        finished: &mut Finished,
    ) {
        let whole = log.bytes <= INLINE_BYTES_MAX as u64 && log.tail.len() as u64 == log.bytes;
        let Some(spool) = spool else {
            finished.log = Some(log.tail.clone());
            return;
        };
        if whole {
            finished.log = Some(log.tail.clone());
            let _ = tokio::fs::remove_file(spool).await;
            return;
        }
        match self.logs.keep(name, spool).await {
            Ok(uri) => finished.log_uri = Some(uri),
            Err(error) => {
                tracing::warn!(%error, name, "a log was not kept");
                finished.log = Some(format!("[only the end of this log was kept: {error}]\n{}", log.tail));
            }
        }
    }
}

fn bash(arguments: &Map<String, Value>) -> Result<BashCall, String> {
    let Some(command) = arguments.get("bash_command").and_then(Value::as_str) else {
        return Err("`bash_command` is not text; give the task a command line".to_owned());
    };
    let mut call = BashCall::new(command);
    call.env = arguments.get("env").and_then(Value::as_object).map(|env| {
        env.iter().map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned))).collect()
    });
    call.append_env = arguments.get("append_env").and_then(Value::as_bool).unwrap_or(false);
    call.cwd = arguments.get("cwd").and_then(Value::as_str).map(PathBuf::from);
    let code = |value: &Value| value.as_i64().and_then(|n| i32::try_from(n).ok());
    match arguments.get("skip_on_exit_code") {
        None => {}
        Some(Value::Null) => call.skip_on_exit_code = Vec::new(),
        Some(Value::Array(codes)) => call.skip_on_exit_code = codes.iter().filter_map(code).collect(),
        Some(value) => call.skip_on_exit_code = code(value).into_iter().collect(),
    }
    Ok(call)
}

/// What templates see.
fn context(work: &Work, params: Value) -> Context {
    let facts = &work.run.facts;
    let (dag, task) = (&work.version.plan.dag, work.definition());
    Context {
        dag_id: dag.dag_id.to_string(),
        task_id: task.task_id.to_string(),
        run_id: facts.run_id.clone(),
        run_type: facts.run_type.to_string(),
        run_state: work.run.state.to_string(),
        logical_date: facts.logical_date,
        data_interval: facts.data_interval.map(|i| (i.start, i.end)),
        partition_key: facts.partition.as_ref().map(|partition| partition.key.clone()),
        partition_date: facts.partition.as_ref().map(|partition| partition.date),
        run_after: facts.run_after,
        run_start_date: work.run.start_date,
        task_start_date: Some(work.lease.since),
        try_number: work.try_number,
        max_tries: work.run.max_tries.get(&work.task).copied().unwrap_or(task.retries),
        params,
        conf: facts.conf.clone(),
        dag: DagFacts {
            description: dag.description.clone(),
            tags: dag.tags.clone(),
            start_date: dag.start_date,
            end_date: dag.end_date,
            catchup: dag.catchup,
            max_active_runs: dag.max_active_runs_effective(),
        },
        task: TaskFacts {
            owner: task.owner.clone(),
            retries: task.retries,
            trigger_rule: task.trigger_rule.to_string(),
            ..Context::default().task
        },
        now: work.lease.since,
        ..Context::default()
    }
}
