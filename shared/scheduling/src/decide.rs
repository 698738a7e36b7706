//! All that follows from the image of a run: skips, upstream failures, empty operators, queued tasks, the run's end. A whole cascade
//! is one decision.
//!
//! There is one way to decide, with two beginnings: [`decide`] looks at every task instance, [`after`] only at what a change can have
//! changed the answer for. Each round looks at what depends on the ends of the round before, on the states before the round, so the
//! rounds are the looks that Airflow's scheduler would take. Only where nothing is under way any more is the whole run looked at.

use crate::choices;
use crate::mapped;
use crate::pass::{Found, Pass, Scene, conclude, evaluate};
use crate::trigger_rules::{Standing, Upstreams, Verdict, evaluate_among};
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use updraft_model::cell::{End, Wait};
use updraft_model::{
    Cell, Chosen, DagRunState, Expansion, Mapped, MappedEntry, MappedKey, Plan, RunChange, RunDoc, TaskIndex,
    TaskInstanceState,
};

/// How many cells one write changes at most: a DynamoDB expression has at most 4 KB and 300 operators. What is left over follows from
/// the image that the write returns.
pub const CHANGES_MAX: usize = 100;

/// What follows from an image.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decision {
    /// New cells, each with the cell of the run document that it replaces.
    pub cells: BTreeMap<TaskIndex, (Cell, Cell)>,
    /// The run's end, if it ends.
    pub end: Option<DagRunState>,
    /// Cells besides the changed ones that the decision rests on and that could still change within the epoch: all unfinished ones
    /// where a run ends because nothing left could ever run.
    pub rests_on: Vec<(TaskIndex, Cell)>,
    /// Choices all of whose skips are made with this decision.
    pub carried_out: Vec<(TaskIndex, Chosen)>,
    /// Units that are expanded, by their first task.
    pub expanded: BTreeMap<TaskIndex, Expansion>,
    /// Whether it takes more places under `max_active_tasks` than it gives back.
    pub takes_places: bool,
    /// Whether more follows than one write may change.
    pub is_cut: bool,
}

impl Decision {
    /// Whether nothing follows.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.end.is_none() && self.carried_out.is_empty() && self.expanded.is_empty()
    }

    /// As much of it as one write may change; the rest follows from the image that the write returns. What is kept is first in a
    /// topological order, so it does not rest on what is left.
    fn cut(&mut self, plan: &Plan, most: usize) {
        if self.cells.len() > most {
            let ordered = plan.in_order().into_iter().filter(|task| self.cells.contains_key(task));
            let kept: BTreeSet<TaskIndex> = ordered.take(most).collect();
            self.cells.retain(|task, _| kept.contains(task));
            self.end = None;
            self.rests_on.clear();
            self.carried_out.clear();
            // Whatever is expanded may rest on a cell that is left.
            self.expanded.clear();
            self.is_cut = true;
        }
    }

    /// The tasks it queues.
    pub fn queued(&self) -> impl Iterator<Item = TaskIndex> + '_ {
        self.cells.iter().filter(|(_, (_, to))| matches!(to, Cell::Queued { .. })).map(|(t, _)| *t)
    }
}

/// Decides all that follows from the image of a running run. Of any other run nothing follows.
///
/// Looks again until a look changes nothing, so deciding on the result decides nothing more.
pub fn decide(plan: &Plan, run: &RunDoc, now: Timestamp) -> Decision {
    decide_with(plan, run, &RunChange::default(), usize::MAX, now)
}

/// Decides what follows from the image that a change makes, at most so many cells.
pub fn decide_with(plan: &Plan, run: &RunDoc, change: &RunChange, most: usize, now: Timestamp) -> Decision {
    let look = Look::new(plan, run, change, now);
    look.decide(plan.tasks().collect(), most)
}

