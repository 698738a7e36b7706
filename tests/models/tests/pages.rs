//! Rules E1 to E6: a task whose value another is expanded over, with pages of one instance each, and one below; two processes that bear, claim,
//! run, sum up, close and sweep; a user who clears all of it, or one instance. Every write is the product's own, and may be decided on an image
//! that is older.

use crate::documents::{NOW, facts};
use crate::explore::{Protocol, Steps, breaks, holds};
use jiff::SignedDuration;
use std::hash::{Hash, Hasher};
use updraft_model::cell::End;
use updraft_model::{
    Act, AttemptOutcome, Cell, Dag, DagRunState, ExpandInput, Held, IndexSet, Intent, Lease, Mapping, OperationId,
    PageDoc, PageHeld, PageKey, Plan, RunDoc, Slot, TaskId, TaskIndex, Token,
};
use updraft_scheduling::pages::{self, Birth, Closing, Expired};
use updraft_scheduling::step::{self, Ended, Step};

const SOURCE: TaskIndex = TaskIndex(0);
const MAPPED: TaskIndex = TaskIndex(1);
const LAST: TaskIndex = TaskIndex(2);
const PAGES: u32 = 2;
const AGENTS: [&str; 2] = ["process 0", "process 1"];

/// A rule that is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    /// E1: what runs when a page is born again becomes restarting.
    Restarting,
    /// E2: pages are closed before cells change.
    Closing,
    /// E2: absent pages are closed, too.
    ClosingOfAbsent,
    /// E3: a full page stays in the index until it is summed up.
    IndexWhileFull,
    /// E4: a summary asks for the epoch.
    EpochOfSummary,
    /// E5: the run keeps the new epoch of a page that was closed by itself.
    EpochOfPage,
    /// E6: an instance is claimed at the epoch that the run has for its page. That no try is used twice makes up for it.
    EpochOfClaim,
}

/// Where a process stands: what it is about to write, and the images that rests on.
#[derive(Debug, Clone, PartialEq)]
enum Agent {
    Idle,
    Bears { run: RunDoc, page: u32, there: Option<PageDoc> },
    Claims { run: RunDoc, page: u32, try_number: u32 },
    Runs { run: RunDoc, page: u32, try_number: u32, token: u8 },
    SumsUp { run: RunDoc, page: PageDoc },
    Leaves { page: PageDoc },
    Closes { run: RunDoc, page: u32 },
}

#[derive(Debug, Clone, PartialEq)]
struct State {
    run: RunDoc,
    pages: [Option<PageDoc>; PAGES as usize],
    agents: [Agent; 2],
    tokens: u8,
    crashes: u8,
    clears: u8,
    wrong: Option<&'static str>,
}

fn hash_run<H: Hasher>(run: &RunDoc, hasher: &mut H) {
    (run.state as u8, run.epoch, run.revision, run.wake_at, format!("{:?}", run.intent)).hash(hasher);
    run.cells.iter().for_each(|(task, cell)| (task, cell.encode()).hash(hasher));
    run.mapped.0.iter().for_each(|(key, entry)| (key.encode(), entry.encode()).hash(hasher));
}

fn hash_page<H: Hasher>(page: &PageDoc, hasher: &mut H) {
    (page.key.page, page.epoch, page.is_open, page.revision, page.wake_at).hash(hasher);
    page.cells.iter().for_each(|(slot, cell)| (slot.map_index, cell.encode()).hash(hasher));
}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hash_run(&self.run, hasher);
        self.pages.iter().for_each(|page| match page {
            Some(page) => hash_page(page, hasher),
            None => 0.hash(hasher),
        });
        for agent in &self.agents {
            std::mem::discriminant(agent).hash(hasher);
            match agent {
                Agent::Idle => {}
                Agent::Bears { run, page, there } => {
                    hash_run(run, hasher);
                    page.hash(hasher);
                    if let Some(there) = there {
                        hash_page(there, hasher);
                    }
                }
                Agent::Claims { run, page, try_number } => {
                    hash_run(run, hasher);
                    (page, try_number).hash(hasher);
                }
                Agent::Runs { run, page, try_number, token } => {
                    hash_run(run, hasher);
                    (page, try_number, token).hash(hasher);
                }
                Agent::SumsUp { run, page } => {
                    hash_run(run, hasher);
                    hash_page(page, hasher);
                }
                Agent::Leaves { page } => hash_page(page, hasher),
                Agent::Closes { run, page } => {
                    hash_run(run, hasher);
                    page.hash(hasher);
                }
            }
        }
        (self.tokens, self.crashes, self.clears, self.wrong).hash(hasher);
    }
}

