//! Operators that ask people and wait for the answer.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

const ARGUMENTS: &[Argument] = &[
    Argument::new("subject", Type::Text).required().template().doc("the question in a line"),
    Argument::new("body", Type::Text).template().or("null").doc("what is needed to decide, in Markdown"),
    Argument::new("defaults", Type::TextOrList).or("null").doc("what counts as chosen when the time is over"),
    Argument::new("notifiers", Type::Any).or("null").doc("who is told that somebody is asked"),
    Argument::new("assigned_users", Type::Any)
        .or("null")
        .doc("who may answer: `{id, name}`, or a list of them; unset: anybody"),
    Argument::new("response_timeout", Type::Duration)
        .or("null")
        .doc("how long an answer is waited for; unset: for ever"),
];
const OPTIONS: Argument = Argument::new("options", Type::List).required().doc("what may be chosen");
const MULTIPLE: Argument = Argument::new("multiple", Type::Boolean).or("false").doc("whether several may be chosen");

/// Every one of them.
pub(super) fn operators() -> Vec<Operator> {
    let asking = |path, runner| Operator::new(path, runner).takes(ARGUMENTS);
    vec![
        asking("airflow.providers.standard.operators.hitl.HITLOperator", Runner::Hitl).takes(&[OPTIONS, MULTIPLE]),
        asking("airflow.providers.standard.operators.hitl.ApprovalOperator", Runner::Approval).takes(&[
            Argument::new("ignore_downstream_trigger_rules", Type::Boolean)
                .or("false")
                .doc("whether a rejection skips everything below, not only what is directly below"),
            Argument::new("fail_on_reject", Type::Boolean).or("false").doc("whether a rejection fails the task"),
        ]),
        asking("airflow.providers.standard.operators.hitl.HITLBranchOperator", Runner::HitlBranch).takes(&[
            OPTIONS,
            MULTIPLE,
            Argument::new("options_mapping", Type::Mapping)
                .or("null")
                .doc("the task that an option stands for, where it is not named like it"),
        ]),
        asking("airflow.providers.standard.operators.hitl.HITLEntryOperator", Runner::HitlEntry)
            .takes(&[Argument::new("options", Type::List).or("[\"OK\"]").doc("what may be chosen"), MULTIPLE]),
    ]
}
