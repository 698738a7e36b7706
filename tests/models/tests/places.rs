//! Rules C1 to C3: two runs of a DAG that lets one be active at a time, and two processes that create, put, start, end and sweep them.
//! Who takes a place, waits for one or gives it back is decided by `updraft_scheduling::places`; runs begin, start, end, strike out and
//! are cleared by `updraft_scheduling::step`.

use crate::documents::{Image, NOW, facts, lease, plan};
use crate::explore::{Label, Protocol, Steps, breaks, holds};
use jiff::SignedDuration;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use updraft_model::{
    AttemptOutcome, Cell, DagChange, DagDoc, DagId, DagRunState, DataInterval, Held, Incarnation, OperationId,
    OutboxEntry, Plan, RunChange, RunDoc, TaskIndex,
};
use updraft_scheduling::places::{self, Place, Take};
use updraft_scheduling::step::{self, Ended};

const AGENTS: [&str; 2] = ["process 0", "process 1"];

/// The runs that fall due.
const RUNS: usize = 2;

/// A DAG document as somebody read it.
#[derive(Clone, PartialEq)]
struct DagImage(Arc<DagDoc>);

impl Deref for DagImage {
    type Target = DagDoc;

    fn deref(&self) -> &DagDoc {
        &self.0
    }
}

impl fmt::Debug for DagImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let active: Vec<String> = self.active.iter().map(|(run, place)| format!("{run}@{}", place.epoch)).collect();
        write!(f, "active {active:?} held {:?}", self.held.keys())
    }
}

impl Hash for DagImage {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for (run, place) in &self.active {
            (run, place.epoch, place.facts.is_some()).hash(hasher);
        }
        self.held.keys().for_each(|run| run.hash(hasher));
        (self.next_due, self.wake_at, self.revision).hash(hasher);
    }
}

/// Where a run's document stands.
#[derive(Debug, Clone, PartialEq, Hash)]
enum Run {
    Absent,
    There(Image),
    /// Deleted, and kept from coming back.
    Tombstone,
}

impl Run {
    fn document(&self) -> Option<&Image> {
        match self {
            Self::There(image) => Some(image),
            Self::Absent | Self::Tombstone => None,
        }
    }
}

/// Where a process stands. Each is about to do what it is called.
#[derive(Debug, Clone, PartialEq, Hash)]
enum Agent {
    Idle,
    /// It read the DAG.
    Looks(DagImage),
    PutsRun(usize),
    Forgets(usize, u32),
    Leaves(usize, u32),
    StrikesOut(usize, Image),
    /// It read the run, then the DAG.
    Takes(Image, DagImage),
    Starts(Image),
}

#[derive(Debug, Clone, PartialEq, Hash)]
struct State {
    dag: DagImage,
    runs: [Run; RUNS],
    agents: [Agent; 2],
    crashes: u8,
    clears: u8,
    deletes: u8,
    lost: u8,
    /// A place given back by a write that is still on its way.
    late: Option<(usize, u32)>,
    deleted: [bool; RUNS],
    wrong: Option<&'static str>,
}

/// A rule that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// C1: a place is given back by the epoch that took it.
    Epoch,
    /// C2: what was cleared takes a place before it runs.
    PlaceBeforeRun,
    /// A run is put only once it has its place.
    PlaceBeforePut,
    /// C3: a run is put only where none is.
    OnlyAbsent,
    /// C3: a deleted run leaves a tombstone.
    Tombstone,
    /// C3: somebody looks at what is active, and puts what is owed.
    Sweep,
    /// A place is taken where there is room.
    Limit,
}

#[derive(Clone)]
struct Places {
    plan: Arc<Plan>,
    crashes: u8,
    clears: u8,
    deletes: u8,
    lost: u8,
    without: Option<Without>,
}

fn incarnation(run: usize) -> Incarnation {
    Incarnation::trusted(format!("r{run}"))
}

fn number(run: &RunDoc) -> usize {
    usize::from(run.facts.incarnation.as_str() == "r1")
}

impl Places {
    fn new(crashes: u8, clears: u8, deletes: u8, lost: u8) -> Self {
        Self { plan: Arc::new(plan(&[(&[], 0)])), crashes, clears, deletes, lost, without: None }
    }

