//! What a plain sequential scheduler could come to: a reference written apart from the engine.
//!
//! One task after another ends, in any order; between ends the scheduler may take a look, as often as it likes. A look evaluates
//! every task that has no state on the states before the look. All orders are explored, so the answer is the set of possible ends.

use std::collections::BTreeSet;
use updraft_model::{Plan, TaskIndex, TriggerRule};

/// The most tasks a DAG may have here.
pub(crate) const TASKS_MAX: usize = 8;

/// A task instance of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) task: TaskIndex,
    /// Which of several, where it is mapped.
    pub(crate) map_index: Option<u32>,
    /// Stands for a map that came to nothing: it is skipped in the place of running.
    pub(crate) is_empty: bool,
}

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stand {
    Nothing,
    Active,
    Success,
    Failed,
    Skipped,
    UpstreamFailed,
}

use Stand::{Active, Failed, Nothing, Skipped, Success, UpstreamFailed};

/// How a run ended: its tasks, and whether it failed.
pub(crate) type RunEnd = ([Stand; TASKS_MAX], bool);

/// What a trigger rule says: wait (none), or what becomes of the task ([`Active`]: it runs).
pub(crate) fn verdict(rule: TriggerRule, upstream: &[Stand]) -> Option<Stand> {
    let any = |wanted: &[Stand]| upstream.iter().any(|s| wanted.contains(s));
    let all = |wanted: &[Stand]| upstream.iter().all(|s| wanted.contains(s));
    let done = all(&[Success, Failed, Skipped, UpstreamFailed]);
    let run_when_done = done.then_some(Active);
    if upstream.is_empty() || rule == TriggerRule::Always {
        return Some(Active);
    }
    match rule {
        TriggerRule::AllSuccess if any(&[Failed, UpstreamFailed]) => Some(UpstreamFailed),
        TriggerRule::AllFailed if any(&[Success, Skipped]) => Some(Skipped),
        TriggerRule::AllSuccess | TriggerRule::AllDoneMinOneSuccess | TriggerRule::NoneSkipped if any(&[Skipped]) => {
            Some(Skipped)
        }
        TriggerRule::AllDoneMinOneSuccess if done && !any(&[Success]) => Some(UpstreamFailed),
        TriggerRule::OneSuccess if any(&[Success]) => Some(Active),
        TriggerRule::OneSuccess if all(&[Skipped]) => Some(Skipped),
        TriggerRule::OneSuccess => done.then_some(UpstreamFailed),
        TriggerRule::OneFailed if any(&[Failed, UpstreamFailed]) => Some(Active),
        TriggerRule::OneDone if any(&[Success, Failed]) => Some(Active),
        TriggerRule::OneFailed | TriggerRule::OneDone => done.then_some(Skipped),
        TriggerRule::NoneFailed | TriggerRule::NoneFailedMinOneSuccess if any(&[Failed, UpstreamFailed]) => {
            Some(UpstreamFailed)
        }
        TriggerRule::NoneFailedMinOneSuccess if all(&[Skipped]) => Some(Skipped),
        TriggerRule::AllSkipped if any(&[Success, Failed, UpstreamFailed]) => Some(Skipped),
        TriggerRule::Always
        | TriggerRule::AllSuccess
        | TriggerRule::AllFailed
        | TriggerRule::AllDone
        | TriggerRule::AllDoneMinOneSuccess
        | TriggerRule::AllDoneSetupSuccess
        | TriggerRule::NoneFailed
        | TriggerRule::NoneFailedMinOneSuccess
        | TriggerRule::NoneSkipped
        | TriggerRule::AllSkipped => run_when_done,
    }
}

/// How one task hangs together with the others.
#[derive(Debug, Clone)]
struct Knot {
    rule: TriggerRule,
    upstream: Vec<usize>,
    is_setup: bool,
    is_teardown: bool,
    /// A teardown whose failure fails the run.
    counts: bool,
    /// Setups somewhere above, not right above, whose teardown is below or that have none.
    setups: Vec<usize>,
    /// For a teardown: everything between its setups and itself.
    scope: Vec<usize>,
}

impl Knot {
    fn new(rule: TriggerRule, upstream: Vec<usize>) -> Self {
        let (setups, scope) = (Vec::new(), Vec::new());
        Self { rule, upstream, is_setup: false, is_teardown: false, counts: true, setups, scope }
    }
}

/// What follows from the shape of a DAG, worked out here once more, from paths.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    knots: Vec<Knot>,
}

impl Shape {
    pub(crate) fn new(plan: &Plan) -> Self {
        let knot = |task: &updraft_model::Task| Knot {
            is_setup: task.is_setup,
            is_teardown: task.is_teardown,
            counts: !task.is_teardown || task.on_failure_fail_dagrun,
            ..Knot::new(task.trigger_rule, task.upstream.iter().map(|u| u.at()).collect())
        };
        Self::of(plan.dag.tasks.iter().map(knot).collect())
    }

