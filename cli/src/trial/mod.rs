//! Runs in this process and nowhere else: `dags test`, `tasks test`.
//!
//! The engine is the server's; its metastore is in memory, and its files are in a directory that goes away with it. The DAG is read
//! from its file as it is now; variables and connections are those of the environment and of the metastore, where there is one.

mod shown;
mod source;
mod watch;

pub(crate) use shown::Shown;
pub(crate) use source::Place;

use crate::failure::Failure;
use crate::metastore::{MetastoreUrl, Session};
use crate::printer::Printer;
use jiff::{SignedDuration, Timestamp};
use regex::Regex;
use std::sync::Arc;
use std::time::Duration;
use updraft_clock::{Clock, System};
use updraft_execution::Launcher;
use updraft_log_store::LogStore;
use updraft_metastore::memory::Memory;
use updraft_metastore::{DueWhat, Items};
use updraft_model::dag_parts::POOL_DEFAULT;
use updraft_model::{
    DagId, DagRunState, DagRunType, Incarnation, Lease, Plan, RunDoc, RunFacts, TaskIndex, Token, run_id,
};
use updraft_runner::ProcessRunner;
use updraft_service::engine::Version;
use updraft_service::pools::PoolWish;
use updraft_service::runs::Leases;
use updraft_service::{Engine, Settings, TaskRef, Trigger, Work};
use updraft_task_queue::{Lane, LocalQueue, Message, TaskQueue};
use updraft_templates::Renderer;

/// The engine of a trial.
type TrialEngine = Engine<Arc<Memory>, Arc<LocalQueue>, System>;

/// How long a trial waits at most before it looks again at what is due.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// An engine with a DAG, and what it runs attempts with.
pub(crate) struct Trial {
    engine: Arc<TrialEngine>,
    runner: Shown<ProcessRunner<Arc<Memory>, Arc<LocalQueue>, updraft_log_store::Directory, System>>,
    interrupted: watch::Interrupted,
    /// Holds logs and scratch files; removed at the end.
    _home: tempfile::TempDir,
}

impl Trial {
    /// Reads the DAG folder, and whatever variables and connections there are.
    pub(crate) async fn new(
        place: &Place,
        dag_id: &DagId,
        metastore: &MetastoreUrl,
        mark_success: Option<Regex>,
        printer: Printer,
    ) -> Result<Self, Failure> {
        let system = |what: &'static str| move |e: std::io::Error| Failure::fault(what).cause(e.to_string());
        let home = tempfile::Builder::new()
            .prefix("updraft-test-")
            .tempdir()
            .map_err(system("no directory for logs could be made"))?;
        for folder in ["versions", "tmp"] {
            std::fs::create_dir(home.path().join(folder)).map_err(system("no directory for logs could be made"))?;
        }
        let (items, queue) = (Arc::new(Memory::default()), Arc::new(LocalQueue::default()));
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let settings = Settings { hostname, ..place.settings()? };
        let engine = Arc::new(Engine::new(items, queue, System, settings));
        let folder = place.read(&engine, dag_id, printer).await?;
        copy_named(metastore, &engine, printer).await;
        for name in engine.missing_pools(dag_id).await? {
            printer.note(format_args!("note: there is no pool `{name}`; here it has slots without end"));
            let wish = PoolWish { name, slots: -1, description: String::new(), include_deferred: false };
            engine.set_pool(&wish).await?;
        }
        let launcher = Launcher::current_exe()
            .map_err(system("this program's own path is not known"))?
            .with_scratch(home.path().join("tmp"));
        let logs = updraft_log_store::Directory::new(home.path());
        let runner = ProcessRunner {
            engine: engine.clone(),
            logs: logs.clone(),
            launcher,
            versions: home.path().join("versions"),
            search_path: vec![folder],
            renderer: Arc::new(Renderer::new()),
            environment: crate::secrets::environment().await?,
            sns: crate::stores::sns(),
        };
        let interrupted = watch::Interrupted::listen()?;
        let runner = Shown::new(runner, logs, interrupted.clone(), mark_success, printer);
        Ok(Self { engine, runner, interrupted, _home: home })
    }

    /// Runs the whole DAG, and whatever runs it triggers, one task after the other. Returns the run as it ended.
    pub(crate) async fn run_dag(
        &self,
        dag_id: &DagId,
        logical_date: Option<Timestamp>,
        conf: serde_json::Value,
    ) -> Result<RunDoc, Failure> {
        let trigger = Trigger { dag_id: dag_id.clone(), run_id: None, logical_date, conf };
        let run = self.engine.trigger(trigger).await?;
        let incarnation = run.facts.incarnation;
        loop {
            let worked = self.step().await?;
            let run = self.engine.store.run(&incarnation).await?.ok_or_else(|| Failure::fault("the run is gone"))?;
            if self.interrupted.is_set() {
                return Err(Failure::user("the run was interrupted").cause("its tasks were killed"));
            }
            if run.state.is_finished() {
                return Ok(run);
            }
            if !worked {
                self.wait(&run).await?;
            }
        }
    }

