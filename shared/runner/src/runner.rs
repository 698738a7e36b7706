//! The runner that runs attempts for real.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use updraft_clock::Clock;
use updraft_execution::{AssetContext, AttemptSpec, Cancel, Launcher, Level, Report, cancellation};
use updraft_log_store::LogStore;
use updraft_metastore::Items;
use updraft_model::asset::EXTRA_BYTES_MAX;
use updraft_model::attempt::{INLINE_BYTES_MAX, RETURN_VALUE};
use updraft_model::secrets::hide;
use updraft_model::workers::FUNCTION_LIFE_MOST;
use updraft_model::{
    AttemptKey, AttemptOutcome, Connection, DagDoc, DagId, Incarnation, OutletEvent, RunDoc, TaskIndex, ValueRef,
    VersionId,
};
use updraft_notify::SnsSigner;
use updraft_service::engine::Version;
use updraft_service::work::unknown_branch;
use updraft_service::{Engine, Environment, Error, Finished, Lookup, Origin, Runner, Trigger, Work, xcoms};
use updraft_task_queue::TaskQueue;
use updraft_templates::Renderer;

use crate::arguments::Arguments;
use crate::attempt::{Attempt, Break, End, Ended};
use crate::log::Log;
use crate::lookups::AttemptLookups;
use crate::rendered::{self, without};
use crate::services::Services;
use crate::{expand, operators, processes, render};

/// How long before a worker's deadline its attempt is ended: the grace for its processes, and the time to record what it came to.
pub const WIND_UP: SignedDuration = SignedDuration::from_secs(8);

/// What is said of an attempt that did not end before its worker had to.
const OUT_OF_TIME: &str = "the worker's time was over before the task ended; let workers run longer (`WorkerTimeout` of the deployment), \
                           or make the task shorter";

/// Why a task is not begun where its process would outlive every worker; none where it would not, or where workers do not end.
fn outlives_functions(work: &Work) -> Option<String> {
    let task = work.definition();
    let timeout = task.execution_timeout.filter(|timeout| *timeout > FUNCTION_LIFE_MOST)?;
    (work.deadline.is_some() && task.holds_its_worker()).then(|| {
        format!(
            "`execution_timeout` is {} s, and a worker on AWS Lambda lives for {} s at most: nothing was run. Make the task shorter, or \
             cut it in several; give its `execution_timeout` as less if it ends earlier anyway; or run it on a machine \
             (`updraft standalone`)",
            timeout.as_secs_f64(),
            FUNCTION_LIFE_MOST.as_secs()
        )
    })
}

/// Runs attempts on this machine: operators' own work in this process, commands and callables as processes.
#[derive(Debug)]
pub struct ProcessRunner<I, Q, L, C> {
    /// Where XComs and other runs are read, and runs are triggered.
    pub engine: Arc<Engine<I, Q, C>>,
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
    /// Connections that go before those of the metastore.
    pub environment: Environment,
    /// How messages leave for SNS; none where this process has nothing to do with AWS.
    pub sns: Option<Arc<dyn SnsSigner>>,
}

