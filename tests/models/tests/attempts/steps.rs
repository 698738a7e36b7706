//! What workers, sweeps, users and faults can do next.

use super::Attempts;
use super::rules::Without;
use super::state::{Act, Attempt, Item, Late, Outcome, State, Sweep, Tried, User, Worker};
use crate::documents::{Image, NOW, attempt_of, late_enough, lease};
use crate::explore::{Label, Steps};
use std::sync::Arc;
use updraft_model::{Cell, Held, OperationId, RunChange, TaskIndex, Token};
use updraft_scheduling::decide;
use updraft_scheduling::step::{self, Continue, Expired, Step};

const WORKERS: [&str; 2] = ["worker 0", "worker 1"];
const SWEEPS: [&str; 2] = ["sweep 0", "sweep 1"];
const USERS: [&str; 2] = ["user 0", "user 1"];

impl Attempts {
    pub(super) fn worker_steps(&self, state: &State, steps: &mut Steps<State>) {
        let mut idle = false;
        for (number, worker) in state.workers.iter().enumerate() {
            let who = WORKERS[number];
            // One idle worker is as good as another.
            if *worker == Worker::Idle && std::mem::replace(&mut idle, true) {
                continue;
            }
            let go = Worked { model: self, state, number, who };
            match worker {
                Worker::Idle => go.claims(steps),
                Worker::Claimed(attempt) => go.begins(attempt, steps),
                Worker::Lives(attempt) => go.lives(attempt, steps),
                Worker::Ended(attempt, outcome) => go.puts_the_item(attempt, *outcome, steps),
                Worker::Finishes { .. } => go.finishes(worker, steps),
                Worker::LetsGo(attempt, seen) => go.lets_go(attempt, seen.as_ref(), steps),
                Worker::CatchesUp { base, step, image, then } => {
                    go.catches_up(base, &step.0, image, then.as_ref(), steps);
                }
            }
            if *worker != Worker::Idle && state.budget.crashes > 0 {
                let mut next = state.clone();
                next.budget.crashes -= 1;
                next.workers[number] = Worker::Idle;
                steps.push(((who, "dies"), next));
            }
        }
    }

    /// What a sweep finds to do in a run.
    fn is_to_be_swept(&self, state: &State) -> bool {
        let decides = || !decide(&self.plan, &state.run, late_enough(&state.run)).is_empty();
        state.run.cells.values().any(|cell| state.is_over(cell)) || decides()
    }

    pub(super) fn sweep_steps(&self, state: &State, steps: &mut Steps<State>) {
        if self.lacks(Without::Sweep) || !self.is_swept {
            return;
        }
        for (number, sweep) in state.sweeps.iter().enumerate() {
            let mut next = state.clone();
            let does = match sweep {
                Sweep::Idle if !self.is_to_be_swept(state) => continue,
                Sweep::Idle => {
                    next.sweeps[number] = Sweep::Read(state.run.clone());
                    "reads the run"
                }
                Sweep::Read(image) => {
                    let left = self.left(state, image);
                    if Self::is_anothers(state, image, &left) {
                        next.is_wrong("an attempt is settled by another's item");
                    }
                    next.sweeps[number] = Sweep::Knows(image.clone(), left);
                    "reads what expired attempts left"
                }
                Sweep::Knows(image, left) => {
                    next.sweeps[number] = Sweep::Idle;
                    let step = self.swept(image, left);
                    match (step.change.cells.is_empty() && step.change.state.is_none(), &step.change) {
                        (true, _) => "has nothing to do",
                        (_, change) if self.write(&mut next, change) => "settles and decides",
                        _ => "is refused",
                    }
                }
            };
            steps.push(((SWEEPS[number], does), next));
        }
    }

    /// The expired attempts of an image, and what they left (rule A4: by their own tokens).
    fn left(&self, state: &State, image: &Image) -> Vec<(TaskIndex, Option<Outcome>)> {
        let expired = step::expired(image, NOW, true).into_iter().filter(|(_, cell)| state.is_over(cell));
        let settles = |cell: &Cell| !(self.lacks(Without::RestartingExpiry) && matches!(cell, Cell::Restarting { .. }));
        let item = |task: TaskIndex, cell: &Cell| match cell {
            Cell::Restarting { .. } if !self.lacks(Without::RestartingNoItem) => None,
            Cell::Running { try_number, lease } | Cell::Restarting { try_number, lease } => {
                let token = attempt_of(lease).0;
                let by_token = !self.lacks(Without::ItemByToken);
                let own = |item: &&Item| (item.0, item.1) == (task, *try_number) && (!by_token || item.2 == token);
                state.items.iter().find(own).map(|item| item.3)
            }
            _ => None,
        };
        expired.filter(|(_, cell)| settles(cell)).map(|(task, cell)| (task, item(task, &cell))).collect()
    }

