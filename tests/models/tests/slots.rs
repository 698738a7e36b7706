//! Rules B1 to B4 on the product's own functions: a pool of one slot and two runs of one task each, the first a sensor that gives its
//! worker back between two looks. Who takes, waits, gives back and is promoted is decided by `updraft_scheduling::holders`, what that
//! makes of runs by `updraft_scheduling::step`. Rules B5 and B6, which matter where nobody looks at the runs, are in [`crate::pools`].

use crate::documents::{Image, NOW, facts, late_enough, lease, plan};
use crate::explore::{Label, Protocol, Steps, breaks, holds};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use updraft_model::{
    AttemptOutcome, Cell, Claim, DagRunState, Generation, Held, HolderChange, HolderDoc, HolderId, HolderName,
    Incarnation, OperationId, Plan, RunChange, RunDoc, TaskIndex, Token,
};
use updraft_scheduling::holders::{self, Turn};
use updraft_scheduling::step::{self, Ended, Expired};

const AGENTS: [&str; 2] = ["process 0", "process 1"];

const TASK: TaskIndex = TaskIndex(0);

/// The run whose task is a sensor, and the run whose task is cleared.
const SENSOR: usize = 0;
const CLEARED: usize = 1;

/// The pool's document as somebody read it. Its revision says whether it was written since: 0 it was not, 1 it was.
#[derive(Clone, PartialEq)]
struct Pool(Arc<HolderDoc>);

impl Deref for Pool {
    type Target = HolderDoc;

    fn deref(&self) -> &HolderDoc {
        &self.0
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |claims: &std::collections::BTreeMap<HolderName, Claim>| -> Vec<String> {
            claims.iter().map(|(name, claim)| format!("{} {:?}", name.encode(), claim.generation)).collect()
        };
        write!(f, "of {:?}: {:?}, waiting {:?}", self.size, names(&self.holders), names(&self.waiters))
    }
}

impl Hash for Pool {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for claims in [&self.holders, &self.waiters] {
            claims.len().hash(hasher);
            for (name, claim) in claims {
                (name.encode(), claim.encode()).hash(hasher);
            }
        }
        (self.size, self.used, self.wake_at.is_some(), self.revision).hash(hasher);
    }
}

/// What a run has business with the pool for.
#[derive(Debug, Clone, PartialEq, Hash)]
struct Deal {
    /// What it gives back follows from this image and the one below.
    base: Option<Image>,
    run: Image,
}

/// Where a process stands. Each is about to do what it is called.
#[derive(Debug, Clone, PartialEq, Hash)]
enum Agent {
    Idle,
    Reads(Deal),
    Turns(Deal, Pool),
    /// Queues who was promoted; then, for a run that has its slots, that run's task.
    Promotes(Vec<(usize, Generation)>, Option<Image>),
    LooksAtPool(Pool),
    /// Runs an attempt of a run's task: its try and token.
    Runs(usize, (u32, Token)),
}

/// A write on its way, whose sender is gone.
#[derive(Debug, Clone, PartialEq)]
enum Late {
    Pool(Box<HolderChange>),
    Run(usize, Box<RunChange>),
}

impl Hash for Late {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        format!("{self:?}").hash(hasher);
    }
}

#[derive(Debug, Clone, PartialEq, Hash)]
struct State {
    pool: Pool,
    runs: [Image; 2],
    agents: [Agent; 2],
    /// How many attempts were begun: their tokens.
    attempts: u8,
    reschedules: u8,
    crashes: u8,
    clears: u8,
    lost: u8,
    late: Option<Late>,
    wrong: Option<&'static str>,
}

/// A rule that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// B1: what is given back is an attempt's own.
    OwnOnly,
    /// B2: the write that queues asks for the try.
    Try,
    /// B2: the write that queues asks for the attempt, too: a try that goes on takes slots anew.
    Resume,
    /// A turn asks for what it has seen.
    Guard,
    /// B3: the look at a pool frees the dead.
    Reclaim,
    /// B4: what was cleared while it ran takes its slots anew.
    TakeAnew,
}

#[derive(Clone)]
struct Slots {
    plan: Arc<Plan>,
    reschedules: u8,
    crashes: u8,
    clears: u8,
    lost: u8,
    /// Begins without a slot, and is given one.
    grows: bool,
    without: Option<Without>,
}

