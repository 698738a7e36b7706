//! What must hold after every accepted write, at every start of an attempt and for every message: the invariants, by the numbers
//! of the design.

use crate::model::{Shape, Stand};
use crate::transitions::{self, Seen};
use crate::world::{Micros, World, instant};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use updraft_metastore::{Item, Key, codec, keys};
use updraft_model::cell::End;
use updraft_model::{
    Backfill, BackfillId, Cell, DagDoc, DagId, DagRunState, DagRunType, HolderDoc, HolderId, HolderName, Incarnation,
    OperationId, PageDoc, PageKey, Plan, RunDoc, TaskId, TaskIndex, TaskInstanceState, Token, VersionId,
};
use updraft_scheduling::attention;
use updraft_service::Work;
use updraft_task_queue::Message;

/// A task instance: of what is mapped, one of several.
pub(crate) type Instance = (Incarnation, TaskIndex, Option<u32>);

/// An attempt that was started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: usize,
    pub(crate) over: bool,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Monitor {
    pub(crate) plans: BTreeMap<VersionId, Arc<Plan>>,
    pub(crate) runs: BTreeMap<Incarnation, RunDoc>,
    pub(crate) pages: BTreeMap<PageKey, PageDoc>,
    pub(crate) dags: BTreeMap<DagId, DagDoc>,
    drawn: BTreeMap<String, usize>,
    pub(crate) started: BTreeMap<Token, Started>,
    pub(crate) holders: BTreeMap<HolderId, HolderDoc>,
    tries: BTreeMap<(Instance, u32, u32), Token>,
    /// Tries whose attempts died: leases over, no item left.
    pub(crate) died: BTreeSet<(Instance, u32)>,
    operations: BTreeSet<(Incarnation, OperationId)>,
    /// Task instances that were successful or skipped at some time: what a later run may have been let go by.
    let_go: BTreeSet<(Incarnation, TaskId)>,
    /// Interventions in several runs that are not made yet.
    pub(crate) interventions: Vec<OperationId>,
    pub(crate) backfills: BTreeMap<BackfillId, Backfill>,
    pub(crate) events: crate::assets::Events,
    /// Runs whose last intervention left them ended: they are as somebody wanted them.
    pub(crate) by_hand: BTreeSet<Incarnation>,
    /// Attempt items, and when they were written.
    attempt_items: BTreeMap<Key, (Item, Micros)>,
}

impl Monitor {
    pub(crate) fn drawn_by(&mut self, id: &str, process: usize) {
        self.drawn.insert(id.to_owned(), process);
    }

    pub(crate) fn drawer(&self, token: &Token) -> Option<usize> {
        self.drawn.get(token.as_str()).copied()
    }

    pub(crate) fn attempt_is_over(&mut self, token: &Token) {
        if let Some(attempt) = self.started.get_mut(token) {
            attempt.over = true;
        }
    }

    /// When an attempt's item was written.
    pub(crate) fn item_written(&self, key: &Key) -> Option<Micros> {
        self.attempt_items.get(key).map(|(_, at)| *at)
    }

    /// With a process everything it started is gone.
    pub(crate) fn process_is_gone(&mut self, process: usize) {
        for attempt in self.started.values_mut().filter(|a| a.process == process) {
            attempt.over = true;
        }
    }

    /// Whether an attempt was started and still goes on.
    pub(crate) fn lives(&self, token: &Token) -> bool {
        self.started.get(token).is_some_and(|a| !a.over)
    }

    pub(crate) fn stand(cell: &Cell) -> Stand {
        match cell.state() {
            TaskInstanceState::Success => Stand::Success,
            TaskInstanceState::Failed => Stand::Failed,
            TaskInstanceState::Skipped | TaskInstanceState::Removed => Stand::Skipped,
            TaskInstanceState::UpstreamFailed => Stand::UpstreamFailed,
            TaskInstanceState::None => Stand::Nothing,
            _ => Stand::Active,
        }
    }

