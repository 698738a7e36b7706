//! TriggerDagRunOperator.

use crate::argument::{Argument, ArgumentType as Type};
use crate::operator::{Operator, Runner};

/// The operator.
pub(super) fn operator() -> Operator {
    Operator::new("airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator", Runner::TriggerDagRun)
        .was(&[
            "airflow.operators.trigger_dagrun.TriggerDagRunOperator",
            "airflow.operators.dagrun_operator.TriggerDagRunOperator",
        ])
        .takes(&[
            Argument::new("trigger_dag_id", Type::Text).required().template().doc("the DAG to run"),
            Argument::new("trigger_run_id", Type::Text).template().or("null").doc("the id of the new run"),
            Argument::new("conf", Type::Any).template().or("null").doc("the conf of the new run"),
            Argument::new("logical_date", Type::Moment)
                .template()
                .doc("the logical date; null for none; now if left out"),
            Argument::new("run_after", Type::Moment).doc("not before this; the logical date if left out"),
            Argument::new("reset_dag_run", Type::Boolean)
                .or("false")
                .doc("a run that exists is cleared and runs again"),
            Argument::new("wait_for_completion", Type::Boolean).template().or("false").doc("wait for the run's end"),
            Argument::new("poke_interval", Type::Duration).or("60").doc("how long to wait between two looks"),
            Argument::new("allowed_states", Type::List)
                .or("null")
                .doc("ends that are success; `[success]` if not given"),
            Argument::new("failed_states", Type::List).or("null").doc("ends that are failure; `[failed]` if not given"),
            Argument::new("skip_when_already_exists", Type::Boolean)
                .template()
                .or("false")
                .doc("a run that exists skips the task"),
            Argument::new("fail_when_dag_is_paused", Type::Boolean).or("false").doc("a paused DAG fails the task"),
            Argument::new("note", Type::Text).or("null").doc("a note on the new run"),
            Argument::new("deferrable", Type::Boolean).doc("wait without a worker"),
            Argument::new("openlineage_inject_parent_info", Type::Boolean).or("true").doc("has no effect here"),
        ])
}