/// What a change of some cells brings about, where nothing followed from the image before the change and before `also` changed: only what
/// depends on these cells is looked at.
pub fn after(
    plan: &Plan,
    run: &RunDoc,
    change: &RunChange,
    also: &[TaskIndex],
    most: usize,
    now: Timestamp,
) -> Decision {
    let changed = change.cells.iter().map(|(task, _)| *task).chain(also.iter().copied());
    let look = Look::new(plan, run, change, now);
    let first = look.around(changed);
    look.decide(first, most)
}

/// A run as a change and the decision so far leave it.
struct Look<'a> {
    plan: &'a Plan,
    run: &'a RunDoc,
    change: &'a RunChange,
    now: Timestamp,
    cells: BTreeMap<TaskIndex, Cell>,
    mapped: Cow<'a, Mapped>,
    has_choices: bool,
}

impl<'a> Look<'a> {
    fn new(plan: &'a Plan, run: &'a RunDoc, change: &'a RunChange, now: Timestamp) -> Self {
        let has_choices = !run.choices.is_empty() || !change.choices.is_empty();
        let mut mapped = Cow::Borrowed(&run.mapped);
        for (key, entry) in &change.mapped {
            match entry {
                Some(entry) => mapped.to_mut().0.insert(*key, entry.clone()),
                None => mapped.to_mut().0.remove(key),
            };
        }
        Self { plan, run, change, now, cells: change.cells.iter().cloned().collect(), mapped, has_choices }
    }

    fn cell(&self, task: TaskIndex) -> &Cell {
        self.cells.get(&task).unwrap_or_else(|| self.run.cell(task))
    }

    /// The choice that a task has made and that still counts.
    fn chosen(&self, task: TaskIndex) -> Option<&Chosen> {
        let made = match self.change.choices.iter().find(|(t, _)| *t == task) {
            Some((_, chosen)) => chosen.as_ref(),
            None => self.run.choices.get(&task),
        };
        made.filter(|chosen| chosen.try_number == self.cell(task).try_number())
    }

    /// Tasks, and all that depends on them.
    fn around(&self, changed: impl IntoIterator<Item = TaskIndex>) -> BTreeSet<TaskIndex> {
        let with_dependents = |task| std::iter::once(task).chain(self.plan.dependents(task).iter().copied());
        changed.into_iter().flat_map(with_dependents).collect()
    }

    fn decide(mut self, first: BTreeSet<TaskIndex>, most: usize) -> Decision {
        let mut decision = Decision::default();
        let is_frozen = self.change.intent.as_ref().map_or(self.run.intent.is_some(), Option::is_some)
            || self.change.paused.unwrap_or(self.run.paused);
        if self.change.state.unwrap_or(self.run.state) != DagRunState::Running || is_frozen {
            return decision;
        }
        let mut open = first;
        decision.carried_out = self.carry_out_choices(&mut open);
        loop {
            let found = self.look(&open);
            let changed = if found.is_empty() {
                let Some(last) = self.conclude() else { break };
                if last.state.is_finished() {
                    decision.end = Some(last.state);
                }
                if last.deadlocked {
                    decision.rests_on = self.unfinished();
                }
                if last.changed.is_empty() {
                    break;
                }
                last.changed
            } else {
                found.changed
            };
            let mut ended: Vec<TaskIndex> = changed.iter().map(|(task, _)| *task).collect();
            for (task, end) in changed {
                let cell = by_rule(self.cell(task), end);
                self.cells.insert(task, cell);
            }
            for task in found.ready {
                if let Some(unit) = self.plan.unit_of(task) {
                    let unit = unit.unit;
                    ended.append(&mut self.expand(unit, &mut decision));
                    continue;
                }
                let cell = self.started(task);
                ended.extend(cell.is_final().then_some(task));
                self.cells.insert(task, cell);
            }
            if decision.end.is_some() {
                break;
            }
            open = self.around(ended);
        }
        let (plan, run, change) = (self.plan, self.run, self.change);
        let mut decision = self.gather(decision);
        decision.cut(plan, most);
        if decision.end.is_none() {
            admit(plan, run, change, most, &mut decision);
        }
        decision
    }