    /// The stands of a run's tasks.
    pub(crate) fn stands(run: &RunDoc, plan: &Plan) -> Vec<Stand> {
        plan.tasks().map(|t| Self::stand(run.cell(t))).collect()
    }
}

fn wake(at: Option<jiff::Timestamp>) -> String {
    at.map_or_else(|| "none".to_owned(), |at| format!("{}ms", crate::world::micros(at) / 1000))
}

impl World {
    /// Looks at an accepted write.
    pub(crate) fn observe(&mut self, process: usize, key: &Key, item: Option<&Item>) {
        match keys::document(key) {
            Some(keys::Document::Run(incarnation)) => self.observe_run(process, &incarnation, item),
            Some(keys::Document::Dag(dag_id)) => self.observe_dag(process, &dag_id, item),
            Some(keys::Document::Holder(holder)) => self.observe_holder(process, &holder, item),
            // An answer that came too late takes its item back; what a cell names is never removed.
            None if key.sk.starts_with(keys::ATTEMPTS) && item.is_none() => {
                self.monitor.attempt_items.remove(key);
            }
            None if key.sk.starts_with(keys::ATTEMPTS) => {
                let item = item.cloned().unwrap_or_default();
                let before = self.monitor.attempt_items.insert(key.clone(), (item.clone(), self.now));
                if before.is_some_and(|(before, _)| before != item) {
                    self.violate(format!("1: the attempt item {} {} was written twice", key.pk, key.sk));
                }
            }
            Some(keys::Document::Intervention(operation)) => {
                let is_open = item.is_some();
                self.monitor.interventions.retain(|id| *id != operation);
                self.monitor.interventions.extend(is_open.then_some(operation));
            }
            Some(keys::Document::Backfill(id)) => self.observe_backfill(process, &id, item),
            Some(keys::Document::Page(key)) => self.observe_page(process, &key, item),
            Some(keys::Document::Topic(id)) => self.observe_topic(process, &id, item),
            Some(keys::Document::Callback(_)) | None => {}
        }
    }

    fn observe_run(&mut self, process: usize, incarnation: &Incarnation, item: Option<&Item>) {
        let Some(item) = item else {
            self.say(process, &format!("run {incarnation} discarded"));
            self.monitor.runs.remove(incarnation);
            return;
        };
        let after = codec::run_doc(item).expect("the engine writes what it reads");
        let before = self.monitor.runs.get(incarnation).cloned();
        if after.deleted_at.is_some() {
            self.observe_tombstone(process, before.as_ref(), &after);
            return;
        }
        if before.is_none() {
            self.has_its_date_alone(&after);
        }
        let plan = self.plan_of(&after.facts.version);
        self.say(process, &describe(before.as_ref(), &after));
        self.check_run_state(before.as_ref(), &after, &plan);
        let active = self.under_way(incarnation);
        if let Some(before) = &before {
            self.stats.runs_paused += u64::from(after.paused && !before.paused);
            self.check_cells(process, before, &after, &plan);
        }
        self.check_index(&after);
        for task in plan.tasks().filter(|t| plan.has_past() && is_success_like(after.cell(*t))) {
            self.monitor.let_go.insert((incarnation.clone(), plan.task(task).task_id.clone()));
        }
        self.stats.tasks_held += after.cells.values().filter(|c| matches!(c, Cell::Scheduled { .. })).count() as u64;
        self.monitor.runs.insert(incarnation.clone(), after);
        self.check_under_way(incarnation, active);
    }

    /// Rule G2: nobody deletes runs here, so a tombstone stands for a run that was never put, and it is in the time index.
    fn observe_tombstone(&mut self, process: usize, before: Option<&RunDoc>, after: &RunDoc) {
        let run = &after.facts.incarnation;
        self.say(process, &format!("run {run} can never be put"));
        self.stats.claims_taken_over += 1;
        if before.is_some() {
            self.violate(format!("G2: run {run} was there, and its date was taken away"));
        }
        self.check_index(after);
    }