impl<I: Items, Q: TaskQueue, L: LogStore, C: Clock> Runner for ProcessRunner<I, Q, L, C> {
    async fn run<S: Future<Output = String> + Send>(&self, work: &Work, stop: S) -> Option<Finished> {
        let mut log = Log::open(&self.logs, xcoms::log_name(&work.key())).await;
        let (handle, cancel) = cancellation();
        let busy = AtomicBool::new(false);
        let timeout = work.definition().execution_timeout.and_then(|timeout| Duration::try_from(timeout).ok());
        let time_over = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        let mut out_of_time = false;
        let mut stopped_by = None;
        let end = {
            let attempted = Box::pin(self.attempt(work, &mut log, &busy, cancel, time_over));
            let (wind_up, timed_out) = (self.wind_up(work.deadline), until(time_over));
            tokio::pin!(attempted, stop, wind_up, timed_out);
            let (mut stopping, mut late) = (false, false);
            loop {
                // A process takes time to end, and says itself that it was killed or took too long; anything else is dropped at once.
                let is_busy = || busy.load(Ordering::SeqCst);
                tokio::select! {
                    biased;
                    end = &mut attempted => break end,
                    why = &mut stop, if !stopping => {
                        stopping = true;
                        stopped_by = Some(why.clone());
                        handle.cancel(why);
                        if !is_busy() { break Err(Break::Killed) }
                    }
                    () = &mut wind_up, if !stopping => {
                        (stopping, out_of_time) = (true, true);
                        handle.cancel(OUT_OF_TIME);
                        if !is_busy() { break Err(Break::Killed) }
                    }
                    () = &mut timed_out, if !late => {
                        late = true;
                        if !is_busy() { break Err(timed_out_after(work, timeout).into()) }
                    }
                }
            }
        };
        let ended = match end {
            Ok(ended) => ended,
            Err(Break::Ended(ended)) => *ended,
            // The cell is still ours: an end like any other failure's, and another try has a worker's whole time.
            Err(Break::Killed) if out_of_time => Ended::failed(format!("timeout: {OUT_OF_TIME}")),
            Err(Break::Killed) => {
                let killed = Ended::failed(stopped_by.unwrap_or_else(|| "it was killed".to_owned()));
                let finished = Box::pin(self.finished(work, killed, log)).await;
                return Some(Finished { is_killed: true, ..finished });
            }
        };
        Some(Box::pin(self.finished(work, ended, log)).await)
    }
}

/// The end of an attempt that took longer than it may. As in Airflow, a sensor with `soft_fail` is skipped by it.
fn timed_out_after(work: &Work, timeout: Option<Duration>) -> Ended {
    let seconds = timeout.unwrap_or_default().as_secs_f64();
    let message = format!("execution timeout of {seconds} s passed");
    let sensor = work.definition().sensor.as_ref();
    if sensor.is_some_and(|sensor| sensor.soft_fail || sensor.never_fail) {
        Ended::skipped(message)
    } else {
        Ended::failed(message)
    }
}

/// What was said about assets, unless it is more than an event holds: no other try says less.
fn checked_events(said: Vec<OutletEvent>) -> Result<Vec<OutletEvent>, String> {
    for event in &said {
        let bytes = serde_json::to_vec(&event.extra).map_or(0, |bytes| bytes.len());
        if bytes > EXTRA_BYTES_MAX {
            return Err(format!(
                "the extra of the event of the asset `{}` has {bytes} bytes; at most {EXTRA_BYTES_MAX} fit: put the data into a file and \
                 say where it is",
                event.asset.name
            ));
        }
    }
    Ok(said)
}

async fn until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