    fn is_anothers(state: &State, image: &Image, left: &[(TaskIndex, Option<Outcome>)]) -> bool {
        left.iter().filter(|(_, outcome)| outcome.is_some()).any(|(task, _)| {
            let token = image.cell(*task).holder().map(|lease| attempt_of(lease).0);
            !state.items.iter().any(|item| item.0 == *task && Some(item.2) == token)
        })
    }

    fn swept(&self, image: &Image, left: &[(TaskIndex, Option<Outcome>)]) -> Step {
        let now = late_enough(image);
        let expired: Vec<Expired> = left
            .iter()
            .map(|(task, left)| Expired {
                cell: image.cell(*task).clone(),
                task: *task,
                left: left.map(|outcome| outcome.ended(now)),
            })
            .collect();
        let by_item = |e: &Expired| e.left.is_some() && matches!(e.cell, Cell::Restarting { .. });
        if !expired.iter().any(by_item) {
            return step::sweep(&self.plan, image, &expired, now);
        }
        // Without rule A2: settled as if it were running.
        let mut taken = (**image).clone();
        let mut expired = expired;
        for e in &mut expired {
            if let Cell::Restarting { try_number, lease } = &e.cell {
                e.cell = Cell::Running { try_number: *try_number, lease: lease.clone() };
                taken.cells.insert(e.task, e.cell.clone());
            }
        }
        let mut step = step::sweep(&self.plan, &taken, &expired, now);
        for (task, cell) in &mut step.change.if_cells {
            if taken.cells.get(task) == Some(cell) {
                *cell = image.cell(*task).clone();
            }
        }
        step
    }

    pub(super) fn user_steps(&self, state: &State, steps: &mut Steps<State>) {
        for (number, user) in state.users.iter().enumerate() {
            let who = USERS[number];
            match user {
                User::Idle => {
                    for act in [Act::Clear, Act::Fail] {
                        Self::user_wants(state, number, act, steps);
                    }
                }
                User::Wants(act, operation) => {
                    let mut next = state.clone();
                    let done = state.run.operations.contains(&operation_id(*operation));
                    next.users[number] = if done && !self.lacks(Without::OperationId) {
                        User::Idle
                    } else {
                        User::Decides(*act, *operation, state.run.clone())
                    };
                    steps.push(((who, "reads the run again"), next));
                }
                User::Decides(act, operation, image) => self.user_writes(state, number, *act, *operation, image, steps),
            }
        }
    }

    fn user_wants(state: &State, number: usize, act: Act, steps: &mut Steps<State>) {
        let mut next = state.clone();
        let left = match act {
            Act::Clear => &mut next.budget.clears,
            Act::Fail => &mut next.budget.marks,
        };
        let Some(less) = left.checked_sub(1) else { return };
        *left = less;
        next.operations += 1;
        next.users[number] = User::Decides(act, next.operations, state.run.clone());
        let does = if act == Act::Clear { "reads the run, to clear" } else { "reads the run, to fail it" };
        steps.push(((USERS[number], does), next));
    }

    fn user_writes(
        &self,
        state: &State,
        number: usize,
        act: Act,
        operation: u8,
        image: &Image,
        steps: &mut Steps<State>,
    ) {
        let who = USERS[number];
        let id = operation_id(operation);
        let now = late_enough(image);
        let mut next = state.clone();
        let step = match act {
            Act::Clear => step::clear(&self.plan, image, &self.clears, &id, now),
            Act::Fail if image.state.is_finished() => {
                next.users[number] = User::Idle;
                steps.push(((who, "finds the run ended"), next));
                return;
            }
            Act::Fail => step::fail_run(&self.plan, image, &id, now),
        };
        if self.write(&mut next, &step.change) {
            next.users[number] = User::Idle;
            steps.push(((who, "is done"), next.clone()));
            if state.budget.lost_interventions > 0 {
                next.budget.lost_interventions -= 1;
                next.users[number] = User::Wants(act, operation);
                steps.push(((who, "is done, and gets no answer"), next));
            }
        } else {
            next.users[number] = User::Wants(act, operation);
            steps.push(((who, "is refused"), next));
        }
        if state.budget.lost_interventions > 0 && state.late.is_none() {
            let mut next = state.clone();
            next.budget.lost_interventions -= 1;
            next.users[number] = User::Wants(act, operation);
            next.late = Some(Late::Run(Arc::new(step.change)));
            steps.push(((who, "gets no answer; the write is on its way"), next));
        }
    }