    /// Rule G2: a logical date has one run. A run that finds its name taken is discarded, so it may stand there for a while.
    fn has_its_date_alone(&mut self, after: &RunDoc) {
        let facts = &after.facts;
        let is_other = |run: &&RunDoc| {
            facts.logical_date.is_some()
                && (&run.facts.dag_id, run.facts.logical_date) == (&facts.dag_id, facts.logical_date)
                && run.facts.run_id != facts.run_id
        };
        if let Some(other) = self.monitor.runs.values().find(is_other) {
            let what = format!("G2: {} has the date of {}", facts.run_id, other.facts.run_id);
            self.violate(what);
        }
    }

    /// The plan of a version: of those that were there in the beginning, or of one that was made for a run that went over to a new one.
    fn plan_of(&mut self, version: &VersionId) -> Arc<Plan> {
        if let Some(plan) = self.monitor.plans.get(version) {
            return plan.clone();
        }
        let store = updraft_metastore::Metastore::new(self.ground.memory.clone());
        let found = crate::store::at_once(store.version(version)).expect("memory does not fail");
        let plan = Arc::new(self.plan(found.expect("a run's version is there").dag));
        self.stats.runs_taken_to_new_versions += 1;
        self.monitor.plans.insert(version.clone(), plan.clone());
        plan
    }

    /// Invariants 5 and 7 for backfills.
    fn observe_backfill(&mut self, process: usize, id: &BackfillId, item: Option<&Item>) {
        let Some(item) = item else {
            self.monitor.backfills.remove(id);
            return;
        };
        let after: Backfill = codec::from_json_item(item).expect("the engine writes what it reads");
        let active = after.active.len();
        self.say(process, &format!("backfill {id} at {:?} active {active} {:?}", after.last_date, after.counts));
        let before = self.monitor.backfills.get(id).map_or(0, |b| b.active.len());
        if active > before.max(after.max_active_runs as usize) {
            self.violate(format!("7: {active} runs of the backfill {id} go on"));
        }
        if after.completed_at.is_none() && !item.contains_key(updraft_metastore::item::WAKE_AT) {
            self.violate(format!("5: the backfill {id} goes on, and is not in the time index"));
        }
        self.monitor.backfills.insert(id.clone(), after);
    }

    /// Invariant 6, the state's own transitions, and the epoch's (ARCHITECTURE.md, rule F1).
    fn check_run_state(&mut self, before: Option<&RunDoc>, after: &RunDoc, plan: &Plan) {
        let run = &after.facts.incarnation;
        let (was, epoch) = before.map_or((DagRunState::Queued, 0), |b| (b.state, b.epoch));
        let latest = |run: &RunDoc| run.operations.first().cloned();
        let acted = latest(after).filter(|new| before.and_then(latest).as_ref() != Some(new));
        if after.epoch != epoch + u32::from(acted.is_some()) {
            self.violate(format!("1: run {run}: epoch {epoch} became {} by operation {acted:?}", after.epoch));
        }
        if let Some(operation) = &acted
            && !self.monitor.operations.insert((run.clone(), operation.clone()))
        {
            self.violate(format!("F1: run {run}: operation {operation} acted twice"));
        }
        // Where instances are concerned, pages are closed between the note of an intervention and what it does.
        let is_made = acted.is_some() || before.is_some_and(|b| b.intent.is_some());
        if is_made {
            if after.state.is_finished() {
                self.monitor.by_hand.insert(run.clone());
            } else {
                self.monitor.by_hand.remove(run);
            }
        }
        let legal = match (was, after.state) {
            (a, b) if a == b => true,
            // A run of empty operators starts and ends in one write.
            (DagRunState::Queued, _) | (DagRunState::Running, DagRunState::Success | DagRunState::Failed) => true,
            // By hand a run is queued, and ended as one pleases.
            (_, DagRunState::Queued | DagRunState::Success | DagRunState::Failed) => is_made,
            _ => false,
        };
        if !legal {
            self.violate(format!("6: run {run} went from {was} to {}", after.state));
        }
        let ends = !was.is_finished() && after.state.is_finished();
        let timed_out = |o: &OperationId| o.as_str().starts_with("timeout.");
        self.stats.runs_timed_out += u64::from(ends && acted.as_ref().is_some_and(timed_out));
        if ends && !is_made {
            let stands = Monitor::stands(after, plan);
            if stands.iter().any(|s| matches!(s, Stand::Active)) && after.epoch == 0 {
                self.violate(format!("6: run {run} ended although a task is under way: {stands:?}"));
            }
            // Only a run that is stuck ends with a task that has not. Where an upstream was cleared under a running task, Airflow
            // too takes a run for stuck in the very look in which that task is given its end.
            let shape = Shape::new(plan);
            let could_go_on = |t: TaskIndex| stands[t.at()] == Stand::Nothing && shape.says(t.at(), &stands).is_some();
            let is_plain = after.epoch == 0 && plan.units().is_empty();
            if let Some(task) = plan.tasks().find(|t| could_go_on(*t)).filter(|_| is_plain) {
                self.violate(format!("6: run {run} ended although task {task} could still become something"));
            }
        }
        if was == DagRunState::Queued && after.state != was && !is_made && before.is_some() {
            let place = self.monitor.dags.get(&after.facts.dag_id).and_then(|d| d.active.get(run));
            let of_backfill = after.facts.origin.backfill.is_some();
            if !of_backfill && place.is_none_or(|p| p.epoch != after.active_epoch) {
                self.violate(format!("7: run {run} runs without a place among the active runs"));
            }
        }
    }