impl<I: Items, Q: TaskQueue, L: LogStore, C: Clock> ProcessRunner<I, Q, L, C> {
    /// Renders the templates and carries out the operator.
    async fn attempt(
        &self,
        work: &Work,
        log: &mut Log,
        busy: &AtomicBool,
        cancel: Cancel,
        time_over: Option<tokio::time::Instant>,
    ) -> End {
        let task = work.definition();
        let Some(operator) = updraft_operators::find(&task.operator) else {
            let known: Vec<&str> = updraft_operators::runnable().collect();
            let (name, known) = (&task.operator, known.join(", "));
            return Err(format!("the operator `{name}` is not one that Updraft runs; it runs {known}").into());
        };
        if let Some(why) = outlives_functions(work) {
            return Err(why.into());
        }
        let params = work.version.plan.dag.params_for(task, &work.run.facts.conf);
        let mut source = self.source(work);
        let assets = crate::assets::context(&self.engine, work).await;
        source.assets = assets.map_err(|e| Ended::failed(format!("the task's assets could not be read: {e}")))?;
        let mut attempt = Attempt {
            work,
            arguments: Arguments::new(operator, serde_json::Map::new()),
            params: params.clone(),
            secrets: Vec::new(),
            services: self,
            log,
            busy,
            assets: source.assets.clone(),
            outlet_events: Vec::new(),
            added: serde_json::Map::new(),
            pushed: BTreeMap::new(),
            cancel,
            time_over,
        };
        let expanded = Box::pin(expand::expanded(&source.lookups, Some(&mut attempt))).await?;
        source.of_group.clone_from(expanded.of_group());
        let mut secrets = Vec::new();
        let values = match source.render(operator, params.clone(), &mut secrets, expanded).await {
            Ok(values) => values,
            Err(ended) => return Err(ended.hiding(&secrets).into()),
        };
        attempt.secrets = secrets;
        attempt.arguments = Arguments::new(operator, values.clone());
        let end = operators::run(operator, &mut attempt).await;
        let mut ended = match end {
            Ok(ended) => ended,
            Err(Break::Ended(ended)) => *ended,
            Err(Break::Killed) => return Err(Break::Killed),
        }
        .hiding(&attempt.secrets);
        let became = |name: &str| attempt.arguments.is_given(name).then(|| attempt.arguments.value(name));
        ended.rendered = rendered::kept(operator, &task.arguments, became, &attempt.secrets);
        ended.outlet_events = checked_events(std::mem::take(&mut attempt.outlet_events))?;
        for (key, value) in attempt.pushed {
            ended.xcoms.entry(key).or_insert(value);
        }
        let mut secrets = attempt.secrets;
        match source.instance_name(params, values, attempt.added, &mut secrets).await {
            Ok(name) => ended.rendered_map_index = name.map(|name| hide(&name, &secrets)),
            // As in Airflow, an instance that did all it should fails by its name; of another one the first reason counts.
            Err(why) if ended.outcome == AttemptOutcome::Success => {
                ended.xcoms.remove(RETURN_VALUE);
                let why = format!("`map_index_template` does not name this instance: {}", hide(&why, &secrets));
                let Ended { xcoms, rendered, .. } = ended;
                ended = Ended { xcoms, rendered, ..Ended::failed(why) };
            }
            Err(why) => tracing::debug!(why, "`map_index_template` could not be rendered"),
        }
        Ok(ended)
    }

    /// A task's template fields as this attempt would have them, in the operator's order; what is secret in them is hidden.
    ///
    /// # Errors
    /// Why the attempt would fail.
    pub async fn rendered(&self, work: &Work) -> Result<Vec<(String, Value)>, String> {
        let task = work.definition();
        let operator = updraft_operators::find(&task.operator)
            .ok_or_else(|| format!("the operator `{}` is not one that Updraft runs", task.operator))?;
        let params = work.version.plan.dag.params_for(task, &work.run.facts.conf);
        let mut source = self.source(work);
        source.assets = crate::assets::context(&self.engine, work).await.map_err(|e| e.to_string())?;
        let mut secrets = Vec::new();
        let why = |ended: Ended| ended.message.unwrap_or_else(|| "its templates cannot be rendered".to_owned());
        let expanded = expand::expanded::<I, L, Self>(&source.lookups, None).await.map_err(|ended| match ended {
            Break::Ended(ended) => why(*ended),
            Break::Killed => "it was killed".to_owned(),
        })?;
        source.of_group.clone_from(expanded.of_group());
        let rendered = source.render(operator, params, &mut secrets, expanded).await;
        let mut arguments = rendered.map_err(|ended| why(ended.hiding(&secrets)))?;
        let fields = operator.template_fields();
        Ok(fields
            .filter_map(|name| Some((name.to_owned(), without(render::untagged(arguments.remove(name)?), &secrets))))
            .collect())
    }

    pub(crate) fn source<'a>(&'a self, work: &'a Work) -> render::Source<'a, I, L> {
        render::Source {
            renderer: &self.renderer,
            lookups: self.lookups(work),
            of_group: serde_json::Map::new(),
            assets: AssetContext::default(),
            told: None,
        }
    }