struct Pages {
    plan: Plan,
    crashes: u8,
    clears: u8,
    /// How many instances there are at first, and after a clear of all.
    counts: (u32, u32),
    /// Whether the user clears one instance instead of all.
    of_one: bool,
    without: Option<Without>,
}

impl Pages {
    fn new(crashes: u8, clears: u8, counts: (u32, u32)) -> Self {
        let task = |id: &str, upstream: &[u32], mapping: serde_json::Value| {
            let mut task = serde_json::json!({
                "task_id": id, "operator": "x", "owner": "o", "retry_delay": "PT0S", "trigger_rule": "all_success",
                "priority_weight": 1, "do_xcom_push": true, "retries": 9, "upstream": upstream,
            });
            if !mapping.is_null() {
                task["mapping"] = mapping;
            }
            task
        };
        let input = ExpandInput::XCom { task_id: TaskId::trusted("source"), key: "return_value".to_owned() };
        let mapping = Mapping { expand: vec![("x".to_owned(), input)], ..Mapping::default() };
        let mapping = serde_json::to_value(mapping).expect("a mapping is plain data");
        let nothing = serde_json::Value::Null;
        let dag = serde_json::json!({
            "dag_id": "d", "file": "d.yaml", "timetable": "null", "timezone": "UTC", "catchup": false,
            "tasks": [task("source", &[], nothing.clone()), task("mapped", &[0], mapping), task("last", &[1], nothing)],
        });
        let dag: Dag = serde_json::from_value(dag).expect("a DAG with all it needs");
        Self { plan: Plan::new(dag).with_page_cells(1), crashes, clears, counts, of_one: false, without: None }
    }

    fn of_one(self) -> Self {
        Self { of_one: true, ..self }
    }

    fn without(self, rule: Without) -> Self {
        Self { without: Some(rule), ..self }
    }

    fn lacks(&self, rule: Without) -> bool {
        self.without == Some(rule)
    }

    /// Writes a step on the run, if its conditions hold.
    fn write(state: &mut State, step: &Step) -> bool {
        let holds = step.change.holds(&state.run);
        if holds {
            state.run = step.change.apply(&state.run);
            // Revisions and wake-ups count writes and time, which no rule of pages rests on.
            (state.run.revision, state.run.looks) = (0, 0);
        }
        holds
    }

    fn put(state: &mut State, page: PageDoc) {
        let at = page.key.page as usize;
        state.pages[at] = Some(page);
    }

    /// A task that is not mapped is claimed and succeeds; its own dangers are those of other models.
    fn succeed(&self, state: &mut State, task: TaskIndex, map_length: Option<u32>) {
        let Cell::Queued { try_number } = *state.run.cell(task) else { return };
        let token = Token::trusted(format!("p{}", task.0));
        let lease = Lease { token: token.clone(), until: NOW + SignedDuration::from_hours(1), since: NOW };
        let claimed = step::claim(task, try_number, &lease).apply(&state.run);
        let held = Held { task, try_number, token };
        let ended = Ended { map_length, ..Ended::new(AttemptOutcome::Success, NOW) };
        if let Some(step) = step::finish(&self.plan, &claimed, &held, &ended, NOW, None) {
            state.run = step.change.apply(&claimed);
            (state.run.revision, state.run.looks) = (0, 0);
        }
    }