    /// Invariants 1 and 2 for each cell that changed.
    fn check_cells(&mut self, process: usize, before: &RunDoc, after: &RunDoc, plan: &Plan) {
        let run = &after.facts.incarnation;
        let bumped = before.epoch != after.epoch || before.intent.is_some();
        for task in plan.tasks().filter(|t| before.cell(*t) != after.cell(*t)) {
            self.observe_success(before, (task, None), (before.cell(task), after.cell(task)));
            let is_new = matches!(before.cell(task), Cell::None | Cell::Cleared { .. } | Cell::Waiting { .. });
            let goes_on = match after.cell(task) {
                Cell::Scheduled { .. } => is_new,
                Cell::Queued { .. } | Cell::Running { .. } => {
                    is_new || matches!(before.cell(task), Cell::Scheduled { .. })
                }
                _ => false,
            };
            if before.paused && after.paused && goes_on {
                self.violate(format!("task {task} of run {run} goes on although its DAG is paused"));
            }
            let seen = Seen { world: self, process, before, after, plan, task, bumped };
            match transitions::check(&seen) {
                Ok(found) => {
                    self.stats.renewals += u64::from(found == transitions::Kind::Renewed);
                    self.stats.slots_put_off += u64::from(found == transitions::Kind::PutOff);
                    self.stats.settled_by_item += u64::from(found == transitions::Kind::SettledByItem);
                    if let transitions::Kind::Died(try_number) = found {
                        self.stats.attempts_died += 1;
                        self.monitor.died.insert(((run.clone(), task, None), try_number));
                    }
                }
                Err(why) => {
                    let (from, to) = (before.cell(task).encode(), after.cell(task).encode());
                    self.violate(format!("1: run {run} task {task}: `{from}` became `{to}`: {why}"));
                }
            }
        }
    }

    /// Invariant 5 for runs.
    fn check_index(&mut self, run: &RunDoc) {
        let need = attention::needed(run, instant(self.latest())).map(|need| need + self.grace());
        let kept = match (need, run.wake_at) {
            (Some(need), Some(at)) => at <= need,
            (Some(_), None) => false,
            (None, _) => true,
        };
        if !kept {
            self.violate(format!(
                "5: run {} ({}) needs attention at {}, and is in the time index at {}",
                run.facts.incarnation,
                run.state,
                wake(need),
                wake(run.wake_at)
            ));
        }
    }

