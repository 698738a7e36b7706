//! Classes that only others are built from. A file that names one learns what to write instead.

use crate::operator::{Operator, Runner};

/// Every one of them.
pub(super) fn operators() -> Vec<Operator> {
    let base = |path, was: &[&'static str]| {
        let operator = Operator::new(path, Runner::Deferred).was(was);
        Operator { abstract_base: true, ..operator }
    };
    vec![
        base("airflow.sdk.BaseOperator", &["airflow.models.BaseOperator", "airflow.models.baseoperator.BaseOperator"]),
        base("airflow.sdk.BaseSensorOperator", &["airflow.sensors.base.BaseSensorOperator"]),
        base(
            "airflow.providers.standard.operators.branch.BaseBranchOperator",
            &["airflow.operators.branch.BaseBranchOperator"],
        ),
    ]
}
