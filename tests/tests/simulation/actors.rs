//! Who acts: workers, schedulers, people. Each is a future that calls the engine as its Lambda or its server would.

use crate::maps;
use crate::queue::SimQueue;
use crate::rng::Rng;
use crate::runner::SimRunner;
use crate::scenario;
use crate::store::{SimClock, SimItems};
use crate::world::{Event, MINUTE, Micros, SECOND, Shared, instant};
use std::sync::Arc;
use std::time::Duration;
use updraft_metastore::Metastore;
use updraft_model::cell::{End, Wait};
use updraft_model::{
    BackfillId, Cell, DagChange, DagId, DagRunState, HitlUser, Incarnation, ReprocessBehavior, RunDoc, TaskIndex,
};
use updraft_service::backfill::NewBackfill;
use updraft_service::hitl::Answer;
use updraft_service::interventions::{ClearTaskInstances, PatchTaskInstances, Picks, RunPatch};
use updraft_service::{Continuation, Engine, Settings, TaskRef, Trigger};
use updraft_task_queue::{Lane, Message, TaskQueue};

pub(crate) type SimEngine = Engine<SimItems, SimQueue, SimClock>;

/// What a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Takes tasks. In the cloud one at a time, cut off at a limit; on a server several.
    Worker { slots: usize, limit: Option<Micros> },
    /// Ticks, and takes looks. `ahead`: sends what falls due soon by delayed messages.
    Scheduler { ahead: bool },
    /// Triggers, clears, fails, pauses.
    Person { acts: usize },
    /// Unpauses everything in the end.
    Caretaker,
}

/// An engine as one process holds it.
pub(crate) fn engine(world: &Shared, process: usize) -> Arc<SimEngine> {
    let items = SimItems { world: world.clone(), process };
    let queue = SimQueue { world: world.clone(), process };
    let clock = SimClock { world: world.clone(), process };
    let page_cells = world.lock().page_cells();
    Arc::new(Engine::new(items, queue, clock, Settings { plans_max: 3, page_cells, ..Settings::default() }))
}

/// The hand of one process on world and engine.
#[derive(Clone)]
pub(crate) struct Hand {
    pub(crate) world: Shared,
    pub(crate) process: usize,
    pub(crate) engine: Arc<SimEngine>,
}