    /// How many task instances of a run are under way, mapped ones among them.
    pub(crate) fn under_way(&self, incarnation: &Incarnation) -> usize {
        let in_run = self.monitor.runs.get(incarnation).into_iter().flat_map(|run| run.cells.values());
        let of_run = self.monitor.pages.values().filter(|page| page.key.incarnation == *incarnation);
        in_run.chain(of_run.flat_map(|page| page.cells.values())).filter(|cell| cell.takes_a_place()).count()
    }

    /// Invariant 7 for `max_active_tasks`: `before` a write so many were under way.
    pub(crate) fn check_under_way(&mut self, incarnation: &Incarnation, before: usize) {
        let Some(run) = self.monitor.runs.get(incarnation) else { return };
        let Some(plan) = self.monitor.plans.get(&run.facts.version) else { return };
        let (Some(limit), active) = (plan.max_active_tasks(), self.under_way(incarnation)) else { return };
        let is_full = active == limit as usize && !plan.units().is_empty();
        if active > before.max(limit as usize) {
            self.violate(format!("7: {active} tasks of run {incarnation} are under way, of {limit}"));
        }
        self.stats.maps_at_their_limit += u64::from(is_full);
    }

    /// Invariant 7 and rule B5 for pools and limits that span runs.
    fn observe_holder(&mut self, process: usize, holder: &HolderId, item: Option<&Item>) {
        let Some(item) = item else { return };
        let after = updraft_metastore::holders::holder_doc(holder, item).expect("the engine writes what it reads");
        self.say(process, &format!("{holder}: {:?} waiters {:?}", after.holders, after.waiters));
        if after.used != after.holders.values().map(|claim| i64::from(claim.slots)).sum::<i64>() {
            self.violate(format!("7: {holder} counts other slots than are held: {after:?}"));
        }
        if after.size.is_some_and(|size| size >= 0 && after.used > size) {
            self.violate(format!("7: more slots of {holder} are held than there are: {after:?}"));
        }
        if !after.waiters.is_empty() && after.wake_at.is_none() {
            self.violate(format!("5: somebody waits for {holder}, and it is not in the time index: {after:?}"));
        }
        self.stats.slots_waited_for += after.waiters.len() as u64;
        self.monitor.holders.insert(holder.clone(), after);
    }

    /// Invariant 7: an attempt starts only with all the slots that its task takes.
    fn holds_its_slots(&mut self, work: &Work) {
        let (run, plan) = (&work.run, &work.version.plan);
        let (incarnation, map_index) = (run.facts.incarnation.clone(), work.map_index());
        let name = HolderName { map_index, ..HolderName::of_task(incarnation.clone(), work.task) };
        // Cleared, marked or settled since it was claimed: what it held may be given back already.
        let now_there = self.cell_of(&(incarnation.clone(), work.task, map_index));
        let is_still_its =
            now_there.is_some_and(|c| matches!(c, Cell::Running { lease, .. } if lease.token == work.lease.token));
        for holder in plan.holders(work.task, &incarnation).into_iter().filter(|_| is_still_its) {
            let held = self.monitor.holders.get(&holder).and_then(|doc| doc.holders.get(&name));
            if held.is_none_or(|claim| claim.generation.try_number != work.try_number) {
                self.violate(format!(
                    "7: task {} of run {} runs without slots of {holder}",
                    work.task, run.facts.incarnation
                ));
            }
        }
    }