    pub(crate) fn lookups<'a>(&'a self, work: &'a Work) -> AttemptLookups<'a, I, L> {
        AttemptLookups { store: &self.engine.store, logs: &self.logs, environment: &self.environment, work }
    }

    /// Keeps what an attempt left behind.
    async fn finished(&self, work: &Work, mut ended: Ended, mut log: Log) -> Finished {
        let mut map_length = None;
        if ended.outcome == AttemptOutcome::Success {
            let value = ended.xcoms.get(RETURN_VALUE);
            match xcoms::map_length(&work.version.plan, work.task, value, self.engine.settings.max_map_length) {
                Ok(length) => map_length = length,
                Err(why) => ended = Ended { xcoms: BTreeMap::new(), ..Ended::failed(why) },
            }
        }
        let kept = match self.keep_xcoms(work, std::mem::take(&mut ended.xcoms)).await {
            Ok(kept) => kept,
            Err(error) => {
                ended = Ended::failed(format!("the XComs could not be kept: {error}"));
                BTreeMap::new()
            }
        };
        if let Some(why) = ended.choice.as_ref().and_then(|choice| unknown_branch(work, choice)) {
            ended = Ended { outcome: AttemptOutcome::Failed, message: Some(why), choice: None, ..ended };
        }
        if let Some(message) = &ended.message {
            let failed = matches!(ended.outcome, AttemptOutcome::Failed | AttemptOutcome::FailedForGood);
            let level = if failed { Level::Error } else { Level::Info };
            log.conclude(self.engine.clock.now(), level, message).await;
        }
        let (rendered, rendered_uri) = self.keep_rendered(work, ended.rendered).await;
        let mut finished = Finished {
            message: ended.message,
            xcoms: kept,
            choice: ended.choice,
            outlet_events: ended.outlet_events,
            handover: ended.handover,
            map_length,
            rendered_map_index: ended.rendered_map_index,
            rendered,
            rendered_uri,
            hitl: ended.hitl,
            ..Finished::new(ended.outcome)
        };
        log.keep(&self.logs, &mut finished).await;
        finished
    }

    /// Keeps what the template fields became: in the attempt's item, or in the log store where they are long together, since a PUT costs less
    /// than the write units. What that does not take stays in the item.
    async fn keep_rendered(&self, work: &Work, rendered: Map<String, Value>) -> (Map<String, Value>, Option<String>) {
        let bytes = serde_json::to_vec(&rendered).expect("a JSON value always serializes");
        if bytes.len() <= INLINE_BYTES_MAX {
            return (rendered, None);
        }
        match self.logs.put(&xcoms::rendered_name(&work.key()), bytes).await {
            Ok(uri) => (Map::new(), Some(uri)),
            Err(error) => {
                tracing::warn!(%error, run_id = work.run.facts.run_id, "long template fields were not put into the log store");
                (rendered, None)
            }
        }
    }

    /// Keeps what an attempt pushed: small values in its item, large ones in the log store.
    async fn keep_xcoms(
        &self,
        work: &Work,
        pushed: BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, ValueRef>, Error> {
        let mut kept = BTreeMap::new();
        let mut inline = 0;
        for (number, (key, value)) in pushed.into_iter().enumerate() {
            let bytes = serde_json::to_vec(&value).expect("a JSON value always serializes");
            let at = if bytes.len() > INLINE_BYTES_MAX || inline + bytes.len() > xcoms::INLINE_TOTAL_MAX {
                ValueRef::At(self.logs.put(&xcoms::value_name(&work.key(), number), bytes).await?)
            } else {
                inline += bytes.len();
                ValueRef::Inline(value)
            };
            kept.insert(key, at);
        }
        Ok(kept)
    }

    /// Waits until an attempt has to be ended so that its end is recorded before the worker is gone; for ever, where it stays.
    async fn wind_up(&self, deadline: Option<Timestamp>) {
        let Some(deadline) = deadline else { return std::future::pending().await };
        let left = deadline.duration_since(self.engine.clock.now()) - WIND_UP;
        tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
    }
}

impl<I: Items, Q: TaskQueue, L: LogStore, C: Clock> Services for ProcessRunner<I, Q, L, C> {
    fn now(&self) -> Timestamp {
        self.engine.clock.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.engine.clock.sleep(duration).await;
    }