    fn without(self, rule: Without) -> Self {
        Self { without: Some(rule), ..self }
    }

    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }

    fn write_dag(&self, state: &mut State, change: &DagChange) -> bool {
        let mut change = change.clone();
        if self.lacks(Without::Epoch)
            && let Some((run, _)) = &change.if_active
        {
            let there = state.dag.active.get(run).map(|place| place.epoch);
            change.if_active = there.map(|epoch| (run.clone(), epoch));
        }
        if self.lacks(Without::Limit) {
            change.if_active_fewer_than = None;
        }
        if !change.holds(&state.dag) {
            return false;
        }
        let mut after = change.apply(&state.dag);
        after.revision = 0;
        state.dag = DagImage(Arc::new(after));
        true
    }

    fn write_run(state: &mut State, run: usize, change: &RunChange) -> bool {
        let Some(image) = state.runs[run].document().filter(|image| change.holds(image)) else { return false };
        let after = Image::new(change.apply(image));
        state.runs[run] = Run::There(after);
        true
    }

    /// Ends a run that runs, with the product's own claim and finish.
    fn ended(&self, run: &RunDoc) -> Option<RunDoc> {
        let task = TaskIndex(0);
        let Cell::Queued { try_number } = *run.cell(task) else { return None };
        let lease = lease(0, 0);
        let claim = step::claim(task, try_number, &lease);
        let claimed = claim.holds(run).then(|| claim.apply(run))?;
        let held = Held { task, try_number, token: lease.token };
        let ended = Ended::new(AttemptOutcome::Success, NOW);
        let finish = step::finish(&self.plan, &claimed, &held, &ended, NOW, None)?.change;
        finish.holds(&claimed).then(|| finish.apply(&claimed))
    }

    fn idle(&self, state: &State, agent: usize, steps: &mut Steps<State>) {
        let mut go = |does: &'static str, to: Agent| {
            let mut next = state.clone();
            next.agents[agent] = to;
            steps.push(((AGENTS[agent], does), next));
        };
        go("reads the DAG", Agent::Looks(state.dag.clone()));
        for image in state.runs.iter().filter_map(Run::document) {
            if image.state == DagRunState::Queued {
                go("reads a queued run and the DAG", Agent::Takes(image.clone(), state.dag.clone()));
            }
            if let Some(OutboxEntry::Leave { epoch }) = image.outbox.values().next() {
                go("reads a run that has ended", Agent::Leaves(number(image), *epoch));
            }
        }
        for (run, image) in state.runs.iter().enumerate().filter_map(|(run, r)| Some((run, r.document()?))) {
            let Some(ended) = self.ended(image) else { continue };
            let epoch = ended.active_epoch;
            let mut next = state.clone();
            next.runs[run] = Run::There(Image::new(ended));
            next.agents[agent] = Agent::Leaves(run, epoch);
            steps.push(((AGENTS[agent], "ends a run"), next));
        }
    }

    fn due(dag: &DagDoc) -> Option<usize> {
        (0..RUNS).find(|run| dag.next_due == Some(NOW + SignedDuration::from_secs(*run as i64)))
    }

    /// What a look at a DAG finds to do; one thing of all.
    fn look(&self, state: &State, agent: usize, dag: &DagImage, steps: &mut Steps<State>) {
        let mut go = |does: &'static str, next: State| steps.push(((AGENTS[agent], does), next));
        let becomes = |to: Agent| {
            let mut next = state.clone();
            next.agents[agent] = to;
            next
        };
        if let Some(run) = Self::due(dag).filter(|_| dag.has_room() || self.lacks(Without::PlaceBeforePut)) {
            let mut next = becomes(Agent::Idle);
            let after = (run + 1 < RUNS).then(|| NOW + SignedDuration::from_secs(run as i64 + 1));
            let interval = DataInterval::exact(NOW + SignedDuration::from_secs(run as i64));
            let change = places::create(dag, &facts(&format!("r{run}")), interval, after, NOW);
            if self.lacks(Without::PlaceBeforePut) && next.runs[run] == Run::Absent {
                self.put(&mut next, run);
                go("puts a run before it has a place", next);
            } else if self.write_dag(&mut next, &change) {
                next.agents[agent] = Agent::PutsRun(run);
                go("makes the run that is due an active one", next);
            } else {
                go("is refused a place for the run that is due", next);
            }
        }
        if self.lacks(Without::Sweep) {
            return;
        }
        for (incarnation, held) in &dag.active {
            let run = usize::from(incarnation.as_str() == "r1");
            match places::place(held, state.runs[run].document().map(|image| &**image)) {
                Place::Stands => {}
                Place::Owed(_) => go("finds a run that is owed", becomes(Agent::PutsRun(run))),
                Place::Over => go("finds a place that nobody needs", becomes(Agent::Forgets(run, held.epoch))),
            }
        }
    }

    fn put(&self, state: &mut State, run: usize) {
        if state.deleted[run] {
            state.wrong = state.wrong.or(Some("a deleted run is born again"));
        }
        let (document, _) =
            step::begin(&self.plan, RunDoc::new(facts(&format!("r{run}")), DagRunState::Running, NOW), NOW);
        state.runs[run] = Run::There(Image::new(document));
    }

    fn agent(&self, state: &State, agent: usize, steps: &mut Steps<State>) {
        let label = |does: &'static str| -> Label { (AGENTS[agent], does) };
        let becomes = |to: Agent| {
            let mut next = state.clone();
            next.agents[agent] = to;
            next
        };
        match &state.agents[agent] {
            Agent::Idle => self.idle(state, agent, steps),
            Agent::Looks(dag) => {
                let before = steps.len();
                self.look(state, agent, dag, steps);
                if steps.len() == before {
                    steps.push((label("finds nothing to do"), becomes(Agent::Idle)));
                }
            }
            Agent::PutsRun(run) => match &state.runs[*run] {
                Run::Absent => {
                    let mut next = becomes(Agent::Idle);
                    self.put(&mut next, *run);
                    steps.push((label("puts a run"), next));
                }
                Run::There(_) if self.lacks(Without::OnlyAbsent) => {
                    let mut next = becomes(Agent::Idle);
                    self.put(&mut next, *run);
                    steps.push((label("puts a run that is there"), next));
                }
                Run::There(_) => steps.push((label("finds the run put"), becomes(Agent::Idle))),
                Run::Tombstone => steps.push((label("finds the run deleted"), becomes(Agent::Forgets(*run, 0)))),
            },
            Agent::Forgets(run, epoch) => {
                let mut next = becomes(Agent::Idle);
                self.write_dag(&mut next, &places::forget(&incarnation(*run), *epoch));
                steps.push((label("forgets a place"), next));
            }
            Agent::Leaves(run, epoch) => {
                let change = places::leave(&incarnation(*run), *epoch);
                let to = state.runs[*run].document().filter(|image| !image.outbox.is_empty());
                let mut next = becomes(to.map_or(Agent::Idle, |image| Agent::StrikesOut(*run, image.clone())));
                self.write_dag(&mut next, &change);
                steps.push((label("gives back a place"), next));
                if state.lost > 0 && state.late.is_none() {
                    let mut next = becomes(Agent::Idle);
                    next.lost -= 1;
                    next.late = Some((*run, *epoch));
                    steps.push((label("gives back a place, and is gone before an answer"), next));
                }
            }
            Agent::StrikesOut(run, image) => {
                let mut next = becomes(Agent::Idle);
                Self::write_run(&mut next, *run, &step::strike_out(image, step::LEAVE, NOW));
                steps.push((label("strikes out what was delivered"), next));
            }
            Agent::Takes(run, dag) => match places::take(dag, run, NOW) {
                Take::Has => steps.push((label("has a place"), becomes(Agent::Starts(run.clone())))),
                Take::Waits => steps.push((label("waits already"), becomes(Agent::Idle))),
                Take::Write(change) => {
                    let mut next = becomes(Agent::Starts(run.clone()));
                    if !self.write_dag(&mut next, &change) {
                        next.agents[agent] = Agent::Takes(run.clone(), state.dag.clone());
                    }
                    steps.push((label("takes a place, or is refused"), next));
                }
                Take::Wait(change) => {
                    let mut next = becomes(Agent::Idle);
                    self.write_dag(&mut next, &change);
                    steps.push((label("notes that the run waits"), next));
                }
            },
            Agent::Starts(run) => {
                let there = number(run);
                let mut next = becomes(Agent::Idle);
                if Self::write_run(&mut next, there, &step::start(&self.plan, run, NOW).change) {
                    steps.push((label("starts a run"), next));
                    return;
                }
                next.agents[agent] = match state.runs[there].document() {
                    Some(image) if image.state == DagRunState::Running && image.active_epoch == run.epoch => {
                        Agent::Idle
                    }
                    Some(image) if image.state == DagRunState::Queued => Agent::Takes(image.clone(), state.dag.clone()),
                    Some(image) if !image.state.is_finished() => Agent::Idle,
                    _ => Agent::Leaves(there, run.epoch),
                };
                steps.push((label("is refused its start"), next));
            }
        }
    }

    fn users(&self, state: &State, steps: &mut Steps<State>) {
        for (run, image) in state.runs.iter().enumerate().filter_map(|(run, r)| Some((run, r.document()?))) {
            if state.clears > 0 && image.state.is_finished() {
                let operation = OperationId::trusted(format!("op{}{}", run, image.epoch));
                let mut next = state.clone();
                next.clears -= 1;
                let mut after = step::clear(&self.plan, image, &[TaskIndex(0)], &operation, NOW).change.apply(image);
                if self.lacks(Without::PlaceBeforeRun) {
                    after = step::start(&self.plan, &after, NOW).change.apply(&after);
                }
                next.runs[run] = Run::There(Image::new(after));
                steps.push((("user", "clears a run that has ended"), next));
            }
            if state.deletes > 0 && image.state != DagRunState::Queued {
                let mut next = state.clone();
                next.deletes -= 1;
                next.deleted[run] = true;
                next.runs[run] = if self.lacks(Without::Tombstone) { Run::Absent } else { Run::Tombstone };
                steps.push((("user", "deletes a run"), next));
            }
        }
    }
}