    /// `depends_on_past` and `wait_for_downstream`: the run before has had the task, and what is right below it, at an end it may go on
    /// from. It may have been cleared since.
    fn was_let_go(&mut self, work: &Work) {
        let (run, plan) = (&work.run, &work.version.plan);
        if !plan.looks_back(work.task) {
            return;
        }
        self.stats.starts_looked_back += 1;
        let is_before = |other: &&RunDoc| {
            let counts = !plan.dag.catchup || other.facts.run_type != DagRunType::Manual;
            let dates = (other.facts.logical_date, run.facts.logical_date);
            other.facts.dag_id == run.facts.dag_id && counts && matches!(dates, (Some(then), Some(now)) if then < now)
        };
        let Some(before) = self.monitor.runs.values().filter(is_before).max_by_key(|r| r.facts.logical_date) else {
            return;
        };
        // A timetable makes its runs in order. Others may come to stand before a run that has been let go already.
        if [before, run].iter().any(|r| r.facts.run_type != DagRunType::Scheduled) {
            return;
        }
        // Where somebody intervened it may have gone over to a version of other tasks since.
        if before.epoch > 0 {
            return;
        }
        let then = &self.monitor.plans[&before.facts.version];
        let definition = plan.task(work.task);
        let is_first = then.index_of(definition.task_id.as_str()).is_none() && definition.ignore_first_depends_on_past;
        if is_first {
            return;
        }
        let below = then.index_of(definition.task_id.as_str()).filter(|_| definition.wait_for_downstream);
        let mut asked = vec![definition.task_id.clone()];
        let below = below.map_or(&[][..], |task| then.downstream(task));
        asked.extend(below.iter().map(|t| then.task(*t).task_id.clone()));
        let was = |t: &TaskId| self.monitor.let_go.contains(&(before.facts.incarnation.clone(), t.clone()));
        if let Some(missing) = asked.iter().find(|t| !was(t)) {
            let (here, there) = (&run.facts.run_id, &before.facts.run_id);
            self.violate(format!(
                "task {} of {here} runs, and {missing} of {there} never let it go",
                definition.task_id
            ));
        }
    }

    fn observe_dag(&mut self, process: usize, dag_id: &DagId, item: Option<&Item>) {
        let Some(item) = item else { return };
        let after = codec::dag_doc(dag_id, item).expect("the engine writes what it reads");
        let line = format!(
            "dag {dag_id} active {:?} held {:?} paused {} due {} wake {}",
            after.active.iter().map(|(r, a)| format!("{r}@{}", a.epoch)).collect::<Vec<_>>(),
            after.held.keys().map(Incarnation::as_str).collect::<Vec<_>>(),
            after.paused,
            wake(after.next_due),
            wake(after.wake_at)
        );
        self.say(process, &line);
        let before = self.monitor.dags.get(dag_id).cloned();
        self.observe_queue(before.as_ref(), &after);
        if let Some(before) = before {
            self.check_places(&before, &after);
        }
        self.check_dag_index(&after);
        self.monitor.dags.insert(dag_id.clone(), after);
    }

    /// Invariant 7 and rule C1.
    fn check_places(&mut self, before: &DagDoc, after: &DagDoc) {
        if after.active.len() > before.active.len().max(after.max_active_runs as usize) {
            self.violate(format!("7: {} runs of {} are active", after.active.len(), after.dag_id));
        }
        for (run, place) in &before.active {
            let stays = after.active.get(run).is_some_and(|p| p.epoch >= place.epoch);
            let runs = self
                .monitor
                .runs
                .get(run)
                .is_some_and(|r| r.state == DagRunState::Running && r.active_epoch == place.epoch);
            if runs && !stays {
                self.violate(format!("7: the place of run {run} was given away while it runs"));
            }
        }
        self.stats.runs_held += after.held.keys().filter(|r| !before.held.contains_key(*r)).count() as u64;
    }

    /// Invariant 5 for DAGs.
    fn check_dag_index(&mut self, dag: &DagDoc) {
        let now = instant(self.latest());
        let soon = now + attention::LOOK_EVERY;
        let mut needs: Vec<(&str, jiff::Timestamp)> = Vec::new();
        if !dag.paused {
            if let Some(due) = dag.next_due.filter(|_| dag.version.is_some()) {
                needs.push(("a run due", if dag.has_room() && due > now { due } else { due.max(soon) }));
            }
            if !dag.held.is_empty() {
                needs.push(("a run held back", soon));
            }
        }
        if !dag.active.is_empty() {
            needs.push(("active runs", now + SignedDuration::from_mins(15)));
        }
        if dag.active.iter().any(|(run, place)| place.facts.is_some() && !self.monitor.runs.contains_key(run)) {
            needs.push(("a run to be put", soon));
        }
        let millisecond = SignedDuration::from_millis(1);
        for (what, need) in needs {
            if dag.wake_at.is_none_or(|at| at > need + millisecond + self.grace()) {
                self.violate(format!(
                    "5: {} has {what}, needs attention at {}, and is in the time index at {}",
                    dag.dag_id,
                    wake(Some(need)),
                    wake(dag.wake_at)
                ));
            }
        }
    }