    /// The same with what is mapped as so many tasks beside each other: an instance of a group waits for its own kind only.
    fn of_parts(plan: &Plan, parts: &[Part]) -> Self {
        let knot = |part: &Part| {
            let task = plan.task(part.task);
            let unit = plan.unit_of(part.task);
            let is_above = |other: &Part| {
                let is_inside = unit.is_some_and(|unit| unit.members.contains(&other.task));
                task.upstream.contains(&other.task) && (!is_inside || other.map_index == part.map_index)
            };
            let upstream = parts.iter().enumerate().filter(|(_, other)| is_above(other)).map(|(i, _)| i).collect();
            Knot {
                is_setup: task.is_setup,
                is_teardown: task.is_teardown,
                counts: !task.is_teardown || task.on_failure_fail_dagrun,
                ..Knot::new(task.trigger_rule, upstream)
            }
        };
        Self::of(parts.iter().map(knot).collect())
    }

    fn of(mut knots: Vec<Knot>) -> Self {
        let all = 0..knots.len();
        // Tasks are in a topological order, so whoever is above has a lower number.
        let mut above: Vec<BTreeSet<usize>> = Vec::new();
        for knot in &knots {
            let mut of_this: BTreeSet<usize> = knot.upstream.iter().copied().collect();
            knot.upstream.iter().for_each(|up| of_this.extend(above[*up].iter().copied()));
            above.push(of_this);
        }
        let teardowns_of = |setup: usize| -> Vec<usize> {
            all.clone().filter(|t| knots[*t].is_teardown && knots[*t].upstream.contains(&setup)).collect()
        };
        let within = |setup: usize, task: usize, teardown: usize| {
            above[task].contains(&setup) && above[teardown].contains(&task)
        };
        let found: Vec<(Vec<usize>, Vec<usize>)> = all
            .clone()
            .map(|task| {
                let holds = |setup: &usize| {
                    let teardowns = teardowns_of(*setup);
                    knots[*setup].is_setup
                        && above[task].contains(setup)
                        && !knots[task].upstream.contains(setup)
                        && (teardowns.is_empty() || teardowns.iter().any(|t| within(*setup, task, *t)))
                };
                let setups = all.clone().filter(holds).collect();
                let own = || knots[task].upstream.iter().filter(|s| knots[**s].is_setup && knots[task].is_teardown);
                let scope = all.clone().filter(|t| own().any(|setup| within(*setup, *t, task))).collect();
                (setups, scope)
            })
            .collect();
        for (knot, (setups, scope)) in knots.iter_mut().zip(found) {
            (knot.setups, knot.scope) = (setups, scope);
        }
        Self { knots }
    }

    /// What a task's rule and its setups say: wait (none), or what becomes of it ([`Active`]: it runs).
    pub(crate) fn says(&self, task: usize, at: &[Stand]) -> Option<Stand> {
        let knot = &self.knots[task];
        if knot.upstream.is_empty() || knot.rule == TriggerRule::Always {
            return Some(Active);
        }
        let setups = || knot.setups.iter().map(|s| at[*s]);
        if setups().any(|s| matches!(s, Failed | UpstreamFailed)) {
            return Some(UpstreamFailed);
        }
        if setups().any(|s| s == Skipped) {
            return Some(Skipped);
        }
        let upstream: Vec<Stand> = knot.upstream.iter().map(|u| at[*u]).collect();
        let ended = |s: Stand| !matches!(s, Nothing | Active);
        let own: Vec<Stand> = knot.upstream.iter().filter(|u| self.knots[**u].is_setup).map(|u| at[*u]).collect();
        let says = match knot.rule {
            TriggerRule::AllDoneSetupSuccess if !upstream.iter().all(|s| ended(*s)) => None,
            TriggerRule::AllDoneSetupSuccess if own.is_empty() || own.contains(&Success) => Some(Active),
            TriggerRule::AllDoneSetupSuccess if own.iter().all(|s| *s == Skipped) => Some(Skipped),
            TriggerRule::AllDoneSetupSuccess => Some(UpstreamFailed),
            rule => verdict(rule, &upstream),
        };
        let held = setups().any(|s| s != Success) || knot.scope.iter().any(|t| !ended(at[*t]));
        says.filter(|says| *says != Active || !held)
    }