    /// Runs one attempt of one task, whatever the tasks above it are like. Returns the run as the attempt left it.
    pub(crate) async fn run_task(
        &self,
        dag_id: &DagId,
        task_id: &str,
        map_index: Option<u32>,
        logical_date: Option<Timestamp>,
        conf: serde_json::Value,
    ) -> Result<(RunDoc, TaskIndex), Failure> {
        let (version, task, mut run) = self.run_of_now(dag_id, task_id, logical_date, conf).await?;
        updraft_params::check_task(&version.plan.dag, version.plan.task(task), &run.facts.conf)
            .map_err(|problem| Failure::user("the task was not run").cause(problem.to_string()))?;
        if version.plan.unit_of(task).is_some() || map_index.is_some() {
            return Box::pin(self.run_instance(&version, task, map_index, run)).await;
        }
        run.cells.insert(task, updraft_model::Cell::Queued { try_number: 1 });
        let incarnation = run.facts.incarnation.clone();
        self.engine.store.put_run(&run).await?;
        let wanted = TaskRef { incarnation: incarnation.clone(), task, try_number: 1, place: None, queued_at: None };
        loop {
            Box::pin(self.engine.work(&wanted, &self.runner, None, || None)).await?;
            let run = self.engine.store.run(&incarnation).await?.ok_or_else(|| Failure::fault("the run is gone"))?;
            if self.interrupted.is_set() {
                return Err(Failure::user("the task was interrupted").cause("it was killed"));
            }
            // A sensor that gave its worker back goes on when it is due.
            let updraft_model::Cell::Waiting { due, .. } = run.cell(task) else { return Ok((run, task)) };
            let cell = run.cell(task).clone();
            if !matches!(run.task_state(task), updraft_model::TaskInstanceState::UpForReschedule) {
                return Ok((run, task));
            }
            self.sleep(due.duration_since(self.engine.clock.now())).await;
            if run.cell(task) == &cell {
                self.engine.look_at_run(&incarnation, Leases::Heed).await?;
            }
        }
    }

    /// Runs one attempt of an instance of a mapped task. Returns the run with what became of it.
    async fn run_instance(
        &self,
        version: &Version,
        task: TaskIndex,
        map_index: Option<u32>,
        mut run: RunDoc,
    ) -> Result<(RunDoc, TaskIndex), Failure> {
        let (unit, count, map_index) = instance(version, &run, task, map_index)?;
        let key = updraft_model::MappedKey::Expansion(unit.unit);
        let expansion = updraft_model::Expansion { count, epoch: 0 };
        run.mapped.0.insert(key, updraft_model::MappedEntry::Expansion(expansion));
        let on = on_page(&run, unit, map_index);
        let (mut page, slot) = (on.page.clone(), on.slot(task));
        page.cells.insert(slot, updraft_model::Cell::Queued { try_number: 1 });
        page.wake_at = run.wake_at;
        self.engine.store.put_run(&run).await?;
        self.engine.store.put_page(&page).await?;
        let incarnation = run.facts.incarnation.clone();
        let wanted = TaskRef { incarnation, task, try_number: 1, place: Some(on.place), queued_at: None };
        Box::pin(self.engine.work(&wanted, &self.runner, None, || None)).await?;
        if self.interrupted.is_set() {
            return Err(Failure::user("the task was interrupted").cause("it was killed"));
        }
        let page = self.engine.store.page(&page.key).await?.ok_or_else(|| Failure::fault("the page is gone"))?;
        run.mapped = updraft_model::Mapped::default();
        run.cells.insert(task, page.cell(slot).clone());
        Ok((run, task))
    }

    /// A run that nobody has kept, and a task of it.
    async fn run_of_now(
        &self,
        dag_id: &DagId,
        task_id: &str,
        logical_date: Option<Timestamp>,
        conf: serde_json::Value,
    ) -> Result<(Arc<Version>, TaskIndex, RunDoc), Failure> {
        let version = self.version(dag_id).await?;
        let task = index_of(&version.plan, task_id)?;
        let now = self.engine.clock.now();
        let logical_date = logical_date.unwrap_or(now);
        let interval = version.plan.dag.timetable.infer_manual_data_interval(logical_date);
        let facts = RunFacts { conf, ..self.facts(dag_id, &version, logical_date, interval.ok(), now) };
        let mut run = RunDoc::new(facts, DagRunState::Running, now);
        run.start_date = Some(now);
        Ok((version, task, run))
    }