/// Whether it uses its slots.
fn is_at_work(cell: &Cell) -> bool {
    matches!(cell, Cell::Queued { .. } | Cell::Running { .. } | Cell::Restarting { .. })
}

fn number(incarnation: &Incarnation) -> usize {
    usize::from(incarnation.as_str() == "r1")
}

fn pool_id() -> HolderId {
    HolderId::Pool("p".to_owned())
}

fn stale(image: &Image) -> Image {
    let mut run = RunDoc::clone(image);
    run.revision = 1;
    Image::new(run)
}

impl State {
    /// Writes on the pool; whoever holds an older image of it finds out by its revision.
    fn write_pool(&mut self, change: &HolderChange) -> bool {
        if !change.holds(&self.pool) {
            return false;
        }
        let mut after = change.apply(&self.pool);
        after.revision = 0;
        self.pool = Pool(Arc::new(after));
        for agent in &mut self.agents {
            if let Agent::Turns(_, pool) | Agent::LooksAtPool(pool) = agent {
                let mut seen = HolderDoc::clone(pool);
                seen.revision = 1;
                *pool = Pool(Arc::new(seen));
            }
        }
        if let Some(Late::Pool(late)) = &mut self.late {
            late.if_revision = late.if_revision.map(|_| 1);
        }
        true
    }

    fn write_run(&mut self, run: usize, change: &RunChange) -> bool {
        if !change.holds(&self.runs[run]) {
            return false;
        }
        let mut after = change.apply(&self.runs[run]);
        (after.revision, after.looks) = (0, 0);
        self.runs[run] = Image::new(after);
        let is_it = |image: &Image| number(&image.facts.incarnation) == run;
        for agent in &mut self.agents {
            match agent {
                Agent::Reads(deal) | Agent::Turns(deal, _) if is_it(&deal.run) => deal.run = stale(&deal.run),
                Agent::Promotes(_, Some(image)) if is_it(image) => *image = stale(image),
                _ => {}
            }
        }
        if let Some(Late::Run(late_run, late)) = &mut self.late
            && *late_run == run
        {
            late.if_revision = late.if_revision.map(|_| 1);
        }
        true
    }

    fn with(&self, agent: usize, to: Agent) -> Self {
        let mut next = self.clone();
        next.agents[agent] = to;
        next
    }
}

impl Slots {
    fn new(reschedules: u8, crashes: u8, clears: u8, lost: u8) -> Self {
        let mut dag = plan(&[(&[], 1)]).dag.clone();
        "p".clone_into(&mut dag.tasks[0].pool);
        Self { plan: Arc::new(Plan::new(dag)), reschedules, crashes, clears, lost, grows: false, without: None }
    }