    /// The tasks whose ends say how the run ended.
    fn leaves(&self) -> Vec<usize> {
        let below = |task: usize| self.knots.iter().filter(move |k| k.upstream.contains(&task));
        let all = || 0..self.knots.len();
        let leaves: Vec<usize> = all().filter(|t| self.knots[*t].counts && !below(*t).any(|k| k.counts)).collect();
        if leaves.is_empty() { all().filter(|t| below(*t).next().is_none()).collect() } else { leaves }
    }
}

/// A DAG as far as the reference needs it: its shape, and per task whether it ends by itself, and how it ends if it runs.
pub(crate) struct Reference {
    shape: Shape,
    ends: Vec<(bool, Stand)>,
    leaves: Vec<usize>,
    fail_fast: bool,
    /// Which tasks may have to wait for an earlier run: one that ends by itself is then not there at once.
    waits: Vec<bool>,
}

impl Reference {
    /// `ends`: how each task instance ends if it runs, its tries taken together.
    pub(crate) fn new(plan: &Plan, parts: &[Part], ends: &[Stand]) -> Self {
        let is_empty = |part: &Part| !part.is_empty && plan.task(part.task).operator.ends_with("EmptyOperator");
        let ends = parts.iter().zip(ends).map(|(part, end)| (is_empty(part), *end)).collect();
        let looks_back = |part: &Part| plan.task(part.task).depends_on_past || plan.task(part.task).wait_for_downstream;
        // What is mapped is expanded first, and looked at page by page.
        let waits = parts.iter().map(|part| looks_back(part) || part.map_index.is_some()).collect();
        let is_plain = parts.iter().all(|part| part.map_index.is_none() && !part.is_empty);
        let shape = if is_plain { Shape::new(plan) } else { Shape::of_parts(plan, parts) };
        Self { fail_fast: plan.dag.fail_fast, waits, ..Self::of(shape, ends) }
    }

    fn of(shape: Shape, ends: Vec<(bool, Stand)>) -> Self {
        Self { leaves: shape.leaves(), shape, waits: vec![false; ends.len()], ends, fail_fast: false }
    }

    /// All that may be where a task has just failed under `fail_fast`: whoever is under way fails if it runs, and is skipped if it waits.
    fn stopped(&self, failed: usize, at: [Stand; TASKS_MAX]) -> Vec<[Stand; TASKS_MAX]> {
        let mut all = vec![at];
        for task in (0..self.ends.len()).filter(|task| *task != failed && !self.shape.knots[*task].is_teardown) {
            match at[task] {
                Success | Failed => {}
                Nothing | Skipped | UpstreamFailed => all.iter_mut().for_each(|at| at[task] = Skipped),
                // Nobody runs it: it has waited, or was just about to end.
                Active if self.ends[task].0 => all.iter_mut().for_each(|at| at[task] = Skipped),
                Active => {
                    let with = |to: Stand| {
                        move |mut at: [Stand; TASKS_MAX]| {
                            at[task] = to;
                            at
                        }
                    };
                    all = all.iter().copied().map(with(Failed)).chain(all.iter().copied().map(with(Skipped))).collect();
                }
            }
        }
        all
    }

    /// One look: every task without a state, on the states before the look.
    fn look(&self, before: [Stand; TASKS_MAX]) -> [Stand; TASKS_MAX] {
        let mut after = before;
        for (index, (empty, _)) in self.ends.iter().enumerate() {
            if before[index] == Nothing
                && let Some(to) = self.shape.says(index, &before)
            {
                after[index] = if to == Active && *empty && !self.waits[index] { Success } else { to };
            }
        }
        after
    }

    fn run_failed(&self, at: [Stand; TASKS_MAX]) -> bool {
        self.leaves.iter().any(|t| !matches!(at[*t], Success | Skipped))
    }

    /// Every end that some order of ends and looks can come to.
    pub(crate) fn ends(&self) -> BTreeSet<RunEnd> {
        let mut seen = BTreeSet::new();
        let mut ends = BTreeSet::new();
        let mut open = vec![[Nothing; TASKS_MAX]];
        while let Some(at) = open.pop() {
            if !seen.insert(at) {
                continue;
            }
            let looked = self.look(at);
            let active: Vec<usize> = (0..self.ends.len()).filter(|t| at[*t] == Active).collect();
            if looked == at && active.is_empty() {
                // What has no state now never gets one: the run is stuck, and fails.
                let stuck = (0..self.ends.len()).any(|t| at[t] == Nothing);
                ends.insert((at, stuck || self.run_failed(at)));
                continue;
            }
            open.push(looked);
            for task in active {
                let mut next = at;
                let (empty, end) = self.ends[task];
                next[task] = if empty { Success } else { end };
                if self.fail_fast && next[task] == Failed {
                    open.extend(self.stopped(task, next));
                } else {
                    open.push(next);
                }
            }
        }
        ends
    }
}