    /// What begins at the documents as they are, whoever does it.
    fn looks(&self, state: &State, number: usize, steps: &mut Steps<State>) {
        let who = AGENTS[number];
        let mut go = |what: &'static str, next: State| steps.push(((who, what), next));
        let with = |agent: Agent| {
            let mut next = state.clone();
            next.agents[number] = agent;
            next
        };
        let run = &state.run;
        if *run.cell(SOURCE) != Cell::None && matches!(run.cell(SOURCE), Cell::Queued { .. }) {
            let mut next = state.clone();
            let count = if run.epoch == 0 { self.counts.0 } else { self.counts.1 };
            self.succeed(&mut next, SOURCE, Some(count));
            go("runs the source", next);
        }
        if matches!(run.cell(LAST), Cell::Queued { .. }) {
            let mut next = state.clone();
            next.wrong = next.wrong.or(Self::ran_too_early(state));
            self.succeed(&mut next, LAST, None);
            go("runs the last task", next);
        }
        if run.state == DagRunState::Queued && run.intent.is_none() {
            let mut next = state.clone();
            Self::write(&mut next, &step::start(&self.plan, run, NOW));
            go("starts the run", next);
        }
        if run.intent.as_ref().is_some_and(|intent| intent.pages) {
            go("reads the run: pages are to be closed", with(Agent::Closes { run: run.clone(), page: 0 }));
        } else if let Some(step) = step::proceed(&self.plan, run, NOW) {
            let mut next = state.clone();
            Self::write(&mut next, &step);
            go("goes on with the intervention", next);
        }
        let undecided = step::sweep(&self.plan, run, &[], NOW);
        if !undecided.is_nothing() {
            let mut next = state.clone();
            Self::write(&mut next, &undecided);
            go("decides what is undecided in the run", next);
        }
        for page in 0..PAGES {
            let there = state.pages[page as usize].as_ref();
            if pages::birth(&self.plan, run, &Self::key(page), there, NOW).is_some() {
                go(
                    "reads the run: a page is owed",
                    with(Agent::Bears { run: run.clone(), page, there: there.cloned() }),
                );
            }
            let Some(there) = there else { continue };
            if let Some(Cell::Queued { try_number }) = there.cells.get(&slot(page)) {
                let claims = Agent::Claims { run: run.clone(), page, try_number: *try_number };
                go("reads the run before a claim", with(claims));
            }
            if there.wake_at.is_none() {
                continue;
            }
            let dead = |(_, cell): &(Slot, Cell)| {
                cell.holder().is_some_and(|lease| !state.agents.iter().any(|agent| agent.holds(&lease.token)))
            };
            let expired = pages::expired(there, NOW, true).into_iter().filter(dead);
            let expired: Vec<Expired> = expired.map(|(slot, cell)| Expired { slot, cell, left: None }).collect();
            // What waits for its next try is due by now.
            let due = there.cells.values().filter_map(|cell| match cell {
                Cell::Waiting { due, .. } => Some(*due),
                _ => None,
            });
            let later = due.fold(NOW + SignedDuration::from_hours(2), jiff::Timestamp::max);
            let step = pages::sweep(&self.plan, run, there, &expired, later);
            if !step.is_nothing() && step.change.holds(there) {
                let mut next = state.clone();
                let mut page = step.change.apply(there);
                page.revision = 0;
                page.wake_at = pages::needed(&page, NOW).map(|_| NOW);
                Self::put(&mut next, page);
                go("sweeps a page", next);
            }
            if there.is_full() {
                go("finds a full page", with(Agent::SumsUp { run: run.clone(), page: there.clone() }));
            }
        }
    }

