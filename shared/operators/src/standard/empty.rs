//! Operators that do nothing.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

/// The plain one.
pub(super) fn operator() -> Operator {
    Operator::new("airflow.providers.standard.operators.empty.EmptyOperator", Runner::Empty).was(&[
        "airflow.operators.empty.EmptyOperator",
        "airflow.operators.dummy.DummyOperator",
        "airflow.operators.dummy_operator.DummyOperator",
    ])
}

/// The mark that a task of another DAG waits for this one.
pub(super) fn marker() -> Operator {
    Operator::new("airflow.providers.standard.sensors.external_task.ExternalTaskMarker", Runner::Empty)
        .was(&[
            "airflow.sensors.external_task.ExternalTaskMarker",
            "airflow.sensors.external_task_sensor.ExternalTaskMarker",
        ])
        .takes(&[
            Argument::new("external_dag_id", Type::Text).required().template().doc("the DAG of the task that waits"),
            Argument::new("external_task_id", Type::Text).required().template().doc("the task that waits"),
            Argument::new("logical_date", Type::Moment)
                .template()
                .or("\"{{ logical_date.isoformat() }}\"")
                .doc("the logical date of the run that waits"),
            Argument::new("recursion_depth", Type::Integer).or("10").doc("how many marks in a row are followed"),
        ])
        .no_sensor()
}

/// Airflow's joke.
pub(super) fn smooth() -> Operator {
    Operator::new("airflow.providers.standard.operators.smooth.SmoothOperator", Runner::Empty)
        .was(&["airflow.operators.smooth.SmoothOperator"])
}