impl Hand {
    fn draw<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut self.world.lock().rng)
    }

    fn failed(&self, what: &str, error: &dyn std::fmt::Display) {
        self.world.lock().say(self.process, &format!("{what}: {error}"));
    }

    async fn receive(&self, lane: Lane) -> Option<(Message, String)> {
        let Ok(deliveries) = self.engine.queue.receive(lane, 1, Duration::from_secs(20)).await else {
            self.world.sleep(SECOND).await;
            return None;
        };
        deliveries.into_iter().find_map(|d| Some((d.message?, d.receipt)))
    }

    async fn acknowledge(&self, lane: Lane, receipt: &str) {
        if self.engine.queue.acknowledge(lane, receipt).await.is_err() {
            self.failed("acknowledge", &"comes again");
        }
    }

    /// Takes tasks, one after the other.
    pub(crate) async fn work(self, limit: Option<Micros>) {
        let runner = SimRunner { world: self.world.clone(), process: self.process };
        loop {
            let Some((message, receipt)) = self.receive(Lane::Tasks).await else { continue };
            let Message::Task { incarnation, task, try_number, place, .. } = message else { continue };
            let deadline = limit.map(|limit| self.begin_invocation(limit));
            let task = TaskRef { incarnation, task, try_number, place, queued_at: None };
            let result = self.engine.work(&task, &runner, deadline.map(instant), || self.may_continue(deadline)).await;
            match result {
                Ok(worked) => {
                    self.world.lock().stats.attempts_in_place += u64::from(worked.attempts.saturating_sub(1));
                    self.acknowledge(Lane::Tasks, &receipt).await;
                }
                Err(error) => self.failed("work", &error),
            }
            if limit.is_some() {
                self.world.lock().processes[self.process].deadline = None;
            }
        }
    }

    fn begin_invocation(&self, limit: Micros) -> Micros {
        let mut world = self.world.lock();
        let at = world.now + limit;
        let (process, generation) = (self.process, world.processes[self.process].generation);
        world.processes[process].deadline = Some(at);
        world.at(at, Event::Deadline { process, generation, at });
        at
    }

    fn may_continue(&self, deadline: Option<Micros>) -> Option<Continuation> {
        let mut world = self.world.lock();
        let has_time = deadline.is_none_or(|at| at - world.now > MINUTE);
        let priority_least = world.rng.chance(2_000).then_some(3);
        (has_time && world.rng.chance(7_000)).then_some(Continuation {
            priority_least,
            timeout_most: None,
            worker: None,
        })
    }

    /// Ticks every minute, more or less.
    pub(crate) async fn tick(self, ahead: bool) {
        loop {
            let result =
                if ahead { Box::pin(self.engine.tick_ahead()).await } else { Box::pin(self.engine.tick()).await };
            if let Err(error) = result {
                self.failed("tick", &error);
            }
            let now = self.world.lock().clock();
            let until_next = MINUTE - now.rem_euclid(MINUTE) + self.draw(|rng| rng.range(0, 3 * SECOND));
            self.world.sleep(until_next).await;
        }
    }

    /// Looks where messages say.
    pub(crate) async fn look(self) {
        loop {
            let Some((message, receipt)) = self.receive(Lane::Looks).await else { continue };
            match Box::pin(self.engine.look_where(&message)).await {
                Ok(()) => self.acknowledge(Lane::Looks, &receipt).await,
                Err(error) => self.failed("look", &error),
            }
        }
    }

    /// Does something now and then.
    pub(crate) async fn act(self, acts: usize) {
        let until = self.world.lock().calm_from;
        for number in 0..acts {
            let wait = self.draw(|rng| rng.range(SECOND, 2 * until / (acts as Micros + 1)));
            self.world.sleep(wait).await;
            if self.world.lock().is_calm() {
                return;
            }
            if let Err(error) = self.act_once(number).await {
                self.failed("act", &error);
            }
        }
    }

    async fn act_once(&self, number: usize) -> Result<(), updraft_service::Error> {
        let (dags, runs) = {
            let world = self.world.lock();
            let dags: Vec<DagId> = world.monitor.dags.keys().cloned().collect();
            let runs: Vec<Incarnation> = world.monitor.runs.keys().cloned().collect();
            (dags, runs)
        };
        if self.world.lock().has_maps() && self.draw(|rng| rng.chance(2_500)) {
            return self.act_on_instances().await;
        }
        if self.has_assets() && self.draw(|rng| rng.chance(2_500)) {
            return self.tell_of_event(number).await;
        }
        let dag_id = self.draw(|rng| rng.pick(&dags).clone());
        let choice = self.draw(|rng| rng.index(36));
        match choice {
            20..23 => self.create_backfill(&dag_id, number).await,
            23 => self.change_a_backfill().await,
            24..32 if !runs.is_empty() => self.by_flags(&runs).await,
            0..6 => {
                self.world.lock().stats.triggers += 1;
                let run_id = Some(format!("by_hand_{}_{number}", self.process));
                let trigger = Trigger { dag_id, run_id, logical_date: None, conf: serde_json::Value::Null };
                self.engine.trigger(trigger).await.map(|_| ())
            }
            6..8 => self.pause(&dag_id).await,
            8..10 => self.new_version(&dag_id).await,
            _ if runs.is_empty() => Ok(()),
            10..12 => {
                self.world.lock().stats.runs_failed_by_hand += 1;
                let run = self.draw(|rng| rng.pick(&runs).clone());
                self.engine.fail_run(&run).await.map(|_| ())
            }
            12..20 => self.clear(&runs).await,
            _ => self.answer(&runs).await,
        }
    }

    /// Answers a question that waits, as far as this person knows, or one that does not.
    async fn answer(&self, runs: &[Incarnation]) -> Result<(), updraft_service::Error> {
        let asked = {
            let mut world = self.world.lock();
            let is_asked = |cell: &Cell| matches!(cell, Cell::Waiting { wait: Wait::Input, .. });
            let waiting = |run: &&RunDoc| run.cells.values().any(is_asked);
            let mut open: Vec<RunDoc> = world.monitor.runs.values().filter(waiting).cloned().collect();
            if open.is_empty() || world.rng.chance(2_000) {
                let run = world.rng.pick(runs).clone();
                open = vec![world.monitor.runs[&run].clone()];
            }
            let run = world.rng.pick(&open).clone();
            let tasks: Vec<TaskIndex> = run.cells.keys().copied().collect();
            let asked: Vec<TaskIndex> = tasks.iter().copied().filter(|task| is_asked(run.cell(*task))).collect();
            let among = if asked.is_empty() { tasks } else { asked };
            if among.is_empty() {
                return Ok(());
            }
            let task = *world.rng.pick(&among);
            // The question itself may have been overtaken by now, as any page that somebody looks at.
            (run, task)
        };
        let (run, task) = asked;
        let view = self.engine.hitl_detail(&run, task, None).await?;
        let chosen_options = view.detail.defaults.clone().unwrap_or_default();
        let user = HitlUser { id: format!("{}", self.process), name: "somebody".to_owned() };
        let answer = Answer { chosen_options, params_input: serde_json::Map::new(), user };
        let result = self.engine.respond(&run, task, &answer).await;
        let mut world = self.world.lock();
        world.stats.answers += u64::from(result.is_ok());
        world.stats.answers_refused += u64::from(matches!(result, Err(updraft_service::Error::Conflict(_))));
        result.map(|_| ())
    }

    async fn clear(&self, runs: &[Incarnation]) -> Result<(), updraft_service::Error> {
        let (run, tasks) = {
            let mut world = self.world.lock();
            let run = world.rng.pick(runs).clone();
            let document = world.monitor.runs[&run].clone();
            let plan = world.monitor.plans[&document.facts.version].clone();
            world.stats.clears += 1;
            world.stats.clears_of_ended_runs += u64::from(document.state.is_finished());
            let mut tasks: Vec<TaskIndex> = plan.tasks().filter(|_| world.rng.chance(3_000)).collect();
            if world.rng.chance(6_000) {
                // With everything below, as people mostly do.
                let below: Vec<TaskIndex> = tasks.iter().flat_map(|t| plan.descendants(*t)).collect();
                tasks.extend(below);
                tasks.sort();
                tasks.dedup();
            }
            (run, tasks)
        };
        self.engine.clear(&run, &tasks).await.map(|_| ())
    }

    /// Clears, marks or sets by all that Airflow's requests may say.
    async fn by_flags(&self, runs: &[Incarnation]) -> Result<(), updraft_service::Error> {
        let (run, picks, flags, kind) = {
            let mut world = self.world.lock();
            let run = world.rng.pick(runs).clone();
            let run = world.monitor.runs[&run].clone();
            let plan = world.monitor.plans[&run.facts.version].clone();
            let names: Vec<String> = plan.dag.tasks.iter().map(|task| task.task_id.to_string()).collect();
            let picked = world.rng.pick(&names).clone();
            let picks = if world.rng.chance(7_000) { Picks::of([picked]) } else { Picks::default() };
            let flags: Vec<bool> = (0..8).map(|_| world.rng.chance(3_000)).collect();
            (run.facts, picks, flags, world.rng.index(8))
        };
        let end = self.draw(|rng| *rng.pick(&[End::Success, End::Failed, End::Skipped]));
        let dag_id = &run.dag_id;
        match kind {
            0..4 => {
                self.world.lock().stats.clears_by_flags += 1;
                let request = ClearTaskInstances {
                    run_id: Some(run.run_id),
                    picks,
                    include_upstream: flags[0],
                    include_downstream: flags[1],
                    include_past: flags[2],
                    include_future: flags[3],
                    only_failed: flags[4],
                    only_running: flags[5] && !flags[4],
                    reset_dag_runs: !flags[6],
                    run_on_latest_version: Some(flags[7]),
                    ..ClearTaskInstances::default()
                };
                Box::pin(self.engine.clear_task_instances(dag_id, &request, false)).await.map(|_| ())
            }
            4..7 => {
                self.world.lock().stats.marks += 1;
                let request = PatchTaskInstances {
                    include_upstream: flags[0],
                    include_downstream: flags[1],
                    include_past: flags[2],
                    include_future: flags[3],
                    ..PatchTaskInstances::new(run.run_id, picks, end)
                };
                match Box::pin(self.engine.patch_task_instances(dag_id, &request, false)).await {
                    Ok(_) | Err(updraft_service::Error::Conflict(_)) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            _ => {
                self.world.lock().stats.runs_set_by_hand += 1;
                let states = [DagRunState::Success, DagRunState::Failed, DagRunState::Queued];
                let state = Some(self.draw(|rng| *rng.pick(&states)));
                let patch = RunPatch { state, note: None };
                Box::pin(self.engine.patch_dag_run(dag_id, &run.run_id, &patch)).await.map(|_| ())
            }
        }
    }

    async fn create_backfill(&self, dag_id: &DagId, number: usize) -> Result<(), updraft_service::Error> {
        let wish = {
            let mut world = self.world.lock();
            world.stats.backfills += 1;
            let now = world.now;
            let from = now - world.rng.range(SECOND, 9 * MINUTE);
            let to = from + world.rng.range(0, 6 * MINUTE);
            let reprocess = [ReprocessBehavior::None, ReprocessBehavior::Failed, ReprocessBehavior::Completed];
            NewBackfill {
                reprocess_behavior: *world.rng.pick(&reprocess),
                run_backwards: world.rng.chance(4_000),
                max_active_runs: 1 + number as u32 % 3,
                run_on_latest_version: Some(world.rng.chance(4_000)),
                ..NewBackfill::new(dag_id.clone(), instant(from), instant(to))
            }
        };
        match Box::pin(self.engine.create_backfill(&wish)).await {
            // Another one goes on, or no date lies in the span.
            Ok(_) | Err(updraft_service::Error::Conflict(_) | updraft_service::Error::Refused(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn change_a_backfill(&self) -> Result<(), updraft_service::Error> {
        let (id, change) = {
            let mut world = self.world.lock();
            let ids: Vec<BackfillId> = world.monitor.backfills.keys().cloned().collect();
            if ids.is_empty() {
                return Ok(());
            }
            world.stats.backfills_changed += 1;
            (world.rng.pick(&ids).clone(), world.rng.index(3))
        };
        let changed = match change {
            0 => Box::pin(self.engine.cancel_backfill(&id)).await,
            change => Box::pin(self.engine.set_backfill_paused(&id, change == 1)).await,
        };
        match changed {
            Ok(_) | Err(updraft_service::Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn pause(&self, dag_id: &DagId) -> Result<(), updraft_service::Error> {
        self.world.lock().stats.dags_paused += 1;
        self.engine.set_paused(dag_id, true).await?;
        let length = self.draw(|rng| rng.range(SECOND, 4 * MINUTE));
        self.world.sleep(length).await;
        self.engine.set_paused(dag_id, false).await.map(|_| ())
    }

    /// The DAG's file is changed: other tasks, the same schedule.
    async fn new_version(&self, dag_id: &DagId) -> Result<(), updraft_service::Error> {
        let version = {
            let mut world = self.world.lock();
            let current = world.monitor.dags[dag_id].version.clone();
            let Some(plan) = current.and_then(|v| world.monitor.plans.get(&v).cloned()) else { return Ok(()) };
            let mut dag = plan.dag.clone();
            if plan.units().is_empty() {
                dag.tasks = scenario::tasks(&mut world.rng, dag.dagrun_timeout.is_some(), dag.fail_fast);
            } else {
                maps::change(&mut world.rng, &mut dag);
            }
            let version = scenario::version(crate::assets::with_outlets(world.seed, dag));
            let plan = world.plan(version.dag.clone());
            world.monitor.plans.insert(version.id(), Arc::new(plan));
            world.stats.new_versions += 1;
            version
        };
        let id = self.engine.store.put_version(&version).await?;
        let change = DagChange { version: Some(Some(id)), ..DagChange::default() };
        self.engine.store.update_dag(dag_id, &change).await?;
        Ok(())
    }

    /// When all is calm, lets everything run. Looks again and again: a pause without an answer may land late.
    pub(crate) async fn take_care(self) {
        let wait = self.world.lock().calm_from + SECOND;
        self.world.sleep(wait).await;
        loop {
            let dags: Vec<DagId> =
                self.world.lock().monitor.dags.values().filter(|d| d.paused).map(|d| d.dag_id.clone()).collect();
            let is_paused = |b: &&updraft_model::Backfill| b.is_paused && b.completed_at.is_none();
            let backfills: Vec<BackfillId> =
                self.world.lock().monitor.backfills.values().filter(is_paused).map(|b| b.id.clone()).collect();
            for id in backfills {
                if let Err(error) = Box::pin(self.engine.set_backfill_paused(&id, false)).await {
                    self.failed("unpause", &error);
                }
            }
            for dag in dags {
                if let Err(error) = self.engine.set_paused(&dag, false).await {
                    self.failed("unpause", &error);
                }
            }
            self.world.sleep(MINUTE).await;
        }
    }
}

/// A store to fill before the world begins.
pub(crate) fn bare_store(world: &Shared) -> Metastore<Arc<updraft_metastore::memory::Memory>> {
    Metastore::new(world.lock().ground.memory.clone())
}