    /// The template fields of a task, as its first try would have them in a run of this date.
    pub(crate) async fn rendered(
        &self,
        dag_id: &DagId,
        task_id: &str,
        map_index: Option<u32>,
        logical_date: Option<Timestamp>,
    ) -> Result<Vec<(String, serde_json::Value)>, Failure> {
        let (version, task, run) = self.run_of_now(dag_id, task_id, logical_date, serde_json::Value::Null).await?;
        let work = first_try(run, version, task, map_index, self.engine.clock.now())?;
        rendered(self.runner.inner(), &work).await
    }

    /// The version of a DAG that was read.
    pub(crate) async fn version(&self, dag_id: &DagId) -> Result<Arc<Version>, Failure> {
        let dag = self.engine.store.dag(dag_id).await?;
        match dag.and_then(|dag| dag.version) {
            Some(version) => Ok(self.engine.version(&version).await?),
            None => Err(self.engine.no_such_dag(dag_id).await.into()),
        }
    }

    fn facts(
        &self,
        dag_id: &DagId,
        version: &Version,
        logical_date: Timestamp,
        data_interval: Option<updraft_model::DataInterval>,
        now: Timestamp,
    ) -> RunFacts {
        RunFacts {
            incarnation: Incarnation::trusted(self.engine.clock.draw(12)),
            dag_id: dag_id.clone(),
            run_id: run_id::generate(DagRunType::Manual, now, run_id::Ending::None),
            run_type: DagRunType::Manual,
            logical_date: Some(logical_date),
            data_interval,
            run_after: now,
            queued_at: now,
            version: version.id.clone(),
            conf: serde_json::Value::Null,
            asset_events: std::collections::BTreeMap::new(),
            origin: updraft_model::RunOrigin::default(),
            partition: None,
        }
    }

    /// Does one thing that is to be done; false where there is nothing.
    async fn step(&self) -> Result<bool, Failure> {
        let queue = &self.engine.queue;
        let looks = queue.receive(Lane::Looks, 1, Duration::ZERO).await.map_err(updraft_service::Error::from)?;
        if let Some(delivery) = looks.into_iter().next() {
            match delivery.message {
                // A look at a DAG would make the runs that are due by its schedule.
                Some(Message::Dag { .. }) | None => {}
                Some(message) => Box::pin(self.engine.look_where(&message)).await?,
            }
            return Ok(true);
        }
        let tasks = queue.receive(Lane::Tasks, 1, Duration::ZERO).await.map_err(updraft_service::Error::from)?;
        for message in tasks.into_iter().filter_map(|delivery| delivery.message) {
            if let Message::Callback { key, .. } = &message {
                Box::pin(self.engine.call(key, &self.runner, None)).await?;
                return Ok(true);
            }
            let Message::Task { incarnation, task, try_number, place, .. } = message else { continue };
            let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
            Box::pin(self.engine.work(&task, &self.runner, None, || None)).await?;
            return Ok(true);
        }
        let mut any = false;
        for entry in self.engine.store.due(self.engine.clock.now(), 100).await?.items {
            if !matches!(entry.what, DueWhat::Dag(_)) {
                any = true;
                self.engine.look(&entry.what).await?;
            }
        }
        // What is due and stays due is not to be looked at without a pause.
        if any {
            self.sleep(SignedDuration::from_millis(5)).await;
        }
        Ok(any)
    }

    /// Waits for what falls due next.
    async fn wait(&self, run: &RunDoc) -> Result<(), Failure> {
        let due = self.engine.store.due(Timestamp::MAX, 1000).await?.items;
        let next = due.iter().find(|entry| !matches!(entry.what, DueWhat::Dag(_))).map(|entry| entry.wake_at);
        let Some(next) = next else {
            let version = self.engine.version(&run.facts.version).await?;
            let stuck: Vec<String> = version
                .plan
                .tasks()
                .filter(|task| !run.task_state(*task).is_finished())
                .map(|task| format!("`{}` ({})", version.plan.task(task).task_id, run.task_state(task)))
                .collect();
            return Err(
                Failure::user("the run cannot go on by itself").cause(format!("waiting are {}", stuck.join(", ")))
            );
        };
        self.sleep(next.duration_since(self.engine.clock.now())).await;
        Ok(())
    }

    /// Sleeps, but not long at once, and not on when the person has enough.
    async fn sleep(&self, wait: SignedDuration) {
        let wait = Duration::try_from(wait).unwrap_or_default().min(LOOK_EVERY);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.interrupted.wait() => {}
        }
    }

    /// The task instances of the run, as `tasks states-for-dag-run` shows them.
    pub(crate) async fn task_instances(
        &self,
        run: &RunDoc,
    ) -> Result<Vec<updraft_service::views::TaskInstanceView>, Failure> {
        Ok(self.engine.task_instances(run).await?)
    }
}

