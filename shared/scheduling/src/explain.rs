//! Why a task instance is not running: all reasons that hold, in the order in which they would have to go.

use crate::choices;
use crate::decide;
use crate::holders;
use crate::past::{self, Before};
use crate::step;
use crate::trigger_rules::Verdict;
use jiff::Timestamp;
use updraft_model::cell::Wait;
use updraft_model::{
    Cell, Claim, DagRunState, HolderDoc, HolderId, HolderName, Plan, RunDoc, TaskIndex, TaskInstanceState, TriggerRule,
};

/// What is known beside a run's own document.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Whether the DAG is paused.
    pub is_paused: bool,
    /// Whether the DAG has a place for another active run.
    pub has_room: bool,
    /// The run before, where the task depends on it and there is one.
    pub before: Option<Before<'a>>,
    /// The documents of the limits beyond the run that the task is under ([`Plan::holders`]).
    pub holders: &'a [HolderDoc],
}

/// A reason why a task instance is not running.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It has ended, or is under way.
    #[error("the task instance is {0}")]
    Stands(TaskInstanceState),
    /// Its run has ended.
    #[error("its run has ended: {0}")]
    RunEnded(DagRunState),
    /// Its run goes on when the DAG is unpaused.
    #[error("the DAG is paused, so nothing more of its run is queued; unpause the DAG")]
    PausedRun,
    /// Its run waits for the DAG to be unpaused.
    #[error("the DAG is paused, so its run has not started; unpause the DAG")]
    Paused,
    /// Its run waits for a place among the active runs.
    #[error("its run is queued: as many runs of the DAG are active as `max_active_runs` allows")]
    NoRoom,
    /// Its run is about to start.
    #[error("its run is queued, and is started when it is looked at next")]
    NotStarted,
    /// An intervention is being made.
    #[error("a clear or another intervention in the run is still being made")]
    Intervention,
    /// Its trigger rule waits for upstreams.
    #[error("trigger rule `{rule}` waits for {}", .waits_for.join(", "))]
    Rule {
        /// The rule.
        rule: TriggerRule,
        /// The tasks that have not ended, each as `id` (state).
        waits_for: Vec<String>,
    },
    /// Its trigger rule can never be met as its upstreams have ended.
    #[error("trigger rule `{0}` is not met by how its upstreams have ended, and never will be unless one is cleared")]
    Unmet(TriggerRule),
    /// A branch has left it out.
    #[error("`{0}` has chosen another branch")]
    LeftOut(String),
    /// It waits for its next try.
    #[error("it is retried after {0}")]
    Retry(Timestamp),
    /// A sensor looks again later.
    #[error("it looks again at {0}")]
    Reschedule(Timestamp),
    /// It has given its worker back and waits for something outside.
    #[error("it is deferred until something outside has happened, {0} at the latest")]
    Deferred(Timestamp),
    /// It has asked people.
    #[error(
        "it waits for somebody's answer; `updraft tasks hitl list` shows what is asked, `updraft tasks hitl respond` answers"
    )]
    Input,
    /// Its runs of earlier dates do not let it go.
    #[error("depends on past: {0}")]
    Past(String),
    /// The run has as many under way as it may have.
    #[error("as many task instances of the run are under way as `max_active_tasks` ({0}) allows")]
    RunLimit(u32),
    /// No instance of the task may run at all.
    #[error("`max_active_tis_per_dagrun` is 0, so no instance of the task ever runs")]
    NeverInRun,
    /// Its pool does not exist.
    #[error("the pool `{0}` does not exist; make it with `pools set`")]
    NoPool(String),
    /// It wants more slots than its pool has.
    #[error("it takes more slots ({wants}) than {holder} has ({size}); it waits until there are more")]
    TooLarge {
        /// The limit.
        holder: HolderId,
        /// What it wants.
        wants: u32,
        /// What there is.
        size: i64,
    },
    /// The slots are taken.
    #[error("{holder} has {open} free of {size} slots; {ahead} go before it")]
    Full {
        /// The limit.
        holder: HolderId,
        /// Free slots.
        open: i64,
        /// All slots.
        size: i64,
        /// Waiters of higher priority, or earlier.
        ahead: usize,
    },
    /// Nothing is in the way.
    #[error("nothing is in its way: it is queued when its run is looked at next")]
    Nothing,
}

impl Reason {
    /// A short name for its kind, as Airflow names what it checks.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stands(_) => "Task Instance State",
            Self::RunEnded(_) | Self::NoRoom | Self::NotStarted => "Dagrun Running",
            Self::Paused | Self::PausedRun => "Dag Not Paused",
            Self::Intervention => "Intervention",
            Self::Rule { .. } | Self::Unmet(_) => "Trigger Rule",
            Self::LeftOut(_) => "Not Previously Skipped",
            Self::Retry(_) => "Not In Retry Period",
            Self::Reschedule(_) => "Ready To Reschedule",
            Self::Deferred(_) => "Deferred",
            Self::Input => "Awaiting Input",
            Self::Past(_) => "Previous Dagrun State",
            Self::RunLimit(_) | Self::NeverInRun => "Task Concurrency",
            Self::NoPool(_) | Self::TooLarge { .. } | Self::Full { .. } => "Pool Slots Available",
            Self::Nothing => "Ready",
        }
    }
}