/// The reference is itself held to cases small enough to be worked out by hand.
#[test]
fn the_reference_finds_what_order_decides() {
    let reference = |tasks: Vec<(TriggerRule, Vec<usize>, bool, Stand)>| {
        let ends = tasks.iter().map(|(_, _, empty, end)| (*empty, *end)).collect();
        let knot = |(rule, upstream, ..): (TriggerRule, Vec<usize>, bool, Stand)| Knot::new(rule, upstream);
        Reference::of(Shape::of(tasks.into_iter().map(knot).collect()), ends)
    };
    let plain = TriggerRule::AllSuccess;
    // Two upstreams, one skipped, one failed: who ends first decides what becomes of the third.
    let race = reference(vec![
        (plain, vec![], false, Skipped),
        (plain, vec![], false, Failed),
        (plain, vec![0, 1], false, Success),
    ]);
    let thirds: BTreeSet<Stand> = race.ends().into_iter().map(|(tasks, _)| tasks[2]).collect();
    assert_eq!(thirds, BTreeSet::from([Skipped, UpstreamFailed]));
    // A chain has one end.
    let chain = reference(vec![
        (plain, vec![], false, Success),
        (plain, vec![0], true, Failed),
        (plain, vec![1], false, Failed),
    ]);
    let ends = chain.ends();
    assert_eq!(ends.len(), 1);
    let (tasks, failed) = ends.into_iter().next().expect("one end");
    assert_eq!((&tasks[..3], failed), (&[Success, Success, Failed][..], true));
}

/// A setup with work below and a teardown at the end, by hand.
#[test]
fn the_reference_knows_setups_and_teardowns() {
    let knot = |upstream: &[usize]| Knot::new(TriggerRule::AllSuccess, upstream.to_vec());
    let setup = Knot { is_setup: true, ..knot(&[]) };
    let teardown = Knot { is_teardown: true, counts: false, rule: TriggerRule::AllDoneSetupSuccess, ..knot(&[0, 2]) };
    let shape = |work: [Knot; 2]| {
        let [first, second] = work;
        Shape::of(vec![setup.clone(), first, second, teardown.clone()])
    };
    let ends = |shape: Shape, ends: [Stand; 4]| {
        let found = Reference::of(shape, ends.map(|end| (false, end)).to_vec()).ends();
        assert_eq!(found.len(), 1, "{found:?}");
        let (tasks, failed) = found.into_iter().next().expect("one end");
        ([tasks[0], tasks[1], tasks[2], tasks[3]], failed)
    };
    let plain = || shape([knot(&[0]), knot(&[1])]);
    // The teardown runs whatever the work came to, and is no leaf.
    assert_eq!(ends(plain(), [Success, Failed, Success, Success]), ([Success, Failed, UpstreamFailed, Success], true));
    assert_eq!(ends(plain(), [Success, Success, Success, Failed]), ([Success, Success, Success, Failed], false));
    // Without its setup nothing runs, and the teardown does not either.
    assert_eq!(
        ends(plain(), [Failed, Success, Success, Success]),
        ([Failed, UpstreamFailed, UpstreamFailed, UpstreamFailed], true)
    );
    // The second task would run whatever happens above it, but for the setup above that.
    let done = Knot { rule: TriggerRule::AllDone, ..knot(&[1]) };
    assert_eq!(
        ends(shape([knot(&[0]), done]), [Failed, Success, Success, Success]),
        ([Failed, UpstreamFailed, UpstreamFailed, UpstreamFailed], true)
    );
}

/// Three tasks at once, of which one fails: the others are failed or skipped, the teardown runs.
#[test]
fn the_reference_knows_fail_fast() {
    let knot = |upstream: &[usize]| Knot::new(TriggerRule::AllSuccess, upstream.to_vec());
    let teardown = Knot { is_teardown: true, counts: false, rule: TriggerRule::AllDoneSetupSuccess, ..knot(&[0, 1]) };
    let shape = Shape::of(vec![knot(&[]), knot(&[]), knot(&[1]), teardown]);
    let ends = vec![(false, Failed), (false, Success), (false, Success), (false, Success)];
    let reference = Reference { fail_fast: true, ..Reference::of(shape, ends) };
    let found: BTreeSet<[Stand; 4]> = reference.ends().into_iter().map(|(t, _)| [t[0], t[1], t[2], t[3]]).collect();
    let expected = [
        // The failure comes before the other one ends, between it and the third, or last.
        [Failed, Failed, Skipped, Success],
        [Failed, Skipped, Skipped, Success],
        [Failed, Success, Skipped, Success],
        [Failed, Success, Failed, Success],
        [Failed, Success, Success, Success],
    ];
    assert_eq!(found, BTreeSet::from(expected));
}