/// The first try of a task, as somebody would claim it now.
pub(crate) fn first_try(
    run: RunDoc,
    version: Arc<Version>,
    task: TaskIndex,
    map_index: Option<u32>,
    now: Timestamp,
) -> Result<Work, Failure> {
    let lease = Lease { token: Token::trusted("test"), until: now, since: now };
    let on_page = if version.plan.unit_of(task).is_some() || map_index.is_some() {
        let (unit, _, map_index) = instance(&version, &run, task, map_index)?;
        Some(on_page(&run, unit, map_index))
    } else {
        None
    };
    Ok(Work { run, version, task, try_number: 1, queued_at: None, lease, deadline: None, on_page })
}

/// The unit of a mapped task, how many instances it has, and which of them is meant.
fn instance<'v>(
    version: &'v Version,
    run: &RunDoc,
    task: TaskIndex,
    map_index: Option<u32>,
) -> Result<(&'v updraft_model::Unit, u32, u32), Failure> {
    let task_id = &version.plan.task(task).task_id;
    let Some(unit) = version.plan.unit_of(task) else {
        return Err(Failure::user(format!("the task `{task_id}` is not mapped")).hint("leave out `--map-index`"));
    };
    let Some(count) = updraft_service::mapped::count_of(&version.plan, &run.mapped, unit) else {
        let failure = Failure::user(format!("the instances of `{task_id}` are not known"));
        let cause = "it is expanded over what other tasks return, and there is no run in which they have";
        return Err(failure.cause(cause).hint("run the whole DAG: `updraft dags test`"));
    };
    match map_index {
        None => {
            Err(Failure::user(format!("the task `{task_id}` is mapped")).hint("say which instance: `--map-index 0`"))
        }
        Some(index) if index >= count => {
            let failure = Failure::user(format!("the task `{task_id}` has no instance of map index {index}"));
            Err(failure.cause(format!("it has {count}, counted from 0")))
        }
        Some(index) => Ok((unit, count, index)),
    }
}

fn on_page(run: &RunDoc, unit: &updraft_model::Unit, map_index: u32) -> updraft_service::instances::OnPage {
    let page = map_index / unit.per_page();
    let key = updraft_model::PageKey { incarnation: run.facts.incarnation.clone(), unit: unit.unit, page };
    let place = updraft_model::Place { unit: unit.unit, page, map_index };
    let page = updraft_model::PageDoc::new(key, 0, page.saturating_mul(unit.per_page()));
    updraft_service::instances::OnPage { place, page, run_read_at: None }
}

/// The template fields of a task, as this attempt would have them.
pub(crate) async fn rendered<I: Items, Q: TaskQueue, L: LogStore, C: Clock>(
    runner: &ProcessRunner<I, Q, L, C>,
    work: &Work,
) -> Result<Vec<(String, serde_json::Value)>, Failure> {
    let task_id = &work.definition().task_id;
    let wrong = |why: String| Failure::user(format!("the task `{task_id}` cannot be rendered")).cause(why);
    runner.rendered(work).await.map_err(wrong)
}

/// A task by its id.
pub(crate) fn index_of(plan: &Plan, task_id: &str) -> Result<TaskIndex, Failure> {
    plan.index_of(task_id).ok_or_else(|| {
        let known = plan.dag.tasks.iter().map(|task| task.task_id.to_string()).collect();
        let near = updraft_service::engine::near(task_id, known);
        updraft_service::Error::NotFound { what: "the task", name: task_id.to_owned(), near }.into()
    })
}

/// Copies variables, connections and pools from the metastore, where there is one. Without, a trial has those of the environment alone.
async fn copy_named(metastore: &MetastoreUrl, engine: &TrialEngine, printer: Printer) {
    if !metastore.may_exist() {
        return;
    }
    let copied = async {
        let session = Session::open(metastore).await?;
        for variable in session.engine.variables().await? {
            engine.set_variable(&variable, true).await?;
        }
        for connection in session.engine.connections().await? {
            engine.set_connection(&connection, true).await?;
        }
        for pool in session.engine.list_pools().await? {
            if pool.name != POOL_DEFAULT {
                let (name, description) = (pool.name, pool.description);
                let wish = PoolWish { name, slots: pool.slots, description, include_deferred: pool.include_deferred };
                engine.set_pool(&wish).await?;
            }
        }
        Ok::<(), Failure>(())
    };
    if let Err(failure) = copied.await {
        printer.note(
            "note: variables and connections are those of the environment alone, since the metastore could not be read",
        );
        failure.report();
    }
}
