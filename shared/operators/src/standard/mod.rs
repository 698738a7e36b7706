//! The standard provider.

mod bases;
mod bash;
mod branch;
mod empty;
mod external_task;
mod file_sensor;
mod hitl;
mod python;
mod times;
mod trigger_dag_run;

use crate::operator::Operator;

/// Every operator and sensor of the provider that this version runs, and the bases they have in Airflow.
pub(crate) fn operators() -> Vec<Operator> {
    let mut all = vec![
        bash::operator(),
        empty::operator(),
        branch::date_time(),
        branch::day_of_week(),
        branch::latest_only(),
        trigger_dag_run::operator(),
        bash::decorated(),
        bash::sensor(),
        times::date_time(),
        times::day_of_week(),
        external_task::sensor(),
        file_sensor::sensor(),
        times::time(),
        times::time_delta(),
        times::wait(),
        empty::marker(),
        empty::smooth(),
    ];
    all.extend(hitl::operators());
    all.extend(python::operators());
    all.extend(python::sensors());
    all.extend(bases::operators());
    all
}
