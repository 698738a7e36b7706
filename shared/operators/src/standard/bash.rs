//! BashOperator, and the sensor that looks by a command.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};
use crate::standard::python::{CALL, CALLABLE};

/// What a command takes besides itself.
const SETTINGS: &[Argument] = &[
    Argument::new("env", Type::Mapping).template().or("null").doc("environment variables of the command"),
    Argument::new("append_env", Type::Boolean).or("false").doc("`env` is added to the worker's environment"),
    Argument::new("output_encoding", Type::Text).or("\"utf-8\"").doc("how the output's bytes become text"),
    Argument::new("skip_on_exit_code", Type::IntegerOrList).or("99").doc("exit codes that skip the task"),
    Argument::new("cwd", Type::Text).template().or("null").doc("the directory to run in"),
    Argument::new("output_processor", Type::Callable).doc("turns the last line of output into the result"),
];

/// The operator.
pub(super) fn operator() -> Operator {
    Operator::new("airflow.providers.standard.operators.bash.BashOperator", Runner::Bash)
        .was(&["airflow.operators.bash.BashOperator", "airflow.operators.bash_operator.BashOperator"])
        .files(&[".sh", ".bash"])
        .takes(&[Argument::new("bash_command", Type::Text).required().template().doc("the command, or a file with it")])
        .takes(SETTINGS)
}

/// What the decorator `task.bash` makes of a function: the command is what it returns.
pub(super) fn decorated() -> Operator {
    Operator::new("airflow.providers.standard.decorators.bash._BashDecoratedOperator", Runner::DecoratedBash)
        .files(&[".sh", ".bash"])
        .takes(CALLABLE)
        .takes(CALL)
        .takes(SETTINGS)
}

/// The sensor.
pub(super) fn sensor() -> Operator {
    Operator::new("airflow.providers.standard.sensors.bash.BashSensor", Runner::BashSensor)
        .was(&["airflow.sensors.bash.BashSensor", "airflow.contrib.sensors.bash_sensor.BashSensor"])
        .takes(&[
            Argument::new("bash_command", Type::Text).required().template().doc("exit code 0 ends the wait"),
            Argument::new("env", Type::Mapping).template().or("null").doc("environment variables of the command"),
            Argument::new("output_encoding", Type::Text).or("\"utf-8\"").doc("how the output's bytes become text"),
            Argument::new("retry_exit_code", Type::Integer)
                .or("null")
                .doc("the one exit code to wait on; any other fails the task"),
        ])
}