    /// What is wrong with the last task running now.
    fn ran_too_early(state: &State) -> Option<&'static str> {
        let run = &state.run;
        let count = run.mapped.expansion(MAPPED).map_or(0, |expansion| expansion.count);
        let is_done = |page: u32| {
            state.pages[page as usize]
                .as_ref()
                .is_some_and(|there| there.is_full() && run.mapped.epoch(MAPPED, page) == Some(there.epoch))
        };
        if run.intent.is_some() {
            // It was queued before the user came, and is about to be cleared with the others.
            return None;
        }
        let is_early = run.cell(SOURCE).state() != End::Success.state() || !(0..count).all(is_done);
        is_early.then_some("the last task ran although an instance is not done")
    }

    fn key(page: u32) -> PageKey {
        PageKey { incarnation: facts("i").incarnation, unit: MAPPED, page }
    }

    /// The one write, or read, that a process is about to make.
    fn goes_on(&self, state: &State, number: usize, steps: &mut Steps<State>) {
        let who = AGENTS[number];
        let mut next = state.clone();
        next.agents[number] = Agent::Idle;
        let what = match &state.agents[number] {
            Agent::Idle => return self.looks(state, number, steps),
            Agent::Bears { run, page, there } => self.bear(state, &mut next, run, *page, there.as_ref(), number),
            Agent::Claims { run, page, try_number } => self.claim(state, &mut next, run, *page, *try_number, number),
            Agent::Runs { run, page, try_number, token } => {
                self.finish(state, &mut next, run, *page, (*try_number, *token), number)
            }
            Agent::SumsUp { run, page } => self.sum_up(state, &mut next, run, page, number),
            Agent::Leaves { page } => {
                let there = state.pages[page.key.page as usize].as_ref();
                if let Some(there) = there.filter(|there| same(there, page)) {
                    Self::put(&mut next, PageDoc { wake_at: None, ..there.clone() });
                }
                "takes a page out of the index, if it is as it was"
            }
            Agent::Closes { run, page } => self.close(state, &mut next, run, *page, number),
        };
        steps.push(((who, what), next));
        if state.crashes > 0 {
            let mut next = state.clone();
            next.crashes -= 1;
            next.agents[number] = Agent::Idle;
            steps.push(((who, "dies"), next));
        }
    }

    fn bear(
        &self,
        state: &State,
        next: &mut State,
        run: &RunDoc,
        page: u32,
        there: Option<&PageDoc>,
        number: usize,
    ) -> &'static str {
        let now = state.pages[page as usize].as_ref();
        let is_as_seen = match (now, there) {
            (None, None) => true,
            (Some(now), Some(there)) => same(now, there),
            _ => false,
        };
        let key = Self::key(page);
        if !is_as_seen {
            // Refused: decided anew on what is there, and on the same image of the run.
            if pages::birth(&self.plan, run, &key, now, NOW).is_some() {
                next.agents[number] = Agent::Bears { run: run.clone(), page, there: now.cloned() };
            }
            return "bears a page: refused";
        }
        let born = match pages::birth(&self.plan, run, &key, there, NOW) {
            Some(Birth::New(page, _)) => *page,
            Some(Birth::Again(step)) => step.change.apply(there.expect("it is there")),
            None => return "has no page to bear",
        };
        let mut born = PageDoc { revision: 0, wake_at: Some(NOW), looks: 0, ..born };
        if self.lacks(Without::Restarting) {
            for cell in born.cells.values_mut().filter(|cell| matches!(cell, Cell::Restarting { .. })) {
                *cell = Cell::Queued { try_number: cell.try_number() + 1 };
            }
        }
        Self::put(next, born);
        "bears a page"
    }

    fn claim(
        &self,
        state: &State,
        next: &mut State,
        run: &RunDoc,
        page: u32,
        try_number: u32,
        number: usize,
    ) -> &'static str {
        let Some(there) = &state.pages[page as usize] else { return "claims nothing" };
        let Some(epoch) = run.mapped.epoch(MAPPED, page) else { return "claims nothing: the run has no such page" };
        let token = state.tokens;
        let lease = lease(token);
        let mut change = pages::claim(slot(page), try_number, &lease);
        (change.if_open_at, change.if_wake_at_most) = ((!self.lacks(Without::EpochOfClaim)).then_some(epoch), None);
        if !change.holds(there) {
            return "claims an instance: refused";
        }
        let of = |agent: &Agent| matches!(agent, Agent::Runs { page: of, .. } if *of == page);
        let wrong = if state.agents.iter().any(of) {
            Some("two attempts of one instance live")
        } else if state.run.cell(SOURCE).state() != End::Success.state() {
            Some("an instance started while what it is expanded over runs again")
        } else if run.epoch != state.run.epoch && run.mapped.epoch(MAPPED, page) != Some(there.epoch) {
            Some("an instance started with the values of another expansion")
        } else {
            None
        };
        next.wrong = next.wrong.or(wrong);
        next.tokens += 1;
        Self::put(next, PageDoc { revision: 0, ..change.apply(there) });
        next.agents[number] = Agent::Runs { run: run.clone(), page, try_number, token };
        "claims an instance"
    }

    fn finish(
        &self,
        state: &State,
        next: &mut State,
        run: &RunDoc,
        page: u32,
        (try_number, token): (u32, u8),
        number: usize,
    ) -> &'static str {
        let Some(there) = &state.pages[page as usize] else { return "finds its page gone" };
        let held = PageHeld { slot: slot(page), try_number, token: lease(token).token };
        let ended = Ended::new(AttemptOutcome::Success, NOW);
        if let Some(step) = pages::finish(&self.plan, run, there, &held, &ended, NOW, None) {
            let mut after = PageDoc { revision: 0, looks: 0, ..step.change.apply(there) };
            after.wake_at = if self.lacks(Without::IndexWhileFull) && after.is_full() { None } else { Some(NOW) };
            if after.is_full() {
                next.agents[number] = Agent::SumsUp { run: state.run.clone(), page: after.clone() };
            }
            Self::put(next, after);
            return "finishes an instance";
        }
        // Killed, then let go of.
        let Some(step) = pages::acknowledge(&self.plan, &state.run, there, &held, NOW) else { return "is refused" };
        let mut after = PageDoc { revision: 0, looks: 0, ..step.change.apply(there) };
        after.wake_at = pages::needed(&after, NOW).map(|_| NOW);
        Self::put(next, after);
        "lets go of an instance"
    }

    fn sum_up(&self, state: &State, next: &mut State, run: &RunDoc, page: &PageDoc, number: usize) -> &'static str {
        let leaves = Agent::Leaves { page: page.clone() };
        let step = if self.lacks(Without::EpochOfSummary) {
            // Whatever epoch the run has for the page, the summary is taken for it.
            let epoch = state.run.mapped.epoch(MAPPED, page.key.page);
            let of_epoch = PageDoc { epoch: epoch.unwrap_or(page.epoch), ..page.clone() };
            pages::sum_up(&self.plan, &state.run, &of_epoch, NOW)
        } else {
            pages::sum_up(&self.plan, run, page, NOW)
        };
        let Some(step) = step else {
            // No news for the image that it read; a run that is being changed is asked again later.
            if run.intent.is_none() {
                next.agents[number] = leaves;
            }
            return "has no summary to write";
        };
        if Self::write(next, &step) {
            next.agents[number] = leaves;
            return "sums a page up";
        }
        next.agents[number] = Agent::SumsUp { run: state.run.clone(), page: page.clone() };
        "sums a page up: refused"
    }

    fn close(&self, state: &State, next: &mut State, run: &RunDoc, page: u32, number: usize) -> &'static str {
        let Some(intent) = run.intent.as_ref().filter(|intent| intent.pages) else { return "has nothing to close" };
        let last = if self.of_one { 1 } else { run.mapped.expansion(MAPPED).map_or(0, |expansion| expansion.count) };
        if page < last && !self.lacks(Without::Closing) {
            let there = state.pages[page as usize].as_ref();
            let act_of = |slot: Slot| {
                let act = step::act_of(&self.plan, run, intent, slot.task);
                act.filter(|_| intent.means_instance(slot.task, slot.map_index))
            };
            match pages::close(&self.plan, run, &Self::key(page), there, act_of, NOW) {
                Some(Closing::New(_)) if self.lacks(Without::ClosingOfAbsent) => {}
                Some(Closing::New(closed)) => Self::put(next, PageDoc { wake_at: None, ..closed }),
                Some(Closing::Again(change)) => {
                    let mut closed = PageDoc { revision: 0, looks: 0, ..change.apply(there.expect("it is there")) };
                    closed.wake_at = pages::needed(&closed, NOW).map(|_| NOW);
                    Self::put(next, closed);
                }
                None => {}
            }
            next.agents[number] = Agent::Closes { run: run.clone(), page: page + 1 };
            return "closes a page";
        }
        let closed: &[(TaskIndex, u32)] =
            if self.of_one && !self.lacks(Without::EpochOfPage) { &[(MAPPED, 0)] } else { &[] };
        let step = step::pages_closed(run, closed, true, NOW);
        if let Some(step) = step.filter(|_| state.run.epoch == run.epoch) {
            Self::write(next, &step);
        }
        "notes that pages are closed"
    }

    fn user(&self, state: &State, steps: &mut Steps<State>) {
        let run = &state.run;
        let is_done = run.cell(SOURCE).state() == End::Success.state() && run.mapped.expansion(MAPPED).is_some();
        if state.clears == 0 || run.intent.is_some() || !is_done {
            return;
        }
        let operation = OperationId::trusted(format!("c{}", state.clears));
        let step = if self.of_one {
            let instances = [(MAPPED, IndexSet::from_iter([0]))].into();
            let intent = Intent { instances, ..Intent::new(Act::Clear, [MAPPED, LAST]) };
            step::intervene_with(&self.plan, run, &intent, &operation, NOW)
        } else {
            step::clear(&self.plan, run, &[SOURCE, MAPPED, LAST], &operation, NOW)
        };
        let mut next = state.clone();
        next.clears -= 1;
        Self::write(&mut next, &step);
        steps.push((("the user", "clears"), next));
    }
}

