//! What a trigger rule says of a task, given how its upstreams stand: `trigger_rules.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use updraft_model::{Plan, TaskInstanceState, TriggerRule};
use updraft_scheduling::trigger_rules::{self, Upstreams, evaluate, evaluate_task};

use crate::harness::{Tally, Verdict, judge_cases, load};
use crate::shapes::{declare_with, parse, plans};

pub(crate) fn judge_file() -> Option<Tally> {
    let recorded = load("trigger_rules")?;
    let plans = plans(&recorded.header);
    Some(judge_cases("trigger_rules", &recorded.cases, |case| match case["set"].as_str() {
        // Instances of a mapped upstream count like upstreams of their own.
        Some("plain" | "mapped_upstream_3_instances") => judge_counts(&parse(case), true),
        Some("plain_no_flag") => judge_counts(&parse(case), false),
        Some("shape") => judge_shape(&parse(case), &plans),
        Some("declare") => judge_declaration(&parse(case)),
        // Mapped tasks and mapped task groups, seen from inside.
        Some(set @ ("mapped_target_and_mapped_upstream" | "mapped_task_group")) => Verdict::OutOfScope(format!("set={set}")),
        set => Verdict::Unbound(format!("set={set:?}")),
    }))
}

/// A rule and the states of the upstreams.
#[derive(Deserialize)]
struct Counts {
    trigger_rule: TriggerRule,
    upstream: Vec<TaskInstanceState>,
    decision: String,
}

/// A task of a DAG and the states of everything above it.
#[derive(Deserialize)]
struct InShape {
    shape: String,
    target: String,
    states: BTreeMap<String, TaskInstanceState>,
    decision: String,
}

/// Whether a task of this kind may be declared with this rule.
#[derive(Deserialize)]
struct Declaration {
    trigger_rule: Value,
    kind: String,
    accepted: bool,
    effective_trigger_rule: Option<TriggerRule>,
}

fn judge_counts(case: &Counts, flag_upstream_failed: bool) -> Verdict {
    let mut upstreams = Upstreams::default();
    for state in &case.upstream {
        upstreams.add(*state, false);
    }
    compare(&case.decision, evaluate(case.trigger_rule, upstreams, flag_upstream_failed))
}

fn judge_shape(case: &InShape, plans: &BTreeMap<String, Plan>) -> Verdict {
    let plan = &plans[&case.shape];
    let target = plan.index_of(&case.target).expect("the target is a task of the shape");
    let state_of = |task| case.states.get(plan.task(task).task_id.as_str()).copied();
    compare(&case.decision, evaluate_task(plan, target, |task| state_of(task).unwrap_or(TaskInstanceState::None)))
}

fn compare(expected: &str, found: trigger_rules::Verdict) -> Verdict {
    let found = match found {
        trigger_rules::Verdict::Run => "run".to_owned(),
        trigger_rules::Verdict::Wait => "wait".to_owned(),
        trigger_rules::Verdict::Set(end) => format!("set_{}", end.state()),
    };
    if found == expected { Verdict::Passed } else { Verdict::Failed(format!("expected {expected}, found {found}")) }
}

fn judge_declaration(case: &Declaration) -> Verdict {
    let mut keys = serde_json::Map::new();
    keys.insert("trigger_rule".to_owned(), case.trigger_rule.clone());
    match case.kind.as_str() {
        "work" => {}
        "setup" | "teardown" => drop(keys.insert(format!("is_{}", case.kind), true.into())),
        kind => return Verdict::Unbound(format!("kind={kind}")),
    }
    match declare_with(keys) {
        Ok(task) if case.effective_trigger_rule == Some(task.trigger_rule) => Verdict::Passed,
        Err(_) if !case.accepted => Verdict::Passed,
        Ok(task)
            if !case.accepted && case.trigger_rule.as_str().is_some_and(|old| is_renamed(old, task.trigger_rule)) =>
        {
            Verdict::Divergent("a rule's old name is taken for the rule, with a warning")
        }
        Ok(task) if !case.accepted && task.is_teardown && is_old_name(&case.trigger_rule) => {
            Verdict::Divergent("a rule's old name is taken for the rule, with a warning")
        }
        found => Verdict::Failed(format!("expected {:?}, found {found:?}", case.effective_trigger_rule)),
    }
}

/// Whether it was a rule's name in Airflow 2; a teardown's rule is replaced in any case.
fn is_old_name(rule: &Value) -> bool {
    matches!(rule.as_str(), Some("dummy" | "none_failed_or_skipped"))
}

/// Whether a rule is what Airflow 2 called `old`.
fn is_renamed(old: &str, rule: TriggerRule) -> bool {
    matches!(
        (old, rule),
        ("dummy", TriggerRule::Always) | ("none_failed_or_skipped", TriggerRule::NoneFailedMinOneSuccess)
    )
}