    fn without(self, rule: Without) -> Self {
        Self { without: Some(rule), ..self }
    }

    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }

    /// Begins to deal with what a write made of a run.
    fn deals(base: Option<&Image>, run: &Image) -> Agent {
        Agent::Reads(Deal { base: base.cloned(), run: run.clone() })
    }

    fn idle(&self, state: &State, agent: usize, steps: &mut Steps<State>) {
        let mut go = |does: &'static str, next: State| steps.push(((AGENTS[agent], does), next));
        if state.pool.wake_at.is_some() {
            go("reads the pool", state.with(agent, Agent::LooksAtPool(state.pool.clone())));
        }
        for (run, image) in state.runs.iter().enumerate() {
            if image.state != DagRunState::Running {
                continue;
            }
            match image.cell(TASK) {
                Cell::Scheduled { .. } => go("reads a run", state.with(agent, Self::deals(None, image))),
                Cell::Queued { try_number } => {
                    let mut next = state.clone();
                    next.attempts += 1;
                    let lease = lease(next.attempts, 0);
                    let claim = RunChange { if_wake_at_most: None, ..step::claim(TASK, *try_number, &lease) };
                    next.write_run(run, &claim);
                    next.agents[agent] = Agent::Runs(run, (*try_number, lease.token));
                    go("claims a task", next);
                }
                cell @ (Cell::Running { lease, .. } | Cell::Restarting { lease, .. }) => {
                    let lives = |a: &Agent| matches!(a, Agent::Runs(_, (_, token)) if *token == lease.token);
                    if state.agents.iter().any(lives) {
                        continue;
                    }
                    let dead = Expired { cell: cell.clone(), task: TASK, left: None };
                    let mut next = state.clone();
                    next.write_run(run, &step::sweep(&self.plan, image, &[dead], NOW).change);
                    next.agents[agent] = Self::deals(Some(image), &next.runs[run]);
                    go("finds an attempt dead", next);
                }
                Cell::Waiting { .. } => {
                    let mut next = state.clone();
                    next.write_run(run, &step::sweep(&self.plan, image, &[], late_enough(image)).change);
                    next.agents[agent] = Self::deals(Some(image), &next.runs[run]);
                    go("finds that the wait is over", next);
                }
                _ => {}
            }
        }
    }

    /// What a run asks of the pool and gives back.
    fn turn(&self, deal: &Deal, pool: &Pool) -> Turn {
        let base = deal.base.as_ref();
        let returns = base.map_or_else(Vec::new, |base| holders::given_back(&self.plan, base, &deal.run));
        let returns: Vec<(HolderName, Generation)> = returns
            .into_iter()
            .map(|(_, (name, generation, _))| {
                let held = pool.holders.get(&name).map(|claim| claim.generation);
                let generation = held.filter(|_| self.lacks(Without::OwnOnly)).unwrap_or(generation);
                (name, generation)
            })
            .collect();
        let name = HolderName::of_task(deal.run.facts.incarnation.clone(), TASK);
        let wants = matches!(deal.run.cell(TASK), Cell::Scheduled { .. }) && deal.run.state == DagRunState::Running;
        let wish = wants.then(|| (name, holders::claim(&self.plan, &deal.run, TASK, &pool_id())));
        let mut turn = holders::turn(pool, &returns, &wish.into_iter().collect::<Vec<_>>(), NOW);
        if self.lacks(Without::Guard) {
            let HolderChange { hold, release, wait, leave, used, wake_at, looks, .. } = turn.change;
            turn.change = HolderChange { hold, release, wait, leave, used, wake_at, looks, ..HolderChange::default() };
        }
        turn
    }

    fn promoted(promoted: &[(HolderName, Claim)]) -> Vec<(usize, Generation)> {
        promoted.iter().map(|(name, claim)| (number(&name.incarnation), claim.generation)).collect()
    }

    /// The write that queues who was promoted.
    fn promote(&self, state: &State, run: usize, generation: Generation) -> RunChange {
        let mut change = step::promote(TASK, generation, None);
        let cell = state.runs[run].cell(TASK);
        if let Cell::Scheduled { try_number, resume, turn } = cell
            && (self.lacks(Without::Try) || (self.lacks(Without::Resume) && *try_number == generation.try_number))
        {
            change = step::promote(TASK, Generation { try_number: *try_number, resume: *resume, turn: *turn }, None);
        }
        change
    }

    fn acts(&self, state: &State, agent: usize, steps: &mut Steps<State>) {
        let label = |does: &'static str| -> Label { (AGENTS[agent], does) };
        let idle = state.with(agent, Agent::Idle);
        let lost = |late: Late| {
            let mut next = idle.clone();
            next.lost -= 1;
            next.late = Some(late);
            (label("writes, and is gone before an answer"), next)
        };
        let may_lose = state.lost > 0 && state.late.is_none();
        match state.agents[agent].clone() {
            Agent::Idle => self.idle(state, agent, steps),
            Agent::Reads(deal) => {
                steps.push((
                    label("reads the pool for a run"),
                    state.with(agent, Agent::Turns(deal, state.pool.clone())),
                ));
            }
            Agent::Turns(deal, pool) => {
                let turn = self.turn(&deal, &pool);
                let then = (!turn.has.is_empty()).then(|| deal.run.clone());
                let mut next = state.with(agent, Agent::Promotes(Self::promoted(&turn.promoted), then));
                if turn.change.is_nothing() {
                    steps.push((label("finds the pool as it should be"), next));
                    return;
                }
                if may_lose {
                    steps.push(lost(Late::Pool(Box::new(turn.change.clone()))));
                }
                let does = if next.write_pool(&turn.change) {
                    "takes, waits or gives back"
                } else {
                    next.agents[agent] = Agent::Turns(deal, state.pool.clone());
                    "is refused by the pool"
                };
                steps.push((label(does), next));
            }
            Agent::Promotes(mut promoted, then) => {
                let mut next = idle.clone();
                if let Some((run, generation)) = promoted.pop() {
                    let change = self.promote(state, run, generation);
                    if may_lose {
                        steps.push(lost(Late::Run(run, Box::new(change.clone()))));
                    }
                    next.agents[agent] = Agent::Promotes(promoted, then);
                    next.write_run(run, &change);
                    steps.push((label("queues one that was promoted, or is refused"), next));
                    return;
                }
                let Some(image) = then else {
                    steps.push((label("has nothing more to do"), next));
                    return;
                };
                let run = number(&image.facts.incarnation);
                let mut grant = step::grant(&self.plan, &image, &[TASK], NOW).change;
                if self.lacks(Without::Resume) || self.lacks(Without::Try) {
                    // As if the cell said less than it does.
                    let now = state.runs[run].cell(TASK);
                    let same = now.try_number() == image.cell(TASK).try_number() || self.lacks(Without::Try);
                    if matches!(now, Cell::Scheduled { .. }) && same {
                        grant.if_cells = vec![(TASK, now.clone())];
                    }
                }
                if may_lose {
                    steps.push(lost(Late::Run(run, Box::new(grant.clone()))));
                }
                let does = if next.write_run(run, &grant) {
                    "queues a task that has its slot"
                } else {
                    next.agents[agent] = Self::deals(Some(&image), &state.runs[run]);
                    "is refused the queueing"
                };
                steps.push((label(does), next));
            }
            Agent::LooksAtPool(pool) => self.look_at_pool(state, agent, &pool, steps),
            Agent::Runs(run, (try_number, token)) => {
                self.run(state, agent, run, &Held { task: TASK, try_number, token }, steps);
            }
        }
    }

    /// The look at a pool: it read the pool before, and reads the runs now.
    fn look_at_pool(&self, state: &State, agent: usize, pool: &Pool, steps: &mut Steps<State>) {
        let label = |does: &'static str| -> Label { (AGENTS[agent], does) };
        let run_of = |name: &HolderName| &*state.runs[number(&name.incarnation)];
        let dead = pool.holders.iter().filter(|(name, claim)| {
            !self.lacks(Without::Reclaim) && !holders::is_alive(claim, Some(run_of(name)), TASK, |_| false)
        });
        let dead: Vec<(HolderName, Generation)> = dead.map(|(name, claim)| (name.clone(), claim.generation)).collect();
        let turn = holders::turn(pool, &dead, &[], NOW);
        if !turn.change.is_nothing() {
            let mut next = state.with(agent, Agent::Promotes(Self::promoted(&turn.promoted), None));
            let does = if next.write_pool(&turn.change) {
                "frees the dead and promotes"
            } else {
                next.agents[agent] = Agent::LooksAtPool(state.pool.clone());
                "is refused by the pool it looked at"
            };
            steps.push((label(does), next));
            return;
        }
        let is_ready = |name: &HolderName| matches!(run_of(name).cell(TASK), Cell::Scheduled { .. });
        let ready: Vec<(HolderName, Claim)> =
            pool.holders.iter().filter(|(name, _)| is_ready(name)).map(|(n, c)| (n.clone(), c.clone())).collect();
        let mut next = state.with(agent, Agent::Promotes(Self::promoted(&ready), None));
        next.write_pool(&holders::rearm(pool, !ready.is_empty(), NOW));
        steps.push((label("finds the pool in order"), next));
    }

    fn run(&self, state: &State, agent: usize, run: usize, held: &Held, steps: &mut Steps<State>) {
        let label = |does: &'static str| -> Label { (AGENTS[agent], does) };
        let image = state.runs[run].clone();
        let mut ends = |does: &'static str, outcome: AttemptOutcome, reschedules: u8| {
            let ended = Ended::new(outcome, NOW);
            let Some(finish) = step::finish(&self.plan, &image, held, &ended, NOW, None) else { return false };
            let mut next = state.clone();
            next.reschedules -= reschedules;
            next.write_run(run, &finish.change);
            next.agents[agent] = Self::deals(Some(&image), &next.runs[run]);
            steps.push((label(does), next));
            true
        };
        if ends("finishes", AttemptOutcome::Success, 0) {
            if run == SENSOR && state.reschedules > 0 {
                ends("gives its worker back", AttemptOutcome::Rescheduled { until: NOW }, 1);
            }
            return;
        }
        let mut next = state.with(agent, Agent::Idle);
        let Some(mut let_go) = step::acknowledge(&self.plan, &image, held, NOW).map(|step| step.change) else {
            steps.push((label("finds its attempt settled"), next));
            return;
        };
        if self.lacks(Without::TakeAnew) {
            for (_, cell) in &mut let_go.cells {
                *cell = Cell::Queued { try_number: cell.try_number() + 1 };
            }
        }
        next.write_run(run, &let_go);
        next.agents[agent] = Self::deals(Some(&image), &next.runs[run]);
        steps.push((label("lets go"), next));
    }

    fn befalls(&self, state: &State, steps: &mut Steps<State>) {
        for (number, agent) in state.agents.iter().enumerate() {
            if *agent != Agent::Idle && state.crashes > 0 {
                let mut next = state.with(number, Agent::Idle);
                next.crashes -= 1;
                steps.push(((AGENTS[number], "dies"), next));
            }
        }
        if let Some(late) = &state.late {
            let mut next = state.clone();
            next.late = None;
            match late {
                Late::Pool(change) => next.write_pool(change),
                Late::Run(run, change) => next.write_run(*run, change),
            };
            steps.push((("a late write", "lands"), next));
        }
        if state.pool.size == Some(0) {
            let mut next = state.clone();
            next.write_pool(&HolderChange { size: Some(Some(1)), ..HolderChange::default() });
            steps.push((("user", "gives the pool a slot"), next));
        }
        let clearable =
            |cell: &Cell| matches!(cell, Cell::Queued { .. } | Cell::Running { .. } | Cell::Scheduled { .. });
        let image = &state.runs[CLEARED];
        if state.clears > 0 && image.state == DagRunState::Running && clearable(image.cell(TASK)) {
            let operation = OperationId::trusted(format!("op{}", image.epoch));
            let mut next = state.clone();
            next.clears -= 1;
            next.write_run(CLEARED, &step::clear(&self.plan, image, &[TASK], &operation, NOW).change);
            steps.push((("user", "clears a task"), next));
        }
    }
}

