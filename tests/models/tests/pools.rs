//! Rules B1 to B6: a pool of one slot, a run of two tasks one after the other and a run of one, all in that pool, and two processes that
//! take, wait, queue, run, give back, promote and sweep.

use crate::explore::{Label, Protocol, Steps, breaks, holds};
use std::collections::BTreeSet;

const AGENTS: [&str; 3] = ["process 0", "process 1", "process 2"];

/// The tasks: `A` and then `B` in one run, `Y` in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Task {
    A,
    B,
    Y,
}

use Task::{A, B, Y};

const TASKS: [Task; 3] = [A, B, Y];

impl Task {
    fn run(self) -> usize {
        usize::from(self == Y)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stand {
    None,
    Queued,
    Running,
    Restarting,
    Success,
}

impl Stand {
    /// Whether it needs a slot.
    fn uses(self) -> bool {
        matches!(self, Self::Queued | Self::Running | Self::Restarting)
    }
}

/// Who holds a slot or waits for one, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Holder {
    task: Task,
    epoch: u8,
    try_number: u8,
}

impl Holder {
    /// What makes one newer than another of the same task.
    fn age(self) -> (u8, u8) {
        (self.epoch, self.try_number)
    }
}

/// Where a process stands. Each is about to do what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Agent {
    Idle,
    Takes(Holder),
    Waits(Holder),
    Queues(Holder),
    /// Runs an attempt.
    Runs(Task, u8),
    GivesBack(Task, u8),
    Removes(Holder),
    Promotes(Holder),
}

/// A write on its way, whose sender is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Late {
    Take(Holder),
    Wait(Holder),
    Queue(Holder),
    GiveBack(Task, u8),
}

#[derive(Debug, Clone, PartialEq, Hash)]
struct State {
    size: usize,
    holders: BTreeSet<Holder>,
    waiters: BTreeSet<Holder>,
    is_indexed: bool,
    cells: [(Stand, u8); 3],
    epochs: [u8; 2],
    /// Promoted, and not known to be queued.
    unconfirmed: BTreeSet<Task>,
    agents: Vec<Agent>,
    crashes: u8,
    clears: u8,
    lost: u8,
    late: Option<Late>,
    wrong: Option<&'static str>,
}

/// A rule that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// B1: a holder has an epoch and a try, and only its own is given back.
    Generation,
    /// B1: only an older holder is replaced.
    OlderOnly,
    /// B2: a refused queueing gives the slot back only where its holder is dead.
    LookBeforeGivingBack,
    /// B3: the sweep removes the dead.
    Reclaim,
    /// B3: the epoch is part of what is dead.
    EpochOfTheDead,
    /// B3: a holder about to be queued is not dead.
    AboutToBeQueued,
    /// B4: a cleared task takes a slot anew.
    TakeAnew,
    /// B5: to wait and to be woken is one write.
    WakeWithWaiting,
    /// B5: the wake goes only when nobody waits.
    WakeWhileWaiting,
    /// B6: somebody looks at promotions that were not confirmed.
    Confirmation,
}

/// A pool, and what may befall it.
#[derive(Clone, Copy)]
struct Pools {
    crashes: u8,
    clears: u8,
    lost: u8,
    /// Begins without a slot, and is given one.
    grows: bool,
    /// Whether looks at runs take slots for those who wait. Without them, only the pool's own sweep promotes.
    runs_are_looked_at: bool,
    begins_with: [(Stand, u8); 3],
    agents: usize,
    without: Option<Without>,
}

/// A has succeeded.
const MIDWAY: [(Stand, u8); 3] = [(Stand::Success, 1), (Stand::None, 0), (Stand::None, 0)];

/// Nothing has run.
const AT_FIRST: [(Stand, u8); 3] = [(Stand::None, 0); 3];

impl Pools {
    fn new(crashes: u8, clears: u8, lost: u8) -> Self {
        Self {
            crashes,
            clears,
            lost,
            grows: false,
            runs_are_looked_at: true,
            begins_with: MIDWAY,
            agents: 2,
            without: None,
        }
    }