    /// Expands a unit. Returns its tasks that end by it: where there is no value to expand over, or the values have no items.
    fn expand(&mut self, unit: TaskIndex, decision: &mut Decision) -> Vec<TaskIndex> {
        let Some(unit) = self.plan.unit_of(unit).filter(|unit| self.mapped.expansion(unit.unit).is_none()) else {
            return Vec::new();
        };
        let end = match mapped::count_of(self.plan, &self.mapped, unit) {
            None => End::UpstreamFailed,
            Some(0) => End::Skipped,
            Some(count) => {
                let epoch = self.change.epoch.as_ref().map_or(self.run.epoch, |(epoch, _)| *epoch);
                let expansion = Expansion { count, epoch };
                let key = MappedKey::Expansion(unit.unit);
                self.mapped.to_mut().0.insert(key, MappedEntry::Expansion(expansion));
                decision.expanded.insert(unit.unit, expansion);
                return Vec::new();
            }
        };
        let open: Vec<TaskIndex> = unit.members.iter().copied().filter(|task| !self.cell(*task).is_final()).collect();
        for task in &open {
            let cell = by_rule(self.cell(*task), end);
            self.cells.insert(*task, cell);
        }
        open
    }

    /// Mapped tasks all of whose instances have ended.
    fn completed(&self, open: &BTreeSet<TaskIndex>) -> Vec<(TaskIndex, End)> {
        let ended = |task: &TaskIndex| {
            let unit = self.plan.unit_of(*task)?;
            let is_over = !self.cell(*task).is_final() && mapped::is_complete(&self.mapped, unit);
            is_over.then(|| (*task, mapped::tally(&self.mapped, unit, *task).end()))
        };
        open.iter().filter_map(ended).collect()
    }

    /// Skips what choices leave out that have not been carried out yet.
    fn carry_out_choices(&mut self, open: &mut BTreeSet<TaskIndex>) -> Vec<(TaskIndex, Chosen)> {
        if !self.has_choices {
            return Vec::new();
        }
        let made: BTreeSet<TaskIndex> =
            self.run.choices.keys().copied().chain(self.change.choices.iter().map(|(task, _)| *task)).collect();
        let mut carried_out = Vec::new();
        for task in made {
            let Some(chosen) = self.chosen(task).filter(|c| c.pending).cloned() else { continue };
            let overwritten: Vec<TaskIndex> = choices::left_out(self.plan, task, &chosen)
                .into_iter()
                .filter(|below| choices::is_overwritten(self.state(*below)))
                .collect();
            for below in &overwritten {
                let cell = by_rule(self.cell(*below), End::Skipped);
                self.cells.insert(*below, cell);
            }
            open.append(&mut self.around(overwritten));
            carried_out.push((task, Chosen { pending: false, ..chosen }));
        }
        carried_out
    }

    /// One look at some task instances.
    fn look(&self, open: &BTreeSet<TaskIndex>) -> Found {
        let mut found = evaluate(self.plan, open.iter().copied(), self);
        // Its rule has been asked before its first attempt; what it waits for has come, or is to be looked at.
        let is_over = |task: &TaskIndex| self.state(*task) == TaskInstanceState::Deferred && self.is_due(*task);
        found.ready.extend(open.iter().copied().filter(is_over));
        found.changed.append(&mut self.completed(open));
        found
    }

