//! FileSensor.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

/// The sensor.
pub(super) fn sensor() -> Operator {
    Operator::new("airflow.providers.standard.sensors.filesystem.FileSensor", Runner::FileSensor)
        .was(&["airflow.sensors.filesystem.FileSensor", "airflow.contrib.sensors.file_sensor.FileSensor"])
        .takes(&[
            Argument::new("filepath", Type::Text).required().template().doc("a path or a pattern"),
            Argument::new("fs_conn_id", Type::Text)
                .template()
                .or("\"fs_default\"")
                .doc("a connection whose `path` relative paths begin at"),
            Argument::new("recursive", Type::Boolean).or("false").doc("`**` also matches folders within folders"),
            Argument::new("deferrable", Type::Boolean).doc("wait without a worker"),
            Argument::new("start_from_trigger", Type::Boolean).or("false").doc("has no effect here"),
            Argument::new("trigger_kwargs", Type::Mapping).or("null").doc("has no effect here"),
        ])
}
