//! Operators that choose by the clock.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

const BRANCHES: &[Argument] = &[
    Argument::new("follow_task_ids_if_true", Type::TextOrList).required().doc("what to follow when it is so"),
    Argument::new("follow_task_ids_if_false", Type::TextOrList).required().doc("what to follow otherwise"),
];

const LOGICAL: Argument = Argument::new("use_task_logical_date", Type::Boolean)
    .or("false")
    .doc("compare the run's logical date instead of the present");

/// By the time of day, or by the time.
pub(super) fn date_time() -> Operator {
    Operator::new("airflow.providers.standard.operators.datetime.BranchDateTimeOperator", Runner::BranchDateTime)
        .was(&["airflow.operators.datetime.BranchDateTimeOperator"])
        .takes(BRANCHES)
        .takes(&[
            Argument::new("target_lower", Type::Any).or("null").doc("not before: a time of day, a moment, or null"),
            Argument::new("target_upper", Type::Any).or("null").doc("not after: a time of day, a moment, or null"),
            LOGICAL,
        ])
}

/// By the day of the week.
pub(super) fn day_of_week() -> Operator {
    Operator::new("airflow.providers.standard.operators.weekday.BranchDayOfWeekOperator", Runner::BranchDayOfWeek)
        .was(&["airflow.operators.weekday.BranchDayOfWeekOperator"])
        .takes(BRANCHES)
        .takes(&[Argument::new("week_day", Type::TextOrList).required().doc("the day or days, e.g. `Monday`"), LOGICAL])
}

/// In the latest interval only.
pub(super) fn latest_only() -> Operator {
    Operator::new("airflow.providers.standard.operators.latest_only.LatestOnlyOperator", Runner::LatestOnly).was(&[
        "airflow.operators.latest_only.LatestOnlyOperator",
        "airflow.operators.latest_only_operator.LatestOnlyOperator",
    ])
}
