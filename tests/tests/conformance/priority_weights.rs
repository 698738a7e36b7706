//! Effective priority weights over a DAG: `priority_weights.json`.

use std::collections::BTreeMap;

use serde_json::Value;
use updraft_model::{Task, WeightRule};

use crate::harness::{Verdict, check};
use crate::shapes::{Shape, declare, parse};

#[test]
fn priorities_add_up_as_airflow_does() {
    check(
        "priority_weights",
        |case| {
            if case["declare"] == true { judge_declaration(case) } else { judge_weights(case) }
        },
    );
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
        plan.tasks().map(|task| (plan.task(task).task_id.to_string(), plan.priority(task).into())).collect();
    let clamp = |sum: i64| sum.clamp(i32::MIN.into(), i32::MAX.into());
    if found == expected {
        Verdict::Passed
    } else if found == expected.iter().map(|(task, sum)| (task.clone(), clamp(*sum))).collect() {
        Verdict::Divergent("sums are clamped to 32 bits, as declared weights are")
    } else {
        Verdict::Failed(format!("expected {expected:?}, found {found:?}"))
    }
}

fn judge_declaration(case: &Value) -> Verdict {
    if case.get("weight_rule").is_some() {
        return Verdict::OutOfScope("effective_class, a class of Airflow's".to_owned());
    }
    match (&case["stored"], declare("priority_weight", &case["priority_weight"])) {
        (Value::Null, Err(_)) => Verdict::Passed,
        (stored, Ok(task)) if stored.as_i64() == Some(task.priority_weight.into()) => Verdict::Passed,
        (stored, found) => Verdict::Failed(format!("expected {stored}, found {found:?}")),
    }
}