    async fn process(&self, work: &Work, spec: &AttemptSpec, log: &mut Log, cancel: Cancel) -> Report {
        updraft_execution::run(spec, &self.launcher, log, &self.lookups(work), cancel).await
    }

    async fn rendered_text(
        &self,
        work: &Work,
        params: &Value,
        text: String,
        secrets: &mut Vec<String>,
    ) -> Result<Value, Ended> {
        let operator = updraft_operators::find(&work.definition().operator)
            .ok_or_else(|| Ended::failed_for_good("the operator is not one that Updraft runs"))?;
        let mut source = self.source(work);
        let assets = crate::assets::context(&self.engine, work).await;
        source.assets = assets.map_err(|e| Ended::failed(format!("the task's assets could not be read: {e}")))?;
        let fields = std::iter::once(("text".to_owned(), Value::String(text))).collect();
        let mut rendered = Box::pin(source.fields(fields, operator, params.clone(), secrets)).await?;
        Ok(rendered.remove("text").unwrap_or(Value::Null))
    }

    fn python(&self) -> String {
        self.launcher.python().to_owned()
    }

    fn scratch(&self) -> std::io::Result<tempfile::TempDir> {
        self.launcher.scratch_dir()
    }

    async fn search_path(&self, work: &Work) -> Result<Vec<PathBuf>, Error> {
        let folder = processes::lay_out(&self.versions, work).await;
        let folder =
            folder.map_err(|e| Error::Refused(format!("the files of the DAG's version could not be laid out: {e}")))?;
        Ok(std::iter::once(folder).chain(self.search_path.iter().cloned()).collect())
    }

    async fn connection(&self, conn_id: &str) -> Result<Option<Connection>, Error> {
        Lookup { store: &self.engine.store, environment: &self.environment }.connection(conn_id).await
    }

    async fn handover(&self, work: &Work) -> Result<Option<Value>, Error> {
        let Some(resumed) = work.resumed() else { return Ok(None) };
        let key = AttemptKey { token: resumed.last.clone(), ..work.key() };
        Ok(self.engine.store.attempt(&key).await?.and_then(|attempt| attempt.handover))
    }

    async fn dag(&self, dag_id: &DagId) -> Result<Option<DagDoc>, Error> {
        Ok(self.engine.store.dag(dag_id).await?)
    }

    async fn version(&self, id: &VersionId) -> Result<Arc<Version>, Error> {
        self.engine.version(id).await
    }

    async fn run(&self, incarnation: &Incarnation) -> Result<Option<RunDoc>, Error> {
        Ok(self.engine.store.run(incarnation).await?)
    }

    async fn run_of_id(&self, dag_id: &DagId, run_id: &str) -> Result<Option<RunDoc>, Error> {
        match self.engine.store.run_name(dag_id, run_id).await? {
            Some(name) => Ok(self.engine.store.run(&name.incarnation).await?),
            None => Ok(None),
        }
    }

    async fn run_of_date(&self, dag_id: &DagId, at: Timestamp) -> Result<Option<RunDoc>, Error> {
        self.engine.run_of_date(dag_id, at).await
    }

    async fn trigger(&self, trigger: Trigger, origin: &Origin) -> Result<RunDoc, Error> {
        self.engine.trigger_from(trigger, origin).await
    }

    async fn clear_run(&self, run: &RunDoc) -> Result<RunDoc, Error> {
        let version = self.engine.version(&run.facts.version).await?;
        let tasks: Vec<TaskIndex> = version.plan.tasks().collect();
        self.engine.clear(&run.facts.incarnation, &tasks).await
    }

    fn draw(&self, length: usize) -> String {
        self.engine.clock.draw(length)
    }
}
