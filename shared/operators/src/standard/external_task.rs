//! ExternalTaskSensor.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

/// The sensor.
pub(super) fn sensor() -> Operator {
    Operator::new("airflow.providers.standard.sensors.external_task.ExternalTaskSensor", Runner::ExternalTaskSensor)
        .was(&[
            "airflow.sensors.external_task.ExternalTaskSensor",
            "airflow.sensors.external_task_sensor.ExternalTaskSensor",
        ])
        .takes(&[
            Argument::new("external_dag_id", Type::Text).required().template().doc("the DAG to wait for"),
            Argument::new("external_task_id", Type::Text).template().or("null").doc("the task; the whole run if none"),
            Argument::new("external_task_ids", Type::List).template().or("null").doc("the tasks"),
            Argument::new("external_task_group_id", Type::Text).template().or("null").doc("the task group"),
            Argument::new("allowed_states", Type::List).or("null").doc("states to wait for; `[success]` if not given"),
            Argument::new("skipped_states", Type::List).or("null").doc("states that skip this task"),
            Argument::new("failed_states", Type::List).or("null").doc("states that fail this task"),
            Argument::new("execution_delta", Type::Duration)
                .or("null")
                .doc("how much earlier the other run's logical date is"),
            Argument::new("execution_date_fn", Type::Callable)
                .or("null")
                .doc("a function from this logical date to the other or others"),
            Argument::new("execution_date_fn_name", Type::Text)
                .doc("the function's name, with `execution_date_fn_file`"),
            Argument::new("execution_date_fn_file", Type::Text).doc("the file with the function"),
            Argument::new("check_existence", Type::Boolean).or("false").doc("fail when there is no such DAG or task"),
            Argument::new("poll_interval", Type::Duration).or("null").doc("instead of `poke_interval` when deferrable"),
            Argument::new("deferrable", Type::Boolean).doc("wait without a worker"),
        ])
}