    /// Whether the run has ended or is stuck. None: something is under way, and will say more when it ends.
    fn conclude(&self) -> Option<Pass> {
        // Whoever is under way was let go by a rule that still says so, unless somebody intervened or a branch skipped what had ended.
        let is_simple = self.run.epoch == 0 && self.change.epoch.is_none() && !self.has_choices;
        let is_under_way = |cell: &Cell| match cell {
            Cell::None | Cell::Cleared { .. } | Cell::Final { .. } => false,
            Cell::Scheduled { .. }
            | Cell::Queued { .. }
            | Cell::Running { .. }
            | Cell::Restarting { .. }
            | Cell::Waiting { .. } => true,
        };
        let goes_on = || {
            self.mapped.expanded().any(|(unit, _)| {
                let members = self.plan.unit_of(unit).map_or(&[][..], |unit| &unit.members);
                members.iter().any(|task| !self.cell(*task).is_final())
            }) || self.cells.values().any(is_under_way)
                || self.run.cells.iter().any(|(task, cell)| is_under_way(cell) && !self.cells.contains_key(task))
        };
        if is_simple && goes_on() {
            return None;
        }
        let last = conclude(self.plan, self);
        // A rule that would not let go again whoever it has let go says nothing against their coming to an end: no run is stuck meanwhile.
        if last.deadlocked && goes_on() {
            return (!last.changed.is_empty()).then_some(Pass {
                state: DagRunState::Running,
                deadlocked: false,
                ..last
            });
        }
        Some(last)
    }

    /// A cell that is ready: queued for its next try, scheduled where it is under a limit, or at its end where there is nothing to run.
    fn started(&self, task: TaskIndex) -> Cell {
        let (plan, cell) = (self.plan, self.cell(task));
        let try_number = match cell {
            // A reschedule and a deferral go on with the same try.
            Cell::Waiting { wait: Wait::Reschedule | Wait::Deferred, try_number, .. } => *try_number,
            _ => cell.try_number() + 1,
        };
        if plan.is_empty_operator(task) {
            Cell::ended(End::Success, try_number)
        } else if plan.is_limited(task) {
            Cell::Scheduled { try_number, resume: self.resume(task, try_number), turn: 0 }
        } else {
            Cell::Queued { try_number }
        }
    }

    /// How often a try has gone on.
    fn resume(&self, task: TaskIndex, try_number: u32) -> u32 {
        let changed = self.change.resumes.iter().rev().find(|(t, _)| *t == task).map(|(_, resumed)| resumed);
        let resumed = changed.or_else(|| self.run.resumes.get(&task));
        resumed.filter(|resumed| resumed.try_number == try_number).map_or(0, |resumed| resumed.count)
    }

    /// The cells that have not ended, as the document has them.
    fn unfinished(&self) -> Vec<(TaskIndex, Cell)> {
        let unfinished = self.plan.tasks().filter(|task| !self.cell(*task).is_final());
        unfinished.map(|task| (task, self.run.cell(task).clone())).collect()
    }

    /// What has changed beyond the change itself.
    fn gather(self, mut decision: Decision) -> Decision {
        let own: BTreeMap<TaskIndex, &Cell> = self.change.cells.iter().map(|(task, cell)| (*task, cell)).collect();
        for (task, cell) in self.cells {
            let was = own.get(&task).copied().unwrap_or_else(|| self.run.cell(task));
            if cell != *was {
                decision.cells.insert(task, (self.run.cell(task).clone(), cell));
            }
        }
        decision.rests_on.retain(|(task, _)| !decision.cells.contains_key(task));
        decision
    }
}

impl Standing for Look<'_> {
    fn state(&self, task: TaskIndex) -> TaskInstanceState {
        mapped::state(self.plan, &self.mapped, self.cell(task), task)
    }

    fn count(&self, task: TaskIndex, _: bool, upstreams: &mut Upstreams) {
        mapped::count(self.plan, &self.mapped, self.cell(task), task, upstreams);
    }
}

impl Scene for Look<'_> {
    fn is_due(&self, task: TaskIndex) -> bool {
        match self.cell(task) {
            Cell::Waiting { due, .. } => self.now >= *due,
            _ => true,
        }
    }

    fn is_left_out(&self, task: TaskIndex) -> bool {
        self.has_choices
            && self.plan.upstream(task).iter().any(|up| {
                self.state(*up).is_finished()
                    && self.chosen(*up).is_some_and(|chosen| choices::leaves_out(self.plan, *up, chosen, task))
            })
    }

    fn is_past_met(&self, task: TaskIndex) -> bool {
        !self.plan.looks_back(task)
            || self.change.past_met_by_all.unwrap_or(self.run.past_met_by_all)
            || self.change.past_met.contains(&task)
            || (self.run.past_met.contains(&task) && !self.change.past_unmet.contains(&task))
    }

    fn is_expanded(&self, task: TaskIndex) -> bool {
        mapped::is_expanded(self.plan, &self.mapped, task)
    }
}