    fn without(self, rule: Without) -> Self {
        Self { without: Some(rule), ..self }
    }

    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }

    fn is_ready(state: &State, task: Task) -> bool {
        state.cell(task).0 == Stand::None && (task != B || state.cell(A).0 == Stand::Success)
    }

    fn is_dead(&self, state: &State, holder: Holder) -> bool {
        let (stand, tries) = state.cell(holder.task);
        match stand {
            Stand::Queued | Stand::Running | Stand::Restarting => tries != holder.try_number,
            Stand::None if self.lacks(Without::AboutToBeQueued) && state.holders.contains(&holder) => true,
            Stand::None if tries + 1 == holder.try_number => {
                !self.lacks(Without::EpochOfTheDead) && holder.epoch != state.epochs[holder.task.run()]
            }
            Stand::None | Stand::Success => true,
        }
    }

    fn stop_waiting(&self, state: &mut State, waiter: Holder) {
        if state.waiters.remove(&waiter) {
            state.is_indexed = !state.waiters.is_empty() && !self.lacks(Without::WakeWhileWaiting);
        }
    }

    /// Takes a slot. None: the pool is full. Some(false): a newer one holds.
    fn take(&self, state: &mut State, wanted: Holder) -> Option<bool> {
        let waiter = state.waiter(wanted.task);
        match state.holder(wanted.task) {
            Some(held) if wanted.age() < held.age() && !self.lacks(Without::OlderOnly) => return Some(false),
            Some(held) => {
                state.holders.remove(&held);
            }
            None if state.holders.len() >= state.size => return None,
            None => {}
        }
        state.holders.insert(wanted);
        if let Some(waiter) = waiter {
            self.stop_waiting(state, waiter);
        }
        Some(true)
    }

    /// Joins those who wait. False: there is a slot, or a newer one waits.
    fn wait(&self, state: &mut State, wanted: Holder) -> bool {
        let has_slot = state.holders.len() < state.size || state.holder(wanted.task).is_some();
        let waiter = state.waiter(wanted.task);
        let newer = waiter.is_some_and(|waiter| wanted.age() < waiter.age());
        if has_slot || newer {
            return false;
        }
        if let Some(waiter) = waiter {
            state.waiters.remove(&waiter);
        }
        state.waiters.insert(wanted);
        state.is_indexed |= !self.lacks(Without::WakeWithWaiting);
        true
    }

    fn queue(state: &mut State, holder: Holder) -> bool {
        let accepted = state.cell(holder.task) == (Stand::None, holder.try_number - 1)
            && state.epochs[holder.task.run()] == holder.epoch;
        if accepted {
            state.set(holder.task, Stand::Queued, holder.try_number);
            state.unconfirmed.remove(&holder.task);
        }
        accepted
    }

    fn give_back(&self, state: &mut State, task: Task, try_number: u8) {
        let held = state.holder(task);
        if let Some(held) = held.filter(|held| held.try_number == try_number || self.lacks(Without::Generation)) {
            state.holders.remove(&held);
            state.unconfirmed.remove(&task);
        }
    }

    /// After a slot has come free: the process promotes whoever waits.
    fn next(state: &State) -> Agent {
        match state.waiters.first() {
            Some(waiter) if state.holders.len() < state.size => Agent::Promotes(*waiter),
            _ => Agent::Idle,
        }
    }

    fn idle(&self, state: &State, agent: usize, steps: &mut Steps<State>) {
        let mut go = |does: &'static str, next: State| steps.push(((AGENTS[agent], does), next));
        let becomes = |to: Agent| state.with(agent, to);
        for task in TASKS {
            let (stand, tries) = state.cell(task);
            let looked_at =
                self.runs_are_looked_at || (!state.unconfirmed.contains(&task) && state.waiter(task).is_none());
            if Self::is_ready(state, task) && looked_at {
                let epoch = state.epochs[task.run()];
                go(
                    "reads a run: a task is ready",
                    becomes(Agent::Takes(Holder { task, epoch, try_number: tries + 1 })),
                );
            }
            if stand == Stand::Queued {
                let mut next = becomes(Agent::Runs(task, tries));
                next.set(task, Stand::Running, tries);
                go("claims a task", next);
            }
            let lives = state.agents.contains(&Agent::Runs(task, tries));
            if matches!(stand, Stand::Running | Stand::Restarting) && !lives {
                let mut next = state.clone();
                next.set(task, Stand::None, tries);
                go("finds an attempt dead", next);
            }
        }
        if !self.runs_are_looked_at && !self.lacks(Without::Confirmation) {
            for holder in state.holders.iter().filter(|holder| state.unconfirmed.contains(&holder.task)) {
                go("finds a promotion that was not confirmed", becomes(Agent::Queues(*holder)));
            }
        }
        if state.is_indexed {
            if state.holders.len() < state.size {
                for waiter in &state.waiters {
                    go("reads the pool: a slot is free", becomes(Agent::Promotes(*waiter)));
                }
            }
            if !self.lacks(Without::Reclaim) {
                for holder in state.holders.iter().chain(&state.waiters).filter(|h| self.is_dead(state, **h)) {
                    go("reads the pool: one of it is dead", becomes(Agent::Removes(*holder)));
                }
            }
        }
    }

    fn acts(&self, state: &State, agent: usize, steps: &mut Steps<State>) {
        let label = |does: &'static str| -> Label { (AGENTS[agent], does) };
        let mut next = state.with(agent, Agent::Idle);
        match state.agents[agent].clone() {
            Agent::Idle => {}
            Agent::Takes(wanted) => {
                let does = match self.take(&mut next, wanted) {
                    Some(true) => {
                        next.agents[agent] = Agent::Queues(wanted);
                        "takes a slot"
                    }
                    Some(false) => "finds a newer one holding",
                    None => {
                        next.agents[agent] = Agent::Waits(wanted);
                        "finds the pool full"
                    }
                };
                steps.push((label(does), next));
            }
            Agent::Waits(wanted) => {
                let full = state.holders.len() >= state.size && state.holder(wanted.task).is_none();
                let does = if self.wait(&mut next, wanted) {
                    "waits"
                } else if full {
                    "finds a newer one waiting"
                } else {
                    next.agents[agent] = Agent::Takes(wanted);
                    "finds the pool no longer full"
                };
                steps.push((label(does), next));
            }
            Agent::Queues(holder) => {
                let does = if Self::queue(&mut next, holder) {
                    "queues the task"
                } else if !self.lacks(Without::LookBeforeGivingBack) && !self.is_dead(state, holder) {
                    "is refused the queueing; its slot is in use"
                } else {
                    next.agents[agent] = Agent::Removes(holder);
                    "is refused the queueing"
                };
                steps.push((label(does), next));
            }
            Agent::Runs(task, try_number) => {
                let (stand, tries) = state.cell(task);
                let does = match stand {
                    Stand::Running if tries == try_number => {
                        next.set(task, Stand::Success, try_number);
                        next.agents[agent] = Agent::GivesBack(task, try_number);
                        "finishes"
                    }
                    Stand::Restarting if tries == try_number && self.lacks(Without::TakeAnew) => {
                        next.set(task, Stand::Queued, try_number + 1);
                        "lets go, and keeps the slot"
                    }
                    Stand::Restarting if tries == try_number => {
                        next.set(task, Stand::None, try_number);
                        next.agents[agent] = Agent::GivesBack(task, try_number);
                        "lets go"
                    }
                    _ => "finds its attempt settled",
                };
                steps.push((label(does), next));
            }
            Agent::GivesBack(task, try_number) => {
                self.give_back(&mut next, task, try_number);
                next.agents[agent] = Self::next(&next);
                steps.push((label("gives its slot back"), next));
            }
            Agent::Removes(holder) => {
                let held = state.holder(holder.task).filter(|held| *held == holder || self.lacks(Without::Generation));
                if let Some(held) = held {
                    next.holders.remove(&held);
                    next.unconfirmed.remove(&held.task);
                }
                self.stop_waiting(&mut next, holder);
                next.agents[agent] = Self::next(&next);
                steps.push((label("removes the dead"), next));
            }
            Agent::Promotes(waiter) => {
                let may = state.waiters.contains(&waiter)
                    && state.holders.len() < state.size
                    && state.holder(waiter.task).is_none();
                if !may {
                    steps.push((label("is refused the promotion"), next));
                    return;
                }
                self.stop_waiting(&mut next, waiter);
                next.holders.insert(waiter);
                if !self.runs_are_looked_at {
                    next.unconfirmed.insert(waiter.task);
                }
                next.agents[agent] = Agent::Queues(waiter);
                steps.push((label("promotes one who waits"), next));
            }
        }
    }

    /// Crash, lost answers, late writes, a new size and a clear.
    fn befalls(&self, state: &State, steps: &mut Steps<State>) {
        for (number, agent) in state.agents.iter().enumerate().filter(|(_, agent)| **agent != Agent::Idle) {
            if state.crashes > 0 {
                let mut next = state.with(number, Agent::Idle);
                next.crashes -= 1;
                steps.push(((AGENTS[number], "dies"), next));
            }
            let late = match agent {
                Agent::Takes(holder) => Some(Late::Take(*holder)),
                Agent::Waits(holder) => Some(Late::Wait(*holder)),
                Agent::Queues(holder) => Some(Late::Queue(*holder)),
                Agent::GivesBack(task, try_number) => Some(Late::GiveBack(*task, *try_number)),
                _ => None,
            };
            if state.lost > 0 && state.late.is_none() && late.is_some() {
                let mut next = state.with(number, Agent::Idle);
                next.lost -= 1;
                next.late = late;
                steps.push(((AGENTS[number], "writes, and is gone before an answer"), next));
            }
        }
        if let Some(late) = state.late {
            let mut next = state.clone();
            next.late = None;
            match late {
                Late::Take(holder) => drop(self.take(&mut next, holder)),
                Late::Wait(holder) => drop(self.wait(&mut next, holder)),
                Late::Queue(holder) => drop(Self::queue(&mut next, holder)),
                Late::GiveBack(task, try_number) => self.give_back(&mut next, task, try_number),
            }
            steps.push((("a late write", "lands"), next));
        }
        if state.size == 0 {
            let mut next = state.clone();
            next.size = 1;
            steps.push((("user", "gives the pool a slot"), next));
        }
        if state.clears > 0 && state.cell(A).0 == Stand::Success {
            let mut next = state.clone();
            next.clears -= 1;
            next.epochs[A.run()] += 1;
            next.set(A, Stand::None, state.cell(A).1);
            match state.cell(B) {
                (Stand::Running, tries) => next.set(B, Stand::Restarting, tries),
                (Stand::Queued, tries) => next.set(B, Stand::None, tries - 1),
                (Stand::Restarting, _) => {}
                (_, tries) => next.set(B, Stand::None, tries),
            }
            steps.push((("user", "clears both tasks of a run"), next));
        }
    }
}

