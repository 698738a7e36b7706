//! Sensors that look at the clock.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

const DEFERRABLE: Argument = Argument::new("deferrable", Type::Boolean).doc("wait without a worker");
const FROM_TRIGGER: &[Argument] = &[
    Argument::new("start_from_trigger", Type::Boolean).or("false").doc("has no effect here"),
    Argument::new("end_from_trigger", Type::Boolean).or("false").doc("has no effect here"),
    Argument::new("trigger_kwargs", Type::Mapping).or("null").doc("has no effect here"),
];

/// A time of day.
pub(super) fn time() -> Operator {
    Operator::new("airflow.providers.standard.sensors.time.TimeSensor", Runner::TimeSensor)
        .was(&[
            "airflow.providers.standard.sensors.time.TimeSensorAsync",
            "airflow.sensors.time_sensor.TimeSensor",
            "airflow.sensors.time_sensor.TimeSensorAsync",
        ])
        .takes(&[
            Argument::new("target_time", Type::TimeOfDay).required().doc("the time of day, in the DAG's time zone"),
            DEFERRABLE,
        ])
        .takes(FROM_TRIGGER)
}

/// Some time after the data interval.
pub(super) fn time_delta() -> Operator {
    Operator::new("airflow.providers.standard.sensors.time_delta.TimeDeltaSensor", Runner::TimeDeltaSensor)
        .was(&[
            "airflow.providers.standard.sensors.time_delta.TimeDeltaSensorAsync",
            "airflow.sensors.time_delta.TimeDeltaSensor",
            "airflow.sensors.time_delta.TimeDeltaSensorAsync",
            "airflow.sensors.time_delta_sensor.TimeDeltaSensor",
        ])
        .takes(&[
            Argument::new("delta", Type::Minutes).required().template().doc("how long after the data interval's end"),
            DEFERRABLE,
        ])
        .takes(FROM_TRIGGER)
}

/// Some time after its own start.
pub(super) fn wait() -> Operator {
    Operator::new("airflow.providers.standard.sensors.time_delta.WaitSensor", Runner::WaitSensor)
        .was(&["airflow.sensors.time_delta.WaitSensor"])
        .takes(&[
            Argument::new("time_to_wait", Type::Minutes).required().template().doc("how long to wait"),
            DEFERRABLE,
        ])
}

/// A point in time.
pub(super) fn date_time() -> Operator {
    Operator::new("airflow.providers.standard.sensors.date_time.DateTimeSensor", Runner::DateTimeSensor)
        .was(&[
            "airflow.providers.standard.sensors.date_time.DateTimeSensorAsync",
            "airflow.sensors.date_time.DateTimeSensor",
            "airflow.sensors.date_time.DateTimeSensorAsync",
            "airflow.sensors.date_time_sensor.DateTimeSensor",
        ])
        .takes(&[Argument::new("target_time", Type::Moment).required().template().doc("when to go on")])
        .takes(FROM_TRIGGER)
}

/// A day of the week.
pub(super) fn day_of_week() -> Operator {
    Operator::new("airflow.providers.standard.sensors.weekday.DayOfWeekSensor", Runner::DayOfWeekSensor)
        .was(&["airflow.sensors.weekday.DayOfWeekSensor", "airflow.contrib.sensors.weekday_sensor.DayOfWeekSensor"])
        .takes(&[
            Argument::new("week_day", Type::TextOrList).required().doc("the day or days, e.g. `Monday`"),
            Argument::new("use_task_logical_date", Type::Boolean)
                .or("false")
                .doc("compare the run's logical date instead of the present"),
        ])
}