/// Why a task instance is not running; at least one reason.
pub fn explain(plan: &Plan, run: &RunDoc, task: TaskIndex, around: &Around<'_>, now: Timestamp) -> Vec<Reason> {
    let mut reasons = of_run(run, around);
    match run.cell(task) {
        cell @ (Cell::Queued { .. } | Cell::Running { .. } | Cell::Restarting { .. } | Cell::Final { .. }) => {
            return vec![Reason::Stands(cell.state())];
        }
        Cell::Waiting { wait, due, .. } => {
            reasons.extend((*due > now).then_some(match wait {
                Wait::Retry => Reason::Retry(*due),
                Wait::Reschedule => Reason::Reschedule(*due),
                Wait::Deferred => Reason::Deferred(*due),
                Wait::Input => Reason::Input,
            }));
            reasons.extend(of_rule(plan, run, task));
        }
        Cell::None | Cell::Cleared { .. } => reasons.extend(of_rule(plan, run, task)),
        Cell::Scheduled { .. } => reasons.extend(of_limits(plan, run, task, around)),
    }
    if plan.looks_back(task)
        && !run.is_past_met(task)
        && !matches!(run.cell(task), Cell::Scheduled { .. })
        && let Some(Err(why)) = around.before.map(|before| past::is_met(plan, before, task))
    {
        reasons.push(Reason::Past(why));
    }
    if reasons.is_empty() { vec![Reason::Nothing] } else { reasons }
}

fn of_run(run: &RunDoc, around: &Around<'_>) -> Vec<Reason> {
    let reason = match run.state {
        DagRunState::Success | DagRunState::Failed => Some(Reason::RunEnded(run.state)),
        DagRunState::Queued if around.is_paused => Some(Reason::Paused),
        DagRunState::Queued if !around.has_room => Some(Reason::NoRoom),
        DagRunState::Queued => Some(Reason::NotStarted),
        DagRunState::Running if run.paused => Some(Reason::PausedRun),
        DagRunState::Running => run.intent.is_some().then_some(Reason::Intervention),
    };
    reason.into_iter().collect()
}

fn of_rule(plan: &Plan, run: &RunDoc, task: TaskIndex) -> Option<Reason> {
    let left_out = plan.upstream(task).iter().find(|up| {
        run.cell(**up).is_final()
            && run.chosen(**up).is_some_and(|chosen| choices::leaves_out(plan, **up, chosen, task))
    });
    if let Some(branch) = left_out {
        return Some(Reason::LeftOut(plan.task(*branch).task_id.to_string()));
    }
    if decide::rule_says(plan, run, task) == Verdict::Run {
        return None;
    }
    let watched = plan.upstream(task).iter().chain(plan.indirect_setups(task)).chain(plan.teardown_scope(task));
    let waits_for: Vec<String> = watched
        .filter(|up| !run.cell(**up).is_final())
        .map(|up| format!("`{}` ({})", plan.task(*up).task_id, run.task_state(*up)))
        .collect();
    let rule = plan.task(task).trigger_rule;
    Some(if waits_for.is_empty() { Reason::Unmet(rule) } else { Reason::Rule { rule, waits_for } })
}

fn of_limits(plan: &Plan, run: &RunDoc, task: TaskIndex, around: &Around<'_>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if plan.task(task).max_active_tis_per_dagrun == Some(0) {
        reasons.push(Reason::NeverInRun);
    }
    if let Some(limit) = plan.places_most().filter(|_| step::free_places(plan, run) == 0) {
        reasons.push(Reason::RunLimit(limit));
    }
    let name = HolderName::of_task(run.facts.incarnation.clone(), task);
    let has =
        |doc: &HolderDoc, claim: &Claim| doc.holders.get(&name).is_some_and(|held| held.generation == claim.generation);
    for holder in plan.holders(task, &run.facts.incarnation) {
        let claim = holders::claim(plan, run, task, &holder);
        let doc = around.holders.iter().find(|doc| doc.id == holder);
        match (doc.and_then(|doc| Some((doc, doc.size?))), &holder) {
            (None, HolderId::Pool(pool)) => reasons.push(Reason::NoPool(pool.clone())),
            (Some((doc, size)), HolderId::Run(_)) if !has(doc, &claim) => {
                let is_full = doc.open() < 1 || !doc.waiters.is_empty();
                reasons.extend(u32::try_from(size).ok().filter(|_| is_full).map(Reason::RunLimit));
            }
            (Some((doc, size)), _) if size >= 0 && !has(doc, &claim) => {
                if i64::from(claim.slots) > size {
                    reasons.push(Reason::TooLarge { holder, wants: claim.slots, size });
                    continue;
                }
                let own = holders::place_in_line(&name, &claim);
                let ahead = doc.waiters.iter().filter(|(other, has)| holders::place_in_line(other, has) < own).count();
                if i64::from(claim.slots) > doc.open() || ahead > 0 {
                    reasons.push(Reason::Full { holder, open: doc.open().max(0), size, ahead });
                }
            }
            // Not asked yet, without end, or held already.
            (None, HolderId::Task(..) | HolderId::Run(_)) | (Some(_), _) => {}
        }
    }
    reasons
}