/// What the rule of a task says in this image.
pub(crate) fn rule_says(plan: &Plan, run: &RunDoc, task: TaskIndex) -> Verdict {
    evaluate_among(plan, task, &Look::new(plan, run, &RunChange::default(), Timestamp::UNIX_EPOCH))
}

/// Gives the places under `max_active_tasks` that are free to the tasks of highest priority that wait for one. What is ready and under a
/// limit has been scheduled by now. Whoever takes slots beyond the run goes in order too: what comes after it has its place once it is
/// known whether there are slots for that one, by [`crate::step::grant`].
///
/// Two deciders cannot give away the same place: one that gives away no more than its own change frees leaves the sum as it was, and
/// those that give away more ask that nobody else has done so since ([`RunDoc::takes`]).
fn admit(plan: &Plan, run: &RunDoc, change: &RunChange, most: usize, decision: &mut Decision) {
    let Some(limit) = plan.places_most() else { return };
    let own: BTreeMap<TaskIndex, &Cell> = change.cells.iter().map(|(task, cell)| (*task, cell)).collect();
    let mut active = 0;
    let mut waiting: Vec<(TaskIndex, u32)> = Vec::new();
    for task in plan.tasks() {
        let decided = decision.cells.get(&task).map(|(_, to)| to);
        match decided.or_else(|| own.get(&task).copied()).unwrap_or_else(|| run.cell(task)) {
            Cell::Scheduled { try_number, .. } => waiting.push((task, *try_number)),
            cell => active += usize::from(cell.takes_a_place()),
        }
    }
    let before = run.cells.values().filter(|cell| cell.takes_a_place()).count();
    waiting.retain(|(task, _)| plan.task(*task).max_active_tis_per_dagrun != Some(0));
    waiting.sort_by_key(|(task, _)| (std::cmp::Reverse(plan.priority(*task)), *task));
    for (task, try_number) in waiting {
        if active >= limit as usize || plan.is_held_elsewhere(task) {
            break;
        }
        if !decision.cells.contains_key(&task) && decision.cells.len() >= most {
            decision.is_cut = true;
            break;
        }
        decision.cells.insert(task, (run.cell(task).clone(), Cell::Queued { try_number }));
        active += 1;
    }
    decision.takes_places = active > before;
}

/// A cell that ends by rule. An attempt that still runs there (possible after marking upstreams by hand) has to let go.
pub(crate) fn by_rule(cell: &Cell, end: End) -> Cell {
    Cell::Final { end, try_number: cell.try_number(), winner: None, leaving: cell.holder().cloned() }
}

/// The tasks that would go on, were it not that their runs of earlier dates are not known to let them go.
pub fn waits_for_past(plan: &Plan, run: &RunDoc, now: Timestamp) -> Vec<TaskIndex> {
    if !plan.has_past()
        || run.state != DagRunState::Running
        || run.intent.is_some()
        || run.paused
        || run.past_met_by_all
    {
        return Vec::new();
    }
    let unmet: Vec<TaskIndex> = plan.tasks().filter(|t| plan.looks_back(*t) && !run.past_met.contains(t)).collect();
    let met = RunChange { past_met: unmet.clone(), ..RunChange::default() };
    let look = Look::new(plan, run, &met, now);
    let found = evaluate(plan, unmet.iter().copied(), &look);
    let goes_on = |task: &TaskIndex| found.ready.contains(task) || found.changed.iter().any(|(t, _)| t == task);
    let nothing = RunChange::default();
    let already = evaluate(plan, unmet.iter().copied(), &Look::new(plan, run, &nothing, now));
    unmet.into_iter().filter(|t| goes_on(t) && !already.changed.iter().any(|(c, _)| c == t)).collect()
}