    /// Leases end; writes land late.
    pub(super) fn fault_steps(&self, state: &State, steps: &mut Steps<State>) {
        for cell in state.run.cells.values() {
            let Some((token, level)) = cell.holder().map(attempt_of).filter(|at| !state.over.contains(at)) else {
                continue;
            };
            let lives = state.present().any(|attempt| attempt.token == token && attempt.level <= level);
            let mut next = state.clone();
            next.over.extend((0..=level).map(|level| (token, level)));
            if lives {
                let Some(less) = next.budget.pauses.checked_sub(1) else { continue };
                next.budget.pauses = less;
                steps.push((("time", "ends the lease of an attempt whose worker is paused"), next));
            } else {
                steps.push((("time", "ends the lease of an attempt whose worker is gone"), next));
            }
        }
        if let Some(late) = &state.late {
            let mut next = state.clone();
            next.late = None;
            let does = match late {
                Late::Item(item) => {
                    next.items.insert(*item);
                    "lands: an attempt item"
                }
                Late::Run(change) if self.write(&mut next, change) => "lands and is accepted",
                Late::Run(_) => "lands and is refused",
            };
            steps.push((("a late write", does), next));
        }
    }
}

fn operation_id(operation: u8) -> OperationId {
    OperationId::trusted(format!("op{operation}"))
}

/// One worker's next steps.
struct Worked<'a> {
    model: &'a Attempts,
    state: &'a State,
    number: usize,
    who: &'static str,
}