impl State {
    fn cell(&self, task: Task) -> (Stand, u8) {
        self.cells[task as usize]
    }

    fn set(&mut self, task: Task, stand: Stand, tries: u8) {
        self.cells[task as usize] = (stand, tries);
    }

    fn holder(&self, task: Task) -> Option<Holder> {
        self.holders.iter().find(|holder| holder.task == task).copied()
    }

    fn waiter(&self, task: Task) -> Option<Holder> {
        self.waiters.iter().find(|waiter| waiter.task == task).copied()
    }

    fn with(&self, agent: usize, to: Agent) -> Self {
        let mut next = self.clone();
        next.agents[agent] = to;
        next
    }
}

impl Protocol for Pools {
    type State = State;

    fn begin(&self) -> State {
        State {
            size: usize::from(!self.grows),
            holders: BTreeSet::new(),
            waiters: BTreeSet::new(),
            is_indexed: false,
            cells: self.begins_with,
            epochs: [0, 0],
            unconfirmed: BTreeSet::new(),
            agents: vec![Agent::Idle; self.agents],
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
            if *agent != Agent::Idle {
                self.acts(state, number, steps);
            } else if !std::mem::replace(&mut idle, true) {
                self.idle(state, number, steps);
            }
        }
        self.befalls(state, steps);
        for (_, next) in &mut steps[from..] {
            if TASKS.iter().filter(|task| next.cell(**task).0.uses()).count() > next.size {
                next.wrong = Some("more slots are in use than the pool has");
            }
        }
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        state.wrong
    }