impl Agent {
    fn holds(&self, token: &Token) -> bool {
        matches!(self, Self::Runs { token: own, .. } if lease(*own).token == *token)
    }
}

fn slot(page: u32) -> Slot {
    Slot { map_index: page, task: MAPPED }
}

fn lease(token: u8) -> Lease {
    let until = NOW + SignedDuration::from_hours(1);
    Lease { token: Token::trusted(format!("t{token}")), until, since: NOW }
}

/// Whether nothing was written since, as a revision would say it.
fn same(one: &PageDoc, other: &PageDoc) -> bool {
    let cells = |page: &PageDoc| page.cells.values().map(Cell::encode).collect::<Vec<_>>();
    (one.epoch, one.is_open, cells(one)) == (other.epoch, other.is_open, cells(other))
}

impl Protocol for Pages {
    type State = State;

    fn begin(&self) -> State {
        let mut run = RunDoc::new(facts("i"), DagRunState::Running, NOW);
        run.start_date = Some(NOW);
        let (run, _) = step::begin(&self.plan, run, NOW);
        let mut state = State {
            run,
            pages: [None, None],
            agents: [Agent::Idle, Agent::Idle],
            tokens: 0,
            crashes: self.crashes,
            clears: self.clears,
            wrong: None,
        };
        self.succeed(&mut state, SOURCE, Some(self.counts.0));
        state
    }