impl Protocol for Slots {
    type State = State;

    fn begin(&self) -> State {
        let run = |incarnation: &str| {
            let (mut run, _) = step::begin(&self.plan, RunDoc::new(facts(incarnation), DagRunState::Running, NOW), NOW);
            run.revision = 0;
            Image::new(run)
        };
        let pool = HolderDoc::new(pool_id(), Some(i64::from(!self.grows)));
        State {
            pool: Pool(Arc::new(pool)),
            runs: [run("r0"), run("r1")],
            agents: [Agent::Idle, Agent::Idle],
            attempts: 0,
            reschedules: self.reschedules,
            crashes: self.crashes,
            clears: self.clears,
            lost: self.lost,
            late: None,
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
            self.acts(state, number, steps);
        }
        self.befalls(state, steps);
        for (_, next) in &mut steps[from..] {
            let in_use = next.runs.iter().filter(|run| is_at_work(run.cell(TASK))).count();
            let held: i64 = next.pool.holders.values().map(|claim| i64::from(claim.slots)).sum();
            if in_use > 1 {
                next.wrong = next.wrong.or(Some("more slots are in use than the pool has"));
            } else if held != next.pool.used || held > 1 {
                next.wrong = next.wrong.or(Some("more slots are held than the pool has, or they are miscounted"));
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        state.wrong
    }

    fn is_over(&self, state: &State) -> bool {
        state.runs.iter().all(|run| run.state.is_finished())
    }
}

#[test]
fn slots_hold() {
    holds("slots: reschedule, late write", Slots::new(1, 0, 0, 1));
    holds("slots: reschedule, crash", Slots::new(1, 1, 0, 0));
    holds("slots: reschedule, clear", Slots::new(1, 0, 1, 0));
    holds("slots: clear, crash", Slots::new(0, 1, 1, 0));
    holds("slots: reschedule, given its first slot", Slots { grows: true, ..Slots::new(1, 0, 0, 0) });
}

#[test]
fn each_rule_is_missed() {
    breaks(Without::OwnOnly, Slots::new(1, 0, 1, 1).without(Without::OwnOnly));
    breaks(Without::Try, Slots::new(1, 0, 1, 1).without(Without::Try));
    breaks(Without::Resume, Slots::new(1, 0, 0, 0).without(Without::Resume));
    breaks(Without::Guard, Slots::new(0, 0, 0, 0).without(Without::Guard));
    breaks(Without::Reclaim, Slots::new(0, 1, 0, 0).without(Without::Reclaim));
    breaks(Without::TakeAnew, Slots::new(0, 0, 1, 0).without(Without::TakeAnew));
}