impl Protocol for Places {
    type State = State;

    fn begin(&self) -> State {
        let mut dag = DagDoc::new(DagId::trusted("d"), "d.yaml".to_owned(), false);
        dag.max_active_runs = 1;
        dag.next_due = Some(NOW);
        dag.wake_at = Some(NOW);
        State {
            dag: DagImage(Arc::new(dag)),
            runs: [Run::Absent, Run::Absent],
            agents: [Agent::Idle, Agent::Idle],
            crashes: self.crashes,
            clears: self.clears,
            deletes: self.deletes,
            lost: self.lost,
            late: None,
            deleted: [false; RUNS],
            wrong: None,
        }
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        let from = steps.len();
        let mut idle = false;
        for (number, agent) in state.agents.iter().enumerate() {
            if *agent == Agent::Idle && std::mem::replace(&mut idle, true) {
                continue;
            }
            self.agent(state, number, steps);
            if *agent != Agent::Idle && state.crashes > 0 {
                let mut next = state.clone();
                next.crashes -= 1;
                next.agents[number] = Agent::Idle;
                steps.push(((AGENTS[number], "dies"), next));
            }
        }
        self.users(state, steps);
        if let Some((run, epoch)) = state.late {
            let mut next = state.clone();
            next.late = None;
            self.write_dag(&mut next, &places::leave(&incarnation(run), epoch));
            steps.push((("a late write", "gives back a place"), next));
        }
        for (_, next) in &mut steps[from..] {
            let running = |run: &&Run| run.document().is_some_and(|image| image.state == DagRunState::Running);
            if next.runs.iter().filter(running).count() > next.dag.max_active_runs as usize {
                next.wrong = next.wrong.or(Some("more runs run than may be active"));
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        state.wrong
    }

    fn is_over(&self, state: &State) -> bool {
        let ended =
            |run: usize| state.runs[run].document().map_or(state.deleted[run], |image| image.state.is_finished());
        state.dag.next_due.is_none() && state.dag.active.is_empty() && (0..RUNS).all(ended)
    }
}

#[test]
fn places_hold() {
    holds("places: crash, clear", Places::new(1, 1, 0, 0));
    holds("places: crash, clear, late give-back", Places::new(1, 1, 0, 1));
    holds("places: crash, delete, late give-back", Places::new(1, 0, 1, 1));
}

#[test]
fn places_hold_through_all_at_once() {
    holds("places: crash, clear, delete, late give-back", Places::new(1, 1, 1, 1));
}

#[test]
fn each_rule_is_missed() {
    let places =
        |crashes, clears, deletes, lost, rule| breaks(rule, Places::new(crashes, clears, deletes, lost).without(rule));
    places(0, 1, 0, 1, Without::Epoch);
    places(0, 1, 0, 0, Without::PlaceBeforeRun);
    places(0, 0, 0, 0, Without::PlaceBeforePut);
    places(0, 0, 0, 0, Without::OnlyAbsent);
    places(1, 0, 1, 0, Without::Tombstone);
    places(1, 0, 0, 0, Without::Sweep);
    places(0, 1, 0, 0, Without::Limit);
}