    fn is_over(&self, state: &State) -> bool {
        TASKS.iter().all(|task| state.cell(*task).0 == Stand::Success)
    }
}

#[test]
fn pools_hold() {
    holds("pool: crash, clear", Pools::new(1, 1, 0));
    holds("pool: crash, clear, from the first task", Pools { begins_with: AT_FIRST, ..Pools::new(1, 1, 0) });
    holds("pool: clear, late write", Pools::new(0, 1, 1));
    holds("pool: crash, late write", Pools::new(1, 0, 1));
    holds("pool: crash, given its first slot", Pools { grows: true, ..Pools::new(1, 0, 0) });
}

#[test]
fn pools_hold_where_only_they_promote() {
    let alone = Pools { runs_are_looked_at: false, ..Pools::new(1, 0, 0) };
    holds("pool alone: crash", alone);
    holds("pool alone: two crashes", Pools { crashes: 2, begins_with: AT_FIRST, ..alone });
}

#[test]
fn each_rule_is_missed() {
    let alone = Pools { runs_are_looked_at: false, ..Pools::new(1, 0, 0) };
    breaks(Without::Generation, Pools::new(0, 1, 1).without(Without::Generation));
    breaks(Without::OlderOnly, Pools::new(0, 1, 0).without(Without::OlderOnly));
    breaks(Without::LookBeforeGivingBack, Pools::new(0, 0, 0).without(Without::LookBeforeGivingBack));
    breaks(Without::Reclaim, Pools::new(1, 1, 0).without(Without::Reclaim));
    breaks(Without::EpochOfTheDead, Pools::new(1, 1, 0).without(Without::EpochOfTheDead));
    breaks(Without::AboutToBeQueued, Pools { agents: 3, ..Pools::new(0, 0, 0) }.without(Without::AboutToBeQueued));
    breaks(Without::TakeAnew, Pools::new(0, 1, 0).without(Without::TakeAnew));
    breaks(Without::WakeWithWaiting, alone.without(Without::WakeWithWaiting));
    let forgets = Pools { crashes: 2, begins_with: AT_FIRST, ..alone };
    breaks(Without::WakeWhileWaiting, forgets.without(Without::WakeWhileWaiting));
    breaks(Without::Confirmation, alone.without(Without::Confirmation));
}
