//! Effective priority weights over a DAG: `priority_weights.json`.

use std::collections::BTreeMap;

use serde_json::Value;
use updraft_model::{Task, WeightRule};

use crate::harness::{Tally, Verdict, judge};
use crate::shapes::{Shape, declare, parse};

pub(crate) fn judge_file() -> Option<Tally> {
    judge(
        "priority_weights",
        |case| {
            if case["declare"] == true { judge_declaration(case) } else { judge_weights(case) }
        },
    )
}

fn judge_weights(case: &Value) -> Verdict {
    let shape: Shape = parse(case);
    let expected: BTreeMap<String, i64> = parse(&case["effective"]);
    // One rule for all tasks, or one for each.
    let rule_of = |task_id: &str| -> WeightRule {
        let rule = &case["weight_rule"];
        parse(rule.get(task_id).unwrap_or(rule))
    };
    let plan = shape.plan(|task_id, weight| Task {
        priority_weight: parse(weight),
        weight_rule: rule_of(task_id.as_str()),
        ..Task::new(task_id, "airflow.providers.standard.operators.empty.EmptyOperator")
    });
    let found: BTreeMap<String, i64> =
        plan.tasks().map(|task| (plan.task(task).task_id.to_string(), plan.priority(task))).collect();
    if found == expected {
        Verdict::Passed
    } else {
        Verdict::Failed(format!("expected {expected:?}, found {found:?}"))
    }
}

fn judge_declaration(case: &Value) -> Verdict {
    if let Some(rule) = case.get("weight_rule") {
        return judge_rule(rule, &case["effective_class"]);
    }
    match (&case["stored"], declare("priority_weight", &case["priority_weight"])) {
        (Value::Null, Err(_)) => Verdict::Passed,
        (stored, Ok(task)) if stored.as_i64() == Some(task.priority_weight.into()) => Verdict::Passed,
        (stored, found) => Verdict::Failed(format!("expected {stored}, found {found:?}")),
    }
}

/// Airflow has a class for each rule.
fn judge_rule(rule: &Value, effective_class: &Value) -> Verdict {
    let class = |rule| match rule {
        WeightRule::Downstream => "_DownstreamPriorityWeightStrategy",
        WeightRule::Upstream => "_UpstreamPriorityWeightStrategy",
        WeightRule::Absolute => "_AbsolutePriorityWeightStrategy",
    };
    match (effective_class.as_str(), declare("weight_rule", rule)) {
        (None, Err(_)) => Verdict::Passed,
        (Some(expected), Ok(task)) if expected == class(task.weight_rule) => Verdict::Passed,
        (expected, found) => Verdict::Failed(format!("expected {expected:?}, found {found:?}")),
    }
}