    /// Invariants 2 and 8: an attempt starts.
    pub(crate) fn attempt_starts(&mut self, process: usize, work: &Work) {
        let run = work.run.facts.incarnation.clone();
        let (task, token) = (work.task, work.lease.token.clone());
        let instance = (run.clone(), task, work.map_index());
        self.stats.instances_started += u64::from(work.map_index().is_some());
        self.stats.attempts_started += 1;
        self.say(process, &format!("start {run} task {task} try {} {token}", work.try_number));
        let now = instant(self.clock());
        if self.monitor.started.contains_key(&token) {
            self.violate(format!("8: attempt {token} of run {run} task {task} started twice"));
        }
        let resume = work.resumed().map_or(0, |resumed| resumed.count);
        self.holds_its_slots(work);
        self.was_let_go(work);
        let holder = self.cell_of(&instance).and_then(|cell| cell.holder().cloned());
        let of_try = self.monitor.tries.insert((instance, work.try_number, resume), token.clone());
        if let Some(earlier) = of_try.filter(|earlier| *earlier != token) {
            self.violate(format!(
                "8: try {} of run {run} task {task} started twice, as {earlier} and {token}",
                work.try_number
            ));
        }
        // The lease as the store has it: who else holds the task instance now?
        if let Some(holder) = holder.filter(|h| h.token != token && h.until >= now && self.monitor.lives(&h.token)) {
            self.violate(format!(
                "2: attempt {token} of run {run} task {task} started while {} holds it until {}",
                holder.token,
                wake(Some(holder.until))
            ));
        }
        if work.lease.until < now {
            let until = wake(Some(work.lease.until));
            self.violate(format!(
                "2: attempt {token} of run {run} task {task} started after its lease ended at {until}"
            ));
        }
        self.monitor.started.insert(token, Started { process, over: false });
    }

    /// Invariant 3: a message names what is already written.
    pub(crate) fn message_is_not_ahead(&mut self, process: usize, message: &Message) {
        let Message::Task { incarnation, task, try_number, place, .. } = message else { return };
        let instance = (incarnation.clone(), *task, place.map(|place| place.map_index));
        let there = self.cell_of(&instance).unwrap_or(&Cell::None);
        let waits = matches!(there, Cell::None | Cell::Cleared { .. } | Cell::Waiting { .. });
        if there.try_number() < *try_number || (waits && there.try_number() < *try_number) {
            let cell = there.encode();
            self.say(process, &format!("sent {message:?}"));
            self.violate(format!(
                "3: a message for try {try_number} of run {incarnation} task {task}, where `{cell}` is"
            ));
        }
    }
}

fn is_success_like(cell: &Cell) -> bool {
    matches!(cell, Cell::Final { end: End::Success | End::Skipped, .. })
}

/// A write in a line.
fn describe(before: Option<&RunDoc>, after: &RunDoc) -> String {
    let mut line = format!("run {} {} epoch {}", after.facts.incarnation, after.state, after.epoch);
    for (task, cell) in &after.cells {
        let was = before.map(|b| b.cell(*task).encode()).unwrap_or_default();
        let is = cell.encode();
        if was != is {
            line.extend([" ", &task.to_string(), ":", &was, ">", &is]);
        }
    }
    let gone = before.into_iter().flat_map(|b| b.cells.iter().filter(|(t, _)| !after.cells.contains_key(t)));
    for (task, cell) in gone {
        line.extend([" ", &task.to_string(), ":", &cell.encode(), ">"]);
    }
    format!("{line} outbox {} looks {} wake {}", after.outbox.len(), after.looks, wake(after.wake_at))
}
