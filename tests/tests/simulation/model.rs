//! What a plain sequential scheduler could come to: a reference written apart from the engine.
//!
//! One task after another ends, in any order; between ends the scheduler may take a look, as often as it likes. A look evaluates
//! every task that has no state on the states before the look. All orders are explored, so the answer is the set of possible ends.

use std::collections::BTreeSet;
use updraft_model::{Plan, TriggerRule};

/// The most tasks a DAG may have here.
pub(crate) const TASKS_MAX: usize = 8;

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

/// A DAG as far as the reference needs it: per task its rule, its upstreams, whether it ends by itself, and how it ends if it runs.
pub(crate) struct Reference {
    tasks: Vec<(TriggerRule, Vec<usize>, bool, Stand)>,
}

impl Reference {
    /// `ends`: how each task ends if it runs, its tries taken together.
    pub(crate) fn new(plan: &Plan, ends: &[Stand]) -> Self {
        let task = |(index, task): (usize, &updraft_model::Task)| {
            let empty = task.operator.ends_with("EmptyOperator");
            (task.trigger_rule, task.upstream.iter().map(|u| u.at()).collect(), empty, ends[index])
        };
        Self { tasks: plan.dag.tasks.iter().enumerate().map(task).collect() }
    }

    /// One look: every task without a state, on the states before the look.
    fn look(&self, before: [Stand; TASKS_MAX]) -> [Stand; TASKS_MAX] {
        let mut after = before;
        for (index, (rule, upstream, empty, _)) in self.tasks.iter().enumerate() {
            let states: Vec<Stand> = upstream.iter().map(|u| before[*u]).collect();
            if before[index] == Nothing
                && let Some(to) = verdict(*rule, &states)
            {
                after[index] = if to == Active && *empty { Success } else { to };
            }
        }
        after
    }

    fn run_failed(&self, at: [Stand; TASKS_MAX]) -> bool {
        let has_downstream = |task: usize| self.tasks.iter().any(|(_, upstream, ..)| upstream.contains(&task));
        (0..self.tasks.len()).any(|t| !has_downstream(t) && !matches!(at[t], Success | Skipped))
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
            let active: Vec<usize> = (0..self.tasks.len()).filter(|t| at[*t] == Active).collect();
            if looked == at && active.is_empty() {
                // What has no state now never gets one: the run is stuck, and fails.
                let stuck = (0..self.tasks.len()).any(|t| at[t] == Nothing);
                ends.insert((at, stuck || self.run_failed(at)));
                continue;
            }
            open.push(looked);
            for task in active {
                let mut next = at;
                next[task] = self.tasks[task].3;
                open.push(next);
            }
        }
        ends
    }
}

/// The reference is itself held to cases small enough to be worked out by hand.
#[test]
fn the_reference_finds_what_order_decides() {
    let reference = |tasks| Reference { tasks };
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
