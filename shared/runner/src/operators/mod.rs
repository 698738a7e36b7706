//! Every operator, one small file each. What is new here is a file and a line of [`run`].

pub(crate) mod bash;
mod branch;
mod branch_date_time;
pub(crate) mod branch_day_of_week;
mod branch_python;
mod hitl;
pub(crate) mod http;
mod latest_only;
pub(crate) mod python;
mod python_environment;
mod short_circuit;
mod trigger_dag_run;

use updraft_operators::{Operator, Runner};

use crate::attempt::{Attempt, End, Ended};
use crate::sensors;
use crate::services::Services;

/// Carries out an operator.
pub(crate) async fn run<S: Services>(operator: &'static Operator, attempt: &mut Attempt<'_, S>) -> End {
    match operator.runner {
        Runner::Empty => Ok(Ended::success()),
        Runner::Bash => bash::run(attempt).await,
        Runner::Python => python::run(attempt).await,
        Runner::DecoratedBash => bash::run_decorated(attempt).await,
        Runner::PythonEnvironment => python_environment::run(attempt).await,
        Runner::BranchPythonEnvironment => python_environment::branch(attempt).await,
        Runner::BranchPython => branch_python::run(attempt).await,
        Runner::ShortCircuit => short_circuit::run(attempt).await,
        Runner::LatestOnly => latest_only::run(attempt).await,
        Runner::BranchDayOfWeek => branch_day_of_week::run(attempt).await,
        Runner::BranchDateTime => branch_date_time::run(attempt).await,
        Runner::TriggerDagRun => trigger_dag_run::run(attempt).await,
        Runner::Http => http::run(attempt).await,
        Runner::HttpSensor => sensors::http::run(attempt).await,
        Runner::ExternalTaskSensor => sensors::external_task::run(attempt).await,
        Runner::TimeSensor => sensors::time::run(attempt).await,
        Runner::TimeDeltaSensor => sensors::time_delta::run(attempt).await,
        Runner::WaitSensor => sensors::wait::run(attempt).await,
        Runner::DateTimeSensor => sensors::date_time::run(attempt).await,
        Runner::DayOfWeekSensor => sensors::day_of_week::run(attempt).await,
        Runner::FileSensor => sensors::file::run(attempt).await,
        Runner::BashSensor => sensors::bash::run(attempt).await,
        Runner::PythonSensor => sensors::python::run(attempt).await,
        Runner::Hitl | Runner::Approval | Runner::HitlBranch | Runner::HitlEntry => {
            hitl::run(attempt, operator.runner).await
        }
        Runner::Deferred => Err(unknown(operator).into()),
    }
}

fn unknown(operator: &Operator) -> String {
    let known: Vec<&str> = updraft_operators::runnable().collect();
    format!(
        "the operator `{}` is known but not run by this version; it runs {}",
        operator.short_name(),
        known.join(", ")
    )
}