    fn steps(&self, state: &State, steps: &mut Steps<State>) {
        let mut idle = false;
        for number in 0..state.agents.len() {
            // Of processes that do nothing, one is as good as another.
            if state.agents[number] == Agent::Idle && std::mem::replace(&mut idle, true) {
                continue;
            }
            self.goes_on(state, number, steps);
        }
        self.user(state, steps);
    }

    fn wrong(&self, state: &State) -> Option<&'static str> {
        state.wrong
    }

    fn is_over(&self, state: &State) -> bool {
        let run = &state.run;
        run.intent.is_none() && run.state == DagRunState::Success && run.cell(LAST).is_final()
    }
}

#[test]
fn pages_hold() {
    holds("pages: crash", Pages::new(1, 0, (2, 2)));
    holds("pages: clear, two instances to one", Pages::new(0, 1, (2, 1)));
    holds("pages: clear, one instance to two", Pages::new(0, 1, (1, 2)));
    holds("pages: clear, two instances to none", Pages::new(0, 1, (2, 0)));
    holds("pages: one instance cleared", Pages::new(0, 1, (2, 2)).of_one());
}

/// E6 is held twice: no try is used twice, so that a claim of an older expansion names a try which is no more, whatever it asks of the epoch.
#[test]
fn pages_hold_where_claims_ask_for_no_epoch() {
    holds("pages: clear, claims without the epoch", Pages::new(0, 1, (2, 1)).without(Without::EpochOfClaim));
    holds("pages: crash, claims without the epoch", Pages::new(1, 1, (1, 1)).without(Without::EpochOfClaim));
}

#[test]
fn pages_hold_through_a_crash_and_a_clear() {
    holds("pages: crash, clear, two instances to one", Pages::new(1, 1, (2, 1)));
    holds("pages: crash, clear, one instance to two", Pages::new(1, 1, (1, 2)));
    holds("pages: crash, one instance cleared", Pages::new(1, 1, (2, 2)).of_one());
}

#[test]
fn each_rule_of_pages_is_missed() {
    let breaks = |rule, crashes, counts| breaks(rule, Pages::new(crashes, 1, counts).without(rule));
    breaks(Without::Restarting, 0, (1, 1));
    breaks(Without::Closing, 0, (2, 1));
    breaks(Without::ClosingOfAbsent, 0, (1, 1));
    breaks(Without::IndexWhileFull, 1, (1, 1));
    breaks(Without::EpochOfSummary, 0, (2, 1));
    crate::explore::breaks(Without::EpochOfPage, Pages::new(0, 1, (2, 2)).of_one().without(Without::EpochOfPage));
}