impl Worked<'_> {
    fn label(&self, does: &'static str) -> Label {
        (self.who, does)
    }

    fn becomes(&self, worker: Worker) -> State {
        let mut next = self.state.clone();
        next.workers[self.number] = worker;
        next
    }

    /// The same write again, with its answer lost: it lands later.
    fn loses(&self, change: &RunChange, worker: Worker, does: &'static str, steps: &mut Steps<State>) {
        if self.state.budget.lost > 0 && self.state.late.is_none() {
            let mut next = self.becomes(worker);
            next.budget.lost -= 1;
            next.late = Some(Late::Run(Arc::new(change.clone())));
            steps.push((self.label(does), next));
        }
    }

    /// Messages are hints that may come at any time, so that any queued try may be claimed at any time.
    fn claims(&self, steps: &mut Steps<State>) {
        for task in self.model.plan.tasks() {
            let Cell::Queued { try_number } = *self.state.run.cell(task) else { continue };
            let token = self.state.drawn + 1;
            let change = step::claim(task, try_number, &lease(token, 0));
            let mut next = self.state.clone();
            next.drawn = token;
            if self.model.write(&mut next, &change) {
                let attempt = fresh(task, try_number, token, &next.run);
                next.workers[self.number] = Worker::Claimed(attempt);
                steps.push((self.label("claims"), next));
            }
            let mut lost = Vec::new();
            self.loses(&change, Worker::Idle, "claims, and is gone before an answer", &mut lost);
            steps.extend(lost.into_iter().map(|(label, mut next)| {
                next.drawn = token;
                (label, next)
            }));
        }
    }

    fn begins(&self, attempt: &Attempt, steps: &mut Steps<State>) {
        let over = self.state.over.contains(&(attempt.token, attempt.level));
        if over && !self.model.lacks(Without::LeaseAtStart) {
            self.renews(attempt, steps);
            return;
        }
        let mut next = self.state.clone();
        next.attempt_starts(self.number, attempt);
        steps.push((self.label("starts its attempt"), next));
    }

    fn renews(&self, attempt: &Attempt, steps: &mut Steps<State>) {
        let change = step::renew(&attempt.held(), &attempt.lease(), &lease(attempt.token, attempt.level + 1));
        let stage = |level, image| {
            let attempt = Attempt { level, image, ..attempt.clone() };
            match &self.state.workers[self.number] {
                Worker::Lives(_) => Worker::Lives(attempt),
                _ => Worker::Claimed(attempt),
            }
        };
        let mut next = self.state.clone();
        if self.model.write(&mut next, &change) {
            // A worker that lives goes on with the image of its claim.
            let lives = matches!(self.state.workers[self.number], Worker::Lives(_));
            let image = if lives { attempt.image.clone() } else { next.run.clone() };
            next.workers[self.number] = stage(attempt.level + 1, image);
            steps.push((self.label("renews its lease"), next));
        } else {
            let held = self.state.run.cell(attempt.task);
            let there = held.holder().map(attempt_of).filter(|(token, _)| *token == attempt.token);
            match (held, there) {
                (Cell::Running { .. }, Some((_, level))) if level != attempt.level => {
                    let next = self.becomes(stage(level, attempt.image.clone()));
                    steps.push((self.label("finds an earlier renewal of its own"), next));
                }
                _ => {
                    let next = self.becomes(Worker::LetsGo(attempt.clone(), None));
                    steps.push((self.label("is refused its renewal, and kills its attempt"), next));
                }
            }
        }
        self.loses(&change, stage(attempt.level, attempt.image.clone()), "renews, and gets no answer", steps);
    }

    fn lives(&self, attempt: &Attempt, steps: &mut Steps<State>) {
        if attempt.level < self.model.renewals {
            self.renews(attempt, steps);
        }
        if self.model.lacks(Without::KillBeforeLettingGo)
            && let Some(step) = step::acknowledge(&self.model.plan, &self.state.run, &attempt.held(), NOW)
        {
            let mut next = self.state.clone();
            if self.model.write(&mut next, &step.change) {
                steps.push((self.label("lets go, and kills later"), next));
            }
        }
        steps.push((self.label("has ended well"), self.becomes(Worker::Ended(attempt.clone(), Outcome::Success))));
        if self.state.budget.reschedules > 0 {
            let mut next = self.becomes(Worker::Ended(attempt.clone(), Outcome::Rescheduled));
            next.budget.reschedules -= 1;
            steps.push((self.label("wants to look again later"), next));
        }
        if self.state.budget.failures > 0 {
            let mut next = self.becomes(Worker::Ended(attempt.clone(), Outcome::Failed));
            next.budget.failures -= 1;
            steps.push((self.label("has failed"), next));
        }
    }

    fn puts_the_item(&self, attempt: &Attempt, outcome: Outcome, steps: &mut Steps<State>) {
        let item = (attempt.task, attempt.try_number, attempt.token, outcome);
        // Where it may go on in place, the next attempt's token is drawn now, as often as the finish is tried.
        let next_token = if self.model.continues { self.state.drawn + 1 } else { 0 };
        let mut next = self.becomes(Worker::Finishes {
            attempt: attempt.clone(),
            outcome,
            seen: attempt.image.clone(),
            next: next_token,
            tried: None,
        });
        next.drawn = next.drawn.max(next_token);
        next.items.insert(item);
        steps.push((self.label("puts its item"), next));
        if self.state.budget.lost > 0 && self.state.late.is_none() {
            let mut next = self.becomes(Worker::Idle);
            next.budget.lost -= 1;
            next.late = Some(Late::Item(item));
            steps.push((self.label("puts its item, and is gone before an answer"), next));
        }
    }

    fn finishes(&self, worker: &Worker, steps: &mut Steps<State>) {
        let Worker::Finishes { attempt, outcome, seen, next: token, tried } = worker else { return };
        let wish = self.model.continues.then(|| Continue {
            token: Token::trusted(format!("t{token}")),
            until: lease(*token, 0).until,
            priority_least: None,
            timeout_most: None,
            worker: None,
        });
        let now = late_enough(seen);
        let ended = outcome.ended(now);
        let held: Held = attempt.held();
        let Some(step) = step::finish(&self.model.plan, seen, &held, &ended, now, wish.as_ref()) else {
            let landed = tried.as_ref().filter(|(tried, _)| step::landed(&tried.0, seen, &held));
            let (does, worker) = match landed {
                Some((tried, base)) => ("finds its finish done", self.goes_on(base, &tried.0, seen)),
                None => ("finds its cell settled by others", Worker::LetsGo(attempt.clone(), None)),
            };
            steps.push((self.label(does), self.becomes(worker)));
            return;
        };
        let mut next = self.state.clone();
        if self.model.write(&mut next, &step.change) {
            next.workers[self.number] = self.goes_on(seen, &step, &next.run);
            steps.push((self.label("finishes"), next));
        } else {
            let tried = Some((Tried(Arc::new(step.clone())), seen.clone()));
            let worker = Worker::Finishes {
                attempt: attempt.clone(),
                outcome: *outcome,
                seen: self.state.run.clone(),
                next: *token,
                tried,
            };
            steps.push((self.label("is refused its finish"), self.becomes(worker)));
        }
        let tried = Some((Tried(Arc::new(step.clone())), seen.clone()));
        let insists =
            Worker::Finishes { attempt: attempt.clone(), outcome: *outcome, seen: seen.clone(), next: *token, tried };
        self.loses(&step.change, insists, "finishes, and gets no answer", steps);
        self.loses(&step.change, Worker::Idle, "finishes, and is gone before an answer", steps);
    }

    /// After an accepted finish: the attempt that was claimed in the same write, if it is still ours.
    fn goes_on(&self, base: &Image, step: &Step, image: &Image) -> Worker {
        let claimed = step.claimed.as_ref().and_then(|(task, try_number, lease)| {
            let ours = image.cell(*task).holder().is_some_and(|held| held.token == lease.token);
            ours.then(|| fresh(*task, *try_number, attempt_of(lease).0, image))
        });
        if !self.model.catches_up || self.model.lacks(Without::CatchUp) {
            return claimed.map_or(Worker::Idle, Worker::Claimed);
        }
        let step = Tried(Arc::new(step.clone()));
        Worker::CatchesUp { base: base.clone(), step, image: image.clone(), then: claimed }
    }

    fn lets_go(&self, attempt: &Attempt, seen: Option<&Image>, steps: &mut Steps<State>) {
        let Some(seen) = seen else {
            let next = self.becomes(Worker::LetsGo(attempt.clone(), Some(self.state.run.clone())));
            steps.push((self.label("reads the run, to let go"), next));
            return;
        };
        let Some(step) = step::acknowledge(&self.model.plan, seen, &attempt.held(), late_enough(seen)) else {
            steps.push((self.label("has nothing to let go"), self.becomes(Worker::Idle)));
            return;
        };
        let mut next = self.becomes(Worker::Idle);
        if self.model.write(&mut next, &step.change) {
            next.workers[self.number] = self.goes_on(seen, &step, &next.run);
            steps.push((self.label("lets go"), next));
        } else {
            let next = self.becomes(Worker::LetsGo(attempt.clone(), Some(self.state.run.clone())));
            steps.push((self.label("is refused its letting go"), next));
        }
    }

    /// Writes what others' writes between the image it decided on and the one it got back have left undecided.
    fn catches_up(&self, base: &Image, step: &Step, image: &Image, then: Option<&Attempt>, steps: &mut Steps<State>) {
        let go_on = || then.cloned().map_or(Worker::Idle, Worker::Claimed);
        if step.says_all(image) {
            steps.push((self.label("has nothing to catch up with"), self.becomes(go_on())));
            return;
        }
        let more = step::catch_up(&self.model.plan, base, step, image, late_enough(image));
        if more.is_nothing() {
            steps.push((self.label("finds nothing more to decide"), self.becomes(go_on())));
            return;
        }
        let mut next = self.state.clone();
        let stage = |base: &Image, step: Tried, image: &Image| Worker::CatchesUp {
            base: base.clone(),
            step,
            image: image.clone(),
            then: then.cloned(),
        };
        if self.model.write(&mut next, &more.change) {
            next.workers[self.number] = stage(image, Tried(Arc::new(more)), &next.run);
            steps.push((self.label("catches up"), next));
        } else {
            let next = self.becomes(stage(base, Tried(Arc::new(step.clone())), &self.state.run));
            steps.push((self.label("is refused its catching up"), next));
        }
    }
}

/// An attempt that was just claimed.
fn fresh(task: TaskIndex, try_number: u32, token: u8, image: &Image) -> Attempt {
    let resumed = image.resumed(task).map_or(0, |resumed| resumed.count);
    Attempt { task, try_number, token, resumed, level: 0, image: image.clone() }
}
